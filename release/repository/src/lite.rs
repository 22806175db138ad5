//! The files for devices without clock, JSON or TLS: `trust.bin`, `header.bin`, `directive.bin`. Layouts: `fleetfoot_format::lite`.
//!
//! ```text
//! targets/lite/<model>/<sha256>.{trust,header,directive}.bin      immutable, as all targets
//! metadata/V.lite-<model>.json                                    which of them are in force, signed by the online key
//! ```
//! The chain of a model begins, and goes on after a rotation, with [`Repository::lite_trust`], for which the people with the root keys and those with
//! the targets keys come together: a link names the keys that root, `releases-<model>` and timestamp have on that day. From then on
//! [`Repository::publish`] writes a header (release keys) and a directive (timestamp key) with every release, [`Repository::lite_header`] signs the
//! header of the newest release again, for limits that have opened meanwhile, and [`Repository::lite_direct`] changes the directive.
//!
//! The role `lite-<model>` tells gateways which files to hand on. It vouches for nothing else: what devices believe they believe
//! because of the signatures inside. Before anything is listed it is judged as a device would that has seen what was in force.

use std::path::Path;

use fleetfoot_format::{
    FormatError,
    limits::{MAX_LITE_HARDWARE, MAX_LITE_LINKS, MAX_SIGNERS},
    lite::{self, ALL_BASIS_POINTS, Directive, Frame, Header, Kind, Limits, Stage, State as Known},
};
use fleetfoot_trust::{
    SigningKey,
    lite::{Device, Root},
    sha256, sign_lite,
};
use fleetfoot_tuf::{Target, hex, name, time};
use serde_json::{Value, json};

use crate::{
    error::RepositoryError,
    files,
    metadata::{self, body, keys, load, meta, role, sign},
    repository::{Expiry, Online, Repository},
    seal::Change,
    state::{State, of_role},
};

/// What a directive is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteOrder {
    /// The stage.
    pub stage: Stage,
    /// The share of the devices, of 10,000.
    pub basis_points: u16,
    /// The challenge of a device that it answers.
    pub nonce: Option<[u8; 16]>,
}

impl LiteOrder {
    /// Everybody.
    pub const EVERYBODY: Self = Self { stage: Stage::FULL, basis_points: ALL_BASIS_POINTS, nonce: None };
    /// Nobody begins.
    pub const HALT: Self = Self { stage: Stage::HALT, basis_points: 0, nonce: None };
}

/// The files in force.
#[derive(Clone, Default)]
struct Files {
    /// Links of the chain, the oldest first.
    links: Vec<Vec<u8>>,
    header: Option<Vec<u8>>,
    directive: Option<Vec<u8>>,
}

/// The beginning of the names of roles that list lite files.
const LITE: &str = "lite-";
/// Directives that the online key can sign under one header.
const DIRECTIVES_OF_A_HEADER: u64 = 10_000;

impl Repository {
    /// Begins the chain of lite roots of `model`, or adds a link to it: with the keys that root, `releases-<model>` and timestamp have now.
    /// `root` are enough of the root keys, and of those of the last link; `targets` are enough of the targets keys, because the role
    /// `lite-<model>` gets its key anew. With `releases`, enough of the release keys, the newest release gets a header and a directive under
    /// the new link; without them devices wait for the next release. Returns the trust version.
    ///
    /// # Errors
    /// [`RepositoryError::UnknownModel`], [`RepositoryError::TooManyKeys`], [`RepositoryError::LiteLinks`], [`RepositoryError::Lite`] for what
    /// a device would refuse, and those of [`rotate`](Self::rotate).
    pub fn lite_trust(
        &self,
        model: &str,
        (root, targets, releases): (&[SigningKey], &[SigningKey], &[SigningKey]),
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<u32, RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let delegation = state.delegation(model)?;
        let roles = &state.root["roles"];
        let root_role = Members::of("root", &roles["root"], &state.root["keys"])?;
        let header = Members::of("releases", &delegation, &state.targets["delegations"]["keys"])?;
        let directive = Members::of("timestamp", &roles["timestamp"], &state.root["keys"])?;
        let mut in_force = self.lite_files(&state, model)?.unwrap_or_default();
        let last = in_force.links.last().map(|bytes| parsed(bytes)).transpose()?;
        if in_force.links.len() >= MAX_LITE_LINKS {
            return Err(RepositoryError::LiteLinks { model: model.into(), limit: MAX_LITE_LINKS });
        }
        let link = lite::Root {
            model,
            version: last.map_or(1, |last| last.version.saturating_add(1)),
            previous: in_force.links.last().map(|bytes| sha256(bytes)).unwrap_or_default(),
            root: root_role.role(),
            header: header.role(),
            directive: directive.role(),
        };
        let version = link.version;
        let signs = |key: &&SigningKey| {
            let public = key.public();
            link.root.contains(&public) || last.is_some_and(|last| last.root.contains(&public))
        };
        let signing: Vec<&SigningKey> = root.iter().filter(signs).collect();
        let link = sealed(Kind::Root, &link, &signing)?;
        in_force.links.push(link);
        (in_force.header, in_force.directive) = (None, None);
        in_force.rehearse(model, Known::default())?;

        let role_name = role_name(model);
        let mut delegations = state.targets["delegations"].clone();
        let entry = delegate(&mut delegations, model, &directive);
        let online_keys = of_role(&role_name, online.timestamp, &delegations["keys"], &entry)?;
        let newest = self.newest(&state, model)?.filter(|_| !releases.is_empty());
        if let Some(release) = newest {
            let signing = of_role("releases", releases, &state.targets["delegations"]["keys"], &delegation)?;
            in_force.release(model, &release, (&signing, &online_keys), (is_rolled_out(&state, model), now))?;
        }
        let listed = self.put_lite(&state, model, &in_force, &online_keys, (expiry, now))?;
        self.write_targets(&state, delegations, Some((&role_name, listed)), targets, online, (expiry, now))?;
        Ok(version)
    }

    /// Signs the header of the newest release again, with the limits that are in force at `now`. The directive begins with everybody, where
    /// that is allowed and the model has no rollout role, and with a halt otherwise.
    ///
    /// # Errors
    /// [`RepositoryError::NoLite`], [`RepositoryError::LiteKeys`], [`RepositoryError::Threshold`], [`RepositoryError::File`].
    pub fn lite_header(
        &self,
        model: &str,
        releases: &[SigningKey],
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let delegation = state.delegation(model)?;
        let signing = of_role("releases", releases, &state.targets["delegations"]["keys"], &delegation)?;
        let no_lite = || RepositoryError::NoLite { model: model.into() };
        let release = self.newest(&state, model)?.ok_or_else(no_lite)?;
        let listed = self.lite_release(&state, model, &release, &signing, online, (expiry, now))?;
        self.seal_lite(&state, listed.ok_or_else(no_lite)?, online, (expiry, now))
    }

    /// Changes the directive of `model`. Only the online key is needed; the header bounds what can be said.
    ///
    /// # Errors
    /// [`RepositoryError::NoLite`] before the first release, [`RepositoryError::Lite`] for what a device would refuse,
    /// [`RepositoryError::Threshold`], [`RepositoryError::File`].
    pub fn lite_direct(
        &self,
        model: &str,
        order: LiteOrder,
        online: Online<'_>,
        expiry: Expiry,
        now: i64,
    ) -> Result<(), RepositoryError> {
        let _lock = self.lock()?;
        let state = self.state()?;
        let no_lite = || RepositoryError::NoLite { model: model.into() };
        let mut in_force = self.lite_files(&state, model)?.ok_or_else(no_lite)?;
        let known = in_force.known()?;
        let signing = self.lite_online(&state, model, online)?;
        let header = in_force.header.clone().ok_or_else(no_lite)?;
        let counter = known.directive.saturating_add(1);
        in_force.directive = Some(directive(model, (known.trust, counter), &header, order, &signing)?);
        in_force.rehearse(model, known)?;
        let listed = self.put_lite(&state, model, &in_force, &signing, (expiry, now))?;
        self.seal_lite(&state, (role_name(model), listed), online, (expiry, now))
    }

    /// The lite files of a release that is about to be published, `release` being its entry in the list; what the snapshot says of the
    /// list of lite files. Nothing where the model has none.
    pub(crate) fn lite_release(
        &self,
        state: &State,
        model: &str,
        release: &Value,
        releases: &[&SigningKey],
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
    ) -> Result<Option<(String, Value)>, RepositoryError> {
        let Some(mut in_force) = self.lite_files(state, model)? else { return Ok(None) };
        let signing = self.lite_online(state, model, online)?;
        in_force.release(model, release, (releases, &signing), (is_rolled_out(state, model), now))?;
        let listed = self.put_lite(state, model, &in_force, &signing, (expiry, now))?;
        Ok(Some((role_name(model), listed)))
    }

    /// New lists of the lite files of every model whose list has less than half of its time left; what the snapshot says of each. One that the
    /// online key does not sign any more, after a rotation, stays as it is: `repo status` shows that it runs out.
    pub(crate) fn renew_lite(
        &self,
        state: &State,
        online: Online<'_>,
        (expiry, now): (Expiry, i64),
    ) -> Result<Vec<(String, Value)>, RepositoryError> {
        let names = state.delegations().filter_map(|delegation| delegation["name"].as_str());
        let models: Vec<String> = names.filter_map(|name| name.strip_prefix(LITE)).map(String::from).collect();
        let mut renewed = Vec::new();
        for model in models {
            let Some((list, in_force)) = self.lite_list(state, &model)? else { continue };
            let expires = list["expires"].as_str().and_then(time::parse).unwrap_or(0);
            if expires.saturating_sub(now) >= expiry.releases / 2 {
                continue;
            }
            match self.lite_online(state, &model, online) {
                Ok(signing) => {
                    let listed = self.put_lite(state, &model, &in_force, &signing, (expiry, now))?;
                    renewed.push((role_name(&model), listed));
                }
                Err(RepositoryError::LiteKeys { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(renewed)
    }

    fn seal_lite(
        &self,
        state: &State,
        (role, listed): (String, Value),
        online: Online<'_>,
        times: (Expiry, i64),
    ) -> Result<(), RepositoryError> {
        let mut files = state.snapshot["meta"].clone();
        files[&name::stored(&role)] = listed;
        let change = Change { files, root: &state.root, new_root: None, role: Some(&role) };
        self.seal(state, change, online, times)
    }

    /// The online keys that sign for the role `lite-<model>`.
    fn lite_online<'a>(
        &self,
        state: &State,
        model: &str,
        online: Online<'a>,
    ) -> Result<Vec<&'a SigningKey>, RepositoryError> {
        let role_name = role_name(model);
        let delegation = state.delegations().find(|d| d["name"] == role_name.as_str());
        let keys = &state.targets["delegations"]["keys"];
        of_role(&role_name, online.timestamp, keys, delegation.unwrap_or(&Value::Null)).map_err(|error| match error {
            // The key of the timestamp was rotated, and the chain not yet.
            RepositoryError::Threshold { .. } => RepositoryError::LiteKeys { model: model.into(), role: "timestamp" },
            other => other,
        })
    }

    /// The lite files in force. Nothing where the model has no chain.
    fn lite_files(&self, state: &State, model: &str) -> Result<Option<Files>, RepositoryError> {
        Ok(self.lite_list(state, model)?.map(|(_, files)| files))
    }

    /// As [`lite_files`](Self::lite_files), with the list that names them.
    fn lite_list(&self, state: &State, model: &str) -> Result<Option<(Value, Files)>, RepositoryError> {
        let role_name = role_name(model);
        let found = state.delegations().find(|d| d["name"] == role_name.as_str());
        let (Some(delegation), Some(meta)) = (found, state.snapshot["meta"].get(name::stored(&role_name))) else {
            return Ok(None);
        };
        let path = self.metadata(&name::versioned(meta["version"].as_u64().unwrap_or(0), &role_name));
        let keys = &state.targets["delegations"]["keys"];
        let list = load(&path, (&role_name, Some(meta)), keys, delegation)?;
        let file = |kind: Kind| {
            let path = format!("lite/{model}/{}", kind.name());
            let Some(digest) = list["targets"][&path]["hashes"]["sha256"].as_str().and_then(hex::decode) else {
                return Ok(None);
            };
            let file = self.lite_path(&path, digest);
            let bytes = files::read(&file)?;
            let what = "not the file that the list names";
            if sha256(&bytes) == digest {
                Ok(Some(bytes))
            } else {
                Err(RepositoryError::Malformed { path: file, what })
            }
        };
        let chain = file(Kind::Root)?.unwrap_or_default();
        let (mut links, mut rest) = (Vec::new(), &chain[..]);
        while !rest.is_empty() {
            let (frame, after) = Frame::take(rest, Kind::Root)?;
            links.push(frame.bytes().to_vec());
            rest = after;
        }
        let files = Files { links, header: file(Kind::Header)?, directive: file(Kind::Directive)? };
        Ok(Some((list, files)))
    }

    fn lite_path(&self, path: &str, digest: [u8; 32]) -> std::path::PathBuf {
        let target = Target { path: path.into(), length: 0, sha256: digest, custom: Value::Null };
        self.dir().join(Path::new("targets").join(target.url_path()))
    }

    /// Writes the files and the list of them; what a snapshot says of the list.
    fn put_lite(
        &self,
        state: &State,
        model: &str,
        in_force: &Files,
        signing: &[&SigningKey],
        (expiry, now): (Expiry, i64),
    ) -> Result<Value, RepositoryError> {
        let chain = in_force.links.concat();
        let all = [
            (Kind::Root, Some(&chain)),
            (Kind::Header, in_force.header.as_ref()),
            (Kind::Directive, in_force.directive.as_ref()),
        ];
        let mut targets = json!({});
        for (kind, bytes) in all.into_iter().filter_map(|(kind, bytes)| Some((kind, bytes?))) {
            let (path, digest) = (format!("lite/{model}/{}", kind.name()), sha256(bytes));
            files::write(&self.lite_path(&path, digest), bytes)?;
            targets[path] = json!({ "length": bytes.len(), "hashes": { "sha256": hex::encode(&digest) } });
        }
        let role_name = role_name(model);
        let version = self.unused(state, &role_name);
        let bytes = sign(body("targets", version, now + expiry.releases, json!({ "targets": targets })), signing);
        self.put(&name::versioned(version, &role_name), &bytes)?;
        Ok(meta(version, &bytes))
    }

    /// The entry of the newest release of `model`.
    fn newest(&self, state: &State, model: &str) -> Result<Option<Value>, RepositoryError> {
        let releases = self.releases(state, model)?;
        let listed = releases.iter().filter_map(|releases| releases["targets"].as_object()).flatten();
        let newest = listed.map(|(_, entry)| entry).max_by_key(|entry| entry["custom"]["number"].as_u64());
        Ok(newest.cloned())
    }
}

impl Files {
    /// A header and a directive for `release`, under the last link, with counters above those in force.
    fn release(
        &mut self,
        model: &str,
        release: &Value,
        (releases, online): (&[&SigningKey], &[&SigningKey]),
        (is_rolled_out, now): (bool, i64),
    ) -> Result<(), RepositoryError> {
        let other_keys = |role| RepositoryError::LiteKeys { model: model.into(), role };
        let known = self.known()?;
        let link = self.links.last().map(|bytes| parsed(bytes)).transpose()?;
        let link = link.ok_or_else(|| RepositoryError::NoLite { model: model.into() })?;
        let of_link = |role: &lite::Role<'_>, keys: &[&SigningKey]| {
            keys.iter().filter(|key| role.contains(&key.public())).count() >= usize::from(role.threshold)
        };
        if !of_link(&link.header, releases) || releases.iter().any(|key| !link.header.contains(&key.public())) {
            return Err(other_keys("releases"));
        }
        if !of_link(&link.directive, online) {
            return Err(other_keys("timestamp"));
        }
        let first = match &self.header {
            Some(bytes) => Header::parse(&Frame::whole(bytes, Kind::Header)?)?.limits.last.saturating_add(1),
            None => 1,
        };
        let custom = &release["custom"];
        let number = |name: &str, default: u64| custom[name].as_u64().unwrap_or(default);
        let small = |name: &str, default| u32::try_from(number(name, default)).unwrap_or(u32::MAX);
        let own_salt = format!("{model}/{}", number("number", 0));
        let (max_stage, max_basis_points) = limit(custom, now);
        let mut hardware = heapless::Vec::new();
        for name in custom["hardware"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let limit = MAX_LITE_HARDWARE as u64;
            let over = FormatError::OverLimit { what: "kinds of hardware", value: limit + 1, limit };
            hardware.push(name).map_err(|_| over)?;
        }
        let header = Header {
            model,
            trust: link.version,
            counter: known.header.saturating_add(1),
            sha256: release["hashes"]["sha256"].as_str().and_then(hex::decode).unwrap_or_default(),
            len: release["length"].as_u64().unwrap_or(0),
            number: number("number", 0),
            epoch: small("security_epoch", 0),
            attempt: small("attempt", 1),
            hardware,
            salt: custom["salt"].as_str().unwrap_or(&own_salt),
            limits: Limits {
                max_stage,
                max_basis_points,
                first,
                last: first.saturating_add(DIRECTIVES_OF_A_HEADER - 1),
            },
        };
        let header = sealed(Kind::Header, &header, releases)?;
        let everybody = !is_rolled_out && (max_stage, max_basis_points) == (Stage::FULL.0, ALL_BASIS_POINTS);
        let order = if everybody { LiteOrder::EVERYBODY } else { LiteOrder::HALT };
        self.directive = Some(directive(model, (link.version, first), &header, order, online)?);
        self.header = Some(header);
        self.rehearse(model, known)
    }

    /// What a device knows that has seen all of it.
    fn known(&self) -> Result<Known, RepositoryError> {
        let Some(last) = self.links.last() else { return Ok(Known::default()) };
        let mut known = Known { trust: parsed(last)?.version, root: sha256(last), ..Known::default() };
        if let Some(bytes) = &self.header {
            known.header = Header::parse(&Frame::whole(bytes, Kind::Header)?)?.counter;
        }
        if let Some(bytes) = &self.directive {
            known.directive = Directive::parse(&Frame::whole(bytes, Kind::Directive)?)?.counter;
        }
        Ok(known)
    }

    /// Whether a device takes all of it that has seen what `known` says.
    fn rehearse(&self, model: &str, known: Known) -> Result<(), RepositoryError> {
        let Some(first) = self.links.first() else { return Ok(()) };
        let (chain, mut device) = (self.links.concat(), Device { model, hardware: "" });
        let (root, state) = Root::first(first, &device)?.follow(&chain, &known, &device)?;
        if let (Some(header), Some(directive)) = (&self.header, &self.directive) {
            let parsed = Header::parse(&Frame::whole(header, Kind::Header)?)?;
            device.hardware = parsed.hardware.first().copied().unwrap_or_default();
            root.decide(header, directive, None, &state, &device)?;
        }
        Ok(())
    }
}

/// Keys of a role of metadata, as a link has them.
struct Members {
    keys: Vec<[u8; 32]>,
    flat: Vec<u8>,
    threshold: u8,
}

impl Members {
    fn of(name: &'static str, role: &Value, keys: &Value) -> Result<Self, RepositoryError> {
        let ids = role["keyids"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut found: Vec<[u8; 32]> =
            ids.filter_map(|id| keys[id]["keyval"]["public"].as_str().and_then(hex::decode)).collect();
        found.sort_unstable();
        found.dedup();
        if found.len() > MAX_SIGNERS {
            return Err(RepositoryError::TooManyKeys { role: name.into(), n: found.len(), limit: MAX_SIGNERS });
        }
        let threshold = role["threshold"].as_u64().and_then(|t| u8::try_from(t).ok()).unwrap_or(u8::MAX);
        Ok(Self { flat: found.concat(), keys: found, threshold })
    }

    fn role(&self) -> lite::Role<'_> {
        lite::Role { threshold: self.threshold, keys: &self.flat }
    }
}

/// Whether somebody rolls the releases of `model` out: then nothing begins by itself.
fn is_rolled_out(state: &State, model: &str) -> bool {
    let role_name = format!("rollout-{model}");
    state.delegations().any(|delegation| delegation["name"] == role_name.as_str())
}

fn role_name(model: &str) -> String {
    format!("{LITE}{model}")
}

/// Puts the role that lists the lite files of `model` into `delegations`, in the place of the one before; its entry.
fn delegate(delegations: &mut Value, model: &str, online: &Members) -> Value {
    let mut entry = role(&online.keys, usize::from(online.threshold));
    entry["name"] = role_name(model).into();
    entry["terminating"] = true.into();
    entry["paths"] = json!([format!("lite/{model}/*")]);
    if let (Some(all), Value::Object(new)) = (delegations["keys"].as_object_mut(), keys(&online.keys)) {
        all.extend(new);
    }
    if let Some(roles) = delegations["roles"].as_array_mut() {
        roles.retain(|role| role["name"] != entry["name"]);
        roles.push(entry.clone());
    }
    metadata::drop_unused_keys(delegations);
    entry
}

/// Furthest stage and largest share that the release keys allow at `now`: `limits` of the release, or everything where it has none.
fn limit(custom: &Value, now: i64) -> (u8, u16) {
    let Some(limits) = custom["limits"].as_array() else { return (Stage::FULL.0, ALL_BASIS_POINTS) };
    let opened = |entry: &&Value| entry["not_before"].as_str().and_then(time::parse).is_some_and(|from| from <= now);
    let last = limits.iter().filter(opened).max_by_key(|entry| entry["not_before"].as_str().and_then(time::parse));
    let stage = match last.and_then(|last| last["max_stage"].as_str()) {
        Some("shadow") => Stage::SHADOW,
        Some("canary") => Stage::CANARY,
        Some("ab") => Stage::AB,
        Some("full") => Stage::FULL,
        _ => Stage::HALT,
    };
    let share = last.and_then(|last| last["max_bp"].as_u64()).and_then(|bp| u16::try_from(bp).ok());
    (stage.0, share.unwrap_or(0).min(ALL_BASIS_POINTS))
}

fn directive(
    model: &str,
    (trust, counter): (u32, u64),
    header: &[u8],
    order: LiteOrder,
    keys: &[&SigningKey],
) -> Result<Vec<u8>, RepositoryError> {
    let LiteOrder { stage, basis_points, nonce } = order;
    let body = Directive { model, trust, counter, header: sha256(header), stage, basis_points, nonce };
    sealed(Kind::Directive, &body, keys)
}

/// A frame with the signatures of `keys`, each once.
fn sealed(kind: Kind, body: &impl serde::Serialize, keys: &[&SigningKey]) -> Result<Vec<u8>, RepositoryError> {
    let mut bytes = lite::write(kind, body)?;
    let mut signatures: Vec<_> = keys.iter().map(|key| sign_lite(kind, &bytes, key)).collect();
    signatures.sort_unstable();
    signatures.dedup();
    bytes.push(u8::try_from(signatures.len()).unwrap_or(u8::MAX));
    bytes.extend(signatures.concat());
    Ok(bytes)
}

/// What a link says that is in force.
fn parsed(bytes: &[u8]) -> Result<lite::Root<'_>, RepositoryError> {
    Ok(lite::Root::parse(&Frame::whole(bytes, Kind::Root)?)?)
}
