//! What the instruction sets with `vpdpbusd` share: how a layer becomes rows of unsigned bytes. The instruction multiplies four
//! unsigned by four signed bytes and adds them to 32 bits, exactly.
//!
//! Inputs become unsigned (int8 with the top bit flipped); their zero point times the sum of the weights comes off the bias
//! of each channel. What a layer multiplies is chosen by its shape ([`Path`]):
//!
//! - a window of one cell: some rows of the input, copied if they must be flipped or lie apart;
//! - larger windows: a few input rows with their border, copied and flipped once, so that a kernel row is one run of bytes;
//!   if that run is no multiple of four bytes (a first layer of three channels), the runs of a pixel are put together
//!   first, for several output rows at a time;
//! - dilated columns, weights with a zero point: panels, as in [`by_panels`];
//! - multipliers of 1 or more, whose products could leave 32 bits: the AVX2 way.
//!
//! All this is compiled once, for AVX2; only [`Tiles`] differ.

use core::arch::x86_64::{_mm_loadu_si128, _mm_storeu_si128};

use super::{Avx2, Isa, Selected};
use crate::{
    conv::{Block, Run, RunConv, by_panels, is_copy, panel_scratch_len},
    params::{Conv, DType},
    ring::Ring,
};

/// The inner loops of one instruction set.
pub(super) trait Tiles {
    /// `output[row * c.out_c + i] = requantize(bias[i] + row . weights[i])` for all rows, `i` below `channels`.
    fn multiply(&self, p: &Product<'_>, output: &mut [u8]);
}

/// Rows, and channels to multiply them with.
#[derive(Clone, Copy)]
pub(super) struct Product<'a> {
    /// Zero points, types and limits.
    pub(super) c: &'a Conv<'a>,
    pub(super) rows: &'a Rows<'a>,
    /// `[channels / 16][k4 / 4][16][4]`.
    pub(super) weights: &'a [i8],
    /// One for each channel, and up to the next multiple of 16.
    pub(super) bias: &'a [i32],
    /// As `bias`.
    pub(super) sums: &'a [i32],
    /// As `bias`.
    pub(super) multipliers: &'a [f32],
    /// Channels that are written, 1..=64; for a single row of one run without terms any number.
    pub(super) channels: usize,
}

/// Rows of a matrix, each one or several runs of bytes. They come in lines, so that an image with a border need not be multiplied
/// row by row of its pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    /// Holds all runs.
    pub(super) cells: &'a [u8],
    /// Lines of rows.
    pub(super) lines: usize,
    /// Bytes from a line to the next.
    pub(super) line_step: usize,
    /// Rows of a line.
    pub(super) count: usize,
    /// Bytes from a row to the next.
    pub(super) step: usize,
    /// Where the runs of the first row of the first line begin.
    pub(super) runs: &'a [usize],
    /// Bytes of a run, a multiple of 4.
    pub(super) len: usize,
    /// Whether the top bit of the cells must be flipped; only where there is one row, of one run, without terms.
    pub(super) signed: bool,
    /// Added to the sums of a row, where there is one line; empty if nothing is.
    pub(super) terms: &'a [i32],
}

impl Rows<'_> {
    /// Whether there is one row, of one run, without a term.
    pub(super) fn is_one(&self) -> bool {
        self.lines == 1 && self.count == 1 && self.runs.len() == 1 && self.terms.is_empty()
    }

    /// Panics where rows are not inside `cells`, `output` has no room for `channels` of each, or a rule above is broken.
    pub(super) fn check(&self, c: &Conv<'_>, channels: usize, output: &[u8]) {
        assert!(self.lines > 0 && self.count > 0 && !self.runs.is_empty());
        let first = self.runs.iter().max().map_or(0, |run| run + self.len);
        let last = (self.lines - 1) * self.line_step + (self.count - 1) * self.step;
        assert!(first + last <= self.cells.len());
        assert!(self.len > 0 && self.len.is_multiple_of(4));
        assert!(self.runs.len() * self.len == c.k().next_multiple_of(4));
        assert!(output.len() >= (self.lines * self.count - 1) * c.out_c + channels);
        assert!(self.terms.is_empty() || (self.lines == 1 && self.terms.len() >= self.count));
        assert!(!self.signed || self.is_one());
    }
}

/// Kernel rows at most of the ways that keep a pointer to each.
const MAX_KERNEL_H: usize = 16;
/// Rows of the input that are multiplied by all weights in turn, in bytes: most of the first cache level.
const CHUNK_LEN: usize = 24 * 1024;

/// How a layer is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// By AVX2.
    Avx2,
    /// Windows put together in a panel, any geometry.
    Panels,
    /// The input is the matrix.
    Flat,
    /// Windows of one cell with a stride.
    Strided,
    /// Rows with a border; whether the runs of a pixel must be put together.
    Ring { gather: bool },
}

impl Path {
    #[inline(always)]
    fn of(c: &Conv<'_>) -> Self {
        let w = &c.window;
        if !c.below_one {
            return Self::Avx2;
        }
        if c.weight_zero_point != 0 {
            return Self::Panels;
        }
        let whole = c.in_c.is_multiple_of(4);
        if whole && is_copy(w) {
            return Self::Flat;
        }
        let cell = w.taps() == 1 && (w.pad_top, w.pad_left) == (0, 0);
        let last = |out: usize, stride: usize| out.saturating_sub(1).saturating_mul(stride);
        let inside = last(w.out_h, w.stride_h) < w.in_h && last(w.out_w, w.stride_w) < w.in_w;
        if whole && cell && inside {
            return Self::Strided;
        }
        if w.dilation_w == 1 && w.kernel_h <= MAX_KERNEL_H {
            return Self::Ring { gather: !(w.kernel_w * c.in_c).is_multiple_of(4) };
        }
        Self::Panels
    }
}

/// Bytes of scratch that [`conv`] needs.
pub(super) fn conv_scratch_len(c: &Conv<'_>) -> usize {
    match Path::of(c) {
        Path::Avx2 => panel_scratch_len::<Avx2>(c),
        Path::Panels => panel_scratch_len::<Panels<'_>>(c),
        Path::Flat if c.in_dtype == DType::Int8 => match c.batch.saturating_mul(c.window.out_pixels()) {
            1 => 0,
            _ => CHUNK_LEN.max(c.in_c.saturating_mul(12)),
        },
        Path::Flat => 0,
        Path::Strided => c.window.out_w.saturating_mul(c.in_c).saturating_mul(strided_rows(c)),
        Path::Ring { gather } => {
            let lines = lines(c).len();
            lines.saturating_add(if gather { together_len(c) } else { 0 })
        }
    }
}

/// Convolution and fully connected layers.
#[target_feature(enable = "avx2")]
#[inline(never)]
pub(super) fn conv(tiles: &dyn Tiles, avx2: Avx2, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    match Path::of(c) {
        Path::Avx2 => Selected::Avx2(avx2).run(RunConv { conv: c, input, output, scratch }),
        Path::Panels => by_panels(Panels(tiles), c, input, output, scratch),
        Path::Flat => flat(tiles, c, input, output, scratch),
        Path::Strided => strided(tiles, c, input, output, scratch),
        Path::Ring { gather } => ring(tiles, c, input, output, scratch, gather),
    }
}

/// [`by_panels`] with any tiles.
#[derive(Clone, Copy)]
pub(super) struct Panels<'a>(pub(super) &'a dyn Tiles);

impl Isa for Panels<'_> {
    const CELL: usize = 1;
    const ROWS: usize = 6;
    const CHANNELS: usize = 64;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        unsigned_zero_point(c) as u8
    }

    /// Copies and flips.
    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        let flip: u8 = if c.in_dtype == DType::Int8 { 0x80 } else { 0 };
        for i in 0..run.count {
            let (from, to) = (&input[i * run.from_step..][..run.len], &mut cells[i * run.to_step..][..run.len]);
            for (cell, x) in to.iter_mut().zip(from) {
                *cell = x ^ flip;
            }
        }
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        let rows = Rows {
            cells: b.panel,
            lines: 1,
            line_step: 0,
            count: b.row_terms.len(),
            step: b.k4,
            runs: &[0],
            len: b.k4,
            signed: false,
            terms: if b.conv.weight_zero_point == 0 { &[] } else { b.row_terms },
        };
        let product = Product {
            c: b.conv,
            rows: &rows,
            weights: b.weights,
            bias: b.bias,
            sums: b.sums,
            multipliers: b.multipliers,
            channels: b.channels,
        };
        self.0.multiply(&product, output);
    }
}

/// The zero point of the input after its bytes became unsigned.
pub(super) fn unsigned_zero_point(c: &Conv<'_>) -> i32 {
    match c.in_dtype {
        DType::Int8 => c.in_zero_point + 128,
        DType::UInt8 => c.in_zero_point,
    }
}

/// Rows of `len` bytes, one after the other.
#[inline(always)]
fn matrix(cells: &[u8], count: usize, len: usize) -> Rows<'_> {
    Rows { cells, lines: 1, line_step: 0, count, step: len, runs: &[0], len, signed: false, terms: &[] }
}

/// `rows` times all weights.
#[target_feature(enable = "avx2")]
fn all_channels(tiles: &dyn Tiles, c: &Conv<'_>, rows: &Rows<'_>, output: &mut [u8]) {
    let k4 = c.k().next_multiple_of(4);
    let at_once = if rows.is_one() { c.out_c } else { 64 };
    for n in (0..c.out_c).step_by(at_once) {
        let product = Product {
            c,
            rows,
            weights: &c.weights[n * k4..],
            bias: &c.bias[n..],
            sums: &c.sums[n..],
            multipliers: &c.multipliers[n..],
            channels: (c.out_c - n).min(at_once),
        };
        tiles.multiply(&product, &mut output[n..]);
    }
}

/// Flips the top bits of int8 on the way.
#[target_feature(enable = "avx2")]
fn copy(c: &Conv<'_>, from: &[u8], to: &mut [u8]) {
    let flip: u8 = if c.in_dtype == DType::Int8 { 0x80 } else { 0 };
    for (to, from) in to.iter_mut().zip(from) {
        *to = from ^ flip;
    }
}

/// The input is the matrix; some rows at a time, so that they stay in the first cache level.
#[target_feature(enable = "avx2")]
fn flat(tiles: &dyn Tiles, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let flips = c.in_dtype == DType::Int8;
    if output.len() == c.out_c {
        // A copy would cost more than it saves.
        let rows = Rows { signed: flips, ..matrix(input, 1, c.in_c) };
        return all_channels(tiles, c, &rows, output);
    }
    let mut multiply = |input: &[u8], count: usize, output: &mut [u8]| {
        let cells = if flips {
            let flipped = &mut scratch[..input.len()];
            copy(c, input, flipped);
            &*flipped
        } else {
            input
        };
        all_channels(tiles, c, &matrix(cells, count, c.in_c), output);
    };
    let total = output.len() / c.out_c;
    let most = (CHUNK_LEN / c.in_c / 12 * 12).max(12);
    let count = total.div_ceil(total.div_ceil(most)).next_multiple_of(12).min(most);
    for (input, output) in input.chunks(count * c.in_c).zip(output.chunks_mut(count * c.out_c)) {
        multiply(input, output.len() / c.out_c, output);
    }
}

/// Output rows whose cells are put together at a time.
fn strided_rows(c: &Conv<'_>) -> usize {
    let row = c.window.out_w.saturating_mul(c.in_c);
    (CHUNK_LEN / row.max(1)).clamp(1, c.window.out_h)
}

/// Windows of one cell: every so many pixels of every so many rows, put together.
#[target_feature(enable = "avx2")]
fn strided(tiles: &dyn Tiles, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let (w, at_once, row_len) = (&c.window, strided_rows(c), c.window.out_w * c.in_c);
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        for (first, output) in output.chunks_mut(at_once * w.out_w * c.out_c).enumerate() {
            let count = output.len() / c.out_c;
            let cells = &mut scratch[..count * c.in_c];
            for (i, row) in cells.chunks_exact_mut(row_len).enumerate() {
                let line = &input[(first * at_once + i) * w.stride_h * w.in_w * c.in_c..][..w.in_w * c.in_c];
                for (pixel, to) in line.chunks_exact(c.in_c).step_by(w.stride_w).zip(row.chunks_exact_mut(c.in_c)) {
                    copy(c, pixel, to);
                }
            }
            all_channels(tiles, c, &matrix(cells, count, c.in_c), output);
        }
    }
}

/// Bytes that may be read or written beyond a run when runs are put together.
const SLACK: usize = 16;

/// The buffer of the input rows that windows see.
fn lines(c: &Conv<'_>) -> Ring {
    Ring::holding(&c.window, c.in_c, SLACK, CHUNK_LEN)
}

/// Bytes of windows that are put together at a time, unless one output row has more.
const TOGETHER_LEN: usize = 12 * 1024;

/// Output rows whose windows are put together at a time.
fn together_rows(c: &Conv<'_>) -> usize {
    let row = c.window.out_w.saturating_mul(c.k().next_multiple_of(4));
    (TOGETHER_LEN / row.max(1)).clamp(1, c.window.out_h)
}

/// Bytes for the windows of so many output rows.
fn together_len(c: &Conv<'_>) -> usize {
    let row = c.window.out_w.saturating_mul(c.k().next_multiple_of(4));
    row.saturating_mul(together_rows(c)).saturating_add(SLACK)
}

/// Windows of several cells, some output rows at a time.
#[target_feature(enable = "avx2")]
fn ring(tiles: &dyn Tiles, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8], gather: bool) {
    let w = &c.window;
    let ring = lines(c);
    let k4 = c.k().next_multiple_of(4);
    let (buffer, panel) = scratch.split_at_mut(ring.len());
    // Lines that lie one after the other are multiplied at once.
    let multiplied = if ring.is_whole() { w.out_h } else { 1 };
    let at_once = if gather { together_rows(c) } else { multiplied };
    let line_len = w.out_w * c.out_c;
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let mut have = 0;
        for (first, output) in output.chunks_mut(at_once * line_len).enumerate() {
            let count = output.len() / line_len;
            // So many lines from one on, when their windows are in the buffer.
            let mut windows = |line: usize, lines: usize, then: &mut dyn FnMut(&Rows<'_>)| {
                let top = (first * at_once + line) * w.stride_h;
                ring.advance(c, top, &mut have, input, buffer, |line, to| {
                    copy_line(c, w.pad_left * c.in_c, line, to);
                });
                let mut runs = [0; MAX_KERNEL_H];
                for (ky, at) in runs[..w.kernel_h].iter_mut().enumerate() {
                    *at = ring.at(top + ky * w.dilation_h);
                }
                then(&Rows {
                    cells: buffer,
                    lines,
                    line_step: w.stride_h * ring.pitch,
                    count: w.out_w,
                    step: w.stride_w * c.in_c,
                    runs: &runs[..w.kernel_h],
                    len: w.kernel_w * c.in_c,
                    signed: false,
                    terms: &[],
                });
            };
            if gather {
                for line in 0..count {
                    windows(line, 1, &mut |rows| put_together(rows, k4, &mut panel[line * w.out_w * k4..]));
                }
                all_channels(tiles, c, &matrix(panel, count * w.out_w, k4), output);
            } else {
                windows(0, count, &mut |rows| all_channels(tiles, c, rows, output));
            }
        }
    }
}

/// One input row with its border; an empty `line` is all border.
#[target_feature(enable = "avx2")]
pub(super) fn copy_line(c: &Conv<'_>, before: usize, line: &[u8], to: &mut [u8]) {
    let flip: u8 = if c.in_dtype == DType::Int8 { 0x80 } else { 0 };
    let border = unsigned_zero_point(c) as u8;
    let before = before.min(to.len());
    let (left, rest) = to.split_at_mut(before);
    let (middle, right) = rest.split_at_mut(line.len().min(rest.len()));
    left.fill(border);
    right.fill(border);
    for (to, from) in middle.iter_mut().zip(line) {
        *to = from ^ flip;
    }
}

/// The runs of each row one after the other, rows `k4` apart; what lies behind a row's last run is of no account.
/// Not inlined: that measured slower.
#[target_feature(enable = "avx2")]
#[inline(never)]
fn put_together(rows: &Rows<'_>, k4: usize, panel: &mut [u8]) {
    let last = rows.runs.iter().max().map_or(0, |run| run + (rows.count - 1) * rows.step + rows.len);
    assert!(rows.count > 0 && last + SLACK <= rows.cells.len() && panel.len() >= rows.count * k4 + SLACK);
    assert!(rows.len > 0 && rows.runs.len() * rows.len <= k4);
    let (cells, panel) = (rows.cells.as_ptr(), panel.as_mut_ptr());
    // SAFETY: rows and runs are inside both, and 16 bytes at a time end at most `SLACK` bytes beyond a run.
    unsafe {
        match (rows.runs, rows.len.div_ceil(16)) {
            (&[a, b, c], 1) => {
                let (mut a, mut b, mut c, mut to) = (cells.add(a), cells.add(b), cells.add(c), panel);
                for _ in 0..rows.count {
                    _mm_storeu_si128(to.cast(), _mm_loadu_si128(a.cast()));
                    _mm_storeu_si128(to.add(rows.len).cast(), _mm_loadu_si128(b.cast()));
                    _mm_storeu_si128(to.add(2 * rows.len).cast(), _mm_loadu_si128(c.cast()));
                    to = to.wrapping_add(k4);
                    (a, b, c) = (a.wrapping_add(rows.step), b.wrapping_add(rows.step), c.wrapping_add(rows.step));
                }
            }
            (runs, pieces) => {
                for row in 0..rows.count {
                    for (i, run) in runs.iter().enumerate() {
                        let (from, to) = (cells.add(run + row * rows.step), panel.add(row * k4 + i * rows.len));
                        for at in 0..pieces {
                            _mm_storeu_si128(to.add(16 * at).cast(), _mm_loadu_si128(from.add(16 * at).cast()));
                        }
                    }
                }
            }
        }
    }
}
