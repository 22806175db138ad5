"""One peer in one process: run by `cargo xtask bench peers`, as the peers that are Rust are.

    python peer.py NAME --model FILE --input FILE --output FILE --shape 1,3,224,224 --threads N

Loads, runs every sample of the input file, writes all outputs as float32 (int8 as its number, u8 less 128, float as it is), prints
`ready VERSION` or `absent WHY`, and then answers every line of standard input, a number of runs, with their times in nanoseconds. The
clock is read right before and after the call that infers, the input being in place where the peer has such a place.
"""
import argparse
import importlib.metadata
import sys
import time

import numpy as np


def litert(a):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=a.model, num_threads=a.threads)
    interpreter.allocate_tensors()
    door, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    samples = np.fromfile(a.input, door["dtype"]).reshape(-1, *door["shape"])
    return (samples, lambda x: interpreter.set_tensor(door["index"], x), interpreter.invoke,
            lambda _: interpreter.get_tensor(exit_), "ai-edge-litert")


def onnx_samples(a):
    return np.fromfile(a.input, np.uint8 if a.input.endswith(".u8") else np.float32).reshape(-1, *a.shape)


def onnxruntime(a):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = a.threads, 1
    session = ort.InferenceSession(a.model, options, providers=["CPUExecutionProvider"])
    samples = onnx_samples(a)
    # Input and output stay where they are: no copies, no lists of names inside the time.
    binding, door = session.io_binding(), np.empty_like(samples[0])
    binding.bind_cpu_input(session.get_inputs()[0].name, door)
    binding.bind_output(session.get_outputs()[0].name)
    run = session._sess.run_with_iobinding
    return (samples, lambda x: np.copyto(door, x), lambda: run(binding._iobinding, None),
            lambda _: binding.copy_outputs_to_cpu()[0], "onnxruntime")


def openvino(a):
    import openvino as ov
    core = ov.Core()
    # Its default for floats would be bf16 where the CPU has it: another network.
    options = {"INFERENCE_NUM_THREADS": a.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(a.model), "CPU", options).create_infer_request()
    samples, door = onnx_samples(a), request.get_input_tensor().data
    return samples, lambda x: np.copyto(door, x), request.infer, lambda _: request.get_output_tensor().data, "openvino"


def ncnn(a):
    import ncnn
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = a.threads, False
    # Floats of 16 bits are another network.
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(a.model) or net.load_model(a.model.removesuffix(".param") + ".bin"):
        raise RuntimeError("cannot load the model")
    samples, state = onnx_samples(a), {}

    def run():
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], state["in"])
        return extractor.extract(net.output_names()[0])[1]

    return (samples, lambda x: state.update(keep=np.ascontiguousarray(x[0]), **{"in": ncnn.Mat(np.ascontiguousarray(x[0])).clone()}), run,
            lambda out: np.array(out), "ncnn")


def mnn(a):
    import MNN
    interpreter = MNN.Interpreter(a.model)
    session = interpreter.createSession({"numThread": a.threads, "precision": "high", "backend": "CPU"})
    door, samples = interpreter.getSessionInput(session), onnx_samples(a)
    kind = MNN.Tensor_DimensionType_Caffe

    def put(x):
        door.copyFrom(MNN.Tensor(a.shape, MNN.Halide_Type_Float, np.ascontiguousarray(x), kind))

    def get(_):
        out = interpreter.getSessionOutput(session)
        host = MNN.Tensor(out.getShape(), MNN.Halide_Type_Float, np.zeros(out.getShape(), np.float32), kind)
        out.copyToHostTensor(host)
        return np.array(host.getNumpyData())

    return samples, put, lambda: interpreter.runSession(session), get, "MNN"


PEERS = {"litert": litert, "onnxruntime": onnxruntime, "openvino": openvino, "ncnn": ncnn, "mnn": mnn}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=PEERS)
    for name in ("--model", "--input", "--output"):
        parser.add_argument(name, required=True)
    parser.add_argument("--shape", type=lambda text: tuple(map(int, text.split(","))), required=True)
    parser.add_argument("--threads", type=int, default=1)
    a = parser.parse_args()
    try:
        samples, put, run, get, package = PEERS[a.name](a)
        outputs = []
        for sample in samples:
            put(sample if a.name == "litert" else sample.reshape(a.shape))
            out = np.array(get(run())).reshape(-1)
            outputs.append(out.astype(np.float32) - (128 if out.dtype == np.uint8 and a.name != "litert" else 0))
        np.concatenate(outputs).astype(np.float32).tofile(a.output)
        put(samples[0] if a.name == "litert" else samples[0].reshape(a.shape))
    except Exception as fault:  # Whatever a peer dislikes is a row of the table.
        print("absent", f"{type(fault).__name__}: {fault}".replace("\n", " ")[:160], flush=True)
        return
    print("ready", importlib.metadata.version(package), flush=True)
    clock = time.perf_counter_ns
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            start = clock()
            run()
            times.append(clock() - start)
        print(*times, flush=True)


main()
