//! What an agent needs to know.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use fleetfoot_kernels::Kernels;
use fleetfoot_trust::Keys;
use fleetfoot_update::Config;

use super::{Event, Reports};
use crate::{
    conditions::{Conditions, Jitter, PollPolicy, UpdatePolicy},
    live::LiveConfig,
    store::{Disk, OsDisk},
    transport::Transport,
    watchdog::Watchdog,
};

/// What is called for every event.
pub type OnEvent = Box<dyn FnMut(&Event) + Send>;

/// The version that comes with the application: a bundle beside the program, and the keys that vouch for it.
#[derive(Clone, Debug)]
pub struct Factory {
    /// The bundle. It is never written.
    pub path: PathBuf,
    /// Its keys, compiled in.
    pub keys: Keys,
}

/// What an agent needs. [`new`](Self::new) gives defaults for what is not asked for.
pub struct AgentConfig {
    /// Folder that only this agent writes.
    pub store_dir: PathBuf,
    /// Name of the model.
    pub model: String,
    /// The first root metadata, compiled in or shipped beside the program; never fetched. The store remembers it: see `fleetfoot_tuf::Client::pinned`.
    pub root_json: Vec<u8>,
    /// How files of the repository arrive.
    pub transport: Box<dyn Transport>,
    /// Attempts, trial, number of versions kept.
    pub limits: Config,
    /// The version that came with the application.
    pub factory: Option<Factory>,
    /// What an update needs of network, power and time of day. The default needs nothing. A rollout may say more: see
    /// [`UpdatePolicy::with`].
    pub policy: UpdatePolicy,
    /// How often to poll; see [`Agent::next_poll`](super::Agent::next_poll).
    pub poll: PollPolicy,
    /// What the application knows of them; without it nothing is held up by them.
    pub conditions: Option<Box<dyn Conditions>>,
    /// Spreads this device among others. `None`: by the device key in the store.
    pub jitter: Option<Jitter>,
    /// What a rollout can tell devices apart by, by name: `hardware`, `region` and any other. Judged on the device and never sent.
    /// `hardware` is the operating system and the architecture where nothing else is said, such as `linux-arm64`.
    pub facts: BTreeMap<String, String>,
    /// Kernels for validation and for [`live`](crate::Agent::live) handles.
    pub kernels: Kernels,
    /// How code of a bundle is watched while it proves itself.
    pub watchdog: Watchdog,
    /// What else of this device may change what a model answers, say the build of its system where the release of the kernel does not tell. When
    /// it changes, what serves runs its golden cases again before it is trusted.
    pub environment: String,
    /// Settings of [`live`](crate::Agent::live) handles.
    pub live: LiveConfig,
    /// Reports of health. Default: none, nothing is counted.
    pub reports: Option<Reports>,
    /// When the application was built, seconds since 1970: a clock that says less is wrong. 0 where that is not known.
    pub build_time: i64,
    /// Called for every event.
    pub on_event: Option<OnEvent>,
    /// Called at named points of an update, for tests that stop the process there: `metadata`, `record`, `recorded`, `fetching`,
    /// `fetched`, `installed`, `validating`, `goldens` (in the watched thread), `validated`, `shadowing`, `trial`; `shadow` before each inference
    /// in the shadow, `proving` before what serves is proved again, and those of [`ReportConfig::at`](crate::health::ReportConfig::at).
    pub at: Option<fn(&str)>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

impl AgentConfig {
    /// Defaults: limits of the default policy, no factory version, the kernels of this CPU, the file system of the operating system.
    #[must_use]
    pub fn new(store_dir: impl Into<PathBuf>, model: &str, root_json: &[u8], transport: Box<dyn Transport>) -> Self {
        let mut facts = BTreeMap::new();
        facts.insert("hardware".into(), hardware());
        Self {
            store_dir: store_dir.into(),
            model: model.into(),
            root_json: root_json.into(),
            transport,
            limits: Config::default(),
            factory: None,
            policy: UpdatePolicy::default(),
            poll: PollPolicy::default(),
            conditions: None,
            jitter: None,
            facts,
            kernels: Kernels::detect(),
            watchdog: Watchdog::default(),
            environment: String::new(),
            live: LiveConfig::default(),
            reports: None,
            build_time: 0,
            on_event: None,
            at: None,
            disk: Arc::new(OsDisk),
        }
    }
}

fn hardware() -> String {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}-{architecture}", std::env::consts::OS)
}

impl std::fmt::Debug for AgentConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { store_dir, model, limits, factory, .. } = self;
        let mut all = f.debug_struct("AgentConfig");
        all.field("store_dir", store_dir).field("model", model).field("limits", limits).field("factory", factory);
        all.finish_non_exhaustive()
    }
}
