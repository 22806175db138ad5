//! An agent whose clock is wrong, whose metadata has expired, or whose application comes with another first root: it serves, it falls back, and
//! it goes on when all is well again. Only what is new waits.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{fs, path::Path, sync::Arc};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Outcome, Role},
    transport::FolderTransport,
};
use fleetfoot_update::Config;
use support::{INPUT, LATE, MODEL, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 3, min_inferences: 3, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };
const DAY: i64 = 86_400;

fn config(dir: &Path, repository: &Repository, root: &[u8]) -> AgentConfig {
    let transport = Box::new(FolderTransport::new(&repository.dir));
    AgentConfig { limits: LIMITS, kernels: kernels(), ..AgentConfig::new(dir.join("store"), MODEL, root, transport) }
}

/// A device that serves version 1, and a repository that has version 2 as well.
fn world(dir: &Path) -> (Repository, Agent) {
    let mut repository = Repository::new(&dir.join("repository"));
    repository.publish(&[Release::new(1)]);
    let mut agent = Agent::open(config(dir, &repository, &repository.root()), NOW).unwrap();
    assert!(matches!(agent.poll(NOW), Outcome::Trial(_)));
    for _ in 0..3 {
        agent.record_inference(true, NOW).unwrap();
    }
    serves(&agent, 1, "at first");
    repository.publish(&[Release::new(1), Release::new(2)]);
    (repository, agent)
}

#[track_caller]
fn serves(agent: &Agent, number: u64, name: &str) {
    let serving = agent.serving().expect("a version serves");
    assert_eq!(serving.version.number, number, "{name}");
    let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
    session.set_input(0, &INPUT).unwrap();
    session.run().unwrap();
    assert_eq!(session.output(0).unwrap(), Release::new(number).output(), "{name}");
}

/// The code of a failed poll, or 0 for a trial of version 2.
#[track_caller]
fn code(outcome: &Outcome, name: &str) -> u16 {
    match outcome {
        Outcome::Trial(version) if version.number == 2 => 0,
        Outcome::Failed(error) => error.code(),
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn clocks() {
    // What the clock says at the poll, when the application was built, what comes of it.
    let rows: [(&str, i64, i64, u16); 9] = [
        ("right", NOW, 0, 0),
        ("at 0", 0, 0, 0),
        ("before all times", i64::MIN, 0, 0),
        ("gone back", NOW - 100 * DAY, 0, 0),
        ("at the end of all times", i64::MAX, 0, 251),
        ("beyond the metadata", LATE, 0, 251),
        ("at 0, built a while ago", 0, NOW - DAY, 0),
        ("at 0, built after the end of the root", 0, LATE, 0),
        ("at the end of all times, built a while ago", i64::MAX, NOW - DAY, 251),
    ];
    for (name, now, build_time, expected) in rows {
        for restarted in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let (repository, mut agent) = world(dir.path());
            if restarted || build_time != 0 {
                drop(agent);
                let config = config(dir.path(), &repository, &repository.root());
                agent = Agent::open(AgentConfig { build_time, ..config }, now).unwrap();
                serves(&agent, 1, name);
            }
            assert_eq!(code(&agent.poll(now), name), expected, "{name}");
            if expected != 0 {
                serves(&agent, 1, name);
                assert_eq!(agent.record_inference(true, now).unwrap().map(|o| code(&o, name)), None, "no trial");
                // The clock is put right.
                assert_eq!(code(&agent.poll(NOW), name), 0, "{name}");
            }
            serves(&agent, 2, name);
        }
    }
}

#[test]
fn expired_metadata_stops_neither_a_trial_nor_a_fallback() {
    for late in [LATE, i64::MAX, 0, i64::MIN] {
        for good in [true, false] {
            let name = format!("{late} {good}");
            let dir = tempfile::tempdir().unwrap();
            let (repository, mut agent) = world(dir.path());
            assert_eq!(code(&agent.poll(NOW), &name), 0);
            // Over a restart, and a poll in between: the trial goes on.
            drop(agent);
            let mut agent = Agent::open(config(dir.path(), &repository, &repository.root()), late).unwrap();
            serves(&agent, 2, &name);
            drop(agent.poll(late));
            serves(&agent, 2, &name);
            let mut last = None;
            for _ in 0..if good { 3 } else { 1 } {
                last = agent.record_inference(good, late).unwrap();
            }
            match last {
                Some(Outcome::Committed(version)) => assert!(good && version.number == 2, "{name}"),
                Some(Outcome::Rejected { version, .. }) => assert!(!good && version.number == 2, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            serves(&agent, if good { 2 } else { 1 }, &name);
            if good {
                // Back without any news.
                agent.rollback("1").unwrap();
                serves(&agent, 1, &name);
            }
        }
    }
}

#[test]
fn another_first_root_is_refused_and_what_serves_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (repository, agent) = world(dir.path());
    drop(agent);
    let tuf = dir.path().join("store/tuf");
    let files = || {
        let names = fs::read_dir(&tuf).unwrap().map(|entry| entry.unwrap().path());
        let mut all: Vec<_> = names.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        all.sort();
        all
    };
    assert_eq!(fs::read(tuf.join("first-root")).unwrap(), repository.root(), "the store remembers it");
    let before = files();
    // The same people, another root: the spaces at its end are enough.
    let other = [&repository.root()[..], b"\n"].concat();
    let mut agent = Agent::open(config(dir.path(), &repository, &other), NOW).unwrap();
    serves(&agent, 1, "another root");
    let refused = agent.poll(NOW);
    assert_eq!(code(&refused, "another root"), 255);
    assert!(format!("{refused:?}").contains("OtherFirstRoot"), "{refused:?}");
    serves(&agent, 1, "another root");
    assert!(agent.versions().iter().any(|(version, role)| version.number == 1 && *role == Role::Active));
    assert_eq!(files(), before, "nothing of the metadata has changed");
    drop(agent);
    let mut agent = Agent::open(config(dir.path(), &repository, &repository.root()), NOW).unwrap();
    assert_eq!(code(&agent.poll(NOW), "the right one again"), 0);
}
