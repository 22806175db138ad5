//! Functions of one or two tensors, element by element, and softmax.

use std::rc::Rc;

use fleetfoot_plan::graph::{Activation as Fused, ElementType, OpKind, Quant, Tensor, TensorId, Unary};

use super::{
    layout::permute,
    model::{Node, Type},
    quantized::Real,
    values::{Activation, Importer, Pending, Scaled, Stop, Value, axis},
    weighted::pending,
};
use crate::tensors::printable;

/// A bound that is there for nothing.
const FAR: f32 = 3e38;

impl<'m> Importer<'m, '_> {
    pub(super) fn pointwise(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let unary = |unary| OpKind::Unary(unary);
        let kind = match &node.op[..] {
            "Relu" => return self.bounded(position, node, 0.0, FAR),
            "Clip" => {
                let (low, high) = self.bounds(node)?;
                return self.bounded(position, node, low, high);
            }
            "Add" => OpKind::Add { activation: Fused::None },
            "Sub" => OpKind::Sub { activation: Fused::None },
            "Mul" => OpKind::Mul { activation: Fused::None },
            "Max" if node.inputs.len() == 2 => OpKind::Maximum,
            "Min" if node.inputs.len() == 2 => OpKind::Minimum,
            "PRelu" => OpKind::Prelu,
            "Softmax" => {
                let x = self.real(node, 0)?;
                let last = axis(node.int("axis", if self.model.opset < 13 { 1 } else { -1 }), x.shape.len())?;
                if last + 1 != x.shape.len() {
                    return Err(Stop::Form("a softmax over another dimension than the last"));
                }
                let x = self.plain(position, &x);
                let kind = OpKind::Softmax { beta: 1.0 };
                return Ok(pending(position, node, kind, vec![Some(x.id)], x.shape, x.order));
            }
            "Sigmoid" => OpKind::Logistic,
            "Tanh" => OpKind::Tanh,
            "HardSwish" => OpKind::HardSwish,
            "LeakyRelu" => unary(Unary::LeakyRelu { alpha: node.float("alpha", 0.01) }),
            "Elu" if node.float("alpha", 1.0) == 1.0 => unary(Unary::Elu),
            "Gelu" => unary(Unary::Gelu { approximate: node.text("approximate", "none") == "tanh" }),
            "Exp" => unary(Unary::Exp),
            "Log" => unary(Unary::Log),
            "Abs" => unary(Unary::Abs),
            _ => return Err(Stop::Unknown),
        };
        if matches!(kind, OpKind::Unary(_) | OpKind::Logistic | OpKind::Tanh | OpKind::HardSwish) {
            let x = self.real(node, 0)?;
            return Ok(pending(position, node, kind, vec![Some(x.id)], x.shape, x.order));
        }
        self.binary(position, node, kind)
    }

    fn binary(&mut self, position: usize, node: &'m Node, kind: OpKind) -> Result<Value, Stop> {
        let is_constant = |i| Ok::<bool, Stop>(matches!(self.value(node, i)?, Value::Scaled(_) | Value::Constant(_)));
        if is_constant(0)? && is_constant(1)? {
            return Err(Stop::Form("two constants: fold them first"));
        }
        let shape_of = |i: usize| -> Result<Vec<usize>, Stop> {
            Ok(match self.value(node, i)? {
                Value::Activation(a) => a.shape,
                Value::Scaled(s) => s.constant.shape.clone(),
                Value::Pending(_) => return Err(Stop::Island(node.inputs[i].clone())),
                Value::Constant(_) => return Err(Stop::Form("a constant that is not quantized")),
                Value::Broken => return Err(Stop::Listed),
            })
        };
        let (a, b) = (shape_of(0)?, shape_of(1)?);
        let rank = a.len().max(b.len());
        let front = |shape: &[usize]| [vec![1; rank - shape.len()], shape.to_vec()].concat();
        let (a, b) = (front(&a), front(&b));
        let mut shape = Vec::with_capacity(rank);
        for (&a, &b) in a.iter().zip(&b) {
            match (a, b) {
                (a, b) if a == b || b == 1 => shape.push(a),
                (1, b) => shape.push(b),
                _ => return Err(Stop::Form("operands whose shapes do not agree")),
            }
        }
        super::values::product(&shape)?;
        // The order of the larger activation serves both.
        let mut order: Vec<usize> = (0..rank).collect();
        let mut most = 0;
        for i in 0..2 {
            if let Value::Activation(x) = self.value(node, i)?
                && x.shape.len() == rank
                && x.shape.iter().product::<usize>() > most
            {
                (most, order) = (x.shape.iter().product(), x.order);
            }
        }
        let mut inputs = Vec::new();
        for (i, front) in [a, b].iter().enumerate() {
            inputs.push(Some(match self.value(node, i)? {
                Value::Scaled(scaled) => self.operand_tensor(&scaled, front, &order)?,
                _ => {
                    let x = self.real(node, i)?;
                    let x = if x.shape.len() == rank { x } else { self.raised(position, &x, front) };
                    self.relay(position, &x, &order).id
                }
            }));
        }
        Ok(pending(position, node, kind, inputs, shape, order))
    }

    /// The activation with dimensions of one in front.
    fn raised(&mut self, position: usize, x: &Activation, shape: &[usize]) -> Activation {
        let x = self.plain(position, x);
        let made = super::values::Made { inputs: vec![x.id], shape: shape.to_vec(), order: (0..shape.len()).collect() };
        let name = self.graph.tensor(x.id).name.clone();
        match self.alike(position, OpKind::Reshape, &x, &name, made) {
            Value::Activation(raised) => raised,
            _ => x,
        }
    }

    /// A constant operand of shape `shape`, stored in the order `order`.
    fn operand_tensor(&mut self, scaled: &Scaled, shape: &[usize], order: &[usize]) -> Result<TensorId, Stop> {
        let (&[scale], &[zero_point]) = (&scaled.quant.scales[..], &scaled.quant.zero_points[..]) else {
            return Err(Stop::Form("a constant operand with a scale per channel"));
        };
        let mut data = permute(&scaled.constant.data, 1, shape, order);
        let zero_point = match scaled.constant.dtype {
            Type::Int8 => zero_point,
            Type::UInt8 => {
                data.iter_mut().for_each(|b| *b ^= 0x80);
                zero_point - 128
            }
            _ => return Err(Stop::Form("a constant operand that is neither int8 nor uint8")),
        };
        let shape = order.iter().map(|&d| shape[d]).collect();
        let quant = Quant { scales: vec![scale], zero_points: vec![zero_point], axis: 0 };
        let (name, dtype) = (printable(&scaled.name), ElementType::Int8);
        Ok(self.stored(Tensor { name, shape, dtype, quant: Some(quant), data: Some(data) }))
    }

    /// Bounds of a `Clip`.
    fn bounds(&self, node: &Node) -> Result<(f32, f32), Stop> {
        let bound = |i: usize, name: &str, default: f32| -> Result<f32, Stop> {
            let Some(constant) = self.constant(node, i)? else { return Ok(node.float(name, default)) };
            let values = constant.to_floats().unwrap_or_default();
            values.first().copied().ok_or(Stop::Form("a bound that is not a float"))
        };
        Ok((bound(1, "min", -FAR)?, bound(2, "max", FAR)?))
    }

    /// Values held between two bounds: fused into the operator before, where it waits for its quantization.
    fn bounded(&mut self, position: usize, node: &'m Node, low: f32, high: f32) -> Result<Value, Stop> {
        let fused = match (low, high) {
            (0.0, high) if high >= FAR => Some(Fused::Relu),
            (0.0, 6.0) => Some(Fused::Relu6),
            (0.0, 1.0) => Some(Fused::Relu0To1),
            (-1.0, 1.0) => Some(Fused::ReluN1To1),
            (low, high) if low <= -FAR && high >= FAR => Some(Fused::None),
            _ => None,
        };
        let name = node.output(0).to_owned();
        match self.value(node, 0)? {
            Value::Pending(before) => {
                let fused = fused.ok_or(Stop::Form("bounds other than those of ReLU, ReLU6, 0 to 1 and -1 to 1"))?;
                let mut after = Pending { name, ..(*before).clone() };
                match slot(&mut after.kind) {
                    Some(slot) if *slot == Fused::None && after.then.is_empty() => *slot = fused,
                    _ => {
                        let stored = after.then.last().map_or(&after.stored, |(_, stored)| stored).clone();
                        after.then.extend(alone(fused).map(|kind| (kind, stored)));
                    }
                }
                Ok(Value::Pending(Rc::new(after)))
            }
            _ => {
                let x = self.real(node, 0)?;
                // Where the type itself ends at the bounds nothing is left to do.
                if let Some((scale, zero_point)) = self.quant(&x) {
                    let real = Real { scale, zero_point };
                    if real.least() >= low && real.most() <= high {
                        return Ok(Value::Activation(x));
                    }
                }
                let fused = fused.ok_or(Stop::Form("bounds other than those of ReLU, ReLU6, 0 to 1 and -1 to 1"))?;
                match alone(fused) {
                    Some(kind) => Ok(pending(position, node, kind, vec![Some(x.id)], x.shape, x.order)),
                    None => Ok(Value::Activation(x)),
                }
            }
        }
    }
}

impl Real {
    /// The real number of the smallest integer.
    fn least(self) -> f32 {
        (-128 - self.zero_point) as f32 * self.scale
    }

    /// The real number of the largest integer.
    fn most(self) -> f32 {
        (127 - self.zero_point) as f32 * self.scale
    }
}

/// The fused activation of an operator that has one.
fn slot(kind: &mut OpKind) -> Option<&mut Fused> {
    match kind {
        OpKind::Conv2d { activation, .. }
        | OpKind::DepthwiseConv2d { activation, .. }
        | OpKind::FullyConnected { activation }
        | OpKind::TransposeConv { activation, .. }
        | OpKind::Add { activation }
        | OpKind::Sub { activation }
        | OpKind::Mul { activation }
        | OpKind::AveragePool2d { activation, .. } => Some(activation),
        _ => None,
    }
}

/// A fused activation as an operator of its own.
pub(super) fn alone(fused: Fused) -> Option<OpKind> {
    let unary = match fused {
        Fused::None => return None,
        Fused::Relu => Unary::Relu,
        Fused::Relu6 => Unary::Relu6,
        Fused::ReluN1To1 => Unary::ReluN1To1,
        Fused::Relu0To1 => Unary::Relu0To1,
    };
    Some(OpKind::Unary(unary))
}
