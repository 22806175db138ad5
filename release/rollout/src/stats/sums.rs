//! Sums over device-days, and what follows from two of them.

use serde::{Deserialize, Serialize};

/// Number, sum and sum of squares of values: merged by adding, in any order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sums {
    /// Number of values.
    pub n: f64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sumsq: f64,
}

impl Sums {
    /// One value.
    pub fn add(&mut self, value: f64) {
        self.merge(Self { n: 1.0, sum: value, sumsq: value * value });
    }

    /// The values of both.
    pub fn merge(&mut self, other: Self) {
        self.n += other.n;
        self.sum += other.sum;
        self.sumsq += other.sumsq;
    }

    /// The mean; `None` of no values.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0.0).then(|| self.sum / self.n)
    }

    /// Sums of the same mean and variance over at most `n` values: what they are worth when values come in groups that resemble each other.
    #[must_use]
    pub fn worth(&self, n: f64) -> Self {
        match (self.mean(), self.variance()) {
            (Some(mean), Some(variance)) if n < self.n && n >= 2.0 => {
                Self { n, sum: mean * n, sumsq: variance * (n - 1.0) + n * mean * mean }
            }
            _ if n < self.n => Self::default(),
            _ => *self,
        }
    }

    /// The variance of one value, unbiased; `None` of fewer than two.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let mean = self.mean().filter(|_| self.n >= 2.0)?;
        Some(((self.sumsq - self.n * mean * mean) / (self.n - 1.0)).max(0.0))
    }

    /// The standard error of the mean, squared.
    #[must_use]
    pub fn error_squared(&self) -> Option<f64> {
        Some(self.variance()? / self.n)
    }
}

/// An estimate with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error, 0 where all values are equal.
    pub error: f64,
}

impl Estimate {
    /// How many standard errors it lies above 0. Where all values are equal there is no doubt: infinite, or 0.
    #[must_use]
    pub fn z(&self) -> f64 {
        if self.error > 0.0 {
            self.value / self.error
        } else if self.value == 0.0 {
            0.0
        } else {
            f64::INFINITY.copysign(self.value)
        }
    }

    /// The estimate of `a - factor * b - margin`, from independent values. `None` without two values of each.
    #[must_use]
    pub fn contrast(a: &Sums, b: &Sums, factor: f64, margin: f64) -> Option<Self> {
        let value = a.mean()? - factor * b.mean()? - margin;
        let error = (a.error_squared()? + factor * factor * b.error_squared()?).sqrt();
        Some(Self { value, error })
    }

    /// The estimate of `a - margin`.
    #[must_use]
    pub fn above(a: &Sums, margin: f64) -> Option<Self> {
        Some(Self { value: a.mean()? - margin, error: a.error_squared()?.sqrt() })
    }

    /// The estimate of `a / b - 1`, by the delta method. `None` where `b` has no mean above 0.
    #[must_use]
    pub fn relative(a: &Sums, b: &Sums) -> Option<Self> {
        let (mean_a, mean_b) = (a.mean()?, b.mean().filter(|mean| *mean > 0.0)?);
        let ratio = mean_a / mean_b;
        let error = (a.error_squared()? + ratio * ratio * b.error_squared()?).sqrt() / mean_b;
        Some(Self { value: ratio - 1.0, error })
    }
}
