//! Why metadata may not be believed: codes 240 to 299.

use alloc::string::String;

use thiserror::Error;

use crate::time;

/// Why metadata may not be believed. [`code`](Self::code) is stable for ever.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TufError {
    /// A file is not one JSON document.
    #[error("{role} is not JSON: line {line}, column {column}")]
    NotJson {
        /// The role.
        role: String,
        /// Line of the fault, from 1.
        line: usize,
        /// Column of the fault, from 1.
        column: usize,
    },
    /// An object in a file has two members of one name: another reader could take the other one.
    #[error("{role} has a member twice: line {line}, column {column}")]
    DuplicateMember {
        /// The role.
        role: String,
        /// Line of the second one, from 1.
        line: usize,
        /// Column of the second one, from 1.
        column: usize,
    },
    /// A file has a number that is not an integer of 64 bits.
    #[error("{role} has a number that is not an integer")]
    NotInteger {
        /// The role.
        role: String,
    },
    /// A field is missing or is not what it should be.
    #[error("{role}: {what} is missing or malformed")]
    Malformed {
        /// The role.
        role: String,
        /// The field.
        what: &'static str,
    },
    /// A file belongs to another type of role.
    #[error("{role} has the type of another role")]
    WrongType {
        /// The role.
        role: String,
    },
    /// A file has two signatures under one key identifier.
    #[error("{role} has two signatures by {key_id}")]
    DuplicateSignature {
        /// The role.
        role: String,
        /// The key identifier.
        key_id: String,
    },
    /// Fewer keys than needed have signed.
    #[error("{role} is signed by {have} of its keys, {need} are needed")]
    Threshold {
        /// The role.
        role: String,
        /// Signatures needed.
        need: u64,
        /// Good signatures of different keys.
        have: u64,
    },
    /// A file has another version than was announced.
    #[error("{role} has version {found}, {expected} was announced")]
    WrongVersion {
        /// The role.
        role: String,
        /// The version that was announced.
        expected: u64,
        /// The version in the file.
        found: u64,
    },
    /// The repository offers something older than what was seen before.
    #[error("{role} has version {offered}, version {stored} was seen before")]
    Rollback {
        /// The role.
        role: String,
        /// The version that was seen before.
        stored: u64,
        /// The version that is offered now; 0 if the role is not listed any more.
        offered: u64,
    },
    /// A file is longer than it may be.
    #[error("{role} is {len} bytes long, {limit} are allowed")]
    TooLong {
        /// The role.
        role: String,
        /// Its length, or the one that was announced.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A file has another length than was announced.
    #[error("{role} is {found} bytes long, {expected} were announced")]
    WrongLength {
        /// The role.
        role: String,
        /// The length that was announced.
        expected: u64,
        /// The length of the file.
        found: u64,
    },
    /// A file has another hash than was announced.
    #[error("{role} does not have the SHA-256 that was announced")]
    WrongHash {
        /// The role.
        role: String,
    },
    /// A file is too old to be believed.
    #[error("{role} expired at {}, it is {}", time::format(*expires), time::format(*now))]
    Expired {
        /// The role.
        role: String,
        /// When it expired, seconds since 1970.
        expires: i64,
        /// The time that counted as now, seconds since 1970.
        now: i64,
    },
    /// A file that must be there is not.
    #[error("{path} is missing in the repository")]
    Missing {
        /// Its path below the folder of metadata.
        path: String,
    },
    /// Nobody has delegated to this role.
    #[error("there is no role {role}")]
    NoSuchRole {
        /// The role.
        role: String,
    },
    /// The application comes with a root that is neither the one that the store began with, nor before or after it in its chain.
    #[error(
        "the root that comes with this application, version {embedded}, does not belong to the chain of version {pinned}, \
         with which this store began"
    )]
    OtherFirstRoot {
        /// Version of the root that the store began with.
        pinned: u64,
        /// Version of the root that comes with the application.
        embedded: u64,
    },
}

impl TufError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::NotJson { .. } => 240,
            Self::NotInteger { .. } => 241,
            Self::Malformed { .. } => 242,
            Self::WrongType { .. } => 243,
            Self::DuplicateSignature { .. } => 244,
            Self::Threshold { .. } => 245,
            Self::WrongVersion { .. } => 246,
            Self::Rollback { .. } => 247,
            Self::TooLong { .. } => 248,
            Self::WrongLength { .. } => 249,
            Self::WrongHash { .. } => 250,
            Self::Expired { .. } => 251,
            Self::Missing { .. } => 252,
            Self::NoSuchRole { .. } => 253,
            Self::DuplicateMember { .. } => 254,
            Self::OtherFirstRoot { .. } => 255,
        }
    }
}
