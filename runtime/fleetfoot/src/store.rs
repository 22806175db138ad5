//! What a device stores: the state of every model, its bundles, and the metadata that vouches for them.
//!
//! ```text
//! <root>/.device-key                      draws the bucket of this device in rollouts, see `device_key`
//! <root>/tuf/*.json                       verified metadata, byte for byte, replaced as a whole; shared by all models
//! <root>/tuf/rollout-<model>.directive    what the rollout role says, byte for byte
//! <root>/tuf/.lock                        held while the metadata is refreshed
//! <root>/<model>/.lock                    held by the one agent that may write here
//! <root>/<model>/record.0, .1, .2         the state record and a third copy of it, see `slots`
//! <root>/<model>/admitted                 which versions answer rightly here, see `admitted`
//! <root>/<model>/versions/<sha256>.ff     bundles whose signatures held, read-only, never changed
//! <root>/<model>/partial/<sha256>.part    a download, see `partial`
//! <root>/<model>/predictions              what waits for its outcome, see `live`
//! <root>/<model>/reports/*                what is counted, and reports that wait for a network, see `health`
//! ```
//! A bundle gets its name in `versions` by a rename, after its length, its hash and its signatures were checked and its bytes are durable;
//! only then a record may name it. A file that no record names is removed when the agent has time.
//!
//! **Several models** live in one store, each with an agent of its own, in one process or in several. What they share is the metadata: its
//! floors are those of the device. They take turns in refreshing it, and all else they do at the same time.
//!
//! A full disk stops a download and nothing else: records are overwritten in place, and metadata that cannot be replaced stays
//! what it was.

mod admitted;
mod device_key;
mod disk;
mod partial;
mod slots;

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

pub use admitted::{Admitted, Proof};
pub use device_key::DEVICE_KEY_LEN;
pub use disk::{Disk, OsDisk};
use fleetfoot_format::{
    bundle::valid_name,
    record::{Record, Version},
};
pub use partial::Partial;
pub use slots::Loaded;
use slots::Slots;

use crate::error::{Error, hex};

/// The folder of one device.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

/// The metadata is held: nobody else reads or writes it until this is dropped.
#[derive(Debug)]
pub struct MetadataLock {
    _lock: File,
}

impl Store {
    /// Opens the folder; makes it where it is missing.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(root: &Path, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        make_folder(&root.join(METADATA))?;
        Ok(Self { root: root.into(), disk })
    }

    /// Takes the metadata for a refresh: from the first look at what is stored to the last file that is written. Waits for `patience`
    /// where another agent has it.
    ///
    /// # Errors
    /// [`Error::MetadataBusy`], [`Error::File`].
    pub fn lock_metadata(&self, patience: Duration) -> Result<MetadataLock, Error> {
        let folder = self.root.join(METADATA);
        let _lock = lock(&folder, patience)?.ok_or(Error::MetadataBusy { path: folder })?;
        Ok(MetadataLock { _lock })
    }

    /// Bytes that can still be stored; `None` where nobody knows.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.disk.free_bytes(&self.root)
    }

    /// The key of this device; the first call makes it. It is never sent.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoRandomness`], [`Error::MetadataBusy`].
    pub fn device_key(&self) -> Result<[u8; DEVICE_KEY_LEN], Error> {
        // Of agents that start together one makes it, and the others find it.
        let exists = self.root.join(device_key::NAME).exists();
        let _turn = if exists { None } else { Some(self.lock_metadata(KEY_PATIENCE)?) };
        device_key::load_or_make(&self.root, &*self.disk)
    }

    /// All stored metadata: name of the file, content.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn metadata(&self) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let folder = self.root.join(METADATA);
        let mut all = BTreeMap::new();
        for name in names(&folder)? {
            if name.ends_with(TEMPORARY) || name == LOCK {
                continue;
            }
            let path = folder.join(&name);
            let mut bytes = Vec::new();
            let read = File::open(&path).and_then(|file| file.take(MAX_METADATA_LEN).read_to_end(&mut bytes));
            read.map_err(|source| Error::file("read", &path, source))?;
            all.insert(name, bytes);
        }
        Ok(all)
    }

    /// Replaces one metadata file; after a power cut it is the old one or the new one. No bytes: the file is removed.
    ///
    /// # Errors
    /// [`Error::BadName`] where `name` would leave the folder, [`Error::File`].
    pub fn put_metadata(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'%' | b'+');
        if name.starts_with('.') || name.is_empty() || !name.bytes().all(plain) {
            return Err(Error::BadName { name: name.into() });
        }
        let folder = self.root.join(METADATA);
        let (path, temporary) = (folder.join(name), folder.join(format!("{name}{TEMPORARY}")));
        let write = || {
            if bytes.is_empty() {
                return match self.disk.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => self.disk.sync_folder(&folder),
                };
            }
            let file = self.disk.create(&temporary)?;
            self.disk.set_len(&file, 0)?;
            self.disk.write(&file, bytes)?;
            self.disk.sync(&file)?;
            self.disk.rename(&temporary, &path)?;
            self.disk.sync_folder(&folder)
        };
        write().map_err(|source| {
            // What is left of it would be overwritten by the next attempt anyway.
            let _ = self.disk.remove(&temporary);
            Error::file("write", &path, source)
        })
    }

    /// The folder of one model, and its lock. While it is open nobody else can open it, in this process or in another.
    ///
    /// # Errors
    /// [`Error::StoreBusy`] where somebody else has it, [`Error::BadName`] where the name is none for a model, or is that of the metadata
    /// folder; [`Error::File`].
    pub fn model(&self, name: &str) -> Result<ModelStore, Error> {
        if !valid_name(name) || name == METADATA {
            return Err(Error::BadName { name: name.into() });
        }
        let folder = self.root.join(name);
        make_folder(&folder.join(VERSIONS))?;
        make_folder(&folder.join(PARTIAL))?;
        let _lock = lock(&folder, MODEL_PATIENCE)?.ok_or_else(|| Error::StoreBusy { path: folder.clone() })?;
        Ok(ModelStore {
            slots: Slots::new(&folder, Arc::clone(&self.disk)),
            folder,
            disk: Arc::clone(&self.disk),
            _lock,
        })
    }
}

/// The folder of one model on one device.
#[derive(Debug)]
pub struct ModelStore {
    folder: PathBuf,
    disk: Arc<dyn Disk>,
    slots: Slots,
    _lock: File,
}

impl ModelStore {
    /// Reads the state record.
    ///
    /// # Errors
    /// [`Error::File`] where the operating system refuses; damage is not an error but [`Loaded::Lost`].
    pub fn load(&mut self) -> Result<Loaded, Error> {
        self.slots.load()
    }

    /// Makes `record` durable. After an error [`load`](Self::load) tells which record is stored.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&mut self, record: &Record) -> Result<(), Error> {
        self.slots.save(record)
    }

    /// Which versions have proved that they answer rightly here.
    #[must_use]
    pub fn admitted(&self) -> Admitted {
        Admitted::open(self.folder.join(ADMITTED), Arc::clone(&self.disk))
    }

    /// Where the bundle with this hash is, or would be.
    #[must_use]
    pub fn version_path(&self, sha256: &[u8; 32]) -> PathBuf {
        self.folder.join(VERSIONS).join(format!("{}.ff", hex(sha256)))
    }

    /// Bytes of the download of `version` that are there.
    pub(crate) fn partial_len(&self, version: &Version) -> u64 {
        fs::metadata(self.partial_path(version)).map_or(0, |found| found.len())
    }

    fn partial_path(&self, version: &Version) -> PathBuf {
        self.folder.join(PARTIAL).join(format!("{}.part", hex(&version.sha256)))
    }

    /// Where predictions wait for their outcome.
    #[must_use]
    pub fn predictions_path(&self) -> PathBuf {
        self.folder.join(PREDICTIONS)
    }

    /// Where reports of health wait to be sent.
    #[must_use]
    pub fn reports_path(&self) -> PathBuf {
        self.folder.join(REPORTS)
    }

    /// Opens the download of `version` where it stopped.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn partial(&self, version: &Version) -> Result<Partial, Error> {
        Partial::open(&self.partial_path(version), version, Arc::clone(&self.disk))
    }

    /// Gives a finished download its name. The caller has verified it.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn install(&self, partial: &Path, sha256: &[u8; 32]) -> Result<PathBuf, Error> {
        let path = self.version_path(sha256);
        let install = || {
            private(partial)?;
            self.disk.rename(partial, &path)?;
            self.disk.sync_folder(&self.folder.join(VERSIONS))
        };
        install().map_err(|source| Error::file("install", &path, source))?;
        Ok(path)
    }

    /// Removes a download.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn discard(&self, partial: &Path) -> Result<(), Error> {
        self.disk.remove(partial).map_err(|source| Error::file("remove", partial, source))
    }

    /// Removes every bundle and every download of which `may_delete` says so, given its hash, and files that do not belong here.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn collect(&self, may_delete: impl Fn(&[u8; 32]) -> bool) -> Result<usize, Error> {
        let mut removed = 0;
        for (folder, extension) in [(VERSIONS, ".ff"), (PARTIAL, ".part")] {
            let folder = self.folder.join(folder);
            for name in names(&folder)? {
                let sha256 = name.strip_suffix(extension).and_then(unhex);
                // A download whose bundle has its name is what a power cut left of a rename.
                let named = |sha256: &[u8; 32]| extension == ".part" && self.version_path(sha256).exists();
                if sha256.is_none_or(|sha256| may_delete(&sha256) || named(&sha256)) {
                    let path = folder.join(&name);
                    self.disk.remove(&path).map_err(|source| Error::file("remove", &path, source))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

const LOCK: &str = ".lock";
const ADMITTED: &str = "admitted";
/// How long to wait for another agent before the key of the device is made.
const KEY_PATIENCE: Duration = Duration::from_secs(5);
/// How long a model is waited for: a process that another thread starts at this moment has every open file for an instant, a lock that
/// was just given back among them.
const MODEL_PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait between two looks at a lock.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const METADATA: &str = "tuf";
const VERSIONS: &str = "versions";
const PREDICTIONS: &str = "predictions";
const REPORTS: &str = "reports";
const PARTIAL: &str = "partial";
const TEMPORARY: &str = ".new";
/// Bytes of one metadata file. Guards memory against a file that grew by a fault.
const MAX_METADATA_LEN: u64 = 16 << 20;

/// Takes the lock of a folder; `None` where somebody else has it all the time. It ends with the file, and with the process.
fn lock(folder: &Path, patience: Duration) -> Result<Option<File>, Error> {
    let path = folder.join(LOCK);
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(|source| Error::file("open", &path, source))?;
    let end = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(Some(lock)),
            Err(TryLockError::WouldBlock) if Instant::now() >= end => return Ok(None),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK_AGAIN),
            Err(TryLockError::Error(source)) => return Err(Error::file("lock", &path, source)),
        }
    }
}

/// Makes a folder and its parents that only the owner may enter.
fn make_folder(path: &Path) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| Error::file("make the folder", path, source))
}

/// Readable by its owner, writable by nobody.
fn private(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    #[cfg(unix)]
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o400);
    #[cfg(not(unix))]
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions)
}

fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let list = || fs::read_dir(folder)?.map(|entry| entry.map(|e| e.file_name())).collect::<io::Result<Vec<_>>>();
    let names = list().map_err(|source| Error::file("list", folder, source))?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}
