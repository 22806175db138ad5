//! From sums to a look: what the gates are shown of a stage.
//!
//! - Devices have a new nonce every day, so days cannot be joined. The devices of an arm are those of its best day, the same day for both arms:
//!   never more than there are. That an arm is no larger than it should be is asked of each of its days.
//! - What is compared is what was reported since the step began; late reports of earlier days belong to earlier steps (`store/fold.rs`).
//! - Where there is no control, only what stands for itself is shown: local fallbacks and absolute limits.
//! - The arms should be as large as their shares of the fleet that was planned for: what is far beyond is not believed.

use std::collections::BTreeMap;

use fleetfoot_format::report::Arm;
use fleetfoot_rollout::{
    Policy,
    gates::{self, CRASH_RATE, FALLBACK_RATE, Look, Side},
    policy::{Guardrail, Limit, Stage},
    simulate::exposure,
    stats::sums::Sums,
};

use crate::{
    error::ControlError,
    groups::{Group, GroupKey, MetricName, unit_of},
};

/// Everything that a policy looks at, by the number of its value.
///
/// # Errors
/// [`ControlError::NotMeasured`] for a metric that no report carries.
pub(crate) fn metrics(policy: &Policy, names: &[MetricName]) -> Result<Vec<(String, usize)>, ControlError> {
    let compared = policy.stages.iter().filter_map(|stage| match stage {
        Stage::Ab { metric, .. } => Some(metric.clone()),
        _ => None,
    });
    let watched = gates::watched(policy).into_iter().map(|guardrail| guardrail.metric);
    let mut all: Vec<String> = watched.filter(|metric| metric != CRASH_RATE).chain(compared).collect();
    all.sort();
    all.dedup();
    let numbered = all.into_iter().map(|metric| match unit_of(&metric, names) {
        Some(unit) => Ok((metric, unit)),
        None => Err(ControlError::NotMeasured { metric }),
    });
    numbered.collect()
}

/// The look at stage `index` of `policy`, which is laid out, after `elapsed_s` seconds. `groups` are those of the step.
pub(crate) fn look(
    policy: &Policy,
    index: usize,
    devices: u64,
    elapsed_s: u64,
    groups: &[(GroupKey, Group)],
    metrics: &[(String, usize)],
) -> Look {
    let Some(stage) = policy.stages.get(index) else { return Look::default() };
    let is_shadow = matches!(stage, Stage::Shadow { .. });
    let (treated_bp, control_bp) = shares(policy, index);
    let arm = if is_shadow { Arm::Shadow } else { Arm::Treatment };
    let (treatment_days, control_days) = (by_day(groups, arm), by_day(groups, Arm::Control));
    let best = best_day(&treatment_days, &control_days);
    let shown = |metric: &str| control_bp > 0 || stands_alone(policy, metric);
    let side = |arm: Arm, days: &BTreeMap<u32, u64>| {
        let own = || groups.iter().filter(move |(key, _)| key.arm == arm).map(|(_, group)| group);
        let sums = |unit: usize| {
            let mut sums = Sums::default();
            for units in own().map(|group| group.units[unit]) {
                sums.merge(Sums { n: units.n as f64, sum: units.sum, sumsq: units.sum_squares });
            }
            sums
        };
        Side {
            devices: best.and_then(|day| days.get(&day).copied()).unwrap_or(0),
            metrics: metrics.iter().filter(|(name, _)| shown(name)).map(|(name, i)| (name.clone(), sums(*i))).collect(),
            crashes: own().map(|group| group.crashes).sum(),
            device_days: days.values().sum::<u64>() as f64,
        }
    };
    let of_fleet = |bp: u16| (devices as f64 * f64::from(bp) / 10_000.0).ceil() as u64;
    let compared = groups.iter().filter(|(key, _)| key.arm == Arm::Shadow).map(|(_, group)| group.shadow);
    let on_candidate = by_day_of(groups, arm, |group| group.on_candidate).into_values().max();
    let most = |days: &BTreeMap<u32, u64>| days.values().copied().max().unwrap_or(0);
    Look {
        elapsed_s,
        treatment: side(arm, &treatment_days),
        control: if is_shadow { Side::default() } else { side(Arm::Control, &control_days) },
        shares: if control_bp > 0 { (treated_bp.into(), control_bp.into()) } else { (0, 0) },
        compared: compared.fold((0, 0), |sum, (n, agreed)| (sum.0 + n, sum.1 + agreed)),
        drawn: Some((of_fleet(treated_bp), of_fleet(control_bp))),
        on_candidate: Some(on_candidate.unwrap_or(0)),
        most: Some((most(&treatment_days), if is_shadow { 0 } else { most(&control_days) })),
    }
}

/// Shares of the arms at stage `index`, basis points: devices keep their side, so each is the largest so far; no control where there is none now.
fn shares(policy: &Policy, index: usize) -> (u16, u16) {
    let Some(now) = policy.stages.get(index) else { return (0, 0) };
    if matches!(now, Stage::Shadow { .. }) {
        return (exposure(now).shares().0, 0);
    }
    let exposing = policy.stages[..=index].iter().filter(|stage| !matches!(stage, Stage::Shadow { .. }));
    let largest = exposing.map(|stage| exposure(stage).shares()).fold((0, 0), |a, b| (a.0.max(b.0), a.1.max(b.1)));
    if exposure(now).shares().1 == 0 { (largest.0, 0) } else { largest }
}

fn stands_alone(policy: &Policy, metric: &str) -> bool {
    let absolute = |g: &Guardrail| matches!(g.limit, Limit::Above(_)) && g.metric == metric;
    metric == FALLBACK_RATE || policy.guardrails.iter().any(absolute)
}

fn by_day(groups: &[(GroupKey, Group)], arm: Arm) -> BTreeMap<u32, u64> {
    by_day_of(groups, arm, |group| group.devices)
}

fn by_day_of(groups: &[(GroupKey, Group)], arm: Arm, of: impl Fn(&Group) -> u64) -> BTreeMap<u32, u64> {
    let mut days = BTreeMap::new();
    for (key, group) in groups.iter().filter(|(key, _)| key.arm == arm) {
        *days.entry(key.day).or_default() += of(group);
    }
    days
}

/// The day on which most devices of both arms reported; of several the latest.
fn best_day(treatment: &BTreeMap<u32, u64>, control: &BTreeMap<u32, u64>) -> Option<u32> {
    let total = |day: &u32| treatment.get(day).unwrap_or(&0) + control.get(day).unwrap_or(&0);
    treatment.keys().chain(control.keys()).copied().max_by_key(|day| (total(day), *day))
}
