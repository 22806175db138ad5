"""Writes the models of this folder: python make_models.py    (needs numpy and ai-edge-litert, for its schema and interpreter)

all_operators.tflite holds every operator that is imported; LiteRT runs it before it is written. Every other file has one
fault, for which it is named; ../faults.rs says what the importer answers.
"""
import copy, os
import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as S

HERE = os.path.dirname(os.path.abspath(__file__))
B, T, rng = S.BuiltinOperator, S.TensorType, np.random.default_rng(1)
NUMPY = {T.INT8: np.int8, T.UINT8: np.uint8, T.INT32: np.int32, T.INT64: np.int64, T.FLOAT32: np.float32}


class Net:
    """A model under construction; tensors are numbers."""

    def __init__(self):
        self.model, self.graph = S.ModelT(), S.SubGraphT()
        self.model.version, self.model.description = 3, b'test'
        self.model.buffers, self.model.operatorCodes, self.model.subgraphs = [S.BufferT()], [], [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(self, name, shape, kind=T.INT8, scale=0.05, zero=0, axis=0, data=None):
        t = S.TensorT()
        t.name, t.shape, t.type, t.buffer = name.encode(), list(shape), kind, 0
        if scale is not None:
            q = t.quantization = S.QuantizationParametersT()
            q.scale = [float(s) for s in np.atleast_1d(scale)]
            q.zeroPoint = [int(z) for z in np.atleast_1d(zero)] * (len(q.scale) if np.ndim(zero) == 0 else 1)
            q.quantizedDimension = axis
        if data is not None:
            buffer = S.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data, NUMPY[kind]).tobytes(), np.uint8)
            t.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def weights(self, name, shape, kind=T.INT8, scale=0.02, zero=0, axis=0):
        lo, hi = np.iinfo(NUMPY[kind]).min, np.iinfo(NUMPY[kind]).max
        return self.tensor(name, shape, kind, scale, zero, axis, rng.integers(max(lo, -127), hi + 1, shape))

    def bias(self, name, n, scale=0.001):
        return self.tensor(name, [n], T.INT32, scale, 0, 0, rng.integers(-99, 99, n))

    def ints(self, name, values):
        return self.tensor(name, np.shape(values), T.INT32, None, data=values)

    def op(self, code, inputs, output, options=None, custom=None, **attributes):
        c = S.OperatorCodeT()
        c.builtinCode, c.deprecatedBuiltinCode, c.version, c.customCode = code, min(code, 127), 1, custom
        o = S.OperatorT()
        o.opcodeIndex, o.inputs, o.outputs = len(self.model.operatorCodes), inputs, np.atleast_1d(output).tolist()
        self.model.operatorCodes.append(c)
        if options:
            o.builtinOptions = getattr(S, options + 'T')()
            o.builtinOptionsType = getattr(S.BuiltinOptions, options)
            for name, value in attributes.items():
                assert hasattr(o.builtinOptions, name), name
                setattr(o.builtinOptions, name, value)
        self.graph.operators.append(o)
        return output

    def conv(self, x, w, b, y, **more):
        return self.op(B.CONV_2D, [x, w, b], y, 'Conv2DOptions',
                       **{'strideH': 1, 'strideW': 1, 'dilationHFactor': 1, 'dilationWFactor': 1, **more})

    def depthwise(self, x, w, b, y, **more):
        return self.op(B.DEPTHWISE_CONV_2D, [x, w, b], y, 'DepthwiseConv2DOptions',
                       **{'strideH': 1, 'strideW': 1, 'dilationHFactor': 1, 'dilationWFactor': 1, 'depthMultiplier': 1, **more})

    def bytes(self):
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b'TFL3')
        return bytes(builder.Output())

    def save(self, name):
        with open(os.path.join(HERE, name + '.tflite'), 'wb') as f:
            f.write(self.bytes())


def all_operators():
    n = Net()
    t, act = n.tensor, S.ActivationFunctionType
    x = t('input', [1, 8, 8, 2])
    n.graph.inputs = [x]
    pad = n.op(B.PAD, [x, n.ints('borders', [[0, 0], [1, 1], [1, 1], [0, 0]])], t('padded', [1, 10, 10, 2]), 'PadOptions')
    conv = n.conv(pad, n.weights('w1', [4, 3, 3, 2], scale=[.02, .01, .03, .02]), n.bias('b1', 4, [.001] * 4),
                  t('conv', [1, 8, 8, 4]), padding=1, fusedActivationFunction=act.RELU6)
    dw = n.depthwise(conv, n.weights('w2', [1, 3, 3, 4], scale=[.02, .01, .03, .02], axis=3), n.bias('b2', 4, [.001] * 4),
                     t('depthwise', [1, 8, 8, 4], zero=3), padding=0)
    add = n.op(B.ADD, [conv, dw], t('add', [1, 8, 8, 4], scale=.08), 'AddOptions', fusedActivationFunction=act.RELU)
    sub = n.op(B.SUB, [add, dw], t('sub', [1, 8, 8, 4], scale=.09, zero=-5), 'SubOptions')
    mean = n.op(B.MEAN, [sub, n.ints('axes', [-3, 2])], t('mean', [1, 1, 1, 4], scale=.04), 'ReducerOptions', keepDims=True)
    gate = n.op(B.LOGISTIC, [mean], t('gate', [1, 1, 1, 4], scale=1 / 256, zero=-128))
    mul = n.op(B.MUL, [sub, gate], t('mul', [1, 8, 8, 4], scale=.06), 'MulOptions')
    pool = lambda code, a, y: n.op(code, [a], y, 'Pool2DOptions', filterHeight=2, filterWidth=2, strideH=2, strideW=2, padding=1)
    big = pool(B.MAX_POOL_2D, mul, t('max', [1, 4, 4, 4], scale=.06))
    small = pool(B.AVERAGE_POOL_2D, big, t('average', [1, 2, 2, 4], scale=.06))
    swish = n.op(B.HARD_SWISH, [small], t('swish', [1, 2, 2, 4], scale=.05))
    tanh = n.op(B.TANH, [swish], t('tanh', [1, 2, 2, 4], scale=1 / 128))
    # The shape of the next reshape is computed, as converters do for a dynamic batch.
    shape = n.op(B.SHAPE, [tanh], t('shape', [4], T.INT32, None), 'ShapeOptions', outType=T.INT32)
    one, zero = n.ints('one', [1]), n.ints('zero', [0])
    batch = n.op(B.STRIDED_SLICE, [shape, zero, one, one], t('batch', [], T.INT32, None), 'StridedSliceOptions', shrinkAxisMask=1)
    wanted = n.op(B.PACK, [batch, n.tensor('sixteen', [], T.INT32, None, data=16)], t('wanted', [2], T.INT32, None),
                  'PackOptions', valuesCount=2, axis=0)
    flat = n.op(B.RESHAPE, [tanh, wanted], t('flat', [1, 16], scale=1 / 128), 'ReshapeOptions')
    fc = n.op(B.FULLY_CONNECTED, [flat, n.weights('w3', [5, 16]), -1], t('fc', [1, 5], scale=.1), 'FullyConnectedOptions')
    wide = n.op(B.EXPAND_DIMS, [fc, n.tensor('axis', [], T.INT32, None, data=1)], t('wide', [1, 1, 5], scale=.1), 'ExpandDimsOptions')
    narrow = n.op(B.SQUEEZE, [wide], t('narrow', [1, 5], scale=.1), 'SqueezeOptions', squeezeDims=[1])
    soft = n.op(B.SOFTMAX, [narrow], t('softmax', [1, 5], scale=1 / 256, zero=-128), 'SoftmaxOptions', beta=1.0)
    n.graph.outputs = [n.op(B.QUANTIZE, [soft], t('output', [1, 5], T.UINT8, 1 / 256, 0), 'QuantizeOptions')]
    return n


def run(net):
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(model_content=net.bytes())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]['index'], np.ones((1, 8, 8, 2), np.int8))
    interpreter.invoke()


def small(kind=T.INT8, depthwise=False):
    """One convolution, `x` to `y`; its tensors and operator can be spoilt."""
    n, zero = Net(), 0 if kind == T.INT8 else 128
    x, y = n.tensor('x', [1, 4, 4, 2], kind, zero=zero), n.tensor('y', [1, 4, 4, 2], kind, zero=zero)
    w = n.weights('w', [1, 3, 3, 2] if depthwise else [2, 3, 3, 2], kind, zero=zero)
    n.graph.inputs, n.graph.outputs = [x], [(n.depthwise if depthwise else n.conv)(x, w, n.bias('b', 2), y)]
    return n


def chain(code, y=None, options=None, kind=T.INT8, scale=0.05, zero=0, **attributes):
    """One operator from `x` [1, 4] to `y`."""
    n = Net()
    x = n.tensor('x', [1, 4])
    y = n.tensor('y', y or [1, 4], kind, scale, zero)
    n.graph.inputs, n.graph.outputs = [x], [n.op(code, [x], y, options, **attributes)]
    return n


def faults():
    def spoil(net, change, name):
        t = {x.name.decode(): x for x in net.graph.tensors}
        change(net, t, net.graph.operators[0])
        net.save(name)

    def all_float(n, t, op):
        for x in t.values():
            x.type, x.quantization = T.FLOAT32, None
        data = rng.normal(size=36).astype(np.float32)
        n.model.buffers[t['w'].buffer].data = np.frombuffer(data.tobytes(), np.uint8)

    def float_door(n, t, op):
        n.graph.inputs = [n.tensor('door', [1, 4, 4, 2], T.FLOAT32, None)]
        n.op(B.QUANTIZE, n.graph.inputs, 0)
        n.graph.operators.reverse()

    def float_inside(n, t, op):
        n.op(B.DEQUANTIZE, [1], n.tensor('inside', [1, 4, 4, 2], T.FLOAT32, None))
        n.graph.outputs = [n.op(B.QUANTIZE, [4], n.tensor('z', [1, 4, 4, 2]))]

    def storage(n, t, op):
        t['x'].isVariable = True
        t['w'].sparsity = S.SparsityParametersT()
        t['b'].externalBuffer = 1

    def lengths(n, t, op):
        for name in 'wb':
            buffer = n.model.buffers[t[name].buffer]
            buffer.data = buffer.data[:-3]

    def shapes(n, t, op):
        t['x'].shape, t['w'].shape, t['b'].shape, t['y'].shape = [1, 0, 4, 2], [65536] * 4, [-2], [1] * 7

    def quantization(n, t, op):
        t['x'].quantization.scale = [float('nan')]
        t['y'].quantization.zeroPoint = [128]
        t['w'].quantization.scale, t['w'].quantization.zeroPoint = [.1, .1, .1], [0, 0, 0]
        t['b'].quantization.detailsType = 1
        t['b'].quantization.details = S.CustomQuantizationT()

    def no_scale(n, t, op):
        t['x'].quantization, t['w'].quantization = None, None

    def per_channel_activation(n, t, op):
        t['x'].quantization.scale, t['x'].quantization.zeroPoint, t['x'].quantization.quantizedDimension = [.1, .2], [0, 0], 3

    def weight_zero_point(n, t, op):
        t['w'].quantization.scale, t['w'].quantization.zeroPoint = [.1, .2], [0, 5]

    def wrong_axis(n, t, op):
        t['w'].quantization.scale, t['w'].quantization.zeroPoint, t['w'].quantization.quantizedDimension = [.1, .2], [0, 0], 3

    def per_channel(n, t, op):
        t['w'].quantization.scale, t['w'].quantization.zeroPoint = [.1, .2], [128, 128]

    def bias_int64(n, t, op):
        t['b'].type = T.INT64
        n.model.buffers[t['b'].buffer].data = np.zeros(16, np.uint8)

    def not_constant(n, t, op):
        t['w'].buffer = 0
        n.graph.inputs = [0, 2]

    def two_graphs(n, t, op):
        n.model.subgraphs.append(copy.deepcopy(n.graph))

    def order(n, t, op):
        op.inputs[0] = n.tensor('z', [1, 4, 4, 2])
        n.conv(0, 2, 3, 0)

    def cycle(n, t, op):
        op.inputs[0] = n.tensor('z', [1, 4, 4, 2])
        n.conv(1, 2, 3, 4)

    def self_loop(n, t, op):
        op.inputs[0] = n.graph.outputs[0]

    def unwritten_output(n, t, op):
        n.graph.outputs = [n.tensor('u', [1, 4, 4, 2])]

    def inputs(n, t, op):
        n.graph.inputs = [0, 0, 2]

    def numbers(field, values):
        return lambda n, t, op: setattr(op, field, values)

    def set_(which, field, value):
        def change(n, t, op):
            target = {'op': op.builtinOptions, 'model': n.model, 'graph': n.graph}.get(which) or t[which]
            setattr(target, field, value)
        return change

    def scale(name, value):
        return lambda n, t, op: setattr(t[name].quantization, 'scale', [value])

    spoil(small(), all_float, 'float_model')
    spoil(small(), float_door, 'float_door')
    spoil(small(), storage, 'storage')
    spoil(small(), lengths, 'lengths')
    spoil(small(), shapes, 'shapes')
    spoil(small(), quantization, 'quantization')
    spoil(small(), no_scale, 'no_scale')
    spoil(small(), per_channel_activation, 'per_channel_activation')
    spoil(small(), weight_zero_point, 'weight_zero_point')
    spoil(small(), wrong_axis, 'wrong_axis')
    spoil(small(T.UINT8), per_channel, 'uint8_per_channel')
    spoil(small(T.UINT8, True), lambda n, t, op: setattr(t['w'].quantization, 'quantizedDimension', 3), 'uint8_depthwise_axis')
    spoil(small(), set_('y', 'type', T.UINT8), 'mixed_types')
    spoil(small(), set_('x', 'type', T.FLOAT16), 'float16')
    spoil(small(), bias_int64, 'bias_int64')
    spoil(small(), not_constant, 'weights_not_constant')
    spoil(small(), two_graphs, 'two_subgraphs')
    spoil(small(), order, 'order')
    spoil(small(), scale('y', 3.90625e-6), 'multiplier')
    spoil(small(), set_('op', 'strideW', 0), 'stride')
    spoil(small(), set_('op', 'fusedActivationFunction', 4), 'fused_tanh')
    spoil(small(), set_('model', 'version', 2), 'version')
    spoil(small(), set_('graph', 'outputs', []), 'no_outputs')
    spoil(small(), float_inside, 'float_inside')

    n = chain(B.RESHAPE, [4, 1])
    n.graph.operators[0].inputs = [0, n.ints('shape', [2, 2])]
    n.save('reshape')
    n = chain(B.SHAPE, [2], kind=T.INT32, scale=None)
    n.save('shape_is_output')
    chain(B.FULLY_CONNECTED, options='FullyConnectedOptions', weightsFormat=1).save('shuffled_weights')
    chain(B.SOFTMAX, options='SoftmaxOptions', beta=0.0, scale=1 / 255).save('softmax')
    chain(B.HARD_SWISH, scale=0.0001).save('hard_swish')
    n = chain(B.SPLIT, options='SplitOptions', numSplits=3)
    n.graph.operators[0].inputs, n.graph.operators[0].outputs = [n.ints('axis', 1), 0], [1, 1, 1]
    n.save('split')
    n = chain(B.TRANSPOSE)
    n.graph.operators[0].inputs = [0, n.ints('order', [1, 1])]
    n.save('transpose')
    n = chain(B.ELU, kind=T.UINT8)
    n.graph.tensors[0].type = T.UINT8
    n.save('uint8_elu')
    n = chain(B.ADD, options='AddOptions', scale=0.0001)
    n.graph.operators[0].inputs = [0, 0]
    n.save('add_ratio')
    n = chain(B.MUL, options='MulOptions', scale=1e-6)
    n.graph.operators[0].inputs = [0, 0]
    n.save('mul_ratio')

    n = Net()
    n.graph.outputs = [n.tensor('constant', [1 << 14], data=np.zeros(1 << 14)) for _ in range(40)]
    for t in n.graph.tensors:
        t.buffer = 1
    n.model.buffers = n.model.buffers[:2]
    n.save('shared_contents')

    n = Net()
    x, y, z, u = (n.tensor(name, [1, 4]) for name in 'xyzu')
    n.op(B.COS, [x], y)
    n.op(B.CUSTOM, [y, x], z, custom=b'My\x1bOp')
    n.op(B.STABLEHLO_CBRT, [z], u)
    n.graph.inputs, n.graph.outputs = [x], [u]
    n.save('unsupported_operators')

    spoil(small(), cycle, 'cycle')
    spoil(small(), self_loop, 'self_loop')
    spoil(small(), unwritten_output, 'unwritten_output')
    spoil(small(), inputs, 'inputs')
    spoil(small(), numbers('inputs', [99, 1, 2]), 'tensor_index')
    spoil(small(), numbers('opcodeIndex', 7), 'operator_index')
    spoil(small(), set_('w', 'buffer', 50), 'buffer_index')
    spoil(small(), numbers('outputs', []), 'no_result')
    n = chain(B.PAD, [1, 4], 'PadOptions')
    n.graph.operators[0].inputs = [0, n.ints('border', [[0, 0], [65536, -1]])]
    n.save('border')


net = all_operators()
run(net)
net.save('all_operators')
faults()
