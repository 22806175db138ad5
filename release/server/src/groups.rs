//! Groups of reports: their keys, their counters, and the values that gates look at.

use std::collections::BTreeMap;

use fleetfoot_format::report::{Arm, MAX_METRICS, Report};
use fleetfoot_health::{ErrorKind, Histogram, SHIFTED, bucket_bounds};
use serde_json::{Value, json};

/// What a group is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    /// UTC day, since 1970.
    pub day: u32,
    /// Rollout, or nothing.
    pub rollout: String,
    /// Stretch of the rollout in one stage; 0 where this server does not run it.
    pub step: u32,
    /// Arm.
    pub arm: Arm,
    /// Class of hardware.
    pub hardware: String,
}

impl GroupKey {
    /// Whether only the hardware differs.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        let of = |key: &Self| (key.day, key.step, key.arm);
        of(self) == of(other) && self.rollout == other.rollout
    }
}

/// The sums of a group.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Different nonces: devices on this day.
    pub devices: u64,
    /// Of these, the ones that reported of the candidate, or on which it fell back.
    pub on_candidate: u64,
    /// Reports.
    pub reports: u64,
    /// Inferences that gave an answer.
    pub inferences: u64,
    /// Those that gave none, by kind.
    pub errors: [u64; 8],
    /// Times that another version took over.
    pub fallbacks: u64,
    /// Runs in the shadow, and those that agreed: of a device and a day 200 at most, in its proportion.
    pub shadow: (u64, u64),
    /// Deaths of the process in the model that gates look at: of a device and a day 8 at most.
    pub crashes: u64,
    /// Runs with a NaN, with a value out of range, with the answer of the run before.
    pub odd: [u64; 3],
    /// Latencies.
    pub latency: Histogram,
    /// Means of devices on this day: error rate, fallback rate, the metrics of the application, latency in ms.
    pub units: [Units; N_UNITS],
    /// Reports with a verdict on drift, and those in which a tensor is another population.
    pub drift: (u64, u64),
    /// Reports by hash of reproduced golden answers: the first few different ones. More than one is a warning.
    pub golden: BTreeMap<[u8; 8], u64>,
}

/// What a device said on a day of things that are counted, not averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) compared: u64,
    pub(crate) agreed: u64,
    pub(crate) crashes: u64,
}

impl Counted {
    pub(crate) fn after(self, report: &Report) -> Self {
        let counts = &report.counts;
        let compared = self.compared.saturating_add(counts.shadow.into());
        Self {
            compared,
            agreed: self.agreed.saturating_add(counts.agree.into()).min(compared),
            crashes: self.crashes.saturating_add(counts.errors[ErrorKind::Crash as usize].into()),
        }
    }

    /// What is believed of it. One device that says four thousand million must not speak for all others.
    fn believed(self) -> Self {
        let Self { compared, agreed, crashes } = self;
        let agreed = if compared > MAX_COMPARED {
            (u128::from(agreed) * u128::from(MAX_COMPARED) / u128::from(compared)) as u64
        } else {
            agreed
        };
        Self { compared: compared.min(MAX_COMPARED), agreed, crashes: crashes.min(MAX_CRASHES) }
    }
}

/// Comparisons of one device on one day that count.
pub(crate) const MAX_COMPARED: u64 = 200;
/// Crashes of one device on one day that count. A model that crashes again and again is given up long before.
pub(crate) const MAX_CRASHES: u64 = 8;

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

/// Values of a device on a day.
pub(crate) const N_UNITS: usize = FIRST_METRIC + MAX_METRICS + 1;
const ERRORS: usize = 0;
const FALLBACKS: usize = 1;
pub(crate) const FIRST_METRIC: usize = 2;
const LATENCY: usize = FIRST_METRIC + MAX_METRICS;

/// The name that policies use for a metric of the application, and what a device can say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricName {
    /// Number in reports, from 0 to 3.
    pub id: u8,
    /// Name.
    pub name: String,
    /// Smallest and largest mean of a device; what is beyond counts as that.
    pub range: (f64, f64),
}

impl MetricName {
    /// `ID=NAME` or `ID=NAME:LOW..HIGH`. Without a range it is 0 to 1 for a name that ends with `_rate`, and a million to either side for others.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, rest) = text.split_once('=')?;
        let (name, range) = rest.split_once(':').map_or((rest, None), |(name, range)| (name, Some(range)));
        let id: u8 = id.parse().ok().filter(|id| usize::from(*id) < MAX_METRICS)?;
        let range = match range {
            Some(range) => {
                let (low, high) = range.split_once("..")?;
                (low.parse().ok()?, high.parse().ok()?)
            }
            None if name.ends_with("_rate") => (0.0, 1.0),
            None => (-MOST, MOST),
        };
        let holds = !name.is_empty() && range.0 < range.1 && range.0 >= -1e9 && range.1 <= 1e9;
        holds.then(|| Self { id, name: name.into(), range })
    }
}

const MOST: f64 = 1e6;

/// What each value of a device can be: rates, the metrics of the application, milliseconds.
pub(crate) fn ranges(names: &[MetricName]) -> [(f64, f64); N_UNITS] {
    let mut ranges = [(-MOST, MOST); N_UNITS];
    for name in names {
        ranges[FIRST_METRIC + usize::from(name.id).min(MAX_METRICS - 1)] = name.range;
    }
    ranges
}

/// The number of a metric of a policy.
#[must_use]
pub(crate) fn unit_of(metric: &str, names: &[MetricName]) -> Option<usize> {
    match metric {
        "error_rate" => Some(ERRORS),
        "fallback_rate" => Some(FALLBACKS),
        "latency_ms" => Some(LATENCY),
        own => names.iter().find(|name| name.name == own).map(|name| FIRST_METRIC + usize::from(name.id)),
    }
}

/// What a report adds to the values of its device: number of the value, sum, count.
pub(crate) fn unit_values(report: &Report) -> impl Iterator<Item = (usize, f64, f64)> {
    let Report { counts, metrics, latency, .. } = report;
    let errors: f64 = counts.errors.iter().map(|&n| f64::from(n)).sum();
    let tried = f64::from(counts.inferences) + errors;
    let ms = latency.buckets().map(|(bucket, n)| {
        let (low, high) = bucket_bounds(bucket);
        f64::from(n) * (low + (high - low) / 2) as f64 / 1e6
    });
    let timed = latency.count() as f64;
    let rates = [(ERRORS, errors, tried), (FALLBACKS, f64::from(counts.fallbacks), 1.0), (LATENCY, ms.sum(), timed)];
    let metrics =
        metrics.iter().map(|m| (FIRST_METRIC + usize::from(m.id).min(MAX_METRICS - 1), m.sum, f64::from(m.n)));
    rates.into_iter().chain(metrics)
}

impl Units {
    /// A device that was at `old` is at `new`: sum and count of value `i`, which may be from `range.0` to `range.1`.
    pub(crate) fn replace(&mut self, i: usize, range: (f64, f64), old: (f64, f64), new: (f64, f64)) {
        for (value, sign) in [(of_device(i, range, old), -1i8), (of_device(i, range, new), 1)] {
            let Some(value) = value else { continue };
            self.n = self.n.saturating_add_signed(sign.into());
            self.sum += f64::from(sign) * value;
            self.sum_squares += f64::from(sign) * value * value;
        }
    }
}

/// The value of a device on its day: the mean; of fallbacks, whether there was one. One device that says it is a million must not hide all others.
fn of_device(i: usize, (low, high): (f64, f64), (sum, n): (f64, f64)) -> Option<f64> {
    (n > 0.0).then(|| if i == FALLBACKS { f64::from(u8::from(sum > 0.0)) } else { (sum / n).clamp(low, high) })
}

impl Group {
    /// Adds what is counted by report.
    pub(crate) fn count(&mut self, report: &Report, max_golden: usize) {
        let Report { counts, drift, .. } = report;
        self.reports += 1;
        self.inferences += u64::from(counts.inferences);
        self.errors.iter_mut().zip(counts.errors).for_each(|(to, n)| *to += u64::from(n));
        self.fallbacks += u64::from(counts.fallbacks);
        let odd = [counts.nan, counts.out_of_range, counts.constant];
        self.odd.iter_mut().zip(odd).for_each(|(to, n)| *to += u64::from(n));
        self.latency.add_sparse(&report.latency);
        self.drift.0 += u64::from(!drift.is_empty());
        self.drift.1 += u64::from(drift.iter().any(|d| f32::from(d.milli) >= SHIFTED * 1000.0));
        if self.golden.len() < max_golden || self.golden.contains_key(&report.golden) {
            *self.golden.entry(report.golden).or_default() += 1;
        }
    }

    /// A device that was at `old` is at `new`.
    pub(crate) fn replace(&mut self, old: Counted, new: Counted) {
        let (old, new) = (old.believed(), new.believed());
        let put = |to: &mut u64, old: u64, new: u64| *to = to.saturating_sub(old).saturating_add(new);
        put(&mut self.shadow.0, old.compared, new.compared);
        put(&mut self.shadow.1, old.agreed, new.agreed);
        put(&mut self.crashes, old.crashes, new.crashes);
    }

    /// The counters in a fixed order, for the database.
    pub(crate) fn counters(&self) -> [u64; 19] {
        let Self { reports, inferences, errors, fallbacks, shadow, crashes, odd, drift, .. } = self;
        let [e0, e1, e2, e3, e4, e5, e6, e7] = *errors;
        let [o0, o1, o2] = *odd;
        let (s0, s1) = *shadow;
        [
            *reports,
            *inferences,
            e0,
            e1,
            e2,
            e3,
            e4,
            e5,
            e6,
            e7,
            *fallbacks,
            s0,
            s1,
            o0,
            o1,
            o2,
            drift.0,
            drift.1,
            *crashes,
        ]
    }

    pub(crate) fn set_counters(&mut self, words: &[u64]) {
        let at = |i: usize| words.get(i).copied().unwrap_or(0);
        (self.reports, self.inferences) = (at(0), at(1));
        self.errors = std::array::from_fn(|i| at(2 + i));
        self.fallbacks = at(10);
        self.shadow = (at(11), at(12));
        self.odd = std::array::from_fn(|i| at(13 + i));
        self.drift = (at(16), at(17));
        self.crashes = at(18);
    }

    /// As `/v1/reports` shows it.
    pub(crate) fn shown(&self, key: &GroupKey) -> Value {
        let us = |numerator, denominator| self.latency.middle(numerator, denominator).map(|ns| ns as f64 / 1000.0);
        let unit = |unit: &Units| json!({ "n": unit.n, "sum": unit.sum, "sum_squares": unit.sum_squares });
        json!({
            "day": key.day, "rollout": key.rollout, "step": key.step, "arm": arm_name(key.arm), "hardware": key.hardware,
            "devices": self.devices, "on_candidate": self.on_candidate, "reports": self.reports, "inferences": self.inferences,
            "errors": self.errors, "fallbacks": self.fallbacks, "shadow": self.shadow.0, "agree": self.shadow.1,
            "nan": self.odd[0], "out_of_range": self.odd[1], "constant": self.odd[2],
            "p50_us": us(1, 2), "p99_us": us(99, 100), "drift_reports": self.drift.0, "drift_shifted": self.drift.1,
            "golden_answers": self.golden.len(),
            "units": {
                "error_rate": unit(&self.units[ERRORS]), "fallback_rate": unit(&self.units[FALLBACKS]),
                "latency_ms": unit(&self.units[LATENCY]),
                "metrics": self.units[FIRST_METRIC..LATENCY].iter().map(unit).collect::<Vec<_>>(),
            },
        })
    }
}

/// The name of an arm in JSON.
#[must_use]
pub(crate) const fn arm_name(arm: Arm) -> &'static str {
    match arm {
        Arm::None => "none",
        Arm::Control => "control",
        Arm::Treatment => "treatment",
        Arm::Shadow => "shadow",
        Arm::Holdout => "holdout",
    }
}
