//! AArch64 with matrix products of bytes: `smmla` multiplies two rows of eight signed bytes by two channels of eight and adds
//! the four sums to 32 bits, exactly.
//!
//! Both sides are packed, because then a load brings only what is multiplied next:
//!
//! ```text
//! rows:      six at a time, [k / 8][pair of rows][2][8], once for all channels
//! weights:   16 channels at a time, [k / 8][pair of channels][2][8], from `n16k4`, once for all rows of a chunk
//! ```
//! Three pairs of rows x eight pairs of channels are 24 sums, 3 rows, 4 weights. Few rows are not worth the packing: they, and
//! depthwise convolutions, go the way of [`Dotprod`].

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::{
    Dotprod, Isa,
    aarch64::{
        self, Layer, Matrix, Tiles,
        epilogue::{ANY, EVEN, Epilogue, ODD, SATURATE},
    },
    dotprod,
};
use crate::{
    conv::{Block, Run},
    params::Conv,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct I8mm(Dotprod);

impl I8mm {
    /// The token, if this CPU has `smmla` and `sdot`.
    pub(crate) fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        let have = std::arch::is_aarch64_feature_detected!("i8mm");
        #[cfg(not(feature = "std"))]
        let have = cfg!(target_feature = "i8mm");
        Dotprod::new().filter(|_| have).map(Self)
    }
}

impl Isa for I8mm {
    const CELL: usize = 1;
    const ROWS: usize = 5;
    const CHANNELS: usize = 16;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        self.0.padding(c)
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        aarch64::pack(c, run, input, cells);
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        self.0.gemm(b, output);
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
        self.0.depthwise_scratch_len(c)
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        self.0.depthwise(c, input, output, scratch);
    }

    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        // SAFETY: `self` proves NEON.
        unsafe { aarch64::lut(table, input, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves the instruction.
        unsafe { aarch64::peak::smmla(steps) }
    }
}

/// Whether packing pays for `rows` rows: below, [`Dotprod`] executes fewer instructions.
fn pays(c: &Conv<'_>, rows: usize) -> bool {
    let weights = c.k().saturating_mul(c.out_c);
    rows >= 6 && c.out_c > 8 && c.k() >= 16 && weights >= 1024 && weights.saturating_mul(rows) >= 40_000
}

/// Bytes of packed rows at a time, unless six are more.
const ROWS_LEN: usize = 48 * 1024;
/// Bytes before the packed weights of 16 channels: first sums and multipliers, each as a tile needs them.
const HEAD: usize = 256;

/// Groups of six rows that are packed at a time.
fn groups_at_once(k8: usize) -> usize {
    (ROWS_LEN / k8.saturating_mul(6).max(1)).max(1)
}

impl Tiles for I8mm {
    const READ: usize = 8;
    const LANES: usize = 1;

    fn matrix_scratch_len(self, c: &Conv<'_>, rows: usize) -> usize {
        if !pays(c, rows) {
            return 0;
        }
        let k8 = c.k().next_multiple_of(8);
        // A column that does not fill its last group takes a whole one.
        let groups = rows.div_ceil(c.window.out_h.clamp(1, 6)).min(groups_at_once(k8));
        k8.saturating_mul(16).saturating_add(HEAD).saturating_add(groups.saturating_mul(k8.saturating_mul(6)))
    }

    #[inline(always)]
    fn matrix(self, l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], scratch: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe {
            if !pays(l.c, m.rows * m.segments) {
                dotprod::matrix(l, m, output);
            } else {
                matrix(l, m, output, scratch);
            }
        }
    }
}

#[target_feature(enable = "neon,dotprod,i8mm")]
fn matrix(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], scratch: &mut [u8]) {
    let k8 = l.c.k().next_multiple_of(8);
    m.check(k8, l.c.out_c, output);
    assert!(l.c.weights.len() >= l.c.c16() * l.k4 && l.init.len() >= 4 * l.c.c16());
    assert!(l.c.multipliers.len() >= l.c.c16());
    // SAFETY: the lengths were just checked.
    unsafe {
        match l.epilogue.way {
            EVEN => chunks::<EVEN>(l, m, output, scratch),
            ODD => chunks::<ODD>(l, m, output, scratch),
            SATURATE => chunks::<SATURATE>(l, m, output, scratch),
            _ => chunks::<ANY>(l, m, output, scratch),
        }
    }
}

/// As many rows at a time as fit, times all channels, the last channels first.
///
/// # Safety
/// `m` was checked.
#[inline]
#[target_feature(enable = "neon,dotprod,i8mm")]
unsafe fn chunks<const WAY: u8>(l: &Layer<'_>, m: &Matrix<'_>, output: &mut [u8], scratch: &mut [u8]) {
    let k8 = l.c.k().next_multiple_of(8);
    let per_segment = m.rows.div_ceil(6);
    let (weights, packed) = scratch.split_at_mut(HEAD + 16 * k8);
    let at_once = groups_at_once(k8).min(packed.len() / (6 * k8));
    assert!(at_once > 0);
    let (out_c, whole) = (l.c.out_c, l.c.out_c / 16 * 16);
    let all = per_segment * m.segments;
    let mut first = 0;
    while first < all {
        let groups = (first..all.min(first + at_once)).map(|group| {
            let (segment, row) = (group / per_segment, group % per_segment * 6);
            Group { segment, row, rows: (m.rows - row).min(6) }
        });
        for (group, packed) in groups.clone().zip(packed.chunks_exact_mut(6 * k8)) {
            // SAFETY: the rows were checked for `k8` bytes each.
            unsafe { group.pack(m, k8, packed.as_mut_ptr()) };
        }
        let mut block = |n: usize| {
            let channels = (out_c - n).min(16);
            // SAFETY: 16 channels of everything; `weights` has room for them.
            unsafe { pack_weights(l, n, k8, weights.as_mut_ptr()) };
            for (group, packed) in groups.clone().zip(packed.chunks_exact(6 * k8)) {
                // SAFETY: packed above.
                unsafe { group.multiply::<WAY>(l, m, n, channels, k8, packed.as_ptr(), weights.as_ptr(), output) };
            }
        };
        if whole < out_c {
            block(whole);
        }
        for n in (0..whole).step_by(16) {
            block(n);
        }
        first += at_once;
    }
}

/// Up to six rows of a segment.
#[derive(Clone, Copy)]
struct Group {
    segment: usize,
    row: usize,
    rows: usize,
}

impl Group {
    /// Packs the rows; the last pair of an odd number has its row twice.
    ///
    /// # Safety
    /// The rows have `k8` bytes; `to` has room for six such rows.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn pack(self, m: &Matrix<'_>, k8: usize, to: *mut u8) {
        let first = m.cells.as_ptr().wrapping_add(self.segment * m.pitch + self.row * m.step);
        let row = |i: usize| first.wrapping_add(i.min(self.rows - 1) * m.step);
        // SAFETY: the caller's.
        unsafe {
            match self.rows {
                1 | 2 => pack1([row(0), row(1)], k8, to),
                3 | 4 => pack2([row(0), row(1), row(2), row(3)], k8, to),
                _ => pack3([row(0), row(1), row(2), row(3), row(4), row(5)], k8, to),
            }
        }
    }

    /// The rows times 16 channels, of which `channels` are written.
    ///
    /// # Safety
    /// `packed` and `weights` were packed for this group and `n`.
    #[inline]
    #[target_feature(enable = "neon,i8mm")]
    #[expect(clippy::too_many_arguments, reason = "one caller")]
    unsafe fn multiply<const WAY: u8>(
        self,
        l: &Layer<'_>,
        m: &Matrix<'_>,
        n: usize,
        channels: usize,
        k8: usize,
        packed: *const u8,
        weights: *const u8,
        output: &mut [u8],
    ) {
        let to = self.segment * m.out_pitch + self.row * m.out_step + n;
        let room = channels == 16 || self.row + self.rows <= m.roomy_rows(self.segment, n, 16);
        let mut bytes = [0; 96];
        // SAFETY: the caller's; the rows of `output` were checked.
        unsafe {
            let (output, step) =
                if room { (output.as_mut_ptr().add(to), m.out_step) } else { (bytes.as_mut_ptr(), 16) };
            let odd = self.rows % 2 == 1;
            match self.rows {
                1 | 2 => store::<WAY, 1>(tile1(packed, weights, k8), &l.epilogue, weights, output, step, odd),
                3 | 4 => store::<WAY, 2>(tile2(packed, weights, k8), &l.epilogue, weights, output, step, odd),
                _ => store::<WAY, 3>(tile3(packed, weights, k8), &l.epilogue, weights, output, step, odd),
            }
        }
        if !room {
            for (i, bytes) in bytes.chunks_exact(16).take(self.rows).enumerate() {
                output[to + i * m.out_step..][..channels].copy_from_slice(&bytes[..channels]);
            }
        }
    }
}

/// Packs pairs of rows, 16 bytes of each at a time.
macro_rules! pack {
    ($name:ident, $rows:literal, |$to:ident, $x:ident| $store:expr) => {
        /// # Safety
        /// Rows of `k8` bytes; `to` has room for all.
        #[inline]
        #[target_feature(enable = "neon")]
        unsafe fn $name(mut rows: [*const u8; $rows], k8: usize, mut to: *mut u8) {
            let store = |$to: *mut u8, $x: [uint8x16_t; $rows / 2]| {
                // SAFETY: the caller's room.
                unsafe { $store }
            };
            for _ in 0..k8 / 16 {
                let (mut low, mut high) = ([vdupq_n_u8(0); $rows / 2], [vdupq_n_u8(0); $rows / 2]);
                for (i, rows) in rows.as_chunks_mut::<2>().0.iter_mut().enumerate() {
                    // SAFETY: 16 bytes of the caller's rows.
                    let (a, b) = unsafe { (vld1q_u64(rows[0].cast()), vld1q_u64(rows[1].cast())) };
                    *rows = [rows[0].wrapping_add(16), rows[1].wrapping_add(16)];
                    low[i] = vreinterpretq_u8_u64(vzip1q_u64(a, b));
                    high[i] = vreinterpretq_u8_u64(vzip2q_u64(a, b));
                }
                store(to, low);
                store(to.wrapping_add(8 * $rows), high);
                to = to.wrapping_add(16 * $rows);
            }
            if !k8.is_multiple_of(16) {
                let mut low = [vdupq_n_u8(0); $rows / 2];
                for (low, rows) in low.iter_mut().zip(rows.as_chunks::<2>().0) {
                    // SAFETY: 8 bytes of the caller's rows.
                    *low = unsafe { vcombine_u8(vld1_u8(rows[0]), vld1_u8(rows[1])) };
                }
                store(to, low);
            }
        }
    };
}

pack!(pack3, 6, |to, x| vst1q_u8_x3(to, uint8x16x3_t(x[0], x[1], x[2])));
pack!(pack2, 4, |to, x| vst1q_u8_x2(to, uint8x16x2_t(x[0], x[1])));
pack!(pack1, 2, |to, x| vst1q_u8(to, x[0]));

/// What a block of 16 channels needs: `[first sums: pair of channels, twice][multipliers the same][weights]`.
///
/// # Safety
/// `n` is a multiple of 16 below `out_c`; `to` has room for `HEAD + 16 * k8` bytes.
#[target_feature(enable = "neon")]
unsafe fn pack_weights(l: &Layer<'_>, n: usize, k8: usize, to: *mut u8) {
    // SAFETY: 16 channels of everything; the second half of an odd number of steps is zero.
    unsafe {
        for (from, to) in [
            (l.init.as_ptr().cast::<u64>().add(n / 2), to),
            (l.c.multipliers.as_ptr().cast::<u64>().add(n / 2), to.add(HEAD / 2)),
        ] {
            for pair in 0..8 {
                vst1q_u64(to.cast::<u64>().add(2 * pair), vdupq_n_u64(from.add(pair).read_unaligned()));
            }
        }
        let (mut from, mut to) = (l.c.weights.as_ptr().add(n * l.k4).cast::<i32>(), to.add(HEAD).cast::<i32>());
        let zip = |a: int32x4x4_t, b: int32x4x4_t| {
            let low =
                int32x4x4_t(vzip1q_s32(a.0, b.0), vzip2q_s32(a.0, b.0), vzip1q_s32(a.1, b.1), vzip2q_s32(a.1, b.1));
            let high =
                int32x4x4_t(vzip1q_s32(a.2, b.2), vzip2q_s32(a.2, b.2), vzip1q_s32(a.3, b.3), vzip2q_s32(a.3, b.3));
            (low, high)
        };
        for _ in 0..l.k4 / 8 {
            let (low, high) = zip(vld1q_s32_x4(from), vld1q_s32_x4(from.add(16)));
            vst1q_s32_x4(to, low);
            vst1q_s32_x4(to.add(16), high);
            (from, to) = (from.add(32), to.add(32));
        }
        if l.k4 < k8 {
            let none = vdupq_n_s32(0);
            let (low, high) = zip(vld1q_s32_x4(from), int32x4x4_t(none, none, none, none));
            vst1q_s32_x4(to, low);
            vst1q_s32_x4(to.add(16), high);
        }
    }
}

/// Sums to bytes. A vector of sums is `[row][channel]` of a pair of each; the rows are separated as bytes. An `odd` last pair
/// is one row.
///
/// # Safety
/// `weights` as packed; `output` has 16 bytes for each row.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn store<const WAY: u8, const PAIRS: usize>(
    sums: [[int32x4_t; 8]; PAIRS],
    epilogue: &Epilogue,
    weights: *const u8,
    output: *mut u8,
    step: usize,
    odd: bool,
) {
    // SAFETY: the caller's multipliers.
    let (m, n) = unsafe {
        let m = weights.add(HEAD / 2).cast::<f32>();
        (vld1q_f32_x4(m), vld1q_f32_x4(m.add(16)))
    };
    let mut to = output;
    for (pair, s) in sums.iter().enumerate() {
        let low = epilogue.narrow::<WAY>([s[0], s[1], s[2], s[3]], [m.0, m.1, m.2, m.3]);
        let high = epilogue.narrow::<WAY>([s[4], s[5], s[6], s[7]], [n.0, n.1, n.2, n.3]);
        let (low, high) = (vreinterpretq_u16_u8(low), vreinterpretq_u16_u8(high));
        // SAFETY: the caller's row.
        unsafe { vst1q_u8(to, vreinterpretq_u8_u16(vuzp1q_u16(low, high))) };
        if !odd || pair + 1 < PAIRS {
            // SAFETY: the caller's next row.
            unsafe { vst1q_u8(to.wrapping_add(step), vreinterpretq_u8_u16(vuzp2q_u16(low, high))) };
        }
        to = to.wrapping_add(2 * step);
    }
}

/// `smmla` of `$x` by the weights in v0 to v3.
macro_rules! four {
    ($x:tt, $a:tt, $b:tt, $c:tt, $d:tt) => {
        concat!(
            "smmla ",
            $a,
            ".4s, ",
            $x,
            ".16b, v0.16b\n",
            "smmla ",
            $b,
            ".4s, ",
            $x,
            ".16b, v1.16b\n",
            "smmla ",
            $c,
            ".4s, ",
            $x,
            ".16b, v2.16b\n",
            "smmla ",
            $d,
            ".4s, ",
            $x,
            ".16b, v3.16b"
        )
    };
}

/// Loads four registers.
macro_rules! ld4 {
    ($a:tt, $b:tt, $c:tt, $d:tt, $from:literal) => {
        concat!("ld1 {{", $a, ".16b, ", $b, ".16b, ", $c, ".16b, ", $d, ".16b}}, ", $from)
    };
}

/// Sums of some pairs of rows x 16 channels.
macro_rules! tile {
    ($name:ident, $pairs:tt, $load:literal; $($i:tt $x:tt $a:tt $b:tt $c:tt $d:tt $e:tt $f:tt $g:tt $h:tt;)+) => {
        /// # Safety
        /// Rows and weights packed for `k8`.
        #[inline]
        #[target_feature(enable = "neon,i8mm")]
        unsafe fn $name(packed: *const u8, weights: *const u8, k8: usize) -> [[int32x4_t; 8]; $pairs] {
            let mut sums = [[vdupq_n_s32(0); 8]; $pairs];
            // SAFETY: reads what was packed.
            unsafe {
                asm!(
                    $(ld4!($a, $b, $c, $d, "[{low}]"), ld4!($e, $f, $g, $h, "[{high}]"),)+
                    "2:",
                    $load,
                    ld4!("v0", "v1", "v2", "v3", "[{w}], #64"),
                    "subs {n}, {n}, #1",
                    $(four!($x, $a, $b, $c, $d),)+
                    ld4!("v0", "v1", "v2", "v3", "[{w}], #64"),
                    $(four!($x, $e, $f, $g, $h),)+
                    "b.ne 2b",
                    low = in(reg) weights,
                    high = in(reg) weights.wrapping_add(64),
                    w = inout(reg) weights.wrapping_add(HEAD) => _,
                    p = inout(reg) packed => _,
                    n = inout(reg) k8 / 8 => _,
                    $(
                        out($x) _,
                        out($a) sums[$i][0], out($b) sums[$i][1], out($c) sums[$i][2], out($d) sums[$i][3],
                        out($e) sums[$i][4], out($f) sums[$i][5], out($g) sums[$i][6], out($h) sums[$i][7],
                    )+
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _,
                    options(readonly, nostack)
                );
            }
            sums
        }
    };
}

tile!(tile3, 3, "ld1 {{v4.16b, v5.16b, v6.16b}}, [{p}], #48";
    0 "v4" "v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15";
    1 "v5" "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23";
    2 "v6" "v24" "v25" "v26" "v27" "v28" "v29" "v30" "v31";);
tile!(tile2, 2, "ld1 {{v4.16b, v5.16b}}, [{p}], #32";
    0 "v4" "v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15";
    1 "v5" "v16" "v17" "v18" "v19" "v20" "v21" "v22" "v23";);
tile!(tile1, 1, "ld1 {{v4.16b}}, [{p}], #16";
    0 "v4" "v8" "v9" "v10" "v11" "v12" "v13" "v14" "v15";);
