//! A repository in memory, signed with real keys, into which faults can be put.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeMap;

use fleetfoot_trust::{SigningKey, sha256};
use fleetfoot_tuf::{Action, Client, Stored, Target, TufError, canonical::canonical, hex, time};
use serde_json::{Value, json};

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY: i64 = 86_400;
pub(crate) const ROLE: &str = "releases-kws";
pub(crate) const ROLLOUT: &str = "rollout-kws";
pub(crate) const CURRENT: &str = "rollouts/kws/current.json";
pub(crate) const PATH: &str = "models/kws/1.2.0/kws-1.2.0.ff";

/// A change of what a role signs.
pub(crate) type Edit = (&'static str, fn(&mut Value));

/// A change of every file that has this text in its name.
pub(crate) type Spoil = (&'static str, fn(&mut Vec<u8>));

/// What a repository holds. The keys are numbers: the seed of a key is its number, 32 times.
#[derive(Clone)]
pub(crate) struct Repo {
    pub(crate) roots: Vec<RootSpec>,
    pub(crate) timestamp: u64,
    pub(crate) snapshot: u64,
    pub(crate) targets: u64,
    pub(crate) releases: u64,
    /// Version of the rollout role, and the directive; without one there is no such role.
    pub(crate) rollout: Option<(u64, Value)>,
    /// Days until a role expires.
    pub(crate) days: BTreeMap<&'static str, i64>,
    /// Keys that sign a role, where those are not all of its keys.
    pub(crate) signers: BTreeMap<&'static str, Vec<u8>>,
    /// Changes of what is signed, before it is signed.
    pub(crate) edits: Vec<Edit>,
    /// Changes of files, after everything is signed.
    pub(crate) spoils: Vec<Spoil>,
    pub(crate) without: Vec<&'static str>,
}

#[derive(Clone)]
pub(crate) struct RootSpec {
    pub(crate) root: Vec<u8>,
    pub(crate) timestamp: u8,
    pub(crate) snapshot: u8,
    pub(crate) signed_by: Vec<u8>,
}

pub(crate) const ROOT_1: RootSpec = RootSpec { root: Vec::new(), timestamp: 3, snapshot: 4, signed_by: Vec::new() };

impl Default for Repo {
    fn default() -> Self {
        Self {
            roots: vec![RootSpec { root: vec![1, 2], signed_by: vec![1, 2], ..ROOT_1 }],
            timestamp: 10,
            snapshot: 10,
            targets: 10,
            releases: 10,
            rollout: None,
            days: BTreeMap::new(),
            signers: BTreeMap::new(),
            edits: Vec::new(),
            spoils: Vec::new(),
            without: Vec::new(),
        }
    }
}

impl Repo {
    /// The next state of the repository: every version one higher.
    pub(crate) fn next(&self, by: u64) -> Self {
        let mut next = self.clone();
        for version in [&mut next.timestamp, &mut next.snapshot, &mut next.targets, &mut next.releases] {
            *version += by;
        }
        if let Some((version, _)) = &mut next.rollout {
            *version += by;
        }
        next
    }

    /// Every file by its path below `metadata`.
    pub(crate) fn files(&self) -> Stored {
        let mut files = Stored::new();
        for (i, spec) in self.roots.iter().enumerate() {
            let mut signed = self.common("root", "root", i as u64 + 1, 365);
            signed["consistent_snapshot"] = json!(true);
            signed["keys"] = keys(&[&spec.root[..], &[spec.timestamp, spec.snapshot, 5, 6]].concat());
            signed["roles"] = json!({
                "root": role(&spec.root, 2),
                "timestamp": role(&[spec.timestamp], 1),
                "snapshot": role(&[spec.snapshot], 1),
                "targets": role(&[5, 6], 2),
            });
            files.insert(format!("{}.root.json", i + 1), self.finish("root", signed, &spec.signed_by));
        }
        let last = self.roots.last().unwrap();

        let mut signed = self.common(ROLE, "targets", self.releases, 180);
        signed["targets"] = json!({ PATH: target(b"bundle") });
        let releases = self.finish(ROLE, signed, &[7, 8]);

        let mut signed = self.common("targets", "targets", self.targets, 365);
        let delegated = json!({
            "name": ROLE, "keyids": [id(7), id(8)], "threshold": 2, "terminating": true, "paths": ["models/kws/*/*"],
        });
        signed["targets"] = json!({});
        signed["delegations"] = json!({ "keys": keys(&[7, 8]), "roles": [delegated] });
        if self.rollout.is_some() {
            let delegated = json!({
                "name": ROLLOUT, "keyids": [id(40)], "threshold": 1, "terminating": true, "paths": ["rollouts/kws/*"],
            });
            signed["delegations"]["roles"].as_array_mut().unwrap().push(delegated);
            signed["delegations"]["keys"] = keys(&[7, 8, 40]);
        }
        let targets = self.finish("targets", signed, &[5, 6]);

        let mut signed = self.common("snapshot", "snapshot", self.snapshot, 30);
        signed["meta"] = json!({
            "targets.json": meta(self.targets, &targets),
            format!("{ROLE}.json"): meta(self.releases, &releases),
        });
        if let Some((version, directive)) = &self.rollout {
            let bytes = canonical(directive).unwrap();
            let mut role = self.common(ROLLOUT, "targets", *version, 30);
            role["targets"] = json!({ CURRENT: target(&bytes) });
            let role = self.finish(ROLLOUT, role, &[40]);
            signed["meta"][format!("{ROLLOUT}.json")] = meta(*version, &role);
            files.insert(format!("{version}.{ROLLOUT}.json"), role);
            files.insert("directive".into(), bytes);
        }
        let snapshot = self.finish("snapshot", signed, &[last.snapshot]);

        let mut signed = self.common("timestamp", "timestamp", self.timestamp, 7);
        signed["meta"] = json!({ "snapshot.json": meta(self.snapshot, &snapshot) });
        signed["x-ff-issued"] = json!(time::format(NOW - DAY));
        files.insert("timestamp.json".into(), self.finish("timestamp", signed, &[last.timestamp]));
        files.insert(format!("{}.snapshot.json", self.snapshot), snapshot);
        files.insert(format!("{}.targets.json", self.targets), targets);
        files.insert(format!("{}.{ROLE}.json", self.releases), releases);
        for (file, bytes) in &mut files {
            for (_, spoil) in self.spoils.iter().filter(|(role, _)| file.contains(role)) {
                spoil(bytes);
            }
        }
        files.retain(|file, _| !self.without.iter().any(|role| file.contains(role)));
        files
    }

    pub(crate) fn first_root(&self) -> Vec<u8> {
        self.files()["1.root.json"].clone()
    }

    fn common(&self, role: &str, kind: &str, version: u64, days: i64) -> Value {
        let days = self.days.get(role).copied().unwrap_or(days);
        json!({ "_type": kind, "spec_version": "1.0.31", "version": version, "expires": time::format(NOW + days * DAY) })
    }

    fn finish(&self, role: &str, mut signed: Value, signers: &[u8]) -> Vec<u8> {
        for (_, edit) in self.edits.iter().filter(|(of, _)| *of == role) {
            edit(&mut signed);
        }
        sign(&signed, self.signers.get(role).map_or(signers, |signers| signers))
    }
}

pub(crate) fn time_text(at: i64) -> String {
    time::format(at)
}

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// Identifiers are names: nothing computes them.
pub(crate) fn id(n: u8) -> String {
    format!("key-{n}")
}

pub(crate) fn keys(ns: &[u8]) -> Value {
    ns.iter().map(|&n| (id(n), key_entry(n))).collect::<serde_json::Map<_, _>>().into()
}

pub(crate) fn key_entry(n: u8) -> Value {
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": hex::encode(&key(n).public()) } })
}

pub(crate) fn role(ns: &[u8], threshold: u64) -> Value {
    json!({ "keyids": ns.iter().map(|&n| id(n)).collect::<Vec<_>>(), "threshold": threshold })
}

pub(crate) fn target(bytes: &[u8]) -> Value {
    json!({ "length": bytes.len(), "hashes": { "sha256": hex::encode(&sha256(bytes)) }, "custom": { "number": 12 } })
}

pub(crate) fn meta(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex::encode(&sha256(bytes)) } })
}

pub(crate) fn sign(signed: &Value, signers: &[u8]) -> Vec<u8> {
    let message = canonical(signed).unwrap_or_default();
    let signature = |&n: &u8| json!({ "keyid": id(n), "sig": hex::encode(&key(n).sign(&message)) });
    let signatures: Vec<_> = signers.iter().map(signature).collect();
    serde_json::to_vec(&json!({ "signatures": signatures, "signed": signed })).unwrap()
}

/// Brings `stored` up to date from `files` as a device would, durably after every step; what it may use in the end.
pub(crate) fn refresh(
    root: &[u8],
    stored: &mut Stored,
    files: &Stored,
    role: &str,
    now: i64,
) -> Result<Vec<Target>, TufError> {
    let mut client = Client::new(root, stored.clone(), now)?;
    client.refresh(role);
    for _ in 0..2_000 {
        match client.poll()? {
            Action::Fetch { path, max_len, may_be_missing } => {
                assert!(max_len <= 5 << 20, "{path}");
                let file = files.get(&path).cloned();
                assert!(file.is_some() || !may_be_missing || path.ends_with(".root.json"));
                client.feed(file)?;
            }
            Action::Persist { name, bytes } => {
                assert!(!name.contains('/'), "{name}");
                stored.insert(name, bytes);
                client.persisted();
            }
            Action::Done => return Ok(client.targets_of(role).collect()),
        }
    }
    panic!("no end")
}
