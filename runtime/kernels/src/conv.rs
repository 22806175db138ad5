//! Convolution and fully connected layers: gather, then multiply.
//!
//! ```text
//! for some rows (output pixels) that fit the first cache level:
//!     panel[row][k] = what the window of that pixel sees, in the form that the instruction set multiplies
//!     for each block of channels: output[row][n] = requantize(bias[n] + panel[row] . weights[n])
//! ```
//! `k` runs over (kernel row, kernel column, input channel), so a kernel row of an image in NHWC order is one run of bytes.
//! With a zero point `z` of the weights, `x . (w - z) = x . w - z * sum(x)`; the last term belongs to the row.

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
    pub(crate) multipliers: &'a [f32],
    /// Channels that are written, at most `Isa::CHANNELS`.
    pub(crate) channels: usize,
    /// Bytes from an output row to the next.
    pub(crate) stride: usize,
}

/// How much scratch a convolution needs.
pub(crate) struct ConvScratch<'a>(pub(crate) &'a Conv<'a>);

impl Op for ConvScratch<'_> {
    type Out = usize;

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) -> usize {
        let c = self.0;
        panel_rows::<I>(c).saturating_mul(I::CELL).saturating_mul(c.k().next_multiple_of(4))
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

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Self { conv: c, input, output, scratch } = self;
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
                    multipliers: &c.multipliers[n..],
                    channels: I::CHANNELS.min(c.out_c - n),
                    stride: c.out_c,
                };
                isa.gemm(&block, &mut output[n..]);
            }
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
        return isa.pack(c, &input[first * k..][..row_terms.len() * k], panel);
    }
    let padding = isa.padding(c);
    let (mut image, mut y, mut x) = (first / w.out_pixels(), first % w.out_pixels() / w.out_w, first % w.out_w);
    for (row, term) in panel.chunks_exact_mut(k4 * I::CELL).zip(row_terms) {
        let input = &input[image * w.in_pixels() * c.in_c..][..w.in_pixels() * c.in_c];
        let sum = pixel(isa, c, input, (y, x), padding, row);
        *term = sum.wrapping_mul(c.weight_zero_point).wrapping_neg();
        x += 1;
        if x == w.out_w {
            (x, y) = (0, y + 1);
        }
        if y == w.out_h {
            (y, image) = (0, image + 1);
        }
    }
}

/// Fills one row of a panel; the sum of what it holds, without the zero point, if the weights have one.
#[inline(always)]
fn pixel<I: Isa>(isa: I, c: &Conv<'_>, input: &[u8], at: (usize, usize), padding: u8, row: &mut [u8]) -> i32 {
    let (w, in_c) = (&c.window, c.in_c);
    let mut sum = 0i32;
    let mut segment = |from: usize, cells: &mut [u8]| {
        let input = &input[from..][..cells.len() / I::CELL];
        isa.pack(c, input, cells);
        if c.weight_zero_point != 0 {
            let raw = input.iter().fold(0i32, |sum, &x| sum.wrapping_add(value(c.in_dtype, x)));
            sum = sum.wrapping_add(raw.wrapping_sub(c.in_zero_point.wrapping_mul(input.len() as i32)));
        }
    };
    let (x, columns) = (at.1 * w.stride_w, w.kernel_w);
    let cell = in_c * I::CELL;
    for ky in 0..w.kernel_h {
        let row = &mut row[ky * columns * cell..][..columns * cell];
        let y = (at.0 * w.stride_h + ky * w.dilation_h).wrapping_sub(w.pad_top);
        if y >= w.in_h {
            row.fill(padding);
        } else if w.dilation_w == 1 {
            let before = w.pad_left.saturating_sub(x).min(columns);
            let after = (x + columns).saturating_sub(w.pad_left + w.in_w).min(columns - before);
            let (left, rest) = row.split_at_mut(before * cell);
            let (inside, right) = rest.split_at_mut((columns - before - after) * cell);
            for border in [left, right].into_iter().filter(|border| !border.is_empty()) {
                border.fill(padding);
            }
            if !inside.is_empty() {
                segment((y * w.in_w + x + before - w.pad_left) * in_c, inside);
            }
        } else {
            for (kx, cells) in row.chunks_exact_mut(cell).enumerate() {
                let x = (x + kx * w.dilation_w).wrapping_sub(w.pad_left);
                if x < w.in_w {
                    segment((y * w.in_w + x) * in_c, cells);
                } else {
                    cells.fill(padding);
                }
            }
        }
    }
    for cell in &mut row[w.taps() * cell..] {
        *cell = padding;
    }
    sum
}

/// Whether the windows in order are the input itself.
#[inline(always)]
fn is_copy(w: &Window) -> bool {
    let cell = (w.kernel_h, w.kernel_w, w.pad_top, w.pad_left) == (1, 1, 0, 0);
    cell && (w.stride_h == 1 || w.out_h == 1)
        && (w.stride_w == 1 || w.out_w == 1)
        && (w.in_h, w.in_w) == (w.out_h, w.out_w)
}
