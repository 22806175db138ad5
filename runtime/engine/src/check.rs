//! The proof that a plan stays inside its memory, made once when a model is opened.

mod moves;

use fleetfoot_format::{
    graph::{Conv, DType, Graph, Io, Pool, Span, Step, Window},
    limits::MAX_EXTENT,
};

use crate::{error::EngineError, step};

/// Proves every bound of `graph` over `weights`.
pub(crate) fn graph(graph: &Graph<'_>, weights: &[u8]) -> Result<(), EngineError> {
    if weights.len() as u64 != u64::from(graph.weights_len()) {
        return Err(EngineError::WeightsLength { need: u64::from(graph.weights_len()), have: weights.len() as u64 });
    }
    if !weights.as_ptr().addr().is_multiple_of(16) {
        return Err(EngineError::WeightsMisaligned);
    }
    let last = graph.n_steps();
    for io in graph.inputs().iter().chain(graph.outputs()) {
        At { step: last, graph }.io(io)?;
    }
    for (index, record) in (0..).zip(graph.steps()) {
        At { step: index, graph }.step(&record?.step, weights)?;
    }
    Ok(())
}

/// The place of a check, for its errors.
#[derive(Clone, Copy)]
struct At<'g> {
    step: u32,
    graph: &'g Graph<'g>,
}

impl At<'_> {
    fn io(self, io: &Io<'_>) -> Result<(), EngineError> {
        let dims = io.dims.iter().copied().map(u64::from);
        let size = io.dtype.size() as u64;
        self.tensor("model input or output", io.span, product(dims).and_then(|n| n.checked_mul(size)))?;
        self.range("scale of an input or output", io.scale.is_finite() && io.scale > 0.0)?;
        match io.dtype.quantized() {
            Some(dtype) => self.in_dtype("zero point of an input or output", dtype, io.zero_point),
            None => self.range("zero point of an input or output", io.zero_point == 0),
        }
    }

    fn step(self, step: &Step, weights: &[u8]) -> Result<(), EngineError> {
        match step {
            Step::Conv(c) => self.conv(c, u64::from(c.in_c), weights),
            Step::FullyConnected(c) => self.conv(c, u64::from(c.in_c), weights),
            Step::Depthwise(c) => {
                self.range("depth multiplier", c.in_c != 0 && c.out_c.is_multiple_of(c.in_c))?;
                self.conv(c, 0, weights)
            }
            Step::Add(p) => {
                self.tensor("a", p.a, Some(u64::from(p.output.len)))?;
                self.tensor("b", p.b, Some(u64::from(p.output.len)))?;
                self.tensor("output", p.output, Some(u64::from(p.output.len)))?;
                self.operands(p.a, p.b, p.output)?;
                self.range("shift", (1..32).contains(&p.shift))?;
                self.clamp(p.dtype, p.out_zero_point, p.lo, p.hi)
            }
            Step::Mul(p) => {
                let row = product([p.batch, p.channels].into_iter().map(u64::from));
                let whole = u64::from(p.output.len);
                self.range("channels", row.is_some_and(|row| row != 0 && whole.is_multiple_of(row)))?;
                self.tensor("a", p.a, Some(whole))?;
                self.tensor("b", p.b, if p.b.len == p.a.len { Some(whole) } else { row })?;
                self.tensor("output", p.output, Some(whole))?;
                self.operands(p.a, p.b, p.output)?;
                self.multiplier(p.multiplier)?;
                self.in_dtype("zero point of a", p.dtype, p.a_zero_point)?;
                self.in_dtype("zero point of b", p.dtype, p.b_zero_point)?;
                self.clamp(p.dtype, p.out_zero_point, p.lo, p.hi)
            }
            Step::Pool(p) => self.pool(p),
            Step::Mean(p) => {
                self.range("pixels", (1..=1 << 23).contains(&p.pixels))?;
                let out = product([p.batch, p.channels].into_iter().map(u64::from));
                self.tensor("input", p.input, out.and_then(|n| n.checked_mul(u64::from(p.pixels))))?;
                self.tensor("output", p.output, out)?;
                self.disjoint(p.input, p.output)?;
                self.multiplier(p.multiplier)?;
                self.range("offset", p.offset.is_finite())
            }
            Step::Pad(p) => {
                let padded = |i: usize| u64::from(p.in_dims[i]) + u64::from(p.before[i]) + u64::from(p.after[i]);
                self.range("extents", (0..4).all(|i| p.in_dims[i] != 0 && padded(i) <= u64::from(MAX_EXTENT)))?;
                self.tensor("input", p.input, product(p.in_dims.into_iter().map(u64::from)))?;
                self.tensor("output", p.output, product((0..4).map(padded)))?;
                self.disjoint(p.input, p.output)
            }
            Step::Lut(p) => {
                self.tensor("input", p.input, Some(u64::from(p.output.len)))?;
                self.tensor("output", p.output, Some(u64::from(p.output.len)))?;
                self.disjoint(p.input, p.output)?;
                self.weights("table", p.table, Some(256))
            }
            Step::Softmax(p) => {
                self.range("row", p.row != 0 && p.output.len.is_multiple_of(p.row))?;
                self.tensor("input", p.input, Some(u64::from(p.output.len)))?;
                self.tensor("output", p.output, Some(u64::from(p.output.len)))?;
                self.disjoint(p.input, p.output)?;
                self.weights("table", p.table, Some(1024))?;
                let params = step::softmax(p, weights).map_err(|fault| fault.at(self.step))?;
                let positive = |v: &f32| v.is_finite() && *v >= 0.0;
                self.range("table", params.table.iter().all(positive) && params.table.first() == Some(&1.0))?;
                // A probability is at most 1; its quantized value stays far inside 32 bits.
                self.range("scale", (1.0 / 65536.0..=1.0).contains(&p.out_scale))?;
                self.in_dtype("zero point of the output", p.dtype, p.out_zero_point)
            }
            Step::Copy(p) => self.copy(p),
            Step::Broadcast(p) => self.broadcast(p),
            Step::Resample(p) => self.resample(p, weights),
            Step::ArgExtreme(p) => self.arg_extreme(p),
            Step::FromFloat(p) => self.float_in(p),
            Step::ToFloat(p) => self.float_out(p),
            _ => Err(EngineError::OutOfRange { step: self.step, what: "operation" }),
        }
    }

    /// `in_c` is the number of input channels that one output channel sums over; 0 for depthwise.
    fn conv(self, c: &Conv, in_c: u64, weights: &[u8]) -> Result<(), EngineError> {
        let images = |h: u32, w: u32, channels: u32| product([c.batch, h, w, channels].into_iter().map(u64::from));
        self.window(&c.window)?;
        self.tensor("input", c.input, images(c.window.in_h, c.window.in_w, c.in_c))?;
        self.tensor("output", c.output, images(c.window.out_h, c.window.out_w, c.out_c))?;
        self.disjoint(c.input, c.output)?;
        self.range("channels", (1..=MAX_EXTENT).contains(&c.in_c) && (1..=MAX_EXTENT).contains(&c.out_c))?;
        let taps = u64::from(c.window.kernel_h) * u64::from(c.window.kernel_w);
        let dense = |in_c| taps.checked_mul(in_c).and_then(|k| k.checked_next_multiple_of(4));
        let k = if in_c == 0 { Some(taps) } else { dense(in_c) };
        let c16 = u64::from(c.out_c).next_multiple_of(16);
        self.weights("weights", c.weights, k.and_then(|k| k.checked_mul(c16)))?;
        self.weights("bias", c.bias, Some(c16 * 4))?;
        self.weights("sums", c.sums, Some(c16 * 4))?;
        self.weights("multipliers", c.multipliers, Some(c16 * 4))?;
        self.in_dtype("zero point of the input", c.in_dtype, c.in_zero_point)?;
        self.range("zero point of the weights", (-128..=127).contains(&c.weight_zero_point))?;
        self.clamp(c.out_dtype, c.out_zero_point, c.lo, c.hi)?;
        let params = step::conv(c, weights).map_err(|fault| fault.at(self.step))?;
        params.multipliers[..params.out_c].iter().try_for_each(|&m| self.multiplier(m))
    }

    fn pool(self, p: &Pool) -> Result<(), EngineError> {
        let images = |h: u32, w: u32| product([p.batch, h, w, p.channels].into_iter().map(u64::from));
        let w = &p.window;
        self.window(w)?;
        self.tensor("input", p.input, images(w.in_h, w.in_w))?;
        self.tensor("output", p.output, images(w.out_h, w.out_w))?;
        self.disjoint(p.input, p.output)?;
        self.range("dilation of a pool", w.dilation_h == 1 && w.dilation_w == 1)?;
        // Every window holds a cell of the image: the first does not end before it, the last does not begin behind it.
        let meets = |out: u32, stride: u32, pad: u32, kernel: u32, input: u32| {
            pad < kernel && u64::from(out - 1) * u64::from(stride) < u64::from(input) + u64::from(pad)
        };
        self.range(
            "window of a pool",
            meets(w.out_h, w.stride_h, w.pad_top, w.kernel_h, w.in_h)
                && meets(w.out_w, w.stride_w, w.pad_left, w.kernel_w, w.in_w),
        )?;
        self.range("cells of a pool", u64::from(w.kernel_h) * u64::from(w.kernel_w) < 1 << 23)?;
        self.clamp(p.dtype, p.lo, p.lo, p.hi)
    }

    fn window(self, w: &Window) -> Result<(), EngineError> {
        let extents = [w.in_h, w.in_w, w.out_h, w.out_w, w.kernel_h, w.kernel_w];
        let steps = [w.stride_h, w.stride_w, w.dilation_h, w.dilation_w];
        let small = |&v: &u32| (1..=MAX_EXTENT).contains(&v);
        self.range("extent of a window", extents.iter().chain(&steps).all(small))?;
        // The last cell that a window touches, and the padding, must be addressable with 31 bits.
        let reach = |out: u32, stride: u32, kernel: u32, dilation: u32| {
            u64::from(out - 1) * u64::from(stride) + u64::from(kernel - 1) * u64::from(dilation)
        };
        let rows = reach(w.out_h, w.stride_h, w.kernel_h, w.dilation_h);
        let columns = reach(w.out_w, w.stride_w, w.kernel_w, w.dilation_w);
        self.range("reach of a window", rows < 1 << 30 && columns < 1 << 30)?;
        self.range("padding of a window", w.pad_top <= MAX_EXTENT && w.pad_left <= MAX_EXTENT)
    }

    fn tensor(self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        self.len(what, span, need)?;
        if span.fits(self.graph.arena_len()) { Ok(()) } else { Err(EngineError::OutOfBounds { step: self.step, what }) }
    }

    fn weights(self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        self.len(what, span, need)?;
        if span.fits(self.graph.weights_len()) && span.offset.is_multiple_of(16) {
            Ok(())
        } else {
            Err(EngineError::OutOfBounds { step: self.step, what })
        }
    }

    fn len(self, what: &'static str, span: Span, need: Option<u64>) -> Result<(), EngineError> {
        let Some(need) = need else { return Err(EngineError::OutOfRange { step: self.step, what }) };
        if need == 0 || need != u64::from(span.len) {
            return Err(EngineError::ShapeMismatch { step: self.step, what, need, have: u64::from(span.len) });
        }
        Ok(())
    }

    fn operands(self, a: Span, b: Span, output: Span) -> Result<(), EngineError> {
        self.disjoint(a, output)?;
        self.disjoint(b, output)?;
        if a == b { Ok(()) } else { self.disjoint(a, b) }
    }

    const fn disjoint(self, a: Span, b: Span) -> Result<(), EngineError> {
        if a.overlaps(b) { Err(EngineError::Overlap { step: self.step, what: "operands" }) } else { Ok(()) }
    }

    fn clamp(self, dtype: DType, zero_point: i32, lo: i32, hi: i32) -> Result<(), EngineError> {
        self.in_dtype("zero point of the output", dtype, zero_point)?;
        self.in_dtype("lower bound", dtype, lo)?;
        self.in_dtype("upper bound", dtype, hi)?;
        self.range("bounds", lo <= hi)
    }

    fn in_dtype(self, what: &'static str, dtype: DType, value: i32) -> Result<(), EngineError> {
        let (lo, hi) = dtype.range();
        self.range(what, (lo..=hi).contains(&value))
    }

    fn multiplier(self, m: f32) -> Result<(), EngineError> {
        self.range("multiplier", m > 0.0 && m < 256.0)
    }

    const fn range(self, what: &'static str, holds: bool) -> Result<(), EngineError> {
        if holds { Ok(()) } else { Err(EngineError::OutOfRange { step: self.step, what }) }
    }
}

/// The product of extents, if every one is at most [`MAX_EXTENT`] and the product fits 32 bits.
fn product(dims: impl IntoIterator<Item = u64>) -> Option<u64> {
    dims.into_iter().try_fold(1u64, |all, d| {
        let all = if d <= u64::from(MAX_EXTENT) { all.checked_mul(d)? } else { return None };
        (all <= u64::from(u32::MAX)).then_some(all)
    })
}
