//! A fleet under virtual time: what a policy would do, with faults that are planted.
//!
//! ```text
//! policy, gates, cohorts, device state machine   the real ones: this crate's, and those of fleetfoot-update
//! devices, their answers and their reports       drawn from a seeded generator
//! ```
//! The same seed gives the same run on every machine. Devices have a level of their own for every metric, so that days of one device
//! resemble each other as they do in a real fleet.

mod device;
mod fault;

use std::collections::BTreeMap;

use fleetfoot_update::{
    Arm,
    cohort::{Exposure, Stage as Cohort, bucket},
};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng as _};
use serde::Serialize;

use self::device::Device;
pub use self::fault::{Fault, Kind};
use crate::{
    gates::{self, Decision, Look, Outcome, Side},
    policy::{Guardrail, Limit, Policy, Stage},
    stats::sequential::Memo,
};

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Devices of the fleet.
    pub devices: u32,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Planted faults.
    pub faults: Vec<Fault>,
    /// Inferences of a device on a day, on the average.
    pub inferences_per_day: f64,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Everybody has the candidate.
    Full,
    /// The comparison had no winner: the current version stays.
    Kept,
    /// Back to the baseline.
    RolledBack,
    /// A person has to look.
    Held,
}

/// What happened.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The rollout.
    pub rollout: String,
    /// Devices of the fleet.
    pub devices: u32,
    /// How it ended.
    pub outcome: End,
    /// Devices on which the candidate has served.
    pub exposed_devices: u64,
    /// When it ended, days from its beginning.
    pub decided_at_days: f64,
    /// What decided.
    pub reason: String,
    /// The stages that were entered.
    pub stages: Vec<StageRun>,
}

/// One stage of a run.
#[derive(Clone, Debug, Serialize)]
pub struct StageRun {
    /// Its name.
    pub stage: &'static str,
    /// When it began, days.
    pub from_days: f64,
    /// Devices exposed at its end.
    pub exposed_devices: u64,
    /// Devices on which the candidate was given up by the device itself.
    pub fallbacks: u64,
    /// What was decided at its end.
    pub decision: Decision,
}

/// Runs `policy` on the fleet of `scenario`. `watch` is called after every look, with the days since the beginning and the devices exposed so far.
pub fn run(policy: &Policy, scenario: &Scenario, mut watch: impl FnMut(f64, u64)) -> Run {
    let policy = &policy.laid_out();
    let mut rng = ChaCha8Rng::seed_from_u64(scenario.seed);
    let salt = format!("{}/{}", policy.rollout, scenario.seed);
    let mut fleet: Vec<Device> =
        (0..scenario.devices).map(|id| Device::new(bucket(salt.as_bytes(), &id.to_le_bytes()), &mut rng)).collect();
    let metrics = metrics(policy);
    let memo = Memo::default();
    let (mut stages, mut begun_s) = (Vec::new(), 0u64);
    for (index, stage) in policy.stages.iter().enumerate() {
        let (decision, ended_s) =
            run_stage(policy, index, begun_s, scenario, &metrics, &mut fleet, &mut rng, &memo, &mut watch);
        let exposed_devices = fleet.iter().filter(|device| device.exposed()).count() as u64;
        let fallbacks = fleet.iter().filter(|device| device.fell_back()).count() as u64;
        let (from_days, outcome) = (days(begun_s), decision.outcome);
        stages.push(StageRun { stage: stage.name(), from_days, exposed_devices, fallbacks, decision });
        begun_s = ended_s;
        let end = match outcome {
            Outcome::Promote if index + 1 == policy.stages.len() => End::Full,
            Outcome::Promote | Outcome::Continue => continue,
            Outcome::RollBack => End::RolledBack,
            Outcome::Kept => End::Kept,
            Outcome::Hold | Outcome::Halt => End::Held,
        };
        return finish(policy, scenario, end, stages, ended_s);
    }
    finish(policy, scenario, End::Held, stages, begun_s)
}

fn finish(policy: &Policy, scenario: &Scenario, outcome: End, stages: Vec<StageRun>, ended_s: u64) -> Run {
    let last = stages.last();
    Run {
        rollout: policy.rollout.clone(),
        devices: scenario.devices,
        outcome,
        exposed_devices: last.map_or(0, |stage| stage.exposed_devices),
        decided_at_days: days(ended_s),
        reason: last.map_or_else(|| "no stage".into(), |stage| format!("{}: {}", stage.stage, stage.decision.reason())),
        stages,
    }
}

#[allow(clippy::too_many_arguments)]
fn run_stage(
    policy: &Policy,
    index: usize,
    begun_s: u64,
    scenario: &Scenario,
    metrics: &[String],
    fleet: &mut [Device],
    rng: &mut ChaCha8Rng,
    memo: &Memo,
    watch: &mut impl FnMut(f64, u64),
) -> (Decision, u64) {
    let stage = &policy.stages[index];
    let lasts_s = stage.lasts_s();
    let look_s = gates::watched(policy).iter().map(|guardrail| guardrail.look_s).min();
    let step_s = look_s.unwrap_or(86_400).min(lasts_s).max(1);
    let (mut looks, mut reporting): (Vec<Look>, BTreeMap<u8, std::collections::BTreeSet<usize>>) =
        (Vec::new(), BTreeMap::new());
    let mut sides = (Side::default(), Side::default());
    let mut compared = (0u64, 0u64);
    let mut elapsed_s = 0;
    let above = |g: &Guardrail| matches!(g.limit, Limit::Above(_)).then(|| g.metric.clone());
    let with_limit: Vec<String> = policy.guardrails.iter().filter_map(above).collect();
    loop {
        let exposure = exposure(stage);
        let (_, control_bp) = exposure.shares();
        let dt_s = step_s.min(lasts_s - elapsed_s);
        let now_s = begun_s + elapsed_s;
        for (id, device) in fleet.iter_mut().enumerate() {
            device.assign(exposure);
            let treated = device.arm == Some(Arm::Treatment);
            if exposure.stage == Cohort::Shadow {
                if exposure.arm(device.bucket) == Arm::Treatment {
                    let (n, agreed) = device.shadow(days(now_s), days(dt_s), scenario, rng);
                    compared = (compared.0 + n, compared.1 + agreed);
                    reporting.entry(1).or_default().insert(id);
                }
                continue;
            }
            if !treated && device.arm != Some(Arm::Control) {
                continue;
            }
            let day = device.live(policy, now_s, dt_s, scenario, metrics, rng);
            if !day.reports {
                continue;
            }
            let side = if treated { &mut sides.0 } else { &mut sides.1 };
            for (metric, value) in metrics.iter().zip(&day.values) {
                // Comparisons are concurrent: without a control of the same days only what stands for itself is booked.
                let alone = metric == gates::FALLBACK_RATE || with_limit.contains(metric);
                if let Some(value) = value.filter(|_| control_bp > 0 || alone) {
                    side.metrics.entry(metric.clone()).or_default().add(value);
                }
            }
            side.crashes += day.crashes;
            side.device_days += days(dt_s);
            reporting.entry(u8::from(treated)).or_default().insert(id);
        }
        elapsed_s += dt_s;
        let devices = |arm| reporting.get(&arm).map_or(0, |devices| devices.len() as u64);
        (sides.0.devices, sides.1.devices) = (devices(1), devices(0));
        // What the arms should be is what was drawn, over all stages: devices stay on their side.
        let drawn = |arm: Arm| fleet.iter().filter(|device| device.arm == Some(arm)).count() as u64;
        let enrolled = (drawn(Arm::Treatment), drawn(Arm::Control));
        let shares = if control_bp == 0 { (0, 0) } else { enrolled };
        let (treatment, control) = sides.clone();
        looks.push(Look { elapsed_s, treatment, control, shares, compared, ..Look::default() });
        let decision = gates::decide(policy, index, &looks, memo);
        watch(days(begun_s + elapsed_s), fleet.iter().filter(|device| device.exposed()).count() as u64);
        if decision.outcome != Outcome::Continue || elapsed_s >= lasts_s {
            return (decision, begun_s + elapsed_s);
        }
    }
}

/// The words of the directive for `stage`, of a policy that is laid out.
#[must_use]
pub fn exposure(stage: &Stage) -> Exposure {
    let (stage, exposed_bp, split) = match stage {
        Stage::Shadow { percent_bp, .. } => (Cohort::Shadow, *percent_bp, (1, 1)),
        Stage::Canary { percent_bp, .. } => (Cohort::Canary, *percent_bp, (1, 1)),
        Stage::Ab { percent_bp, split, .. } => (Cohort::Ab, *percent_bp, *split),
        Stage::Full { ramp_bp, .. } => (Cohort::Full, ramp_bp.first().copied().unwrap_or(10_000), (1, 1)),
    };
    Exposure { stage, exposed_bp, split }
}

/// Everything that the policy looks at.
fn metrics(policy: &Policy) -> Vec<String> {
    let mut metrics: Vec<String> = gates::watched(policy)
        .into_iter()
        .map(|guardrail| guardrail.metric)
        .filter(|metric| metric != "crash_rate")
        .collect();
    for stage in &policy.stages {
        if let Stage::Ab { metric, .. } = stage {
            metrics.push(metric.clone());
        }
    }
    metrics.sort();
    metrics.dedup();
    metrics
}

fn days(seconds: u64) -> f64 {
    seconds as f64 / 86_400.0
}
