//! The discrete Fourier transform in integers, divided by its length.
//!
//! ```text
//! X[k] = 1/n sum x[t] exp(-2 pi i k t / n)         each of log2 n stages halves, so nothing can grow
//! ```
//! Radix 2, decimation in time. A product with a twiddle factor is rounded half up to a whole number, and so is each half of a sum; numbers that settings
//! from outside make larger than they can be wrap.

/// Transforms `data`, `n = twiddles.len() / 4` pairs of real and imaginary part, in place. `twiddles`: `n / 2` pairs of i32, little-endian, the
/// cosine and minus the sine of `2 pi k / n`; 2^30 is 1.
pub(crate) fn transform(data: &mut [i32], twiddles: &[u8]) {
    let (pairs, _) = data.as_chunks_mut::<2>();
    let (factors, _) = twiddles.as_chunks::<8>();
    let n = pairs.len();
    reverse(pairs);
    let mut half = 1;
    while half < n {
        let stride = n / (2 * half);
        for block in pairs.chunks_exact_mut(2 * half) {
            let (lower, upper) = block.split_at_mut(half);
            for (i, (a, b)) in lower.iter_mut().zip(upper).enumerate() {
                let &[c0, c1, c2, c3, s0, s1, s2, s3] = &factors[i * stride];
                let (cos, sin) = (i32::from_le_bytes([c0, c1, c2, c3]), i32::from_le_bytes([s0, s1, s2, s3]));
                butterfly(a, b, i64::from(cos), i64::from(sin));
            }
        }
        half *= 2;
    }
}

fn butterfly(a: &mut [i32; 2], b: &mut [i32; 2], cos: i64, sin: i64) {
    let [re, im] = b.map(i64::from);
    let turned = [re * cos - im * sin, re * sin + im * cos].map(|v| (v + (1 << 29)) >> 30);
    for i in 0..2 {
        let (x, y) = (i64::from(a[i]), turned[i]);
        a[i] = ((x + y + 1) >> 1) as i32;
        b[i] = ((x - y + 1) >> 1) as i32;
    }
}

/// Puts each pair where the bits of its index lead when they are read backwards.
fn reverse(pairs: &mut [[i32; 2]]) {
    let n = pairs.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            pairs.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn twiddles(n: usize) -> Vec<u8> {
        let factor = |k: usize| {
            let angle = 2.0 * std::f64::consts::PI * k as f64 / n as f64;
            [angle.cos(), -angle.sin()].map(|v| (v * f64::from(1 << 30)).round() as i32)
        };
        (0..n / 2).flat_map(factor).flat_map(i32::to_le_bytes).collect()
    }

    #[test]
    fn equals_the_sum_of_its_definition() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state.cast_signed()) >> 2
        };
        for n in [4usize, 8, 64, 512] {
            let signal: Vec<i32> = (0..n).map(|_| next()).collect();
            let mut data: Vec<i32> = signal.iter().flat_map(|&x| [x, 0]).collect();
            transform(&mut data, &twiddles(n));
            for (k, got) in data.as_chunks::<2>().0.iter().enumerate() {
                let part = |f: fn(f64) -> f64| {
                    let term = |(t, &x): (usize, &i32)| {
                        f64::from(x) * f(2.0 * std::f64::consts::PI * (k * t % n) as f64 / n as f64)
                    };
                    signal.iter().enumerate().map(term).sum::<f64>() / n as f64
                };
                let expected = [part(f64::cos), -part(f64::sin)];
                for i in 0..2 {
                    assert!((f64::from(got[i]) - expected[i]).abs() < 4.0, "n {n}, line {k}: {got:?} {expected:?}");
                }
            }
        }
    }

    #[test]
    fn factors_that_are_none_only_wrap() {
        let mut data = [i32::MAX; 64];
        transform(&mut data, &[0x7f; 128]);
    }
}
