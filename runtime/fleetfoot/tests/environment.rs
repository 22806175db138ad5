//! A device whose system, processor or runtime changed: what serves proves itself again before it is trusted, and where it does not, the
//! version from before takes over. And files that the system refuses for the moment.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Event, Factory},
    transport::FolderTransport,
    watchdog::Watchdog,
};
use fleetfoot_trust::sha256;
use fleetfoot_update::Config;
use support::{INPUT, MODEL, NOW, Release, Repository, kernels, release_keys};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };

/// A device with a factory version 1, and a log of what it says.
struct Device {
    dir: tempfile::TempDir,
    repository: Repository,
    said: Arc<Mutex<Vec<String>>>,
}

impl Device {
    /// With versions 2 and 3 committed in the environment `old`.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut repository = Repository::new(&dir.path().join("repository"));
        fs::write(dir.path().join("factory.ff"), Release::new(1).bundle()).unwrap();
        for number in 2..=3 {
            repository.publish(&[Release::new(number)]);
            let mut agent = Agent::open(config(dir.path(), "old"), NOW).unwrap();
            agent.poll(NOW);
            agent.confirm_healthy(NOW).unwrap();
            serves(&agent, number);
        }
        Self { dir, repository, said: Arc::default() }
    }

    fn open(&self, environment: &str, at: Option<fn(&str)>) -> Agent {
        self.said.lock().unwrap().clear();
        let said = Arc::clone(&self.said);
        let on_event = Box::new(move |event: &Event| said.lock().unwrap().push(event.to_string()));
        let config = AgentConfig { at, on_event: Some(on_event), ..config(self.dir.path(), environment) };
        Agent::open(config, NOW).unwrap()
    }

    fn said(&self, words: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    fn path(&self, number: u64) -> PathBuf {
        let hash = fleetfoot::hex(&sha256(&Release::new(number).bundle()));
        self.dir.path().join(format!("store/kws/versions/{hash}.ff"))
    }
}

fn config(dir: &Path, environment: &str) -> AgentConfig {
    let repository = Repository::new(&dir.join("repository"));
    let transport = Box::new(FolderTransport::new(&repository.dir));
    let factory = Some(Factory { path: dir.join("factory.ff"), keys: release_keys() });
    let config = AgentConfig::new(dir.join("store"), MODEL, &repository.root(), transport);
    AgentConfig { limits: LIMITS, kernels: kernels(), factory, environment: environment.into(), ..config }
}

#[track_caller]
fn serves(agent: &Agent, number: u64) {
    let serving = agent.serving().expect("a version serves");
    assert_eq!(serving.version.number, number);
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(number).output());
}

const PROVED: &str = "answers rightly here";

#[test]
fn goldens_run_again_only_where_something_changed() {
    let device = Device::new();
    for (environment, proofs) in [("old", 0), ("new", 1), ("new", 0), ("old", 1), ("old", 0)] {
        let start = Instant::now();
        serves(&device.open(environment, None), 3);
        println!("{environment}: {proofs} proofs, opened in {:?}", start.elapsed());
        assert_eq!(device.said(PROVED), proofs, "{environment}");
    }
    // A fallback was never seen in the new environment: it is proved when it takes over.
    let mut agent = device.open("new", None);
    assert_eq!(device.said(PROVED), 1);
    agent.rollback("2").unwrap();
    serves(&agent, 2);
    assert_eq!(device.said(PROVED), 2);
    drop(agent);
    // Without the file, or with a damaged one, it is proved once more.
    let file = device.dir.path().join("store/kws/admitted");
    for damage in [None, Some(&b"noise"[..])] {
        match damage {
            None => fs::remove_file(&file).unwrap(),
            Some(bytes) => fs::write(&file, bytes).unwrap(),
        }
        serves(&device.open("new", None), 2);
        assert_eq!(device.said(PROVED), 1);
        serves(&device.open("new", None), 2);
        assert_eq!(device.said(PROVED), 0);
    }
}

/// What a live handle may fall back to at once has to answer rightly here, too: it proves that at the first tick, and once.
#[test]
fn a_watched_fallback_is_proved_before_it_may_take_over() {
    let device = Device::new();
    let mut agent = device.open("new", None);
    serves(&agent, 3);
    assert_eq!(device.said(PROVED), 1, "opening does not wait for it");
    for _ in 0..3 {
        agent.tick(NOW).unwrap();
        assert_eq!(device.said(PROVED), 2);
    }
    serves(&agent, 3);
}

/// A bundle whose golden output this device does not give: as if an update of the system had broken a kernel.
fn answers_wrongly(number: u64) -> Release {
    Release { wrong_golden: true, ..Release::new(number) }
}

#[test]
fn what_answers_wrongly_after_a_change_gives_way() {
    // Version 4 becomes active by the word of its announcement: its golden cases are wrong, so it can only have been admitted elsewhere.
    let device = Device::new();
    let bundle = answers_wrongly(4).bundle();
    let bad = fleetfoot::format::record::Version {
        sha256: sha256(&bundle),
        number: 4,
        len: bundle.len() as u64,
        attempt: 1,
        epoch: 0,
    };
    let store =
        fleetfoot::store::Store::open(&device.dir.path().join("store"), Arc::new(fleetfoot::store::OsDisk)).unwrap();
    let mut models = store.model(MODEL).unwrap();
    let fleetfoot::store::Loaded::Record(mut record) = models.load().unwrap() else { panic!("a record") };
    let before = record.active;
    record.kept.insert(0, bad).unwrap();
    (record.seq, record.active, record.last_good) = (record.seq + 1, Some(bad.sha256), before);
    models.save(&record).unwrap();
    fs::write(models.version_path(&bad.sha256), &bundle).unwrap();
    drop(models);

    let mut agent = device.open("old", None);
    serves(&agent, 3);
    assert_eq!(device.said("fell back to version 3.0.0"), 1, "{:?}", device.said);
    assert_eq!(agent.record().rejected.iter().map(|r| r.reason.0).collect::<Vec<_>>(), [401]);
    // It is not fetched again, however often it is offered.
    let mut repository = Repository::new(&device.repository.dir);
    for _ in 0..4 {
        repository.publish(&[Release::new(3), answers_wrongly(4)]);
    }
    assert!(format!("{:?}", agent.poll(NOW)).contains("Rejected(Reason(401))"));
    serves(&agent, 3);
}

static HANGS: AtomicU32 = AtomicU32::new(0);

/// The first proofs of a process hang, as many as are asked for.
fn hang(point: &str) {
    if point == "goldens" && HANGS.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok() {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
}

#[test]
fn what_hangs_after_a_change_gives_way() {
    let device = Device::new();
    let open = || {
        HANGS.store(1, Ordering::Relaxed);
        device.said.lock().unwrap().clear();
        let said = Arc::clone(&device.said);
        let on_event = Box::new(move |event: &Event| said.lock().unwrap().push(event.to_string()));
        let watchdog = Watchdog { deadline: std::time::Duration::from_secs(3), ..Watchdog::default() };
        let config =
            AgentConfig { at: Some(hang), watchdog, on_event: Some(on_event), ..config(device.dir.path(), "new") };
        Agent::open(config, NOW).unwrap()
    };
    let agent = open();
    serves(&agent, 2);
    assert_eq!(agent.record().active, Some(sha256(&Release::new(3).bundle())), "once is no proof of anything");
    drop(agent);
    let agent = open();
    serves(&agent, 2);
    assert_eq!(agent.record().active, Some(sha256(&Release::new(2).bundle())), "twice is");
    assert_eq!(agent.record().rejected.iter().map(|r| r.reason.0).collect::<Vec<_>>(), [435]);
}

/// The process of a device whose proof aborts it. Run by hand it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var("FLEETFOOT_ENVIRONMENT") else { return };
    let at: fn(&str) = |point| {
        if point == "goldens" && HANGS.load(Ordering::Relaxed) == 0 {
            std::process::abort();
        }
    };
    let mut agent = Agent::open(AgentConfig { at: Some(at), ..config(dir.as_ref(), "new") }, NOW).unwrap();
    agent.poll(NOW);
}

#[test]
fn what_aborts_after_a_change_gives_way() {
    let device = Device::new();
    let spawn = || {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("FLEETFOOT_ENVIRONMENT", device.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        child.unwrap().success()
    };
    // Versions 3, 2 and the factory version: each kills as many starts as there are attempts, and no more.
    let deaths = (0..10).filter(|_| !spawn()).count();
    assert_eq!(deaths, 6);
    // Another environment is another chance for the factory version, which alone is not forgotten.
    serves(&device.open("newer", None), 1);
}

/// A file that cannot be opened just now is not lost: another version stands in, and it serves again when it can.
#[cfg(unix)]
#[test]
fn a_file_that_is_refused_for_the_moment_is_not_forgotten() {
    let device = Device::new();
    let (path, aside) = (device.path(3), device.dir.path().join("aside"));
    // A link to itself: the system refuses it to everybody, the superuser among them.
    fs::rename(&path, &aside).unwrap();
    std::os::unix::fs::symlink(&path, &path).unwrap();
    let mut agent = device.open("old", None);
    serves(&agent, 2);
    assert_eq!(device.said("fell back to version 2.0.0"), 1);
    agent.poll(NOW);
    serves(&agent, 2);
    assert_eq!(device.said("fell back to version 2.0.0"), 1, "said once: {:?}", device.said);
    assert_eq!(agent.record().active, Some(sha256(&Release::new(3).bundle())));
    drop(agent);
    fs::remove_file(&path).unwrap();
    fs::rename(&aside, &path).unwrap();
    serves(&device.open("old", None), 3);
    // Rights that are too wide or too narrow; who may read everything is not stopped by them.
    for mode in [0o000, 0o777] {
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let readable = fs::File::open(&path).is_ok();
        serves(&device.open("old", None), if readable { 3 } else { 2 });
        println!("mode {mode:o}: {}", if readable { "readable for this user" } else { "refused" });
    }
    serves(&device.open("old", None), 3);
}

/// Both records are gone: what was rejected stays so, and what was active serves.
#[test]
fn lost_records_are_restored() {
    let mut device = Device::new();
    let mut repository = std::mem::replace(&mut device.repository, Repository::new(&device.dir.path().join("other")));
    repository.publish(&[answers_wrongly(4)]);
    let mut agent = device.open("old", None);
    assert!(matches!(agent.poll(NOW), fleetfoot::agent::Outcome::Rejected { .. }));
    agent.rollback("2").unwrap();
    drop(agent);
    for slot in ["record.0", "record.1"] {
        fs::write(device.dir.path().join("store/kws").join(slot), b"noise").unwrap();
    }
    let mut agent = device.open("old", None);
    assert_eq!(device.said("going on from its third copy"), 1);
    serves(&agent, 2);
    assert!(format!("{:?}", agent.poll(NOW)).contains("Rejected(Reason(401))"));
    assert_eq!(agent.record().held.map(|held| held.number), Some(3), "the rollback holds");
    agent.rollback("3").unwrap();
    serves(&agent, 3);
}

/// Going back to any kept version, and forth again, without network; the time is printed, not judged.
#[test]
fn rollbacks_are_quick() {
    let device = Device::new();
    let mut agent = device.open("old", None);
    fs::rename(&device.repository.dir, device.dir.path().join("away")).unwrap();
    let mut slowest = std::time::Duration::ZERO;
    for round in 0..30 {
        let to = [2, 3, 1][round % 3];
        let start = Instant::now();
        agent.rollback(&to.to_string()).unwrap();
        slowest = slowest.max(start.elapsed());
        serves(&agent, to);
    }
    println!("30 rollbacks, the slowest took {slowest:?}");
}
