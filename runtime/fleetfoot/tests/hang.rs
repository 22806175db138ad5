//! Candidates that abort, are killed for their memory, panic or never end, in validation and in a trial, with real processes: each is given
//! up after its attempts, and the version from before serves. A bundle cannot loop or abort, so the code around it does, at named points.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Event, Outcome},
    transport::FolderTransport,
    watchdog::{Isolated, Watchdog, answer},
};
use fleetfoot_update::Config;
use support::{INPUT, MODEL, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 0, slots: 6, checkpoint: 2, ..Config::DEFAULT };
/// Far more than validation takes, also on a busy machine; what hangs costs a test this much time.
const DEADLINE: Duration = Duration::from_secs(3);

fn config(dir: &Path) -> AgentConfig {
    let repository = Repository::new(&dir.join("repository"));
    let transport = Box::new(FolderTransport::new(&repository.dir));
    let config = AgentConfig::new(dir.join("store"), MODEL, &repository.root(), transport);
    AgentConfig { limits: LIMITS, kernels: kernels(), ..config }
}

/// A device with version 1 active and version 2 in the repository.
fn device(dir: &Path) {
    let mut repository = Repository::new(&dir.join("repository"));
    repository.publish(&[Release::new(1)]);
    let mut agent = Agent::open(config(dir), NOW).unwrap();
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    serves(&agent, 1);
    repository.publish(&[Release::new(1), Release::new(2)]);
}

#[track_caller]
fn serves(agent: &Agent, number: u64) {
    let serving = agent.serving().unwrap();
    assert_eq!(serving.version.number, number);
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(number).output());
}

/// One deed at one point, as the variable says: `POINT:DEED`.
fn misbehave(point: &str) {
    let chosen = std::env::var("FLEETFOOT_MISBEHAVE").unwrap_or_default();
    let Some((at, deed)) = chosen.split_once(':') else { return };
    if at != point {
        return;
    }
    match deed {
        "abort" => std::process::abort(),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(0),
        "memory" => {
            // Written to, so that it is really there.
            let all: Vec<Vec<u8>> = (0..1024).map(|n| vec![n as u8; 1 << 20]).collect();
            assert!(all.len() < 2048, "1 GiB");
        }
        other => panic!("{other}"),
    }
}

/// The process in which a bundle proves itself. Run by hand it does nothing.
#[test]
fn isolated_child() {
    let Ok(job) = std::env::var("FLEETFOOT_JOB_FILE") else { return };
    let args: Vec<OsString> = std::fs::read_to_string(job).unwrap().lines().map(OsString::from).collect();
    println!("\n{}", answer(&args, misbehave));
}

/// An isolated job ends up in this test: a shell passes the arguments through a file, because the test harness takes arguments of its own.
fn isolated(dir: &Path, misbehave: &str) -> Isolated {
    let script = format!(
        "printf '%s\\n' \"$@\" > '{job}'; FLEETFOOT_MISBEHAVE='{misbehave}' FLEETFOOT_JOB_FILE='{job}' exec '{me}' --exact isolated_child --nocapture",
        job = dir.join("job").display(),
        me = std::env::current_exe().unwrap().display(),
    );
    Isolated { program: "/bin/sh".into(), args: ["-c", &script, "sh"].map(OsString::from).to_vec() }
}

fn spawn(dir: &Path, misbehave: &str) -> bool {
    // Where memory runs out, there is a limit that is less than what it takes.
    let script = if misbehave.ends_with("memory") { "ulimit -v 800000; exec \"$@\"" } else { "exec \"$@\"" };
    let child = Command::new("/bin/sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "application", "--nocapture"])
        .env("FLEETFOOT_APPLICATION", dir)
        .env("FLEETFOOT_MISBEHAVE", misbehave)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    child.unwrap().success()
}

/// An application that knows nothing of trials: it opens, polls, and runs what serves. Run by hand it does nothing.
#[test]
fn application() {
    let Ok(dir) = std::env::var("FLEETFOOT_APPLICATION") else { return };
    let mut agent = Agent::open(AgentConfig { at: Some(misbehave), ..config(dir.as_ref()) }, NOW).unwrap();
    agent.poll(NOW);
    while let Some(serving) = agent.serving().cloned() {
        if !serving.trial {
            break;
        }
        // It dies in an inference of version 2 before it could report anything.
        if serving.version.number == 2 {
            misbehave("inference");
        }
        agent.record_inference(true, NOW).unwrap();
    }
}

/// Rejected for good, with this reason, and version 1 serves; another release gets its chance.
#[track_caller]
fn given_up(dir: &Path, reason: u16, what: &str) {
    let mut agent = Agent::open(config(dir), NOW).unwrap();
    serves(&agent, 1);
    let rejected: Vec<u16> = agent.record().rejected.iter().map(|r| r.reason.0).collect();
    assert_eq!(rejected, [reason], "{what}");
    assert!(matches!(agent.poll(NOW), Outcome::UpToDate { newest: Some((2, _)) }), "{what}");
    let mut repository = Repository::new(&dir.join("repository"));
    for _ in 0..3 {
        // The third edition is newer than what the device knows.
        repository.publish(&[Release::new(1), Release::new(2), Release::new(3)]);
    }
    assert!(matches!(agent.poll(NOW), Outcome::Trial(_)), "{what}");
    serves(&agent, 3);
}

#[cfg(unix)]
/// Without isolation, what aborts or exits takes the application along, each time with one attempt.
#[test]
fn what_kills_the_application_is_given_up() {
    for point in ["validating", "goldens", "trial", "inference"] {
        for deed in ["abort", "exit", "memory"] {
            let dir = tempfile::tempdir().unwrap();
            device(dir.path());
            let what = format!("{point}:{deed}");
            let deaths = match deed {
                "abort" | "memory" => (0..6).filter(|_| !spawn(dir.path(), &what)).count(),
                // It ends without an error and without a farewell: told by who serves.
                _ => (0..6).filter(|_| spawn(dir.path(), &what)).count().min(2),
            };
            assert_eq!(deaths, usize::from(LIMITS.attempts), "{what}");
            given_up(dir.path(), 405, &what);
        }
    }
}

/// In a watched thread, what never ends or panics is lost, not the application; after its attempts it is out.
#[test]
fn what_hangs_or_panics_in_a_thread_is_given_up() {
    for (deed, at, reason) in [("hangs", hang as fn(&str), 435), ("panics", panics as fn(&str), 436)] {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path());
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&events);
        let watchdog = Watchdog { deadline: DEADLINE, ..Watchdog::default() };
        let on_event = Box::new(move |event: &Event| log.lock().unwrap().push(event.to_string()));
        let config = AgentConfig { watchdog, at: Some(at), on_event: Some(on_event), ..config(dir.path()) };
        let mut agent = Agent::open(config, NOW).unwrap();
        let first = agent.poll(NOW);
        assert!(matches!(&first, Outcome::Deferred { reason: r, .. } if r.0 == reason), "{deed}: {first:?}");
        serves(&agent, 1);
        let early = agent.poll(NOW + 1);
        assert!(matches!(early, Outcome::Deferred { .. }), "{deed}, not yet: {early:?}");
        let last = agent.poll(NOW + 600);
        assert!(matches!(&last, Outcome::Rejected { reason: r, .. } if r.0 == reason), "{deed}: {last:?}");
        let said = events.lock().unwrap().iter().filter(|e| e.contains("did not come back")).count();
        assert_eq!(said, 2, "{deed}: said loudly, {events:?}");
        serves(&agent, 1);
        drop(agent);
        given_up(dir.path(), reason, deed);
    }
}

fn hang(point: &str) {
    if point == "goldens" {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn panics(point: &str) {
    assert_ne!(point, "goldens", "on purpose");
}

/// In a process of its own nothing that a candidate does reaches the application.
#[cfg(unix)]
#[test]
fn what_dies_in_a_process_of_its_own_is_given_up() {
    let rows = [
        ("goldens:abort", 436),
        ("goldens:panic", 436),
        ("goldens:exit", 436),
        ("goldens:loop", 435),
        ("goldens:sleep", 435),
        #[cfg(target_os = "linux")]
        ("goldens:memory", 436),
    ];
    for (deed, reason) in rows {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path());
        let max_memory_bytes = Some(64 << 20);
        let isolated = Some(isolated(dir.path(), deed));
        let watchdog = Watchdog { deadline: DEADLINE, isolated, max_memory_bytes };
        let mut agent = Agent::open(AgentConfig { watchdog, ..config(dir.path()) }, NOW).unwrap();
        let first = agent.poll(NOW);
        assert!(matches!(&first, Outcome::Deferred { reason: r, .. } if r.0 == reason), "{deed}: {first:?}");
        serves(&agent, 1);
        let last = agent.poll(NOW + 600);
        assert!(matches!(&last, Outcome::Rejected { reason: r, .. } if r.0 == reason), "{deed}: {last:?}");
        println!("{deed}: {last:?}");
        drop(agent);
        given_up(dir.path(), reason, deed);
    }
}

/// What a process of its own finds is what a thread finds.
#[cfg(unix)]
#[test]
fn a_process_of_its_own_answers_as_a_thread_does() {
    use fleetfoot::format::bundle::Budget;
    let budget = |p99_us, arena_bytes| Budget { p99_us, arena_bytes };
    let new = || Release::new(2);
    let rows = [
        ("good", new(), None, None),
        ("within its budget", Release { budget: budget(Some(10_000_000), Some(128)), ..new() }, None, None),
        ("another output", Release { wrong_golden: true, ..new() }, None, Some(401)),
        ("a budget of 1 us", Release { budget: budget(Some(1), None), ..new() }, None, Some(402)),
        ("a budget of 127 bytes", Release { budget: budget(None, Some(127)), ..new() }, None, Some(403)),
        ("more memory than the device allows", new(), Some(200), Some(403)),
        ("as much memory as the device allows", new(), Some(4096), None),
        ("a runtime of the future", Release { min_runtime: (99, 0), ..new() }, None, Some(404)),
    ];
    for (name, release, max_memory_bytes, reason) in rows {
        for own_process in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            Repository::new(&dir.path().join("repository")).publish(std::slice::from_ref(&release));
            let isolated = own_process.then(|| isolated(dir.path(), ""));
            let watchdog = Watchdog { isolated, max_memory_bytes, ..Watchdog::default() };
            let measured: Arc<Mutex<Option<fleetfoot::validate::Admission>>> = Arc::default();
            let log = Arc::clone(&measured);
            let on_event = Box::new(move |event: &Event| {
                if let Event::Validated { admission, .. } = event {
                    *log.lock().unwrap() = Some(*admission);
                }
            });
            let config = AgentConfig { watchdog, on_event: Some(on_event), ..config(dir.path()) };
            let mut agent = Agent::open(config, NOW).unwrap();
            let outcome = agent.poll(NOW);
            match (&outcome, reason) {
                (Outcome::Trial(_), None) => {
                    let found = measured.lock().unwrap().unwrap();
                    assert_eq!((found.goldens, found.arena_bytes), (1, 128), "{name}");
                    assert!(
                        found.p99_us > 0 && found.memory_bytes > 128 && found.memory_bytes < 4096,
                        "{name}: {found:?}"
                    );
                    assert_eq!(found.resident_bytes.is_some(), own_process && cfg!(target_os = "linux"), "{name}");
                }
                (Outcome::Rejected { reason: r, error: Some(error), .. }, Some(reason)) => {
                    assert_eq!((r.0, error.code()), (reason, reason), "{name}: {error}");
                }
                _ => panic!("{name}, own process {own_process}: {outcome:?}"),
            }
        }
    }
    // A program that cannot be started does not keep updates away.
    let dir = tempfile::tempdir().unwrap();
    Repository::new(&dir.path().join("repository")).publish(&[new()]);
    let isolated = Some(Isolated { program: "/nonexistent".into(), args: Vec::new() });
    let watchdog = Watchdog { isolated, ..Watchdog::default() };
    let mut agent = Agent::open(AgentConfig { watchdog, ..config(dir.path()) }, NOW).unwrap();
    assert!(matches!(agent.poll(NOW), Outcome::Trial(_)));
}

/// Nobody vouches for anything: enough good inferences and the window end a trial, or four windows with a single good one.
#[test]
fn trials_end_by_themselves() {
    for (good, ends_at) in [(10, 100), (12, 100), (1, 400), (9, 400)] {
        let dir = tempfile::tempdir().unwrap();
        device(dir.path());
        let limits = Config { health_window_s: 100, ..LIMITS };
        let mut agent = Agent::open(AgentConfig { limits, ..config(dir.path()) }, NOW).unwrap();
        assert!(matches!(agent.poll(NOW), Outcome::Trial(_)));
        for _ in 0..good {
            assert!(matches!(agent.record_inference(true, NOW).unwrap(), Some(Outcome::Trial(_))), "{good} good ones");
        }
        let early = agent.poll(NOW + ends_at - 1);
        assert!(matches!(early, Outcome::Trial(_)), "{good} good ones: {early:?}");
        let end = agent.poll(NOW + ends_at);
        assert!(matches!(end, Outcome::Committed(_)), "{good} good ones: {end:?}");
        serves(&agent, 2);
    }
}
