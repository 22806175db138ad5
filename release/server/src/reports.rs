//! Health reports: taken in, added up, forgotten.
//!
//! ```text
//! body ── at most 64 KiB ──▶ messages ── tag, where keys were given ──▶ report ── seen before? ──▶ sums of (day, rollout, arm, hardware)
//! ```
//! A report is not kept: its numbers are added to the sums of its group, and of itself only the nonce and the part stay, for
//! [`KEPT_DAYS`], so that it counts once however often it comes. Order does not matter. Late reports are booked on the day that they are about.
//! A group with fewer than [`MIN_DEVICES`] devices is not shown: one could tell them apart.
//!
//! **Reports may be forged**, with the key of a stolen device or, without keys, by anybody. The sums say what was reported, not
//! what happened; what reads them must bound what they can do.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use fleetfoot_format::{
    FormatError,
    report::{Arm, MAX_METRICS, Message, Report},
};
use fleetfoot_health::{Histogram, SHIFTED};
use fleetfoot_trust::ReportKey;
use serde_json::{Value, json};
use thiserror::Error;

/// Bytes of a request. Guards memory: a device sends at most 24 KiB.
pub const MAX_BODY_LEN: usize = 64 << 10;
/// Reports in a request. Bounds the work of one request.
pub const MAX_MESSAGES: usize = 64;
/// Days that a report may be late, and that a nonce is remembered.
pub const KEPT_DAYS: u32 = 32;
/// Devices that a group has at least to be shown.
pub const MIN_DEVICES: u64 = 20;
/// Groups at most. Guards memory against names that are made up.
const MAX_GROUPS: usize = 20_000;
/// Reports that are remembered at most: about 200 MB.
const MAX_SEEN: usize = 1_000_000;
/// Different golden answers that are told apart in a group.
const MAX_GOLDEN: usize = 8;
/// Rates that stand before the metrics of the application.
const N_RATES: usize = 2;

/// How reports are taken in.
#[derive(Clone, Debug, Default)]
pub struct ReportPolicy {
    /// Keys of tags. With any, a report without a good tag is refused.
    pub keys: Vec<ReportKey>,
    /// Show groups however small they are: for demonstrations, never for people's devices.
    pub show_small_groups: bool,
}

/// Why a report, or a request, is not taken: codes 760 to 779, or those of the layout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// The request is too long.
    #[error("the request has more than {MAX_BODY_LEN} bytes or {MAX_MESSAGES} reports")]
    TooLong,
    /// Nothing in it.
    #[error("the request has no report")]
    Empty,
    /// The tag is missing or is that of none of the keys.
    #[error("the report has no tag of a key that is known here")]
    Forged,
    /// Its day is over for too long, or has not come.
    #[error("day {day} is not one of the last {KEPT_DAYS} before day {today}, or the next")]
    Day {
        /// Day of the report.
        day: u32,
        /// Today.
        today: u32,
    },
    /// No more can be remembered today.
    #[error("no more reports can be taken now")]
    Full,
    /// The layout does not hold.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl ReportError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::TooLong => 760,
            Self::Empty => 761,
            Self::Forged => 762,
            Self::Day { .. } => 763,
            Self::Full => 764,
            Self::Format(inner) => inner.code(),
        }
    }
}

/// What became of the reports of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Added to the sums.
    pub added: usize,
    /// Known already.
    pub duplicates: usize,
    /// Refused, each for itself.
    pub refused: usize,
    /// Why the last of them was.
    pub why: Option<ReportError>,
}

/// What a group is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// UTC day, since 1970.
    pub day: u32,
    /// Rollout, or nothing.
    pub rollout: String,
    /// Arm.
    pub arm: Arm,
    /// Class of hardware.
    pub hardware: String,
}

/// The sums of a group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Different nonces: devices on this day.
    pub devices: u64,
    /// Reports.
    pub reports: u64,
    /// Inferences that gave an answer.
    pub inferences: u64,
    /// Those that gave none, by kind.
    pub errors: [u64; 8],
    /// Times that another version took over.
    pub fallbacks: u64,
    /// Runs in the shadow, and those that agreed.
    pub shadow: (u64, u64),
    /// Runs with a NaN, with a value out of range, with the answer of the run before.
    pub odd: [u64; 3],
    /// Latencies.
    pub latency: Histogram,
    /// Means of devices on this day: error rate, fallback rate, then the metrics of the application.
    pub units: [Units; N_RATES + MAX_METRICS],
    /// Reports with a verdict on drift, and those in which a tensor is another population.
    pub drift: (u64, u64),
    /// Reports by hash of reproduced golden answers: the first few different ones. More than one is a warning.
    pub golden: BTreeMap<[u8; 8], u64>,
}

/// Over devices: each counts once on a day, whatever it did. `n`, the sum and the sum of squares of their means.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Units {
    /// Devices.
    pub n: u64,
    /// Sum of their means.
    pub sum: f64,
    /// Sum of the squares of their means.
    pub sum_squares: f64,
}

/// A group, and what each of its devices said on its day, so that hours of one device are one mean.
#[derive(Debug, Default)]
struct Sums {
    group: Group,
    devices: HashMap<[u8; 16], [(f64, f64); N_RATES + MAX_METRICS]>,
}

/// All sums since the start. They are gone with the process.
#[derive(Debug, Default)]
pub struct Reports {
    policy: ReportPolicy,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    groups: BTreeMap<GroupKey, Sums>,
    /// By day, so that a day is forgotten as a whole.
    seen: BTreeMap<u32, HashSet<([u8; 16], u8)>>,
    n_seen: usize,
    duplicates: u64,
    refused: u64,
}

impl Reports {
    /// Nothing taken yet.
    #[must_use]
    pub fn new(policy: ReportPolicy) -> Self {
        Self { policy, state: Mutex::default() }
    }

    /// Takes the reports of a request in on day `today`. Each is judged for itself: one that is refused does not keep the others out.
    ///
    /// # Errors
    /// [`ReportError::TooLong`], [`ReportError::Empty`] and errors of the layout where the request cannot be taken apart at all, and
    /// [`ReportError::Full`] where it should come again: then nothing was added that was not counted before or will be known again.
    pub fn take(&self, body: &[u8], today: u32) -> Result<Taken, ReportError> {
        if body.len() > MAX_BODY_LEN {
            return Err(ReportError::TooLong);
        }
        let (mut messages, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (message, after) = Message::split(rest)?;
            messages.push(message);
            rest = after;
            if messages.len() > MAX_MESSAGES {
                return Err(ReportError::TooLong);
            }
        }
        if messages.is_empty() {
            return Err(ReportError::Empty);
        }
        let mut taken = Taken::default();
        for message in messages {
            let judged = self.judge(&message, today);
            let mut state = self.lock();
            match judged.and_then(|report| state.add(&report, today)) {
                Ok(true) => taken.added += 1,
                Ok(false) => {
                    taken.duplicates += 1;
                    state.duplicates += 1;
                }
                Err(ReportError::Full) => return Err(ReportError::Full),
                Err(why) => {
                    taken.refused += 1;
                    taken.why = Some(why);
                    state.refused += 1;
                }
            }
        }
        Ok(taken)
    }

    /// The groups that may be shown, the newest day first.
    #[must_use]
    pub fn groups(&self) -> Vec<(GroupKey, Group)> {
        let least = if self.policy.show_small_groups { 1 } else { MIN_DEVICES };
        let state = self.lock();
        let shown = state.groups.iter().rev().filter(|(_, sums)| sums.group.devices >= least);
        shown.map(|(key, sums)| (key.clone(), sums.group.clone())).collect()
    }

    /// The groups that may be shown, and how many reports came twice or were refused, for `/v1/reports`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let groups: Vec<Value> = self.groups().iter().map(|(key, group)| shown(key, group)).collect();
        let state = self.lock();
        let hidden = state.groups.len() - groups.len();
        json!({
            "groups": groups, "hidden": hidden, "duplicates": state.duplicates, "refused": state.refused,
            "min_devices": if self.policy.show_small_groups { 1 } else { MIN_DEVICES },
        })
    }

    /// The tag first: nothing of a report is read that nobody vouched for.
    fn judge(&self, message: &Message<'_>, today: u32) -> Result<Report, ReportError> {
        let keys = &self.policy.keys;
        if !keys.is_empty() && !keys.iter().any(|key| key.verify(message)) {
            return Err(ReportError::Forged);
        }
        let report = message.read()?;
        let day = report.day;
        if day > today.saturating_add(1) || day.saturating_add(KEPT_DAYS) < today {
            return Err(ReportError::Day { day, today });
        }
        Ok(report)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic between two additions leaves a sum that lacks one report.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a report; `false` where it was added before.
    fn add(&mut self, report: &Report, today: u32) -> Result<bool, ReportError> {
        self.forget(today);
        let key = GroupKey {
            day: report.day,
            rollout: report.rollout.as_str().into(),
            arm: report.arm,
            hardware: report.hardware.as_str().into(),
        };
        let seen = self.seen.entry(report.day).or_default();
        if seen.contains(&(report.nonce, report.part)) {
            return Ok(false);
        }
        if self.n_seen >= MAX_SEEN || (self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key)) {
            return Err(ReportError::Full);
        }
        self.groups.entry(key).or_default().add(report);
        seen.insert((report.nonce, report.part));
        self.n_seen += 1;
        Ok(true)
    }

    fn forget(&mut self, today: u32) {
        let first = today.saturating_sub(KEPT_DAYS);
        while let Some(entry) = self.seen.first_entry().filter(|entry| *entry.key() < first) {
            self.n_seen -= entry.remove().len();
        }
        while let Some(entry) = self.groups.first_entry().filter(|entry| entry.key().day < first) {
            entry.remove();
        }
    }
}

impl Sums {
    fn add(&mut self, report: &Report) {
        let Self { group, devices } = self;
        let Report { counts, metrics, drift, .. } = report;
        group.reports += 1;
        group.inferences += u64::from(counts.inferences);
        group.errors.iter_mut().zip(counts.errors).for_each(|(to, n)| *to += u64::from(n));
        group.fallbacks += u64::from(counts.fallbacks);
        group.shadow.0 += u64::from(counts.shadow);
        group.shadow.1 += u64::from(counts.agree);
        let odd = [counts.nan, counts.out_of_range, counts.constant];
        group.odd.iter_mut().zip(odd).for_each(|(to, n)| *to += u64::from(n));
        group.latency.add_sparse(&report.latency);
        group.drift.0 += u64::from(!drift.is_empty());
        group.drift.1 += u64::from(drift.iter().any(|d| f32::from(d.milli) >= SHIFTED * 1000.0));
        if group.golden.len() < MAX_GOLDEN || group.golden.contains_key(&report.golden) {
            *group.golden.entry(report.golden).or_default() += 1;
        }
        let device = devices.entry(report.nonce).or_default();
        let errors: f64 = counts.errors.iter().map(|&n| f64::from(n)).sum();
        let tried = f64::from(counts.inferences) + errors;
        let rates = [(0, errors, tried), (1, f64::from(counts.fallbacks), tried)];
        let metrics = metrics.iter().map(|m| (N_RATES + usize::from(m.id).min(MAX_METRICS - 1), m.sum, f64::from(m.n)));
        for (i, sum, n) in rates.into_iter().chain(metrics) {
            let (unit, before) = (&mut group.units[i], device[i]);
            device[i] = (before.0 + sum, before.1 + n);
            // What the device said before on this day is replaced, not added to: the unit is its mean over the day.
            unit.replace(mean(before), mean(device[i]));
        }
        group.devices = devices.len() as u64;
    }
}

impl Units {
    fn replace(&mut self, old: Option<f64>, new: Option<f64>) {
        for (mean, sign) in [(old, -1.0), (new, 1.0)] {
            let Some(mean) = mean else { continue };
            self.n = self.n.saturating_add_signed(sign as i64);
            self.sum += sign * mean;
            self.sum_squares += sign * mean * mean;
        }
    }
}

fn mean((sum, n): (f64, f64)) -> Option<f64> {
    (n > 0.0).then(|| sum / n)
}

fn shown(key: &GroupKey, group: &Group) -> Value {
    let us = |numerator, denominator| group.latency.middle(numerator, denominator).map(|ns| ns as f64 / 1000.0);
    let unit = |unit: &Units| json!({ "n": unit.n, "sum": unit.sum, "sum_squares": unit.sum_squares });
    json!({
        "day": key.day, "rollout": key.rollout, "arm": arm(key.arm), "hardware": key.hardware,
        "devices": group.devices, "reports": group.reports, "inferences": group.inferences,
        "errors": group.errors, "fallbacks": group.fallbacks, "shadow": group.shadow.0, "agree": group.shadow.1,
        "nan": group.odd[0], "out_of_range": group.odd[1], "constant": group.odd[2],
        "p50_us": us(1, 2), "p99_us": us(99, 100), "drift_reports": group.drift.0, "drift_shifted": group.drift.1,
        "golden_answers": group.golden.len(),
        "units": {
            "error_rate": unit(&group.units[0]), "fallback_rate": unit(&group.units[1]),
            "metrics": group.units[N_RATES..].iter().map(unit).collect::<Vec<_>>(),
        },
    })
}

const fn arm(arm: Arm) -> &'static str {
    match arm {
        Arm::None => "none",
        Arm::Control => "control",
        Arm::Treatment => "treatment",
        Arm::Shadow => "shadow",
        Arm::Holdout => "holdout",
    }
}
