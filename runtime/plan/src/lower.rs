//! One operator to one step: shapes checked, roundings of `docs/numerics.md` done, weights packed.

mod binary;
mod moves;
mod pool;
mod unary;
mod weighted;
mod window;

use alloc::{string::ToString, vec::Vec};

use fleetfoot_format::graph::{DType, PoolKind, Span, Step};

use self::window::bounds_tflite;
pub(crate) use self::{weighted::Layout, window::bounds_xnnpack};
use crate::{
    error::PlanError,
    graph::{Graph, Op, OpKind, Tensor, TensorId},
    pack::Packer,
};

/// One operator, its graph and the places of tensors.
pub(crate) struct Lower<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) op: &'g Op,
    pub(crate) span: &'g dyn Fn(TensorId) -> Span,
}

/// An activation operand.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'g> {
    pub(crate) tensor: &'g Tensor,
    dtype: DType,
    scale: f32,
    pub(crate) zero_point: i32,
    span: Span,
}

/// Scale and zero point of a tensor that has exactly one of each.
pub(crate) fn per_tensor(tensor: &Tensor) -> Option<(f32, i32)> {
    match tensor.quant.as_ref().map(|q| (&q.scales[..], &q.zero_points[..])) {
        Some(([scale], [zero_point])) => Some((*scale, *zero_point)),
        _ => None,
    }
}

impl<'g> Lower<'g> {
    /// The steps of this operator.
    pub(crate) fn steps(&self, packer: &mut Packer) -> Result<Vec<Step>, PlanError> {
        match self.op.kind {
            OpKind::Concat { outer, .. } => self.concat(packer, outer),
            _ => Ok(alloc::vec![self.step(packer)?]),
        }
    }

    /// The step of an operator that has exactly one.
    pub(crate) fn step(&self, packer: &mut Packer) -> Result<Step, PlanError> {
        match &self.op.kind {
            OpKind::Conv2d { stride, dilation, padding, activation } => {
                let window = |kernel| self.window(kernel, *stride, *dilation, *padding);
                self.conv(packer, window, *activation)
            }
            OpKind::DepthwiseConv2d { stride, dilation, padding, activation } => {
                let window = |kernel| self.window(kernel, *stride, *dilation, *padding);
                self.depthwise(packer, window, *activation)
            }
            OpKind::FullyConnected { activation } => self.fully_connected(packer, *activation),
            OpKind::Add { activation } => self.add(packer, *activation, 1),
            OpKind::Sub { activation } => self.add(packer, *activation, -1),
            OpKind::Mul { activation } => self.mul(packer, *activation),
            OpKind::AveragePool2d { kernel, stride, padding, activation } => {
                let out = self.output()?;
                let bounds = bounds_tflite(*activation, &out);
                self.pool(PoolKind::Average, self.window(*kernel, *stride, [1, 1], *padding)?, bounds)
            }
            OpKind::MaxPool2d { kernel, stride, padding, activation } => {
                let bounds = bounds_xnnpack(*activation, &self.output()?);
                self.pool(PoolKind::Max, self.window(*kernel, *stride, [1, 1], *padding)?, bounds)
            }
            OpKind::Mean { axes } => self.reduce(axes, true),
            OpKind::Sum { axes } => self.reduce(axes, false),
            OpKind::ReduceMax { axes } => self.reduce_max(axes),
            OpKind::Pad { amounts } => self.pad(amounts, self.output()?.zero_point.to_le_bytes()[0]),
            OpKind::PadV2 { amounts, value } => self.pad(amounts, *value),
            OpKind::Softmax { beta } => self.softmax(packer, *beta),
            OpKind::Quantize => match self.quantize_float()? {
                Some(step) => Ok(step),
                None => self.lut(packer),
            },
            OpKind::HardSwish | OpKind::Logistic | OpKind::Tanh | OpKind::Unary(_) => self.lut(packer),
            OpKind::Dequantize => self.to_float(),
            OpKind::Maximum | OpKind::Minimum => self.extreme(packer),
            OpKind::Prelu => self.prelu(packer),
            OpKind::Strided { first, dims, strides, .. } => self.strided(*first, dims, strides),
            OpKind::Spread { stride, before } => self.spread(*stride, *before),
            OpKind::Gather { axis, indices } => self.gather(packer, *axis, indices),
            OpKind::Resize { bilinear, align_corners, half_pixel_centers } => {
                self.resize(packer, *bilinear, *align_corners, *half_pixel_centers)
            }
            OpKind::ArgExtreme { axis, largest } => self.arg_extreme(*axis, *largest),
            OpKind::Concat { .. } => Err(self.unsupported("a form of one step")),
            OpKind::TransposeConv { .. } => Err(self
                .unsupported("a kernel smaller than its stride, or a shape that its stride and padding do not give")),
            OpKind::BatchMatMul { .. } => {
                Err(self.unsupported("weights that are not one constant int8 matrix: use FULLY_CONNECTED"))
            }
            OpKind::Reshape => Err(self.unsupported("a reshape of a constant, or to another number of elements")),
        }
    }

    pub(crate) fn input(&self, index: usize) -> Result<Operand<'g>, PlanError> {
        let id = self.op.inputs.get(index).copied().flatten();
        let id = id.ok_or_else(|| self.unsupported("a missing operand"))?;
        if self.graph.tensor(id).data.is_some() {
            return Err(self.unsupported("a constant operand"));
        }
        self.operand(id)
    }

    /// An operand that may be constant.
    fn either(&self, index: usize) -> Result<Operand<'g>, PlanError> {
        let id = self.op.inputs.get(index).copied().flatten();
        self.operand(id.ok_or_else(|| self.unsupported("a missing operand"))?)
    }

    pub(crate) fn output(&self) -> Result<Operand<'g>, PlanError> {
        self.operand(self.op.outputs[0])
    }

    fn operand(&self, id: TensorId) -> Result<Operand<'g>, PlanError> {
        let tensor = self.graph.tensor(id);
        let quantized = tensor.dtype.activation().zip(per_tensor(tensor));
        let (dtype, (scale, zero_point)) =
            quantized.ok_or_else(|| self.unsupported("a tensor that is not int8 or uint8 with one scale"))?;
        let (lo, hi) = dtype.range();
        if !(scale.is_finite() && scale > 0.0 && (lo..=hi).contains(&zero_point)) {
            return Err(self.unsupported("a scale that is not positive, or a zero point outside the type"));
        }
        Ok(Operand { tensor, dtype, scale, zero_point, span: (self.span)(id) })
    }

    pub(crate) fn constant(&self, index: usize) -> Result<&'g Tensor, PlanError> {
        let id = self.op.inputs.get(index).copied().flatten();
        let tensor = id.map(|id| self.graph.tensor(id)).filter(|t| t.data.is_some());
        tensor.ok_or_else(|| self.unsupported("weights that are not constant"))
    }

    fn dims4(&self, tensor: &Tensor) -> Result<[usize; 4], PlanError> {
        tensor.shape[..].try_into().map_err(|_| self.unsupported("a tensor that has not four dimensions"))
    }

    fn same_type(&self, operands: &[Operand<'_>]) -> Result<(), PlanError> {
        let same = operands.iter().all(|o| o.dtype == operands[0].dtype);
        if same { Ok(()) } else { Err(self.unsupported("operands of different types")) }
    }

    /// All of one type, scale and zero point.
    fn alike(&self, operands: &[Operand<'_>]) -> Result<(), PlanError> {
        let of = |o: &Operand<'_>| (o.dtype, o.scale.to_bits(), o.zero_point);
        let same = operands.iter().all(|o| of(o) == of(&operands[0]));
        if same { Ok(()) } else { Err(self.unsupported("operands that are not quantized alike: quantize them first")) }
    }

    fn expect(&self, id: TensorId, elements: usize) -> Result<(), PlanError> {
        if self.graph.tensor(id).elements() == elements { Ok(()) } else { Err(self.shape(id, alloc::vec![elements])) }
    }

    fn u32(&self, value: usize) -> Result<u32, PlanError> {
        u32::try_from(value).map_err(|_| self.unsupported("an extent over 32 bits"))
    }

    fn unsupported(&self, what: &'static str) -> PlanError {
        PlanError::Unsupported { position: self.op.position, op: self.op.kind.name(), output: self.name(), what }
    }

    fn overflow(&self, channel: usize, what: &'static str, value: f64, limit: f64) -> PlanError {
        let (position, op, output) = (self.op.position, self.op.kind.name(), self.name());
        PlanError::Overflow { position, op, output, channel, what, value, limit }
    }

    fn shape(&self, id: TensorId, need: Vec<usize>) -> PlanError {
        let tensor = self.graph.tensor(id);
        let (position, op) = (self.op.position, self.op.kind.name());
        PlanError::Shape { position, op, tensor: tensor.name.to_string(), need, have: tensor.shape.clone() }
    }

    fn name(&self) -> alloc::string::String {
        self.op.outputs.first().map(|&id| self.graph.tensor(id).name.clone()).unwrap_or_default()
    }
}
