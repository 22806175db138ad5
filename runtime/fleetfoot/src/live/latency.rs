//! A histogram of durations: exact to 1/16, merges by adding.
//!
//! A bucket is the highest bit and the next four: 976 of them hold every number of nanoseconds with an error of at most
//! 6.25 % of its own size.

use std::time::Duration;

/// Counts of durations.
#[derive(Clone, Debug)]
pub(super) struct Histogram {
    counts: Box<[u32]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), total: 0 }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, took: Duration) {
        let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let count = &mut self.counts[bucket(ns)];
        *count = count.saturating_add(1);
        self.total += 1;
    }

    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.total = 0;
    }

    /// The duration that `percent` of all are not above, rounded up to its bucket; `None` without any.
    pub(super) fn percentile(&self, percent: u64) -> Option<Duration> {
        let rank = (self.total * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|&count| {
            seen += u64::from(count);
            seen >= rank
        })?;
        Some(Duration::from_nanos(highest(found)))
    }
}

const BUCKETS: usize = 976;

fn bucket(ns: u64) -> usize {
    match ns.checked_ilog2() {
        Some(msb @ 4..) => (((msb - 3) << 4) as usize) | ((ns >> (msb - 4)) & 15) as usize,
        _ => ns as usize,
    }
}

/// The largest number of a bucket.
fn highest(bucket: usize) -> u64 {
    let (octave, step) = (bucket >> 4, (bucket & 15) as u64);
    match octave {
        0 => step,
        _ => {
            let shift = octave as u32 - 1;
            ((16 + step) << shift) | ((1u64 << shift) - 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_in_order_and_end_where_the_next_begins() {
        assert_eq!((bucket(0), bucket(u64::MAX)), (0, BUCKETS - 1));
        for i in 0..BUCKETS {
            assert_eq!(bucket(highest(i)), i);
            if i + 1 < BUCKETS {
                assert_eq!(bucket(highest(i) + 1), i + 1, "{i}");
            }
        }
        assert_eq!(highest(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn percentiles() {
        let mut all = Histogram::default();
        assert_eq!(all.percentile(99), None);
        for us in 1..=1000 {
            all.add(Duration::from_micros(us));
        }
        assert_eq!(all.total(), 1000);
        for (percent, us) in [(1, 10), (50, 500), (99, 990), (100, 1000)] {
            let exact = Duration::from_micros(us);
            let found = all.percentile(percent).unwrap();
            assert!(found >= exact && found <= exact + exact / 16, "{percent}: {found:?}");
        }
        all.clear();
        assert_eq!((all.total(), all.percentile(50)), (0, None));
    }
}
