//! Times of the last runs of a session.

use std::time::Duration;

use crate::layout::{Versioned, ff_run_metrics};

/// The last [`KEPT`] runs, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Times {
    kept: [u64; KEPT],
    count: usize,
}

impl Times {
    pub(crate) const fn new() -> Self {
        Self { kept: [0; KEPT], count: 0 }
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.kept[self.count % KEPT] = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.count += 1;
    }

    /// What is known of them.
    pub(crate) fn metrics(&self) -> ff_run_metrics {
        let n = self.count.min(KEPT);
        let Some(last) = self.count.checked_sub(1) else { return ff_run_metrics::ZERO };
        let mut sorted = self.kept;
        let sorted = &mut sorted[..n];
        sorted.sort_unstable();
        // The smallest time that so many of 100 are not above.
        let percentile = |p: usize| sorted[(n * p).div_ceil(100).max(1) - 1];
        ff_run_metrics {
            timed_runs: n as u32,
            last_ns: self.kept[last % KEPT],
            min_ns: sorted[0],
            p50_ns: percentile(50),
            p95_ns: percentile(95),
            p99_ns: percentile(99),
            max_ns: sorted[n - 1],
            ..ff_run_metrics::ZERO
        }
    }
}

const KEPT: usize = 512;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{KEPT, Times};

    fn check(runs: impl IntoIterator<Item = u64>, expected: [u64; 7]) {
        let mut times = Times::new();
        runs.into_iter().for_each(|ns| times.add(Duration::from_nanos(ns)));
        let m = times.metrics();
        let found = [m.timed_runs.into(), m.last_ns, m.min_ns, m.p50_ns, m.p95_ns, m.p99_ns, m.max_ns];
        assert_eq!(found, expected);
    }

    #[test]
    fn percentiles_of_what_is_kept() {
        check([], [0; 7]);
        check([7], [1, 7, 7, 7, 7, 7, 7]);
        check((1..=100).rev(), [100, 1, 1, 50, 95, 99, 100]);
        let kept = KEPT as u64;
        check(1..=kept + 10, [kept, kept + 10, 11, 266, 497, 517, kept + 10]);
    }
}
