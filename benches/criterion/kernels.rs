//! Single layers, each with every instruction set of this CPU: `cargo xtask bench kernels [FILTER]`.
//!
//! Shapes are those where networks spend their time. Data is in the cache; `Throughput::Elements` counts multiply-accumulates,
//! or bytes of output where there are none.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fleetfoot_kernels::{Add, Conv, DType, Kernels, Mean, Pool, PoolKind, Softmax, Window};

/// Name, extent, kernel, stride, input and output channels.
const CONVS: &[(&str, usize, usize, usize, usize, usize)] = &[
    ("first_224_3_32_s2", 224, 3, 2, 3, 32),
    ("3x3_16_32_32", 16, 3, 1, 32, 32),
    ("pointwise_112_32_16", 112, 1, 1, 32, 16),
    ("pointwise_28_32_192", 28, 1, 1, 32, 192),
    ("pointwise_14_384_64", 14, 1, 1, 384, 64),
    ("pointwise_7_320_1280", 7, 1, 1, 320, 1280),
    ("fully_connected_640_128", 1, 1, 1, 640, 128),
];
/// Name, extent, kernel, stride, channels.
const DEPTHWISE: &[(&str, usize, usize, usize, usize)] = &[
    ("3x3_112_32", 112, 3, 1, 32),
    ("3x3_112_96_s2", 112, 3, 2, 96),
    ("3x3_14_384", 14, 3, 1, 384),
    ("5x5_14_120", 14, 5, 1, 120),
];

fn convolutions(c: &mut Criterion) {
    for &(name, extent, kernel, stride, in_c, out_c) in CONVS {
        let taps = kernel * kernel;
        let weights = weights(out_c.next_multiple_of(16) * (taps * in_c).next_multiple_of(4));
        each(
            c,
            "conv",
            name,
            conv(window(extent, kernel, stride), in_c, out_c, &weights, taps * in_c),
            |kernels, conv, data| {
                kernels.conv(conv, &data.input, &mut data.output, &mut data.scratch);
            },
        );
    }
}

fn depthwise(c: &mut Criterion) {
    for &(name, extent, kernel, stride, channels) in DEPTHWISE {
        let taps = kernel * kernel;
        let weights = weights(channels.next_multiple_of(16) * taps);
        each(
            c,
            "depthwise",
            name,
            conv(window(extent, kernel, stride), channels, channels, &weights, taps),
            |kernels, conv, data| {
                kernels.depthwise(conv, &data.input, &mut data.output, &mut data.scratch);
            },
        );
    }
}

/// A convolution and the multiply-accumulates of one output element.
struct Layer<'a> {
    conv: Conv<'a>,
    k: usize,
}

struct Data {
    input: Vec<u8>,
    output: Vec<u8>,
    scratch: Vec<u8>,
}

fn each(c: &mut Criterion, kind: &str, name: &str, layer: Layer<'_>, run: impl Fn(Kernels, &Conv<'_>, &mut Data)) {
    let mut group = c.benchmark_group(format!("{kind}/{name}"));
    let Layer { conv, k } = layer;
    group.throughput(Throughput::Elements((conv.output_len() * k) as u64));
    for kernels in Kernels::available() {
        let scratch = kernels.conv_scratch_len(&conv).max(kernels.depthwise_scratch_len(&conv));
        let mut data = Data {
            input: activations(conv.input_len()),
            output: vec![0; conv.output_len()],
            scratch: vec![0; scratch],
        };
        group.bench_function(kernels.name(), |b| b.iter(|| run(kernels, &conv, &mut data)));
    }
}

fn others(c: &mut Criterion) {
    let input = activations(28 * 28 * 192);
    let mut output = vec![0; input.len()];
    let mut table = [0; 256];
    table.iter_mut().enumerate().for_each(|(i, t)| *t = (i as u8).wrapping_mul(3));
    let add = Add {
        dtype: DType::Int8,
        a_multiplier: 1 << 19,
        b_multiplier: 1 << 18,
        bias: 1 << 19,
        shift: 20,
        out_zero_point: 0,
        lo: -128,
        hi: 127,
    };
    let mean = Mean { batch: 1, pixels: 28 * 28, channels: 192, dtype: DType::Int8, multiplier: 0.001, offset: 0.5 };
    let pool = Pool {
        kind: PoolKind::Max,
        batch: 1,
        window: window(28, 3, 2),
        channels: 192,
        dtype: DType::Int8,
        lo: -128,
        hi: 127,
    };
    let exp: Vec<f32> = (0u8..=255).map(|i| (-0.05 * f32::from(i)).exp()).collect();
    let softmax = Softmax { row: 1000, dtype: DType::Int8, table: &exp, out_scale: 1.0 / 256.0, out_zero_point: -128 };
    let mut group = c.benchmark_group("others");
    group.throughput(Throughput::Bytes(input.len() as u64));
    for kernels in Kernels::available() {
        let isa = kernels.name();
        group.bench_function(format!("add/{isa}"), |b| b.iter(|| kernels.add(&add, &input, &input, &mut output)));
        group.bench_function(format!("lut/{isa}"), |b| b.iter(|| kernels.lut(&table, &input, &mut output)));
        group.bench_function(format!("mean/{isa}"), |b| b.iter(|| kernels.mean(&mean, &input, &mut output[..192])));
        let pooled = pool.window.out_h * pool.window.out_w * 192;
        group.bench_function(format!("max_pool/{isa}"), |b| {
            b.iter(|| kernels.pool(&pool, &input, &mut output[..pooled]));
        });
        group.bench_function(format!("softmax_1000/{isa}"), |b| {
            b.iter(|| kernels.softmax(&softmax, &input[..1000], &mut output[..1000]));
        });
    }
}

fn window(extent: usize, kernel: usize, stride: usize) -> Window {
    let out = extent.div_ceil(stride);
    let pad = ((out - 1) * stride + kernel).saturating_sub(extent) / 2;
    Window {
        in_h: extent,
        in_w: extent,
        out_h: out,
        out_w: out,
        kernel_h: kernel,
        kernel_w: kernel,
        stride_h: stride,
        stride_w: stride,
        dilation_h: 1,
        dilation_w: 1,
        pad_top: pad,
        pad_left: pad,
    }
}

fn conv(window: Window, in_c: usize, out_c: usize, weights: &[i8], k: usize) -> Layer<'_> {
    // The same for all layers: what multiplies does not depend on them.
    const BIAS: &[i32] = &[100; 2048];
    const SUMS: &[i32] = &[0; 2048];
    const MULTIPLIERS: &[f32] = &[0.001; 2048];
    let conv = Conv {
        batch: 1,
        window,
        in_c,
        out_c,
        in_dtype: DType::Int8,
        in_zero_point: -128,
        weights,
        weight_zero_point: 0,
        bias: BIAS,
        sums: SUMS,
        multipliers: MULTIPLIERS,
        below_one: true,
        out_zero_point: -128,
        lo: -128,
        hi: 127,
    };
    Layer { conv, k }
}

fn weights(len: usize) -> Vec<i8> {
    (0..len).map(|i| (i * 37 % 251) as i8).collect()
}

fn activations(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 31 % 253) as u8).collect()
}

criterion_group!(benches, convolutions, depthwise, others);
criterion_main!(benches);
