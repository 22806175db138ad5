//! The verdict of an A/B comparison: better, worse, or no difference that would be worth a change.

use serde::Serialize;

use super::sums::Estimate;

/// What an A/B comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The candidate is better: it wins.
    Better,
    /// The candidate is worse: back to the baseline.
    Worse,
    /// The time is over and nothing was shown: the current version stays.
    NoDifference,
    /// Not yet.
    Open,
}

/// The error probability of one side: both ends are watched.
#[must_use]
pub fn one_side(alpha: f64) -> f64 {
    alpha / 2.0
}

/// The verdict of one look. `effect` is how much better the candidate is, in any unit, `None` where there is no data: that is no look, and at the
/// end of the time no difference. `bound` is the boundary of the looks so far with [`Spending::ObrienFleming`](super::spending::Spending::ObrienFleming) and [`one_side`]. A candidate wins only with
/// an estimate of at least `minimum_effect`, whatever else is proved.
#[must_use]
pub fn verdict(effect: Option<Estimate>, bound: f64, minimum_effect: f64, over: bool) -> Verdict {
    let at_last = if over { Verdict::NoDifference } else { Verdict::Open };
    match effect {
        Some(effect) if effect.z() >= bound && effect.value >= minimum_effect => Verdict::Better,
        Some(effect) if effect.z() <= -bound => Verdict::Worse,
        _ => at_last,
    }
}
