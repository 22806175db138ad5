//! Latencies in buckets that grow with the value: the leading bit and the next four.
//!
//! ```text
//! value (ns)      0 1 2 .. 15 | 16 17 .. 31 | 32 34 .. 62 | 64 68 .. 124 | ...
//! bucket          0 1 2 .. 15 | 16 17 .. 31 | 32 33 .. 47 | 48 49 .. 63  | ...
//! ```
//! Each octave has 16 buckets, so a bucket is at most 1/16 of its value wide and its middle is within 1/32 (3.2 %) of everything in
//! it. The buckets are the same on every device: two histograms are merged by adding, and the sum of parts is the whole,
//! exactly. Values of 68 seconds and more are in the last bucket.

use fleetfoot_format::report::{HISTOGRAM_BUCKETS, MAX_LATENCY_BUCKETS, SparseHistogram};

/// Number of buckets.
pub const N_BUCKETS: usize = HISTOGRAM_BUCKETS;

/// A histogram of durations in nanoseconds; 2,112 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u32; N_BUCKETS],
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl Histogram {
    /// Nothing recorded.
    #[must_use]
    pub const fn new() -> Self {
        Self { buckets: [0; N_BUCKETS] }
    }

    /// From counts by bucket, as [`buckets`](Self::buckets) gave them.
    #[must_use]
    pub const fn from_buckets(buckets: [u32; N_BUCKETS]) -> Self {
        Self { buckets }
    }

    /// Counts one duration.
    pub const fn record(&mut self, ns: u64) {
        let bucket = &mut self.buckets[bucket_of(ns)];
        *bucket = bucket.saturating_add(1);
    }

    /// Adds another histogram. Counts saturate.
    pub fn add(&mut self, other: &Self) {
        for (to, from) in self.buckets.iter_mut().zip(&other.buckets) {
            *to = to.saturating_add(*from);
        }
    }

    /// Adds what a report carries; buckets that do not exist are counted in the last.
    pub fn add_sparse(&mut self, sparse: &SparseHistogram) {
        for (bucket, count) in sparse.buckets() {
            let to = &mut self.buckets[bucket.min(N_BUCKETS - 1)];
            *to = to.saturating_add(count);
        }
    }

    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|&n| u64::from(n)).sum()
    }

    /// The counts, by bucket.
    #[must_use]
    pub const fn buckets(&self) -> &[u32; N_BUCKETS] {
        &self.buckets
    }

    /// How many were at most `ns`, by whole buckets: those that share the bucket of `ns` are counted.
    #[must_use]
    pub fn at_most(&self, ns: u64) -> u64 {
        self.buckets[..=bucket_of(ns)].iter().map(|&n| u64::from(n)).sum()
    }

    /// The largest value of the bucket that holds the quantile `numerator / denominator`: at least that share of all is not
    /// above it. `None` where nothing was recorded. `denominator` is above 0.
    #[must_use]
    pub fn quantile(&self, numerator: u32, denominator: u32) -> Option<u64> {
        self.bucket_at(numerator, denominator).map(|bucket| bucket_bounds(bucket).1)
    }

    /// Like [`quantile`](Self::quantile), the middle of the bucket: within 3.2 % of the true value.
    #[must_use]
    pub fn middle(&self, numerator: u32, denominator: u32) -> Option<u64> {
        let (low, high) = bucket_bounds(self.bucket_at(numerator, denominator)?);
        Some(low + (high - low) / 2)
    }

    fn bucket_at(&self, numerator: u32, denominator: u32) -> Option<usize> {
        assert!(denominator > 0, "a share of nothing");
        let count = self.count();
        // The sum of all counts is below 2^42, so the product fits 128 bits.
        let rank = (u128::from(count) * u128::from(numerator)).div_ceil(u128::from(denominator)).max(1);
        let mut seen = 0u128;
        let holds = |&n: &u32| {
            seen += u128::from(n);
            seen >= rank
        };
        (count > 0).then(|| self.buckets.iter().position(holds).unwrap_or(N_BUCKETS - 1))
    }

    /// What goes into a report. Where more buckets are used than a report holds, neighbours are joined into the slower of them, first
    /// by two, then by four, by eight, by sixteen: no latency ever looks better than it was.
    #[must_use]
    pub fn to_sparse(&self) -> SparseHistogram {
        let joined = |bucket: usize, bits: u32| ((bucket >> bits << bits) + (1 << bits) - 1).min(N_BUCKETS - 1);
        let mut bits = 0;
        loop {
            let mut groups = 0;
            let mut last = None;
            for (bucket, _) in self.used() {
                let to = Some(joined(bucket, bits));
                groups += usize::from(to != last);
                last = to;
            }
            if groups <= MAX_LATENCY_BUCKETS || bits == 4 {
                break;
            }
            bits += 1;
        }
        let mut sparse = SparseHistogram::default();
        for (bucket, count) in self.used() {
            sparse.push(joined(bucket, bits), count);
        }
        sparse
    }

    fn used(&self) -> impl Iterator<Item = (usize, u32)> {
        self.buckets.iter().copied().enumerate().filter(|&(_, count)| count > 0)
    }
}

/// The bucket of a duration.
#[must_use]
pub const fn bucket_of(ns: u64) -> usize {
    if ns < 1 << LINEAR_BITS {
        return ns as usize;
    }
    let msb = 63 - ns.leading_zeros();
    let octave = (msb - LINEAR_BITS) as usize;
    let within = (ns >> (msb - LINEAR_BITS)) as usize & ((1 << LINEAR_BITS) - 1);
    let bucket = ((octave + 1) << LINEAR_BITS) + within;
    if bucket < N_BUCKETS { bucket } else { N_BUCKETS - 1 }
}

/// The smallest and the largest duration of a bucket below [`N_BUCKETS`]. The last bucket holds longer ones, too.
#[must_use]
pub const fn bucket_bounds(bucket: usize) -> (u64, u64) {
    assert!(bucket < N_BUCKETS, "no such bucket");
    let (octave, within) = (bucket >> LINEAR_BITS, (bucket & ((1 << LINEAR_BITS) - 1)) as u64);
    if octave == 0 {
        return (within, within);
    }
    let low = ((1 << LINEAR_BITS) + within) << (octave - 1);
    (low, low + (1 << (octave - 1)) - 1)
}

/// Bits behind the leading one that tell buckets apart.
const LINEAR_BITS: u32 = 4;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::tally::tests::Random;

    #[test]
    fn buckets_cover_everything_once() {
        let mut next = 0;
        for bucket in 0..N_BUCKETS {
            let (low, high) = bucket_bounds(bucket);
            assert_eq!(low, next, "bucket {bucket} begins where the one before ended");
            for value in [low, low + (high - low) / 2, high] {
                assert_eq!(bucket_of(value), bucket, "{value}");
            }
            let middle = low + (high - low) / 2;
            assert!((high - middle) as f64 <= 0.032 * high as f64, "the middle of bucket {bucket} is within 3.2 %");
            assert!((middle - low) as f64 <= 0.032 * low as f64, "the middle of bucket {bucket} is within 3.2 %");
            next = high + 1;
        }
        assert_eq!(next, 1 << 36, "68.7 seconds");
        assert_eq!(bucket_of(u64::MAX), N_BUCKETS - 1);
    }

    /// Quantiles of many shapes of streams against the sorted values.
    #[test]
    fn quantiles_are_within_the_bound() {
        for seed in 1..60 {
            let mut random = Random(seed);
            let n = 1 + random.below(3000);
            let (shift, spread) = (random.below(18), 1 + random.below(8));
            let mut values: Vec<u64> =
                (0..n).map(|_| (1 + random.below(1 << 10)) << (shift + random.below(spread))).collect();
            let mut histogram = Histogram::new();
            values.iter().for_each(|&value| histogram.record(value));
            values.sort_unstable();
            for (numerator, denominator) in [(0, 1), (1, 100), (1, 2), (9, 10), (99, 100), (999, 1000), (1, 1)] {
                let rank = (n * u64::from(numerator)).div_ceil(u64::from(denominator)).max(1) as usize;
                let truth = values[rank - 1];
                let upper = histogram.quantile(numerator, denominator).unwrap();
                let middle = histogram.middle(numerator, denominator).unwrap();
                assert!(upper >= truth && upper as f64 <= 1.067 * truth as f64, "seed {seed}: {upper}, true {truth}");
                assert!(middle.abs_diff(truth) as f64 <= 0.032 * truth as f64, "seed {seed}: {middle}, true {truth}");
            }
            let pivot = values[values.len() / 2];
            assert!(histogram.at_most(pivot) >= values.iter().filter(|&&value| value <= pivot).count() as u64);
        }
        assert_eq!(Histogram::new().quantile(1, 2), None);
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        for seed in 1..200 {
            let mut random = Random(seed);
            let (mut whole, mut parts) = (Histogram::new(), [const { Histogram::new() }; 5]);
            for _ in 0..random.below(500) {
                let value = random.next() >> random.below(64);
                whole.record(value);
                parts[random.below(5) as usize].record(value);
            }
            let mut sum = Histogram::new();
            let first = random.below(5) as usize;
            (0..5).for_each(|i| sum.add(&parts[(first + i) % 5]));
            assert_eq!(sum, whole, "seed {seed}");
        }
    }

    #[test]
    fn a_report_holds_every_histogram_and_never_flatters() {
        for seed in 1..200 {
            let mut random = Random(seed);
            let mut histogram = Histogram::new();
            let wide = 1 + random.below(40);
            for _ in 0..1 + random.below(2000) {
                histogram.record((random.next() >> 28) >> random.below(wide));
            }
            let sparse = histogram.to_sparse();
            let mut back = Histogram::new();
            back.add_sparse(&sparse);
            assert_eq!(back.count(), histogram.count(), "seed {seed}");
            let used = histogram.used().count();
            if used <= MAX_LATENCY_BUCKETS {
                assert_eq!(back, histogram, "seed {seed}: nothing is lost");
            }
            for bucket in 0..N_BUCKETS {
                let ns = bucket_bounds(bucket).1;
                assert!(back.at_most(ns) <= histogram.at_most(ns), "seed {seed}: bucket {bucket} looks faster");
            }
        }
        let mut all = Histogram::new();
        (0..N_BUCKETS).for_each(|bucket| all.record(bucket_bounds(bucket).0));
        assert_eq!(all.to_sparse().buckets().map(|(_, n)| u64::from(n)).sum::<u64>(), N_BUCKETS as u64);
    }

    #[test]
    fn counts_saturate() {
        let mut histogram = Histogram::new();
        histogram.record(5);
        histogram.buckets[5] = u32::MAX;
        histogram.record(5);
        let copy = histogram.clone();
        histogram.add(&copy);
        assert_eq!(histogram.count(), u64::from(u32::MAX));
    }
}
