//! First layers: windows of 3 x 3 pixels of three channels, whose kernel rows are no whole number of dots. A register is four
//! neighbouring bytes of the windows of 16 pixels, picked out of the input rows by `vpermi2b`; it meets one weight of each
//! channel in turn, spread over a register. So nothing is put together in memory, and 8 channels need half of what tiles of
//! 16 channels do.
//!
//! ```text
//! for 16 output pixels of a row:
//!     cells[j] = bytes 4 j .. 4 j + 4 of each window
//!     for each channel n: sums[n] = bias[n] + cells[0] . weights[n][0] + cells[1] . weights[n][1] + ...
//!     transpose: pixel by pixel, channel by channel
//! ```
//! Which lane holds which pixel is chosen so that the pixels come out of the transposition in order.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use super::tiles::Epilogue;
use crate::{
    isa::vnni::{copy_line, unsigned_zero_point},
    params::Conv,
    ring::Ring,
};

/// Output pixels at a time.
const PIXELS: usize = 16;
/// Input bytes of a row that they may span: two registers.
const SPAN: usize = 128;
/// Bytes of a kernel row.
const RUN: usize = 9;
/// Kernel rows.
const ROWS: usize = 3;
/// Dots of a window.
const DOTS: usize = (RUN * ROWS).div_ceil(4);
/// Channels at most.
const MAX_CHANNELS: usize = 64;

/// Whether this file has a way for `c`.
#[inline(always)]
pub(super) fn takes(c: &Conv<'_>) -> bool {
    let w = &c.window;
    c.below_one
        && c.weight_zero_point == 0
        && (w.dilation_h, w.dilation_w) == (1, 1)
        && (w.kernel_h, w.kernel_w, c.in_c) == (ROWS, 3, 3)
        && matches!(w.stride_w, 1 | 2)
        && w.out_w >= PIXELS
        && matches!(c.out_c, 8 | 16 | 32 | 48 | MAX_CHANNELS)
}

/// Bytes of scratch.
pub(super) fn scratch_len(c: &Conv<'_>) -> usize {
    ring(c).len()
}

fn ring(c: &Conv<'_>) -> Ring {
    Ring::new(&c.window, c.in_c, SPAN)
}

/// The convolution.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
pub(super) fn run(c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    assert!(takes(c));
    let (w, ring) = (&c.window, ring(c));
    let lines = &mut scratch[..ring.len()];
    let mut bias = [0; MAX_CHANNELS];
    for (to, (bias, sum)) in bias.iter_mut().zip(c.bias[..c.out_c].iter().zip(c.sums)) {
        *to = bias.wrapping_sub(sum.wrapping_mul(unsigned_zero_point(c)));
    }
    let multipliers = &c.multipliers[..c.out_c];
    let layer = Layer { c, places: places(c), bias, multipliers, epilogue: Epilogue::new(c) };
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let mut have = 0;
        for (y, output) in output.chunks_exact_mut(w.out_w * c.out_c).enumerate() {
            let top = y * w.stride_h;
            ring.advance(c, top, &mut have, input, lines, |line, to| {
                copy_line(c, w.pad_left * c.in_c, line, to);
            });
            let rows = [0, 1, 2].map(|ky| &lines[ring.at(top + ky)..][..ring.pitch]);
            let mut at = 0;
            while at < w.out_w {
                let first = at.min(w.out_w - PIXELS);
                let output = &mut output[first * c.out_c..][..PIXELS * c.out_c];
                let cells = layer.cells(rows.map(|row| &row[first * w.stride_w * c.in_c..]));
                if c.out_c == 8 {
                    layer.channels::<8>(&cells, 0, output);
                } else {
                    for channel in (0..c.out_c).step_by(16) {
                        layer.channels::<16>(&cells, channel, output);
                    }
                }
                at = first + PIXELS;
            }
        }
    }
}

/// Four times where the window of each lane's pixel begins.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
fn places(c: &Conv<'_>) -> __m512i {
    let pixels = if c.out_c == 8 {
        _mm512_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15)
    } else {
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)
    };
    _mm512_mullo_epi32(pixels, _mm512_set1_epi32((c.window.stride_w * c.in_c) as i32 * 0x0101_0101))
}

/// What all pixels share.
struct Layer<'a> {
    c: &'a Conv<'a>,
    places: __m512i,
    bias: [i32; MAX_CHANNELS],
    multipliers: &'a [f32],
    epilogue: Epilogue,
}

impl Layer<'_> {
    /// Four bytes a register of the windows of [`PIXELS`] pixels, that begin at the first of `rows`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    fn cells(&self, rows: [&[u8]; ROWS]) -> [__m512i; DOTS] {
        let rows = rows.map(|row| {
            let from = row[..SPAN].as_ptr();
            // SAFETY: twice 64 bytes.
            unsafe { [_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(64).cast())] }
        });
        // Bytes of a window are counted through all its rows; those of a dot that lie in row `R`.
        let part = |dot: usize, row: usize| {
            let at = core::array::from_fn(|i| (4 * dot + i).wrapping_sub(RUN * row) as u8);
            let index = _mm512_add_epi8(self.places, _mm512_set1_epi32(i32::from_le_bytes(at)));
            _mm512_permutex2var_epi8(rows[row][0], index, rows[row][1])
        };
        // One byte of the third dot lies in the first row, two of the fifth in the second.
        [
            part(0, 0),
            part(1, 0),
            _mm512_mask_blend_epi8(0xeeee_eeee_eeee_eeee, part(2, 0), part(2, 1)),
            part(3, 1),
            _mm512_mask_blend_epi8(0xcccc_cccc_cccc_cccc, part(4, 1), part(4, 2)),
            part(5, 2),
            part(6, 2),
        ]
    }

    /// `C` channels (8: all of them, or 16) from `channel` on, of all pixels.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,avx512vbmi")]
    fn channels<const C: usize>(&self, cells: &[__m512i; DOTS], channel: usize, output: &mut [u8]) {
        let c = self.c;
        let (bias, multipliers) = (&self.bias[channel..][..C], &self.multipliers[channel..][..C]);
        let weights = &c.weights[channel * 4 * DOTS..][..64 * DOTS];
        let mut acc: [__m512i; C] = core::array::from_fn(|n| _mm512_set1_epi32(bias[n]));
        for (cells, weights) in cells.iter().zip(weights.as_chunks::<64>().0) {
            for (n, acc) in acc.iter_mut().enumerate() {
                // SAFETY: four of the 64 weights.
                let weights = unsafe { weights.as_ptr().add(4 * n).cast::<i32>().read_unaligned() };
                *acc = _mm512_dpbusd_epi32(*acc, *cells, _mm512_set1_epi32(weights));
            }
        }
        // A lane of the result is four channels of four pixels.
        let four = |n: usize| {
            let scaled = core::array::from_fn(|i| self.epilogue.scale(acc[n + i], _mm512_set1_ps(multipliers[n + i])));
            let order = _mm512_set4_epi32(0x0f0b_0703, 0x0e0a_0602, 0x0d09_0501, 0x0c08_0400);
            _mm512_shuffle_epi8(self.epilogue.interleaved(scaled), order)
        };
        let (a, b) = (four(0), four(4));
        let (low, high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let output = &mut output[channel..][..(PIXELS - 1) * c.out_c + C];
        let to = output.as_mut_ptr();
        if C == 8 {
            // SAFETY: 16 pixels of 8 bytes.
            unsafe {
                _mm512_storeu_si512(to.cast(), low);
                _mm512_storeu_si512(to.add(64).cast(), high);
            }
            return;
        }
        let (a, b) = (four(C - 8), four(C - 4));
        let (low2, high2) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
        let fours = [
            _mm512_unpacklo_epi64(low, low2),
            _mm512_unpackhi_epi64(low, low2),
            _mm512_unpacklo_epi64(high, high2),
            _mm512_unpackhi_epi64(high, high2),
        ];
        for (i, pixels) in fours.into_iter().enumerate() {
            // SAFETY: four pixels of 16 bytes, `out_c` apart.
            unsafe {
                let to = to.add(4 * i * c.out_c);
                if c.out_c == 16 {
                    _mm512_storeu_si512(to.cast(), pixels);
                } else {
                    _mm_storeu_si128(to.cast(), _mm512_castsi512_si128(pixels));
                    _mm_storeu_si128(to.add(c.out_c).cast(), _mm512_extracti32x4_epi32(pixels, 1));
                    _mm_storeu_si128(to.add(2 * c.out_c).cast(), _mm512_extracti32x4_epi32(pixels, 2));
                    _mm_storeu_si128(to.add(3 * c.out_c).cast(), _mm512_extracti32x4_epi32(pixels, 3));
                }
            }
        }
    }
}
