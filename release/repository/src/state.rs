//! The metadata in force, read back and verified; who may release what.

use std::collections::BTreeSet;

use fleetfoot_format::{
    bundle::{Bundle, valid_name},
    limits::MAX_SIGNERS,
};
use fleetfoot_trust::{Keys, SigningKey, Verified, verify_bundle};
use fleetfoot_tuf::{hex, name};
use serde_json::{Map, Value, json};

use crate::{
    error::RepositoryError,
    files,
    memory::{Memory, Seen},
    metadata::{self, keys, load, newest_roots, role},
    repository::Repository,
};

/// The metadata in force, verified.
pub(crate) struct State {
    pub(crate) root: Value,
    pub(crate) targets: Value,
    pub(crate) snapshot: Value,
    pub(crate) timestamp: Value,
    /// What is remembered of the repository, where that is asked for.
    pub(crate) memory: Option<Memory>,
    /// Whether the root is newer than the keys that signed the rest: a rotation broke off.
    pub(crate) broke_off: bool,
}

impl Repository {
    pub(crate) fn verify_with<'a>(
        &self,
        state: &State,
        bundle: &'a [u8],
    ) -> Result<Verified<Bundle<'a>>, RepositoryError> {
        // Which keys count depends on the model, and the model is known only when the signatures hold: try each.
        let mut refused = None;
        for delegation in state.delegations() {
            let Some(model) = delegation["name"].as_str().and_then(|n| n.strip_prefix("releases-")) else { continue };
            let public: Vec<[u8; 32]> = delegation["keyids"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|id| state.targets["delegations"]["keys"][id.as_str()?]["keyval"]["public"].as_str())
                .filter_map(hex::decode)
                .collect();
            let threshold = delegation["threshold"].as_u64().unwrap_or(u64::MAX) as usize;
            match Keys::new(&public, threshold).and_then(|keys| verify_bundle(bundle, &keys)) {
                Ok(verified) if verified.header().model == model => return Ok(verified),
                Ok(verified) => refused = Some(RepositoryError::UnknownModel { model: verified.header().model.into() }),
                Err(error) => refused = refused.or(Some(error.into())),
            }
        }
        Err(refused.unwrap_or_else(|| RepositoryError::UnknownModel { model: "any".into() }))
    }

    /// Reads the metadata in force, each file verified with the keys of the one before, and none older than is remembered. Expiry does not
    /// matter here.
    pub(crate) fn state(&self) -> Result<State, RepositoryError> {
        let state = self.folder_state(true)?;
        if let (Some(memory), Some(path)) = (&state.memory, &self.memory)
            && Memory::read(path)?.as_ref() != Some(memory)
        {
            // Another machine with the same keys has gone on.
            memory.write(path)?;
        }
        Ok(state)
    }

    /// What is in the folder; `checked` against the memory, if there is one.
    pub(crate) fn folder_state(&self, checked: bool) -> Result<State, RepositoryError> {
        let (root, before) = newest_roots(&self.metadata(""))?;
        let first_root = files::read(&self.metadata("1.root.json"))?;
        let bytes = files::read(&self.metadata("timestamp.json"))?;
        let mut memory = None;
        if let Some(path) = self.memory.as_ref().filter(|_| checked) {
            let known = Memory::read(path)?.ok_or_else(|| RepositoryError::Unknown { path: self.dir().into() })?;
            memory = Some(known);
        }
        let version = |body: &Value| body["version"].as_u64().unwrap_or(0);
        let seen = |root: &Value, timestamp: &Value| Seen {
            first_root: &first_root,
            root: version(root),
            timestamp: version(timestamp),
            bytes: &bytes,
        };
        let (mut found, mut broke_off) = (self.below(&root), false);
        // A rotation that broke off: its root is there, and what the root before vouches for is still in force.
        let behind = |memory: &Memory, before: &Value| memory.root == version(before) && memory.root < version(&root);
        if let (Err(RepositoryError::Threshold { .. }), Some(memory), Some(before)) = (&found, &memory, &before)
            && behind(memory, before)
        {
            found = self.below(before);
            broke_off = true;
        }
        let [timestamp, snapshot, targets] = found?;
        if let Some(memory) = &mut memory {
            memory.check(self.dir(), &seen(&root, &timestamp))?;
            if !broke_off {
                memory.confirm(&seen(&root, &timestamp));
            }
        }
        Ok(State { root, targets, snapshot, timestamp, memory, broke_off })
    }

    /// Whether something is remembered in the file of [`with_memory`](Self::with_memory), of whatever repository.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.memory.as_ref().is_some_and(|path| path.exists())
    }

    /// Remembers the repository as it is in the folder now. That is how a memory begins; and it is the way out where the newest state is
    /// lost for good and the folder was restored from an older copy. Versions that were signed before are still not used again, if
    /// the memory knows them.
    ///
    /// # Errors
    /// [`RepositoryError::Threshold`] and [`RepositoryError::Malformed`] where the folder does not hold, [`RepositoryError::File`].
    ///
    /// # Panics
    /// If the repository has no memory: see [`with_memory`](Self::with_memory).
    pub fn adopt(&self) -> Result<(), RepositoryError> {
        let path = self.memory.as_ref().expect("the caller says where the memory lies");
        let _lock = self.lock()?;
        let state = self.folder_state(false)?;
        let first_root = files::read(&self.metadata("1.root.json"))?;
        let bytes = files::read(&self.metadata("timestamp.json"))?;
        let version = |body: &Value| body["version"].as_u64().unwrap_or(0);
        let seen = Seen {
            first_root: &first_root,
            root: version(&state.root),
            timestamp: version(&state.timestamp),
            bytes: &bytes,
        };
        let known = Memory::read(path)?.filter(|memory| memory.is_of(&first_root));
        let mut memory = known.unwrap_or_else(|| Memory::new(&seen));
        memory.confirm(&seen);
        memory.write(path)
    }

    /// Timestamp, snapshot and targets by the keys in `root`.
    fn below(&self, root: &Value) -> Result<[Value; 3], RepositoryError> {
        let file = |role: &str, meta| {
            load(&self.metadata(&named(role, meta)), (role, meta), &root["keys"], &root["roles"][role])
        };
        let timestamp = file("timestamp", None)?;
        let snapshot = file("snapshot", Some(&timestamp["meta"]["snapshot.json"]))?;
        let targets = file("targets", Some(&snapshot["meta"]["targets.json"]))?;
        Ok([timestamp, snapshot, targets])
    }

    /// The release role of `model` in force; `None` before its first release.
    pub(crate) fn releases(&self, state: &State, model: &str) -> Result<Option<Value>, RepositoryError> {
        let role_name = format!("releases-{model}");
        let Some(meta) = state.snapshot["meta"].get(name::stored(&role_name)) else { return Ok(None) };
        let path = self.metadata(&named(&role_name, Some(meta)));
        let delegation = state.delegation(model)?;
        load(&path, (&role_name, Some(meta)), &state.targets["delegations"]["keys"], &delegation).map(Some)
    }
}

impl State {
    pub(crate) fn delegations(&self) -> impl Iterator<Item = &Value> {
        self.targets["delegations"]["roles"].as_array().into_iter().flatten()
    }

    /// The delegation to the role `name`.
    pub(crate) fn role(&self, name: &str) -> Option<&Value> {
        self.delegations().find(|delegation| delegation["name"] == name)
    }

    pub(crate) fn delegation(&self, model: &str) -> Result<Value, RepositoryError> {
        self.role(&format!("releases-{model}"))
            .cloned()
            .ok_or_else(|| RepositoryError::UnknownModel { model: model.into() })
    }
}

/// The file of `role` of which the file above it says `meta`; nothing is above the timestamp.
pub(crate) fn named(role: &str, meta: Option<&Value>) -> String {
    meta.map_or_else(|| name::stored(role), |meta| name::versioned(meta["version"].as_u64().unwrap_or(0), role))
}

/// Adds the role that releases `model` to `delegations`.
pub(crate) fn delegate(
    delegations: &mut Value,
    model: &str,
    public: &[[u8; 32]],
    threshold: usize,
) -> Result<(), RepositoryError> {
    if !valid_name(model) {
        return Err(RepositoryError::BadName { name: model.into() });
    }
    let paths = [format!("models/{model}/*/*")];
    delegate_role(delegations, (&format!("releases-{model}"), &paths), public, threshold)
}

/// Adds a role to `delegations`, or replaces it.
pub(crate) fn delegate_role(
    delegations: &mut Value,
    (role_name, paths): (&str, &[String]),
    public: &[[u8; 32]],
    threshold: usize,
) -> Result<(), RepositoryError> {
    let public: Vec<[u8; 32]> = public.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
    if threshold == 0 || threshold > public.len() {
        return Err(RepositoryError::Threshold {
            role: role_name.into(),
            need: threshold as u64,
            have: public.len() as u64,
        });
    }
    // Devices verify bundles with these keys.
    if public.len() > MAX_SIGNERS {
        return Err(RepositoryError::TooManyKeys { role: role_name.into(), n: public.len(), limit: MAX_SIGNERS });
    }
    if let (Some(all), Value::Object(new)) = (delegations["keys"].as_object_mut(), keys(&public)) {
        all.extend(new);
    }
    let mut entry: Map<String, Value> = role(&public, threshold).as_object().cloned().unwrap_or_default();
    entry.insert("name".into(), role_name.into());
    entry.insert("terminating".into(), true.into());
    entry.insert("paths".into(), json!(paths));
    let mut used = BTreeSet::new();
    if let Some(roles) = delegations["roles"].as_array_mut() {
        roles.retain(|r| r["name"] != role_name);
        roles.push(entry.into());
        let ids = roles.iter().flat_map(|role| role["keyids"].as_array()).flatten();
        used.extend(ids.filter_map(Value::as_str).map(String::from));
    }
    if let Some(all) = delegations["keys"].as_object_mut() {
        all.retain(|id, _| used.contains(id));
    }
    Ok(())
}

/// Those of `signing` that belong to `role`, if they reach its threshold.
pub(crate) fn of_role<'a>(
    name: &str,
    signing: &'a [SigningKey],
    keys: &Value,
    role: &Value,
) -> Result<Vec<&'a SigningKey>, RepositoryError> {
    let member = |key: &&SigningKey| {
        let own = hex::encode(&key.public());
        let ids = role["keyids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        ids.into_iter().any(|id| keys[id]["keyval"]["public"] == own.as_str())
    };
    let mut members: Vec<&SigningKey> = signing.iter().filter(member).collect();
    members.sort_by_key(|k| metadata::key_id(&k.public()));
    members.dedup_by_key(|k| k.public());
    let (have, need) = (members.len() as u64, role["threshold"].as_u64().unwrap_or(u64::MAX));
    if have < need {
        return Err(RepositoryError::Threshold { role: name.into(), need, have });
    }
    Ok(members)
}
