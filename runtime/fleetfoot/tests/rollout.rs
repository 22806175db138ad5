//! The agent and the rollout role: what it takes, what it goes back from, and what it makes of a role that says nothing sensible.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use fleetfoot::{
    Agent, AgentConfig,
    agent::{Event, Outcome},
    format::record::Phase,
    transport::FolderTransport,
    update::{Arm, Config, NotTaken, Stage, cohort::bucket},
};
use fleetfoot_trust::sha256;
use serde_json::{Value, json};
use support::{MODEL, NOW, Release, Repository, Rollout, kernels};

const SALT: &str = "kws-2026-11/1";

const SHADOWED: Phase = Phase::Shadow { runs: 0, agree: 0, elapsed_s: 0 };

struct World {
    dir: tempfile::TempDir,
    repository: Repository,
    events: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let repository = Repository::new(&dir.path().join("repository"));
        Self { dir, repository, events: Arc::default() }
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn open(&self) -> Agent {
        let limits =
            Config { attempts: 2, min_inferences: 3, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };
        let transport = Box::new(FolderTransport::new(&self.repository.dir));
        let events = self.events.clone();
        let on_event = move |event: &Event| events.lock().unwrap().push(event.to_string());
        let mut config = AgentConfig::new(self.store(), MODEL, &self.repository.root(), transport);
        config.facts.insert("region".into(), "eu".into());
        let config = AgentConfig { limits, kernels: kernels(), on_event: Some(Box::new(on_event)), ..config };
        Agent::open(config, NOW).unwrap()
    }

    fn publish(&mut self, releases: &[Release], rollout: Rollout) {
        self.repository.rollout = rollout;
        self.repository.publish(releases);
    }

    fn told(&self, part: &str) -> bool {
        std::mem::take(&mut *self.events.lock().unwrap()).iter().any(|event| event.contains(part))
    }
}

/// A release within an envelope: so much as a canary from now on, and everybody in 7 days.
fn within(number: u64, max_bp: u16) -> Release {
    let limits = json!([
        {"not_before": "2026-11-01T00:00:00Z", "max_bp": max_bp, "max_stage": "canary"},
        {"not_before": "2026-12-01T00:00:00Z", "max_bp": 10_000, "max_stage": "full"},
    ]);
    Release { envelope: json!({"salt": SALT, "limits": limits}), ..Release::new(number) }
}

fn directive(candidate: u64, stage: &str, exposed_bp: u16) -> Value {
    let named = |number: u64| json!({"number": number, "sha256": fleetfoot::hex(&sha256(&Release::new(number).bundle())), "attempt": 1});
    let mut all = json!({
        "rollout": format!("kws-{candidate}"), "model": MODEL, "candidate": named(candidate), "stage": stage, "exposed_bp": exposed_bp,
    });
    if candidate > 1 {
        all["baseline"] = named(candidate - 1);
    }
    all
}

fn says(directive: &Value) -> Rollout {
    Rollout::Says(directive.to_string().into_bytes())
}

/// One line for an outcome.
fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::UpToDate { newest: None } => "up to date".into(),
        Outcome::UpToDate { newest: Some((number, NotTaken::Rollout(why))) } => {
            format!("{number} not taken {}", why.code())
        }
        Outcome::UpToDate { newest: Some((number, NotTaken::NotNewer { .. })) } => format!("up to date with {number}"),
        Outcome::UpToDate { newest: Some((number, NotTaken::Rejected(reason))) } => {
            format!("{number} rejected {}", reason.0)
        }
        Outcome::UpToDate { newest: Some((number, why)) } => format!("{number} not taken: {why:?}"),
        Outcome::Trial(version) => format!("trial {}", version.number),
        Outcome::Committed(version) => format!("committed {}", version.number),
        Outcome::RolledBack(version) => format!("back to {}", version.number),
        Outcome::Rejected { version, reason, .. } => format!("rejected {} {}", version.number, reason.0),
        Outcome::Failed(error) => format!("failed {}", error.code()),
        other => format!("{other:?}"),
    }
}

fn serving(agent: &Agent) -> Option<u64> {
    agent.serving().map(|serving| serving.version.number)
}

#[track_caller]
fn polls(agent: &mut Agent, expected: &str) {
    assert_eq!(word(&agent.poll(NOW)), expected);
}

#[track_caller]
fn update(agent: &mut Agent, number: u64) {
    polls(agent, &format!("trial {number}"));
    agent.confirm_healthy(NOW).unwrap().unwrap();
    assert_eq!(serving(agent), Some(number));
}

fn put_key(world: &World, wanted: impl Fn(u16) -> bool) {
    let keys = (0u32..).map(|n| [n.to_le_bytes(); 4].concat());
    let key = keys.into_iter().find(|key| wanted(bucket(SALT.as_bytes(), key))).unwrap();
    fs::create_dir_all(world.store()).unwrap();
    fs::write(world.store().join(".device-key"), key).unwrap();
}

#[test]
fn the_whole_way_of_a_rollout() {
    let mut world = World::new();
    put_key(&world, |bucket| (500..800).contains(&bucket));
    let mut agent = world.open();
    assert!(agent.assignment().is_none());
    // A new device gets the baseline first, whatever its side.
    let releases = [Release::new(1), within(2, 1_000)];
    world.publish(&releases, says(&directive(2, "canary", 1_000)));
    update(&mut agent, 1);
    update(&mut agent, 2);
    polls(&mut agent, "up to date with 2");
    assert_eq!(agent.assignment().map(|part| (part.arm, part.stage())), Some((Arm::Treatment, Stage::Canary)));
    assert!(world.told("rollout kws-2, stage canary: treatment"));
    // The candidate failed elsewhere.
    world.publish(&releases, says(&directive(2, "abort", 0)));
    polls(&mut agent, "back to 1");
    polls(&mut agent, "2 not taken 455");
    assert_eq!(serving(&agent), Some(1));
    // In its trial, too.
    let third = [Release::new(1), Release::new(2), within(3, 1_000)];
    let mut said = directive(3, "canary", 1_000);
    said["baseline"] = directive(1, "full", 0)["candidate"].clone();
    world.publish(&third, says(&said));
    polls(&mut agent, "trial 3");
    said["stage"] = json!("hold");
    world.publish(&third, says(&said));
    polls(&mut agent, "trial 3");
    said["stage"] = json!("abort");
    world.publish(&third, says(&said));
    polls(&mut agent, "rejected 3 411");
    assert_eq!(serving(&agent), Some(1));
    said["stage"] = json!("canary");
    world.publish(&third, says(&said));
    polls(&mut agent, "3 rejected 411");
}

#[test]
fn stages_and_selectors() {
    let mut world = World::new();
    put_key(&world, |bucket| (500..800).contains(&bucket));
    let mut agent = world.open();
    let releases = [Release::new(1), within(2, 1_000)];
    world.publish(&releases, says(&directive(1, "full", 10_000)));
    update(&mut agent, 1);
    let edited = |edit: fn(&mut Value)| {
        let mut said = directive(2, "canary", 1_000);
        edit(&mut said);
        says(&said)
    };
    type Row = (fn(&mut Value), &'static str);
    let rows: [Row; 10] = [
        (|said| said["exposed_bp"] = json!(500), "2 not taken 443"),
        (|said| said["match"] = json!({"region": ["us"]}), "2 not taken 442"),
        (|said| said["match"] = json!({"owner": ["us"]}), "2 not taken 442"),
        (|said| said["match"] = json!({"runtime": ">=99"}), "2 not taken 442"),
        (|said| said["stage"] = json!("full"), "2 not taken 447"),
        (|said| said["stage"] = json!("hold"), "2 not taken 454"),
        (|said| said["stage"] = json!("teleport"), "2 not taken 456"),
        (|said| said["candidate"]["attempt"] = json!(2), "2 not taken 453"),
        (|said| said["candidate"]["sha256"] = json!("ab".repeat(32)), "up to date with 1"),
        (|said| said["candidate"]["number"] = json!(7), "up to date with 1"),
    ];
    for (edit, expected) in rows {
        world.publish(&releases, edited(edit));
        polls(&mut agent, expected);
        assert_eq!(serving(&agent), Some(1), "{expected}");
    }
    // Nobody became a part of it by what the online key alone said.
    assert!(
        agent
            .record()
            .enrolled
            .iter()
            .all(|enrolment| enrolment.rollout != fleetfoot::update::cohort::rollout_key("kws-2"))
    );
    // Beside the version that serves: ready, and no trial, over a restart too.
    world.publish(&releases, edited(|said| said["stage"] = json!("shadow")));
    for _ in 0..2 {
        agent.poll(NOW);
        assert_eq!((serving(&agent), agent.record().candidate.map(|c| c.phase)), (Some(1), Some(SHADOWED)));
        drop(agent);
        agent = world.open();
        assert_eq!(agent.assignment().map(|part| (part.arm, part.stage())), Some((Arm::Treatment, Stage::Shadow)));
    }
    // Not either where nothing is left of what the rollout said, and nobody can be asked.
    drop(agent);
    fs::remove_file(world.store().join("tuf/timestamp.json")).unwrap();
    fs::rename(&world.repository.dir, world.dir.path().join("away")).unwrap();
    agent = world.open();
    assert!(agent.assignment().is_none());
    assert!(matches!(agent.poll(NOW), Outcome::Failed(_)));
    assert_eq!((serving(&agent), agent.record().candidate.map(|c| c.phase)), (Some(1), Some(SHADOWED)));
    fs::rename(world.dir.path().join("away"), &world.repository.dir).unwrap();
    // Its trial is as long as the directive says, and the directive matches.
    let fits = edited(|said| {
        said["match"] = json!({"region": ["eu"], "runtime": ">=0.1"});
        said["device"] = json!({"min_inferences": 1});
    });
    world.publish(&releases, fits);
    polls(&mut agent, "trial 2");
    assert_eq!(word(&agent.record_inference(true, NOW).unwrap().unwrap()), "committed 2");
    // By user rather than by device: the same for everybody who asks.
    world.publish(&releases, edited(|said| said["stage"] = json!("ab")));
    agent.poll(NOW);
    let part = agent.assignment().unwrap();
    let users: Vec<Arm> = (0..10_000u32).map(|user| part.arm_of_user(&user.to_le_bytes())).collect();
    let count = |arm| users.iter().filter(|user| **user == arm).count();
    assert!((400..600).contains(&count(Arm::Treatment)) && (400..600).contains(&count(Arm::Control)));
    assert!(!format!("{part:?}").contains(SALT));
}

#[test]
fn a_role_that_says_nothing() {
    let mut world = World::new();
    let mut agent = world.open();
    let releases = [Release::new(1)];
    world.publish(&releases, Rollout::Nothing);
    polls(&mut agent, "1 not taken 457");
    for (said, what) in [("null", "rollout"), ("{", "rollout"), ("{\"rollout\":\"a\",\"rollout\":\"b\"}", "rollout")] {
        world.publish(&releases, Rollout::Says(said.into()));
        polls(&mut agent, "1 not taken 457");
        assert!(world.told(&format!("no usable {what}")), "{said}");
    }
    let mut wrong = directive(1, "full", 10_000);
    wrong["split"] = json!([1]);
    world.publish(&releases, says(&wrong));
    polls(&mut agent, "1 not taken 457");
    assert!(world.told("no usable split"));
    let mut long = directive(1, "full", 10_000);
    long["comment"] = json!("x".repeat(20_000));
    world.publish(&releases, says(&long));
    polls(&mut agent, "1 not taken 457");
    // The web server delivers something else, or nothing.
    let said = directive(1, "full", 10_000);
    world.publish(&releases, says(&said));
    let hash = fleetfoot::hex(&sha256(said.to_string().as_bytes()));
    let path = world.repository.dir.join(format!("targets/rollouts/kws/{hash}.current.json"));
    fs::write(&path, said.to_string().replace("full", "half")).unwrap();
    polls(&mut agent, "failed 250");
    fs::remove_file(&path).unwrap();
    polls(&mut agent, "failed 428");
    fs::write(&path, said.to_string()).unwrap();
    update(&mut agent, 1);
    // It is stored: nobody has to deliver it again.
    fs::remove_file(&path).unwrap();
    polls(&mut agent, "up to date with 1");
}

#[test]
fn the_role_is_not_forgotten() {
    let mut world = World::new();
    let mut agent = world.open();
    world.publish(&[Release::new(1)], Rollout::NoRole);
    let before = copy_of(&world.repository.dir.join("metadata"));
    update(&mut agent, 1);
    world.publish(&[Release::new(1), Release::new(2)], says(&directive(1, "full", 10_000)));
    polls(&mut agent, "up to date with 1");
    assert_eq!(agent.record().rollout_role, 2);
    drop(agent);
    // As after a root with other online keys: the versions that were seen are forgotten, and somebody with the new online keys shows the
    // targets of old. They are from before the role, so they do not say that there is none any more.
    for name in ["timestamp.json", "snapshot.json"] {
        fs::remove_file(world.store().join("tuf").join(name)).unwrap();
    }
    let now = copy_of(&world.repository.dir.join("metadata"));
    put(&world.repository.dir.join("metadata"), &before);
    let mut agent = world.open();
    polls(&mut agent, "1 not taken 457");
    put(&world.repository.dir.join("metadata"), &now);
    polls(&mut agent, "up to date with 1");
    // The keys of the targets say so: the releases decide again.
    world.publish(&[Release::new(1), Release::new(2)], Rollout::NoRole);
    update(&mut agent, 2);
}

fn copy_of(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn put(folder: &Path, files: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in copy_of(folder) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in files {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn the_releases_alone_keep_to_their_envelopes() {
    let mut world = World::new();
    put_key(&world, |bucket| bucket >= 1_000);
    let mut agent = world.open();
    world.publish(&[Release::new(1), within(2, 1_000)], Rollout::NoRole);
    update(&mut agent, 1);
    polls(&mut agent, "2 not taken 446");
    // By the clock of the device, not by what anybody says the time is.
    assert_eq!(word(&agent.poll(NOW + 8 * 86_400)), "trial 2");
    let golden = |digest: &str| Release { envelope: json!({"golden_sha256": digest}), ..Release::new(3) };
    world.publish(&[golden(&"ab".repeat(32))], Rollout::NoRole);
    agent.confirm_healthy(NOW).unwrap();
    polls(&mut agent, "rejected 3 409");
    world.publish(&[Release { envelope: json!({"salt": SALT}), ..Release::new(4) }], Rollout::NoRole);
    polls(&mut agent, "up to date");
    assert!(world.told("no usable limits"));
}

#[test]
fn the_key_of_the_device() {
    let world = World::new();
    drop(world.open());
    let path = world.store().join(".device-key");
    let key = fs::read(&path).unwrap();
    assert_eq!(key.len(), 16);
    #[cfg(unix)]
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    drop(world.open());
    assert_eq!(fs::read(&path).unwrap(), key, "it lasts");
    let another = World::new();
    drop(another.open());
    assert_ne!(fs::read(another.store().join(".device-key")).unwrap(), key, "another device has another one");
    fs::write(&path, b"short").unwrap();
    drop(world.open());
    assert_eq!(fs::read(&path).unwrap().len(), 16);
}
