//! Steps that move bytes, combine tensors of different shapes, or stand at the doors of the model.

use fleetfoot_format::graph::{ArgExtreme, BinaryOp, Broadcast, Copy, Dims, Fixed, FromFloat, Resample, Span, ToFloat};
use fleetfoot_format::limits::MAX_EXTENT;

use super::{At, product};
use crate::{error::EngineError, step};

impl At<'_> {
    /// A copy that leaves gaps must fill them, or follow one that did.
    pub(super) fn copy(&mut self, p: &Copy) -> Result<(), EngineError> {
        let elements = self.extents(p.dims)?;
        self.source("input", p.input, p.in_weights)?;
        if !p.in_weights {
            self.disjoint("input and output", p.input, p.output)?;
        }
        let whole = Some(u64::from(p.output.len));
        self.inside("output", p.output, whole, self.graph.arena_len())?;
        let from_strides = p.from_strides.map(i64::from);
        self.reach("places that are read", p.dims, i64::from(p.from), from_strides, p.input)?;
        self.reach("places that are written", p.dims, i64::from(p.to), p.to_strides.map(i64::from), p.output)?;
        // Bounds the time that a copy can be made to take.
        self.range("extents", elements <= u64::from(p.output.len))?;
        p.table.map_or(Ok(()), |table| self.weights("table", table, Some(256)))?;
        match (p.fill, is_dense(p.dims, p.to_strides)) {
            (Some(_), _) => self.writes("output", p.output, whole),
            (None, true) => {
                let run = Span { offset: p.output.offset + p.to, len: elements as u32 };
                self.writes("output", run, Some(elements))
            }
            (None, false) => self.reads("output between what is copied", p.output, whole),
        }
    }

    pub(super) fn broadcast(&mut self, p: &Broadcast) -> Result<(), EngineError> {
        let elements = self.extents(p.dims)?;
        self.source("a", p.a, false)?;
        self.source("b", p.b, p.b_in_weights)?;
        if p.b_in_weights {
            self.disjoint("a and output", p.a, p.output)?;
        } else {
            self.operands(p.a, p.b, p.output)?;
        }
        self.writes("output", p.output, Some(elements))?;
        self.reach("places of a", p.dims, 0, p.a_strides.map(i64::from), p.a)?;
        self.reach("places of b", p.dims, 0, p.b_strides.map(i64::from), p.b)?;
        match p.op {
            BinaryOp::Add { a_multiplier, b_multiplier, shift, out_zero_point, lo, hi, .. } => {
                self.within("multiplier of a", a_multiplier, -(1 << 21), 1 << 21)?;
                self.within("multiplier of b", b_multiplier, -(1 << 21), 1 << 21)?;
                self.within("shift", shift, 1, 31)?;
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
                for Fixed { multiplier, exponent } in [positive, negative] {
                    self.within("multiplier of a factor", multiplier, 0, i32::MAX)?;
                    self.within("exponent of a factor", exponent, -31, 14)?;
                }
                self.in_dtype("zero point of a", p.dtype, a_zero_point)?;
                self.in_dtype("zero point of b", p.dtype, b_zero_point)?;
                self.in_dtype("zero point of the output", p.dtype, out_zero_point)
            }
            _ => self.range("operation", false),
        }
    }

    pub(super) fn resample(&mut self, p: &Resample, weights: &[u8]) -> Result<(), EngineError> {
        let images = |h: u32, w: u32| product([p.batch, h, w, p.channels].into_iter().map(u64::from));
        self.reads("input", p.input, images(p.in_h, p.in_w))?;
        self.disjoint("input and output", p.input, p.output)?;
        self.writes("output", p.output, images(p.out_h, p.out_w))?;
        self.weights("rows", p.rows, Some(8 * u64::from(p.out_h)))?;
        self.weights("columns", p.columns, Some(8 * u64::from(p.out_w)))?;
        let params = step::resample(p, weights).map_err(|fault| self.fault(fault))?;
        let inside = |cells: &[[u32; 2]], extent: u32| cells.iter().all(|&[at, weight]| at < extent && weight <= 2048);
        self.range("rows", inside(params.rows, p.in_h))?;
        self.range("columns", inside(params.columns, p.in_w))
    }

    pub(super) fn arg_extreme(&mut self, p: &ArgExtreme) -> Result<(), EngineError> {
        let out = product([p.outer, p.inner].into_iter().map(u64::from));
        self.reads("input", p.input, out.and_then(|out| product([out, u64::from(p.n)])))?;
        self.disjoint("input and output", p.input, p.output)?;
        self.writes("output", p.output, out.and_then(|out| out.checked_mul(if p.wide { 8 } else { 4 })))
    }

    pub(super) fn float_in(&mut self, p: &FromFloat) -> Result<(), EngineError> {
        self.reads("input", p.input, Some(4 * u64::from(p.output.len)))?;
        self.disjoint("input and output", p.input, p.output)?;
        self.writes("output", p.output, Some(u64::from(p.output.len)))?;
        self.real("scale", p.inverse, f32::from_bits(1), f32::MAX)?;
        self.in_dtype("zero point of the output", p.dtype, p.zero_point)
    }

    pub(super) fn float_out(&mut self, p: &ToFloat) -> Result<(), EngineError> {
        self.reads("input", p.input, Some(u64::from(p.input.len)))?;
        self.disjoint("input and output", p.input, p.output)?;
        self.writes("output", p.output, Some(4 * u64::from(p.input.len)))?;
        self.real("scale", p.scale, f32::from_bits(1), f32::MAX)?;
        self.in_dtype("zero point of the input", p.dtype, p.zero_point)
    }

    /// Extents of 1 to [`MAX_EXTENT`]: how many elements they hold.
    fn extents(&self, dims: Dims) -> Result<u64, EngineError> {
        dims.iter().try_for_each(|&d| self.within("extent", d, 1, MAX_EXTENT))?;
        product(dims.map(u64::from)).ok_or(EngineError::TooLarge { place: self.place, what: "elements" })
    }

    /// What is read, of any length but 0, in the arena or in the weights.
    fn source(&self, what: &'static str, span: Span, in_weights: bool) -> Result<(), EngineError> {
        let len = Some(u64::from(span.len));
        if in_weights { self.weights(what, span, len) } else { self.reads(what, span, len) }
    }

    /// The lowest and the highest place lie inside `span`. Each term is below 2^55 and there are six, so nothing wraps.
    fn reach(
        &self,
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

/// Whether the places are one run of bytes without gaps, each met once, in whatever order.
fn is_dense(dims: Dims, strides: Dims) -> bool {
    let (mut run, mut left) = (1u64, dims.iter().filter(|&&d| d > 1).count());
    // Each time the dimension whose steps are as long as the run so far.
    while left > 0 {
        let next = dims.iter().zip(strides).find(|&(&d, stride)| d > 1 && u64::from(stride) == run);
        let Some((&extent, _)) = next else { return false };
        run = run.saturating_mul(u64::from(extent));
        left -= 1;
    }
    true
}
