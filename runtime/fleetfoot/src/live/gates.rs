//! What is counted of a version that serves, and what is suspicious about it.
//!
//! ```text
//! errors, not a number, out of range   one on trial, max_bad in a window after it           -> condemned
//! latency                              at the end of a window: slower than the version before,
//!                                      or too often over its budget                         -> compare both, in turn
//! constant                             one output for so many different inputs              -> ask the version before
//! ```
//! Latency and sameness are only suspicions: a hot device is slow and a dark room looks always the same. The version before decides, with
//! the same inputs at the same time. A suspicion that was wrong is not looked into again soon.

use std::{collections::HashSet, time::Duration};

use fleetfoot_health::Histogram;

use super::config::GateConfig;

/// Counts of one version in this process.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// All durations.
    pub(super) all: Histogram,
    /// Inferences that were bad.
    pub(super) bad: u64,
    window: Histogram,
    bad_in_window: u32,
    over_budget: u32,
    in_window: u32,
    /// Windows whose latency is not judged, and how many that will be after the next wrong suspicion.
    rest: u32,
    next_rest: u32,
    /// Whether it was compared with a version of which no durations are known.
    compared: bool,
    streak: Streak,
}

/// Different inputs with the same output, one after another.
#[derive(Debug, Default)]
struct Streak {
    output: u64,
    inputs: HashSet<u64>,
    /// Some of them, spread over the streak.
    kept: Vec<Vec<u8>>,
    /// How many times as long a streak has to be after wrong suspicions.
    patience: usize,
}

/// One inference that went well.
pub(super) struct Seen {
    pub(super) took: Duration,
    /// Fingerprints of all inputs and of all outputs.
    pub(super) input: u64,
    pub(super) output: u64,
}

/// What durations are held against.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Expected {
    /// Median and 99th percentile of the version before.
    pub(super) before: Option<(Duration, Duration)>,
    /// Budget of the bundle.
    pub(super) budget: Option<Duration>,
}

/// What to ask the version before.
#[derive(Debug)]
pub(super) enum Suspicion {
    /// Whether it tells these inputs apart.
    Constant(Vec<Vec<u8>>),
    /// Whether it is faster with this input.
    Slower(Vec<u8>),
}

impl Counts {
    /// Whether the input of the next inference should be kept until it is over.
    pub(super) fn wants_input(&self, config: &GateConfig) -> bool {
        self.in_window + 1 >= config.window || self.streak.keeps_next(config)
    }

    /// Counts a bad inference. Whether that is one too many.
    pub(super) fn add_bad(&mut self, took: Duration, config: &GateConfig) -> bool {
        self.all.record(nanos(took));
        self.bad += 1;
        self.bad_in_window += 1;
        self.in_window += 1;
        let over = self.bad_in_window > config.max_bad;
        if self.in_window >= config.window {
            self.end_window();
        }
        over
    }

    /// Counts a good inference.
    pub(super) fn add(
        &mut self,
        seen: &Seen,
        input: Option<Vec<u8>>,
        config: &GateConfig,
        expected: Expected,
    ) -> Option<Suspicion> {
        self.all.record(nanos(seen.took));
        self.window.record(nanos(seen.took));
        self.in_window += 1;
        self.over_budget += u32::from(expected.budget.is_some_and(|budget| seen.took > budget));
        if self.in_window >= config.window {
            let suspicious = self.slower(config, expected);
            self.end_window();
            if suspicious && let Some(input) = input {
                self.compared = true;
                return Some(Suspicion::Slower(input));
            }
            return None;
        }
        self.streak.add(seen, input, config).map(Suspicion::Constant)
    }

    /// The version before did no better.
    pub(super) fn was_wrong_about_latency(&mut self) {
        self.next_rest = (self.next_rest * 2).clamp(1, 64);
        self.rest = self.next_rest;
    }

    fn slower(&mut self, config: &GateConfig, expected: Expected) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        let (Some(median), Some(p99)) = (percentile(&self.window, 50), percentile(&self.window, 99)) else {
            return false;
        };
        if median < Duration::from_micros(config.slow_from_us.into()) {
            return false;
        }
        let over = u64::from(self.over_budget) * 100 > u64::from(config.max_over_budget_percent) * self.window.count();
        over || match expected.before {
            Some(before) => {
                exceeds(median, before.0, config.max_slower_percent)
                    || exceeds(p99, before.1, config.max_slower_percent)
            }
            None => !self.compared,
        }
    }

    fn end_window(&mut self) {
        self.window = Histogram::new();
        (self.bad_in_window, self.over_budget, self.in_window) = (0, 0, 0);
    }
}

impl Streak {
    fn add(&mut self, seen: &Seen, input: Option<Vec<u8>>, config: &GateConfig) -> Option<Vec<Vec<u8>>> {
        if self.output != seen.output {
            self.inputs.clear();
            self.kept.clear();
            self.output = seen.output;
        }
        let keep = self.keeps_next(config);
        if !self.inputs.insert(seen.input) {
            return None;
        }
        self.kept.extend(input.filter(|_| keep));
        if self.inputs.len() < self.needed(config) {
            return None;
        }
        self.patience = (self.patience.max(1) * 2).min(64);
        self.inputs.clear();
        Some(std::mem::take(&mut self.kept))
    }

    fn needed(&self, config: &GateConfig) -> usize {
        config.constant_after.max(2).saturating_mul(self.patience.max(1))
    }

    fn keeps_next(&self, config: &GateConfig) -> bool {
        let step = (self.needed(config) / ASKED).max(1);
        self.kept.len() < ASKED && (self.inputs.len() + 1).is_multiple_of(step)
    }
}

/// Whether `one` is more than `percent` of `other`.
pub(super) fn exceeds(one: Duration, other: Duration, percent: u32) -> bool {
    one.as_nanos() * 100 > other.as_nanos() * u128::from(percent)
}

/// Inputs of a streak that the version before is asked.
const ASKED: usize = 8;

pub(super) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// The duration that `percent` of all are not above, rounded up to its bucket; `None` without any.
pub(super) fn percentile(of: &Histogram, percent: u32) -> Option<Duration> {
    of.quantile(percent, 100).map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Duration = Duration::from_micros(1);

    fn config() -> GateConfig {
        GateConfig::default()
    }

    /// Feeds inferences until one is suspicious; returns after how many, and which it is.
    fn until(
        counts: &mut Counts,
        expected: Expected,
        n: u32,
        mut inference: impl FnMut(u32) -> (u64, u64, Duration),
    ) -> Option<(u32, Suspicion)> {
        for i in 0..n {
            let (input, output, took) = inference(i);
            let copy = counts.wants_input(&config()).then(|| vec![i as u8]);
            if let Some(found) = counts.add(&Seen { took, input, output }, copy, &config(), expected) {
                return Some((i + 1, found));
            }
        }
        None
    }

    #[test]
    fn one_output_for_many_inputs_is_suspicious() {
        let mut counts = Counts::default();
        let found = until(&mut counts, Expected::default(), 200, |i| (i.into(), 7, US));
        let (64, Suspicion::Constant(inputs)) = found.unwrap() else { panic!("not after 64") };
        assert_eq!(inputs, [[7], [15], [23], [31], [39], [47], [55], [63]]);
        let again = until(&mut counts, Expected::default(), 200, |i| (1000 + u64::from(i), 7, US));
        assert!(matches!(again, Some((129 | 128, Suspicion::Constant(_)))), "{again:?}");

        let quiet = |inference: fn(u32) -> (u64, u64, Duration)| {
            let found = until(&mut Counts::default(), Expected::default(), 1000, inference);
            assert!(found.is_none(), "{found:?}");
        };
        quiet(|i| (3, 7, US * (i % 3)));
        quiet(|i| (u64::from(i % 60), 7, US));
        quiet(|i| (i.into(), u64::from(i / 63), US));
        quiet(|i| (i.into(), i.into(), US));
    }

    #[test]
    fn slower_than_before_or_over_the_budget_is_suspicious() {
        let before = Expected { before: Some((US * 500, US * 800)), budget: None };
        let budget = Expected { before: Some((US * 900, US * 5000)), budget: Some(US * 1000) };
        let check = |expected, took: fn(u32) -> Duration, after: Option<u32>| {
            let found = until(&mut Counts::default(), expected, 400, |i| (i.into(), i.into(), took(i)));
            let n = found.map(|(n, what)| {
                assert!(matches!(&what, Suspicion::Slower(input) if *input == [(n - 1) as u8]), "{what:?}");
                n
            });
            assert_eq!(n, after);
        };
        check(before, |_| US * 1100, Some(100));
        check(before, |i| US * if i < 60 { 500 } else { 1700 }, Some(100));
        check(before, |i| US * if i < 90 { 500 } else { 1700 }, Some(100));
        check(before, |i| US * if i < 100 { 500 } else { 1700 }, Some(200));
        check(before, |_| US * 900, None);
        check(Expected { before: Some((US * 10, US * 20)), budget: None }, |_| US * 90, None);
        check(budget, |i| US * if i % 20 < 2 { 1100 } else { 900 }, Some(100));
        check(budget, |i| US * if i % 20 < 1 { 1100 } else { 900 }, None);
        check(Expected::default(), |_| US * 500, Some(100));
        // Without a history of the version before it is asked once.
        let mut counts = Counts::default();
        let run = |counts: &mut Counts| until(counts, Expected::default(), 400, |i| (i.into(), i.into(), US * 500));
        assert!(run(&mut counts).is_some());
        assert!(run(&mut counts).is_none());
    }

    #[test]
    fn wrong_suspicions_become_rare() {
        let (mut counts, mut asked) = (Counts::default(), 0);
        let before = Expected { before: Some((US * 500, US * 800)), budget: None };
        for _ in 0..100 {
            if until(&mut counts, before, 100, |i| (i.into(), i.into(), US * 2000)).is_some() {
                asked += 1;
                counts.was_wrong_about_latency();
            }
        }
        assert!((5..=8).contains(&asked), "{asked} of 100 windows");
    }

    #[test]
    fn some_bad_ones_are_borne() {
        let mut counts = Counts::default();
        let bad: Vec<bool> = (0..300)
            .map(|i| {
                if i % 50 == 49 {
                    counts.add_bad(US, &config())
                } else {
                    until(&mut counts, Expected::default(), 1, |_| (i, i, US)).is_some()
                }
            })
            .collect();
        assert!(!bad.contains(&true), "two in every hundred");
        let over: Vec<bool> = (0..3).map(|_| counts.add_bad(US, &config())).collect();
        assert_eq!((over, counts.bad), (vec![false, false, true], 9));
    }
}
