//! Depthwise convolution 3 x 3, stride 1 or 2: two neighbouring output lines at a time, 8 channels, sliding along.
//!
//! ```text
//!            slide ->                       a column: the 4 (stride 2: 5) cells across that two outputs see
//!   across   . . . . . . . .
//!     |      . a b c . . . .    out 0 = kernel columns 0 1 2 times columns a b c, upper three cells
//!     v      . a b c . . . .    out 1 = the same, lower three cells
//!            . a b c . . . .    next step: b c and one new column (stride 2: c and two)
//! ```
//! Lines are rows or columns of the image, whichever are longer. Nothing is copied: columns before and behind the image are
//! a constant, cells beside it are read from a constant with step 0. How a column is kept and multiplied is the [`Dot`] of
//! the instruction set.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::epilogue::{ANY, EVEN, Epilogue, ODD};
use crate::params::{Conv, DType};

/// How an instruction set keeps and multiplies columns. The functions must be inlined into those that enable the set.
pub(in crate::isa) trait Dot: Copy {
    /// The kernel of 8 channels.
    type Weights: Copy;
    /// Cells of 8 channels: 4 for stride 1, 5 for stride 2.
    type Column: Copy;

    /// `taps[across][along]`, 8 channels each.
    fn weights<const STRIDE: usize>(self, taps: [[int8x8_t; 3]; 3]) -> Self::Weights;

    /// A column from its cells; with stride 1 the last is not read.
    fn column<const STRIDE: usize>(self, cells: [int8x8_t; 5]) -> Self::Column;

    /// Adds a column times the column `along` of the kernel: `sums[2 * output + half]`.
    fn add<const STRIDE: usize>(
        self,
        sums: &mut [int32x4_t; 4],
        weights: &Self::Weights,
        along: usize,
        column: &Self::Column,
    );
}

/// Whether this file has a way for `c`.
#[inline(always)]
pub(in crate::isa) fn takes(c: &Conv<'_>) -> bool {
    let w = &c.window;
    c.weight_zero_point == 0
        && c.in_dtype == DType::Int8
        && c.in_c == c.out_c
        && c.in_c.is_multiple_of(8)
        && (w.kernel_h, w.kernel_w) == (3, 3)
        && (w.dilation_h, w.dilation_w) == (1, 1)
        && matches!((w.stride_h, w.stride_w), (1, 1) | (2, 2))
        && w.pad_top <= 1
        && w.pad_left <= 1
}

/// Bytes of scratch.
pub(in crate::isa) fn scratch_len(c: &Conv<'_>) -> usize {
    c.c16().saturating_mul(4)
}

/// One of the two directions of the image.
#[derive(Clone, Copy)]
struct Axis {
    input: usize,
    output: usize,
    pad: usize,
    /// Bytes from a cell to the next.
    in_step: usize,
    out_step: usize,
}

/// Maps up to this size are read once for each 8 channels; larger ones line by line.
const SMALL_LEN: usize = 64 * 1024;

/// The convolution.
#[inline(always)]
pub(in crate::isa) fn run<D: Dot>(dot: D, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let w = &c.window;
    assert!(takes(c) && scratch.len() >= scratch_len(c));
    assert!(c.weights.len() >= 9 * c.c16() && c.bias.len() >= c.c16());
    assert!(c.sums.len() >= c.c16() && c.multipliers.len() >= c.c16());
    assert!(input.len() == c.input_len() && output.len() == c.output_len());
    let init: *mut i32 = scratch.as_mut_ptr().cast();
    // SAFETY: the lengths were just checked. Every token proves NEON.
    let epilogue = unsafe { Epilogue::prepare::<1>(c, 9, c.in_zero_point, w.out_pixels(), init) };
    let rows =
        Axis { input: w.in_h, output: w.out_h, pad: w.pad_top, in_step: w.in_w * c.in_c, out_step: w.out_w * c.out_c };
    let columns = Axis { input: w.in_w, output: w.out_w, pad: w.pad_left, in_step: c.in_c, out_step: c.out_c };
    let down = w.out_h > w.out_w;
    let (across, along) = if down { (columns, rows) } else { (rows, columns) };
    let border = [c.in_zero_point as u8; 16];
    let map = Map { c, across, along, down, border: border.as_ptr(), init, epilogue };
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    let lines = if w.in_pixels() * c.in_c <= SMALL_LEN { across.output.next_multiple_of(2) } else { 2 };
    for (input, output) in images {
        for first in (0..across.output).step_by(lines) {
            for channel in (0..c.out_c).step_by(8) {
                let last = (first + lines).min(across.output);
                // SAFETY: `map` describes these images; 8 channels from `channel` on are inside.
                unsafe {
                    let (input, output) = (input.as_ptr().add(channel), output.as_mut_ptr().add(channel));
                    match (w.stride_h, map.epilogue.way) {
                        (1, EVEN) => map.lines::<D, 1, EVEN>(dot, channel, first..last, input, output),
                        (1, ODD) => map.lines::<D, 1, ODD>(dot, channel, first..last, input, output),
                        (1, _) => map.lines::<D, 1, ANY>(dot, channel, first..last, input, output),
                        (_, EVEN) => map.lines::<D, 2, EVEN>(dot, channel, first..last, input, output),
                        (_, ODD) => map.lines::<D, 2, ODD>(dot, channel, first..last, input, output),
                        _ => map.lines::<D, 2, ANY>(dot, channel, first..last, input, output),
                    }
                }
            }
        }
    }
}

/// A layer.
struct Map<'a> {
    c: &'a Conv<'a>,
    across: Axis,
    along: Axis,
    /// Whether `along` are the rows.
    down: bool,
    /// 16 cells that hold the zero point.
    border: *const u8,
    init: *const i32,
    epilogue: Epilogue,
}

/// Where a column is read.
#[derive(Clone, Copy)]
struct Cursor {
    at: [*const u8; 5],
    /// From a column to the next.
    step: [usize; 5],
}

impl Map<'_> {
    /// Output lines `lines`, 8 channels.
    ///
    /// # Safety
    /// `input` and `output` point to `channel` of the first pixel of images as described; there are 8 channels.
    #[inline(always)]
    unsafe fn lines<D: Dot, const STRIDE: usize, const WAY: u8>(
        &self,
        dot: D,
        channel: usize,
        lines: core::ops::Range<usize>,
        input: *const u8,
        output: *mut u8,
    ) {
        let (c16, across) = (self.c.c16(), &self.across);
        // SAFETY: every token proves NEON.
        let mut taps = [[unsafe { vdup_n_s8(0) }; 3]; 3];
        for (i, taps) in taps.iter_mut().enumerate() {
            for (j, tap) in taps.iter_mut().enumerate() {
                let at = if self.down { 3 * j + i } else { 3 * i + j };
                // SAFETY: 8 of `c16` channels of a tap.
                *tap = unsafe { vld1_s8(self.c.weights.as_ptr().add(at * c16 + channel)) };
            }
        }
        let weights = dot.weights::<STRIDE>(taps);
        for line in lines.step_by(2) {
            let mut cursor = Cursor { at: [self.border; 5], step: [0; 5] };
            for (i, (at, step)) in cursor.at.iter_mut().zip(&mut cursor.step).enumerate() {
                let cell = (line * STRIDE + i).wrapping_sub(across.pad);
                if cell < across.input {
                    (*at, *step) = (input.wrapping_add(cell * across.in_step), self.along.in_step);
                }
            }
            let output = output.wrapping_add(line * across.out_step);
            let pair = [output, output.wrapping_add(across.out_step)];
            // SAFETY: the caller's; the second line only if it exists.
            unsafe {
                if line + 1 < across.output {
                    self.slide::<D, STRIDE, WAY, true>(dot, &weights, channel, cursor, pair);
                } else {
                    self.slide::<D, STRIDE, WAY, false>(dot, &weights, channel, cursor, pair);
                }
            }
        }
    }

    /// Two output lines, of which the second is only written if `TWO`.
    ///
    /// # Safety
    /// As [`lines`](Self::lines).
    #[inline(always)]
    unsafe fn slide<D: Dot, const STRIDE: usize, const WAY: u8, const TWO: bool>(
        &self,
        dot: D,
        weights: &D::Weights,
        channel: usize,
        mut cursor: Cursor,
        [mut first, mut second]: [*mut u8; 2],
    ) {
        let along = self.along;
        // SAFETY: 8 channels.
        let m = unsafe { vld1q_f32_x2(self.c.multipliers.as_ptr().add(channel)) };
        let init = self.init.wrapping_add(channel);
        // SAFETY: every token proves NEON.
        let zero_point = unsafe { vdup_n_s8(self.c.in_zero_point as i8) };
        let border = dot.column::<STRIDE>([zero_point; 5]);
        let inside = along.pad..along.pad + along.input;
        // SAFETY: called for the columns inside, in order.
        let mut load = || unsafe { cursor.column::<D, STRIDE>(dot) };
        let mut write = |a: &D::Column, b: &D::Column, c: &D::Column| {
            // SAFETY: 8 channels.
            let mut sums = unsafe { twice(init) };
            dot.add::<STRIDE>(&mut sums, weights, 0, a);
            dot.add::<STRIDE>(&mut sums, weights, 1, b);
            dot.add::<STRIDE>(&mut sums, weights, 2, c);
            // SAFETY: called once for each output, in order. Every token proves NEON.
            unsafe {
                let bytes = self.epilogue.narrow::<WAY>(sums, [m.0, m.1, m.0, m.1]);
                vst1_u8(first, vget_low_u8(bytes));
                if TWO {
                    vst1q_lane_u64::<1>(second.cast(), vreinterpretq_u64_u8(bytes));
                }
            }
            first = first.wrapping_add(along.out_step);
            second = second.wrapping_add(along.out_step);
        };
        if STRIDE == 1 {
            let mut a = if inside.contains(&0) { load() } else { border };
            let mut b = if inside.contains(&1) { load() } else { border };
            let whole = inside.end.saturating_sub(2).min(along.output);
            let mut left = whole;
            while left >= 3 {
                let c = load();
                write(&a, &b, &c);
                a = load();
                write(&b, &c, &a);
                b = load();
                write(&c, &a, &b);
                left -= 3;
            }
            for i in 0..left + along.output - whole {
                let c = if i < left { load() } else { border };
                write(&a, &b, &c);
                (a, b) = (b, c);
            }
        } else {
            let mut a = if inside.contains(&0) { load() } else { border };
            let whole = (inside.end.saturating_sub(1) / 2).min(along.output);
            let mut left = whole;
            while left >= 2 {
                let b = load();
                let c = load();
                write(&a, &b, &c);
                let d = load();
                a = load();
                write(&c, &d, &a);
                left -= 2;
            }
            if left > 0 {
                let b = load();
                let c = load();
                write(&a, &b, &c);
                a = c;
            }
            for i in whole..along.output {
                let b = if inside.contains(&(2 * i + 1)) { load() } else { border };
                let c = if inside.contains(&(2 * i + 2)) { load() } else { border };
                write(&a, &b, &c);
                a = c;
            }
        }
    }
}

impl Cursor {
    /// Reads a column and goes on to the next.
    ///
    /// # Safety
    /// There is one.
    #[inline(always)]
    unsafe fn column<D: Dot, const STRIDE: usize>(&mut self, dot: D) -> D::Column {
        // SAFETY: every token proves NEON.
        let mut cells = [unsafe { vdup_n_s8(0) }; 5];
        let count = if STRIDE == 1 { 4 } else { 5 };
        for ((cell, at), &step) in cells.iter_mut().zip(&mut self.at).zip(&self.step).take(count) {
            // SAFETY: the caller's. Assembler, because compilers do not find this way to step.
            unsafe {
                asm!("ld1 {{{cell:v}.8b}}, [{at}], {step}", cell = out(vreg) *cell, at = inout(reg) *at, step = in(reg) step,
                    options(readonly, nostack, preserves_flags));
            }
        }
        dot.column::<STRIDE>(cells)
    }
}

/// The first sums of 8 channels for two outputs. Assembler, so that they are loaded each time and not copied.
///
/// # Safety
/// 8 values.
#[inline(always)]
unsafe fn twice(init: *const i32) -> [int32x4_t; 4] {
    let (a, b, c, d);
    // SAFETY: the caller's.
    unsafe {
        asm!("ldp {a:q}, {b:q}, [{init}]", "ldp {c:q}, {d:q}, [{init}]", init = in(reg) init, a = out(vreg) a,
            b = out(vreg) b, c = out(vreg) c, d = out(vreg) d, options(readonly, nostack, preserves_flags));
    }
    [a, b, c, d]
}
