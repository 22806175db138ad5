//! Errors of the facade: its own codes are 420 to 449, the others are those of the crate that found the fault.

use std::{io, path::{Path, PathBuf}};

use fleetfoot_engine::EngineError;
use fleetfoot_format::FormatError;
use fleetfoot_trust::TrustError;
use thiserror::Error;

/// Why the facade could not do what was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file is not the one that was recorded.
    #[error("{} has SHA-256 {}, {} was recorded", path.display(), hex(found), hex(expected))]
    HashMismatch {
        /// The file.
        path: PathBuf,
        /// What was recorded.
        expected: [u8; 32],
        /// What it has.
        found: [u8; 32],
    },
    /// A signature or a hash does not hold.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A layout does not hold.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A plan or a call does not hold.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Error {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    /// The stable number of this error.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 420,
            Self::HashMismatch { .. } => 421,
            Self::Trust(inner) => inner.code(),
            Self::Format(inner) => inner.code(),
            Self::Engine(inner) => inner.code(),
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
