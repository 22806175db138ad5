//! The exponential in single precision, the same on every CPU: no function of the platform is asked.

use crate::door::round_half_even;

/// `exp(x)`: Cephes' `expf` (S. Moshier, public), one operation after another. At or below -87 it is 0, above 88 as for 88. Errors are below 2 units in the last place.
#[must_use]
pub fn exp(x: f32) -> f32 {
    if x.is_nan() {
        return x;
    }
    if x <= -87.0 {
        return 0.0;
    }
    let x = if x > 88.0 { 88.0 } else { x };
    let n = round_half_even(x * core::f32::consts::LOG2_E);
    let whole = n as f32;
    let r = x - whole * 0.693_359_4;
    let r = r - whole * -2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for term in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_66, 0.5] {
        p = p * r + term;
    }
    let y = p * (r * r) + r + 1.0;
    // 2^n; n is -126 to 127.
    y * f32::from_bits(((n + 127) as u32) << 23)
}

/// `1 / (1 + exp(-x))`.
#[must_use]
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_exponential() {
        let mut worst = 0.0f64;
        for i in -86_999..88_000 {
            let x = i as f32 / 1000.0;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) - exact).abs() / exact);
        }
        assert!(worst < 2.4e-7, "{worst}");
        assert_eq!([exp(0.0), exp(-200.0), sigmoid(0.0), sigmoid(-200.0)], [1.0, 0.0, 0.5, 1.0 / (1.0 + exp(88.0))]);
        assert!(exp(f32::NAN).is_nan() && exp(f32::INFINITY) == exp(88.0));
    }
}
