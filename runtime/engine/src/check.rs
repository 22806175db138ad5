//! The proof that a plan stays inside its memory and inside what kernels are defined for, made once when a model is opened.
//!
//! ```text
//! model     inputs, outputs: span inside the arena, as long as its shape, scale and zero point of its type
//! step      every number in its range; every span inside its memory, as long as the shapes say; nothing overlaps a result
//! weights   at multiples of 16; stored sums are those of the weights, padding is zero
//! order     whatever is read was written before: by an input or by an earlier step            (written.rs)
//! ```
//! The bytes may come from anywhere: no product overflows here, nothing is read outside, and the work is one pass over steps and weights.

mod moves;

use fleetfoot_format::{
    graph::{Conv, DType, Graph, Io, Pool, Span, Step, Window},
    limits::MAX_EXTENT,
};

use crate::{
    constants::{self, Flaw},
    error::{EngineError, Number, Place},
    step,
    written::{MOST, Written},
};

/// Proves every bound of `graph` over `weights`; whether all multipliers of convolutions are below 1.
pub(crate) fn graph(graph: &Graph<'_>, weights: &[u8]) -> Result<bool, EngineError> {
    if weights.len() as u64 != u64::from(graph.weights_len()) {
        return Err(EngineError::WeightsLength { need: u64::from(graph.weights_len()), have: weights.len() as u64 });
    }
    if !weights.as_ptr().addr().is_multiple_of(16) {
        return Err(EngineError::WeightsMisaligned);
    }
    let mut at = At { place: Place::Input(0), graph, written: Written::default(), below_one: true };
    for (index, io) in (0..).zip(graph.inputs()) {
        at.place = Place::Input(index);
        at.io(io)?;
        for other in &graph.inputs()[..index as usize] {
            at.disjoint("two inputs", other.span, io.span)?;
        }
        at.writes("input", io.span, len(io))?;
    }
    for (index, record) in (0..).zip(graph.steps()) {
        at.place = Place::Step(index);
        at.step(&record?.step, weights)?;
    }
    for (index, io) in (0..).zip(graph.outputs()) {
        at.place = Place::Output(index);
        at.io(io)?;
        at.reads("output", io.span, len(io))?;
    }
    Ok(at.below_one)
}

/// Bytes of an input or output of the model.
fn len(io: &Io<'_>) -> Option<u64> {
    product(io.dims.iter().copied().map(u64::from)).and_then(|n| n.checked_mul(io.dtype.size() as u64))
}

/// The place of a check, for its errors, and what was written before it.
struct At<'g> {
    place: Place,
    graph: &'g Graph<'g>,
    written: Written,
    below_one: bool,
}

impl At<'_> {
    fn io(&self, io: &Io<'_>) -> Result<(), EngineError> {
        self.real("scale", io.scale, f32::from_bits(1), f32::MAX)?;
        match io.dtype.quantized() {
            Some(dtype) => self.in_dtype("zero point", dtype, io.zero_point),
            None => self.within("zero point", io.zero_point, 0, 0),
        }
    }

    fn step(&mut self, step: &Step, weights: &[u8]) -> Result<(), EngineError> {
        match step {
            Step::Conv(c) | Step::FullyConnected(c) => self.conv(c, u64::from(c.in_c), weights),
            Step::Depthwise(c) => {
                self.multiple("output channels", u64::from(c.out_c), u64::from(c.in_c))?;
                self.conv(c, 0, weights)
            }
            Step::Add(p) => {
                self.reads("a", p.a, Some(u64::from(p.output.len)))?;
                self.reads("b", p.b, Some(u64::from(p.output.len)))?;
                self.operands(p.a, p.b, p.output)?;
                self.writes("output", p.output, Some(u64::from(p.output.len)))?;
                self.within("multiplier of a", p.a_multiplier, -(1 << 21), 1 << 21)?;
                self.within("multiplier of b", p.b_multiplier, -(1 << 21), 1 << 21)?;
                self.within("shift", p.shift, 1, 31)?;
                self.clamp(p.dtype, p.out_zero_point, p.lo, p.hi)
            }
            Step::Mul(p) => {
                let row = product([p.batch, p.channels].into_iter().map(u64::from));
                let whole = u64::from(p.output.len);
                self.multiple("output", whole, row.unwrap_or(0))?;
                self.reads("a", p.a, Some(whole))?;
                self.reads("b", p.b, if p.b.len == p.a.len { Some(whole) } else { row })?;
                self.operands(p.a, p.b, p.output)?;
                self.writes("output", p.output, Some(whole))?;
                self.multiplier(p.multiplier)?;
                self.in_dtype("zero point of a", p.dtype, p.a_zero_point)?;
                self.in_dtype("zero point of b", p.dtype, p.b_zero_point)?;
                self.clamp(p.dtype, p.out_zero_point, p.lo, p.hi)
            }
            Step::Pool(p) => self.pool(p),
            Step::Mean(p) => {
                self.within("pixels", p.pixels, 1, 1 << 23)?;
                let out = product([p.batch, p.channels].into_iter().map(u64::from));
                self.reads("input", p.input, out.and_then(|n| n.checked_mul(u64::from(p.pixels))))?;
                self.disjoint("input and output", p.input, p.output)?;
                self.writes("output", p.output, out)?;
                self.multiplier(p.multiplier)?;
                self.real("offset", p.offset, f32::MIN, f32::MAX)
            }
            Step::Pad(p) => {
                let padded = |i: usize| u64::from(p.in_dims[i]) + u64::from(p.before[i]) + u64::from(p.after[i]);
                for i in 0..4 {
                    self.within("extent", p.in_dims[i], 1, MAX_EXTENT)?;
                    self.within("padded extent", i64::try_from(padded(i)).unwrap_or(i64::MAX), 1, MAX_EXTENT)?;
                }
                self.reads("input", p.input, product(p.in_dims.into_iter().map(u64::from)))?;
                self.disjoint("input and output", p.input, p.output)?;
                self.writes("output", p.output, product((0..4).map(padded)))
            }
            Step::Lut(p) => {
                self.reads("input", p.input, Some(u64::from(p.output.len)))?;
                self.disjoint("input and output", p.input, p.output)?;
                self.writes("output", p.output, Some(u64::from(p.output.len)))?;
                self.weights("table", p.table, Some(256))
            }
            Step::Softmax(p) => {
                self.multiple("output", u64::from(p.output.len), u64::from(p.row))?;
                self.reads("input", p.input, Some(u64::from(p.output.len)))?;
                self.disjoint("input and output", p.input, p.output)?;
                self.writes("output", p.output, Some(u64::from(p.output.len)))?;
                self.weights("table", p.table, Some(1024))?;
                let params = step::softmax(p, weights).map_err(|fault| self.fault(fault))?;
                // The sum of a row is at least its largest element, which is 1, and nothing grows beyond float32.
                params.table.iter().try_for_each(|&v| self.real("entry of the table", v, 0.0, 1.0))?;
                self.real("first entry of the table", params.table[0], 1.0, 1.0)?;
                // A probability is at most 1; its quantized value stays far inside 32 bits.
                self.real("scale", p.out_scale, 1.0 / 65536.0, 1.0)?;
                self.in_dtype("zero point of the output", p.dtype, p.out_zero_point)
            }
            Step::Copy(p) => self.copy(p),
            Step::Broadcast(p) => self.broadcast(p),
            Step::Resample(p) => self.resample(p, weights),
            Step::ArgExtreme(p) => self.arg_extreme(p),
            Step::FromFloat(p) => self.float_in(p),
            Step::ToFloat(p) => self.float_out(p),
            _ => self.range("operation", false),
        }
    }

    /// `in_c` is the number of input channels that one output channel sums over; 0 for depthwise.
    fn conv(&mut self, c: &Conv, in_c: u64, weights: &[u8]) -> Result<(), EngineError> {
        let images = |h: u32, w: u32, channels: u32| product([c.batch, h, w, channels].into_iter().map(u64::from));
        self.window(&c.window)?;
        self.within("input channels", c.in_c, 1, MAX_EXTENT)?;
        self.within("output channels", c.out_c, 1, MAX_EXTENT)?;
        self.reads("input", c.input, images(c.window.in_h, c.window.in_w, c.in_c))?;
        self.disjoint("input and output", c.input, c.output)?;
        self.writes("output", c.output, images(c.window.out_h, c.window.out_w, c.out_c))?;
        let taps = u64::from(c.window.kernel_h) * u64::from(c.window.kernel_w);
        let dense = |in_c| taps.checked_mul(in_c).and_then(|k| k.checked_next_multiple_of(4));
        let k = if in_c == 0 { Some(taps) } else { dense(in_c) };
        let c16 = u64::from(c.out_c).next_multiple_of(16);
        self.weights("weights", c.weights, k.and_then(|k| k.checked_mul(c16)))?;
        self.weights("bias", c.bias, Some(c16 * 4))?;
        self.weights("sums", c.sums, Some(c16 * 4))?;
        self.weights("multipliers", c.multipliers, Some(c16 * 4))?;
        self.in_dtype("zero point of the input", c.in_dtype, c.in_zero_point)?;
        self.within("zero point of the weights", c.weight_zero_point, -128, 127)?;
        self.clamp(c.out_dtype, c.out_zero_point, c.lo, c.hi)?;
        let params = step::conv(c, weights).map_err(|fault| self.fault(fault))?;
        self.below_one &= params.below_one;
        params.multipliers[..params.out_c].iter().try_for_each(|&m| self.multiplier(m))?;
        let flawless = if in_c == 0 { constants::depthwise(&params) } else { constants::dense(&params) };
        flawless.map_err(|flaw| {
            let (channel, what, have, need) = match flaw {
                Flaw::Padding { channel, weight } => (channel, "a weight in the padding", weight, 0),
                Flaw::Sum { channel, stored, weights } => (channel, "their sum", stored, weights),
            };
            EngineError::Weights { place: self.place, channel: channel as u32, what, have, need }
        })
    }

    fn pool(&mut self, p: &Pool) -> Result<(), EngineError> {
        let images = |h: u32, w: u32| product([p.batch, h, w, p.channels].into_iter().map(u64::from));
        let w = &p.window;
        self.window(w)?;
        self.within("row dilation of a pool", w.dilation_h, 1, 1)?;
        self.within("column dilation of a pool", w.dilation_w, 1, 1)?;
        let cells = i64::from(w.kernel_h) * i64::from(w.kernel_w);
        self.within("cells of a pool", cells, 1, (1 << 23) - 1)?;
        self.reads("input", p.input, images(w.in_h, w.in_w))?;
        self.disjoint("input and output", p.input, p.output)?;
        self.writes("output", p.output, images(w.out_h, w.out_w))?;
        self.bounds(p.dtype, p.lo, p.hi)
    }

    /// Nothing is 0 or huge, and no window lies wholly before or behind the image: the first does not end before it, the
    /// last does not begin behind it. All coordinates stay below 2^30.
    fn window(&self, w: &Window) -> Result<(), EngineError> {
        let small = [
            ("input rows", w.in_h),
            ("input columns", w.in_w),
            ("output rows", w.out_h),
            ("output columns", w.out_w),
            ("kernel rows", w.kernel_h),
            ("kernel columns", w.kernel_w),
            ("row stride", w.stride_h),
            ("column stride", w.stride_w),
            ("row dilation", w.dilation_h),
            ("column dilation", w.dilation_w),
        ];
        small.into_iter().try_for_each(|(what, value)| self.within(what, value, 1, MAX_EXTENT))?;
        let reach = |kernel: u32, dilation: u32| i64::from(kernel - 1) * i64::from(dilation);
        let last = |out: u32, stride: u32, pad: u32| i64::from(out - 1) * i64::from(stride) - i64::from(pad);
        let (rows, columns) = (reach(w.kernel_h, w.dilation_h), reach(w.kernel_w, w.dilation_w));
        self.within("rows that a window spans", rows, 0, (1 << 29) - 1)?;
        self.within("columns that a window spans", columns, 0, (1 << 29) - 1)?;
        self.within("padding above", w.pad_top, 0, rows)?;
        self.within("padding on the left", w.pad_left, 0, columns)?;
        let (row, column) = (last(w.out_h, w.stride_h, w.pad_top), last(w.out_w, w.stride_w, w.pad_left));
        self.within("first row of the last window", row, -rows, i64::from(w.in_h) - 1)?;
        self.within("first column of the last window", column, -columns, i64::from(w.in_w) - 1)
    }

    /// An operand that is read: inside the arena, `need` bytes, and written before.
    fn reads(&self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        self.inside(what, span, need, self.graph.arena_len())?;
        match self.written.first_gap(span) {
            Some(gap) => {
                let Span { offset, len } = span;
                Err(EngineError::NotWritten { place: self.place, what, offset, len, gap })
            }
            None => Ok(()),
        }
    }

    /// A result: inside the arena and `need` bytes. What is read must have been told before.
    fn writes(&mut self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        self.inside(what, span, need, self.graph.arena_len())?;
        let fits = self.written.insert(span);
        if fits { Ok(()) } else { Err(EngineError::TooScattered { place: self.place, what, limit: MOST }) }
    }

    fn weights(&self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        self.inside(what, span, need, self.graph.weights_len())?;
        let aligned = span.offset.is_multiple_of(16);
        if aligned { Ok(()) } else { Err(EngineError::Misaligned { place: self.place, what, offset: span.offset }) }
    }

    fn inside(&self, what: &'static str, span: Span, need: Option<u64>, limit: u32) -> Result<(), EngineError> {
        let place = self.place;
        let Some(need) = need else { return Err(EngineError::TooLarge { place, what }) };
        let Span { offset, len } = span;
        if need == 0 || need != u64::from(len) {
            return Err(EngineError::ShapeMismatch { place, what, need, have: u64::from(len) });
        }
        if span.fits(limit) { Ok(()) } else { Err(EngineError::OutOfBounds { place, what, offset, len, limit }) }
    }

    fn operands(&self, a: Span, b: Span, output: Span) -> Result<(), EngineError> {
        self.disjoint("a and output", a, output)?;
        self.disjoint("b and output", b, output)?;
        if a == b { Ok(()) } else { self.disjoint("a and b", a, b) }
    }

    const fn disjoint(&self, what: &'static str, a: Span, b: Span) -> Result<(), EngineError> {
        if a.overlaps(b) {
            return Err(EngineError::Overlap { place: self.place, what, first: a.offset, second: b.offset });
        }
        Ok(())
    }

    fn clamp(&self, dtype: DType, zero_point: i32, lo: i32, hi: i32) -> Result<(), EngineError> {
        self.in_dtype("zero point of the output", dtype, zero_point)?;
        self.bounds(dtype, lo, hi)
    }

    fn bounds(&self, dtype: DType, lo: i32, hi: i32) -> Result<(), EngineError> {
        self.in_dtype("lower bound", dtype, lo)?;
        self.within("upper bound", hi, lo, dtype.range().1)
    }

    fn in_dtype(&self, what: &'static str, dtype: DType, value: i32) -> Result<(), EngineError> {
        let (lo, hi) = dtype.range();
        self.within(what, value, lo, hi)
    }

    /// Above 0 and below 256.
    fn multiplier(&self, m: f32) -> Result<(), EngineError> {
        self.real("multiplier", m, f32::from_bits(1), 256.0f32.next_down())
    }

    fn multiple(&self, what: &'static str, have: u64, of: u64) -> Result<(), EngineError> {
        let holds = of != 0 && have.is_multiple_of(of);
        if holds { Ok(()) } else { Err(EngineError::NotMultiple { place: self.place, what, have, of }) }
    }

    fn within(
        &self,
        what: &'static str,
        value: impl Into<i64>,
        lo: impl Into<i64>,
        hi: impl Into<i64>,
    ) -> Result<(), EngineError> {
        let (value, lo, hi) = (value.into(), lo.into(), hi.into());
        if (lo..=hi).contains(&value) {
            return Ok(());
        }
        let (have, lo, hi) = (Number::Int(value), Number::Int(lo), Number::Int(hi));
        Err(EngineError::OutOfRange { place: self.place, what, have, lo, hi })
    }

    fn real(&self, what: &'static str, value: f32, lo: f32, hi: f32) -> Result<(), EngineError> {
        if (lo..=hi).contains(&value) {
            return Ok(());
        }
        let [have, lo, hi] = [value, lo, hi].map(|v| Number::Float(v.to_bits()));
        Err(EngineError::OutOfRange { place: self.place, what, have, lo, hi })
    }

    /// For what is not one number in a range.
    const fn range(&self, what: &'static str, holds: bool) -> Result<(), EngineError> {
        if holds { Ok(()) } else { Err(EngineError::Unsound { place: self.place, what }) }
    }

    const fn fault(&self, fault: step::Fault) -> EngineError {
        let index = if let Place::Step(index) = self.place { index } else { 0 };
        fault.at(index)
    }
}

/// The product of extents, if every one is at most [`MAX_EXTENT`] and the product fits 32 bits.
fn product(dims: impl IntoIterator<Item = u64>) -> Option<u64> {
    dims.into_iter().try_fold(1u64, |all, d| {
        let all = if d <= u64::from(MAX_EXTENT) { all.checked_mul(d)? } else { return None };
        (all <= u64::from(u32::MAX)).then_some(all)
    })
}
