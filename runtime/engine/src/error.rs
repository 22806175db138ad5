//! What can be wrong with a model or with a call: codes 300 to 399.

use core::fmt;

use fleetfoot_format::FormatError;
use thiserror::Error;

/// Why a model was not opened or did not run.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineError {
    /// The section *graph* does not decode.
    #[error("graph: {0}")]
    Format(#[from] FormatError),
    /// The weights are not those that the graph was planned with.
    #[error("the graph needs {need} bytes of weights, {have} are there")]
    WeightsLength {
        /// Bytes that the graph states.
        need: u64,
        /// Bytes that were given.
        have: u64,
    },
    /// The weights do not begin at an address that is a multiple of 16.
    #[error("the weights must begin at a multiple of 16 bytes in memory")]
    WeightsMisaligned,
    /// A span points outside the arena or the weights.
    #[error("{place}: {what} is {len} bytes at {offset}, outside of {limit} bytes")]
    OutOfBounds {
        /// Where in the graph.
        place: Place,
        /// Which operand.
        what: &'static str,
        /// Its first byte.
        offset: u32,
        /// Its bytes.
        len: u32,
        /// Bytes of the arena or of the weights.
        limit: u32,
    },
    /// Two operands share memory where they must not.
    #[error("{place}: {what} at {first} and {second} share memory")]
    Overlap {
        /// Where in the graph.
        place: Place,
        /// Which operands.
        what: &'static str,
        /// First byte of the one.
        first: u32,
        /// First byte of the other.
        second: u32,
    },
    /// A length does not follow from the shape.
    #[error("{place}: {what} has {have} bytes, its shape needs {need}")]
    ShapeMismatch {
        /// Where in the graph.
        place: Place,
        /// Which operand.
        what: &'static str,
        /// Bytes that the shape needs.
        need: u64,
        /// Bytes of the span.
        have: u64,
    },
    /// A number is not in its range.
    #[error("{place}: {what} is {have}, not {lo} to {hi}")]
    OutOfRange {
        /// Where in the graph.
        place: Place,
        /// Which number.
        what: &'static str,
        /// Its value.
        have: Number,
        /// The lowest value that is supported.
        lo: Number,
        /// The highest.
        hi: Number,
    },
    /// The arena is shorter than [`Model::arena_len`](crate::Model::arena_len).
    #[error("the arena has {have} bytes, this model needs {need}")]
    ArenaTooSmall {
        /// Bytes needed.
        need: usize,
        /// Bytes given.
        have: usize,
    },
    /// Tensors and scratch together are more than any model may ask for.
    #[error("this model needs an arena of {need} bytes, the limit is {limit}")]
    ArenaTooLarge {
        /// Bytes needed.
        need: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no such input or output.
    #[error("{what} {index} does not exist, the model has {count}")]
    NoSuchTensor {
        /// `input` or `output`.
        what: &'static str,
        /// Index asked for.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The given input has the wrong number of bytes.
    #[error("input {index} takes {need} bytes, {have} were given")]
    InputLength {
        /// Index of the input.
        index: usize,
        /// Bytes of the tensor.
        need: usize,
        /// Bytes given.
        have: usize,
    },
    /// A constant does not begin at a multiple of 16 bytes of the weights.
    #[error("{place}: {what} begins at {offset}, which is no multiple of 16")]
    Misaligned {
        /// Where in the graph.
        place: Place,
        /// Which constant.
        what: &'static str,
        /// Its first byte.
        offset: u32,
    },
    /// A number is not a multiple of another, of which it is made up.
    #[error("{place}: {what} is {have}, which is no multiple of {of}")]
    NotMultiple {
        /// Where in the graph.
        place: Place,
        /// Which number.
        what: &'static str,
        /// Its value.
        have: u64,
        /// What it should be a multiple of.
        of: u64,
    },
    /// Extents are too large, or so many that nobody can count the elements.
    #[error("{place}: {what} has extents over 2^24, or 2^32 elements and more")]
    TooLarge {
        /// Where in the graph.
        place: Place,
        /// Which operand.
        what: &'static str,
    },
    /// A step reads, or an output is, what no input and no earlier step wrote: a cycle, a missing step, or memory of others.
    #[error("{place}: {what} is {len} bytes at {offset}, and nothing before wrote byte {gap}")]
    NotWritten {
        /// Where in the graph.
        place: Place,
        /// Which operand.
        what: &'static str,
        /// Its first byte.
        offset: u32,
        /// Its bytes.
        len: u32,
        /// The first byte that was not written.
        gap: u32,
    },
    /// Tensors lie so far apart that this engine does not keep account of them.
    #[error("{place}: {what} is one of more than {limit} tensors with gaps between them")]
    TooScattered {
        /// Where in the graph.
        place: Place,
        /// Which operand.
        what: &'static str,
        /// Runs of tensors without gaps that are supported.
        limit: usize,
    },
    /// The stored sum of weights is not that of the weights, or weights stand in the padding: kernels would disagree.
    #[error("{place}: weights of channel {channel}: {what} is {have}, {need} follows from the weights")]
    Weights {
        /// Where in the graph.
        place: Place,
        /// Output channel.
        channel: u32,
        /// What disagrees.
        what: &'static str,
        /// What the file has.
        have: i32,
        /// What it should have.
        need: i32,
    },
    /// Something that this engine does not do, or numbers that do not go together.
    #[error("{place}: {what} is not supported or not sound")]
    Unsound {
        /// Where in the graph.
        place: Place,
        /// What.
        what: &'static str,
    },
}

/// Where in a graph a fault is; steps, inputs and outputs are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A step.
    Step(u32),
    /// An input of the model.
    Input(u32),
    /// An output of the model.
    Output(u32),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(index) => write!(f, "step {index}"),
            Self::Input(index) => write!(f, "input {index} of the model"),
            Self::Output(index) => write!(f, "output {index} of the model"),
        }
    }
}

/// A number in an error: float32 by its bits, so that errors can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// An integer.
    Int(i64),
    /// The bits of a float32.
    Float(u32),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(bits) => float(f, f32::from_bits(*bits)),
        }
    }
}

/// Whole numbers as they are, others with eight digits: the formatting of `core`, exact to the last bit, is a tenth of the engine.
fn float(f: &mut fmt::Formatter<'_>, value: f32) -> fmt::Result {
    let sign = if value < 0.0 { "-" } else { "" };
    let mut value = f64::from(value).abs();
    if value.is_nan() {
        return f.write_str("not a number");
    }
    if value.is_infinite() {
        return write!(f, "{sign}infinity");
    }
    if value < 16_777_216.0 && (value as u32) as f64 == value {
        return write!(f, "{sign}{}", value as u32);
    }
    let mut exponent = 0;
    while value >= 10.0 {
        (value, exponent) = (value / 10.0, exponent + 1);
    }
    while value < 1.0 {
        (value, exponent) = (value * 10.0, exponent - 1);
    }
    let digits = ((value * 1e7 + 0.5) as u32).min(99_999_999);
    write!(f, "{sign}{}.{:07}e{exponent}", digits / 10_000_000, digits % 10_000_000)
}

impl EngineError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Format(inner) => inner.code(),
            Self::WeightsLength { .. } => 300,
            Self::WeightsMisaligned => 301,
            Self::OutOfBounds { .. } => 302,
            Self::Overlap { .. } => 303,
            Self::ShapeMismatch { .. } => 304,
            Self::OutOfRange { .. } => 305,
            Self::ArenaTooSmall { .. } => 306,
            Self::NoSuchTensor { .. } => 307,
            Self::InputLength { .. } => 308,
            Self::Misaligned { .. } => 309,
            Self::NotMultiple { .. } => 310,
            Self::TooLarge { .. } => 311,
            Self::NotWritten { .. } => 312,
            Self::TooScattered { .. } => 313,
            Self::Weights { .. } => 314,
            Self::Unsound { .. } => 315,
            Self::ArenaTooLarge { .. } => 316,
        }
    }
}
