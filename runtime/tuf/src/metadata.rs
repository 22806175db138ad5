//! One file of metadata: from bytes to what it says, by way of its signatures.
//!
//! ```text
//! bytes ──parse──▶ Unverified ──threshold of keys──▶ type, version, expiry, body ──▶ Metadata<Root | Timestamp | …>
//! ```
//! Of a file that is not verified only the signatures and the canonical form are used. Unknown fields are allowed
//! everywhere: they are signed like the others.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use serde_json::Value;

use crate::{
    canonical::canonical,
    error::TufError,
    hex, json,
    keys::RoleKeys,
    limits::{MAX_PATH_LEN, MAX_ROLE_NAME_LEN, MAX_SIGNATURES},
    name,
    target::Target,
    time,
};

/// A verified file.
#[derive(Clone, Debug)]
pub(crate) struct Metadata<B> {
    pub(crate) role: String,
    /// The file as it came, byte for byte.
    pub(crate) bytes: Vec<u8>,
    pub(crate) version: u64,
    pub(crate) expires: i64,
    pub(crate) body: B,
}

impl<B: Body> Metadata<B> {
    /// Parses `bytes` and verifies them with `keys`.
    pub(crate) fn verify(role: &str, bytes: Vec<u8>, keys: &RoleKeys) -> Result<Self, TufError> {
        let file = Unverified::parse(role, bytes)?;
        file.check(keys)?;
        file.read()
    }

    /// The check for a freeze attack.
    pub(crate) fn check_expiry(&self, now: i64) -> Result<(), TufError> {
        if self.expires > now {
            return Ok(());
        }
        Err(TufError::Expired { role: self.role.clone(), expires: self.expires, now })
    }

    /// Whether it has the version that was announced.
    pub(crate) fn check_version(&self, expected: u64) -> Result<(), TufError> {
        if self.version == expected {
            return Ok(());
        }
        Err(TufError::WrongVersion { role: self.role.clone(), expected, found: self.version })
    }
}

impl Metadata<Root> {
    /// A root, verified with its own keys and, if there is one, with those of the root `before` it.
    pub(crate) fn verify_root(bytes: Vec<u8>, before: Option<&RoleKeys>) -> Result<Self, TufError> {
        let file = Unverified::parse("root", bytes)?;
        if let Some(before) = before {
            file.check(before)?;
        }
        let root: Self = file.clone().read()?;
        file.check(&root.body.root)?;
        Ok(root)
    }
}

/// A parsed file of which nothing may be believed yet.
#[derive(Clone)]
struct Unverified {
    role: String,
    bytes: Vec<u8>,
    signed: Value,
    canonical: Vec<u8>,
    /// Key identifier and signature, as the file has them.
    signatures: Vec<(String, String)>,
}

impl Unverified {
    fn parse(role: &str, bytes: Vec<u8>) -> Result<Self, TufError> {
        let role = role.to_owned();
        let malformed = |what| TufError::Malformed { role: role.clone(), what };
        let mut document = json::parse(&bytes).map_err(|e| {
            let (role, line, column) = (role.clone(), e.line, e.column);
            match e.is_duplicate {
                true => TufError::DuplicateMember { role, line, column },
                false => TufError::NotJson { role, line, column },
            }
        })?;
        let listed = document["signatures"].as_array().filter(|s| s.len() <= MAX_SIGNATURES);
        let mut signatures: Vec<(String, _)> = Vec::new();
        for entry in listed.ok_or_else(|| malformed("signatures"))? {
            let key_id = entry["keyid"].as_str().ok_or_else(|| malformed("keyid of a signature"))?;
            let signature = entry["sig"].as_str().ok_or_else(|| malformed("sig of a signature"))?;
            if signatures.iter().any(|(other, _)| other == key_id) {
                return Err(TufError::DuplicateSignature { role, key_id: key_id.to_owned() });
            }
            signatures.push((key_id.to_owned(), signature.to_owned()));
        }
        if !document["signed"].is_object() {
            return Err(malformed("signed"));
        }
        let signed = document["signed"].take();
        let canonical = canonical(&signed).ok_or_else(|| TufError::NotInteger { role: role.clone() })?;
        Ok(Self { role, bytes, signed, canonical, signatures })
    }

    /// The check for an arbitrary software attack: a threshold of different keys has signed. A key counts once, whatever its identifiers.
    fn check(&self, keys: &RoleKeys) -> Result<(), TufError> {
        let signatures = self.signatures.iter().map(|(key_id, signature)| (key_id.as_str(), signature.as_str()));
        let have = keys.count(&self.canonical, signatures);
        if have >= keys.threshold {
            return Ok(());
        }
        Err(TufError::Threshold { role: self.role.clone(), need: keys.threshold, have })
    }

    fn read<B: Body>(self) -> Result<Metadata<B>, TufError> {
        let Self { role, bytes, signed, .. } = self;
        let malformed = |what| TufError::Malformed { role: role.clone(), what };
        if signed["_type"] != B::TYPE {
            return Err(TufError::WrongType { role });
        }
        let major = signed["spec_version"].as_str().and_then(|version| version.split('.').next());
        if major != Some("1") {
            return Err(malformed("spec_version"));
        }
        let version = version(&signed).ok_or_else(|| malformed("version"))?;
        let expires = signed["expires"].as_str().and_then(time::parse).ok_or_else(|| malformed("expires"))?;
        let body = B::read(&signed).map_err(malformed)?;
        Ok(Metadata { role, bytes, version, expires, body })
    }
}

/// What a type of role says. The error of `read` is the name of the field at fault.
pub(crate) trait Body: Sized {
    const TYPE: &'static str;
    fn read(signed: &Value) -> Result<Self, &'static str>;
}

/// Who may sign what.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) root: RoleKeys,
    pub(crate) timestamp: RoleKeys,
    pub(crate) snapshot: RoleKeys,
    pub(crate) targets: RoleKeys,
    /// Whether names of files carry versions and hashes.
    pub(crate) consistent_snapshot: bool,
}

impl Body for Root {
    const TYPE: &'static str = "root";

    fn read(signed: &Value) -> Result<Self, &'static str> {
        let consistent_snapshot = match &signed["consistent_snapshot"] {
            Value::Null => false,
            some => some.as_bool().ok_or("consistent_snapshot")?,
        };
        let role = |name: &str| RoleKeys::read(&signed["keys"], &signed["roles"][name]);
        Ok(Self {
            root: role("root")?,
            timestamp: role("timestamp")?,
            snapshot: role("snapshot")?,
            targets: role("targets")?,
            consistent_snapshot,
        })
    }
}

/// Which snapshot is the newest.
#[derive(Clone, Debug)]
pub(crate) struct Timestamp {
    pub(crate) snapshot: Announced,
    pub(crate) issued: Option<i64>,
}

impl Body for Timestamp {
    const TYPE: &'static str = "timestamp";

    fn read(signed: &Value) -> Result<Self, &'static str> {
        let issued = match &signed["x-ff-issued"] {
            Value::Null => None,
            text => Some(text.as_str().and_then(time::parse).ok_or("x-ff-issued")?),
        };
        Ok(Self { snapshot: Announced::read(&signed["meta"]["snapshot.json"])?, issued })
    }
}

/// Which targets belong together.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// By name of the file without its version, such as `targets.json`.
    pub(crate) meta: BTreeMap<String, Announced>,
}

impl Body for Snapshot {
    const TYPE: &'static str = "snapshot";

    fn read(signed: &Value) -> Result<Self, &'static str> {
        let listed = signed["meta"].as_object().ok_or("meta")?;
        let mut meta = BTreeMap::new();
        for (file, entry) in listed {
            meta.insert(file.clone(), Announced::read(entry)?);
        }
        if !meta.contains_key("targets.json") {
            return Err("meta of targets.json");
        }
        Ok(Self { meta })
    }
}

/// Files, and who else may vouch for files.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) targets: Vec<Target>,
    /// In order of precedence.
    pub(crate) delegations: Vec<Delegation>,
}

/// One delegated role.
#[derive(Clone, Debug)]
pub(crate) struct Delegation {
    pub(crate) name: String,
    pub(crate) keys: RoleKeys,
    pub(crate) terminating: bool,
    trusted_with: TrustedWith,
}

/// The targets that a delegated role may vouch for.
#[derive(Clone, Debug)]
enum TrustedWith {
    /// Those that fit one of these patterns.
    Paths(Vec<String>),
    /// Those whose path has a SHA-256 that begins with one of these digits.
    HashPrefixes(Vec<String>),
}

impl Delegation {
    fn read(keys: &Value, role: &Value) -> Result<Self, &'static str> {
        let name = role["name"].as_str().ok_or("name of a delegated role")?;
        // These are names of files on the device.
        let is_numbered_root = name.strip_suffix(".root").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let is_taken = matches!(name, "root" | "timestamp" | "snapshot" | "targets") || is_numbered_root;
        if name.is_empty() || name.len() > MAX_ROLE_NAME_LEN || is_taken {
            return Err("name of a delegated role");
        }
        let texts = |list: &Value, field| {
            let texts = list.as_array().ok_or(field)?.iter();
            let text = |text: &Value| text.as_str().filter(|text| text.len() <= MAX_PATH_LEN).map(String::from);
            texts.map(|entry| text(entry).ok_or(field)).collect::<Result<Vec<_>, _>>()
        };
        let trusted_with = match (&role["paths"], &role["path_hash_prefixes"]) {
            (paths, Value::Null) => TrustedWith::Paths(texts(paths, "paths of a delegated role")?),
            (Value::Null, prefixes) => {
                TrustedWith::HashPrefixes(texts(prefixes, "path_hash_prefixes of a delegated role")?)
            }
            _ => return Err("paths or path_hash_prefixes of a delegated role"),
        };
        Ok(Self {
            name: name.to_owned(),
            keys: RoleKeys::read(keys, role)?,
            terminating: role["terminating"].as_bool().ok_or("terminating of a delegated role")?,
            trusted_with,
        })
    }

    /// Whether the role may vouch for the target `path`.
    pub(crate) fn covers(&self, path: &str) -> bool {
        match &self.trusted_with {
            TrustedWith::Paths(patterns) => patterns.iter().any(|pattern| name::matches(pattern, path)),
            TrustedWith::HashPrefixes(prefixes) => {
                let hash = hex::encode(&fleetfoot_trust::sha256(path.as_bytes()));
                prefixes.iter().any(|prefix| hash.starts_with(prefix.as_str()))
            }
        }
    }
}

impl Targets {
    pub(crate) fn delegation(&self, role: &str) -> Option<&Delegation> {
        self.delegations.iter().find(|delegation| delegation.name == role)
    }

    pub(crate) fn target(&self, path: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.path == path)
    }

    /// Whether a search for `path` that begins here asks the delegated `role` and nobody before it, so that no other role has
    /// the first word.
    pub(crate) fn asks_first(&self, path: &str, role: &str) -> bool {
        let first = self.delegations.iter().find(|delegation| delegation.covers(path));
        self.target(path).is_none() && first.is_some_and(|delegation| delegation.name == role)
    }
}

impl Body for Targets {
    const TYPE: &'static str = "targets";

    fn read(signed: &Value) -> Result<Self, &'static str> {
        let listed = signed["targets"].as_object().ok_or("targets")?;
        let targets = listed.iter().map(|(path, entry)| Target::parse(path, entry)).collect::<Result<_, _>>()?;
        let mut delegations: Vec<Delegation> = Vec::new();
        let roles = match &signed["delegations"] {
            Value::Null => &Vec::new(),
            some => some["roles"].as_array().ok_or("roles of delegations")?,
        };
        let mut names = BTreeSet::new();
        for role in roles {
            let delegation = Delegation::read(&signed["delegations"]["keys"], role)?;
            if !names.insert(delegation.name.clone()) {
                return Err("name of a delegated role");
            }
            delegations.push(delegation);
        }
        Ok(Self { targets, delegations })
    }
}

/// What one file says about another: version and, mostly, length and hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) version: u64,
    pub(crate) length: Option<u64>,
    sha256: Option<[u8; 32]>,
}

impl Announced {
    fn read(entry: &Value) -> Result<Self, &'static str> {
        let optional = |value: &Value| if value.is_null() { None } else { Some(value.clone()) };
        let length = optional(&entry["length"]).map(|length| length.as_u64().ok_or("length in meta")).transpose()?;
        let sha256 = |hashes: &Value| hashes["sha256"].as_str().and_then(hex::decode).ok_or("hashes in meta");
        let sha256 = optional(&entry["hashes"]).as_ref().map(sha256).transpose()?;
        Ok(Self { version: version(entry).ok_or("version in meta")?, length, sha256 })
    }

    /// Checks length and hash, before anything is parsed.
    pub(crate) fn check(&self, role: &str, bytes: &[u8]) -> Result<(), TufError> {
        let found = bytes.len() as u64;
        match self.length {
            Some(expected) if expected != found => {
                return Err(TufError::WrongLength { role: role.to_owned(), expected, found });
            }
            _ => {}
        }
        match self.sha256 {
            Some(expected) if expected != fleetfoot_trust::sha256(bytes) => {
                Err(TufError::WrongHash { role: role.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

fn version(of: &Value) -> Option<u64> {
    of["version"].as_u64().filter(|&version| version > 0)
}
