//! Metadata of every role behind its signature: the first byte says which role, the rest is what it signs.
//!
//! ```text
//! byte % 6:  0 root 2   1 timestamp   2 snapshot   3 targets   4 releases   5 no role: the bytes are the timestamp as they are
//! rest:      JSON; it is signed by the key of all roles, and the files above it name its length and hash
//! ```
//! A key may be stolen, and half of the checks stand behind signatures: whatever was signed is answered with an error or with targets whose
//! paths stay in their folder.

use std::sync::LazyLock;

use fleetfoot_trust::{SigningKey, sha256};
use fleetfoot_tuf::{Action, Client, FIRST_ROOT, Stored, canonical::canonical, hex, json};
use serde_json::{Value, json};

/// What one refresh may do: roots, one file of each other role, each stored.
const MAX_ACTIONS: usize = 64;
const NOW: i64 = 1_800_000_000;
const EXPIRES: &str = "2029-01-01T00:00:00Z";
const ROLE: &str = "releases-kws";

/// Follows the repository in which one role says what `bytes` say.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    let Some((&which, rest)) = bytes.split_first() else { return };
    let which = usize::from(which) % (BODIES.len() + 1);
    let files = match BODIES.get(which) {
        None => files_with(None, Some(rest)),
        Some((role, _)) => match json::parse(rest) {
            Ok(body) => files_with(Some((role, &body)), None),
            Err(error) => return assert!(error.line <= rest.len() + 1),
        },
    };
    let root = files["1.root.json"].clone();
    let mut stored = Stored::new();
    for _ in 0..2 {
        follow(&root, &mut stored, &files);
    }
    // What was stored may also be the first root of the next application, or what it remembers.
    for bytes in [&files["1.root.json"], files.get("2.root.json").unwrap_or(&root)] {
        stored.insert(FIRST_ROOT.into(), bytes.clone());
        follow(&root, &mut stored, &files);
    }
}

fn follow(root: &[u8], stored: &mut Stored, files: &Stored) {
    let mut client = match Client::pinned(root, stored.clone(), NOW) {
        Ok(client) => client,
        Err(error) => return assert!(error.code() == 255, "{error}"),
    };
    client.refresh(ROLE);
    let mut is_found = false;
    for n in 0.. {
        assert!(n < MAX_ACTIONS, "no end");
        match client.poll() {
            Err(error) => return assert!((240..260).contains(&error.code()) && !error.to_string().is_empty()),
            Ok(Action::Fetch { path, max_len, .. }) => {
                assert!(max_len <= 8 << 20 && !path.contains("..") && !path.starts_with('/'), "{path}");
                if let Err(error) = client.feed(files.get(&path).cloned()) {
                    return assert!((240..260).contains(&error.code()) && !error.to_string().is_empty());
                }
            }
            Ok(Action::Persist { name, bytes }) => {
                assert!(!name.contains('/') && !name.starts_with('.'), "{name}");
                stored.insert(name, bytes);
                client.persisted();
            }
            Ok(Action::Done) if is_found => break,
            Ok(Action::Done) => {
                is_found = true;
                client.find("models/kws/1.0.0/kws-1.0.0.ff");
            }
        }
    }
    for target in client.targets_of(ROLE).chain(client.targets_of("targets")).chain(client.found().cloned()) {
        let path = client.url_path(&target);
        let plain = path.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
        assert!(plain && !path.contains(['\\', '?', '#']), "{path}");
    }
}

/// What each role says in a repository where all is well; the seeds of the fuzzer.
pub static BODIES: LazyLock<[(&str, Value); 5]> = LazyLock::new(|| {
    let head = |kind: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": 1, "expires": EXPIRES});
    let with = |kind: &str, more: Value| {
        let mut body = head(kind);
        if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
            body.extend(more);
        }
        body
    };
    let role = json!({"keyids": ["k"], "threshold": 1});
    let roles = json!({"root": role, "timestamp": role, "snapshot": role, "targets": role});
    let keys =
        json!({"k": {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": hex::encode(&KEY.public())}}});
    let mut root = with("root", json!({"consistent_snapshot": true, "keys": keys, "roles": roles}));
    root["version"] = json!(2);
    let delegation = json!({
        "name": ROLE, "keyids": ["k"], "threshold": 1, "terminating": true, "paths": ["models/kws/*/*"],
    });
    let any = json!({"version": 1});
    let digest = hex::encode(&sha256(b"bundle"));
    let target = json!({"length": 6, "hashes": {"sha256": digest}, "custom": {"model": "kws", "number": 1}});
    let delegations = json!({"keys": keys, "roles": [delegation]});
    [
        ("root", root),
        (
            "timestamp",
            with("timestamp", json!({"meta": {"snapshot.json": any}, "x-ff-issued": "2026-11-01T00:00:00Z"})),
        ),
        ("snapshot", with("snapshot", json!({"meta": {"targets.json": any, "releases-kws.json": any}}))),
        ("targets", with("targets", json!({"targets": {}, "delegations": delegations}))),
        (ROLE, with("targets", json!({"targets": {"models/kws/1.0.0/kws-1.0.0.ff": target}}))),
    ]
});

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::from_seed(&[1; 32]));

fn sign(body: &Value) -> Vec<u8> {
    // A body with fractions has no canonical form, and no signature that holds.
    let signature = hex::encode(&KEY.sign(&canonical(body).unwrap_or_default()));
    json!({"signatures": [{"keyid": "k", "sig": signature}], "signed": body}).to_string().into_bytes()
}

/// A repository in which one role says something else, or whose timestamp is these bytes. Versions in names follow what is said.
fn files_with(changed: Option<(&str, &Value)>, raw_timestamp: Option<&[u8]>) -> Stored {
    let body = |role: &str| match changed {
        Some((name, body)) if name == role => body.clone(),
        _ => BODIES.iter().find(|(name, _)| *name == role).map(|(_, body)| body.clone()).unwrap_or_default(),
    };
    let mut files = Stored::new();
    let mut first = BODIES[0].1.clone();
    first["version"] = json!(1);
    files.insert("1.root.json".into(), sign(&first));
    if changed.is_some_and(|(role, _)| role == "root") {
        files.insert("2.root.json".into(), sign(&body("root")));
    }
    let mut put = |role: &str, body: &Value| {
        let bytes = sign(body);
        let version = body["version"].as_u64().unwrap_or(1);
        files.insert(format!("{version}.{role}.json"), bytes.clone());
        files.insert(format!("{role}.json"), bytes.clone());
        json!({"version": version, "length": bytes.len(), "hashes": {"sha256": hex::encode(&sha256(&bytes))}})
    };
    let mut snapshot = body("snapshot");
    let (releases, targets) = (put(ROLE, &body(ROLE)), put("targets", &body("targets")));
    if changed.is_none_or(|(role, _)| role != "snapshot") {
        snapshot["meta"] = json!({"targets.json": targets, "releases-kws.json": releases});
    }
    let snapshot = put("snapshot", &snapshot);
    let mut timestamp = body("timestamp");
    if changed.is_none_or(|(role, _)| role != "timestamp") {
        timestamp["meta"] = json!({"snapshot.json": snapshot});
    }
    files.insert("timestamp.json".into(), raw_timestamp.map_or_else(|| sign(&timestamp), <[u8]>::to_vec));
    files
}
