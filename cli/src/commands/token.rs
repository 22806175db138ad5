//! `token`: who may do what at a release server.

use std::path::PathBuf;

use fleetfoot_server::{Role, Store};
use serde_json::json;

use crate::{
    commands::{audit::database, repo::now},
    failure::Failure,
    output::Output,
};

/// Tokens for the people of a release server; it stores their hashes only.
///
/// Example: fleetfoot token new --db sqlite:server.sqlite --role operator --name otto
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it; it is never shown again.
    ///
    /// Example: fleetfoot token new --db sqlite:server.sqlite --role approver --name anna
    New {
        /// The database of the server.
        #[arg(long, env = "FLEETFOOT_DB", value_parser = database)]
        db: PathBuf,
        /// What it is for: viewer looks, operator applies and takes over, approver approves as well.
        #[arg(long, value_parser = role)]
        role: Role,
        /// Whose it is: the name in the audit log.
        #[arg(long)]
        name: String,
    },
    /// From now on the token of a name is good for nothing.
    ///
    /// Example: fleetfoot token revoke --db sqlite:server.sqlite --name otto
    Revoke {
        /// The database of the server.
        #[arg(long, env = "FLEETFOOT_DB", value_parser = database)]
        db: PathBuf,
        /// Whose it is.
        #[arg(long)]
        name: String,
    },
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).ok_or_else(|| "viewer, operator or approver".into())
}

pub(crate) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::New { db, role, name } => {
            let token = Store::open(db)?.new_token(name, *role, now())?;
            output.result(|| token.clone(), || json!({ "name": name, "role": role.name(), "token": token }))
        }
        Command::Revoke { db, name } => {
            if !Store::open(db)?.revoke_token(name, now())? {
                return Err(Failure::usage(format!("{name} has no token")));
            }
            output.result(|| format!("the token of {name} is revoked"), || json!({ "name": name, "revoked": true }))
        }
    }
}
