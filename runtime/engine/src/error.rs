//! What can be wrong with a model or with a call: codes 300 to 399.

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
    #[error("step {step}: {what} lies outside its memory")]
    OutOfBounds {
        /// Position of the step.
        step: u32,
        /// Which operand.
        what: &'static str,
    },
    /// Two operands of a step share memory.
    #[error("step {step}: {what} share memory")]
    Overlap {
        /// Position of the step.
        step: u32,
        /// Which operands.
        what: &'static str,
    },
    /// A length does not follow from the shape.
    #[error("step {step}: {what} has {have} bytes, its shape needs {need}")]
    ShapeMismatch {
        /// Position of the step.
        step: u32,
        /// Which operand.
        what: &'static str,
        /// Bytes that the shape needs.
        need: u64,
        /// Bytes of the span.
        have: u64,
    },
    /// A number is not in its range.
    #[error("step {step}: {what} is out of range")]
    OutOfRange {
        /// Position of the step.
        step: u32,
        /// Which number.
        what: &'static str,
    },
    /// The arena is shorter than [`Model::arena_len`](crate::Model::arena_len).
    #[error("the arena has {have} bytes, this model needs {need}")]
    ArenaTooSmall {
        /// Bytes needed.
        need: usize,
        /// Bytes given.
        have: usize,
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
        }
    }
}
