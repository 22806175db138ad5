//! How many multiply-accumulates this core does at best: the instruction of the inner loops, on registers alone.
//!
//! Each loop keeps so many sums in flight that none waits for another, loads nothing and stores nothing. No layer can be
//! faster; how near one comes is what a profile shows. It is measured, not computed from a clock rate that a virtual
//! machine does not tell and a wide instruction lowers.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;
use core::{arch::asm, hint::black_box};

/// `vpdpbusd`: 64 multiply-accumulates. Returns how many were done.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn vnni(steps: u32) -> u64 {
    const SUMS: usize = 24;
    let (cells, weights) = (black_box(_mm512_set1_epi8(3)), black_box(_mm512_set1_epi8(5)));
    let mut sums = [_mm512_setzero_si512(); SUMS];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = _mm512_dpbusd_epi32(*sum, cells, weights);
        }
    }
    black_box(sums);
    u64::from(steps) * SUMS as u64 * 64
}

/// `vpmaddwd` and `vpaddd`: 16 multiply-accumulates. Returns how many were done.
#[target_feature(enable = "avx2")]
pub(super) fn madd(steps: u32) -> u64 {
    const ROWS: usize = 6;
    let (weights0, weights1) = (black_box(_mm256_set1_epi16(5)), black_box(_mm256_set1_epi16(7)));
    let mut cells = black_box(_mm256_set1_epi16(3));
    let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
    for _ in 0..steps {
        for sum in &mut sums {
            // No instruction: it only hides that the cells are the same again, or the products would leave the loop.
            // SAFETY: empty code changes nothing.
            unsafe { asm!("/* {0} */", inout(ymm_reg) cells, options(nomem, nostack, preserves_flags)) };
            sum[0] = _mm256_add_epi32(sum[0], _mm256_madd_epi16(cells, weights0));
            sum[1] = _mm256_add_epi32(sum[1], _mm256_madd_epi16(cells, weights1));
        }
    }
    black_box(sums);
    u64::from(steps) * ROWS as u64 * 2 * 16
}
