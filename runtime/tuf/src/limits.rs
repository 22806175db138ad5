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
/// Bytes of the name of a delegated role. Three times as many, percent-encoded, still make the name of a file.
pub const MAX_ROLE_NAME_LEN: usize = 80;
/// Bytes of the path of a target, and of a pattern of paths. Bounds the time of a comparison.
pub const MAX_PATH_LEN: usize = 1024;
/// Delegated roles that one search visits.
pub const MAX_DELEGATIONS: usize = 32;
/// Bytes of a directive. Guards memory and traffic of a device.
pub const MAX_DIRECTIVE_LEN: u64 = 16 * 1024;
