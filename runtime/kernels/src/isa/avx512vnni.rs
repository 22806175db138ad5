//! x86-64 with AVX-512 VNNI: `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to 32 bits, exactly.
//!
//! Inputs become unsigned (int8 with the top bit flipped); their zero point times the sum of the weights comes off the bias
//! of each channel. Matrix product: the layout `n16k4` is one register for each step and 16 channels, so a step is four
//! cells of a row, spread over a register, times up to four of those; six rows x 64 channels are 24 sums. Rows that do not
//! fill the last tile are computed in a tile that overlaps the one before.
//!
//! Depthwise: rows as in [`rows`], four taps at a time, 32 channels; weights with a zero point need 9 bits and go the way of
//! AVX2.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use super::{Avx2, Isa};
use crate::{
    conv::{Block, Run},
    depthwise::rows::{self, Row, RowKernel},
    params::{Conv, DType},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512Vnni(Avx2);

impl Avx512Vnni {
    /// The token, if this CPU has AVX-512 F, BW, VL and VNNI.
    pub(crate) fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        let have = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(feature = "std"))]
        let have = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512vl",
            target_feature = "avx512vnni"
        ));
        Avx2::new().filter(|_| have).map(Self)
    }
}

impl Isa for Avx512Vnni {
    const CELL: usize = 1;
    const ROWS: usize = 6;
    const CHANNELS: usize = 64;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        unsigned_zero_point(c) as u8
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { pack(c, run, input, cells) }
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { gemm(b, output) }
    }

    fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        if c.weight_zero_point == 0 { rows::scratch_len::<Self>(c) } else { rows::scratch_len::<Avx2>(c) }
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        if c.weight_zero_point == 0 {
            rows::run(self, c, input, output, scratch);
        } else {
            rows::run(self.0, c, input, output, scratch);
        }
    }
}

/// The zero point of the input after its bytes became unsigned.
fn unsigned_zero_point(c: &Conv<'_>) -> i32 {
    match c.in_dtype {
        DType::Int8 => c.in_zero_point + 128,
        DType::UInt8 => c.in_zero_point,
    }
}

/// Copies and flips; what is left over of a run is covered by a last group that overlaps the one before.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn pack(c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
    let flip: u8 = if c.in_dtype == DType::Int8 { 0x80 } else { 0 };
    let (flip8, flip16, flip64) =
        (u64::from_ne_bytes([flip; 8]), _mm_set1_epi8(flip as i8), _mm512_set1_epi8(flip as i8));
    let n = run.len;
    for i in 0..run.count {
        let (from, to) = (&input[i * run.from_step..][..n], &mut cells[i * run.to_step..][..n]);
        if n < 8 {
            for (cell, x) in to.iter_mut().zip(from) {
                *cell = x ^ flip;
            }
            continue;
        }
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        let mut at = 0;
        if n < 16 {
            for at in [0, n - 8] {
                // SAFETY: at + 8 <= n.
                let x = unsafe { from.add(at).cast::<u64>().read_unaligned() };
                // SAFETY: at + 8 <= n, the length of both.
                unsafe { to.add(at).cast::<u64>().write_unaligned(x ^ flip8) };
            }
        } else if n < 64 {
            loop {
                // SAFETY: at + 16 <= n.
                let x = unsafe { _mm_loadu_si128(from.add(at).cast()) };
                // SAFETY: at + 16 <= n, the length of both.
                unsafe { _mm_storeu_si128(to.add(at).cast(), _mm_xor_si128(x, flip16)) };
                if at + 16 == n {
                    break;
                }
                at = (at + 16).min(n - 16);
            }
        } else {
            loop {
                // SAFETY: at + 64 <= n.
                let x = unsafe { _mm512_loadu_si512(from.add(at).cast()) };
                // SAFETY: at + 64 <= n, the length of both.
                unsafe { _mm512_storeu_si512(to.add(at).cast(), _mm512_xor_si512(x, flip64)) };
                if at + 64 == n {
                    break;
                }
                at = (at + 64).min(n - 64);
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn gemm(b: &Block<'_>, output: &mut [u8]) {
    let (rows, vectors) = (b.row_terms.len(), b.channels.div_ceil(16));
    assert!(b.k4.is_multiple_of(4) && b.panel.len() >= rows * b.k4 && b.weights.len() >= 16 * vectors * b.k4);
    assert!(b.bias.len() >= 16 * vectors && b.multipliers.len() >= 16 * vectors && (1..=64).contains(&b.channels));
    assert!(rows > 0 && output.len() >= (rows - 1) * b.stride + b.channels);
    // SAFETY: the lengths were just checked for this number of vectors.
    unsafe {
        match vectors {
            1 => block::<1>(b, output),
            2 => block::<2>(b, output),
            3 => block::<3>(b, output),
            _ => block::<4>(b, output),
        }
    }
}

/// All rows, `V` vectors of 16 channels.
///
/// # Safety
/// `weights`, `bias` and `multipliers` hold `16 * V` channels; `panel` and `output` hold the rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn block<const V: usize>(b: &Block<'_>, output: &mut [u8]) {
    let zero_point = _mm512_set1_epi8(unsigned_zero_point(b.conv) as u8 as i8);
    let mut bias = [_mm512_setzero_si512(); V];
    for (v, bias) in bias.iter_mut().enumerate() {
        let mut product = _mm512_setzero_si512();
        for step in 0..b.k4 / 4 {
            // SAFETY: 64 bytes for each step of each vector.
            let w = unsafe { _mm512_loadu_si512(b.weights.as_ptr().add(16 * v * b.k4 + 64 * step).cast()) };
            product = _mm512_dpbusd_epi32(product, zero_point, w);
        }
        // SAFETY: 16 of the channels.
        *bias = _mm512_sub_epi32(unsafe { _mm512_loadu_si512(b.bias.as_ptr().add(16 * v).cast()) }, product);
    }
    let rows = b.row_terms.len();
    let mut row = 0;
    while row < rows {
        // SAFETY: a tile begins at `row` or earlier and ends at most at `rows`; the rest is the caller's.
        row += unsafe {
            match rows - row {
                6.. => tile::<6, V>(b, row, &bias, output),
                1..6 if rows >= 6 => tile::<6, V>(b, rows - 6, &bias, output),
                4.. => tile::<4, V>(b, row, &bias, output),
                2.. => tile::<2, V>(b, row, &bias, output),
                _ => tile::<1, V>(b, row, &bias, output),
            }
        };
    }
}

/// `R` rows from `row` on; returns `R`.
///
/// # Safety
/// As [`block`]; `row + R` is at most the number of rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(
    b: &Block<'_>,
    row: usize,
    bias: &[__m512i; V],
    output: &mut [u8],
) -> usize {
    let mut acc = [*bias; R];
    // SAFETY: the caller's rows.
    let mut x = unsafe { b.panel.as_ptr().add(row * b.k4) };
    let mut w = b.weights.as_ptr();
    for _ in 0..b.k4 / 4 {
        let mut weights = [_mm512_setzero_si512(); V];
        for (v, weights) in weights.iter_mut().enumerate() {
            // SAFETY: 64 bytes for each step of each vector.
            *weights = unsafe { _mm512_loadu_si512(w.add(16 * v * b.k4).cast()) };
        }
        for (r, acc) in acc.iter_mut().enumerate() {
            // SAFETY: four cells of row `row + r`.
            let cells = _mm512_set1_epi32(unsafe { x.add(r * b.k4).cast::<i32>().read_unaligned() });
            for (acc, &weights) in acc.iter_mut().zip(&weights) {
                *acc = _mm512_dpbusd_epi32(*acc, cells, weights);
            }
        }
        w = w.wrapping_add(64);
        x = x.wrapping_add(4);
    }
    // A copy, so that only it must lie in memory: the loops below are too long to be unrolled.
    let mut sums = [[_mm512_setzero_si512(); V]; R];
    for r in 0..R {
        for v in 0..V {
            sums[r][v] = acc[r][v];
        }
    }
    let lo = _mm512_set1_ps((b.conv.lo - b.conv.out_zero_point) as f32);
    let hi = _mm512_set1_ps((b.conv.hi - b.conv.out_zero_point) as f32);
    let zero_point = _mm512_set1_epi32(b.conv.out_zero_point);
    for v in 0..V {
        let channels = (b.channels - 16 * v).min(16);
        // SAFETY: 16 of the channels.
        let multiplier = unsafe { _mm512_loadu_ps(b.multipliers.as_ptr().add(16 * v)) };
        for (r, sums) in sums.iter().enumerate() {
            let mut sum = sums[v];
            if b.conv.weight_zero_point != 0 {
                sum = _mm512_add_epi32(sum, _mm512_set1_epi32(b.row_terms[row + r]));
            }
            let value = _mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier);
            let value = _mm512_cvtps_epi32(_mm512_min_ps(_mm512_max_ps(value, lo), hi));
            let bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(value, zero_point));
            // SAFETY: the caller's rows of `output`, of which the channels of this vector are written below.
            let to = unsafe { output.as_mut_ptr().add((row + r) * b.stride + 16 * v) };
            match channels {
                // SAFETY: 16 channels.
                16 => unsafe { _mm_storeu_si128(to.cast(), bytes) },
                // SAFETY: 8 channels.
                8 => unsafe { _mm_storel_epi64(to.cast(), bytes) },
                // SAFETY: the mask has one bit for each channel.
                _ => unsafe { _mm_mask_storeu_epi8(to.cast(), (1 << channels) - 1, bytes) },
            }
        }
    }
    R
}

impl RowKernel for Avx512Vnni {
    const LANES: usize = 32;
    const DTYPE: DType = DType::UInt8;

    fn constants_len(taps: usize) -> usize {
        256 + taps.div_ceil(4) * 128
    }

    #[inline(always)]
    fn prepare(self, c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { prepare(c, first, zero_point, constants) }
    }

    #[inline(always)]
    fn row(self, r: &Row<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe {
            match r.taps.len() {
                9 => row::<9>(r, output),
                25 => row::<25>(r, output),
                _ => row::<0>(r, output),
            }
        }
    }
}

/// Four taps of 32 channels, so that each 32 bits are the four taps of one channel. Vector `v` has the channels
/// `4 * v..4 * v + 4` and `16 + 4 * v..16 + 4 * v + 4`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn interleave([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab0, ab1) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let (cd0, cd1) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
    [
        _mm256_unpacklo_epi16(ab0, cd0),
        _mm256_unpackhi_epi16(ab0, cd0),
        _mm256_unpacklo_epi16(ab1, cd1),
        _mm256_unpackhi_epi16(ab1, cd1),
    ]
}

/// `[bias 32][multiplier 32][four taps][channel 32][4]`, 32 bits each but the last, bytes; channels as [`interleave`] puts
/// them. What lies beyond the channels is 0.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn prepare(c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
    let (taps, c16) = (c.window.taps(), c.c16());
    assert!(constants.len() == Avx512Vnni::constants_len(taps));
    // The channels of vector `v`, 0 beyond the last.
    let pick = |v: usize, four: &dyn Fn(usize) -> __m128i| {
        let far = first + 16 + 4 * v;
        let high = if far < c16 { four(far) } else { _mm_setzero_si128() };
        _mm256_set_m128i(high, four(first + 4 * v))
    };
    let bias = |n: usize| {
        let four = &c.bias[n..n + 4];
        // SAFETY: `four` has 16 bytes.
        unsafe { _mm_loadu_si128(four.as_ptr().cast()) }
    };
    let multipliers = |n: usize| {
        let four = &c.multipliers[n..n + 4];
        // SAFETY: `four` has 16 bytes.
        unsafe { _mm_loadu_si128(four.as_ptr().cast()) }
    };
    let (head, quads) = constants.split_at_mut(256);
    let mut put = |at: usize, v: __m256i| {
        let to = &mut head[at..at + 32];
        // SAFETY: `to` has 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    };
    let mut sums = [_mm256_setzero_si256(); 4];
    let weights = |tap: usize| {
        let mut weights = [0i8; 32];
        if tap < taps {
            let have = (c16 - first).min(32);
            weights[..have].copy_from_slice(&c.weights[tap * c16 + first..][..have]);
        }
        // SAFETY: `weights` has 32 bytes.
        unsafe { _mm256_loadu_si256(weights.as_ptr().cast()) }
    };
    for (quad, constants) in quads.chunks_exact_mut(128).enumerate() {
        let quads = interleave(core::array::from_fn(|tap| weights(4 * quad + tap)));
        for ((quad, sum), to) in quads.into_iter().zip(&mut sums).zip(constants.chunks_exact_mut(32)) {
            *sum = _mm256_dpbusd_epi32(*sum, _mm256_set1_epi8(1), quad);
            // SAFETY: `to` has 32 bytes.
            unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), quad) };
        }
    }
    for (v, sum) in sums.into_iter().enumerate() {
        // The zero point of the input, taken off once.
        let product = _mm256_mullo_epi32(sum, _mm256_set1_epi32(zero_point));
        put(32 * v, _mm256_sub_epi32(pick(v, &bias), product));
        put(128 + 32 * v, pick(v, &multipliers));
    }
}

/// One output row, 32 channels at a time. `T` is the number of taps, or 0 if only known at run time.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn row<const T: usize>(r: &Row<'_>, output: &mut [u8]) {
    let taps = if T == 0 { r.taps } else { &r.taps[..T] };
    let pixels = output.len() / r.conv.out_c;
    let constants_len = Avx512Vnni::constants_len(taps.len());
    let last = taps.iter().max().map_or(0, |tap| tap + (pixels - 1) * r.step + r.channels);
    assert!(!taps.is_empty() && pixels > 0 && last <= r.ring.len());
    assert!(r.channels == r.conv.out_c.next_multiple_of(32));
    assert!(r.constants.len() == r.channels / 32 * constants_len);
    let lo = _mm256_set1_ps((r.conv.lo - r.conv.out_zero_point) as f32);
    let hi = _mm256_set1_ps((r.conv.hi - r.conv.out_zero_point) as f32);
    let zero_point = _mm256_set1_epi16(r.conv.out_zero_point as i16);
    let low = _mm256_set1_epi16(0xff);
    for (group, constants) in r.constants.chunks_exact(constants_len).enumerate() {
        let channels = (r.conv.out_c - 32 * group).min(32);
        let constant = |at: usize| {
            debug_assert!(at + 32 <= constants.len());
            // SAFETY: `at` is a multiple of 32 below the length of the constants, itself a multiple of 128.
            unsafe { _mm256_loadu_si256(constants.as_ptr().add(at).cast()) }
        };
        for (pixel, output) in output.chunks_exact_mut(r.conv.out_c).enumerate() {
            // SAFETY: for this pixel and group, each tap has 32 bytes in the ring: `last` is beyond the largest.
            let at = unsafe { r.ring.as_ptr().add(pixel * r.step + 32 * group) };
            let cells = |tap: usize| {
                if tap >= taps.len() {
                    return _mm256_setzero_si256();
                }
                // SAFETY: as above.
                unsafe { _mm256_loadu_si256(at.add(taps[tap]).cast()) }
            };
            let mut acc = [constant(0), constant(32), constant(64), constant(96)];
            for quad in 0..taps.len().div_ceil(4) {
                let cells =
                    interleave([cells(4 * quad), cells(4 * quad + 1), cells(4 * quad + 2), cells(4 * quad + 3)]);
                for v in 0..4 {
                    acc[v] = _mm256_dpbusd_epi32(acc[v], cells[v], constant(256 + 128 * quad + 32 * v));
                }
            }
            let requantize = |v: usize| {
                let value = _mm256_mul_ps(_mm256_cvtepi32_ps(acc[v]), _mm256_castsi256_ps(constant(128 + 32 * v)));
                _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(value, lo), hi))
            };
            let pair = |v: usize| {
                let words = _mm256_packs_epi32(requantize(v), requantize(v + 1));
                _mm256_and_si256(_mm256_add_epi16(words, zero_point), low)
            };
            let bytes = _mm256_packus_epi16(pair(0), pair(2));
            let to = output[32 * group..].as_mut_ptr();
            match channels {
                // SAFETY: 32 channels of `output` from `32 * group` on.
                32 => unsafe { _mm256_storeu_si256(to.cast(), bytes) },
                // SAFETY: 16 channels.
                16 => unsafe { _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(bytes)) },
                // SAFETY: the mask has one bit for each channel.
                _ => unsafe { _mm256_mask_storeu_epi8(to.cast(), (1 << channels) - 1, bytes) },
            }
        }
    }
}
