"""Runs a network in LiteRT or ONNX Runtime, with the marks that the counting plugin looks for (see count.rs and icount.c).

    python peer.py litert MODEL.tflite GOLDEN.npz ARRAY
    python peer.py onnxruntime MODEL.onnx GOLDEN.npz ARRAY
      prints  version X
              equal N                 N outputs are the golden ones, byte for byte
              differ D of N, top-1 T of M, at most S steps

Both are called as directly as Python can: the bound function itself, input and output in place. Marks 0 and 1 enclose a
function of the same binding that does nothing worth counting: what a call from Python costs is taken off.
It runs in an emulated AArch64 Python, with one thread.
"""
import os
import sys

import numpy as np

MARK = 0x5A5A0000
RUNS = 3


def litert(path):
    import ai_edge_litert
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    bound = interpreter._interpreter

    def prepare(sample):
        interpreter.set_tensor(source["index"], sample.reshape(source["shape"]))

    output = lambda: interpreter.get_tensor(sink["index"]).astype(int)
    return ai_edge_litert.__version__, prepare, bound.Invoke, bound.NumNodes, output


def onnxruntime(path):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    source, sink = session.get_inputs()[0], session.get_outputs()[0]
    binding, door = session.io_binding(), np.zeros(source.shape, np.uint8)
    binding.bind_cpu_input(source.name, door)
    binding.bind_output(sink.name)
    bound, run = binding._iobinding, session._sess.run_with_iobinding

    def prepare(sample):
        # The golden samples are int8, channels last; this form of the network takes u8, channels first.
        shifted = (sample.astype(np.int16) + 128).astype(np.uint8)
        np.copyto(door, (np.moveaxis(shifted, -1, 0) if sample.ndim == 3 else shifted).reshape(door.shape))

    output = lambda: binding.copy_outputs_to_cpu()[0].astype(int) - 128
    return ort.__version__, prepare, lambda: run(bound, None), bound.synchronize_inputs, output


def main():
    peer, model, golden, array = sys.argv[1:]
    arrays = np.load(golden)
    inputs, expected = arrays["input"], arrays[array]
    version, prepare, run, nothing, output = {"litert": litert, "onnxruntime": onnxruntime}[peer](model)
    print("version", version, flush=True)
    null, mark = os.open(os.devnull, os.O_RDONLY), os.lseek
    for _ in range(2):
        mark(null, MARK, 0)
        nothing()
        mark(null, MARK + 1, 0)
    differ = steps = n = right = 0
    for i in range(RUNS + 1):
        sample = i % len(inputs)
        prepare(inputs[sample])
        # The first run warms up and has no marks.
        before, after = MARK + 2 * i, MARK + 2 * i + 1
        if i == 0:
            run()
        else:
            mark(null, before, 0)
            run()
            mark(null, after, 0)
        found, want = output().reshape(-1), expected[sample].reshape(-1).astype(int)
        if found.shape != want.shape:
            raise ValueError(f"{found.size} outputs, not {want.size}")
        steps = max(steps, int(np.abs(found - want).max()))
        differ += int((found != want).sum())
        # Where several golden outputs are the highest, each of them is right.
        right += int(want[found.argmax()] == want.max())
        n += want.size
    print(f"equal {RUNS + 1}" if differ == 0 else f"differ {differ} of {n}, top-1 {right} of {RUNS + 1}, at most {steps} steps")


main()
