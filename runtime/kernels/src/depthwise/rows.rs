//! Depthwise convolution row by row, for instruction sets with a loop for one row.
//!
//! ```text
//! scratch:  ring of the input rows that a window spans, each with its border, channels rounded up to whole vectors
//!           constants of each group of channels in the order in which the loop reads them
//! for each output row: copy the input rows that are new into the ring, then run the loop
//! ```
//! The copy takes away all special cases: the border is there, channels are whole, a channel multiplier has been applied,
//! and bytes have the sign that the instruction wants. It costs a few percent of the arithmetic.

use super::direct;
use crate::{
    params::{Conv, DType},
    ring::Ring,
};

/// The loop of an instruction set.
pub(crate) trait RowKernel: Copy {
    /// Channels of a group.
    const LANES: usize;
    /// What the bytes in the ring are.
    const DTYPE: DType;

    /// Bytes of the constants of a group.
    fn constants_len(taps: usize) -> usize;

    /// Lays out the constants of the channels from `first` on. `zero_point` is that of the bytes in the ring.
    fn prepare(self, c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]);

    /// One output row, `[pixel][out_c]`.
    fn row(self, r: &Row<'_>, output: &mut [u8]);
}

/// A row to compute.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    /// Limits and channels.
    pub(crate) conv: &'a Conv<'a>,
    /// Rows with borders.
    pub(crate) ring: &'a [u8],
    /// For each tap, where it lies in the ring for the first output pixel.
    pub(crate) taps: &'a [usize],
    /// Bytes from an output pixel to the next in the ring.
    pub(crate) step: usize,
    /// Channels in the ring, a multiple of `LANES`.
    pub(crate) channels: usize,
    /// Of all groups.
    pub(crate) constants: &'a [u8],
}

/// Windows with more taps take the plain way.
const MAX_TAPS: usize = 64;

/// Channels in the ring.
fn channels<K: RowKernel>(c: &Conv<'_>) -> usize {
    c.out_c.next_multiple_of(K::LANES)
}

/// Bytes of scratch.
pub(crate) fn scratch_len<K: RowKernel>(c: &Conv<'_>) -> usize {
    if c.window.taps() > MAX_TAPS || c.window.taps() == 0 || c.window.out_w == 0 {
        return 0;
    }
    let channels = channels::<K>(c);
    let ring = Ring::new(&c.window, channels, 0);
    let constants = (channels / K::LANES).saturating_mul(K::constants_len(c.window.taps()));
    ring.len().saturating_add(constants)
}

/// The convolution.
#[inline(always)]
pub(crate) fn run<K: RowKernel>(kernel: K, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let w = &c.window;
    if w.taps() > MAX_TAPS {
        return direct(c, input, output);
    }
    let channels = channels::<K>(c);
    let ring = Ring::new(w, channels, 0);
    let flip = if c.in_dtype == K::DTYPE { 0 } else { 0x80 };
    let zero_point = match (c.in_dtype, K::DTYPE) {
        (DType::Int8, DType::UInt8) => c.in_zero_point + 128,
        (DType::UInt8, DType::Int8) => c.in_zero_point - 128,
        _ => c.in_zero_point,
    };
    let constants_len = K::constants_len(w.taps());
    let (rows, constants) = scratch.split_at_mut(ring.len());
    let constants = &mut constants[..channels / K::LANES * constants_len];
    for (group, constants) in constants.chunks_exact_mut(constants_len).enumerate() {
        kernel.prepare(c, group * K::LANES, zero_point, constants);
    }
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let mut have = 0;
        for (y, output) in output.chunks_exact_mut(w.out_w * c.out_c).enumerate() {
            let top = y * w.stride_h;
            ring.advance(c, top, &mut have, input, rows, |line, to| {
                copy_row(c, channels, line, flip, zero_point as u8, to);
            });
            let mut taps = [0; MAX_TAPS];
            for (tap, offset) in taps[..w.taps()].iter_mut().enumerate() {
                let (ky, kx) = (tap / w.kernel_w, tap % w.kernel_w);
                *offset = ring.at(top + ky * w.dilation_h) + kx * w.dilation_w * channels;
            }
            let row =
                Row { conv: c, ring: rows, taps: &taps[..w.taps()], step: w.stride_w * channels, channels, constants };
            kernel.row(&row, output);
        }
    }
}

/// Copies one input row with its border; an empty `line` is all border.
#[inline(always)]
fn copy_row(c: &Conv<'_>, n: usize, line: &[u8], flip: u8, border: u8, to: &mut [u8]) {
    let before = (c.window.pad_left * n).min(to.len());
    let inside = (line.len() / c.in_c * n).min(to.len() - before);
    let (left, rest) = to.split_at_mut(before);
    let (middle, right) = rest.split_at_mut(inside);
    left.fill(border);
    right.fill(border);
    if n == c.in_c {
        for (to, from) in middle.iter_mut().zip(line) {
            *to = from ^ flip;
        }
        return;
    }
    let multiplier = c.out_c / c.in_c;
    for (to, from) in middle.chunks_exact_mut(n).zip(line.chunks_exact(c.in_c)) {
        if multiplier == 1 {
            for (to, from) in to.iter_mut().zip(from) {
                *to = from ^ flip;
            }
        } else {
            for (to, from) in to.chunks_exact_mut(multiplier).zip(from) {
                to.fill(from ^ flip);
            }
        }
    }
}
