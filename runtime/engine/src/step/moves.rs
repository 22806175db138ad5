//! Steps that move bytes, combine tensors of different shapes, or stand at the doors of the model.

use fleetfoot_format::graph::{self, Span};
use fleetfoot_kernels as kernels;
use fleetfoot_kernels::Kernels;

use super::{Fault, binary, cast, dtype, pair, slice};

pub(super) fn copy(isa: Kernels, p: &graph::Copy, weights: &[u8], tensors: &mut [u8]) -> Result<(), Fault> {
    let table = match p.table {
        Some(span) => Some(slice(weights, span, "table")?.first_chunk().ok_or(Fault::OutOfBounds("table"))?),
        None => None,
    };
    let params = kernels::Copy {
        dims: p.dims.map(|d| d as usize),
        from: p.from as usize,
        from_strides: p.from_strides.map(|s| s as isize),
        to: p.to as usize,
        to_strides: p.to_strides.map(|s| s as usize),
        table,
        fill: p.fill,
    };
    if p.in_weights {
        isa.copy(&params, slice(weights, p.input, "input")?, result(tensors, p.output)?);
    } else {
        let (input, output) = pair(tensors, p.input, p.output)?;
        isa.copy(&params, input, output);
    }
    Ok(())
}

pub(super) fn broadcast(isa: Kernels, p: &graph::Broadcast, weights: &[u8], tensors: &mut [u8]) -> Result<(), Fault> {
    let params = kernels::Broadcast {
        dims: p.dims.map(|d| d as usize),
        a_strides: p.a_strides.map(|s| s as usize),
        b_strides: p.b_strides.map(|s| s as usize),
        dtype: dtype(p.dtype),
        op: op(p)?,
    };
    if p.b_in_weights {
        let (a, output) = pair(tensors, p.a, p.output)?;
        isa.broadcast(&params, a, slice(weights, p.b, "b")?, output);
        return Ok(());
    }
    binary(tensors, p.a, p.b, p.output, |a, b, output| isa.broadcast(&params, a, b, output))
}

fn op(p: &graph::Broadcast) -> Result<kernels::BinaryOp, Fault> {
    let dtype = dtype(p.dtype);
    let fixed = |f: graph::Fixed| kernels::Fixed { multiplier: f.multiplier, exponent: f.exponent };
    Ok(match p.op {
        graph::BinaryOp::Add { a_multiplier, b_multiplier, bias, shift, out_zero_point, lo, hi } => {
            kernels::BinaryOp::Add(kernels::Add {
                dtype,
                a_multiplier,
                b_multiplier,
                bias,
                shift,
                out_zero_point,
                lo,
                hi,
            })
        }
        graph::BinaryOp::Mul { a_zero_point, b_zero_point, multiplier, out_zero_point, lo, hi } => {
            kernels::BinaryOp::Mul(kernels::Mul {
                batch: 1,
                channels: 1,
                dtype,
                a_zero_point,
                b_zero_point,
                multiplier,
                out_zero_point,
                lo,
                hi,
            })
        }
        graph::BinaryOp::Maximum => kernels::BinaryOp::Maximum,
        graph::BinaryOp::Minimum => kernels::BinaryOp::Minimum,
        graph::BinaryOp::Prelu { a_zero_point, b_zero_point, positive, negative, out_zero_point } => {
            let (positive, negative) = (fixed(positive), fixed(negative));
            kernels::BinaryOp::Prelu(kernels::Prelu { a_zero_point, b_zero_point, positive, negative, out_zero_point })
        }
        _ => return Err(Fault::OutOfBounds("operation")),
    })
}

/// The parameters of a resampling with its places.
pub(crate) fn resample<'a>(p: &graph::Resample, weights: &'a [u8]) -> Result<kernels::Resample<'a>, Fault> {
    Ok(kernels::Resample {
        batch: p.batch as usize,
        in_h: p.in_h as usize,
        in_w: p.in_w as usize,
        channels: p.channels as usize,
        dtype: dtype(p.dtype),
        rows: cast(weights, p.rows, "rows")?,
        columns: cast(weights, p.columns, "columns")?,
    })
}

pub(super) const fn arg_extreme(p: &graph::ArgExtreme) -> kernels::ArgExtreme {
    kernels::ArgExtreme {
        outer: p.outer as usize,
        n: p.n as usize,
        inner: p.inner as usize,
        dtype: dtype(p.dtype),
        largest: p.largest,
        wide: p.wide,
    }
}

pub(super) const fn from_float(p: &graph::FromFloat) -> kernels::Door {
    kernels::Door { dtype: dtype(p.dtype), factor: p.inverse, zero_point: p.zero_point }
}

pub(super) const fn to_float(p: &graph::ToFloat) -> kernels::Door {
    kernels::Door { dtype: dtype(p.dtype), factor: p.scale, zero_point: p.zero_point }
}

fn result(tensors: &mut [u8], output: Span) -> Result<&mut [u8], Fault> {
    tensors.get_mut(output.range()).ok_or(Fault::OutOfBounds("output"))
}
