//! The timestamp: the one file that every device asks for again and again. It is kept in memory with its tag, so that most answers are a comparison.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use axum::{body::Bytes, http::HeaderValue};
use fleetfoot_trust::sha256;
use serde_json::Value;

use crate::tokens::hex;

/// No timestamp is longer.
const MAX_LEN: u64 = 64 << 10;

/// The file as it is.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) bytes: Bytes,
    pub(crate) tag: HeaderValue,
    pub(crate) version: u64,
    /// Seconds since 1970 at which it expires, RFC 3339.
    pub(crate) expires: String,
}

#[derive(Debug)]
pub(crate) struct Timestamp {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    current: Option<Arc<Current>>,
    /// What tells the file that `current` is of from another.
    file: Option<File>,
}

/// Number on its disk, time and length: a file that takes the place of another has a number of its own, however soon it comes.
type File = (u64, SystemTime, u64);

fn look(path: &Path) -> Option<File> {
    let found = fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Some((number, found.modified().ok()?, found.len()))
}

impl Timestamp {
    pub(crate) fn new(repo: &Path) -> Self {
        Self { path: repo.join("metadata/timestamp.json"), kept: Mutex::default() }
    }

    /// The file as it is; nothing where there is none. It is looked at every time, and read when it is another one.
    pub(crate) fn current(&self) -> Option<Arc<Current>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = look(&self.path).filter(|(_, _, len)| *len <= MAX_LEN);
        if kept.current.is_none() || kept.file != found {
            kept.current = found.and_then(|_| read(&self.path)).map(Arc::new);
            kept.file = found;
        }
        kept.current.clone()
    }

    /// It was just written: the next question looks.
    pub(crate) fn written(&self) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Kept::default();
    }
}

fn read(path: &Path) -> Option<Current> {
    let bytes = fs::read(path).ok()?;
    // Whatever is there is served: devices judge it. Its version is only for those who wait.
    let signed = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
    let tag = format!("\"{}\"", &hex(&sha256(&bytes))[..32]);
    Some(Current {
        version: signed["signed"]["version"].as_u64().unwrap_or(0),
        expires: signed["signed"]["expires"].as_str().unwrap_or_default().into(),
        tag: HeaderValue::from_str(&tag).ok()?,
        bytes: bytes.into(),
    })
}
