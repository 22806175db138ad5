//! Real numbers into the elements of an input, and elements of an output into real numbers.
//!
//! ```text
//! int8, uint8   round(real * (1 / scale)) + zero_point, half to even, clipped to the type       as QUANTIZE does it
//! float32       as it is
//! ```

use fleetfoot_format::graph::IoType;
use half::f16;

use crate::error::PreprocessError;

/// An input of a model.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Element type.
    pub dtype: IoType,
    /// Extents, outermost first.
    pub dims: &'a [u32],
    /// Real value of one quantized step.
    pub scale: f32,
    /// Quantized value of real 0.
    pub zero_point: i32,
}

/// An output of a model after a run.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Element type.
    pub dtype: IoType,
    /// Real value of one quantized step.
    pub scale: f32,
    /// Quantized value of real 0.
    pub zero_point: i32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// IEEE half precision to single: exact.
#[must_use]
pub fn f16_to_f32(bits: u16) -> f32 {
    f16::from_bits(bits).to_f32()
}

impl Tensor<'_> {
    /// How many elements there are; `u64::MAX` where that cannot be counted.
    #[must_use]
    pub fn elements(&self) -> u64 {
        self.dims.iter().try_fold(1u64, |all, &d| all.checked_mul(u64::from(d))).unwrap_or(u64::MAX)
    }

    /// The bytes of the element for a real number: the first [`IoType::size`] of them. NaN, which no settings give, is the zero point.
    #[must_use]
    pub fn element(&self, real: f32) -> [u8; 4] {
        match self.range() {
            Some((low, high)) => {
                let steps = round_half_even((real * (1.0 / self.scale)).clamp(-65_536.0, 65_536.0));
                steps.saturating_add(self.zero_point).clamp(low, high).to_le_bytes()
            }
            None => real.to_le_bytes(),
        }
    }

    /// The bytes of the element for a level from 0 to 255 that is taken as it is.
    #[must_use]
    pub fn level(&self, level: u8) -> [u8; 4] {
        match self.range() {
            Some((low, _)) => (i32::from(level) + low).to_le_bytes(),
            None => f32::from(level).to_le_bytes(),
        }
    }

    pub(crate) fn is_a_door(&self) -> Result<(), PreprocessError> {
        match self.dtype {
            IoType::Int8 | IoType::UInt8 | IoType::Float32 => Ok(()),
            have => Err(PreprocessError::ElementType { have }),
        }
    }

    /// `out` as it must be for all elements.
    pub(crate) fn fits(&self, out: &[u8]) -> Result<(), PreprocessError> {
        self.is_a_door()?;
        let need = self.elements().saturating_mul(self.dtype.size() as u64);
        let need = usize::try_from(need).unwrap_or(usize::MAX);
        if out.len() == need {
            return Ok(());
        }
        Err(PreprocessError::Buffer { what: "the input of the model", need, have: out.len() })
    }

    const fn range(&self) -> Option<(i32, i32)> {
        match self.dtype {
            IoType::Int8 => Some((-128, 127)),
            IoType::UInt8 => Some((0, 255)),
            _ => None,
        }
    }
}

impl Output<'_> {
    /// How many elements there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index` as a real number; `None` behind the last.
    #[must_use]
    pub fn real(&self, index: usize) -> Option<f32> {
        let size = self.dtype.size();
        let bytes = self.bytes.get(index.checked_mul(size)?..)?.get(..size)?;
        let scaled = |q: i32| (q.saturating_sub(self.zero_point)) as f32 * self.scale;
        Some(match (self.dtype, bytes) {
            (IoType::Int8, &[b]) => scaled(i32::from(b.cast_signed())),
            (IoType::UInt8, &[b]) => scaled(i32::from(b)),
            (IoType::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
            (IoType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32,
            (_, bytes) => i64::from_le_bytes(*bytes.first_chunk()?) as f32,
        })
    }
}

/// The nearest whole number, half to even, of a number below 2^22 in magnitude: adding 1.5 * 2^23 leaves no bit for the fraction, and the
/// addition rounds half to even. NaN gives 0.
pub(crate) fn round_half_even(x: f32) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    // Not to be simplified: the sum is rounded before the difference is taken.
    ((x + SHIFT) - SHIFT) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_half_to_even() {
        for i in -40_000..40_000 {
            let x = i as f32 / 16.0;
            assert_eq!(round_half_even(x), x.round_ties_even() as i32, "{x}");
        }
        assert_eq!([0.5, 1.5, 2.5, -0.5, -1.5, 65_536.0, f32::NAN].map(round_half_even), [0, 2, 2, 0, -2, 65_536, 0]);
    }

    #[test]
    fn every_half_is_exact_in_single_precision() {
        for bits in 0..=u16::MAX {
            let wide = f16_to_f32(bits);
            let (sign, exponent, fraction) = (bits >> 15, i32::from(bits >> 10 & 31), u32::from(bits & 1023));
            let value = match exponent {
                31 if fraction > 0 => {
                    assert!(wide.is_nan());
                    continue;
                }
                31 => f32::INFINITY,
                0 => fraction as f32 * 2f32.powi(-24),
                _ => (1024 + fraction) as f32 * 2f32.powi(exponent - 25),
            };
            assert_eq!(wide.to_bits(), if sign == 1 { -value } else { value }.to_bits(), "{bits:#06x}");
        }
    }

    #[test]
    fn elements_are_clipped_and_nan_is_zero() {
        let int8 = Tensor { dtype: IoType::Int8, dims: &[1], scale: 0.5, zero_point: 3 };
        let of = |real: f32| int8.element(real)[0].cast_signed();
        assert_eq!([0.0, 0.25, 0.75, -70.0, 1e30, -1e30].map(of), [3, 3, 5, -128, 127, -128]);
        assert_eq!(of(f32::NAN), 3);
        assert_eq!((int8.level(0)[0].cast_signed(), int8.level(255)[0].cast_signed()), (-128, 127));
    }
}
