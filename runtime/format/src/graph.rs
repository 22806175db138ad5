//! The section *graph*: a plan that an engine without a heap can execute from its bytes.
//!
//! ```text
//! postcard(Head { inputs, outputs, arena_len, weights_len, n_steps })   then   n_steps x postcard(Record { name, step })
//! ```
//! Tensors lie in one arena at offsets that were chosen when the plan was made; weights, biases, multipliers and tables
//! lie in the section *weights* at offsets that are multiples of 16. Every activation is a tensor of bytes in the order
//! `[n, h, w, c]` (NHWC), int8 or uint8 as the step says; arithmetic is that of `docs/numerics.md`.
//!
//! # Layout of weights (`n16k4`)
//! Convolution and fully connected: `[ceil(n/16)][ceil(k/4)][16][4]` int8, where `n` is the output channel and `k` runs over
//! `(kernel row, kernel column, input channel)`; the rest of the last blocks is zero. Depthwise: `[kernel row][kernel
//! column][c16]` int8 with `c16` the number of output channels rounded up to 16. `bias` is `[c16]` int32 and `multipliers`
//! `[c16]` float32, zero beyond the channels. uint8 weights are stored as `w - 128`, their zero point likewise.

mod moves;

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    error::FormatError,
    limits::{MAX_ARENA_LEN, MAX_DIMS, MAX_IO, MAX_STEPS},
};

pub use self::moves::{ArgExtreme, BinaryOp, Broadcast, Copy, Dims, Fixed, FromFloat, IoType, Resample, ToFloat};

/// Element type of a quantized tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DType {
    /// Signed 8 bits.
    Int8,
    /// Unsigned 8 bits.
    UInt8,
}

impl DType {
    /// Smallest and largest value.
    #[must_use]
    pub const fn range(self) -> (i32, i32) {
        match self {
            Self::Int8 => (-128, 127),
            Self::UInt8 => (0, 255),
        }
    }

    /// Its name as numpy writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
        }
    }
}

/// A run of bytes in the arena or in the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub offset: u32,
    /// Number of bytes.
    pub len: u32,
}

impl Span {
    /// As a range of `usize`.
    #[must_use]
    pub const fn range(self) -> core::ops::Range<usize> {
        self.offset as usize..self.offset as usize + self.len as usize
    }

    /// Whether it lies inside `len` bytes.
    #[must_use]
    pub const fn fits(self, len: u32) -> bool {
        match self.offset.checked_add(self.len) {
            Some(end) => end <= len,
            None => false,
        }
    }

    /// Whether the two share a byte.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.len != 0
            && other.len != 0
            && (self.offset as u64) < other.offset as u64 + other.len as u64
            && (other.offset as u64) < self.offset as u64 + self.len as u64
    }
}

/// An input or output of the model: `real = (q - zero_point) * scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Io<'a> {
    /// Name in the source model.
    pub name: &'a str,
    /// Element type.
    pub dtype: IoType,
    /// Extents, outermost first.
    pub dims: Vec<u32, MAX_DIMS>,
    /// Real value of one step of the quantized value.
    pub scale: f32,
    /// Quantized value of real 0.
    pub zero_point: i32,
    /// Where it lies in the arena.
    pub span: Span,
}

/// The window of a convolution or a pool over an image, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Input rows.
    pub in_h: u32,
    /// Input columns.
    pub in_w: u32,
    /// Output rows.
    pub out_h: u32,
    /// Output columns.
    pub out_w: u32,
    /// Kernel rows.
    pub kernel_h: u32,
    /// Kernel columns.
    pub kernel_w: u32,
    /// Row stride.
    pub stride_h: u32,
    /// Column stride.
    pub stride_w: u32,
    /// Row dilation.
    pub dilation_h: u32,
    /// Column dilation.
    pub dilation_w: u32,
    /// Rows of padding above.
    pub pad_top: u32,
    /// Columns of padding on the left.
    pub pad_left: u32,
}

/// Convolution, depthwise convolution or fully connected layer (`1 x 1` over a `batch x 1 x 1` image).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conv {
    /// Images.
    pub batch: u32,
    /// Geometry of one image.
    pub window: Window,
    /// Input channels.
    pub in_c: u32,
    /// Output channels.
    pub out_c: u32,
    /// Element type of the input.
    pub in_dtype: DType,
    /// Element type of the output.
    pub out_dtype: DType,
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// Weights, see the module.
    pub weights: Span,
    /// `[c16]` int32.
    pub bias: Span,
    /// `[c16]` int32: the sum of the stored weights of each channel.
    pub sums: Span,
    /// `[c16]` float32, `f32(f32(s_in * s_w) / s_out)`.
    pub multipliers: Span,
    /// Zero point of the input.
    pub in_zero_point: i32,
    /// Zero point of the stored weights; 0 for int8 sources.
    pub weight_zero_point: i32,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value (fused activation).
    pub lo: i32,
    /// Highest output value (fused activation).
    pub hi: i32,
}

/// `(acc >> shift) + out_zero_point`, clamped, with `acc = bias + a_multiplier * a + b_multiplier * b`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Add {
    /// First operand.
    pub a: Span,
    /// Second operand, of the same shape.
    pub b: Span,
    /// Result.
    pub output: Span,
    /// Element type of all three.
    pub dtype: DType,
    /// Multiplier of `a`.
    pub a_multiplier: i32,
    /// Multiplier of `b`, negated for a subtraction.
    pub b_multiplier: i32,
    /// Rounding term and zero points.
    pub bias: i32,
    /// Right shift, arithmetic.
    pub shift: u32,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// Product of two tensors; `b` may be one row of channels that repeats over the image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mul {
    /// First operand, `[batch, pixels, channels]`.
    pub a: Span,
    /// Second operand: the same shape, or `[batch, 1, channels]`.
    pub b: Span,
    /// Result, the shape of `a`.
    pub output: Span,
    /// Images.
    pub batch: u32,
    /// Channels.
    pub channels: u32,
    /// Element type of all three.
    pub dtype: DType,
    /// Zero point of `a`.
    pub a_zero_point: i32,
    /// Zero point of `b`.
    pub b_zero_point: i32,
    /// `f32(f32(s_a * s_b) / s_out)`.
    pub multiplier: f32,
    /// Zero point of the output.
    pub out_zero_point: i32,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// Which pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum PoolKind {
    /// Average over the cells inside the image, half away from zero.
    Average,
    /// Maximum over the cells inside the image.
    Max,
}

/// Average or maximum pool.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// Which.
    pub kind: PoolKind,
    /// Images.
    pub batch: u32,
    /// Geometry.
    pub window: Window,
    /// Channels.
    pub channels: u32,
    /// Element type.
    pub dtype: DType,
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// Lowest output value.
    pub lo: i32,
    /// Highest output value.
    pub hi: i32,
}

/// Mean over the pixels of each image: `rne(f32(sum) * multiplier + offset)`, two roundings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mean {
    /// Images.
    pub batch: u32,
    /// Pixels of one image.
    pub pixels: u32,
    /// Channels.
    pub channels: u32,
    /// Element type of both.
    pub dtype: DType,
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// `f32(f32(s_in / s_out) * f32(1 / n))`.
    pub multiplier: f32,
    /// `f32(z_out) - f32(n * z_in) * multiplier`.
    pub offset: f32,
}

/// Fills a border with `value`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pad {
    /// Extents of the input.
    pub in_dims: [u32; 4],
    /// Cells before each dimension.
    pub before: [u32; 4],
    /// Cells after each dimension.
    pub after: [u32; 4],
    /// Byte that fills.
    pub value: u8,
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
}

/// `output[i] = table[input[i]]`, the byte taken as unsigned; 256 bytes in the weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lut {
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// The table.
    pub table: Span,
}

/// Softmax over rows: `table` holds `exp(-scale * beta * d)` for `d = max - q`, 256 float32.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Softmax {
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// The table.
    pub table: Span,
    /// Elements of a row.
    pub row: u32,
    /// Element type of both.
    pub dtype: DType,
    /// Scale of the output.
    pub out_scale: f32,
    /// Zero point of the output.
    pub out_zero_point: i32,
}

/// One step of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Step {
    /// Convolution.
    Conv(Conv),
    /// Depthwise convolution.
    Depthwise(Conv),
    /// Fully connected: a convolution whose window is 1.
    FullyConnected(Conv),
    /// Sum or difference.
    Add(Add),
    /// Product.
    Mul(Mul),
    /// Pool.
    Pool(Pool),
    /// Mean over pixels.
    Mean(Mean),
    /// Border.
    Pad(Pad),
    /// Table of 256.
    Lut(Lut),
    /// Softmax.
    Softmax(Softmax),
    /// Strided copy.
    Copy(Copy),
    /// Element-wise operation with broadcasting.
    Broadcast(Broadcast),
    /// Resizing, gathering.
    Resample(Resample),
    /// Index of the largest or smallest.
    ArgExtreme(ArgExtreme),
    /// Quantization of a float input.
    FromFloat(FromFloat),
    /// Float output.
    ToFloat(ToFloat),
}

impl Step {
    /// The name of the operation, as `bench --per-op` prints it.
    #[must_use]
    pub const fn op(&self) -> &'static str {
        match self {
            Self::Conv(_) => "conv",
            Self::Depthwise(_) => "depthwise",
            Self::FullyConnected(_) => "fully_connected",
            Self::Add(_) => "add",
            Self::Mul(_) => "mul",
            Self::Pool(Pool { kind: PoolKind::Average, .. }) => "average_pool",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Self::Mean(_) => "mean",
            Self::Pad(_) => "pad",
            Self::Lut(_) => "lut",
            Self::Softmax(_) => "softmax",
            Self::Copy(_) => "copy",
            Self::Broadcast(Broadcast { op: BinaryOp::Add { .. }, .. }) => "add",
            Self::Broadcast(Broadcast { op: BinaryOp::Mul { .. }, .. }) => "mul",
            Self::Broadcast(Broadcast { op: BinaryOp::Maximum, .. }) => "maximum",
            Self::Broadcast(Broadcast { op: BinaryOp::Minimum, .. }) => "minimum",
            Self::Broadcast(Broadcast { op: BinaryOp::Prelu { .. }, .. }) => "prelu",
            Self::Resample(_) => "resample",
            Self::ArgExtreme(_) => "arg_extreme",
            Self::FromFloat(_) => "from_float",
            Self::ToFloat(_) => "to_float",
        }
    }

    /// Multiply-accumulates of one execution.
    #[must_use]
    pub fn macs(&self) -> u64 {
        let outputs =
            |c: &Conv| u64::from(c.batch) * u64::from(c.window.out_h) * u64::from(c.window.out_w) * u64::from(c.out_c);
        let taps = |c: &Conv| u64::from(c.window.kernel_h) * u64::from(c.window.kernel_w);
        match self {
            Self::Conv(c) | Self::FullyConnected(c) => outputs(c) * taps(c) * u64::from(c.in_c),
            Self::Depthwise(c) => outputs(c) * taps(c),
            _ => 0,
        }
    }

    /// Bytes that one execution reads and writes: operands, constants and result, each once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let sum = |spans: &[Span]| spans.iter().map(|span| u64::from(span.len)).sum();
        match self {
            Self::Conv(c) | Self::FullyConnected(c) | Self::Depthwise(c) => {
                sum(&[c.input, c.weights, c.bias, c.sums, c.multipliers, c.output])
            }
            Self::Add(s) => sum(&[s.a, s.b, s.output]),
            Self::Mul(s) => sum(&[s.a, s.b, s.output]),
            Self::Pool(s) => sum(&[s.input, s.output]),
            Self::Mean(s) => sum(&[s.input, s.output]),
            Self::Pad(s) => sum(&[s.input, s.output]),
            Self::Lut(s) => sum(&[s.input, s.table, s.output]),
            Self::Softmax(s) => sum(&[s.input, s.table, s.output]),
            Self::Copy(s) => 2 * s.dims.iter().map(|&d| u64::from(d)).product::<u64>(),
            Self::Broadcast(s) => sum(&[s.a, s.b, s.output]),
            Self::Resample(s) => sum(&[s.input, s.rows, s.columns, s.output]),
            Self::ArgExtreme(s) => sum(&[s.input, s.output]),
            Self::FromFloat(s) => sum(&[s.input, s.output]),
            Self::ToFloat(s) => sum(&[s.input, s.output]),
        }
    }
}

/// A step and the name of the layer it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Name of the tensor that the layer writes in the source model.
    pub name: &'a str,
    /// What to do.
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head<'a> {
    schema: u8,
    arena_len: u32,
    weights_len: u32,
    n_steps: u32,
    #[serde(borrow)]
    inputs: Vec<Io<'a>, MAX_IO>,
    #[serde(borrow)]
    outputs: Vec<Io<'a>, MAX_IO>,
}

const SCHEMA: u8 = 1;

/// A decoded head and the steps behind it, borrowed from the section.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<'a> {
    head: Head<'a>,
    steps: &'a [u8],
}

impl<'a> Graph<'a> {
    /// Decodes the head and bounds it. Steps are decoded one by one by [`steps`](Self::steps).
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OverLimit`] or [`FormatError::OutOfRange`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((head, steps)) = postcard::take_from_bytes::<Head<'a>>(bytes) else {
            return Err(FormatError::Malformed { what: "graph head" });
        };
        if head.schema != SCHEMA {
            return Err(FormatError::OutOfRange { what: "graph schema" });
        }
        let limit = |what, value: u64, limit: u64| {
            if value > limit { Err(FormatError::OverLimit { what, value, limit }) } else { Ok(()) }
        };
        limit("number of steps", u64::from(head.n_steps), MAX_STEPS as u64)?;
        limit("arena length", u64::from(head.arena_len), u64::from(MAX_ARENA_LEN))?;
        if head.inputs.is_empty() || head.outputs.is_empty() {
            return Err(FormatError::OutOfRange { what: "number of inputs or outputs" });
        }
        Ok(Self { head, steps })
    }

    /// Bytes of the arena that tensors take (scratch is the kernels' and comes on top).
    #[must_use]
    pub const fn arena_len(&self) -> u32 {
        self.head.arena_len
    }

    /// Bytes of the section *weights*.
    #[must_use]
    pub const fn weights_len(&self) -> u32 {
        self.head.weights_len
    }

    /// Number of steps.
    #[must_use]
    pub const fn n_steps(&self) -> u32 {
        self.head.n_steps
    }

    /// Inputs in the order of the source model.
    #[must_use]
    pub fn inputs(&self) -> &[Io<'a>] {
        &self.head.inputs
    }

    /// Outputs in the order of the source model.
    #[must_use]
    pub fn outputs(&self) -> &[Io<'a>] {
        &self.head.outputs
    }

    /// The encoded steps, for a holder that keeps the position and not the borrow.
    #[must_use]
    pub const fn step_bytes(&self) -> &'a [u8] {
        self.steps
    }

    /// The steps in order; an item is an error where the bytes do not decode. Bytes left over are an error as well.
    #[must_use]
    pub const fn steps(&self) -> Steps<'a> {
        Steps { rest: self.steps, left: self.head.n_steps, done: false }
    }
}

/// Iterator over the steps of a [`Graph`].
#[derive(Clone, Debug)]
pub struct Steps<'a> {
    rest: &'a [u8],
    left: u32,
    done: bool,
}

impl<'a> Steps<'a> {
    /// `n_steps` steps encoded in `bytes`, as [`Graph::step_bytes`] gave them.
    #[must_use]
    pub const fn new(bytes: &'a [u8], n_steps: u32) -> Self {
        Self { rest: bytes, left: n_steps, done: false }
    }

    /// The encoded steps that are left, and how many they are: from there a holder can go on later.
    #[must_use]
    pub const fn rest(&self) -> (&'a [u8], u32) {
        (self.rest, self.left)
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<Record<'a>, FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.left == 0 {
            self.done = true;
            let left_over = FormatError::WrongLength { expected: 0, have: self.rest.len() as u64 };
            return (!self.rest.is_empty()).then_some(Err(left_over));
        }
        self.left -= 1;
        match postcard::take_from_bytes::<Record<'a>>(self.rest) {
            Ok((record, rest)) => {
                self.rest = rest;
                Some(Ok(record))
            }
            Err(_) => {
                self.done = true;
                Some(Err(FormatError::Malformed { what: "step of the graph" }))
            }
        }
    }
}

/// Writes a graph section.
///
/// # Errors
/// [`FormatError::OverLimit`] or [`FormatError::OutOfRange`] for what [`Graph::parse`] would refuse.
#[cfg(feature = "alloc")]
pub fn write(
    inputs: &[Io<'_>],
    outputs: &[Io<'_>],
    arena_len: u32,
    weights_len: u32,
    steps: &[Record<'_>],
) -> Result<alloc::vec::Vec<u8>, FormatError> {
    fn io<'b>(what: &'static str, io: &[Io<'b>]) -> Result<Vec<Io<'b>, MAX_IO>, FormatError> {
        Vec::from_slice(io).map_err(|_| FormatError::OverLimit { what, value: io.len() as u64, limit: MAX_IO as u64 })
    }
    let n_steps = u32::try_from(steps.len()).map_err(|_| FormatError::OutOfRange { what: "number of steps" })?;
    let head = Head {
        schema: SCHEMA,
        arena_len,
        weights_len,
        n_steps,
        inputs: io("number of inputs", inputs)?,
        outputs: io("number of outputs", outputs)?,
    };
    let encode = |_| FormatError::Malformed { what: "graph" };
    let mut out = postcard::to_allocvec(&head).map_err(encode)?;
    for step in steps {
        out = postcard::to_extend(step, out).map_err(encode)?;
    }
    Graph::parse(&out)?;
    Ok(out)
}
