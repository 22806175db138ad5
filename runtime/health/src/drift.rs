//! Do inputs and outputs still look like those of the baseline? The population stability index.
//!
//! ```text
//! PSI = sum over bins of (p - q) ln(p / q)        p: share now, q: share in the baseline
//! ```
//! Half a value is added to every bin, so that an empty bin is rare and not impossible. By the usual rule below 0.1 is noise, from 0.1 on worth a
//! look, from 0.25 on another population. Of few values noise alone would make it large: its expectation is about
//! 15 (1/n + 1/m), so below [`MIN_VALUES`] there is no verdict.

use fleetfoot_format::baseline::{SKETCH_BINS, TensorSketch};

use crate::sketch::Sketch;

/// PSI from which a change is worth a look.
pub const MODERATE: f32 = 0.1;
/// PSI from which it is another population.
pub const SHIFTED: f32 = 0.25;
/// Values, now and in the baseline, below which there is no verdict.
pub const MIN_VALUES: u64 = 1000;

/// The verdict over one tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Drift {
    /// Too few values for a verdict. Not a pass.
    TooFew,
    /// Below [`MODERATE`].
    Stable(f32),
    /// From [`MODERATE`] on.
    Moderate(f32),
    /// From [`SHIFTED`] on.
    Shifted(f32),
}

impl Drift {
    /// Holds what was counted against the baseline of the tensor.
    #[must_use]
    pub fn of(now: &Sketch, baseline: &TensorSketch) -> Self {
        let base = Sketch { bins: baseline.bins };
        if now.total() < MIN_VALUES || base.total() < MIN_VALUES {
            return Self::TooFew;
        }
        match psi(now, &base) {
            psi if psi >= SHIFTED => Self::Shifted(psi),
            psi if psi >= MODERATE => Self::Moderate(psi),
            psi => Self::Stable(psi),
        }
    }

    /// The index in thousandths, as reports carry it. `None` where there is no verdict.
    #[must_use]
    pub fn milli(self) -> Option<u16> {
        match self {
            Self::TooFew => None,
            Self::Stable(psi) | Self::Moderate(psi) | Self::Shifted(psi) => Some((psi * 1000.0 + 0.5) as u16),
        }
    }
}

/// The index of two sketches: 0 for the same shares, symmetric.
#[must_use]
pub fn psi(now: &Sketch, base: &Sketch) -> f32 {
    let share = |sketch: &Sketch, n: u32| (n as f32 + 0.5) / (sketch.total() as f32 + 0.5 * SKETCH_BINS as f32);
    let one = |(&now_n, &base_n): (&u32, &u32)| {
        let (p, q) = (share(now, now_n), share(base, base_n));
        (p - q) * ln(p / q)
    };
    now.bins.iter().zip(&base.bins).map(one).sum::<f32>().max(0.0)
}

/// Natural logarithm of a normal positive number: exponent, and the series of artanh for what is left (within 1e-6).
fn ln(x: f32) -> f32 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 23) as i32 - 127;
    let mut m = f32::from_bits(bits & 0x007f_ffff | 0x3f80_0000);
    if m > core::f32::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square * (1.0 / 7.0 + square / 9.0)));
    exponent as f32 * core::f32::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::Random;

    /// A bell of four dice around `middle`, in steps of int8.
    fn stream(seed: u64, n: u64, middle: i64, spread: u64) -> Sketch {
        let (mut random, mut sketch) = (Random(seed), Sketch::default());
        for _ in 0..n {
            let dice: u64 = (0..4).map(|_| random.below(spread)).sum();
            let value = middle + dice as i64 - 2 * spread as i64;
            sketch.record_int8(value.clamp(-128, 127) as i8);
        }
        sketch
    }

    fn check(now: &Sketch, base: &Sketch, expected: fn(Drift) -> bool) {
        let baseline = TensorSketch { lo: -128.0, hi: 127.0, bins: base.bins };
        let found = Drift::of(now, &baseline);
        assert!(expected(found), "{found:?}");
        let mut exact = 0.0;
        for (&p, &q) in now.bins.iter().zip(&base.bins) {
            let p = (f64::from(p) + 0.5) / (now.total() as f64 + 8.0);
            let q = (f64::from(q) + 0.5) / (base.total() as f64 + 8.0);
            exact += (p - q) * (p / q).ln();
        }
        let psi = psi(now, base);
        assert!((f64::from(psi) - exact).abs() < 1e-4 * (1.0 + exact), "{psi} is {exact}");
    }

    #[test]
    fn shifted_and_unshifted_streams() {
        let base = stream(1, 20_000, 0, 50);
        for seed in 2..40 {
            for n in [1000, 5000, 50_000] {
                check(&stream(seed, n, 0, 50), &base, |d| matches!(d, Drift::Stable(_)));
                check(&stream(seed, n, 60, 50), &base, |d| matches!(d, Drift::Shifted(_)));
                check(&stream(seed, n, 0, 15), &base, |d| matches!(d, Drift::Shifted(_)));
            }
            check(&stream(seed, 50_000, 12, 50), &base, |d| matches!(d, Drift::Moderate(_)));
            check(&stream(seed, 999, 60, 50), &base, |d| d == Drift::TooFew);
        }
        check(&base, &stream(1, 999, 0, 50), |d| d == Drift::TooFew);
        check(&Sketch::default(), &base, |d| d == Drift::TooFew);
        let (mut first, mut last) = (Sketch::default(), Sketch::default());
        (first.bins[0], last.bins[15]) = (u32::MAX, u32::MAX);
        check(&first, &last, |d| matches!(d, Drift::Shifted(psi) if psi > 20.0) && d.milli() > Some(20_000));
    }

    #[test]
    fn logarithm() {
        for i in 1..20_000u32 {
            let x = (i as f32 - 9_999.5).abs() * 1e-3 + 1e-7;
            for x in [x, 1.0 / x] {
                assert!((f64::from(ln(x)) - f64::from(x).ln()).abs() < 2e-6, "{x}");
            }
        }
        assert_eq!(ln(1.0).to_bits(), 0);
    }
}
