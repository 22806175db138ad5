//! Where a window meets its image, and the bounds of fused activations.

use fleetfoot_format::graph::Window;

use super::{Lower, Operand};
use crate::{
    error::PlanError,
    graph::{Activation, OpKind, Padding},
};

impl Lower<'_> {
    pub(crate) fn window(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        padding: Padding,
    ) -> Result<Window, PlanError> {
        let [n, in_h, in_w, _] = self.dims4(self.input(0)?.tensor)?;
        let [out_n, out_h, out_w, out_c] = self.dims4(self.output()?.tensor)?;
        let along = |input: usize, i: usize| axis(input, kernel[i], stride[i], dilation[i], padding);
        let (Some((rows, pad_top)), Some((columns, pad_left))) = (along(in_h, 0), along(in_w, 1)) else {
            return Err(self.unsupported("a window that does not fit the image"));
        };
        if [out_n, out_h, out_w] != [n, rows, columns] {
            return Err(self.shape(self.op.outputs[0], [n, rows, columns, out_c].to_vec()));
        }
        Ok(Window {
            in_h: self.u32(in_h)?,
            in_w: self.u32(in_w)?,
            out_h: self.u32(out_h)?,
            out_w: self.u32(out_w)?,
            kernel_h: self.u32(kernel[0])?,
            kernel_w: self.u32(kernel[1])?,
            stride_h: self.u32(stride[0])?,
            stride_w: self.u32(stride[1])?,
            dilation_h: self.u32(dilation[0])?,
            dilation_w: self.u32(dilation[1])?,
            pad_top: self.u32(pad_top)?,
            pad_left: self.u32(pad_left)?,
        })
    }

    /// The fused activation of this operator.
    pub(crate) const fn activation(&self) -> Activation {
        match &self.op.kind {
            OpKind::Conv2d { activation, .. }
            | OpKind::DepthwiseConv2d { activation, .. }
            | OpKind::FullyConnected { activation }
            | OpKind::Add { activation }
            | OpKind::Sub { activation }
            | OpKind::Mul { activation }
            | OpKind::AveragePool2d { activation, .. }
            | OpKind::MaxPool2d { activation, .. } => *activation,
            _ => Activation::None,
        }
    }
}

/// Output extent and padding before, along one axis. `None` where no whole window fits.
pub(super) fn axis(
    input: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: Padding,
) -> Option<(usize, usize)> {
    let reach = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    match padding {
        Padding::Same => {
            let out = input.div_ceil(stride);
            let total = ((out - 1) * stride + reach).saturating_sub(input);
            Some((out, total / 2))
        }
        Padding::Valid => Some((input.checked_sub(reach)? / stride + 1, 0)),
    }
}

/// Bounds of a fused activation by XNNPACK's rule: one rounding, half to even, of `f32(f32(v / s) + z)`.
pub(crate) fn bounds_xnnpack(activation: Activation, output: &Operand<'_>) -> (i32, i32) {
    let (lo, hi) = output.dtype.range();
    let (from, to) = real_bounds(activation);
    let bound = |v: f32| libm::rintf((v / output.scale + output.zero_point as f32).clamp(lo as f32, hi as f32)) as i32;
    (from.map_or(lo, bound), to.map_or(hi, bound))
}

/// Bounds of a fused activation by TFLite's rule: half away from zero of `f32(v / s)`, then the zero point.
pub(super) fn bounds_tflite(activation: Activation, output: &Operand<'_>) -> (i32, i32) {
    let (lo, hi) = output.dtype.range();
    let (from, to) = real_bounds(activation);
    let bound = |v: f32| (libm::roundf(v / output.scale) as i32).saturating_add(output.zero_point);
    (from.map_or(lo, |v| bound(v).clamp(lo, hi)), to.map_or(hi, |v| bound(v).clamp(lo, hi)))
}

pub(super) const fn real_bounds(activation: Activation) -> (Option<f32>, Option<f32>) {
    match activation {
        Activation::None => (None, None),
        Activation::Relu => (Some(0.0), None),
        Activation::ReluN1To1 => (Some(-1.0), Some(1.0)),
        Activation::Relu6 => (Some(0.0), Some(6.0)),
        Activation::Relu0To1 => (Some(0.0), Some(1.0)),
    }
}
