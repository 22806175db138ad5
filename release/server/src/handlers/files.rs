//! The files of the repository, and what it holds.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use fleetfoot_repository::Repository;
use serde_json::{Value, json};

use super::Shares;
use crate::{error::ControlError, problem::Problem};

/// Roles, releases, and how often each file was fetched since the start.
#[utoipa::path(get, path = "/v1/status", tag = "repository",
    responses((status = 200, description = "What the repository holds", body = Object), (status = 500, body = Problem)))]
pub(crate) async fn status(State(shared): State<Shares>) -> Result<Json<Value>, Problem> {
    let repo = shared.repo.clone();
    let read = tokio::task::spawn_blocking(move || Repository::open(&repo)?.status()).await;
    let fetched: Value =
        shared.counts.list().into_iter().map(|(path, count)| json!({ "path": path, "count": count })).collect();
    match read {
        Ok(Ok(status)) => Ok(Json(json!({ "repository": status, "fetched": fetched }))),
        Ok(Err(error)) => Err(ControlError::from(error).into()),
        Err(_) => Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, None, "the repository was not read")),
    }
}

/// The timestamp: 304 for whoever has it. While a rollout is under way it is kept for 5 seconds, else for a minute.
pub(crate) async fn timestamp(State(shared): State<Shares>, headers: HeaderMap) -> Response {
    let Some(current) = shared.timestamp.current() else {
        return Problem::new(StatusCode::NOT_FOUND, None, "the repository has no timestamp").into_response();
    };
    let keep = HeaderValue::from_static(if shared.control.is_active() { "max-age=5" } else { "max-age=60" });
    let head = [(header::ETAG, current.tag.clone()), (header::CACHE_CONTROL, keep)];
    shared.counts.add_static("/metadata/timestamp.json");
    if headers.get_all(header::IF_NONE_MATCH).iter().any(|known| matches(known, &current.tag)) {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (head, kind, current.bytes.clone()).into_response()
}

/// Whether a list of tags has `tag`; weak ones are as good here.
fn matches(known: &HeaderValue, tag: &HeaderValue) -> bool {
    if known == tag || known == "*" {
        return true;
    }
    let (known, tag) = (known.to_str().unwrap_or_default(), tag.to_str().unwrap_or_default());
    known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

/// Counts what was fetched; every file below a versioned or hashed name may be kept for ever.
pub(crate) async fn count_and_cache(State(shared): State<Shares>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let mut response = next.run(request).await;
    if response.status().is_success() {
        let keep = HeaderValue::from_static("max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, keep);
        tracing::debug!(%path, status = response.status().as_u16(), "served");
        shared.counts.add(path);
    } else {
        // The next root is asked for before it exists: its absence must not be remembered for long.
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    }
    response
}
