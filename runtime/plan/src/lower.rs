//! One operator to one step: shapes checked, roundings of `docs/numerics.md` done, weights packed.

use alloc::{string::ToString, vec, vec::Vec};

use fleetfoot_format::graph::{self, DType, PoolKind, Span, Step, Window};

use crate::{
    error::PlanError,
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Tensor, TensorId},
    pack::{self, Packer},
    tables,
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
    /// The step of this operator.
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
            OpKind::Mean { axes } => self.mean(axes),
            OpKind::Pad { amounts } => self.pad(amounts),
            OpKind::Softmax { beta } => self.softmax(packer, *beta),
            OpKind::Quantize | OpKind::HardSwish | OpKind::Logistic | OpKind::Tanh => self.lut(packer),
            OpKind::Reshape => Err(self.unsupported("a reshape of a constant, or to another number of elements")),
        }
    }

    fn conv(
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

    fn depthwise(
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

    fn fully_connected(&self, packer: &mut Packer, activation: Activation) -> Result<Step, PlanError> {
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
    fn weighted(
        &self,
        packer: &mut Packer,
        shape: ConvShape,
        layout: Layout,
        activation: Activation,
    ) -> Result<graph::Conv, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
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

    fn add(&self, packer: &mut Packer, activation: Activation, sign: i32) -> Result<Step, PlanError> {
        if let Some((x, at, c)) = self.by_scalar()? {
            let p = self.add_of(activation, sign)?;
            let (of_a, of_b) = (p.a_multiplier, p.b_multiplier);
            let (of_x, of_c) = if at == 0 { (of_a, of_b) } else { (of_b, of_a) };
            let sum = |q: i32| ((p.bias + of_x * q + of_c * c) >> p.shift) + p.out_zero_point;
            return self.scalar_table(packer, x, sum, (p.lo, p.hi));
        }
        let (a, b) = (self.input(0)?, self.input(1)?);
        if a.tensor.shape != b.tensor.shape {
            return Err(self.unsupported("operands of different shapes"));
        }
        self.expect(self.op.outputs[0], a.tensor.elements())?;
        self.add_of(activation, sign).map(Step::Add)
    }

    fn add_of(&self, activation: Activation, sign: i32) -> Result<graph::Add, PlanError> {
        let (a, b, output) = (self.either(0)?, self.either(1)?, self.output()?);
        self.same_type(&[a, b, output])?;
        let (ra, rb) = (a.scale / output.scale, b.scale / output.scale);
        let limits = libm::scalbnf(1.0, -10)..256.0;
        if !limits.contains(&ra) || !limits.contains(&rb) {
            return Err(self.unsupported("a ratio of input to output scale outside 2^-10 .. 2^8"));
        }
        let shift = 20 - libm::ilogbf(ra.max(rb));
        let fixed = |r: f32| libm::rint(libm::scalbn(f64::from(r), shift)) as i32;
        let (a_multiplier, b_multiplier) = (fixed(ra), sign * fixed(rb));
        let bias = (1 << (shift - 1)) - a_multiplier * a.zero_point - b_multiplier * b.zero_point;
        let (lo, hi) = bounds_xnnpack(activation, &output);
        Ok(graph::Add {
            a: a.span,
            b: b.span,
            output: output.span,
            dtype: output.dtype,
            a_multiplier,
            b_multiplier,
            bias,
            shift: shift.cast_unsigned(),
            out_zero_point: output.zero_point,
            lo,
            hi,
        })
    }

    fn mul(&self, packer: &mut Packer, activation: Activation) -> Result<Step, PlanError> {
        let (mut a, mut b, output) = (self.either(0)?, self.either(1)?, self.output()?);
        let multiplier = (a.scale * b.scale) / output.scale;
        if !(libm::scalbnf(1.0, -16)..256.0).contains(&multiplier) {
            return Err(self.unsupported("a ratio of input to output scale outside 2^-16 .. 2^8"));
        }
        let (lo, hi) = bounds_xnnpack(activation, &output);
        if let Some((x, at, c)) = self.by_scalar()? {
            let c = c - if at == 0 { b } else { a }.zero_point;
            let product = |q: i32| libm::rintf(((q - x.zero_point) * c) as f32 * multiplier) as i32;
            return self.scalar_table(packer, x, |q| product(q) + output.zero_point, (lo, hi));
        }
        (a, b) = (self.input(0)?, self.input(1)?);
        if a.tensor.elements() < b.tensor.elements() {
            (a, b) = (b, a);
        }
        self.same_type(&[a, b, output])?;
        self.expect(self.op.outputs[0], a.tensor.elements())?;
        let (batch, channels) = if a.tensor.shape == b.tensor.shape {
            (1, 1)
        } else {
            let ([n, _, _, c], [bn, 1, 1, bc]) = (self.dims4(a.tensor)?, self.dims4(b.tensor)?) else {
                return Err(self.unsupported("operands that are neither of one shape nor [n,h,w,c] and [n,1,1,c]"));
            };
            if (n, c) != (bn, bc) {
                return Err(self.unsupported("operands that are neither of one shape nor [n,h,w,c] and [n,1,1,c]"));
            }
            (n, c)
        };
        Ok(Step::Mul(graph::Mul {
            a: a.span,
            b: b.span,
            output: output.span,
            batch: self.u32(batch)?,
            channels: self.u32(channels)?,
            dtype: output.dtype,
            a_zero_point: a.zero_point,
            b_zero_point: b.zero_point,
            multiplier,
            out_zero_point: output.zero_point,
            lo,
            hi,
        }))
    }

    /// Where one operand is a constant of one element: the other, its place, and the constant.
    fn by_scalar(&self) -> Result<Option<(Operand<'g>, usize, i32)>, PlanError> {
        let (a, b) = (self.either(0)?, self.either(1)?);
        let (x, at, c) = if b.tensor.data.is_some() { (a, 0, b) } else { (b, 1, a) };
        match (x.tensor.data.is_some(), c.tensor.data.as_deref()) {
            (false, Some(&[byte])) if c.dtype == DType::Int8 => Ok(Some((x, at, i32::from(byte.cast_signed())))),
            (false, Some(&[byte])) => Ok(Some((x, at, i32::from(byte)))),
            _ => Ok(None),
        }
    }

    /// An operation with a constant of one element is a function of one variable.
    fn scalar_table(
        &self,
        packer: &mut Packer,
        x: Operand<'g>,
        f: impl Fn(i32) -> i32,
        (lo, hi): (i32, i32),
    ) -> Result<Step, PlanError> {
        let output = self.output()?;
        self.same_type(&[x, output])?;
        self.expect(self.op.outputs[0], x.tensor.elements())?;
        let table = tables::table(x.dtype, x.dtype, |q| i64::from(f(q).clamp(lo, hi)));
        Ok(Step::Lut(graph::Lut { input: x.span, output: output.span, table: packer.push(&table) }))
    }

    fn pool(&self, kind: PoolKind, window: Window, (lo, hi): (i32, i32)) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        if (input.scale.to_bits(), input.zero_point) != (output.scale.to_bits(), output.zero_point) {
            return Err(self.unsupported("a pool whose output is quantized unlike its input"));
        }
        let [batch, .., channels] = self.dims4(input.tensor)?;
        Ok(Step::Pool(graph::Pool {
            kind,
            batch: self.u32(batch)?,
            window,
            channels: self.u32(channels)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            lo,
            hi,
        }))
    }

    fn mean(&self, axes: &[usize]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        let shape = &input.tensor.shape;
        // The axes must be neighbours: what stands before them is a batch, what stands behind them are channels.
        let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else {
            return Err(self.unsupported("a mean over no axis"));
        };
        if last >= shape.len() || last - first + 1 != axes.len() {
            return Err(self.unsupported("a mean over axes that are not neighbours"));
        }
        let n: usize = shape[first..=last].iter().product();
        let (batch, channels) = (shape[..first].iter().product(), shape[last + 1..].iter().product::<usize>());
        self.expect(self.op.outputs[0], batch * channels)?;
        let multiplier = (input.scale / output.scale) * (1.0 / n as f32);
        let offset = output.zero_point as f32 - (n as f32 * input.zero_point as f32) * multiplier;
        Ok(Step::Mean(graph::Mean {
            batch: self.u32(batch)?,
            pixels: self.u32(n)?,
            channels: self.u32(channels)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            multiplier,
            offset,
        }))
    }

    fn pad(&self, amounts: &[[usize; 2]]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        let rank = input.tensor.shape.len();
        if rank > 4 || amounts.len() != rank {
            return Err(self.unsupported("more than four dimensions"));
        }
        // Lower ranks are padded at the front with dimensions of one.
        let (mut in_dims, mut before, mut after) = ([1u32; 4], [0u32; 4], [0u32; 4]);
        let mut total = 1;
        for (i, (&extent, &[b, a])) in input.tensor.shape.iter().zip(amounts).enumerate() {
            let at = 4 - rank + i;
            (in_dims[at], before[at], after[at]) = (self.u32(extent)?, self.u32(b)?, self.u32(a)?);
            total *= extent + b + a;
        }
        self.expect(self.op.outputs[0], total)?;
        let value = output.zero_point.to_le_bytes()[0];
        Ok(Step::Pad(graph::Pad { in_dims, before, after, value, input: input.span, output: output.span }))
    }

    fn softmax(&self, packer: &mut Packer, beta: f32) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.same_type(&[input, output])?;
        self.expect(self.op.outputs[0], input.tensor.elements())?;
        if output.dtype == DType::Int8
            && (output.scale.to_bits(), output.zero_point) != ((1f32 / 256.0).to_bits(), -128)
        {
            return Err(self.unsupported("an int8 softmax whose output is not scale 1/256, zero point -128"));
        }
        Ok(Step::Softmax(graph::Softmax {
            input: input.span,
            output: output.span,
            table: packer.push_f32(&tables::softmax_table(input.scale, beta)),
            row: self.u32(*input.tensor.shape.last().unwrap_or(&1))?,
            dtype: input.dtype,
            out_scale: output.scale,
            out_zero_point: output.zero_point,
        }))
    }

    fn lut(&self, packer: &mut Packer) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.expect(self.op.outputs[0], input.tensor.elements())?;
        if self.op.kind != OpKind::Quantize {
            self.same_type(&[input, output])?;
        }
        let (dtype, si, zi, so, zo) = (input.dtype, input.scale, input.zero_point, output.scale, output.zero_point);
        let table = match self.op.kind {
            OpKind::Logistic => tables::logistic_table(dtype, si, zi, so, zo),
            OpKind::Tanh => tables::tanh_table(dtype, si, zi, so, zo),
            OpKind::HardSwish => tables::hard_swish_table(dtype, si, zi, so, zo)
                .map_err(|_| self.unsupported("a hard swish whose output scale is too small or too large"))?,
            _ => tables::requantize_table(dtype, si, zi, output.dtype, so, zo),
        };
        Ok(Step::Lut(graph::Lut { input: input.span, output: output.span, table: packer.push(&table) }))
    }

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

#[derive(Clone, Copy)]
struct ConvShape {
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

/// Output extent and padding before, along one axis. `None` where no whole window fits.
fn axis(input: usize, kernel: usize, stride: usize, dilation: usize, padding: Padding) -> Option<(usize, usize)> {
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
fn bounds_tflite(activation: Activation, output: &Operand<'_>) -> (i32, i32) {
    let (lo, hi) = output.dtype.range();
    let (from, to) = real_bounds(activation);
    let bound = |v: f32| (libm::roundf(v / output.scale) as i32).saturating_add(output.zero_point);
    (from.map_or(lo, |v| bound(v).clamp(lo, hi)), to.map_or(hi, |v| bound(v).clamp(lo, hi)))
}

const fn real_bounds(activation: Activation) -> (Option<f32>, Option<f32>) {
    match activation {
        Activation::None => (None, None),
        Activation::Relu => (Some(0.0), None),
        Activation::ReluN1To1 => (Some(-1.0), Some(1.0)),
        Activation::Relu6 => (Some(0.0), Some(6.0)),
    }
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
