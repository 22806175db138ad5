//! The repository on a folder, and what can be done to it.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use fleetfoot_format::bundle::Bundle;
use fleetfoot_trust::{SigningKey, Verified, sha256};
use fleetfoot_tuf::{Target, TufError, hex, name, time};
use serde_json::{Value, json};

use crate::{
    device,
    error::RepositoryError,
    files,
    metadata::{body, keys, meta, newest_root, role, sign},
    state::{delegate, of_role},
};

/// For how long what is signed holds, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Root and targets.
    pub offline: i64,
    /// The release role of a model.
    pub releases: i64,
    /// Snapshot.
    pub snapshot: i64,
    /// Timestamp.
    pub timestamp: i64,
}

impl Default for Expiry {
    /// One year, six months, 30 days, 7 days.
    fn default() -> Self {
        const DAY: i64 = 86_400;
        Self { offline: 365 * DAY, releases: 182 * DAY, snapshot: 30 * DAY, timestamp: 7 * DAY }
    }
}

/// Keys of a role that sign now, all keys of the role, and how many it needs.
#[derive(Clone, Debug)]
pub struct Signers<'a> {
    /// Private keys at hand.
    pub signing: &'a [SigningKey],
    /// Further keys of the role, by their public halves.
    pub others: &'a [[u8; 32]],
    /// How many must sign.
    pub threshold: usize,
}

impl Signers<'_> {
    pub(crate) fn public(&self) -> Vec<[u8; 32]> {
        let mut all: Vec<_> = self.signing.iter().map(SigningKey::public).chain(self.others.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Each private key once: devices refuse a file that one key has signed twice.
    fn refs(&self) -> Vec<&SigningKey> {
        let mut seen = BTreeSet::new();
        self.signing.iter().filter(|key| seen.insert(key.public())).collect()
    }

    pub(crate) fn check(&self, role: &str) -> Result<(), RepositoryError> {
        let need = self.threshold as u64;
        let have = self.refs().len() as u64;
        let possible = self.public().len() as u64;
        if need == 0 || need > possible || need > have {
            return Err(RepositoryError::Threshold { role: role.into(), need, have });
        }
        Ok(())
    }
}

/// The keys that the release server holds.
#[derive(Clone, Copy, Debug)]
pub struct Online<'a> {
    /// Of the role snapshot.
    pub snapshot: &'a SigningKey,
    /// Of the role timestamp.
    pub timestamp: &'a SigningKey,
}

/// A new repository.
#[derive(Clone, Debug)]
pub struct Init<'a> {
    /// Keys of the root.
    pub root: Signers<'a>,
    /// Keys of the top-level targets.
    pub targets: Signers<'a>,
    /// Online keys.
    pub online: Online<'a>,
    /// Models: name, keys that release them, how many must sign.
    pub models: &'a [(&'a str, &'a [[u8; 32]], usize)],
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Path of the bundle below the repository.
    pub path: PathBuf,
    /// Version of the metadata of the release role.
    pub releases_version: u64,
}

/// A repository in a folder.
#[derive(Clone, Debug)]
pub struct Repository {
    dir: PathBuf,
}

impl Repository {
    /// Opens the repository in `dir`.
    ///
    /// # Errors
    /// [`RepositoryError::NotARepository`].
    pub fn open(dir: &Path) -> Result<Self, RepositoryError> {
        let this = Self { dir: dir.into() };
        if this.metadata("1.root.json").is_file() {
            return Ok(this);
        }
        Err(RepositoryError::NotARepository { path: dir.into() })
    }

    /// Makes a repository without releases in `dir`. `now` is in seconds since 1970, here and everywhere.
    ///
    /// # Errors
    /// [`RepositoryError::Exists`], [`RepositoryError::Threshold`], [`RepositoryError::BadName`], [`RepositoryError::File`].
    pub fn init(dir: &Path, init: &Init<'_>, expiry: Expiry, now: i64) -> Result<Self, RepositoryError> {
        let this = Self { dir: dir.into() };
        if this.metadata("1.root.json").exists() {
            return Err(RepositoryError::Exists { path: dir.into() });
        }
        init.root.check("root")?;
        init.targets.check("targets")?;
        let (root_keys, targets_keys) = (init.root.public(), init.targets.public());
        let (snapshot, timestamp) = (init.online.snapshot.public(), init.online.timestamp.public());
        let all = root_keys.iter().chain(&targets_keys).chain([&snapshot, &timestamp]);
        let root = json!({
            "consistent_snapshot": true,
            "keys": keys(all),
            "roles": {
                "root": role(&root_keys, init.root.threshold),
                "targets": role(&targets_keys, init.targets.threshold),
                "snapshot": role(&[snapshot], 1),
                "timestamp": role(&[timestamp], 1),
            },
        });
        let mut delegations = json!({ "keys": {}, "roles": [] });
        for (model, keys, threshold) in init.models {
            delegate(&mut delegations, model, keys, *threshold)?;
        }
        let targets = body("targets", 1, now + expiry.offline, json!({ "targets": {}, "delegations": delegations }));
        let root = sign(body("root", 1, now + expiry.offline, root), &init.root.refs());
        let _lock = this.lock()?;
        let targets = sign(targets, &init.targets.refs());
        this.put(&name::versioned(1, "targets"), &targets)?;
        this.seal(json!({ "targets.json": meta(1, &targets) }), (1, 1), init.online, (expiry, now), None)?;
        let timestamp = files::read(&this.metadata("timestamp.json"))?;
        device::check(&this.dir.join("metadata"), &root, &timestamp, "targets", now)?;
        // Last: with its root the folder is a repository.
        this.put("1.root.json", &root)?;
        Ok(this)
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Adds a model and the keys that release it, or gives a model other keys, if enough of them have signed what is released. `targets`
    /// are the keys of the top-level targets, which are signed anew and hold for as long as `expiry` says.
    ///
    /// # Errors
    /// [`RepositoryError::BadName`], [`RepositoryError::Threshold`], [`RepositoryError::Tuf`] for what a device would refuse,
    /// [`RepositoryError::File`].
    pub fn add_model(
        &self,
        (model, keys, threshold): (&str, &[[u8; 32]], usize),
        targets: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let mut delegations = state.targets["delegations"].clone();
        delegate(&mut delegations, model, keys, threshold)?;
        self.write_targets(&state, delegations, targets, online, (expiry, now))
    }

    /// Adds a signed bundle. `releases` are the keys of the release role of its model; the bundle's own signatures must hold by the same role.
    ///
    /// # Errors
    /// [`RepositoryError::Bundle`] and [`RepositoryError::Tuf`] for what a device would refuse, [`RepositoryError::NotNewer`],
    /// [`RepositoryError::UnknownModel`], [`RepositoryError::Threshold`], [`RepositoryError::File`].
    pub fn publish(
        &self,
        bundle: &[u8],
        releases: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<Published, RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let verified = self.verify_with(&state, bundle)?;
        let header = verified.header();
        let role_name = format!("releases-{}", header.model);
        let delegation = state.delegation(header.model)?;
        let signing = of_role(&role_name, releases, &state.targets["delegations"]["keys"], &delegation)?;
        let (mut targets, version) = match self.releases(&state, header.model)? {
            Some(current) => (current["targets"].clone(), current["version"].as_u64().unwrap_or(0) + 1),
            None => (json!({}), 1),
        };
        let version = self.unused(&role_name, version);
        let entries = || targets.as_object().into_iter().flatten().map(|(_, t)| &t["custom"]);
        let newest = entries().filter_map(|c| c["number"].as_u64()).max().unwrap_or(0);
        if header.number <= newest || entries().any(|c| c["version"] == header.version) {
            let (model, version) = (header.model.to_owned(), header.version.to_owned());
            return Err(RepositoryError::NotNewer { model, version, number: header.number, newest });
        }
        let path = format!("models/{0}/{1}/{0}-{1}.ff", header.model, header.version);
        let digest = sha256(bundle);
        let custom = json!({
            "model": header.model, "version": header.version, "number": header.number, "attempt": 1, "security_epoch": 0,
            "min_runtime": format!("{}.{}", header.min_runtime.0, header.min_runtime.1),
        });
        targets[&path] =
            json!({ "length": bundle.len(), "hashes": { "sha256": hex::encode(&digest) }, "custom": custom });
        let target = Target { path, length: bundle.len() as u64, sha256: digest, custom: Value::Null };
        let file = Path::new("targets").join(target.url_path());
        files::write(&self.dir.join(&file), bundle)?;
        let bytes = sign(body("targets", version, now + expiry.releases, json!({ "targets": targets })), &signing);
        self.put(&name::versioned(version, &role_name), &bytes)?;
        let mut files = state.snapshot["meta"].clone();
        files[&name::stored(&role_name)] = meta(version, &bytes);
        self.seal(files, state.next(), online, (expiry, now), Some(&role_name))?;
        Ok(Published { path: file, releases_version: version })
    }

    /// Signs snapshot and timestamp again, so that they do not expire.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`] where the keys are not those of the roles, [`RepositoryError::File`].
    pub fn resign(&self, online: Online<'_>, expiry: Expiry, now: i64) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        self.seal(state.snapshot["meta"].clone(), state.next(), online, (expiry, now), None)
    }

    /// Verifies `bundle` as a device would, with the release keys of its model.
    ///
    /// # Errors
    /// [`RepositoryError::Bundle`], [`RepositoryError::UnknownModel`].
    pub fn verify<'a>(&self, bundle: &'a [u8]) -> Result<Verified<Bundle<'a>>, RepositoryError> {
        self.verify_with(&self.state()?, bundle)
    }

    /// Writes a snapshot of `files` and then the timestamp, if a device could then follow the metadata to `role`.
    pub(crate) fn seal(
        &self,
        files: Value,
        (snapshot_version, timestamp_version): (u64, u64),
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
        role: Option<&str>,
    ) -> Result<(), RepositoryError> {
        if let Ok(root) = newest_root(&self.dir.join("metadata")) {
            for (role, key) in [("snapshot", online.snapshot), ("timestamp", online.timestamp)] {
                of_role(role, std::slice::from_ref(key), &root["keys"], &root["roles"][role])?;
            }
        }
        let snapshot_version = self.unused("snapshot", snapshot_version);
        let snapshot = body("snapshot", snapshot_version, now + expiry.snapshot, json!({ "meta": &files }));
        let snapshot = sign(snapshot, &[online.snapshot]);
        self.put(&name::versioned(snapshot_version, "snapshot"), &snapshot)?;
        let more =
            json!({ "meta": { "snapshot.json": meta(snapshot_version, &snapshot) }, "x-ff-issued": time::format(now) });
        let timestamp = sign(body("timestamp", timestamp_version, now + expiry.timestamp, more), &[online.timestamp]);
        if let Some(role) = role {
            let folder = self.dir.join("metadata");
            let root = files::read(&folder.join("1.root.json"))?;
            // New targets say anew who releases: what is released must still be believed.
            let released = files.as_object().into_iter().flatten().filter_map(|(file, _)| file.strip_suffix(".json"));
            for released in released.filter(|released| role == "targets" || *released == role) {
                match device::check(&folder, &root, &timestamp, released, now) {
                    // How long that holds is the business of those who release it.
                    Err(RepositoryError::Tuf(TufError::Expired { .. })) if released != role => {}
                    checked => checked?,
                }
            }
        }
        self.put("timestamp.json", &timestamp)
    }

    /// `version` of `role`, or the first one after it that has no file: one that a broken-off change left behind stays as it is,
    /// because somebody may have fetched it.
    pub(crate) fn unused(&self, role: &str, version: u64) -> u64 {
        (version..).find(|&version| !self.metadata(&name::versioned(version, role)).exists()).unwrap_or(version)
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> Result<(), RepositoryError> {
        files::write(&self.metadata(name), bytes)
    }

    pub(crate) fn metadata(&self, name: &str) -> PathBuf {
        self.dir.join("metadata").join(name)
    }

    /// One writer at a time; the lock goes with the returned file.
    pub(crate) fn lock(&self) -> Result<File, RepositoryError> {
        let path = self.dir.join("repository.lock");
        let broken = |e| RepositoryError::file("lock", &path, e);
        std::fs::create_dir_all(&self.dir).map_err(broken)?;
        let file = File::create(&path).map_err(broken)?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(RepositoryError::Busy { path: self.dir.clone() }),
            Err(TryLockError::Error(e)) => Err(broken(e)),
        }
    }
}
