//! AArch64 with dot products: `sdot` multiplies four signed bytes by four and adds the sum to 32 bits, exactly.
//!
//! A step takes four cells of each row times 16 channels: the layout `n16k4` is four registers for that. The cells of a row
//! are loaded 16 at a time; `sdot` picks four of them for all its lanes. Five rows x 16 channels are 20 sums, 4 weights and
//! 5 inputs; blocks of 8 channels or less take eight rows. The loops are assembler, because compilers run out of registers.

mod five;

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::{
    Isa, Neon,
    aarch64::{
        self, Layer, Matrix, Tiles,
        depthwise::{self, Dot},
        epilogue::{ANY, EVEN, Epilogue, ODD, SATURATE},
    },
};
use crate::{
    conv::{Block, Run},
    depthwise::rows,
    params::Conv,
};
use five::Five;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dotprod(Neon);

impl Dotprod {
    /// The token, if this CPU has `sdot`.
    pub(crate) fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        let have = std::arch::is_aarch64_feature_detected!("dotprod");
        #[cfg(not(feature = "std"))]
        let have = cfg!(target_feature = "dotprod");
        Neon::new().filter(|_| have).map(Self)
    }
}

impl Isa for Dotprod {
    const CELL: usize = 1;
    const ROWS: usize = 5;
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
        if depthwise::takes(c) {
            depthwise::scratch_len(c)
        } else if five::takes(c) {
            rows::scratch_len::<Five>(c)
        } else {
            self.0.depthwise_scratch_len(c)
        }
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        if depthwise::takes(c) {
            // SAFETY: `self` proves the features.
            unsafe { depthwise3(self, c, input, output, scratch) }
        } else if five::takes(c) {
            rows::run(Five(self), c, input, output, scratch);
        } else {
            self.0.depthwise(c, input, output, scratch);
        }
    }

    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        // SAFETY: `self` proves NEON.
        unsafe { aarch64::lut(table, input, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves the instruction.
        unsafe { aarch64::peak::sdot(steps) }
    }
}

#[target_feature(enable = "neon,dotprod")]
fn depthwise3(dot: Dotprod, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    depthwise::run(dot, c, input, output, scratch);
}

/// Depthwise columns: four cells of a channel are 32 bits. With stride 1 both outputs take the same column, the second with
/// its weights one cell later.
impl Dot for Dotprod {
    /// `[along][output][half]`; with stride 2 both outputs have the same.
    type Weights = [[[int8x16_t; 2]; 2]; 3];
    /// `[output][half]`; with stride 1 both outputs have the same.
    type Column = [[int8x16_t; 2]; 2];

    #[inline(always)]
    fn weights<const STRIDE: usize>(self, taps: [[int8x8_t; 3]; 3]) -> Self::Weights {
        // SAFETY: `self` proves NEON.
        let none = unsafe { vdup_n_s8(0) };
        core::array::from_fn(|j| {
            let (a, b, c) = (taps[0][j], taps[1][j], taps[2][j]);
            [interleave([a, b, c, none]), interleave(if STRIDE == 1 { [none, a, b, c] } else { [a, b, c, none] })]
        })
    }

    #[inline(always)]
    fn column<const STRIDE: usize>(self, [a, b, c, d, e]: [int8x8_t; 5]) -> Self::Column {
        let first = interleave([a, b, c, d]);
        [first, if STRIDE == 1 { first } else { interleave([c, d, e, e]) }]
    }

    #[inline(always)]
    fn add<const STRIDE: usize>(
        self,
        sums: &mut [int32x4_t; 4],
        weights: &Self::Weights,
        along: usize,
        column: &Self::Column,
    ) {
        for output in 0..2 {
            for half in 0..2 {
                let (w, x) = (weights[along][if STRIDE == 1 { output } else { 0 }][half], column[output][half]);
                let sum = &mut sums[2 * output + half];
                // SAFETY: `self` proves the instruction.
                unsafe {
                    asm!(".arch_extension dotprod", "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b", sum = inout(vreg) *sum,
                        w = in(vreg) w, x = in(vreg) x,
                        options(pure, nomem, nostack, preserves_flags));
                }
            }
        }
    }
}

/// Four cells of 8 channels, so that each 32 bits are those of one channel.
#[inline(always)]
fn interleave([a, b, c, d]: [int8x8_t; 4]) -> [int8x16_t; 2] {
    // SAFETY: only called with a token, which proves NEON.
    unsafe {
        let zip = |a, b| vreinterpretq_s16_s8(vzip1q_s8(vcombine_s8(a, a), vcombine_s8(b, b)));
        let (ab, cd) = (zip(a, b), zip(c, d));
        [vreinterpretq_s8_s16(vzip1q_s16(ab, cd)), vreinterpretq_s8_s16(vzip2q_s16(ab, cd))]
    }
}

impl Tiles for Dotprod {
    const READ: usize = 4;
    const LANES: usize = 1;

    #[inline(always)]
    fn matrix(self, l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], _scratch: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { matrix(l, m, output) }
    }
}

#[target_feature(enable = "neon,dotprod")]
pub(super) fn matrix(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8]) {
    m.check(l.k4, l.c.out_c, output);
    assert!(l.c.weights.len() >= l.c.c16() * l.k4 && l.init.len() >= 4 * l.c.c16());
    assert!(l.c.multipliers.len() >= l.c.c16());
    // SAFETY: the lengths were just checked.
    unsafe {
        if (m.rows, m.segments) == (1, 1) {
            return line(l, m.cells, output);
        }
        match l.epilogue.way {
            EVEN => all_channels::<EVEN>(l, m, output),
            ODD => all_channels::<ODD>(l, m, output),
            SATURATE => all_channels::<SATURATE>(l, m, output),
            _ => all_channels::<ANY>(l, m, output),
        }
    }
}

/// One row.
///
/// # Safety
/// `k4` cells; all channels of everything.
#[target_feature(enable = "neon,dotprod")]
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
            l.epilogue.rows16::<ANY, 1>(&wide1(&tile), tile.multipliers, to, 0);
        }
        if !whole {
            output[n..out_c].copy_from_slice(&bytes[..out_c - n]);
        }
        tile.weights = tile.weights.wrapping_add(16 * l.k4);
        tile.init = tile.init.wrapping_add(16);
        tile.multipliers = tile.multipliers.wrapping_add(16);
    }
}

/// The last channels first, see the module of the driver.
///
/// # Safety
/// `m` was checked.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn all_channels<const WAY: u8>(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8]) {
    let (tail, whole) = (l.c.out_c % 16, l.c.out_c / 16 * 16);
    // SAFETY: the caller's.
    unsafe {
        if tail > 8 {
            block::<WAY, 16>(l, m, whole, output);
        } else if tail > 0 {
            block::<WAY, 8>(l, m, whole, output);
        }
        for n in (0..whole).step_by(16) {
            block::<WAY, 16>(l, m, n, output);
        }
    }
}

/// All rows times the `WIDTH` channels from `n` on, of which some may be beyond the last.
///
/// # Safety
/// `m` was checked; `n` is a multiple of 16 below `out_c`.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn block<const WAY: u8, const WIDTH: usize>(l: &Layer<'_>, m: &Matrix<'_>, n: usize, output: &mut [u8]) {
    let channels = (l.c.out_c - n).min(WIDTH);
    for segment in 0..m.segments {
        let to = segment * m.out_pitch + n;
        let roomy = if channels == WIDTH { m.rows } else { m.roomy_rows(segment, n, WIDTH) };
        // SAFETY: these rows and channels are inside.
        unsafe {
            let tile = Tile {
                cells: m.cells.as_ptr().add(segment * m.pitch),
                step: m.step,
                k: l.k4,
                weights: l.c.weights.as_ptr().add(n * l.k4),
                init: l.init.as_ptr().cast::<i32>().add(n),
                multipliers: l.c.multipliers.as_ptr().add(n),
                epilogue: &l.epilogue,
            };
            tile.rows::<WAY, WIDTH>(roomy, output.as_mut_ptr().add(to), m.out_step);
            for row in roomy..m.rows {
                let mut bytes = [0; 16];
                let cells = tile.cells.add(row * m.step);
                Tile { cells, ..tile }.rows::<WAY, WIDTH>(1, bytes.as_mut_ptr(), 0);
                output[to + row * m.out_step..][..channels].copy_from_slice(&bytes[..channels]);
            }
        }
    }
}

/// Rows times one block of channels.
#[derive(Clone, Copy)]
struct Tile<'a> {
    cells: *const u8,
    /// Bytes from a row to the next.
    step: usize,
    /// Cells of a row, a multiple of 4.
    k: usize,
    /// `[k / 4][16][4]`.
    weights: *const i8,
    init: *const i32,
    multipliers: *const f32,
    epilogue: &'a Epilogue,
}

impl Tile<'_> {
    /// `rows` rows x `WIDTH` channels.
    ///
    /// # Safety
    /// `rows` rows of `k` bytes, `WIDTH` channels of everything, `WIDTH` bytes of output for each row.
    #[inline]
    #[target_feature(enable = "neon,dotprod")]
    unsafe fn rows<const WAY: u8, const WIDTH: usize>(self, rows: usize, output: *mut u8, step: usize) {
        let (mut tile, mut output, mut left) = (self, output, rows);
        macro_rules! next {
            ($rows:literal, $sums:ident, $narrow:ident) => {
                // SAFETY: the caller's.
                unsafe { tile.epilogue.$narrow::<WAY, $rows>(&$sums(&tile), tile.multipliers, output, step) };
                tile.cells = tile.cells.wrapping_add($rows * tile.step);
                output = output.wrapping_add($rows * step);
                left -= $rows;
            };
        }
        if WIDTH == 16 {
            while left >= 5 {
                next!(5, wide5, rows16);
            }
            if left >= 4 {
                next!(4, wide4, rows16);
            }
            if left >= 3 {
                next!(3, wide3, rows16);
            }
            if left >= 2 {
                next!(2, wide2, rows16);
            }
            if left >= 1 {
                next!(1, wide1, rows16);
            }
        } else {
            while left >= 8 {
                next!(8, narrow8, rows8);
            }
            if left >= 4 {
                next!(4, narrow4, rows8);
            }
            if left >= 2 {
                next!(2, narrow2, rows8);
            }
            if left >= 1 {
                next!(1, narrow1, rows8);
            }
        }
        let _ = (tile.cells, output, left);
    }
}

/// `sdot` of the weights in v0 to v3 by lane `$lane` of `$x`.
macro_rules! dot16 {
    ($lane:literal, $x:tt, $a:tt, $b:tt, $c:tt, $d:tt) => {
        concat!(
            "sdot ",
            $a,
            ".4s, v0.16b, ",
            $x,
            ".4b[",
            $lane,
            "]\n",
            "sdot ",
            $b,
            ".4s, v1.16b, ",
            $x,
            ".4b[",
            $lane,
            "]\n",
            "sdot ",
            $c,
            ".4s, v2.16b, ",
            $x,
            ".4b[",
            $lane,
            "]\n",
            "sdot ",
            $d,
            ".4s, v3.16b, ",
            $x,
            ".4b[",
            $lane,
            "]"
        )
    };
}

/// Sums of some rows x 16 channels.
macro_rules! wide {
    ($name:ident, $rows:tt; $($i:tt $p:ident $x:tt $a:tt $b:tt $c:tt $d:tt;)+) => {
        /// # Safety
        /// The rows of the tile and 16 channels.
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(t: &Tile<'_>) -> [[int32x4_t; 4]; $rows] {
            let mut sums = [[vdupq_n_s32(0); 4]; $rows];
            $(let $p = t.cells.wrapping_add($i * t.step);)+
            // SAFETY: reads `k` bytes of each row, `16 k` of weights and 16 values of `init`.
            unsafe {
                asm!(
                    $(concat!("ld1 {{", $a, ".4s, ", $b, ".4s, ", $c, ".4s, ", $d, ".4s}}, [{init}]"),)+
                    "cbz {n16}, 3f",
                    "2:",
                    $(concat!("ld1 {{", $x, ".16b}}, [{", stringify!($p), "}], #16"),)+
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    $(dot16!("0", $x, $a, $b, $c, $d),)+
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    $(dot16!("1", $x, $a, $b, $c, $d),)+
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    $(dot16!("2", $x, $a, $b, $c, $d),)+
                    "subs {n16}, {n16}, #1",
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    $(dot16!("3", $x, $a, $b, $c, $d),)+
                    "b.ne 2b",
                    "3:",
                    "cbz {n4}, 5f",
                    "cmp {n4}, #2",
                    "b.lo 6f",
                    $(concat!("ld1 {{", $x, ".8b}}, [{", stringify!($p), "}], #8"),)+
                    "b.eq 4f",
                    $(concat!("ld1 {{", $x, ".s}}[2], [{", stringify!($p), "}]"),)+
                    "b 4f",
                    "6:",
                    $(concat!("ld1 {{", $x, ".s}}[0], [{", stringify!($p), "}]"),)+
                    "4:",
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    "subs {n4}, {n4}, #1",
                    $(dot16!("0", $x, $a, $b, $c, $d),)+
                    "b.eq 5f",
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
                    "subs {n4}, {n4}, #1",
                    $(dot16!("1", $x, $a, $b, $c, $d),)+
                    "b.eq 5f",
                    "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}]",
                    $(dot16!("2", $x, $a, $b, $c, $d),)+
                    "5:",
                    init = in(reg) t.init,
                    n16 = inout(reg) t.k / 16 => _,
                    n4 = inout(reg) t.k / 4 % 4 => _,
                    w = inout(reg) t.weights => _,
                    $($p = inout(reg) $p => _, out($x) _,)+
                    $(out($a) sums[$i][0], out($b) sums[$i][1], out($c) sums[$i][2], out($d) sums[$i][3],)+
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

wide!(wide5, 5;
    0 p0 "v4" "v9" "v10" "v11" "v12"; 1 p1 "v5" "v13" "v14" "v15" "v16"; 2 p2 "v6" "v17" "v18" "v19" "v20";
    3 p3 "v7" "v21" "v22" "v23" "v24"; 4 p4 "v8" "v25" "v26" "v27" "v28";);
wide!(wide4, 4;
    0 p0 "v4" "v9" "v10" "v11" "v12"; 1 p1 "v5" "v13" "v14" "v15" "v16"; 2 p2 "v6" "v17" "v18" "v19" "v20";
    3 p3 "v7" "v21" "v22" "v23" "v24";);
wide!(wide3, 3;
    0 p0 "v4" "v9" "v10" "v11" "v12"; 1 p1 "v5" "v13" "v14" "v15" "v16"; 2 p2 "v6" "v17" "v18" "v19" "v20";);
wide!(wide2, 2; 0 p0 "v4" "v9" "v10" "v11" "v12"; 1 p1 "v5" "v13" "v14" "v15" "v16";);
wide!(wide1, 1; 0 p0 "v4" "v9" "v10" "v11" "v12";);

/// `sdot` of the weights in `$w` and `$v` by lane `$lane` of `$x`.
macro_rules! dot8 {
    ($lane:literal, $w:tt, $v:tt, $x:tt, $a:tt, $b:tt) => {
        concat!(
            "sdot ", $a, ".4s, ", $w, ".16b, ", $x, ".4b[", $lane, "]\n", "sdot ", $b, ".4s, ", $v, ".16b, ", $x,
            ".4b[", $lane, "]"
        )
    };
}

/// Sums of some rows x 8 channels.
macro_rules! narrow {
    ($name:ident, $rows:tt; $($i:tt $p:ident $x:tt $a:tt $b:tt;)+) => {
        /// # Safety
        /// The rows of the tile and 8 channels; weights are 64 bytes apart.
        #[inline]
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn $name(t: &Tile<'_>) -> [[int32x4_t; 2]; $rows] {
            let mut sums = [[vdupq_n_s32(0); 2]; $rows];
            $(let $p = t.cells.wrapping_add($i * t.step);)+
            // SAFETY: reads `k` bytes of each row, weights of 8 channels and 8 values of `init`.
            unsafe {
                asm!(
                    $(concat!("ld1 {{", $a, ".4s, ", $b, ".4s}}, [{init}]"),)+
                    "cbz {n16}, 3f",
                    "2:",
                    $(concat!("ld1 {{", $x, ".16b}}, [{", stringify!($p), "}], #16"),)+
                    "ld1 {{v0.16b, v1.16b}}, [{w}], {step}",
                    "ld1 {{v2.16b, v3.16b}}, [{w}], {step}",
                    $(dot8!("0", "v0", "v1", $x, $a, $b),)+
                    "ld1 {{v0.16b, v1.16b}}, [{w}], {step}",
                    $(dot8!("1", "v2", "v3", $x, $a, $b),)+
                    "ld1 {{v2.16b, v3.16b}}, [{w}], {step}",
                    "subs {n16}, {n16}, #1",
                    $(dot8!("2", "v0", "v1", $x, $a, $b),)+
                    $(dot8!("3", "v2", "v3", $x, $a, $b),)+
                    "b.ne 2b",
                    "3:",
                    "cbz {n4}, 5f",
                    "cmp {n4}, #2",
                    "b.lo 6f",
                    $(concat!("ld1 {{", $x, ".8b}}, [{", stringify!($p), "}], #8"),)+
                    "b.eq 4f",
                    $(concat!("ld1 {{", $x, ".s}}[2], [{", stringify!($p), "}]"),)+
                    "b 4f",
                    "6:",
                    $(concat!("ld1 {{", $x, ".s}}[0], [{", stringify!($p), "}]"),)+
                    "4:",
                    "ld1 {{v0.16b, v1.16b}}, [{w}], {step}",
                    "subs {n4}, {n4}, #1",
                    $(dot8!("0", "v0", "v1", $x, $a, $b),)+
                    "b.eq 5f",
                    "ld1 {{v2.16b, v3.16b}}, [{w}], {step}",
                    "subs {n4}, {n4}, #1",
                    $(dot8!("1", "v2", "v3", $x, $a, $b),)+
                    "b.eq 5f",
                    "ld1 {{v0.16b, v1.16b}}, [{w}]",
                    $(dot8!("2", "v0", "v1", $x, $a, $b),)+
                    "5:",
                    init = in(reg) t.init,
                    step = in(reg) 64_usize,
                    n16 = inout(reg) t.k / 16 => _,
                    n4 = inout(reg) t.k / 4 % 4 => _,
                    w = inout(reg) t.weights => _,
                    $($p = inout(reg) $p => _, out($x) _,)+
                    $(out($a) sums[$i][0], out($b) sums[$i][1],)+
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

narrow!(narrow8, 8;
    0 p0 "v4" "v12" "v13"; 1 p1 "v5" "v14" "v15"; 2 p2 "v6" "v16" "v17"; 3 p3 "v7" "v18" "v19";
    4 p4 "v8" "v20" "v21"; 5 p5 "v9" "v22" "v23"; 6 p6 "v10" "v24" "v25"; 7 p7 "v11" "v26" "v27";);
narrow!(narrow4, 4;
    0 p0 "v4" "v12" "v13"; 1 p1 "v5" "v14" "v15"; 2 p2 "v6" "v16" "v17"; 3 p3 "v7" "v18" "v19";);
narrow!(narrow2, 2; 0 p0 "v4" "v12" "v13"; 1 p1 "v5" "v14" "v15";);
narrow!(narrow1, 1; 0 p0 "v4" "v12" "v13";);
