//! The agent against a signed repository: good releases become active, every kind of bad one does not, and whatever fails leaves
//! the version that serves alone.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Event, Factory, Outcome, Role},
    format::{bundle::Budget, record::Reason},
    store::Disk,
    transport::{Fetched, FolderTransport, HttpTransport, Request, Sink, Transport, TransportError},
};
use fleetfoot_trust::sha256;
use fleetfoot_update::{Config, NotTaken};
use support::{INPUT, LATE, MODEL, NOW, Release, Repository, kernels, release_keys};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };

fn config(dir: &Path, repository: &Repository) -> AgentConfig {
    let transport = Box::new(FolderTransport::new(&repository.dir));
    AgentConfig {
        limits: LIMITS,
        kernels: kernels(),
        ..AgentConfig::new(dir.join("store"), MODEL, &repository.root(), transport)
    }
}

/// One line for an outcome, to be compared with.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::UpToDate { newest: None } => "up to date".into(),
        Outcome::UpToDate { newest: Some((number, NotTaken::NotNewer { .. })) } => format!("up to date with {number}"),
        Outcome::UpToDate { newest: Some((number, NotTaken::Rejected(reason))) } => {
            format!("{number} stays rejected {}", reason.0)
        }
        Outcome::UpToDate { newest: Some((number, why)) } => format!("{number} not taken: {why:?}"),
        Outcome::Trial(version) => format!("trial {}", version.number),
        Outcome::Committed(version) => format!("committed {}", version.number),
        Outcome::Rejected { version, reason, .. } => format!("rejected {} {}", version.number, reason.0),
        Outcome::Deferred { version, reason, .. } => format!("deferred {} {}", version.number, reason.0),
        Outcome::Failed(error) => format!("failed {}", error.code()),
        other => format!("{other:?}"),
    }
}

/// Runs the version that serves and checks that it answers as `number` does.
#[track_caller]
fn serves(agent: &Agent, number: u64) {
    let serving = agent.serving().expect("a version serves");
    assert_eq!(serving.version.number, number);
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(number).output(), "the answer is that of version {number}");
}

/// Polls and, where that starts a trial, lets it end well.
#[track_caller]
fn update(agent: &mut Agent, number: u64) {
    assert_eq!(word(&agent.poll(NOW)), format!("trial {number}"));
    for _ in 0..9 {
        assert_eq!(word(&agent.record_inference(true, NOW).unwrap().unwrap()), format!("trial {number}"));
    }
    let last = agent.record_inference(true, NOW).unwrap().unwrap();
    assert_eq!(word(&last), format!("committed {number}"));
    serves(agent, number);
}

fn releases(numbers: impl IntoIterator<Item = u64>) -> Vec<Release> {
    numbers.into_iter().map(Release::new).collect()
}

#[test]
fn from_nothing_through_seven_versions_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
    assert!(agent.serving().is_none());
    assert_eq!(word(&agent.poll(NOW)), "failed 428", "a repository without a timestamp");
    for n in 1..=7 {
        repository.publish(&releases(1..=n));
        update(&mut agent, n);
        assert_eq!(word(&agent.poll(NOW)), format!("up to date with {n}"));
    }
    let versions: Vec<_> = agent.versions().into_iter().map(|(v, role)| (v.version, role)).collect();
    let kept = |n: u64, role| (format!("{n}.0.0"), role);
    let expected = [Role::Active, Role::LastGood, Role::Kept, Role::Kept, Role::Kept];
    assert_eq!(versions, (3..=7).rev().zip(expected).map(|(n, role)| kept(n, role)).collect::<Vec<_>>());
    let files = fs::read_dir(dir.path().join("store/kws/versions")).unwrap().count();
    assert_eq!(files, 5);

    // Back without any network, over a restart, and polls do not undo it.
    fs::rename(&repository.dir, dir.path().join("away")).unwrap();
    assert_eq!(agent.rollback("4.0.0").unwrap().number, 4);
    serves(&agent, 4);
    assert_eq!(word(&agent.poll(NOW)), "failed 432");
    drop(agent);
    fs::rename(dir.path().join("away"), &repository.dir).unwrap();
    let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
    serves(&agent, 4);
    assert_eq!(word(&agent.poll(NOW)), "7 stays rejected 411");
    for unknown in ["2.0.0", "9", "factory", "", "abc"] {
        assert_eq!(agent.rollback(unknown).unwrap_err().code(), 430, "{unknown}");
    }
    repository.publish(&releases(1..=8));
    update(&mut agent, 8);
}

#[test]
fn bad_releases_are_refused() {
    let budget = |p99_us, arena_bytes| Budget { p99_us, arena_bytes };
    let new = || Release::new(2);
    let rows: [(&str, Release, Reason); 8] = [
        ("one golden output differs", Release { wrong_golden: true, ..new() }, Reason::GOLDEN_MISMATCH),
        ("a budget of 1 us", Release { budget: budget(Some(1), None), ..new() }, Reason::OVER_LATENCY),
        ("a budget of 0 us", Release { budget: budget(Some(0), None), ..new() }, Reason::OVER_LATENCY),
        ("a budget of 127 bytes", Release { budget: budget(None, Some(127)), ..new() }, Reason::OVER_MEMORY),
        ("a runtime of the future", Release { min_runtime: (99, 0), ..new() }, Reason::RUNTIME_TOO_OLD),
        ("signed by somebody else", Release { forged: true, ..new() }, Reason::SIGNATURE),
        ("announced as another one", Release { announced_number: Some(3), ..new() }, Reason::METADATA),
        ("one number lower", Release { announced_number: Some(9), ..Release::new(1) }, Reason::METADATA),
    ];
    for (name, bad, reason) in rows {
        for first in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let mut repository = Repository::new(&dir.path().join("repository"));
            let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
            if !first {
                repository.publish(&releases([1]));
                update(&mut agent, 1);
            }
            let announced = bad.announced_number.unwrap_or(bad.number);
            repository.publish(std::slice::from_ref(&bad));
            assert_eq!(word(&agent.poll(NOW)), format!("rejected {announced} {}", reason.0), "{name}");
            assert_eq!(word(&agent.poll(NOW)), format!("{announced} stays rejected {}", reason.0), "{name}");
            drop(agent);
            let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
            assert_eq!(word(&agent.poll(NOW)), format!("{announced} stays rejected {}", reason.0), "{name}");
            if first {
                assert!(agent.serving().is_none(), "{name}");
            } else {
                serves(&agent, 1);
            }
            // The next release is another chance, and so is the next attempt of a bundle that is good now.
            repository.publish(&releases([11]));
            update(&mut agent, 11);
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let budget = budget(Some(10_000_000), Some(128));
    repository.publish(&[Release { budget, ..new() }]);
    update(&mut Agent::open(config(dir.path(), &repository), NOW).unwrap(), 2);
}

#[test]
fn what_fails_on_the_way_changes_nothing() {
    type Delivered = fn(&[u8]) -> Option<Vec<u8>>;
    let rows: [(&str, Delivered, &str); 5] = [
        ("missing", |_| None, "failed 428"),
        ("empty", |_| Some(Vec::new()), "failed 432"),
        ("cut short", |bytes| Some(bytes[..100_000].to_vec()), "failed 432"),
        ("longer", |bytes| Some([bytes, b"!"].concat()), "failed 432"),
        (
            "one bit",
            |bytes| Some(bytes.iter().enumerate().map(|(i, b)| b ^ u8::from(i == 5000)).collect()),
            "deferred 2 417",
        ),
    ];
    for (name, delivered, outcome) in rows {
        let dir = tempfile::tempdir().unwrap();
        let mut repository = Repository::new(&dir.path().join("repository"));
        repository.publish(&releases([1]));
        let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
        update(&mut agent, 1);
        repository.publish(&[Release { delivered, ..Release::new(2) }]);
        assert_eq!(word(&agent.poll(NOW)), outcome, "{name}");
        serves(&agent, 1);
        drop(agent);
        // The server is repaired; an hour later at the latest everything is well.
        repository.publish(&releases([2]));
        let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
        serves(&agent, 1);
        assert_eq!(word(&agent.poll(NOW + 3600)), "trial 2", "{name}");
        agent.confirm_healthy(NOW + 3600).unwrap();
        serves(&agent, 2);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&releases([1]));
    let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
    update(&mut agent, 1);
    repository.publish(&releases([2]));
    let expired = word(&agent.poll(LATE));
    assert!(expired.starts_with("failed 2"), "expired metadata: {expired}");
    serves(&agent, 1);
    drop(agent);
    let transport = Box::new(HttpTransport::new("http://127.0.0.1:1"));
    let mut agent = Agent::open(AgentConfig { transport, ..config(dir.path(), &repository) }, NOW).unwrap();
    assert_eq!(word(&agent.poll(NOW)), "failed 432", "nobody there");
    serves(&agent, 1);
}

#[test]
fn trials_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&releases([1]));
    let mut agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
    assert!(agent.record_inference(true, NOW).unwrap().is_none(), "nothing is on trial");
    update(&mut agent, 1);

    repository.publish(&releases([1, 2]));
    assert_eq!(word(&agent.poll(NOW)), "trial 2");
    assert!(agent.serving().unwrap().trial);
    serves(&agent, 2);
    let bad = agent.record_inference(false, NOW).unwrap().unwrap();
    assert_eq!(word(&bad), "rejected 2 406");
    serves(&agent, 1);

    repository.publish(&releases([1, 3]));
    assert_eq!(word(&agent.poll(NOW)), "trial 3");
    for _ in 0..5 {
        agent.record_inference(true, NOW).unwrap();
    }
    for _ in 0..5 {
        // Ended in order, again and again: no attempt is spent and the count goes on.
        agent.close(NOW).unwrap();
        agent = Agent::open(config(dir.path(), &repository), NOW).unwrap();
        serves(&agent, 3);
    }
    assert_eq!(word(&agent.poll(NOW)), "trial 3");
    for left in (0..5).rev() {
        let outcome = agent.self_check(NOW).unwrap().unwrap();
        assert_eq!(word(&outcome), if left == 0 { "committed 3" } else { "trial 3" });
    }

    repository.publish(&releases([1, 4]));
    assert_eq!(word(&agent.poll(NOW)), "trial 4");
    repository.publish(&releases([1]));
    agent.poll(NOW);
    serves(&agent, 3);
    assert_eq!(agent.record().candidate, None, "withdrawn in its trial");
}

#[test]
fn damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let factory = dir.path().join("factory.ff");
    fs::write(&factory, Release::new(1).bundle()).unwrap();
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let open = |repository: &Repository| {
        let events = events.clone();
        let on_event = move |event: &Event| events.lock().unwrap().push(event.to_string());
        let factory = Some(Factory { path: factory.clone(), keys: release_keys() });
        let config = AgentConfig { factory, on_event: Some(Box::new(on_event)), ..config(dir.path(), repository) };
        Agent::open(config, NOW).unwrap()
    };
    let mut agent = open(&repository);
    serves(&agent, 1);
    repository.publish(&releases([1]));
    assert_eq!(word(&agent.poll(NOW)), "up to date with 1", "the factory version is not installed over itself");
    for n in 2..=3 {
        repository.publish(&releases([n]));
        update(&mut agent, n);
    }
    assert_eq!(agent.rollback("factory").unwrap().number, 1);
    serves(&agent, 1);
    assert_eq!(agent.rollback("3").unwrap().number, 3);
    drop(agent);

    let path = |n: u64| {
        let sha256 = sha256(&Release::new(n).bundle());
        dir.path().join(format!("store/kws/versions/{}.ff", fleetfoot::hex(&sha256)))
    };
    let damage = |n: u64, bytes: &[u8]| {
        fs::remove_file(path(n)).unwrap();
        fs::write(path(n), bytes).unwrap();
    };
    let mut flipped = Release::new(3).bundle();
    *flipped.last_mut().unwrap() ^= 1;
    damage(3, &flipped);
    let mut agent = open(&repository);
    serves(&agent, 2);
    assert!(events.lock().unwrap().last().unwrap().contains("fell back to version 2.0.0"), "{events:?}");
    update(&mut agent, 3);
    drop(agent);

    damage(3, &flipped[..1000]);
    fs::remove_file(path(2)).unwrap();
    let agent = open(&repository);
    serves(&agent, 1);
    drop(agent);

    for slot in ["record.0", "record.1", "record.2"] {
        fs::write(dir.path().join("store/kws").join(slot), b"noise").unwrap();
    }
    events.lock().unwrap().clear();
    let mut agent = open(&repository);
    serves(&agent, 1);
    assert!(events.lock().unwrap()[0].contains("the state is damaged"));
    update(&mut agent, 3);
    drop(agent);

    let mut newer = b"FFSR\x02\x00\x03\x00new".to_vec();
    newer.extend(crc32fast::hash(&newer).to_le_bytes());
    let slot = dir.path().join("store/kws/record.0");
    fs::write(&slot, &newer).unwrap();
    let mut agent = open(&repository);
    serves(&agent, 1);
    assert_eq!(word(&agent.poll(NOW)), "failed 424");
    assert_eq!(agent.rollback("3").unwrap_err().code(), 424);
    drop(agent);
    assert_eq!(fs::read(slot).unwrap(), newer, "a newer runtime's state is left alone");

    // A factory file that somebody replaced is not served.
    fs::write(&factory, Release { forged: true, ..Release::new(1) }.bundle()).unwrap();
    assert!(open(&repository).serving().is_none());
}

/// A disk with so many bytes left for files to grow.
#[derive(Debug)]
struct SmallDisk(AtomicU64);

impl Disk for SmallDisk {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        let growth = (file.stream_position()? + bytes.len() as u64).saturating_sub(file.metadata()?.len());
        let left = self.0.load(Ordering::Relaxed);
        self.0.store(left.saturating_sub(growth), Ordering::Relaxed);
        let fits = bytes.len() as u64 - growth.saturating_sub(left);
        file.write_all(&bytes[..fits as usize])?;
        if growth > left { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

#[test]
fn a_full_disk_puts_the_update_off() {
    for room in [0, 1_000, 3_000, 50_000, 190_000] {
        let dir = tempfile::tempdir().unwrap();
        let mut repository = Repository::new(&dir.path().join("repository"));
        repository.publish(&releases([1]));
        let disk = Arc::new(SmallDisk(AtomicU64::new(u64::MAX)));
        let config = AgentConfig { disk: disk.clone(), ..config(dir.path(), &repository) };
        let mut agent = Agent::open(config, NOW).unwrap();
        update(&mut agent, 1);
        repository.publish(&releases([2]));
        disk.0.store(room, Ordering::Relaxed);
        let outcome = agent.poll(NOW);
        match &outcome {
            Outcome::Deferred { reason: Reason::DISK_FULL, error: Some(error), .. } => assert!(error.is_disk_full()),
            // Not even the metadata fits.
            Outcome::Failed(error) => assert!(error.is_disk_full(), "{error}"),
            other => panic!("room {room}: {other:?}"),
        }
        serves(&agent, 1);
        disk.0.store(u64::MAX, Ordering::Relaxed);
        assert_eq!(word(&agent.poll(NOW + 600)), "trial 2", "room {room}");
    }
}

/// A disk that stores nothing any more once it is broken.
#[derive(Debug, Default)]
struct BrokenDisk(AtomicU64);

impl Disk for BrokenDisk {
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) == 0 { file.write_all(bytes) } else { Err(io::Error::other("broken")) }
    }
}

#[test]
fn a_disk_that_stores_nothing_still_serves() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let factory = dir.path().join("factory.ff");
    fs::write(&factory, Release::new(1).bundle()).unwrap();
    let open = |repository: &Repository, broken| {
        let factory = Some(Factory { path: factory.clone(), keys: release_keys() });
        let disk = Arc::new(BrokenDisk(AtomicU64::new(broken)));
        Agent::open(AgentConfig { factory, disk, ..config(dir.path(), repository) }, NOW).unwrap()
    };
    // Nothing was ever stored, and nothing can be.
    serves(&open(&repository, 1), 1);
    let mut agent = open(&repository, 0);
    for n in 2..=3 {
        repository.publish(&releases([n]));
        update(&mut agent, n);
    }
    // A trial whose attempt cannot be made durable does not go on.
    repository.publish(&releases([4]));
    assert_eq!(word(&agent.poll(NOW)), "trial 4");
    drop(agent);
    serves(&open(&repository, 1), 3);
    // Bundles that are gone, one after another.
    for (n, then) in [(3, 2), (2, 1)] {
        let sha256 = sha256(&Release::new(n).bundle());
        fs::remove_file(dir.path().join(format!("store/kws/versions/{}.ff", fleetfoot::hex(&sha256)))).unwrap();
        let mut agent = open(&repository, 1);
        serves(&agent, then);
        assert!(matches!(agent.poll(NOW), Outcome::Failed(_)));
        serves(&agent, then);
    }
    serves(&open(&repository, 0), 4);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_a_folder_is_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("timestamp.json");
    if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mkfifo here");
        return;
    }
    let request = Request { path: "timestamp.json", offset: 0, max_len: 100, etag: None };
    let found = FolderTransport::new(dir.path()).fetch(&request, &mut |_| Ok(()));
    assert_eq!(found.unwrap(), Fetched::Missing);
}

#[test]
fn two_agents_do_not_share_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new(&dir.path().join("repository"));
    let _first = Agent::open(config(dir.path(), &repository), NOW).unwrap();
    assert_eq!(Agent::open(config(dir.path(), &repository), NOW).unwrap_err().code(), 423);
}

/// A transport that notes what it is asked for and tags files by their content, as web servers do.
struct Watch {
    folder: FolderTransport,
    root: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[derive(Clone, Debug)]
struct Seen {
    path: String,
    max_len: u64,
    not_modified: bool,
}

impl Transport for Watch {
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let tag = fs::read(self.root.join(request.path)).ok().map(|bytes| fleetfoot::hex(&sha256(&bytes)));
        let not_modified = request.etag.is_some() && request.etag == tag.as_deref();
        self.seen.lock().unwrap().push(Seen { path: request.path.into(), max_len: request.max_len, not_modified });
        if not_modified {
            return Ok(Fetched::NotModified);
        }
        match self.folder.fetch(request, sink)? {
            Fetched::Body { len, .. } => Ok(Fetched::Body { len, etag: tag }),
            other => Ok(other),
        }
    }
}

#[test]
fn fetches_are_bounded_and_few() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&releases([1]));
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let (folder, root) = (FolderTransport::new(&repository.dir), repository.dir.clone());
    let transport = Box::new(Watch { folder, root, seen: seen.clone() });
    let mut agent = Agent::open(AgentConfig { transport, ..config(dir.path(), &repository) }, NOW).unwrap();
    update(&mut agent, 1);
    let bundle_len = Release::new(1).bundle().len() as u64;
    for Seen { path, max_len, .. } in seen.lock().unwrap().iter() {
        let limit = if path.ends_with(".ff") { bundle_len } else { 16 << 20 };
        assert!(*max_len <= limit, "{path}: {max_len}");
    }
    let asked =
        || std::mem::take(&mut *seen.lock().unwrap()).into_iter().map(|s| (s.path, s.not_modified)).collect::<Vec<_>>();
    assert_eq!(asked().len(), 6, "root, timestamp, snapshot, targets, releases, bundle");
    assert_eq!(word(&agent.poll(NOW)), "up to date with 1");
    let quiet = [("metadata/2.root.json".to_owned(), false), ("metadata/timestamp.json".to_owned(), true)];
    assert_eq!(asked(), quiet, "where nothing changed, nothing is transferred");
    repository.publish(&releases([2]));
    assert_eq!(word(&agent.poll(NOW)), "trial 2");
    assert!(asked().iter().all(|(_, not_modified)| !not_modified));
}

/// What waits for network, power or the time of day says so, costs no attempt, and is taken up at its time.
#[test]
fn an_update_waits_for_its_conditions() {
    use fleetfoot::conditions::{Jitter, Situation, UpdatePolicy, Window};

    const HOUR: i64 = 3600;
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&releases([1]));
    let midnight = NOW - NOW % (24 * HOUR);
    let situation = Arc::new(Mutex::new(Situation::default()));
    let asked = Arc::clone(&situation);
    let config = || AgentConfig {
        policy: UpdatePolicy {
            unmetered: true,
            charging: true,
            window: Window::parse("01:00-05:00"),
            max_bytes: Some(100_000),
            apply_jitter_s: 1800,
        },
        conditions: Some(Box::new({
            let asked = Arc::clone(&asked);
            move |now: i64| Situation { local_minute: Some((now % (24 * HOUR) / 60) as u16), ..*asked.lock().unwrap() }
        })),
        jitter: Some(Jitter::new([7; 16])),
        ..config(dir.path(), &repository)
    };
    let mut agent = Agent::open(config(), midnight).unwrap();
    let retry = |outcome: &Outcome| match outcome {
        Outcome::Deferred { retry_at, .. } => *retry_at,
        other => panic!("{other:?}"),
    };
    // Too long for this device: not fetched at all.
    let outcome = agent.poll(midnight + 2 * HOUR);
    assert_eq!(word(&outcome), "deferred 1 483");
    drop(agent);

    let mut config = config();
    config.policy.max_bytes = None;
    let mut agent = Agent::open(config, midnight + 48 * HOUR).unwrap();
    let night = midnight + 48 * HOUR;
    *situation.lock().unwrap() = Situation { unmetered: Some(false), charging: Some(false), local_minute: None };
    let outcome = agent.poll(night + 2 * HOUR);
    assert_eq!(word(&outcome), "deferred 1 480");
    assert_eq!(word(&agent.poll(night + 2 * HOUR + 60)), "deferred 1 480", "before its time nothing is asked");
    *situation.lock().unwrap() = Situation { unmetered: Some(true), charging: Some(false), local_minute: None };
    let outcome = agent.poll(retry(&outcome));
    assert_eq!(word(&outcome), "deferred 1 481", "it is fetched; power is missing");
    assert_eq!(agent.record().candidate.unwrap().attempts_left, 2, "no attempt is spent on waiting");
    *situation.lock().unwrap() = Situation { unmetered: Some(false), charging: Some(true), local_minute: None };
    let outcome = agent.poll(night + 6 * HOUR);
    assert_eq!(word(&outcome), "deferred 1 482", "the hours are over");
    let next = retry(&outcome);
    assert!((night + 25 * HOUR..night + 27 * HOUR).contains(&next), "in the first half of the next ones: {next}");
    assert_eq!(word(&agent.poll(next)), "trial 1", "what it has is enough: no network is needed");
    serves(&agent, 1);

    // A fresh bundle waits for its turn, which is the same each time it is computed.
    drop(agent);
    repository.publish(&releases([1, 2]));
    let mut agent = Agent::open(
        AgentConfig {
            policy: UpdatePolicy { apply_jitter_s: 1800, ..UpdatePolicy::default() },
            jitter: Some(Jitter::new([7; 16])),
            ..super_config(dir.path(), &repository)
        },
        NOW,
    )
    .unwrap();
    for _ in 0..10 {
        agent.record_inference(true, NOW).unwrap();
    }
    let outcome = agent.poll(NOW);
    assert_eq!(word(&outcome), "deferred 2 484");
    let sha256 = sha256(&Release::new(2).bundle());
    assert_eq!(retry(&outcome), NOW + i64::from(Jitter::new([7; 16]).apply_s(&sha256, 1800)));
    assert_eq!(word(&agent.poll(retry(&outcome))), "trial 2");
}

fn super_config(dir: &Path, repository: &Repository) -> AgentConfig {
    config(dir, repository)
}
