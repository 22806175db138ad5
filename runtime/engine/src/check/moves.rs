//! Steps that move bytes, combine tensors of different shapes, or stand at the doors of the model.

use fleetfoot_format::graph::{ArgExtreme, BinaryOp, Broadcast, Copy, Dims, Fixed, FromFloat, Resample, Span, ToFloat};
use fleetfoot_format::limits::MAX_EXTENT;

use super::{At, product};
use crate::{error::EngineError, step};

impl At<'_> {
    pub(super) fn copy(self, p: &Copy) -> Result<(), EngineError> {
        let elements = self.extents(p.dims)?;
        self.place("input", p.input, p.in_weights)?;
        self.tensor("output", p.output, Some(u64::from(p.output.len)))?;
        if !p.in_weights {
            self.disjoint(p.input, p.output)?;
        }
        let from_strides = p.from_strides.map(i64::from);
        self.reach("places that are read", p.dims, i64::from(p.from), from_strides, p.input)?;
        self.reach("places that are written", p.dims, i64::from(p.to), p.to_strides.map(i64::from), p.output)?;
        // Bounds the time that a copy can be made to take.
        self.range("extents", elements <= u64::from(p.output.len))?;
        p.table.map_or(Ok(()), |table| self.weights("table", table, Some(256)))
    }

    pub(super) fn broadcast(self, p: &Broadcast) -> Result<(), EngineError> {
        let elements = self.extents(p.dims)?;
        self.tensor("output", p.output, Some(elements))?;
        self.place("a", p.a, false)?;
        self.place("b", p.b, p.b_in_weights)?;
        if p.b_in_weights {
            self.disjoint(p.a, p.output)?;
        } else {
            self.operands(p.a, p.b, p.output)?;
        }
        self.reach("places of a", p.dims, 0, p.a_strides.map(i64::from), p.a)?;
        self.reach("places of b", p.dims, 0, p.b_strides.map(i64::from), p.b)?;
        match p.op {
            BinaryOp::Add { shift, out_zero_point, lo, hi, .. } => {
                self.range("shift", (1..32).contains(&shift))?;
                self.clamp(p.dtype, out_zero_point, lo, hi)
            }
            BinaryOp::Mul { a_zero_point, b_zero_point, multiplier, out_zero_point, lo, hi } => {
                self.multiplier(multiplier)?;
                self.in_dtype("zero point of a", p.dtype, a_zero_point)?;
                self.in_dtype("zero point of b", p.dtype, b_zero_point)?;
                self.clamp(p.dtype, out_zero_point, lo, hi)
            }
            BinaryOp::Maximum | BinaryOp::Minimum => Ok(()),
            BinaryOp::Prelu { a_zero_point, b_zero_point, positive, negative, out_zero_point } => {
                let valid = |f: Fixed| f.multiplier >= 0 && (-31..=14).contains(&f.exponent);
                self.range("factor", valid(positive) && valid(negative))?;
                self.in_dtype("zero point of a", p.dtype, a_zero_point)?;
                self.in_dtype("zero point of b", p.dtype, b_zero_point)?;
                self.in_dtype("zero point of the output", p.dtype, out_zero_point)
            }
            _ => self.range("operation", false),
        }
    }

    pub(super) fn resample(self, p: &Resample, weights: &[u8]) -> Result<(), EngineError> {
        let images = |h: u32, w: u32| product([p.batch, h, w, p.channels].into_iter().map(u64::from));
        self.tensor("input", p.input, images(p.in_h, p.in_w))?;
        self.tensor("output", p.output, images(p.out_h, p.out_w))?;
        self.disjoint(p.input, p.output)?;
        self.weights("rows", p.rows, Some(8 * u64::from(p.out_h)))?;
        self.weights("columns", p.columns, Some(8 * u64::from(p.out_w)))?;
        let params = step::resample(p, weights).map_err(|fault| fault.at(self.step))?;
        let inside = |cells: &[[u32; 2]], extent: u32| cells.iter().all(|&[at, weight]| at < extent && weight <= 2048);
        self.range("rows", inside(params.rows, p.in_h))?;
        self.range("columns", inside(params.columns, p.in_w))
    }

    pub(super) fn arg_extreme(self, p: &ArgExtreme) -> Result<(), EngineError> {
        let out = product([p.outer, p.inner].into_iter().map(u64::from));
        self.tensor("input", p.input, out.and_then(|out| product([out, u64::from(p.n)])))?;
        self.tensor("output", p.output, out.and_then(|out| out.checked_mul(if p.wide { 8 } else { 4 })))?;
        self.disjoint(p.input, p.output)
    }

    pub(super) fn float_in(self, p: &FromFloat) -> Result<(), EngineError> {
        self.tensor("output", p.output, Some(u64::from(p.output.len)))?;
        self.tensor("input", p.input, Some(4 * u64::from(p.output.len)))?;
        self.disjoint(p.input, p.output)?;
        self.range("scale", p.inverse.is_finite() && p.inverse > 0.0)?;
        self.in_dtype("zero point of the output", p.dtype, p.zero_point)
    }

    pub(super) fn float_out(self, p: &ToFloat) -> Result<(), EngineError> {
        self.tensor("input", p.input, Some(u64::from(p.input.len)))?;
        self.tensor("output", p.output, Some(4 * u64::from(p.input.len)))?;
        self.disjoint(p.input, p.output)?;
        self.range("scale", p.scale.is_finite() && p.scale > 0.0)?;
        self.in_dtype("zero point of the input", p.dtype, p.zero_point)
    }

    /// Extents of 1 to [`MAX_EXTENT`]: how many elements they hold.
    fn extents(self, dims: Dims) -> Result<u64, EngineError> {
        self.range("extents", dims.iter().all(|d| (1..=MAX_EXTENT).contains(d)))?;
        product(dims.map(u64::from)).ok_or(EngineError::OutOfRange { step: self.step, what: "extents" })
    }

    /// A span of any length but 0, in the arena or in the weights.
    fn place(self, what: &'static str, span: Span, in_weights: bool) -> Result<(), EngineError> {
        let len = Some(u64::from(span.len));
        if in_weights { self.weights(what, span, len) } else { self.tensor(what, span, len) }
    }

    /// The lowest and the highest place lie inside `span`. Each term is below 2^55 and there are six, so nothing wraps.
    fn reach(
        self,
        what: &'static str,
        dims: Dims,
        first: i64,
        strides: Dims<i64>,
        span: Span,
    ) -> Result<(), EngineError> {
        let (mut lowest, mut highest) = (first, first);
        for (extent, stride) in dims.into_iter().zip(strides) {
            let last = i64::from(extent - 1) * stride;
            lowest += last.min(0);
            highest += last.max(0);
        }
        self.range(what, lowest >= 0 && highest < i64::from(span.len))
    }
}
