//! How a change comes into force: new files first, under names that nobody has asked for yet; then, as a device would see it, checked; and last
//! the timestamp.
//!
//! ```text
//! V.releases-M, V.targets ─▶ V.snapshot ─▶ checked ─▶ remembered ─▶ N.root, if it is a rotation ─▶ timestamp
//! ```

use fleetfoot_trust::SigningKey;
use fleetfoot_tuf::{TufError, name, time};
use serde_json::{Value, json};

use crate::{
    device,
    error::RepositoryError,
    files,
    memory::{Memory, Seen},
    metadata::{body, meta, sign},
    repository::{Expiry, Online, Repository},
    state::{State, of_role},
};

/// A change that is about to come into force.
pub(crate) struct Change<'a> {
    /// What the new snapshot lists.
    pub(crate) files: Value,
    /// The root that devices have then.
    pub(crate) root: &'a Value,
    /// Its file, where it is a new one.
    pub(crate) new_root: Option<Vec<u8>>,
    /// The role up to which a device must be able to follow; of `targets`, and with a new root, all that is released.
    pub(crate) role: Option<&'a str>,
}

impl Repository {
    /// Writes a snapshot and then the timestamp, if a device could then follow the metadata.
    pub(crate) fn seal(
        &self,
        state: &State,
        change: Change<'_>,
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
    ) -> Result<(), RepositoryError> {
        let signers = |role: &str, keys| of_role(role, keys, &change.root["keys"], &change.root["roles"][role]);
        let snapshot_keys = signers("snapshot", online.snapshot)?;
        let timestamp_keys = signers("timestamp", online.timestamp)?;
        let version = self.unused(state, "snapshot");
        let timestamp_version = self.unused(state, "timestamp");
        let (snapshot, timestamp) =
            signed(&change.files, (version, timestamp_version), (&snapshot_keys, &timestamp_keys), (expiry, now));
        self.put(&name::versioned(version, "snapshot"), &snapshot)?;

        let mut new = vec![(name::stored("timestamp"), timestamp.clone())];
        let root_version = change.root["version"].as_u64().unwrap_or(0);
        new.extend(change.new_root.iter().map(|bytes| (name::versioned(root_version, "root"), bytes.clone())));
        self.rehearse(&change, &new, now)?;

        let mut memory = state.memory.clone();
        if let (Some(memory), Some(path)) = (&mut memory, &self.memory) {
            let listed = change.files.as_object().into_iter().flatten();
            for (file, entry) in listed {
                memory.sign(file.trim_end_matches(".json"), entry["version"].as_u64().unwrap_or(0));
            }
            memory.sign("snapshot", version);
            memory.sign("timestamp", timestamp_version);
            memory.write(path)?;
        }
        if let Some(bytes) = &change.new_root {
            self.put(&name::versioned(root_version, "root"), bytes)?;
        }
        self.put("timestamp.json", &timestamp)?;
        if let (Some(memory), Some(path)) = (&mut memory, &self.memory) {
            let first_root = files::read(&self.metadata("1.root.json"))?;
            let seen =
                Seen { first_root: &first_root, root: root_version, timestamp: timestamp_version, bytes: &timestamp };
            memory.confirm(&seen);
            memory.write(path)?;
        }
        Ok(())
    }

    /// Whether devices could follow the `new` files.
    fn rehearse(&self, change: &Change<'_>, new: &[(String, Vec<u8>)], now: i64) -> Result<(), RepositoryError> {
        let Some(role) = change.role else { return Ok(()) };
        let folder = self.dir().join("metadata");
        let root = files::read(&folder.join("1.root.json"))?;
        // New targets say anew who releases: what is released must still be believed.
        let released = change.files.as_object().into_iter().flatten();
        for released in released.filter_map(|(file, _)| file.strip_suffix(".json")) {
            if role != "targets" && *released != *role {
                continue;
            }
            match device::check(&folder, &root, new, released, now) {
                // How long that holds is the business of those who release it.
                Err(RepositoryError::Tuf(TufError::Expired { role: expired, .. }))
                    if released != role && expired == released => {}
                checked => checked?,
            }
        }
        Ok(())
    }

    /// The first version of `role` that has no file and, as far as anybody remembers, no signature. One that a broken-off change left
    /// behind stays as it is, because somebody may have fetched it.
    pub(crate) fn unused(&self, state: &State, role: &str) -> u64 {
        let present = match role {
            "timestamp" => state.timestamp["version"].as_u64(),
            "snapshot" => state.timestamp["meta"]["snapshot.json"]["version"].as_u64(),
            _ => state.snapshot["meta"][name::stored(role)]["version"].as_u64(),
        };
        let known = state.memory.as_ref().map_or(1, |memory: &Memory| memory.unused(role));
        let first = present.unwrap_or(0).saturating_add(1).max(known);
        let is_free = |&version: &u64| !self.metadata(&name::versioned(version, role)).exists();
        (first..).find(is_free).unwrap_or(first)
    }
}

/// A snapshot of `files` and the timestamp over it.
pub(crate) fn signed(
    files: &Value,
    (snapshot_version, timestamp_version): (u64, u64),
    (snapshot_keys, timestamp_keys): (&[&SigningKey], &[&SigningKey]),
    (expiry, now): (Expiry, i64),
) -> (Vec<u8>, Vec<u8>) {
    let snapshot = body("snapshot", snapshot_version, now + expiry.snapshot, json!({ "meta": files }));
    let snapshot = sign(snapshot, snapshot_keys);
    let meta = json!({ "snapshot.json": meta(snapshot_version, &snapshot) });
    let more = json!({ "meta": meta, "x-ff-issued": time::format(now) });
    let timestamp = sign(body("timestamp", timestamp_version, now + expiry.timestamp, more), timestamp_keys);
    (snapshot, timestamp)
}
