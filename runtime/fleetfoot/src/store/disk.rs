//! What the store asks of a file system: a handful of operations, each of which can fail.
//!
//! They are methods of a trait for one reason: a test can let any of them fail, or stop half way, the way a full
//! disk and a lost power supply do. Everything that the store changes goes through them, the making of folders excepted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Operations on a file system. The provided methods are those of the operating system.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file for reading and writing, at its start, and makes it where it is missing. What is in it stays.
    ///
    /// # Errors
    /// What the operating system reports.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// Cuts `file` off after `len` bytes.
    ///
    /// # Errors
    /// What the operating system reports.
    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Writes all of `bytes` at the position of `file`.
    ///
    /// # Errors
    /// What the operating system reports; a part may have been written.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Makes the content of `file` durable.
    ///
    /// # Errors
    /// What the operating system reports.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Replaces `to` by `from` in one step.
    ///
    /// # Errors
    /// What the operating system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Makes the names in `folder` durable. Where folders cannot be opened (Windows), the file system's own journal has to do.
    ///
    /// # Errors
    /// What the operating system reports.
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// What the operating system reports.
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Bytes that can still be stored in `folder`; `None` where nobody knows.
    fn free_bytes(&self, folder: &Path) -> Option<u64> {
        #[cfg(unix)]
        return rustix::fs::statvfs(folder).ok().map(|found| found.f_bavail.saturating_mul(found.f_frsize));
        #[cfg(not(unix))]
        return {
            _ = folder;
            None
        };
    }
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {}
