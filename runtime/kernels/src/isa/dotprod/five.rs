//! Depthwise convolution 5 x 5 by `sdot`: of each column of a window, the upper four cells and the lowest one are 32 bits of
//! one channel each. Columns are interleaved once for some pixels of an output row and then read by all windows that see
//! them, two pixels and 16 channels at a time.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::aarch64::*;
use core::arch::asm;

use super::Dotprod;
use crate::{
    depthwise::rows::{Row, RowKernel},
    isa::aarch64::epilogue::{ANY, Epilogue},
    params::{Conv, DType},
};

/// Whether this file has a way for `c`.
#[inline(always)]
pub(super) fn takes(c: &Conv<'_>) -> bool {
    let w = &c.window;
    c.weight_zero_point == 0 && (w.kernel_h, w.kernel_w, w.dilation_w) == (5, 5, 1) && matches!(w.stride_w, 1 | 2)
}

/// Proof as [`Dotprod`]; only for convolutions that [`takes`] accepts.
#[derive(Clone, Copy)]
pub(super) struct Five(pub(super) Dotprod);

/// Pixels whose columns are interleaved at a time.
const PIXELS: usize = 16;
/// Their columns at most, stride 2.
const COLUMNS: usize = 2 * (PIXELS - 1) + 5;
/// Bytes of an interleaved column of 16 channels.
const COLUMN: usize = 128;
/// Bytes of first sums and multipliers.
const HEAD: usize = 128;

impl RowKernel for Five {
    const LANES: usize = 16;
    const DTYPE: DType = DType::Int8;

    fn constants_len(_taps: usize) -> usize {
        HEAD + 5 * COLUMN
    }

    /// `[first sum 16][multiplier 16][kernel column][as a column of cells]`
    #[inline(always)]
    fn prepare(self, c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { prepare(c, first, zero_point, constants) }
    }

    #[inline(always)]
    fn row(self, r: &Row<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { row(r, output) }
    }
}

/// Four cells of 16 channels, so that each 32 bits are those of one channel.
#[inline]
#[target_feature(enable = "neon")]
fn interleave([a, b, c, d]: [uint8x16_t; 4]) -> uint8x16x4_t {
    let (low, high) = (vzip1q_u8(a, b), vzip2q_u8(a, b));
    let (low, high) = (vreinterpretq_u16_u8(low), vreinterpretq_u16_u8(high));
    let (low2, high2) = (vreinterpretq_u16_u8(vzip1q_u8(c, d)), vreinterpretq_u16_u8(vzip2q_u8(c, d)));
    uint8x16x4_t(
        vreinterpretq_u8_u16(vzip1q_u16(low, low2)),
        vreinterpretq_u8_u16(vzip2q_u16(low, low2)),
        vreinterpretq_u8_u16(vzip1q_u16(high, high2)),
        vreinterpretq_u8_u16(vzip2q_u16(high, high2)),
    )
}

/// Interleaves five cells.
///
/// # Safety
/// `to` has [`COLUMN`] bytes.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn column([a, b, c, d, e]: [uint8x16_t; 5], to: *mut u8) {
    let none = vdupq_n_u8(0);
    // SAFETY: the caller's.
    unsafe {
        vst1q_u8_x4(to, interleave([a, b, c, d]));
        vst1q_u8_x4(to.add(64), interleave([e, none, none, none]));
    }
}

#[target_feature(enable = "neon")]
fn prepare(c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
    let c16 = c.c16();
    assert!(constants.len() == HEAD + 5 * COLUMN && first + 16 <= c16 && c.weights.len() >= 25 * c16);
    assert!(c.bias.len() >= c16 && c.sums.len() >= c16 && c.multipliers.len() >= c16);
    let to = constants.as_mut_ptr();
    // SAFETY: 16 channels from `first` on; the constants have their length.
    unsafe {
        let (bias, sums) = (vld1q_s32_x4(c.bias.as_ptr().add(first)), vld1q_s32_x4(c.sums.as_ptr().add(first)));
        let zero = vdupq_n_s32(zero_point);
        let init = int32x4x4_t(
            vmlsq_s32(bias.0, sums.0, zero),
            vmlsq_s32(bias.1, sums.1, zero),
            vmlsq_s32(bias.2, sums.2, zero),
            vmlsq_s32(bias.3, sums.3, zero),
        );
        vst1q_s32_x4(to.cast(), init);
        vst1q_f32_x4(to.add(64).cast(), vld1q_f32_x4(c.multipliers.as_ptr().add(first)));
        for kx in 0..5 {
            let tap = |ky: usize| vld1q_u8(c.weights.as_ptr().add((5 * ky + kx) * c16 + first).cast());
            column([tap(0), tap(1), tap(2), tap(3), tap(4)], to.add(HEAD + kx * COLUMN));
        }
    }
}

/// One output row.
#[target_feature(enable = "neon,dotprod")]
fn row(r: &Row<'_>, output: &mut [u8]) {
    let (out_c, stride) = (r.conv.out_c, r.conv.window.stride_w);
    let pixels = output.len() / out_c;
    let constants_len = HEAD + 5 * COLUMN;
    let last = r.taps.iter().max().map_or(0, |tap| tap + (pixels - 1) * r.step + r.channels);
    assert!(r.taps.len() == 25 && pixels > 0 && last <= r.ring.len() && r.step == stride * r.channels && stride <= 2);
    assert!(r.channels == out_c.next_multiple_of(16) && r.constants.len() == r.channels / 16 * constants_len);
    let epilogue = Epilogue::any(r.conv);
    let mut columns = [0u8; COLUMNS * COLUMN];
    for (group, constants) in r.constants.chunks_exact(constants_len).enumerate() {
        let channels = (out_c - 16 * group).min(16);
        for first in (0..pixels).step_by(PIXELS) {
            let count = (pixels - first).min(PIXELS);
            let rows: [usize; 5] = core::array::from_fn(|ky| r.taps[5 * ky] + first * r.step + 16 * group);
            for (i, to) in columns.chunks_exact_mut(COLUMN).take((count - 1) * stride + 5).enumerate() {
                // SAFETY: a column that a window of the row sees: 16 bytes of each row in the ring.
                unsafe {
                    let cell = |ky: usize| vld1q_u8(r.ring.as_ptr().add(rows[ky] + i * r.channels));
                    column([cell(0), cell(1), cell(2), cell(3), cell(4)], to.as_mut_ptr());
                }
            }
            for pixel in (0..count).step_by(2) {
                let two = pixel + 1 < count;
                let to = &mut output[(first + pixel) * out_c + 16 * group..];
                // SAFETY: five columns from both were interleaved; a last pixel is taken twice.
                unsafe {
                    let at = columns.as_ptr().add(pixel * stride * COLUMN);
                    let next = at.wrapping_add(if two { stride * COLUMN } else { 0 });
                    let sums = two_pixels(at, next, constants.as_ptr());
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
}

/// `sdot` of four registers of cells by v0 to v3.
macro_rules! four {
    ($x:tt $y:tt $z:tt $t:tt, $a:tt $b:tt $c:tt $d:tt) => {
        concat!(
            "sdot ",
            $a,
            ".4s, ",
            $x,
            ".16b, v0.16b\n",
            "sdot ",
            $b,
            ".4s, ",
            $y,
            ".16b, v1.16b\n",
            "sdot ",
            $c,
            ".4s, ",
            $z,
            ".16b, v2.16b\n",
            "sdot ",
            $d,
            ".4s, ",
            $t,
            ".16b, v3.16b"
        )
    };
}

/// Sums of 16 channels for two pixels.
///
/// # Safety
/// Five columns from `first` and `second` on; the constants of the channels.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn two_pixels(first: *const u8, second: *const u8, constants: *const u8) -> [[int32x4_t; 4]; 2] {
    let mut sums = [[vdupq_n_s32(0); 4]; 2];
    // SAFETY: reads what the caller names.
    unsafe {
        asm!(
            "ld1 {{v16.4s, v17.4s, v18.4s, v19.4s}}, [{init}]",
            "ld1 {{v20.4s, v21.4s, v22.4s, v23.4s}}, [{init}]",
            "2:",
            "ld1 {{v0.16b, v1.16b, v2.16b, v3.16b}}, [{w}], #64",
            "ld1 {{v4.16b, v5.16b, v6.16b, v7.16b}}, [{first}], #64",
            "ld1 {{v24.16b, v25.16b, v26.16b, v27.16b}}, [{second}], #64",
            "subs {n}, {n}, #1",
            four!("v4" "v5" "v6" "v7", "v16" "v17" "v18" "v19"),
            four!("v24" "v25" "v26" "v27", "v20" "v21" "v22" "v23"),
            "b.ne 2b",
            init = in(reg) constants,
            w = inout(reg) constants.wrapping_add(HEAD) => _,
            first = inout(reg) first => _,
            second = inout(reg) second => _,
            n = inout(reg) 10_usize => _,
            out("v16") sums[0][0], out("v17") sums[0][1], out("v18") sums[0][2], out("v19") sums[0][3],
            out("v20") sums[1][0], out("v21") sums[1][1], out("v22") sums[1][2], out("v23") sums[1][3],
            out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
            out("v24") _, out("v25") _, out("v26") _, out("v27") _,
            options(readonly, nostack)
        );
    }
    sums
}
