//! Why bytes may not be believed: codes 200 to 239, and those of the layout.

use core::fmt;

use fleetfoot_format::FormatError;
use thiserror::Error;

/// Why bytes may not be believed.
///
/// [`code`](Self::code) is stable for ever.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrustError {
    /// Too many keys, or none.
    #[error("{n} keys, 1 to {limit} are possible")]
    NumberOfKeys {
        /// How many there are.
        n: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A key is given twice; one person would count as two.
    #[error("key {index} ({key}) is given twice")]
    DuplicateKey {
        /// Position of the second one.
        index: usize,
        /// The key.
        key: KeyPrefix,
    },
    /// A threshold of zero, or one that cannot be reached.
    #[error("{threshold} signatures asked of {n} keys")]
    BadThreshold {
        /// Signatures that are asked for.
        threshold: usize,
        /// Keys that there are.
        n: usize,
    },
    /// The bundle declares a signer twice.
    #[error("signer {index} ({key}) is declared twice")]
    DuplicateSigner {
        /// Position of the second one.
        index: usize,
        /// The key.
        key: KeyPrefix,
    },
    /// The signature of a known signer does not hold.
    #[error("the signature of signer {index} ({key}) does not hold")]
    BadSignature {
        /// Position among the signers.
        index: usize,
        /// The key.
        key: KeyPrefix,
    },
    /// Fewer of the known keys have signed than are needed.
    #[error("signed by {have} of the known keys, {need} are needed")]
    TooFewSignatures {
        /// Signatures needed.
        need: usize,
        /// Good signatures of different known keys.
        have: usize,
    },
    /// The bytes of a section are not those that were signed.
    #[error("section {index} ({kind}) does not have the SHA-256 that was signed")]
    SectionHash {
        /// Position in the table of sections.
        index: usize,
        /// Name of its kind.
        kind: &'static str,
    },
    /// A key is asked to sign that is not among the declared signers.
    #[error("key {key} is not among the signers that the bundle declares")]
    NotASigner {
        /// The key.
        key: KeyPrefix,
    },
    /// The layout does not hold.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl TrustError {
    /// The stable number of this error; for [`Format`](Self::Format) that of the layout.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::NumberOfKeys { .. } => 200,
            Self::DuplicateKey { .. } => 201,
            Self::BadThreshold { .. } => 202,
            Self::DuplicateSigner { .. } => 203,
            Self::BadSignature { .. } => 204,
            Self::TooFewSignatures { .. } => 205,
            Self::SectionHash { .. } => 206,
            Self::NotASigner { .. } => 207,
            Self::Format(inner) => inner.code(),
        }
    }
}

/// The first bytes of a key, enough for people to tell keys apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyPrefix([u8; 6]);

impl KeyPrefix {
    /// Of a public key.
    #[must_use]
    pub const fn of(key: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, ..] = *key;
        Self([a, b, c, d, e, f])
    }
}

impl fmt::Display for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
