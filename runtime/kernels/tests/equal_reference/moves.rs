//! What moves bytes or looks them up: copies, broadcasting, resampling, indices of extremes, float doors.

use fleetfoot_kernels::{
    Add, ArgExtreme, BinaryOp, Broadcast, Copy as Strided, Door, Fixed, Mul, Prelu, Resample, reference,
};

use crate::{compare::check, random::Random};

/// Extents of six dimensions, most of them small, and a shuffled order of them.
fn dims(r: &mut Random) -> ([usize; 6], [usize; 6]) {
    let dims = std::array::from_fn(|_| r.pick(&[1, 1, 2, 3, 5, 9]));
    let mut order = [0, 1, 2, 3, 4, 5];
    for d in (1..6).rev() {
        order.swap(d, r.extent(0, d));
    }
    (dims, order)
}

/// Strides of a dense tensor whose dimensions lie in `order`.
fn strides(dims: &[usize; 6], order: &[usize; 6]) -> [usize; 6] {
    let (mut strides, mut step) = ([0; 6], 1);
    for &d in order.iter().rev() {
        strides[d] = step;
        step *= dims[d];
    }
    strides
}

#[test]
fn copies() {
    let mut r = Random(20);
    for _ in 0..400 {
        let (dims, order) = dims(&mut r);
        let n: usize = dims.iter().product();
        let straight = [0, 1, 2, 3, 4, 5];
        let (read, written) = (r.pick(&[order, straight]), r.pick(&[order, straight]));
        let (mut from, mut from_strides) = (0, strides(&dims, &read).map(|s| s as isize));
        for d in 0..6 {
            if r.extent(0, 3) == 0 {
                from += (dims[d] - 1) * from_strides[d].unsigned_abs();
                from_strides[d] = -from_strides[d];
            } else if r.extent(0, 7) == 0 {
                from_strides[d] = 0;
            }
        }
        let (apart, to) = (r.extent(1, 2), r.extent(0, 3));
        let to_strides = strides(&dims, &written).map(|s| s * apart);
        let table: [u8; 256] = std::array::from_fn(|_| r.next() as u8);
        let table = r.pick(&[None, Some(&table)]);
        let p = Strided { dims, from, from_strides, to, to_strides, table, fill: Some(7) };
        let input = r.bytes(n);
        check(&p, to + n * apart, |out| reference::copy(&p, &input, out), |k, out| k.copy(&p, &input, out));
    }
}

#[test]
fn broadcasts() {
    let mut r = Random(21);
    for _ in 0..600 {
        let (dims, order) = dims(&mut r);
        let n: usize = dims.iter().product();
        let dtype = r.dtype();
        let (lo, hi) = r.bounds(dtype);
        let (a_zero_point, b_zero_point, out_zero_point) =
            (r.zero_point(dtype), r.zero_point(dtype), r.zero_point(dtype));
        let mut fixed =
            |most: i32| Fixed { multiplier: r.within(1 << 30, i32::MAX - 1), exponent: r.within(-31, most) };
        let (positive, negative) = (fixed(14), fixed(14));
        let op = match r.extent(0, 4) {
            0 => BinaryOp::Add(Add {
                dtype,
                a_multiplier: r.within(-(1 << 20), 1 << 20),
                b_multiplier: r.within(-(1 << 20), 1 << 20),
                bias: r.within(-(1 << 24), 1 << 24),
                shift: r.within(10, 24) as u32,
                out_zero_point,
                lo,
                hi,
            }),
            1 => BinaryOp::Mul(Mul {
                batch: 1,
                channels: 1,
                dtype,
                a_zero_point,
                b_zero_point,
                multiplier: r.multiplier(16384.0),
                out_zero_point,
                lo,
                hi,
            }),
            2 => BinaryOp::Maximum,
            3 => BinaryOp::Minimum,
            _ => BinaryOp::Prelu(Prelu { a_zero_point, b_zero_point, positive, negative, out_zero_point }),
        };
        let of = |r: &mut Random| {
            let mut strides = strides(&dims, &r.pick(&[order, [0, 1, 2, 3, 4, 5]]));
            for stride in &mut strides {
                *stride *= usize::from(r.extent(0, 3) != 0);
            }
            strides
        };
        let p = Broadcast { dims, a_strides: of(&mut r), b_strides: of(&mut r), dtype, op };
        let (a, b) = (r.bytes(n), r.bytes(n));
        check(&p, n, |out| reference::broadcast(&p, &a, &b, out), |k, out| k.broadcast(&p, &a, &b, out));
    }
}

#[test]
fn resampling_indices_and_doors() {
    let mut r = Random(22);
    for _ in 0..300 {
        let (batch, in_h, in_w) = (r.extent(1, 2), r.extent(1, 7), r.extent(1, 7));
        let (channels, dtype) = (r.pick(&[1, 3, 16, 33, 70]), r.dtype());
        let mut cells = |extent: usize| -> Vec<[u32; 2]> {
            let n = r.extent(1, 9);
            (0..n).map(|_| [r.extent(0, extent - 1) as u32, r.pick(&[0, 0, 1, 700, 1024, 2047, 2048])]).collect()
        };
        let (rows, columns) = (cells(in_h), cells(in_w));
        let p = Resample { batch, in_h, in_w, channels, dtype, rows: &rows, columns: &columns };
        let input = r.bytes(batch * in_h * in_w * channels);
        let n = batch * rows.len() * columns.len() * channels;
        check(&p, n, |out| reference::resample(&p, &input, out), |k, out| k.resample(&p, &input, out));

        let p = ArgExtreme {
            outer: in_h,
            n: in_w,
            inner: channels,
            dtype,
            largest: r.extent(0, 1) == 0,
            wide: r.extent(0, 1) == 0,
        };
        let input = r.bytes(in_h * in_w * channels);
        let n = in_h * channels * if p.wide { 8 } else { 4 };
        check(&p, n, |out| reference::arg_extreme(&p, &input, out), |k, out| k.arg_extreme(&p, &input, out));

        let p = Door { dtype, factor: r.multiplier(1.0) * 100.0, zero_point: r.zero_point(dtype) };
        check(
            &p,
            4 * channels,
            |out| reference::to_float(&p, &input[..channels], out),
            |k, out| {
                k.to_float(&p, &input[..channels], out);
            },
        );
        // Any bits: infinities and what is not a number among them.
        let floats: Vec<u8> = (0..4 * channels).map(|_| r.next() as u8).collect();
        let of = |v: f32| v.to_le_bytes();
        let special = [of(f32::NAN), of(f32::INFINITY), of(f32::NEG_INFINITY), of(0.5), of(-1.5), of(2.5)].concat();
        let floats = [special, floats].concat();
        let n = floats.len() / 4;
        check(&p, n, |out| reference::from_float(&p, &floats, out), |k, out| k.from_float(&p, &floats, out));
    }
}
