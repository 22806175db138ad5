//! `serve`: the repository over HTTP, with its dashboard.

use std::{net::SocketAddr, path::PathBuf};

use fleetfoot_repository::Repository;
use fleetfoot_server::{Server, ServerError};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    output::Output,
};

/// Serve a repository: its files, their state as JSON (/v1/status), and a page for people (/).
///
/// Example: fleetfoot serve --repo repo --listen 127.0.0.1:8080
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repository.
    #[arg(long, env = "FLEETFOOT_REPO")]
    repo: PathBuf,
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    // A folder that is no repository should fail now, not at the first request.
    Repository::open(&args.repo)?.status()?;
    let server = Server::bind(&args.repo, args.listen)?;
    let url = format!("http://{}", server.address());
    output.result(
        || format!("serving {} at {url} (stop with Ctrl-C)", args.repo.display()),
        || json!({ "url": url, "repo": args.repo }),
    )?;
    Ok(server.run()?)
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::new(Exit::Network, &error).code(error.code())
    }
}
