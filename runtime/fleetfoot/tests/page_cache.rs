//! A whole life of updates on a disk with a page cache: the power may fail before, in and after every single thing that is written, and what
//! was not synced may be there, in part, out of order, or not at all.
//!
//! ```text
//! a life          good, wrong goldens, good, back, good, fails in its trial; every operation of the disk is noted
//! at each one     the states that a power cut may leave:  contents of each file that was not synced  x  subsets of names that were not synced
//! each state      becomes a folder; a device opens it, serves, and lives on to the newest good version
//! ```
//! What must hold in every one of them: a version serves and answers rightly; it is the one from before or from after what was going on; every
//! version that is kept is there, whole; what was rejected stays rejected; nothing is kept twice and nothing is left over in the end.
#![cfg(unix)]
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Factory, Outcome},
    format::record::{MAX_RECORD_LEN, Record},
    store::{Disk, Loaded, OsDisk, Store},
    transport::FolderTransport,
};
use fleetfoot_trust::sha256;
use fleetfoot_update::Config;
use support::{INPUT, MODEL, NOW, Release, Repository, kernels, release_keys};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 2, health_window_s: 0, slots: 3, checkpoint: 1, ..Config::DEFAULT };
/// The newest good one at the end of a life.
const LAST: u64 = 7;

fn release(number: u64) -> Release {
    let wrong_golden = number == 3;
    Release { filler_len: 64, wrong_golden, ..Release::new(number) }
}

/// What happens to a file or a name.
#[derive(Clone, Debug)]
enum Op {
    Create {
        path: PathBuf,
        file: u64,
    },
    SetLen {
        file: u64,
        len: usize,
    },
    Write {
        file: u64,
        offset: usize,
        bytes: Vec<u8>,
    },
    Sync {
        file: u64,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Remove {
        path: PathBuf,
    },
    SyncFolder {
        folder: PathBuf,
    },
    /// A call of the device came to its end; what it must not forget from here on.
    Mark(Known),
}

/// What the device has promised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    active: u64,
    rejected: BTreeSet<[u8; 32]>,
}

/// Writes through to a folder and notes everything. Does not wait: what lasts is decided by the note.
#[derive(Debug, Default)]
struct Recorder {
    root: PathBuf,
    log: Mutex<Vec<Op>>,
    /// Our number of the file with this inode. Inodes come again, numbers do not.
    numbers: Mutex<BTreeMap<u64, u64>>,
}

impl Recorder {
    fn note(&self, op: Op) {
        self.log.lock().unwrap().push(op);
    }

    /// Nothing for files that the store did not make: the journal of predictions has a format that survives by itself.
    fn number(&self, file: &File) -> Option<u64> {
        self.numbers.lock().unwrap().get(&file.metadata().unwrap().ino()).copied()
    }

    fn short(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().into()
    }
}

impl Disk for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        let new = !path.exists();
        let file = OsDisk.create(path)?;
        if new {
            let mut numbers = self.numbers.lock().unwrap();
            let number = self.log.lock().unwrap().len() as u64;
            numbers.insert(file.metadata()?.ino(), number);
            self.note(Op::Create { path: self.short(path), file: number });
        }
        Ok(file)
    }

    fn set_len(&self, file: &File, len: u64) -> io::Result<()> {
        if let Some(number) = self.number(file) {
            self.note(Op::SetLen { file: number, len: len as usize });
        }
        file.set_len(len)
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let offset = file.stream_position()? as usize;
        if let Some(number) = self.number(file) {
            self.note(Op::Write { file: number, offset, bytes: bytes.to_vec() });
        }
        file.write_all(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        if let Some(number) = self.number(file) {
            self.note(Op::Sync { file: number });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Op::Rename { from: self.short(from), to: self.short(to) });
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.note(Op::SyncFolder { folder: self.short(folder) });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)?;
        self.note(Op::Remove { path: self.short(path) });
        Ok(())
    }
}

/// A name that comes or goes.
#[derive(Clone, Debug)]
enum Name {
    Is(PathBuf, u64),
    Gone(PathBuf),
    /// In one folder, a rename is one step.
    Moved(PathBuf, PathBuf, u64),
}

impl Name {
    fn folder(&self) -> &Path {
        let (Self::Is(path, _) | Self::Gone(path) | Self::Moved(path, ..)) = self;
        path.parent().unwrap()
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        match self {
            Self::Is(path, file) => drop(names.insert(path.clone(), *file)),
            Self::Gone(path) => drop(names.remove(path)),
            Self::Moved(from, to, file) => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

/// What is on the plates, and what is only in the cache.
#[derive(Clone, Debug, Default)]
struct Cache {
    contents: BTreeMap<u64, Vec<u8>>,
    unsynced: BTreeMap<u64, Vec<Op>>,
    names: BTreeMap<PathBuf, u64>,
    /// As the running system sees them.
    seen: BTreeMap<PathBuf, u64>,
    pending: Vec<Name>,
}

impl Cache {
    fn take(&mut self, op: &Op) {
        let name = |cache: &mut Self, name: Name| {
            name.apply(&mut cache.seen);
            cache.pending.push(name);
        };
        match op {
            Op::Create { path, file } => {
                self.contents.insert(*file, Vec::new());
                name(self, Name::Is(path.clone(), *file));
            }
            Op::SetLen { file, .. } | Op::Write { file, .. } => {
                self.unsynced.entry(*file).or_default().push(op.clone());
            }
            Op::Sync { file } => {
                for op in self.unsynced.remove(file).unwrap_or_default() {
                    change(self.contents.get_mut(file).unwrap(), &op, usize::MAX);
                }
            }
            Op::Rename { from, to } => {
                let file = self.seen[from];
                if from.parent() == to.parent() {
                    name(self, Name::Moved(from.clone(), to.clone(), file));
                } else {
                    name(self, Name::Is(to.clone(), file));
                    name(self, Name::Gone(from.clone()));
                }
            }
            Op::Remove { path } => name(self, Name::Gone(path.clone())),
            Op::SyncFolder { folder } => {
                for name in self.pending.extract_if(.., |name| name.folder() == folder) {
                    name.apply(&mut self.names);
                }
            }
            Op::Mark(_) => {}
        }
    }

    /// Every state that a power cut may leave here.
    fn states(&self) -> Vec<State> {
        let subsets: Vec<u32> = match self.pending.len() {
            n @ 0..=4 => (0..1 << n).collect(),
            // None, all, each alone, each missing, each beginning.
            n => {
                let all = (1u32 << n) - 1;
                let each = (0..n).flat_map(|i| [1 << i, all & !(1 << i), (1 << i) - 1]);
                [0, all].into_iter().chain(each).collect()
            }
        };
        let mut states = Vec::new();
        for subset in subsets {
            let mut names = self.names.clone();
            for (i, name) in self.pending.iter().enumerate() {
                if subset >> i & 1 == 1 {
                    name.apply(&mut names);
                }
            }
            // One file after another in every variant, the others as they are in the cache, then all of them as they are on the plates.
            let cached = |file: &u64| self.variants(*file).swap_remove(1);
            let base: State = names.iter().map(|(path, file)| (path.clone(), cached(file))).collect();
            states.push(names.iter().map(|(path, file)| (path.clone(), self.contents[file].clone())).collect());
            for (path, file) in &names {
                for content in self.variants(*file) {
                    states.push(base.clone().with(path, content));
                }
            }
        }
        states
    }

    /// What a file may hold: as it was, as it should be, and torn.
    fn variants(&self, file: u64) -> Vec<Vec<u8>> {
        let old = &self.contents[&file];
        let Some(ops) = self.unsynced.get(&file) else { return vec![old.clone(), old.clone()] };
        let with = |ops: &[Op], last: usize| {
            let mut content = old.clone();
            for (i, op) in ops.iter().enumerate() {
                change(&mut content, op, if i + 1 == ops.len() { last } else { usize::MAX });
            }
            content
        };
        let new = with(ops, usize::MAX);
        let mut all = vec![old.clone(), new.clone()];
        all.extend([0, 1, 7, 30, 100].map(|torn| with(ops, torn)));
        all.extend((1..ops.len()).map(|n| with(&ops[..n], usize::MAX)));
        // Out of order: the last write alone. And a file that has its length, and nothing in it.
        all.push(with(&ops[ops.len() - 1..], usize::MAX));
        all.push(vec![0; new.len()]);
        all
    }
}

fn change(content: &mut Vec<u8>, op: &Op, torn: usize) {
    match op {
        Op::SetLen { len, .. } => content.resize(*len, 0),
        Op::Write { offset, bytes, .. } => {
            let bytes = &bytes[..bytes.len().min(torn)];
            if content.len() < offset + bytes.len() {
                content.resize(offset + bytes.len(), 0);
            }
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        _ => {}
    }
}

/// Files by their paths.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct State(BTreeMap<PathBuf, Vec<u8>>);

impl FromIterator<(PathBuf, Vec<u8>)> for State {
    fn from_iter<I: IntoIterator<Item = (PathBuf, Vec<u8>)>>(files: I) -> Self {
        Self(files.into_iter().collect())
    }
}

impl State {
    fn with(mut self, path: &Path, content: Vec<u8>) -> Self {
        self.0.insert(path.into(), content);
        self
    }

    fn write(&self, root: &Path) {
        for (path, content) in &self.0 {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
}

/// Neither waits nor notes.
#[derive(Debug)]
struct Fast;

impl Disk for Fast {
    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

fn config(dir: &Path, store: &Path, disk: Arc<dyn Disk>) -> AgentConfig {
    let transport = Box::new(FolderTransport::new(dir.join("repository")));
    let root = fs::read(dir.join("repository/metadata/1.root.json")).unwrap();
    let factory = Some(Factory { path: dir.join("factory.ff"), keys: release_keys() });
    let config = AgentConfig::new(store, MODEL, &root, transport);
    AgentConfig { limits: LIMITS, kernels: kernels(), factory, disk, ..config }
}

/// What serves answers rightly. Returns its number.
#[track_caller]
fn serving(agent: &Agent, what: &str) -> u64 {
    let serving = agent.serving().unwrap_or_else(|| panic!("nothing serves: {what}"));
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(serving.version.number).output(), "{what}");
    serving.version.number
}

/// One poll, and a trial to its end, good or bad. Errors are for those who want them.
fn live(agent: &mut Agent, now: i64) -> Option<Outcome> {
    let mut last = Some(agent.poll(now));
    while let Some(Outcome::Trial(version)) = &last {
        last = agent.record_inference(version.number != 6, now).ok().flatten();
    }
    last
}

fn known(agent: &Agent) -> Known {
    let record = agent.record();
    Known {
        active: record.active().map_or(0, |version| version.number),
        rejected: record.rejected.iter().map(|r| r.sha256).collect(),
    }
}

/// A life: good, wrong goldens, good, back, good, fails in its trial, good. `then` is called after each piece of it.
fn life(dir: &Path, agent: &mut Agent, mut then: impl FnMut(&mut Agent, u64)) {
    let mut repository = Repository::new(&dir.join("repository"));
    for number in 2..=LAST {
        let releases: Vec<Release> = (2..=number).map(release).collect();
        repository.publish(&releases);
        live(agent, NOW);
        then(agent, number);
        if number == 4 {
            agent.rollback("2").unwrap();
            then(agent, number);
        }
    }
}

fn world() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("factory.ff"), release(1).bundle()).unwrap();
    Repository::new(&dir.path().join("repository"));
    // The key of the device is made once, before its life begins.
    fs::create_dir_all(dir.path().join("store")).unwrap();
    fs::write(dir.path().join("store/.device-key"), [7; 16]).unwrap();
    dir
}

/// The life, noted.
fn recorded(dir: &Path) -> Vec<Op> {
    let store = dir.join("store");
    let recorder = Arc::new(Recorder { root: store.clone(), ..Recorder::default() });
    let mut agent = Agent::open(config(dir, &store, recorder.clone()), NOW).unwrap();
    let mark = |agent: &Agent| recorder.note(Op::Mark(known(agent)));
    mark(&agent);
    let mut served = Vec::new();
    life(dir, &mut agent, |agent, _| {
        mark(agent);
        served.push(serving(agent, "in the life"));
    });
    assert_eq!(served, [2, 2, 4, 2, 5, 5, 7]);
    drop(agent);
    mem_take(&recorder.log)
}

fn mem_take(log: &Mutex<Vec<Op>>) -> Vec<Op> {
    std::mem::take(&mut *log.lock().unwrap())
}

/// A device opens what is left, and lives on.
fn comes_back(dir: &Path, state: &State, before: &Known, after: &Known, what: &str) {
    let folder = tempfile::tempdir_in(dir).unwrap();
    state.write(folder.path());
    let mut agent = Agent::open(config(dir, folder.path(), Arc::new(Fast)), NOW).unwrap();
    let serves = serving(&agent, what);
    let trial = agent.serving().unwrap().trial;
    let now = known(&agent);
    assert!(trial || [before.active, after.active].contains(&serves), "{what}: {serves} serves, {before:?} {after:?}");
    assert!(before.rejected.intersection(&after.rejected).all(|r| now.rejected.contains(r)), "{what}: {now:?}");
    whole(&agent, folder.path(), what);

    for round in 0..6 {
        live(&mut agent, NOW + round * 4000);
        whole(&agent, folder.path(), what);
        if known(&agent).active == LAST {
            break;
        }
    }
    assert_eq!((serving(&agent, what), known(&agent).active), (LAST, LAST), "{what}");
    let names = |name: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(folder.path().join(MODEL).join(name)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let kept = agent.record().kept.iter().map(|v| format!("{}.ff", fleetfoot::hex(&v.sha256))).collect();
    assert_eq!((names("versions"), names("partial")), (kept, BTreeSet::new()), "{what}: nothing is left over");
}

/// Every version that is kept is there as it should be, and none twice.
fn whole(agent: &Agent, store: &Path, what: &str) {
    let record: &Record = agent.record();
    let hashes: BTreeSet<_> = record.kept.iter().map(|version| version.sha256).collect();
    assert_eq!(hashes.len(), record.kept.len(), "{what}: {record:?}");
    for version in &record.kept {
        let path = store.join(MODEL).join(format!("versions/{}.ff", fleetfoot::hex(&version.sha256)));
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{what}: version {}: {error}", version.number));
        assert_eq!(sha256(&found), version.sha256, "{what}: version {}", version.number);
    }
}

#[test]
fn every_state_that_a_power_cut_may_leave() {
    let dir = world();
    let log = recorded(dir.path());
    let marks: Vec<(usize, Known)> = log
        .iter()
        .enumerate()
        .filter_map(|(i, op)| if let Op::Mark(known) = op { Some((i, known.clone())) } else { None })
        .collect();
    let (mut cache, mut all, mut distinct) = (Cache::default(), 0, HashSet::new());
    let mut work = Vec::new();
    for (at, op) in log.iter().enumerate() {
        cache.take(op);
        let before = marks.iter().rev().find(|(i, _)| *i <= at).map(|(_, known)| known.clone());
        let after = marks.iter().find(|(i, _)| *i > at).map_or(before.clone(), |(_, known)| Some(known.clone()));
        // The first thing that a device does is to note its factory version, which serves from the start.
        let first = Known { active: 1, rejected: BTreeSet::new() };
        let (before, after) = (before.unwrap_or_else(|| first.clone()), after.unwrap_or(first));
        for state in cache.states() {
            all += 1;
            if distinct.insert((state.clone(), before.active, after.active)) {
                work.push((at, state, before.clone(), after.clone()));
            }
        }
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((at, state, before, after)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    comes_back(dir.path(), state, before, after, &format!("operation {at}, {:?}", log[*at]));
                }
            });
        }
    });
    println!("{} operations, {all} states after a power cut, {} of them distinct", log.len(), work.len());
    assert!(log.len() > 150 && work.len() > 500, "{} {}", log.len(), work.len());
}

/// Every record that the life writes, torn after each of its bytes: the old one or the new one is loaded.
#[test]
fn every_torn_prefix_of_every_record() {
    let dir = world();
    let log = recorded(dir.path());
    let (mut cache, mut torn) = (Cache::default(), 0);
    for op in &log {
        let slot = match op {
            Op::Write { file, .. } => cache.seen.iter().find(|(path, number)| *number == file && is_slot(path)),
            _ => None,
        };
        if let (Some((slot, file)), Op::Write { bytes, .. }) = (slot, op) {
            let folder = tempfile::tempdir_in(dir.path()).unwrap();
            let store = Store::open(folder.path(), Arc::new(Fast)).unwrap();
            let mut models = store.model(MODEL).unwrap();
            let slots = cache.seen.iter().filter(|(path, _)| is_slot(path));
            slots
                .map(|(path, file)| (path.clone(), cache.contents[file].clone()))
                .collect::<State>()
                .write(folder.path());
            let seq = |loaded: Loaded| match loaded {
                Loaded::Record(record) => record.seq,
                Loaded::Fresh | Loaded::Lost | Loaded::Restored(_) => 0,
                Loaded::Newer { version } => panic!("a record of version {version}"),
            };
            let (old, new) = (seq(models.load().unwrap()), Record::decode(bytes).unwrap());
            // A third copy has no number of its own: whatever is left of it, the record is what it was.
            let newest = if new.seq == 0 { old } else { new.seq };
            let used = new.encode(&mut [0; MAX_RECORD_LEN]).unwrap();
            let whole = &cache.contents[file];
            for k in 0..=used + 1 {
                let mut content = whole.clone();
                content.resize(MAX_RECORD_LEN.max(k), 0);
                content[..k].copy_from_slice(&bytes[..k]);
                fs::write(folder.path().join(slot), &content).unwrap();
                let found = seq(models.load().unwrap());
                assert!(found == old || found == newest, "{slot:?} after {k} bytes: {found}, not {old} or {newest}");
                torn += 1;
            }
        }
        cache.take(op);
    }
    println!("{torn} torn records");
    assert!(torn > 3000, "{torn}");
}

fn is_slot(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("record."))
}

/// A disk that is full at one write, or from one write on until there is room again.
#[derive(Debug, Default)]
struct Full {
    at: u64,
    stays: bool,
    count: AtomicU64,
    /// What it says of its room.
    tells: bool,
    room_again: AtomicU64,
}

impl Full {
    fn is_full(&self) -> bool {
        let now = self.count.fetch_add(1, Ordering::Relaxed);
        self.room_again.load(Ordering::Relaxed) == 0 && (now == self.at || self.stays && now > self.at)
    }
}

impl Disk for Full {
    fn create(&self, path: &Path) -> io::Result<File> {
        // A file that is there takes no room when it is opened.
        if !path.exists() && self.is_full() { Err(io::ErrorKind::StorageFull.into()) } else { OsDisk.create(path) }
    }

    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let end = file.stream_position()? + bytes.len() as u64;
        if end > file.metadata()?.len() && self.is_full() {
            file.write_all(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        file.write_all(bytes)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        if self.is_full() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn free_bytes(&self, _: &Path) -> Option<u64> {
        let full =
            self.stays && self.count.load(Ordering::Relaxed) > self.at && self.room_again.load(Ordering::Relaxed) == 0;
        self.tells.then_some(if full { 0 } else { 1 << 30 })
    }
}

/// The disk is full at every write of a life, once or for good; when there is room again, the device goes on without a wait where it can tell.
#[test]
fn full_at_every_write() {
    let (lives, fulls) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for (stays, tells) in [(false, false), (true, true)] {
            let (lives, fulls) = (&lives, &fulls);
            scope.spawn(move || {
                for at in 0.. {
                    let dir = world();
                    let disk = Arc::new(Full { at, stays, tells, ..Full::default() });
                    let store = dir.path().join("store");
                    let mut agent = Agent::open(config(dir.path(), &store, disk.clone()), NOW).unwrap();
                    let what = format!("full at write {at}, stays {stays}");
                    let mut repository = Repository::new(&dir.path().join("repository"));
                    for number in [2, 3, 4, 6, LAST] {
                        repository.publish(&(2..=number).map(release).collect::<Vec<_>>());
                        let was = known(&agent);
                        live(&mut agent, NOW);
                        serving(&agent, &what);
                        assert!(was.rejected.is_subset(&known(&agent).rejected), "{what}");
                        whole(&agent, &store, &what);
                    }
                    let done = disk.count.load(Ordering::Relaxed) <= at;
                    disk.room_again.store(1, Ordering::Relaxed);
                    // Where the device can tell that there is room, no time has to pass.
                    let later = if tells { 0 } else { 4000 };
                    for round in 1..=3 {
                        live(&mut agent, NOW + later * round);
                    }
                    assert_eq!(
                        (serving(&agent, &what), known(&agent).active),
                        (LAST, LAST),
                        "{what}: {:?}",
                        agent.record()
                    );
                    drop(agent);
                    let agent = Agent::open(config(dir.path(), &store, Arc::new(Fast)), NOW).unwrap();
                    assert_eq!(known(&agent).active, LAST, "{what}");
                    whole(&agent, &store, &what);
                    lives.fetch_add(1, Ordering::Relaxed);
                    if done {
                        break;
                    }
                    fulls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    println!("{lives:?} lives, in {fulls:?} of them the disk was full at one write or from it on");
    assert!(fulls.load(Ordering::Relaxed) > 60, "{fulls:?}");
}
