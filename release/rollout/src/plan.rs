//! What a policy will do to a fleet, and what it could notice: worked out before anything happens.

use core::fmt::Write as _;

use serde::Serialize;

use crate::{
    gates::{ALPHA, CRASH_RATE, ENOUGH, limit_text, watched},
    policy::{Limit, Policy, Stage},
    simulate::exposure,
    stats::{
        sequential::{bounds, crossed},
        spending::Spending,
    },
    units::duration_text,
};

/// The fleet that a plan is made for.
#[derive(Clone, Copy, Debug)]
pub struct Fleet {
    /// Devices that match.
    pub devices: u64,
    /// Bytes of the candidate's bundle.
    pub bundle_bytes: u64,
    /// Inferences of a device on a day; they decide how exactly a day knows a rate.
    pub inferences_per_day: f64,
}

/// What one stage does.
#[derive(Clone, Debug, Serialize)]
pub struct StagePlan {
    /// Its name.
    pub stage: &'static str,
    /// When it begins and ends at the earliest, days.
    pub days: (f64, f64),
    /// Devices on which the candidate serves at its end.
    pub exposed_devices: u64,
    /// Devices that are compared with them.
    pub control_devices: u64,
    /// Bytes that go out in it.
    pub bytes: u64,
    /// What each guardrail could notice.
    pub power: Vec<Power>,
}

/// What a guardrail could notice in a stage.
#[derive(Clone, Debug, Serialize)]
pub struct Power {
    /// The metric.
    pub metric: String,
    /// Its limit, as written.
    pub limit: String,
    /// The smallest true value beyond the limit that is found with a probability of 80%, in the unit of the metric. `None`: there is never enough data.
    pub smallest_seen: Option<f64>,
    /// In words.
    pub text: String,
}

/// A plan.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The rollout.
    pub rollout: String,
    /// Devices of the fleet.
    pub devices: u64,
    /// Its stages.
    pub stages: Vec<StagePlan>,
    /// What a person should know before saying yes.
    pub warnings: Vec<String>,
}

/// Works out what `policy` does to `fleet`.
#[must_use]
pub fn plan(policy: &Policy, fleet: Fleet) -> Plan {
    let policy = &policy.laid_out();
    let devices_of = |bp: u16| (fleet.devices as f64 * f64::from(bp) / 10_000.0).round() as u64;
    let mut guardrails = watched(policy);
    guardrails.retain(|guardrail| guardrail.metric != CRASH_RATE);
    let n_stages = policy.stages.iter().filter(|stage| stage.exposed_bp() > 0).count().max(1);
    let alpha = ALPHA / (n_stages * (guardrails.len() + 1)) as f64;
    let (mut from, mut before, mut stages, mut warnings) = (0.0, 0, Vec::new(), Vec::new());
    for stage in &policy.stages {
        let lasts = stage.lasts_s() as f64 / 86_400.0;
        let fetching = match stage {
            Stage::Shadow { percent_bp, .. } => devices_of(*percent_bp),
            _ => devices_of(stage.exposed_bp()),
        };
        let exposed_devices = devices_of(stage.exposed_bp());
        let (treated_bp, control_bp) = exposure(stage).shares();
        let control_devices = if fetches_only(stage) { 0 } else { devices_of(control_bp) };
        let compared = if fetches_only(stage) { 0 } else { devices_of(treated_bp) };
        let power = match stage {
            Stage::Shadow { .. } => Vec::new(),
            _ if control_devices == 0 => Vec::new(),
            _ => guardrails
                .iter()
                .map(|g| {
                    let looks = (stage.lasts_s() / g.look_s).max(1);
                    power(&g.metric, g.limit, compared, control_devices, lasts, looks, alpha, fleet)
                })
                .collect(),
        };
        for power in &power {
            if power.smallest_seen.is_none() && control_devices > 0 {
                warnings.push(format!("{} for {}: {}", stage.name(), duration_text(stage.lasts_s()), power.text));
            }
        }
        if control_devices == 0 && !fetches_only(stage) {
            warnings.push(format!(
                "{} {}%: everybody left has the candidate; only fallbacks, crashes and absolute limits are watched",
                stage.name(),
                f64::from(stage.exposed_bp()) / 100.0
            ));
        }
        let bytes = fetching.saturating_sub(before).saturating_mul(fleet.bundle_bytes);
        before = before.max(fetching);
        stages.push(StagePlan {
            stage: stage.name(),
            days: (from, from + lasts),
            exposed_devices,
            control_devices,
            bytes,
            power,
        });
        from += lasts;
    }
    if let Some((first, bp)) = policy.first_exposure().filter(|(_, bp)| *bp > 500) {
        warnings.push(format!(
            "the first exposure ({}) is {}% of the devices at once: {} of them; above 5% needs a reason",
            first.name(),
            f64::from(bp) / 100.0,
            devices_of(bp)
        ));
    }
    Plan { rollout: policy.rollout.clone(), devices: fleet.devices, stages, warnings }
}

/// Whether nobody gets answers of the candidate in this stage.
const fn fetches_only(stage: &Stage) -> bool {
    matches!(stage, Stage::Shadow { .. })
}

/// What is assumed of a metric where nothing is known yet: its level, and its spread from device-day to device-day.
fn assumed(metric: &str, fleet: Fleet) -> (f64, f64) {
    let rate = |p: f64| (p, (p * (1.0 - p) / fleet.inferences_per_day.max(1.0)).sqrt());
    match metric {
        "error_rate" => rate(0.005),
        // A device falls back once or not at all.
        "fallback_rate" => (0.0, (0.002f64 * 0.998).sqrt()),
        "latency_ms" => (10.0, 3.0),
        _ if metric.ends_with("_rate") => rate(0.002),
        _ => (1.0, 0.5),
    }
}

#[allow(clippy::too_many_arguments)]
fn power(
    metric: &str,
    limit: Limit,
    treated: u64,
    control: u64,
    days: f64,
    looks: u64,
    alpha: f64,
    fleet: Fleet,
) -> Power {
    let (level, spread) = assumed(metric, fleet);
    // Days of one device resemble each other: at the worst a device is worth one value, however long the stage.
    let (nt, nc) = (treated as f64, control as f64);
    let error = match limit {
        Limit::Above(_) => spread / nt.sqrt(),
        Limit::Ratio(ratio) => spread * (1.0 / nt + ratio * ratio / nc).sqrt(),
        _ => spread * (1.0 / nt + 1.0 / nc).sqrt(),
    };
    let allowed = limit_text(limit);
    if nt < ENOUGH || (nc < ENOUGH && !matches!(limit, Limit::Above(_))) {
        let text = format!(
            "{treated} devices and {control} of control in {days:.1} days cannot decide about {metric} ({allowed}): {ENOUGH} devices of each are the least"
        );
        return Power { metric: metric.into(), limit: allowed, smallest_seen: None, text };
    }
    let times: Vec<f64> = (1..=looks.min(60)).map(|k| k as f64 / looks.min(60) as f64).collect();
    let bounds = bounds(Spending::Pocock, alpha, &times);
    let (mut low, mut high) = (0.0, 20.0);
    for _ in 0..30 {
        let middle = f64::midpoint(low, high);
        if crossed(&times, &bounds, middle).last().is_some_and(|p| *p < 0.8) { low = middle } else { high = middle }
    }
    let smallest = high * error;
    let (at, unit) = match limit {
        Limit::WorseBy(margin) => (margin + smallest, "above the control"),
        Limit::Ratio(ratio) => (ratio * level + smallest, "where the control is as assumed"),
        Limit::Drop(drop) => (drop * level + smallest, "below the control"),
        Limit::Above(most) => (most + smallest, "in all"),
    };
    let mut text = format!("{treated} devices in {days:.1} days see {metric} from {at:.4} {unit} (4 times of 5)");
    let _ = write!(text, "; assumed are a level of {level} and a spread of {spread:.4} from device-day to device-day");
    Power { metric: metric.into(), limit: allowed, smallest_seen: Some(at), text }
}
