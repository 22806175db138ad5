//! What can be wrong with bytes: codes 100 to 199.

use thiserror::Error;

/// Why bytes are not the layout they claim to be.
///
/// [`code`](Self::code) is stable for ever and is the number that appears in reports, in C, Kotlin and Swift.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatError {
    /// The first bytes are not those of a bundle.
    #[error("not a Fleetfoot bundle: the first 8 bytes are not the magic number")]
    BadMagic,
    /// The container has a version that this reader does not know.
    #[error("bundle container version {found}, this runtime reads version {known}")]
    UnknownVersion {
        /// Version in the file.
        found: u8,
        /// Version that this reader knows.
        known: u8,
    },
    /// The bytes end before the layout does.
    #[error("truncated: {need} bytes needed, {have} present")]
    Truncated {
        /// Bytes that the layout needs.
        need: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// There are more bytes than the layout accounts for.
    #[error("{have} bytes present, the signed length is {expected}")]
    WrongLength {
        /// Length that the signed header states.
        expected: u64,
        /// Length of what was given.
        have: u64,
    },
    /// A number is over its limit.
    #[error("{what} is {value}, over the limit of {limit}")]
    OverLimit {
        /// What was counted.
        what: &'static str,
        /// The value found.
        value: u64,
        /// The limit, from [`limits`](crate::limits).
        limit: u64,
    },
    /// A postcard body does not decode.
    #[error("{what} does not decode")]
    Malformed {
        /// The layout that was expected.
        what: &'static str,
    },
    /// A section lies outside the file, overlaps another, or is not aligned.
    #[error("section {index} at {offset} with {len} bytes is out of order, unaligned or outside the file")]
    BadSection {
        /// Position in the table of sections.
        index: usize,
        /// Offset that the table states.
        offset: u32,
        /// Length that the table states.
        len: u32,
    },
    /// A byte between sections is not zero.
    #[error("padding at byte {offset} is not zero")]
    NonZeroPadding {
        /// Where in the file.
        offset: u64,
    },
    /// A section that is needed is missing.
    #[error("the bundle has no section {what}")]
    MissingSection {
        /// Its name.
        what: &'static str,
    },
    /// A reserved field is not zero.
    #[error("a reserved field is not zero")]
    ReservedNotZero,
    /// A checksum over a record does not match.
    #[error("checksum mismatch")]
    BadChecksum,
    /// A value is outside its range.
    #[error("{what} is out of range")]
    OutOfRange {
        /// The field.
        what: &'static str,
    },
}

impl FormatError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::BadMagic => 100,
            Self::UnknownVersion { .. } => 101,
            Self::Truncated { .. } => 102,
            Self::WrongLength { .. } => 103,
            Self::OverLimit { .. } => 104,
            Self::Malformed { .. } => 105,
            Self::BadSection { .. } => 106,
            Self::NonZeroPadding { .. } => 107,
            Self::MissingSection { .. } => 108,
            Self::ReservedNotZero => 109,
            Self::BadChecksum => 110,
            Self::OutOfRange { .. } => 111,
        }
    }
}

/// What a layout holds is as it should be, or `what` is out of its range.
pub(crate) fn in_range(holds: bool, what: &'static str) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::OutOfRange { what }) }
}

/// `value` is not above its limit.
pub(crate) fn within(what: &'static str, value: u64, limit: u64) -> Result<(), FormatError> {
    if value > limit { Err(FormatError::OverLimit { what, value, limit }) } else { Ok(()) }
}
