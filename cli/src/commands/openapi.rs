//! `openapi`: what the `/v1` of a release server is.

use crate::{failure::Failure, output::Output};

/// Print the OpenAPI document of `/v1`, as a server of this version serves it at /v1/openapi.json.
///
/// Example: fleetfoot openapi > openapi.json
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, output: &Output) -> Result<(), Failure> {
    let text = fleetfoot_server::openapi();
    output.result(|| text.clone(), || serde_json::from_str(&text).unwrap_or_default())
}
