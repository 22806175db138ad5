//! Other keys for a role: in good time, or because somebody has stolen one.
//!
//! | role | who allows it | what is signed anew |
//! |---|---|---|
//! | root | old and new root keys | the root ([`Repository::renew_root`]) |
//! | targets | root keys | root, targets, snapshot, timestamp |
//! | snapshot, timestamp | root keys | root, snapshot, timestamp; devices count versions from anew |
//! | releases of a model | targets keys | releases, targets, snapshot, timestamp |
//!
//! A bundle carries signatures of the release keys of its day. One that too few of the new keys have signed is no release any more: it
//! leaves the list, and devices that have it keep it.

use std::path::Path;

use fleetfoot_trust::{Keys, SigningKey, verify_bundle};
use fleetfoot_tuf::{Target, hex, name};
use serde_json::{Value, json};

use crate::{
    error::RepositoryError,
    files,
    metadata::{body, meta, sign},
    renew::next_root,
    repository::{Expiry, Online, Repository, Signers},
    seal::Change,
    state::delegate,
};

/// A role whose keys the root names, other than the root itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopRole {
    /// Says who releases which model.
    Targets,
    /// Says which files belong together.
    Snapshot,
    /// Says what is the newest.
    Timestamp,
}

impl TopRole {
    const fn name(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl Repository {
    /// Gives a role other keys, all of them at once. `root` are enough of the root keys; `online` are the keys that hold afterwards. Of the
    /// roles snapshot and timestamp `new` are the same keys as in `online`. Returns the version of the new root.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`] if too few of the root keys or of the new keys sign, [`RepositoryError::Tuf`] for what a device would
    /// refuse, [`RepositoryError::File`].
    pub fn rotate(
        &self,
        role: TopRole,
        new: &Signers<'_>,
        root: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<u64, RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        new.check(role.name())?;
        let keys = (role.name(), &new.public()[..], new.threshold);
        let (root, bytes) = next_root(&state.root, keys, (root, &[]), (expiry, now))?;
        let mut files = state.snapshot["meta"].clone();
        if role == TopRole::Targets {
            let delegations = &state.targets["delegations"];
            files["targets.json"] = self.put_targets(&state, delegations, &new.refs(), (expiry, now))?;
        }
        let change = Change { files, root: &root, new_root: Some(bytes), role: Some("targets") };
        self.seal(&state, change, online, (expiry, now))?;
        Ok(root["version"].as_u64().unwrap_or(0))
    }

    /// Gives the release role of `model` other keys. `targets` are enough of the keys of the top-level targets. Returns the paths of
    /// the bundles that are no releases any more, because too few of the new keys have signed them.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownModel`], [`RepositoryError::TooManyKeys`], and those of [`rotate`](Self::rotate).
    pub fn rotate_releases(
        &self,
        model: &str,
        new: &Signers<'_>,
        targets: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<Vec<String>, RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let role_name = format!("releases-{model}");
        state.delegation(model)?;
        new.check(&role_name)?;
        let mut delegations = state.targets["delegations"].clone();
        delegate(&mut delegations, model, &new.public(), new.threshold)?;
        let (mut dropped, mut with) = (Vec::new(), None);
        if let Some(mut releases) = self.releases(&state, model)? {
            let keys = Keys::new(&new.public(), new.threshold)?;
            if let Some(listed) = releases["targets"].as_object_mut() {
                for (path, entry) in std::mem::take(listed) {
                    if self.holds(&path, &entry, &keys)? {
                        listed.insert(path, entry);
                    } else {
                        dropped.push(path);
                    }
                }
            }
            let version = self.unused(&state, &role_name);
            let more = json!({ "targets": releases["targets"] });
            let bytes = sign(body("targets", version, now + expiry.releases, more), &new.refs());
            self.put(&name::versioned(version, &role_name), &bytes)?;
            with = Some((role_name.as_str(), meta(version, &bytes)));
        }
        self.write_targets(&state, delegations, with, targets, online, (expiry, now))?;
        Ok(dropped)
    }

    /// Whether the bundle at `path` is signed by enough of `keys`.
    fn holds(&self, path: &str, entry: &Value, keys: &Keys) -> Result<bool, RepositoryError> {
        let digest = entry["hashes"]["sha256"].as_str().and_then(hex::decode).unwrap_or_default();
        let target = Target { path: path.into(), length: 0, sha256: digest, custom: Value::Null };
        let bundle = files::read_bundle(&self.dir().join(Path::new("targets").join(target.url_path())))?;
        Ok(verify_bundle(&bundle, keys).is_ok())
    }
}
