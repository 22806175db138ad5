//! Welch's t-test: one look, at a time that was fixed before. Source: B. L. Welch, Biometrika 34 (1947) 28-35.

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::sums::Sums;

/// The two-sided p-value of equal means, and the degrees of freedom. `None` without two values of each, or without any spread.
#[must_use]
pub fn welch(a: &Sums, b: &Sums) -> Option<(f64, f64)> {
    let (va, vb) = (a.error_squared()?, b.error_squared()?);
    if va + vb == 0.0 {
        return None;
    }
    let t = (a.mean()? - b.mean()?) / (va + vb).sqrt();
    let freedom = (va + vb).powi(2) / (va * va / (a.n - 1.0) + vb * vb / (b.n - 1.0));
    let student = StudentsT::new(0.0, 1.0, freedom).ok()?;
    Some((2.0 * student.sf(t.abs()), freedom))
}
