//! The checks of section 5 of the specification, 1.0, in its order and under its numbers, which are those of 1.0.30.
//!
//! | step | section | what must hold |
//! |---|---|---|
//! | root | 5.3 | signed by the root before and by itself, version one higher; expiry counts for the last one only; each is stored |
//! | timestamp | 5.4 | signed, not older than the trusted one, does not take the snapshot back, not expired; stored |
//! | snapshot | 5.5 | hash, signed, version as announced, takes nothing back, not expired; stored |
//! | targets, each role | 5.6 | hash, signed, version as announced, not expired; stored |

use alloc::{borrow::ToOwned as _, format, string::String, vec::Vec};

use crate::{
    client::{Client, Step},
    error::TufError,
    keys::RoleKeys,
    limits::{MAX_ROOT_LEN, MAX_SNAPSHOT_LEN, MAX_TARGETS_LEN, MAX_TIMESTAMP_LEN},
    metadata::{Announced, Metadata, Root, Snapshot, Targets, Timestamp},
    name,
};

impl Client {
    /// Path and greatest length of the file that the present step needs.
    pub(crate) fn wanted(&self) -> Result<(String, u64), TufError> {
        Ok(match self.step {
            // 5.3.3: the next version. 5.3.2 bounds how many, see `MAX_ROOTS`.
            Step::Root => (name::versioned(self.root.version.saturating_add(1), "root"), MAX_ROOT_LEN),
            // 5.4.1
            Step::Timestamp => (name::stored("timestamp"), MAX_TIMESTAMP_LEN),
            // 5.5.1, 5.6.1
            _ => {
                let (role, announced) = self.announced()?;
                let limit = if self.step == Step::Snapshot { MAX_SNAPSHOT_LEN } else { MAX_TARGETS_LEN };
                let len = announced.length.unwrap_or(limit);
                if len > limit {
                    return Err(TufError::TooLong { role, len, limit });
                }
                let consistent = self.root.body.consistent_snapshot;
                let path = if consistent { name::versioned(announced.version, &role) } else { name::stored(&role) };
                (path, len)
            }
        })
    }

    /// The role of the present step, and what the file above it says about its file.
    pub(crate) fn announced(&self) -> Result<(String, Announced), TufError> {
        if self.step == Step::Snapshot {
            let timestamp = self.timestamp.as_ref().expect("comes before the snapshot");
            return Ok(("snapshot".into(), timestamp.body.snapshot.clone()));
        }
        let role = if self.step == Step::Targets { "targets" } else { self.delegate()?.0 };
        let snapshot = self.snapshot.as_ref().expect("comes before targets");
        // Snapshots name roles as they are; only names of files are quoted.
        let announced = snapshot.body.meta.get(&format!("{role}.json"));
        announced
            .map(|announced| (role.to_owned(), announced.clone()))
            .ok_or_else(|| TufError::NoSuchRole { role: role.to_owned() })
    }

    /// The delegated role of the present step, and its keys.
    fn delegate(&self) -> Result<(&str, &RoleKeys), TufError> {
        if self.step == Step::Search {
            let search = self.search.as_ref().expect("is there while it goes on");
            return Ok(search.next().expect("asked for while there is one"));
        }
        let top = self.targets.as_ref().expect("comes before delegated roles");
        let delegation = top.body.delegation(&self.role);
        delegation
            .map(|delegation| (self.role.as_str(), &delegation.keys))
            .ok_or_else(|| TufError::NoSuchRole { role: self.role.clone() })
    }

    /// 5.3: one more root.
    pub(crate) fn accept_root(&mut self, bytes: Vec<u8>) -> Result<(), TufError> {
        // 5.3.4, 5.3.5; 5.3.6: an intermediate root may have expired.
        let next = next_root(&self.root, bytes).map_err(|error| match error {
            // By other people: so the two first roots do not belong together.
            TufError::Threshold { .. } => self.first.end().err().unwrap_or(error),
            error => error,
        })?;
        let was_here = self.first.was_here();
        self.first.pass(&next)?;
        // 5.3.11: rotated keys mean that versions may have been driven up by whoever had the old ones. Before the new root is
        // durable, so that a loss of power between the two forgets too much rather than too little.
        let (old, new) = (&self.root.body, &next.body);
        if !was_here && (new.timestamp.rotated(&old.timestamp) || new.snapshot.rotated(&old.snapshot)) {
            for name in ["timestamp.json", "snapshot.json"] {
                if self.stored.contains_key(name) {
                    self.first.hold((name.into(), Vec::new()));
                }
            }
        }
        // 5.3.8
        self.first.hold((name::versioned(next.version, "root"), next.bytes.clone()));
        if !was_here {
            self.first.hold((name::stored("root"), next.bytes.clone()));
        }
        self.to_persist.extend(self.first.release());
        // 5.3.7, 5.3.9
        self.root = next;
        self.n_roots += 1;
        // On a way that was gone before, by what was stored then.
        if was_here && !self.first.was_here() { self.follow_stored() } else { Ok(()) }
    }

    /// 5.3.10 and what was trusted before.
    pub(crate) fn end_of_roots(&mut self) -> Result<(), TufError> {
        self.first.end()?;
        let root = &self.root.body;
        self.timestamp = self.known("timestamp", &root.timestamp, Metadata::verify);
        self.snapshot = self.known("snapshot", &root.snapshot, Metadata::verify);
        // A clock that runs behind the build or the last timestamp is wrong; one that they put after the root's end would lock us out.
        let floor = self.issued().unwrap_or(i64::MIN).max(self.floor);
        self.now = self.now.max(floor.min(self.root.expires.saturating_sub(1)));
        self.root.check_expiry(self.now)?;
        self.step = Step::Timestamp;
        Ok(())
    }

    /// A stored file, if it holds.
    fn known<T>(
        &self,
        role: &str,
        keys: &RoleKeys,
        verify: impl Fn(&str, Vec<u8>, &RoleKeys) -> Result<T, TufError>,
    ) -> Option<T> {
        verify(role, self.stored.get(&name::stored(role))?.clone(), keys).ok()
    }

    /// 5.4: the timestamp.
    pub(crate) fn accept_timestamp(&mut self, bytes: Vec<u8>) -> Result<(), TufError> {
        // 5.4.2
        let mut new = Metadata::<Timestamp>::verify("timestamp", bytes, &self.root.body.timestamp)?;
        let mut unchanged = false;
        if let Some(old) = &self.timestamp {
            // 5.4.3.1. The same version is the one that is there already, whatever this one says.
            if new.version < old.version {
                return Err(TufError::Rollback { role: old.role.clone(), stored: old.version, offered: new.version });
            }
            // 5.4.3.2
            let (stored, offered) = (old.body.snapshot.version, new.body.snapshot.version);
            if new.version == old.version {
                (new, unchanged) = (old.clone(), true);
            } else if offered < stored {
                return Err(TufError::Rollback { role: "snapshot".into(), stored, offered });
            }
        }
        // 5.4.4
        new.check_expiry(self.now)?;
        // 5.4.5
        if !unchanged {
            self.to_persist.push_back((name::stored("timestamp"), new.bytes.clone()));
        }
        self.timestamp = Some(new);
        self.step = Step::Snapshot;
        Ok(())
    }

    /// Whether the stored file is the announced one, so that it need not be fetched; then it is accepted.
    pub(crate) fn accept_stored(&mut self) -> Result<bool, TufError> {
        let (role, announced) = self.announced()?;
        let stored = self.stored.get(&name::stored(&role)).filter(|bytes| announced.check(&role, bytes).is_ok());
        let Some(bytes) = stored.cloned() else { return Ok(false) };
        match self.accept(&role, &announced, bytes) {
            Ok(()) => Ok(true),
            // The repository has no other file of this version.
            Err(expired @ TufError::Expired { .. }) => Err(expired),
            Err(_) => Ok(false),
        }
    }

    /// 5.5 and 5.6 for a file whose length and hash are those announced; it becomes the trusted one.
    pub(crate) fn accept(&mut self, role: &str, announced: &Announced, bytes: Vec<u8>) -> Result<(), TufError> {
        match self.step {
            Step::Snapshot => {
                // 5.5.3, 5.5.4
                let new = Metadata::<Snapshot>::verify(role, bytes, &self.root.body.snapshot)?;
                new.check_version(announced.version)?;
                // 5.5.5
                for (file, old) in self.snapshot.iter().flat_map(|snapshot| &snapshot.body.meta) {
                    let offered = new.body.meta.get(file).map_or(0, |new| new.version);
                    if offered < old.version {
                        let role = file.strip_suffix(".json").unwrap_or(file).to_owned();
                        return Err(TufError::Rollback { role, stored: old.version, offered });
                    }
                }
                // 5.5.6
                new.check_expiry(self.now)?;
                self.snapshot = Some(new);
                self.step = Step::Targets;
            }
            Step::Targets => {
                self.targets = Some(self.verified_targets(role, announced, bytes, &self.root.body.targets)?);
                self.step = if self.role == role { Step::Done } else { Step::Delegated };
            }
            // 5.6.7: a delegated role, by the keys of who delegates to it.
            step => {
                let new = self.verified_targets(role, announced, bytes, self.delegate()?.1)?;
                match self.search.as_mut().filter(|_| step == Step::Search) {
                    Some(search) => search.visit(&new),
                    None => {
                        self.delegated = Some(new);
                        self.step = Step::Done;
                    }
                }
            }
        }
        Ok(())
    }

    /// 5.6.3 to 5.6.5.
    fn verified_targets(
        &self,
        role: &str,
        announced: &Announced,
        bytes: Vec<u8>,
        keys: &RoleKeys,
    ) -> Result<Metadata<Targets>, TufError> {
        let new = Metadata::<Targets>::verify(role, bytes, keys)?;
        new.check_version(announced.version)?;
        new.check_expiry(self.now)?;
        Ok(new)
    }
}

/// 5.3.4 and 5.3.5: `bytes` as the root that follows `root`. Under the name of version N + 1 the specification would let version N pass as
/// nothing new; it is refused, since no repository writes it, and whoever can put it there can leave the file out as well.
pub(crate) fn next_root(root: &Metadata<Root>, bytes: Vec<u8>) -> Result<Metadata<Root>, TufError> {
    let next = Metadata::verify_root(bytes, Some(&root.body.root))?;
    if next.version < root.version {
        return Err(TufError::Rollback { role: next.role, stored: root.version, offered: next.version });
    }
    next.check_version(root.version.saturating_add(1))?;
    Ok(next)
}
