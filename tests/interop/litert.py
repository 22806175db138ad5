"""The same models in LiteRT (XNNPACK, one thread) and in ours, on inputs that no golden file holds: every byte is equal.

Random inputs, smooth ones and the corners of the range go through `fleetfoot run MODEL.tflite --input X.npz --output Y.npy`
and through LiteRT in this process. Without the folder ../shared only the models of examples/digits are compared.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from ai_edge_litert.interpreter import Interpreter

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "models"
PROGRAM = os.environ.get("FLEETFOOT", "fleetfoot")
SEED = 20261124
# Model and how many inputs.
MODELS = [
    (ROOT / "examples/digits/digits_v1.tflite", 500),
    (ROOT / "examples/digits/digits_v2.tflite", 500),
    (SHARED / "mlperf-tiny/kws_logits_int8.tflite", 60),
    (SHARED / "mlperf-tiny/kws_int8.tflite", 60),
    (SHARED / "mlperf-tiny/ad_int8.tflite", 200),
    (SHARED / "mlperf-tiny/ic_logits_int8.tflite", 20),
    (SHARED / "mlperf-tiny/vww_logits_int8.tflite", 12),
]


def main():
    failed = 0
    for model, n in MODELS:
        if not model.exists():
            print(f"skipped {model.name}: {SHARED} is absent")
            failed += os.environ.get("CI") == "true"
            continue
        interpreter = Interpreter(str(model), num_threads=1)
        interpreter.allocate_tensors()
        door = interpreter.get_input_details()[0]
        inputs = samples(door["shape"][1:], door["dtype"], n)
        expected, found = litert(interpreter, inputs), ours(model, inputs)
        same = found.dtype == expected.dtype and found.size == expected.size
        wrong = np.count_nonzero(found.ravel() != expected.ravel()) if same else expected.size
        print(f"{'ok    ' if wrong == 0 else 'FAILED'} {model.name}: {wrong} of {expected.size} output bytes differ, {n} inputs")
        failed += wrong != 0
    return 1 if failed else 0


def samples(shape, dtype, n):
    """`n` inputs: the corners of the range first, then noise and, every other one, noise that changes slowly."""
    rng = np.random.default_rng(SEED)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    x = rng.integers(low, high, size=(n, *shape), endpoint=True).astype(np.int64)
    length = int(np.prod(shape))
    for i in range(1, n, 2):
        walk = np.cumsum(rng.normal(0, 12, size=length)) + rng.integers(low, high)
        x[i] = np.clip(walk, low, high).reshape(shape)
    x[0], x[1], x[2] = low, high, (low + high) // 2
    return x.astype(dtype)


def litert(interpreter, inputs):
    door = interpreter.get_input_details()[0]["index"]
    exit_ = interpreter.get_output_details()[0]["index"]
    outputs = []
    for sample in inputs:
        interpreter.set_tensor(door, sample[np.newaxis])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(exit_).copy())
    return np.stack(outputs)


def ours(model, inputs):
    with tempfile.TemporaryDirectory() as folder:
        x, y = pathlib.Path(folder, "x.npz"), pathlib.Path(folder, "y.npy")
        np.savez(x, input=inputs)
        subprocess.run([PROGRAM, "run", model, "--input", x, "--output", y], check=True, stdout=subprocess.DEVNULL)
        return np.load(y)


if __name__ == "__main__":
    sys.exit(main())
