//! Tests on counts: few events, exactly; and whether two arms are as large as they should be.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::tail;

/// Probability, where the candidate's rate is at most `ratio` times that of the control, of at least so many of all events on the
/// candidate's side: the exact conditional test of two Poisson rates (Przyborowski and Wilenski, Biometrika 31 (1940) 313-323). Exposures are device-days.
#[must_use]
pub fn more_events(candidate: u64, control: u64, exposure: (f64, f64), ratio: f64) -> f64 {
    let (events, share) = (candidate + control, exposure.0 * ratio / (exposure.0 * ratio + exposure.1));
    if candidate == 0 || !(share > 0.0 && share < 1.0) {
        return 1.0;
    }
    // At least `candidate` of them: more than one fewer.
    Binomial::new(share, events).map_or(1.0, |binomial| binomial.sf(candidate - 1))
}

/// Probability, where devices fall into two arms in the proportion `split`, of counts at least as far from it: chi-square with one degree of
/// freedom. Below 0.001 something is wrong with the assignment, or one arm does not report.
#[must_use]
pub fn sample_ratio(treatment: f64, control: f64, split: (f64, f64)) -> f64 {
    let (n, whole) = (treatment + control, split.0 + split.1);
    let (expected_t, expected_c) = (n * split.0 / whole, n * split.1 / whole);
    if expected_t <= 0.0 || expected_c <= 0.0 {
        return 1.0;
    }
    let chi2 = (treatment - expected_t).powi(2) / expected_t + (control - expected_c).powi(2) / expected_c;
    2.0 * tail(chi2.sqrt())
}

/// Below this a sample ratio is a fault.
pub const SAMPLE_RATIO_ALPHA: f64 = 0.001;
