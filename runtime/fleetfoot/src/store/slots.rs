//! The state record in two alternating files, `record.0` and `record.1`, and a third copy of what must not be forgotten, `record.2`.
//!
//! All have the length of the longest record from their first write on and are overwritten in place, so that a full disk cannot keep
//! a record from being written. A write goes to the slot that was not loaded; if it is torn, that slot is damaged and the
//! other one is what it was. The table is in [`fleetfoot_format::record`].
//!
//! The third copy is a record without its candidate. It is written behind the slots, and only when something else changed than the
//! candidate and the counters: a commit, a rejection, a rollback. So it is at rest nearly always. It is read when both slots
//! are lost, and then what was rejected stays rejected, floors stay where they are, and the version that was active serves. It may be one change behind.
//! A version that it names and that is gone meanwhile is found missing when it is opened, as any other.

use std::{
    fs::File,
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

/// What the slots hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing was ever stored.
    Fresh,
    /// The newest intact record.
    Record(Box<Record>),
    /// Both slots are lost; this is the third copy, without a candidate.
    Restored(Box<Record>),
    /// Something was stored and nothing of it is intact.
    Lost,
    /// A newer runtime wrote here; nothing may be written.
    Newer {
        /// The version of its record.
        version: u8,
    },
}

/// The slots of one model.
#[derive(Debug)]
pub(crate) struct Slots {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    /// The slot that the next record goes to; `None`: a newer runtime's, or not loaded.
    next: Option<usize>,
    /// What the third copy holds, as far as it is known to be durable.
    third: Option<Record>,
}

impl Slots {
    pub(crate) fn new(folder: &Path, disk: Arc<dyn Disk>) -> Self {
        Self { folder: folder.into(), disk, next: None, third: None }
    }

    pub(crate) fn load(&mut self) -> Result<Loaded, Error> {
        let slots = [self.read(0)?, self.read(1)?, self.read(THIRD)?];
        self.next = None;
        let newer = slots.iter().flatten().find_map(|slot| match slot {
            Err(FormatError::UnknownVersion { found, .. }) => Some(*found),
            _ => None,
        });
        if let Some(version) = newer {
            return Ok(Loaded::Newer { version });
        }
        let fresh = slots.iter().all(Option::is_none);
        let [first, second, third] = slots.map(|slot| slot.and_then(Result::ok));
        self.third.clone_from(&third);
        let records = [first, second].into_iter().enumerate().filter_map(|(i, slot)| Some((i, slot?)));
        let newest = records.max_by_key(|(_, record)| record.seq);
        self.next = Some(newest.as_ref().map_or(0, |(i, _)| 1 - i));
        Ok(match (newest, third) {
            (Some((_, record)), _) => Loaded::Record(Box::new(record)),
            (None, Some(third)) => Loaded::Restored(Box::new(third)),
            (None, None) if fresh => Loaded::Fresh,
            (None, None) => Loaded::Lost,
        })
    }

    /// Writes `record` over the slot that is not the loaded one, and the third copy where it differs. After an error
    /// [`load`](Self::load) tells what is stored.
    pub(crate) fn save(&mut self, record: &Record) -> Result<(), Error> {
        let path = self.path(self.next.unwrap_or(0));
        // Without a successful load nothing is written: it might be a newer runtime's.
        let next = self.next.take().ok_or_else(|| refused(&path))?;
        self.write(next, record)?;
        self.next = Some(1 - next);
        let lasting = Record { seq: 0, candidate: None, watch_left_s: 0, ..record.clone() };
        if self.third.as_ref() != Some(&lasting) {
            // The record itself is durable: a third copy that cannot be written waits for the next change.
            self.third = None;
            match self.write(THIRD, &lasting) {
                Ok(()) => self.third = Some(lasting),
                Err(error) => tracing::warn!("the third copy of the state is not up to date: {error}"),
            }
        }
        Ok(())
    }

    fn write(&self, slot: usize, record: &Record) -> Result<(), Error> {
        let path = self.path(slot);
        let mut bytes = [0; MAX_RECORD_LEN];
        record.encode(&mut bytes)?;
        let create = !path.exists();
        let file = self.disk.create(&path).map_err(|source| Error::file("open", &path, source))?;
        self.disk.write(&file, &bytes).map_err(|source| Error::file("write", &path, source))?;
        self.disk.sync(&file).map_err(|source| Error::file("write", &path, source))?;
        if create {
            self.disk.sync_folder(&self.folder).map_err(|source| Error::file("write", &self.folder, source))?;
        }
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

const THIRD: usize = 2;

fn refused(path: &Path) -> Error {
    Error::file("write", path, io::Error::new(io::ErrorKind::PermissionDenied, "the state was not loaded"))
}
