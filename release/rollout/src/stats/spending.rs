//! Spending functions: how much of the probability of a false alarm may be used up at a fraction of the time.

use super::{phi, upper_quantile};

/// The shape of a spending function. Source: K. K. G. Lan and D. L. DeMets, Discrete sequential boundaries for clinical trials,
/// Biometrika 70 (1983) 659-663.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spending {
    /// Evenly: early looks see large harm soon. Near the boundaries of Pocock 1977.
    Pocock,
    /// Nearly all of it at the end: early looks decide only what is beyond doubt. Near O'Brien and Fleming 1979.
    ObrienFleming,
}

impl Spending {
    /// Of `alpha`, what may be spent until the fraction `time` (0 to 1) of the whole.
    #[must_use]
    pub fn spent(self, alpha: f64, time: f64) -> f64 {
        let time = time.clamp(0.0, 1.0);
        if time == 0.0 || alpha <= 0.0 {
            return 0.0;
        }
        match self {
            Self::Pocock => alpha * (1.0 + (core::f64::consts::E - 1.0) * time).ln(),
            Self::ObrienFleming => 2.0 - 2.0 * phi(upper_quantile(alpha / 2.0) / time.sqrt()),
        }
    }
}
