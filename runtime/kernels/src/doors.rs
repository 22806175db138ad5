//! Where quantized numbers meet others: float inputs and outputs, indices.

use crate::{
    isa::{Isa, Op},
    params::Door,
    reference::value,
    requantize::Limits,
};

/// Quantization of float32; all lengths were checked.
pub(crate) struct RunFromFloat<'a> {
    pub(crate) params: &'a Door,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunFromFloat<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let p = self.params;
        let (lo, hi) = p.dtype.range();
        let limits = Limits::new(lo, hi, p.zero_point);
        for (output, &x) in self.output.iter_mut().zip(self.input.as_chunks::<4>().0) {
            *output = limits.round(f32::from_le_bytes(x) * p.factor);
        }
    }
}

/// Quantized numbers as float32; all lengths were checked.
pub(crate) struct RunToFloat<'a> {
    pub(crate) params: &'a Door,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunToFloat<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let p = self.params;
        for (output, &x) in self.output.as_chunks_mut::<4>().0.iter_mut().zip(self.input) {
            *output = ((value(p.dtype, x) - p.zero_point) as f32 * p.factor).to_le_bytes();
        }
    }
}
