//! `verify`: whether a bundle may be believed.

use std::path::PathBuf;

use fleetfoot::Keys;
use fleetfoot_repository::keys_from_folder;
use fleetfoot_trust::{sha256, signatures, verify_bundle};
use serde_json::json;

use crate::{
    commands::repo::now,
    failure::Failure,
    models,
    output::{Output, table},
};

/// Verify a bundle: exit 0, or 3 where it may not be believed.
///
/// Example: fleetfoot verify kws.ff --key releases-1.pub --key releases-2.pub
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// Public keys.
    #[arg(long, required_unless_present = "trust")]
    key: Vec<PathBuf>,
    /// How many of the keys must have signed; by default all of them.
    #[arg(long)]
    threshold: Option<usize>,
    /// A trust folder: the `metadata` of a repository with root and targets; the keys are those that may release the model.
    #[arg(long, conflicts_with_all = ["key", "threshold"])]
    trust: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let bytes = models::read_whole(&args.bundle)?;
    let in_file = |e: fleetfoot::TrustError| Failure::from(e).in_file(&args.bundle);
    let keys = match &args.trust {
        Some(folder) => keys_from_folder(folder, &bytes, now()).map_err(|e| Failure::from(e).in_file(&args.bundle))?,
        None => {
            let mut public = Vec::new();
            for path in &args.key {
                public.push(fleetfoot_repository::keyfile::load_public(path)?);
            }
            Keys::new(&public, args.threshold.unwrap_or(public.len()))?
        }
    };
    let verdict = verify_bundle(&bytes, &keys);
    let statuses = signatures(&bytes, &keys).map_err(in_file)?;
    let ok = verdict.is_ok();
    let rows = || statuses.iter().map(|s| vec![fleetfoot::hex(&s.key), s.state.as_str().to_owned()]);
    let digest = fleetfoot::hex(&sha256(&bytes));
    if ok || output.json {
        let people = || format!("{}\nsha256 {digest}\nok", table(&["key", "signature"], rows()));
        let signatures: Vec<_> = statuses
            .iter()
            .map(|s| json!({ "key": fleetfoot::hex(&s.key), "ok": s.state.is_good(), "state": s.state.as_str() }))
            .collect();
        output.result(people, || json!({ "ok": ok, "signatures": signatures, "digest": digest }))?;
    }
    match verdict {
        Ok(_) => Ok(()),
        Err(error) => {
            let failure = in_file(error);
            // The JSON document is already out; do not print a second one.
            if output.json { Err(Failure { quiet: true, ..failure }) } else { Err(failure) }
        }
    }
}
