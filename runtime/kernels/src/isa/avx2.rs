//! x86-64 with AVX2: bytes widened to 16 bits and multiplied in pairs by `pmaddwd`, which is exact (`pmaddubsw` saturates).
//!
//! Matrix product: a cell of a panel is `input - zero_point` in 16 bits. A step takes four cells of a row, spread over a
//! register, times eight channels (two registers, each four channels x four cells); the two halves of every sum are added
//! once at the end. Six rows x eight channels are twelve sums, two weights, one input: all sixteen registers with a spare.
//!
//! Depthwise: rows as in [`rows`], signed, two taps at a time.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use super::{Isa, peak, x86_tables};
use crate::{
    conv::{Block, Run},
    depthwise::rows::{self, Row, RowKernel},
    params::{Conv, DType},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The token, if this CPU has AVX2.
    pub(crate) fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        let have = std::is_x86_feature_detected!("avx2");
        #[cfg(not(feature = "std"))]
        let have = cfg!(target_feature = "avx2");
        have.then_some(Self(()))
    }
}

impl Isa for Avx2 {
    const CELL: usize = 2;
    const ROWS: usize = 6;
    const CHANNELS: usize = 16;

    #[inline(always)]
    fn padding(self, _c: &Conv<'_>) -> u8 {
        0
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { pack(c, run, input, cells) }
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { gemm(b, output) }
    }

    fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        rows::scratch_len::<Self>(c)
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        rows::run(self, c, input, output, scratch);
    }

    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { x86_tables::by_shuffles(table, input, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves AVX2.
        unsafe { peak::madd(steps) }
    }
}

/// Sixteen bytes at a time; what is left over of a run is covered by a last group that overlaps the one before.
#[target_feature(enable = "avx2")]
fn pack(c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
    let (flip, zero_point) = match c.in_dtype {
        DType::Int8 => (0, c.in_zero_point),
        DType::UInt8 => (0x80, c.in_zero_point - 128),
    };
    let flip8 = _mm_set1_epi8(flip as u8 as i8);
    let zero_point16 = _mm256_set1_epi16(zero_point as i16);
    let widen = |x: __m128i| _mm256_sub_epi16(_mm256_cvtepi8_epi16(_mm_xor_si128(x, flip8)), zero_point16);
    let n = run.len;
    for i in 0..run.count {
        let (from, to) = (&input[i * run.from_step..][..n], &mut cells[2 * i * run.to_step..][..2 * n]);
        if n < 8 {
            for (x, cell) in from.iter().zip(to.as_chunks_mut().0) {
                *cell = (i16::from((x ^ flip as u8) as i8) - zero_point as i16).to_ne_bytes();
            }
            continue;
        }
        let (from, to) = (from.as_ptr(), to.as_mut_ptr());
        if n < 16 {
            for at in [0, n - 8] {
                // SAFETY: at + 8 <= n.
                let x = unsafe { _mm_loadl_epi64(from.add(at).cast()) };
                // SAFETY: `to` has two bytes for each of `from`.
                unsafe { _mm_storeu_si128(to.add(2 * at).cast(), _mm256_castsi256_si128(widen(x))) };
            }
            continue;
        }
        let mut at = 0;
        loop {
            // SAFETY: at + 16 <= n.
            let x = unsafe { _mm_loadu_si128(from.add(at).cast()) };
            // SAFETY: `to` has two bytes for each of `from`.
            unsafe { _mm256_storeu_si256(to.add(2 * at).cast(), widen(x)) };
            if at + 16 == n {
                break;
            }
            at = (at + 16).min(n - 16);
        }
    }
}

#[target_feature(enable = "avx2")]
fn gemm(b: &Block<'_>, output: &mut [u8]) {
    let rows = b.row_terms.len();
    assert!(b.k4 > 0 && b.k4.is_multiple_of(4));
    assert!(b.panel.len() >= rows * b.k4 * 2 && b.weights.len() >= 16 * b.k4);
    assert!(b.bias.len() >= 16 && b.multipliers.len() >= 16 && (1..=16).contains(&b.channels));
    assert!(rows > 0 && output.len() >= (rows - 1) * b.stride + b.channels);
    let epilogue = Epilogue::new(b.conv);
    for first in (0..b.channels).step_by(8) {
        let columns = Columns::new(b, first, epilogue);
        let mut row = 0;
        while row < rows {
            let step = (rows - row).min(6);
            match step {
                // SAFETY: the lengths were just checked; `row + step <= rows`, `first` is 0 or 8 and below `channels`.
                6 => unsafe { tile::<6>(b, row, &columns, output) },
                // SAFETY: as above.
                5 => unsafe { tile::<5>(b, row, &columns, output) },
                // SAFETY: as above.
                4 => unsafe { tile::<4>(b, row, &columns, output) },
                // SAFETY: as above.
                3 => unsafe { tile::<3>(b, row, &columns, output) },
                // SAFETY: as above.
                2 => unsafe { tile::<2>(b, row, &columns, output) },
                // SAFETY: as above.
                _ => unsafe { tile::<1>(b, row, &columns, output) },
            }
            row += step;
        }
    }
}

/// Eight channels: what all their tiles need.
struct Columns {
    /// The first: 0 or 8.
    first: usize,
    /// Each sum is two lanes; the first begins with the bias.
    bias: [__m256i; 2],
    /// In the order of pairwise sums, channels 0 1 4 5 | 2 3 6 7.
    multiplier: __m256,
    epilogue: Epilogue,
}

impl Columns {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(b: &Block<'_>, first: usize, epilogue: Epilogue) -> Self {
        let (bias, multipliers) = (&b.bias[first..][..8], &b.multipliers[first..][..8]);
        // SAFETY: the first four of eight.
        let bias0 = unsafe { _mm_loadu_si128(bias.as_ptr().cast()) };
        // SAFETY: the last four of eight.
        let bias1 = unsafe { _mm_loadu_si128(bias.as_ptr().add(4).cast()) };
        // SAFETY: eight.
        let multiplier = unsafe { _mm256_loadu_pd(multipliers.as_ptr().cast()) };
        Self {
            first,
            bias: [_mm256_cvtepu32_epi64(bias0), _mm256_cvtepu32_epi64(bias1)],
            multiplier: _mm256_castpd_ps(_mm256_permute4x64_pd(multiplier, 0b11_01_10_00)),
            epilogue,
        }
    }
}

/// `R` rows from `row` on, eight channels.
///
/// # Safety
/// `panel` and `output` hold these rows; `weights` holds 16 channels; `k4` is at least 4.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize>(b: &Block<'_>, row: usize, columns: &Columns, output: &mut [u8]) {
    let (first, epilogue) = (columns.first, columns.epilogue);
    let mut acc = [columns.bias; R];
    // SAFETY: the caller's rows.
    let x: [*const u8; R] = core::array::from_fn(|r| unsafe { b.panel.as_ptr().add((row + r) * b.k4 * 2) });
    // SAFETY: the caller's channels; a channel has four bytes in each step.
    let mut w = unsafe { b.weights.as_ptr().add(4 * first) };
    let mut step = 0;
    // The condition is at the end, or the sums would be copied once more.
    loop {
        // SAFETY: steps are 64 bytes apart, of which 32 from `4 * first` on belong to eight channels.
        let w0 = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(w.cast()) });
        // SAFETY: as above.
        let w1 = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(w.add(16).cast()) });
        for (x, acc) in x.iter().zip(&mut acc) {
            // SAFETY: four cells, 8 bytes, of a row.
            let cells = _mm256_set1_epi64x(unsafe { x.add(8 * step).cast::<i64>().read_unaligned() });
            acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(cells, w0));
            acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(cells, w1));
        }
        w = w.wrapping_add(64);
        step += 1;
        if 4 * step == b.k4 {
            break;
        }
    }
    let mut sums = [_mm256_setzero_si256(); R];
    for (sum, acc) in sums.iter_mut().zip(&acc) {
        *sum = _mm256_hadd_epi32(acc[0], acc[1]);
    }
    if b.conv.weight_zero_point != 0 {
        for (sum, &term) in sums.iter_mut().zip(&b.row_terms[row..row + R]) {
            *sum = _mm256_add_epi32(*sum, _mm256_set1_epi32(term));
        }
    }
    for sum in &mut sums {
        *sum = epilogue.requantize(*sum, columns.multiplier);
    }
    let channels = (b.channels - first).min(8);
    let mut to = row * b.stride + first;
    for sums in sums.chunks(4) {
        let at = |r: usize| sums[r.min(sums.len() - 1)];
        let bytes = epilogue.pack([at(0), at(1), at(2), at(3)]);
        // Lanes hold channels 0 1 4 5 and 2 3 6 7 of four rows.
        let (low, high) = (_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
        let (rows01, rows23) = (_mm_unpacklo_epi16(low, high), _mm_unpackhi_epi16(low, high));
        for r in 0..sums.len() {
            let pair = if r < 2 { rows01 } else { rows23 };
            let eight = if r % 2 == 0 { pair } else { _mm_unpackhi_epi64(pair, pair) };
            if channels == 8 {
                debug_assert!(to + 8 <= output.len());
                // SAFETY: the caller's rows of `output`, of which 8 channels from `first` on are written.
                unsafe { _mm_storel_epi64(output.as_mut_ptr().add(to).cast(), eight) };
            } else {
                let eight = _mm_cvtsi128_si64(eight).to_le_bytes();
                output[to..to + channels].copy_from_slice(&eight[..channels]);
            }
            to += b.stride;
        }
    }
}

impl RowKernel for Avx2 {
    const LANES: usize = 16;
    const DTYPE: DType = DType::Int8;

    fn constants_len(taps: usize) -> usize {
        128 + taps.div_ceil(2) * 64
    }

    #[inline(always)]
    fn prepare(self, c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { prepare(c, first, zero_point, constants) }
    }

    #[inline(always)]
    fn row(self, r: &Row<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe {
            match r.taps.len() {
                9 => row::<9>(r, output),
                25 => row::<25>(r, output),
                _ => row::<0>(r, output),
            }
        }
    }
}

/// `[bias 16][multiplier 16][pair of taps][channel 16][2]`, 32 bits each but the last, 16 bits. Channels lie as unpacking
/// leaves them: 0..4, 8..12, 4..8, 12..16.
#[target_feature(enable = "avx2")]
fn prepare(c: &Conv<'_>, first: usize, zero_point: i32, constants: &mut [u8]) {
    let taps = c.window.taps();
    assert!(constants.len() == Avx2::constants_len(taps));
    let (bias, multipliers) = (&c.bias[first..][..16], &c.multipliers[first..][..16]);
    let mut put = |at: usize, v: __m256i| {
        let to = &mut constants[at..at + 32];
        // SAFETY: `to` has 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), v) }
    };
    // SAFETY: the first half of 16 values.
    let b0 = unsafe { _mm256_loadu_si256(bias.as_ptr().cast()) };
    // SAFETY: the second half.
    let b1 = unsafe { _mm256_loadu_si256(bias.as_ptr().add(8).cast()) };
    // SAFETY: the first half of 16 values.
    let m0 = unsafe { _mm256_loadu_si256(multipliers.as_ptr().cast()) };
    // SAFETY: the second half.
    let m1 = unsafe { _mm256_loadu_si256(multipliers.as_ptr().add(8).cast()) };
    put(64, _mm256_permute2x128_si256(m0, m1, 0x20));
    put(96, _mm256_permute2x128_si256(m0, m1, 0x31));

    let weight_zero_point = _mm256_set1_epi16(c.weight_zero_point as i16);
    let weights = |tap: usize| {
        if tap >= taps {
            return _mm256_setzero_si256();
        }
        let weights = &c.weights[tap * c.c16() + first..][..16];
        // SAFETY: `weights` has 16 bytes.
        let weights = unsafe { _mm_loadu_si128(weights.as_ptr().cast()) };
        _mm256_sub_epi16(_mm256_cvtepi8_epi16(weights), weight_zero_point)
    };
    let (mut sum0, mut sum1) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    let ones = _mm256_set1_epi16(1);
    for pair in 0..taps.div_ceil(2) {
        let (a, b) = (weights(2 * pair), weights(2 * pair + 1));
        let (w0, w1) = (_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b));
        put(128 + 64 * pair, w0);
        put(160 + 64 * pair, w1);
        sum0 = _mm256_add_epi32(sum0, _mm256_madd_epi16(w0, ones));
        sum1 = _mm256_add_epi32(sum1, _mm256_madd_epi16(w1, ones));
    }
    // The zero point of the input, taken off once.
    let zero_point = _mm256_set1_epi32(zero_point);
    put(0, _mm256_sub_epi32(_mm256_permute2x128_si256(b0, b1, 0x20), _mm256_mullo_epi32(sum0, zero_point)));
    put(32, _mm256_sub_epi32(_mm256_permute2x128_si256(b0, b1, 0x31), _mm256_mullo_epi32(sum1, zero_point)));
}

/// One output row, 16 channels at a time: two taps are interleaved and meet their weights in one `pmaddwd`. `T` is the
/// number of taps, or 0 if only known at run time.
#[target_feature(enable = "avx2")]
fn row<const T: usize>(r: &Row<'_>, output: &mut [u8]) {
    let taps = if T == 0 { r.taps } else { &r.taps[..T] };
    let pixels = output.len() / r.conv.out_c;
    let constants_len = Avx2::constants_len(taps.len());
    let last = taps.iter().max().map_or(0, |tap| tap + (pixels - 1) * r.step + r.channels);
    assert!(!taps.is_empty() && pixels > 0 && last <= r.ring.len());
    assert!(r.channels == r.conv.out_c.next_multiple_of(16));
    assert!(r.constants.len() == r.channels / 16 * constants_len);
    let epilogue = Epilogue::new(r.conv);
    let low = _mm256_set1_epi16(0xff);
    for (group, constants) in r.constants.chunks_exact(constants_len).enumerate() {
        let channels = (r.conv.out_c - 16 * group).min(16);
        let constant = |at: usize| {
            debug_assert!(at + 32 <= constants.len());
            // SAFETY: `at` is a multiple of 32 below the length of the constants, itself a multiple of 64.
            unsafe { _mm256_loadu_si256(constants.as_ptr().add(at).cast()) }
        };
        for (pixel, output) in output.chunks_exact_mut(r.conv.out_c).enumerate() {
            // SAFETY: for this pixel and group, each tap has 16 bytes in the ring: `last` is beyond the largest.
            let at = unsafe { r.ring.as_ptr().add(pixel * r.step + 16 * group) };
            let cells = |tap: usize| {
                // SAFETY: as above.
                _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(at.add(taps[tap]).cast()) })
            };
            let (mut acc0, mut acc1) = (constant(0), constant(32));
            for pair in 0..taps.len().div_ceil(2) {
                let a = cells(2 * pair);
                let b = if 2 * pair + 1 < taps.len() { cells(2 * pair + 1) } else { _mm256_setzero_si256() };
                let (w0, w1) = (constant(128 + 64 * pair), constant(160 + 64 * pair));
                acc0 = _mm256_add_epi32(acc0, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w0));
                acc1 = _mm256_add_epi32(acc1, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w1));
            }
            let q0 = epilogue.requantize(acc0, _mm256_castsi256_ps(constant(64)));
            let q1 = epilogue.requantize(acc1, _mm256_castsi256_ps(constant(96)));
            let words = _mm256_and_si256(_mm256_add_epi16(_mm256_packs_epi32(q0, q1), epilogue.zero_point), low);
            let words = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
            if channels == 16 {
                // SAFETY: `16 * group + 16 <= out_c`, the length of `output`.
                unsafe { _mm_storeu_si128(output.as_mut_ptr().add(16 * group).cast(), words) };
            } else {
                let mut bytes = [0u8; 16];
                // SAFETY: `bytes` has 16 bytes.
                unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), words) };
                output[16 * group..].copy_from_slice(&bytes[..channels]);
            }
        }
    }
}

/// Accumulators to bytes.
#[derive(Clone, Copy)]
struct Epilogue {
    lo: __m256,
    hi: __m256,
    /// 16 bits.
    zero_point: __m256i,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(c: &Conv<'_>) -> Self {
        Self {
            lo: _mm256_set1_ps((c.lo - c.out_zero_point) as f32),
            hi: _mm256_set1_ps((c.hi - c.out_zero_point) as f32),
            zero_point: _mm256_set1_epi16(c.out_zero_point as i16),
        }
    }

    /// `rne(f32(sum) * multiplier)` within the limits. `maxps` gives its second operand for what is not a number.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn requantize(self, sum: __m256i, multiplier: __m256) -> __m256i {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier);
        _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, self.lo), self.hi))
    }

    /// The low bytes of four vectors with the zero point added; each lane holds four bytes of each.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn pack(self, v: [__m256i; 4]) -> __m256i {
        let low = _mm256_set1_epi16(0xff);
        let a = _mm256_add_epi16(_mm256_packs_epi32(v[0], v[1]), self.zero_point);
        let b = _mm256_add_epi16(_mm256_packs_epi32(v[2], v[3]), self.zero_point);
        _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low))
    }
}
