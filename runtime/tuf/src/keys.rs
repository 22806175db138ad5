//! Keys of roles as metadata lists them, and the count of their signatures.
//!
//! A key identifier is an opaque name: it says which signature belongs to which key, and is never computed from the key, because two
//! programs that compute it differently would lock each other's devices out.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use fleetfoot_trust::verify_signature;
use serde_json::Value;

use crate::{hex, limits::MAX_KEYS};

/// The keys of a role, by identifier, and how many of them must have signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoleKeys {
    /// Keys of other types than those that this build knows are left out: they never count.
    keys: BTreeMap<String, Key>,
    pub(crate) threshold: u64,
}

impl RoleKeys {
    /// From an object with `keyids` and `threshold`, whose keys are in `keys`. The error is the name of the field at fault.
    pub(crate) fn read(keys: &Value, role: &Value) -> Result<Self, &'static str> {
        let threshold = role["threshold"].as_u64().filter(|&threshold| threshold > 0).ok_or("threshold of a role")?;
        let ids = role["keyids"].as_array().filter(|ids| ids.len() <= MAX_KEYS).ok_or("keyids of a role")?;
        let keys = keys.as_object().ok_or("keys")?;
        let mut seen = BTreeSet::new();
        let mut known = BTreeMap::new();
        for id in ids {
            let id = id.as_str().ok_or("keyids of a role")?;
            if !seen.insert(id) {
                return Err("keyids of a role");
            }
            if let Some(key) = keys.get(id).and_then(Key::read) {
                known.insert(id.to_owned(), key);
            }
        }
        Ok(Self { keys: known, threshold })
    }

    /// How many different keys of the role have signed `message`. A key counts once, whatever its identifiers.
    pub(crate) fn count<'a>(&self, message: &[u8], signatures: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
        let mut good = BTreeSet::new();
        for (key_id, signature) in signatures {
            if let Some(key) = self.keys.get(key_id)
                && !good.contains(key)
                && key.verify(message, signature)
            {
                good.insert(key);
            }
        }
        good.len() as u64
    }

    /// Whether the role has other keys than `other`, whatever their identifiers.
    pub(crate) fn rotated(&self, other: &Self) -> bool {
        let has_all = |keys: &Self, of: &Self| of.keys.values().all(|key| keys.keys.values().any(|other| other == key));
        !(has_all(self, other) && has_all(other, self))
    }

    /// The different Ed25519 keys.
    pub(crate) fn ed25519(&self) -> Vec<[u8; 32]> {
        let ed25519 = |key: &Key| match key {
            Key::Ed25519(key) => Some(*key),
            #[cfg(feature = "conformance")]
            Key::Foreign(_) => None,
        };
        let mut different = Vec::new();
        for key in self.keys.values().filter_map(ed25519) {
            if let Err(at) = different.binary_search(&key) {
                different.insert(at, key);
            }
        }
        different
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Ed25519([u8; 32]),
    #[cfg(feature = "conformance")]
    Foreign(fleetfoot_trust::conformance::ForeignKey),
}

impl Key {
    fn read(entry: &Value) -> Option<Self> {
        let (kind, scheme) = (entry["keytype"].as_str()?, entry["scheme"].as_str()?);
        let public = entry["keyval"]["public"].as_str()?;
        match (kind, scheme) {
            ("ed25519", "ed25519") => hex::decode(public).map(Self::Ed25519),
            #[cfg(feature = "conformance")]
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256")
            | ("rsa", "rsassa-pss-sha256" | "rsa-pkcs1v15-sha256") => {
                fleetfoot_trust::conformance::ForeignKey::parse(scheme, public).map(Self::Foreign)
            }
            _ => None,
        }
    }

    /// Whether `signature`, hexadecimal, is one of this key over `message`.
    fn verify(&self, message: &[u8], signature: &str) -> bool {
        match self {
            Self::Ed25519(key) => hex::decode(signature).is_some_and(|bytes| verify_signature(key, message, &bytes)),
            #[cfg(feature = "conformance")]
            Self::Foreign(key) => hex::decode_any(signature).is_some_and(|bytes| key.verify(message, &bytes)),
        }
    }
}
