//! `publish`: a bundle into the repository.

use std::{path::PathBuf, sync::Arc};

use fleetfoot::{Kernels, Model, Session, VerifiedFile, validate::run_goldens};
use fleetfoot_trust::sha256;
use serde_json::json;

use crate::{
    commands::{
        keys::load_private,
        repo::{OnlineArgs, now},
    },
    failure::{Exit, Failure},
    models,
    output::Output,
};

/// Publish a signed bundle. What every device would refuse is refused here: signatures, structure, golden vectors, an arena over its budget, a
/// release that is not newer.
///
/// Example: fleetfoot publish kws-1.2.0.ff --repo repo --key keys/releases.key --snapshot-key keys/snapshot.key --timestamp-key
/// keys/timestamp.key
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// Private keys of the release role of the model.
    #[arg(long, required = true)]
    key: Vec<PathBuf>,
    #[command(flatten)]
    online: OnlineArgs,
    /// Do not run the golden vectors here: for rehearsing what devices do with a bad release.
    #[arg(long)]
    unchecked: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let repository = args.online.repository()?;
    let bytes = models::read_whole(&args.bundle)?;
    let in_file = |e: Failure| e.in_file(&args.bundle);
    let verified = repository.verify(&bytes).map_err(|e| in_file(e.into()))?;
    let (model, version, number) =
        (verified.header().model.to_owned(), verified.header().version.to_owned(), verified.header().number);
    if !args.unchecked {
        let file = VerifiedFile::open_known(&args.bundle, &sha256(&bytes)).map_err(|e| in_file(e.into()))?;
        admissible(&file).map_err(in_file)?;
    }
    let releases = load_private(&args.key, args.online.passphrase_file())?;
    let published =
        args.online.with(|online| repository.publish(&bytes, &releases, online, args.online.expiry(), now()))?;
    let people = || format!("published {model} {version} (release {number}): {}", published.path.display());
    output.result(people, || {
        json!({ "model": model, "version": version, "number": number, "digest": fleetfoot::hex(&sha256(&bytes)), "path": published.path })
    })
}

/// What can be known without the device: goldens, and an arena that is over the budget everywhere.
fn admissible(file: &VerifiedFile) -> Result<(), Failure> {
    let model = Arc::new(Model::from_file(file)?);
    let (need, budget) = (model.arena_len(Kernels::scalar()), file.info().budget.arena_bytes);
    if let Some(budget) = budget.filter(|&b| need as u64 > u64::from(b)) {
        return Err(Failure::new(Exit::Refused, format!("the arena takes {need} bytes, the budget is {budget}")));
    }
    let mut session = Session::new(model, Kernels::detect())?;
    match run_goldens(file, &mut session) {
        Ok(0) => Err(Failure::new(Exit::Refused, "the bundle has no golden vectors")),
        Ok(_) => Ok(()),
        Err(refusal) => Err(Failure::new(Exit::Refused, &refusal)
            .code(refusal.reason().0)
            .help("every device would refuse it: pack it again")),
    }
}
