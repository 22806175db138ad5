"""Prints the rows of ../models.rs: python digest_models.py FILE.tflite ...    (needs numpy and ai-edge-litert, for its schema)

The last column is the CRC-32 over all operators that are imported, in order: for each operand, then the result, its scales,
its zero points (int32) and, of a constant, its contents.
"""
import collections, sys, zlib
import numpy as np
from ai_edge_litert import schema_py_generated as S

NAMES = {v: k for k, v in vars(S.BuiltinOperator).items() if isinstance(v, int)}
TYPES = {S.TensorType.INT8: 'int8', S.TensorType.UINT8: 'uint8', S.TensorType.INT32: 'int32'}
OPERANDS = {'CONV_2D': 3, 'DEPTHWISE_CONV_2D': 3, 'FULLY_CONNECTED': 3, 'ADD': 2, 'SUB': 2, 'MUL': 2}
FOLDED = 'SHAPE', 'STRIDED_SLICE', 'PACK'


def short(scale):
    mantissa, exponent = np.format_float_scientific(np.float32(scale), unique=True, trim='-', exp_digits=1).split('e')
    return '%se%d' % (mantissa, int(exponent))


for path in sys.argv[1:]:
    model = S.ModelT.InitFromPackedBuf(open(path, 'rb').read(), 0)
    graph, crc, count = model.subgraphs[0], 0, collections.Counter()

    def describe(index):
        t = graph.tensors[index]
        return '%s %s %s %d' % (TYPES[t.type], list(map(int, t.shape)), short(t.quantization.scale[0]), t.quantization.zeroPoint[0])

    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in FOLDED:
            continue
        count[name] += 1
        for index in [*op.inputs[:OPERANDS.get(name, 1)], *op.outputs]:
            if index < 0:
                continue
            t = graph.tensors[index]
            q, data = t.quantization, model.buffers[t.buffer].data
            if q is not None and q.scale is not None:
                crc = zlib.crc32(np.array(q.scale, '<f4').tobytes(), crc)
                crc = zlib.crc32(np.array(q.zeroPoint, '<i4').tobytes(), crc)
            if data is not None and t.buffer:
                crc = zlib.crc32(np.array(data, np.uint8).tobytes(), crc)
    ops = ', '.join('%s %d' % (k, count[k]) for k in sorted(count))
    print(path, ops, describe(graph.inputs[0]), describe(graph.outputs[0]), '%08x' % crc, sep='\n')
