//! `repo lite`: the files for devices without clock, JSON or TLS.

use std::path::PathBuf;

use fleetfoot_format::lite::Stage;
use fleetfoot_repository::LiteOrder;
use serde_json::json;

use crate::{
    commands::{
        keys::load_private,
        repo::{OnlineArgs, now},
    },
    failure::Failure,
    output::Output,
};

/// Files for devices without clock, JSON or TLS: targets/lite/MODEL/SHA256.{trust,header,directive}.bin. `publish` writes header and directive for
/// models that have a chain.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Begin the chain of trust of a model, or add a link with the keys that root, releases and timestamp have now: after each rotation
    /// of one of them.
    ///
    /// Example: fleetfoot repo lite trust --repo repo --model kws --root-key keys/root.key --targets-key keys/targets.key --key
    /// keys/releases.key --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Trust {
        /// Name of the model.
        #[arg(long)]
        model: String,
        /// Private root keys: enough of the present ones, and of those of the last link.
        #[arg(long, required = true)]
        root_key: Vec<PathBuf>,
        /// Private keys of the top-level targets.
        #[arg(long, required = true)]
        targets_key: Vec<PathBuf>,
        /// Private keys of the release role: with them the newest release is signed for the new link at once.
        #[arg(long)]
        key: Vec<PathBuf>,
        #[command(flatten)]
        online: OnlineArgs,
    },
    /// Sign the header of the newest release again, with the limits that are in force now.
    ///
    /// Example: fleetfoot repo lite header --repo repo --model kws --key keys/releases.key --snapshot-key keys/snapshot.key
    /// --timestamp-key keys/timestamp.key
    Header {
        /// Name of the model.
        #[arg(long)]
        model: String,
        /// Private keys of the release role.
        #[arg(long, required = true)]
        key: Vec<PathBuf>,
        #[command(flatten)]
        online: OnlineArgs,
    },
    /// Say what devices are to do with the newest header. Only the online keys are needed.
    ///
    /// Example: fleetfoot repo lite direct --repo repo --model kws --stage canary --basis-points 100 --snapshot-key keys/snapshot.key
    /// --timestamp-key keys/timestamp.key
    Direct {
        /// Name of the model.
        #[arg(long)]
        model: String,
        /// What to do.
        #[arg(long)]
        stage: StageName,
        /// Share of the devices, of 10000.
        #[arg(long, default_value_t = 0)]
        basis_points: u16,
        /// Challenge of a device, 32 hexadecimal digits, that the directive is to answer.
        #[arg(long, value_parser = nonce)]
        nonce: Option<[u8; 16]>,
        #[command(flatten)]
        online: OnlineArgs,
    },
}

/// Stages by name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum StageName {
    /// Nobody begins.
    Halt,
    /// Who has it goes back.
    Revert,
    /// Runs beside the active version.
    Shadow,
    /// Serves a few.
    Canary,
    /// Serves one arm of a comparison.
    Ab,
    /// Serves all of the share.
    Full,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Halt => Self::HALT,
            StageName::Revert => Self::REVERT,
            StageName::Shadow => Self::SHADOW,
            StageName::Canary => Self::CANARY,
            StageName::Ab => Self::AB,
            StageName::Full => Self::FULL,
        }
    }
}

pub(crate) fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Trust { model, root_key, targets_key, key, online } => {
            let load = |paths: &[PathBuf]| load_private(paths, online.passphrase_file());
            let (root, targets, releases) = (load(&root_key)?, load(&targets_key)?, load(&key)?);
            let repository = online.repository()?;
            let with = (&root[..], &targets[..], &releases[..]);
            let version = online.with(|keys| repository.lite_trust(&model, with, keys, online.expiry(), now()))?;
            output.result(
                || format!("lite chain of {model}: trust version {version}"),
                || json!({ "model": model, "trust": version }),
            )
        }
        Command::Header { model, key, online } => {
            let releases = load_private(&key, online.passphrase_file())?;
            let repository = online.repository()?;
            online.with(|keys| repository.lite_header(&model, &releases, keys, online.expiry(), now()))?;
            output.result(|| format!("lite header of {model} signed"), || json!({ "model": model }))
        }
        Command::Direct { model, stage, basis_points, nonce, online } => {
            let order = LiteOrder { stage: stage.into(), basis_points, nonce };
            let repository = online.repository()?;
            online.with(|keys| repository.lite_direct(&model, order, keys, online.expiry(), now()))?;
            output.result(
                || format!("lite directive of {model}: {stage:?}, {basis_points} basis points"),
                || json!({ "model": model, "stage": order.stage.0, "basis_points": basis_points }),
            )
        }
    }
}

fn nonce(text: &str) -> Result<[u8; 16], String> {
    let digits = || "a nonce has 32 hexadecimal digits".to_string();
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.filter(|_| plain).and_then(|bytes| bytes.try_into().ok()).ok_or_else(digits)
}
