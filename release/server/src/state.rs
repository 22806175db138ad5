//! What all handlers share.

use std::{path::PathBuf, sync::Arc};

use axum::http::{HeaderMap, StatusCode, header};
use tokio::sync::{Semaphore, watch};

use crate::{
    clock::Clock,
    control::Control,
    counts::Counts,
    error::ControlError,
    handlers::reports::Sums,
    problem::Problem,
    reports::{Queue, Reports},
    store::Store,
    timestamp::Timestamp,
    tokens::{ANYBODY, Person, Role},
};

pub(crate) struct Shared {
    pub(crate) repo: PathBuf,
    pub(crate) counts: Counts,
    pub(crate) store: Arc<Store>,
    pub(crate) reports: Reports,
    pub(crate) queue: Queue,
    /// The newest answer to whoever asks for the sums.
    pub(crate) sums: tokio::sync::Mutex<Option<Sums>>,
    pub(crate) control: Control,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timestamp: Timestamp,
    /// Version of the timestamp, for those who wait for the next.
    pub(crate) version: watch::Sender<u64>,
    /// Places of those who wait.
    pub(crate) waiting: Semaphore,
    /// Anybody may look.
    pub(crate) open_reads: bool,
}

impl Shared {
    /// Whoever made the request, if that is at least `need`.
    pub(crate) fn person(&self, headers: &HeaderMap, need: Role) -> Result<Person, ControlError> {
        let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
        let known = token.map_or(Ok(None), |token| self.store.person(token))?;
        match known {
            Some(Person { name, role }) if role < need => {
                tracing::warn!(name, %role, %need, "refused: the token is for less");
                Err(ControlError::Forbidden { name, have: role, need })
            }
            Some(person) => Ok(person),
            None if token.is_none() && need == Role::Viewer && self.open_reads => {
                Ok(Person { name: ANYBODY.into(), role: Role::Viewer })
            }
            None => {
                tracing::warn!(given = token.is_some(), "refused: no token that is known");
                Err(ControlError::Unauthorized)
            }
        }
    }

    /// Does `work` for whoever made the request, on a thread that may wait for the database.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        headers: HeaderMap,
        need: Role,
        work: impl FnOnce(&Self, &Person) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, Problem> {
        let shared = self.clone();
        let done = tokio::task::spawn_blocking(move || {
            let person = shared.person(&headers, need)?;
            work(&shared, &person)
        });
        match done.await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, None, "the request was not finished")),
        }
    }
}
