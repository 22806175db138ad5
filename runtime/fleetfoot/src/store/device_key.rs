//! The key of a device: 16 random bytes that decide which bucket it is in, for every rollout to come.
//!
//! It lies beside the slots and the bundles, so that no rollback takes it back, and only its owner may read it. It is made once and never
//! sent; whoever knew it and the salt of a release would know when the device gets it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::Path,
};

use super::disk::Disk;
use crate::error::Error;

/// Bytes of a device key.
pub const DEVICE_KEY_LEN: usize = 16;

/// The key in `root`; a new one where there is none, or one of another length.
pub(super) fn load_or_make(root: &Path, disk: &dyn Disk) -> Result<[u8; DEVICE_KEY_LEN], Error> {
    let path = root.join(NAME);
    match read(&path) {
        Ok(Some(key)) => return Ok(key),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::file("read", &path, error)),
        _ => {}
    }
    let mut key = [0; DEVICE_KEY_LEN];
    getrandom::fill(&mut key).map_err(|_| Error::NoRandomness)?;
    let temporary = root.join(format!("{NAME}.new"));
    let write = || {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // What a write that broke off has left; the mode of a file that is there already would stay.
        let _ = fs::remove_file(&temporary);
        let file = options.open(&temporary)?;
        disk.write(&file, &key)?;
        disk.sync(&file)?;
        disk.rename(&temporary, &path)?;
        disk.sync_folder(root)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(&temporary);
        Error::file("write", &path, source)
    })?;
    Ok(key)
}

/// Nothing where the file has another length.
fn read(path: &Path) -> io::Result<Option<[u8; DEVICE_KEY_LEN]>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DEVICE_KEY_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(<[u8; DEVICE_KEY_LEN]>::try_from(bytes).ok())
}

/// No name of a model begins like this.
pub(super) const NAME: &str = ".device-key";
