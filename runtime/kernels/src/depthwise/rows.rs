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
use crate::params::{Conv, DType};

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

/// Sizes of the ring.
struct Ring {
    rows: usize,
    pitch: usize,
    channels: usize,
}

impl Ring {
    fn new<K: RowKernel>(c: &Conv<'_>) -> Self {
        let w = &c.window;
        let reach = |kernel: usize, dilation: usize| (kernel - 1).saturating_mul(dilation).saturating_add(1);
        let columns = (w.out_w - 1).saturating_mul(w.stride_w).saturating_add(reach(w.kernel_w, w.dilation_w));
        let channels = c.out_c.next_multiple_of(K::LANES);
        Self { rows: reach(w.kernel_h, w.dilation_h), pitch: columns.saturating_mul(channels), channels }
    }

    fn len(&self) -> usize {
        self.rows.saturating_mul(self.pitch)
    }
}

/// Bytes of scratch.
pub(crate) fn scratch_len<K: RowKernel>(c: &Conv<'_>) -> usize {
    if c.window.taps() > MAX_TAPS || c.window.taps() == 0 || c.window.out_w == 0 {
        return 0;
    }
    let ring = Ring::new::<K>(c);
    let constants = (ring.channels / K::LANES).saturating_mul(K::constants_len(c.window.taps()));
    ring.len().saturating_add(constants)
}

/// The convolution.
#[inline(always)]
pub(crate) fn run<K: RowKernel>(kernel: K, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let w = &c.window;
    if w.taps() > MAX_TAPS {
        return direct(c, input, output);
    }
    let ring = Ring::new::<K>(c);
    let flip = if c.in_dtype == K::DTYPE { 0 } else { 0x80 };
    let zero_point = match (c.in_dtype, K::DTYPE) {
        (DType::Int8, DType::UInt8) => c.in_zero_point + 128,
        (DType::UInt8, DType::Int8) => c.in_zero_point - 128,
        _ => c.in_zero_point,
    };
    let constants_len = K::constants_len(w.taps());
    let (rows, constants) = scratch.split_at_mut(ring.len());
    let constants = &mut constants[..ring.channels / K::LANES * constants_len];
    for (group, constants) in constants.chunks_exact_mut(constants_len).enumerate() {
        kernel.prepare(c, group * K::LANES, zero_point, constants);
    }
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        // Rows of the image with its border, counted from the top of the border.
        let mut have = 0;
        for (y, output) in output.chunks_exact_mut(w.out_w * c.out_c).enumerate() {
            let top = y * w.stride_h;
            for row in have.max(top)..top + ring.rows {
                let to = &mut rows[row % ring.rows * ring.pitch..][..ring.pitch];
                let from = row.wrapping_sub(w.pad_top);
                let line = if from < w.in_h { &input[from * w.in_w * c.in_c..][..w.in_w * c.in_c] } else { &[] };
                copy_row(c, &ring, line, flip, zero_point as u8, to);
            }
            have = top + ring.rows;
            let mut taps = [0; MAX_TAPS];
            for (tap, offset) in taps[..w.taps()].iter_mut().enumerate() {
                let (ky, kx) = (tap / w.kernel_w, tap % w.kernel_w);
                let row = (top + ky * w.dilation_h) % ring.rows;
                *offset = row * ring.pitch + kx * w.dilation_w * ring.channels;
            }
            let row = Row {
                conv: c,
                ring: rows,
                taps: &taps[..w.taps()],
                step: w.stride_w * ring.channels,
                channels: ring.channels,
                constants,
            };
            kernel.row(&row, output);
        }
    }
}

/// Copies one input row with its border; an empty `line` is all border.
#[inline(always)]
fn copy_row(c: &Conv<'_>, ring: &Ring, line: &[u8], flip: u8, border: u8, to: &mut [u8]) {
    let (w, n) = (&c.window, ring.channels);
    let before = (w.pad_left * n).min(to.len());
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
