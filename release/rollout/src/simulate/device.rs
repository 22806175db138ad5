//! One device: it takes the candidate through the real state machine, lives a day, and reports.

use fleetfoot_update::{
    Action, Arm, Config, Event, Machine,
    cohort::Exposure,
    record::{Reason, Record, Version},
};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, Normal, Poisson, StandardNormal, StandardUniform};

use super::{
    Scenario,
    fault::{Kind, product, sum},
};
use crate::{gates::FALLBACK_RATE, policy::Policy};

/// A device of the fleet.
pub(super) struct Device {
    pub(super) bucket: u16,
    pub(super) arm: Option<Arm>,
    state: State,
    /// Levels of its own: errors and latency as factors around 1, what people do around 1, and where it stands between 0 and 1 for faults that
    /// hit a part of the devices.
    errors: f64,
    latency: f64,
    people: f64,
    place: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The baseline serves.
    Baseline,
    /// The candidate is on its way: it serves from then on.
    Due(u64),
    /// The candidate serves.
    Candidate,
    /// The device gave the candidate up.
    GivenUp,
}

/// What a device reports of a step.
pub(super) struct Day {
    pub(super) reports: bool,
    pub(super) crashes: u64,
    /// One value for each metric; `None` where there is none.
    pub(super) values: Vec<Option<f64>>,
}

impl Device {
    pub(super) fn new(bucket: u16, rng: &mut ChaCha8Rng) -> Self {
        let normal = |rng: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(rng) };
        Self {
            bucket,
            arm: None,
            state: State::Baseline,
            errors: (0.5 * normal(rng) - 0.125).exp(),
            latency: (0.3 * normal(rng)).exp(),
            people: (1.0 + 0.3 * normal(rng)).max(0.0),
            place: StandardUniform.sample(rng),
        }
    }

    /// Whether the candidate has served here.
    pub(super) const fn exposed(&self) -> bool {
        matches!(self.state, State::Candidate | State::GivenUp)
    }

    pub(super) const fn fell_back(&self) -> bool {
        matches!(self.state, State::GivenUp)
    }

    /// Draws the side, once; as devices do it.
    pub(super) fn assign(&mut self, exposure: Exposure) {
        if exposure.stage.rank().is_some_and(|rank| rank > 0) {
            let arm = exposure.arm_after(self.arm, self.bucket);
            self.arm = matches!(arm, Arm::Treatment | Arm::Control).then_some(arm).or(self.arm);
        }
    }

    /// The comparisons of a device in the stage shadow: how many, and how many agreed.
    pub(super) fn shadow(&self, day: f64, lasts: f64, scenario: &Scenario, rng: &mut ChaCha8Rng) -> (u64, u64) {
        let n = poisson(scenario.inferences_per_day * lasts, rng).round();
        let wrong = if self.place < sum(&scenario.faults, &Kind::ConstantOutput, day) { 0.9 } else { 0.02 };
        let disagree = poisson(n * wrong, rng).min(n);
        (n as u64, (n - disagree) as u64)
    }

    /// `dt_s` seconds from `now_s` on.
    pub(super) fn live(
        &mut self,
        policy: &Policy,
        now_s: u64,
        dt_s: u64,
        scenario: &Scenario,
        metrics: &[String],
        rng: &mut ChaCha8Rng,
    ) -> Day {
        let (day, lasts) = (now_s as f64 / 86_400.0, dt_s as f64 / 86_400.0);
        let faults = &scenario.faults;
        let treated = self.arm == Some(Arm::Treatment);
        let mut crashes = poisson(CRASHES_PER_DAY * lasts, rng) as u64;
        let mut gave_up = false;
        if treated && self.state == State::Baseline {
            let within = |s: Option<u32>, default: u32, rng: &mut ChaCha8Rng| -> u64 {
                let u: f64 = StandardUniform.sample(rng);
                (u * f64::from(s.unwrap_or(default))) as u64
            };
            let poll = within(policy.network.poll_active_s, 900, rng);
            let jitter = within(policy.network.apply_jitter_s, 0, rng);
            self.state = State::Due(now_s + poll + jitter);
        }
        let dies = treated && self.place < sum(faults, &Kind::CrashLoop, day);
        if let State::Due(at) = self.state
            && at < now_s + dt_s
        {
            let (committed, died) = trial(policy, dies);
            crashes += died;
            gave_up = !committed;
            self.state = if committed { State::Candidate } else { State::GivenUp };
        } else if dies && self.state == State::Candidate {
            crashes += u64::from(policy.device.attempts.unwrap_or(2));
            (self.state, gave_up) = (State::GivenUp, true);
        }
        if self.state == State::Candidate && self.place < sum(faults, &Kind::ConstantOutput, day) {
            (self.state, gave_up) = (State::GivenUp, true);
        }
        let candidate = self.state == State::Candidate;
        let n = poisson(scenario.inferences_per_day * lasts, rng);
        let values = metrics.iter().map(|metric| {
            if metric == FALLBACK_RATE {
                return Some(f64::from(u8::from(gave_up)));
            }
            (n >= 1.0).then(|| self.value(metric, n, candidate, day, scenario, rng))
        });
        let values = values.collect();
        let mute = candidate && self.place > 1.0 - sum(faults, &Kind::Mute, day);
        Day { reports: (n >= 1.0 || gave_up) && !mute, crashes, values }
    }

    fn value(&self, metric: &str, n: f64, candidate: bool, day: f64, scenario: &Scenario, rng: &mut ChaCha8Rng) -> f64 {
        let faults = if candidate { &scenario.faults[..] } else { &[] };
        let own = product(faults, &Kind::Metric(metric.into()), day);
        match metric {
            "error_rate" => {
                let p = (ERRORS * self.errors * own + sum(faults, &Kind::ErrorRate, day)).min(1.0);
                poisson(n * p, rng).min(n) / n
            }
            "latency_ms" => {
                let noise: f64 = StandardNormal.sample(rng);
                LATENCY_MS * self.latency * (0.1 * noise).exp() * product(faults, &Kind::LatencyFactor, day) * own
            }
            rate if rate.ends_with("_rate") => poisson(n * (RATE * self.errors * own).min(1.0), rng).min(n) / n,
            _ => {
                let noise: f64 = Normal::new(0.0, 0.3).map_or(0.0, |normal| normal.sample(rng));
                let slide: f64 = faults
                    .iter()
                    .filter(|fault| fault.kind == Kind::Drift)
                    .map(|fault| fault.value * (day - fault.from_day).max(0.0))
                    .sum();
                let better = 1.0 + sum(faults, &Kind::MetricGain, day) - sum(faults, &Kind::MetricDrop, day) - slide;
                ((self.people + noise) * better * own).max(0.0)
            }
        }
    }
}

/// The candidate on one device, through the real state machine: whether it was committed, and how often the process died.
fn trial(policy: &Policy, dies: bool) -> (bool, u64) {
    let version = |number: u64| {
        let mut sha256 = [0; 32];
        sha256[..8].copy_from_slice(&number.to_be_bytes());
        Version { sha256, number, len: 1, attempt: 1, epoch: 0 }
    };
    let config = policy.device.over(Config::default());
    let record = Record { factory: Some(version(policy.baseline)), ..Record::default() };
    let mut machine = Machine::new(config, record);
    let mut died = 0;
    let mut now = 0;
    let mut event = Event::Offer { version: version(policy.candidate), now };
    // A device has an end of its attempts, so this has one; the bound is for a machine that had none.
    for _ in 0..1000 {
        now += 3600;
        event = match machine.step(event) {
            Ok(Action::Persist) => Event::Persisted,
            Ok(Action::Fetch { .. }) => Event::Fetched,
            Ok(Action::Validate { .. }) => Event::Validated,
            Ok(Action::Validated { .. }) => Event::Resume { now },
            Ok(Action::StartTrial { .. }) if dies => {
                // The process is gone; the next one goes on from what was durable.
                died += 1;
                machine = Machine::new(config, machine.record().clone());
                Event::Resume { now }
            }
            Ok(Action::StartTrial { .. } | Action::None) if machine.in_trial() => {
                Event::Inferences { good: config.min_inferences.max(1), bad: 0, now }
            }
            Ok(Action::Committed { .. }) => return (true, died),
            Ok(Action::Rejected { reason, .. }) => {
                debug_assert_eq!(reason, Reason::CRASH_LOOP);
                return (false, died);
            }
            Ok(_) | Err(_) => Event::Resume { now },
        };
    }
    (false, died)
}

fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean < 0.05 {
        // Nearly always none: one exponential time tells.
        let wait: f64 = Exp1.sample(rng);
        return f64::from(u8::from(wait < mean));
    }
    Poisson::new(mean).map_or(0.0, |poisson| poisson.sample(rng))
}

/// Levels of a healthy fleet.
const ERRORS: f64 = 0.005;
const RATE: f64 = 0.002;
const LATENCY_MS: f64 = 10.0;
const CRASHES_PER_DAY: f64 = 0.0005;
