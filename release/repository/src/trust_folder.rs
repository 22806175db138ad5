//! A trust folder: root and targets of a repository, for bundles that come without it.

use std::path::Path;

use fleetfoot_trust::{Keys, verify_bundle};
use fleetfoot_tuf::keys_from;

use crate::{error::RepositoryError, files};

/// The keys that may release the model of `bundle`, from the newest root in `folder` and the newest targets that it vouches for. The
/// bundle is not asked which model it is before its signatures hold: the keys of each model are tried.
///
/// # Errors
/// [`RepositoryError::File`], [`RepositoryError::Tuf`] where root or targets do not hold at `now`,
/// [`RepositoryError::Bundle`] where no model's keys signed the bundle.
pub fn keys_from_folder(folder: &Path, bundle: &[u8], now: i64) -> Result<Keys, RepositoryError> {
    let root = files::read(&folder.join(newest(folder, "root.json")?))?;
    let path = folder.join(newest(folder, "targets.json")?);
    let targets = files::read(&path)?;
    // Only names are taken from here; `keys_from` verifies the file before it gives their keys.
    let document = files::parse(&path, &targets)?;
    let roles = document["signed"]["delegations"]["roles"].as_array().into_iter().flatten();
    let mut refused = None;
    for role in roles.filter_map(|role| role["name"].as_str()).filter(|role| role.starts_with("releases-")) {
        let (keys, threshold) = keys_from(&root, &targets, role, now)?;
        let keys = Keys::new(&keys, usize::try_from(threshold).unwrap_or(usize::MAX))?;
        match verify_bundle(bundle, &keys) {
            Ok(verified) if role.strip_prefix("releases-") == Some(verified.header().model) => return Ok(keys),
            Ok(verified) => {
                let model = verified.header().model.to_owned();
                refused = refused.or(Some(RepositoryError::UnknownModel { model }));
            }
            Err(error) => refused = refused.or(Some(error.into())),
        }
    }
    Err(refused.unwrap_or(RepositoryError::Malformed { path, what: "no release role" }))
}

/// `N.<suffix>` with the highest N, or `<suffix>`.
fn newest(folder: &Path, suffix: &str) -> Result<String, RepositoryError> {
    let broken = |e| RepositoryError::file("read", folder, e);
    let entries = std::fs::read_dir(folder).map_err(broken)?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let number = |name: &String| name.strip_suffix(suffix)?.strip_suffix('.')?.parse::<u64>().ok();
    let newest = names.filter(|name| name == suffix || number(name).is_some()).max_by_key(number);
    newest.ok_or_else(|| RepositoryError::Malformed { path: folder.into(), what: "no root.json or targets.json here" })
}
