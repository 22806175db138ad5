//! What the signers remember of a repository: a small file that lies beside the online keys and not in the repository.
//!
//! An old timestamp has good signatures for as long as it has not expired. Whoever can write to the web server can put yesterday's files
//! back; a signer that believed them would sign a new timestamp upon them, take back what was published since, and spend
//! the version numbers twice. So a signer with a memory refuses a folder that is older than what it has seen, and a folder that
//! begins with another root.
//!
//! | moment | memory |
//! |---|---|
//! | before a new timestamp is put into the folder | `signed` counts the new versions, the confirmed timestamp is the old one |
//! | after | the confirmed timestamp is the new one |
//!
//! A change that breaks off in between is not in force, and its numbers are not used again.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fleetfoot_trust::sha256;
use fleetfoot_tuf::hex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{error::RepositoryError, files};

const FORMAT: &str = "fleetfoot-memory-v1";

/// What is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Memory {
    format: String,
    /// SHA-256 of `1.root.json`: which repository this is.
    first_root: String,
    /// Version of the newest root.
    pub(crate) root: u64,
    /// The newest timestamp that is known to have been in force: version and SHA-256.
    timestamp: u64,
    sha256: String,
    /// The highest version that was ever signed, by role.
    signed: BTreeMap<String, u64>,
}

/// The newest timestamp in a folder.
pub(crate) struct Seen<'a> {
    pub(crate) first_root: &'a [u8],
    pub(crate) root: u64,
    pub(crate) timestamp: u64,
    pub(crate) bytes: &'a [u8],
}

impl Memory {
    /// The first memory of a repository.
    pub(crate) fn new(seen: &Seen<'_>) -> Self {
        let mut this = Self {
            format: FORMAT.into(),
            first_root: hex::encode(&sha256(seen.first_root)),
            root: 0,
            timestamp: 0,
            sha256: String::new(),
            signed: BTreeMap::new(),
        };
        this.confirm(seen);
        this
    }

    /// Reads `path`; nothing where there is no file.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, RepositoryError> {
        if !path.exists() {
            return Ok(None);
        }
        let malformed = || RepositoryError::Malformed { path: path.into(), what: "not a memory of a repository" };
        let value = files::parse(path, &files::read(path)?)?;
        let memory: Self = serde_json::from_value(value).map_err(|_| malformed())?;
        if memory.format == FORMAT { Ok(Some(memory)) } else { Err(malformed()) }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), RepositoryError> {
        let value = serde_json::to_value(self).unwrap_or(Value::Null);
        files::write(path, format!("{value:#}\n").as_bytes())
    }

    /// Whether it remembers the repository that begins with `first_root`.
    pub(crate) fn is_of(&self, first_root: &[u8]) -> bool {
        self.first_root == hex::encode(&sha256(first_root))
    }

    /// Whether what is in the folder may be signed upon.
    pub(crate) fn check(&self, dir: &Path, seen: &Seen<'_>) -> Result<(), RepositoryError> {
        if !self.is_of(seen.first_root) {
            return Err(RepositoryError::Unknown { path: dir.into() });
        }
        let older = |role: &str, found, known| RepositoryError::Older { role: role.into(), found, known };
        if seen.root < self.root {
            return Err(older("root", seen.root, self.root));
        }
        if seen.timestamp < self.timestamp {
            return Err(older("timestamp", seen.timestamp, self.timestamp));
        }
        if seen.timestamp == self.timestamp && hex::encode(&sha256(seen.bytes)) != self.sha256 {
            return Err(RepositoryError::Other { version: seen.timestamp });
        }
        Ok(())
    }

    /// This is in force. It is never forgotten that higher versions were signed.
    pub(crate) fn confirm(&mut self, seen: &Seen<'_>) {
        self.root = seen.root;
        self.timestamp = seen.timestamp;
        self.sha256 = hex::encode(&sha256(seen.bytes));
        self.sign("root", seen.root);
        self.sign("timestamp", seen.timestamp);
    }

    /// A version of a role is about to be signed.
    pub(crate) fn sign(&mut self, role: &str, version: u64) {
        let signed = self.signed.entry(role.to_owned()).or_default();
        *signed = version.max(*signed);
    }

    /// The lowest version of a role that was not signed yet.
    pub(crate) fn unused(&self, role: &str) -> u64 {
        self.signed.get(role).map_or(1, |version| version.saturating_add(1))
    }
}

/// Where the memory of a repository lies: beside the key `timestamp_key`, named after the first root.
///
/// # Errors
/// [`RepositoryError::File`] where the repository has no first root.
pub fn memory_beside(timestamp_key: &Path, repository: &Path) -> Result<PathBuf, RepositoryError> {
    let first_root = files::read(&repository.join("metadata/1.root.json"))?;
    let name = format!("repository-{}.memory", &hex::encode(&sha256(&first_root))[..16]);
    Ok(timestamp_key.with_file_name(name))
}
