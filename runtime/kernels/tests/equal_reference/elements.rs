//! Sums, products, pools, borders, tables and softmax.

use fleetfoot_kernels::{Add, DType, Mean, Mul, Pad, Pool, PoolKind, Softmax, reference};

use crate::{compare::check, random::Random};

#[test]
fn add() {
    let mut r = Random(5);
    for _ in 0..300 {
        let (n, dtype) = (r.extent(0, 200), r.dtype());
        let (lo, hi) = r.bounds(dtype);
        let shift = r.extent(1, 31) as u32;
        let m = |r: &mut Random| r.within(-(1 << 21), 1 << 21);
        let p = Add {
            dtype,
            a_multiplier: m(&mut r),
            b_multiplier: m(&mut r),
            bias: r.next() as i32,
            shift,
            out_zero_point: r.zero_point(dtype),
            lo,
            hi,
        };
        let (a, b) = (r.bytes(n), r.bytes(n));
        check(&p, n, |out| reference::add(&p, &a, &b, out), |kernels, out| kernels.add(&p, &a, &b, out));
    }
}

#[test]
fn mul() {
    let mut r = Random(6);
    for round in 0..300 {
        let (batch, pixels, channels, dtype) = (r.extent(1, 3), r.extent(1, 9), r.extent(1, 70), r.dtype());
        let (lo, hi) = r.bounds(dtype);
        let p = Mul {
            batch,
            channels,
            dtype,
            a_zero_point: r.zero_point(dtype),
            b_zero_point: r.zero_point(dtype),
            multiplier: r.multiplier(5000.0),
            out_zero_point: r.zero_point(dtype),
            lo,
            hi,
        };
        let n = batch * pixels * channels;
        let (a, b) = (r.bytes(n), r.bytes(if round % 2 == 0 { n } else { batch * channels }));
        check(&p, n, |out| reference::mul(&p, &a, &b, out), |kernels, out| kernels.mul(&p, &a, &b, out));
    }
}

#[test]
fn pool() {
    let mut r = Random(7);
    for _ in 0..400 {
        let (batch, channels, dtype) = (r.extent(1, 2), r.extent(1, 40), r.dtype());
        let mut window = r.window(1..=5, 1);
        window.pad_top = window.pad_top.min(window.kernel_h - 1);
        // Fewer windows where the last would lie outside.
        window.out_h = window.out_h.min((window.in_h + window.pad_top - 1) / window.stride_h + 1);
        window.out_w = window.out_w.min((window.in_w + window.pad_left - 1) / window.stride_w + 1);
        let (lo, hi) = r.bounds(dtype);
        for kind in [PoolKind::Average, PoolKind::Max] {
            let p = Pool { kind, batch, window, channels, dtype, lo, hi };
            let input = r.bytes(batch * window.in_pixels() * channels);
            let n = batch * window.out_pixels() * channels;
            check(&p, n, |out| reference::pool(&p, &input, out), |kernels, out| kernels.pool(&p, &input, out));
        }
    }
}

#[test]
fn mean() {
    let mut r = Random(8);
    for _ in 0..300 {
        let (batch, pixels, channels, dtype) = (r.extent(1, 3), r.extent(1, 60), r.extent(1, 90), r.dtype());
        let multiplier = r.multiplier(64.0 * pixels as f64) / 16.0;
        let p = Mean { batch, pixels, channels, dtype, multiplier, offset: r.within(-1000, 1000) as f32 / 8.0 };
        let input = r.bytes(batch * pixels * channels);
        check(
            &p,
            batch * channels,
            |out| reference::mean(&p, &input, out),
            |kernels, out| kernels.mean(&p, &input, out),
        );
    }
}

#[test]
fn pad() {
    let mut r = Random(9);
    for _ in 0..200 {
        let mut four = |hi: usize| -> [usize; 4] { core::array::from_fn(|_| r.extent(0, hi)) };
        let p = Pad { in_dims: four(4).map(|d| d + 1), before: four(3), after: four(3), value: 0x99 };
        let n = (0..4).map(|d| p.before[d] + p.in_dims[d] + p.after[d]).product();
        let input = r.bytes(p.in_dims.iter().product());
        check(&p, n, |out| reference::pad(&p, &input, out), |kernels, out| kernels.pad(&p, &input, out));
    }
}

#[test]
fn lut() {
    let mut r = Random(10);
    for n in 0..130 {
        let table: [u8; 256] = core::array::from_fn(|_| r.next() as u8);
        let input = r.bytes(n);
        check(&n, n, |out| reference::lut(&table, &input, out), |kernels, out| kernels.lut(&table, &input, out));
    }
}

#[test]
fn softmax() {
    let mut r = Random(11);
    for _ in 0..200 {
        let (rows, row, dtype) = (r.extent(1, 5), r.extent(1, 120), r.dtype());
        let scale = r.within(1, 300) as f32 / 1000.0;
        let table: Vec<f32> = (0..256).map(|d| (-scale * d as f32).exp()).collect();
        let out_zero_point = if dtype == DType::Int8 { -128 } else { 0 };
        let p = Softmax { row, dtype, table: &table, out_scale: 1.0 / 256.0, out_zero_point };
        let input = r.bytes(rows * row);
        let case = (rows, row, dtype, scale);
        check(
            &case,
            rows * row,
            |out| reference::softmax(&p, &input, out),
            |kernels, out| kernels.softmax(&p, &input, out),
        );
    }
}
