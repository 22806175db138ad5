//! What a repository holds, for people and for the dashboard.

use fleetfoot_tuf::{Target, hex, time};
use serde::Serialize;
use serde_json::Value;

use crate::{error::RepositoryError, repository::Repository};

/// What a repository holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Roles with metadata in force.
    pub roles: Vec<RoleStatus>,
    /// Published bundles, by model and then by number.
    pub targets: Vec<Release>,
}

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RoleStatus {
    /// Its name.
    pub name: String,
    /// Version of its metadata.
    pub version: u64,
    /// When it expires, RFC 3339.
    pub expires: String,
    /// Identifiers of its keys.
    pub keyids: Vec<String>,
    /// How many must sign.
    pub threshold: u64,
}

/// A published bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Model.
    pub model: String,
    /// Label.
    pub version: String,
    /// Number.
    pub number: u64,
    /// Bytes.
    pub length: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Path below `targets/`.
    pub url_path: String,
}

impl Repository {
    /// Reads and verifies what is in force.
    ///
    /// # Errors
    /// [`RepositoryError::File`], [`RepositoryError::Malformed`], [`RepositoryError::Threshold`].
    pub fn status(&self) -> Result<Status, RepositoryError> {
        let state = self.folder_state(false)?;
        let top = |name: &str, body: &Value| role(name, body, &state.root["roles"][name]);
        let mut roles = vec![
            top("root", &state.root),
            top("targets", &state.targets),
            top("snapshot", &state.snapshot),
            top("timestamp", &state.timestamp),
        ];
        let mut targets = Vec::new();
        for delegation in state.delegations() {
            let name = delegation["name"].as_str().unwrap_or_default();
            if let Some(model) = name.strip_prefix("rollout-") {
                let file = self.rollout_file(&state, model)?;
                roles.extend(file.map(|body| role(name, &body, delegation)));
                continue;
            }
            let model = name.strip_prefix("releases-").unwrap_or(name);
            let Some(body) = self.releases(&state, model)? else { continue };
            roles.push(role(name, &body, delegation));
            targets.extend(body["targets"].as_object().into_iter().flatten().map(|(path, entry)| release(path, entry)));
        }
        targets.sort_by(|a: &Release, b: &Release| (&a.model, a.number).cmp(&(&b.model, b.number)));
        Ok(Status { roles, targets })
    }
}

fn role(name: &str, body: &Value, role: &Value) -> RoleStatus {
    RoleStatus {
        name: name.into(),
        version: body["version"].as_u64().unwrap_or(0),
        expires: text(&body["expires"]),
        keyids: role["keyids"].as_array().into_iter().flatten().map(text).collect(),
        threshold: role["threshold"].as_u64().unwrap_or(0),
    }
}

fn release(path: &str, entry: &Value) -> Release {
    let sha256 = text(&entry["hashes"]["sha256"]);
    let (length, digest) = (entry["length"].as_u64().unwrap_or(0), hex::decode(&sha256).unwrap_or_default());
    let target = Target { path: path.into(), length, sha256: digest, custom: Value::Null };
    Release {
        model: text(&entry["custom"]["model"]),
        version: text(&entry["custom"]["version"]),
        number: entry["custom"]["number"].as_u64().unwrap_or(0),
        length,
        sha256,
        url_path: target.url_path(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Seconds from `now_s` until `expires`, RFC 3339 as a [`RoleStatus`] has it; below 0 where it is over.
#[must_use]
pub fn seconds_until(expires: &str, now_s: i64) -> Option<i64> {
    Some(time::parse(expires)? - now_s)
}
