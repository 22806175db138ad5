//! What a value is like over all samples, in fixed memory: extremes, and a histogram that widens as it must.
//!
//! Cells are `width` wide, a power of two; cell `i` holds values in `(i - HALF) * width ..`. Where a value lies outside, the
//! width doubles and neighbours merge: exact, so that only the values count, not what the first of them were.

/// Cells on each side of zero.
const HALF: usize = 4096;

/// Bars of a plot.
const BARS: usize = 48;

/// How values are spread between their extremes: a plot of a histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bars {
    /// The smallest value.
    pub low: f64,
    /// The largest value.
    pub high: f64,
    /// Values in each of equal parts of the range; empty where there is no value.
    pub counts: Vec<u64>,
}

/// A histogram with its extremes.
#[derive(Clone, Debug)]
pub(crate) struct Histogram {
    pub(crate) min: f32,
    pub(crate) max: f32,
    /// Cell width; a power of two.
    width: f64,
    cells: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { min: f32::INFINITY, max: f32::NEG_INFINITY, width: 2f64.powi(-40), cells: vec![0; 2 * HALF] }
    }
}

impl Histogram {
    /// Counts finite values.
    pub(crate) fn add(&mut self, values: &[f32]) {
        let (mut min, mut max) = (self.min, self.max);
        for &value in values {
            min = min.min(value);
            max = max.max(value);
        }
        (self.min, self.max) = (min, max);
        let most = f64::from(min.abs().max(max.abs()));
        while most >= HALF as f64 * self.width {
            self.widen();
        }
        // A power of two: the product is exact.
        let inverse = (1.0 / self.width) as f32;
        for &value in values {
            let cell = (value * inverse).floor() as i64 + HALF as i64;
            self.cells[cell.clamp(0, 2 * HALF as i64 - 1) as usize] += 1;
        }
    }

    fn widen(&mut self) {
        self.width *= 2.0;
        let mut wide = vec![0; 2 * HALF];
        for (i, &count) in self.cells.iter().enumerate().filter(|(_, count)| **count > 0) {
            wide[i / 2 + HALF / 2] += count;
        }
        self.cells = wide;
    }

    /// Middle and count of each cell that is not empty, from below.
    pub(crate) fn cells(&self) -> impl DoubleEndedIterator<Item = (f64, u64)> + Clone + '_ {
        let middle = |i: usize| ((i as f64 - HALF as f64) + 0.5) * self.width;
        self.cells
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(move |(i, &count)| (middle(i).clamp(self.min.into(), self.max.into()), count))
    }

    /// The same in few cells, for people.
    pub(crate) fn bars(&self) -> Bars {
        if self.count() == 0 {
            return Bars::default();
        }
        let (low, high) = (f64::from(self.min), f64::from(self.max));
        let mut counts = vec![0; BARS];
        for (x, count) in self.cells() {
            let at = (x - low) / (high - low).max(f64::MIN_POSITIVE) * BARS as f64;
            counts[(at as usize).min(BARS - 1)] += count;
        }
        Bars { low, high, counts }
    }

    /// How many values were counted.
    pub(crate) fn count(&self) -> u64 {
        self.cells.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::Histogram;

    #[test]
    fn the_order_of_values_does_not_matter() {
        let values: Vec<f32> = (0..1000).map(|i| ((i * 7919 % 1000) as f32 - 300.0) / 17.0).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f32::total_cmp);
        let of = |chunks: &[&[f32]]| {
            let mut histogram = Histogram::default();
            chunks.iter().for_each(|chunk| histogram.add(chunk));
            histogram
        };
        let (one, two) = (of(&[&values]), of(&[&sorted[..10], &sorted[10..500], &sorted[500..]]));
        assert_eq!((one.min, one.max, one.width), (-300.0 / 17.0, 699.0 / 17.0, two.width));
        assert_eq!(one.cells, two.cells);
        assert_eq!(one.count(), 1000);
        let mean = one.cells().map(|(x, n)| x * n as f64).sum::<f64>() / 1000.0;
        assert!((mean - 199.5 / 17.0).abs() < one.width, "{mean}");
    }
}
