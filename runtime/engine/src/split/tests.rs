//! A step in parts gives the bytes of the whole: random geometry, any number of parts, every instruction set of this CPU.

use std::{format, vec, vec::Vec};

use fleetfoot_format::graph::{Add, Conv, DType, Lut, Mul, Pool, PoolKind, Span, Step, Window};
use fleetfoot_kernels::Kernels;

use super::{By, Cut, LINE};
use crate::{
    fork::{Fork, MAX_THREADS, Part},
    step,
};

/// The last part first: nothing may rely on the order.
struct Backwards;

impl Fork for Backwards {
    fn run(&self, parts: &mut [Part<'_>]) {
        parts.iter_mut().rev().for_each(Part::run);
    }
}

/// Every part on a thread of its own.
struct Scoped;

impl Fork for Scoped {
    fn run(&self, parts: &mut [Part<'_>]) {
        std::thread::scope(|scope| {
            for part in parts {
                scope.spawn(|| part.run());
            }
        });
    }
}

/// Runs `step` whole and in parts; how it was cut, if at all. The arena is the inputs, then the output.
fn check(step: &Step, weights: &[u8], arena: &[u8], threads: usize, fork: &impl Fork) -> Option<By> {
    let mut by = None;
    for kernels in Kernels::available() {
        let mut whole = arena.to_vec();
        let prepared = step::Prepared::new(kernels, *step, weights, false);
        let mut scratch = vec![0x5a; prepared.scratch_len];
        step::run(kernels, &prepared, weights, &mut whole, &mut scratch).unwrap();
        let Some(cut) = Cut::into_parts(kernels, step, weights, threads) else { continue };
        assert!((2..=threads).contains(&cut.parts) && (0..cut.parts).all(|i| !cut.range(i).is_empty()), "{cut:?}");
        let mut parts = arena.to_vec();
        let mut scratch = vec![0xa5; cut.scratch_len()];
        super::run(kernels, (&prepared, &cut), weights, &mut parts, &mut scratch, fork).unwrap();
        assert!(whole == parts, "{} {cut:?}: {step:?}", kernels.name());
        by = Some(cut.by);
    }
    by
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn within(&mut self, lo: u32, hi: u32) -> u32 {
        lo + self.next() % (hi - lo + 1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// Kernel, stride, dilation, padding and extent of an axis: input, output, kernel, stride, dilation, padding before.
    fn axis(&mut self, most_kernel: u32, most_dilation: u32) -> [u32; 6] {
        loop {
            let (kernel, stride, dilation) =
                (self.within(1, most_kernel), self.within(1, 3), self.within(1, most_dilation));
            let reach = (kernel - 1) * dilation + 1;
            let (extent, before, after) = (self.within(1, 23), self.within(0, reach - 1), self.within(0, reach - 1));
            if extent + before + after >= reach {
                return [extent, (extent + before + after - reach) / stride + 1, kernel, stride, dilation, before];
            }
        }
    }

    fn window(&mut self, most_kernel: u32, most_dilation: u32) -> Window {
        let [in_h, out_h, kernel_h, stride_h, dilation_h, pad_top] = self.axis(most_kernel, most_dilation);
        let [in_w, out_w, kernel_w, stride_w, dilation_w, pad_left] = self.axis(most_kernel, most_dilation);
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

fn span(offset: u32, len: u32) -> Span {
    Span { offset, len }
}

/// A convolution with everything random, its constants and its arena.
fn conv(random: &mut Random, batch: u32, window: Window, depthwise: bool) -> (Conv, Vec<u8>, Vec<u8>) {
    let in_c: u32 = random.pick(&[1, 3, 4, 8, 16, 20]);
    let out_c: u32 = if depthwise { in_c * random.pick(&[1, 1, 1, 2]) } else { random.pick(&[1, 5, 16, 24, 40, 70]) };
    let taps = window.kernel_h * window.kernel_w;
    let c16 = out_c.next_multiple_of(16);
    let k = taps * in_c;
    let rows = if depthwise { taps } else { k.next_multiple_of(4) };
    let weight_zero_point = random.pick(&[0, 0, 0, 5]);
    // `[c16 / 16][k4 / 4][16][4]`, or `[taps][c16]`; zero beyond the channels and beyond k.
    let mut values = vec![0u8; (rows * c16) as usize];
    let mut sums = vec![0i32; c16 as usize];
    for n in 0..out_c {
        for i in 0..if depthwise { taps } else { k } {
            let at = if depthwise { i * c16 + n } else { (n / 16 * rows * 16) + i / 4 * 64 + n % 16 * 4 + i % 4 };
            values[at as usize] = random.next() as u8;
            sums[n as usize] += i32::from(values[at as usize].cast_signed());
        }
    }
    let spread = 40.0 / (f32::from(if depthwise { taps as u16 } else { k as u16 }).sqrt() * 5000.0);
    let mut weights = Vec::new();
    let mut push = |bytes: &[u8]| {
        weights.resize(weights.len().next_multiple_of(16), 0);
        let at = weights.len() as u32;
        weights.extend_from_slice(bytes);
        span(at, bytes.len() as u32)
    };
    let words = |words: Vec<[u8; 4]>| words.concat();
    let conv = Conv {
        batch,
        window,
        in_c,
        out_c,
        in_dtype: random.pick(&[DType::Int8, DType::UInt8]),
        out_dtype: DType::Int8,
        input: span(0, batch * window.in_h * window.in_w * in_c),
        output: span(batch * window.in_h * window.in_w * in_c, batch * window.out_h * window.out_w * out_c),
        weights: push(&values),
        bias: push(&words((0..c16).map(|_| (random.within(0, 2000) as i32 - 1000).to_le_bytes()).collect())),
        sums: push(&words(sums.iter().map(|sum| sum.to_le_bytes()).collect())),
        multipliers: push(&words((0..c16).map(|i| (spread * (1.0 + i as f32 / 100.0)).to_le_bytes()).collect())),
        in_zero_point: random.pick(&[0, 3, 100]),
        weight_zero_point,
        out_zero_point: random.pick(&[-128, 0, 9]),
        lo: random.pick(&[-128, -128, -20]),
        hi: 127,
    };
    let arena = random.bytes((conv.input.len + conv.output.len) as usize);
    (conv, weights, arena)
}

/// Weights where the kernels want them, at a multiple of 16.
fn aligned(weights: &[u8]) -> (Vec<u8>, usize) {
    let mut room = vec![0; weights.len() + 16];
    let start = room.as_ptr().align_offset(16);
    room[start..start + weights.len()].copy_from_slice(weights);
    (room, start)
}

#[test]
fn convolutions() {
    let (mut cuts, n) = (Vec::new(), if cfg!(debug_assertions) { 400 } else { 4000 });
    for seed in 0..n {
        let mut random = Random(seed);
        let depthwise = random.next().is_multiple_of(3);
        let window = match random.next() % 5 {
            0 => Window { in_h: 1, in_w: 1, out_h: 1, out_w: 1, ..random.window(1, 1) },
            1 => {
                let w = Window { stride_h: 1, stride_w: 1, pad_top: 0, pad_left: 0, ..random.window(1, 1) };
                Window { out_h: w.in_h, out_w: w.in_w, ..w }
            }
            _ => random.window(5, 3),
        };
        let batch = random.pick(&[1, 1, 1, 2, 5]);
        let (conv, weights, arena) = conv(&mut random, batch, window, depthwise);
        let (room, start) = aligned(&weights);
        let weights = &room[start..][..weights.len()];
        let step = if depthwise { Step::Depthwise(conv) } else { Step::Conv(conv) };
        let threads = random.pick(&[2, 3, 4, 7, MAX_THREADS]);
        cuts.extend(check(&step, weights, &arena, threads, &Backwards));
    }
    for by in [By::Images, By::Rows, By::Pixels, By::Channels] {
        let times = cuts.iter().filter(|&&cut| cut == by).count();
        assert!(times > n as usize / 40, "{by:?}: only {times} of {n}");
    }
}

/// Padding far larger than the kernel: whole rows of windows see no image at all.
#[test]
fn borders_beyond_reach() {
    let mut cut = 0;
    for seed in 0..100 {
        let mut random = Random(seed);
        let small = random.window(3, 2);
        let window = Window { pad_top: random.within(0, 9), out_h: random.within(1, 9), ..small };
        let depthwise = random.next().is_multiple_of(2);
        let (conv, weights, arena) = conv(&mut random, 1, window, depthwise);
        let (room, start) = aligned(&weights);
        let step = if depthwise { Step::Depthwise(conv) } else { Step::Conv(conv) };
        cut += usize::from(check(&step, &room[start..][..weights.len()], &arena, 3, &Backwards).is_some());
    }
    assert!(cut > 30, "{cut}");
}

#[test]
fn elements_and_pools() {
    for seed in 0..200 {
        let mut random = Random(seed);
        let len = random.within(1, 1000);
        let (a, b, output) = (span(0, len), span(len, len), span(2 * len, len));
        let table = random.bytes(256);
        let dtype = random.pick(&[DType::Int8, DType::UInt8]);
        let (lo, hi) = dtype.range();
        let add = Add {
            a,
            b: random.pick(&[a, b]),
            output,
            dtype,
            a_multiplier: 500_000,
            b_multiplier: 700_000,
            bias: 1 << 19,
            shift: 20,
            out_zero_point: 0,
            lo,
            hi,
        };
        let mul = Mul {
            a,
            b,
            output,
            batch: 1,
            channels: 1,
            dtype,
            a_zero_point: 3,
            b_zero_point: 5,
            multiplier: 0.01,
            out_zero_point: 7,
            lo,
            hi,
        };
        let arena = random.bytes(3 * len as usize);
        let threads = random.pick(&[2, 3, 5, MAX_THREADS]);
        for step in [Step::Add(add), Step::Mul(mul), Step::Lut(Lut { input: a, output, table: span(0, 256) })] {
            let cut = check(&step, &table, &arena, threads, &Backwards);
            assert_eq!(cut.is_some(), len > LINE as u32, "{step:?}");
        }
        let channels = random.pick(&[1, 2, 3].map(|d| if len.is_multiple_of(d) { len / d } else { len }));
        let row = Step::Mul(Mul { b: span(len, channels), channels, ..mul });
        let cut = check(&row, &table, &arena, threads, &Backwards);
        assert_eq!(cut.is_some(), if channels < len { true } else { len > LINE as u32 }, "{row:?}");

        let window = Window { dilation_h: 1, dilation_w: 1, ..random.window(4, 1) };
        let (batch, channels) = (random.pick(&[1, 1, 3]), random.within(1, 20));
        let (from, to) = (batch * window.in_h * window.in_w * channels, batch * window.out_h * window.out_w * channels);
        let kind = random.pick(&[PoolKind::Max, PoolKind::Average]);
        let (input, output) = (span(0, from), span(from, to));
        let pool = Step::Pool(Pool { kind, batch, window, channels, dtype, input, output, lo, hi });
        // A window that ends where the padding below begins has no cell: no plan has one.
        if (window.out_h - 1) * window.stride_h < window.in_h + window.pad_top
            && (window.out_w - 1) * window.stride_w < window.in_w + window.pad_left
        {
            let arena = random.bytes((from + to) as usize);
            let cut = check(&pool, &[], &arena, threads, &Backwards);
            assert_eq!(cut.is_some(), batch > 1 || window.out_h > 1, "{pool:?}");
        }
    }
}

#[test]
fn on_threads() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let window = random.window(3, 1);
        let (conv, weights, arena) = conv(&mut random, 1, window, false);
        let (room, start) = aligned(&weights);
        check(&Step::Conv(conv), &room[start..][..weights.len()], &arena, 4, &Scoped);
    }
}

#[test]
fn small_steps_stay_whole() {
    let mut random = Random(1);
    let window = Window { in_h: 8, in_w: 8, out_h: 8, out_w: 8, ..random.window(1, 1) };
    let (conv, weights, _) = conv(&mut random, 1, Window { stride_h: 1, stride_w: 1, ..window }, false);
    let (step, large) = (Step::Conv(conv), format!("{} MACs", Step::Conv(conv).macs()));
    assert!(Cut::new(Kernels::scalar(), &step, &weights, 8).is_none(), "{large}");
}
