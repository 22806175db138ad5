//! Product of two tensors, or of a tensor and one row of channels for each image.

use crate::{
    isa::{Isa, Op},
    params::Mul,
    reference::value,
    requantize::Limits,
};

/// A product; all lengths were checked.
pub(crate) struct RunMul<'a> {
    pub(crate) params: &'a Mul,
    pub(crate) a: &'a [u8],
    pub(crate) b: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunMul<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Self { params: p, a, b, output } = self;
        if a.len() == b.len() {
            return product(p, a, b, output);
        }
        let image = a.len() / p.batch;
        let images = a.chunks_exact(image).zip(output.chunks_exact_mut(image)).zip(b.chunks_exact(p.channels));
        for ((a, output), b) in images {
            for (a, output) in a.chunks_exact(p.channels).zip(output.chunks_exact_mut(p.channels)) {
                product(p, a, b, output);
            }
        }
    }
}

#[inline(always)]
fn product(p: &Mul, a: &[u8], b: &[u8], output: &mut [u8]) {
    let limits = Limits::new(p.lo, p.hi, p.out_zero_point);
    for ((output, &a), &b) in output.iter_mut().zip(a).zip(b) {
        let acc = (value(p.dtype, a) - p.a_zero_point) * (value(p.dtype, b) - p.b_zero_point);
        *output = limits.requantize(acc, p.multiplier);
    }
}
