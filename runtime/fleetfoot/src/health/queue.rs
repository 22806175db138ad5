//! Reports that wait for a network: one file each, the oldest sent first.
//!
//! ```text
//! <folder>/open                       the part that is being counted, see `open`
//! <folder>/<day>-<part>-<nonce>.report a message that is complete; never changed, removed when it was acknowledged
//! ```
//! A file gets its name by a rename after it is durable, so a name is a whole report. A name is written once: the same part of the same
//! day is the same nonce, and whoever receives it twice counts it once. What is older than 30 days or over the bytes that were
//! allowed leaves, the oldest first.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fleetfoot_format::report::MAX_REPORT_LEN;

use crate::{error::Error, store::Disk};

/// Days that a report waits at most.
const MAX_DAYS: u32 = 30;

/// The folder of waiting reports.
#[derive(Debug)]
pub struct Queue {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    max_bytes: u64,
}

/// Day, part and the beginning of the nonce of a waiting report: its place in the queue.
pub(super) type Key = (u32, u8, u32);

impl Queue {
    /// Opens the folder and makes it where it is missing. `max_bytes` bounds what waits.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: &Path, disk: Arc<dyn Disk>, max_bytes: u64) -> Result<Self, Error> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder).map_err(|source| Error::file("make the folder", folder, source))?;
        Ok(Self { folder: folder.into(), disk, max_bytes })
    }

    /// How many reports wait.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn len(&self) -> Result<usize, Error> {
        Ok(self.keys()?.len())
    }

    /// Whether none waits.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn is_empty(&self) -> Result<bool, Error> {
        Ok(self.len()? == 0)
    }

    /// The waiting reports, the oldest first.
    pub(super) fn keys(&self) -> Result<Vec<Key>, Error> {
        let mut keys: Vec<Key> = self.names()?.iter().filter_map(|name| parse(name)).collect();
        keys.sort_unstable();
        Ok(keys)
    }

    fn names(&self) -> Result<Vec<String>, Error> {
        let list =
            || fs::read_dir(&self.folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>();
        let names = list().map_err(|source| Error::file("list", &self.folder, source))?;
        // Every name that this queue gives is text.
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    pub(super) fn contains(&self, key: Key) -> bool {
        self.path(key).exists()
    }

    /// Adds a complete message and drops what is too old on the day `today`, or too much.
    pub(super) fn push(&self, key: Key, message: &[u8], today: u32) -> Result<(), Error> {
        self.replace(&name(key), message)?;
        self.prune(today)
    }

    /// The message; `None` where there is none that could be one.
    pub(super) fn read(&self, key: Key) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.read_file(&name(key), MAX_REPORT_LEN as u64)?;
        Ok(bytes.filter(|bytes| !bytes.is_empty()))
    }

    /// Forgets a report. One that is gone already is no error.
    pub(super) fn remove(&self, key: Key) -> Result<(), Error> {
        self.remove_file(&self.path(key))
    }

    pub(super) fn read_open(&self) -> Result<Option<Vec<u8>>, Error> {
        self.read_file(OPEN, MAX_OPEN_LEN)
    }

    pub(super) fn write_open(&self, bytes: &[u8]) -> Result<(), Error> {
        self.replace(OPEN, bytes)
    }

    /// Removes everything, also what a power cut left half written: reporting was switched off.
    pub(super) fn clear(&self) -> Result<(), Error> {
        let is_own = |name: &String| {
            let name = name.strip_suffix(TEMPORARY).unwrap_or(name);
            name == OPEN || parse(name).is_some()
        };
        self.names()?.iter().filter(|name| is_own(name)).try_for_each(|name| self.remove_file(&self.folder.join(name)))
    }

    fn prune(&self, today: u32) -> Result<(), Error> {
        let mut kept = 0;
        for key in self.keys()?.into_iter().rev() {
            kept += fs::metadata(self.path(key)).map_or(0, |metadata| metadata.len());
            if key.0.saturating_add(MAX_DAYS) < today || kept > self.max_bytes {
                self.remove(key)?;
            }
        }
        Ok(())
    }

    fn read_file(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.folder.join(name);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes)) {
            Ok(n) => Ok((n as u64 <= limit).then_some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", &path, source)),
        }
    }

    fn remove_file(&self, path: &Path) -> Result<(), Error> {
        match self.disk.remove(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, source)),
            _ => Ok(()),
        }
    }

    /// Old or new, never half.
    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, temporary) = (self.folder.join(name), self.folder.join(format!("{name}{TEMPORARY}")));
        let write = || {
            let file = File::create(&temporary)?;
            self.disk.write(&file, bytes)?;
            self.disk.sync(&file)?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_folder(&self.folder)
        };
        write().map_err(|source| {
            // The next attempt would overwrite it anyway.
            let _ = fs::remove_file(&temporary);
            Error::file("write", &path, source)
        })
    }

    fn path(&self, key: Key) -> PathBuf {
        self.folder.join(name(key))
    }
}

const OPEN: &str = "open";
const TEMPORARY: &str = ".new";
const MAX_OPEN_LEN: u64 = 16 << 10;

fn name((day, part, nonce): Key) -> String {
    format!("{day}-{part}-{nonce:08x}.report")
}

fn parse(name: &str) -> Option<Key> {
    let (day, rest) = name.strip_suffix(".report")?.split_once('-')?;
    let (part, nonce) = rest.split_once('-')?;
    Some((day.parse().ok()?, part.parse().ok()?, u32::from_str_radix(nonce, 16).ok()?))
}
