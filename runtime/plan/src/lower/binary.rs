//! Element-wise operators of two operands.

use fleetfoot_format::graph::{self, DType, Step};

use super::{Lower, Operand, window::bounds_xnnpack};
use crate::{error::PlanError, graph::Activation, pack::Packer, tables};

impl<'g> Lower<'g> {
    pub(super) fn add(&self, packer: &mut Packer, activation: Activation, sign: i32) -> Result<Step, PlanError> {
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
