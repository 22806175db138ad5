//! The Update Framework, version 1.0: which metadata of a repository may be believed, and which files it names.
//!
//! ```text
//! embedded root ─▶ N.root.json … ─▶ timestamp.json ─▶ V.snapshot.json ─▶ V.targets.json ─▶ V.releases-<model>.json ─▶ targets
//! ```
//! [`Client`] does no IO and has no clock: [`Client::poll`] says what to fetch or to store, and the time is an argument. Its steps
//! are those of section 5 of the specification, in its order. Keys are Ed25519 keys; the feature `conformance`, which no device
//! has, adds the other types that the public conformance suite uses. Hashes are SHA-256: where a repository lists hashes, that one must
//! be among them.
//!
//! What is signed is the canonical form of what was parsed, so a signature is never over one reading of a file and
//! the decision over another. Identifiers of keys are opaque names; they are never computed from keys. Verified files are kept byte for
//! byte.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod canonical;
mod checks;
mod client;
mod error;
mod first_root;
pub mod hex;
pub mod json;
mod keys;
pub mod limits;
mod metadata;
pub mod name;
pub mod rollout;
mod search;
mod target;
pub mod time;

pub use client::{Action, Client, Stored, keys_from};
pub use error::TufError;
pub use first_root::FIRST_ROOT;
pub use target::Target;
