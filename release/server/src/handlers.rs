//! All routes, by topic. Every route of `/v1` is in [`api`], with the same path as in the description that is generated ([`crate::openapi`]).

pub(crate) mod audit;
pub(crate) mod files;
pub(crate) mod health;
pub(crate) mod reports;
pub(crate) mod rollouts;
pub(crate) mod wake;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::StatusCode,
    middleware,
    response::Html,
    routing::{MethodRouter, get, post},
};
use tower_http::{services::ServeDir, timeout::TimeoutLayer};

use crate::{openapi, problem::Problem, reports::MAX_BODY_LEN, state::Shared};

/// Bytes of a request with a policy.
const MAX_POLICY_LEN: usize = 256 << 10;

type Shares = Arc<Shared>;

/// The routes of `/v1`. Their bodies are read whole before anything else is done, in a bounded time.
pub(crate) fn api(patience: Duration) -> Vec<(&'static str, MethodRouter<Shares>)> {
    let patience = || TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, patience);
    let limited = |route: MethodRouter<Shares>| {
        route.layer::<_, Infallible>(DefaultBodyLimit::max(MAX_POLICY_LEN)).layer(patience())
    };
    let collecting = get(reports::sums).post(reports::take);
    let collecting = collecting.layer::<_, Infallible>(DefaultBodyLimit::max(MAX_BODY_LEN)).layer(patience());
    vec![
        ("/v1/status", get(files::status)),
        ("/v1/reports", collecting),
        ("/v1/rollouts", limited(get(rollouts::list).post(rollouts::apply))),
        ("/v1/rollouts/{rollout}", get(rollouts::show)),
        ("/v1/rollouts/{rollout}/explain", get(rollouts::explain)),
        ("/v1/rollouts/{rollout}/approve", limited(post(rollouts::approve))),
        ("/v1/rollouts/{rollout}/{action}", limited(post(rollouts::act))),
        ("/v1/audit", get(audit::list)),
        ("/v1/wake", get(wake::wake)),
        ("/v1/openapi.json", get(openapi::serve)),
    ]
}

/// Everything.
pub(crate) fn router(shared: Shares, patience: Duration) -> Router {
    let files = Router::new()
        .nest_service("/metadata", ServeDir::new(shared.repo.join("metadata")))
        .nest_service("/targets", ServeDir::new(shared.repo.join("targets")))
        .layer(middleware::from_fn_with_state(shared.clone(), files::count_and_cache));
    let api = api(patience).into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
    api.route("/", get(|| async { Html(include_str!("dashboard.html")) }))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/metadata/timestamp.json", get(files::timestamp))
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, None, "there is nothing of this name") })
        .method_not_allowed_fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, None, "not with this method")
        })
        .with_state(shared)
        .merge(files)
}
