//! `keys`: Ed25519 key pairs in files.

use std::path::{Path, PathBuf};

use fleetfoot_repository::keyfile::{self, KeyFileError};
use fleetfoot_trust::SigningKey;
use serde_json::json;

use crate::{failure::Failure, output::Output};

/// Make keys.
///
/// Example: fleetfoot keys new --role releases --out keys
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make an Ed25519 key pair: DIR/ROLE.key (private) and DIR/ROLE.pub, or ROLE-NAME.key and ROLE-NAME.pub.
    ///
    /// Example: fleetfoot keys new --role releases --name 1 --out keys
    New {
        /// What the key is for: root, targets, releases, snapshot, timestamp, or any other short name.
        #[arg(long)]
        role: String,
        /// Tells keys of one role apart.
        #[arg(long)]
        name: Option<String>,
        /// The folder.
        #[arg(long)]
        out: PathBuf,
        /// Do not encrypt the private key.
        #[arg(long, conflicts_with = "passphrase_file")]
        plain: bool,
        /// File with the passphrase; else FLEETFOOT_PASSPHRASE, else the terminal.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
    },
}

pub(crate) fn run(command: Command, output: &Output) -> Result<(), Failure> {
    let Command::New { role, name, out, plain, passphrase_file } = command;
    let passphrase = if plain { None } else { Some(passphrase(passphrase_file.as_deref(), true)?) };
    let (private, public, key) = keyfile::create(&out, &role, name.as_deref(), passphrase.as_deref())?;
    let people = || format!("{}\n{}\n{}", private.display(), public.display(), fleetfoot::hex(&key));
    output.result(
        people,
        || json!({ "private": private, "public": public, "key": fleetfoot::hex(&key), "encrypted": !plain }),
    )
}

/// Reads private keys; asks for one passphrase at most, and only if a key is encrypted.
pub(crate) fn load_private(paths: &[PathBuf], passphrase_file: Option<&Path>) -> Result<Vec<SigningKey>, Failure> {
    let mut known = None;
    let mut keys = Vec::new();
    for path in paths {
        if keyfile::is_encrypted(path)? && known.is_none() {
            known = Some(passphrase(passphrase_file, false)?);
        }
        keys.push(keyfile::load_private(path, known.as_deref())?);
    }
    Ok(keys)
}

fn passphrase(file: Option<&Path>, new: bool) -> Result<String, Failure> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
        return not_empty(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    if let Ok(text) = std::env::var("FLEETFOOT_PASSPHRASE") {
        return not_empty(text);
    }
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|e| {
            Failure::usage(format!("no passphrase: {e}"))
                .help("give --passphrase-file, set FLEETFOOT_PASSPHRASE, or use --plain for keys of tests")
        })
    };
    let first = ask("Passphrase: ")?;
    if new && ask("Again: ")? != first {
        return Err(Failure::usage("the two passphrases differ"));
    }
    not_empty(first)
}

fn not_empty(passphrase: String) -> Result<String, Failure> {
    if passphrase.is_empty() { Err(Failure::usage("the passphrase is empty")) } else { Ok(passphrase) }
}

impl From<KeyFileError> for Failure {
    fn from(error: KeyFileError) -> Self {
        match &error {
            KeyFileError::File { action, path, source } => Self::io(action, path, source).code(error.code()),
            _ => Self::usage(&error).code(error.code()),
        }
    }
}
