//! A repository with a rollout role, a server over it whose clock is set, and devices that follow what it signs and report over HTTP.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, reason = "this is a test")]

pub(crate) mod fleet;
pub(crate) mod http;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, thread};

use fleetfoot_format::bundle::{
    Budget, Bundle, CONTAINER_VERSION, Header, MAGIC, Preamble, SECTION_ALIGN, SIGNATURE_LEN, Section, SectionKind,
};
use fleetfoot_repository::{EnvelopeSpec, Expiry, Init, Online, Repository, Signers};
use fleetfoot_server::{
    Config, ControlPolicy, Gates, MetricName, OnlineKeys, Role, Server, SetClock, Store, reports::ReportPolicy,
};
use fleetfoot_trust::{ReportKey, SigningKey, sha256, sign_bundle};
use serde_json::{Value, json};

/// The beginning of a UTC day.
pub(crate) const NOW: i64 = 20_833 * 86_400;
pub(crate) const SALT: &str = "kws-2/1";
pub(crate) const HOUR: i64 = 3600;
pub(crate) const REPORT_KEY: [u8; 32] = [9; 32];

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// A signed bundle with nothing in it but labels.
fn bundle(number: u64) -> Vec<u8> {
    let labels = format!("yes\nno\n{number}\n").into_bytes();
    let (signer, version) = (key(7), format!("{number}.0.0"));
    let mut header = Header {
        model: "kws",
        version: &version,
        number,
        total_len: 0,
        min_runtime: (0, 1),
        target: "portable",
        budget: Budget::default(),
        sections: heapless::Vec::new(),
    };
    let mut header_len = 0;
    let encoded = loop {
        let start = Preamble { n_signers: 1, header_len }.signatures_end().next_multiple_of(SECTION_ALIGN);
        let (offset, len) = (start as u32, labels.len() as u32);
        let section = Section { kind: SectionKind::LABELS, offset, len, sha256: sha256(&labels) };
        header.sections = [section].into_iter().collect();
        header.total_len = (start + labels.len()) as u64;
        let encoded = postcard::to_allocvec(&header).unwrap();
        if encoded.len() == header_len {
            break encoded;
        }
        header_len = encoded.len();
    };
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[CONTAINER_VERSION, 1, 0, 0]);
    out.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    out.extend_from_slice(&signer.public());
    out.extend_from_slice(&encoded);
    out.resize(out.len() + SIGNATURE_LEN, 0);
    out.resize(out.len().next_multiple_of(SECTION_ALIGN), 0);
    out.extend_from_slice(&labels);
    Bundle::parse(&out).unwrap();
    sign_bundle(&mut out, &signer).unwrap();
    out
}

/// A folder with a repository of the releases 1, 2 and 3 of `kws`, and beside it a database.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<SetClock>,
}

impl World {
    /// `limit`: how far the release keys let the candidate go.
    pub(crate) fn new(limit: &str) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(SetClock::new(NOW)) };
        let (root, targets, snapshot, timestamp) = ([key(1)], [key(3)], [key(4)], [key(5)]);
        let online = Online { snapshot: &snapshot, timestamp: &timestamp };
        let one = |signing| Signers { signing, others: &[], threshold: 1 };
        let releases = [key(7).public()];
        let models = [("kws", &releases[..], 1)];
        let init = Init { root: one(&root), targets: one(&targets), online, models: &models };
        let expiry = Expiry::default();
        let repository = Repository::init(&this.repo(), &init, expiry, NOW).unwrap();
        let public = [key(6).public()];
        let rollout = Signers { signing: &[], others: &public, threshold: 1 };
        repository.rollout_role("kws", &rollout, &targets, online, expiry, NOW).unwrap();
        for number in [1, 2, 3] {
            let salt = Some(if number == 2 { SALT.into() } else { format!("kws-{number}/1") });
            let limits =
                if number == 2 { vec![fleetfoot_repository::parse_limit(limit, NOW).unwrap()] } else { Vec::new() };
            let spec = EnvelopeSpec { salt, limits, ..EnvelopeSpec::default() };
            repository.publish_within(&bundle(number), &spec, &[key(7)], online, expiry, NOW).unwrap();
        }
        repository.with_memory(this.memory()).adopt().unwrap();
        this
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub(crate) fn memory(&self) -> PathBuf {
        self.folder.path().join("memory.json")
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.folder.path().join("server.sqlite")
    }

    pub(crate) fn config(&self) -> Config {
        let keys = OnlineKeys {
            rollout: vec![key(6)],
            snapshot: vec![key(4)],
            timestamp: vec![key(5)],
            memory: self.memory(),
            expiry: Expiry::default(),
        };
        Config {
            store: Arc::new(Store::open(&self.database()).unwrap()),
            clock: self.clock.clone(),
            reports: ReportPolicy { keys: vec![ReportKey::new(REPORT_KEY)], show_small_groups: false },
            control: ControlPolicy { approvals: 1, metrics: vec![MetricName::parse("0=click_rate").unwrap()] },
            keys: Some(keys),
            tick: None,
            ..Config::new(&self.repo()).unwrap()
        }
    }

    /// A server that runs until the test ends.
    pub(crate) fn serve(&self) -> Served {
        self.serve_with(self.config())
    }

    pub(crate) fn serve_with(&self, config: Config) -> Served {
        let store = config.store.clone();
        let token = |name: &str, role| {
            let _ = store.revoke_token(name, NOW);
            store.new_token(name, role, NOW).unwrap()
        };
        let tokens = [("vera", Role::Viewer), ("otto", Role::Operator), ("anna", Role::Approver)];
        let [viewer, operator, approver] = tokens.map(|(name, role)| token(name, role));
        let address: SocketAddr = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(config, address).unwrap();
        let (address, gates) = (server.address(), server.gates());
        thread::spawn(move || server.run());
        Served { address, gates, store, viewer, operator, approver }
    }
}

pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) gates: Gates,
    pub(crate) store: Arc<Store>,
    pub(crate) viewer: String,
    pub(crate) operator: String,
    pub(crate) approver: String,
}

impl Served {
    /// Applies `policy` for a fleet of `devices` and approves it.
    pub(crate) fn apply(&self, policy: &str, devices: usize) -> Value {
        let digest = hex(&sha256(policy.as_bytes()));
        let asked = json!({ "policy": policy, "digest": digest, "devices": devices, "reason": "a test" });
        let (status, applied) = self.post("/v1/rollouts", &self.operator, &asked);
        assert_eq!((status, &applied["state"]), (200, &json!("waiting")), "{applied}");
        let path = format!("/v1/rollouts/{}/approve", applied["rollout"].as_str().unwrap());
        let (status, begun) = self.post(&path, &self.approver, &json!({ "digest": applied["approval_digest"] }));
        assert_eq!((status, &begun["state"], &begun["signed"]), (200, &json!("running"), &json!(true)), "{begun}");
        begun
    }

    pub(crate) fn rollout(&self, id: &str) -> Value {
        let (status, shown) = self.get(&format!("/v1/rollouts/{id}"), &self.viewer);
        assert_eq!(status, 200, "{shown}");
        shown
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
