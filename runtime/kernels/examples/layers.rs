//! Time and rate of every layer shape of MobileNetV2 (224 x 224), for each instruction set and kind of layer, or those named.
//!
//! ```text
//! cargo run --release -p fleetfoot-kernels --example layers [-- avx2 depthwise]
//! ```
//! The least of many rounds: data is in the cache, nothing else should run.

use std::time::Instant;

use fleetfoot_kernels::{Add, Conv, DType, Kernels, Mean, Window};

/// Kind, times in the network, input extent, input and output channels, stride.
const LAYERS: &[(&str, u32, usize, usize, usize, usize)] = &[
    ("conv", 1, 224, 3, 32, 2),
    ("depthwise", 1, 112, 32, 32, 1),
    ("pointwise", 1, 112, 32, 16, 1),
    ("pointwise", 1, 112, 16, 96, 1),
    ("depthwise", 1, 112, 96, 96, 2),
    ("pointwise", 1, 56, 96, 24, 1),
    ("pointwise", 2, 56, 24, 144, 1),
    ("depthwise", 1, 56, 144, 144, 1),
    ("pointwise", 1, 56, 144, 24, 1),
    ("add", 1, 56, 24, 24, 1),
    ("depthwise", 1, 56, 144, 144, 2),
    ("pointwise", 1, 28, 144, 32, 1),
    ("pointwise", 3, 28, 32, 192, 1),
    ("depthwise", 2, 28, 192, 192, 1),
    ("pointwise", 2, 28, 192, 32, 1),
    ("add", 2, 28, 32, 32, 1),
    ("depthwise", 1, 28, 192, 192, 2),
    ("pointwise", 1, 14, 192, 64, 1),
    ("pointwise", 4, 14, 64, 384, 1),
    ("depthwise", 4, 14, 384, 384, 1),
    ("pointwise", 3, 14, 384, 64, 1),
    ("add", 3, 14, 64, 64, 1),
    ("pointwise", 1, 14, 384, 96, 1),
    ("pointwise", 3, 14, 96, 576, 1),
    ("depthwise", 2, 14, 576, 576, 1),
    ("pointwise", 2, 14, 576, 96, 1),
    ("add", 2, 14, 96, 96, 1),
    ("depthwise", 1, 14, 576, 576, 2),
    ("pointwise", 1, 7, 576, 160, 1),
    ("pointwise", 3, 7, 160, 960, 1),
    ("depthwise", 3, 7, 960, 960, 1),
    ("pointwise", 2, 7, 960, 160, 1),
    ("add", 2, 7, 160, 160, 1),
    ("pointwise", 1, 7, 960, 320, 1),
    ("pointwise", 1, 7, 320, 1280, 1),
    ("mean", 1, 7, 1280, 1280, 1),
    ("pointwise", 1, 1, 1280, 1000, 1),
];

fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let named = |name: &str| names.iter().any(|n| n == name);
    let any_isa = !Kernels::available().any(|kernels| named(kernels.name()));
    let any_kind = !LAYERS.iter().any(|layer| named(layer.0));
    for kernels in Kernels::available().filter(|kernels| any_isa || named(kernels.name())) {
        println!("{}", kernels.name());
        let mut totals: Vec<(&str, f64, f64)> = Vec::new();
        for &layer in LAYERS.iter().filter(|layer| any_kind || named(layer.0)) {
            let (kind, times, extent, in_c, out_c, stride) = layer;
            let (us, macs) = measure(kernels, layer);
            println!(
                "  {kind:9} {extent:3} {in_c:4} -> {out_c:4} s{stride} x{times}  {us:8.1} us  {:6.1} GMAC/s",
                macs / us / 1e3
            );
            let (us, macs) = (us * f64::from(times), macs * f64::from(times));
            match totals.iter_mut().find(|(k, ..)| *k == kind) {
                Some((_, total_us, total_macs)) => (*total_us, *total_macs) = (*total_us + us, *total_macs + macs),
                None => totals.push((kind, us, macs)),
            }
        }
        for (kind, us, macs) in &totals {
            println!("{kind:9} {us:8.1} us  {:6.1} GMAC/s", macs / us / 1e3);
        }
        println!("all       {:8.1} us", totals.iter().map(|(_, us, _)| us).sum::<f64>());
    }
}

/// Microseconds and multiply-accumulates of one layer.
fn measure(kernels: Kernels, layer: (&str, u32, usize, usize, usize, usize)) -> (f64, f64) {
    let (kind, _, extent, in_c, out_c, stride) = layer;
    let taps = if matches!(kind, "conv" | "depthwise") { 9 } else { 1 };
    let out = extent.div_ceil(stride);
    let pad = if taps == 1 { 0 } else { ((out - 1) * stride + 3 - extent) / 2 };
    let kernel = if taps == 1 { 1 } else { 3 };
    let window = Window {
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
    };
    let c16 = out_c.next_multiple_of(16);
    let k = if kind == "depthwise" { taps } else { taps * in_c };
    let weights: Vec<i8> = (0..c16 * k.next_multiple_of(4)).map(|i| (i * 37 % 251) as i8).collect();
    let (bias, sums, multipliers) = (vec![100; c16], vec![0; c16], vec![0.001; c16]);
    let c = Conv {
        batch: 1,
        window,
        in_c,
        out_c,
        in_dtype: DType::Int8,
        in_zero_point: -128,
        weights: &weights,
        weight_zero_point: 0,
        bias: &bias,
        sums: &sums,
        multipliers: &multipliers,
        below_one: true,
        out_zero_point: -128,
        lo: -128,
        hi: 127,
    };
    let input: Vec<u8> = (0..c.input_len()).map(|i| (i * 31 % 253) as u8).collect();
    let mut output = vec![0; c.output_len()];
    let scratch = kernels.conv_scratch_len(&c).max(kernels.depthwise_scratch_len(&c));
    let mut scratch = vec![0; scratch];
    let mut run: Box<dyn FnMut()> = match kind {
        "depthwise" => Box::new(|| kernels.depthwise(&c, &input, &mut output, &mut scratch)),
        "add" => {
            let (m, bias) = (1 << 19, 1 << 19);
            let p = Add {
                dtype: DType::Int8,
                a_multiplier: m,
                b_multiplier: m,
                bias,
                shift: 20,
                out_zero_point: 0,
                lo: -128,
                hi: 127,
            };
            let (input, output) = (&input, &mut output);
            Box::new(move || kernels.add(&p, input, input, output))
        }
        "mean" => {
            let pixels = window.in_pixels();
            let p = Mean { batch: 1, pixels, channels: in_c, dtype: DType::Int8, multiplier: 0.02, offset: 0.5 };
            let (input, output) = (&input, &mut output);
            Box::new(move || kernels.mean(&p, input, &mut output[..in_c]))
        }
        _ => Box::new(|| kernels.conv(&c, &input, &mut output, &mut scratch)),
    };
    let mut least = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed().as_millis() < 60 {
        let start = Instant::now();
        run();
        least = least.min(start.elapsed().as_secs_f64() * 1e6);
    }
    let macs = if matches!(kind, "add" | "mean") { 0 } else { window.out_pixels() * out_c * k };
    (least, macs as f64)
}
