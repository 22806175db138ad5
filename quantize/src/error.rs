//! Why a bundle was not written: codes 510 to 549.

use fleetfoot_engine::EngineError;
use fleetfoot_format::FormatError;
use thiserror::Error;

/// Why a bundle was not written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PackError {
    /// A name or a version label has characters that paths and URLs do not take.
    #[error("{what} '{value}' is not valid: 1 to 64 of a-z 0-9 . _ - (labels also A-Z and +), first a letter or digit")]
    Name {
        /// Which.
        what: &'static str,
        /// What was given.
        value: String,
    },
    /// A golden case has the wrong number of bytes.
    #[error("golden case {case}: the inputs of the model take {need} bytes, the case has {have}")]
    GoldenLength {
        /// Which case.
        case: usize,
        /// Bytes of all inputs.
        need: usize,
        /// Bytes of the case.
        have: usize,
    },
    /// The model does not answer what the golden file says.
    #[error(
        "golden case {case}: output byte {at} is {found}, the golden file says {expected} ({differing} of {len} bytes differ)"
    )]
    GoldenMismatch {
        /// Which case.
        case: usize,
        /// First byte that differs.
        at: usize,
        /// What the model gives.
        found: u8,
        /// What the golden file says.
        expected: u8,
        /// How many bytes differ.
        differing: usize,
        /// Bytes of the output.
        len: usize,
    },
    /// A golden output has the wrong number of bytes.
    #[error("golden case {case}: the outputs of the model take {need} bytes, the golden file has {have}")]
    GoldenOutputLength {
        /// Which case.
        case: usize,
        /// Bytes of all outputs.
        need: usize,
        /// Bytes of the golden output.
        have: usize,
    },
    /// The arena is over the budget that the bundle would state.
    #[error("the arena takes {need} bytes, the budget allows {budget}")]
    OverBudget {
        /// Bytes of the portable arena.
        need: usize,
        /// Bytes of the budget.
        budget: u32,
    },
    /// The plan does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The bundle does not fit its format.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl PackError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Name { .. } => 510,
            Self::GoldenLength { .. } => 511,
            Self::GoldenMismatch { .. } => 512,
            Self::GoldenOutputLength { .. } => 513,
            Self::OverBudget { .. } => 514,
            Self::Engine(inner) => inner.code(),
            Self::Format(inner) => inner.code(),
        }
    }
}
