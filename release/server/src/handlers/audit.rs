//! The audit log, page by page.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shares;
use crate::{
    problem::Problem,
    store::audit::{AuditHead, AuditRow},
    tokens::Role,
};

const MAX_ROWS: u32 = 1000;

/// Which rows.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    /// Only rows after this one.
    #[serde(default)]
    after: u64,
    /// How many at most: 1 to 1000, 100 if nothing is said.
    #[serde(default)]
    limit: Option<u32>,
}

/// A page of the log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Log {
    /// Its rows, the oldest first.
    rows: Vec<AuditRow>,
    /// The newest row of all. Who keeps it can find out later that rows were cut off.
    head: AuditHead,
}

/// Who did what, when and why.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", security(("token" = [])), params(
    ("after" = Option<u64>, Query, description = "Only rows after this one"),
    ("limit" = Option<u32>, Query, description = "How many at most: 1 to 1000, 100 if nothing is said")),
    responses((status = 200, body = Log), (status = 400, body = Problem), (status = 401, body = Problem)))]
pub(crate) async fn list(
    State(shared): State<Shares>,
    headers: HeaderMap,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Log>, Problem> {
    let Query(Page { after, limit }) =
        page.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, None, error.body_text()))?;
    let limit = limit.unwrap_or(100).clamp(1, MAX_ROWS);
    let (rows, head) = shared.run(headers, Role::Viewer, move |shared, _| shared.store.audit(after, limit)).await?;
    Ok(Json(Log { rows, head }))
}
