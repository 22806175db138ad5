//! The slow, obvious definitions. Every kernel of every instruction set equals these byte for byte.
//!
//! Three rules hold everywhere. Integers wrap. Floats are `f32`, each operation rounded on its own, never fused. Rounding to
//! integers is written with integers, so that a device without a math library gives the same bytes as a server.
//!
//! A multiplier or a table from outside may be infinite or not a number: results are then useless, but they are the same
//! on every instruction set (not a number counts as the lower bound).

use crate::params::{
    Add, ArgExtreme, BinaryOp, Broadcast, Conv, Copy, DType, Door, Fixed, Mean, Mul, Pad, Pool, PoolKind, Prelu,
    Resample, Softmax, Window,
};

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

/// Strided copy, through a table if there is one.
///
/// # Panics
/// If an element lies outside its slice.
pub fn copy(p: &Copy<'_>, input: &[u8], output: &mut [u8]) {
    if let Some(value) = p.fill {
        output.fill(value);
    }
    for at in 0..p.dims.iter().product() {
        let (mut rest, mut from, mut to) = (at, p.from as isize, p.to);
        for d in (0..6).rev() {
            let i = rest % p.dims[d];
            rest /= p.dims[d];
            from += i as isize * p.from_strides[d];
            to += i * p.to_strides[d];
        }
        let byte = input[from as usize];
        output[to] = p.table.map_or(byte, |table| table[usize::from(byte)]);
    }
}

/// An element-wise operation with operands that may repeat.
///
/// # Panics
/// If a slice is too short.
pub fn broadcast(p: &Broadcast, a: &[u8], b: &[u8], output: &mut [u8]) {
    for (at, out) in output.iter_mut().enumerate() {
        let (mut rest, mut at_a, mut at_b) = (at, 0, 0);
        for d in (0..6).rev() {
            let i = rest % p.dims[d];
            rest /= p.dims[d];
            at_a += i * p.a_strides[d];
            at_b += i * p.b_strides[d];
        }
        let (a, b) = (&a[at_a..=at_a], &b[at_b..=at_b]);
        let mut one = [0];
        match &p.op {
            BinaryOp::Add(p) => add(p, a, b, &mut one),
            BinaryOp::Mul(p) => mul(&Mul { batch: 1, channels: 1, ..*p }, a, b, &mut one),
            BinaryOp::Maximum => one[0] = value(p.dtype, a[0]).max(value(p.dtype, b[0])) as u8,
            BinaryOp::Minimum => one[0] = value(p.dtype, a[0]).min(value(p.dtype, b[0])) as u8,
            BinaryOp::Prelu(prelu) => one[0] = self::prelu(p.dtype, prelu, a[0], b[0]),
        }
        [*out] = one;
    }
}

/// One element of a parametric rectifier.
pub(crate) fn prelu(dtype: DType, p: &Prelu, a: u8, b: u8) -> u8 {
    let (a, b) = (value(dtype, a) - p.a_zero_point, value(dtype, b) - p.b_zero_point);
    let q = if a >= 0 { fixed(a, p.positive) } else { fixed(a.wrapping_mul(b), p.negative) };
    let (lo, hi) = dtype.range();
    q.saturating_add(i64::from(p.out_zero_point)).max(i64::from(lo)).min(i64::from(hi)) as u8
}

/// `x * multiplier * 2^(exponent - 31)`, rounded twice, both times half away from zero. `|x| <= 2^17`.
fn fixed(x: i32, factor: Fixed) -> i64 {
    let (left, right) = (factor.exponent.max(0), (-factor.exponent).max(0));
    let product = (i64::from(x) << left) * i64::from(factor.multiplier);
    // Half away from zero, but for the very tie below zero.
    let high = (product + if product >= 0 { 1 << 30 } else { 1 - (1 << 30) }) / (1 << 31);
    let (mask, rest) = ((1i64 << right) - 1, high & ((1i64 << right) - 1));
    (high >> right) + i64::from(rest > (mask >> 1) + i64::from(high < 0))
}

/// Resizing and gathering.
///
/// # Panics
/// If a slice is too short or a row or column looks outside the image.
pub fn resample(p: &Resample<'_>, input: &[u8], output: &mut [u8]) {
    let (h, w) = (p.rows.len(), p.columns.len());
    for (at, out) in output[..p.batch * h * w * p.channels].iter_mut().enumerate() {
        let (image, line, column, channel) =
            (at / p.channels / w / h, at / p.channels / w % h, at / p.channels % w, at % p.channels);
        let ([y, wy], [x, wx]) = (p.rows[line], p.columns[column]);
        let (y, x) = (y as usize, x as usize);
        let cell = |y: usize, x: usize| {
            let (y, x) = (y.min(p.in_h - 1), x.min(p.in_w - 1));
            value(p.dtype, input[((image * p.in_h + y) * p.in_w + x) * p.channels + channel])
        };
        let corners = [cell(y, x), cell(y, x + 1), cell(y + 1, x), cell(y + 1, x + 1)];
        *out = blend(corners, wx as i32, wy as i32) as u8;
    }
}

/// Between four corners (top left, top right, bottom left, bottom right), weights in 1/2048: exact, then half up.
#[inline(always)]
pub(crate) fn blend([tl, tr, bl, br]: [i32; 4], wx: i32, wy: i32) -> i32 {
    let top = (tl << 11) + (tr - tl) * wx;
    let bottom = (bl << 11) + (br - bl) * wx;
    ((top << 11) + (bottom - top) * wy + (1 << 21)) >> 22
}

/// The index of the first largest or smallest element.
///
/// # Panics
/// If a slice is too short.
pub fn arg_extreme(p: &ArgExtreme, input: &[u8], output: &mut [u8]) {
    for at in 0..p.outer * p.inner {
        let (outer, inner) = (at / p.inner, at % p.inner);
        let of = |i: usize| value(p.dtype, input[(outer * p.n + i) * p.inner + inner]);
        let better = |i: usize, best: usize| if p.largest { of(i) > of(best) } else { of(i) < of(best) };
        let best = (1..p.n).fold(0, |best, i| if better(i, best) { i } else { best }) as u64;
        let size = if p.wide { 8 } else { 4 };
        output[at * size..][..size].copy_from_slice(&best.to_le_bytes()[..size]);
    }
}

/// float32 to a quantized type; not a number becomes the lowest value.
pub fn from_float(p: &Door, input: &[u8], output: &mut [u8]) {
    let (lo, hi) = p.dtype.range();
    for (out, &x) in output.iter_mut().zip(input.as_chunks::<4>().0) {
        let v = limit(f32::from_le_bytes(x) * p.factor, (lo - p.zero_point) as f32, (hi - p.zero_point) as f32);
        *out = (round_even(v) + p.zero_point) as u8;
    }
}

/// A quantized type to float32.
pub fn to_float(p: &Door, input: &[u8], output: &mut [u8]) {
    for (out, &x) in output.as_chunks_mut::<4>().0.iter_mut().zip(input) {
        *out = ((value(p.dtype, x) - p.zero_point) as f32 * p.factor).to_le_bytes();
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
