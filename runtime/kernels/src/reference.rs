//! The slow, obvious definitions. Every kernel of every instruction set equals these byte for byte.
//!
//! Three rules hold everywhere. Integers wrap. Floats are `f32`, each operation rounded on its own, never fused. Rounding to
//! integers is written with integers, so that a device without a math library gives the same bytes as a server.
//!
//! A multiplier or a table from outside may be infinite or not a number: results are then useless, but they are the same
//! on every instruction set (not a number counts as the lower bound).

use crate::params::{Add, Conv, DType, Mean, Mul, Pad, Pool, PoolKind, Softmax, Window};

/// `rne(f32(f32(acc) * multiplier)) + zero_point`, limited to `lo..=hi`.
///
/// The limits act on the float, before the rounding, which gives the same result. `zero_point`, `lo` and `hi` lie in
/// `-128..=255`.
#[must_use]
pub fn requantize(acc: i32, multiplier: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
    round_even(limit(acc as f32 * multiplier, (lo - zero_point) as f32, (hi - zero_point) as f32)) + zero_point
}

/// Convolution, also fully connected. Cells outside the image hold the zero point, so they add nothing.
///
/// # Panics
/// If a slice is too short.
pub fn conv(c: &Conv<'_>, input: &[u8], output: &mut [u8]) {
    let (w, k4) = (&c.window, c.k().next_multiple_of(4));
    for (at, out) in output[..c.output_len()].iter_mut().enumerate() {
        let (pixel, n) = (at / c.out_c, at % c.out_c);
        let mut acc = c.bias[n];
        for tap in 0..w.taps() {
            let Some(cell) = cell(w, pixel, tap) else { continue };
            for channel in 0..c.in_c {
                let k = tap * c.in_c + channel;
                let weight = c.weights[(n / 16 * k4 + k / 4 * 4) * 16 + n % 16 * 4 + k % 4];
                acc = accumulate(c, acc, input[cell * c.in_c + channel], weight);
            }
        }
        *out = requantize(acc, c.multipliers[n], c.out_zero_point, c.lo, c.hi) as u8;
    }
}

/// Depthwise convolution: output channel `n` reads input channel `n / (out_c / in_c)`.
///
/// # Panics
/// If a slice is too short.
pub fn depthwise(c: &Conv<'_>, input: &[u8], output: &mut [u8]) {
    for (at, out) in output[..c.output_len()].iter_mut().enumerate() {
        let (pixel, n) = (at / c.out_c, at % c.out_c);
        let mut acc = c.bias[n];
        for tap in 0..c.window.taps() {
            let Some(cell) = cell(&c.window, pixel, tap) else { continue };
            let x = input[cell * c.in_c + n / (c.out_c / c.in_c)];
            acc = accumulate(c, acc, x, c.weights[tap * c.c16() + n]);
        }
        *out = requantize(acc, c.multipliers[n], c.out_zero_point, c.lo, c.hi) as u8;
    }
}

/// Sum or difference of two tensors of one shape.
pub fn add(p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    for ((out, &a), &b) in output.iter_mut().zip(a).zip(b) {
        let (a, b) = (value(p.dtype, a), value(p.dtype, b));
        let acc = p.bias.wrapping_add(p.a_multiplier.wrapping_mul(a)).wrapping_add(p.b_multiplier.wrapping_mul(b));
        *out = acc.wrapping_shr(p.shift).wrapping_add(p.out_zero_point).max(p.lo).min(p.hi) as u8;
    }
}

/// Product of two tensors, or of a tensor and one row of channels for each image.
///
/// # Panics
/// If a slice is too short.
pub fn mul(p: &Mul, a: &[u8], b: &[u8], output: &mut [u8]) {
    let image = output.len() / p.batch.max(1);
    for (at, (out, &a)) in output.iter_mut().zip(a).enumerate() {
        let b = if b.len() == p.batch * p.channels { b[at / image * p.channels + at % p.channels] } else { b[at] };
        let acc = (value(p.dtype, a) - p.a_zero_point).wrapping_mul(value(p.dtype, b) - p.b_zero_point);
        *out = requantize(acc, p.multiplier, p.out_zero_point, p.lo, p.hi) as u8;
    }
}

/// Average or maximum of the cells inside the image. The average is of raw values, rounded half away from zero.
///
/// # Panics
/// If a slice is too short or a window holds no cell of the image.
pub fn pool(p: &Pool, input: &[u8], output: &mut [u8]) {
    for (at, out) in output[..p.batch * p.window.out_pixels() * p.channels].iter_mut().enumerate() {
        let (pixel, channel) = (at / p.channels, at % p.channels);
        let cells = (0..p.window.taps()).filter_map(|tap| cell(&p.window, pixel, tap));
        let values = cells.map(|cell| value(p.dtype, input[cell * p.channels + channel]));
        let result = match p.kind {
            PoolKind::Max => values.fold(i32::MIN, i32::max),
            PoolKind::Average => {
                let (sum, n) = values.fold((0, 0), |(sum, n), v| (sum + v, n + 1));
                if sum > 0 { (sum + n / 2) / n } else { (sum - n / 2) / n }
            }
        };
        *out = result.max(p.lo).min(p.hi) as u8;
    }
}

/// Mean over the pixels of each image.
///
/// # Panics
/// If a slice is too short.
pub fn mean(p: &Mean, input: &[u8], output: &mut [u8]) {
    let (lo, hi) = p.dtype.range();
    for (at, out) in output[..p.batch * p.channels].iter_mut().enumerate() {
        let (image, channel) = (at / p.channels, at % p.channels);
        let values = (0..p.pixels).map(|i| value(p.dtype, input[(image * p.pixels + i) * p.channels + channel]));
        let sum = values.fold(0, i32::wrapping_add);
        *out = round_even(limit(sum as f32 * p.multiplier + p.offset, lo as f32, hi as f32)) as u8;
    }
}

/// A border around a tensor.
///
/// # Panics
/// If a slice is too short.
pub fn pad(p: &Pad, input: &[u8], output: &mut [u8]) {
    let dims: [usize; 4] = core::array::from_fn(|d| p.before[d] + p.in_dims[d] + p.after[d]);
    for (at, out) in output[..dims.iter().product()].iter_mut().enumerate() {
        let (mut rest, mut from, mut step, mut inside) = (at, 0, 1, true);
        for d in (0..4).rev() {
            let x = (rest % dims[d]).wrapping_sub(p.before[d]);
            inside &= x < p.in_dims[d];
            from += step * if inside { x } else { 0 };
            step *= p.in_dims[d];
            rest /= dims[d];
        }
        *out = if inside { input[from] } else { p.value };
    }
}

/// `output[i] = table[input[i]]`.
pub fn lut(table: &[u8; 256], input: &[u8], output: &mut [u8]) {
    for (out, &x) in output.iter_mut().zip(input) {
        *out = table[usize::from(x)];
    }
}

/// Softmax of each row. The sum runs in order, one element at a time: another order is another result. int8 rounds half
/// away from zero and adds the zero point; uint8 adds a half, truncates and ignores the zero point.
///
/// # Panics
/// If the table is shorter than 256.
pub fn softmax(p: &Softmax<'_>, input: &[u8], output: &mut [u8]) {
    let (lo, hi) = p.dtype.range();
    for (out, row) in output.chunks_mut(p.row).zip(input.chunks(p.row)) {
        let max = row.iter().map(|&x| value(p.dtype, x)).fold(i32::MIN, i32::max);
        let e = |x: u8| p.table[(max - value(p.dtype, x)) as usize];
        let mut sum = 0.0f32;
        for &x in row {
            sum += e(x);
        }
        let inverse = 1.0 / (sum * p.out_scale);
        for (out, &x) in out.iter_mut().zip(row) {
            let v = limit(e(x) * inverse, -65536.0, 65536.0);
            let q = match p.dtype {
                DType::Int8 => round_away(v) + p.out_zero_point,
                DType::UInt8 => (v + 0.5) as i32,
            };
            *out = q.max(lo).min(hi) as u8;
        }
    }
}

/// Nearest integer, half to even. `|v| < 2^22`.
pub(crate) fn round_even(v: f32) -> i32 {
    let whole = v as i32;
    let rest = v - whole as f32;
    let up = rest.abs() > 0.5 || (rest.abs() == 0.5 && whole % 2 != 0);
    if up { whole + if rest < 0.0 { -1 } else { 1 } } else { whole }
}

/// Nearest integer, half away from zero. `|v| < 2^22`.
pub(crate) fn round_away(v: f32) -> i32 {
    let whole = v as i32;
    let rest = v - whole as f32;
    if rest.abs() >= 0.5 { whole + if rest < 0.0 { -1 } else { 1 } } else { whole }
}

/// `v` between `lo` and `hi`; not a number becomes `lo`.
pub(crate) fn limit(v: f32, lo: f32, hi: f32) -> f32 {
    let v = if v > lo { v } else { lo };
    if v < hi { v } else { hi }
}

/// How a byte is read.
pub(crate) fn value(dtype: DType, byte: u8) -> i32 {
    match dtype {
        DType::Int8 => i32::from(byte as i8),
        DType::UInt8 => i32::from(byte),
    }
}

/// The input pixel, counted over all images, that tap `tap` of output pixel `pixel` sees; `None` outside its image.
fn cell(w: &Window, pixel: usize, tap: usize) -> Option<usize> {
    let (image, pixel) = (pixel / w.out_pixels(), pixel % w.out_pixels());
    let y = (pixel / w.out_w * w.stride_h + tap / w.kernel_w * w.dilation_h).checked_sub(w.pad_top)?;
    let x = (pixel % w.out_w * w.stride_w + tap % w.kernel_w * w.dilation_w).checked_sub(w.pad_left)?;
    (y < w.in_h && x < w.in_w).then_some((image * w.in_h + y) * w.in_w + x)
}

fn accumulate(c: &Conv<'_>, acc: i32, x: u8, weight: i8) -> i32 {
    let x = value(c.in_dtype, x) - c.in_zero_point;
    acc.wrapping_add(x.wrapping_mul(i32::from(weight) - c.weight_zero_point))
}
