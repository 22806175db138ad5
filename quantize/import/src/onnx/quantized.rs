//! Between integers and real numbers: `QuantizeLinear`, `DequantizeLinear`, and QOperator nodes.
//!
//! ```text
//! q ── DequantizeLinear ── op ── Relu ── QuantizeLinear ── q      the result of op waits (Pending) until its scale is known
//! q ── QLinearOp ── q                                             read as the line above
//! ```

use std::{borrow::Cow, rc::Rc};

use fleetfoot_plan::graph::{ElementType, OpKind, Quant, TensorId};

use super::{
    model::{Attribute, Constant, Model, Node, Type},
    values::{Activation, Importer, Pending, Scaled, Stop, Value, label},
};

/// A scale and a zero point, both as int8 knows them.
#[derive(Clone, Copy, PartialEq)]
pub(super) struct Real {
    pub(super) scale: f32,
    pub(super) zero_point: i32,
}

impl Real {
    fn quant(self) -> Quant {
        Quant { scales: vec![self.scale], zero_points: vec![self.zero_point], axis: 0 }
    }
}

/// What int8 results of a softmax have.
const SOFTMAX: Real = Real { scale: 1.0 / 256.0, zero_point: -128 };

/// The network with each QOperator node as its float one between `DequantizeLinear` and `QuantizeLinear`, and the place of
/// each node in the file.
pub(super) fn as_qdq(model: &Model) -> (Cow<'_, Model>, Vec<usize>) {
    if !model.nodes.iter().any(|node| parts(node).is_some()) {
        return (Cow::Borrowed(model), (0..model.nodes.len()).collect());
    }
    let mut out = Model { nodes: Vec::new(), ..model.clone() };
    let mut positions = Vec::new();
    for (position, node) in model.nodes.iter().enumerate() {
        match parts(node) {
            Some(parts) => out.nodes.extend(spelled_out(position, node, &parts)),
            None => out.nodes.push(node.clone()),
        }
        positions.resize(out.nodes.len(), position);
    }
    (Cow::Owned(out), positions)
}

/// How the operands of a QOperator node lie.
struct Parts {
    op: &'static str,
    /// Of each tensor its place; scale and zero point follow it.
    triples: Vec<usize>,
    /// An operand that is as it is: a bias.
    bias: Option<usize>,
    /// Place of the scale of the result.
    result: usize,
}

fn parts(node: &Node) -> Option<Parts> {
    let of = |op, triples: &[usize], bias: Option<usize>, result| {
        Some(Parts { op, triples: triples.to_vec(), bias: bias.filter(|&i| node.input(i).is_some()), result })
    };
    match &node.op[..] {
        "QLinearConv" => of("Conv", &[0, 3], Some(8), 6),
        "QLinearMatMul" => of("MatMul", &[0, 3], None, 6),
        "QGemm" => of("Gemm", &[0, 3], Some(6), 7),
        "QLinearAdd" => of("Add", &[0, 3], None, 6),
        "QLinearMul" => of("Mul", &[0, 3], None, 6),
        "QLinearSigmoid" => of("Sigmoid", &[0], None, 3),
        "QLinearLeakyRelu" => of("LeakyRelu", &[0], None, 3),
        "QLinearSoftmax" => of("Softmax", &[0], None, 3),
        "QLinearGlobalAveragePool" => of("GlobalAveragePool", &[0], None, 3),
        "QLinearAveragePool" => of("AveragePool", &[0], None, 3),
        "QLinearConcat" => {
            let triples: Vec<usize> = (2..node.inputs.len()).step_by(3).collect();
            of("Concat", &triples, None, 0)
        }
        _ => None,
    }
}

fn spelled_out(position: usize, node: &Node, parts: &Parts) -> Vec<Node> {
    let name = label(position, node);
    let operand = |i: usize| node.inputs.get(i).cloned().unwrap_or_default();
    let made = |op: &str, inputs: Vec<String>, output: String| Node {
        name: name.clone(),
        op: op.into(),
        inputs,
        outputs: vec![output],
        ..Node::default()
    };
    let (mut nodes, mut inputs) = (Vec::new(), Vec::new());
    for &at in &parts.triples {
        let real = format!("{}/{at} as real", node.output(0));
        let mut dequantize =
            made("DequantizeLinear", vec![operand(at), operand(at + 1), operand(at + 2)], real.clone());
        // Output channels of weights: the first dimension of a convolution's, the last of a matrix unless it is transposed.
        let first = parts.op == "Conv" || node.int("transB", 0) != 0;
        dequantize.attributes.insert("axis".into(), Attribute::Int(if first { 0 } else { -1 }));
        nodes.push(dequantize);
        inputs.push(real);
    }
    inputs.extend(parts.bias.map(operand));
    let result = format!("{} as real", node.output(0));
    let mut op = made(parts.op, inputs, result.clone());
    op.attributes = node.attributes.clone();
    nodes.push(op);
    nodes.push(made(
        "QuantizeLinear",
        vec![result, operand(parts.result), operand(parts.result + 1)],
        node.output(0).into(),
    ));
    nodes
}

impl<'m> Importer<'m, '_> {
    /// The result of a node that quantizes or dequantizes; `None` for other nodes.
    pub(super) fn quantized(&mut self, position: usize, node: &'m Node) -> Result<Option<Value>, Stop> {
        if !matches!(&node.domain[..], "" | "ai.onnx" | "com.microsoft") {
            return Ok(None);
        }
        match &node.op[..] {
            "DequantizeLinear" => self.dequantize(position, node).map(Some),
            "QuantizeLinear" => self.quantize(position, node).map(Some),
            _ => Ok(None),
        }
    }

    /// Scales and zero points of a node. The type of the zero points is the type of the integers.
    fn scales(&self, node: &Node, dtype: Option<Type>) -> Result<(Vec<f32>, Vec<i64>, Type), Stop> {
        let scales = self.constant(node, 1)?.ok_or(Stop::Form("a scale is missing"))?;
        let scales = scales.to_floats().ok_or(Stop::Form("a scale that is not float32"))?;
        if scales.is_empty() || !scales.iter().all(|s| s.is_finite() && *s > 0.0) {
            return Err(Stop::Form("a scale that is not a positive number"));
        }
        let zero_point = self.constant(node, 2)?;
        let declared = match node.int("output_dtype", 0) {
            3 => Type::Int8,
            _ => Type::UInt8,
        };
        let dtype = dtype.or(zero_point.as_ref().map(|z| z.dtype)).unwrap_or(declared);
        if zero_point.as_ref().is_some_and(|z| z.dtype != dtype) {
            return Err(Stop::Form("a zero point of another type than its tensor"));
        }
        let zero_points = match zero_point {
            Some(constant) => constant.to_ints().ok_or(Stop::Form("a zero point that is not an integer"))?,
            None => vec![0; scales.len()],
        };
        if zero_points.len() != scales.len() {
            return Err(Stop::Form("it has not as many zero points as scales"));
        }
        Ok((scales, zero_points, dtype))
    }

    fn one_scale(&self, node: &Node, dtype: Option<Type>) -> Result<(Real, bool), Stop> {
        let (scales, zero_points, dtype) = self.scales(node, dtype)?;
        let (&[scale], &[zero_point]) = (&scales[..], &zero_points[..]) else {
            return Err(Stop::Form("an activation with a scale per channel, which only weights may have"));
        };
        let less = match dtype {
            Type::Int8 => 0,
            Type::UInt8 => 128,
            _ => return Err(Stop::Form("an activation that is neither int8 nor uint8")),
        };
        Ok((Real { scale, zero_point: (zero_point - less) as i32 }, less != 0))
    }

    fn dequantize(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        match self.value(node, 0)? {
            Value::Constant(constant) => {
                if node.int("block_size", 0) != 0 {
                    return Err(Stop::Form("scales per block"));
                }
                let (scales, zero_points, _) = self.scales(node, Some(constant.dtype))?;
                if !matches!(constant.dtype, Type::Int8 | Type::UInt8 | Type::Int32) {
                    return Err(Stop::Form("a constant that is neither int8, uint8 nor int32"));
                }
                let axis = super::values::axis(node.int("axis", 1), constant.shape.len());
                let axis = if scales.len() > 1 { axis? } else { 0 };
                if scales.len() > 1 && constant.shape.get(axis) != Some(&scales.len()) {
                    return Err(Stop::Form("it has neither one scale nor one per channel"));
                }
                let zero_points = zero_points.iter().map(|&z| z as i32).collect();
                let quant = Quant { scales, zero_points, axis };
                let name = node.inputs[0].clone();
                Ok(Value::Scaled(Rc::new(Scaled { name, constant: (*constant).clone(), quant })))
            }
            Value::Activation(a) if a.real => Err(Stop::Form("its operand is not quantized")),
            Value::Activation(activation) => {
                let dtype = if activation.unsigned { Type::UInt8 } else { Type::Int8 };
                let (real, _) = self.one_scale(node, Some(dtype))?;
                self.as_real(position, activation, real).map(Value::Activation)
            }
            Value::Scaled(_) | Value::Pending(_) => Err(Stop::Form("its operand is not quantized")),
            Value::Broken => Err(Stop::Listed),
        }
    }

    /// What integers stand for. Those of an input of the model learn it here.
    fn as_real(&mut self, position: usize, activation: Activation, real: Real) -> Result<Activation, Stop> {
        let is_door = self.graph.tensor(activation.id).dtype == ElementType::UInt8;
        let tensor = &mut self.graph.tensors[activation.id.0];
        let stored = Real { zero_point: real.zero_point + if is_door { 128 } else { 0 }, ..real };
        if tensor.quant.get_or_insert_with(|| stored.quant()) != &stored.quant() {
            return Err(Stop::Form("its operand was quantized with another scale or zero point"));
        }
        let mut activation = Activation { real: true, ..activation };
        if is_door {
            activation.id = match self.flipped.get(&activation.id) {
                Some(&id) => id,
                None => {
                    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
                    let id = self.tensor(&name, &shape, ElementType::Int8, Some(real.quant()));
                    self.push(position, OpKind::Quantize, vec![Some(activation.id)], id);
                    self.flipped.insert(activation.id, id);
                    id
                }
            };
        }
        Ok(activation)
    }

    fn quantize(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let name = node.output(0);
        if let Value::Constant(constant) = self.value(node, 0)? {
            return self.quantize_constant(node, &constant);
        }
        let (real, unsigned) = self.one_scale(node, None)?;
        match self.value(node, 0)? {
            Value::Pending(pending) => {
                let activation = self.finish(&pending, name, real)?;
                Ok(Value::Activation(Activation { unsigned, ..activation }))
            }
            Value::Activation(a) if !a.real => Err(Stop::Form("its operand is quantized already")),
            Value::Activation(activation) => {
                let id = self.requantized(position, activation.id, name, real);
                Ok(Value::Activation(Activation { id, real: false, unsigned, ..activation }))
            }
            Value::Constant(_) | Value::Scaled(_) => Err(Stop::Form("a constant that is quantized twice")),
            Value::Broken => Err(Stop::Listed),
        }
    }

    /// Weights that the file keeps as floats.
    fn quantize_constant(&self, node: &Node, constant: &Constant) -> Result<Value, Stop> {
        let values = constant.to_floats().ok_or(Stop::Form("a constant that is not float32"))?;
        let (scales, zero_points, dtype) = self.scales(node, None)?;
        let (lo, hi) = match dtype {
            Type::Int8 => (-128.0, 127.0),
            Type::UInt8 => (0.0, 255.0),
            _ => return Err(Stop::Form("a constant that is quantized to neither int8 nor uint8")),
        };
        let (count, inner) = if scales.len() > 1 {
            let axis = super::values::axis(node.int("axis", 1), constant.shape.len())?;
            if constant.shape[axis] != scales.len() {
                return Err(Stop::Form("it has neither one scale nor one per channel"));
            }
            (scales.len(), constant.shape[axis + 1..].iter().product())
        } else {
            (1, constant.elements().max(1))
        };
        let byte = |(i, value): (usize, &f32)| {
            let channel = i / inner % count;
            let q = (value / scales[channel]).round_ties_even() + zero_points[channel] as f32;
            (q.clamp(lo, hi) as i32).to_le_bytes()[0]
        };
        let data = values.iter().enumerate().map(byte).collect();
        Ok(Value::Constant(Rc::new(Constant { dtype, shape: constant.shape.clone(), data })))
    }

    /// `id` with another scale; itself, if it has that already.
    pub(super) fn requantized(&mut self, position: usize, id: TensorId, name: &str, real: Real) -> TensorId {
        let tensor = self.graph.tensor(id);
        if tensor.quant.as_ref() == Some(&real.quant()) && tensor.dtype == ElementType::Int8 {
            return id;
        }
        let shape = tensor.shape.clone();
        let to = self.tensor(name, &shape, ElementType::Int8, Some(real.quant()));
        self.push(position, OpKind::Quantize, vec![Some(id)], to);
        to
    }

    /// The operator of `pending`, now that the quantization of its result is known.
    pub(super) fn finish(&mut self, pending: &Pending, name: &str, real: Real) -> Result<Activation, Stop> {
        let position = pending.position;
        let operand = |importer: &Self, i: usize| -> Option<Real> {
            let quant = importer.graph.tensor(pending.inputs.get(i).copied().flatten()?).quant.as_ref()?;
            Some(Real { scale: *quant.scales.first()?, zero_point: *quant.zero_points.first()? })
        };
        let (mut kind, mut inputs, mut then) = (pending.kind.clone(), pending.inputs.clone(), pending.then.clone());
        // What the operator itself can give; a requantization follows where that is not what the file wants.
        let mut own = real;
        match &kind {
            OpKind::AveragePool2d { kernel, activation, .. } if operand(self, 0) != Some(real) => {
                let shape = pending.inputs[0].map(|id| self.graph.tensor(id).shape.clone()).unwrap_or_default();
                if shape.get(1..3) == Some(&kernel[..]) {
                    if let Some(function) = super::pointwise::alone(*activation) {
                        then.insert(0, (function, pending.stored.clone()));
                    }
                    kind = OpKind::Mean { axes: vec![1, 2] };
                } else {
                    own = operand(self, 0).unwrap_or(real);
                }
            }
            OpKind::Softmax { .. } => own = SOFTMAX,
            OpKind::Maximum | OpKind::Minimum | OpKind::Concat { .. } => {
                for input in inputs.iter_mut().flatten() {
                    *input = self.requantized(position, *input, name, real);
                }
            }
            OpKind::Prelu | OpKind::Resize { .. } => own = operand(self, 0).unwrap_or(real),
            _ => {}
        }
        let mut id = self.tensor(name, &pending.stored, ElementType::Int8, Some(own.quant()));
        self.push(position, kind, inputs, id);
        id = self.requantized(position, id, name, real);
        for (function, stored) in then {
            let next = self.tensor(name, &stored, ElementType::Int8, Some(real.quant()));
            self.push(position, function, vec![Some(id)], next);
            id = next;
        }
        let (shape, order) = (pending.shape.clone(), pending.order.clone());
        Ok(Activation { id, shape, order, real: false, unsigned: false })
    }
}
