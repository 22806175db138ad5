//! Files of the repository: read whole and bounded, written beside and renamed.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use fleetfoot_format::limits::MAX_BUNDLE_LEN;
use fleetfoot_tuf::json;
use serde_json::Value;

use crate::error::RepositoryError;

/// No file of metadata is longer than this.
const MAX_LEN: u64 = 8 << 20;

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, RepositoryError> {
    bounded(path, MAX_LEN, "longer than metadata may be")
}

pub(crate) fn read_bundle(path: &Path) -> Result<Vec<u8>, RepositoryError> {
    bounded(path, MAX_BUNDLE_LEN, "longer than a bundle may be")
}

fn bounded(path: &Path, limit: u64, what: &'static str) -> Result<Vec<u8>, RepositoryError> {
    let broken = |e| RepositoryError::file("read", path, e);
    let mut bytes = Vec::new();
    File::open(path).map_err(broken)?.take(limit + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > limit {
        return Err(RepositoryError::Malformed { path: path.into(), what });
    }
    Ok(bytes)
}

/// The document in `bytes`, which came from `path`. A member that is there twice is refused, as devices refuse it.
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Value, RepositoryError> {
    json::parse(bytes).map_err(|error| RepositoryError::Malformed {
        path: path.into(),
        what: if error.is_duplicate { "a member that is there twice" } else { "not JSON" },
    })
}

/// The file has these bytes durably, or what it had before.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), RepositoryError> {
    let broken = |e| RepositoryError::file("write", path, e);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(folder).map_err(broken)?;
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let put = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    };
    put().map_err(|e| {
        // What is left of the temporary file is in nobody's way.
        let _ = fs::remove_file(&temporary);
        broken(e)
    })
}

/// Makes the folder and those above it, each with a durable name: otherwise a file in it could be lost that metadata names already.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_folder(above)?;
    match fs::create_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => File::open(above)?.sync_all(),
    }
}
