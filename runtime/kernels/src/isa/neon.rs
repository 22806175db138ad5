//! AArch64 without dot products: `smull` and `smlal` multiply bytes to 16 bits, `sadalp` adds neighbours to 32 bits.
//!
//! A step takes eight cells of each row times 8 channels. Eight cells are two groups of four, each repeated over a register
//! (`ld2r`); the layout `n16k4` has four cells x 2 channels in 8 bytes. The products of both groups are added in 16 bits,
//! so that three instructions do 16 multiplications, and a sum has two lanes. Two products of -128 by -128 would not fit:
//! weights are searched for -128 once for each layer, and where there is one, each product is added on its own.
//!
//! Four rows x 8 channels are 16 sums, 4 weights, 2 inputs and 4 products.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::{
    Isa,
    aarch64::{
        self, Layer, Matrix, Tiles,
        depthwise::{self, Dot},
        epilogue::{ANY, EVEN, Epilogue, ODD, SATURATE},
    },
};
use crate::{
    conv::{Block, Run},
    depthwise::rows::{self, Row, RowKernel},
    params::{Conv, DType},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neon(());

impl Neon {
    /// The token; every AArch64 CPU that the program was compiled for has NEON.
    pub(crate) fn new() -> Option<Self> {
        cfg!(target_feature = "neon").then_some(Self(()))
    }
}

impl Isa for Neon {
    const CELL: usize = 1;
    const ROWS: usize = 4;
    const CHANNELS: usize = 16;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        aarch64::signed_zero_point(c) as u8
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        aarch64::pack(c, run, input, cells);
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        aarch64::gemm(self, b, output);
    }

    #[inline(always)]
    fn conv_scratch_len(self, c: &Conv<'_>) -> usize {
        aarch64::conv_scratch_len(self, c)
    }

    #[inline(always)]
    fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        aarch64::conv(self, c, input, output, scratch);
    }

    fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        if depthwise::takes(c) { depthwise::scratch_len(c) } else { rows::scratch_len::<Self>(c) }
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        if depthwise::takes(c) {
            // SAFETY: `self` proves NEON.
            unsafe { depthwise3(self, c, input, output, scratch) }
        } else {
            rows::run(self, c, input, output, scratch);
        }
    }

    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        // SAFETY: `self` proves NEON.
        unsafe { aarch64::lut(table, input, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves NEON.
        unsafe { aarch64::peak::widening(steps) }
    }
}

#[target_feature(enable = "neon")]
fn depthwise3(dot: Neon, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    depthwise::run(dot, c, input, output, scratch);
}

/// Depthwise columns: cells in 16 bits, multiplied and added to 32 bits in one instruction.
impl Dot for Neon {
    /// `[along][across]`
    type Weights = [[int16x8_t; 3]; 3];
    type Column = [int16x8_t; 5];

    #[inline(always)]
    fn weights<const STRIDE: usize>(self, taps: [[int8x8_t; 3]; 3]) -> Self::Weights {
        core::array::from_fn(|j| core::array::from_fn(|i| widen(taps[i][j])))
    }

    #[inline(always)]
    fn column<const STRIDE: usize>(self, cells: [int8x8_t; 5]) -> Self::Column {
        cells.map(|cell| widen(cell))
    }

    #[inline(always)]
    fn add<const STRIDE: usize>(
        self,
        sums: &mut [int32x4_t; 4],
        weights: &Self::Weights,
        along: usize,
        column: &Self::Column,
    ) {
        let [s0, s1, s2, s3] = sums;
        let [w0, w1, w2] = weights[along];
        let (x, y) = (column, &column[STRIDE..]);
        // One block, because compilers keep upper halves in registers of their own, which are then too few.
        // SAFETY: instructions of NEON, which `self` proves.
        unsafe {
            asm!(
                "smlal {s0:v}.4s, {x0:v}.4h, {w0:v}.4h", "smlal2 {s1:v}.4s, {x0:v}.8h, {w0:v}.8h",
                "smlal {s2:v}.4s, {y0:v}.4h, {w0:v}.4h", "smlal2 {s3:v}.4s, {y0:v}.8h, {w0:v}.8h",
                "smlal {s0:v}.4s, {x1:v}.4h, {w1:v}.4h", "smlal2 {s1:v}.4s, {x1:v}.8h, {w1:v}.8h",
                "smlal {s2:v}.4s, {y1:v}.4h, {w1:v}.4h", "smlal2 {s3:v}.4s, {y1:v}.8h, {w1:v}.8h",
                "smlal {s0:v}.4s, {x2:v}.4h, {w2:v}.4h", "smlal2 {s1:v}.4s, {x2:v}.8h, {w2:v}.8h",
                "smlal {s2:v}.4s, {y2:v}.4h, {w2:v}.4h", "smlal2 {s3:v}.4s, {y2:v}.8h, {w2:v}.8h",
                s0 = inout(vreg) *s0, s1 = inout(vreg) *s1, s2 = inout(vreg) *s2, s3 = inout(vreg) *s3,
                w0 = in(vreg) w0, w1 = in(vreg) w1, w2 = in(vreg) w2,
                x0 = in(vreg) x[0], x1 = in(vreg) x[1], x2 = in(vreg) x[2],
                y0 = in(vreg) y[0], y1 = in(vreg) y[1], y2 = in(vreg) y[2],
                options(pure, nomem, nostack, preserves_flags)
            );
        }
    }
}

impl Tiles for Neon {
    const READ: usize = 4;
    const LANES: usize = 2;

    #[inline(always)]
    fn adds_pairs(self, c: &Conv<'_>, outputs: usize) -> bool {
        // SAFETY: `self` proves NEON.
        outputs > 2 && unsafe { is_above_lowest(&c.weights[..c.conv_weights_len()]) }
    }

    #[inline(always)]
    fn matrix(self, l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], _scratch: &mut [u8]) {
        // SAFETY: `self` proves NEON.
        unsafe { matrix(l, m, output) }
    }
}

/// Depthwise convolutions of any geometry, 16 channels of two pixels at a time.
impl RowKernel for Neon {
    const LANES: usize = 16;
    const DTYPE: DType = DType::Int8;

    fn constants_len(taps: usize) -> usize {
        128 + 32 * taps
    }

    /// `[first sum 16][multiplier 16][tap][16]`, 32 bits each but the last, 16 bits.
    #[inline(always)]
    fn prepare(self, c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
        let (words, weights) = constants.split_at_mut(128);
        let mut sums = [0i32; 16];
        for (tap, to) in weights.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let weights = &c.weights[tap * c.c16() + first..][..16];
            for (i, to) in to.as_chunks_mut().0.iter_mut().enumerate() {
                let weight = i16::from(weights[i]) - c.weight_zero_point as i16;
                sums[i] += i32::from(weight);
                *to = weight.to_ne_bytes();
            }
        }
        let (init, multipliers) = words.split_at_mut(64);
        for (i, to) in init.as_chunks_mut().0.iter_mut().enumerate() {
            *to = c.bias[first + i].wrapping_sub(sums[i].wrapping_mul(zero_point)).to_ne_bytes();
        }
        for (i, to) in multipliers.as_chunks_mut().0.iter_mut().enumerate() {
            *to = c.multipliers[first + i].to_ne_bytes();
        }
    }

    #[inline(always)]
    fn row(self, r: &Row<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves NEON.
        unsafe { row(r, output) }
    }
}

/// One output row.
#[target_feature(enable = "neon")]
fn row(r: &Row<'_>, output: &mut [u8]) {
    let out_c = r.conv.out_c;
    let pixels = output.len() / out_c;
    let constants_len = Neon::constants_len(r.taps.len());
    let last = r.taps.iter().max().map_or(0, |tap| tap + (pixels - 1) * r.step + r.channels);
    assert!(!r.taps.is_empty() && pixels > 0 && last <= r.ring.len());
    assert!(r.channels == out_c.next_multiple_of(16) && r.constants.len() == r.channels / 16 * constants_len);
    let epilogue = Epilogue::any(r.conv);
    for (group, constants) in r.constants.chunks_exact(constants_len).enumerate() {
        let channels = (out_c - 16 * group).min(16);
        for pixel in (0..pixels).step_by(2) {
            let two = pixel + 1 < pixels;
            // SAFETY: for these pixels and this group, each tap has 16 bytes in the ring; a last pixel is taken twice.
            unsafe {
                let at = r.ring.as_ptr().add(pixel * r.step + 16 * group);
                let sums = two_pixels([at, at.wrapping_add(if two { r.step } else { 0 })], r.taps, constants.as_ptr());
                let to = &mut output[pixel * out_c + 16 * group..];
                let multipliers = constants.as_ptr().add(64).cast();
                if channels == 16 && two {
                    epilogue.rows16::<ANY, 2>(&sums, multipliers, to.as_mut_ptr(), out_c);
                } else {
                    let mut bytes = [0; 32];
                    epilogue.rows16::<ANY, 2>(&sums, multipliers, bytes.as_mut_ptr(), 16);
                    to[..channels].copy_from_slice(&bytes[..channels]);
                    if two {
                        to[out_c..][..channels].copy_from_slice(&bytes[16..][..channels]);
                    }
                }
            }
        }
    }
}

/// Sums of 16 channels for two pixels.
///
/// # Safety
/// 16 bytes at each tap from both pointers; at least one tap; constants for all.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn two_pixels([first, second]: [*const u8; 2], taps: &[usize], constants: *const u8) -> [[int32x4_t; 4]; 2] {
    let mut sums = [[vdupq_n_s32(0); 4]; 2];
    // SAFETY: reads what the caller names.
    unsafe {
        asm!(
            "ld1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{init}]",
            "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{init}]",
            "2:",
            "ldr {at}, [{taps}], #8",
            "ld1 {{v0.8h, v1.8h}}, [{w}], #32",
            "ldr q2, [{first}, {at}]",
            "ldr q3, [{second}, {at}]",
            "sxtl v4.8h, v2.8b", "sxtl2 v5.8h, v2.16b", "sxtl v6.8h, v3.8b", "sxtl2 v7.8h, v3.16b",
            "subs {n}, {n}, #1",
            "smlal v16.4s, v4.4h, v0.4h", "smlal2 v17.4s, v4.8h, v0.8h",
            "smlal v18.4s, v5.4h, v1.4h", "smlal2 v19.4s, v5.8h, v1.8h",
            "smlal v20.4s, v6.4h, v0.4h", "smlal2 v21.4s, v6.8h, v0.8h",
            "smlal v22.4s, v7.4h, v1.4h", "smlal2 v23.4s, v7.8h, v1.8h",
            "b.ne 2b",
            init = in(reg) constants,
            w = inout(reg) constants.wrapping_add(128) => _,
            taps = inout(reg) taps.as_ptr() => _,
            n = inout(reg) taps.len() => _,
            at = out(reg) _,
            first = in(reg) first,
            second = in(reg) second,
            out("v16") sums[0][0], out("v17") sums[0][1], out("v18") sums[0][2], out("v19") sums[0][3],
            out("v20") sums[1][0], out("v21") sums[1][1], out("v22") sums[1][2], out("v23") sums[1][3],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            options(readonly, nostack)
        );
    }
    sums
}

/// To 16 bits. Assembler, because compilers that see it take 16-bit products apart into more instructions.
#[inline(always)]
fn widen(bytes: int8x8_t) -> int16x8_t {
    let wide;
    // SAFETY: an instruction of NEON, which every token proves.
    unsafe {
        asm!("sxtl {wide:v}.8h, {bytes:v}.8b", wide = out(vreg) wide, bytes = in(vreg) bytes,
            options(pure, nomem, nostack, preserves_flags));
    }
    wide
}

/// Whether no weight is -128. The length is a multiple of 64.
#[target_feature(enable = "neon")]
fn is_above_lowest(weights: &[i8]) -> bool {
    let mut lowest = [vdupq_n_s8(0); 4];
    for part in weights.as_chunks::<64>().0 {
        // SAFETY: 64 bytes.
        let v = unsafe { vld1q_s8_x4(part.as_ptr()) };
        lowest =
            [vminq_s8(lowest[0], v.0), vminq_s8(lowest[1], v.1), vminq_s8(lowest[2], v.2), vminq_s8(lowest[3], v.3)];
    }
    vminvq_s8(vminq_s8(vminq_s8(lowest[0], lowest[1]), vminq_s8(lowest[2], lowest[3]))) > -128
}

#[target_feature(enable = "neon")]
fn matrix(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8]) {
    m.check(l.k4, l.c.out_c, output);
    assert!(l.c.weights.len() >= l.c.c16() * l.k4 && l.init.len() >= 8 * l.c.c16());
    assert!(l.c.multipliers.len() >= l.c.c16());
    // SAFETY: the lengths were just checked.
    unsafe {
        if (m.rows, m.segments) == (1, 1) {
            return line(l, m.cells, output);
        }
        match (l.epilogue.way, l.pairs) {
            (EVEN, true) => all_channels::<EVEN, true>(l, m, output),
            (ODD, true) => all_channels::<ODD, true>(l, m, output),
            (SATURATE, true) => all_channels::<SATURATE, true>(l, m, output),
            (_, true) => all_channels::<ANY, true>(l, m, output),
            _ => all_channels::<ANY, false>(l, m, output),
        }
    }
}

/// One row, 16 channels at a time.
///
/// # Safety
/// `k4` cells; all channels of everything.
#[target_feature(enable = "neon")]
unsafe fn line(l: &Layer<'_>, cells: &[u8], output: &mut [u8]) {
    let out_c = l.c.out_c;
    let mut tile = Tile {
        cells: cells.as_ptr(),
        step: 0,
        k: l.k4,
        weights: l.c.weights.as_ptr(),
        init: l.init.as_ptr().cast(),
        multipliers: l.c.multipliers.as_ptr(),
        epilogue: &l.epilogue,
    };
    let mut bytes = [0; 16];
    for n in (0..out_c).step_by(16) {
        let whole = n + 16 <= out_c;
        // SAFETY: 16 channels from `n` on.
        unsafe {
            let to = if whole { output.as_mut_ptr().add(n) } else { bytes.as_mut_ptr() };
            l.epilogue.rows16::<ANY, 1>(&[wide(&tile)], tile.multipliers, to, 0);
        }
        if !whole {
            output[n..out_c].copy_from_slice(&bytes[..out_c - n]);
        }
        tile.weights = tile.weights.wrapping_add(16 * l.k4);
        tile.init = tile.init.wrapping_add(32);
        tile.multipliers = tile.multipliers.wrapping_add(16);
    }
}

/// The last channels first, see the module of the driver.
///
/// # Safety
/// `m` was checked; `PAIRS` only if no weight is -128.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn all_channels<const WAY: u8, const PAIRS: bool>(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8]) {
    let whole = l.c.out_c / 8 * 8;
    // SAFETY: the caller's.
    unsafe {
        if whole < l.c.out_c {
            block::<WAY, PAIRS>(l, m, whole, output);
        }
        for n in (0..whole).step_by(8) {
            block::<WAY, PAIRS>(l, m, n, output);
        }
    }
}

/// All rows times the 8 channels from `n` on, of which some may be beyond the last.
///
/// # Safety
/// As [`all_channels`]; `n` is a multiple of 8 below `out_c`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn block<const WAY: u8, const PAIRS: bool>(l: &Layer<'_>, m: &Matrix<'_>, n: usize, output: &mut [u8]) {
    let channels = (l.c.out_c - n).min(8);
    for segment in 0..m.segments {
        let to = segment * m.out_pitch + n;
        let roomy = if channels == 8 { m.rows } else { m.roomy_rows(segment, n, 8) };
        // SAFETY: these rows and channels are inside; 8 channels are half a panel of weights.
        unsafe {
            let tile = Tile {
                cells: m.cells.as_ptr().add(segment * m.pitch),
                step: m.step,
                k: l.k4,
                weights: l.c.weights.as_ptr().add(n / 16 * 16 * l.k4 + n % 16 * 4),
                init: l.init.as_ptr().cast::<i32>().add(2 * n),
                multipliers: l.c.multipliers.as_ptr().add(n),
                epilogue: &l.epilogue,
            };
            tile.rows::<WAY, PAIRS>(roomy, output.as_mut_ptr().add(to), m.out_step);
            for row in roomy..m.rows {
                let mut bytes = [0; 8];
                let cells = tile.cells.add(row * m.step);
                Tile { cells, ..tile }.rows::<WAY, PAIRS>(1, bytes.as_mut_ptr(), 0);
                output[to + row * m.out_step..][..channels].copy_from_slice(&bytes[..channels]);
            }
        }
    }
}

/// Rows times 8 channels.
#[derive(Clone, Copy)]
struct Tile<'a> {
    cells: *const u8,
    /// Bytes from a row to the next.
    step: usize,
    /// Cells of a row, a multiple of 4.
    k: usize,
    /// `[k / 4][8][4]`, 64 bytes apart.
    weights: *const i8,
    /// Two values for each channel.
    init: *const i32,
    multipliers: *const f32,
    epilogue: &'a Epilogue,
}

impl Tile<'_> {
    /// `rows` rows x 8 channels.
    ///
    /// # Safety
    /// `rows` rows of `k` bytes, 8 channels of everything, 8 bytes of output for each row; `PAIRS` only if no weight is -128.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn rows<const WAY: u8, const PAIRS: bool>(self, rows: usize, output: *mut u8, step: usize) {
        let (mut tile, mut output, mut left) = (self, output, rows);
        macro_rules! next {
            ($rows:literal, $sums:ident) => {
                // SAFETY: the caller's.
                unsafe { tile.epilogue.rows8::<WAY, $rows>(&$sums(&tile), tile.multipliers, output, step) };
                tile.cells = tile.cells.wrapping_add($rows * tile.step);
                output = output.wrapping_add($rows * step);
                left -= $rows;
            };
        }
        if PAIRS {
            while left >= 4 {
                next!(4, pairs4);
            }
            if left >= 2 {
                next!(2, pairs2);
            }
            if left >= 1 {
                next!(1, pairs1);
            }
        } else {
            while left >= 4 {
                next!(4, single4);
            }
            while left >= 1 {
                next!(1, single1);
            }
        }
        let _ = (tile.cells, output, left);
    }
}

/// Products of both groups of cells, added in 16 bits.
macro_rules! by_pairs {
    ($a:tt, $b:tt, $c:tt, $d:tt, $x:tt, $y:tt) => {
        concat!(
            "smull v6.8h, v0.8b, ",
            $x,
            ".8b\n",
            "smull2 v7.8h, v0.16b, ",
            $x,
            ".16b\n",
            "smull v8.8h, v1.8b, ",
            $x,
            ".8b\n",
            "smull2 v9.8h, v1.16b, ",
            $x,
            ".16b\n",
            "smlal v6.8h, v2.8b, ",
            $y,
            ".8b\n",
            "smlal2 v7.8h, v2.16b, ",
            $y,
            ".16b\n",
            "smlal v8.8h, v3.8b, ",
            $y,
            ".8b\n",
            "smlal2 v9.8h, v3.16b, ",
            $y,
            ".16b\n",
            "sadalp ",
            $a,
            ".4s, v6.8h\n",
            "sadalp ",
            $b,
            ".4s, v7.8h\n",
            "sadalp ",
            $c,
            ".4s, v8.8h\n",
            "sadalp ",
            $d,
            ".4s, v9.8h"
        )
    };
}

/// Products of one group of cells.
macro_rules! group {
    ($a:tt, $b:tt, $c:tt, $d:tt, $x:tt, $w:tt, $v:tt) => {
        concat!(
            "smull v6.8h, ",
            $w,
            ".8b, ",
            $x,
            ".8b\n",
            "smull2 v7.8h, ",
            $w,
            ".16b, ",
            $x,
            ".16b\n",
            "smull v8.8h, ",
            $v,
            ".8b, ",
            $x,
            ".8b\n",
            "smull2 v9.8h, ",
            $v,
            ".16b, ",
            $x,
            ".16b\n",
            "sadalp ",
            $a,
            ".4s, v6.8h\n",
            "sadalp ",
            $b,
            ".4s, v7.8h\n",
            "sadalp ",
            $c,
            ".4s, v8.8h\n",
            "sadalp ",
            $d,
            ".4s, v9.8h"
        )
    };
}

/// Products of both groups of cells, one after the other.
macro_rules! one_by_one {
    ($a:tt, $b:tt, $c:tt, $d:tt, $x:tt, $y:tt) => {
        concat!(group!($a, $b, $c, $d, $x, "v0", "v1"), "\n", group!($a, $b, $c, $d, $y, "v2", "v3"))
    };
}

/// Sums of some rows x 8 channels.
macro_rules! tile {
    ($name:ident, $step:ident, $rows:tt; $($i:tt $p:ident $x:tt $y:tt $a:tt $b:tt $c:tt $d:tt;)+) => {
        /// # Safety
        /// The rows of the tile and 8 channels; products added in pairs fit 16 bits.
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(t: &Tile<'_>) -> [[int32x4_t; 2]; $rows] {
            let mut sums = [[vdupq_n_s32(0); 4]; $rows];
            $(let $p = t.cells.wrapping_add($i * t.step);)+
            // SAFETY: reads `k` bytes of each row, weights of 8 channels and 16 values of `init`.
            unsafe {
                asm!(
                    $(concat!("ld1 {{", $a, ".4s, ", $b, ".4s, ", $c, ".4s, ", $d, ".4s}}, [{init}]"),)+
                    "cbz {n8}, 3f",
                    "2:",
                    "ld1 {{v0.16b, v1.16b}}, [{w}], {step}",
                    "ld1 {{v2.16b, v3.16b}}, [{w}], {step}",
                    "subs {n8}, {n8}, #1",
                    $(
                        concat!("ld2r {{", $x, ".4s, ", $y, ".4s}}, [{", stringify!($p), "}], #8"),
                        $step!($a, $b, $c, $d, $x, $y),
                    )+
                    "b.ne 2b",
                    "3:",
                    "cbz {n4}, 5f",
                    "ld1 {{v0.16b, v1.16b}}, [{w}]",
                    $(
                        concat!("ld1r {{", $x, ".4s}}, [{", stringify!($p), "}]"),
                        group!($a, $b, $c, $d, $x, "v0", "v1"),
                    )+
                    "5:",
                    init = in(reg) t.init,
                    step = in(reg) 64_usize,
                    n8 = inout(reg) t.k / 8 => _,
                    n4 = in(reg) t.k / 4 % 2,
                    w = inout(reg) t.weights => _,
                    $($p = inout(reg) $p => _,)+
                    $(out($a) sums[$i][0], out($b) sums[$i][1], out($c) sums[$i][2], out($d) sums[$i][3],)+
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _,
                    out("v7") _, out("v8") _, out("v9") _, out("v26") _, out("v27") _,
                    options(readonly, nostack)
                );
            }
            let mut whole = [[vdupq_n_s32(0); 2]; $rows];
            for (whole, sums) in whole.iter_mut().zip(sums) {
                *whole = [vpaddq_s32(sums[0], sums[1]), vpaddq_s32(sums[2], sums[3])];
            }
            whole
        }
    };
}

tile!(pairs4, by_pairs, 4;
    0 p0 "v4" "v5" "v10" "v11" "v12" "v13"; 1 p1 "v26" "v27" "v14" "v15" "v16" "v17";
    2 p2 "v4" "v5" "v18" "v19" "v20" "v21"; 3 p3 "v26" "v27" "v22" "v23" "v24" "v25";);
tile!(pairs2, by_pairs, 2;
    0 p0 "v4" "v5" "v10" "v11" "v12" "v13"; 1 p1 "v26" "v27" "v14" "v15" "v16" "v17";);
tile!(pairs1, by_pairs, 1; 0 p0 "v4" "v5" "v10" "v11" "v12" "v13";);
tile!(single4, one_by_one, 4;
    0 p0 "v4" "v5" "v10" "v11" "v12" "v13"; 1 p1 "v26" "v27" "v14" "v15" "v16" "v17";
    2 p2 "v4" "v5" "v18" "v19" "v20" "v21"; 3 p3 "v26" "v27" "v22" "v23" "v24" "v25";);
tile!(single1, one_by_one, 1; 0 p0 "v4" "v5" "v10" "v11" "v12" "v13";);

/// Products of four cells of one row by 16 channels.
macro_rules! group16 {
    ($x:tt, $a:tt, $b:tt, $c:tt, $d:tt) => {
        concat!(group!("v10", "v11", "v12", "v13", $x, $a, $b), "\n", group!("v14", "v15", "v16", "v17", $x, $c, $d))
    };
}

/// Sums of one row x 16 channels.
///
/// # Safety
/// The row of the tile and 16 channels.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn wide(t: &Tile<'_>) -> [int32x4_t; 4] {
    let mut sums = [vdupq_n_s32(0); 8];
    // SAFETY: reads `k` bytes of the row, weights of 16 channels and 32 values of `init`.
    unsafe {
        asm!(
            "ld1 {{v10.4s, v11.4s, v12.4s, v13.4s}}, [{init}], #64",
            "ld1 {{v14.4s, v15.4s, v16.4s, v17.4s}}, [{init}]",
            "cbz {n8}, 3f",
            "2:",
            "ld2r {{v4.4s, v5.4s}}, [{p}], #8",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
            "ld1 {{v18.16b, v19.16b, v20.16b, v21.16b}}, [{w}], #64",
            "subs {n8}, {n8}, #1",
            group16!("v4", "v0", "v1", "v2", "v3"),
            group16!("v5", "v18", "v19", "v20", "v21"),
            "b.ne 2b",
            "3:",
            "cbz {n4}, 5f",
            "ld1r {{v4.4s}}, [{p}]",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}]",
            group16!("v4", "v0", "v1", "v2", "v3"),
            "5:",
            init = inout(reg) t.init => _,
            n8 = inout(reg) t.k / 8 => _,
            n4 = in(reg) t.k / 4 % 2,
            w = inout(reg) t.weights => _,
            p = inout(reg) t.cells => _,
            out("v10") sums[0], out("v11") sums[1], out("v12") sums[2], out("v13") sums[3],
            out("v14") sums[4], out("v15") sums[5], out("v16") sums[6], out("v17") sums[7],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v8") _, out("v9") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
            options(readonly, nostack)
        );
    }
    core::array::from_fn(|i| vpaddq_s32(sums[2 * i], sums[2 * i + 1]))
}
