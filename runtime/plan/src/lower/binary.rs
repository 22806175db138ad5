//! Element-wise operators of two operands.

use alloc::vec::Vec;

use fleetfoot_format::graph::{self, BinaryOp, DType, Fixed, Step};

use super::{Lower, Operand, window::bounds_xnnpack};
use crate::{
    error::PlanError,
    graph::{Activation, OpKind, Tensor},
    pack::Packer,
    tables,
};

impl<'g> Lower<'g> {
    pub(super) fn add(&self, packer: &mut Packer, activation: Activation, sign: i32) -> Result<Step, PlanError> {
        if let Some((x, at, c)) = self.by_scalar()? {
            let p = self.add_of(activation, sign)?;
            let (of_a, of_b) = (p.a_multiplier, p.b_multiplier);
            let (of_x, of_c) = if at == 0 { (of_a, of_b) } else { (of_b, of_a) };
            let sum = |q: i32| ((p.bias + of_x * q + of_c * c) >> p.shift) + p.out_zero_point;
            return self.scalar_table(packer, x, sum, (p.lo, p.hi));
        }
        let (a, b) = (self.either(0)?, self.either(1)?);
        if a.tensor.shape != b.tensor.shape || a.tensor.data.is_some() || b.tensor.data.is_some() {
            let p = self.add_of(activation, sign)?;
            let (a_first, b_second) = (a.tensor.data.is_none(), (p.a_multiplier, p.b_multiplier));
            let (a_multiplier, b_multiplier) = if a_first { b_second } else { (p.b_multiplier, p.a_multiplier) };
            let graph::Add { bias, shift, out_zero_point, lo, hi, .. } = p;
            let op = BinaryOp::Add { a_multiplier, b_multiplier, bias, shift, out_zero_point, lo, hi };
            return if a_first { self.broadcast(packer, a, b, op) } else { self.broadcast(packer, b, a, op) };
        }
        self.expect(self.op.outputs[0], a.tensor.elements())?;
        self.add_of(activation, sign).map(Step::Add)
    }

    pub(super) fn add_of(&self, activation: Activation, sign: i32) -> Result<graph::Add, PlanError> {
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

    pub(super) fn mul(&self, packer: &mut Packer, activation: Activation) -> Result<Step, PlanError> {
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
        if a.tensor.data.is_some() || a.tensor.elements() < b.tensor.elements() && b.tensor.data.is_none() {
            (a, b) = (b, a);
        }
        self.same_type(&[a, b, output])?;
        let rows = match (&a.tensor.shape[..], &b.tensor.shape[..]) {
            _ if b.tensor.data.is_some() || output.tensor.elements() != a.tensor.elements() => None,
            (of_a, of_b) if of_a == of_b => Some((1, 1)),
            (&[n, _, _, c], &[bn, 1, 1, bc]) if (n, c) == (bn, bc) => Some((n, c)),
            _ => None,
        };
        let Some((batch, channels)) = rows else {
            let (a_zero_point, b_zero_point, out_zero_point) = (a.zero_point, b.zero_point, output.zero_point);
            let op = BinaryOp::Mul { a_zero_point, b_zero_point, multiplier, out_zero_point, lo, hi };
            return self.broadcast(packer, a, b, op);
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

    pub(super) fn extreme(&self, packer: &mut Packer) -> Result<Step, PlanError> {
        let (mut a, mut b) = (self.either(0)?, self.either(1)?);
        self.alike(&[a, b, self.output()?])?;
        if a.tensor.data.is_some() {
            (a, b) = (b, a);
        }
        let largest = self.op.kind == OpKind::Maximum;
        self.broadcast(packer, a, b, if largest { BinaryOp::Maximum } else { BinaryOp::Minimum })
    }

    pub(super) fn prelu(&self, packer: &mut Packer) -> Result<Step, PlanError> {
        let (a, b, output) = (self.input(0)?, self.either(1)?, self.output()?);
        let fixed = |factor: f32| {
            let (multiplier, exponent) = tables::quantize_multiplier(f64::from(factor));
            let fits = factor.is_finite() && exponent <= 14;
            let too_large = || self.unsupported("a ratio of input to output scale over 2^14");
            if fits { Ok(Fixed { multiplier, exponent }) } else { Err(too_large()) }
        };
        let op = BinaryOp::Prelu {
            a_zero_point: a.zero_point,
            b_zero_point: b.zero_point,
            positive: fixed(a.scale / output.scale)?,
            negative: fixed(a.scale * b.scale / output.scale)?,
            out_zero_point: output.zero_point,
        };
        self.broadcast(packer, a, b, op)
    }

    /// Operands of any shapes that broadcast; `b` may be constant.
    fn broadcast(&self, packer: &mut Packer, a: Operand<'g>, b: Operand<'g>, op: BinaryOp) -> Result<Step, PlanError> {
        let output = self.output()?;
        self.same_type(&[a, b, output])?;
        if a.tensor.data.is_some() {
            return Err(self.unsupported("two constant operands"));
        }
        let shape = &output.tensor.shape;
        let (of_a, of_b) = (self.repeated(a.tensor, shape)?, self.repeated(b.tensor, shape)?);
        if shape.iter().enumerate().any(|(d, &extent)| extent > 1 && of_a[d] == 0 && of_b[d] == 0) {
            return Err(self.unsupported("a result that neither of its operands fills"));
        }
        // Neighbours along which both operands go on are one dimension.
        let mut merged: Vec<[usize; 3]> = Vec::new();
        for (d, &extent) in shape.iter().enumerate().filter(|(_, extent)| **extent > 1) {
            match merged.last_mut() {
                Some([outer, a, b]) if *a == of_a[d] * extent && *b == of_b[d] * extent => {
                    (*outer, *a, *b) = (*outer * extent, of_a[d], of_b[d]);
                }
                _ => merged.push([extent, of_a[d], of_b[d]]),
            }
        }
        let column = |i: usize| -> Vec<usize> { merged.iter().map(|row| row[i]).collect() };
        let (b_span, b_in_weights) = match b.tensor.data.as_deref() {
            Some(data) => (packer.push(data), true),
            None => (b.span, false),
        };
        Ok(Step::Broadcast(graph::Broadcast {
            a: a.span,
            b: b_span,
            b_in_weights,
            output: output.span,
            dims: self.dims(&column(0))?,
            a_strides: self.strides(&column(1))?,
            b_strides: self.strides(&column(2))?,
            dtype: output.dtype,
            op,
        }))
    }

    /// Strides of an operand in the dimensions of the result: 0 where it repeats.
    fn repeated(&self, tensor: &Tensor, shape: &[usize]) -> Result<Vec<usize>, PlanError> {
        let front = shape.len().checked_sub(tensor.shape.len());
        let front = front.ok_or_else(|| self.unsupported("operands whose shapes do not broadcast"))?;
        let mut strides = alloc::vec![0; shape.len()];
        for (d, &extent) in tensor.shape.iter().enumerate() {
            if extent == shape[front + d] && extent > 1 {
                strides[front + d] = tensor.shape[d + 1..].iter().product();
            } else if extent != 1 {
                return Err(self.unsupported("operands whose shapes do not broadcast"));
            }
        }
        Ok(strides)
    }

    /// Where one operand is a constant of one element: the other, its place, and the constant.
    pub(super) fn by_scalar(&self) -> Result<Option<(Operand<'g>, usize, i32)>, PlanError> {
        let (a, b) = (self.either(0)?, self.either(1)?);
        let (x, at, c) = if b.tensor.data.is_some() { (a, 0, b) } else { (b, 1, a) };
        match (x.tensor.data.is_some(), c.tensor.data.as_deref()) {
            (false, Some(&[byte])) if c.dtype == DType::Int8 => Ok(Some((x, at, i32::from(byte.cast_signed())))),
            (false, Some(&[byte])) => Ok(Some((x, at, i32::from(byte)))),
            _ => Ok(None),
        }
    }

    /// An operation with a constant of one element is a function of one variable.
    pub(super) fn scalar_table(
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
}
