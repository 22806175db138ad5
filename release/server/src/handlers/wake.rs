//! The wake channel: a device that is online asks once, and is answered when there is something new.

use std::time::Duration;

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shares;
use crate::problem::Problem;

/// Who waits at most; more are told to poll.
pub(crate) const MAX_WAITING: usize = 8_000;
/// Seconds that a call waits: less than proxies do.
const WAIT_S: u64 = 50;

/// What is known already.
#[derive(Deserialize)]
pub(crate) struct Seen {
    /// Version of the timestamp that the device has; 0 is answered at once.
    #[serde(default)]
    seen: u64,
}

/// What is in force.
#[derive(Serialize, ToSchema)]
pub(crate) struct Awake {
    /// Version of the timestamp.
    timestamp: u64,
}

/// Answers when the timestamp is another than `seen`, or with 204 after 50 seconds. It says nothing that the timestamp would not: a hint to poll, and
/// nothing is believed because of it.
#[utoipa::path(get, path = "/v1/wake", tag = "repository", params(
    ("seen" = Option<u64>, Query, description = "Version of the timestamp that the device has; 0 is answered at once")),
    responses((status = 200, description = "There is another timestamp", body = Awake), (status = 204, description = "Nothing new; ask again"),
        (status = 400, body = Problem), (status = 503, description = "Too many wait: poll instead", body = Problem)))]
pub(crate) async fn wake(
    State(shared): State<Shares>,
    seen: Result<Query<Seen>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(Seen { seen }) = seen.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, None, error.body_text()))?;
    let full = |_| Problem::new(StatusCode::SERVICE_UNAVAILABLE, None, "too many wait already: poll instead");
    let _place = shared.waiting.try_acquire().map_err(full)?;
    let mut version = shared.version.subscribe();
    let changed = tokio::time::timeout(Duration::from_secs(WAIT_S), version.wait_for(|version| *version != seen)).await;
    let no_store = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok(match changed {
        Ok(Ok(version)) => (no_store, Json(Awake { timestamp: *version })).into_response(),
        _ => (StatusCode::NO_CONTENT, no_store).into_response(),
    })
}
