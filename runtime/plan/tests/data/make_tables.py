"""Writes tables.txt, the expectations of ../tables.rs: python make_tables.py FOLDER > tables.txt

FOLDER holds ref.py, a numpy interpreter that equals LiteRT 2.3.0 with XNNPACK on x86-64 bit for bit.
Needs numpy and ai-edge-litert. A line is
    function in_type in_scale in_zero_point out_type out_scale out_zero_point crc32
Scales are bits of float32 in hexadecimal. For softmax the output columns are beta's bits and a dash. The CRC is over 256
bytes in the order of the input's raw byte, for softmax over 256 little-endian float32. `refused` stands for a table that
the interpreter refuses, or that lies outside the proven exponents. After `=` follow all 256 bytes, for a few.
"""
import math, sys, zlib
import numpy as np

sys.path.insert(0, sys.argv[1])
import ref

rng = np.random.default_rng(20250101)
f32, TYPES = np.float32, {'int8': np.int8, 'uint8': np.uint8}


def bits(scale):
    return '%08x' % int(np.array(scale, f32).view(np.uint32))


def scale(lo, hi):
    return f32(2.0 ** rng.uniform(lo, hi))


def zero_point(name):
    lo, hi = ref.lim(TYPES[name])
    return int(rng.choice([lo, hi, 0, int(rng.integers(lo, hi + 1))]))


def raw(table, in_name):
    """From the order of values to the order of raw bytes."""
    return np.roll(table, 128).tobytes() if in_name == 'int8' else table.tobytes()


def emit(kind, in_name, si, zi, out_name, so, zo, make, full):
    data = make()
    text = 'refused' if data is None else '%08x' % zlib.crc32(data)
    print(kind, in_name, bits(si), zi, out_name, bits(so), zo, text, *(['=', data.hex()] if full and data else []))


def hard_swish(name, si, zi, so, zo):
    exponent = ref.quantize_multiplier(f32(1 / 128) * f32(si) / f32(so))[1]
    return raw(ref.hard_swish_table(si, zi, so, zo, TYPES[name]), name) if -15 <= exponent <= 0 else None


for i in range(300):
    name = ['int8', 'uint8'][i % 2]
    dt, zi, zo, full = TYPES[name], zero_point(name), zero_point(name), i < 2
    si, so = scale(-9, 1), scale(-9, -5)
    emit('logistic', name, si, zi, name, so, zo, lambda: raw(ref.logistic_table(si, zi, so, zo, dt), name), full)
    si, so = scale(-11, 0), scale(-9, -5)
    emit('tanh', name, si, zi, name, so, zo, lambda: raw(ref.tanh_table(si, zi, so, zo, dt), name), full)
    si = scale(-10, 2)
    so = f32(si * 2.0 ** rng.uniform(-8.5, 10))
    emit('hard_swish', name, si, zi, name, so, zo, lambda: hard_swish(name, si, zi, so, zo), full)
    for other in TYPES:
        si, zo = scale(-10, 2), zero_point(other)
        so = si if i % 5 == 0 else f32(si * 2.0 ** rng.uniform(-9, 10))
        make = lambda: raw(ref.requantize_table(dt, si, zi, TYPES[other], so, zo), name)
        emit('requantize', name, si, zi, other, so, zo, make, full)
    si, beta = scale(-11, 1), f32(1) if i % 3 else scale(-2, 1)
    make = lambda: ref.softmax_table(si, beta).astype('<f4').tobytes()
    text = zlib.crc32(make())
    print('softmax', name, bits(si), 0, name, bits(beta), '-', '%08x' % text)

for factor in [1.0, 0.5, 2.0 ** -32, 2.0 ** -33, 2.0 ** 40, 1 - 2.0 ** -53, *(2.0 ** rng.uniform(-34, 34, 60))]:
    multiplier, exponent = ref.quantize_multiplier(factor)
    print('multiplier', '%016x' % int(np.array(factor, np.float64).view(np.uint64)), multiplier, exponent)
