//! Health reports: in, and their sums.

use std::time::{Duration, Instant};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shares;
use crate::{problem::Problem, reports::Taken};

/// What became of the reports of one request.
#[derive(Serialize, ToSchema)]
pub(crate) struct TakenView {
    /// Added to the sums.
    added: usize,
    /// Known already.
    duplicates: usize,
    /// Refused, each for itself.
    refused: usize,
    /// Why the last of them was.
    why: Option<WhyView>,
}

/// Why a report was refused.
#[derive(Serialize, ToSchema)]
pub(crate) struct WhyView {
    /// Number of the error.
    code: u16,
    /// In words.
    message: String,
}

/// Takes health reports in: at most 64 messages and 64 KiB, as `docs/formats.md` lays them out. A device forgets what was answered with success
/// or with a request that cannot be taken, and keeps the rest.
#[utoipa::path(post, path = "/v1/reports", tag = "reports",
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, body = TakenView), (status = 400, body = Problem), (status = 408, description = "Too slow"),
        (status = 413, body = Problem), (status = 503, description = "It may come again", body = Problem)))]
pub(crate) async fn take(
    State(shared): State<Shares>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<TakenView>, Problem> {
    let today = shared.clock.today();
    let mut judged = shared.reports.judge(&body?, today)?;
    let folded = shared.queue.fold(std::mem::take(&mut judged.reports), today).await?;
    let Taken { added, duplicates, refused, why } = shared.reports.counted(judged, folded)?;
    let why = why.map(|error| WhyView { code: error.code(), message: error.to_string() });
    Ok(Json(TakenView { added, duplicates, refused, why }))
}

/// The sums of all groups that are large enough to be shown.
#[utoipa::path(get, path = "/v1/reports", tag = "reports", responses((status = 200, body = Object)))]
pub(crate) async fn sums(State(shared): State<Shares>) -> Result<Response, Problem> {
    // One is made at a time, and all that wait for it share it.
    let mut shown = shared.sums.lock().await;
    let changes = shared.reports.changes();
    let good = shown.as_ref().filter(|sums| sums.is_good(changes));
    let body = if let Some(sums) = good {
        sums.body.clone()
    } else {
        let of = shared.clone();
        // Many groups take long, and the database may be busy.
        let made = tokio::task::spawn_blocking(move || of.reports.to_json().to_string());
        let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, None, "the sums were not finished");
        let body = Bytes::from(made.await.map_err(failed)?);
        *shown = Some(Sums { changes, made: Instant::now(), body: body.clone() });
        body
    };
    drop(shown);
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The sums as they were shown last.
pub(crate) struct Sums {
    changes: u64,
    made: Instant,
    body: Bytes,
}

impl Sums {
    /// Short ones are always of this moment; long ones may be a second old.
    fn is_good(&self, changes: u64) -> bool {
        self.changes == changes || (self.body.len() > SHORT_LEN && self.made.elapsed() < Duration::from_secs(1))
    }
}

const SHORT_LEN: usize = 256 << 10;
