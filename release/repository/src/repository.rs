//! The repository on a folder, and what can be done to it.

use std::{
    collections::BTreeSet,
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use fleetfoot_format::bundle::Bundle;
use fleetfoot_trust::{SigningKey, Verified, sha256};
use fleetfoot_tuf::{Target, hex, name};
use serde_json::{Value, json};

use crate::{
    device,
    envelope::EnvelopeSpec,
    error::RepositoryError,
    files,
    metadata::{body, keys, meta, role, sign},
    seal::{self, Change},
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
    pub(crate) fn refs(&self) -> Vec<&SigningKey> {
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

/// The keys that the release server holds: as many as their roles need.
#[derive(Clone, Copy, Debug)]
pub struct Online<'a> {
    /// Of the role snapshot.
    pub snapshot: &'a [SigningKey],
    /// Of the role timestamp.
    pub timestamp: &'a [SigningKey],
}

/// A new repository.
#[derive(Clone, Debug)]
pub struct Init<'a> {
    /// Keys of the root.
    pub root: Signers<'a>,
    /// Keys of the top-level targets.
    pub targets: Signers<'a>,
    /// Online keys. All of a role must sign.
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
    pub(crate) memory: Option<PathBuf>,
}

impl Repository {
    /// Opens the repository in `dir`, without a memory.
    ///
    /// # Errors
    /// [`RepositoryError::NotARepository`].
    pub fn open(dir: &Path) -> Result<Self, RepositoryError> {
        let this = Self { dir: dir.into(), memory: None };
        if this.metadata("1.root.json").is_file() {
            return Ok(this);
        }
        Err(RepositoryError::NotARepository { path: dir.into() })
    }

    /// With what the signers remember, in the file `path`, which should lie where nobody can write who can write to the repository.
    /// Everything that signs then refuses a folder that is older than what was signed before, and keeps the file up to date.
    /// [`adopt`](Self::adopt) begins it.
    #[must_use]
    pub fn with_memory(mut self, path: impl Into<PathBuf>) -> Self {
        self.memory = Some(path.into());
        self
    }

    /// Makes a repository without releases in `dir`. `now` is in seconds since 1970, here and everywhere.
    ///
    /// # Errors
    /// [`RepositoryError::Exists`], [`RepositoryError::Threshold`], [`RepositoryError::BadName`], [`RepositoryError::File`].
    pub fn init(dir: &Path, init: &Init<'_>, expiry: Expiry, now: i64) -> Result<Self, RepositoryError> {
        let this = Self { dir: dir.into(), memory: None };
        if this.metadata("1.root.json").exists() {
            return Err(RepositoryError::Exists { path: dir.into() });
        }
        init.root.check("root")?;
        init.targets.check("targets")?;
        let (root_keys, targets_keys) = (init.root.public(), init.targets.public());
        let snapshot = Signers { signing: init.online.snapshot, others: &[], threshold: init.online.snapshot.len() };
        let timestamp = Signers { signing: init.online.timestamp, others: &[], threshold: init.online.timestamp.len() };
        let (snapshot_keys, timestamp_keys) = (snapshot.public(), timestamp.public());
        let all = root_keys.iter().chain(&targets_keys).chain(&snapshot_keys).chain(&timestamp_keys);
        let root = json!({
            "consistent_snapshot": true,
            "keys": keys(all),
            "roles": {
                "root": role(&root_keys, init.root.threshold),
                "targets": role(&targets_keys, init.targets.threshold),
                "snapshot": role(&snapshot_keys, snapshot_keys.len()),
                "timestamp": role(&timestamp_keys, timestamp_keys.len()),
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
        let files = json!({ "targets.json": meta(1, &targets) });
        let (snapshot, timestamp) = seal::signed(&files, (1, 1), (&snapshot.refs(), &timestamp.refs()), (expiry, now));
        this.put(&name::versioned(1, "targets"), &targets)?;
        this.put(&name::versioned(1, "snapshot"), &snapshot)?;
        this.put("timestamp.json", &timestamp)?;
        device::check(&this.dir.join("metadata"), &root, &[], "targets", now)?;
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
        self.write_targets(&state, delegations, None, targets, online, (expiry, now))
    }

    /// Adds a signed bundle that everybody may have from `now` on. See [`publish_within`](Self::publish_within).
    ///
    /// # Errors
    /// As there.
    pub fn publish(
        &self,
        bundle: &[u8],
        releases: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<Published, RepositoryError> {
        self.publish_within(bundle, &EnvelopeSpec::default(), releases, online, expiry, now)
    }

    /// Adds a signed bundle within an envelope, or gives a published one another envelope; its salt stays. `releases` are the keys of the
    /// release role of its model; the bundle's own signatures must hold by the same role.
    ///
    /// # Errors
    /// [`RepositoryError::Bundle`] and [`RepositoryError::Tuf`] for what a device would refuse, [`RepositoryError::NotNewer`],
    /// [`RepositoryError::UnknownModel`], [`RepositoryError::Threshold`], those of the envelope (742 to 746), [`RepositoryError::File`].
    pub fn publish_within(
        &self,
        bundle: &[u8],
        envelope: &EnvelopeSpec,
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
        let mut targets =
            self.releases(&state, header.model)?.map_or_else(|| json!({}), |current| current["targets"].clone());
        let version = self.unused(&state, &role_name);
        let path = format!("models/{0}/{1}/{0}-{1}.ff", header.model, header.version);
        let digest = sha256(bundle);
        let all = || targets.as_object().into_iter().flatten();
        // The same bundle once more, because something else is to be said of it.
        let same = |entry: &&Value| entry["hashes"]["sha256"] == hex::encode(&digest) && !envelope.is_empty();
        let before = targets.get(&path).filter(same);
        let newest = all().filter_map(|(_, t)| t["custom"]["number"].as_u64()).max().unwrap_or(0);
        let used = || all().any(|(_, t)| t["custom"]["version"] == header.version);
        if before.is_none() && (header.number <= newest || used()) {
            let (model, version) = (header.model.to_owned(), header.version.to_owned());
            return Err(RepositoryError::NotNewer { model, version, number: header.number, newest });
        }
        let others = all().filter(|(other, _)| **other != path).map(|(_, t)| &t["custom"]);
        let custom = envelope.custom(header, before.map(|entry| &entry["custom"]), others, now)?;
        let entry = json!({ "length": bundle.len(), "hashes": { "sha256": hex::encode(&digest) }, "custom": custom });
        targets[&path] = entry.clone();
        let target = Target { path, length: bundle.len() as u64, sha256: digest, custom: Value::Null };
        let file = Path::new("targets").join(target.url_path());
        files::write(&self.dir.join(&file), bundle)?;
        let bytes = sign(body("targets", version, now + expiry.releases, json!({ "targets": targets })), &signing);
        self.put(&name::versioned(version, &role_name), &bytes)?;
        let mut files = state.snapshot["meta"].clone();
        files[&name::stored(&role_name)] = meta(version, &bytes);
        // Devices without metadata know one release: never an older one, of which something else was said.
        if header.number >= newest
            && let Some((lite, listed)) =
                self.lite_release(&state, header.model, &entry, &signing, online, (expiry, now))?
        {
            files[&name::stored(&lite)] = listed;
        }
        let change = Change { files, root: &state.root, new_root: None, role: Some(&role_name) };
        self.seal(&state, change, online, (expiry, now))?;
        Ok(Published { path: file, releases_version: version })
    }

    /// Signs snapshot and timestamp again, so that they do not expire, and the lists of lite files that have less than half of their time left: the
    /// same online key signs them.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`] where the keys are not those of the roles, [`RepositoryError::File`].
    pub fn resign(&self, online: Online<'_>, expiry: Expiry, now: i64) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        // After a rotation that broke off it is not certain that devices can follow.
        let role = state.broke_off.then_some("targets");
        let mut files = state.snapshot["meta"].clone();
        for (name, listed) in self.renew_lite(&state, online, (expiry, now))? {
            files[name::stored(&name)] = listed;
        }
        let change = Change { files, root: &state.root, new_root: None, role };
        self.seal(&state, change, online, (expiry, now))
    }

    /// Verifies `bundle` as a device would, with the release keys of its model.
    ///
    /// # Errors
    /// [`RepositoryError::Bundle`], [`RepositoryError::UnknownModel`].
    pub fn verify<'a>(&self, bundle: &'a [u8]) -> Result<Verified<Bundle<'a>>, RepositoryError> {
        self.verify_with(&self.folder_state(false)?, bundle)
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
