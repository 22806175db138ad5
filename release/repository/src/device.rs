//! The last check before a change is visible: whether a device would take it.

use std::path::Path;

use fleetfoot_tuf::{Action, Client, Stored};

use crate::{error::RepositoryError, files};

/// Follows the metadata in `folder` from the first root to `role` as a device that knows nothing yet does, with `new` files in the
/// place of those in the folder.
pub(crate) fn check(
    folder: &Path,
    root: &[u8],
    new: &[(String, Vec<u8>)],
    role: &str,
    now: i64,
) -> Result<(), RepositoryError> {
    let mut client = Client::new(root, Stored::new(), now)?;
    client.refresh(role);
    loop {
        match client.poll()? {
            Action::Fetch { path, .. } => {
                let own = new.iter().find(|(name, _)| *name == path).map(|(_, bytes)| bytes.clone());
                let path = folder.join(path);
                client.feed(if own.is_none() && path.exists() { Some(files::read(&path)?) } else { own })?;
            }
            Action::Persist { .. } => client.persisted(),
            Action::Done => return Ok(()),
        }
    }
}
