//! Softmax over rows. The sum runs in order, so it is one chain of additions on every instruction set.

use crate::{
    isa::{Isa, Op},
    params::{DType, Softmax},
    reference::{limit, round_away, value},
};

/// A softmax; all lengths were checked.
pub(crate) struct RunSoftmax<'a> {
    pub(crate) params: &'a Softmax<'a>,
    /// The first 256 of the table.
    pub(crate) table: &'a [f32; 256],
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

impl Op for RunSoftmax<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Self { params: p, table, input, output } = self;
        let (lo, hi) = p.dtype.range();
        for (output, row) in output.chunks_exact_mut(p.row).zip(input.chunks_exact(p.row)) {
            let max = row.iter().fold(i32::MIN, |max, &x| max.max(value(p.dtype, x)));
            let exp = |x: u8| table[usize::from(max.wrapping_sub(value(p.dtype, x)) as u8)];
            let sum = row.iter().fold(0.0f32, |sum, &x| sum + exp(x));
            let inverse = 1.0 / (sum * p.out_scale);
            for (output, &x) in output.iter_mut().zip(row) {
                let v = limit(exp(x) * inverse, -65536.0, 65536.0);
                let q = match p.dtype {
                    DType::Int8 => round_away(v) + p.out_zero_point,
                    DType::UInt8 => (v + 0.5) as i32,
                };
                *output = q.max(lo).min(hi) as u8;
            }
        }
    }
}
