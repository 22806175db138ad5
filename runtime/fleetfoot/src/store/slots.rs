//! The state record in two alternating files, `record.0` and `record.1`.
//!
//! Both have the length of the longest record from their first write on and are overwritten in place, so that a full disk cannot keep
//! a record from being written. A write goes to the slot that was not loaded; if it is torn, that slot is damaged and the
//! other one is what it was. The table is in [`fleetfoot_format::record`].

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fleetfoot_format::{
    FormatError,
    record::{MAX_RECORD_LEN, Record},
};

use super::disk::Disk;
use crate::error::Error;

/// What the two slots hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing was ever stored.
    Fresh,
    /// The newest intact record.
    Record(Box<Record>),
    /// Something was stored and nothing of it is intact.
    Lost,
    /// A newer runtime wrote here; nothing may be written.
    Newer {
        /// The version of its record.
        version: u8,
    },
}

/// The two slots of one model.
#[derive(Debug)]
pub(crate) struct Slots {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    /// The slot that the next record goes to; `None`: a newer runtime's, or not loaded.
    next: Option<usize>,
}

impl Slots {
    pub(crate) fn new(folder: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { folder: folder.into(), disk, next: None }
    }

    pub(crate) fn load(&mut self) -> Result<Loaded, Error> {
        let slots = [self.read(0)?, self.read(1)?];
        self.next = None;
        let newer = slots.iter().flatten().find_map(|slot| match slot {
            Err(FormatError::UnknownVersion { found, .. }) => Some(*found),
            _ => None,
        });
        if let Some(version) = newer {
            return Ok(Loaded::Newer { version });
        }
        let fresh = slots.iter().all(Option::is_none);
        let records = slots.into_iter().enumerate().filter_map(|(i, slot)| Some((i, slot?.ok()?)));
        let newest = records.max_by_key(|(_, record)| record.seq);
        self.next = Some(newest.as_ref().map_or(0, |(i, _)| 1 - i));
        Ok(match newest {
            Some((_, record)) => Loaded::Record(Box::new(record)),
            None if fresh => Loaded::Fresh,
            None => Loaded::Lost,
        })
    }

    /// Writes `record` over the slot that is not the loaded one. After an error [`load`](Self::load) tells what is stored.
    pub(crate) fn save(&mut self, record: &Record) -> Result<(), Error> {
        let path = self.path(self.next.unwrap_or(0));
        // Without a successful load nothing is written: it might be a newer runtime's.
        let next = self.next.take().ok_or_else(|| refused(&path))?;
        let mut slot = [0; MAX_RECORD_LEN];
        record.encode(&mut slot)?;
        let create = !path.exists();
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|source| Error::file("open", &path, source))?;
        self.disk.write(&file, &slot).map_err(|source| Error::file("write", &path, source))?;
        self.disk.sync(&file).map_err(|source| Error::file("write", &path, source))?;
        if create {
            self.disk.sync_folder(&self.folder).map_err(|source| Error::file("write", &self.folder, source))?;
        }
        self.next = Some(1 - next);
        Ok(())
    }

    /// `None` where there is no such file.
    fn read(&self, slot: usize) -> Result<Option<Result<Record, FormatError>>, Error> {
        let path = self.path(slot);
        let mut bytes = Vec::with_capacity(MAX_RECORD_LEN);
        match File::open(&path).and_then(|file| file.take(MAX_RECORD_LEN as u64).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(Record::decode(&bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::file("read", &path, source)),
        }
    }

    fn path(&self, slot: usize) -> PathBuf {
        self.folder.join(format!("record.{slot}"))
    }
}

fn refused(path: &Path) -> Error {
    Error::file("write", path, io::Error::new(io::ErrorKind::PermissionDenied, "the state was not loaded"))
}
