//! Windows, twiddle factors, mel weights and cosines, made once when a bundle is packed.
//!
//! Sines and logarithms come from series here, one IEEE operation after another in float64: those of the platform differ between systems, and the same
//! settings must give the same bundle everywhere. The definitions are those of `tf.signal`.

use core::f64::consts::{LN_2, PI};

/// Shape of a frame's weights; periodic ones.
#[derive(Clone, Copy)]
pub(crate) enum Window {
    Hann,
    Hamming,
    Rectangular,
}

/// One 65536th of an octave in natural logarithms, octaves, decades and decibels of a power.
pub(crate) const NATURAL: f32 = (LN_2 / 65_536.0) as f32;
pub(crate) const LOG2: f32 = 1.0 / 65_536.0;
pub(crate) const LOG10: f32 = (core::f64::consts::LOG10_2 / 65_536.0) as f32;
pub(crate) const DECIBEL: f32 = (10.0 * core::f64::consts::LOG10_2 / 65_536.0) as f32;

/// `frame` u16; 32768 is 1.
pub(crate) fn window(window: Window, frame: u32) -> Vec<u8> {
    let weight = |n: u32| {
        let cosine = cosine(u64::from(n), u64::from(frame));
        let weight = match window {
            Window::Hann => 0.5 - 0.5 * cosine,
            Window::Hamming => 0.54 - 0.46 * cosine,
            Window::Rectangular => 1.0,
        };
        scaled(weight, 32_768.0).clamp(0, 32_768) as u16
    };
    (0..frame).flat_map(|n| weight(n).to_le_bytes()).collect()
}

/// `fft / 2` pairs of i32: cosine and minus sine; 2^30 is 1.
pub(crate) fn twiddles(fft: u32) -> Vec<u8> {
    let (n, one) = (u64::from(fft), f64::from(1 << 30));
    let pair = |k: u64| [scaled(cosine(k, n), one), -scaled(sine(k, n), one)];
    (0..n / 2).flat_map(pair).flat_map(|v| (v as i32).to_le_bytes()).collect()
}

/// For each line of the transform its band, its weight there and its weight in the band before, as `linear_to_mel_weight_matrix`: triangles that
/// are straight in mel, the line at 0 Hz in none.
pub(crate) fn mel_weights(fft: u32, bands: u16, rate_hz: u32, low_hz: f64, high_hz: f64) -> Vec<u8> {
    let (low, high) = (mel(low_hz), mel(high_hz));
    let step = (high - low) / (f64::from(bands) + 1.0);
    let line = |k: u32| {
        let hz = f64::from(k) * f64::from(rate_hz) / f64::from(fft);
        let place = (mel(hz) - low) / step;
        if k == 0 || place <= 0.0 {
            return [0, 0, 0];
        }
        if place >= f64::from(bands) + 1.0 {
            return [bands, 0, 0];
        }
        let band = place as u16;
        let up = scaled(place - f64::from(band), 32_768.0) as u16;
        [band, if band < bands { up } else { 0 }, if band > 0 { 32_768 - up } else { 0 }]
    };
    (0..=fft / 2).flat_map(line).flat_map(u16::to_le_bytes).collect()
}

/// `[cepstra][bands]` i16, `cos(pi k (2 b + 1) / (2 bands)) sqrt(2 / bands)`, as `mfccs_from_log_mel_spectrograms`; 32768 is 1.
pub(crate) fn cosines(cepstra: u16, bands: u16) -> Vec<u8> {
    let norm = (2.0 / f64::from(bands)).sqrt();
    let (wide, bands) = (u64::from(bands), bands);
    let one = |k: u16, b: u16| {
        let value = cosine(u64::from(k) * (2 * u64::from(b) + 1), 4 * wide) * norm;
        scaled(value, 32_768.0).clamp(-32_768, 32_767) as i16
    };
    (0..cepstra).flat_map(|k| (0..bands).map(move |b| one(k, b))).flat_map(i16::to_le_bytes).collect()
}

/// The logarithm to base 2 in 1/65536, within the bounds of the format.
pub(crate) fn log2_q16(value: f64) -> i32 {
    scaled(ln(value) / LN_2, 65_536.0).clamp(-(1 << 23), 1 << 23) as i32
}

fn mel(hz: f64) -> f64 {
    1127.0 * ln(1.0 + hz / 700.0)
}

/// The nearest whole number of `value * one`, half away from zero.
fn scaled(value: f64, one: f64) -> i64 {
    let product = value * one;
    (if product < 0.0 { product - 0.5 } else { product + 0.5 }) as i64
}

/// `cos(2 pi k / n)`.
fn cosine(k: u64, n: u64) -> f64 {
    sine(4 * k + n, 4 * n)
}

/// `sin(2 pi k / n)`: whole turns and eighths are taken off exactly, then a series for at most an eighth of a turn.
fn sine(k: u64, n: u64) -> f64 {
    let k = k % n;
    if 2 * k > n {
        return -sine(n - k, n);
    }
    if 4 * k > n {
        return sine(n - 2 * k, 2 * n);
    }
    if 8 * k > n {
        return series(1.0, 0, 2.0 * PI * ((n - 4 * k) as f64 / (4 * n) as f64));
    }
    let x = 2.0 * PI * (k as f64 / n as f64);
    series(x, 1, x)
}

/// `first - first x^2 / ((p + 1)(p + 2)) + ...`
fn series(first: f64, power: u32, x: f64) -> f64 {
    let (mut term, mut sum, square) = (first, first, x * x);
    for step in 0..10 {
        let p = f64::from(power + 2 * step);
        term = -term * square / ((p + 1.0) * (p + 2.0));
        sum += term;
    }
    sum
}

/// The natural logarithm of a positive normal number: powers of two are taken off exactly, then `2 atanh((m - 1) / (m + 1))`.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let m = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 1023 << 52);
    let (m, exponent) = if m > core::f64::consts::SQRT_2 { (m / 2.0, exponent + 1) } else { (m, exponent) };
    let s = (m - 1.0) / (m + 1.0);
    let (mut power, mut sum, square) = (s, s, s * s);
    for step in 1..20 {
        power *= square;
        sum += power / f64::from(2 * step + 1);
    }
    2.0 * sum + f64::from(exponent) * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_equal_the_functions() {
        for n in [1u64, 2, 3, 4, 7, 8, 16, 480, 1000] {
            for k in 0..3 * n {
                let angle = 2.0 * PI * (k % n) as f64 / n as f64;
                assert!((sine(k, n) - angle.sin()).abs() < 2e-15, "sin {k}/{n}");
                assert!((cosine(k, n) - angle.cos()).abs() < 2e-15, "cos {k}/{n}");
            }
        }
        for x in [1e-10, 1e-6, 0.3, 0.999, 1.0, 1.4, 1.5, 2.0, 10.0, 12_345.6] {
            assert!((ln(x) - x.ln()).abs() <= 4e-15 * x.ln().abs().max(1.0), "ln {x}");
        }
        assert_eq!((log2_q16(0.25), log2_q16(8.0)), (-2 << 16, 3 << 16));
    }
}
