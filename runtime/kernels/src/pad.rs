//! A border around a tensor of four dimensions: fill, then copy runs.

use crate::{
    isa::{Isa, Op},
    params::Pad,
};

/// A border; all lengths were checked.
pub(crate) struct RunPad<'a> {
    pub(crate) params: &'a Pad,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunPad<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Self { params: p, input, output } = self;
        output.fill(p.value);
        let [_, d1, d2, d3] = p.in_dims;
        let [_, o1, o2, o3]: [usize; 4] = core::array::from_fn(|d| p.before[d] + p.in_dims[d] + p.after[d]);
        if input.is_empty() {
            return;
        }
        for (at, row) in input.chunks_exact(d3).enumerate() {
            let (i0, i1, i2) = (at / (d1 * d2), at / d2 % d1, at % d2);
            let to = (((p.before[0] + i0) * o1 + p.before[1] + i1) * o2 + p.before[2] + i2) * o3 + p.before[3];
            output[to..to + d3].copy_from_slice(row);
        }
    }
}
