//! A rollout over a real socket: the program signs and serves, 48 devices with stores of their own poll.
//!
//! Keys of the devices and the salt are fixed, so that the same devices are the first in every run of this test.

mod support;

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use fleetfoot::{
    Agent, AgentConfig,
    agent::Outcome,
    transport::HttpTransport,
    update::{Arm, Config, NotTaken, Stage, Why, cohort::bucket},
};
use support::{Ran, World};

const DEVICES: usize = 48;
const SALT: &str = "digits-2026-11/1";
const ONLINE: [&str; 4] = ["--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];

/// A world whose repository has a rollout role, which says that everybody gets release 1.
fn world() -> World {
    let world = World::published();
    world.run(&["keys", "new", "--plain", "--role", "rollout", "--out", "keys"]).ok();
    let add = ["repo", "add", "--repo", "repo", "--model", "digits", "--targets-key", "keys/targets.key"];
    world.run(&[&add[..], &["--rollout-key", "keys/rollout.pub"], &ONLINE].concat()).ok();
    set(&world, "1", "full", "100", &[]).ok();
    world
}

fn set(world: &World, candidate: &str, stage: &str, percent: &str, more: &[&str]) -> Ran {
    let set = ["--json", "rollout", "set", "--repo", "repo", "--model", "digits", "--key", "keys/rollout.key"];
    let said = ["--candidate", candidate, "--stage", stage, "--percent", percent];
    world.run(&[&set[..], &said, &ONLINE, more].concat())
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not so late")
}

struct Fleet {
    url: String,
    root: Vec<u8>,
    folder: PathBuf,
    agents: Vec<Agent>,
}

impl Fleet {
    fn new(world: &World, url: &str) -> Self {
        let root = fs::read(world.path("repo/metadata/1.root.json")).expect("there");
        let mut fleet = Self { url: url.into(), root, folder: world.path("devices"), agents: Vec::new() };
        fleet.agents = (0..DEVICES).map(|n| fleet.open(n)).collect();
        fleet
    }

    fn open(&self, n: usize) -> Agent {
        let store = self.folder.join(n.to_string());
        fs::create_dir_all(&store).expect("made");
        fs::write(store.join(".device-key"), key(n)).expect("written");
        let limits = Config { min_inferences: 5, health_window_s: 0, ..Config::default() };
        let transport = Box::new(HttpTransport::new(&self.url));
        let config = AgentConfig { limits, ..AgentConfig::new(store, "digits", &self.root, transport) };
        Agent::open(config, now()).expect("opens")
    }

    /// Every device polls, and what it tries turns out well.
    fn poll(&mut self) -> Vec<Outcome> {
        let poll = |agent: &mut Agent| {
            let outcome = agent.poll(now());
            assert!(!matches!(outcome, Outcome::Failed(_) | Outcome::Rejected { .. }), "{outcome:?}");
            agent.confirm_healthy(now()).expect("stored");
            outcome
        };
        // Most of the time they wait, for the disk and for the server.
        std::thread::scope(|scope| {
            let parts = self.agents.chunks_mut(DEVICES / 8);
            let polling: Vec<_> =
                parts.map(|part| scope.spawn(|| part.iter_mut().map(poll).collect::<Vec<_>>())).collect();
            polling.into_iter().flat_map(|part| part.join().expect("no device panics")).collect()
        })
    }

    /// The devices that serve release `number`.
    #[track_caller]
    fn serve(&self, number: u64, whose: impl Fn(u16) -> bool) {
        for (n, agent) in self.agents.iter().enumerate() {
            let serving = agent.serving().map(|serving| serving.version.number);
            assert_eq!(
                serving == Some(number),
                whose(bucket_of(n)),
                "device {n}, bucket {}: {serving:?}",
                bucket_of(n)
            );
        }
    }
}

fn key(n: usize) -> [u8; 16] {
    [u8::try_from(n).expect("few"); 16]
}

fn bucket_of(n: usize) -> u16 {
    bucket(SALT.as_bytes(), &key(n))
}

fn below(bound: u16) -> usize {
    (0..DEVICES).filter(|&n| bucket_of(n) < bound).count()
}

#[test]
fn a_rollout_reaches_whom_it_should() {
    // The steps are worth something: each of them reaches devices that the one before did not.
    assert!(0 < below(500) && below(500) < below(1_000) && below(1_000) < below(3_000) && below(3_000) < below(9_900));
    let world = world();
    let server = world.serve();
    let mut fleet = Fleet::new(&world, &server.url);
    fleet.poll();
    fleet.serve(1, |_| true);

    // Published, but the rollout does not name it.
    world.pack(2, "digits_v2").ok();
    world.publish(2, &["--salt", SALT, "--limit", "now:10:canary"]).ok();
    fleet.poll();
    fleet.serve(1, |_| true);

    let baseline = ["--baseline", "1"];
    set(&world, "2", "canary", "10", &baseline).ok();
    let outcomes = fleet.poll();
    fleet.serve(2, |bucket| bucket < 1_000);
    for (n, (agent, outcome)) in fleet.agents.iter().zip(&outcomes).enumerate() {
        let assignment = agent.assignment().expect("there is a rollout");
        let (arm, why) = match bucket_of(n) {
            0..1_000 => (Arm::Treatment, None),
            8_900..9_900 => (Arm::Control, Some(Why::Control)),
            9_900.. => (Arm::HoldOut, Some(Why::HoldOut)),
            _ => (Arm::Outside, Some(Why::Outside)),
        };
        assert_eq!((assignment.arm, assignment.stage(), assignment.rollout.as_str()), (arm, Stage::Canary, "digits-2"));
        match outcome {
            Outcome::Trial(version) => assert_eq!((version.number, why), (2, None)),
            Outcome::UpToDate { newest: Some((2, NotTaken::Rollout(found))) } => assert_eq!(Some(*found), why),
            other => panic!("{other:?}"),
        }
    }
    // Started again without a network, a device knows its part.
    let n = (0..DEVICES).find(|&n| bucket_of(n) < 1_000).expect("there is one");
    drop(fleet.agents.remove(n));
    fleet.agents.insert(n, fleet.open(n));
    assert_eq!(fleet.agents[n].assignment().map(|assignment| assignment.arm), Some(Arm::Treatment));

    // Further than its signers allow: nothing is signed. They allow more, and it goes on from where it is.
    let refused = set(&world, "2", "canary", "30", &baseline);
    assert_eq!((refused.code, refused.json()["error"]["code"].as_u64()), (5, Some(750)));
    assert_eq!(set(&world, "2", "full", "10", &baseline).code, 5);
    world.publish(2, &["--limit", "now:50:canary"]).ok();
    set(&world, "2", "canary", "30", &baseline).ok();
    fleet.poll();
    fleet.serve(2, |bucket| bucket < 3_000);

    // Less than before: who has it keeps it.
    set(&world, "2", "canary", "5", &baseline).ok();
    fleet.poll();
    fleet.serve(2, |bucket| bucket < 3_000);
    set(&world, "2", "hold", "0", &baseline).ok();
    fleet.poll();
    fleet.serve(2, |bucket| bucket < 3_000);

    set(&world, "2", "abort", "0", &baseline).ok();
    let outcomes = fleet.poll();
    let back = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::RolledBack(version) if version.number == 1));
    assert_eq!(back.count(), below(3_000));
    fleet.serve(1, |_| true);
    // The same attempt once more reaches nobody who went back.
    set(&world, "2", "canary", "30", &baseline).ok();
    fleet.poll();
    fleet.serve(1, |_| true);

    // Two people sign another attempt, for everybody.
    world.publish(2, &["--limit", "now:100:full", "--attempt", "2"]).ok();
    set(&world, "2", "full", "99", &baseline).ok();
    fleet.poll();
    fleet.serve(2, |bucket| bucket < 9_900);
    set(&world, "2", "full", "100", &baseline).ok();
    fleet.poll();
    fleet.serve(2, |_| true);
    set(&world, "2", "revert", "0", &baseline).ok();
    fleet.poll();
    fleet.serve(1, |_| true);
}

#[test]
fn what_the_program_refuses() {
    let world = world();
    world.pack(2, "digits_v2").ok();
    let check = |ran: Ran, exit: i32, code: u64| {
        let found = serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap_or_default();
        assert_eq!((ran.code, found["error"]["code"].as_u64()), (exit, Some(code)), "{}{}", ran.stdout, ran.stderr);
    };
    world.publish(2, &["--salt", "a", "--security-epoch", "1"]).ok();
    check(world.publish(2, &["--json", "--salt", "b"]), 2, 743);
    check(world.publish(2, &["--json", "--security-epoch", "0"]), 2, 745);
    check(world.publish(2, &["--json", "--hardware", &"x".repeat(65)]), 2, 742);
    check(world.publish(2, &["--json"]), 2, 708);
    world.pack(3, "digits_v2").ok();
    check(world.publish(3, &["--json", "--salt", "a"]), 2, 744);
    check(world.publish(3, &["--json", "--security-epoch", "0"]), 2, 745);
    world.publish(3, &["--limit", "2099-01-01:1:canary"]).ok();
    check(set(&world, "3", "canary", "1", &[]), 5, 750);
    check(set(&world, "2", "canary", "1", &["--attempt", "2"]), 5, 750);
    check(set(&world, "2", "canary", "1", &["--rollout", "digits-1"]), 2, 751);
    check(set(&world, "2", "canary", "1", &["--rollout", "a b"]), 2, 748);
    check(set(&world, "2", "revert", "0", &[]), 2, 748);
    assert_eq!(set(&world, "2", "later", "1", &[]).code, 2);
    assert_eq!(set(&world, "2", "canary", "0.001", &[]).code, 2);
    assert_eq!(set(&world, "9", "canary", "1", &[]).code, 2);
    // Nobody said anything since.
    let show = world.run(&["--json", "rollout", "show", "--repo", "repo", "--model", "digits"]).ok();
    assert_eq!(show.json()["directive"]["candidate"]["number"], 1);
    // The online key is replaced by the targets keys, and what it said stays.
    world.run(&["keys", "new", "--plain", "--role", "rollout", "--name", "2", "--out", "keys"]).ok();
    let rotate = ["repo", "rotate", "--repo", "repo", "--role", "rollout", "--model", "digits"];
    let keys = ["--new-key", "keys/rollout-2.key", "--authority-key", "keys/targets.key"];
    world.run(&[&rotate[..], &keys, &ONLINE].concat()).ok();
    check(set(&world, "2", "canary", "1", &[]), 3, 705);
    let renew = ["rollout", "renew", "--repo", "repo", "--model", "digits", "--key", "keys/rollout-2.key"];
    world.run(&[&renew[..], &ONLINE].concat()).ok();
    assert_eq!(world.device("repo", "store").ok().json()["serving"]["version"], "1.0.0");
}
