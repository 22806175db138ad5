//! Portable: every CPU, no unsafe code, small enough for a microcontroller.
//!
//! A panel is one row of raw bytes. Four channels are summed at a time, so that sums and inputs stay in the registers of a
//! 32-bit core.

use super::Isa;
use crate::{
    conv::{Block, Run},
    params::Conv,
    reference::value,
    requantize::Limits,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar;

impl Isa for Scalar {
    const CELL: usize = 1;
    const ROWS: usize = 1;
    const CHANNELS: usize = 16;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        c.in_zero_point as u8
    }

    #[inline(always)]
    fn pack(self, _c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        for i in 0..run.count {
            cells[i * run.to_step..][..run.len].copy_from_slice(&input[i * run.from_step..][..run.len]);
        }
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        let limits = Limits::new(b.conv.lo, b.conv.hi, b.conv.out_zero_point);
        for (row, cells) in b.panel.chunks_exact(b.k4).enumerate() {
            let output = &mut output[row * b.stride..][..b.channels];
            for (quad, output) in output.chunks_mut(4).enumerate() {
                let n = 4 * quad;
                let acc = four(b, cells, &b.weights[16 * quad..]);
                for (i, output) in output.iter_mut().enumerate() {
                    let acc = acc[i].wrapping_add(b.bias[n + i]).wrapping_add(b.row_terms[row]);
                    *output = limits.requantize(acc, b.multipliers[n + i]);
                }
            }
        }
    }
}

/// Dot products of one row with four neighbouring channels.
#[inline(always)]
fn four(b: &Block<'_>, cells: &[u8], weights: &[i8]) -> [i32; 4] {
    let (dtype, zero_point) = (b.conv.in_dtype, b.conv.in_zero_point);
    let mut acc = [0i32; 4];
    for (x, w) in cells.as_chunks::<4>().0.iter().zip(weights.chunks(64)) {
        let Some(w) = w.first_chunk::<16>() else { break };
        let x = x.map(|x| value(dtype, x) - zero_point);
        for i in 0..4 {
            for j in 0..4 {
                acc[i] = acc[i].wrapping_add(x[j] * i32::from(w[4 * i + j]));
            }
        }
    }
    acc
}
