//! Convolutions and matrix products: weights brought into our order, biases, borders.

use std::rc::Rc;

use fleetfoot_plan::graph::{Activation as Fused, ElementType, OpKind, Padding, Quant, Tensor, TensorId};

use super::{
    layout::{NHWC, permute},
    model::{Constant, Node, Type},
    values::{Activation, Importer, Pending, Scaled, Stop, Value},
    windows::Window,
};
use crate::tensors::printable;

impl<'m> Importer<'m, '_> {
    pub(super) fn conv(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.real(node, 0)?;
        let x = self.image(position, &x)?;
        let weights = self.weights(node, 1)?;
        let &[out_c, group_c, kernel_h, kernel_w] = &weights.constant.shape[..] else {
            return Err(Stop::Form("weights that have not four dimensions"));
        };
        let (c, group) = (x.shape[1], usize::try_from(node.int("group", 1)).unwrap_or(0));
        if group == 0 || group_c.checked_mul(group) != Some(c) || !out_c.is_multiple_of(group) {
            return Err(Stop::Form("groups, channels and weights that do not agree"));
        }
        let window = Window::of(node, [kernel_h, kernel_w], [x.shape[2], x.shape[3]])?;
        let (x, padding) = self.bordered(position, x, &window, None)?;
        let depthwise = group == c && group > 1;
        let (order, channels) = if depthwise { ([1, 2, 3, 0], 3) } else { (NHWC, 0) };
        let id = self.weights_tensor(&weights, &order, channels)?;
        let bias = self.bias(node, 2, &x, &weights, out_c)?;
        let (stride, dilation, activation) = (window.stride, window.dilation, Fused::None);
        let kind = if depthwise {
            OpKind::DepthwiseConv2d { stride, dilation, padding, activation }
        } else {
            OpKind::Conv2d { stride, dilation, padding, activation }
        };
        let shape = vec![x.shape[0], out_c, window.out[0], window.out[1]];
        Ok(pending(position, node, kind, vec![Some(x.id), Some(id), bias], shape, NHWC.to_vec()))
    }

    pub(super) fn conv_transpose(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.real(node, 0)?;
        let x = self.image(position, &x)?;
        let weights = self.weights(node, 1)?;
        let &[in_c, out_c, kernel_h, kernel_w] = &weights.constant.shape[..] else {
            return Err(Stop::Form("weights that have not four dimensions"));
        };
        let pair = |name: &str, default| Window::pair(node, name, default);
        let (stride, dilation, more) = (pair("strides", 1)?, pair("dilations", 1)?, pair("output_padding", 0)?);
        if node.int("group", 1) != 1 || in_c != x.shape[1] || dilation != [1, 1] {
            return Err(Stop::Form("a transposed convolution with groups or dilation"));
        }
        let pads = Window::pads(node)?;
        let out = |i: usize, kernel: usize| {
            let full = (x.shape[2 + i] - 1).checked_mul(stride[i])?.checked_add(kernel)?.checked_add(more[i])?;
            full.checked_sub(pads[i] + pads[2 + i]).filter(|&n| n > 0)
        };
        let (Some(out_h), Some(out_w)) = (out(0, kernel_h), out(1, kernel_w)) else {
            return Err(Stop::Form("a border larger than its result"));
        };
        // The convolution that this is the transpose of has one of the two borders that we know.
        let borders = |padding| {
            let along = |i: usize, kernel: usize, out: usize| {
                super::windows::border(padding, out, kernel, stride[i], 1)
                    .is_some_and(|(n, before, _)| n == x.shape[2 + i] && before == pads[i])
            };
            along(0, kernel_h, out_h) && along(1, kernel_w, out_w)
        };
        let padding = [Padding::Valid, Padding::Same].into_iter().find(|&padding| borders(padding));
        let padding = padding.ok_or(Stop::Form("a border that is neither SAME nor VALID"))?;
        let id = self.weights_tensor(&weights, &[1, 2, 3, 0], 0)?;
        let bias = self.bias(node, 2, &x, &weights, out_c)?;
        let kind = OpKind::TransposeConv { stride, padding, activation: Fused::None };
        let shape = vec![x.shape[0], out_c, out_h, out_w];
        Ok(pending(position, node, kind, vec![Some(x.id), Some(id), bias], shape, NHWC.to_vec()))
    }

    /// `Gemm`, and `MatMul` with a constant matrix.
    pub(super) fn product(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let gemm = node.op == "Gemm";
        if gemm && (node.float("alpha", 1.0) != 1.0 || node.float("beta", 1.0) != 1.0 || node.int("transA", 0) != 0) {
            return Err(Stop::Form("alpha or beta other than 1, or a transposed first operand"));
        }
        let x = self.real(node, 0)?;
        let x = self.plain(position, &x);
        if matches!(self.value(node, 1)?, Value::Activation(_) | Value::Pending(_)) {
            return Err(Stop::Form("a product of two activations; one factor must be constant"));
        }
        let weights = self.weights(node, 1)?;
        let transposed = gemm && node.int("transB", 0) != 0;
        let (k, n) = match weights.constant.shape[..] {
            [n, k] if transposed => (k, n),
            [k, n] => (k, n),
            _ => return Err(Stop::Form("weights that are not a matrix")),
        };
        if x.shape.last() != Some(&k) || gemm && x.shape.len() != 2 {
            return Err(Stop::Form("operands whose shapes do not agree"));
        }
        let id = self.weights_tensor(&weights, if transposed { &[0, 1] } else { &[1, 0] }, 0)?;
        let bias = if gemm { self.bias(node, 2, &x, &weights, n)? } else { None };
        let mut shape = x.shape.clone();
        shape.pop();
        shape.push(n);
        let order = (0..shape.len()).collect();
        let kind = OpKind::FullyConnected { activation: Fused::None };
        Ok(pending(position, node, kind, vec![Some(x.id), Some(id), bias], shape, order))
    }

    /// Operand `i`, which must be a constant with scales.
    fn weights(&self, node: &Node, i: usize) -> Result<Rc<Scaled>, Stop> {
        match self.value(node, i)? {
            Value::Scaled(scaled) if scaled.constant.dtype != Type::Int32 => Ok(scaled),
            Value::Broken => Err(Stop::Listed),
            Value::Constant(constant) if constant.dtype == Type::Float32 => {
                Err(Stop::Form("its weights are float32: quantize them, too"))
            }
            _ => Err(Stop::Form("its weights are not a quantized constant")),
        }
    }

    /// Weights in the order `order`, with output channels at `channels`.
    fn weights_tensor(&mut self, weights: &Scaled, order: &[usize], channels: usize) -> Result<TensorId, Stop> {
        let Constant { dtype, shape, data } = &weights.constant;
        let mut data = permute(data, 1, shape, order);
        let mut quant = weights.quant.clone();
        if quant.scales.len() > 1 && order[channels] != quant.axis {
            return Err(Stop::Form("its weights are quantized along another dimension than output channels"));
        }
        quant.axis = if quant.scales.len() > 1 { channels } else { 0 };
        let mut element = ElementType::Int8;
        if *dtype == Type::UInt8 {
            if quant.zero_points.iter().all(|&z| z == 128) {
                data.iter_mut().for_each(|b| *b ^= 0x80);
                quant.zero_points.fill(0);
            } else {
                element = ElementType::UInt8;
            }
        }
        let shape = order.iter().map(|&d| shape[d]).collect();
        let name = printable(&weights.name);
        Ok(self.stored(Tensor { name, shape, dtype: element, quant: Some(quant), data: Some(data) }))
    }

    /// Bias `i`, if it is there, in units of the accumulator.
    fn bias(
        &mut self,
        node: &Node,
        i: usize,
        x: &Activation,
        weights: &Scaled,
        out_c: usize,
    ) -> Result<Option<TensorId>, Stop> {
        let Some(name) = node.input(i) else { return Ok(None) };
        let scale = self.quant(x).map_or(1.0, |(scale, _)| scale);
        let units: Vec<f64> = (0..out_c)
            .map(|c| f64::from(scale) * f64::from(*weights.quant.scales.get(c).unwrap_or(&weights.quant.scales[0])))
            .collect();
        let wrong = Stop::Form("a bias that is not one constant per output channel");
        // Scalars and rows of one stand for all channels.
        let at = |len: usize, c: usize| if len == 1 { 0 } else { c };
        let fits = |len: usize| len == out_c || len == 1;
        let reals = |values: &[f64]| -> Vec<i32> {
            let clamped = |v: f64| v.round_ties_even().clamp(i32::MIN.into(), i32::MAX.into()) as i32;
            units.iter().enumerate().map(|(c, unit)| clamped(values[at(values.len(), c)] / unit)).collect()
        };
        let values: Vec<i32> = match self.value(node, i)? {
            // Only QOperator nodes: its scale is understood.
            Value::Constant(constant) if constant.dtype == Type::Int32 && fits(constant.elements()) => {
                let ints = constant.to_ints().ok_or(Stop::Listed)?;
                (0..out_c).map(|c| ints[at(ints.len(), c)] as i32).collect()
            }
            Value::Constant(constant) if constant.dtype == Type::Float32 && fits(constant.elements()) => {
                let values = constant.to_floats().ok_or(Stop::Listed)?;
                if !values.iter().all(|v| v.is_finite()) {
                    return Err(Stop::Form("a bias that is not a number"));
                }
                reals(&values.iter().map(|&v| v.into()).collect::<Vec<f64>>())
            }
            Value::Scaled(scaled) if fits(scaled.constant.elements()) => {
                let ints = scaled.constant.to_ints().ok_or(Stop::Listed)?;
                let Quant { scales, zero_points, .. } = &scaled.quant;
                let one = |c: usize| (f64::from(scales[at(scales.len(), c)]), zero_points[at(zero_points.len(), c)]);
                // Scales are products in float32: equal but for their rounding.
                let exact = |(c, unit): (usize, &f64)| {
                    let (scale, zero_point) = one(c);
                    zero_point == 0 && (scale / unit - 1.0).abs() < 1e-5
                };
                if scaled.constant.dtype == Type::Int32 && units.iter().enumerate().all(exact) {
                    (0..out_c).map(|c| ints[at(ints.len(), c)] as i32).collect()
                } else {
                    let real = |(c, &v): (usize, &i64)| (v - i64::from(one(c).1)) as f64 * one(c).0;
                    reals(&ints.iter().enumerate().map(real).collect::<Vec<f64>>())
                }
            }
            Value::Broken => return Err(Stop::Listed),
            _ => return Err(wrong),
        };
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let (name, dtype) = (printable(name), ElementType::Int32);
        Ok(Some(self.stored(Tensor { name, shape: vec![out_c], dtype, quant: None, data: Some(data) })))
    }
}

/// A result that waits for its quantization.
pub(super) fn pending(
    position: usize,
    node: &Node,
    kind: OpKind,
    inputs: Vec<Option<TensorId>>,
    shape: Vec<usize>,
    order: Vec<usize>,
) -> Value {
    let name = node.output(0).to_owned();
    let stored = order.iter().map(|&d| shape[d]).collect();
    Value::Pending(Rc::new(Pending { position, kind, inputs, stored, shape, order, name, then: Vec::new() }))
}
