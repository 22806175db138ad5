//! `serve`: the repository over HTTP, reports, rollouts and the dashboard.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use fleetfoot_repository::{Expiry, Repository, memory_beside};
use fleetfoot_server::{
    Config, ControlError, ControlPolicy, MetricName, OnlineKeys, Server, ServerError, Store, reports::ReportPolicy,
};
use serde_json::json;

use crate::{
    commands::{audit::database, keys::load_private},
    failure::{Exit, Failure},
    models,
    output::Output,
};

/// Serve a repository: its files, health reports, rollouts that decide by themselves (/v1), and a page for people (/).
///
/// Example: fleetfoot serve --repo repo --db sqlite:server.sqlite --rollout-key keys/rollout.key --snapshot-key keys/snapshot.key
/// --timestamp-key keys/timestamp.key --report-key keys/report.key --listen 127.0.0.1:8080
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repository.
    #[arg(long, env = "FLEETFOOT_REPO")]
    repo: PathBuf,
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Database for reports, rollouts, tokens and the audit log. Without one all of it is gone with the process.
    #[arg(long, env = "FLEETFOOT_DB", value_name = "sqlite:FILE", value_parser = database)]
    db: Option<PathBuf>,
    /// File with the key of health reports (64 hexadecimal digits); may be given more than once. Reports without a tag of one of them are refused.
    #[arg(long)]
    report_key: Vec<PathBuf>,
    /// Show health of groups with fewer than 20 devices. For demonstrations, never for people's devices.
    #[arg(long)]
    show_small_groups: bool,
    /// Private keys of the rollout roles: with them, and those of snapshot and timestamp, the server runs rollouts within what the release keys allow.
    #[arg(long, requires = "snapshot_key", requires = "timestamp_key")]
    rollout_key: Vec<PathBuf>,
    /// Private keys of the role snapshot, as many as it needs.
    #[arg(long, requires = "timestamp_key")]
    snapshot_key: Vec<PathBuf>,
    /// Private keys of the role timestamp, as many as it needs. The timestamp is signed again every six hours.
    #[arg(long, requires = "snapshot_key")]
    timestamp_key: Vec<PathBuf>,
    /// File with what is remembered of the repository; by default beside the first key of the role timestamp.
    #[arg(long, env = "FLEETFOOT_MEMORY")]
    memory: Option<PathBuf>,
    /// File with the passphrase of the keys; else FLEETFOOT_PASSPHRASE, else the terminal.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// Other people who must approve a rollout before it begins.
    #[arg(long, default_value_t = 1)]
    approvals: u32,
    /// What policies call a metric of the application: its number in reports, its name, and what the mean of a device can be, such as
    /// 0=click_rate or 1=revenue:0..500.
    #[arg(long, value_name = "ID=NAME[:LOW..HIGH]", value_parser = metric)]
    metric: Vec<MetricName>,
    /// Anybody may look at rollouts, the audit log and /metrics; else that needs a token.
    #[arg(long)]
    open_reads: bool,
}

fn metric(text: &str) -> Result<MetricName, String> {
    MetricName::parse(text).ok_or_else(|| "a number from 0 to 3, a name, and perhaps a range: 1=revenue:0..500".into())
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    // A folder that is no repository should fail now, not at the first request.
    Repository::open(&args.repo)?.status()?;
    let report_keys = args.report_key.iter().map(|path| models::report_key(path)).collect::<Result<_, _>>()?;
    let mut config = Config::new(&args.repo)?;
    if let Some(db) = &args.db {
        config.store = Arc::new(Store::open(db).map_err(|error| Failure::from(error).in_file(db))?);
    }
    config.reports = ReportPolicy { keys: report_keys, show_small_groups: args.show_small_groups };
    config.control = ControlPolicy { approvals: args.approvals, metrics: args.metric.clone() };
    config.keys = keys(args)?;
    config.open_reads = args.open_reads;
    let server = Server::bind(config, args.listen)?;
    let url = format!("http://{}", server.address());
    output.result(
        || format!("serving {} at {url} (stop with Ctrl-C)", args.repo.display()),
        || json!({ "url": url, "repo": args.repo }),
    )?;
    Ok(server.run()?)
}

fn keys(args: &Args) -> Result<Option<OnlineKeys>, Failure> {
    let Some(first) = args.timestamp_key.first() else { return Ok(None) };
    let paths = [&args.rollout_key[..], &args.snapshot_key, &args.timestamp_key].concat();
    let mut keys = load_private(&paths, args.passphrase_file.as_deref())?;
    let timestamp = keys.split_off(args.rollout_key.len() + args.snapshot_key.len());
    let snapshot = keys.split_off(args.rollout_key.len());
    let memory = args.memory.clone().map_or_else(|| memory_beside(first, &args.repo), Ok)?;
    Ok(Some(OnlineKeys { rollout: keys, snapshot, timestamp, memory, expiry: Expiry::default() }))
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        Self::new(Exit::Network, &error).code(error.code())
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        use ControlError as E;
        let exit = match &error {
            E::Audit { .. } | E::Unauthorized | E::Forbidden { .. } => Exit::Trust,
            E::Database(_) | E::Layout { .. } => Exit::Unexpected,
            E::Repository(_) => Exit::Network,
            _ => Exit::Usage,
        };
        Self::new(exit, &error).code(error.code())
    }
}
