//! From a stored step to a call of a kernel.

mod moves;

use core::ops::Range;

use fleetfoot_format::graph::{self, DType, PoolKind, Span, Step};
use fleetfoot_kernels as kernels;
use fleetfoot_kernels::Kernels;

pub(crate) use self::moves::resample;
use crate::error::{EngineError, Place};

/// What a profiler is told after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepInfo {
    /// Position of the step.
    pub index: usize,
}

/// What a step cannot do, before its position is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    OutOfBounds(&'static str),
    Overlap(&'static str),
}

impl Fault {
    /// No model that was opened comes here: `check` proved what is missing.
    pub(crate) const fn at(self, step: u32) -> EngineError {
        let (Self::OutOfBounds(what) | Self::Overlap(what)) = self;
        EngineError::Unsound { place: Place::Step(step), what }
    }
}

/// A step, decoded once, and what its kernel needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) step: Step,
    /// Bytes of scratch.
    pub(crate) scratch_len: usize,
    /// Of a convolution: see [`kernels::Conv::below_one`].
    pub(crate) below_one: bool,
}

impl Prepared {
    /// `below_one` where all multipliers of the model are: then those of the step need no look.
    pub(crate) fn new(kernels: Kernels, step: Step, weights: &[u8], below_one: bool) -> Self {
        let known = |c| if below_one { conv_known(c, weights, true) } else { conv(c, weights) };
        let (scratch_len, below_one) = match &step {
            Step::Conv(c) | Step::FullyConnected(c) | Step::Depthwise(c) => match known(c) {
                Ok(c) if matches!(step, Step::Depthwise(_)) => (kernels.depthwise_scratch_len(&c), c.below_one),
                Ok(c) => (kernels.conv_scratch_len(&c), c.below_one),
                Err(_) => (0, false),
            },
            _ => (0, false),
        };
        Self { step, scratch_len, below_one }
    }
}

/// Runs a step on the tensors of the arena.
pub(crate) fn run(
    isa: Kernels,
    Prepared { step, below_one, .. }: &Prepared,
    weights: &[u8],
    tensors: &mut [u8],
    scratch: &mut [u8],
) -> Result<(), Fault> {
    match step {
        Step::Conv(c) | Step::FullyConnected(c) => {
            let (input, output) = pair(tensors, c.input, c.output)?;
            isa.conv(&conv_known(c, weights, *below_one)?, input, output, scratch);
        }
        Step::Depthwise(c) => {
            let (input, output) = pair(tensors, c.input, c.output)?;
            isa.depthwise(&conv_known(c, weights, *below_one)?, input, output, scratch);
        }
        Step::Add(p) => {
            let params = add(p);
            binary(tensors, p.a, p.b, p.output, |a, b, output| isa.add(&params, a, b, output))?;
        }
        Step::Mul(p) => {
            let params = mul(p);
            binary(tensors, p.a, p.b, p.output, |a, b, output| isa.mul(&params, a, b, output))?;
        }
        Step::Pool(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.pool(&pool(p), input, output);
        }
        Step::Mean(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.mean(&mean(p), input, output);
        }
        Step::Pad(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.pad(&pad(p), input, output);
        }
        Step::Lut(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.lut(table(p, weights)?, input, output);
        }
        Step::Softmax(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.softmax(&softmax(p, weights)?, input, output);
        }
        Step::Copy(p) => moves::copy(isa, p, weights, tensors)?,
        Step::Broadcast(p) => moves::broadcast(isa, p, weights, tensors)?,
        Step::Resample(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.resample(&resample(p, weights)?, input, output);
        }
        Step::ArgExtreme(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.arg_extreme(&moves::arg_extreme(p), input, output);
        }
        Step::FromFloat(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.from_float(&moves::from_float(p), input, output);
        }
        Step::ToFloat(p) => {
            let (input, output) = pair(tensors, p.input, p.output)?;
            isa.to_float(&moves::to_float(p), input, output);
        }
        _ => return Err(Fault::OutOfBounds("operation")),
    }
    Ok(())
}

/// The parameters of a convolution with its weights in place.
pub(crate) fn conv<'a>(c: &graph::Conv, weights: &'a [u8]) -> Result<kernels::Conv<'a>, Fault> {
    let below_one = kernels::Conv::below_one(cast(weights, c.multipliers, "multipliers")?);
    conv_known(c, weights, below_one)
}

/// As [`conv`], without a look at the multipliers.
#[inline(always)]
pub(crate) fn conv_known<'a>(c: &graph::Conv, weights: &'a [u8], below_one: bool) -> Result<kernels::Conv<'a>, Fault> {
    Ok(kernels::Conv {
        batch: c.batch as usize,
        window: window(&c.window),
        in_c: c.in_c as usize,
        out_c: c.out_c as usize,
        in_dtype: dtype(c.in_dtype),
        in_zero_point: c.in_zero_point,
        weights: cast(weights, c.weights, "weights")?,
        weight_zero_point: c.weight_zero_point,
        bias: cast(weights, c.bias, "bias")?,
        sums: cast(weights, c.sums, "sums")?,
        multipliers: cast(weights, c.multipliers, "multipliers")?,
        below_one,
        out_zero_point: c.out_zero_point,
        lo: c.lo,
        hi: c.hi,
    })
}

/// The parameters of a softmax with its table in place.
pub(crate) fn softmax<'a>(p: &graph::Softmax, weights: &'a [u8]) -> Result<kernels::Softmax<'a>, Fault> {
    Ok(kernels::Softmax {
        row: p.row as usize,
        dtype: dtype(p.dtype),
        table: cast(weights, p.table, "table")?,
        out_scale: p.out_scale,
        out_zero_point: p.out_zero_point,
    })
}

pub(crate) const fn add(p: &graph::Add) -> kernels::Add {
    kernels::Add {
        dtype: dtype(p.dtype),
        a_multiplier: p.a_multiplier,
        b_multiplier: p.b_multiplier,
        bias: p.bias,
        shift: p.shift,
        out_zero_point: p.out_zero_point,
        lo: p.lo,
        hi: p.hi,
    }
}

pub(crate) const fn mul(p: &graph::Mul) -> kernels::Mul {
    kernels::Mul {
        batch: p.batch as usize,
        channels: p.channels as usize,
        dtype: dtype(p.dtype),
        a_zero_point: p.a_zero_point,
        b_zero_point: p.b_zero_point,
        multiplier: p.multiplier,
        out_zero_point: p.out_zero_point,
        lo: p.lo,
        hi: p.hi,
    }
}

pub(crate) const fn pool(p: &graph::Pool) -> kernels::Pool {
    kernels::Pool {
        kind: match p.kind {
            PoolKind::Max => kernels::PoolKind::Max,
            _ => kernels::PoolKind::Average,
        },
        batch: p.batch as usize,
        window: window(&p.window),
        channels: p.channels as usize,
        dtype: dtype(p.dtype),
        lo: p.lo,
        hi: p.hi,
    }
}

const fn mean(p: &graph::Mean) -> kernels::Mean {
    kernels::Mean {
        batch: p.batch as usize,
        pixels: p.pixels as usize,
        channels: p.channels as usize,
        dtype: dtype(p.dtype),
        multiplier: p.multiplier,
        offset: p.offset,
    }
}

fn pad(p: &graph::Pad) -> kernels::Pad {
    let cells = |dims: [u32; 4]| dims.map(|d| d as usize);
    kernels::Pad { in_dims: cells(p.in_dims), before: cells(p.before), after: cells(p.after), value: p.value }
}

pub(crate) const fn window(w: &graph::Window) -> kernels::Window {
    kernels::Window {
        in_h: w.in_h as usize,
        in_w: w.in_w as usize,
        out_h: w.out_h as usize,
        out_w: w.out_w as usize,
        kernel_h: w.kernel_h as usize,
        kernel_w: w.kernel_w as usize,
        stride_h: w.stride_h as usize,
        stride_w: w.stride_w as usize,
        dilation_h: w.dilation_h as usize,
        dilation_w: w.dilation_w as usize,
        pad_top: w.pad_top as usize,
        pad_left: w.pad_left as usize,
    }
}

/// The table of a function of one variable.
pub(crate) fn table<'a>(p: &graph::Lut, weights: &'a [u8]) -> Result<&'a [u8; 256], Fault> {
    slice(weights, p.table, "table")?.first_chunk().ok_or(Fault::OutOfBounds("table"))
}

const fn dtype(dtype: DType) -> kernels::DType {
    match dtype {
        DType::UInt8 => kernels::DType::UInt8,
        _ => kernels::DType::Int8,
    }
}

fn slice<'a>(weights: &'a [u8], span: Span, what: &'static str) -> Result<&'a [u8], Fault> {
    weights.get(span.range()).ok_or(Fault::OutOfBounds(what))
}

fn cast<'a, T: bytemuck::AnyBitPattern>(weights: &'a [u8], span: Span, what: &'static str) -> Result<&'a [T], Fault> {
    bytemuck::try_cast_slice(slice(weights, span, what)?).map_err(|_| Fault::OutOfBounds(what))
}

pub(crate) fn pair(tensors: &mut [u8], input: Span, output: Span) -> Result<(&[u8], &mut [u8]), Fault> {
    let [input, output] = disjoint(tensors, [input.range(), output.range()])?;
    Ok((input, output))
}

/// Two operands and a result; the operands may be one and the same tensor.
pub(crate) fn binary(
    tensors: &mut [u8],
    a: Span,
    b: Span,
    output: Span,
    run: impl FnOnce(&[u8], &[u8], &mut [u8]),
) -> Result<(), Fault> {
    if a == b {
        let (a, output) = pair(tensors, a, output)?;
        run(a, a, output);
    } else {
        let [a, b, output] = disjoint(tensors, [a.range(), b.range(), output.range()])?;
        run(a, b, output);
    }
    Ok(())
}

fn disjoint<const N: usize>(tensors: &mut [u8], ranges: [Range<usize>; N]) -> Result<[&mut [u8]; N], Fault> {
    tensors.get_disjoint_mut(ranges).map_err(|_| Fault::Overlap("operands"))
}
