//! The values of one tensor in 16 bins.
//!
//! Bins of quantized bytes are the upper four bits of the value above the smallest one, so counting costs a shift and an add.
//! Bins of other types are 16 equal parts between the smallest and the largest value of the baseline; what lies outside is counted
//! in the first and the last.

use fleetfoot_format::baseline::SKETCH_BINS;

/// How many values fell into each bin; 64 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sketch {
    /// Counts.
    pub bins: [u32; SKETCH_BINS],
}

impl Sketch {
    /// Counts a value of an int8 tensor.
    #[inline]
    pub const fn record_int8(&mut self, value: i8) {
        self.count((value.cast_unsigned() ^ 0x80) >> 4);
    }

    /// Counts a value of a uint8 tensor.
    #[inline]
    pub const fn record_uint8(&mut self, value: u8) {
        self.count(value >> 4);
    }

    /// Counts a value of another type between `lo` and `hi` of the baseline. NaN is not counted.
    #[inline]
    pub fn record_real(&mut self, value: f32, lo: f32, hi: f32) {
        if !value.is_nan() {
            let width = hi - lo;
            let part = if width > 0.0 { (value - lo) / width * SKETCH_BINS as f32 } else { 0.0 };
            // A cast from float saturates: what is below goes into the first bin, and so does what is no number.
            self.count((part as u8).min(SKETCH_BINS as u8 - 1));
        }
    }

    /// Adds another sketch of the same tensor.
    pub fn add(&mut self, other: &Self) {
        for (to, from) in self.bins.iter_mut().zip(&other.bins) {
            *to = to.saturating_add(*from);
        }
    }

    /// Values counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bins.iter().map(|&n| u64::from(n)).sum()
    }

    const fn count(&mut self, bin: u8) {
        let bin = &mut self.bins[bin as usize & (SKETCH_BINS - 1)];
        *bin = bin.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: impl Fn(&mut Sketch), bin: Option<usize>) {
        let mut sketch = Sketch::default();
        record(&mut sketch);
        assert_eq!(sketch.bins.iter().position(|&n| n == 1), bin);
        assert_eq!(sketch.total(), u64::from(bin.is_some()));
    }

    #[test]
    fn bins() {
        for value in i8::MIN..=i8::MAX {
            check(|s| s.record_int8(value), Some((i32::from(value) + 128) as usize / 16));
        }
        for value in 0..=u8::MAX {
            check(|s| s.record_uint8(value), Some(usize::from(value) / 16));
        }
        for (value, bin) in [
            (-1.0, Some(0)),
            (-9.0, Some(0)),
            (f32::NEG_INFINITY, Some(0)),
            (-0.9, Some(0)),
            (0.0, Some(8)),
            (0.99, Some(15)),
            (1.0, Some(15)),
            (1e30, Some(15)),
            (f32::INFINITY, Some(15)),
            (f32::NAN, None),
        ] {
            check(|s| s.record_real(value, -1.0, 1.0), bin);
        }
        check(|s| s.record_real(3.0, 3.0, 3.0), Some(0));
    }
}
