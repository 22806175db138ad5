//! Serves an update repository: its files as they are, their state as JSON, and a page for people.
//!
//! | path | what |
//! |---|---|
//! | `/metadata/*`, `/targets/*` | the files of the repository, with ranges and cache headers |
//! | `/v1/status` | roles, releases and what was fetched since the start |
//! | `/v1/reports` | `POST`: health reports of devices; `GET`: their sums, see [`reports`] |
//! | `/healthz` | `ok` |
//! | `/` | the dashboard: one page, no other source, works offline |
//!
//! Devices need nothing but the files to be kept up to date: any web server does as well.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod counts;
pub mod reports;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse, Response},
    routing::get,
    serve::ListenerExt as _,
};
use fleetfoot_repository::Repository;
use serde_json::{Value, json};
use thiserror::Error;
use tower_http::services::ServeDir;

use crate::{
    counts::Counts,
    reports::{MAX_BODY_LEN, ReportError, ReportPolicy, Reports, Taken},
};

/// Why the server does not run: codes 740 to 759.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The server stopped.
    #[error("the server stopped: {0}")]
    Stopped(io::Error),
}

impl ServerError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Listen { .. } => 740,
            Self::Stopped(_) => 741,
        }
    }
}

/// A server that listens but does not serve yet: its address is known before it runs.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    repo: PathBuf,
    reports: ReportPolicy,
}

impl Server {
    /// Listens on `address` (port 0 takes a free one) for the repository in the folder `repo`.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub fn bind(repo: &Path, address: SocketAddr) -> Result<Self, ServerError> {
        let listen = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, repo: repo.into(), reports: ReportPolicy::default() })
    }

    /// How reports of devices are taken in.
    #[must_use]
    pub fn with_reports(mut self, policy: ReportPolicy) -> Self {
        self.reports = policy;
        self
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the process gets an interrupt.
    ///
    /// # Errors
    /// [`ServerError::Stopped`].
    pub fn run(self) -> Result<(), ServerError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ServerError::Stopped)?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(self.listener).map_err(ServerError::Stopped)?;
            // A head and a body are two writes: without this the second waits for the device to acknowledge the first, 40 ms a file.
            let listener = listener.tap_io(|connection| {
                if let Err(error) = connection.set_nodelay(true) {
                    tracing::debug!(%error, "a connection that cannot be told not to wait");
                }
            });
            let interrupted = async {
                // Without a handler for interrupts the process is ended by them, which does as well.
                let _ = tokio::signal::ctrl_c().await;
            };
            let served =
                axum::serve(listener, router_with(&self.repo, self.reports)).with_graceful_shutdown(interrupted);
            served.await.map_err(ServerError::Stopped)
        })
    }
}

struct Shared {
    repo: PathBuf,
    counts: Counts,
    reports: Reports,
}

/// All routes over the repository in the folder `repo`.
pub fn router(repo: &Path) -> Router {
    router_with(repo, ReportPolicy::default())
}

/// As [`router`], with a policy for reports.
pub fn router_with(repo: &Path, policy: ReportPolicy) -> Router {
    let shared = Arc::new(Shared { repo: repo.into(), counts: Counts::default(), reports: Reports::new(policy) });
    let files = Router::new()
        .nest_service("/metadata", ServeDir::new(repo.join("metadata")))
        .nest_service("/targets", ServeDir::new(repo.join("targets")))
        .layer(middleware::from_fn_with_state(shared.clone(), count_and_cache));
    Router::new()
        .route("/", get(|| async { Html(include_str!("dashboard.html")) }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/v1/status", get(status))
        .route("/v1/reports", get(sums).post(take).layer(DefaultBodyLimit::max(MAX_BODY_LEN)))
        .with_state(shared)
        .merge(files)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let repo = shared.repo.clone();
    let read = tokio::task::spawn_blocking(move || Repository::open(&repo)?.status()).await;
    let fetched: Value =
        shared.counts.list().into_iter().map(|(path, count)| json!({ "path": path, "count": count })).collect();
    match read {
        Ok(Ok(status)) => Json(json!({ "repository": status, "fetched": fetched })).into_response(),
        Ok(Err(error)) => {
            let body = json!({ "error": { "code": error.code(), "message": error.to_string() } });
            (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Takes health reports in. A device forgets what was answered with success or with a request that cannot be taken, and keeps the rest.
async fn take(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    match shared.reports.take(&body, today()) {
        Ok(Taken { added, duplicates, refused, why }) => {
            let why = why.map(|error| json!({ "code": error.code(), "message": error.to_string() }));
            Json(json!({ "added": added, "duplicates": duplicates, "refused": refused, "why": why })).into_response()
        }
        Err(error) => {
            let status = match error {
                ReportError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
                ReportError::Full => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::BAD_REQUEST,
            };
            let body = json!({ "error": { "code": error.code(), "message": error.to_string() } });
            (status, Json(body)).into_response()
        }
    }
}

async fn sums(State(shared): State<Arc<Shared>>) -> Response {
    Json(shared.reports.to_json()).into_response()
}

/// The UTC day, since 1970.
fn today() -> u32 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(now.as_secs() / 86_400).unwrap_or(u32::MAX)
}

/// Counts what was fetched; the timestamp may be kept for a minute, every other file for ever.
async fn count_and_cache(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if response.status().is_success() {
        let keep = if path == "/metadata/timestamp.json" { "max-age=60" } else { "max-age=31536000, immutable" };
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
        tracing::debug!(%path, status = response.status().as_u16(), "served");
        shared.counts.add(path);
    } else {
        // The next root is asked for before it exists: its absence must not be remembered for long.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    }
    response
}
