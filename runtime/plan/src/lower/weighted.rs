//! Convolutions of all kinds and fully connected layers: multipliers, bias, packing, the proof that nothing overflows.

use alloc::{vec, vec::Vec};

use fleetfoot_format::graph::{self, Step, Window};

use super::{Lower, Operand, window::bounds_xnnpack};
use crate::{
    error::PlanError,
    graph::{Activation, ElementType, Tensor},
    pack::{self, Packer},
};

impl<'g> Lower<'g> {
    pub(super) fn conv(
        &self,
        packer: &mut Packer,
        window: impl Fn([usize; 2]) -> Result<Window, PlanError>,
        activation: Activation,
    ) -> Result<Step, PlanError> {
        let (input, weights) = (self.input(0)?, self.constant(1)?);
        let [out_c, kernel_h, kernel_w, in_c] = self.dims4(weights)?;
        let [batch, .., c] = self.dims4(input.tensor)?;
        if in_c != c {
            return Err(self.unsupported("grouped convolution"));
        }
        let window = window([kernel_h, kernel_w])?;
        let shape = ConvShape { batch, window, in_c, out_c };
        Ok(Step::Conv(self.weighted(packer, shape, Layout::Dense { k: kernel_h * kernel_w * in_c }, activation)?))
    }

    pub(super) fn depthwise(
        &self,
        packer: &mut Packer,
        window: impl Fn([usize; 2]) -> Result<Window, PlanError>,
        activation: Activation,
    ) -> Result<Step, PlanError> {
        let (input, weights) = (self.input(0)?, self.constant(1)?);
        let [one, kernel_h, kernel_w, out_c] = self.dims4(weights)?;
        let [batch, .., in_c] = self.dims4(input.tensor)?;
        if one != 1 || !out_c.is_multiple_of(in_c) {
            return Err(self.unsupported("depthwise weights that are not [1, rows, columns, channels x multiplier]"));
        }
        let shape = ConvShape { batch, window: window([kernel_h, kernel_w])?, in_c, out_c };
        Ok(Step::Depthwise(self.weighted(packer, shape, Layout::Depthwise, activation)?))
    }

    pub(super) fn fully_connected(&self, packer: &mut Packer, activation: Activation) -> Result<Step, PlanError> {
        let (input, weights) = (self.input(0)?, self.constant(1)?);
        let &[out_c, k] = &weights.shape[..] else {
            return Err(self.unsupported("weights that are not [outputs, inputs]"));
        };
        if !input.tensor.elements().is_multiple_of(k) {
            return Err(self.unsupported("an input that is no whole number of rows"));
        }
        let rows = input.tensor.elements() / k;
        self.expect(self.op.outputs[0], rows * out_c)?;
        let window = Window {
            in_h: self.u32(rows)?,
            in_w: 1,
            out_h: self.u32(rows)?,
            out_w: 1,
            kernel_h: 1,
            kernel_w: 1,
            stride_h: 1,
            stride_w: 1,
            dilation_h: 1,
            dilation_w: 1,
            pad_top: 0,
            pad_left: 0,
        };
        let shape = ConvShape { batch: 1, window, in_c: k, out_c };
        Ok(Step::FullyConnected(self.weighted(packer, shape, Layout::Dense { k }, activation)?))
    }

    /// What convolutions of all kinds share: multipliers, bias, bounds, packing, the proof that nothing overflows.
    pub(super) fn weighted(
        &self,
        packer: &mut Packer,
        shape: ConvShape,
        layout: Layout,
        activation: Activation,
    ) -> Result<graph::Conv, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        let pixels = shape.batch * shape.window.out_h as usize * shape.window.out_w as usize;
        self.expect(self.op.outputs[0], pixels * shape.out_c)?;
        let tensor = self.constant(1)?;
        let (values, weight_zero_point) = self.weights(tensor)?;
        let bias = self.bias(shape.out_c)?;
        let multipliers = self.multipliers(&input, tensor, &output, shape.out_c)?;
        self.no_overflow(&input, &values, weight_zero_point, &bias, &multipliers, layout)?;
        let (lo, hi) = bounds_xnnpack(activation, &output);
        let packed = match layout {
            Layout::Dense { k } => pack::n16k4(&values, shape.out_c, k),
            Layout::Depthwise => pack::c16(&values, shape.out_c),
        };
        Ok(graph::Conv {
            batch: self.u32(shape.batch)?,
            window: shape.window,
            in_c: self.u32(shape.in_c)?,
            out_c: self.u32(shape.out_c)?,
            in_dtype: input.dtype,
            out_dtype: output.dtype,
            input: input.span,
            output: output.span,
            weights: packer.push(&packed),
            bias: packer.push_channels(bias.iter().map(|b| b.to_le_bytes())),
            sums: packer.push_channels(sums(&values, shape.out_c, layout).into_iter().map(i32::to_le_bytes)),
            multipliers: packer.push_channels(multipliers.iter().map(|m| m.to_le_bytes())),
            in_zero_point: input.zero_point,
            weight_zero_point,
            out_zero_point: output.zero_point,
            lo,
            hi,
        })
    }

    /// Weights as stored: int8 as they are, uint8 less 128; with the zero point of the stored form.
    pub(crate) fn weights(&self, tensor: &Tensor) -> Result<(Vec<i8>, i32), PlanError> {
        let data = tensor.data.as_deref().unwrap_or_default();
        let zero_points = tensor.quant.as_ref().map_or(&[][..], |q| &q.zero_points[..]);
        match tensor.dtype {
            ElementType::Int8 if zero_points.iter().all(|&z| z == 0) => {
                Ok((data.iter().map(|&b| b.cast_signed()).collect(), 0))
            }
            ElementType::Int8 => Err(self.unsupported("int8 weights with a zero point other than 0")),
            ElementType::UInt8 => match zero_points {
                &[zero_point] => Ok((data.iter().map(|&b| (b ^ 0x80).cast_signed()).collect(), zero_point - 128)),
                _ => Err(self.unsupported("uint8 weights quantized per channel")),
            },
            _ => Err(self.unsupported("weights that are neither int8 nor uint8")),
        }
    }

    pub(crate) fn bias(&self, out_c: usize) -> Result<Vec<i32>, PlanError> {
        let Some(id) = self.op.inputs.get(2).copied().flatten() else {
            return Ok(alloc::vec![0; out_c]);
        };
        let tensor = self.graph.tensor(id);
        let Some(data) = tensor.data.as_deref().filter(|_| tensor.dtype == ElementType::Int32) else {
            return Err(self.unsupported("a bias that is not a constant of int32"));
        };
        let bias: Vec<i32> = data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect();
        if bias.len() == out_c { Ok(bias) } else { Err(self.shape(id, alloc::vec![out_c])) }
    }

    pub(crate) fn multipliers(
        &self,
        input: &Operand<'_>,
        weights: &Tensor,
        output: &Operand<'_>,
        out_c: usize,
    ) -> Result<Vec<f32>, PlanError> {
        let scales = weights.quant.as_ref().map_or(&[][..], |q| &q.scales[..]);
        if scales.len() != 1 && scales.len() != out_c {
            return Err(self.unsupported("weights that have neither one scale nor one per output channel"));
        }
        let of = |channel: usize| (input.scale * scales[channel % scales.len()]) / output.scale;
        let multipliers: Vec<f32> = (0..out_c).map(of).collect();
        match multipliers.iter().position(|m| !(*m > 0.0 && *m < 256.0)) {
            Some(c) => Err(self.overflow(c, "scale from accumulator to output", f64::from(multipliers[c]), 256.0)),
            None => Ok(multipliers),
        }
    }

    /// `|bias| + sum |w - z_w| * max |x - z_in|` and its product with the multiplier stay below 2^31.
    pub(crate) fn no_overflow(
        &self,
        input: &Operand<'_>,
        weights: &[i8],
        weight_zero_point: i32,
        bias: &[i32],
        multipliers: &[f32],
        layout: Layout,
    ) -> Result<(), PlanError> {
        const LIMIT: f64 = (1u64 << 31) as f64;
        let (lo, hi) = input.dtype.range();
        let largest = i64::from((lo - input.zero_point).abs().max((hi - input.zero_point).abs()));
        let magnitude = |&w: &i8| (i32::from(w) - weight_zero_point).abs();
        // At most 255 each: 65,536 of them stay inside 32 bits.
        let sum = |row: &[i8]| row.chunks(1 << 16).map(|w| i64::from(w.iter().map(magnitude).sum::<i32>())).sum();
        for (channel, (&bias, &m)) in bias.iter().zip(multipliers).enumerate() {
            let sum: i64 = match layout {
                Layout::Dense { k } => sum(&weights[channel * k..][..k]),
                Layout::Depthwise => {
                    weights.iter().skip(channel).step_by(multipliers.len()).map(|w| i64::from(magnitude(w))).sum()
                }
            };
            let bound = (i64::from(bias).abs() + sum * largest) as f64;
            if bound >= LIMIT || bound * f64::from(m) >= LIMIT {
                let value = bound.max(bound * f64::from(m));
                return Err(self.overflow(channel, "largest accumulator or its scaled value", value, LIMIT));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
pub(super) struct ConvShape {
    batch: usize,
    window: Window,
    in_c: usize,
    out_c: usize,
}

/// Which weights an output channel sums over.
#[derive(Clone, Copy)]
pub(crate) enum Layout {
    Dense { k: usize },
    Depthwise,
}

/// The sum of the stored weights of each channel.
fn sums(weights: &[i8], out_c: usize, layout: Layout) -> Vec<i32> {
    let mut sums = vec![0i32; out_c];
    match layout {
        Layout::Dense { k } => {
            for (sum, weights) in sums.iter_mut().zip(weights.chunks_exact(k)) {
                *sum = weights.iter().map(|&w| i32::from(w)).sum();
            }
        }
        Layout::Depthwise => {
            for weights in weights.chunks_exact(out_c) {
                sums.iter_mut().zip(weights).for_each(|(sum, &w)| *sum += i32::from(w));
            }
        }
    }
    sums
}
