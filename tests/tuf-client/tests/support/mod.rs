//! A repository that a test changes while a real server hands it out, and the program that is tested.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "this is a test")]

pub(crate) mod client;
pub(crate) mod server;

use std::collections::BTreeMap;

use fleetfoot_trust::{SigningKey, sha256};
use fleetfoot_tuf::{canonical::canonical, hex, time};
use serde_json::{Value, json};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const TOP: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// A repository: what each role would sign next, and every version that it has signed.
pub(crate) struct Sim {
    pub(crate) bodies: BTreeMap<String, Value>,
    pub(crate) published: BTreeMap<String, Vec<Vec<u8>>>,
    /// Keys that sign a role. A key is a number, and the name of the key.
    pub(crate) signers: BTreeMap<String, Vec<u8>>,
    pub(crate) artifacts: BTreeMap<String, Vec<u8>>,
    /// Whether snapshot and timestamp list lengths and hashes.
    pub(crate) with_hashes: bool,
    next_key: u8,
}

impl Sim {
    /// Version 1 of all top-level roles, one key each.
    pub(crate) fn new() -> Self {
        let mut sim = Self {
            bodies: BTreeMap::new(),
            published: BTreeMap::new(),
            signers: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            with_hashes: false,
            next_key: 1,
        };
        let role = || json!({ "keyids": [], "threshold": 1 });
        let roles = json!({ "root": role(), "timestamp": role(), "snapshot": role(), "targets": role() });
        sim.put("root", json!({ "consistent_snapshot": true, "keys": {}, "roles": roles }));
        sim.put("targets", json!({ "targets": {} }));
        sim.put("snapshot", json!({ "meta": {} }));
        sim.put("timestamp", json!({ "meta": {} }));
        for role in TOP {
            sim.add_key(role);
        }
        sim.publish(&["targets", "snapshot", "timestamp", "root"]);
        sim
    }

    fn put(&mut self, role: &str, more: Value) {
        let kind = if TOP.contains(&role) { role } else { "targets" };
        let expires = time::format(NOW + 30 * DAY);
        let mut body = json!({ "_type": kind, "spec_version": "1.0.31", "version": 1, "expires": expires });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.bodies.insert(role.into(), body);
    }

    pub(crate) fn body(&mut self, role: &str) -> &mut Value {
        self.bodies.get_mut(role).unwrap()
    }

    /// Keys and threshold of a top-level role.
    pub(crate) fn role(&mut self, role: &str) -> &mut Value {
        &mut self.body("root")["roles"][role]
    }

    pub(crate) fn new_key(&mut self) -> u8 {
        self.next_key += 1;
        self.next_key
    }

    /// One more key of a top-level role, which signs from now on.
    pub(crate) fn add_key(&mut self, role: &str) -> u8 {
        let key = self.new_key();
        self.trust(role, key);
        self.signers.entry(role.into()).or_default().push(key);
        key
    }

    /// A key of a top-level role that does not sign.
    pub(crate) fn trust(&mut self, role: &str, key: u8) {
        self.body("root")["keys"][id(key)] = entry(key);
        self.role(role)["keyids"].as_array_mut().unwrap().push(json!(id(key)));
    }

    /// Other keys for a top-level role.
    pub(crate) fn rotate(&mut self, role: &str) {
        self.role(role)["keyids"] = json!([]);
        self.signers.insert(role.into(), Vec::new());
        self.add_key(role);
    }

    pub(crate) fn delegate(&mut self, from: &str, to: &str, terminating: bool, paths: &[&str]) {
        if !self.bodies.contains_key(to) {
            self.put(to, json!({ "targets": {} }));
        }
        let key = self.new_key();
        self.signers.entry(to.into()).or_default().push(key);
        let delegations = &mut self.body(from)["delegations"];
        if delegations.is_null() {
            *delegations = json!({ "keys": {}, "roles": [] });
        }
        delegations["keys"][id(key)] = entry(key);
        delegations["roles"].as_array_mut().unwrap().push(json!({
            "name": to, "keyids": [id(key)], "threshold": 1, "terminating": terminating, "paths": paths,
        }));
    }

    pub(crate) fn add_artifact(&mut self, role: &str, path: &str, bytes: &[u8]) {
        let hashes = json!({ "sha256": hex::encode(&sha256(bytes)) });
        self.body(role)["targets"][path] = json!({ "length": bytes.len(), "hashes": hashes });
        self.artifacts.insert(path.into(), bytes.into());
    }

    /// Signs these roles and makes them public, each one version higher than before, and notes each in the role above.
    pub(crate) fn publish(&mut self, roles: &[&str]) {
        for &role in roles {
            if self.published.contains_key(role) {
                let version = self.version(role) + 1;
                self.body(role)["version"] = json!(version);
            }
            self.publish_as_it_is(role);
        }
    }

    pub(crate) fn publish_as_it_is(&mut self, role: &str) {
        let signers = self.signers[role].clone();
        let bytes = sign(&self.bodies[role], &signers);
        let mut meta = json!({ "version": self.version(role) });
        if self.with_hashes {
            meta["length"] = json!(bytes.len());
            meta["hashes"] = json!({ "sha256": hex::encode(&sha256(&bytes)) });
        }
        self.published.entry(role.into()).or_default().push(bytes);
        match role {
            "root" | "timestamp" => {}
            "snapshot" => self.body("timestamp")["meta"]["snapshot.json"] = meta,
            _ => self.body("snapshot")["meta"][format!("{role}.json")] = meta,
        }
    }

    /// Everything from targets up.
    pub(crate) fn publish_targets(&mut self) {
        self.publish(&["targets", "snapshot", "timestamp"]);
    }

    pub(crate) fn version(&self, role: &str) -> u64 {
        self.bodies[role]["version"].as_u64().unwrap()
    }

    /// The last public file of a role.
    pub(crate) fn last(&mut self, role: &str) -> &mut Vec<u8> {
        self.published.get_mut(role).unwrap().last_mut().unwrap()
    }

    /// What lies at a path of the server.
    pub(crate) fn file(&self, path: &str) -> Option<Vec<u8>> {
        if let Some(path) = path.strip_prefix("targets/") {
            let (folder, file) = path.rsplit_once('/').map_or(("", path), |(folder, file)| (folder, file));
            let (hash, name) = file.split_once('.')?;
            let name = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            let listed = |body: &Value| body["targets"][&name]["hashes"]["sha256"] == hash;
            return self.artifacts.get(&name).filter(|_| self.bodies.values().any(listed)).cloned();
        }
        let (role, version) = wanted(path)?;
        let versions = self.published.get(&role)?;
        match version {
            None => (role == "timestamp").then(|| versions.last().cloned())?,
            Some(version) => versions.get(usize::try_from(version).ok()?.checked_sub(1)?).cloned(),
        }
    }
}

/// Role and version of a path of metadata.
pub(crate) fn wanted(path: &str) -> Option<(String, Option<u64>)> {
    let name = path.strip_prefix("metadata/")?.strip_suffix(".json")?;
    if name == "timestamp" {
        return Some((name.into(), None));
    }
    let (version, role) = name.split_once('.')?;
    Some((unquoted(role), Some(version.parse().ok()?)))
}

/// The path as [`Sim::file`] takes it: targets unquoted, of metadata only what [`wanted`] unquotes.
pub(crate) fn unquoted_path(path: &str) -> String {
    if path.starts_with("targets/") { unquoted(path) } else { path.to_owned() }
}

/// A path of a URL without `%` escapes.
pub(crate) fn unquoted(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        let escape = after.get(..2).filter(|_| first == b'%').and_then(|hex| str::from_utf8(hex).ok());
        match escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn id(n: u8) -> String {
    format!("key-{n}")
}

pub(crate) fn entry(n: u8) -> Value {
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": hex::encode(&key(n).public()) } })
}

pub(crate) fn sign(body: &Value, signers: &[u8]) -> Vec<u8> {
    let message = canonical(body).unwrap();
    let signature = |&n: &u8| json!({ "keyid": id(n), "sig": hex::encode(&key(n).sign(&message)) });
    let signatures: Vec<_> = signers.iter().map(signature).collect();
    serde_json::to_vec_pretty(&json!({ "signatures": signatures, "signed": body })).unwrap()
}
