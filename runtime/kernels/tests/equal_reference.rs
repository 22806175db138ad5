//! Every operation on every instruction set of this machine equals the reference, byte for byte, over many random shapes.
//!
//! Inputs, weights, scratch and outputs end where a page ends and the next cannot be touched: a read or write one byte beyond
//! a slice ends the run. The generator is seeded: a failure names its case.

#[path = "support/guarded.rs"]
mod guarded;

use fleetfoot_kernels::{
    Add, ArgExtreme, BinaryOp, Broadcast, Conv, Copy as Strided, DType, Door, Fixed, Kernels, Mean, Mul, Pad, Pool,
    PoolKind, Prelu, Resample, Softmax, Window, reference,
};
use guarded::Guarded;

/// A linear congruential generator; the high bits are good enough here.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// In `lo..=hi`.
    fn within(&mut self, lo: i32, hi: i32) -> i32 {
        lo + (self.next() % (hi - lo + 1) as u32) as i32
    }

    fn extent(&mut self, lo: usize, hi: usize) -> usize {
        self.within(lo as i32, hi as i32) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    /// Random bytes, or one extreme all over.
    fn bytes(&mut self, n: usize) -> Guarded<u8> {
        let bytes = match self.next() % 8 {
            0 => vec![0x80; n],
            1 => vec![0x7f; n],
            2 => vec![0xff; n],
            3 => vec![0x00; n],
            _ => (0..n).map(|_| self.next() as u8).collect(),
        };
        Guarded::copy_of(&bytes)
    }

    fn dtype(&mut self) -> DType {
        self.pick(&[DType::Int8, DType::UInt8])
    }

    /// A zero point, often an extreme.
    fn zero_point(&mut self, dtype: DType) -> i32 {
        let (lo, hi) = dtype.range();
        let any = self.within(lo, hi);
        self.pick(&[lo, hi, any, any])
    }

    fn bounds(&mut self, dtype: DType) -> (i32, i32) {
        let (lo, hi) = dtype.range();
        if self.next().is_multiple_of(2) {
            return (lo, hi);
        }
        let lo = self.within(lo, hi);
        (lo, self.within(lo, hi))
    }

    fn multiplier(&mut self, sum: f64) -> f32 {
        // So that results spread over the whole range.
        (2.0f64.powi(self.within(-2, 9)) / sum.max(1.0) * f64::from(self.within(128, 255))) as f32 / 256.0
    }

    fn window(&mut self, kernels: std::ops::RangeInclusive<usize>, dilation: usize) -> Window {
        let mut axis = || loop {
            let kernel = self.extent(*kernels.start(), *kernels.end());
            let (stride, dilation) = (self.extent(1, 3), self.extent(1, dilation));
            let reach = (kernel - 1) * dilation + 1;
            let (extent, before, after) = (self.extent(1, 11), self.extent(0, reach - 1), self.extent(0, reach - 1));
            if extent + before + after >= reach {
                return (extent, (extent + before + after - reach) / stride + 1, kernel, stride, dilation, before);
            }
        };
        let (in_h, out_h, kernel_h, stride_h, dilation_h, pad_top) = axis();
        let (in_w, out_w, kernel_w, stride_w, dilation_w, pad_left) = axis();
        Window {
            in_h,
            in_w,
            out_h,
            out_w,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
        }
    }
}

/// Runs `fast` on every instruction set, `slow` once, and compares outputs of `n` bytes.
fn check(case: &dyn std::fmt::Debug, n: usize, slow: impl FnOnce(&mut [u8]), fast: impl Fn(Kernels, &mut [u8])) {
    let mut want = vec![0x55; n];
    slow(&mut want);
    for kernels in Kernels::available() {
        for (fill, at_end) in [(0xa5, true), (0x5a, false)] {
            let mut got = Guarded::filled(fill, n, at_end);
            fast(kernels, &mut got);
            assert!(got.untouched_beside(fill), "{kernels:?} stray: {case:?}");
            if let Some(at) = (0..n).find(|&i| got[i] != want[i]) {
                panic!("{kernels:?}: byte {at} of {n} is {} instead of {}: {case:?}", got[at], want[at]);
            }
        }
    }
}

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
        let multiplier = r.multiplier(f64::from(k as u32).sqrt() * (5000.0 + 50.0 * f64::from(zero_point.abs())));
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

#[test]
fn conv() {
    let mut r = Random(1);
    for _ in 0..500 {
        let window = r.window(1..=5, 3);
        let (in_c, out_c) = (r.pick(&[1, 2, 3, 4, 5, 7, 8, 16, 19]), r.extent(1, 70));
        let z = weight_zero_point(&mut r);
        let batch = r.extent(1, 3);
        Layer::new(&mut r, false, &window, in_c, out_c, z).check(&mut r, batch, window, in_c, out_c, z);
    }
}

#[test]
fn pointwise_and_fully_connected() {
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

#[test]
fn depthwise() {
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
#[test]
fn shapes_of_the_reference_networks() {
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
#[test]
fn large_multipliers() {
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
#[test]
fn sums_that_wrap() {
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

#[test]
fn add() {
    let mut r = Random(5);
    for _ in 0..300 {
        let (n, dtype) = (r.extent(0, 200), r.dtype());
        let (lo, hi) = r.bounds(dtype);
        let shift = r.extent(1, 31) as u32;
        let m = |r: &mut Random| r.within(-(1 << 21), 1 << 21);
        let p = Add {
            dtype,
            a_multiplier: m(&mut r),
            b_multiplier: m(&mut r),
            bias: r.next() as i32,
            shift,
            out_zero_point: r.zero_point(dtype),
            lo,
            hi,
        };
        let (a, b) = (r.bytes(n), r.bytes(n));
        check(&p, n, |out| reference::add(&p, &a, &b, out), |kernels, out| kernels.add(&p, &a, &b, out));
    }
}

#[test]
fn mul() {
    let mut r = Random(6);
    for round in 0..300 {
        let (batch, pixels, channels, dtype) = (r.extent(1, 3), r.extent(1, 9), r.extent(1, 70), r.dtype());
        let (lo, hi) = r.bounds(dtype);
        let p = Mul {
            batch,
            channels,
            dtype,
            a_zero_point: r.zero_point(dtype),
            b_zero_point: r.zero_point(dtype),
            multiplier: r.multiplier(5000.0),
            out_zero_point: r.zero_point(dtype),
            lo,
            hi,
        };
        let n = batch * pixels * channels;
        let (a, b) = (r.bytes(n), r.bytes(if round % 2 == 0 { n } else { batch * channels }));
        check(&p, n, |out| reference::mul(&p, &a, &b, out), |kernels, out| kernels.mul(&p, &a, &b, out));
    }
}

#[test]
fn pool() {
    let mut r = Random(7);
    for _ in 0..400 {
        let (batch, channels, dtype) = (r.extent(1, 2), r.extent(1, 40), r.dtype());
        let mut window = r.window(1..=5, 1);
        window.pad_top = window.pad_top.min(window.kernel_h - 1);
        // Fewer windows where the last would lie outside.
        window.out_h = window.out_h.min((window.in_h + window.pad_top - 1) / window.stride_h + 1);
        window.out_w = window.out_w.min((window.in_w + window.pad_left - 1) / window.stride_w + 1);
        let (lo, hi) = r.bounds(dtype);
        for kind in [PoolKind::Average, PoolKind::Max] {
            let p = Pool { kind, batch, window, channels, dtype, lo, hi };
            let input = r.bytes(batch * window.in_pixels() * channels);
            let n = batch * window.out_pixels() * channels;
            check(&p, n, |out| reference::pool(&p, &input, out), |kernels, out| kernels.pool(&p, &input, out));
        }
    }
}

#[test]
fn mean() {
    let mut r = Random(8);
    for _ in 0..300 {
        let (batch, pixels, channels, dtype) = (r.extent(1, 3), r.extent(1, 60), r.extent(1, 90), r.dtype());
        let multiplier = r.multiplier(64.0 * pixels as f64) / 16.0;
        let p = Mean { batch, pixels, channels, dtype, multiplier, offset: r.within(-1000, 1000) as f32 / 8.0 };
        let input = r.bytes(batch * pixels * channels);
        check(
            &p,
            batch * channels,
            |out| reference::mean(&p, &input, out),
            |kernels, out| kernels.mean(&p, &input, out),
        );
    }
}

#[test]
fn pad() {
    let mut r = Random(9);
    for _ in 0..200 {
        let mut four = |hi: usize| -> [usize; 4] { core::array::from_fn(|_| r.extent(0, hi)) };
        let p = Pad { in_dims: four(4).map(|d| d + 1), before: four(3), after: four(3), value: 0x99 };
        let n = (0..4).map(|d| p.before[d] + p.in_dims[d] + p.after[d]).product();
        let input = r.bytes(p.in_dims.iter().product());
        check(&p, n, |out| reference::pad(&p, &input, out), |kernels, out| kernels.pad(&p, &input, out));
    }
}

#[test]
fn lut() {
    let mut r = Random(10);
    for n in 0..130 {
        let table: [u8; 256] = core::array::from_fn(|_| r.next() as u8);
        let input = r.bytes(n);
        check(&n, n, |out| reference::lut(&table, &input, out), |kernels, out| kernels.lut(&table, &input, out));
    }
}

#[test]
fn softmax() {
    let mut r = Random(11);
    for _ in 0..200 {
        let (rows, row, dtype) = (r.extent(1, 5), r.extent(1, 120), r.dtype());
        let scale = r.within(1, 300) as f32 / 1000.0;
        let table: Vec<f32> = (0..256).map(|d| (-scale * d as f32).exp()).collect();
        let out_zero_point = if dtype == DType::Int8 { -128 } else { 0 };
        let p = Softmax { row, dtype, table: &table, out_scale: 1.0 / 256.0, out_zero_point };
        let input = r.bytes(rows * row);
        let case = (rows, row, dtype, scale);
        check(
            &case,
            rows * row,
            |out| reference::softmax(&p, &input, out),
            |kernels, out| kernels.softmax(&p, &input, out),
        );
    }
}

/// Every instruction set is chosen by its name.
#[test]
fn names() {
    assert_eq!(Kernels::available().next(), Some(Kernels::detect()));
    assert_eq!(Kernels::available().last(), Some(Kernels::scalar()));
    for kernels in Kernels::available() {
        assert_eq!(Kernels::by_name(kernels.name()), Some(kernels));
    }
    assert_eq!(Kernels::by_name("z80"), None);
    // Whoever knows the CPU says what the choice must be.
    if let Some(expected) = std::env::var_os("FLEETFOOT_EXPECTED_ISA") {
        assert_eq!(Some(Kernels::detect().name()), expected.to_str());
    }
}

/// Lengths are checked: the panic names the slice.
#[test]
fn lengths() {
    let check = |needle: &str, run: fn()| {
        let panic = std::panic::catch_unwind(run).expect_err(needle);
        let text = panic.downcast_ref::<String>().map_or("", |s| s);
        assert!(text.starts_with(needle), "{text}");
    };
    conv_with(64, 16, 8, 6, 1 << 16);
    check("weights: 63", || conv_with(63, 16, 8, 6, 1 << 16));
    check("bias: 15", || conv_with(64, 15, 8, 6, 1 << 16));
    check("input: 7", || conv_with(64, 16, 7, 6, 1 << 16));
    check("output: 5", || conv_with(64, 16, 8, 5, 1 << 16));
    check("scratch: 0", || conv_with(64, 16, 8, 6, 0));
    check("output: 1", || Kernels::detect().lut(&[0; 256], &[0; 2], &mut [0; 1]));
}

fn conv_with(weights: usize, bias: usize, input: usize, output: usize, scratch: usize) {
    let (weights, bias, multipliers) = (vec![0; weights], vec![0; bias], vec![1.0; 16]);
    let c = Conv {
        batch: 1,
        window: Window::pointwise(2),
        in_c: 4,
        out_c: 3,
        in_dtype: DType::Int8,
        in_zero_point: 0,
        weights: &weights,
        weight_zero_point: 0,
        bias: &bias,
        sums: &bias,
        multipliers: &multipliers,
        below_one: Conv::below_one(&multipliers),
        out_zero_point: 0,
        lo: -128,
        hi: 127,
    };
    Kernels::detect().conv(&c, &vec![0; input], &mut vec![0; output], &mut vec![0; scratch]);
}

#[test]
fn the_peak_loop_counts_its_work() {
    for kernels in Kernels::available() {
        let (one, ten) = (kernels.peak(1), kernels.peak(10));
        assert_eq!(ten, 10 * one, "{}", kernels.name());
        assert_eq!(one == 0, kernels == Kernels::scalar(), "{}", kernels.name());
    }
}

/// Extents of six dimensions, most of them small, and a shuffled order of them.
fn dims(r: &mut Random) -> ([usize; 6], [usize; 6]) {
    let dims = std::array::from_fn(|_| r.pick(&[1, 1, 2, 3, 5, 9]));
    let mut order = [0, 1, 2, 3, 4, 5];
    for d in (1..6).rev() {
        order.swap(d, r.extent(0, d));
    }
    (dims, order)
}

/// Strides of a dense tensor whose dimensions lie in `order`.
fn strides(dims: &[usize; 6], order: &[usize; 6]) -> [usize; 6] {
    let (mut strides, mut step) = ([0; 6], 1);
    for &d in order.iter().rev() {
        strides[d] = step;
        step *= dims[d];
    }
    strides
}

#[test]
fn copies() {
    let mut r = Random(20);
    for _ in 0..400 {
        let (dims, order) = dims(&mut r);
        let n: usize = dims.iter().product();
        let straight = [0, 1, 2, 3, 4, 5];
        let (read, written) = (r.pick(&[order, straight]), r.pick(&[order, straight]));
        let (mut from, mut from_strides) = (0, strides(&dims, &read).map(|s| s as isize));
        for d in 0..6 {
            if r.extent(0, 3) == 0 {
                from += (dims[d] - 1) * from_strides[d].unsigned_abs();
                from_strides[d] = -from_strides[d];
            } else if r.extent(0, 7) == 0 {
                from_strides[d] = 0;
            }
        }
        let (apart, to) = (r.extent(1, 2), r.extent(0, 3));
        let to_strides = strides(&dims, &written).map(|s| s * apart);
        let table: [u8; 256] = std::array::from_fn(|_| r.next() as u8);
        let table = r.pick(&[None, Some(&table)]);
        let p = Strided { dims, from, from_strides, to, to_strides, table, fill: Some(7) };
        let input = r.bytes(n);
        check(&p, to + n * apart, |out| reference::copy(&p, &input, out), |k, out| k.copy(&p, &input, out));
    }
}

#[test]
fn broadcasts() {
    let mut r = Random(21);
    for _ in 0..600 {
        let (dims, order) = dims(&mut r);
        let n: usize = dims.iter().product();
        let dtype = r.dtype();
        let (lo, hi) = r.bounds(dtype);
        let (a_zero_point, b_zero_point, out_zero_point) =
            (r.zero_point(dtype), r.zero_point(dtype), r.zero_point(dtype));
        let mut fixed =
            |most: i32| Fixed { multiplier: r.within(1 << 30, i32::MAX - 1), exponent: r.within(-31, most) };
        let (positive, negative) = (fixed(14), fixed(14));
        let op = match r.extent(0, 4) {
            0 => BinaryOp::Add(Add {
                dtype,
                a_multiplier: r.within(-(1 << 20), 1 << 20),
                b_multiplier: r.within(-(1 << 20), 1 << 20),
                bias: r.within(-(1 << 24), 1 << 24),
                shift: r.within(10, 24) as u32,
                out_zero_point,
                lo,
                hi,
            }),
            1 => BinaryOp::Mul(Mul {
                batch: 1,
                channels: 1,
                dtype,
                a_zero_point,
                b_zero_point,
                multiplier: r.multiplier(16384.0),
                out_zero_point,
                lo,
                hi,
            }),
            2 => BinaryOp::Maximum,
            3 => BinaryOp::Minimum,
            _ => BinaryOp::Prelu(Prelu { a_zero_point, b_zero_point, positive, negative, out_zero_point }),
        };
        let of = |r: &mut Random| {
            let mut strides = strides(&dims, &r.pick(&[order, [0, 1, 2, 3, 4, 5]]));
            for stride in &mut strides {
                *stride *= usize::from(r.extent(0, 3) != 0);
            }
            strides
        };
        let p = Broadcast { dims, a_strides: of(&mut r), b_strides: of(&mut r), dtype, op };
        let (a, b) = (r.bytes(n), r.bytes(n));
        check(&p, n, |out| reference::broadcast(&p, &a, &b, out), |k, out| k.broadcast(&p, &a, &b, out));
    }
}

#[test]
fn resampling_indices_and_doors() {
    let mut r = Random(22);
    for _ in 0..300 {
        let (batch, in_h, in_w) = (r.extent(1, 2), r.extent(1, 7), r.extent(1, 7));
        let (channels, dtype) = (r.pick(&[1, 3, 16, 33, 70]), r.dtype());
        let mut cells = |extent: usize| -> Vec<[u32; 2]> {
            let n = r.extent(1, 9);
            (0..n).map(|_| [r.extent(0, extent - 1) as u32, r.pick(&[0, 0, 1, 700, 1024, 2047, 2048])]).collect()
        };
        let (rows, columns) = (cells(in_h), cells(in_w));
        let p = Resample { batch, in_h, in_w, channels, dtype, rows: &rows, columns: &columns };
        let input = r.bytes(batch * in_h * in_w * channels);
        let n = batch * rows.len() * columns.len() * channels;
        check(&p, n, |out| reference::resample(&p, &input, out), |k, out| k.resample(&p, &input, out));

        let p = ArgExtreme {
            outer: in_h,
            n: in_w,
            inner: channels,
            dtype,
            largest: r.extent(0, 1) == 0,
            wide: r.extent(0, 1) == 0,
        };
        let input = r.bytes(in_h * in_w * channels);
        let n = in_h * channels * if p.wide { 8 } else { 4 };
        check(&p, n, |out| reference::arg_extreme(&p, &input, out), |k, out| k.arg_extreme(&p, &input, out));

        let p = Door { dtype, factor: r.multiplier(1.0) * 100.0, zero_point: r.zero_point(dtype) };
        check(
            &p,
            4 * channels,
            |out| reference::to_float(&p, &input[..channels], out),
            |k, out| {
                k.to_float(&p, &input[..channels], out);
            },
        );
        // Any bits: infinities and what is not a number among them.
        let floats: Vec<u8> = (0..4 * channels).map(|_| r.next() as u8).collect();
        let of = |v: f32| v.to_le_bytes();
        let special = [of(f32::NAN), of(f32::INFINITY), of(f32::NEG_INFINITY), of(0.5), of(-1.5), of(2.5)].concat();
        let floats = [special, floats].concat();
        let n = floats.len() / 4;
        check(&p, n, |out| reference::from_float(&p, &floats, out), |k, out| k.from_float(&p, &floats, out));
    }
}
