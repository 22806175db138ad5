//! Errors of the facade: its own codes are 420 to 439 (but 435 and 436), 458, 459 and 470 to 479, the others are those of the crate that found the fault.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use fleetfoot_engine::EngineError;
use fleetfoot_format::FormatError;
use fleetfoot_preprocess::PreprocessError;
use fleetfoot_trust::TrustError;
use fleetfoot_tuf::TufError;
use fleetfoot_update::UpdateError;
use thiserror::Error;

use crate::{transport::TransportError, validate::Refusal, watchdog::Lost};

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
    /// A file has another length than was announced.
    #[error("{} has {found} bytes, {expected} were announced", path.display())]
    WrongLength {
        /// The file.
        path: PathBuf,
        /// What was announced.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// Another agent, here or in another process, has the model.
    #[error("{} is in use by another agent", path.display())]
    StoreBusy {
        /// The folder.
        path: PathBuf,
    },
    /// A bundle does not fit into what is left of the disk; nothing was fetched.
    #[error("{need} bytes are needed for the bundle, {free} are free")]
    NoRoom {
        /// Bytes that are missing of the bundle, and some that the device keeps free.
        need: u64,
        /// Bytes that can be stored.
        free: u64,
    },
    /// Another agent is refreshing the metadata and did not come to an end.
    #[error("{} is in use by another agent that refreshes it; the next poll tries again", path.display())]
    MetadataBusy {
        /// The folder.
        path: PathBuf,
    },
    /// Code of a version was started under a watch and did not come back.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// A newer runtime wrote the state; this one only reads it and serves the factory version.
    #[error("the state of {model} was written by a newer runtime (record version {version}): nothing is installed")]
    NewerState {
        /// The model.
        model: String,
        /// Version of the record.
        version: u8,
    },
    /// A name that cannot become a name of a file.
    #[error("{name:?} cannot be used as a name here")]
    BadName {
        /// The name.
        name: String,
    },
    /// The header of a bundle disagrees with the signed announcement of it.
    #[error("the {what} of the bundle is {found}, {announced} was announced")]
    Announcement {
        /// The field.
        what: &'static str,
        /// What was announced.
        announced: String,
        /// What the header says.
        found: String,
    },
    /// The repository does not delegate to the role that releases this model.
    #[error("the repository has no role {role}")]
    NoRole {
        /// The role.
        role: String,
    },
    /// A file that metadata names is not in the repository.
    #[error("{path} is missing in the repository")]
    Missing {
        /// Its path.
        path: String,
    },
    /// No version of the model is installed.
    #[error("no version of {model} is installed")]
    NotInstalled {
        /// The model.
        model: String,
    },
    /// No kept version is meant by this.
    #[error("{name} names no version that is kept on this device")]
    NoSuchVersion {
        /// What was asked for.
        name: String,
    },
    /// No session has so many threads, or none at all.
    #[error("a session has 1 to {} threads, {threads} were asked for", fleetfoot_engine::MAX_THREADS)]
    ThreadCount {
        /// What was asked for.
        threads: usize,
    },
    /// The operating system starts no more threads.
    #[error("cannot start a thread: {source}")]
    Thread {
        /// What the operating system says.
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// A kernel panicked. The session is lost, the process is not.
    #[error("the inference panicked")]
    Panicked,
    /// No prediction waits under this identifier: it was not given on this device, or so long ago that it made room.
    #[error("no prediction waits under the identifier {id}")]
    NoPrediction {
        /// The identifier.
        id: u64,
    },
    /// A prediction has one outcome.
    #[error("prediction {id} has its outcome already")]
    OutcomeTwice {
        /// The identifier.
        id: u64,
    },
    /// An outcome that cannot be added up.
    #[error("an outcome is a number up to 1e12, not {}", Whole(*value))]
    BadOutcome {
        /// What was given.
        value: f64,
    },
    /// The bundle has no settings for this.
    #[error("the bundle says nothing about {what}")]
    NotInBundle {
        /// About what.
        what: &'static str,
    },
    /// A raw input does not become the input of the model, or its outputs no answer.
    #[error(transparent)]
    Preprocess(#[from] PreprocessError),
    /// The bundle is not admitted on this device.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The repository cannot be reached, or it answers what it should not.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// Metadata does not hold.
    #[error(transparent)]
    Tuf(#[from] TufError),
    /// The state of the model does not allow this.
    #[error(transparent)]
    Update(#[from] UpdateError),
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

    /// Whether no space was left: nothing is lost, and it may go on when there is.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let full =
            |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        match self {
            Self::NoRoom { .. } => true,
            Self::File { source, .. } | Self::Transport(TransportError::Sink(source)) => full(source),
            _ => false,
        }
    }

    /// The stable number of this error.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 420,
            Self::HashMismatch { .. } => 421,
            Self::WrongLength { .. } => 422,
            Self::StoreBusy { .. } => 423,
            Self::NewerState { .. } => 424,
            Self::BadName { .. } => 425,
            Self::Announcement { .. } => 426,
            Self::NoRole { .. } => 427,
            Self::Missing { .. } => 428,
            Self::NotInstalled { .. } => 429,
            Self::NoSuchVersion { .. } => 430,
            Self::Transport(TransportError::Sink(_)) => 431,
            Self::Transport(_) => 432,
            Self::ThreadCount { .. } => 433,
            Self::Thread { .. } => 434,
            Self::MetadataBusy { .. } => 437,
            Self::NoRoom { .. } => 438,
            Self::Lost(inner) => inner.reason().0,
            Self::NoRandomness => 458,
            Self::Panicked => 470,
            Self::NoPrediction { .. } => 471,
            Self::OutcomeTwice { .. } => 472,
            Self::BadOutcome { .. } => 473,
            Self::NotInBundle { .. } => 474,
            Self::Preprocess(inner) => inner.code(),
            Self::Refused(inner) => inner.reason().0,
            Self::Tuf(inner) => inner.code(),
            Self::Update(inner) => inner.code(),
            Self::Trust(inner) => inner.code(),
            Self::Format(inner) => inner.code(),
            Self::Engine(inner) => inner.code(),
        }
    }
}

/// A number that is too large or none, without the printing of floats, which is some 15 kB of a program.
struct Whole(f64);

impl fmt::Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number.is_nan() => f.write_str("NaN"),
            number if number.abs() < 1e18 => write!(f, "{}", number as i64),
            number => write!(f, "{}1e18 or beyond", if number < 0.0 { "-" } else { "" }),
        }
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
