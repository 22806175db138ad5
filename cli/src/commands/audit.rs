//! `audit`: the log of a release server.

use std::path::PathBuf;

use fleetfoot_server::{AuditHead, Store};
use serde_json::json;

use crate::{failure::Failure, output::Output};

/// The audit log of a release server.
///
/// Example: fleetfoot audit verify --db sqlite:server.sqlite
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Walk the chain of hashes: a row that was changed, removed or moved is found. A log that was written anew as a whole is found with --head.
    ///
    /// Example: fleetfoot audit verify --db sqlite:server.sqlite --head 17:4be1..
    Verify {
        /// The database of the server.
        #[arg(long, env = "FLEETFOOT_DB", value_parser = database)]
        db: PathBuf,
        /// A row and its hash that were kept elsewhere, as this command and /v1/audit print them.
        #[arg(long, value_name = "ROW:HASH", value_parser = head)]
        head: Option<AuditHead>,
    },
}

/// `sqlite:FILE`, or a file.
pub(crate) fn database(text: &str) -> Result<PathBuf, String> {
    let file = text.strip_prefix("sqlite:").unwrap_or(text);
    if file.is_empty() || file.contains("://") {
        return Err("sqlite:FILE; other databases are not there yet".into());
    }
    Ok(file.into())
}

fn head(text: &str) -> Result<AuditHead, String> {
    let bad = || "ROW:HASH, a number and 64 hexadecimal digits".to_owned();
    let (row, hash) = text.split_once(':').ok_or_else(bad)?;
    let plain = hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let row = row.parse().ok().filter(|_| plain).ok_or_else(bad)?;
    Ok(AuditHead { row, hash: hash.to_ascii_lowercase() })
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    let Command::Verify { db, head } = command;
    if !db.is_file() {
        return Err(Failure::usage("there is no such database").in_file(db));
    }
    let found = Store::open(db).and_then(|store| store.verify_audit(head.as_ref()));
    let AuditHead { row, hash } = found.map_err(|error| Failure::from(error).in_file(db))?;
    output.result(
        || format!("{}: {row} rows, none changed, removed or moved; head {row}:{hash}", db.display()),
        || json!({ "ok": true, "row": row, "hash": hash }),
    )
}
