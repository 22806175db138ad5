//! The agent in a process of its own that is killed: at every named point of an update, and at random moments. Whatever happens, the
//! next process serves a version that answers rightly, and in the end the newest good one is active.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fleetfoot::{Agent, AgentConfig, Session, agent::Outcome, transport::FolderTransport};
use fleetfoot_update::Config;
use support::{INPUT, MODEL, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 0, slots: 6, checkpoint: 2, ..Config::DEFAULT };

fn open(dir: &Path, at: Option<fn(&str)>) -> Agent {
    let repository = Repository::new(&dir.join("repository"));
    let transport = Box::new(FolderTransport::new(&repository.dir));
    let config = AgentConfig::new(dir.join("store"), MODEL, &repository.root(), transport);
    Agent::open(AgentConfig { limits: LIMITS, kernels: kernels(), at, ..config }, NOW).unwrap()
}

/// The body of the process that is killed: one start, one poll, a trial. Run by hand it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var("FLEETFOOT_KILL_DIR") else { return };
    let mut agent = open(dir.as_ref(), Some(die_there));
    check(&agent);
    agent.poll(NOW);
    while check(&agent) {
        agent.record_inference(true, NOW).unwrap();
    }
}

/// Ends the process without any farewell at the point and the count that the parent chose.
fn die_there(point: &str) {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let chosen = std::env::var("FLEETFOOT_KILL_AT").unwrap_or_default();
    let (name, count) = chosen.split_once(':').unwrap_or_default();
    if name == point && SEEN.fetch_add(1, Ordering::Relaxed).to_string() == count {
        std::process::abort();
    }
}

/// What serves answers rightly. Returns whether it is on trial.
#[track_caller]
fn check(agent: &Agent) -> bool {
    let Some(serving) = agent.serving() else { return false };
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(serving.version.number).output());
    serving.trial
}

fn spawn(dir: &Path, at: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("FLEETFOOT_KILL_DIR", dir)
        .env("FLEETFOOT_KILL_AT", at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// A device with version 1 active and version 2 in the repository.
fn device(dir: &Path) -> Repository {
    let mut repository = Repository::new(&dir.join("repository"));
    repository.publish(&[release(1)]);
    let mut agent = open(dir, None);
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    assert_eq!(agent.serving().unwrap().version.number, 1);
    repository.publish(&[release(1), release(2)]);
    repository
}

#[test]
fn at_every_point() {
    let mut deaths = 0;
    for point in
        ["metadata", "record", "recorded", "fetching", "fetched", "installed", "validating", "validated", "trial"]
    {
        for count in 0.. {
            let dir = tempfile::tempdir().unwrap();
            device(dir.path());
            let status = spawn(dir.path(), &format!("{point}:{count}")).wait().unwrap();
            if status.success() {
                assert!(count > 0, "{point} is never passed");
                break;
            }
            deaths += 1;
            let agent = open(dir.path(), None);
            check(&agent);
            drop(agent);
            assert!(spawn(dir.path(), "").wait().unwrap().success(), "{point}:{count}");
            let agent = open(dir.path(), None);
            let serving = agent.serving().unwrap();
            assert_eq!((serving.version.number, serving.trial), (2, false), "{point}:{count}");
        }
    }
    println!("{deaths} deaths");
    assert!(deaths > 20);
}

#[test]
fn code_that_always_dies_is_given_up() {
    for point in ["validating:0", "trial:0"] {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path());
        let died = (0..5).filter(|_| !spawn(dir.path(), point).wait().unwrap().success()).count();
        assert_eq!(died, usize::from(LIMITS.attempts), "{point}");
        let mut agent = open(dir.path(), None);
        assert_eq!(agent.serving().unwrap().version.number, 1);
        let outcome = agent.poll(NOW);
        assert!(matches!(outcome, Outcome::UpToDate { newest: Some((2, _)) }), "{outcome:?}");
    }
}

/// A thousand running processes die at random moments of an update, two devices side by side.
#[test]
fn at_random_moments() {
    const KILLS: u32 = 1000;
    let counts = Mutex::new((0, BTreeMap::new()));
    std::thread::scope(|scope| {
        for seed in [0x9E37_79B9_7F4A_7C15u64, 0x2545_F491_4F6C_DD1D] {
            let counts = &counts;
            scope.spawn(move || one_device(seed, KILLS / 2, counts));
        }
    });
    let (started, served) = counts.into_inner().unwrap();
    println!("{KILLS} of {started} processes were killed; {} versions served afterwards", served.len());
    assert!(served.len() > 10, "updates went on: {served:?}");
}

fn one_device(seed: u64, kills: u32, counts: &Mutex<(u32, BTreeMap<u64, u32>)>) {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = device(dir.path());
    let mut random = seed;
    let mut number = 2;
    // How long an update takes here and now: the moments lie within it.
    let other = tempfile::tempdir().unwrap();
    device(other.path());
    let start = Instant::now();
    assert!(spawn(other.path(), "").wait().unwrap().success());
    let mut whole = u64::try_from(start.elapsed().as_micros()).unwrap();
    let (mut met, mut round) = (0, 0);
    while met < kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = spawn(dir.path(), "");
        std::thread::sleep(Duration::from_micros((random >> 33) % whole));
        child.kill().unwrap();
        let killed = !child.wait().unwrap().success();
        // One that had ended already counts for nothing; the moments follow the speed of the machine.
        whole = if killed { whole + whole / 20 } else { whole - whole / 10 }.max(100);
        met += u32::from(killed);
        let agent = open(dir.path(), None);
        check(&agent);
        let mut counts = counts.lock().unwrap();
        counts.0 += 1;
        *counts.1.entry(agent.serving().unwrap().version.number).or_insert(0) += 1;
        drop((agent, counts));
        round += 1;
        if round % 3 == 0 {
            number += 1;
            repository.publish(&[release(number)]);
        }
    }
    number += 1;
    repository.publish(&[release(number)]);
    // The first may have an older trial to bring to its end.
    for _ in 0..2 {
        assert!(spawn(dir.path(), "").wait().unwrap().success());
    }
    let agent = open(dir.path(), None);
    assert_eq!(agent.serving().unwrap().version.number, number);
}

/// Small, so that a thousand updates take little time.
fn release(number: u64) -> Release {
    Release { filler_len: 70_000, ..Release::new(number) }
}
