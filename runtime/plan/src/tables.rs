//! The functions of one variable, as tables of 256 entries: computed once on the host, stored in the plan.
//!
//! A device looks bytes up and needs no mathematics library; the library of the host has no say either. What is written
//! here is float32 or float64 with every operation rounded on its own, in the order of `docs/numerics.md`, section
//! "Tables". From the crate `libm`, whose source is the same everywhere, come exact functions (rounding, powers of two)
//! and one that is not: the exponential of [`logistic_table`].
//!
//! ```text
//! real input   r = (q - in_zp) * in_scale          for all 256 values of q
//! function     y = f(r)                            float32
//! table        clamp(round(y * (1 / out_scale) + out_zp))
//! ```
//! [`hard_swish_table`] and [`requantize_table`] are fixed point instead, as the reference is.
//!
//! Every table is indexed by the raw byte of the input and holds raw bytes of the output: int8 value `q` is byte `q as u8`.

use core::array;

use thiserror::Error;

use crate::graph::{DType, Unary};

/// Why a table cannot be made.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The fixed-point form of hard swish holds 16 bits; outside these exponents it would shift everything out of them.
    #[error("the ratio of scales has exponent {exponent}, hard swish is defined for -15 to 0")]
    HardSwishExponent {
        /// Of `in_scale / 128 / out_scale`, as `frexp` gives it.
        exponent: i32,
    },
}

/// `exp(-in_scale * beta * d)` for `d = max - q` in 0 to 255: what softmax sums.
///
/// `in_scale` and `beta` are positive.
#[must_use]
pub fn softmax_table(in_scale: f32, beta: f32) -> [f32; 256] {
    let step = -in_scale * beta;
    array::from_fn(|d| exp(step * d as f32))
}

/// `1 / (1 + exp(-x))`; input and output have one type.
#[must_use]
pub fn logistic_table(dtype: DType, in_scale: f32, in_zp: i32, out_scale: f32, out_zp: i32) -> [u8; 256] {
    float_table(dtype, in_scale, in_zp, out_scale, out_zp, logistic)
}

/// Hyperbolic tangent; input and output have one type.
#[must_use]
pub fn tanh_table(dtype: DType, in_scale: f32, in_zp: i32, out_scale: f32, out_zp: i32) -> [u8; 256] {
    float_table(dtype, in_scale, in_zp, out_scale, out_zp, tanh)
}

/// `x * clamp(x + 3, 0, 6) / 6` in 16-bit fixed point; input and output have one type.
///
/// # Errors
/// [`TableError::HardSwishExponent`] if the output scale is too small or far too large for the input.
pub fn hard_swish_table(
    dtype: DType,
    in_scale: f32,
    in_zp: i32,
    out_scale: f32,
    out_zp: i32,
) -> Result<[u8; 256], TableError> {
    // Inputs carry seven more bits than their type; `relu` maps 3 (a real number) to 2^15.
    let fine = in_scale / 128.0;
    let (out_multiplier, out_exponent) = quantize_multiplier(f64::from(fine / out_scale));
    let (relu_multiplier, relu_exponent) = quantize_multiplier(f64::from(fine / (3.0 / 32768.0)));
    if !(-15..=0).contains(&out_exponent) {
        return Err(TableError::HardSwishExponent { exponent: out_exponent });
    }
    let (out_multiplier, relu_multiplier) = (upper_half(out_multiplier), upper_half(relu_multiplier));
    Ok(table(dtype, dtype, |q| {
        let x = wrap16(wrap16(i64::from(q) - i64::from(in_zp)) * 128);
        let scaled = multiply_high(x, out_multiplier);
        let mut relu = x;
        if relu_exponent > 0 {
            relu = saturate16(relu << (relu_exponent - 1).min(31));
        }
        relu = multiply_high(relu, relu_multiplier);
        match relu_exponent {
            1.. => relu = saturate16(relu << 1),
            0 => {}
            ..0 => relu = shift_away(relu, -relu_exponent),
        }
        // From -1..1 to 0..1.
        let relu = wrap16((relu + (1 << 15)) >> 1);
        wrap16(shift_away(relu * scaled / (1 << 15), -out_exponent) + i64::from(out_zp))
    }))
}

/// A function of one variable that has no table of its own above; input and output have one type.
#[must_use]
pub fn unary_table(unary: Unary, dtype: DType, in_scale: f32, in_zp: i32, out_scale: f32, out_zp: i32) -> [u8; 256] {
    let inverse = 1.0 / out_scale;
    let of = |f: &dyn Fn(f64) -> f64| {
        table(dtype, dtype, |q| {
            let real = (q as f32 - in_zp as f32) * in_scale;
            // Infinities and what is not a number end at the bounds.
            (libm::roundf(f(f64::from(real)) as f32 * inverse) as i64).saturating_add(i64::from(out_zp))
        })
    };
    let limited = |lo: Option<f32>, hi: Option<f32>| {
        let bound = |v: f32| (libm::roundf(v / out_scale) as i64).saturating_add(i64::from(out_zp));
        let (least, most) = (i64::from(dtype.range().0), i64::from(dtype.range().1));
        let (lo, hi) = (lo.map_or(least, bound).clamp(least, most), hi.map_or(most, bound).clamp(least, most));
        let (multiplier, exponent) = quantize_multiplier(f64::from(in_scale / out_scale));
        table(dtype, dtype, |q| {
            (fixed_multiply_away(i64::from(q) - i64::from(in_zp), multiplier, exponent) + i64::from(out_zp))
                .clamp(lo, hi)
        })
    };
    match unary {
        Unary::Relu => limited(Some(0.0), None),
        Unary::Relu6 => limited(Some(0.0), Some(6.0)),
        Unary::ReluN1To1 => limited(Some(-1.0), Some(1.0)),
        Unary::Relu0To1 => limited(Some(0.0), Some(1.0)),
        Unary::LeakyRelu { alpha } => leaky_relu_table(alpha, dtype, in_scale, in_zp, out_scale, out_zp),
        Unary::Elu => of(&|x| if x < 0.0 { libm::expm1(x) } else { x }),
        Unary::Gelu { approximate: false } => {
            of(&|x| 0.5 * x * (1.0 + libm::erf(x * core::f64::consts::FRAC_1_SQRT_2)))
        }
        Unary::Gelu { approximate: true } => of(&|x| {
            let inner =
                core::f64::consts::FRAC_2_SQRT_PI * core::f64::consts::FRAC_1_SQRT_2 * (x + 0.044_715 * x * x * x);
            0.5 * x * (1.0 + libm::tanh(inner))
        }),
        Unary::Exp => of(&libm::exp),
        Unary::Log => of(&|x| if x > 0.0 { libm::log(x) } else { f64::NEG_INFINITY }),
        Unary::Abs => {
            let (multiplier, exponent) = quantize_multiplier(f64::from(in_scale / out_scale));
            table(dtype, dtype, |q| {
                fixed_multiply((i64::from(q) - i64::from(in_zp)).abs(), multiplier, exponent)
                    .saturating_add(i64::from(out_zp))
            })
        }
    }
}

/// Two slopes with eight bits behind the point, or where they do not fit, two fixed-point factors.
fn leaky_relu_table(alpha: f32, dtype: DType, in_scale: f32, in_zp: i32, out_scale: f32, out_zp: i32) -> [u8; 256] {
    let positive = in_scale / out_scale;
    let negative = positive * alpha;
    let least = 1.0 / 256.0;
    let fits =
        (least..=128.0).contains(&positive) && (-127.99609..=128.0).contains(&negative) && negative.abs() >= least;
    let (in_zp, out_zp) = (i64::from(in_zp), i64::from(out_zp));
    if fits {
        let slope = |v: f32| libm::rintf(256.0 * v) as i64;
        return table(dtype, dtype, |q| {
            let x = i64::from(q) - in_zp;
            (x * slope(if x < 0 { negative } else { positive }) + out_zp * 256 + 128) >> 8
        });
    }
    let factors = [f64::from(positive), f64::from(in_scale * alpha / out_scale)].map(quantize_multiplier);
    table(dtype, dtype, |q| {
        let x = i64::from(q) - in_zp;
        let (multiplier, exponent) = factors[usize::from(x < 0)];
        fixed_multiply(x, multiplier, exponent).saturating_add(out_zp)
    })
}

/// From one uint8 quantization to another as a concatenation does it.
#[must_use]
pub fn concat_table(in_scale: f32, in_zp: i32, out_scale: f32, out_zp: i32) -> [u8; 256] {
    let k = in_scale * (1.0 / out_scale);
    let bias = -in_zp as f32 * k;
    table(DType::UInt8, DType::UInt8, |q| (libm::roundf(q as f32 * k + bias) as i64).saturating_add(i64::from(out_zp)))
}

/// From one quantization to another, also between int8 and uint8.
#[must_use]
pub fn requantize_table(
    in_dtype: DType,
    in_scale: f32,
    in_zp: i32,
    out_dtype: DType,
    out_scale: f32,
    out_zp: i32,
) -> [u8; 256] {
    let ratio = in_scale / out_scale;
    let (in_zp, out_zp) = (i64::from(in_zp), i64::from(out_zp));
    if in_dtype == out_dtype && (1.0 / 256.0..=128.0).contains(&ratio) {
        let multiplier = libm::rintf(256.0 * ratio) as i64;
        return table(in_dtype, out_dtype, |q| {
            (out_zp * 256 - multiplier * in_zp + 128 + multiplier * i64::from(q)) >> 8
        });
    }
    let (multiplier, exponent) = quantize_multiplier(f64::from(in_scale) / f64::from(out_scale));
    table(in_dtype, out_dtype, |q| fixed_multiply(i64::from(q) - in_zp, multiplier, exponent).saturating_add(out_zp))
}

/// A positive factor as `multiplier * 2^(exponent - 31)` with `multiplier` in `2^30 .. 2^31`; `(0, 0)` below `2^-32`.
#[must_use]
pub fn quantize_multiplier(factor: f64) -> (i32, i32) {
    let (fraction, mut exponent) = libm::frexp(factor);
    let mut multiplier = libm::round(fraction * f64::from(1u32 << 31)) as i64;
    if multiplier == 1 << 31 {
        multiplier /= 2;
        exponent += 1;
    }
    if exponent < -31 {
        return (0, 0);
    }
    (i32::try_from(multiplier).unwrap_or(i32::MAX), exponent)
}

/// `x * multiplier * 2^(exponent - 31)`, rounded twice, both times half up.
fn fixed_multiply(x: i64, multiplier: i32, exponent: i32) -> i64 {
    // Exponents over 62 saturate every type anyway.
    let (left, right) = (exponent.clamp(0, 62), (-exponent).clamp(0, 31));
    let high = ((i128::from(x) << left) * i128::from(multiplier) + (1 << 30)) >> 31;
    let rounded = if right == 0 { high } else { (high + (1 << (right - 1))) >> right };
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// As [`fixed_multiply`], both times half away from zero.
fn fixed_multiply_away(x: i64, multiplier: i32, exponent: i32) -> i64 {
    let (left, right) = (exponent.clamp(0, 62), (-exponent).clamp(0, 31));
    let product = (i128::from(x) << left) * i128::from(multiplier);
    let high = (product + if product >= 0 { 1 << 30 } else { 1 - (1 << 30) }) / (1 << 31);
    let high = high.clamp(i128::from(i32::MIN), i128::from(i32::MAX)) as i64;
    shift_away(high, right)
}

/// The table of `f` over all values of `in_dtype`, clamped to `out_dtype`.
pub(crate) fn table(in_dtype: DType, out_dtype: DType, f: impl Fn(i32) -> i64) -> [u8; 256] {
    let (lo, hi) = out_dtype.range();
    array::from_fn(|raw| {
        let signed = in_dtype.range().0 < 0;
        let q = if signed { i32::from((raw as u8).cast_signed()) } else { raw as i32 };
        f(q).clamp(i64::from(lo), i64::from(hi)) as u8
    })
}

fn float_table(
    dtype: DType,
    in_scale: f32,
    in_zp: i32,
    out_scale: f32,
    out_zp: i32,
    f: impl Fn(f32) -> f32,
) -> [u8; 256] {
    let inverse = 1.0 / out_scale;
    table(dtype, dtype, |q| {
        let real = (q as f32 - in_zp as f32) * in_scale;
        libm::rintf(f(real) * inverse + out_zp as f32) as i64
    })
}

fn logistic(x: f32) -> f32 {
    if x > 100.0 {
        1.0
    } else if x < -100.0 {
        0.0
    } else {
        let e = libm::exp(f64::from(x));
        (e / (1.0 + e)) as f32
    }
}

/// The exponential that softmax is defined with, for `x <= 0`: `2^(k/32)` from [`EXP2`] times a polynomial of degree
/// three in the rest, float64. Below -103.9 it is 0.
fn exp(x: f32) -> f32 {
    if x < -103.9 {
        return 0.0;
    }
    const N: f64 = 32.0;
    const INV_LN2: f64 = f64::from_bits(0x3ff7_1547_652b_82fe);
    const C0: f64 = f64::from_bits(0x3fac_6af8_4b91_2394) / (N * N * N);
    const C1: f64 = f64::from_bits(0x3fce_bfce_50fa_c4f3) / (N * N);
    const C2: f64 = f64::from_bits(0x3fe6_2e42_ff0c_52d6) / N;
    let t = INV_LN2 * N * f64::from(x);
    let k = libm::rint(t);
    let r = t - k;
    let k = k as i32;
    let s = libm::scalbn(f64::from_bits(EXP2[(k & 31) as usize]), k >> 5);
    (((C0 * r + C1) * (r * r) + (C2 * r + 1.0)) * s) as f32
}

/// Hyperbolic tangent by way of [`expm1`], float32.
fn tanh(x: f32) -> f32 {
    let a = x.abs();
    // 2^-55: too small to differ from its own tangent.
    if a < f32::from_bits(0x2400_0000) {
        return x * (1.0 + x);
    }
    let z = if a >= 22.0 {
        1.0
    } else if a >= 1.0 {
        1.0 - 2.0 / (expm1(2.0 * a) + 2.0)
    } else {
        let t = expm1(-2.0 * a);
        -t / (t + 2.0)
    };
    if x < 0.0 { -z } else { z }
}

/// `exp(x) - 1` for -2 < x < 44, float32: the argument is reduced by `k ln 2`, a rational function of the rest is
/// scaled by `2^k`. Algorithm and constants are those of the freely distributable fdlibm (Sun Microsystems, 1993).
fn expm1(x: f32) -> f32 {
    const LN2_HI: f32 = f32::from_bits(0x3f31_7180);
    const LN2_LO: f32 = f32::from_bits(0x3717_f7d1);
    const INV_LN2: f32 = f32::from_bits(0x3fb8_aa3b);
    const HALF_LN2: f32 = f32::from_bits(0x3eb1_7218);
    const THREE_HALVES_LN2: f32 = f32::from_bits(0x3f85_1592);
    const TINY: f32 = f32::from_bits(0x3300_0000);
    const Q: [f32; 5] = [
        f32::from_bits(0xbd08_8889),
        f32::from_bits(0x3ad0_0d01),
        f32::from_bits(0xb8a6_70cd),
        f32::from_bits(0x3686_7e54),
        f32::from_bits(0xb457_edbb),
    ];
    let a = x.abs();
    let (mut x, mut k, mut c) = (x, 0i32, 0.0);
    if a > HALF_LN2 {
        let sign = if x > 0.0 { 1.0f32 } else { -1.0 };
        k = if a < THREE_HALVES_LN2 { sign as i32 } else { (INV_LN2 * x + 0.5 * sign) as i32 };
        let (hi, lo) = (x - k as f32 * LN2_HI, k as f32 * LN2_LO);
        x = hi - lo;
        c = (hi - x) - lo;
    } else if a < TINY {
        return x;
    }
    let half_x = 0.5 * x;
    let half_square = x * half_x;
    let r = 1.0
        + half_square
            * (Q[0] + half_square * (Q[1] + half_square * (Q[2] + half_square * (Q[3] + half_square * Q[4]))));
    let t = 3.0 - r * half_x;
    let mut e = half_square * ((r - t) / (6.0 - x * t));
    if k == 0 {
        return x - (x * e - half_square);
    }
    e = x * (e - c) - c;
    e -= half_square;
    let (power, inverse_power) = (libm::scalbnf(1.0, k), libm::scalbnf(1.0, -k));
    match k {
        -1 => 0.5 * (x - e) - 0.5,
        1 if x < -0.25 => -2.0 * (e - (x + 0.5)),
        1 => 1.0 + 2.0 * (x - e),
        ..=-2 | 57.. => (1.0 - (e - x)) * power - 1.0,
        2..23 => ((1.0 - inverse_power) - (e - x)) * power,
        _ => ((x - (e + inverse_power)) + 1.0) * power,
    }
}

/// The upper 16 bits of a multiplier, rounded, still below 2^15.
fn upper_half(multiplier: i32) -> i64 {
    ((i64::from(multiplier) + (1 << 15)) >> 16).min(32767)
}

/// `a * b / 2^15`, half away from zero, saturated: the doubling high multiply of 16-bit cores.
fn multiply_high(a: i64, b: i64) -> i64 {
    let product = a * b;
    let nudge = if product >= 0 { 1 << 14 } else { 1 - (1 << 14) };
    ((product + nudge) / (1 << 15)).min(32767)
}

/// `v / 2^n`, half away from zero.
fn shift_away(v: i64, n: i32) -> i64 {
    let mask = (1i64 << n) - 1;
    (v >> n) + i64::from((v & mask) > (mask >> 1) + i64::from(v < 0))
}

fn saturate16(v: i64) -> i64 {
    v.clamp(i64::from(i16::MIN), i64::from(i16::MAX))
}

fn wrap16(v: i64) -> i64 {
    i64::from(v as i16)
}

/// `2^(i/32)`, correctly rounded to float64, as bits.
const EXP2: [u64; 32] = [
    0x3ff0_0000_0000_0000,
    0x3ff0_59b0_d315_8574,
    0x3ff0_b558_6cf9_890f,
    0x3ff1_1301_d012_5b51,
    0x3ff1_72b8_3c7d_517b,
    0x3ff1_d487_3168_b9aa,
    0x3ff2_387a_6e75_6238,
    0x3ff2_9e9d_f51f_dee1,
    0x3ff3_06fe_0a31_b715,
    0x3ff3_71a7_373a_a9cb,
    0x3ff3_dea6_4c12_3422,
    0x3ff4_4e08_6061_892d,
    0x3ff4_bfda_d536_2a27,
    0x3ff5_342b_569d_4f82,
    0x3ff5_ab07_dd48_5429,
    0x3ff6_247e_b03a_5585,
    0x3ff6_a09e_667f_3bcd,
    0x3ff7_1f75_e8ec_5f74,
    0x3ff7_a114_73eb_0187,
    0x3ff8_2589_994c_ce13,
    0x3ff8_ace5_422a_a0db,
    0x3ff9_3737_b0cd_c5e5,
    0x3ff9_c491_82a3_f090,
    0x3ffa_5503_b23e_255d,
    0x3ffa_e89f_995a_d3ad,
    0x3ffb_7f76_f2fb_5e47,
    0x3ffc_199b_dd85_529c,
    0x3ffc_b720_dcef_9069,
    0x3ffd_5818_dcfb_a487,
    0x3ffd_fc97_337b_9b5f,
    0x3ffe_a4af_a2a4_90da,
    0x3fff_5076_5b6e_4540,
];
