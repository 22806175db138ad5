//! Sum of two tensors: the operands side by side in 16 bits, so that one `vpdpwssd` is both products. The multipliers have up to
//! 22 bits; their low 11 bits and the rest are multiplied apart, which modulo 2^32 is the same.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use crate::params::{Add, DType};

/// Low bits of a multiplier that are multiplied apart.
const LOW: u32 = 11;

/// `output[i]` of `a[i]` and `b[i]`; all have one length. Multipliers are at most 2^21 in size.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn add(p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    assert!(a.len() == output.len() && b.len() == output.len());
    let pair = |a: i32, b: i32| _mm512_set1_epi32((a & 0xffff) | (b << 16));
    let low = |m: i32| m & ((1 << LOW) - 1);
    let (lows, highs) =
        (pair(low(p.a_multiplier), low(p.b_multiplier)), pair(p.a_multiplier >> LOW, p.b_multiplier >> LOW));
    let (bias, shift) = (_mm512_set1_epi32(p.bias), _mm_cvtsi32_si128((p.shift & 31) as i32));
    let zero_point = _mm512_set1_epi16(p.out_zero_point as i16);
    let byte = |v: i32| _mm512_set1_epi8(v as u8 as i8);
    let (lo, hi) = (byte(p.lo), byte(p.hi));
    let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    let signed = p.dtype == DType::Int8;
    let widen = |x: __m256i| if signed { _mm512_cvtepi8_epi16(x) } else { _mm512_cvtepu8_epi16(x) };
    let sum = |pairs: __m512i| {
        let high = _mm512_slli_epi32(_mm512_madd_epi16(pairs, highs), LOW);
        _mm512_sra_epi32(_mm512_add_epi32(_mm512_dpwssd_epi32(bias, pairs, lows), high), shift)
    };
    // 32 elements to 16 bits.
    let half = |a: __m256i, b: __m256i| {
        let (a, b) = (widen(a), widen(b));
        let sums = _mm512_packs_epi32(sum(_mm512_unpacklo_epi16(a, b)), sum(_mm512_unpackhi_epi16(a, b)));
        _mm512_adds_epi16(sums, zero_point)
    };
    let add = |a: __m512i, b: __m512i| {
        let first = half(_mm512_castsi512_si256(a), _mm512_castsi512_si256(b));
        let second = half(_mm512_extracti64x4_epi64(a, 1), _mm512_extracti64x4_epi64(b, 1));
        let bytes = if signed {
            _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(first, second), lo), hi)
        } else {
            _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(first, second), lo), hi)
        };
        _mm512_permutexvar_epi64(order, bytes)
    };
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<64>(), b.as_chunks::<64>());
    let (output, rest) = output.as_chunks_mut::<64>();
    for ((to, a), b) in output.iter_mut().zip(a).zip(b) {
        // SAFETY: 64 bytes each.
        unsafe {
            let (a, b) = (_mm512_loadu_si512(a.as_ptr().cast()), _mm512_loadu_si512(b.as_ptr().cast()));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), add(a, b));
        }
    }
    if !rest.is_empty() {
        let mask = u64::MAX >> (64 - rest.len());
        // SAFETY: the mask keeps all three inside what is left over, which has one length.
        unsafe {
            let a = _mm512_maskz_loadu_epi8(mask, a_rest.as_ptr().cast());
            let b = _mm512_maskz_loadu_epi8(mask, b_rest.as_ptr().cast());
            _mm512_mask_storeu_epi8(rest.as_mut_ptr().cast(), mask, add(a, b));
        }
    }
}
