//! Statistics of a rollout: what may be concluded from sums over device-days, looked at every day.
//!
//! ```text
//! sums         n, sum, sum of squares: merged by adding; means, variances, differences, ratios
//! spending     how much of the error probability may be used up until a look      Lan and DeMets 1983
//! sequential   the boundaries that follow from it, by recursive integration        Armitage, McPherson and Rowe 1969
//! ab           better, worse, or no difference                                    O'Brien and Fleming 1979, in Lan and DeMets' form
//! confidence   an interval that may be looked at for ever                          Waudby-Smith et al., arXiv 2103.06476
//! counts       exact test for few events; sample-ratio check
//! welch        one look at a fixed time                                           Welch 1947
//! ```
//! The unit is the device-day: one mean per device and day. Inferences of one device are not independent, nor are its days; devices are, so
//! sums are taken at what as many values as there are devices are worth ([`sums::Sums::worth`]).
//! Distributions come from the crate `statrs`; `tests/statistics.rs` holds boundaries against published tables and against simulation.

pub mod ab;
pub mod confidence;
pub mod counts;
pub mod sequential;
pub mod spending;
pub mod sums;
pub mod welch;

use statrs::distribution::{ContinuousCDF, Normal};

/// The distribution function of the standard normal distribution.
#[must_use]
pub fn phi(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// 1 - [`phi`], exact far out.
#[must_use]
pub fn tail(z: f64) -> f64 {
    Normal::standard().sf(z)
}

/// The value that is exceeded with probability `p`, 0 < p < 1.
#[must_use]
pub fn upper_quantile(p: f64) -> f64 {
    -Normal::standard().inverse_cdf(p)
}
