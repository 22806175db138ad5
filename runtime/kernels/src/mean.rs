//! Mean over the pixels of each image, some channels at a time.

use crate::{
    isa::{Isa, Op},
    params::Mean,
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
                let mut acc = [0; LANES];
                for pixel in input.chunks_exact(p.channels) {
                    let pixel = &pixel[lane * LANES..];
                    // A whole group has a length that the compiler knows.
                    if let Some(pixel) = pixel.first_chunk::<LANES>() {
                        sum(p, &mut acc, pixel);
                    } else {
                        sum(p, &mut acc, pixel);
                    }
                }
                for (output, acc) in output.iter_mut().zip(acc) {
                    *output = limits.round(acc as f32 * p.multiplier + p.offset);
                }
            }
        }
    }
}

#[inline(always)]
fn sum(p: &Mean, acc: &mut [i32; LANES], input: &[u8]) {
    for (acc, &x) in acc.iter_mut().zip(input) {
        *acc = acc.wrapping_add(value(p.dtype, x));
    }
}
