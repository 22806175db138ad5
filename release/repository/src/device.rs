//! The last check before a change is visible: whether a device would take it.

use std::path::Path;

use fleetfoot_tuf::{Action, Client, Stored};

use crate::{error::RepositoryError, files};

/// Follows the metadata in `folder` from the first root to `role` as a device that knows nothing yet does, with `timestamp` in the
/// place of the one in force.
pub(crate) fn check(folder: &Path, root: &[u8], timestamp: &[u8], role: &str, now: i64) -> Result<(), RepositoryError> {
    let mut client = Client::new(root, Stored::new(), now)?;
    client.refresh(role);
    loop {
        match client.poll()? {
            Action::Fetch { path, .. } if path == "timestamp.json" => client.feed(Some(timestamp.to_vec()))?,
            Action::Fetch { path, .. } => {
                let path = folder.join(path);
                client.feed(if path.exists() { Some(files::read(&path)?) } else { None })?;
            }
            Action::Persist { .. } => client.persisted(),
            Action::Done => return Ok(()),
        }
    }
}
