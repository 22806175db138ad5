//! Average and maximum pool: the cells inside the image, some channels at a time.

use core::ops::Range;

use crate::{
    isa::{Isa, Op},
    params::{Pool, PoolKind},
    reference::value,
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
    let start = if p.kind == PoolKind::Max { i32::MIN } else { 0 };
    let n = (cells.0.len() * cells.1.len()) as i32;
    let mut acc = [start; LANES];
    for y in cells.0 {
        for x in cells.1.clone() {
            let input = &input[(y * p.window.in_w + x) * p.channels + channel..];
            // A whole group has a length that the compiler knows.
            if let (LANES, Some(input)) = (output.len(), input.first_chunk::<LANES>()) {
                fold(p, &mut acc, input);
            } else {
                fold(p, &mut acc, &input[..output.len()]);
            }
        }
    }
    for (output, acc) in output.iter_mut().zip(acc) {
        let result = match p.kind {
            PoolKind::Max => acc,
            PoolKind::Average if acc > 0 => (acc + n / 2) / n,
            PoolKind::Average => (acc - n / 2) / n,
        };
        *output = result.max(p.lo).min(p.hi) as u8;
    }
}

#[inline(always)]
fn fold(p: &Pool, acc: &mut [i32; LANES], input: &[u8]) {
    match p.kind {
        PoolKind::Max => acc.iter_mut().zip(input).for_each(|(acc, &x)| *acc = (*acc).max(value(p.dtype, x))),
        PoolKind::Average => acc.iter_mut().zip(input).for_each(|(acc, &x)| *acc = acc.wrapping_add(value(p.dtype, x))),
    }
}
