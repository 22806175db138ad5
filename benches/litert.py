"""Times `fleetfoot bench` and LiteRT on the same models, on one core, one thread, in turn, and prints the ratio.

    python benches/litert.py target/release/fleetfoot ROUNDS MODEL.tflite... [> benches/record/NAME.csv]

Needs ai-edge-litert and numpy (cargo xtask setup). Each round runs each of the two for a while; what is compared are the minimum
over all rounds, and the median of the rounds' medians. On a shared machine the minimum is the steadier number.
"""
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter

RUNS = 60


def ours(program, model):
    said = subprocess.run([program, "--json", "bench", model, "--runs", str(RUNS)], check=True, capture_output=True, text=True)
    result = json.loads(said.stdout)
    return result["min_us"], result["p50_us"], result["isa"]


def litert(model):
    interpreter = Interpreter(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    door = interpreter.get_input_details()[0]
    random = np.random.default_rng(1)
    limits = np.iinfo(door["dtype"])
    interpreter.set_tensor(door["index"], random.integers(limits.min, limits.max, door["shape"], dtype=door["dtype"]))
    times = []
    for run in range(RUNS + 10):
        start = time.perf_counter()
        interpreter.invoke()
        if run >= 10:
            times.append((time.perf_counter() - start) * 1e6)
    return min(times), statistics.median(times)


def main():
    program, rounds, models = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print("model,isa,fleetfoot_min_us,fleetfoot_p50_us,litert_min_us,litert_p50_us,min_ratio,p50_ratio")
    for model in models:
        a, b = [], []
        for _ in range(rounds):
            a.append(ours(program, model))
            b.append(litert(model))
        ours_min, ours_p50 = min(x[0] for x in a), statistics.median(x[1] for x in a)
        peer_min, peer_p50 = min(x[0] for x in b), statistics.median(x[1] for x in b)
        name = os.path.basename(model).removesuffix(".tflite")
        print(f"{name},{a[0][2]},{ours_min:.1f},{ours_p50:.1f},{peer_min:.1f},{peer_p50:.1f},"
              f"{ours_min / peer_min:.2f},{ours_p50 / peer_p50:.2f}", flush=True)


main()
