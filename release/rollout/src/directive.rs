//! What devices are told in a stage: the directive of `docs/formats.md`, but for what only the repository knows (hashes, attempts, the model).
//!
//! | state of a rollout | stage | share |
//! |---|---|---|
//! | a stage goes on | its own | its own |
//! | held, halted | `hold`: nobody new, who has the candidate keeps it | 0 |
//! | failed, aborted, or kept what there was | `abort`: who has the candidate goes back | 0 |
//! | rolled back after everybody had it | `revert`: whoever is above the baseline goes back | 0 |

use std::collections::BTreeMap;

use serde::Serialize;

use crate::policy::{Policy, Stage};

/// Share of its inferences that a device runs twice in the stage shadow, basis points.
const SHADOW_SHARE_BP: u16 = 2_000;
/// Comparisons after which a device judges for itself.
const SHADOW_COMPARED: u32 = 50;

/// A directive as it is written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    rollout: String,
    candidate: Number,
    baseline: Number,
    stage: &'static str,
    exposed_bp: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<(u16, u16)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<Compare>,
    #[serde(rename = "match", skip_serializing_if = "BTreeMap::is_empty")]
    selectors: BTreeMap<String, Values>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    device: BTreeMap<&'static str, u32>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    network: BTreeMap<&'static str, Setting>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Number {
    number: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Compare {
    share_bp: u16,
    agreement_bp: u16,
    min_compared: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Values {
    /// A range of runtimes is one text.
    Range(String),
    Any(Vec<String>),
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
enum Setting {
    Seconds(u32),
    Flag(bool),
    Window(String),
}

/// How a rollout stands still, or goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Nobody new; who has the candidate keeps it.
    Hold,
    /// Who has the candidate goes back to the baseline.
    Abort,
    /// Whoever is above the baseline goes back to it.
    Revert,
}

impl Said {
    /// The directive of `stage`. Of a ramp the first share counts: see [`Policy::laid_out`].
    #[must_use]
    pub fn stage(policy: &Policy, stage: &Stage) -> Self {
        let base = Self::with(policy, stage.name(), stage.exposed_bp());
        match stage {
            Stage::Shadow { percent_bp, agreement, .. } => {
                // It fits: an agreement is at most 1. How many comparisons the fleet needs is the gate's affair; a device judges for itself after a few.
                let agreement_bp = (agreement * 10_000.0).round() as u16;
                let shadow = Compare { share_bp: SHADOW_SHARE_BP, agreement_bp, min_compared: SHADOW_COMPARED };
                Self { exposed_bp: *percent_bp, shadow: Some(shadow), ..base }
            }
            Stage::Canary { .. } => base,
            Stage::Ab { percent_bp, split, .. } => Self { exposed_bp: *percent_bp, split: Some(*split), ..base },
            Stage::Full { ramp_bp, .. } => Self { exposed_bp: ramp_bp.first().copied().unwrap_or(10_000), ..base },
        }
    }

    /// The directive of a rollout that stands still or goes back.
    #[must_use]
    pub fn stop(policy: &Policy, stop: Stop) -> Self {
        let name = match stop {
            Stop::Hold => "hold",
            Stop::Abort => "abort",
            Stop::Revert => "revert",
        };
        Self::with(policy, name, 0)
    }

    fn with(policy: &Policy, stage: &'static str, exposed_bp: u16) -> Self {
        let values = |(fact, values): (&String, &Vec<String>)| {
            let values = if fact == "runtime" { Values::Range(values.join(",")) } else { Values::Any(values.clone()) };
            (fact.clone(), values)
        };
        let (device, network) = (&policy.device, &policy.network);
        let limits = [
            ("attempts", device.attempts.map(u32::from)),
            ("health_window_s", device.health_window_s),
            ("min_inferences", device.min_inferences),
            ("keep", device.keep.map(u32::from)),
        ];
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let settings = [
            ("poll_s", network.poll_s.map(Setting::Seconds)),
            ("poll_active_s", network.poll_active_s.map(Setting::Seconds)),
            ("apply_jitter_s", network.apply_jitter_s.map(Setting::Seconds)),
            ("metered", network.metered.map(Setting::Flag)),
            ("window", network.window.map(|(from, to)| Setting::Window(format!("{}-{}", time(from), time(to))))),
        ];
        Self {
            rollout: policy.rollout.clone(),
            candidate: Number { number: policy.candidate },
            baseline: Number { number: policy.baseline },
            stage,
            exposed_bp,
            split: None,
            shadow: None,
            selectors: policy.selectors.iter().map(values).collect(),
            device: limits.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            network: settings.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        }
    }
}
