//! Which values each channel of each tensor can take, whatever the inputs of the model are.
//!
//! Interval arithmetic, operator by operator in the order of execution: a channel (last dimension) of a tensor has a lowest
//! and a highest quantized value. An accumulator lies between the sum of the smallest and the sum of the largest terms, and
//! every requantization of `docs/numerics.md` is monotone, so that its two ends bound the result. The arithmetic is that of
//! the steps themselves, hence a channel whose two ends agree *is* that constant; nothing is estimated. Operators that this
//! file does not know may give any value of their type.

use alloc::{vec, vec::Vec};

use fleetfoot_format::graph::{self, DType, Step, Window};

use crate::{
    error::PlanError,
    graph::{ElementType, Graph, Op, OpKind, Tensor},
    lower::{self, Layout, Lower},
    pack::Packer,
};

/// Lowest and highest value.
pub(crate) type Range = (i32, i32);

/// Number of channels: the last dimension.
pub(crate) fn channels(tensor: &Tensor) -> usize {
    tensor.shape.last().copied().unwrap_or(1)
}

/// What an operator does to channels.
#[derive(Debug)]
pub(crate) enum Role {
    /// Every output channel is a sum over all input channels (operand 0).
    Dense(Layer),
    /// Output channel `n` depends on input channel `n / multiplier` (operand 0).
    Depthwise(Layer),
    /// Output channel `c` depends on channel `c` of every operand that is not constant.
    Channelwise,
    /// The same elements in another shape.
    Reshape,
    /// Anything else: all channels matter.
    Opaque,
}

/// The role of every operator, and the ranges of every channel of every tensor.
pub(crate) fn analyse(graph: &Graph) -> Result<(Vec<Role>, Vec<Vec<Range>>), PlanError> {
    let mut ranges: Vec<Vec<Range>> = graph.tensors.iter().map(|t| vec![whole(t.dtype); channels(t)]).collect();
    let mut roles = Vec::new();
    for op in &graph.ops {
        let (role, found) = of_op(graph, op, &ranges)?;
        if let (Some(found), Some(output)) = (found, op.outputs.first()) {
            ranges[output.0] = found;
        }
        roles.push(role);
    }
    Ok((roles, ranges))
}

fn whole(dtype: ElementType) -> Range {
    dtype.activation().map_or((i32::MIN, i32::MAX), DType::range)
}

fn of_op(graph: &Graph, op: &Op, ranges: &[Vec<Range>]) -> Result<(Role, Option<Vec<Range>>), PlanError> {
    let nowhere = |_| graph::Span::default();
    let lower = Lower { graph, op, span: &nowhere };
    let (Some(&Some(input)), &[output]) = (op.inputs.first(), &op.outputs[..]) else {
        return Ok((Role::Opaque, None));
    };
    let n = channels(graph.tensor(output));
    match op.kind {
        OpKind::Conv2d { .. } | OpKind::FullyConnected { .. } => Ok(match Layer::new(&lower)? {
            Some(layer) => {
                let found = layer.dense(&ranges[input.0]);
                (Role::Dense(layer), Some(found))
            }
            None => (Role::Opaque, None),
        }),
        OpKind::DepthwiseConv2d { .. } => Ok(match Layer::new(&lower)? {
            Some(layer) => {
                let found = layer.depthwise(&ranges[input.0]);
                (Role::Depthwise(layer), Some(found))
            }
            None => (Role::Opaque, None),
        }),
        OpKind::Reshape => {
            let (from, to) = (&ranges[input.0], n);
            let fits = graph.tensor(input).data.is_none()
                && graph.tensor(input).elements() == graph.tensor(output).elements()
                && (to.is_multiple_of(from.len()) || from.len().is_multiple_of(to));
            if !fits {
                return Ok((Role::Opaque, None));
            }
            let mut found = vec![(i32::MAX, i32::MIN); to];
            for i in 0..to.max(from.len()) {
                found[i % to] = hull(found[i % to], from[i % from.len()]);
            }
            Ok((Role::Reshape, Some(found)))
        }
        OpKind::Softmax { .. }
        | OpKind::Dequantize
        | OpKind::ArgExtreme { .. }
        | OpKind::Concat { .. }
        | OpKind::Strided { .. }
        | OpKind::Spread { .. }
        | OpKind::Gather { .. }
        | OpKind::Resize { .. }
        | OpKind::TransposeConv { .. }
        | OpKind::BatchMatMul { .. } => Ok((Role::Opaque, None)),
        _ => {
            // The numbers of an element-wise step are its own; where it will be refused, it is refused here.
            let mut packer = Packer::default();
            let step = lower.step(&mut packer)?;
            let mut operands: Vec<_> =
                op.inputs.iter().flatten().filter(|id| graph.tensor(**id).data.is_none()).collect();
            if matches!(step, Step::Mul(_)) {
                operands.sort_by_key(|id| core::cmp::Reverse(graph.tensor(**id).elements()));
            }
            let Some(&&first) = operands.first() else { return Ok((Role::Opaque, None)) };
            let keeps_channels = operands.iter().all(|id| channels(graph.tensor(**id)) == n)
                && !matches!(&op.kind, OpKind::Mean { axes } | OpKind::Sum { axes } | OpKind::ReduceMax { axes } if axes.contains(&(graph.tensor(first).shape.len() - 1)));
            let types = graph.tensor(first).dtype.activation().zip(graph.tensor(output).dtype.activation());
            let (true, Some(types)) = (keeps_channels, types) else { return Ok((Role::Opaque, None)) };
            let of = |channel: usize| {
                let operand = |i: usize| operands.get(i).map(|id| ranges[id.0][channel]);
                channelwise(&step, packer.bytes(), types, operand(0)?, operand(1))
            };
            Ok(match (0..n).map(of).collect::<Option<Vec<_>>>() {
                Some(found) => (Role::Channelwise, Some(found)),
                None => (Role::Opaque, None),
            })
        }
    }
}

/// One channel of an element-wise step, of a pool, a mean over pixels or a border around pixels.
fn channelwise(step: &Step, weights: &[u8], (from, to): (DType, DType), a: Range, b: Option<Range>) -> Option<Range> {
    match step {
        Step::Add(p) => {
            let b = b?;
            let sum = |a: i32, b: i32| {
                let acc = p.bias.wrapping_add(p.a_multiplier * a).wrapping_add(p.b_multiplier * b);
                ((acc >> p.shift) + p.out_zero_point).clamp(p.lo, p.hi)
            };
            // The multiplier of a is positive, that of b is negative in a difference.
            Some(if p.b_multiplier < 0 { (sum(a.0, b.1), sum(a.1, b.0)) } else { (sum(a.0, b.0), sum(a.1, b.1)) })
        }
        Step::Mul(p) => {
            let (b, product) = (b?, |a: i32, b: i32| (a - p.a_zero_point) * (b - p.b_zero_point));
            let corners = [product(a.0, b.0), product(a.0, b.1), product(a.1, b.0), product(a.1, b.1)];
            let of = |acc: i32| requantize(acc, p.multiplier, p.out_zero_point, p.lo, p.hi);
            Some((of(*corners.iter().min()?), of(*corners.iter().max()?)))
        }
        Step::Pool(p) => Some((a.0.clamp(p.lo, p.hi), a.1.clamp(p.lo, p.hi))),
        Step::Mean(p) => {
            let (lo, hi) = p.dtype.range();
            let mean = |q: i32| {
                let sum = q.wrapping_mul(p.pixels.cast_signed()) as f32;
                libm::rintf((sum * p.multiplier + p.offset).clamp(lo as f32, hi as f32)) as i32
            };
            Some((mean(a.0), mean(a.1)))
        }
        Step::Pad(p) if p.before[3] == 0 && p.after[3] == 0 => {
            let value = read(to, p.value);
            Some(hull(a, (value, value)))
        }
        Step::Lut(p) => {
            let table = weights.get(p.table.range())?;
            let at = |q: i32| table.get(usize::from(q.to_le_bytes()[0])).map(|&byte| read(to, byte));
            let (lo, hi) = from.range();
            (a.0.max(lo)..=a.1.min(hi)).map(at).try_fold((i32::MAX, i32::MIN), |all, q| Some(hull(all, (q?, q?))))
        }
        _ => None,
    }
}

const fn read(dtype: DType, byte: u8) -> i32 {
    match dtype {
        DType::UInt8 => byte as i32,
        _ => byte.cast_signed() as i32,
    }
}

fn hull(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

/// As the kernels do it, see `docs/numerics.md`.
fn requantize(acc: i32, multiplier: f32, zero_point: i32, lo: i32, hi: i32) -> i32 {
    let v = (acc as f32 * multiplier).clamp((lo - zero_point) as f32, (hi - zero_point) as f32);
    libm::rintf(v) as i32 + zero_point
}

/// The numbers of a convolution of any kind, before packing.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Dense: `[out_c][taps][in_c]`; depthwise: `[taps][out_c]`.
    pub(crate) weights: Vec<i8>,
    pub(crate) weight_zero_point: i32,
    pub(crate) bias: Vec<i32>,
    multipliers: Vec<f32>,
    pub(crate) in_zero_point: i32,
    out_zero_point: i32,
    lo: i32,
    hi: i32,
    pub(crate) in_c: usize,
    pub(crate) out_c: usize,
    /// For each tap whether some window has it outside the image.
    outside: Vec<bool>,
}

impl Layer {
    /// `None` for a form that lowering refuses, or that has no channels to speak of.
    fn new(lower: &Lower<'_>) -> Result<Option<Self>, PlanError> {
        let (input, output, tensor) = (lower.input(0)?, lower.output()?, lower.constant(1)?);
        let in_c = channels(input.tensor);
        let (out_c, window) = match (&lower.op.kind, &tensor.shape[..]) {
            (OpKind::Conv2d { stride, dilation, padding, .. }, &[out_c, h, w, c]) if c == in_c => {
                (out_c, Some(lower.window([h, w], *stride, *dilation, *padding)?))
            }
            (OpKind::DepthwiseConv2d { stride, dilation, padding, .. }, &[1, h, w, out_c])
                if out_c.is_multiple_of(in_c) =>
            {
                (out_c, Some(lower.window([h, w], *stride, *dilation, *padding)?))
            }
            (OpKind::FullyConnected { .. }, &[out_c, k]) if k.is_multiple_of(in_c) => (out_c, None),
            _ => return Ok(None),
        };
        let (weights, weight_zero_point) = lower.weights(tensor)?;
        let outside = match window {
            Some(w) => outside(&w),
            None => vec![false; tensor.shape[1] / in_c],
        };
        let depthwise = matches!(lower.op.kind, OpKind::DepthwiseConv2d { .. });
        let expected = outside.len() * out_c * if depthwise { 1 } else { in_c };
        if out_c == 0 || in_c == 0 || channels(output.tensor) != out_c || weights.len() != expected {
            return Ok(None);
        }
        let (bias, multipliers) = (lower.bias(out_c)?, lower.multipliers(&input, tensor, &output, out_c)?);
        let layout = if depthwise { Layout::Depthwise } else { Layout::Dense { k: outside.len() * in_c } };
        lower.no_overflow(&input, &weights, weight_zero_point, &bias, &multipliers, layout)?;
        let (lo, hi) = lower::bounds_xnnpack(lower.activation(), &output);
        Ok(Some(Self {
            weights,
            weight_zero_point,
            bias,
            multipliers,
            in_zero_point: input.zero_point,
            out_zero_point: output.zero_point,
            lo,
            hi,
            in_c,
            out_c,
            outside,
        }))
    }

    /// Whether some window reaches outside the image.
    pub(crate) fn is_padded(&self) -> bool {
        self.outside.contains(&true)
    }

    /// Number of cells of a window.
    pub(crate) fn taps(&self) -> usize {
        self.outside.len()
    }

    fn dense(&self, input: &[Range]) -> Vec<Range> {
        let terms = self.outside.iter().flat_map(|&outside| input.iter().map(move |&range| (outside, range)));
        let (lows, highs): (Vec<i32>, Vec<i32>) = terms.map(|(outside, range)| self.term(outside, range)).unzip();
        let rows = self.weights.chunks_exact(lows.len()).enumerate();
        rows.map(|(n, row)| self.result(n, self.sum(n, row.iter().zip(lows.iter().zip(&highs))))).collect()
    }

    fn depthwise(&self, input: &[Range]) -> Vec<Range> {
        let multiplier = self.out_c / self.in_c;
        let of = |n: usize| {
            let weights = self.weights.iter().skip(n).step_by(self.out_c);
            let terms: Vec<Range> = self.outside.iter().map(|&o| self.term(o, input[n / multiplier])).collect();
            self.result(n, self.sum(n, weights.zip(terms.iter().map(|(lo, hi)| (lo, hi)))))
        };
        (0..self.out_c).map(of).collect()
    }

    /// What a weight is multiplied with: the distance from the zero point, which is 0 outside the image.
    fn term(&self, outside: bool, (lo, hi): Range) -> Range {
        let term = (lo - self.in_zero_point, hi - self.in_zero_point);
        if outside { hull(term, (0, 0)) } else { term }
    }

    /// The range of the accumulator of output channel `n`. No sum overflows, see [`Lower::no_overflow`].
    fn sum<'a>(&self, n: usize, terms: impl Iterator<Item = (&'a i8, (&'a i32, &'a i32))>) -> Range {
        terms.fold((self.bias[n], self.bias[n]), |(lo, hi), (&w, (&x_lo, &x_hi))| {
            let w = i32::from(w) - self.weight_zero_point;
            let (a, b) = (w * x_lo, w * x_hi);
            (lo + a.min(b), hi + a.max(b))
        })
    }

    fn result(&self, n: usize, (lo, hi): Range) -> Range {
        let of = |acc: i32| requantize(acc, self.multipliers[n], self.out_zero_point, self.lo, self.hi);
        (of(lo), of(hi))
    }

    /// A bias that gives output channel `n` the value `value` without any input; `None` where no bias does.
    pub(crate) fn bias_for(&self, n: usize, value: i32) -> Option<i32> {
        let of = |acc: i32| requantize(acc, self.multipliers[n], self.out_zero_point, self.lo, self.hi);
        let exact = f64::from(value - self.out_zero_point) / f64::from(self.multipliers[n]);
        let limit = f64::from(1 << 30);
        let near = libm::rint(exact.clamp(-limit, limit)) as i32;
        [0, near].into_iter().find(|&acc| of(acc) == value)
    }
}

/// For each tap, rows first, whether some window has it outside the image.
fn outside(w: &Window) -> Vec<bool> {
    let along = |taps: u32, dilation: u32, stride: u32, pad: u32, out: u32, input: u32| {
        (0..u64::from(taps)).map(move |tap| {
            let first = tap * u64::from(dilation);
            first < u64::from(pad)
                || u64::from(out - 1) * u64::from(stride) + first >= u64::from(input) + u64::from(pad)
        })
    };
    let rows = along(w.kernel_h, w.dilation_h, w.stride_h, w.pad_top, w.out_h, w.in_h);
    let columns = || along(w.kernel_w, w.dilation_w, w.stride_w, w.pad_left, w.out_w, w.in_w);
    rows.flat_map(|row| columns().map(move |column| row || column)).collect()
}
