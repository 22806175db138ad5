//! `publish`: a bundle into the repository.

use std::{path::PathBuf, sync::Arc};

use fleetfoot::{Kernels, Model, Session, VerifiedFile, update::directive::version_of, validate::run_goldens};
use fleetfoot_repository::{EnvelopeSpec, parse_limit};
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
/// release that is not newer. The same bundle once more, with something else to say, changes what its signers allow; its salt stays.
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
    #[command(flatten)]
    envelope: EnvelopeArgs,
    /// Do not run the golden vectors here: for rehearsing what devices do with a bad release.
    #[arg(long)]
    unchecked: bool,
}

/// What the signers allow whoever rolls the release out.
#[derive(clap::Args)]
struct EnvelopeArgs {
    /// From when on to how many devices in which stage, such as 2026-11-30T06:00:00Z:1:canary; the time is also a day, or `now`. May be given
    /// several times; the last one whose time has come holds. Without any: everybody from now on.
    #[arg(long, value_name = "NOT_BEFORE:PERCENT:STAGE")]
    limit: Vec<String>,
    /// Kinds of hardware that may take it; by default all.
    #[arg(long)]
    hardware: Vec<String>,
    /// Lowest runtime, if that is above the one in the header.
    #[arg(long, value_name = "MAJOR.MINOR", value_parser = runtime)]
    min_runtime: Option<(u16, u16)>,
    /// Devices that have committed this epoch take nothing below it any more. It never falls.
    #[arg(long)]
    security_epoch: Option<u32>,
    /// Counted up to have devices try a bundle again that failed on them.
    #[arg(long)]
    attempt: Option<u32>,
    /// Decides which devices are the first; by default random. It never changes.
    #[arg(long)]
    salt: Option<String>,
}

fn runtime(text: &str) -> Result<(u16, u16), String> {
    version_of(text).ok_or_else(|| "a version such as 0.3".into())
}

impl EnvelopeArgs {
    fn spec(&self) -> Result<EnvelopeSpec, Failure> {
        let limit = |text: &String| {
            parse_limit(text, now()).ok_or_else(|| {
                Failure::usage(format!("{text} is no limit")).help("such as 2026-11-30:1:canary or now:100:full")
            })
        };
        Ok(EnvelopeSpec {
            salt: self.salt.clone(),
            limits: self.limit.iter().map(limit).collect::<Result<_, _>>()?,
            hardware: self.hardware.clone(),
            min_runtime: self.min_runtime,
            security_epoch: self.security_epoch,
            attempt: self.attempt,
        })
    }
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
    let (envelope, expiry) = (args.envelope.spec()?, args.online.expiry());
    let published =
        args.online.with(|online| repository.publish_within(&bytes, &envelope, &releases, online, expiry, now()))?;
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
