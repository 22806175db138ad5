//! The client: section 5 of the specification as a machine that asks for files and judges them.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, VecDeque},
    format,
    string::String,
    vec::Vec,
};

use crate::{
    error::TufError,
    limits::{MAX_ROOT_LEN, MAX_ROOTS, MAX_SNAPSHOT_LEN, MAX_TARGETS_LEN, MAX_TIMESTAMP_LEN},
    metadata::{Announced, Metadata, RoleKeys, Root, Snapshot, Targets, Timestamp},
    name,
    target::Target,
};

/// Verified files as the device keeps them: `timestamp.json`, `snapshot.json`, `targets.json`, `releases-kws.json`, the roots since the
/// embedded one as `2.root.json`, `3.root.json`, and the newest of them as `root.json`. Nothing in it is believed without its
/// signatures; what does not hold is ignored and fetched again.
pub type Stored = BTreeMap<String, Vec<u8>>;

/// What the caller is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch a file and hand it to [`Client::feed`].
    Fetch {
        /// Its path below the folder of metadata.
        path: String,
        /// More than this is never read.
        max_len: u64,
        /// Whether its absence is an answer rather than an error.
        may_be_missing: bool,
    },
    /// Store a verified file durably, replacing the one of this name as a whole, then call [`Client::persisted`].
    Persist {
        /// Its name in [`Stored`].
        name: String,
        /// Its bytes. None at all for a file that is to be forgotten; it may as well be removed.
        bytes: Vec<u8>,
    },
    /// All is verified.
    Done,
}

/// Asks for files and judges them, one after another; it fetches and stores nothing itself.
///
/// ```
/// # use fleetfoot_tuf::{Action, Client, Stored, TufError};
/// # fn fetch(path: &str, max_len: u64) -> Option<Vec<u8>> { None }
/// # fn store(name: &str, bytes: &[u8]) {}
/// # fn example(root: &[u8], stored: Stored, now: i64) -> Result<(), TufError> {
/// let mut client = Client::new(root, stored, now)?;
/// client.refresh("releases-kws");
/// loop {
///     match client.poll()? {
///         Action::Fetch { path, max_len, .. } => client.feed(fetch(&path, max_len))?,
///         Action::Persist { name, bytes } => {
///             store(&name, &bytes);
///             client.persisted();
///         }
///         Action::Done => break,
///     }
/// }
/// for target in client.targets_of("releases-kws") {
///     println!("{}", target.url_path());
/// }
/// # Ok(()) }
/// ```
/// After an error nothing is lost: [`Client::poll`] asks for the same file again, and [`Client::refresh`] begins from the start.
#[derive(Clone, Debug)]
pub struct Client {
    stored: Stored,
    /// The fixed update start time (5.1), raised to what the last timestamp proves.
    now: i64,
    root: Metadata<Root>,
    /// The timestamp and the snapshot that were trusted before, then the new ones.
    timestamp: Option<Metadata<Timestamp>>,
    snapshot: Option<Metadata<Snapshot>>,
    targets: Option<Metadata<Targets>>,
    delegated: Option<Metadata<Targets>>,
    role: String,
    step: Step,
    n_roots: u32,
    to_persist: VecDeque<(String, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Root,
    RootsEnd,
    Timestamp,
    Snapshot,
    Targets,
    Delegated,
    Done,
}

impl Client {
    /// A client that trusts `trusted_root`, the first root, which came with the application, and believes of `stored` what
    /// follows from it. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Those of `trusted_root` only: not JSON, malformed, or not signed by its own keys. It may have expired.
    pub fn new(trusted_root: &[u8], stored: Stored, now: i64) -> Result<Self, TufError> {
        // 5.2: load the trusted root, then follow the chain of those that were fetched before.
        let mut root = Metadata::verify_root(trusted_root.to_vec(), None)?;
        loop {
            let names = [name::versioned(root.version.saturating_add(1), "root"), name::stored("root")];
            let mut candidates = names.iter().filter_map(|name| stored.get(name));
            match candidates.find_map(|bytes| next_root(&root, bytes.clone()).ok()) {
                Some(next) => root = next,
                None => break,
            }
        }
        Ok(Self {
            stored,
            now,
            root,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegated: None,
            role: String::new(),
            step: Step::Done,
            n_roots: 0,
            to_persist: VecDeque::new(),
        })
    }

    /// Begins to bring everything up to date that leads to `role`, a role that `targets` delegates to, or `targets`
    /// itself. What was known of roles before is forgotten.
    pub fn refresh(&mut self, role: &str) {
        role.clone_into(&mut self.role);
        self.step = Step::Root;
        self.n_roots = 0;
        self.to_persist.clear();
        (self.timestamp, self.snapshot, self.targets, self.delegated) = (None, None, None, None);
    }

    /// What to do next. It is the same until that is done.
    ///
    /// # Errors
    /// [`TufError::Expired`], or [`TufError::NoSuchRole`] for a role that nobody delegates to.
    pub fn poll(&mut self) -> Result<Action, TufError> {
        loop {
            if let Some((name, bytes)) = self.to_persist.front() {
                return Ok(Action::Persist { name: name.clone(), bytes: bytes.clone() });
            }
            let step = self.step;
            match step {
                Step::Done => return Ok(Action::Done),
                Step::Root if self.n_roots == MAX_ROOTS => self.step = Step::RootsEnd,
                Step::RootsEnd => self.end_of_roots()?,
                Step::Snapshot | Step::Targets | Step::Delegated if self.accept_stored()? => {}
                Step::Root | Step::Timestamp | Step::Snapshot | Step::Targets | Step::Delegated => {
                    let (path, max_len) = self.wanted()?;
                    return Ok(Action::Fetch { path, max_len, may_be_missing: step == Step::Root });
                }
            }
        }
    }

    /// The file that [`Action::Fetch`] asked for, or nothing where the repository has none. For a timestamp that has not changed
    /// since it was stored (status 304) hand over the stored one.
    ///
    /// # Errors
    /// What is wrong with the file. It is not believed, and nothing of what was believed before is lost.
    ///
    /// # Panics
    /// If no file was asked for.
    pub fn feed(&mut self, answer: Option<Vec<u8>>) -> Result<(), TufError> {
        let asked = self.to_persist.is_empty() && !matches!(self.step, Step::Done | Step::RootsEnd);
        assert!(asked, "no file was asked for");
        let (path, limit) = self.wanted()?;
        let Some(bytes) = answer else {
            if self.step != Step::Root {
                return Err(TufError::Missing { path });
            }
            self.step = Step::RootsEnd;
            return Ok(());
        };
        if bytes.len() as u64 > limit {
            return Err(TufError::TooLong { role: path, len: bytes.len() as u64, limit });
        }
        match self.step {
            Step::Root => self.accept_root(bytes),
            Step::Timestamp => self.accept_timestamp(bytes),
            _ => {
                let (role, announced) = self.announced()?;
                // 5.5.2, 5.6.2: the hash first.
                announced.check(&role, &bytes)?;
                self.accept(&role, &announced, bytes.clone())?;
                self.to_persist.push_back((name::stored(&role), bytes));
                Ok(())
            }
        }
    }

    /// The file of the last [`Action::Persist`] is durable.
    pub fn persisted(&mut self) {
        if let Some((name, bytes)) = self.to_persist.pop_front() {
            self.stored.insert(name, bytes);
        }
    }

    /// The files that `role`, the one of the last [`refresh`](Self::refresh), vouches for and may vouch for. Nothing before
    /// [`Action::Done`].
    pub fn targets_of(&self, role: &str) -> impl Iterator<Item = Target> + use<> {
        let mut found = Vec::new();
        if let (Some(top), Step::Done) = (&self.targets, self.step) {
            if role == top.role {
                found.clone_from(&top.body.targets);
            } else if let Some(delegated) = self.delegated.as_ref().filter(|delegated| delegated.role == role) {
                let listed = delegated.body.targets.iter();
                found = listed.filter(|target| top.body.ends_at(&target.path, role)).cloned().collect();
            }
        }
        found.into_iter()
    }

    /// The keys of a role and how many of them must sign, for signatures outside of metadata. Nothing for a role
    /// that is not known; delegated ones are known after a refresh.
    #[must_use]
    pub fn role_keys(&self, role: &str) -> Option<(Vec<[u8; 32]>, u32)> {
        let root = &self.root.body;
        let keys = match role {
            "root" => &root.root,
            "timestamp" => &root.timestamp,
            "snapshot" => &root.snapshot,
            "targets" => &root.targets,
            _ => &self.targets.as_ref()?.body.delegation(role)?.keys,
        };
        listed(keys)
    }

    /// Role and time of expiry, seconds since 1970, of everything that is loaded.
    pub fn expires(&self) -> impl Iterator<Item = (&str, i64)> {
        self.loaded().map(|(role, _, expires)| (role, expires))
    }

    /// The version of a role, if it is loaded.
    #[must_use]
    pub fn version_of(&self, role: &str) -> Option<u64> {
        self.loaded().find(|(name, ..)| *name == role).map(|(_, version, _)| version)
    }

    /// When the timestamp was issued, seconds since 1970, if it says so.
    #[must_use]
    pub fn issued(&self) -> Option<i64> {
        self.timestamp.as_ref()?.body.issued
    }

    fn loaded(&self) -> impl Iterator<Item = (&str, u64, i64)> {
        fn row<B>(file: &Metadata<B>) -> (&str, u64, i64) {
            (&file.role, file.version, file.expires)
        }
        let above = [Some(row(&self.root)), self.timestamp.as_ref().map(row), self.snapshot.as_ref().map(row)];
        let below = [self.targets.as_ref().map(row), self.delegated.as_ref().map(row)];
        above.into_iter().chain(below).flatten()
    }

    /// Path and greatest length of the file that the present step needs.
    fn wanted(&self) -> Result<(String, u64), TufError> {
        Ok(match self.step {
            // 5.3.3
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
                (name::versioned(announced.version, &role), len)
            }
        })
    }

    /// The role of the present step, and what the file above it says about its file.
    fn announced(&self) -> Result<(String, Announced), TufError> {
        if self.step == Step::Snapshot {
            let timestamp = self.timestamp.as_ref().expect("comes before the snapshot");
            return Ok(("snapshot".into(), timestamp.body.snapshot.clone()));
        }
        let role = if self.step == Step::Targets {
            "targets"
        } else {
            self.delegation()?;
            &self.role
        };
        let snapshot = self.snapshot.as_ref().expect("comes before targets");
        // Snapshots name roles as they are; only names of files are quoted.
        let announced = snapshot.body.meta.get(&format!("{role}.json"));
        announced
            .map(|announced| (role.to_owned(), announced.clone()))
            .ok_or_else(|| TufError::NoSuchRole { role: role.to_owned() })
    }

    fn delegation(&self) -> Result<&RoleKeys, TufError> {
        let top = self.targets.as_ref().expect("comes before delegated roles");
        let delegation =
            top.body.delegation(&self.role).ok_or_else(|| TufError::NoSuchRole { role: self.role.clone() })?;
        Ok(&delegation.keys)
    }

    /// 5.3: one more root.
    fn accept_root(&mut self, bytes: Vec<u8>) -> Result<(), TufError> {
        // 5.3.4, 5.3.5; 5.3.6: an intermediate root may have expired.
        let next = next_root(&self.root, bytes)?;
        // 5.3.11: rotated keys mean that versions may have been driven up by whoever had the old ones. Before the new root is
        // durable, so that a loss of power between the two forgets too much rather than too little.
        let (old, new) = (&self.root.body, &next.body);
        let rotated = |a: &RoleKeys, b: &RoleKeys| a.distinct() != b.distinct();
        if rotated(&old.timestamp, &new.timestamp) || rotated(&old.snapshot, &new.snapshot) {
            for name in ["timestamp.json", "snapshot.json"] {
                if self.stored.contains_key(name) {
                    self.to_persist.push_back((name.into(), Vec::new()));
                }
            }
        }
        // 5.3.8
        self.to_persist.push_back((name::versioned(next.version, "root"), next.bytes.clone()));
        self.to_persist.push_back((name::stored("root"), next.bytes.clone()));
        // 5.3.7, 5.3.9
        self.root = next;
        self.n_roots += 1;
        Ok(())
    }

    /// 5.3.10 and what was trusted before.
    fn end_of_roots(&mut self) -> Result<(), TufError> {
        let root = &self.root.body;
        self.timestamp = self.known("timestamp", &root.timestamp, Metadata::verify);
        self.snapshot = self.known("snapshot", &root.snapshot, Metadata::verify);
        // A clock that runs behind the last timestamp is wrong; one that a timestamp puts after the root's end would lock us out.
        if let Some(issued) = self.issued() {
            self.now = self.now.max(issued.min(self.root.expires - 1));
        }
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
    fn accept_timestamp(&mut self, bytes: Vec<u8>) -> Result<(), TufError> {
        // 5.4.2
        let mut new = Metadata::<Timestamp>::verify("timestamp", bytes, &self.root.body.timestamp)?;
        let mut unchanged = false;
        if let Some(old) = &self.timestamp {
            // 5.4.3.1
            if new.version < old.version {
                return Err(TufError::Rollback { role: old.role.clone(), stored: old.version, offered: new.version });
            }
            // 5.4.3.2
            let (stored, offered) = (old.body.snapshot.version, new.body.snapshot.version);
            if offered < stored {
                return Err(TufError::Rollback { role: "snapshot".into(), stored, offered });
            }
            // The same version says the same, or it is not to be believed: what was seen first counts.
            if new.version == old.version {
                (new, unchanged) = (old.clone(), true);
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
    fn accept_stored(&mut self) -> Result<bool, TufError> {
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
    fn accept(&mut self, role: &str, announced: &Announced, bytes: Vec<u8>) -> Result<(), TufError> {
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
            // 5.6.7: one level. A deeper search would visit the delegations of this role here.
            _ => {
                self.delegated = Some(self.verified_targets(role, announced, bytes, self.delegation()?)?);
                self.step = Step::Done;
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

/// The keys of the delegated `role` from a trust folder, that is a `root` that is trusted because of where it lies, and
/// `targets` signed by it; both may not have expired at `now`. For bundles that come without a repository.
///
/// # Errors
/// What is wrong with the files, or [`TufError::NoSuchRole`].
pub fn keys_from(root: &[u8], targets: &[u8], role: &str, now: i64) -> Result<(Vec<[u8; 32]>, u32), TufError> {
    let root = Metadata::verify_root(root.to_vec(), None)?;
    root.check_expiry(now)?;
    let targets = Metadata::<Targets>::verify("targets", targets.to_vec(), &root.body.targets)?;
    targets.check_expiry(now)?;
    let delegation = targets.body.delegation(role);
    delegation
        .and_then(|delegation| listed(&delegation.keys))
        .ok_or_else(|| TufError::NoSuchRole { role: role.to_owned() })
}

fn listed(keys: &RoleKeys) -> Option<(Vec<[u8; 32]>, u32)> {
    Some((keys.distinct().into_iter().collect(), u32::try_from(keys.threshold).ok()?))
}

/// 5.3.4 and 5.3.5: `bytes` as the root that follows `root`.
fn next_root(root: &Metadata<Root>, bytes: Vec<u8>) -> Result<Metadata<Root>, TufError> {
    let next = Metadata::verify_root(bytes, Some(&root.body.root))?;
    if next.version < root.version {
        return Err(TufError::Rollback { role: next.role, stored: root.version, offered: next.version });
    }
    next.check_version(root.version.saturating_add(1))?;
    Ok(next)
}
