//! The client: section 5 of the specification as a machine that asks for files and judges them.

use alloc::{
    borrow::ToOwned as _,
    collections::{BTreeMap, VecDeque},
    string::String,
    vec::Vec,
};

use crate::{
    checks::next_root,
    error::TufError,
    first_root::FirstRoot,
    keys::RoleKeys,
    limits::MAX_ROOTS,
    metadata::{Metadata, Root, Snapshot, Targets, Timestamp},
    name,
    search::Search,
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
    pub(crate) stored: Stored,
    /// The fixed update start time (5.1), raised to what the last timestamp proves.
    pub(crate) now: i64,
    pub(crate) root: Metadata<Root>,
    /// The timestamp and the snapshot that were trusted before, then the new ones.
    pub(crate) timestamp: Option<Metadata<Timestamp>>,
    pub(crate) snapshot: Option<Metadata<Snapshot>>,
    pub(crate) targets: Option<Metadata<Targets>>,
    pub(crate) delegated: Option<Metadata<Targets>>,
    pub(crate) role: String,
    pub(crate) search: Option<Search>,
    pub(crate) step: Step,
    pub(crate) n_roots: u32,
    pub(crate) to_persist: VecDeque<(String, Vec<u8>)>,
    /// See [`Client::not_before`].
    pub(crate) floor: i64,
    pub(crate) first: FirstRoot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Root,
    RootsEnd,
    Timestamp,
    Snapshot,
    Targets,
    /// The role of [`Client::refresh`].
    Delegated,
    /// The next role of [`Client::find`].
    Search,
    Done,
}

impl Client {
    /// A client that trusts `trusted_root`, the first root, which came with the application, and believes of `stored` what
    /// follows from it. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// Those of `trusted_root` only: not JSON, malformed, or not signed by its own keys. It may have expired.
    pub fn new(trusted_root: &[u8], stored: Stored, now: i64) -> Result<Self, TufError> {
        Self::begin(trusted_root, FirstRoot::default(), stored, now)
    }

    /// As [`new`](Self::new), for a store that remembers with which first root it began, under [`FIRST_ROOT`](crate::FIRST_ROOT). An application that comes with another
    /// one is believed if one of the two leads to the other by the chain of roots: a newer one is then what the store remembers. Until
    /// that is certain nothing is stored, and nothing but roots is fetched.
    ///
    /// # Errors
    /// Those of [`new`](Self::new), [`TufError::OtherFirstRoot`]; that one also from [`poll`](Self::poll) and [`feed`](Self::feed).
    pub fn pinned(embedded_root: &[u8], stored: Stored, now: i64) -> Result<Self, TufError> {
        let (trusted_root, first) = FirstRoot::choose(embedded_root, &stored)?;
        Self::begin(&trusted_root, first, stored, now)
    }

    fn begin(trusted_root: &[u8], first: FirstRoot, stored: Stored, now: i64) -> Result<Self, TufError> {
        let mut this = Self {
            stored,
            now,
            root: Metadata::verify_root(trusted_root.to_vec(), None)?,
            timestamp: None,
            snapshot: None,
            targets: None,
            delegated: None,
            role: String::new(),
            search: None,
            step: Step::Done,
            n_roots: 0,
            to_persist: VecDeque::new(),
            floor: i64::MIN,
            first,
        };
        this.follow_stored()?;
        Ok(this)
    }

    /// 5.2: follows the chain of roots that were fetched before.
    pub(crate) fn follow_stored(&mut self) -> Result<(), TufError> {
        loop {
            let names = [name::versioned(self.root.version.saturating_add(1), "root"), name::stored("root")];
            let mut candidates = names.iter().filter_map(|name| self.stored.get(name));
            let Some(next) = candidates.find_map(|bytes| next_root(&self.root, bytes.clone()).ok()) else {
                return Ok(());
            };
            self.first.pass(&next)?;
            self.root = next;
        }
    }

    /// It cannot be earlier than this, in seconds since 1970: when the application was built, say. A clock that says less is raised to it,
    /// but never beyond the end of the root.
    pub fn not_before(&mut self, build_time: i64) {
        self.floor = build_time;
    }

    /// Begins to bring everything up to date that leads to `role`, a role that `targets` delegates to, or `targets`
    /// itself. What was known of roles before is forgotten.
    pub fn refresh(&mut self, role: &str) {
        role.clone_into(&mut self.role);
        self.step = Step::Root;
        self.n_roots = 0;
        self.to_persist.clear();
        (self.timestamp, self.snapshot, self.targets, self.delegated) = (None, None, None, None);
        self.search = None;
        self.to_persist.extend(self.first.begin());
    }

    /// Begins to look for the target `path`, through all delegations. At [`Action::Done`] [`Client::found`] has the answer.
    ///
    /// # Panics
    /// If no refresh has come to its end.
    pub fn find(&mut self, path: &str) {
        let is_refreshed = matches!(self.step, Step::Done | Step::Search);
        let targets = self.targets.as_ref().filter(|_| is_refreshed).expect("a refresh comes first");
        self.search = Some(Search::new(path, targets));
        self.step = Step::Search;
    }

    /// The target that [`Client::find`] looked for, or nothing where no role that may vouch for it does.
    #[must_use]
    pub fn found(&self) -> Option<&Target> {
        self.search.as_ref()?.found()
    }

    /// The path under which the repository keeps `target`, below the folder of targets, as part of a URL (5.7.3): with its hash, unless
    /// the repository has no consistent snapshots.
    #[must_use]
    pub fn url_path(&self, target: &Target) -> String {
        if self.root.body.consistent_snapshot { target.url_path() } else { name::url_path(&target.path) }
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
                Step::Search if self.search.as_ref().is_none_or(|search| search.next().is_none()) => {
                    self.step = Step::Done;
                }
                Step::Snapshot | Step::Targets | Step::Delegated | Step::Search if self.accept_stored()? => {}
                _ => {
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
    /// [`Action::Done`]. A path that another role could have the first word on is left out: [`find`](Self::find) asks that role.
    pub fn targets_of(&self, role: &str) -> impl Iterator<Item = Target> + use<> {
        let mut found = Vec::new();
        if let (Some(top), Step::Done) = (&self.targets, self.step) {
            if role == top.role {
                found.clone_from(&top.body.targets);
            } else if let Some(delegated) = self.delegated.as_ref().filter(|delegated| delegated.role == role) {
                let listed = delegated.body.targets.iter();
                found = listed.filter(|target| top.body.asks_first(&target.path, role)).cloned().collect();
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

    /// Whether the top-level targets delegate to `role`. Nothing before they are verified.
    #[must_use]
    pub fn delegates(&self, role: &str) -> bool {
        self.targets.as_ref().is_some_and(|top| top.body.delegation(role).is_some())
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
    Some((keys.ed25519(), u32::try_from(keys.threshold).ok()?))
}
