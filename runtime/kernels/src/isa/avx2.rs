//! x86-64 with AVX2: bytes widened to 16 bits and multiplied in pairs by `pmaddwd`, which is exact (`pmaddubsw` saturates).
//!
//! Matrix product: a cell of a panel is `input - zero_point` in 16 bits. A step takes four cells of a row, spread over a
//! register, times eight channels (two registers, each four channels x four cells); the two halves of every sum are added
//! once at the end. Six rows x eight channels are twelve sums, two weights, one input: all sixteen registers with a spare.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use super::Isa;
use crate::{
    conv::Block,
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
    fn pack(self, c: &Conv<'_>, input: &[u8], cells: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { pack(c, input, cells) }
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { gemm(b, output) }
    }
}

/// Sixteen bytes at a time; what is left over is covered by a last group that overlaps the one before.
#[target_feature(enable = "avx2")]
fn pack(c: &Conv<'_>, input: &[u8], cells: &mut [u8]) {
    assert!(cells.len() == 2 * input.len());
    let (flip, zero_point) = match c.in_dtype {
        DType::Int8 => (0, c.in_zero_point),
        DType::UInt8 => (0x80, c.in_zero_point - 128),
    };
    let flip8 = _mm_set1_epi8(flip as u8 as i8);
    let zero_point8 = _mm256_set1_epi16(zero_point as i16);
    let (from, to) = (input.as_ptr(), cells.as_mut_ptr());
    let widen = |x: __m128i| _mm256_sub_epi16(_mm256_cvtepi8_epi16(_mm_xor_si128(x, flip8)), zero_point8);
    let n = input.len();
    if n >= 16 {
        let mut at = 0;
        loop {
            // SAFETY: at + 16 <= n.
            let x = unsafe { _mm_loadu_si128(from.add(at).cast()) };
            // SAFETY: `cells` has two bytes for each of `input`.
            unsafe { _mm256_storeu_si256(to.add(2 * at).cast(), widen(x)) };
            if at + 16 == n {
                break;
            }
            at = (at + 16).min(n - 16);
        }
    } else if n >= 8 {
        for at in [0, n - 8] {
            // SAFETY: at + 8 <= n.
            let x = unsafe { _mm_loadl_epi64(from.add(at).cast()) };
            // SAFETY: `cells` has two bytes for each of `input`.
            unsafe { _mm_storeu_si128(to.add(2 * at).cast(), _mm256_castsi256_si128(widen(x))) };
        }
    } else {
        for (x, cell) in input.iter().zip(cells.as_chunks_mut().0) {
            *cell = (i16::from((x ^ flip as u8) as i8) - zero_point as i16).to_ne_bytes();
        }
    }
}

#[target_feature(enable = "avx2")]
fn gemm(b: &Block<'_>, output: &mut [u8]) {
    let rows = b.row_terms.len();
    assert!(b.k4.is_multiple_of(4) && b.panel.len() >= rows * b.k4 * 2 && b.weights.len() >= 16 * b.k4);
    assert!(b.bias.len() >= 16 && b.multipliers.len() >= 16 && (1..=16).contains(&b.channels));
    assert!(rows > 0 && output.len() >= (rows - 1) * b.stride + b.channels);
    for first in (0..b.channels).step_by(8) {
        let mut row = 0;
        while row < rows {
            let step = (rows - row).min(6);
            match step {
                // SAFETY: the lengths were just checked; `row + step <= rows`, `first` is 0 or 8 and below `channels`.
                6 => unsafe { tile::<6>(b, row, first, output) },
                // SAFETY: as above.
                5 => unsafe { tile::<5>(b, row, first, output) },
                // SAFETY: as above.
                4 => unsafe { tile::<4>(b, row, first, output) },
                // SAFETY: as above.
                3 => unsafe { tile::<3>(b, row, first, output) },
                // SAFETY: as above.
                2 => unsafe { tile::<2>(b, row, first, output) },
                // SAFETY: as above.
                _ => unsafe { tile::<1>(b, row, first, output) },
            }
            row += step;
        }
    }
}

/// `R` rows from `row` on, eight channels from `first` on.
///
/// # Safety
/// `panel`, `row_terms` and `output` hold these rows; `weights`, `bias` and `multipliers` hold 16 channels; `first` is 0 or 8.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const R: usize>(b: &Block<'_>, row: usize, first: usize, output: &mut [u8]) {
    let mut acc = [[_mm256_setzero_si256(); 2]; R];
    // SAFETY: the caller's rows.
    let mut x = unsafe { b.panel.as_ptr().add(row * b.k4 * 2) };
    // SAFETY: the caller's channels; a channel has four bytes in each step.
    let mut w = unsafe { b.weights.as_ptr().add(4 * first) };
    for _ in 0..b.k4 / 4 {
        // SAFETY: steps are 64 bytes apart, of which 32 from `4 * first` on belong to eight channels.
        let w0 = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(w.cast()) });
        // SAFETY: as above.
        let w1 = _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(w.add(16).cast()) });
        for (r, acc) in acc.iter_mut().enumerate() {
            // SAFETY: four cells, 8 bytes, of row `row + r`.
            let cells = _mm256_set1_epi64x(unsafe { x.add(r * b.k4 * 2).cast::<i64>().read_unaligned() });
            acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(cells, w0));
            acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(cells, w1));
        }
        w = w.wrapping_add(64);
        x = x.wrapping_add(8);
    }
    // SAFETY: eight of 16 values from `first` on.
    let bias = unsafe { _mm256_loadu_si256(b.bias.as_ptr().add(first).cast()) };
    // SAFETY: as above.
    let multiplier = unsafe { _mm256_loadu_ps(b.multipliers.as_ptr().add(first)) };
    let epilogue = Epilogue::new(b.conv);
    for (r, acc) in acc.iter().enumerate() {
        // [0 1 4 5 | 2 3 6 7] -> in order.
        let sum = _mm256_permute4x64_epi64(_mm256_hadd_epi32(acc[0], acc[1]), 0b11_01_10_00);
        let term = _mm256_add_epi32(bias, _mm256_set1_epi32(b.row_terms[row + r]));
        let bytes = epilogue.eight(_mm256_add_epi32(sum, term), multiplier);
        let channels = (b.channels - first).min(8);
        let output = &mut output[(row + r) * b.stride + first..][..channels];
        if let Some(output) = output.first_chunk_mut::<8>() {
            *output = bytes.to_le_bytes();
        } else {
            output.copy_from_slice(&bytes.to_le_bytes()[..channels]);
        }
    }
}

/// Accumulators to bytes.
#[derive(Clone, Copy)]
struct Epilogue {
    lo: __m256,
    hi: __m256,
    zero_point: __m256i,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(c: &Conv<'_>) -> Self {
        Self {
            lo: _mm256_set1_ps((c.lo - c.out_zero_point) as f32),
            hi: _mm256_set1_ps((c.hi - c.out_zero_point) as f32),
            zero_point: _mm256_set1_epi32(c.out_zero_point),
        }
    }

    /// `rne(f32(sum) * multiplier) + zero_point` within the limits. `maxps` gives its second operand for what is not a number.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn requantize(self, sum: __m256i, multiplier: __m256) -> __m256i {
        let v = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier);
        let v = _mm256_min_ps(_mm256_max_ps(v, self.lo), self.hi);
        _mm256_add_epi32(_mm256_cvtps_epi32(v), self.zero_point)
    }

    /// The low bytes of eight requantized sums.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn eight(self, sum: __m256i, multiplier: __m256) -> u64 {
        let low = _mm256_set1_epi32(0x0c08_0400);
        let bytes = _mm256_shuffle_epi8(self.requantize(sum, multiplier), low);
        let pair = _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
        _mm_cvtsi128_si64(pair) as u64
    }
}
