//! A rollout policy: what a release manager writes, as numbers.
//!
//! It is read from YAML by [`read`](crate::read), which tells every problem with its line. Units of the fields: shares are basis points (hundredths of a percent),
//! times seconds, probabilities and relative changes fractions.

use std::collections::BTreeMap;

use fleetfoot_update::directive::{DeviceLimits, Network};
use serde::Serialize;

/// How one release reaches a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Identifier; it never changes its meaning.
    pub rollout: String,
    /// Name of the model.
    pub model: String,
    /// What the model is for, where a preset makes a difference: `recommendations`.
    pub kind: Option<String>,
    /// The preset that it began from.
    pub preset: Option<String>,
    /// Release number of the candidate.
    pub candidate: u64,
    /// Release number of what it is compared with and falls back to.
    pub baseline: u64,
    /// Which devices take part: fact to the values that it may have.
    pub selectors: BTreeMap<String, Vec<String>>,
    /// The stages in their order.
    pub stages: Vec<Stage>,
    /// What is watched throughout.
    pub guardrails: Vec<Guardrail>,
    /// What devices allow the candidate.
    pub device: DeviceLimits,
    /// When devices ask and fetch.
    pub network: Network,
}

/// One step of the ladder.
#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    /// The candidate runs beside the version that serves.
    Shadow {
        /// Share of the devices.
        percent_bp: u16,
        /// How long at least.
        bake_s: u64,
        /// Compared inferences that are needed.
        min_reports: u64,
        /// Share of answers that must agree, as a fraction.
        agreement: f64,
    },
    /// The candidate serves on a share.
    Canary {
        /// Share of the devices.
        percent_bp: u16,
        /// How long at least.
        bake_s: u64,
    },
    /// Two versions are compared by what people do with them.
    Ab {
        /// Share of the devices, both arms together.
        percent_bp: u16,
        /// Parts of treatment and control.
        split: (u16, u16),
        /// The longest time.
        max_s: u64,
        /// What is compared; more is better.
        metric: String,
        /// The smallest relative improvement that is worth a change.
        minimum_effect: f64,
    },
    /// To everybody.
    Full {
        /// Shares one after another; the last is 10 000.
        ramp_bp: Vec<u16>,
        /// How long each of them lasts.
        step_s: u64,
    },
}

/// A metric that must not get worse.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Guardrail {
    /// What is watched: a metric of the reports.
    pub metric: String,
    /// When it counts as worse.
    pub limit: Limit,
    /// What happens then.
    pub action: Action,
    /// Seconds between two looks.
    pub look_s: u64,
}

/// When a metric counts as worse, against the control arm of the same days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Higher than that of the control by more than this. Written `worse_by: 0.1%`.
    WorseBy(f64),
    /// More than so many times that of the control. Written `ratio: 2.0`.
    Ratio(f64),
    /// Lower than that of the control by more than this fraction. Written `drop: 5%`.
    Drop(f64),
    /// Above this, whatever the control does. Written `above: 100`.
    Above(f64),
}

/// What a gate does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nobody new until a person has looked; who has the candidate keeps it.
    Hold,
    /// As hold, and no more data is taken: a person decides.
    Halt,
    /// Back to the baseline.
    Rollback,
}

impl Stage {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Shadow { .. } => "shadow",
            Self::Canary { .. } => "canary",
            Self::Ab { .. } => "ab",
            Self::Full { .. } => "full",
        }
    }

    /// The largest share of devices on which the candidate serves in this stage, basis points.
    #[must_use]
    pub fn exposed_bp(&self) -> u16 {
        match self {
            Self::Shadow { .. } => 0,
            Self::Canary { percent_bp, .. } => *percent_bp,
            Self::Ab { percent_bp, split, .. } => {
                let parts = u32::from(split.0) + u32::from(split.1);
                u16::try_from(u32::from(*percent_bp) * u32::from(split.0) / parts.max(1)).unwrap_or(u16::MAX)
            }
            Self::Full { ramp_bp, .. } => ramp_bp.last().copied().unwrap_or(10_000),
        }
    }

    /// How long it lasts where nothing stops it, at most.
    #[must_use]
    pub fn lasts_s(&self) -> u64 {
        match self {
            Self::Shadow { bake_s, .. } | Self::Canary { bake_s, .. } => *bake_s,
            Self::Ab { max_s, .. } => *max_s,
            Self::Full { ramp_bp, step_s } => step_s.saturating_mul(ramp_bp.len() as u64),
        }
    }
}

impl Policy {
    /// The same policy with each share of a ramp as a stage of its own: every share is judged by the devices and the days that it has itself.
    #[must_use]
    pub fn laid_out(&self) -> Self {
        let one = |stage: &Stage| match stage {
            Stage::Full { ramp_bp, step_s } => {
                ramp_bp.iter().map(|&bp| Stage::Full { ramp_bp: vec![bp], step_s: *step_s }).collect()
            }
            other => vec![other.clone()],
        };
        Self { stages: self.stages.iter().flat_map(one).collect(), ..self.clone() }
    }

    /// The share that gets the candidate first, basis points, and the stage.
    #[must_use]
    pub fn first_exposure(&self) -> Option<(&Stage, u16)> {
        let first = self.stages.iter().find(|stage| stage.exposed_bp() > 0)?;
        let bp = match first {
            Stage::Full { ramp_bp, .. } => ramp_bp.first().copied().unwrap_or(10_000),
            other => other.exposed_bp(),
        };
        Some((first, bp))
    }
}
