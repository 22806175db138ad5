//! A repository on a folder, signed with keys made from seeds, and bundles of a model so small that one can see what it does: it
//! looks 64 bytes up in a table. Written here from the specification of the metadata, so that it is not the code under test
//! that vouches for itself.

use std::{
    fs,
    path::{Path, PathBuf},
};

use fleetfoot::{
    Kernels, Keys,
    format::{
        bundle::{Budget, Header, SectionKind},
        golden,
        graph::{self, DType, Io, IoType, Lut, Record, Span, Step, ToFloat},
    },
};
use fleetfoot_quantize::assemble;
use fleetfoot_trust::{SigningKey, sha256, sign_bundle};
use serde_json::{Value, json};

/// A release as its managers see it, with everything that may be wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) model: &'static str,
    pub(crate) number: u64,
    /// Bytes that nobody needs.
    pub(crate) filler_len: usize,
    pub(crate) attempt: u64,
    pub(crate) budget: Budget,
    pub(crate) min_runtime: (u16, u16),
    /// The golden digest is that of another output.
    pub(crate) wrong_golden: bool,
    /// Signed by somebody else.
    pub(crate) forged: bool,
    /// The announcement has another number than the header.
    pub(crate) announced_number: Option<u64>,
    /// What the model computes.
    pub(crate) body: Body,
    /// Graph and weights of a plan, in the place of `body`; without golden vectors.
    pub(crate) plan: Option<(Vec<u8>, Vec<u8>)>,
    /// Further members of its announcement, such as those of an envelope.
    pub(crate) envelope: Value,
    /// What the web server delivers instead of the bundle.
    pub(crate) delivered: fn(&[u8]) -> Option<Vec<u8>>,
}

/// What a model computes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(dead_code, reason = "not every test needs each")]
pub(crate) enum Body {
    /// `3 * byte + number`, as int8.
    Table,
    /// What release `number` computes.
    As(u64),
    /// As `As(number)`, in 4,000 steps.
    Slow(u64),
    /// The table, and 64 more.
    Shifted,
    /// The same byte for whatever it is asked.
    Constant(u8),
    /// `Table`, times so much, as float32.
    Float(f32),
}

impl Release {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            model: MODEL,
            number,
            // So long that its download has a middle.
            filler_len: 200_000,
            attempt: 1,
            budget: Budget::default(),
            min_runtime: (0, 1),
            wrong_golden: false,
            forged: false,
            announced_number: None,
            body: Body::Table,
            plan: None,
            envelope: Value::Null,
            delivered: |bytes| Some(bytes.to_vec()),
        }
    }

    pub(crate) fn version(&self) -> String {
        format!("{}.0.0", self.number)
    }

    /// What the model answers to `0, 1, 2, ...`.
    pub(crate) fn output(&self) -> Vec<u8> {
        self.answer(&INPUT)
    }

    /// What the model answers.
    pub(crate) fn answer(&self, input: &[u8; 64]) -> Vec<u8> {
        let bytes = input.iter().map(|byte| self.table()[usize::from(*byte)]);
        match self.body {
            Body::Float(scale) => bytes.flat_map(|b| (f32::from(b.cast_signed()) * scale).to_le_bytes()).collect(),
            _ => bytes.collect(),
        }
    }

    fn table(&self) -> [u8; 256] {
        let number = match self.body {
            Body::As(number) | Body::Slow(number) => number,
            _ => self.number,
        };
        std::array::from_fn(|i| {
            let byte = (i as u8).wrapping_mul(3).wrapping_add(number as u8);
            match self.body {
                Body::Shifted => byte.wrapping_add(64),
                Body::Constant(constant) => constant,
                _ => byte,
            }
        })
    }

    fn graph(&self) -> Vec<u8> {
        let io = |name, dtype: IoType, offset| Io {
            name,
            dtype,
            dims: [1, 64].into_iter().collect(),
            scale: 1.0,
            zero_point: 0,
            span: Span { offset, len: 64 * dtype.size() as u32 },
        };
        let span = |offset| Span { offset, len: 64 };
        let step = |input, output, table| {
            let lut = Lut { input: span(input), output: span(output), table: Span { offset: table, len: 256 } };
            Record { name: "table", step: Step::Lut(lut) }
        };
        // The second table of the weights changes nothing.
        let there_and_back = |n: usize| (0..n).flat_map(|_| [step(0, 64, 256), step(64, 0, 256)]);
        let input = [io("in", IoType::Int8, 0)];
        match self.body {
            Body::Float(scale) => {
                let (input_span, output) = (span(64), Span { offset: 128, len: 256 });
                let to_float = ToFloat { input: input_span, output, dtype: DType::Int8, scale, zero_point: 0 };
                let steps = [step(0, 64, 0), Record { name: "float", step: Step::ToFloat(to_float) }];
                graph::write(&input, &[io("out", IoType::Float32, 128)], 384, 512, &steps).unwrap()
            }
            body => {
                let n = if matches!(body, Body::Slow(_)) { 2000 } else { 0 };
                let steps: Vec<_> = there_and_back(n).chain([step(0, 64, 0)]).collect();
                graph::write(&input, &[io("out", IoType::Int8, 64)], 128, 512, &steps).unwrap()
            }
        }
    }

    pub(crate) fn bundle(&self) -> Vec<u8> {
        let table = || (self.graph(), self.table().into_iter().chain(0..=255).collect());
        let (graph, weights) = self.plan.clone().unwrap_or_else(table);
        let digest = if self.wrong_golden { [7; 32] } else { sha256(&self.output()) };
        let golden = golden::write(&[(&INPUT[..], digest)]).unwrap();
        let filler = vec![self.number as u8; self.filler_len];
        let signer = if self.forged { key(99) } else { key(1) };
        let header = Header {
            model: self.model,
            version: &self.version(),
            number: self.number,
            total_len: 0,
            min_runtime: self.min_runtime,
            target: "portable",
            budget: self.budget,
            sections: Default::default(),
        };
        let parts = [
            (SectionKind::GRAPH, &graph[..]),
            (SectionKind::WEIGHTS, &weights[..]),
            (SectionKind::GOLDEN, &golden[..]),
            (SectionKind(200), &filler[..]),
        ];
        let parts = parts.into_iter().filter(|(kind, _)| self.plan.is_none() || *kind != SectionKind::GOLDEN);
        let parts: Vec<_> = parts.collect();
        let mut bundle = assemble(header, &parts, &[signer.public()]).unwrap();
        sign_bundle(&mut bundle, &signer).unwrap();
        bundle
    }
}

pub(crate) const MODEL: &str = "kws";
pub(crate) const INPUT: [u8; 64] = {
    let mut input = [0; 64];
    let mut i = 0;
    while i < 64 {
        input[i] = i as u8;
        i += 1;
    }
    input
};
/// 2026-11-24, while the metadata holds.
pub(crate) const NOW: i64 = 1_795_500_000;
/// After it has expired.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) const LATE: i64 = NOW + 400 * 86_400;

#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn release_keys() -> Keys {
    Keys::new(&[key(1).public()], 1).unwrap()
}

/// A repository in a folder.
pub(crate) struct Repository {
    pub(crate) dir: PathBuf,
    version: u64,
    pub(crate) rollout: Rollout,
    /// What the snapshot says of the last file of the rollout role: roles are never left out again.
    listed: Option<Value>,
}

/// What the rollout role says.
#[derive(Clone, Debug)]
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) enum Rollout {
    NoRole,
    Nothing,
    Says(Vec<u8>),
}

impl Repository {
    pub(crate) fn new(dir: &Path) -> Self {
        fs::create_dir_all(dir.join("metadata")).unwrap();
        let this = Self { dir: dir.into(), version: 0, rollout: Rollout::NoRole, listed: None };
        fs::write(dir.join("metadata/1.root.json"), this.root()).unwrap();
        this
    }

    pub(crate) fn root(&self) -> Vec<u8> {
        let one = |n: u8| json!({"keyids": [key_id(n)], "threshold": 1});
        let keys: serde_json::Map<_, _> = (2..=5).map(|n| (key_id(n), public(n))).collect();
        let root = json!({
            "_type": "root", "spec_version": "1.0.31", "version": 1, "expires": EXPIRES, "consistent_snapshot": true,
            "keys": keys,
            "roles": {"root": one(2), "targets": one(3), "snapshot": one(4), "timestamp": one(5)},
        });
        signed(&root, 2)
    }

    /// Publishes exactly these releases.
    pub(crate) fn publish(&mut self, releases: &[Release]) {
        self.version += 1;
        let version = self.version;
        let mut models: Vec<&str> = releases.iter().map(|release| release.model).collect();
        if models.is_empty() {
            models.push(MODEL);
        }
        models.sort_unstable();
        models.dedup();
        let head =
            |kind: &str| json!({"_type": kind, "spec_version": "1.0.31", "version": version, "expires": EXPIRES});
        let with = |kind: &str, more: Value| {
            let mut all = head(kind);
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            all
        };
        let meta = |bytes: &[u8]| json!({"version": version, "length": bytes.len(), "hashes": {"sha256": fleetfoot::hex(&sha256(bytes))}});
        let put = |name: String, bytes: &[u8]| fs::write(self.dir.join("metadata").join(name), bytes).unwrap();
        let (mut files, mut roles) = (serde_json::Map::new(), Vec::new());
        for model in models {
            let role = format!("releases-{model}");
            let targets = self.targets(releases.iter().filter(|release| release.model == model));
            let bytes = signed(&with("targets", json!({"targets": targets})), 1);
            put(format!("{version}.{role}.json"), &bytes);
            files.insert(format!("{role}.json"), meta(&bytes));
            let paths = [format!("models/{model}/*/*")];
            roles.push(
                json!({"name": role, "keyids": [key_id(1)], "threshold": 1, "terminating": true, "paths": paths}),
            );
        }
        if !matches!(self.rollout, Rollout::NoRole) {
            let paths = [format!("rollouts/{MODEL}/*")];
            roles.push(
                json!({"name": ROLLOUT, "keyids": [key_id(6)], "threshold": 1, "terminating": true, "paths": paths}),
            );
        }
        let delegations = json!({"keys": {key_id(1): public(1), key_id(6): public(6)}, "roles": roles});
        let top = signed(&with("targets", json!({"targets": {}, "delegations": delegations})), 3);
        put(format!("{version}.targets.json"), &top);
        files.insert("targets.json".into(), meta(&top));
        if let Rollout::Says(said) = &self.rollout {
            let hash = fleetfoot::hex(&sha256(said));
            let target = json!({"length": said.len(), "hashes": {"sha256": hash}});
            let current = format!("rollouts/{MODEL}/current.json");
            let rollout = signed(&with("targets", json!({"targets": {current: target}})), 6);
            self.listed = Some(meta(&rollout));
            put(format!("{version}.{ROLLOUT}.json"), &rollout);
            let folder = self.dir.join(format!("targets/rollouts/{MODEL}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(format!("{hash}.current.json")), said).unwrap();
        }
        if let Some(listed) = &self.listed {
            files.insert(format!("{ROLLOUT}.json"), listed.clone());
        }
        let snapshot = signed(&with("snapshot", json!({"meta": files})), 4);
        put(format!("{version}.snapshot.json"), &snapshot);
        let stamp = json!({"meta": {"snapshot.json": meta(&snapshot)}, "x-ff-issued": "2026-11-01T00:00:00Z"});
        put("timestamp.json".into(), &signed(&with("timestamp", stamp), 5));
    }

    /// Puts the bundles of one model in their places. Returns what is announced of them.
    fn targets<'r>(&self, releases: impl Iterator<Item = &'r Release>) -> serde_json::Map<String, Value> {
        let mut targets = serde_json::Map::new();
        for release in releases {
            let (bundle, label, model) = (release.bundle(), release.version(), release.model);
            let hash = fleetfoot::hex(&sha256(&bundle));
            let mut custom = json!({
                "model": model, "version": label, "attempt": release.attempt, "security_epoch": 0,
                "number": release.announced_number.unwrap_or(release.number),
            });
            custom.as_object_mut().unwrap().extend(release.envelope.as_object().cloned().unwrap_or_default());
            let path = format!("models/{model}/{label}/{model}-{label}.ff");
            targets.insert(path, json!({"length": bundle.len(), "hashes": {"sha256": hash}, "custom": custom}));
            let folder = self.dir.join(format!("targets/models/{model}/{label}"));
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("{hash}.{model}-{label}.ff"));
            match (release.delivered)(&bundle) {
                Some(bytes) => fs::write(file, bytes).unwrap(),
                None => fs::remove_file(file).unwrap_or_default(),
            }
        }
        targets
    }
}

/// The kernels that every device has.
#[allow(dead_code, reason = "not every test needs it")]
pub(crate) fn kernels() -> Kernels {
    Kernels::scalar()
}

const ROLLOUT: &str = "rollout-kws";
const EXPIRES: &str = "2027-06-01T00:00:00Z";

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

fn public(n: u8) -> Value {
    json!({"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": fleetfoot::hex(&key(n).public())}})
}

fn key_id(n: u8) -> String {
    fleetfoot::hex(&sha256(public(n).to_string().as_bytes()))
}

/// Sorted keys, no spaces: for text without control characters this is the canonical form.
fn signed(body: &Value, n: u8) -> Vec<u8> {
    let signature = fleetfoot::hex(&key(n).sign(body.to_string().as_bytes()));
    json!({"signatures": [{"keyid": key_id(n), "sig": signature}], "signed": body}).to_string().into_bytes()
}
