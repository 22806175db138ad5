//! Convolutions, depthwise and not, pointwise and fully connected layers: what packs weights and adds up products.

use alloc::{vec, vec::Vec};

use fleetfoot_kernels::{Conv, Kernels, Window, reference};

use crate::{compare::check, guarded::Guarded, random::Random};

/// The sum of the weights of each channel.
fn sums(weights: &[i8], depthwise: bool, k: usize, c16: usize) -> Vec<i32> {
    let mut sums = vec![0; c16];
    for (at, &weight) in weights.iter().enumerate() {
        let n = if depthwise { at % c16 } else { at / (16 * k.next_multiple_of(4)) * 16 + at / 4 % 16 };
        sums[n] += i32::from(weight);
    }
    sums
}

/// Owns what a `Conv` borrows.
struct Layer {
    depthwise: bool,
    weights: Vec<i8>,
    bias: Vec<i32>,
    sums: Vec<i32>,
    multipliers: Vec<f32>,
}

impl Layer {
    fn new(r: &mut Random, depthwise: bool, window: &Window, in_c: usize, out_c: usize, zero_point: i32) -> Self {
        let (c16, taps) = (out_c.next_multiple_of(16), window.taps());
        let k = if depthwise { taps } else { taps * in_c };
        let raw = r.bytes(if depthwise { c16 * k } else { c16 * k.next_multiple_of(4) });
        // Weights of -128 rule out some ways of adding, so every other layer has none.
        let lowest = r.pick(&[-128, -127]);
        let mut weights: Vec<i8> = raw.iter().map(|&b| (b as i8).max(lowest)).collect();
        for (at, weight) in weights.iter_mut().enumerate() {
            let k4 = k.next_multiple_of(4);
            let (n, at_k) = if depthwise {
                (at % c16, 0)
            } else {
                (at / (16 * k4) * 16 + at / 4 % 16, at / 64 % (k4 / 4) * 4 + at % 4)
            };
            if n >= out_c || at_k >= k {
                *weight = 0;
            }
        }
        let multiplier = r.multiplier(f64::from((k as u32).isqrt()) * (5000.0 + 50.0 * f64::from(zero_point.abs())));
        let channel = |n: usize| n < out_c;
        Self {
            depthwise,
            sums: sums(&weights, depthwise, k, c16),
            weights,
            bias: (0..c16).map(|n| if channel(n) { r.within(-40_000, 40_000) } else { 0 }).collect(),
            multipliers: (0..c16)
                .map(|n| if channel(n) { multiplier * (r.within(64, 1024) as f32 / 256.0) } else { 0.0 })
                .collect(),
        }
    }

    fn check(&self, r: &mut Random, batch: usize, window: Window, in_c: usize, out_c: usize, weight_zero_point: i32) {
        let (in_dtype, out_dtype) = (r.dtype(), r.dtype());
        let (lo, hi) = r.bounds(out_dtype);
        let (weights, multipliers) = (Guarded::copy_of(&self.weights), Guarded::copy_of(&self.multipliers));
        let (bias, sums) = (Guarded::copy_of(&self.bias), Guarded::copy_of(&self.sums));
        let c = Conv {
            batch,
            window,
            in_c,
            out_c,
            in_dtype,
            in_zero_point: r.zero_point(in_dtype),
            weights: &weights,
            weight_zero_point,
            bias: &bias,
            sums: &sums,
            multipliers: &multipliers,
            below_one: Conv::below_one(&multipliers),
            out_zero_point: r.zero_point(out_dtype),
            lo,
            hi,
        };
        let input = r.bytes(c.input_len());
        let shape =
            (batch, window, in_c, out_c, in_dtype, c.in_zero_point, weight_zero_point, c.out_zero_point, lo, hi);
        let fast = |kernels: Kernels, output: &mut [u8]| {
            // Scratch of exactly the stated size, at whatever address ends with a page, with old contents.
            let len = if self.depthwise { kernels.depthwise_scratch_len(&c) } else { kernels.conv_scratch_len(&c) };
            let mut scratch = Guarded::filled(0x33, len, true);
            let inner = &mut scratch[..];
            if self.depthwise {
                kernels.depthwise(&c, &input, output, inner);
            } else {
                kernels.conv(&c, &input, output, inner);
            }
            assert!(scratch.untouched_beside(0x33), "{kernels:?}: before scratch");
        };
        let slow = |output: &mut [u8]| {
            if self.depthwise { reference::depthwise(&c, &input, output) } else { reference::conv(&c, &input, output) }
        };
        check(&shape, c.output_len(), slow, fast);
    }
}

fn weight_zero_point(r: &mut Random) -> i32 {
    let any = r.within(-128, 127);
    r.pick(&[0, 0, any, -128, 127])
}

#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn conv() {
    let mut r = Random(1);
    for _ in 0..500 {
        let window = r.window(1..=5, 3);
        let (in_c, out_c) = (r.pick(&[1, 2, 3, 4, 5, 7, 8, 16, 19]), r.extent(1, 70));
        let z = weight_zero_point(&mut r);
        let batch = r.extent(1, 3);
        Layer::new(&mut r, false, &window, in_c, out_c, z).check(&mut r, batch, window, in_c, out_c, z);
    }
}

#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn pointwise_and_fully_connected() {
    let mut r = Random(2);
    for _ in 0..400 {
        let pixels = r.extent(1, 70);
        let (in_c, out_c) =
            (r.extent(1, 150), r.pick(&[1, 2, 7, 8, 9, 15, 16, 17, 24, 33, 48, 63, 64, 65, 80, 96, 130]));
        let z = weight_zero_point(&mut r);
        let window = Window::pointwise(pixels);
        Layer::new(&mut r, false, &window, in_c, out_c, z).check(&mut r, 1, window, in_c, out_c, z);
    }
    // A long sum: more than one panel.
    for in_c in [1024, 4099] {
        let window = Window::pointwise(20);
        Layer::new(&mut r, false, &window, in_c, 40, 0).check(&mut r, 1, window, in_c, 40, 0);
    }
}

#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn depthwise() {
    let mut r = Random(3);
    for round in 0..900 {
        let window = if round % 2 == 0 {
            let mut window = r.window(3..=3, 1);
            (window.stride_h, window.stride_w) = (1, 1);
            let out = |extent: usize, pad: usize| (extent + 2 * pad).saturating_sub(2);
            (window.pad_top, window.pad_left) = (1, 1);
            (window.out_h, window.out_w) = (out(window.in_h, 1), out(window.in_w, 1));
            window
        } else {
            r.window(1..=5, 3)
        };
        let in_c = r.pick(&[1, 2, 3, 7, 8, 13, 16, 24, 31, 32, 33, 48, 64, 72, 96, 130]);
        let out_c = in_c * r.pick(&[1, 1, 1, 1, 2, 3]);
        let z = weight_zero_point(&mut r);
        let batch = r.extent(1, 2);
        Layer::new(&mut r, true, &window, in_c, out_c, z).check(&mut r, batch, window, in_c, out_c, z);
    }
    // A window of many taps.
    let window = Window {
        kernel_h: 9,
        kernel_w: 9,
        pad_top: 4,
        pad_left: 4,
        in_h: 10,
        in_w: 9,
        out_h: 10,
        out_w: 9,
        ..Window::pointwise(1)
    };
    Layer::new(&mut r, true, &window, 20, 20, 0).check(&mut r, 1, window, 20, 20, 0);
}

/// Kernel, stride and channels for which instruction sets have loops of their own, at sizes around those of their tiles.
#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn shapes_of_the_reference_networks() {
    let mut r = Random(6);
    let window = |r: &mut Random, (kernel_h, kernel_w): (usize, usize), stride: usize, widest: usize| {
        let (pad_top, pad_left) = (r.extent(0, kernel_h / 2), r.extent(0, kernel_w / 2));
        let (out_h, out_w) = (r.extent(1, 5), r.extent(1, widest));
        // The last window ends inside the image or up to the same border beyond it.
        let extent =
            |out: usize, kernel: usize, pad: usize| ((out - 1) * stride + kernel).saturating_sub(2 * pad).max(1);
        Window {
            in_h: extent(out_h, kernel_h, pad_top),
            in_w: extent(out_w, kernel_w, pad_left),
            out_h,
            out_w,
            kernel_h,
            kernel_w,
            stride_h: stride,
            stride_w: stride,
            pad_top,
            pad_left,
            ..Window::pointwise(1)
        }
    };
    for kernel in [(3, 3), (5, 5), (3, 5), (4, 3), (8, 5), (1, 3)] {
        for stride in [1, 2] {
            for channels in [4, 8, 16, 24, 32, 40, 64, 72, 96, 130] {
                let w = window(&mut r, kernel, stride, 20);
                Layer::new(&mut r, true, &w, channels, channels, 0).check(&mut r, 2, w, channels, channels, 0);
            }
        }
    }
    for kernel in [(1, 1), (3, 3), (10, 4), (1, 7), (5, 5)] {
        for stride in [1, 2] {
            for in_c in [1, 3, 8, 16, 20] {
                for out_c in [8, 16, 24, 32, 48, 64, 100] {
                    let w = window(&mut r, kernel, stride, 30);
                    Layer::new(&mut r, false, &w, in_c, out_c, 0).check(&mut r, 1, w, in_c, out_c, 0);
                }
            }
        }
    }
    // First layers, wide enough for loops of their own.
    for stride in [1, 2] {
        for out_c in [8, 16, 24, 32, 48, 64, 80] {
            for batch in [1, 2, 2] {
                let w = window(&mut r, (3, 3), stride, 70);
                Layer::new(&mut r, false, &w, 3, out_c, 0).check(&mut r, batch, w, 3, out_c, 0);
            }
        }
    }
    // Images too large to be copied whole.
    for stride in [1, 2] {
        let w = Window {
            in_h: 60 * stride,
            in_w: 30 * stride,
            out_h: 60,
            out_w: 30,
            kernel_h: 3,
            kernel_w: 3,
            stride_h: stride,
            stride_w: stride,
            pad_top: 1,
            pad_left: 1,
            ..Window::pointwise(1)
        };
        Layer::new(&mut r, false, &w, 20, 24, 0).check(&mut r, 1, w, 20, 24, 0);
    }
}

/// Products beyond 32 bits: multipliers of 1 and more.
#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn large_multipliers() {
    let mut r = Random(7);
    for multiplier in [0.999_999_94, 1.0, 1.5, 255.9] {
        for depthwise in [false, true] {
            for bias in [i32::MIN, i32::MAX, 0] {
                let window =
                    Window { kernel_h: 3, kernel_w: 3, in_h: 5, in_w: 6, out_h: 3, out_w: 4, ..Window::pointwise(1) };
                let mut layer = Layer::new(&mut r, depthwise, &window, 16, 16, 0);
                layer.multipliers[..16].fill(multiplier);
                layer.bias[..16].fill(bias);
                layer.check(&mut r, 1, window, 16, 16, 0);
            }
        }
    }
}

/// The largest sums: all inputs and weights at an end, accumulators that wrap.
#[cfg_attr(not(target_os = "none"), test)]
pub(super) fn sums_that_wrap() {
    let mut r = Random(4);
    for (weight, bias) in [(-128, i32::MIN), (-128, i32::MAX), (-127, 0), (-128, 0), (127, i32::MAX), (127, i32::MIN)] {
        let window = Window::pointwise(7);
        for depthwise in [false, true] {
            let in_c = 37;
            let out_c = if depthwise { in_c } else { 21 };
            let mut layer = Layer::new(&mut r, depthwise, &window, in_c, out_c, 0);
            layer.weights.iter_mut().filter(|w| **w != 0).for_each(|w| *w = weight);
            let k = if depthwise { 1 } else { in_c };
            layer.sums = sums(&layer.weights, depthwise, k, out_c.next_multiple_of(16));
            layer.bias[..out_c].fill(bias);
            layer.multipliers[..out_c].fill(1.0e-7);
            layer.check(&mut r, 1, window, in_c, out_c, 0);
        }
    }
}
