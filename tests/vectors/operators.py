"""Writes operators_int8.npz and operators_uint8.npz: python operators.py    (needs numpy and ai-edge-litert)

Networks of one operator with random shapes, attributes and quantization, their inputs, and what LiteRT 2.3.0 with XNNPACK
(x86-64, one thread) answers. For network N the archive holds `N.model` (bytes of the .tflite), `N.input0`, `N.input1` for
operators of two activations, `N.output`, and `N.output1` and so on where there are more. `names` is text, one name a line.
"""
import pathlib
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as S
from ai_edge_litert.interpreter import Interpreter

HERE = pathlib.Path(__file__).resolve().parent
B, T, A = S.BuiltinOperator, S.TensorType, S.ActivationFunctionType
rng = np.random.default_rng(20250202)
KINDS = {T.INT8: np.int8, T.UINT8: np.uint8, T.INT32: np.int32, T.INT64: np.int64, T.FLOAT32: np.float32}
INT8 = (T.INT8,)


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

    def input(self, shape, scale=None, zero=0, kind=None):
        self.graph.inputs.append(self.tensor(shape, scale, zero, kind=kind))
        return self.graph.inputs[-1]

    def op(self, code, inputs, output, options=None, **attributes):
        c, o = S.OperatorCodeT(), S.OperatorT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), 1
        o.opcodeIndex, o.inputs, o.outputs = 0, inputs, np.atleast_1d(output).tolist()
        if options:
            o.builtinOptions, o.builtinOptionsType = getattr(S, options + 'T')(), getattr(S.BuiltinOptions, options)
            for name, value in attributes.items():
                assert hasattr(o.builtinOptions, name), name
                setattr(o.builtinOptions, name, value)
        self.model.operatorCodes, self.graph.operators, self.graph.outputs = [c], [o], o.outputs
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


def ints(net, values):
    return net.tensor(np.shape(values), data=values, kind=T.INT32)


def grouped(kind):
    net, groups, gi, go = Net(kind), int(one_of(2, 3, 4, 8)), int(one_of(1, 2, 4)), int(one_of(1, 4, 8, 20))
    h, w, k, ci, co = int(rng.integers(4, 8)), int(rng.integers(4, 8)), int(one_of(1, 3)), groups * gi, groups * go
    stride, dilation, padding, oh, ow = window(net, h, w, ci, k, (1, 1, 2))
    int8, (lo, hi) = kind == T.INT8, limits(kind)
    si, sw = scale(-8, -3), np.float32(2.0 ** rng.uniform(-9, -5, co)) if int8 else scale(-9, -5)
    so = np.float32(si * np.mean(sw) * 60 * 60 * np.sqrt(k * k * gi) / 64 * 2.0 ** rng.uniform(-1, 1))
    x = net.input([1, h, w, ci], si, zero(kind))
    weights = net.tensor([co, k, k, gi], sw, 0 if int8 else int(rng.integers(60, 200)),
                         rng.integers(-127 if int8 else lo, hi + 1, [co, k, k, gi]))
    bias = net.tensor([co], np.float32(si * sw), 0, rng.integers(-2000, 2000, co), kind=T.INT32)
    return net.op(B.CONV_2D, [x, weights, bias], net.tensor([1, oh, ow, co], so, zero(kind)), 'Conv2DOptions', padding=padding,
                  strideH=stride, strideW=stride, dilationHFactor=dilation, dilationWFactor=dilation,
                  fusedActivationFunction=activation())


def transpose_conv(kind):
    net, h, w, k, stride = Net(kind), int(rng.integers(2, 6)), int(rng.integers(2, 6)), int(one_of(2, 3, 4)), int(one_of(1, 2, 3))
    k = max(k, stride)  # the original takes another kernel where the stride is larger
    ci, co, padding, int8 = int(rng.integers(1, 12)), int(rng.integers(1, 20)), int(rng.integers(2)), kind == T.INT8
    if padding == 0:
        oh, ow = h * stride, w * stride
    else:
        oh, ow = (n * stride + max(k - stride, 0) for n in (h, w))
    si, sw, (lo, hi) = scale(-8, -3), np.float32(2.0 ** rng.uniform(-9, -5, co)) if int8 else scale(-9, -5), limits(kind)
    so = np.float32(si * np.mean(sw) * 60 * 60 * np.sqrt(k * k * ci) / 64)
    x, shape = net.input([1, h, w, ci], si, zero(kind)), ints(net, [1, oh, ow, co])
    weights = net.tensor([co, k, k, ci], sw, 0 if int8 else int(rng.integers(60, 200)),
                         rng.integers(-127 if int8 else lo, hi + 1, [co, k, k, ci]))
    operands = [shape, weights, x]
    if rng.integers(2):
        operands.append(net.tensor([co], np.float32(si * sw), 0, rng.integers(-2000, 2000, co), kind=T.INT32))
    return net.op(B.TRANSPOSE_CONV, operands, net.tensor([1, oh, ow, co], so, zero(kind)), 'TransposeConvOptions', padding=padding,
                  strideH=stride, strideW=stride, fusedActivationFunction=one_of(A.NONE, A.RELU))


def batch_matmul(kind):
    net, k, n, turned = Net(kind), int(rng.integers(1, 60)), int(rng.integers(1, 40)), bool(rng.integers(2))
    si, sw, shape = scale(-8, -3), scale(-9, -5), one_of([1, 5], [2, 3], [1, 1])
    x = net.input(shape + [k], si, zero(kind))
    w = net.tensor([1, n, k] if turned else [1, k, n], sw, 0, rng.integers(-127, 128, k * n))
    y = net.tensor(shape + [n], np.float32(si * sw * 60 * np.sqrt(k)), zero(kind))
    return net.op(B.BATCH_MATMUL, [x, w], y, 'BatchMatMulOptions', adjY=turned)


def shapes_that_broadcast():
    shape = list(map(int, rng.integers(1, 7, int(rng.integers(1, 5)))))
    shape[-1] = int(rng.integers(1, 40))
    other = [int(one_of(1, n)) for n in shape][int(rng.integers(len(shape))):]
    return one_of((shape, other), (other, shape))


def broadcast(code, options, constant):
    """Shapes that broadcast; `constant` is the operand that is one, if any."""
    def make(kind):
        net, so, shapes = Net(kind), scale(-8, -2), shapes_that_broadcast()
        sa, sb = (np.float32(so * 2.0 ** rng.uniform(-1.5, 1)) for _ in range(2))
        za, zb, zo = zero(kind), zero(kind), zero(kind)
        if code == B.MUL:
            sb = np.float32(2.0 ** rng.uniform(-9, -5))
        if code in (B.MAXIMUM, B.MINIMUM):
            sa, sb, za, zb = so, so, zo, zo
        lo, hi = limits(kind)
        operands = [net.tensor(shape, s, z, rng.integers(lo, hi + 1, shape)) if i == constant else net.input(shape, s, z)
                    for i, (shape, s, z) in enumerate(zip(shapes, (sa, sb), (za, zb)))]
        y = net.tensor(np.broadcast_shapes(*shapes), so, zo)
        fused = {} if code in (B.MAXIMUM, B.MINIMUM) else dict(fusedActivationFunction=activation())
        return net.op(code, operands, y, options, **fused)
    return make


def prelu(kind):
    net, shape = Net(kind), [1, int(rng.integers(1, 6)), int(rng.integers(1, 9)), int(rng.integers(1, 20))]
    si, sa, (lo, hi) = scale(-8, -3), scale(-9, -4), limits(kind)
    slopes = [1, 1, shape[3]]
    x, a = net.input(shape, si, zero(kind)), net.tensor(slopes, sa, zero(kind), rng.integers(lo, hi + 1, slopes))
    return net.op(B.PRELU, [x, a], net.tensor(shape, np.float32(si * 2.0 ** rng.uniform(-2, 2)), zero(kind)))


def reduce(code, same=False):
    def make(kind):
        net, shape, si, z = Net(kind), list(map(int, rng.integers(1, 7, 4))), scale(-8, -2), zero(kind)
        axes = sorted(rng.choice(4, int(rng.integers(1, 4)), replace=False).tolist())
        keep, n = bool(rng.integers(2)), int(np.prod([shape[a] for a in axes]))
        so = si if same else np.float32(si * (np.sqrt(n) if code == B.SUM else 1) * 2.0 ** rng.uniform(-2, 1))
        x, out = net.input(shape, si, z), [1 if d in axes else n for d, n in enumerate(shape) if keep or d not in axes]
        return net.op(code, [x, ints(net, axes)], net.tensor(out, so, z if same else zero(kind)), 'ReducerOptions', keepDims=keep)
    return make


def concat(unequal):
    def make(kind):
        net, n, rank = Net(kind), int(rng.integers(2, 8)), int(rng.integers(1, 5))
        axis, shape, so, zo = int(rng.integers(rank)), list(map(int, rng.integers(1, 7, rank))), scale(-8, -2), zero(kind)
        operands, total, (lo, hi) = [], 0, limits(kind)
        for i in range(n):
            mine = list(shape)
            mine[axis] = int(rng.integers(1, 7))
            total += mine[axis]
            s, z = (np.float32(so * 2.0 ** rng.uniform(-2, 2)), zero(kind)) if unequal else (so, zo)
            operands.append(net.tensor(mine, s, z, rng.integers(lo, hi + 1, mine)) if i == 2 else net.input(mine, s, z))
        shape[axis] = total
        return net.op(B.CONCATENATION, operands, net.tensor(shape, so, zo), 'ConcatenationOptions',
                      axis=axis - rank * int(rng.integers(2)))
    return make


def moved(code, options, form):
    """An operator that moves elements: `form` gives its operands behind the first, its shapes and attributes."""
    def make(kind):
        net, shape = Net(kind), list(map(int, rng.integers(1, 7, int(rng.integers(2, 5)))))
        s, z = scale(-8, -2), zero(kind)
        x = net.input(shape, s, z)
        constants, outs, attributes, first = form(net, shape)
        if first is not None:
            net.graph.tensors[x].shape = shape = first
        operands = [c if c is not None else x for c in ([None] + constants if None not in constants else constants)]
        return net.op(code, operands, [net.tensor(out, s, z) for out in outs], options, **attributes)
    return make


def of_transpose(net, shape):
    order = rng.permutation(len(shape))
    return [ints(net, order)], [[shape[d] for d in order]], {}, None


def of_slice(net, shape):
    begin = [int(rng.integers(n)) for n in shape]
    size = [int(rng.integers(1, n - b + 1)) for n, b in zip(shape, begin)]
    stated = [int(one_of(s, -1)) if b + s == n else s for n, b, s in zip(shape, begin, size)]
    return [ints(net, begin), ints(net, stated)], [size], {}, None


def of_strided_slice(net, shape):
    begin, end, step, out, shrink, begin_mask, end_mask = [], [], [], [], 0, 0, 0
    for d, n in enumerate(shape):
        s, a, b = int(one_of(1, 1, 2, 3, -1, -2)), int(rng.integers(n)), int(rng.integers(n))
        if rng.integers(5) == 0:
            s, shrink = 1, shrink | 1 << d
            b = a + 1
        elif s > 0:
            a, b = min(a, b), max(a, b) + 1
        else:
            a, b = max(a, b), min(a, b) - 1
        masked = [bool(rng.integers(3) == 0) and not shrink >> d & 1 for _ in range(2)]
        begin_mask, end_mask = begin_mask | masked[0] << d, end_mask | masked[1] << d
        first = (0 if s > 0 else n - 1) if masked[0] else a
        last = (n if s > 0 else -1) if masked[1] else b
        if not shrink >> d & 1:
            out.append(len(range(first, last, s)))
        begin.append(a - n * int(rng.integers(2)))
        end.append(-n - 3 if b < 0 else b)
        step.append(s)
    attributes = dict(shrinkAxisMask=shrink, beginMask=begin_mask, endMask=end_mask)
    return [ints(net, begin), ints(net, end), ints(net, step)], [out], attributes, None


def of_split(net, shape):
    axis, n = int(rng.integers(len(shape))), int(rng.integers(1, 4))
    part = list(shape)
    shape[axis] *= n
    return [net.tensor([], data=axis, kind=T.INT32), None], [part] * n, dict(numSplits=n), shape


def of_split_v(net, shape):
    axis, sizes = int(rng.integers(len(shape))), [int(n) for n in rng.integers(1, 5, int(rng.integers(1, 4)))]
    shape[axis] = sum(sizes)
    outs = [[size if d == axis else n for d, n in enumerate(shape)] for size in sizes]
    stated = [-1] + sizes[1:] if rng.integers(2) else sizes
    return [ints(net, stated), net.tensor([], data=axis, kind=T.INT32)], outs, dict(numSplits=len(sizes)), shape


def of_unpack(net, shape):
    axis = int(rng.integers(len(shape)))
    out = [n for d, n in enumerate(shape) if d != axis]
    return [], [out] * shape[axis], dict(num=shape[axis], axis=axis), None


def of_tile(net, shape):
    times = rng.integers(1, 4, len(shape))
    return [ints(net, times)], [(shape * times).tolist()], {}, None


def of_reverse(net, shape):
    return [ints(net, [int(rng.integers(len(shape)))])], [shape], {}, None


def of_gather(net, shape):
    axis, n = int(rng.integers(len(shape))), int(rng.integers(1, 9))
    return [ints(net, rng.integers(0, shape[axis], n))], [[n if d == axis else e for d, e in enumerate(shape)]], dict(axis=axis), None


def of_depth_to_space(net, shape):
    b, h, w, c = int(one_of(2, 3)), int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(1, 6))
    return [], [[2, h * b, w * b, c]], dict(blockSize=b), [2, h, w, c * b * b]


def of_space_to_depth(net, shape):
    b, h, w, c = int(one_of(2, 3)), int(rng.integers(1, 5)), int(rng.integers(1, 5)), int(rng.integers(1, 6))
    return [], [[2, h, w, c * b * b]], dict(blockSize=b), [2, h * b, w * b, c]


def of_padv2(net, shape):
    amounts = rng.integers(0, 3, (len(shape), 2))
    x = net.graph.tensors[0].quantization
    value = net.tensor([], x.scale[0], x.zeroPoint[0], int(rng.integers(*limits(net.kind))))
    return [ints(net, amounts), value], [(shape + amounts.sum(1)).tolist()], {}, None


def pack(kind):
    net, shape, n, s, z = Net(kind), list(map(int, rng.integers(1, 7, 3))), int(rng.integers(1, 5)), scale(-8, -2), zero(kind)
    axis = int(rng.integers(4))
    y = net.tensor(shape[:axis] + [n] + shape[axis:], s, z)
    return net.op(B.PACK, [net.input(shape, s, z) for _ in range(n)], y, 'PackOptions', valuesCount=n, axis=axis)


def resize(code, options):
    def make(kind):
        net, (h, w, oh, ow), c = Net(kind), map(int, rng.integers(1, 12, 4)), int(rng.integers(1, 20))
        s, z, (align, half) = scale(-8, -2), zero(kind), one_of((False, False), (True, False), (False, True))
        x, y = net.input([1, h, w, c], s, z), net.tensor([1, oh, ow, c], s, z)
        return net.op(code, [x, ints(net, [oh, ow])], y, options, alignCorners=align, halfPixelCenters=half)
    return make


def arg(code, options):
    def make(kind):
        net, shape, axis, out = Net(kind), list(map(int, rng.integers(1, 9, 4))), int(rng.integers(4)), one_of(T.INT32, T.INT64)
        x, a = net.input(shape, scale(-8, -2), zero(kind)), ints(net, [axis])
        y = net.tensor([n for d, n in enumerate(shape) if d != axis], kind=out)
        return net.op(code, [x, a], y, options, outputType=out)
    return make


def from_float(kind):
    net, shape = Net(kind), [3, 67]
    return net.op(B.QUANTIZE, [net.input(shape, kind=T.FLOAT32)], net.tensor(shape, scale(-8, 2), zero(kind)), 'QuantizeOptions')


def to_float(kind):
    net, shape = Net(kind), [1, 256]
    return net.op(B.DEQUANTIZE, [net.input(shape, scale(-8, 2), zero(kind))], net.tensor(shape, kind=T.FLOAT32), 'DequantizeOptions')


def function(code, options=None, lo=-8, hi=-2, out=None, **attributes):
    def make(kind):
        net, si = Net(kind), scale(lo, hi)
        x = net.input([1, 256], si, zero(kind))
        so = out(si) if out else np.float32(si * 2.0 ** (rng.uniform(-9, 8) if rng.integers(4) == 0 else rng.uniform(-2, 2)))
        more = {name: value() for name, value in attributes.items()}
        return net.op(code, [x], net.tensor([1, 256], so, zero(kind)), options, **more)
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
    ('grouped_conv', 16, grouped),
    ('transpose_conv', 16, transpose_conv),
    ('batch_matmul', 8, batch_matmul, INT8),
    ('add_broadcast', 8, broadcast(B.ADD, 'AddOptions', None)),
    ('sub_broadcast', 8, broadcast(B.SUB, 'SubOptions', None)),
    ('mul_broadcast', 8, broadcast(B.MUL, 'MulOptions', None)),
    ('add_constant', 8, broadcast(B.ADD, 'AddOptions', 1)),
    ('constant_sub', 8, broadcast(B.SUB, 'SubOptions', 0)),
    ('sub_constant', 8, broadcast(B.SUB, 'SubOptions', 1)),
    ('constant_mul', 8, broadcast(B.MUL, 'MulOptions', 0)),
    ('maximum', 6, broadcast(B.MAXIMUM, 'MaximumMinimumOptions', None)),
    ('minimum', 6, broadcast(B.MINIMUM, 'MaximumMinimumOptions', 1)),
    ('prelu', 8, prelu),
    ('mean_any', 16, reduce(B.MEAN)),
    ('sum', 12, reduce(B.SUM)),
    ('reduce_max', 8, reduce(B.REDUCE_MAX, True)),
    ('concat', 12, concat(False)),
    ('concat_unequal', 8, concat(True), (T.UINT8,)),
    ('pack', 6, pack),
    ('transpose', 8, moved(B.TRANSPOSE, 'TransposeOptions', of_transpose)),
    ('slice', 6, moved(B.SLICE, 'SliceOptions', of_slice)),
    ('strided_slice', 12, moved(B.STRIDED_SLICE, 'StridedSliceOptions', of_strided_slice)),
    ('split', 6, moved(B.SPLIT, 'SplitOptions', of_split)),
    ('split_v', 6, moved(B.SPLIT_V, 'SplitVOptions', of_split_v)),
    ('unpack', 6, moved(B.UNPACK, 'UnpackOptions', of_unpack)),
    ('tile', 6, moved(B.TILE, 'TileOptions', of_tile)),
    ('reverse', 4, moved(B.REVERSE_V2, 'ReverseV2Options', of_reverse)),
    ('gather', 6, moved(B.GATHER, 'GatherOptions', of_gather)),
    ('depth_to_space', 4, moved(B.DEPTH_TO_SPACE, 'DepthToSpaceOptions', of_depth_to_space)),
    ('space_to_depth', 4, moved(B.SPACE_TO_DEPTH, 'SpaceToDepthOptions', of_space_to_depth)),
    ('padv2', 6, moved(B.PADV2, 'PadV2Options', of_padv2)),
    ('resize_bilinear', 16, resize(B.RESIZE_BILINEAR, 'ResizeBilinearOptions')),
    ('resize_nearest', 12, resize(B.RESIZE_NEAREST_NEIGHBOR, 'ResizeNearestNeighborOptions')),
    ('arg_max', 6, arg(B.ARG_MAX, 'ArgMaxOptions')),
    ('arg_min', 6, arg(B.ARG_MIN, 'ArgMinOptions')),
    ('from_float', 6, from_float),
    ('to_float', 4, to_float),
    ('relu', 6, function(B.RELU)),
    ('relu6', 6, function(B.RELU6)),
    ('relu_n1_to_1', 6, function(B.RELU_N1_TO_1)),
    ('relu_0_to_1', 6, function(B.RELU_0_TO_1)),
    ('leaky_relu', 12, function(B.LEAKY_RELU, 'LeakyReluOptions', alpha=lambda: float(np.float32(rng.uniform(-.5, 1.5))))),
    ('gelu', 8, function(B.GELU, 'GeluOptions', approximate=lambda: bool(rng.integers(2)))),
    ('elu', 8, function(B.ELU), INT8),
    ('exp', 8, function(B.EXP, 'ExpOptions'), INT8),
    ('log', 8, function(B.LOG), INT8),
    ('abs', 6, function(B.ABS, 'AbsOptions'), INT8),
]


def answer(model, kind):
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    lo, hi = limits(kind)
    inputs = []
    for door in interpreter.get_input_details():
        if door['dtype'] == np.float32:
            x = rng.normal(size=door['shape']) * 2.0 ** rng.uniform(-8, 10)
            x.flat[:8] = [0, -0.0, np.inf, -np.inf, 1e38, -1e38, 0.5, 1.5]
            inputs.append(x.astype(np.float32))
        else:
            x = rng.integers(lo, hi + 1, door['shape'])
            if x.size == 256:
                x = np.arange(lo, hi + 1).reshape(x.shape)
            inputs.append(x.astype(KINDS[kind]))
        interpreter.set_tensor(door['index'], inputs[-1])
    interpreter.invoke()
    return inputs, [interpreter.get_tensor(door['index']) for door in interpreter.get_output_details()]


def main():
    for kind, suffix in ((T.INT8, 'int8'), (T.UINT8, 'uint8')):
        arrays, names = {}, []
        for name, count, make, *kinds in OPERATORS:
            if kinds and kind not in kinds[0]:
                continue
            for i in range(count):
                case, model = '%s_%s_%d' % (name, suffix, i), make(kind).bytes()
                inputs, outputs = answer(model, kind)
                names.append(case)
                arrays[case + '.model'] = np.frombuffer(model, np.uint8)
                for j, output in enumerate(outputs):
                    arrays[case + '.output' + (str(j) if j else '')] = output
                for j, x in enumerate(inputs):
                    arrays['%s.input%d' % (case, j)] = x
        arrays['names'] = np.frombuffer('\n'.join(names).encode(), np.uint8)
        np.savez_compressed(HERE / ('operators_%s.npz' % suffix), **arrays)
        print(len(names), 'networks of', suffix)


if __name__ == '__main__':
    main()
