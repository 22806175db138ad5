//! A repository with keys that are numbers, and a device that follows it.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use fleetfoot_format::bundle::{Budget, Header, SectionKind};
use fleetfoot_quantize::assemble;
use fleetfoot_repository::{Expiry, Init, Online, Published, Repository, RepositoryError, Signers};
use fleetfoot_trust::{SigningKey, sign_bundle};
use fleetfoot_tuf::{Action, Client, Stored, Target, TufError};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn keys(ns: &[u8]) -> Vec<SigningKey> {
    ns.iter().map(|&n| key(n)).collect()
}

pub(crate) fn publics(ns: &[u8]) -> Vec<[u8; 32]> {
    ns.iter().map(|&n| key(n).public()).collect()
}

/// Root 1 and 2, targets 3, snapshot 4, timestamp 5, releases of `kws` 7 and 8, both of which must sign.
pub(crate) struct Fixture {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) snapshot: Vec<SigningKey>,
    pub(crate) timestamp: Vec<SigningKey>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap(), snapshot: keys(&[4]), timestamp: keys(&[5]) };
        this.init().unwrap();
        this
    }

    pub(crate) fn init(&self) -> Result<Repository, RepositoryError> {
        let (root, targets) = (keys(&[1, 2]), keys(&[3]));
        let init = Init {
            root: Signers { signing: &root, others: &[], threshold: 2 },
            targets: Signers { signing: &targets, others: &[], threshold: 1 },
            online: self.online(),
            models: &[("kws", &publics(&[7, 8]), 2)],
        };
        Repository::init(self.folder.path(), &init, Expiry::default(), NOW)
    }

    pub(crate) fn online(&self) -> Online<'_> {
        Online { snapshot: &self.snapshot, timestamp: &self.timestamp }
    }

    pub(crate) fn repository(&self) -> Repository {
        Repository::open(self.folder.path()).unwrap()
    }

    pub(crate) fn publish(&self, bundle: &[u8], now: i64) -> Result<Published, RepositoryError> {
        self.repository().publish(bundle, &keys(&[7, 8]), self.online(), Expiry::default(), now)
    }

    pub(crate) fn metadata(&self, name: &str) -> PathBuf {
        self.folder.path().join("metadata").join(name)
    }

    /// All files but the lock.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(self.folder.path(), &mut files);
        files.retain(|path, _| !path.ends_with("repository.lock"));
        files
    }
}

pub(crate) fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
}

pub(crate) fn bundle(model: &str, number: u64, version: &str, signers: &[u8], by: &[u8]) -> Vec<u8> {
    let header = Header {
        model,
        version,
        number,
        total_len: 0,
        min_runtime: (0, 1),
        target: "portable",
        budget: Budget::default(),
        sections: Default::default(),
    };
    let mut bytes = assemble(header, &[(SectionKind::LABELS, b"yes\nno\n")], &publics(signers)).unwrap();
    for &n in by {
        sign_bundle(&mut bytes, &key(n)).unwrap();
    }
    bytes
}

pub(crate) fn kws(number: u64) -> Vec<u8> {
    bundle("kws", number, &format!("{number}.0.0"), &[7, 8], &[7, 8])
}

/// A device that keeps what it verified.
pub(crate) struct Device {
    pub(crate) root: Vec<u8>,
    pub(crate) stored: Stored,
}

impl Device {
    pub(crate) fn new(fixture: &Fixture) -> Self {
        Self { root: fs::read(fixture.metadata("1.root.json")).unwrap(), stored: Stored::new() }
    }

    pub(crate) fn refresh(&mut self, fixture: &Fixture, role: &str, now: i64) -> Result<Vec<Target>, TufError> {
        let mut client = Client::new(&self.root, self.stored.clone(), now)?;
        client.refresh(role);
        loop {
            match client.poll()? {
                Action::Fetch { path, max_len, .. } => {
                    let file = fs::read(fixture.metadata(&path)).ok();
                    assert!(file.as_ref().is_none_or(|file| file.len() as u64 <= max_len), "{path}");
                    client.feed(file)?;
                }
                Action::Persist { name, bytes } => {
                    self.stored.insert(name, bytes);
                    client.persisted();
                }
                Action::Done => return Ok(client.targets_of(role).collect()),
            }
        }
    }

    pub(crate) fn numbers(&mut self, fixture: &Fixture, now: i64) -> Result<Vec<u64>, u16> {
        let targets = self.refresh(fixture, "releases-kws", now).map_err(|e| e.code())?;
        Ok(targets.iter().map(|target| target.custom["number"].as_u64().unwrap()).collect())
    }
}
