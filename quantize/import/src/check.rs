//! What the arithmetic of `docs/numerics.md` is proven for: types, quantization and ranges of factors.
//!
//! Shapes are the planner's business, and so is the proof that no sum overflows.

use fleetfoot_plan::{
    graph::{DType, ElementType, Graph, Op, OpKind, Tensor, TensorId, Unary},
    tables,
};

use crate::error::{Problem, Problems};

/// Whose rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Weights are of the type of the activations.
    TfLite,
    /// Activations are int8, weights int8 or uint8.
    Onnx,
}

/// Lists everything in `graph` that lies outside of it.
pub(crate) fn limits(graph: &Graph, scheme: Scheme, problems: &mut Problems) {
    let doors = doors(graph);
    floats(graph, &doors, problems);
    for &id in graph.inputs.iter().chain(&graph.outputs).filter(|id| !doors[id.0]) {
        activation(graph.tensor(id), problems);
    }
    for op in &graph.ops {
        operator(&Checked { graph, op, doors: &doors, scheme }, problems);
    }
}

/// For each tensor whether it may be of a wider type: a float input of the model that is quantized at once, a float
/// output that an operator dequantizes last, an output of indices.
fn doors(graph: &Graph) -> Vec<bool> {
    let mut doors = vec![false; graph.tensors.len()];
    for &id in &graph.inputs {
        doors[id.0] = graph.tensor(id).dtype == ElementType::Float32;
    }
    for op in &graph.ops {
        let wide = match op.kind {
            OpKind::Dequantize => |dtype| dtype == ElementType::Float32,
            OpKind::ArgExtreme { .. } => |dtype| matches!(dtype, ElementType::Int32 | ElementType::Int64),
            _ => continue,
        };
        for &id in op.outputs.iter().filter(|id| graph.outputs.contains(id)) {
            doors[id.0] = wide(graph.tensor(id).dtype);
        }
    }
    for op in &graph.ops {
        for &id in op.inputs.iter().flatten() {
            doors[id.0] &= op.kind == OpKind::Quantize && graph.inputs.contains(&id);
        }
    }
    doors
}

/// One problem for the whole model: it is float, or in part.
fn floats(graph: &Graph, doors: &[bool], problems: &mut Problems) {
    let found = || {
        let tensors = graph.tensors.iter().zip(doors);
        tensors.filter(|(t, door)| t.dtype == ElementType::Float32 && !**door).map(|(t, _)| t)
    };
    let Some(example) = found().next().map(|t| t.name.clone()) else { return };
    let count = found().count();
    let some_quantized = graph.tensors.iter().any(|t| t.dtype.activation().is_some());
    problems.push_first(if some_quantized {
        Problem::PartlyFloat { count, example }
    } else {
        Problem::Float { count, example }
    });
}

/// An activation must be int8 or uint8 with one scale. Float ones have been counted.
fn activation(tensor: &Tensor, problems: &mut Problems) -> Option<Real> {
    let name = || tensor.name.clone();
    if tensor.dtype == ElementType::Float32 {
        return None;
    }
    let Some(dtype) = tensor.dtype.activation() else {
        problems.push(Problem::ElementType { tensor: name(), found: tensor.dtype.name(), need: "int8 or uint8" });
        return None;
    };
    match tensor.quant.as_ref().map(|q| (&q.scales[..], &q.zero_points[..])) {
        Some((&[scale], &[zero_point])) => Some(Real { dtype, scale, zero_point }),
        Some(_) => {
            let what = "it has a scale per channel, which only weights may have";
            problems.push(Problem::Quantization { tensor: name(), what });
            None
        }
        None => {
            problems.push(Problem::NotQuantized { tensor: name(), dtype: dtype.name() });
            None
        }
    }
}

/// How the integers of a tensor are real numbers.
#[derive(Clone, Copy)]
struct Real {
    dtype: DType,
    scale: f32,
    zero_point: i32,
}

struct Checked<'g> {
    graph: &'g Graph,
    op: &'g Op,
    doors: &'g [bool],
    scheme: Scheme,
}

impl<'g> Checked<'g> {
    fn operand(&self, index: usize) -> Option<&'g Tensor> {
        self.op.inputs.get(index).copied().flatten().map(|id| self.graph.tensor(id))
    }

    fn output(&self) -> Option<&'g Tensor> {
        self.op.outputs.first().map(|&id: &TensorId| self.graph.tensor(id))
    }

    fn output_name(&self) -> String {
        self.output().map_or_else(String::new, |t| t.name.clone())
    }

    fn form(&self, what: &'static str) -> Problem {
        let (position, op, output) = (self.op.position, self.op.kind.name().into(), self.output_name());
        Problem::Form { position, op, output, what }
    }

    /// A problem if `value` is not in `low..high`.
    fn ratio(&self, what: &'static str, value: f32, low: f32, high: f32, problems: &mut Problems) {
        if !(low..high).contains(&value) {
            let (position, op, output) = (self.op.position, self.op.kind.name(), self.output_name());
            problems.push(Problem::Ratio { position, op, output, what, value, low, high });
        }
    }
}

fn operator(checked: &Checked<'_>, problems: &mut Problems) {
    let kind = &checked.op.kind;
    let op = checked.op;
    let (&[Some(input), ..], &[output, ..]) = (&op.inputs[..], &op.outputs[..]) else { return };
    let real = |id: TensorId, problems: &mut Problems| {
        (!checked.doors[id.0]).then(|| activation(checked.graph.tensor(id), problems)).flatten()
    };
    let (a, o) = (real(input, problems), real(output, problems));
    if let OpKind::Concat { .. } = kind {
        op.inputs.iter().skip(1).flatten().for_each(|&id| {
            let _ = real(id, problems);
        });
    }
    let is_binary = matches!(
        kind,
        OpKind::Add { .. }
            | OpKind::Sub { .. }
            | OpKind::Mul { .. }
            | OpKind::Maximum
            | OpKind::Minimum
            | OpKind::Prelu
    );
    let b = checked.operand(1).filter(|_| is_binary).map(|tensor| activation(tensor, problems));
    let is_weighted = matches!(
        kind,
        OpKind::Conv2d { .. }
            | OpKind::DepthwiseConv2d { .. }
            | OpKind::FullyConnected { .. }
            | OpKind::TransposeConv { .. }
            | OpKind::BatchMatMul { .. }
    );
    if is_weighted {
        weighted(checked, a, o, problems);
    }
    let (Some(a), Some(o)) = (a, o) else { return };
    let b = match b {
        Some(None) => return,
        Some(Some(b)) => b,
        None => a,
    };
    if *kind != OpKind::Quantize && (a.dtype != o.dtype || b.dtype != o.dtype) {
        problems.push(checked.form("its operands have different types"));
        return;
    }
    match kind {
        OpKind::Add { .. } | OpKind::Sub { .. } => {
            let ratios = [("first input scale / output scale", a), ("second input scale / output scale", b)];
            for (what, operand) in ratios {
                checked.ratio(what, operand.scale / o.scale, 1.0 / 1024.0, 256.0, problems);
            }
        }
        OpKind::Mul { .. } => {
            let what = "product of input scales / output scale";
            checked.ratio(what, a.scale * b.scale / o.scale, 1.0 / 65536.0, 256.0, problems);
        }
        OpKind::Softmax { beta } => {
            if !(beta.is_finite() && *beta > 0.0) {
                problems.push(checked.form("its factor beta is not a positive number"));
            }
            if o.dtype == DType::Int8 && (o.scale.to_bits(), o.zero_point) != ((1f32 / 256.0).to_bits(), -128) {
                problems.push(checked.form("its int8 result has not scale 1/256 and zero point -128"));
            }
        }
        OpKind::Unary(Unary::Elu | Unary::Exp | Unary::Log | Unary::Abs) if a.dtype == DType::UInt8 => {
            problems.push(checked.form("it is defined for int8 only"));
        }
        OpKind::HardSwish
            if tables::hard_swish_table(a.dtype, a.scale, a.zero_point, o.scale, o.zero_point).is_err() =>
        {
            problems.push(checked.form("its output scale is not between 1/128 and 512 times its input scale"));
        }
        _ => {}
    }
}

/// What convolutions of all kinds and fully connected layers share; input and output where they have no problem.
fn weighted(checked: &Checked<'_>, input: Option<Real>, output: Option<Real>, problems: &mut Problems) {
    if let Some(bias) = checked.operand(2) {
        match bias.dtype {
            ElementType::Int32 if bias.data.is_some() => {}
            ElementType::Int32 => problems.push(checked.form("its bias is not constant")),
            ElementType::Float32 => {}
            other => {
                let (tensor, found) = (bias.name.clone(), other.name());
                problems.push(Problem::ElementType { tensor, found, need: "int32" });
            }
        }
    }
    let Some(weights) = checked.operand(1).filter(|w| w.dtype != ElementType::Float32) else { return };
    if weights.data.is_none() {
        problems.push(checked.form("its weights are not constant"));
    }
    let Some(dtype) = weights.dtype.activation() else {
        let (tensor, found) = (weights.name.clone(), weights.dtype.name());
        problems.push(Problem::ElementType { tensor, found, need: "int8 or uint8" });
        return;
    };
    if checked.scheme == Scheme::TfLite && input.is_some_and(|input| input.dtype != dtype) {
        problems.push(checked.form("its weights have another type than its input"));
    }
    let Some(quant) = &weights.quant else {
        problems.push(Problem::NotQuantized { tensor: weights.name.clone(), dtype: dtype.name() });
        return;
    };
    let (position, op) = (checked.op.position, checked.op.kind.name());
    let is_depthwise = matches!(checked.op.kind, OpKind::DepthwiseConv2d { .. });
    let per_channel = quant.scales.len() > 1;
    if per_channel && quant.axis != if is_depthwise { weights.shape.len() - 1 } else { 0 } {
        problems.push(checked.form("its weights are quantized along another dimension than output channels"));
    }
    if dtype == DType::UInt8 && per_channel {
        problems.push(checked.form("its uint8 weights are quantized per channel"));
    }
    if dtype == DType::UInt8 && is_depthwise && !per_channel && quant.axis != 0 {
        problems.push(checked.form("its uint8 weights have one scale, but a quantized dimension other than 0"));
    }
    let first = quant.zero_points.iter().enumerate().find(|(_, z)| **z != 0);
    if let Some((channel, &zero_point)) = first.filter(|_| dtype == DType::Int8) {
        let tensor = weights.name.clone();
        problems.push(Problem::WeightZeroPoint { position, op, tensor, channel, zero_point });
    }
    if let (Some(input), Some(output)) = (input, output) {
        // The largest stands for all: a model with one such factor often has hundreds.
        let factors = quant.scales.iter().map(|&scale| input.scale * scale / output.scale);
        let largest = factors.fold(0.0, |a: f32, b| if b > a { b } else { a });
        checked.ratio("input scale x weight scale / output scale", largest, 0.0, 256.0, problems);
    }
}
