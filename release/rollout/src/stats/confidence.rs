//! A confidence interval that holds at all times at once: for watching without an end.
//!
//! Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, Time-uniform central limit theory and asymptotic confidence
//! sequences, arXiv 2103.06476: theorem 2.2 (two-sided) and its one-sided form.

/// Half of the width, in standard deviations of one value, of the interval around a mean of `n` values that is right at all `n` at
/// once with probability 1 - `alpha`. It is narrowest around `n_best` values.
#[must_use]
pub fn half_width(n: f64, alpha: f64, n_best: f64) -> f64 {
    let rho2 = (-2.0 * alpha.ln() + (-2.0 * alpha.ln() + 1.0).ln()) / n_best;
    let x = n * rho2 + 1.0;
    (2.0 * x / (n * n * rho2) * (x.sqrt() / alpha).ln()).sqrt()
}

/// The same where only one end is of interest.
#[must_use]
pub fn one_sided(n: f64, alpha: f64, n_best: f64) -> f64 {
    let rho2 = (-2.0 * (2.0 * alpha).ln() + (-2.0 * (2.0 * alpha).ln() + 1.0).ln()) / n_best;
    let x = n * rho2 + 1.0;
    (2.0 * x / (n * n * rho2) * (1.0 + x.sqrt() / (2.0 * alpha)).ln()).sqrt()
}
