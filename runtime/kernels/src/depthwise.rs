//! Depthwise convolution, for any geometry and without scratch: the taps inside the image, a few channels at a time.
//!
//! Instruction sets with a faster way run [`rows`] instead.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(crate) mod rows;

use crate::{
    isa::{Isa, Op},
    params::Conv,
    reference::value,
    requantize::Limits,
};

/// How much scratch a depthwise convolution needs.
pub(crate) struct DepthwiseScratch<'a>(pub(crate) &'a Conv<'a>);

impl Op for DepthwiseScratch<'_> {
    type Out = usize;
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> usize {
        isa.depthwise_scratch_len(self.0)
    }
}

/// A depthwise convolution; all lengths were checked.
pub(crate) struct RunDepthwise<'a> {
    pub(crate) conv: &'a Conv<'a>,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
    pub(crate) scratch: &'a mut [u8],
}

impl Op for RunDepthwise<'_> {
    type Out = ();
    const WEIGHTED: bool = true;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        isa.depthwise(self.conv, self.input, self.output, self.scratch);
    }
}

/// Channels that are summed together.
const LANES: usize = 4;

/// The plain way.
#[inline(always)]
pub(crate) fn direct(c: &Conv<'_>, input: &[u8], output: &mut [u8]) {
    let w = &c.window;
    let limits = Limits::new(c.lo, c.hi, c.out_zero_point);
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        for (at, output) in output.chunks_exact_mut(c.out_c).enumerate() {
            let (y, x) = (at / w.out_w * w.stride_h, at % w.out_w * w.stride_w);
            for (lane, output) in output.chunks_mut(LANES).enumerate() {
                let n = lane * LANES;
                let acc = window(c, input, (y, x), n, output.len());
                for (i, output) in output.iter_mut().enumerate() {
                    *output = limits.requantize(acc[i], c.multipliers[n + i]);
                }
            }
        }
    }
}

/// Sums of `lanes` channels from `n` on over the window at `at`.
#[inline(always)]
fn window(c: &Conv<'_>, input: &[u8], at: (usize, usize), n: usize, lanes: usize) -> [i32; LANES] {
    let (w, multiplier) = (&c.window, c.out_c / c.in_c);
    let mut acc = [0; LANES];
    acc[..lanes].copy_from_slice(&c.bias[n..n + lanes]);
    for ky in 0..w.kernel_h {
        let y = (at.0 + ky * w.dilation_h).wrapping_sub(w.pad_top);
        if y >= w.in_h {
            continue;
        }
        for kx in 0..w.kernel_w {
            let x = (at.1 + kx * w.dilation_w).wrapping_sub(w.pad_left);
            if x >= w.in_w {
                continue;
            }
            let pixel = &input[(y * w.in_w + x) * c.in_c..][..c.in_c];
            // Weights are padded to 16 channels: there are always four.
            let Some(weights) = c.weights[(ky * w.kernel_w + kx) * c.c16() + n..].first_chunk::<LANES>() else { break };
            let cells = match pixel.get(n..).and_then(|pixel| pixel.first_chunk::<LANES>()) {
                Some(cells) if multiplier == 1 => *cells,
                _ => core::array::from_fn(|i| if i < lanes { pixel[(n + i) / multiplier] } else { 0 }),
            };
            for i in 0..LANES {
                let input = value(c.in_dtype, cells[i]) - c.in_zero_point;
                acc[i] = acc[i].wrapping_add(input * (i32::from(weights[i]) - c.weight_zero_point));
            }
        }
    }
    acc
}
