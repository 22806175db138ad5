//! A number that the application measures, as n, sum and sum of squares: enough for a mean and a variance, and for nothing else.

/// Moments of one metric on one device and day.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// Values.
    pub n: u32,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl Moments {
    /// Counts one value. NaN and infinities are left out: one of them would make the sums of a whole fleet useless.
    pub fn record(&mut self, value: f32) {
        if value.is_finite() {
            let value = f64::from(value);
            self.n = self.n.saturating_add(1);
            self.sum += value;
            self.sum_squares += value * value;
        }
    }

    /// Adds another device's or day's moments.
    pub fn add(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.sum += other.sum;
        self.sum_squares += other.sum_squares;
    }

    /// Mean, where there is a value.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / f64::from(self.n))
    }

    /// Unbiased variance, where there are two values.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        let n = f64::from(self.n);
        (self.n > 1).then(|| ((self.sum_squares - self.sum * self.sum / n) / (n - 1.0)).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::tests::Random;

    #[test]
    fn mean_and_variance_of_parts() {
        let mut random = Random(7);
        let (mut whole, mut left, mut right) = (Moments::default(), Moments::default(), Moments::default());
        for i in 0..1000 {
            // Whole numbers: sums are exact in any order.
            let value = random.below(1000) as f32;
            whole.record(value);
            if i % 3 == 0 { left.record(value) } else { right.record(value) }
        }
        left.add(&right);
        assert_eq!(left, whole);
        assert!((whole.mean().unwrap() - 499.5).abs() < 30.0);
        let variance = whole.variance().unwrap();
        assert!((variance - 1e6 / 12.0).abs() < 1e4, "{variance}");
    }

    #[test]
    fn what_is_no_number_is_left_out() {
        let mut moments = Moments::default();
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            moments.record(value);
        }
        assert_eq!((moments.mean(), moments.variance()), (None, None));
        moments.record(2.0);
        assert_eq!((moments.mean(), moments.variance()), (Some(2.0), None));
    }
}
