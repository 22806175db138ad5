//! `serve`: the repository over HTTP, with its dashboard.

use std::{net::SocketAddr, path::PathBuf};

use fleetfoot_repository::Repository;
use fleetfoot_server::{Server, ServerError, reports::ReportPolicy};
use serde_json::json;

use crate::{
    failure::{Exit, Failure},
    models,
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
    /// File with the key of health reports (64 hexadecimal digits); may be given more than once. Reports without a tag of one of them are refused.
    #[arg(long)]
    report_key: Vec<PathBuf>,
    /// Show health of groups with fewer than 20 devices. For demonstrations, never for people's devices.
    #[arg(long)]
    show_small_groups: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    // A folder that is no repository should fail now, not at the first request.
    Repository::open(&args.repo)?.status()?;
    let keys = args.report_key.iter().map(|path| models::report_key(path)).collect::<Result<_, _>>()?;
    let policy = ReportPolicy { keys, show_small_groups: args.show_small_groups };
    let server = Server::bind(&args.repo, args.listen)?.with_reports(policy);
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
