//! Sums to bytes, 16 at a time, in the cheapest of four ways that are all exact.
//!
//! | way | when | instructions for 16 |
//! |---|---|---|
//! | [`EVEN`] | int8 limits, the zero point is even, every product is below 32000 | 16 |
//! | [`ODD`] | the same with an odd zero point | 18 |
//! | [`SATURATE`] | int8 limits, multipliers are finite | 20 |
//! | [`ANY`] | always: the limits act on the float, as in the definition | 24 |
//!
//! `EVEN` adds `1.5 * 2^23 + zero_point`, an even number, so that ties go where they belong and the low 16 bits of the sum
//! are the result before it saturates. That no product is larger is proved for each layer from its length: a sum is at most
//! `|bias| + 2^14 k` from 0.

use core::arch::aarch64::*;

use crate::params::Conv;

pub(in crate::isa) const EVEN: u8 = 0;
pub(in crate::isa) const ODD: u8 = 1;
pub(in crate::isa) const SATURATE: u8 = 2;
pub(in crate::isa) const ANY: u8 = 3;

/// Adding it leaves an integer, rounded half to even, in the low bits.
const MAGIC: f32 = 12_582_912.0;

/// What all channels of a layer share.
#[derive(Clone, Copy, Debug)]
pub(in crate::isa) struct Epilogue {
    /// One of the ways.
    pub(in crate::isa) way: u8,
    /// Added before the low bits are taken.
    magic: f32,
    /// Relative to the zero point.
    lo: f32,
    /// Relative to the zero point.
    hi: f32,
    zero_point: i16,
}

impl Epilogue {
    /// For limits of `c` and sums of `k` products, one byte times one byte. Writes what sums of each channel begin with,
    /// `bias - zero_point * sum`, for `c16` channels to `init`: one value each, or with a zero after it where sums have two
    /// lanes. Few `outputs` of a channel are not worth the proof.
    ///
    /// # Safety
    /// `init` has room for `LANES * c16` values (of any alignment); `bias`, `sums` and `multipliers` hold `c16`.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::isa) unsafe fn prepare<const LANES: usize>(
        c: &Conv<'_>,
        k: usize,
        zero_point: i32,
        outputs: usize,
        init: *mut i32,
    ) -> Self {
        let zero = vdupq_n_s32(zero_point);
        let mut largest = vdupq_n_f32(0.0);
        let products = vdupq_n_f32(k as f32 * 16384.0);
        let plain = outputs > 2 && (c.lo, c.hi) == (-128, 127);
        for n in (0..c.c16()).step_by(16) {
            // SAFETY: 16 channels of each.
            unsafe {
                let bias = vld1q_s32_x4(c.bias.as_ptr().add(n));
                let sums = vld1q_s32_x4(c.sums.as_ptr().add(n));
                let init4 = int32x4x4_t(
                    vmlsq_s32(bias.0, sums.0, zero),
                    vmlsq_s32(bias.1, sums.1, zero),
                    vmlsq_s32(bias.2, sums.2, zero),
                    vmlsq_s32(bias.3, sums.3, zero),
                );
                if LANES == 1 {
                    vst1q_s32_x4(init.add(n), init4);
                } else {
                    let none = vdupq_n_s32(0);
                    vst2q_s32(init.add(2 * n), int32x4x2_t(init4.0, none));
                    vst2q_s32(init.add(2 * n + 8), int32x4x2_t(init4.1, none));
                    vst2q_s32(init.add(2 * n + 16), int32x4x2_t(init4.2, none));
                    vst2q_s32(init.add(2 * n + 24), int32x4x2_t(init4.3, none));
                }
                if plain {
                    let multipliers = vld1q_f32_x4(c.multipliers.as_ptr().add(n));
                    for (init, multiplier) in [
                        (init4.0, multipliers.0),
                        (init4.1, multipliers.1),
                        (init4.2, multipliers.2),
                        (init4.3, multipliers.3),
                    ] {
                        let sum = vaddq_f32(vcvtq_f32_s32(vqabsq_s32(init)), products);
                        // Not a number stays.
                        largest = vmaxq_f32(largest, vabsq_f32(vmulq_f32(sum, multiplier)));
                    }
                }
            }
        }
        let largest = vmaxvq_f32(largest);
        let even = c.out_zero_point % 2 == 0;
        let way = match plain {
            true if largest < 32000.0 && even => EVEN,
            true if largest < 32000.0 => ODD,
            true if largest < f32::INFINITY => SATURATE,
            _ => ANY,
        };
        let magic = if way == EVEN { MAGIC + c.out_zero_point as f32 } else { MAGIC };
        Self { way, magic, ..Self::any(c) }
    }

    /// The way that always goes, [`ANY`].
    pub(in crate::isa) fn any(c: &Conv<'_>) -> Self {
        Self {
            way: ANY,
            magic: MAGIC,
            lo: (c.lo - c.out_zero_point) as f32,
            hi: (c.hi - c.out_zero_point) as f32,
            zero_point: c.out_zero_point as i16,
        }
    }

    /// Four vectors of sums to 16 bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::isa) fn narrow<const WAY: u8>(
        &self,
        sums: [int32x4_t; 4],
        multipliers: [float32x4_t; 4],
    ) -> uint8x16_t {
        let v = |i: usize| vmulq_f32(vcvtq_f32_s32(sums[i]), multipliers[i]);
        let zero_point = vdupq_n_s16(self.zero_point);
        if WAY == EVEN || WAY == ODD {
            let magic = vdupq_n_f32(self.magic);
            let q = |i: usize| vreinterpretq_s16_f32(vaddq_f32(v(i), magic));
            let (mut low, mut high) = (vuzp1q_s16(q(0), q(1)), vuzp1q_s16(q(2), q(3)));
            if WAY == ODD {
                (low, high) = (vaddq_s16(low, zero_point), vaddq_s16(high, zero_point));
            }
            vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high))
        } else if WAY == SATURATE {
            let q = |i: usize| vcvtnq_s32_f32(v(i));
            let low = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(q(0)), q(1)), zero_point);
            let high = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(q(2)), q(3)), zero_point);
            vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(low), high))
        } else {
            let (lo, hi, magic) = (vdupq_n_f32(self.lo), vdupq_n_f32(self.hi), vdupq_n_f32(MAGIC));
            // `fmaxnm` gives the number if the other is none.
            let limited = |i: usize| vminnmq_f32(vmaxnmq_f32(v(i), lo), hi);
            let q = |i: usize| vreinterpretq_u16_f32(vaddq_f32(limited(i), magic));
            let (low, high) = (vuzp1q_u16(q(0), q(1)), vuzp1q_u16(q(2), q(3)));
            let bytes = vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high));
            vaddq_u8(bytes, vdupq_n_u8(self.zero_point as u8))
        }
    }

    /// Rows of 16 sums to bytes, rows `step` apart.
    ///
    /// # Safety
    /// 16 multipliers; `output` has 16 bytes for each row.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::isa) unsafe fn rows16<const WAY: u8, const R: usize>(
        &self,
        sums: &[[int32x4_t; 4]; R],
        multipliers: *const f32,
        output: *mut u8,
        step: usize,
    ) {
        // SAFETY: the caller's 16 multipliers.
        let m = unsafe { vld1q_f32_x4(multipliers) };
        let mut to = output;
        for sums in sums {
            // SAFETY: the caller's 16 bytes of this row.
            unsafe { vst1q_u8(to, self.narrow::<WAY>(*sums, [m.0, m.1, m.2, m.3])) };
            to = to.wrapping_add(step);
        }
    }

    /// Rows of 8 sums to bytes, rows `step` apart.
    ///
    /// # Safety
    /// 8 multipliers; `output` has 8 bytes for each row.
    #[inline]
    #[target_feature(enable = "neon")]
    pub(in crate::isa) unsafe fn rows8<const WAY: u8, const R: usize>(
        &self,
        sums: &[[int32x4_t; 2]; R],
        multipliers: *const f32,
        output: *mut u8,
        step: usize,
    ) {
        // SAFETY: the caller's 8 multipliers.
        let m = unsafe { vld1q_f32_x2(multipliers) };
        let mut to = output;
        for pair in sums.chunks(2) {
            let (first, second) = (pair[0], pair[pair.len() - 1]);
            let bytes = self.narrow::<WAY>([first[0], first[1], second[0], second[1]], [m.0, m.1, m.0, m.1]);
            // SAFETY: the caller's 8 bytes of this row.
            unsafe { vst1_u8(to, vget_low_u8(bytes)) };
            if pair.len() == 2 {
                // SAFETY: the caller's 8 bytes of the next row.
                unsafe { vst1q_lane_u64::<1>(to.wrapping_add(step).cast(), vreinterpretq_u64_u8(bytes)) };
            }
            to = to.wrapping_add(2 * step);
        }
    }
}
