//! Serves an update repository, collects health reports, and lets the gates of `fleetfoot-rollout` decide about rollouts.
//!
//! | path | what |
//! |---|---|
//! | `/metadata/*`, `/targets/*` | the files of the repository, with ranges, tags and cache headers |
//! | `/v1/reports` | `POST`: health reports of devices; `GET`: their sums, see [`reports`] |
//! | `/v1/rollouts/*` | apply, approve, promote, hold, resume, abort, roll back; where each is, and why |
//! | `/v1/audit` | who did what, a chain of hashes |
//! | `/v1/wake` | answers when there is a new timestamp |
//! | `/v1/status`, `/v1/openapi.json` | what the repository holds; what `/v1` is |
//! | `/healthz`, `/readyz`, `/metrics` | for those who watch the server |
//! | `/` | the dashboard: one page, no other source, works offline |
//!
//! ```text
//! listen ─▶ handlers ─▶ reports ─▶ store ◀─ control (requests, ticks) ─▶ repository
//!                                    └─▶ judge ─▶ fleetfoot_rollout::gates ─┘
//! ```
//! Devices need nothing but the files to be kept up to date: any web server does as well, and this one may be down for days. Without online
//! keys ([`Config::keys`]) it collects and shows, and signs nothing.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod clock;
mod control;
mod counts;
mod error;
mod groups;
mod handlers;
mod judge;
mod listen;
mod openapi;
mod problem;
pub mod reports;
mod state;
mod store;
mod timestamp;
mod tokens;

use std::{
    fmt,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use tokio::sync::{Semaphore, watch};

pub use crate::{
    clock::{Clock, SetClock, SystemClock},
    control::{Action, Apply, ControlPolicy, OnlineKeys},
    error::{ControlError, ServerError},
    groups::MetricName,
    openapi::openapi,
    store::{
        Store,
        audit::{AuditHead, AuditRow},
    },
    tokens::{Person, Role},
};
use crate::{
    control::Control,
    counts::Counts,
    reports::{Queue, ReportPolicy, Reports},
    state::Shared,
    timestamp::Timestamp,
};

/// What a server is made of.
#[derive(Debug)]
pub struct Config {
    /// The folder of the repository.
    pub repo: PathBuf,
    /// What it remembers.
    pub store: Arc<Store>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// How reports are taken in.
    pub reports: ReportPolicy,
    /// How rollouts are run.
    pub control: ControlPolicy,
    /// What it signs with; without, it signs nothing.
    pub keys: Option<OnlineKeys>,
    /// Anybody may look at rollouts and the audit log; else that needs a token.
    pub open_reads: bool,
    /// How long a client may take for the head of a request, and again for its body: [`PATIENCE`].
    pub patience: Duration,
    /// How often the gates are asked whether it is time for a look; nothing: only by [`Gates::tick`].
    pub tick: Option<Duration>,
}

impl Config {
    /// For the repository in the folder `repo`: a memory that is gone with the process, no keys, every second a tick.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn new(repo: &Path) -> Result<Self, ControlError> {
        Ok(Self {
            repo: repo.into(),
            store: Arc::new(Store::in_memory()?),
            clock: Arc::new(SystemClock),
            reports: ReportPolicy::default(),
            control: ControlPolicy::default(),
            keys: None,
            open_reads: false,
            patience: PATIENCE,
            tick: Some(Duration::from_secs(1)),
        })
    }
}

/// How long a slow client is waited for.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server that listens but does not serve yet: its address is known before it runs.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    patience: Duration,
    tick: Option<Duration>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("repo", &self.shared.repo)
            .finish_non_exhaustive()
    }
}

/// The gates of a server, for those who let time pass themselves.
#[derive(Clone)]
pub struct Gates(Arc<Shared>);

impl fmt::Debug for Gates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gates").finish_non_exhaustive()
    }
}

impl Gates {
    /// Looks at every rollout for which it is time, and does what follows.
    pub fn tick(&self) {
        self.0.control.tick();
    }
}

impl Server {
    /// Listens on `address` (port 0 takes a free one).
    ///
    /// # Errors
    /// [`ServerError::Listen`], [`ServerError::Control`].
    pub fn bind(config: Config, address: SocketAddr) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (patience, tick) = (config.patience, config.tick);
        Ok(Self { listener, address, shared: shared(config)?, patience, tick })
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its gates.
    #[must_use]
    pub fn gates(&self) -> Gates {
        Gates(self.shared.clone())
    }

    /// Serves until the process gets an interrupt.
    ///
    /// # Errors
    /// [`ServerError::Stopped`].
    pub fn run(self) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::Stopped)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(ServerError::Stopped)?;
            let interrupted = async {
                // Without a handler for interrupts the process is ended by them, which does as well.
                let _ = tokio::signal::ctrl_c().await;
            };
            tokio::spawn(watch_timestamp(self.shared.clone()));
            if let Some(every) = self.tick {
                tokio::spawn(tick(self.shared.clone(), every));
            }
            let app = handlers::router(self.shared, self.patience);
            listen::serve(listener, app, self.patience, interrupted).await.map_err(ServerError::Stopped)
        })
    }
}

/// All routes of a server, without a socket.
///
/// # Errors
/// [`ControlError::Database`].
pub fn router(config: Config) -> Result<Router, ControlError> {
    let patience = config.patience;
    Ok(handlers::router(shared(config)?, patience))
}

fn shared(config: Config) -> Result<Arc<Shared>, ControlError> {
    let Config { repo, store, clock, reports, control, keys, open_reads, .. } = config;
    let control = Control::new(store.clone(), clock.clone(), &repo, keys, control)?;
    let timestamp = Timestamp::new(&repo);
    let version = watch::Sender::new(timestamp.current().map_or(0, |current| current.version));
    Ok(Arc::new(Shared {
        counts: Counts::default(),
        reports: Reports::new(reports, store.clone()),
        queue: Queue::new(store.clone()),
        sums: tokio::sync::Mutex::default(),
        control,
        clock,
        timestamp,
        version,
        waiting: Semaphore::new(handlers::wake::MAX_WAITING),
        open_reads,
        repo,
        store,
    }))
}

/// Tells those who wait of every new timestamp: at once of the server's own, within half a second of others.
async fn watch_timestamp(shared: Arc<Shared>) {
    let mut signed = shared.control.signed.subscribe();
    loop {
        let own = tokio::time::timeout(Duration::from_millis(500), signed.changed()).await.is_ok();
        if own {
            shared.timestamp.written();
        }
        let version = shared.timestamp.current().map_or(0, |current| current.version);
        shared.version.send_if_modified(|known| std::mem::replace(known, version) != version);
    }
}

async fn tick(shared: Arc<Shared>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    // One that took longer is not made up for.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let shared = shared.clone();
        if tokio::task::spawn_blocking(move || shared.control.tick()).await.is_err() {
            tracing::error!("a tick broke off");
        }
    }
}
