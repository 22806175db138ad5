//! `repo`: the update repository on a folder.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use fleetfoot_repository::{Expiry, Init, Online, Repository, RepositoryError, Signers, keyfile, memory_beside};
use fleetfoot_trust::SigningKey;
use serde_json::json;

use crate::{
    commands::{keys::load_private, lite, rotate},
    failure::{Exit, Failure},
    output::{Output, table},
};

/// Make and keep a repository.
///
/// Example: fleetfoot repo status --repo repo
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Make a repository for one model.
    ///
    /// Example: fleetfoot repo init --repo repo --model kws --root-key keys/root.key --targets-key keys/targets.key
    /// --releases-key keys/releases.pub --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Init(Box<InitArgs>),
    /// Add another model: one more release role.
    ///
    /// Example: fleetfoot repo add --repo repo --model ic --targets-key keys/targets.key --releases-key keys/releases.pub
    /// --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Add(Box<AddArgs>),
    /// Show roles, expiry and releases.
    ///
    /// Example: fleetfoot repo status --repo repo
    Status {
        /// The repository.
        #[arg(long, env = "FLEETFOOT_REPO")]
        repo: PathBuf,
    },
    /// Sign snapshot and timestamp again before they expire.
    ///
    /// Example: fleetfoot repo resign --repo repo --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Resign {
        #[command(flatten)]
        online: OnlineArgs,
    },
    /// Give a role other keys, in good time or because somebody has stolen one. A releases role takes along the bundles that enough of
    /// its new keys have signed; the others are listed and are no releases any more.
    ///
    /// Example: fleetfoot repo rotate --repo repo --role timestamp --new-key keys/timestamp-2.key --authority-key keys/root.key
    /// --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp-2.key
    Rotate(Box<rotate::Args>),
    /// Remember the repository as it is now. Commands that sign refuse a repository that is older than what they remember, in a file
    /// beside the key of the role timestamp. This begins such a memory on another machine; and it is the way out where
    /// the newest state is lost for good and an older copy was put back. Look with `repo status` first.
    ///
    /// Example: fleetfoot repo adopt --repo repo --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Adopt {
        #[command(flatten)]
        online: OnlineArgs,
    },
    /// Files for devices without clock, JSON or TLS.
    #[command(subcommand)]
    Lite(lite::Command),
}

#[derive(clap::Args)]
pub(crate) struct InitArgs {
    /// Private root keys that sign now.
    #[arg(long, required = true)]
    root_key: Vec<PathBuf>,
    /// How many root keys must sign; by default all.
    #[arg(long)]
    root_threshold: Option<usize>,
    /// Private keys of the top-level targets that sign now.
    #[arg(long, required = true)]
    targets_key: Vec<PathBuf>,
    /// How many targets keys must sign; by default all.
    #[arg(long)]
    targets_threshold: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    online: OnlineArgs,
}

#[derive(clap::Args)]
pub(crate) struct AddArgs {
    /// Private keys of the top-level targets.
    #[arg(long, required = true)]
    targets_key: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    online: OnlineArgs,
}

#[derive(clap::Args)]
struct ModelArgs {
    /// Name of the model.
    #[arg(long)]
    model: String,
    /// Public keys that release the model.
    #[arg(long, required_unless_present = "rollout_key")]
    releases_key: Vec<PathBuf>,
    /// How many of them must sign; by default all.
    #[arg(long)]
    releases_threshold: Option<usize>,
    /// Public keys that roll the model out, within what the release keys allow: online keys. With such a role devices take only what
    /// `fleetfoot rollout set` names. Alone they are added to a model that is there.
    #[arg(long)]
    rollout_key: Vec<PathBuf>,
    /// How many of them must sign; by default one.
    #[arg(long, default_value_t = 1)]
    rollout_threshold: usize,
}

/// The repository and what is needed to seal a change of it.
#[derive(clap::Args)]
pub(crate) struct OnlineArgs {
    /// The repository.
    #[arg(long, env = "FLEETFOOT_REPO")]
    pub(crate) repo: PathBuf,
    /// Private keys of the role snapshot, as many as it needs.
    #[arg(long, required = true, env = "FLEETFOOT_SNAPSHOT_KEY")]
    pub(crate) snapshot_key: Vec<PathBuf>,
    /// Private keys of the role timestamp, as many as it needs.
    #[arg(long, required = true, env = "FLEETFOOT_TIMESTAMP_KEY")]
    pub(crate) timestamp_key: Vec<PathBuf>,
    /// File with what is remembered of the repository; by default beside the first key of the role timestamp.
    #[arg(long, env = "FLEETFOOT_MEMORY")]
    pub(crate) memory: Option<PathBuf>,
    /// Seconds for which what is signed now holds, instead of a year (root, targets), six months (releases), 30 days
    /// (snapshot) and 7 days (timestamp).
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    pub(crate) expires_in: Option<i64>,
    /// File with the passphrase of the keys; else FLEETFOOT_PASSPHRASE, else the terminal.
    #[arg(long)]
    pub(crate) passphrase_file: Option<PathBuf>,
}

impl OnlineArgs {
    pub(crate) fn repo(&self) -> &Path {
        &self.repo
    }

    pub(crate) fn passphrase_file(&self) -> Option<&Path> {
        self.passphrase_file.as_deref()
    }

    pub(crate) fn expiry(&self) -> Expiry {
        let all = |s| Expiry { offline: s, releases: s, snapshot: s, timestamp: s };
        self.expires_in.map_or_else(Expiry::default, all)
    }

    /// The repository with its memory.
    pub(crate) fn repository(&self) -> Result<Repository, Failure> {
        let repository = Repository::open(&self.repo)?;
        let memory = match (&self.memory, self.timestamp_key.first()) {
            (Some(memory), _) => memory.clone(),
            (None, key) => memory_beside(key.map_or(Path::new(""), PathBuf::as_path), &self.repo)?,
        };
        Ok(repository.with_memory(memory))
    }

    /// Begins the memory of a new repository, or of one whose online keys lie elsewhere from now on; what is remembered already stays.
    pub(crate) fn remember(&self) -> Result<(), Failure> {
        let repository = self.repository()?;
        if repository.is_remembered() { Ok(()) } else { Ok(repository.adopt()?) }
    }

    /// Reads the online keys and hands them to `run`.
    pub(crate) fn with<T>(&self, run: impl FnOnce(Online<'_>) -> Result<T, RepositoryError>) -> Result<T, Failure> {
        let paths = [&self.snapshot_key[..], &self.timestamp_key].concat();
        let keys = load_private(&paths, self.passphrase_file())?;
        let (snapshot, timestamp) = keys.split_at(self.snapshot_key.len());
        Ok(run(Online { snapshot, timestamp })?)
    }
}

pub(crate) fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init(&args, output),
        Command::Add(args) => add(&args, output),
        Command::Status { repo } => status(&repo, output),
        Command::Resign { online } => {
            let repository = online.repository()?;
            online.with(|keys| repository.resign(keys, online.expiry(), now()))?;
            status(online.repo(), output)
        }
        Command::Rotate(args) => {
            let done = rotate::run(&args)?;
            show(args.online.repo(), &done.dropped, output)
        }
        Command::Lite(command) => lite::run(command, output),
        Command::Adopt { online } => {
            online.repository()?.adopt()?;
            status(online.repo(), output)
        }
    }
}

fn init(args: &InitArgs, output: &Output) -> Result<(), Failure> {
    let passphrase = args.online.passphrase_file();
    let (root, targets) = (load_private(&args.root_key, passphrase)?, load_private(&args.targets_key, passphrase)?);
    let (keys, threshold) = release_keys(&args.model)?;
    let models = [(args.model.model.as_str(), &keys[..], threshold)];
    args.online.with(|online| {
        let init = Init {
            root: Signers { signing: &root, others: &[], threshold: args.root_threshold.unwrap_or(root.len()) },
            targets: Signers {
                signing: &targets,
                others: &[],
                threshold: args.targets_threshold.unwrap_or(targets.len()),
            },
            online,
            models: &models,
        };
        Repository::init(args.online.repo(), &init, args.online.expiry(), now())
    })?;
    args.online.remember()?;
    add_rollout(&args.model, &targets, &args.online)?;
    status(args.online.repo(), output)
}

/// The rollout role of the model, where it is asked for.
fn add_rollout(model: &ModelArgs, targets: &[SigningKey], online: &OnlineArgs) -> Result<(), Failure> {
    if model.rollout_key.is_empty() {
        return Ok(());
    }
    let public = public_keys(&model.rollout_key)?;
    let new = Signers { signing: &[], others: &public, threshold: model.rollout_threshold };
    let repository = online.repository()?;
    online.with(|keys| repository.rollout_role(&model.model, &new, targets, keys, online.expiry(), now()))
}

fn public_keys(paths: &[PathBuf]) -> Result<Vec<[u8; 32]>, Failure> {
    Ok(paths.iter().map(|path| keyfile::load_public(path)).collect::<Result<Vec<_>, _>>()?)
}

fn add(args: &AddArgs, output: &Output) -> Result<(), Failure> {
    let repository = args.online.repository()?;
    let targets = load_private(&args.targets_key, args.online.passphrase_file())?;
    if !args.model.releases_key.is_empty() {
        let (keys, threshold) = release_keys(&args.model)?;
        let model = (args.model.model.as_str(), &keys[..], threshold);
        args.online.with(|online| repository.add_model(model, &targets, online, args.online.expiry(), now()))?;
    }
    add_rollout(&args.model, &targets, &args.online)?;
    status(args.online.repo(), output)
}

fn release_keys(args: &ModelArgs) -> Result<(Vec<[u8; 32]>, usize), Failure> {
    let keys = public_keys(&args.releases_key)?;
    let threshold = args.releases_threshold.unwrap_or(keys.len());
    Ok((keys, threshold))
}

fn status(repo: &Path, output: &Output) -> Result<(), Failure> {
    show(repo, &[], output)
}

/// The state of the repository, and bundles that have just left it.
fn show(repo: &Path, dropped: &[String], output: &Output) -> Result<(), Failure> {
    let status = Repository::open(repo)?.status()?;
    let people = || {
        let roles = status.roles.iter().map(|r| {
            vec![
                r.name.clone(),
                r.version.to_string(),
                r.expires.clone(),
                format!("{} of {}", r.threshold, r.keyids.len()),
            ]
        });
        let releases = status.targets.iter().map(|t| {
            vec![t.model.clone(), t.version.clone(), t.number.to_string(), t.length.to_string(), t.sha256.clone()]
        });
        let dropped: String = dropped.iter().map(|path| format!("\nno release any more: {path}")).collect();
        format!(
            "{}\n\n{}{dropped}",
            table(&["role", "version", "expires", "keys"], roles),
            table(&["model", "version", "release", "bytes", "sha256"], releases)
        )
    };
    let json = || json!({ "repo": repo, "roles": status.roles, "targets": status.targets, "dropped": dropped });
    output.result(people, json)
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        use RepositoryError as E;
        let exit = match &error {
            E::File { action, path, source } => return Self::io(action, path, source).code(error.code()),
            E::Bundle(inner) => return Self::from(*inner),
            E::LiteKeys { .. } => {
                return Self::new(Exit::Trust, &error)
                    .code(error.code())
                    .help("after a rotation the chain needs a new link: `fleetfoot repo lite trust`");
            }
            E::NoLite { .. } => {
                return Self::new(Exit::Usage, &error)
                    .code(error.code())
                    .help("begin with `fleetfoot repo lite trust`, then publish");
            }
            E::Threshold { .. } | E::Tuf(_) | E::Malformed { .. } | E::Lite(_) => Exit::Trust,
            E::Older { .. } | E::Other { .. } => {
                return Self::new(Exit::Trust, &error).code(error.code()).help(
                    "put the newest copy of the repository back; if it is lost for good, look at this one with `fleetfoot repo status`, \
                     then `fleetfoot repo adopt`, and sign every role again that devices have seen newer",
                );
            }
            E::Unknown { .. } => {
                return Self::new(Exit::Trust, &error).code(error.code()).help(
                    "if it is the right one (`fleetfoot repo status`), begin its memory with `fleetfoot repo adopt`, or name it with --memory",
                );
            }
            E::NotARepository { .. }
            | E::Exists { .. }
            | E::UnknownModel { .. }
            | E::BadName { .. }
            | E::NotNewer { .. }
            | E::Envelope { .. }
            | E::SaltChanges
            | E::SaltUsed
            | E::Lowered { .. }
            | E::NoRollout { .. }
            | E::Directive { .. }
            | E::Unpublished { .. }
            | E::RolloutChanges { .. } => Exit::Usage,
            E::Refused { .. } => {
                return Self::new(Exit::Refused, &error)
                    .code(error.code())
                    .help("its signers can allow more: fleetfoot publish, the same bundle, with another --limit");
            }
            _ => Exit::Unexpected,
        };
        Self::new(exit, &error).code(error.code())
    }
}
