//! Why a lite file is refused: codes 220 to 235, and those of signatures and layouts.

use fleetfoot_format::FormatError;
use thiserror::Error;

use crate::error::TrustError;

/// Why a lite file is refused.
///
/// [`code`](Self::code) is stable for ever.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum LiteError {
    /// The file is about another model.
    #[error("{file} is for another model")]
    OtherModel {
        /// Which file.
        file: &'static str,
    },
    /// The header is not for this hardware.
    #[error("the header is not for this hardware")]
    OtherHardware,
    /// A signature of a key that the role does not have.
    #[error("signature {index} is of a key that may not sign this")]
    UnknownSigner {
        /// Position among the signatures.
        index: usize,
    },
    /// Signatures are not in the order of their keys; one may be there twice.
    #[error("signature {index} is not in the order of the keys")]
    SignerOrder {
        /// Position among the signatures.
        index: usize,
    },
    /// A link is missing between two others, or between what is trusted and the chain.
    #[error("the chain goes on with trust version {found}, {need} is missing")]
    MissingLink {
        /// Version that comes next.
        need: u32,
        /// Version that is there.
        found: u32,
    },
    /// A link that does not follow the one before it, though its version does.
    #[error("the link with trust version {version} follows another one than the one before it")]
    OtherChain {
        /// Version of the link.
        version: u32,
    },
    /// The chain, or what is compiled in, ends below the trust that was reached already.
    #[error("trust version {found} was left behind: {known} is known")]
    TrustRolledBack {
        /// Version that was reached.
        known: u32,
        /// Version that is offered.
        found: u32,
    },
    /// Another link under a version that is trusted already.
    #[error("this is not the link that is trusted as version {version}")]
    OtherRoot {
        /// The version.
        version: u32,
    },
    /// Signed under another trust version: the chain has to be brought up to date, or the file is from before a rotation.
    #[error("{file} is of trust version {found}, {known} is in force")]
    OtherTrust {
        /// Which file.
        file: &'static str,
        /// Version in force.
        known: u32,
        /// Version in the file.
        found: u32,
    },
    /// A counter is lower than one that was seen.
    #[error("{file} {found} is old: {known} is known")]
    Stale {
        /// Which file.
        file: &'static str,
        /// Counter that was seen.
        known: u64,
        /// Counter in the file.
        found: u64,
    },
    /// The directive names another header.
    #[error("the directive is for another header")]
    OtherHeader,
    /// The counter of the directive is outside of what the header allows.
    #[error("directive {found} is outside of {first} to {last}, which the header allows")]
    CounterOverLimit {
        /// Lowest counter.
        first: u64,
        /// Highest counter.
        last: u64,
        /// Counter in the file.
        found: u64,
    },
    /// The directive goes to a stage that the header does not allow yet.
    #[error("stage {found}, the header allows {limit}")]
    StageOverLimit {
        /// Highest stage.
        limit: u8,
        /// Stage in the file.
        found: u8,
    },
    /// The directive goes to more devices than the header allows.
    #[error("{found} basis points, the header allows {limit}")]
    ShareOverLimit {
        /// Largest share.
        limit: u16,
        /// Share in the file.
        found: u16,
    },
    /// The directive does not answer the challenge of this device.
    #[error("the directive does not answer the challenge")]
    WrongNonce,
    /// The security epoch is below one that was committed.
    #[error("security epoch {found}, {floor} was committed")]
    EpochBelowFloor {
        /// Epoch that was committed.
        floor: u32,
        /// Epoch of the header.
        found: u32,
    },
    /// Signatures.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The layout does not hold.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl LiteError {
    /// The stable number of this error; for [`Trust`](Self::Trust) and [`Format`](Self::Format) that of what is inside.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::OtherModel { .. } => 220,
            Self::OtherHardware => 221,
            Self::UnknownSigner { .. } => 222,
            Self::SignerOrder { .. } => 223,
            Self::MissingLink { .. } => 224,
            Self::OtherChain { .. } => 225,
            Self::TrustRolledBack { .. } => 226,
            Self::OtherRoot { .. } => 227,
            Self::OtherTrust { .. } => 228,
            Self::Stale { .. } => 229,
            Self::OtherHeader => 230,
            Self::CounterOverLimit { .. } => 231,
            Self::StageOverLimit { .. } => 232,
            Self::ShareOverLimit { .. } => 233,
            Self::WrongNonce => 234,
            Self::EpochBelowFloor { .. } => 235,
            Self::Trust(inner) => inner.code(),
            Self::Format(inner) => inner.code(),
        }
    }
}
