//! The section *baseline*: what the values of inputs and outputs looked like when the model was made.
//!
//! ```text
//! postcard(Baseline { inputs: [TensorSketch], outputs: [TensorSketch] })         one for each input and output, in order
//! ```
//! A device holds what it sees against these and reports how far they are apart; the values themselves never leave it.
//! Bins of int8 and uint8 tensors are the upper four bits of the value above the smallest of its type (16 values each);
//! bins of other types are 16 equal parts of `lo ..= hi`.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{error::FormatError, limits::MAX_IO};

/// Bins of a sketch.
pub const SKETCH_BINS: usize = 16;

/// The values of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorSketch {
    /// The smallest value seen, in the numbers of the element type (quantized steps of int8 and uint8). Finite.
    pub lo: f32,
    /// The largest value seen. Finite, not below `lo`.
    pub hi: f32,
    /// How many values fell into each bin; at least one in all.
    pub bins: [u32; SKETCH_BINS],
}

impl TensorSketch {
    /// Values in all bins.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bins.iter().map(|&n| u64::from(n)).sum()
    }

    fn holds(&self) -> bool {
        self.lo.is_finite() && self.hi.is_finite() && self.lo <= self.hi && self.total() > 0
    }
}

/// Sketches of all inputs and outputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Of the inputs, in order.
    pub inputs: Vec<TensorSketch, MAX_IO>,
    /// Of the outputs, in order.
    pub outputs: Vec<TensorSketch, MAX_IO>,
}

impl Baseline {
    /// Decodes the section.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], or [`FormatError::OutOfRange`] for a sketch without a value or with bounds that are none.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let Ok((baseline, [])) = postcard::take_from_bytes::<Self>(bytes) else {
            return Err(FormatError::Malformed { what: "baseline section" });
        };
        baseline.check()?;
        Ok(baseline)
    }

    /// Whether it may be written.
    fn check(&self) -> Result<(), FormatError> {
        if self.inputs.is_empty() || self.outputs.is_empty() {
            return Err(FormatError::OutOfRange { what: "baseline without a tensor" });
        }
        if !self.inputs.iter().chain(&self.outputs).all(TensorSketch::holds) {
            return Err(FormatError::OutOfRange { what: "sketch of a baseline" });
        }
        Ok(())
    }
}

/// Writes a baseline section.
///
/// # Errors
/// [`FormatError::OutOfRange`] for what [`Baseline::parse`] would refuse.
#[cfg(feature = "alloc")]
pub fn write(baseline: &Baseline) -> Result<alloc::vec::Vec<u8>, FormatError> {
    baseline.check()?;
    postcard::to_allocvec(baseline).map_err(|_| FormatError::Malformed { what: "baseline section" })
}

#[cfg(test)]
#[cfg(feature = "alloc")]
mod tests {
    use super::*;

    fn baseline() -> Baseline {
        let mut bins = [0; SKETCH_BINS];
        bins[3] = 300;
        let sketch = TensorSketch { lo: -77.0, hi: -70.0, bins };
        Baseline { inputs: [sketch; 2].into_iter().collect(), outputs: [sketch].into_iter().collect() }
    }

    #[test]
    fn round_trip() {
        let bytes = write(&baseline()).unwrap();
        assert_eq!(Baseline::parse(&bytes), Ok(baseline()));
        for cut in 0..bytes.len() {
            assert_eq!(Baseline::parse(&bytes[..cut]).unwrap_err().code(), 105, "cut at {cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Baseline::parse(&longer).unwrap_err().code(), 105, "a byte is left over");
    }

    fn refused(change: impl Fn(&mut Baseline)) {
        let mut bad = baseline();
        change(&mut bad);
        assert_eq!(write(&bad).unwrap_err().code(), 111);
        assert_eq!(Baseline::parse(&postcard::to_allocvec(&bad).unwrap()).unwrap_err().code(), 111, "{bad:?}");
    }

    #[test]
    fn what_is_no_baseline() {
        refused(|b| b.inputs.clear());
        refused(|b| b.outputs.clear());
        refused(|b| b.inputs[1].bins = [0; SKETCH_BINS]);
        refused(|b| b.outputs[0].lo = f32::NAN);
        refused(|b| b.outputs[0].hi = f32::INFINITY);
        refused(|b| b.outputs[0].lo = -60.0);
    }
}
