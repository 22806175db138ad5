//! Element-wise operations on two tensors of which either may repeat: outer dimensions are counted, the innermost is a
//! loop.
//!
//! Portable code for all instruction sets: five operations for each of them would be much code for little time.

use crate::{
    params::{BinaryOp, Broadcast},
    reference::{self, value},
    requantize::Limits,
};

/// An operation; all lengths were checked.
pub(crate) fn broadcast(p: &Broadcast, a: &[u8], b: &[u8], output: &mut [u8]) {
    let of = |x: u8| value(p.dtype, x);
    match p.op {
        BinaryOp::Add(add) => rows(p, a, b, output, |a, b| {
            let acc = add.bias.wrapping_add(add.a_multiplier.wrapping_mul(of(a)));
            let acc = acc.wrapping_add(add.b_multiplier.wrapping_mul(of(b))).wrapping_shr(add.shift);
            acc.wrapping_add(add.out_zero_point).max(add.lo).min(add.hi) as u8
        }),
        BinaryOp::Mul(mul) => {
            let limits = Limits::new(mul.lo, mul.hi, mul.out_zero_point);
            rows(p, a, b, output, |a, b| {
                let acc = (of(a) - mul.a_zero_point).wrapping_mul(of(b) - mul.b_zero_point);
                limits.requantize(acc, mul.multiplier)
            });
        }
        BinaryOp::Maximum => rows(p, a, b, output, |a, b| of(a).max(of(b)) as u8),
        BinaryOp::Minimum => rows(p, a, b, output, |a, b| of(a).min(of(b)) as u8),
        BinaryOp::Prelu(prelu) => rows(p, a, b, output, |a, b| reference::prelu(p.dtype, &prelu, a, b)),
    }
}

#[inline(always)]
fn rows(p: &Broadcast, a: &[u8], b: &[u8], output: &mut [u8], f: impl Fn(u8, u8) -> u8) {
    let run = p.dims[5];
    for (row, output) in output.chunks_exact_mut(run).enumerate() {
        let (mut rest, mut from_a, mut from_b) = (row, 0, 0);
        for d in (0..5).rev() {
            let i = rest % p.dims[d];
            rest /= p.dims[d];
            from_a += i * p.a_strides[d];
            from_b += i * p.b_strides[d];
        }
        match (p.a_strides[5], p.b_strides[5]) {
            (1, 1) => {
                let operands = a[from_a..][..run].iter().zip(&b[from_b..][..run]);
                output.iter_mut().zip(operands).for_each(|(output, (&a, &b))| *output = f(a, b));
            }
            (1, 0) => {
                let b = b[from_b];
                output.iter_mut().zip(&a[from_a..][..run]).for_each(|(output, &a)| *output = f(a, b));
            }
            (step_a, step_b) => {
                for (i, output) in output.iter_mut().enumerate() {
                    *output = f(a[from_a + i * step_a], b[from_b + i * step_b]);
                }
            }
        }
    }
}
