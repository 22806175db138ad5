//! Sum or difference of two tensors of one shape.

use crate::{
    isa::{Isa, Op},
    params::Add,
    reference::value,
};

/// A sum; all lengths were checked.
pub(crate) struct RunAdd<'a> {
    pub(crate) params: &'a Add,
    pub(crate) a: &'a [u8],
    pub(crate) b: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunAdd<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        isa.add(self.params, self.a, self.b, self.output);
    }
}

/// The plain way.
#[inline(always)]
pub(crate) fn one_by_one(p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    for ((output, &a), &b) in output.iter_mut().zip(a).zip(b) {
        let (a, b) = (value(p.dtype, a), value(p.dtype, b));
        let acc = p.bias.wrapping_add(p.a_multiplier.wrapping_mul(a)).wrapping_add(p.b_multiplier.wrapping_mul(b));
        *output = acc.wrapping_shr(p.shift).wrapping_add(p.out_zero_point).max(p.lo).min(p.hi) as u8;
    }
}
