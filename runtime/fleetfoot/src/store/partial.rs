//! A bundle on its way in: appended to, hashed while it arrives, and checked before it gets its name.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use fleetfoot_format::record::Version;
use fleetfoot_trust::Sha256;

use super::disk::Disk;
use crate::error::Error;

/// A file in the folder `partial`. Whatever was in it from before counts, if it is not too long; the hash decides in the end.
#[derive(Debug)]
pub struct Partial {
    file: File,
    path: PathBuf,
    disk: Arc<dyn Disk>,
    hash: Sha256,
    offset: u64,
    version: Version,
}

impl Partial {
    pub(crate) fn open(path: &Path, version: &Version, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let open = || {
            let mut file = disk.create(path)?;
            if file.metadata()?.len() > version.len {
                disk.set_len(&file, 0)?;
            }
            let (mut hash, mut offset) = (Sha256::new(), 0);
            let mut chunk = [0; 64 * 1024];
            loop {
                let n = file.read(&mut chunk)?;
                if n == 0 {
                    break;
                }
                hash.update(&chunk[..n]);
                offset += n as u64;
            }
            file.seek(SeekFrom::Start(offset))?;
            Ok((file, hash, offset))
        };
        let (file, hash, offset) = open().map_err(|source| Error::file("open", path, source))?;
        Ok(Self { file, path: path.into(), disk, hash, offset, version: *version })
    }

    /// Bytes that are there.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// What the operating system reports, or [`io::ErrorKind::FileTooLarge`] beyond the announced length. What was there
    /// before stays.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() as u64 > self.version.len - self.offset {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "more bytes than announced"));
        }
        if let Err(error) = self.disk.write(&self.file, bytes) {
            // Part of it may be in the file; the rest of the file must agree with what was hashed.
            self.disk.set_len(&self.file, self.offset)?;
            self.file.seek(SeekFrom::Start(self.offset))?;
            return Err(error);
        }
        self.hash.update(bytes);
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Makes the file durable and checks length and SHA-256. A file that is complete and wrong is removed.
    ///
    /// # Errors
    /// [`Error::HashMismatch`], [`Error::WrongLength`], or what the operating system reports.
    pub fn finish(self) -> Result<PathBuf, Error> {
        let Self { file, path, disk, hash, offset, version } = self;
        if offset != version.len {
            return Err(Error::WrongLength { path, expected: version.len, found: offset });
        }
        disk.sync(&file).map_err(|source| Error::file("write", &path, source))?;
        let found = hash.finish();
        if found != version.sha256 {
            disk.remove(&path).map_err(|source| Error::file("remove", &path, source))?;
            return Err(Error::HashMismatch { path, expected: version.sha256, found });
        }
        Ok(path)
    }
}
