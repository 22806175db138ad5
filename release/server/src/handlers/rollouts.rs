//! Rollouts: look, apply, approve, take over.

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Shares;
use crate::{
    control::{Action, Apply, Explanation, RolloutView},
    problem::{Body, Problem},
    state::Shared,
    tokens::{Person, Role},
};

/// All rollouts.
#[derive(Serialize, ToSchema)]
pub(crate) struct Rollouts {
    /// The newest first, 100 at most.
    rollouts: Vec<RolloutView>,
}

/// An approval.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// The `approval_digest` of the rollout, over its policy, devices and reason: all 64 digits.
    digest: String,
}

/// Why a person takes over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// 1 to 1000 bytes; they are kept in the audit log.
    reason: String,
}

/// All rollouts, the newest first.
#[utoipa::path(get, path = "/v1/rollouts", tag = "rollouts", security(("token" = [])),
    responses((status = 200, body = Rollouts), (status = 401, body = Problem)))]
pub(crate) async fn list(State(shared): State<Shares>, headers: HeaderMap) -> Result<Json<Rollouts>, Problem> {
    let rollouts = shared.run(headers, Role::Viewer, |shared, _| shared.control.list()).await?;
    Ok(Json(Rollouts { rollouts }))
}

/// Takes a rollout on. It begins as soon as it has its approvals, within what the release keys allow.
#[utoipa::path(post, path = "/v1/rollouts", tag = "rollouts", security(("token" = [])), request_body = Apply,
    responses((status = 200, body = RolloutView), (status = 400, body = Problem), (status = 401, body = Problem),
        (status = 403, body = Problem), (status = 409, description = "Another rollout is in the way, or the digest is another", body = Problem),
        (status = 413, body = Problem), (status = 422, description = "The policy has problems", body = Problem)))]
pub(crate) async fn apply(
    State(shared): State<Shares>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RolloutView>, Problem> {
    let work = move |shared: &Shared, by: &Person| shared.control.apply(by, &body.read::<Apply>()?);
    shared.run(headers, Role::Operator, work).await.map(Json)
}

/// One rollout, and how its stage would be judged now.
#[utoipa::path(get, path = "/v1/rollouts/{rollout}", tag = "rollouts", security(("token" = [])), params(("rollout" = String, Path)),
    responses((status = 200, body = RolloutView), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn show(
    State(shared): State<Shares>,
    Path(rollout): Path<String>,
    headers: HeaderMap,
) -> Result<Json<RolloutView>, Problem> {
    shared.run(headers, Role::Viewer, move |shared, _| shared.control.show(&rollout)).await.map(Json)
}

/// Every look of a rollout with its numbers, and whether these give the same decision again.
#[utoipa::path(get, path = "/v1/rollouts/{rollout}/explain", tag = "rollouts", security(("token" = [])), params(("rollout" = String, Path)),
    responses((status = 200, body = Explanation), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn explain(
    State(shared): State<Shares>,
    Path(rollout): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Explanation>, Problem> {
    shared.run(headers, Role::Viewer, move |shared, _| shared.control.explain(&rollout)).await.map(Json)
}

/// Approves what another person has applied.
#[utoipa::path(post, path = "/v1/rollouts/{rollout}/approve", tag = "rollouts", security(("token" = [])),
    params(("rollout" = String, Path)), request_body = Approval,
    responses((status = 200, body = RolloutView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn approve(
    State(shared): State<Shares>,
    Path(rollout): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RolloutView>, Problem> {
    let work = move |shared: &Shared, by: &Person| {
        let Approval { digest } = body.read()?;
        shared.control.approve(by, &rollout, &digest)
    };
    shared.run(headers, Role::Approver, work).await.map(Json)
}

/// Promotes, holds, resumes, aborts or rolls back.
#[utoipa::path(post, path = "/v1/rollouts/{rollout}/{action}", tag = "rollouts", security(("token" = [])),
    params(("rollout" = String, Path), ("action" = Action, Path)), request_body = Why,
    responses((status = 200, body = RolloutView), (status = 400, body = Problem), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem)))]
pub(crate) async fn act(
    State(shared): State<Shares>,
    Path((rollout, action)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<RolloutView>, Problem> {
    let unknown = || Problem::new(StatusCode::NOT_FOUND, None, "promote, hold, resume, abort or rollback");
    let action: Action = serde_json::from_value(action.into()).map_err(|_| unknown())?;
    let work = move |shared: &Shared, by: &Person| {
        let Why { reason } = body.read()?;
        shared.control.act(by, &rollout, action, &reason)
    };
    shared.run(headers, Role::Operator, work).await.map(Json)
}
