//! From a histogram to a scale and a zero point.
//!
//! ```text
//! min-max      everything that was seen
//! percentile   all but 0.01% of the values, half of them at each end
//! entropy      the range whose 256 levels tell most of the distribution (Kullback-Leibler)
//! mse          the range whose rounding and clipping cost least energy
//! ```
//! A range always holds 0, which becomes an integer exactly.

use std::str::FromStr;

use crate::histogram::Histogram;

/// How ranges are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// Everything that was seen.
    MinMax,
    /// All but 0.01%.
    Percentile,
    /// Least divergence.
    Entropy,
    /// Least squares.
    #[default]
    Mse,
}

impl Method {
    /// Its name, as [`FromStr`] reads it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MinMax => "minmax",
            Self::Percentile => "percentile",
            Self::Entropy => "entropy",
            Self::Mse => "mse",
        }
    }
}

impl FromStr for Method {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "minmax" => Ok(Self::MinMax),
            "percentile" => Ok(Self::Percentile),
            "entropy" => Ok(Self::Entropy),
            "mse" => Ok(Self::Mse),
            _ => Err("one of minmax, percentile, entropy, mse"),
        }
    }
}

/// `real = (q - zero_point) * scale` for int8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Real {
    pub(crate) scale: f32,
    pub(crate) zero_point: i32,
}

impl Real {
    /// The quantization whose 256 levels span `low..=high` and 0.
    pub(crate) fn spanning(low: f64, high: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let scale = ((high - low) / 255.0) as f32;
        if !(scale.is_normal() && (1.0 / scale).is_finite()) {
            return Self { scale: 1.0 / 256.0, zero_point: if low < 0.0 { 127 } else { -128 } };
        }
        let zero_point = (-128.0 - low / f64::from(scale)).round_ties_even().clamp(-128.0, 127.0) as i32;
        Self { scale, zero_point }
    }

    /// The nearest level.
    pub(crate) fn quantize(self, value: f32) -> i8 {
        let v = (value * (1.0 / self.scale)).round_ties_even() + self.zero_point as f32;
        v.clamp(-128.0, 127.0) as i8
    }

    /// What a level stands for.
    pub(crate) fn real(self, q: i8) -> f32 {
        (i32::from(q) - self.zero_point) as f32 * self.scale
    }
}

/// The largest share of the values that *entropy* clips: of few samples, or many zeros, divergence alone would clip far more.
const MOST_CLIPPED: f64 = 1e-3;
/// How often an end of the range is moved in the search.
const STEPS: usize = 64;
/// `20^(-1/64)`.
const STEP: f64 = 0.954_270_297_669_237_5;

/// The quantization of a value with this histogram.
pub(crate) fn choose(histogram: &Histogram, method: Method) -> Real {
    let (low, high) = (f64::from(histogram.min).min(0.0), f64::from(histogram.max).max(0.0));
    let (low, high) = match method {
        Method::MinMax => (low, high),
        Method::Percentile => percentile(histogram, low, high),
        Method::Entropy => search(low, high, |low, high| divergence(histogram, low, high)),
        Method::Mse => search(low, high, |low, high| energy(histogram, low, high)),
    };
    Real::spanning(low, high)
}

fn percentile(histogram: &Histogram, low: f64, high: f64) -> (f64, f64) {
    let outside = histogram.count() / 20_000;
    let end = |cells: &mut dyn Iterator<Item = (f64, u64)>, extreme: f64| {
        let mut seen = 0;
        for (x, count) in cells {
            seen += count;
            if seen > outside {
                return x;
            }
        }
        extreme
    };
    (end(&mut histogram.cells(), low).min(0.0), end(&mut histogram.cells().rev(), high).max(0.0))
}

/// The range within `low..=high` with the least `cost`: one end is moved, then the other, then the first again.
fn search(low: f64, high: f64, cost: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let mut best = (low, high, cost(low, high));
    for round in 0..3 {
        let mut part = 1.0;
        for _ in 1..STEPS {
            // From everything down to a twentieth: finer near the whole range. A product gives the same bits everywhere,
            // which a power need not.
            part *= STEP;
            let (low, high) = if round % 2 == 0 { (best.0, high * part) } else { (low * part, best.1) };
            if high - low <= 0.0 {
                continue;
            }
            let cost = cost(low, high);
            if cost < best.2 {
                best = (low, high, cost);
            }
        }
    }
    (best.0, best.1)
}

/// Energy of what rounding and clipping change.
fn energy(histogram: &Histogram, low: f64, high: f64) -> f64 {
    let real = Real::spanning(low, high);
    let (scale, zero) = (f64::from(real.scale), f64::from(real.zero_point));
    let error = |(x, count): (f64, u64)| {
        let q = ((x / scale).round_ties_even() + zero).clamp(-128.0, 127.0);
        let difference = (q - zero) * scale - x;
        difference * difference * count as f64
    };
    histogram.cells().map(error).sum()
}

/// Kullback-Leibler divergence of the distribution over 256 levels from the distribution over cells.
fn divergence(histogram: &Histogram, low: f64, high: f64) -> f64 {
    let real = Real::spanning(low, high);
    let (scale, zero) = (f64::from(real.scale), f64::from(real.zero_point));
    let level = |x: f64| ((x / scale).round_ties_even() + zero).clamp(-128.0, 127.0) as i64 + 128;
    let inside = |x: f64| x >= low && x <= high;
    // The reference has what is clipped at its ends; the levels have only what lies inside, spread over their cells.
    let (mut mass, mut cells) = ([0f64; 256], [0f64; 256]);
    for (x, count) in histogram.cells().filter(|&(x, _)| inside(x)) {
        mass[level(x) as usize] += count as f64;
        cells[level(x) as usize] += 1.0;
    }
    let (total, kept) = (histogram.count() as f64, mass.iter().sum::<f64>());
    if kept == 0.0 {
        return f64::INFINITY;
    }
    let below: f64 = histogram.cells().filter(|&(x, _)| x < low).map(|(_, n)| n as f64).sum();
    let above: f64 = histogram.cells().filter(|&(x, _)| x > high).map(|(_, n)| n as f64).sum();
    if below + above > total * MOST_CLIPPED {
        return f64::INFINITY;
    }
    let first = histogram.cells().find(|&(x, _)| inside(x)).map(|(x, _)| x);
    let last = histogram.cells().rfind(|&(x, _)| inside(x)).map(|(x, _)| x);
    let term = |(x, count): (f64, u64)| {
        let mut p = count as f64;
        if Some(x) == first {
            p += below;
        }
        if Some(x) == last {
            p += above;
        }
        let q = mass[level(x) as usize] / cells[level(x) as usize];
        p / total * libm::log((p / total) / (q / kept))
    };
    histogram.cells().filter(|&(x, _)| inside(x)).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::{Method, Real, choose};
    use crate::histogram::Histogram;

    fn normal(n: usize) -> Vec<f32> {
        // The sum of twelve uniform numbers, from a generator with a fixed seed.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 40) as f32 / (1 << 24) as f32
        };
        (0..n).map(|_| (0..12).map(|_| next()).sum::<f32>() - 6.0).collect()
    }

    fn sqnr_db(values: &[f32], real: Real) -> f64 {
        let noise: f64 = values.iter().map(|&v| f64::from(v - real.real(real.quantize(v))).powi(2)).sum();
        10.0 * (values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / noise).log10()
    }

    #[test]
    fn zero_is_an_integer_and_the_range_is_covered() {
        for (low, high) in
            [(0.0, 6.0), (-1.0, 1.0), (-3.0, 0.0), (2.0, 5.0), (0.0, 0.0), (-1e-30, 1e-30), (-0.1, 200.0)]
        {
            let real = Real::spanning(low, high);
            assert_eq!(real.real(real.quantize(0.0)), 0.0);
            let span = f64::from(real.real(127)) - f64::from(real.real(-128));
            assert!(span >= (high.max(0.0) - low.min(0.0)) * 0.999, "{low} {high}: {real:?}");
        }
    }

    #[test]
    fn an_outlier_does_not_cost_everyone() {
        let clean = normal(100_000);
        let mut values = clean.clone();
        values.push(120.0);
        let mut histogram = Histogram::default();
        histogram.add(&values);
        let of = |method| sqnr_db(&clean, choose(&histogram, method));
        let (minmax, mse, entropy, percentile) =
            (of(Method::MinMax), of(Method::Mse), of(Method::Entropy), of(Method::Percentile));
        assert!(percentile > minmax + 6.0, "{percentile} {minmax}");
        assert!(entropy > minmax + 6.0, "{entropy} {minmax}");
        assert!(mse > minmax + 1.0, "{mse} {minmax}");
    }
}
