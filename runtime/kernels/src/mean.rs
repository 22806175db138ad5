//! Mean over the pixels of each image, some channels at a time.

use crate::{
    isa::{Isa, Op},
    params::{DType, Mean},
    reference::value,
    requantize::Limits,
};

/// A mean; all lengths were checked.
pub(crate) struct RunMean<'a> {
    pub(crate) params: &'a Mean,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

/// Channels that are summed together.
const LANES: usize = 32;

impl Op for RunMean<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Self { params: p, input, output } = self;
        let (lo, hi) = p.dtype.range();
        let limits = Limits::new(lo, hi, 0);
        let images = input.chunks_exact(p.pixels * p.channels).zip(output.chunks_exact_mut(p.channels));
        for (input, output) in images {
            for (lane, output) in output.chunks_mut(LANES).enumerate() {
                let channel = lane * LANES;
                let acc = match (p.dtype, output.len() == LANES) {
                    (DType::Int8, true) => sum(p, input, channel, |x| i32::from(x as i8)),
                    (DType::UInt8, true) => sum(p, input, channel, i32::from),
                    _ => sum_tail(p, input, channel),
                };
                for (output, acc) in output.iter_mut().zip(acc) {
                    *output = limits.round(acc as f32 * p.multiplier + p.offset);
                }
            }
        }
    }
}

/// Sums of a whole group of channels.
#[inline(always)]
fn sum(p: &Mean, input: &[u8], channel: usize, value: impl Fn(u8) -> i32) -> [i32; LANES] {
    let mut acc = [0i32; LANES];
    for pixel in input.chunks_exact(p.channels) {
        let Some(pixel) = pixel[channel..].first_chunk::<LANES>() else { break };
        for i in 0..LANES {
            acc[i] = acc[i].wrapping_add(value(pixel[i]));
        }
    }
    acc
}

/// Sums of the channels that are left over.
#[inline(always)]
fn sum_tail(p: &Mean, input: &[u8], channel: usize) -> [i32; LANES] {
    let mut acc = [0i32; LANES];
    for pixel in input.chunks_exact(p.channels) {
        for (acc, &x) in acc.iter_mut().zip(&pixel[channel..]) {
            *acc = acc.wrapping_add(value(p.dtype, x));
        }
    }
    acc
}
