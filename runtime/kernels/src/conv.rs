//! Convolution and fully connected layers: gather, then multiply.
//!
//! ```text
//! for some rows (output pixels) that fit the first cache level:
//!     panel[row][k] = what the window of that pixel sees, in the form that the instruction set multiplies
//!     for each block of channels: output[row][n] = requantize(bias[n] + panel[row] . weights[n])
//! ```
//! `k` runs over (kernel row, kernel column, input channel), so a kernel row of an image in NHWC order is one run of bytes.
//! With a zero point `z` of the weights, `x . (w - z) = x . w - z * sum(x)`; the last term belongs to the row.

use core::ops::Range;

use crate::{
    isa::{Isa, Op},
    params::{Conv, Window},
    reference::value,
};

/// Rows of a panel at most.
const MAX_ROWS: usize = 60;
/// Bytes of a panel at most, unless a single tile needs more: three quarters of a small first level cache.
const PANEL_LEN: usize = 24 * 1024;

/// Some rows times one block of output channels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'a> {
    /// Zero points, types and limits.
    pub(crate) conv: &'a Conv<'a>,
    /// `[rows][k4]` cells; zero weights meet the cells beyond `k`.
    pub(crate) panel: &'a [u8],
    /// Cells of a row, a multiple of 4.
    pub(crate) k4: usize,
    /// Added to all sums of a row; one for each row.
    pub(crate) row_terms: &'a [i32],
    /// `[channels / 16][k4 / 4][16][4]`.
    pub(crate) weights: &'a [i8],
    /// One for each channel, and up to the next multiple of 16.
    pub(crate) bias: &'a [i32],
    /// As `bias`.
    #[cfg_attr(not(any(target_arch = "x86_64", target_arch = "aarch64")), allow(dead_code, reason = "read there"))]
    pub(crate) sums: &'a [i32],
    /// As `bias`.
    pub(crate) multipliers: &'a [f32],
    /// Channels that are written, at most `Isa::CHANNELS`.
    pub(crate) channels: usize,
    /// Bytes from an output row to the next.
    pub(crate) stride: usize,
}

/// Runs of cells, equally far apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Runs.
    pub(crate) count: usize,
    /// Cells of a run.
    pub(crate) len: usize,
    /// Input cells from the beginning of a run to that of the next.
    pub(crate) from_step: usize,
    /// The same in the panel.
    pub(crate) to_step: usize,
}

/// How much scratch a convolution needs.
pub(crate) struct ConvScratch<'a>(pub(crate) &'a Conv<'a>);

impl Op for ConvScratch<'_> {
    type Out = usize;
    const DOTS: bool = true;
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> usize {
        isa.conv_scratch_len(self.0)
    }
}

/// A convolution; all lengths were checked.
pub(crate) struct RunConv<'a> {
    pub(crate) conv: &'a Conv<'a>,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
    pub(crate) scratch: &'a mut [u8],
}

impl Op for RunConv<'_> {
    type Out = ();
    const DOTS: bool = true;
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        isa.conv(self.conv, self.input, self.output, self.scratch);
    }
}

/// Bytes of scratch that [`by_panels`] needs.
#[inline(always)]
pub(crate) fn panel_scratch_len<I: Isa>(c: &Conv<'_>) -> usize {
    panel_rows::<I>(c).saturating_mul(I::CELL).saturating_mul(c.k().next_multiple_of(4))
}

/// The convolution, panel by panel.
#[inline(always)]
pub(crate) fn by_panels<I: Isa>(isa: I, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let (k4, full_rows) = (c.k().next_multiple_of(4), panel_rows::<I>(c));
    let mut row_terms = [0; MAX_ROWS];
    for (panel_index, output) in output.chunks_mut(full_rows * c.out_c).enumerate() {
        let rows = output.len() / c.out_c;
        let panel = &mut scratch[..rows * k4 * I::CELL];
        gather(isa, c, input, panel_index * full_rows, panel, &mut row_terms[..rows]);
        for n in (0..c.out_c).step_by(I::CHANNELS) {
            let block = Block {
                conv: c,
                panel,
                k4,
                row_terms: &row_terms[..rows],
                weights: &c.weights[n * k4..],
                bias: &c.bias[n..],
                sums: &c.sums[n..],
                multipliers: &c.multipliers[n..],
                channels: I::CHANNELS.min(c.out_c - n),
                stride: c.out_c,
            };
            isa.gemm(&block, &mut output[n..]);
        }
    }
}

/// Rows of a panel: as many as fit, in whole tiles, and all panels about the same.
#[inline(always)]
fn panel_rows<I: Isa>(c: &Conv<'_>) -> usize {
    let fit = PANEL_LEN / c.k().next_multiple_of(4).saturating_mul(I::CELL).max(1);
    let most = if I::ROWS == 1 { 1 } else { (fit.min(MAX_ROWS) / I::ROWS * I::ROWS).max(I::ROWS) };
    let total = c.batch.saturating_mul(c.window.out_pixels()).max(1);
    let even = total.div_ceil(total.div_ceil(most));
    even.next_multiple_of(I::ROWS).min(total)
}

/// Fills `panel` with the windows of the output pixels from `first` on, and the term of each row.
#[inline(always)]
fn gather<I: Isa>(isa: I, c: &Conv<'_>, input: &[u8], first: usize, panel: &mut [u8], row_terms: &mut [i32]) {
    let (k, w) = (c.k(), &c.window);
    let k4 = k.next_multiple_of(4);
    if k == k4 && is_copy(w) && c.weight_zero_point == 0 {
        let len = row_terms.len() * k;
        return isa.pack(c, Run { count: 1, len, from_step: 0, to_step: 0 }, &input[first * k..][..len], panel);
    }
    let mut row = 0;
    while row < row_terms.len() {
        // The pixels of one output row.
        let (image, y, x) =
            ((first + row) / w.out_pixels(), (first + row) % w.out_pixels() / w.out_w, (first + row) % w.out_w);
        let pixels = (w.out_w - x).min(row_terms.len() - row);
        let input = &input[image * w.in_pixels() * c.in_c..][..w.in_pixels() * c.in_c];
        let panel = &mut panel[row * k4 * I::CELL..][..pixels * k4 * I::CELL];
        gather_row(isa, c, input, y * w.stride_h, x..x + pixels, panel);
        if c.weight_zero_point != 0 {
            for (i, term) in row_terms[row..row + pixels].iter_mut().enumerate() {
                let sum = window_sum(c, input, y * w.stride_h, (x + i) * w.stride_w);
                *term = sum.wrapping_mul(c.weight_zero_point).wrapping_neg();
            }
        }
        row += pixels;
    }
}

/// Fills the rows of `panel` with the windows of `pixels` of an output row whose windows begin at `y`.
#[inline(always)]
fn gather_row<I: Isa>(isa: I, c: &Conv<'_>, input: &[u8], y: usize, pixels: Range<usize>, panel: &mut [u8]) {
    let (w, in_c, k4) = (&c.window, c.in_c, c.k().next_multiple_of(4));
    let (padding, step) = (isa.padding(c), k4 * I::CELL);
    let count = pixels.len();
    // Pixels whose windows do not reach beyond the image on the left or on the right.
    let begin = w.pad_left.div_ceil(w.stride_w).clamp(pixels.start, pixels.end);
    let end = (w.pad_left + w.in_w).checked_sub(w.kernel_w).map_or(0, |last| last / w.stride_w + 1);
    let inside = if w.dilation_w == 1 { begin..end.clamp(begin, pixels.end) } else { begin..begin };
    for ky in 0..w.kernel_h {
        let iy = (y + ky * w.dilation_h).wrapping_sub(w.pad_top);
        let (at, len) = (ky * w.kernel_w * in_c * I::CELL, w.kernel_w * in_c);
        if iy >= w.in_h {
            for row in 0..count {
                panel[row * step + at..][..len * I::CELL].fill(padding);
            }
            continue;
        }
        let line = &input[iy * w.in_w * in_c..][..w.in_w * in_c];
        if !inside.is_empty() {
            let run = Run { count: inside.len(), len, from_step: w.stride_w * in_c, to_step: k4 };
            let from = (inside.start * w.stride_w - w.pad_left) * in_c;
            isa.pack(c, run, &line[from..], &mut panel[(inside.start - pixels.start) * step + at..]);
        }
        for x in (pixels.start..inside.start).chain(inside.end..pixels.end) {
            let cells = &mut panel[(x - pixels.start) * step + at..][..len * I::CELL];
            for (kx, cells) in cells.chunks_exact_mut(in_c * I::CELL).enumerate() {
                let ix = (x * w.stride_w + kx * w.dilation_w).wrapping_sub(w.pad_left);
                if ix < w.in_w {
                    isa.pack(c, Run { count: 1, len: in_c, from_step: 0, to_step: 0 }, &line[ix * in_c..], cells);
                } else {
                    cells.fill(padding);
                }
            }
        }
    }
    if c.k() < k4 {
        for row in panel.chunks_exact_mut(step) {
            row[c.k() * I::CELL..].iter_mut().for_each(|cell| *cell = padding);
        }
    }
}

/// The sum over a window, zero point taken off: what the zero point of the weights multiplies.
#[inline(always)]
pub(crate) fn window_sum(c: &Conv<'_>, input: &[u8], y: usize, x: usize) -> i32 {
    let w = &c.window;
    let mut sum = 0i32;
    for ky in 0..w.kernel_h {
        let iy = (y + ky * w.dilation_h).wrapping_sub(w.pad_top);
        for kx in 0..w.kernel_w {
            let ix = (x + kx * w.dilation_w).wrapping_sub(w.pad_left);
            if iy < w.in_h && ix < w.in_w {
                let cell = &input[(iy * w.in_w + ix) * c.in_c..][..c.in_c];
                let raw = cell.iter().fold(0i32, |sum, &x| sum.wrapping_add(value(c.in_dtype, x)));
                sum = sum.wrapping_add(raw.wrapping_sub(c.in_zero_point.wrapping_mul(c.in_c as i32)));
            }
        }
    }
    sum
}

/// Whether the windows in order are the input itself.
#[inline(always)]
pub(crate) fn is_copy(w: &Window) -> bool {
    let cell = (w.kernel_h, w.kernel_w, w.pad_top, w.pad_left) == (1, 1, 0, 0);
    cell && (w.stride_h == 1 || w.out_h == 1)
        && (w.stride_w == 1 || w.out_w == 1)
        && (w.in_h, w.in_w) == (w.out_h, w.out_w)
}
