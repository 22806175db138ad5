//! A file that a role vouches for.

use alloc::{format, string::String};

use serde_json::Value;

use crate::{hex, name};

/// A file that a role vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its path below the folder of targets, as metadata names it.
    pub path: String,
    /// Its length, bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// What the role says about it; `null` if nothing.
    pub custom: Value,
}

impl Target {
    /// The path under which the repository keeps it, as part of a URL: the last segment is `<sha256>.<name>`.
    #[must_use]
    pub fn url_path(&self) -> String {
        let hash = hex::encode(&self.sha256);
        match self.path.rsplit_once('/') {
            Some((folder, file)) => format!("{}/{hash}.{}", name::url_path(folder), name::url_path(file)),
            None => format!("{hash}.{}", name::url_path(&self.path)),
        }
    }

    /// From an entry of `targets`; the error is the name of the field at fault.
    pub(crate) fn parse(path: &str, entry: &Value) -> Result<Self, &'static str> {
        if !name::valid_target_path(path) {
            return Err("path of a target");
        }
        Ok(Self {
            path: path.into(),
            length: entry["length"].as_u64().ok_or("length of a target")?,
            sha256: entry["hashes"]["sha256"].as_str().and_then(hex::decode).ok_or("sha256 of a target")?,
            custom: entry["custom"].clone(),
        })
    }
}
