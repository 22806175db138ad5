//! What an agent tells: events as they happen, and the outcome of a poll.

use std::fmt;

use fleetfoot_format::record::Reason;
use fleetfoot_update::NotTaken;

use super::Assignment;
use crate::{error::Error, health::Sent, validate::Admission};

/// A version by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// Release label; empty where the bundle cannot be read just now.
    pub version: String,
    /// Release number.
    pub number: u64,
    /// SHA-256 of the bundle.
    pub sha256: [u8; 32],
}

impl fmt::Display for VersionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version.as_str() {
            "" => write!(f, "number {}", self.number),
            version => write!(f, "{version} (number {})", self.number),
        }
    }
}

/// What a version is to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// It serves, or serves again when the trial ends badly.
    Active,
    /// It served before.
    LastGood,
    /// It served once and can be gone back to.
    Kept,
    /// It came with the application.
    Factory,
    /// It is on its way in.
    Candidate,
}

/// Something that happened. `Display` says it in a line for people.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The metadata was refreshed and verified.
    Refreshed,
    /// The part of this device in a rollout is another one: stage, side, or what is rolled out.
    Assigned(Assignment),
    /// The newest release that may be taken; it is fetched.
    Offered(VersionInfo),
    /// A download begins or goes on.
    Fetching {
        /// What.
        version: VersionInfo,
        /// Bytes that are there already.
        offset: u64,
        /// Bytes in all.
        len: u64,
    },
    /// The bundle is stored: length, hash, signatures and announcement hold.
    Fetched(VersionInfo),
    /// The bundle is admitted on this device.
    Validated {
        /// What.
        version: VersionInfo,
        /// What was measured.
        admission: Admission,
    },
    /// Code of a version was started under a watch and did not come back: it was killed, died or hangs.
    Lost {
        /// What.
        version: VersionInfo,
        /// What happened.
        because: String,
        /// How often it is tried again.
        attempts_left: u8,
    },
    /// The environment changed, or was never seen: the version that serves answers rightly in it.
    Proved {
        /// What.
        version: VersionInfo,
        /// Golden cases that were exact.
        goldens: usize,
    },
    /// The candidate runs beside the version that serves.
    ShadowStarted(VersionInfo),
    /// The candidate is admitted and waits until the application activates it.
    Staged(VersionInfo),
    /// The candidate serves, on trial.
    TrialStarted(VersionInfo),
    /// The candidate is active.
    Committed(VersionInfo),
    /// The candidate is out, or the active version while it was watched.
    Rejected {
        /// What.
        version: VersionInfo,
        /// Why, as the state record keeps it.
        reason: Reason,
        /// What was found, where that is known.
        because: Option<String>,
    },
    /// The candidate waits.
    Deferred {
        /// What.
        version: VersionInfo,
        /// Why.
        reason: Reason,
        /// When it goes on, seconds.
        retry_at: i64,
    },
    /// The repository withdrew the candidate.
    Withdrawn(VersionInfo),
    /// Another version serves because it was asked for.
    RolledBack(VersionInfo),
    /// A stored bundle is damaged, missing, unreadable or unfit; another one serves.
    FellBack {
        /// The damaged one.
        from: VersionInfo,
        /// What is wrong with it.
        because: String,
        /// What serves now.
        to: Option<VersionInfo>,
    },
    /// The announcement of a release cannot be used.
    Skipped {
        /// Path of the target.
        path: String,
        /// The field that is missing or wrong.
        what: &'static str,
    },
    /// Nothing intact is left of the state; the factory version serves.
    StateLost,
    /// Both records are damaged; the third copy has what was rejected, the floors, and what served.
    StateRestored,
    /// Health reports left the device.
    Reported(Sent),
    /// Something could not be done; what serves is untouched.
    Failed(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refreshed => write!(f, "metadata refreshed"),
            Self::Assigned(assignment) => write!(f, "{assignment}"),
            Self::Offered(version) => write!(f, "version {version} is offered"),
            Self::Fetching { version, offset: 0, len } => write!(f, "fetching version {version}, {len} bytes"),
            Self::Fetching { version, offset, len } => {
                write!(f, "fetching version {version}, going on at byte {offset} of {len}")
            }
            Self::Fetched(version) => write!(f, "version {version} is stored, its signatures hold"),
            Self::Validated { version, admission } => {
                let Admission { goldens, p99_us, arena_bytes, memory_bytes, .. } = admission;
                write!(f, "version {version} is admitted: {goldens} golden cases exact, p99 {p99_us} \u{b5}s, ")?;
                write!(f, "arena {arena_bytes} bytes, memory {memory_bytes} bytes")
            }
            Self::Lost { version, because, attempts_left } => {
                write!(f, "version {version} did not come back ({because}), attempts left: {attempts_left}")
            }
            Self::Proved { version, goldens } => {
                write!(f, "version {version} answers rightly here: {goldens} golden cases exact")
            }
            Self::ShadowStarted(version) => write!(f, "version {version} runs in the shadow"),
            Self::Staged(version) => write!(f, "version {version} waits to be activated"),
            Self::TrialStarted(version) => write!(f, "version {version} serves on trial"),
            Self::Committed(version) => write!(f, "version {version} is active"),
            Self::Rejected { version, reason, because } => {
                write!(f, "version {version} is rejected: {}", reason.text())?;
                because.as_ref().map_or(Ok(()), |because| write!(f, ": {because}"))
            }
            Self::Deferred { version, reason, retry_at } => {
                write!(f, "version {version} waits until {retry_at}: {}", reason.text())
            }
            Self::Withdrawn(version) => write!(f, "version {version} was withdrawn"),
            Self::RolledBack(version) => write!(f, "rolled back to version {version}"),
            Self::FellBack { from, because, to: Some(to) } => {
                write!(f, "version {from} cannot be used ({because}), fell back to version {to}")
            }
            Self::FellBack { from, because, to: None } => {
                write!(f, "version {from} cannot be used ({because}), nothing is left to serve")
            }
            Self::Skipped { path, what } => write!(f, "{path} is passed over: no usable {what}"),
            Self::StateLost => write!(f, "the state is damaged; starting over from the factory version"),
            Self::StateRestored => write!(f, "the state is damaged; going on from its third copy"),
            Self::Reported(Sent { taken, dropped: 0, waiting }) => {
                write!(f, "health reports sent: {taken}, waiting: {waiting}")
            }
            Self::Reported(Sent { taken, dropped, waiting }) => {
                write!(f, "health reports sent: {taken}, waiting: {waiting}, refused: {dropped}")
            }
            Self::Failed(why) => write!(f, "nothing changed: {why}"),
        }
    }
}

/// What a poll came to. Whatever it is: what served before still serves, or something better does.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nothing newer may be taken. `newest` says why not the newest release, where there is one.
    UpToDate {
        /// The newest release number and why it is not taken.
        newest: Option<(u64, NotTaken)>,
    },
    /// A candidate runs beside the version that serves.
    Shadow(VersionInfo),
    /// A candidate is admitted and waits to be activated.
    Staged(VersionInfo),
    /// A candidate serves on trial.
    Trial(VersionInfo),
    /// A candidate became active.
    Committed(VersionInfo),
    /// A candidate is out, or the active version while it was watched.
    Rejected {
        /// Which.
        version: VersionInfo,
        /// Why.
        reason: Reason,
        /// What was found; `None` where only the reason was recorded.
        error: Option<Error>,
    },
    /// The rollout took the version that served back; this one serves.
    RolledBack(VersionInfo),
    /// A candidate waits.
    Deferred {
        /// Which.
        version: VersionInfo,
        /// Why.
        reason: Reason,
        /// When it goes on, seconds.
        retry_at: i64,
        /// What happened, if it happened now.
        error: Option<Error>,
    },
    /// The poll could not be finished; the next one goes on.
    Failed(Error),
}
