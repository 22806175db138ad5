//! How far two versions of a model agree: integer sums that merge exactly.
//!
//! One pair per compared inference: the score that the serving version gives to its answer, and the score that the candidate
//! gives to the same answer, both scaled to the range of `i16`. From the sums follow the share that agrees, Pearson's correlation
//! and a histogram of 8 by 8 cells. Adding the sums of many devices gives what one device with all the inferences would have.
//!
//! ```
//! use fleetfoot_format::agreement::Agreement;
//! let (mut one, mut two) = (Agreement::default(), Agreement::default());
//! one.add(-3000, -2900, true);
//! two.add(20_000, 20_500, true);
//! two.add(9_000, -9_000, false);
//! one.merge(&two);
//! assert_eq!((one.runs, one.agree), (3, 2));
//! assert!(one.correlation().is_some_and(|r| r > 0.5));
//! ```

use serde::{Deserialize, Serialize};

/// Cells of the histogram along each axis.
pub const BINS: usize = 8;

/// Sums over compared inferences. 292 bytes in memory at most, without a heap; counts stop at their largest value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreement {
    /// Inferences that were compared.
    pub runs: u32,
    /// Of these, the ones in which both gave the same answer.
    pub agree: u32,
    /// Sum of the scores of the serving version.
    pub sum_x: i64,
    /// Sum of the scores of the candidate.
    pub sum_y: i64,
    /// Sum of the squares of the first.
    pub sum_xx: u64,
    /// Sum of the squares of the second.
    pub sum_yy: u64,
    /// Sum of the products.
    pub sum_xy: i64,
    /// `cells[x][y]`: how often the scores fell there; each cell spans 8,192 of the range of `i16`.
    pub cells: [[u32; BINS]; BINS],
}

impl Agreement {
    /// Adds one inference: `x` the score of the serving version, `y` that of the candidate.
    pub fn add(&mut self, x: i16, y: i16, agree: bool) {
        let (wide_x, wide_y) = (i64::from(x), i64::from(y));
        self.runs = self.runs.saturating_add(1);
        self.agree = self.agree.saturating_add(u32::from(agree));
        self.sum_x = self.sum_x.saturating_add(wide_x);
        self.sum_y = self.sum_y.saturating_add(wide_y);
        self.sum_xx = self.sum_xx.saturating_add((wide_x * wide_x).unsigned_abs());
        self.sum_yy = self.sum_yy.saturating_add((wide_y * wide_y).unsigned_abs());
        self.sum_xy = self.sum_xy.saturating_add(wide_x * wide_y);
        let cell = &mut self.cells[bin(x)][bin(y)];
        *cell = cell.saturating_add(1);
    }

    /// Adds the sums of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.runs = self.runs.saturating_add(other.runs);
        self.agree = self.agree.saturating_add(other.agree);
        self.sum_x = self.sum_x.saturating_add(other.sum_x);
        self.sum_y = self.sum_y.saturating_add(other.sum_y);
        self.sum_xx = self.sum_xx.saturating_add(other.sum_xx);
        self.sum_yy = self.sum_yy.saturating_add(other.sum_yy);
        self.sum_xy = self.sum_xy.saturating_add(other.sum_xy);
        for (mine, theirs) in self.cells.as_flattened_mut().iter_mut().zip(other.cells.as_flattened()) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Pearson's correlation of the two scores, -1 to 1; `None` where either never changed.
    #[must_use]
    pub fn correlation(&self) -> Option<f64> {
        let n = i128::from(self.runs);
        let spread = |square: u64, sum: i64| n * i128::from(square) - i128::from(sum) * i128::from(sum);
        let x = root(spread(self.sum_xx, self.sum_x))?;
        let y = root(spread(self.sum_yy, self.sum_y))?;
        let both = n * i128::from(self.sum_xy) - i128::from(self.sum_x) * i128::from(self.sum_y);
        Some((both as f64 / x / y).clamp(-1.0, 1.0))
    }
}

fn bin(score: i16) -> usize {
    ((i32::from(score) + 0x8000) >> 13) as usize
}

/// The square root of a positive number to 60 bits, without a library of mathematics.
fn root(square: i128) -> Option<f64> {
    let square = u128::try_from(square).ok().filter(|&square| square > 0)?;
    let shift = square.leading_zeros() & !1;
    Some((square << shift).isqrt() as f64 / (1u128 << (shift / 2)) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs that a device may see, and what a book says of them.
    fn pairs(seed: u64, n: usize) -> std::vec::Vec<(i16, i16)> {
        let mut random = seed;
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 48) as i16
        };
        (0..n).map(|_| (next(), next())).map(|(x, noise)| (x, (x / 2).saturating_add(noise / 3))).collect()
    }

    fn book(pairs: &[(i16, i16)]) -> f64 {
        let n = pairs.len() as f64;
        let mean = |f: fn(&(i16, i16)) -> i16| pairs.iter().map(|p| f64::from(f(p))).sum::<f64>() / n;
        let (x, y) = (mean(|p| p.0), mean(|p| p.1));
        let sum =
            |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|p| f(f64::from(p.0) - x, f64::from(p.1) - y)).sum::<f64>();
        sum(&|a, b| a * b) / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt()
    }

    #[test]
    fn merging_is_exact_and_the_correlation_is_that_of_the_book() {
        for n in [2, 3, 100, 10_000] {
            let all = pairs(n as u64, n);
            let mut whole = Agreement::default();
            let mut parts = [Agreement::default(); 7];
            for (i, (x, y)) in all.iter().enumerate() {
                let agree = i % 3 > 0;
                whole.add(*x, *y, agree);
                parts[i * 31 % 7].add(*x, *y, agree);
            }
            let mut merged = Agreement::default();
            parts.iter().rev().for_each(|part| merged.merge(part));
            assert_eq!(merged, whole);
            assert_eq!(whole.cells.as_flattened().iter().sum::<u32>() as usize, n);
            let found = whole.correlation().unwrap();
            assert!((found - book(&all)).abs() < 1e-9, "{n}: {found} {}", book(&all));
        }
    }

    #[test]
    fn ends_of_the_range() {
        let mut sums = Agreement::default();
        assert_eq!(sums.correlation(), None);
        sums.add(5, 5, true);
        assert_eq!(sums.correlation(), None, "one pair has no spread");
        sums.add(5, 9, true);
        assert_eq!(sums.correlation(), None, "x never changed");
        let mut sums = Agreement::default();
        for _ in 0..1000 {
            sums.add(i16::MIN, i16::MAX, false);
            sums.add(i16::MAX, i16::MIN, false);
        }
        assert_eq!(sums.correlation(), Some(-1.0));
        assert_eq!((sums.cells[0][7], sums.cells[7][0]), (1000, 1000));
        let full = Agreement { runs: u32::MAX, sum_xx: u64::MAX, sum_xy: i64::MIN, ..sums };
        sums.merge(&full);
        sums.merge(&full);
        assert_eq!((sums.runs, sums.sum_xx, sums.sum_xy), (u32::MAX, u64::MAX, i64::MIN));
    }
}
