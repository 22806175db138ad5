//! Average and maximum pool: the cells inside the image, some channels at a time.

use core::ops::Range;

use crate::{
    isa::{Isa, Op},
    params::{DType, Pool, PoolKind},
};

/// A pool; all lengths were checked, and every window holds a cell of the image.
pub(crate) struct RunPool<'a> {
    pub(crate) params: &'a Pool,
    pub(crate) input: &'a [u8],
    pub(crate) output: &'a mut [u8],
}

/// Channels that are folded together.
const LANES: usize = 16;

impl Op for RunPool<'_> {
    type Out = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Self { params: p, input, output } = self;
        let w = &p.window;
        let images =
            input.chunks_exact(w.in_pixels() * p.channels).zip(output.chunks_exact_mut(w.out_pixels() * p.channels));
        for (input, output) in images {
            for (at, output) in output.chunks_exact_mut(p.channels).enumerate() {
                let rows = inside(at / w.out_w * w.stride_h, w.pad_top, w.kernel_h, w.in_h);
                let columns = inside(at % w.out_w * w.stride_w, w.pad_left, w.kernel_w, w.in_w);
                for (lane, output) in output.chunks_mut(LANES).enumerate() {
                    window(p, input, (rows.clone(), columns.clone()), lane * LANES, output);
                }
            }
        }
    }
}

/// The cells of a window of `kernel` that begins at `start - pad`.
#[inline(always)]
fn inside(start: usize, pad: usize, kernel: usize, extent: usize) -> Range<usize> {
    start.saturating_sub(pad)..(start + kernel).saturating_sub(pad).min(extent)
}

#[inline(always)]
fn window(p: &Pool, input: &[u8], cells: (Range<usize>, Range<usize>), channel: usize, output: &mut [u8]) {
    let n = (cells.0.len() * cells.1.len()) as i32;
    let signed = |x: u8| i32::from(x as i8);
    let max = |acc: i32, x: i32| acc.max(x);
    let lanes = output.len();
    let acc = match (p.kind, p.dtype) {
        (PoolKind::Max, DType::Int8) => fold(p, input, cells, channel, lanes, i32::MIN, |acc, x| max(acc, signed(x))),
        (PoolKind::Max, DType::UInt8) => fold(p, input, cells, channel, lanes, 0, |acc, x| max(acc, i32::from(x))),
        (PoolKind::Average, DType::Int8) => {
            fold(p, input, cells, channel, lanes, 0, |acc, x| acc.wrapping_add(signed(x)))
        }
        (PoolKind::Average, DType::UInt8) => {
            fold(p, input, cells, channel, lanes, 0, |acc, x| acc.wrapping_add(x.into()))
        }
    };
    // The quotient of integers below 2^24 rounds to an integer only if it is one, so its floor is that of the division.
    let exact = n <= 1 << 16;
    for (output, acc) in output.iter_mut().zip(acc) {
        let result = match p.kind {
            PoolKind::Max => acc,
            PoolKind::Average => {
                let near = if acc > 0 { acc + n / 2 } else { acc - n / 2 };
                // A sum of so few cells is far from the limits of the conversion.
                if exact { (near as f32 / n as f32) as i32 } else { near / n }
            }
        };
        *output = result.max(p.lo).min(p.hi) as u8;
    }
}

#[inline(always)]
fn fold(
    p: &Pool,
    input: &[u8],
    cells: (Range<usize>, Range<usize>),
    channel: usize,
    lanes: usize,
    start: i32,
    step: impl Fn(i32, u8) -> i32,
) -> [i32; LANES] {
    let mut acc = [start; LANES];
    for y in cells.0 {
        let row = &input[y * p.window.in_w * p.channels..][..p.window.in_w * p.channels];
        for cell in row.chunks_exact(p.channels).take(cells.1.end).skip(cells.1.start) {
            if lanes == LANES {
                // A whole group has a length that the compiler knows.
                let Some(cell) = cell[channel..].first_chunk::<LANES>() else { break };
                for i in 0..LANES {
                    acc[i] = step(acc[i], cell[i]);
                }
            } else {
                for (acc, &x) in acc.iter_mut().zip(&cell[channel..]) {
                    *acc = step(*acc, x);
                }
            }
        }
    }
    acc
}
