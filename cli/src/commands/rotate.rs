//! `repo rotate`: other keys for a role.

use std::path::PathBuf;

use fleetfoot_repository::{Repository, Signers, TopRole, keyfile};
use fleetfoot_trust::SigningKey;

use crate::{
    commands::{
        keys::load_private,
        repo::{OnlineArgs, now},
    },
    failure::Failure,
};

/// The keys of which role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Role {
    /// Old and new root keys sign.
    Root,
    /// Root keys sign.
    Targets,
    /// Targets keys sign.
    Releases,
    /// Targets keys sign; what is rolled out stays.
    Rollout,
    /// Root keys sign; devices count versions from anew.
    Snapshot,
    /// Root keys sign; devices count versions from anew.
    Timestamp,
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The role that gets other keys.
    #[arg(long)]
    role: Role,
    /// The model, for the roles releases and rollout.
    #[arg(long, required_if_eq_any([("role", "releases"), ("role", "rollout")]))]
    model: Option<String>,
    /// Private keys that the role has from now on and that sign now. For snapshot and timestamp also the keys of --snapshot-key or
    /// --timestamp-key.
    #[arg(long, required = true)]
    new_key: Vec<PathBuf>,
    /// Further keys of the role, public.
    #[arg(long)]
    new_public_key: Vec<PathBuf>,
    /// How many of its keys must sign from now on; by default all of --new-key.
    #[arg(long)]
    threshold: Option<usize>,
    /// Private keys that allow it: present root keys; for the roles releases and rollout present targets keys.
    #[arg(long, required = true)]
    authority_key: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) online: OnlineArgs,
}

/// What was done.
pub(crate) struct Done {
    /// Paths of bundles that are no releases any more.
    pub(crate) dropped: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Result<Done, Failure> {
    let repository = args.online.repository()?;
    let passphrase = args.online.passphrase_file();
    let (new, authority) = (load_private(&args.new_key, passphrase)?, load_private(&args.authority_key, passphrase)?);
    let others = args.new_public_key.iter().map(|path| keyfile::load_public(path)).collect::<Result<Vec<_>, _>>()?;
    let signers = Signers { signing: &new, others: &others, threshold: args.threshold.unwrap_or(new.len()) };
    let dropped = rotate(args, &repository, &signers, &authority)?;
    args.online.remember()?;
    Ok(Done { dropped })
}

fn rotate(
    args: &Args,
    repository: &Repository,
    new: &Signers<'_>,
    authority: &[SigningKey],
) -> Result<Vec<String>, Failure> {
    let expiry = args.online.expiry();
    let top = |role| {
        let rotated = args.online.with(|online| repository.rotate(role, new, authority, online, expiry, now()));
        rotated.map(|_| Vec::new())
    };
    match args.role {
        Role::Root => {
            repository.renew_root(new, authority, expiry, now())?;
            Ok(Vec::new())
        }
        Role::Targets => top(TopRole::Targets),
        Role::Snapshot => top(TopRole::Snapshot),
        Role::Timestamp => top(TopRole::Timestamp),
        Role::Rollout => {
            let model = args.model.as_deref().unwrap_or_default();
            args.online.with(|online| repository.rollout_role(model, new, authority, online, expiry, now()))?;
            Ok(Vec::new())
        }
        Role::Releases => {
            let model = args.model.as_deref().unwrap_or_default();
            args.online.with(|online| repository.rotate_releases(model, new, authority, online, expiry, now()))
        }
    }
}
