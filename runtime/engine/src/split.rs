//! Cuts a step into parts that could run at once: each the same kernel on a part of the output.
//!
//! | cut by | what | of |
//! |---|---|---|
//! | images | images of a batch | convolutions, depthwise convolutions, pools |
//! | rows | output rows of one image, with the input rows that their windows see | the same |
//! | pixels | pixels, of all images together | convolutions of one cell, fully connected layers, products with one row |
//! | channels | blocks of 16 output channels | convolutions with one output pixel |
//! | elements | bytes | sums, products, tables |
//!
//! All of them are contiguous in the output, so that it is cut with `split_at_mut`. A step too small to gain from it stays
//! whole ([`min_work`]).

use core::ops::Range;

use fleetfoot_format::graph::Step;
use fleetfoot_kernels::{Add, Conv, Kernels, Mul, Pool, Window};

use crate::{
    fork::{Fork, MAX_THREADS},
    step::{self, Fault, Prepared},
};

/// Parts begin at a multiple of this many pixels, a whole number of tiles for most kernels.
const TILE: usize = 12;
/// Scratch of a part is a multiple of this, so that no two threads write to one line of a cache.
const LINE: usize = 64;

/// How a step is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    by: By,
    parts: usize,
    /// Images, rows, pixels, channels or elements of the whole step.
    total: usize,
    /// Parts begin at a multiple of this many of them.
    grain: usize,
    /// Bytes of scratch of one part.
    part_scratch_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Images,
    Rows,
    Pixels,
    Channels,
    Elements,
}

impl Cut {
    /// The cut of `step` for `threads`; nothing where it stays whole.
    pub(crate) fn new(kernels: Kernels, step: &Step, weights: &[u8], threads: usize) -> Option<Self> {
        let most = usize::try_from(work(step) / min_work(kernels)).unwrap_or(usize::MAX);
        Self::into_parts(kernels, step, weights, threads.min(most))
    }

    /// The cut into `threads` parts or fewer, however small they are.
    fn into_parts(kernels: Kernels, step: &Step, weights: &[u8], threads: usize) -> Option<Self> {
        let threads = threads.min(MAX_THREADS);
        let (by, total, grain) = match step {
            Step::Conv(c) | Step::FullyConnected(c) => dense(&step::conv(c, weights).ok()?, threads),
            Step::Depthwise(c) => windows(c.batch as usize, &step::window(&c.window)),
            Step::Pool(p) => windows(p.batch as usize, &step::window(&p.window)),
            Step::Add(p) => Some((By::Elements, p.output.len as usize, LINE)),
            Step::Mul(p) if p.a.len == p.b.len => Some((By::Elements, p.output.len as usize, LINE)),
            Step::Mul(p) if p.batch == 1 => Some((By::Pixels, p.output.len.checked_div(p.channels)? as usize, 1)),
            Step::Lut(p) => Some((By::Elements, p.output.len as usize, LINE)),
            _ => None,
        }?;
        let parts = threads.min(total.div_ceil(grain));
        if parts < 2 {
            return None;
        }
        let mut cut = Self { by, parts, total, grain, part_scratch_len: 0 };
        let scratch_len = |range| match step {
            Step::Conv(c) | Step::FullyConnected(c) => {
                step::conv(c, weights).map_or(0, |c| kernels.conv_scratch_len(&part_of_conv(&c, by, range).0))
            }
            Step::Depthwise(c) => {
                step::conv(c, weights).map_or(0, |c| kernels.depthwise_scratch_len(&part_of_conv(&c, by, range).0))
            }
            _ => 0,
        };
        cut.part_scratch_len = (0..parts).map(|i| scratch_len(cut.range(i))).max()?.checked_next_multiple_of(LINE)?;
        cut.part_scratch_len.checked_mul(parts).map(|_| cut)
    }

    /// Bytes of scratch of all parts.
    pub(crate) const fn scratch_len(&self) -> usize {
        self.parts * self.part_scratch_len
    }

    /// What part `index` computes.
    fn range(&self, index: usize) -> Range<usize> {
        let units = self.total.div_ceil(self.grain);
        let (each, more) = (units / self.parts, units % self.parts);
        let start = |index: usize| (each * index + index.min(more)).saturating_mul(self.grain).min(self.total);
        start(index)..start(index + 1)
    }

    /// The parts of `work`.
    fn parts<'a>(
        &self,
        kernels: Kernels,
        work: Work<'a>,
        output: &'a mut [u8],
        scratch: &'a mut [u8],
    ) -> heapless::Vec<Part<'a>, MAX_THREADS> {
        let unit = output.len() / self.total;
        let (mut outputs, mut scratches) = (output, scratch);
        let part = |index| {
            let range = self.range(index);
            let (output, rest) = core::mem::take(&mut outputs).split_at_mut(range.len() * unit);
            outputs = rest;
            let (scratch, rest) = core::mem::take(&mut scratches).split_at_mut(self.part_scratch_len);
            scratches = rest;
            Part { kernels, work, by: self.by, range, output, scratch }
        };
        (0..self.parts).map(part).collect()
    }
}

/// A part of a step, with the memory that is its alone.
#[derive(Debug)]
pub struct Part<'a> {
    kernels: Kernels,
    work: Work<'a>,
    by: By,
    range: Range<usize>,
    output: &'a mut [u8],
    scratch: &'a mut [u8],
}

/// The whole step. The inputs are those of the whole step, too.
#[derive(Clone, Copy, Debug)]
enum Work<'a> {
    Conv(&'a Conv<'a>, &'a [u8]),
    Depthwise(&'a Conv<'a>, &'a [u8]),
    Pool(&'a Pool, &'a [u8]),
    Add(&'a Add, &'a [u8], &'a [u8]),
    Mul(&'a Mul, &'a [u8], &'a [u8]),
    Lut(&'a [u8; 256], &'a [u8]),
}

impl Part<'_> {
    /// Computes this part of the output. Once is enough; again gives the same.
    pub fn run(&mut self) {
        let Self { kernels, work, by, range, output, scratch } = self;
        match *work {
            Work::Conv(c, input) => {
                let (c, from) = part_of_conv(c, *by, range.clone());
                kernels.conv(&c, &input[from], output, scratch);
            }
            Work::Depthwise(c, input) => {
                let (c, from) = part_of_conv(c, *by, range.clone());
                kernels.depthwise(&c, &input[from], output, scratch);
            }
            Work::Pool(p, input) => {
                let (batch, window, from) = part_of_windows((p.batch, &p.window), *by, range.clone());
                let from = from.start * p.channels..from.end * p.channels;
                kernels.pool(&Pool { batch, window, ..*p }, &input[from], output);
            }
            Work::Add(p, a, b) => kernels.add(p, &a[range.clone()], &b[range.clone()], output),
            Work::Mul(p, a, b) if *by == By::Pixels => {
                kernels.mul(p, &a[range.start * p.channels..range.end * p.channels], b, output);
            }
            Work::Mul(p, a, b) => {
                kernels.mul(&Mul { batch: 1, channels: 1, ..*p }, &a[range.clone()], &b[range.clone()], output);
            }
            Work::Lut(table, input) => kernels.lut(table, &input[range.clone()], output),
        }
    }
}

/// Runs `step` in parts. `scratch` has at least [`Cut::scratch_len`] bytes.
pub(crate) fn run(
    kernels: Kernels,
    (prepared, cut): (&Prepared, &Cut),
    weights: &[u8],
    tensors: &mut [u8],
    scratch: &mut [u8],
    fork: &(impl Fork + ?Sized),
) -> Result<(), Fault> {
    let below_one = prepared.below_one;
    match &prepared.step {
        Step::Conv(c) | Step::FullyConnected(c) => {
            let (input, output) = step::pair(tensors, c.input, c.output)?;
            let c = step::conv_known(c, weights, below_one)?;
            fork.run(&mut cut.parts(kernels, Work::Conv(&c, input), output, scratch));
        }
        Step::Depthwise(c) => {
            let (input, output) = step::pair(tensors, c.input, c.output)?;
            let c = step::conv_known(c, weights, below_one)?;
            fork.run(&mut cut.parts(kernels, Work::Depthwise(&c, input), output, scratch));
        }
        Step::Pool(p) => {
            let (input, output) = step::pair(tensors, p.input, p.output)?;
            fork.run(&mut cut.parts(kernels, Work::Pool(&step::pool(p), input), output, scratch));
        }
        Step::Add(p) => {
            let params = step::add(p);
            step::binary(tensors, p.a, p.b, p.output, |a, b, output| {
                fork.run(&mut cut.parts(kernels, Work::Add(&params, a, b), output, scratch));
            })?;
        }
        Step::Mul(p) => {
            let params = step::mul(p);
            step::binary(tensors, p.a, p.b, p.output, |a, b, output| {
                fork.run(&mut cut.parts(kernels, Work::Mul(&params, a, b), output, scratch));
            })?;
        }
        Step::Lut(p) => {
            let (input, output) = step::pair(tensors, p.input, p.output)?;
            fork.run(&mut cut.parts(kernels, Work::Lut(step::table(p, weights)?, input), output, scratch));
        }
        // No cut was made for any other.
        _ => step::run(kernels, prepared, weights, tensors, scratch)?,
    }
    Ok(())
}

/// Work that a part has at least, in multiply-accumulates of a convolution: some two microseconds. A fork and a join cost about
/// one where the threads are awake. Only time depends on it, and only roughly, so that kernels not named here are no fault.
fn min_work(kernels: Kernels) -> u64 {
    match kernels.name() {
        "avx512vnni" => 400_000,
        "avxvnni" => 300_000,
        "avx2" => 150_000,
        "scalar" => 10_000,
        _ => 60_000,
    }
}

/// About how long a step takes, in multiply-accumulates of a convolution.
fn work(step: &Step) -> u64 {
    match step {
        // A few channels leave much of the vectors empty.
        Step::Conv(c) if c.in_c < 8 => step.macs().saturating_mul(4),
        // Few operations for each byte that is loaded, and constants that each part prepares anew.
        Step::Depthwise(_) => step.macs().saturating_mul(3),
        Step::Pool(p) => {
            let taps = u64::from(p.window.kernel_h) * u64::from(p.window.kernel_w);
            u64::from(p.output.len).saturating_mul(taps).saturating_mul(16)
        }
        Step::Add(_) => step.bytes().saturating_mul(8),
        Step::Mul(_) => step.bytes().saturating_mul(12),
        Step::Lut(_) => step.bytes().saturating_mul(32),
        _ => step.macs(),
    }
}

/// What a convolution or fully connected layer is cut by, how many of them there are, and the grain.
fn dense(c: &Conv<'_>, threads: usize) -> Option<(By, usize, usize)> {
    let w = &c.window;
    let pixels = c.batch * w.out_pixels();
    if pixels == 1 {
        return Some((By::Channels, c.out_c, 16));
    }
    let cell = (w.kernel_h, w.kernel_w, w.pad_top, w.pad_left) == (1, 1, 0, 0);
    let unit_steps = (w.stride_h == 1 || w.out_h == 1) && (w.stride_w == 1 || w.out_w == 1);
    if cell && unit_steps && (w.in_h, w.in_w) == (w.out_h, w.out_w) {
        let grain = if pixels >= 4 * TILE * threads { TILE } else { 1 };
        return Some((By::Pixels, pixels, grain));
    }
    windows(c.batch, w)
}

/// The same for anything with windows.
fn windows(batch: usize, w: &Window) -> Option<(By, usize, usize)> {
    if batch > 1 {
        return Some((By::Images, batch, 1));
    }
    // Rows whose windows begin below the image have no input rows to be given.
    let all_meet = (w.out_h - 1) * w.stride_h < w.in_h + w.pad_top;
    all_meet.then_some((By::Rows, w.out_h, 1))
}

/// The part of a convolution that `range` names, and the bytes of the input that it sees.
fn part_of_conv<'a>(c: &Conv<'a>, by: By, range: Range<usize>) -> (Conv<'a>, Range<usize>) {
    match by {
        By::Pixels => {
            let part = Conv { batch: 1, window: Window::pointwise(range.len()), ..*c };
            (part, range.start * c.in_c..range.end * c.in_c)
        }
        By::Channels => {
            let (first, k4) = (range.start, c.k().next_multiple_of(4));
            let part = Conv {
                out_c: range.len(),
                weights: &c.weights[first * k4..],
                bias: &c.bias[first..],
                sums: &c.sums[first..],
                multipliers: &c.multipliers[first..],
                ..*c
            };
            (part, 0..c.input_len())
        }
        _ => {
            let (batch, window, from) = part_of_windows((c.batch, &c.window), by, range);
            (Conv { batch, window, ..*c }, from.start * c.in_c..from.end * c.in_c)
        }
    }
}

/// Images or rows: how many images, their window, and the pixels of the input.
fn part_of_windows((batch, w): (usize, &Window), by: By, range: Range<usize>) -> (usize, Window, Range<usize>) {
    if by == By::Images {
        return (range.len(), *w, range.start * w.in_pixels()..range.end * w.in_pixels());
    }
    // Counted from the top of the border: where the first window begins, and where the last one ends.
    let top = range.start * w.stride_h;
    let bottom = (range.end - 1) * w.stride_h + (w.kernel_h - 1) * w.dilation_h + 1;
    let first = top.saturating_sub(w.pad_top).min(w.in_h - 1);
    let end = bottom.saturating_sub(w.pad_top).clamp(first + 1, w.in_h);
    let window = Window { in_h: end - first, out_h: range.len(), pad_top: w.pad_top.saturating_sub(top), ..*w };
    (batch, window, first * w.in_w..end * w.in_w)
}

#[cfg(test)]
mod tests;
