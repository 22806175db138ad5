//! What the offline keys do once a year: a new root, and targets that hold longer.

use fleetfoot_trust::SigningKey;
use fleetfoot_tuf::name;
use serde_json::{Value, json};

use crate::{
    error::RepositoryError,
    metadata::{body, keys, meta, role, sign},
    repository::{Expiry, Online, Repository, Signers},
    seal::Change,
    state::{State, of_role},
};

impl Repository {
    /// Publishes the next root: new keys for the role root, or the same ones, and another expiry. The keys of the other roles stay.
    /// `previous` are enough of the keys of the present root. Devices go from one root to the next, so no root may be removed.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`] if too few of the old or of the new keys sign, [`RepositoryError::File`].
    pub fn renew_root(
        &self,
        root: &Signers<'_>,
        previous: &[SigningKey],
        expiry: Expiry,
        now: i64,
    ) -> Result<u64, RepositoryError> {
        let _lock = self.lock()?;
        let State { root: old, memory, .. } = self.state()?;
        root.check("root")?;
        let (body, bytes) =
            next_root(&old, ("root", &root.public(), root.threshold), (previous, root.signing), (expiry, now))?;
        let version = body["version"].as_u64().unwrap_or(0);
        self.put(&name::versioned(version, "root"), &bytes)?;
        if let (Some(mut memory), Some(path)) = (memory, &self.memory) {
            memory.root = version;
            memory.write(path)?;
        }
        Ok(version)
    }

    /// Signs the top-level targets again, with the same models and keys, so that they do not expire.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`], [`RepositoryError::Tuf`] for what a device would refuse, [`RepositoryError::File`].
    pub fn renew_targets(
        &self,
        targets: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let delegations = state.targets["delegations"].clone();
        self.write_targets(&state, delegations, None, targets, online, (expiry, now))
    }

    /// Publishes the top-level targets with these delegations, and with them a new file of one role.
    pub(crate) fn write_targets(
        &self,
        state: &State,
        delegations: Value,
        with: Option<(&str, Value)>,
        targets: &[SigningKey],
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
    ) -> Result<(), RepositoryError> {
        let signing = of_role("targets", targets, &state.root["keys"], &state.root["roles"]["targets"])?;
        let mut files = state.snapshot["meta"].clone();
        if let Some((role, entry)) = with {
            files[name::stored(role)] = entry;
        }
        files["targets.json"] = self.put_targets(state, &delegations, &signing, (expiry, now))?;
        let change = Change { files, root: &state.root, new_root: None, role: Some("targets") };
        self.seal(state, change, online, (expiry, now))
    }

    /// Writes a new file of the top-level targets; what a snapshot says of it.
    pub(crate) fn put_targets(
        &self,
        state: &State,
        delegations: &Value,
        signing: &[&SigningKey],
        (expiry, now): (Expiry, i64),
    ) -> Result<Value, RepositoryError> {
        let version = self.unused(state, "targets");
        let new = body("targets", version, now + expiry.offline, json!({ "targets": {}, "delegations": delegations }));
        let bytes = sign(new, signing);
        self.put(&name::versioned(version, "targets"), &bytes)?;
        Ok(meta(version, &bytes))
    }
}

/// The root after `old`, in which the role `name` has these keys and this threshold, signed by enough of the keys of `old` and by `also`: its
/// body and its file.
pub(crate) fn next_root(
    old: &Value,
    (name, public, threshold): (&str, &[[u8; 32]], usize),
    (previous, also): (&[SigningKey], &[SigningKey]),
    (expiry, now): (Expiry, i64),
) -> Result<(Value, Vec<u8>), RepositoryError> {
    let mut signing = of_role("root", previous, &old["keys"], &old["roles"]["root"])?;
    signing.extend(also);
    signing.sort_by_key(|key| key.public());
    signing.dedup_by_key(|key| key.public());
    let mut roles = old["roles"].clone();
    roles[name] = role(public, threshold);
    // Keys that no role uses any more are left out.
    let mut all = keys(public);
    for id in roles.as_object().into_iter().flatten().flat_map(|(_, r)| r["keyids"].as_array()).flatten() {
        if let Some(id) = id.as_str().filter(|id| all[id].is_null()) {
            all[id] = old["keys"][id].clone();
        }
    }
    let version = old["version"].as_u64().unwrap_or(0) + 1;
    let more = json!({ "consistent_snapshot": true, "keys": all, "roles": roles });
    let body = body("root", version, now + expiry.offline, more);
    let bytes = sign(body.clone(), &signing);
    Ok((body, bytes))
}
