"""Gives every peer the same network in the form that it reads: run by `cargo xtask bench peers`.

    python prepare.py MODEL.tflite GOLDEN.npz QDQ.onnx|- FOLDER

From an int8 `.tflite`, its golden samples, and the same network with the same weights and scales as an ONNX file with
QuantizeLinear and DequantizeLinear (u8 activations, NCHW), it writes into FOLDER:

    input.i8, input.u8, input.f32   up to four golden samples: int8 as the tflite takes them; as u8 NCHW; as real numbers NCHW
    golden.i8                       their outputs
    qdq.onnx                        the QDQ network; a softmax at its end is cut off where the tflite ends with logits
    fp32.onnx                       the same weights and scales in float, without the steps that only quantize
    fp32.mnn, fp32.ncnn.{param,bin} that, converted by the tools of MNN and ncnn
    about.json                      {samples, shape, scale, zero_point, absent: {form: why}}; scale of the output
"""
import importlib.util
import json
import os
import subprocess
import sys

import numpy as np

SAMPLES = 4


def cut_softmax(model):
    """Dequantize -> (Reshape ->) Softmax -> Quantize becomes Dequantize -> (Reshape ->) Quantize with the scale before it."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    last = made_by[graph.output[0].name]
    softmax = made_by.get(last.input[0])
    if softmax is None or softmax.op_type != "Softmax":
        return model
    before = made_by[softmax.input[0]]
    while before.op_type == "Reshape":
        before = made_by[before.input[0]]
    last.input[:] = [softmax.input[0], *before.input[1:]]
    graph.node.remove(softmax)
    return model


def to_float(model):
    """The network in float. Quantizing clips, and a quantized ReLU is nothing but that clip: it stays where zero is the lower end."""
    import onnx
    from onnx import numpy_helper
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    rename, nodes, used = {}, [], {}

    def name_of(name):
        while name in rename:
            name = rename[name]
        return name

    def constant(name, array):
        used[name] = numpy_helper.from_array(np.asarray(array, dtype=np.float32), name)

    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            values, scale = constants[node.input[0]].astype(np.float64), constants[node.input[1]]
            zero = constants[node.input[2]].astype(np.float64) if len(node.input) > 2 else np.zeros(1)
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            if scale.ndim and scale.size > 1:
                spread = [1] * values.ndim
                spread[axis] = -1
                scale, zero = scale.reshape(spread), (zero.reshape(spread) if zero.size > 1 else zero)
            constant(node.output[0], (values - zero) * scale)
        elif node.op_type == "DequantizeLinear":
            rename[node.output[0]] = node.input[0]
        elif node.op_type == "QuantizeLinear":
            scale, zero = constants[node.input[1]].item(), constants[node.input[2]].item()
            if zero == 0 and node.output[0] != graph.output[0].name:
                low, high = node.output[0] + "_low", node.output[0] + "_high"
                constant(low, 0.0)
                constant(high, 255 * scale)
                nodes.append(onnx.helper.make_node("Clip", [name_of(node.input[0]), low, high], [node.output[0]]))
            else:
                rename[node.output[0]] = node.input[0]
        else:
            kept = onnx.NodeProto()
            kept.CopyFrom(node)
            kept.input[:] = [name_of(name) for name in node.input]
            nodes.append(kept)
            for name in node.input:
                if name in constants:
                    used[name] = numpy_helper.from_array(constants[name], name)
    shape = lambda value: [d.dim_value for d in value.type.tensor_type.shape.dim]
    float_io = lambda name, dims: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)
    result = onnx.helper.make_graph(
        nodes, "float", [float_io(graph.input[0].name, shape(graph.input[0]))],
        [float_io(name_of(graph.output[0].name), shape(graph.output[0]))], list(used.values()))
    result = onnx.helper.make_model(result, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(result)
    return result


def convert(form, made, command, folder, absent):
    """Runs a converter; what it says goes to a file, and why it failed into `absent`."""
    try:
        with open(os.path.join(folder, form + ".log"), "w") as log:
            subprocess.run(command, cwd=folder, stdout=log, stderr=log, check=True, timeout=300)
        if not os.path.exists(os.path.join(folder, made)):
            absent[form] = f"{os.path.basename(command[0])} wrote no {made}"
    except (OSError, subprocess.SubprocessError) as fault:
        absent[form] = f"{os.path.basename(command[0])}: {type(fault).__name__}"


def main():
    tflite, golden, qdq, folder = sys.argv[1:]
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_path=tflite)
    door, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    os.makedirs(folder, exist_ok=True)
    path = lambda name: os.path.join(folder, name)
    data = np.load(golden)
    inputs = data["input"][:SAMPLES]
    outputs = (data["output_xnnpack"] if "output_xnnpack" in data else data["output"])[:SAMPLES]
    inputs.tofile(path("input.i8"))
    outputs.tofile(path("golden.i8"))
    nchw = np.moveaxis(inputs, -1, 1) if inputs.ndim == 4 else inputs
    (nchw.astype(np.int16) + 128).astype(np.uint8).tofile(path("input.u8"))
    scale, zero = door["quantization"]
    ((nchw.astype(np.float32) - zero) * np.float32(scale)).tofile(path("input.f32"))
    absent = {}
    if qdq == "-":
        absent = {form: "no ONNX form of this network" for form in ("qdq", "fp32", "mnn", "ncnn")}
    else:
        import onnx
        model = onnx.load(qdq)
        if "logits" in tflite:
            model = cut_softmax(model)
        onnx.save(model, path("qdq.onnx"))
        onnx.save(to_float(model), path("fp32.onnx"))
        tool = lambda name: os.path.join(os.path.dirname(sys.executable), name)
        convert("mnn", "fp32.mnn", [tool("mnnconvert"), "-f", "ONNX", "--modelFile", "fp32.onnx", "--MNNModel", "fp32.mnn",
                                    "--bizCode", "peers"], folder, absent)
        # The program inside the package: its Python module wants a whole framework that this does not need.
        pnnx = importlib.util.find_spec("pnnx")
        pnnx = os.path.join(pnnx.submodule_search_locations[0], "pnnx") if pnnx else "pnnx"
        convert("ncnn", "fp32.ncnn.param", [pnnx, "fp32.onnx", "fp16=0"], folder, absent)
    scale, zero = exit_["quantization"]
    about = {"samples": len(inputs), "shape": [1, *nchw.shape[1:]], "scale": scale, "zero_point": zero, "absent": absent}
    with open(path("about.json"), "w") as file:
        json.dump(about, file)


main()
