//! Rounding, defined once for the fast kernels: accumulator to byte in five steps that every instruction set has.
//!
//! The float is limited before it is rounded, so `|v| < 2^22`, and adding 1.5 * 2^23 leaves the integer, rounded half to
//! even, in the low bits of the sum. No rounding instruction is needed and compilers turn the loop into vectors.

/// Limits of an output, relative to its zero point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Lowest value before the zero point is added.
    pub(crate) lo: f32,
    /// Highest value before the zero point is added.
    pub(crate) hi: f32,
    /// Added after rounding.
    pub(crate) zero_point: i32,
}

impl Limits {
    /// Limits `lo..=hi` around `zero_point`, all in `-128..=255`.
    #[inline(always)]
    pub(crate) fn new(lo: i32, hi: i32, zero_point: i32) -> Self {
        Self { lo: lo.wrapping_sub(zero_point) as f32, hi: hi.wrapping_sub(zero_point) as f32, zero_point }
    }

    /// `rne(f32(acc) * multiplier) + zero_point` within the limits; the low byte.
    #[inline(always)]
    pub(crate) fn requantize(self, acc: i32, multiplier: f32) -> u8 {
        self.round(acc as f32 * multiplier)
    }

    /// `rne(v) + zero_point` within the limits; the low byte.
    #[inline(always)]
    pub(crate) fn round(self, v: f32) -> u8 {
        // Comparisons, not `max` and `min`: not a number becomes `lo` on every instruction set.
        let v = if v > self.lo { v } else { self.lo };
        let v = if v < self.hi { v } else { self.hi };
        ((v + MAGIC).to_bits() as i32).wrapping_sub(MAGIC.to_bits() as i32).wrapping_add(self.zero_point) as u8
    }
}

const MAGIC: f32 = 12_582_912.0;

#[cfg(test)]
mod tests {
    use super::Limits;
    use crate::reference;

    /// The definition in `f64` and integers: the product is exact in `f64`, its rounding to `f32` is the conversion, and
    /// ties are found with whole halves.
    fn independent(acc: i32, multiplier: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
        let acc = {
            // i32 to 24 significant bits, half to even.
            let (sign, mut m, mut e) = (i64::from(acc).signum(), i64::from(acc).abs(), 0);
            while m >= 1 << 24 {
                e += 1;
                m = i64::from(acc).abs() >> e;
            }
            let rest = i64::from(acc).abs() - (m << e);
            let half = if e == 0 { i64::MAX } else { 1 << (e - 1) };
            sign * ((m + i64::from(rest > half || (rest == half && m % 2 == 1))) << e)
        };
        let v = f64::from((acc as f64 * f64::from(multiplier)) as f32);
        let floor = v.floor();
        let q = match (v - floor).partial_cmp(&0.5) {
            Some(core::cmp::Ordering::Less) => floor,
            Some(core::cmp::Ordering::Equal) if floor % 2.0 == 0.0 => floor,
            _ => floor + 1.0,
        };
        ((q as i64).saturating_add(i64::from(zero_point))).clamp(i64::from(lo), i64::from(hi)) as i32
    }

    #[test]
    fn equals_the_independent_formulation() {
        let mut seed = 7u32;
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed >> 8
        };
        let check = |acc: i32, m: f32| {
            for (zero_point, lo, hi) in [(0, -128, 127), (-128, -128, 127), (127, -5, 127), (0, 0, 255), (255, 17, 255)]
            {
                let want = independent(acc, m, zero_point, lo, hi);
                assert_eq!(reference::requantize(acc, m, zero_point, lo, hi), want, "{acc} * {m:e} + {zero_point}");
                let fast = Limits::new(lo, hi, zero_point).requantize(acc, m);
                assert_eq!(fast, want as u8, "{acc} * {m:e} + {zero_point}");
            }
        };
        // Exact ties and their neighbours.
        for shift in 1..20 {
            let m = 1.0 / (1u32 << shift) as f32;
            for whole in -130..130 {
                for near in -1..=1 {
                    check((whole << shift) + (1 << (shift - 1)) + near, m);
                }
            }
        }
        // Multipliers for which some accumulator lands within a few units of a tie.
        for _ in 0..20_000 {
            let m = f32::from_bits((next() & 0x7f_ffff) | (0x38 << 23) | ((next() & 7) << 23));
            let target = (next() % 512) as f32 - 256.5;
            let acc = (f64::from(target) / f64::from(m)) as i32;
            for near in -2..=2 {
                check(acc.wrapping_add(near), m);
            }
        }
        for acc in [i32::MIN, i32::MIN + 1, -1, 0, 1, (1 << 24) + 1, (1 << 25) + 2, i32::MAX - 64, i32::MAX] {
            for m in [1e-30, 1.0e-9, 5.9e-8, 0.25, 1.0, 255.9] {
                check(acc, m);
            }
        }
    }
}
