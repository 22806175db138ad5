//! Why a repository was not read or written: codes 700 to 719 and 742 to 751. Key files have 720 to 739.

use std::{
    io,
    path::{Path, PathBuf},
};

use fleetfoot_format::FormatError;
use fleetfoot_trust::{TrustError, lite::LiteError};
use fleetfoot_tuf::TufError;
use fleetfoot_update::Why;
use thiserror::Error;

/// Why a repository was not read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RepositoryError {
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
    /// The folder holds no repository.
    #[error("{} is no repository: it has no metadata/1.root.json", path.display())]
    NotARepository {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds one already.
    #[error("{} is a repository already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Another process writes to the repository.
    #[error("{} is being written by another process", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// A file is not the metadata it should be.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Fewer keys of the role sign than it needs.
    #[error("{role} needs signatures of {need} of its keys, {have} were given")]
    Threshold {
        /// The role.
        role: String,
        /// How many it needs.
        need: u64,
        /// How many of its keys were given, or have signed.
        have: u64,
    },
    /// The repository does not know the model.
    #[error("the repository has no model {model}")]
    UnknownModel {
        /// Its name.
        model: String,
    },
    /// A name that cannot be part of a path.
    #[error("{name:?} cannot be the name of a model")]
    BadName {
        /// The name.
        name: String,
    },
    /// The release is not newer than what is published.
    #[error(
        "release {number} ({version}) is not newer: release {newest} of {model} is published, and labels are used once"
    )]
    NotNewer {
        /// The model.
        model: String,
        /// Label of the release.
        version: String,
        /// Its number.
        number: u64,
        /// Highest number that is published.
        newest: u64,
    },
    /// More keys than devices take.
    #[error("{role} has {n} keys, {limit} are possible")]
    TooManyKeys {
        /// The role.
        role: String,
        /// How many it has.
        n: usize,
        /// How many it may have.
        limit: usize,
    },
    /// The folder is older than what was signed before: somebody may have put old files back.
    #[error("the {role} in the folder has version {found}, and version {known} was signed: this is an old state")]
    Older {
        /// The role.
        role: String,
        /// Its version in the folder.
        found: u64,
        /// The version that was in force before.
        known: u64,
    },
    /// The timestamp in the folder is not the one that was signed under this version.
    #[error("the timestamp in the folder, version {version}, is not the one that was signed under this version")]
    Other {
        /// The version.
        version: u64,
    },
    /// Nothing is remembered of this repository, or another one is.
    #[error("{} is not a repository that these keys have signed before", path.display())]
    Unknown {
        /// The folder.
        path: PathBuf,
    },
    /// The model has no lite files, or none of a release yet.
    #[error("{model} has no lite files of a release")]
    NoLite {
        /// The model.
        model: String,
    },
    /// The chain of lite roots names other keys than the role has now.
    #[error("the lite chain of {model} names other keys than the role {role} has")]
    LiteKeys {
        /// The model.
        model: String,
        /// The role.
        role: &'static str,
    },
    /// The chain of lite roots has as many links as devices follow.
    #[error("the lite chain of {model} has {limit} links, and devices follow no more")]
    LiteLinks {
        /// The model.
        model: String,
        /// How many there may be.
        limit: usize,
    },
    /// Lite files that devices would refuse.
    #[error("devices would refuse the lite files: {0}")]
    Lite(#[from] LiteError),
    /// A member of an envelope that devices would not take.
    #[error("{what} of the envelope is missing or malformed")]
    Envelope {
        /// The member.
        what: &'static str,
    },
    /// A release is published again with another salt: devices would draw their buckets anew.
    #[error("a release keeps its salt for ever")]
    SaltChanges,
    /// Another release has this salt: the same devices would be the first again.
    #[error("another release has this salt")]
    SaltUsed,
    /// A number that only rises.
    #[error("the {what} is {known} and cannot become {asked}")]
    Lowered {
        /// Which.
        what: &'static str,
        /// What is asked for.
        asked: u64,
        /// What it is.
        known: u64,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
    /// Nobody may roll the model out, or nothing was said yet.
    #[error("the repository has no rollout role of {model}, or nothing was signed by it yet")]
    NoRollout {
        /// The model.
        model: String,
    },
    /// A member of a directive that devices would not take.
    #[error("{what} of the directive is missing or malformed")]
    Directive {
        /// The member.
        what: &'static str,
    },
    /// A directive names a release that is not published, or not with this hash.
    #[error("release {number} is not published with this hash")]
    Unpublished {
        /// Its number.
        number: u64,
    },
    /// Devices would not do what a directive says.
    #[error("devices would not take release {number}: {why}")]
    Refused {
        /// Number of the release.
        number: u64,
        /// Why.
        why: Why,
    },
    /// A rollout cannot become that of another candidate: devices remember their side of it.
    #[error("rollout {rollout} is that of another release; a new candidate needs a new rollout")]
    RolloutChanges {
        /// Its identifier.
        rollout: String,
    },
    /// A bundle that devices would not believe.
    #[error("devices would refuse the bundle: {0}")]
    Bundle(#[from] TrustError),
    /// Metadata that devices would not believe.
    #[error(transparent)]
    Tuf(#[from] TufError),
}

impl RepositoryError {
    pub(crate) fn file(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::File { action, path: path.into(), source }
    }

    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 700,
            Self::NotARepository { .. } => 701,
            Self::Exists { .. } => 702,
            Self::Busy { .. } => 703,
            Self::Malformed { .. } => 704,
            Self::Threshold { .. } => 705,
            Self::UnknownModel { .. } => 706,
            Self::BadName { .. } => 707,
            Self::NotNewer { .. } => 708,
            Self::TooManyKeys { .. } => 709,
            Self::Older { .. } => 710,
            Self::Other { .. } => 711,
            Self::Unknown { .. } => 712,
            Self::NoLite { .. } => 780,
            Self::LiteKeys { .. } => 781,
            Self::LiteLinks { .. } => 782,
            Self::Lite(inner) => inner.code(),
            Self::Envelope { .. } => 742,
            Self::SaltChanges => 743,
            Self::SaltUsed => 744,
            Self::Lowered { .. } => 745,
            Self::NoRandomness => 746,
            Self::NoRollout { .. } => 747,
            Self::Directive { .. } => 748,
            Self::Unpublished { .. } => 749,
            Self::Refused { .. } => 750,
            Self::RolloutChanges { .. } => 751,
            Self::Bundle(inner) => inner.code(),
            Self::Tuf(inner) => inner.code(),
        }
    }
}

impl From<FormatError> for RepositoryError {
    /// Of a lite file: bundles are judged whole.
    fn from(error: FormatError) -> Self {
        Self::Lite(error.into())
    }
}
