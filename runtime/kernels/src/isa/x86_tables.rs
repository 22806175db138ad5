//! Tables of 256 bytes on x86-64: looked up in registers, many elements at a time.
//!
//! With VBMI a register of indices picks from two registers at once (`vpermi2b`): the lower half of the table, the upper
//! half, and the top bit of the index chooses. Without it `pshufb` picks from 16 entries and gives 0 where the top bit is
//! set. The index goes down by 16 from part to part and each part holds its difference (xor) to the one before, so an index
//! collects the differences of the parts up to its own and nothing after it became negative.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

/// `output[i] = table[input[i]]`; both have one length.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn by_permutes(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    let from = table.as_ptr();
    // SAFETY: four times 64 of the 256 entries.
    let [a, b, c, d] = [0, 64, 128, 192].map(|at| unsafe { _mm512_loadu_si512(from.add(at).cast()) });
    let pick = |x: __m512i| {
        let (low, high) = (_mm512_permutex2var_epi8(a, x, b), _mm512_permutex2var_epi8(c, x, d));
        _mm512_mask_blend_epi8(_mm512_movepi8_mask(x), low, high)
    };
    let (input, input_rest) = input.as_chunks::<64>();
    let (output, output_rest) = output.as_chunks_mut::<64>();
    for (to, x) in output.iter_mut().zip(input) {
        // SAFETY: 64 bytes each.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), pick(_mm512_loadu_si512(x.as_ptr().cast()))) };
    }
    let rest = input_rest.len().min(output_rest.len());
    if rest > 0 {
        let mask = u64::MAX >> (64 - rest);
        // SAFETY: the mask keeps both inside what is left over.
        unsafe {
            let x = _mm512_maskz_loadu_epi8(mask, input_rest.as_ptr().cast());
            _mm512_mask_storeu_epi8(output_rest.as_mut_ptr().cast(), mask, pick(x));
        }
    }
}

/// `output[i] = table[input[i]]`; both have one length.
#[target_feature(enable = "avx2")]
pub(super) fn by_shuffles(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    let mut parts = [_mm256_setzero_si256(); 16];
    for (i, part) in parts.iter_mut().enumerate() {
        // SAFETY: 16 of the 256 entries.
        let entries = |i: usize| unsafe { _mm_loadu_si128(table.as_ptr().add(16 * i).cast()) };
        let differences = if i % 8 == 0 { entries(i) } else { _mm_xor_si128(entries(i), entries(i - 1)) };
        *part = _mm256_broadcastsi128_si256(differences);
    }
    let (input, input_rest) = input.as_chunks::<32>();
    let (output, output_rest) = output.as_chunks_mut::<32>();
    let (sixteen, top) = (_mm256_set1_epi8(16), _mm256_set1_epi8(i8::MIN));
    for (to, x) in output.iter_mut().zip(input) {
        // SAFETY: 32 bytes.
        let mut low = unsafe { _mm256_loadu_si256(x.as_ptr().cast()) };
        let mut high = _mm256_xor_si256(low, top);
        let mut sum = [_mm256_shuffle_epi8(parts[0], low), _mm256_shuffle_epi8(parts[8], high)];
        for i in 1..8 {
            // Indices of the other half are negative and stay so.
            (low, high) = (_mm256_subs_epi8(low, sixteen), _mm256_subs_epi8(high, sixteen));
            sum[0] = _mm256_xor_si256(sum[0], _mm256_shuffle_epi8(parts[i], low));
            sum[1] = _mm256_xor_si256(sum[1], _mm256_shuffle_epi8(parts[8 + i], high));
        }
        // SAFETY: 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), _mm256_xor_si256(sum[0], sum[1])) };
    }
    for (to, &x) in output_rest.iter_mut().zip(input_rest) {
        *to = table[usize::from(x)];
    }
}
