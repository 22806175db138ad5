//! Depthwise convolution: the rows of a window at one column are interleaved, so that 32 bits are up to four taps of one
//! channel, and `vpdpbusd` multiplies a column by one column of the kernel. A column is interleaved once and feeds all
//! outputs that see it, whose sums slide along in registers. Unpacking and packing are inverse, so 64 channels come out in
//! order.
//!
//! With 8, 16 or 32 channels a register holds several neighbouring pixels, and the columns of the kernel are shifts of it.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use super::tiles::Epilogue;
use crate::{
    isa::vnni::{copy_line, unsigned_zero_point},
    params::Conv,
    ring::Ring,
};

/// Bytes behind a row of the ring that loads may touch.
const SLACK: usize = 192;
/// Vectors of bias and multipliers before the weights of a chunk.
const HEAD: usize = 8 * 64;

/// Whether this file has a way for `c`.
#[inline(always)]
pub(super) fn takes(c: &Conv<'_>) -> bool {
    let w = &c.window;
    c.weight_zero_point == 0
        && c.in_c == c.out_c
        && (w.dilation_h, w.dilation_w) == (1, 1)
        && matches!((w.kernel_w, w.kernel_h), (3, 1..=4) | (5, 1..=8))
        && matches!(w.stride_w, 1 | 2)
        && c.below_one
}

/// Bytes of scratch.
pub(super) fn scratch_len(c: &Conv<'_>) -> usize {
    let constants = c.out_c.div_ceil(64).saturating_mul(chunk_len(c));
    ring(c).len().saturating_add(constants)
}

fn ring(c: &Conv<'_>) -> Ring {
    Ring::new(&c.window, c.in_c, SLACK)
}

/// Registers for the rows of a column.
fn quads(c: &Conv<'_>) -> usize {
    c.window.kernel_h.div_ceil(4)
}

/// Bytes of the constants of 64 channels: `[bias 4][multiplier 4][kernel column][quad][4]` registers.
fn chunk_len(c: &Conv<'_>) -> usize {
    HEAD + c.window.kernel_w * quads(c) * 256
}

/// The convolution.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn run(c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let (w, ring) = (&c.window, ring(c));
    let (lines, constants) = scratch.split_at_mut(ring.len());
    let constants = &mut constants[..c.out_c.div_ceil(64) * chunk_len(c)];
    for (chunk, to) in constants.chunks_exact_mut(chunk_len(c)).enumerate() {
        prepare(c, chunk, to);
    }
    let flat = w.kernel_w == 3 && matches!(c.out_c, 8 | 16 | 32);
    let epilogue = Epilogue::new(c);
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        let mut have = 0;
        for (y, output) in output.chunks_exact_mut(w.out_w * c.out_c).enumerate() {
            let top = y * w.stride_h;
            ring.advance(c, top, &mut have, input, lines, |line, to| {
                copy_line(c, w.pad_left * c.in_c, line, to);
            });
            // Rows that the kernel does not have meet zero weights.
            let rows = core::array::from_fn(|ky| lines[ring.at(top + ky.min(w.kernel_h - 1))..][..ring.pitch].as_ptr());
            let row = Row { c, rows, epilogue, constants };
            // SAFETY: every row of the ring has `pitch` bytes: all columns of the output row and `SLACK`.
            unsafe {
                match (w.kernel_w, w.stride_w, quads(c)) {
                    (3, 1, _) if flat => match c.out_c {
                        8 => flat_row::<8>(&row, output),
                        16 => flat_row::<16>(&row, output),
                        _ => flat_row::<32>(&row, output),
                    },
                    (3, 2, _) if flat => flat_row_by_two(&row, output),
                    (3, 1, _) => wide_row::<3, 1>(&row, output),
                    (3, _, _) => wide_row_by_two::<3, 2, 1>(&row, output),
                    (_, 1, 1) => wide_row::<5, 1>(&row, output),
                    (_, _, 1) => wide_row_by_two::<5, 3, 1>(&row, output),
                    (_, 1, _) => wide_row::<5, 2>(&row, output),
                    _ => wide_row_by_two::<5, 3, 2>(&row, output),
                }
            }
        }
    }
}

/// One output row.
struct Row<'a> {
    c: &'a Conv<'a>,
    /// The rows of the kernel in the ring.
    rows: [*const u8; 8],
    epilogue: Epilogue,
    constants: &'a [u8],
}

type Four = [__m512i; 4];

/// Four rows of 64 bytes, so that each 32 bits are four taps. Lane `l`, vector `v`, element `i` is byte `16 l + 4 v + i`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn interleave([r0, r1, r2, r3]: Four) -> Four {
    let (a, b) = (_mm512_unpacklo_epi8(r0, r1), _mm512_unpackhi_epi8(r0, r1));
    let (c, d) = (_mm512_unpacklo_epi8(r2, r3), _mm512_unpackhi_epi8(r2, r3));
    [_mm512_unpacklo_epi16(a, c), _mm512_unpackhi_epi16(a, c), _mm512_unpacklo_epi16(b, d), _mm512_unpackhi_epi16(b, d)]
}

/// 64 values of 32 bits in the order of [`interleave`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn in_order([a, b, c, d]: Four) -> Four {
    let (t0, t1) = (_mm512_shuffle_i32x4(a, b, 0x44), _mm512_shuffle_i32x4(a, b, 0xee));
    let (t2, t3) = (_mm512_shuffle_i32x4(c, d, 0x44), _mm512_shuffle_i32x4(c, d, 0xee));
    [
        _mm512_shuffle_i32x4(t0, t2, 0x88),
        _mm512_shuffle_i32x4(t0, t2, 0xdd),
        _mm512_shuffle_i32x4(t1, t3, 0x88),
        _mm512_shuffle_i32x4(t1, t3, 0xdd),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn dot(acc: &mut Four, cells: &Four, weights: &Four) {
    for ((acc, &cells), &weights) in acc.iter_mut().zip(cells).zip(weights) {
        *acc = _mm512_dpbusd_epi32(*acc, cells, weights);
    }
}

/// # Safety
/// 256 bytes from `at`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn four(at: *const u8) -> Four {
    // SAFETY: the caller's.
    core::array::from_fn(|v| unsafe { _mm512_loadu_si512(at.add(64 * v).cast()) })
}

/// The constants of 64 channels from `64 * chunk` on; what lies beyond the channels is 0. With 8, 16 or 32 channels they are
/// repeated.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn prepare(c: &Conv<'_>, chunk: usize, to: &mut [u8]) {
    let (w, c16) = (&c.window, c.c16());
    assert!(to.len() == chunk_len(c));
    let repeat = w.kernel_w == 3 && matches!(c.out_c, 8 | 16 | 32);
    // A register of 16 channels from the `i`-th channel of the chunk on, or 0.
    let first = |i: usize| if repeat { i % c.out_c.max(16) } else { 64 * chunk + i };
    let widen = |values: &dyn Fn(usize) -> __m512i| {
        let mut all = [_mm512_setzero_si512(); 4];
        for (l, to) in all.iter_mut().enumerate() {
            let at = first(16 * l);
            if at < c16 {
                *to = values(at);
            }
        }
        if repeat && c.out_c == 8 {
            for v in &mut all {
                *v = _mm512_shuffle_i64x2(*v, *v, 0x44);
            }
        }
        in_order(all)
    };
    let zero_point = _mm512_set1_epi32(unsigned_zero_point(c));
    let bias = widen(&|at| {
        let (bias, sums) = (&c.bias[at..at + 16], &c.sums[at..at + 16]);
        // SAFETY: 16 of each.
        let (bias, sums) =
            unsafe { (_mm512_loadu_si512(bias.as_ptr().cast()), _mm512_loadu_si512(sums.as_ptr().cast())) };
        _mm512_sub_epi32(bias, _mm512_mullo_epi32(sums, zero_point))
    });
    let multipliers = widen(&|at| {
        let multipliers = &c.multipliers[at..at + 16];
        // SAFETY: 16 of them.
        unsafe { _mm512_loadu_si512(multipliers.as_ptr().cast()) }
    });
    let mut registers = to.chunks_exact_mut(64);
    let mut put = |v: __m512i| {
        if let Some(to) = registers.next() {
            // SAFETY: 64 bytes.
            unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), v) }
        }
    };
    bias.into_iter().chain(multipliers).for_each(&mut put);
    let n = (c.out_c - 64 * chunk).min(64);
    for kx in 0..w.kernel_w {
        for quad in 0..quads(c) {
            let taps = core::array::from_fn(|i| {
                let ky = 4 * quad + i;
                if ky >= w.kernel_h {
                    return _mm512_setzero_si512();
                }
                let row = &c.weights[(ky * w.kernel_w + kx) * c16 + 64 * chunk..][..n];
                // SAFETY: the mask keeps to the row.
                let row = unsafe { _mm512_maskz_loadu_epi8(u64::MAX >> (64 - n), row.as_ptr().cast()) };
                match c.out_c {
                    8 if repeat => _mm512_broadcastq_epi64(_mm512_castsi512_si128(row)),
                    16 if repeat => _mm512_shuffle_i64x2(row, row, 0),
                    32 if repeat => _mm512_shuffle_i64x2(row, row, 0x44),
                    _ => row,
                }
            });
            interleave(taps).into_iter().for_each(&mut put);
        }
    }
}

/// The interleaved columns at byte `at` of the rows, `Q` quads.
///
/// # Safety
/// 64 bytes from `at` on in every row.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn column<const Q: usize>(rows: &[*const u8; 8], at: usize) -> [Four; Q] {
    core::array::from_fn(|q| {
        // SAFETY: the caller's.
        interleave(core::array::from_fn(|i| unsafe { _mm512_loadu_si512(rows[4 * q + i].add(at).cast()) }))
    })
}

/// The weights of 64 channels.
///
/// # Safety
/// `constants` are those of `K` columns of `Q` quads.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn kernel<const K: usize, const Q: usize>(constants: *const u8) -> [[Four; Q]; K] {
    // SAFETY: the caller's.
    core::array::from_fn(|kx| core::array::from_fn(|q| unsafe { four(constants.add(HEAD + (kx * Q + q) * 256)) }))
}

/// Requantizes 64 sums and writes `n` of them.
///
/// # Safety
/// `n` bytes from `to`, 256 from `multipliers`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn put(e: &Epilogue, acc: &Four, multipliers: *const u8, to: *mut u8, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        let q = core::array::from_fn(|v| e.scale(acc[v], _mm512_loadu_ps(multipliers.add(64 * v).cast())));
        let bytes = e.interleaved(q);
        if n >= 64 {
            _mm512_storeu_si512(to.cast(), bytes);
        } else {
            _mm512_mask_storeu_epi8(to.cast(), u64::MAX >> (64 - n), bytes);
        }
    }
}

/// Stride 1, 64 channels at a time.
///
/// # Safety
/// The rows are as wide as [`run`] makes them.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn wide_row<const K: usize, const Q: usize>(r: &Row<'_>, output: &mut [u8]) {
    let channels = r.c.out_c;
    let pixels = output.len() / channels;
    for (chunk, constants) in r.constants.chunks_exact(HEAD + K * Q * 256).enumerate() {
        let (first, n) = (64 * chunk, (channels - 64 * chunk).min(64));
        // SAFETY: the constants of `K` columns of `Q` quads; columns up to the last of the last pixel; `n` bytes of a pixel.
        unsafe {
            let constants = constants.as_ptr();
            let weights = kernel::<K, Q>(constants);
            let mut acc = [four(constants); K];
            let out = output.as_mut_ptr().add(first);
            let add = |acc: &mut [Four; K], at: usize| {
                let cells = column::<Q>(&r.rows, at * channels + first);
                for (j, acc) in acc.iter_mut().enumerate() {
                    for q in 0..Q {
                        dot(acc, &cells[q], &weights[K - 1 - j][q]);
                    }
                }
            };
            let next = |acc: &mut [Four; K]| {
                for j in 1..K {
                    acc[j - 1] = acc[j];
                }
                acc[K - 1] = four(constants);
            };
            for at in 0..K - 1 {
                add(&mut acc, at);
                next(&mut acc);
            }
            for pixel in 0..pixels {
                add(&mut acc, pixel + K - 1);
                put(&r.epilogue, &acc[0], constants.add(256), out.add(pixel * channels), n);
                next(&mut acc);
            }
        }
    }
}

/// Stride 2, 64 channels at a time; `P` outputs see an even column.
///
/// # Safety
/// As [`wide_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn wide_row_by_two<const K: usize, const P: usize, const Q: usize>(r: &Row<'_>, output: &mut [u8]) {
    let channels = r.c.out_c;
    let pixels = output.len() / channels;
    for (chunk, constants) in r.constants.chunks_exact(HEAD + K * Q * 256).enumerate() {
        let (first, n) = (64 * chunk, (channels - 64 * chunk).min(64));
        // SAFETY: as in `wide_row`.
        unsafe {
            let constants = constants.as_ptr();
            let weights = kernel::<K, Q>(constants);
            let mut acc = [four(constants); P];
            let out = output.as_mut_ptr().add(first);
            for t in 0..pixels + P - 1 {
                let cells = column::<Q>(&r.rows, 2 * t * channels + first);
                for (j, acc) in acc.iter_mut().enumerate() {
                    for q in 0..Q {
                        dot(acc, &cells[q], &weights[2 * (P - 1 - j)][q]);
                    }
                }
                if t + 1 >= P {
                    let pixel = t + 1 - P;
                    put(&r.epilogue, &acc[0], constants.add(256), out.add(pixel * channels), n);
                    if pixel + 1 == pixels {
                        break;
                    }
                }
                for j in 1..P {
                    acc[j - 1] = acc[j];
                }
                acc[P - 1] = four(constants);
                let cells = column::<Q>(&r.rows, (2 * t + 1) * channels + first);
                for (j, acc) in acc[..P - 1].iter_mut().enumerate() {
                    for q in 0..Q {
                        dot(acc, &cells[q], &weights[1 + 2 * (P - 2 - j)][q]);
                    }
                }
            }
        }
    }
}

/// The columns `N` times 8 bytes further along, from two neighbouring registers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn shift<const N: i32>(high: &Four, low: &Four) -> Four {
    core::array::from_fn(|v| _mm512_alignr_epi64(high[v], low[v], N))
}

/// Stride 1, `C` channels, `64 / C` pixels at a time.
///
/// # Safety
/// As [`wide_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn flat_row<const C: usize>(r: &Row<'_>, output: &mut [u8]) {
    let constants = r.constants.as_ptr();
    // SAFETY: three columns of one quad; loads end at most 128 bytes after the last output's first column.
    unsafe {
        let weights: [Four; 3] = core::array::from_fn(|kx| four(constants.add(HEAD + kx * 256)));
        let [mut cells] = column::<1>(&r.rows, 0);
        for at in (0..output.len()).step_by(64) {
            let [next] = column::<1>(&r.rows, at + 64);
            let (middle, last) = match C {
                32 => (shift::<4>(&next, &cells), next),
                16 => (shift::<2>(&next, &cells), shift::<4>(&next, &cells)),
                _ => {
                    // A lane holds two pixels; vectors 0 and 1 are the even one.
                    let last = shift::<2>(&next, &cells);
                    ([cells[2], cells[3], last[0], last[1]], last)
                }
            };
            let mut acc = four(constants);
            dot(&mut acc, &cells, &weights[0]);
            dot(&mut acc, &middle, &weights[1]);
            dot(&mut acc, &last, &weights[2]);
            let n = output.len() - at;
            put(&r.epilogue, &acc, constants.add(256), output.as_mut_ptr().add(at), n);
            cells = next;
        }
    }
}

/// Stride 2, 8, 16 or 32 channels, several pixels at a time: every other pixel of 128 bytes.
///
/// # Safety
/// As [`wide_row`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn flat_row_by_two(r: &Row<'_>, output: &mut [u8]) {
    let (constants, channels) = (r.constants.as_ptr(), r.c.out_c);
    let mut index = [0i64; 8];
    for (i, index) in index.iter_mut().enumerate() {
        let (pixel, byte) = (8 * i / channels, 8 * i % channels);
        *index = ((2 * pixel * channels + byte) / 8) as i64;
    }
    // SAFETY: three columns of one quad; loads end at most 128 + 2 C bytes after the last output's first column.
    unsafe {
        let index = _mm512_loadu_si512(index.as_ptr().cast());
        let weights: [Four; 3] = core::array::from_fn(|kx| four(constants.add(HEAD + kx * 256)));
        for at in (0..output.len()).step_by(64) {
            let mut acc = four(constants);
            for (kx, weights) in weights.iter().enumerate() {
                let cells = interleave(core::array::from_fn(|ky| {
                    let from = r.rows[ky].add(2 * at + kx * channels);
                    let (low, high) = (_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(64).cast()));
                    _mm512_permutex2var_epi64(low, index, high)
                }));
                dot(&mut acc, &cells, weights);
            }
            let n = output.len() - at;
            put(&r.epilogue, &acc, constants.add(256), output.as_mut_ptr().add(at), n);
        }
    }
}
