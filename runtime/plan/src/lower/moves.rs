//! What moves bytes: concatenation, strided reads, spreading; resizing and gathering; the doors of the model.

use alloc::{vec, vec::Vec};

use fleetfoot_format::{
    graph::{self, DType, Dims, Span, Step},
    limits::{MAX_DIMS, MAX_EXTENT},
};

use super::Lower;
use crate::{
    error::PlanError,
    graph::{ElementType, OpKind},
    pack::Packer,
    tables,
};

impl Lower<'_> {
    /// One copy for every operand.
    pub(super) fn concat(&self, packer: &mut Packer, outer: usize) -> Result<Vec<Step>, PlanError> {
        let output = self.output()?;
        let total = output.tensor.elements();
        let row = total.checked_div(outer).filter(|row| row * outer == total);
        let row = row.ok_or_else(|| self.unsupported("a result that its operands do not fill"))?;
        let (mut steps, mut at) = (Vec::new(), 0);
        for index in 0..self.op.inputs.len() {
            let input = self.either(index)?;
            self.same_type(&[input, output])?;
            let run = input.tensor.elements() / outer;
            if run * outer != input.tensor.elements() || at + run > row {
                return Err(self.unsupported("a result that its operands do not fill"));
            }
            let (from, in_weights) = match input.tensor.data.as_deref() {
                Some(data) => (packer.push(data), true),
                None => (input.span, false),
            };
            let alike = (input.scale.to_bits(), input.zero_point) == (output.scale.to_bits(), output.zero_point);
            let table = match (alike, input.dtype) {
                (true, _) => None,
                (false, DType::UInt8) if matches!(self.op.kind, OpKind::Concat { name: "CONCATENATION", .. }) => {
                    let (si, zi, so, zo) = (input.scale, input.zero_point, output.scale, output.zero_point);
                    Some(packer.push(&tables::concat_table(si, zi, so, zo)))
                }
                _ => return Err(self.unsupported("an operand quantized unlike the result: quantize it first")),
            };
            steps.push(Step::Copy(graph::Copy {
                input: from,
                in_weights,
                output: output.span,
                dims: self.dims(&[outer, run])?,
                from: 0,
                from_strides: self.signed(&[run as isize, 1])?,
                to: self.u32(at)?,
                to_strides: self.strides(&[row, 1])?,
                table,
                // Runs apart from each other leave gaps until the last operand is there.
                fill: (outer > 1 && at == 0 && run < row).then_some(0),
            }));
            at += run;
        }
        if at == row { Ok(steps) } else { Err(self.unsupported("a result that its operands do not fill")) }
    }

    /// A copy whose result is dense.
    pub(super) fn strided(&self, first: usize, dims: &[usize], strides: &[isize]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.alike(&[input, output])?;
        let outside = || self.unsupported("elements that its operand does not have");
        if dims.len() != strides.len() || dims.contains(&0) {
            return Err(outside());
        }
        self.expect(self.op.outputs[0], dims.iter().product())?;
        let (mut low, mut high) = (first as i128, first as i128);
        for (&extent, &stride) in dims.iter().zip(strides) {
            let last = (extent as i128 - 1) * stride as i128;
            low += last.min(0);
            high += last.max(0);
        }
        if low < 0 || high >= input.tensor.elements() as i128 {
            return Err(outside());
        }
        // Neighbours that go on where the one before ends are one dimension.
        let (mut merged, mut steps): (Vec<usize>, Vec<isize>) = (Vec::new(), Vec::new());
        for (&extent, &stride) in dims.iter().zip(strides).filter(|(extent, _)| **extent > 1) {
            match (merged.last_mut(), steps.last_mut()) {
                (Some(outer), Some(step)) if *step == stride.saturating_mul(extent as isize) => {
                    *outer *= extent;
                    *step = stride;
                }
                _ => {
                    merged.push(extent);
                    steps.push(stride);
                }
            }
        }
        let dense: Vec<usize> = (0..merged.len()).map(|d| merged[d + 1..].iter().product()).collect();
        Ok(Step::Copy(graph::Copy {
            input: input.span,
            in_weights: false,
            output: output.span,
            dims: self.dims(&merged)?,
            from: self.u32(first)?,
            from_strides: self.signed(&steps)?,
            to: 0,
            to_strides: self.strides(&dense)?,
            table: None,
            fill: None,
        }))
    }

    /// The cells of an image, `stride` apart, in an image of zero points.
    pub(super) fn spread(&self, stride: [usize; 2], before: [usize; 2]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        let ([n, h, w, c], [_, out_h, out_w, _]) = (self.dims4(input.tensor)?, self.dims4(output.tensor)?);
        Ok(Step::Copy(graph::Copy {
            input: input.span,
            in_weights: false,
            output: output.span,
            dims: self.dims(&[n, h, w, c])?,
            from: 0,
            from_strides: self.signed(&[h * w * c, w * c, c, 1].map(|s| s as isize))?,
            to: self.u32((before[0] * out_w + before[1]) * c)?,
            to_strides: self.strides(&[out_h * out_w * c, stride[0] * out_w * c, stride[1] * c, 1])?,
            table: None,
            fill: Some(input.zero_point.to_le_bytes()[0]),
        }))
    }

    /// A border around more dimensions than the step *pad* has.
    pub(super) fn pad_by_copy(&self, amounts: &[[usize; 2]], value: u8) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        let shape = &input.tensor.shape;
        let padded: Vec<usize> = shape.iter().zip(amounts).map(|(&d, &[b, a])| d + b + a).collect();
        let dense =
            |dims: &[usize]| -> Vec<usize> { (0..dims.len()).map(|d| dims[d + 1..].iter().product()).collect() };
        let to_strides = dense(&padded);
        let from: Vec<isize> = dense(shape).into_iter().map(|s| s as isize).collect();
        Ok(Step::Copy(graph::Copy {
            input: input.span,
            in_weights: false,
            output: output.span,
            dims: self.dims(shape)?,
            from: 0,
            from_strides: self.signed(&from)?,
            to: self.u32(to_strides.iter().zip(amounts).map(|(s, &[before, _])| s * before).sum())?,
            to_strides: self.strides(&to_strides)?,
            table: None,
            fill: Some(value),
        }))
    }

    pub(super) fn gather(&self, packer: &mut Packer, axis: usize, indices: &[usize]) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.alike(&[input, output])?;
        let shape = &input.tensor.shape;
        let Some(&extent) = shape.get(axis) else {
            return Err(self.unsupported("an axis that its operand does not have"));
        };
        if indices.is_empty() || indices.iter().any(|&index| index >= extent) {
            return Err(self.unsupported("an index outside of its operand"));
        }
        let (batch, channels) = (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
        self.expect(self.op.outputs[0], batch * indices.len() * channels)?;
        let rows = indices.iter().map(|&index| Ok([self.u32(index)?, 0])).collect::<Result<Vec<_>, PlanError>>()?;
        self.resample(packer, [batch, extent, 1, channels], &rows, &[[0, 0]])
    }

    pub(super) fn resize(
        &self,
        packer: &mut Packer,
        bilinear: bool,
        align_corners: bool,
        half_pixel_centers: bool,
    ) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        self.alike(&[input, output])?;
        let [n, h, w, c] = self.dims4(input.tensor)?;
        let [out_n, out_h, out_w, out_c] = self.dims4(output.tensor)?;
        if [n, c] != [out_n, out_c] {
            return Err(self.shape(self.op.outputs[0], vec![n, out_h, out_w, c]));
        }
        let along = |input: usize, output: usize| -> Vec<[u32; 2]> {
            let at = if bilinear { bilinear_cell } else { nearest_cell };
            (0..output).map(|i| at(i, input, output, align_corners, half_pixel_centers)).collect()
        };
        if [h, w, out_h, out_w].iter().any(|&extent| extent > MAX_EXTENT as usize) {
            return Err(self.unsupported("an extent over 2^24"));
        }
        self.resample(packer, [n, h, w, c], &along(h, out_h), &along(w, out_w))
    }

    fn resample(
        &self,
        packer: &mut Packer,
        [batch, h, w, c]: [usize; 4],
        rows: &[[u32; 2]],
        columns: &[[u32; 2]],
    ) -> Result<Step, PlanError> {
        let (input, output) = (self.input(0)?, self.output()?);
        let mut push = |cells: &[[u32; 2]]| -> Span {
            let bytes: Vec<u8> = cells.iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
            packer.push(&bytes)
        };
        let (rows_at, columns_at) = (push(rows), push(columns));
        Ok(Step::Resample(graph::Resample {
            batch: self.u32(batch)?,
            in_h: self.u32(h)?,
            in_w: self.u32(w)?,
            out_h: self.u32(rows.len())?,
            out_w: self.u32(columns.len())?,
            channels: self.u32(c)?,
            dtype: input.dtype,
            input: input.span,
            output: output.span,
            rows: rows_at,
            columns: columns_at,
        }))
    }

    pub(super) fn arg_extreme(&self, axis: usize, largest: bool) -> Result<Step, PlanError> {
        let input = self.input(0)?;
        let output = self.graph.tensor(self.op.outputs[0]);
        let shape = &input.tensor.shape;
        let Some(&n) = shape.get(axis) else { return Err(self.unsupported("an axis that its operand does not have")) };
        let (outer, inner) = (shape[..axis].iter().product::<usize>(), shape[axis + 1..].iter().product::<usize>());
        self.expect(self.op.outputs[0], outer * inner)?;
        let wide = match output.dtype {
            ElementType::Int32 => false,
            ElementType::Int64 => true,
            _ => return Err(self.unsupported("indices that are neither int32 nor int64")),
        };
        Ok(Step::ArgExtreme(graph::ArgExtreme {
            outer: self.u32(outer)?,
            n: self.u32(n)?,
            inner: self.u32(inner)?,
            dtype: input.dtype,
            largest,
            wide,
            input: input.span,
            output: (self.span)(self.op.outputs[0]),
        }))
    }

    /// QUANTIZE of a float tensor, `None` where the operand is quantized already.
    pub(super) fn quantize_float(&self) -> Result<Option<Step>, PlanError> {
        let Some(&Some(id)) = self.op.inputs.first() else { return Ok(None) };
        let tensor = self.graph.tensor(id);
        if tensor.dtype != ElementType::Float32 {
            return Ok(None);
        }
        if tensor.data.is_some() {
            return Err(self.unsupported("a float constant"));
        }
        let output = self.output()?;
        self.expect(id, output.tensor.elements())?;
        let inverse = 1.0 / output.scale;
        if !inverse.is_finite() {
            return Err(self.unsupported("a scale so small that one over it is infinite"));
        }
        Ok(Some(Step::FromFloat(graph::FromFloat {
            input: (self.span)(id),
            output: output.span,
            dtype: output.dtype,
            inverse,
            zero_point: output.zero_point,
        })))
    }

    pub(super) fn to_float(&self) -> Result<Step, PlanError> {
        let (input, id) = (self.input(0)?, self.op.outputs[0]);
        if self.graph.tensor(id).dtype != ElementType::Float32 {
            return Err(self.unsupported("a result that is not float32"));
        }
        self.expect(id, input.tensor.elements())?;
        Ok(Step::ToFloat(graph::ToFloat {
            input: input.span,
            output: (self.span)(id),
            dtype: input.dtype,
            scale: input.scale,
            zero_point: input.zero_point,
        }))
    }

    /// Extents with ones in front.
    pub(super) fn dims(&self, dims: &[usize]) -> Result<Dims, PlanError> {
        self.front(dims, 1)
    }

    /// Strides with zeros in front.
    pub(super) fn strides(&self, strides: &[usize]) -> Result<Dims, PlanError> {
        self.front(strides, 0)
    }

    fn front(&self, values: &[usize], filler: u32) -> Result<Dims, PlanError> {
        let mut out = [filler; MAX_DIMS];
        let Some(front) = MAX_DIMS.checked_sub(values.len()) else {
            return Err(self.unsupported("more than six dimensions"));
        };
        for (to, &value) in out[front..].iter_mut().zip(values) {
            *to = self.u32(value)?;
        }
        // A run of one element is dense.
        if filler == 0 && values.is_empty() {
            out[MAX_DIMS - 1] = 1;
        }
        Ok(out)
    }

    fn signed(&self, strides: &[isize]) -> Result<Dims<i32>, PlanError> {
        let magnitudes: Vec<usize> = strides.iter().map(|s| s.unsigned_abs()).collect();
        let mut out = self.strides(&magnitudes)?.map(|s| i32::try_from(s).unwrap_or(i32::MAX));
        for (to, stride) in out[MAX_DIMS - strides.len()..].iter_mut().zip(strides) {
            if *stride < 0 {
                *to = -*to;
            }
        }
        Ok(out)
    }
}

/// Cell and weight of output cell `i`, see `docs/numerics.md`.
fn bilinear_cell(i: usize, input: usize, output: usize, align_corners: bool, half_pixel: bool) -> [u32; 2] {
    let less = usize::from(align_corners && output > 1);
    let k = (input - less) as f32 / (output - less) as f32;
    let at = if half_pixel { i as f32 * k + (0.5 * k - 0.5) } else { i as f32 * k };
    let at = at.clamp(0.0, (input - 1) as f32);
    let cell = libm::floorf(at);
    [cell as u32, libm::rintf((at - cell) * 2048.0) as u32]
}

/// The nearest cell for output cell `i`, see `docs/numerics.md`.
fn nearest_cell(i: usize, input: usize, output: usize, align_corners: bool, half_pixel: bool) -> [u32; 2] {
    let align = align_corners && output > 1;
    let k = if align { (input - 1) as f32 / (output - 1) as f32 } else { input as f32 / output as f32 };
    let at = (i as f32 + if half_pixel { 0.5 } else { 0.0 }) * k;
    let cell = if align_corners { libm::roundf(at) } else { libm::floorf(at) };
    [(cell as usize).min(input - 1) as u32, 0]
}
