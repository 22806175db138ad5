"""Writes operators.npz: python operators.py    (needs numpy and ai-edge-litert)

Networks of one operator with random shapes, attributes and quantization, their inputs, and what LiteRT 2.3.0 with XNNPACK
(x86-64, one thread) answers. For network N the archive holds `N.model` (bytes of the .tflite), `N.input0`, `N.input1` for
operators of two activations, and `N.output`. `names` is text, one name a line.
"""
import pathlib
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as S
from ai_edge_litert.interpreter import Interpreter

HERE = pathlib.Path(__file__).resolve().parent
B, T, A = S.BuiltinOperator, S.TensorType, S.ActivationFunctionType
rng = np.random.default_rng(20250202)
KINDS = {T.INT8: np.int8, T.UINT8: np.uint8, T.INT32: np.int32}


class Net:
    def __init__(self, kind):
        self.kind, self.model, self.graph = kind, S.ModelT(), S.SubGraphT()
        self.model.version, self.model.buffers = 3, [S.BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(self, shape, scale=None, zero=0, data=None, kind=None, axis=0):
        t, kind = S.TensorT(), self.kind if kind is None else kind
        t.name, t.shape, t.type, t.buffer = b't%d' % len(self.graph.tensors), list(map(int, shape)), kind, 0
        if scale is not None:
            t.quantization = S.QuantizationParametersT()
            t.quantization.scale = [float(s) for s in np.atleast_1d(scale)]
            t.quantization.zeroPoint = [int(zero)] * len(t.quantization.scale)
            t.quantization.quantizedDimension = axis
        if data is not None:
            buffer = S.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, KINDS[kind]).tobytes(), np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def input(self, shape, scale, zero):
        self.graph.inputs.append(self.tensor(shape, scale, zero))
        return self.graph.inputs[-1]

    def op(self, code, inputs, output, options=None, **attributes):
        c, o = S.OperatorCodeT(), S.OperatorT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
        o.opcodeIndex, o.inputs, o.outputs = 0, inputs, [output]
        if options:
            o.builtinOptions, o.builtinOptionsType = getattr(S, options + 'T')(), getattr(S.BuiltinOptions, options)
            for name, value in attributes.items():
                assert hasattr(o.builtinOptions, name), name
                setattr(o.builtinOptions, name, value)
        self.model.operatorCodes, self.graph.operators, self.graph.outputs = [c], [o], [output]
        return self

    def bytes(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b'TFL3')
        return bytes(builder.Output())


def limits(kind):
    i = np.iinfo(KINDS[kind])
    return int(i.min), int(i.max)


def zero(kind):
    lo, hi = limits(kind)
    return int(rng.choice([lo, hi, (lo + hi + 1) // 2, int(rng.integers(lo, hi + 1))]))


def scale(lo, hi):
    return np.float32(2.0 ** rng.uniform(lo, hi))


def one_of(*values):
    return values[rng.integers(len(values))]


def activation():
    return one_of(A.NONE, A.NONE, A.RELU, A.RELU6, A.RELU_N1_TO_1)


def extent(n, k, stride, dilation, padding):
    return -(-n // stride) if padding == 0 else (n - (k - 1) * dilation - 1) // stride + 1


def window(net, h, w, c, k, dilations):
    """Strides, dilations, padding, and the output's rows and columns."""
    stride, dilation = int(rng.integers(1, 3)), int(one_of(*dilations))
    dilation = 1 if stride > 1 else dilation
    padding = int(rng.integers(2))
    return stride, dilation, padding, *(extent(n, k, stride, dilation, padding) for n in (h, w))


def conv(kind, depthwise=False):
    net = Net(kind)
    h, w, ci, k = int(rng.integers(5, 9)), int(rng.integers(5, 9)), int(rng.integers(1, 20)), int(one_of(1, 3, 2))
    co = ci * int(one_of(1, 1, 2)) if depthwise else int(rng.integers(1, 40))
    stride, dilation, padding, oh, ow = window(net, h, w, ci, k, (1, 1, 2))
    lo, hi = limits(kind)
    shape = [1, k, k, co] if depthwise else [co, k, k, ci]
    int8 = kind == T.INT8
    si, sw = scale(-8, -3), np.float32(2.0 ** rng.uniform(-9, -5, co)) if int8 else scale(-9, -5)
    taps = k * k * (1 if depthwise else ci)
    so = np.float32(si * np.mean(sw) * 60 * 60 * np.sqrt(taps) / 64 * 2.0 ** rng.uniform(-1, 1))
    x = net.input([1, h, w, ci], si, zero(kind))
    weights = net.tensor(shape, sw, 0 if int8 else int(rng.integers(60, 200)),
                         rng.integers(-127 if int8 else lo, hi + 1, shape), axis=3 if depthwise and int8 else 0)
    bias = net.tensor([co], np.float32(si * sw), 0, rng.integers(-2000, 2000, co), kind=T.INT32)
    y = net.tensor([1, oh, ow, co], so, zero(kind))
    more = dict(depthMultiplier=co // ci) if depthwise else {}
    return net.op(B.DEPTHWISE_CONV_2D if depthwise else B.CONV_2D, [x, weights, bias], y,
                  'DepthwiseConv2DOptions' if depthwise else 'Conv2DOptions', padding=padding, strideH=stride, strideW=stride,
                  dilationHFactor=dilation, dilationWFactor=dilation, fusedActivationFunction=activation(), **more)


def fully_connected(kind):
    net, k, co = Net(kind), int(rng.integers(1, 70)), int(rng.integers(1, 40))
    lo, hi = limits(kind)
    si, sw = scale(-8, -3), scale(-9, -5)
    x = net.input([int(one_of(1, 3)), k], si, zero(kind))
    w = net.tensor([co, k], sw, 0 if kind == T.INT8 else int(rng.integers(60, 200)),
                   rng.integers(-127 if kind == T.INT8 else lo, hi + 1, [co, k]))
    bias = net.tensor([co], np.float32(si * sw), 0, rng.integers(-2000, 2000, co), kind=T.INT32) if rng.integers(2) else -1
    y = net.tensor([net.graph.tensors[x].shape[0], co], np.float32(si * sw * 60 * np.sqrt(k)), zero(kind))
    return net.op(B.FULLY_CONNECTED, [x, w, bias], y, 'FullyConnectedOptions', fusedActivationFunction=activation())


def binary(code, options):
    def make(kind):
        net, shape = Net(kind), [1, int(rng.integers(1, 6)), int(rng.integers(1, 9)), int(rng.integers(1, 20))]
        so = scale(-8, -2)
        ratio = (-6, 7) if rng.integers(3) == 0 else (-1.5, 1)
        sa, sb = (np.float32(so * 2.0 ** rng.uniform(*ratio)) for _ in range(2))
        if code == B.MUL:
            sb = np.float32(2.0 ** rng.uniform(-9, -5))
        second = [1, 1, 1, shape[3]] if code == B.MUL and rng.integers(2) else shape
        a, b = net.input(shape, sa, zero(kind)), net.input(second, sb, zero(kind))
        return net.op(code, [a, b], net.tensor(shape, so, zero(kind)), options, fusedActivationFunction=activation())
    return make


def scalar(code, options, first=False):
    """One operand is a constant of one element."""
    def make(kind):
        net, so = Net(kind), scale(-8, -2)
        sa, sb = (np.float32(so * 2.0 ** rng.uniform(-1.5, 2)) for _ in range(2))
        if code == B.MUL:
            sb = np.float32(2.0 ** rng.uniform(-9, -5))
        x, c = net.input([1, 256], sa, zero(kind)), net.tensor([], sb, zero(kind), zero(kind))
        return net.op(code, [c, x] if first else [x, c], net.tensor([1, 256], so, zero(kind)), options,
                      fusedActivationFunction=activation())
    return make


def pool(code):
    def make(kind):
        net, h, w, c, k = Net(kind), int(rng.integers(4, 9)), int(rng.integers(4, 9)), int(rng.integers(1, 20)), int(one_of(2, 3, 4))
        stride, _, padding, oh, ow = window(net, h, w, c, k, (1,))
        s, z = scale(-7, 0), zero(kind)
        x, y = net.input([1, h, w, c], s, z), net.tensor([1, oh, ow, c], s, z)
        return net.op(code, [x], y, 'Pool2DOptions', padding=padding, strideH=stride, strideW=stride, filterHeight=k,
                      filterWidth=k, fusedActivationFunction=activation())
    return make


def mean(kind):
    net, h, w, c = Net(kind), int(rng.integers(1, 9)), int(rng.integers(1, 9)), int(rng.integers(1, 20))
    si, keep = scale(-8, -2), bool(rng.integers(2))
    x = net.input([1, h, w, c], si, zero(kind))
    axes = net.tensor([2], data=[1, 2], kind=T.INT32)
    y = net.tensor([1, 1, 1, c] if keep else [1, c], np.float32(si * 2.0 ** rng.uniform(-2, 1)), zero(kind))
    return net.op(B.MEAN, [x, axes], y, 'ReducerOptions', keepDims=keep)


def pad(kind):
    net, shape = Net(kind), rng.integers(1, 6, 4)
    amounts = rng.integers(0, 3, (4, 2))
    amounts[0] = 0
    shape[0] = 1
    s, z = scale(-8, -2), zero(kind)
    x, amount = net.input(shape, s, z), net.tensor([4, 2], data=amounts, kind=T.INT32)
    return net.op(B.PAD, [x, amount], net.tensor(shape + amounts.sum(1), s, z), 'PadOptions')


def softmax(kind):
    net, n = Net(kind), int(rng.integers(2, 40))
    x = net.input([3, n], scale(-8, 0), zero(kind))
    y = net.tensor([3, n], 1 / 256, -128 if kind == T.INT8 else 0)
    return net.op(B.SOFTMAX, [x], y, 'SoftmaxOptions', beta=float(one_of(1.0, 0.7)))


def unary(code, lo, hi, out):
    def make(kind):
        net, si = Net(kind), scale(lo, hi)
        x = net.input([1, 256], si, zero(kind))
        so = out(si)
        return net.op(code, [x], net.tensor([1, 256], so, zero(kind)))
    return make


def quantize(mixed):
    def make(kind):
        net, si = Net(kind), scale(-8, 0)
        other = (T.UINT8 if kind == T.INT8 else T.INT8) if mixed else kind
        x, so = net.input([1, 256], si, zero(kind)), np.float32(si * 2.0 ** rng.uniform(-6, 7))
        return net.op(B.QUANTIZE, [x], net.tensor([1, 256], so, zero(other), kind=other), 'QuantizeOptions')
    return make


OPERATORS = [
    ('conv', 12, conv),
    ('depthwise', 12, lambda kind: conv(kind, True)),
    ('fully_connected', 8, fully_connected),
    ('add', 8, binary(B.ADD, 'AddOptions')),
    ('sub', 8, binary(B.SUB, 'SubOptions')),
    ('mul', 8, binary(B.MUL, 'MulOptions')),
    ('average_pool', 8, pool(B.AVERAGE_POOL_2D)),
    ('max_pool', 8, pool(B.MAX_POOL_2D)),
    ('mean', 8, mean),
    ('pad', 4, pad),
    ('softmax', 8, softmax),
    ('logistic', 6, unary(B.LOGISTIC, -8, 0, lambda si: scale(-9, -6))),
    ('tanh', 6, unary(B.TANH, -8, 0, lambda si: scale(-8, -6))),
    ('hard_swish', 6, unary(B.HARD_SWISH, -8, -2, lambda si: np.float32(si * 2.0 ** rng.uniform(-2, 2)))),
    ('quantize', 6, quantize(False)),
    ('quantize_mixed', 6, quantize(True)),
    ('add_scalar', 4, scalar(B.ADD, 'AddOptions')),
    ('sub_scalar', 4, scalar(B.SUB, 'SubOptions')),
    ('scalar_sub', 4, scalar(B.SUB, 'SubOptions', True)),
    ('mul_scalar', 4, scalar(B.MUL, 'MulOptions')),
]


def answer(model, kind):
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    lo, hi = limits(kind)
    inputs = []
    for door in interpreter.get_input_details():
        x = rng.integers(lo, hi + 1, door['shape'])
        if x.size == 256:
            x = np.arange(lo, hi + 1).reshape(x.shape)
        inputs.append(x.astype(KINDS[kind]))
        interpreter.set_tensor(door['index'], inputs[-1])
    interpreter.invoke()
    return inputs, interpreter.get_tensor(interpreter.get_output_details()[0]['index'])


def main():
    arrays, names = {}, []
    for name, count, make in OPERATORS:
        for kind, suffix in ((T.INT8, 'int8'), (T.UINT8, 'uint8')):
            for i in range(count):
                case, model = '%s_%s_%d' % (name, suffix, i), make(kind).bytes()
                inputs, output = answer(model, kind)
                names.append(case)
                arrays[case + '.model'] = np.frombuffer(model, np.uint8)
                arrays[case + '.output'] = output
                for j, x in enumerate(inputs):
                    arrays['%s.input%d' % (case, j)] = x
    arrays['names'] = np.frombuffer('\n'.join(names).encode(), np.uint8)
    np.savez_compressed(HERE / 'operators.npz', **arrays)
    print(len(names), 'networks')


main()
