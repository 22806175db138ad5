//! The description of `/v1`, generated from the handlers.

use axum::Json;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};

use crate::{
    control::Action,
    handlers::{audit, files, reports, rollouts, wake},
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Fleetfoot", description = "Rollouts of models to fleets: reports, gates, decisions.", license(name = "Apache-2.0 OR MIT")),
    paths(
        files::status, reports::take, reports::sums, rollouts::list, rollouts::apply, rollouts::show, rollouts::explain, rollouts::approve,
        rollouts::act, audit::list, wake::wake
    ),
    // Only in a path, where the macro does not find it.
    components(schemas(Action)),
    modifiers(&Tokens)
)]
struct Description;

struct Tokens;

impl Modify for Tokens {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    }
}

/// The OpenAPI document of this server, JSON.
#[must_use]
pub fn openapi() -> String {
    Description::openapi().to_pretty_json().unwrap_or_default()
}

pub(crate) async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(Description::openapi())
}
