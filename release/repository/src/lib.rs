//! Writes and signs the update repository: static files that any web server can carry.
//!
//! ```text
//! metadata/N.root.json                                     immutable
//! metadata/V.{targets,releases-<model>,rollout-<model>,snapshot}.json      immutable
//! metadata/timestamp.json                                  written last; the only name whose contents change
//! targets/models/<model>/<version>/<sha256>.<model>-<version>.ff
//! targets/rollouts/<model>/<sha256>.current.json
//! metadata/V.lite-<model>.json, targets/lite/<model>/…     for devices without clock, JSON or TLS, where asked for
//! ```
//! [`Repository`] holds no key: they are arguments of each operation. Whatever it reads back from the folder it verifies before it signs
//! on top of it, so that somebody who can write to the web server cannot get a forged list signed; with a memory
//! ([`Repository::with_memory`]) nor an old one. [`keyfile`] keeps keys in files.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod device;
mod envelope;
mod error;
mod files;
pub mod keyfile;
mod lite;
mod memory;
mod metadata;
mod renew;
mod repository;
mod rollout;
mod rotate;
mod seal;
mod state;
mod status;
mod trust_folder;

pub use envelope::{EnvelopeSpec, parse_limit, parse_percent};
pub use error::RepositoryError;
pub use lite::LiteOrder;
pub use memory::memory_beside;
pub use repository::{Expiry, Init, Online, Published, Repository, Signers};
pub use rotate::TopRole;
pub use status::{Release, RoleStatus, Status, seconds_until};
pub use trust_folder::keys_from_folder;
