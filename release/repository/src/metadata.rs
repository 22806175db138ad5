//! Files of metadata: how they are signed, and how they are believed again.

use std::{collections::BTreeSet, path::Path};

use fleetfoot_trust::{SigningKey, sha256, verify_signature};
use fleetfoot_tuf::{canonical::canonical, hex, time};
use serde_json::{Map, Value, json};

use crate::{error::RepositoryError, files};

const SPEC_VERSION: &str = "1.0.31";

/// The body of a file: the fields that all roles have, and `more`.
pub(crate) fn body(kind: &str, version: u64, expires: i64, more: Value) -> Value {
    let mut body =
        json!({ "_type": kind, "spec_version": SPEC_VERSION, "version": version, "expires": time::format(expires) });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    body
}

/// A public key as metadata holds it.
pub(crate) fn key(public: &[u8; 32]) -> Value {
    json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": hex::encode(public) } })
}

/// The identifier that this program gives a key: SHA-256 of its canonical form. Readers take it as an opaque name.
pub(crate) fn key_id(public: &[u8; 32]) -> String {
    let form = canonical(&key(public)).unwrap_or_default();
    hex::encode(&sha256(&form))
}

/// All keys by their identifiers.
pub(crate) fn keys<'a>(public: impl IntoIterator<Item = &'a [u8; 32]>) -> Value {
    public.into_iter().map(|k| (key_id(k), key(k))).collect::<Map<_, _>>().into()
}

/// Takes the keys out of `delegations` that no role in them uses.
pub(crate) fn drop_unused_keys(delegations: &mut Value) {
    let roles = delegations["roles"].as_array().into_iter().flatten();
    let ids = roles.flat_map(|role| role["keyids"].as_array()).flatten();
    let used: BTreeSet<String> = ids.filter_map(Value::as_str).map(String::from).collect();
    if let Some(all) = delegations["keys"].as_object_mut() {
        all.retain(|id, _| used.contains(id));
    }
}

/// A role as a root or a delegation names it.
pub(crate) fn role(public: &[[u8; 32]], threshold: usize) -> Value {
    let ids: BTreeSet<String> = public.iter().map(key_id).collect();
    json!({ "keyids": ids, "threshold": threshold })
}

/// The file: `body` and a signature of each key.
pub(crate) fn sign(body: Value, keys: &[&SigningKey]) -> Vec<u8> {
    // Nothing that this crate puts into a body is a fraction, so there is a canonical form.
    let message = canonical(&body).unwrap_or_default();
    let signatures: Vec<Value> =
        keys.iter().map(|k| json!({ "keyid": key_id(&k.public()), "sig": hex::encode(&k.sign(&message)) })).collect();
    let mut bytes = json!({ "signatures": signatures, "signed": body }).to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// What a snapshot or a timestamp says of a file.
pub(crate) fn meta(version: u64, bytes: &[u8]) -> Value {
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": hex::encode(&sha256(bytes)) } })
}

/// Reads a file, and believes it if a threshold of the keys of `role` (an object with `keyids` and `threshold`) among `keys` has
/// signed it as a file of the role `name`, and if it is the one of which the file above it says `meta`.
pub(crate) fn load(
    path: &Path,
    (name, meta): (&str, Option<&Value>),
    keys: &Value,
    role: &Value,
) -> Result<Value, RepositoryError> {
    let malformed = |what| RepositoryError::Malformed { path: path.into(), what };
    let bytes = files::read(path)?;
    let mut document = files::parse(path, &bytes)?;
    let message = canonical(&document["signed"]).ok_or_else(|| malformed("a number that is no integer"))?;
    let allowed: BTreeSet<&str> = role["keyids"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut good = BTreeSet::new();
    for signature in document["signatures"].as_array().into_iter().flatten() {
        let Some(id) = signature["keyid"].as_str().filter(|id| allowed.contains(id)) else { continue };
        let public = keys[id]["keyval"]["public"].as_str().and_then(hex::decode::<32>);
        let bytes = signature["sig"].as_str().and_then(hex::decode::<64>);
        if let (Some(public), Some(bytes)) = (public, bytes)
            && verify_signature(&public, &message, &bytes)
        {
            good.insert(public);
        }
    }
    let need = role["threshold"].as_u64().filter(|&t| t > 0).ok_or_else(|| malformed("a role without a threshold"))?;
    let have = good.len() as u64;
    if have < need {
        return Err(RepositoryError::Threshold { role: name.into(), need, have });
    }
    let signed = document["signed"].take();
    let kind = if matches!(name, "root" | "timestamp" | "snapshot") { name } else { "targets" };
    if signed["_type"] != kind {
        return Err(malformed("the file of another role"));
    }
    let Some(meta) = meta else { return Ok(signed) };
    if signed["version"] != meta["version"] {
        return Err(malformed("not the version that its name says"));
    }
    // Whoever may sign a role can sign a version twice; the one that devices see is the one that counts.
    let length = meta.get("length").is_none_or(|length| *length == bytes.len());
    let hash = meta.get("hashes").is_none_or(|hashes| hashes["sha256"] == hex::encode(&sha256(&bytes)));
    if !length || !hash {
        return Err(malformed("not the file that the one above it names"));
    }
    Ok(signed)
}

/// The newest root of the chain that begins with `1.root.json`, each signed by the keys of the one before and by its own, and the root before
/// it.
pub(crate) fn newest_roots(folder: &Path) -> Result<(Value, Option<Value>), RepositoryError> {
    let load = |version: u64, by: &Value| {
        let path = folder.join(format!("{version}.root.json"));
        load(&path, ("root", Some(&json!({ "version": version }))), &by["keys"], &by["roles"]["root"])
    };
    let first = folder.join("1.root.json");
    let mut root = load(1, &files::parse(&first, &files::read(&first)?)?["signed"])?;
    let mut before = None;
    for version in 2u64.. {
        if !folder.join(format!("{version}.root.json")).exists() {
            break;
        }
        let next = load(version, &root)?;
        before = Some(root);
        root = load(version, &next)?;
    }
    Ok((root, before))
}
