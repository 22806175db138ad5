//! Why a graph cannot become a plan: codes 550 to 559 and 580 to 599.

use alloc::{string::String, vec::Vec};

use fleetfoot_format::FormatError;
use thiserror::Error;

/// Why a graph was not planned. Positions and names are those of the source file.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PlanError {
    /// An operator has a form that the engine does not execute.
    #[error("operator {position} ({op}, writes '{output}'): {what}")]
    Unsupported {
        /// Position in the source file.
        position: usize,
        /// Its name in the schema.
        op: &'static str,
        /// The tensor that it writes.
        output: String,
        /// What is not supported about it.
        what: &'static str,
    },
    /// A tensor has a shape other than the operator computes.
    #[error("operator {position} ({op}): '{tensor}' has shape {have:?}, {need:?} follows from its operands")]
    Shape {
        /// Position in the source file.
        position: usize,
        /// Its name in the schema.
        op: &'static str,
        /// The tensor.
        tensor: String,
        /// Shape that follows.
        need: Vec<usize>,
        /// Shape that the file states.
        have: Vec<usize>,
    },
    /// A multiplier is so large, or a sum can grow so large, that results would not be defined.
    #[error(
        "operator {position} ({op}, writes '{output}'): channel {channel}: {what} is {value:e}, the limit is {limit:e}"
    )]
    Overflow {
        /// Position in the source file.
        position: usize,
        /// Its name in the schema.
        op: &'static str,
        /// The tensor that it writes.
        output: String,
        /// Output channel.
        channel: usize,
        /// The quantity.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The limit.
        limit: f64,
    },
    /// The plan is larger than the format allows.
    #[error("{what} needs {need} bytes, the limit is {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size.
        need: u64,
        /// The limit.
        limit: u64,
    },
    /// The plan does not fit the format.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl PlanError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Unsupported { .. } => 550,
            Self::Shape { .. } => 551,
            Self::Overflow { .. } => 552,
            Self::TooLarge { .. } => 553,
            Self::Format(inner) => inner.code(),
        }
    }
}
