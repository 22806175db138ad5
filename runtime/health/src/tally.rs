//! Everything that is counted of one version of one model on one device.

use fleetfoot_format::{
    baseline::Baseline,
    report::{Counts, MAX_DRIFT, Metric, Report, TensorDrift},
};
use heapless::Vec;

use crate::{
    counters::{Counters, ErrorKind},
    drift::Drift,
    histogram::Histogram,
    moments::Moments,
    sketch::Sketch,
};

/// Inputs, and outputs, whose values are watched: the first ones.
pub const MAX_WATCHED: usize = MAX_DRIFT / 2;
/// Metrics of the application.
pub const MAX_METRICS: usize = fleetfoot_format::report::MAX_METRICS;

/// See the module; about 2.9 KB.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// What happened how often.
    pub counters: Counters,
    /// How long inferences took, nanoseconds.
    pub latency: Histogram,
    /// Values of the inputs.
    pub inputs: [Sketch; MAX_WATCHED],
    /// Values of the outputs.
    pub outputs: [Sketch; MAX_WATCHED],
    /// Metrics of the application, by its own numbering.
    pub metrics: [Moments; MAX_METRICS],
}

impl Tally {
    /// Counts an inference that gave an answer after `ns` nanoseconds.
    pub const fn inference(&mut self, ns: u64) {
        self.counters.inferences = self.counters.inferences.saturating_add(1);
        self.latency.record(ns);
    }

    /// Counts an inference that gave none.
    pub const fn error(&mut self, kind: ErrorKind) {
        let count = &mut self.counters.errors[kind as usize];
        *count = count.saturating_add(1);
    }

    /// Adds what another thread or another hour counted of the same version.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        self.latency.add(&other.latency);
        self.inputs.iter_mut().zip(&other.inputs).for_each(|(to, from)| to.add(from));
        self.outputs.iter_mut().zip(&other.outputs).for_each(|(to, from)| to.add(from));
        self.metrics.iter_mut().zip(&other.metrics).for_each(|(to, from)| to.add(from));
    }

    /// What was counted; counting begins anew.
    #[must_use]
    pub fn take(&mut self) -> Self {
        core::mem::take(self)
    }

    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counters == Counters::default() && self.metrics.iter().all(|metric| metric.n == 0)
    }

    /// Verdicts over the watched tensors: `(output, index, verdict)`.
    pub fn drift<'t>(&'t self, baseline: &'t Baseline) -> impl Iterator<Item = (bool, u8, Drift)> {
        let inputs = (0..).zip(self.inputs.iter().zip(&baseline.inputs)).map(|(i, pair)| (false, i, pair));
        let outputs = (0..).zip(self.outputs.iter().zip(&baseline.outputs)).map(|(i, pair)| (true, i, pair));
        inputs.chain(outputs).map(|(output, i, (now, base))| (output, i, Drift::of(now, base)))
    }

    /// The verdicts that a report carries: none without a baseline.
    #[must_use]
    pub fn verdicts(&self, baseline: Option<&Baseline>) -> Vec<TensorDrift, MAX_DRIFT> {
        let all = baseline.into_iter().flat_map(|baseline| self.drift(baseline));
        all.filter_map(|(output, index, drift)| Some(TensorDrift { output, index, milli: drift.milli()? })).collect()
    }

    /// Writes counts, latencies and metrics into a report; what else it says is not touched.
    pub fn fill(&self, report: &mut Report) {
        let Counters { inferences, errors, fallbacks, shadow, agree, nan, out_of_range, constant } = self.counters;
        report.counts = Counts { inferences, errors, fallbacks, shadow, agree, nan, out_of_range, constant };
        report.latency = self.latency.to_sparse();
        let used = (0..).zip(&self.metrics).filter(|(_, moments)| moments.n > 0);
        let metric = |(id, m): (u8, &Moments)| Metric { id, n: m.n, sum: m.sum, sum_squares: m.sum_squares };
        report.metrics = used.map(metric).collect();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use fleetfoot_format::{baseline::TensorSketch, report::MAX_REPORT_LEN};

    use super::*;

    /// xorshift64*: the same numbers for the same seed.
    pub(crate) struct Random(pub(crate) u64);

    impl Random {
        pub(crate) fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
        }

        pub(crate) fn below(&mut self, limit: u64) -> u64 {
            (self.next() >> 20) % limit
        }
    }

    const KINDS: [ErrorKind; 8] = [
        ErrorKind::Input,
        ErrorKind::Engine,
        ErrorKind::Memory,
        ErrorKind::Timeout,
        ErrorKind::Golden,
        ErrorKind::Bundle,
        ErrorKind::Crash,
        ErrorKind::Answer,
    ];

    fn record(tally: &mut Tally, random: &mut Random) {
        match random.below(12) {
            0 => tally.error(KINDS[random.below(8) as usize]),
            1 => tally.counters.fallbacks += 1,
            2 => tally.counters.nan += 1,
            3 => tally.counters.out_of_range += 1,
            4 => tally.counters.constant += 1,
            5 => {
                tally.counters.shadow += 1;
                tally.counters.agree += random.below(2) as u32;
            }
            6 => tally.metrics[random.below(MAX_METRICS as u64) as usize].record(random.below(1000) as f32),
            7 => tally.outputs[random.below(MAX_WATCHED as u64) as usize].record_uint8(random.next() as u8),
            8 => tally.inputs[random.below(MAX_WATCHED as u64) as usize].record_int8(random.next() as i8),
            _ => tally.inference(random.below(1 << 30)),
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        for seed in 1..100 {
            let mut random = Random(seed);
            let (mut whole, mut sum) = (Tally::default(), Tally::default());
            let mut parts: [Tally; 4] = Default::default();
            for _ in 0..random.below(2000) {
                let at = random.0;
                record(&mut whole, &mut Random(at));
                record(&mut parts[random.below(4) as usize], &mut Random(at));
                random.next();
            }
            for part in &mut parts {
                sum.add(&part.take());
                assert!(part.is_empty());
            }
            assert_eq!(sum, whole, "seed {seed}");
        }
    }

    #[test]
    fn a_report_has_what_was_counted() {
        let mut random = Random(3);
        let (mut tally, mut report) = (Tally::default(), Report::default());
        (0..50_000).for_each(|_| record(&mut tally, &mut random));
        let even = TensorSketch { lo: -128.0, hi: 127.0, bins: [1000; 16] };
        let odd = TensorSketch { lo: -128.0, hi: 127.0, bins: [20_000, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] };
        let baseline = Baseline { inputs: [even].into_iter().collect(), outputs: [odd].into_iter().collect() };
        tally.fill(&mut report);
        report.drift = tally.verdicts(Some(&baseline));
        assert_eq!(report.counts.inferences, tally.counters.inferences);
        assert_eq!(report.counts.errors, tally.counters.errors);
        assert_eq!(report.metrics.len(), MAX_METRICS);
        assert_eq!(report.latency.count(), u64::from(tally.counters.inferences));
        let [input, output] = report.drift[..] else { panic!("{:?}", report.drift) };
        assert!(!input.output && input.index == 0 && input.milli < 100, "{input:?}");
        assert!(output.output && output.index == 0 && output.milli > 250, "{output:?}");
        report.encode(false, &mut [0; MAX_REPORT_LEN]).unwrap();
        assert!(tally.verdicts(None).is_empty());
    }
}
