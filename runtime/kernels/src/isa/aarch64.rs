//! What the AArch64 instruction sets share: how a layer becomes matrix products of signed bytes.
//!
//! Every multiplication takes signed bytes, so int8 inputs are used as they lie; uint8 inputs are copied with the top bit
//! flipped. The zero point of the input times the sum of the weights comes off the bias of each channel.
//!
//! - A window of one cell: the input itself is the matrix.
//! - Larger windows: for each output *column*, the parts of the input rows that its windows see are put one below the other.
//!   What the windows of neighbouring output rows share then lies there once, and a window is one run of bytes:
//!
//! ```text
//!   strip of column x:  [input row 0: kernel_w * in_c][input row 1][input row 2][input row 3] ...
//!   window of row 0:     ^------------------ k bytes ------------------^
//!   window of row 1:     stride_h rows further on
//! ```
//! - Dilation, weights with a zero point: panels, as in [`by_panels`].
//!
//! Rows of results may be written 16 bytes at a time beyond their channels where something later is written over that: the
//! last channels of a row come first, rows and columns in ascending order.

pub(super) mod depthwise;
pub(super) mod epilogue;
pub(super) mod peak;

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::Isa;
use crate::{
    conv::{Block, Run, by_panels, is_copy, panel_scratch_len},
    params::{Conv, DType},
};
use epilogue::Epilogue;

/// An instruction set's matrix product.
pub(super) trait Tiles: Isa {
    /// From the beginning of a row, `k` bytes rounded up to this are read; what they are does not matter beyond `k`.
    const READ: usize;
    /// Lanes of the sum of a channel, 1 or 2.
    const LANES: usize;

    /// Whether products may be added in 16 bits, two at a time; `outputs` of a channel are to come.
    fn adds_pairs(self, _c: &Conv<'_>, _outputs: usize) -> bool {
        false
    }

    /// Bytes of scratch for [`matrix`](Self::matrix) of up to `rows` rows.
    fn matrix_scratch_len(self, _c: &Conv<'_>, _rows: usize) -> usize {
        0
    }

    /// All rows of `m` times all channels.
    fn matrix(self, l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], scratch: &mut [u8]);
}

/// What all tiles of a layer share.
#[derive(Clone, Copy)]
pub(super) struct Layer<'a> {
    pub(super) c: &'a Conv<'a>,
    pub(super) k4: usize,
    /// What the sums of each channel begin with, as bytes.
    pub(super) init: &'a [u8],
    pub(super) epilogue: Epilogue,
    /// See [`Tiles::adds_pairs`].
    pub(super) pairs: bool,
}

/// Rows of bytes, in segments that are equally far apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    /// Signed.
    pub(super) cells: &'a [u8],
    /// Bytes from a row to the next.
    pub(super) step: usize,
    /// Rows of a segment.
    pub(super) rows: usize,
    /// Segments.
    pub(super) segments: usize,
    /// Bytes from a segment to the next.
    pub(super) pitch: usize,
    /// As `step` in the output.
    pub(super) out_step: usize,
    /// As `pitch` in the output.
    pub(super) out_pitch: usize,
    /// Bytes of output from the first row that may be written before results that stay; less for later segments, and for
    /// later rows unless `by_columns`.
    pub(super) room: usize,
    /// Whether a segment is a column of the output.
    pub(super) by_columns: bool,
}

impl Matrix<'_> {
    /// Asserts that all rows, `read` bytes each, and all results are inside.
    #[inline(always)]
    pub(super) fn check(&self, read: usize, channels: usize, output: &[u8]) {
        assert!(self.rows > 0 && self.segments > 0);
        let last = (self.segments - 1) * self.pitch + (self.rows - 1) * self.step;
        assert!(last + read <= self.cells.len(), "{self:?}");
        let last = (self.segments - 1) * self.out_pitch + (self.rows - 1) * self.out_step;
        assert!(last + channels <= output.len() && self.room <= output.len());
    }

    /// How many rows of `segment`, from the first on, may write `width` bytes at channel `n`.
    #[inline(always)]
    pub(super) fn roomy_rows(&self, segment: usize, n: usize, width: usize) -> usize {
        match self.room.checked_sub(segment * self.out_pitch + n + width) {
            None => 0,
            Some(_) if self.by_columns => self.rows,
            Some(left) => (left / self.out_step + 1).min(self.rows),
        }
    }
}

/// The zero point of the input after its bytes became signed.
pub(super) fn signed_zero_point(c: &Conv<'_>) -> i32 {
    match c.in_dtype {
        DType::Int8 => c.in_zero_point,
        DType::UInt8 => c.in_zero_point - 128,
    }
}

/// What makes the bytes of an input signed.
pub(super) fn flip(dtype: DType) -> u8 {
    match dtype {
        DType::Int8 => 0,
        DType::UInt8 => 0x80,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Path {
    /// Windows put together in a panel, any geometry.
    Panels,
    /// The input is the matrix.
    Flat,
    /// Windows of one cell with a stride.
    Strided,
    /// Strips of output columns.
    Columns,
}

impl Path {
    #[inline(always)]
    fn of<T: Tiles>(c: &Conv<'_>) -> Self {
        let w = &c.window;
        if c.weight_zero_point != 0 {
            return Self::Panels;
        }
        if is_copy(w) {
            return Self::Flat;
        }
        let cell = w.taps() == 1 && (w.pad_top, w.pad_left) == (0, 0);
        let last = |out: usize, stride: usize| out.saturating_sub(1).saturating_mul(stride);
        let inside = last(w.out_h, w.stride_h) < w.in_h && last(w.out_w, w.stride_w) < w.in_w;
        if cell && inside && c.in_dtype == DType::Int8 && c.in_c.is_multiple_of(T::READ) {
            return Self::Strided;
        }
        if (w.dilation_h, w.dilation_w) == (1, 1) { Self::Columns } else { Self::Panels }
    }
}

/// Bytes that loads and stores of 16 may touch behind what is copied.
const SLACK: usize = 32;
/// Bytes of strips, unless one needs more.
const STRIPS_LEN: usize = 16 * 1024;
/// Bytes of rows that are copied at a time to become signed, unless one needs more.
const COPY_LEN: usize = 8 * 1024;

/// Rows of the input that [`flat`] copies at a time: all for uint8, else those at the end that cannot be read whole.
fn copied_rows<T: Tiles>(c: &Conv<'_>) -> usize {
    let k = c.in_c.max(1);
    match c.in_dtype {
        DType::UInt8 => (COPY_LEN / k).max(1),
        DType::Int8 => (k.next_multiple_of(T::READ) - k).div_ceil(k),
    }
}

/// Bytes of a strip.
fn strip_len(c: &Conv<'_>) -> usize {
    let w = &c.window;
    let rows = w.out_h.saturating_sub(1).saturating_mul(w.stride_h).saturating_add(w.kernel_h);
    rows.saturating_mul(w.kernel_w).saturating_mul(c.in_c)
}

/// Strips that are made at a time.
fn strips(c: &Conv<'_>) -> usize {
    (STRIPS_LEN / strip_len(c).max(1)).clamp(1, c.window.out_w.max(1))
}

/// Bytes of scratch that [`conv`] needs.
#[inline(always)]
pub(super) fn conv_scratch_len<T: Tiles>(isa: T, c: &Conv<'_>) -> usize {
    let w = &c.window;
    let (copy, rows) = match Path::of::<T>(c) {
        Path::Panels => return panel_scratch_len::<T>(c),
        Path::Flat => (copied_rows::<T>(c).saturating_mul(c.in_c), c.batch.saturating_mul(w.out_pixels())),
        Path::Strided => (0, w.out_pixels()),
        Path::Columns => (strips(c).saturating_mul(strip_len(c)), strips(c).saturating_mul(w.out_h)),
    };
    let copy = copy.saturating_add(SLACK);
    c.c16().saturating_mul(4 * T::LANES).saturating_add(copy).saturating_add(isa.matrix_scratch_len(c, rows))
}

/// Convolution and fully connected layers.
#[inline(always)]
pub(super) fn conv<T: Tiles>(isa: T, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let w = &c.window;
    let path = Path::of::<T>(c);
    if path == Path::Panels {
        return by_panels(isa, c, input, output, scratch);
    }
    let (init, scratch) = scratch.split_at_mut(c.c16() * 4 * T::LANES);
    let outputs = output.len() / c.out_c;
    let l = layer(isa, c, outputs, init);
    match path {
        Path::Flat => return flat(isa, &l, input, output, scratch),
        Path::Columns => return columns(isa, &l, input, output, scratch),
        _ => {}
    }
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let m = Matrix {
            cells: input,
            step: w.stride_w * c.in_c,
            rows: w.out_w,
            segments: w.out_h,
            pitch: w.stride_h * w.in_w * c.in_c,
            out_step: c.out_c,
            out_pitch: w.out_w * c.out_c,
            room: output.len(),
            by_columns: false,
        };
        isa.matrix(&l, &m, output, scratch);
    }
}

#[inline(always)]
fn layer<'a, T: Tiles>(isa: T, c: &'a Conv<'a>, outputs: usize, init: &'a mut [u8]) -> Layer<'a> {
    assert!(init.len() >= c.c16() * 4 * T::LANES && c.bias.len() >= c.c16());
    assert!(c.sums.len() >= c.c16() && c.multipliers.len() >= c.c16());
    let (zero_point, to) = (signed_zero_point(c), init.as_mut_ptr().cast());
    // SAFETY: the lengths were just checked. Every token proves NEON.
    let epilogue = unsafe {
        if T::LANES == 1 {
            Epilogue::prepare::<1>(c, c.k(), zero_point, outputs, to)
        } else {
            Epilogue::prepare::<2>(c, c.k(), zero_point, outputs, to)
        }
    };
    Layer { c, k4: c.k().next_multiple_of(4), init, epilogue, pairs: isa.adds_pairs(c, outputs) }
}

/// A block of a panel: each row is a matrix of its own, because it has a term of its own.
#[inline(always)]
pub(super) fn gemm<T: Tiles>(isa: T, b: &Block<'_>, output: &mut [u8]) {
    assert!(b.channels <= 16 && b.bias.len() >= 16);
    for (row, &term) in b.row_terms.iter().enumerate() {
        let bias: [i32; 16] = core::array::from_fn(|i| b.bias[i].wrapping_add(term));
        let (out_c, sums, multipliers) = (b.channels, b.sums, b.multipliers);
        let c = Conv { out_c, weights: b.weights, bias: &bias, sums, multipliers, ..*b.conv };
        let mut init = [0; 128];
        let l = layer(isa, &c, 1, &mut init);
        let output = &mut output[row * b.stride..][..out_c];
        let m = whole_rows(&c, &b.panel[row * b.k4..][..b.k4], 1, out_c);
        isa.matrix(&l, &m, output, &mut []);
    }
}

/// The input is the matrix.
#[inline(always)]
fn flat<T: Tiles>(isa: T, l: &Layer<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let (k, out_c) = (l.c.in_c, l.c.out_c);
    let total = output.len() / out_c;
    let read = k.next_multiple_of(T::READ);
    let at_once = copied_rows::<T>(l.c);
    let (copy, scratch) = scratch.split_at_mut(at_once * k + SLACK);
    let mut row = 0;
    if l.c.in_dtype == DType::Int8 {
        row = input.len().checked_sub(read).map_or(0, |last| last / k + 1).min(total);
        if row > 0 {
            isa.matrix(l, &whole_rows(l.c, input, row, output.len()), output, scratch);
        }
    }
    let flip = flip(l.c.in_dtype);
    while row < total {
        let rows = at_once.min(total - row);
        for (to, from) in copy.iter_mut().zip(&input[row * k..][..rows * k]) {
            *to = from ^ flip;
        }
        let output = &mut output[row * out_c..];
        isa.matrix(l, &whole_rows(l.c, copy, rows, output.len()), output, scratch);
        row += rows;
    }
}

/// Rows of channels one after the other.
fn whole_rows<'a>(c: &Conv<'_>, cells: &'a [u8], rows: usize, room: usize) -> Matrix<'a> {
    Matrix {
        cells,
        step: c.in_c,
        rows,
        segments: 1,
        pitch: 0,
        out_step: c.out_c,
        out_pitch: 0,
        room,
        by_columns: false,
    }
}

/// Some columns of the output at a time.
#[inline(always)]
fn columns<T: Tiles>(isa: T, l: &Layer<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let c = l.c;
    let w = &c.window;
    let (at_once, len) = (strips(c), strip_len(c));
    let (copy, scratch) = scratch.split_at_mut(at_once * len + SLACK);
    let line = w.out_w * c.out_c;
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let mut x = 0;
        while x < w.out_w {
            let segments = at_once.min(w.out_w - x);
            for i in 0..segments {
                // SAFETY: every token proves NEON.
                unsafe { strip(c, input, x + i, &mut copy[i * len..]) };
            }
            let m = Matrix {
                cells: copy,
                step: w.stride_h * w.kernel_w * c.in_c,
                rows: w.out_h,
                segments,
                pitch: len,
                out_step: line,
                out_pitch: c.out_c,
                room: line - x * c.out_c,
                by_columns: true,
            };
            isa.matrix(l, &m, &mut output[x * c.out_c..], scratch);
            x += segments;
        }
    }
}

/// The strip of output column `x`. `to` is longer by [`SLACK`] or more, which is written too.
#[target_feature(enable = "neon")]
fn strip(c: &Conv<'_>, input: &[u8], x: usize, to: &mut [u8]) {
    let w = &c.window;
    let (run, line) = (w.kernel_w * c.in_c, w.in_w * c.in_c);
    let rows = strip_len(c) / run;
    assert!(to.len() >= rows * run + SLACK);
    let border = signed_zero_point(c) as u8;
    let (above, below) = (w.pad_top.min(rows), (w.pad_top + w.in_h).min(rows));
    to[..above * run].fill(border);
    image_rows(c, &input[..w.in_h * line], x * w.stride_w, below - above, &mut to[above * run..]);
    to[below * run..rows * run].fill(border);
}

/// The rows of a strip that are in the image, of windows that begin at column `left` of the image with its border.
#[inline]
#[target_feature(enable = "neon")]
fn image_rows(c: &Conv<'_>, input: &[u8], left: usize, count: usize, to: &mut [u8]) {
    let w = &c.window;
    let (run, line) = (w.kernel_w * c.in_c, w.in_w * c.in_c);
    let (border, flip) = (signed_zero_point(c) as u8, flip(c.in_dtype));
    if left < w.pad_left || left + w.kernel_w > w.pad_left + w.in_w {
        // Cells of the kernel row that are in the image.
        let begin = w.pad_left.saturating_sub(left).min(w.kernel_w);
        let end = (w.pad_left + w.in_w).saturating_sub(left).min(w.kernel_w).max(begin);
        let from = (left + begin).saturating_sub(w.pad_left) * c.in_c;
        for row in 0..count {
            let to = &mut to[row * run..][..run];
            let inside = &input[row * line + from..][..(end - begin) * c.in_c];
            to[..begin * c.in_c].fill(border);
            for (to, from) in to[begin * c.in_c..].iter_mut().zip(inside) {
                *to = from ^ flip;
            }
            to[end * c.in_c..].fill(border);
        }
        return;
    }
    let from = &input[(left - w.pad_left) * c.in_c..];
    // Rows that may be read whole registers at a time.
    let whole = if run == 4 { 4 } else { run.next_multiple_of(16) };
    let fast = from.len().checked_sub(whole).map_or(0, |last| last / line + 1).min(count);
    // SAFETY: `whole` bytes from each of the `fast` rows are inside `from`, and `to` is longer by 16 or more than its rows.
    unsafe { copy_runs(from.as_ptr(), line, to.as_mut_ptr(), run, fast, flip) };
    for row in fast..count {
        for (to, from) in to[row * run..][..run].iter_mut().zip(&from[row * line..]) {
            *to = from ^ flip;
        }
    }
}

/// Copies `rows` runs of `run` bytes, each up to 15 bytes more, from `line` bytes apart to one after the other.
///
/// # Safety
/// These bytes are inside what the pointers point to.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn copy_runs(from: *const u8, line: usize, to: *mut u8, run: usize, rows: usize, flip: u8) {
    if run == 4 {
        let flip = u32::from_ne_bytes([flip; 4]);
        let (mut from, mut to) = (from, to);
        for _ in 0..rows {
            // SAFETY: the caller's 4 bytes.
            unsafe { to.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned() ^ flip) };
            (from, to) = (from.wrapping_add(line), to.wrapping_add(4));
        }
        return;
    }
    // Up to 64 bytes of all rows at a time. The end of the runs first: it may reach into the next run.
    let end = (run - 1) / 64 * 64;
    for at in (0..=end).rev().step_by(64) {
        let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
        // SAFETY: the caller's.
        unsafe {
            match if at == end { (run - end).div_ceil(16) } else { 4 } {
                1 => copy1(from, line, to, run, rows, flip),
                2 => copy2(from, line, to, run, rows, flip),
                3 => copy3(from, line, to, run, rows, flip),
                _ => copy4(from, line, to, run, rows, flip),
            }
        }
    }
}

/// Copies some registers of each row. Assembler, because compilers do not step pointers in the loads and stores.
macro_rules! copy {
    ($name:ident, $list:literal, $($x:literal)+) => {
        /// # Safety
        /// These bytes of all rows.
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(from: *const u8, line: usize, to: *mut u8, run: usize, rows: usize, flip: u8) {
            if rows == 0 {
                return;
            }
            // SAFETY: the caller's.
            unsafe {
                asm!(
                    "cbnz {flip:w}, 3f",
                    "tbz {n}, #0, 4f",
                    concat!("ld1 ", $list, ", [{from}], {line}"),
                    "subs {n}, {n}, #1",
                    concat!("st1 ", $list, ", [{to}], {run}"),
                    "b.eq 5f",
                    "4:",
                    concat!("ld1 ", $list, ", [{from}], {line}"),
                    "subs {n}, {n}, #2",
                    concat!("st1 ", $list, ", [{to}], {run}"),
                    concat!("ld1 ", $list, ", [{from}], {line}"),
                    concat!("st1 ", $list, ", [{to}], {run}"),
                    "b.ne 4b",
                    "b 5f",
                    "3:",
                    "dup v4.16b, {flip:w}",
                    "2:",
                    concat!("ld1 ", $list, ", [{from}], {line}"),
                    "subs {n}, {n}, #1",
                    $(concat!("eor ", $x, ".16b, ", $x, ".16b, v4.16b"),)+
                    concat!("st1 ", $list, ", [{to}], {run}"),
                    "b.ne 2b",
                    "5:",
                    from = inout(reg) from => _,
                    to = inout(reg) to => _,
                    n = inout(reg) rows => _,
                    line = in(reg) line,
                    run = in(reg) run,
                    flip = in(reg) u32::from(flip),
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _,
                    options(nostack)
                );
            }
        }
    };
}

copy!(copy1, "{{v0.16b}}", "v0");
copy!(copy2, "{{v0.16b, v1.16b}}", "v0" "v1");
copy!(copy3, "{{v0.16b, v1.16b, v2.16b}}", "v0" "v1" "v2");
copy!(copy4, "{{v0.16b, v1.16b, v2.16b, v3.16b}}", "v0" "v1" "v2" "v3");

/// Copies runs into a panel and makes them signed.
#[inline(always)]
pub(super) fn pack(c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
    let flip = flip(c.in_dtype);
    for i in 0..run.count {
        let (from, to) = (&input[i * run.from_step..][..run.len], &mut cells[i * run.to_step..][..run.len]);
        for (cell, x) in to.iter_mut().zip(from) {
            *cell = x ^ flip;
        }
    }
}

/// Table look-up: `tbl` takes 64 entries, `tbx` leaves a byte as it is whose index lies outside. The entries after the first
/// 64 are looked for with two bits of the index flipped, which brings them, and only them, below 64.
#[target_feature(enable = "neon")]
pub(super) fn lut(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    // SAFETY: 64 of 256 bytes, four times.
    let tables: [uint8x16x4_t; 4] = core::array::from_fn(|i| unsafe { vld1q_u8_x4(table[64 * i..][..64].as_ptr()) });
    let (outputs, output_rest) = output.as_chunks_mut::<16>();
    let (inputs, input_rest) = input.as_chunks::<16>();
    for (output, input) in outputs.iter_mut().zip(inputs) {
        // SAFETY: 16 bytes.
        let x = unsafe { vld1q_u8(input.as_ptr()) };
        let mut v = vqtbl4q_u8(tables[0], x);
        v = vqtbx4q_u8(v, tables[1], veorq_u8(x, vdupq_n_u8(0x40)));
        v = vqtbx4q_u8(v, tables[2], veorq_u8(x, vdupq_n_u8(0x80)));
        v = vqtbx4q_u8(v, tables[3], veorq_u8(x, vdupq_n_u8(0xc0)));
        // SAFETY: 16 bytes.
        unsafe { vst1q_u8(output.as_mut_ptr(), v) };
    }
    crate::lut::one_by_one(table, input_rest, output_rest);
}
