//! The rollout role of a model: who holds it, and what it says.
//!
//! ```text
//! targets/rollouts/<model>/<sha256>.current.json     the directive, canonical JSON
//! metadata/V.rollout-<model>.json                    its hash, signed by the online key; delegated by targets
//! ```
//! A directive is checked against the releases that are published and against their envelopes before it is signed: what every device would
//! refuse is refused here, with the same words.

use std::path::Path;

use fleetfoot_trust::{SigningKey, sha256};
use fleetfoot_tuf::{Target, canonical::canonical, hex, name, rollout};
use fleetfoot_update::{Directive, Stage, Why, directive::Named};
use serde_json::{Value, json};

use crate::{
    error::RepositoryError,
    files,
    metadata::{body, load, meta, sign},
    repository::{Expiry, Online, Repository, Signers},
    seal::Change,
    state::{State, delegate_role, named, of_role},
};

impl Repository {
    /// Makes the rollout role of `model`, or gives it other keys. `targets` are enough of the keys of the top-level targets. What the role says
    /// already is signed anew by the new keys, which must be at hand then; a new role needs their public halves only.
    ///
    /// Once there is such a role devices install only what it names.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownModel`], [`RepositoryError::Threshold`], [`RepositoryError::Tuf`] for what a device would refuse,
    /// [`RepositoryError::File`].
    pub fn rollout_role(
        &self,
        model: &str,
        new: &Signers<'_>,
        targets: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        state.delegation(model)?;
        let role_name = rollout::role(model);
        let mut delegations = state.targets["delegations"].clone();
        let paths = [format!("rollouts/{model}/*")];
        delegate_role(&mut delegations, (&role_name, &paths), &new.public(), new.threshold)?;
        let mut with = None;
        if let Some(current) = self.rollout_file(&state, model)? {
            new.check(&role_name)?;
            let version = self.unused(&state, &role_name);
            let more = json!({ "targets": current["targets"] });
            let bytes = sign(body("targets", version, now + expiry.snapshot, more), &new.refs());
            self.put(&name::versioned(version, &role_name), &bytes)?;
            with = Some((role_name.as_str(), meta(version, &bytes)));
        }
        self.write_targets(&state, delegations, with, targets, online, (expiry, now))
    }

    /// Says what is rolled out of `model`. `document` is the directive as `docs/formats.md` has it; of `candidate` and `baseline` the release
    /// number does, the hash and the attempt are filled in. Returns the directive as it was signed.
    ///
    /// # Errors
    /// [`RepositoryError::NoRollout`] without such a role, [`RepositoryError::Directive`], [`RepositoryError::Unpublished`],
    /// [`RepositoryError::Refused`] where its signers do not allow a release so far, [`RepositoryError::RolloutChanges`],
    /// [`RepositoryError::Threshold`], [`RepositoryError::File`].
    pub fn direct(
        &self,
        model: &str,
        mut document: Value,
        rollout_keys: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<Value, RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let signing = self.rollout_signers(&state, model, rollout_keys)?;
        let releases = self.releases(&state, model)?.unwrap_or_default();
        if !document.is_object() {
            return Err(RepositoryError::Directive { what: "the object" });
        }
        document["model"] = model.into();
        for role in ["candidate", "baseline"] {
            if document.get(role).is_some() {
                complete(&mut document[role], &releases)?;
            }
        }
        let directive = rollout::directive(&document, model).map_err(|what| RepositoryError::Directive { what })?;
        check(&directive, &releases, now)?;
        if let Some(before) = self.directive(&state, model)?
            && before["rollout"] == document["rollout"]
            && before["candidate"]["sha256"] != document["candidate"]["sha256"]
        {
            return Err(RepositoryError::RolloutChanges { rollout: directive.rollout.into() });
        }
        drop(directive);
        let mut bytes =
            canonical(&document).ok_or(RepositoryError::Directive { what: "a number that is no integer" })?;
        bytes.push(b'\n');
        let (path, digest) = (rollout::path(model), sha256(&bytes));
        let target = Target { path: path.clone(), length: bytes.len() as u64, sha256: digest, custom: Value::Null };
        files::write(&self.dir().join("targets").join(target.url_path()), &bytes)?;
        let targets = json!({ path: { "length": bytes.len(), "hashes": { "sha256": hex::encode(&digest) } } });
        self.put_rollout(&state, model, &targets, &signing, online, (expiry, now))?;
        Ok(document)
    }

    /// Signs again what the rollout role says, so that it does not expire.
    ///
    /// # Errors
    /// [`RepositoryError::NoRollout`], also where it has said nothing yet; [`RepositoryError::Threshold`], [`RepositoryError::File`].
    pub fn renew_rollout(
        &self,
        model: &str,
        rollout_keys: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let signing = self.rollout_signers(&state, model, rollout_keys)?;
        let none = || RepositoryError::NoRollout { model: model.into() };
        let current = self.rollout_file(&state, model)?.ok_or_else(none)?;
        self.put_rollout(&state, model, &current["targets"], &signing, online, (expiry, now))
    }

    /// What is rolled out of `model`, if anything is.
    ///
    /// # Errors
    /// [`RepositoryError::File`], [`RepositoryError::Malformed`], [`RepositoryError::Threshold`].
    pub fn current_directive(&self, model: &str) -> Result<Option<Value>, RepositoryError> {
        self.directive(&self.folder_state(false)?, model)
    }

    fn rollout_signers<'a>(
        &self,
        state: &State,
        model: &str,
        keys: &'a [SigningKey],
    ) -> Result<Vec<&'a SigningKey>, RepositoryError> {
        let role_name = rollout::role(model);
        let delegation = state.role(&role_name).ok_or_else(|| RepositoryError::NoRollout { model: model.into() })?;
        of_role(&role_name, keys, &state.targets["delegations"]["keys"], delegation)
    }

    fn put_rollout(
        &self,
        state: &State,
        model: &str,
        targets: &Value,
        signing: &[&SigningKey],
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
    ) -> Result<(), RepositoryError> {
        let role_name = rollout::role(model);
        let version = self.unused(state, &role_name);
        let bytes = sign(body("targets", version, now + expiry.snapshot, json!({ "targets": targets })), signing);
        self.put(&name::versioned(version, &role_name), &bytes)?;
        let mut files = state.snapshot["meta"].clone();
        files[&name::stored(&role_name)] = meta(version, &bytes);
        let change = Change { files, root: &state.root, new_root: None, role: Some(&role_name) };
        self.seal(state, change, online, (expiry, now))
    }

    /// The file of the rollout role in force; nothing before its first directive, or without such a role.
    pub(crate) fn rollout_file(&self, state: &State, model: &str) -> Result<Option<Value>, RepositoryError> {
        let role_name = rollout::role(model);
        let listed = state.snapshot["meta"].get(name::stored(&role_name));
        let (Some(meta), Some(delegation)) = (listed, state.role(&role_name)) else { return Ok(None) };
        let path = self.metadata(&named(&role_name, Some(meta)));
        load(&path, (&role_name, Some(meta)), &state.targets["delegations"]["keys"], delegation).map(Some)
    }

    fn directive(&self, state: &State, model: &str) -> Result<Option<Value>, RepositoryError> {
        let Some(file) = self.rollout_file(state, model)? else { return Ok(None) };
        let path = rollout::path(model);
        let Some(sha256) = file["targets"][&path]["hashes"]["sha256"].as_str().and_then(hex::decode) else {
            return Ok(None);
        };
        let url = Target { path, length: 0, sha256, custom: Value::Null }.url_path();
        let path = self.dir().join(Path::new("targets").join(url));
        let bytes = files::read(&path)?;
        if fleetfoot_trust::sha256(&bytes) != sha256 {
            return Err(RepositoryError::Malformed { path, what: "not the file that the rollout role names" });
        }
        files::parse(&path, &bytes).map(Some)
    }
}

/// Fills in hash and attempt of the release that `entry` gives the number of; a hash that is there already must be that one.
fn complete(entry: &mut Value, releases: &Value) -> Result<(), RepositoryError> {
    let number = entry["number"].as_u64().ok_or(RepositoryError::Directive { what: "number of a release" })?;
    let published = release(releases, number).ok_or(RepositoryError::Unpublished { number })?;
    let (sha256, attempt) = (&published["hashes"]["sha256"], &published["custom"]["attempt"]);
    match entry.get("sha256") {
        Some(given) if given != sha256 => return Err(RepositoryError::Unpublished { number }),
        _ => entry["sha256"] = sha256.clone(),
    }
    if entry.get("attempt").is_none() {
        entry["attempt"] = attempt.as_u64().unwrap_or(1).into();
    }
    Ok(())
}

fn release(releases: &Value, number: u64) -> Option<&Value> {
    let mut all = releases["targets"].as_object().into_iter().flatten().map(|(_, entry)| entry);
    all.find(|entry| entry["custom"]["number"] == number)
}

/// Whether devices could follow: stage, share and attempt are within what the signers of the candidate allow now.
fn check(directive: &Directive<'_>, releases: &Value, now: i64) -> Result<(), RepositoryError> {
    let refused = |why| Err(RepositoryError::Refused { number: directive.candidate.number, why });
    for Named { number, attempt, .. } in directive.baseline.into_iter().chain([directive.candidate]) {
        let custom = &release(releases, number).ok_or(RepositoryError::Unpublished { number })?["custom"];
        let envelope = rollout::envelope(custom).map_err(|what| RepositoryError::Envelope { what })?;
        if attempt > envelope.attempt {
            let why = Why::AttemptNotAllowed { asked: attempt, allowed: envelope.attempt };
            return Err(RepositoryError::Refused { number, why });
        }
        let stage = directive.exposure.stage;
        let Some(rank) = stage.rank().filter(|_| number == directive.candidate.number) else { continue };
        match envelope.limit(now) {
            None => return refused(Why::NotYet),
            Some(limit) if Some(rank) > limit.max_stage.rank() => return refused(Why::StageNotAllowed),
            Some(limit) if directive.exposure.shares().0 > limit.max_bp => {
                return refused(Why::BeyondShare { max_bp: limit.max_bp });
            }
            Some(_) => {}
        }
    }
    if directive.exposure.stage == Stage::Unknown {
        return refused(Why::UnknownStage);
    }
    if directive.exposure.stage == Stage::Revert && directive.baseline.is_none() {
        return Err(RepositoryError::Directive { what: "baseline, which a reversal goes back to" });
    }
    Ok(())
}
