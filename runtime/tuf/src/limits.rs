//! Bounds on what a repository may ask for; each guards memory and traffic against endless data.

/// Bytes of a root.
pub const MAX_ROOT_LEN: u64 = 256 * 1024;
/// Bytes of a timestamp.
pub const MAX_TIMESTAMP_LEN: u64 = 16 * 1024;
/// Bytes of a snapshot.
pub const MAX_SNAPSHOT_LEN: u64 = 2 * 1024 * 1024;
/// Bytes of targets, top level or delegated.
pub const MAX_TARGETS_LEN: u64 = 5 * 1024 * 1024;
/// Roots that one refresh walks over.
pub const MAX_ROOTS: u32 = 1024;
/// Signatures of one file. Bounds the time that verification can be made to take.
pub const MAX_SIGNATURES: usize = 64;
/// Keys of one role.
pub const MAX_KEYS: usize = 64;
