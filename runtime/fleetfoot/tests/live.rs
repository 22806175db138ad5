//! Live handles over a signed repository: threads that never see a swap, candidates in the shadow that nobody sees, versions that fail and
//! are taken back without a network, and outcomes that come later.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fleetfoot::{
    Agent, AgentConfig, Live, LiveConfig,
    agent::Outcome,
    conditions::{Situation, UpdatePolicy, Window},
    format::record::Arm,
    format::record::Reason,
    live::{CacheConfig, Conditions, GateConfig, Part, ShadowBudget},
    transport::FolderTransport,
};
use fleetfoot_update::{Config, NotTaken, ShadowGate};
use support::{Body, INPUT, MODEL, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };
const SHADOW: Config =
    Config { shadow: Some(ShadowGate { min_runs: 50, bake_s: 0, agreement_bp: 9000, stays: false }), ..LIMITS };

fn config(dir: &Path, limits: Config, live: LiveConfig) -> AgentConfig {
    let transport = Box::new(FolderTransport::new(dir.join("repository")));
    let root = Repository::new(&dir.join("root")).root();
    let config = AgentConfig::new(dir.join("store"), MODEL, &root, transport);
    AgentConfig { limits, live, kernels: kernels(), ..config }
}

/// A device with `first` active, watched no more, and a repository that offers `second`, too.
fn device(dir: &Path, first: &Release, second: &Release, config: impl Fn() -> AgentConfig) -> Agent {
    let mut repository = Repository::new(&dir.join("repository"));
    repository.publish(std::slice::from_ref(first));
    let mut agent = Agent::open(AgentConfig { limits: LIMITS, ..config() }, NOW).unwrap();
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    agent.tick(NOW + 100_000).unwrap();
    agent.close(NOW + 100_000).unwrap();
    repository.publish(&[first.clone(), second.clone()]);
    Agent::open(config(), NOW).unwrap()
}

/// One line for an outcome, to be compared with.
fn word(outcome: Option<Outcome>) -> String {
    match outcome {
        None => "nothing".into(),
        Some(Outcome::Shadow(version)) => format!("shadow {}", version.number),
        Some(Outcome::Trial(version)) => format!("trial {}", version.number),
        Some(Outcome::Committed(version)) => format!("committed {}", version.number),
        Some(Outcome::Rejected { version, reason, .. }) => format!("rejected {} {}", version.number, reason.0),
        Some(Outcome::UpToDate { newest: Some((number, NotTaken::Rejected(reason))) }) => {
            format!("{number} stays rejected {}", reason.0)
        }
        Some(other) => format!("{other:?}"),
    }
}

/// Input `n`, different for each `n`.
fn input(n: u64) -> [u8; 64] {
    let mix = |x: u64| (x ^ (x >> 29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    std::array::from_fn(|i| mix(mix(n * 64 + i as u64 + 1)).to_be_bytes()[0])
}

fn serving(live: &Live) -> u64 {
    live.status().version.map_or(0, |version| version.number)
}

/// Calls with different inputs until `number` serves; returns how many it took. Every answer is right for the version that gave it.
#[track_caller]
fn calls_until(live: &Live, number: u64, releases: &[&Release], most: u64) -> u64 {
    for n in 0..most {
        if serving(live) == number {
            return n;
        }
        let answer = live.run(&[&input(n)]).unwrap();
        let release = releases.iter().find(|release| release.number == answer.version.number).unwrap();
        assert_eq!(answer.outputs[0], release.answer(&input(n)), "call {n}");
    }
    panic!("{number} does not serve after {most} calls, {} does", serving(live));
}

#[test]
fn four_threads_and_hundreds_of_swaps() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Release::new(1), Release::new(2));
    let mut agent = device(dir.path(), &one, &two, || config(dir.path(), LIMITS, LiveConfig::default()));
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    let live = agent.live();
    let (over, calls, seen) = (AtomicBool::new(false), AtomicU64::new(0), [const { AtomicU64::new(0) }; 2]);
    thread::scope(|scope| {
        for thread in 0..4u64 {
            let (live, over, calls, seen) = (live.clone(), &over, &calls, &seen);
            let check = |number: u64, n: u64, output: &[u8]| {
                assert_eq!(output, Release::new(number).answer(&input(n)), "version {number}");
                seen[number as usize - 1].fetch_add(1, Ordering::Relaxed);
                calls.fetch_add(1, Ordering::Relaxed);
            };
            scope.spawn(move || {
                let mut n = thread << 40;
                while !over.load(Ordering::Relaxed) {
                    let answer = live.run(&[&input(n)]).unwrap();
                    assert!(!answer.fallback && !answer.cached);
                    check(answer.version.number, n, &answer.outputs[0]);
                    // A pinned version stays what it was, however often others take over.
                    let mut session = live.session().unwrap();
                    let pinned = session.version().number;
                    for _ in 0..20 {
                        n += 1;
                        session.set_input(0, &input(n)).unwrap();
                        session.run().unwrap();
                        assert_eq!(session.version().number, pinned);
                        check(pinned, n, session.output(0).unwrap());
                    }
                }
            });
        }
        for swap in 0..400 {
            let to = 1 + swap % 2;
            assert_eq!(agent.rollback(&to.to_string()).unwrap().number, to);
            assert_eq!(serving(&live), to);
            assert_eq!(live.session().unwrap().version().number, to, "new sessions get the new version at once");
            // Where the disk is fast the threads get their turn, too.
            let before = calls.load(Ordering::Relaxed);
            while calls.load(Ordering::Relaxed) < before + 8 {
                thread::yield_now();
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    let [one, two] = seen.map(AtomicU64::into_inner);
    println!("{one} answers of version 1, {two} of version 2, 400 swaps");
    assert!(one > 1000 && two > 1000);
}

#[test]
fn a_trial_needs_no_call_but_the_inferences() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Release::new(1), Release::new(2));
    let mut agent = device(dir.path(), &one, &two, || config(dir.path(), LIMITS, LiveConfig::default()));
    let live = agent.live();
    assert_eq!(serving(&live), 1);
    assert_eq!(word(Some(agent.poll(NOW))), "trial 2");
    assert_eq!(serving(&live), 2);
    for n in 0..9 {
        live.run(&[&input(n)]).unwrap();
    }
    // What does not fit is the caller's mistake, not the model's.
    assert_eq!(live.run(&[&[1, 2, 3]]).unwrap_err().code(), 308);
    assert_eq!(live.run(&[]).unwrap_err().code(), 307);
    assert_eq!(live.run(&[&INPUT, &INPUT]).unwrap_err().code(), 307);
    assert_eq!(word(agent.tick(NOW).unwrap()), "trial 2");
    live.session().unwrap().run().unwrap();
    assert_eq!(word(agent.tick(NOW).unwrap()), "committed 2");
    assert_eq!(word(agent.tick(NOW).unwrap()), "nothing");
    assert_eq!(serving(&live), 2);

    // The handle outlives the agent, and a trial that is interrupted does not serve on.
    let mut repository = Repository::new(&dir.path().join("repository"));
    (0..3).for_each(|_| repository.publish(&[Release::new(3)]));
    assert_eq!(word(Some(agent.poll(NOW))), "trial 3");
    assert_eq!(serving(&live), 3);
    drop(agent);
    assert_eq!(serving(&live), 2);
    assert_eq!(live.run(&[&INPUT]).unwrap().outputs[0], two.output());
}

/// A version that fails silently, and the gate that sees it.
struct Fault {
    name: &'static str,
    before: Body,
    body: Body,
    gates: GateConfig,
    reason: Reason,
}

fn faults() -> Vec<Fault> {
    let gates = GateConfig::default;
    let range = || GateConfig { ranges: vec![Some((-100.0, 100.0))], ..gates() };
    vec![
        Fault {
            name: "constant",
            before: Body::Table,
            body: Body::Constant(9),
            gates: gates(),
            reason: Reason::CONSTANT,
        },
        Fault {
            name: "out of range",
            before: Body::Constant(100),
            body: Body::Constant(101),
            gates: range(),
            reason: Reason::OUT_OF_RANGE,
        },
        Fault {
            name: "infinite",
            before: Body::Float(1.0),
            body: Body::Float(f32::MAX),
            gates: gates(),
            reason: Reason::NOT_A_NUMBER,
        },
        Fault {
            name: "slow",
            before: Body::Table,
            body: Body::Slow(2),
            gates: GateConfig { slow_from_us: 20, ..gates() },
            reason: Reason::SLOWER,
        },
    ]
}

#[test]
fn silent_failures_are_taken_back_within_200_inferences_without_a_network() {
    for Fault { name, before, body, gates, reason } in faults() {
        for committed in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let name = format!("{name}, {}", if committed { "after the commit" } else { "on trial" });
            let one = Release { body: before, ..Release::new(1) };
            let two = Release { body, ..Release::new(2) };
            let live = LiveConfig { gates: gates.clone(), ..LiveConfig::default() };
            let limits = Config { min_inferences: 1000, ..LIMITS };
            let open = || config(dir.path(), limits, live.clone());
            let mut agent = device(dir.path(), &one, &two, open);
            assert_eq!(word(Some(agent.poll(NOW))), "trial 2", "{name}");
            fs::rename(dir.path().join("repository"), dir.path().join("away")).unwrap();
            if committed {
                assert_eq!(word(agent.confirm_healthy(NOW).unwrap()), "committed 2", "{name}");
                // Over a restart, in which nothing is known of the version before but its file.
                agent.close(NOW).unwrap();
                agent = Agent::open(open(), NOW).unwrap();
            }
            let live = agent.live();
            assert_eq!(serving(&live), 2, "{name}");
            let calls = calls_until(&live, 1, &[&one, &two], 201);
            println!("{name}: seen after {calls} inferences");
            assert!(live.wait(Duration::ZERO), "{name}");
            assert_eq!(word(agent.tick(NOW).unwrap()), format!("rejected 2 {}", reason.0), "{name}");
            assert!(!live.wait(Duration::ZERO), "{name}");
            assert_eq!(agent.serving().unwrap().version.number, 1, "{name}");
            drop(agent);
            fs::rename(dir.path().join("away"), dir.path().join("repository")).unwrap();
            let mut agent = Agent::open(open(), NOW).unwrap();
            assert_eq!(serving(&agent.live()), 1, "{name}");
            assert_eq!(word(Some(agent.poll(NOW))), format!("2 stays rejected {}", reason.0), "{name}");
        }
    }
}

#[test]
fn answers_of_a_version_that_fails_come_from_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let one = Release { body: Body::Float(1.0), ..Release::new(1) };
    let two = Release { body: Body::Float(f32::MAX), ..Release::new(2) };
    let mut agent = device(dir.path(), &one, &two, || config(dir.path(), LIMITS, LiveConfig::default()));
    assert_eq!(word(Some(agent.poll(NOW))), "trial 2");
    let live = agent.live();
    let mut pinned = live.session().unwrap();
    let answer = live.run(&[&INPUT]).unwrap();
    assert_eq!((answer.version.number, answer.fallback), (1, true));
    assert_eq!(answer.outputs[0], one.output());
    assert_eq!(live.status().fallbacks, 1);
    // The pinned session has its own answers.
    pinned.set_input(0, &INPUT).unwrap();
    pinned.run().unwrap();
    assert_eq!((pinned.output(0).unwrap(), pinned.is_current()), (&two.output()[..], false));
    assert_eq!(word(agent.tick(NOW).unwrap()), "rejected 2 464");
}

#[test]
fn what_is_no_fault_of_the_version_does_not_count() {
    let quiet = |name: &str, before: Body, body: Body, ranges: Vec<Option<(f32, f32)>>| {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Release { body: before, ..Release::new(1) }, Release { body, ..Release::new(2) });
        let gates = GateConfig { ranges, ..GateConfig::default() };
        let live = LiveConfig { gates, ..LiveConfig::default() };
        let limits = Config { min_inferences: 1500, ..LIMITS };
        let mut agent = device(dir.path(), &one, &two, || config(dir.path(), limits, live.clone()));
        assert_eq!(word(Some(agent.poll(NOW))), "trial 2", "{name}");
        let live = agent.live();
        for n in 0..2000 {
            live.run(&[&input(n)]).unwrap();
            assert_eq!(serving(&live), 2, "{name}, call {n}");
        }
        word(agent.tick(NOW).unwrap())
    };
    assert_eq!(quiet("a good version", Body::Table, Body::Table, vec![]), "committed 2");
    assert_eq!(quiet("a world in which nothing changes", Body::Constant(3), Body::Constant(4), vec![]), "committed 2");
    // The version before leaves the range with the same inputs: bad inputs, of which nothing follows, neither good nor bad.
    let range = vec![Some((-100.0, 100.0))];
    assert_eq!(quiet("bad inputs", Body::Constant(120), Body::Constant(121), range), "trial 2");
}

#[test]
fn one_device_that_has_nothing_to_go_back_to_keeps_what_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&[Release { body: Body::Float(f32::MAX), ..Release::new(1) }]);
    let mut agent = Agent::open(config(dir.path(), LIMITS, LiveConfig::default()), NOW).unwrap();
    let live = agent.live();
    assert_eq!(live.run(&[&INPUT]).unwrap_err().code(), 429);
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    for n in 0..300 {
        assert!(!live.run(&[&input(n)]).unwrap().fallback);
    }
    assert_eq!((word(agent.tick(NOW).unwrap()), serving(&live)), ("nothing".into(), 1));
    assert_eq!(live.status().bad, 300);
}

/// All of the inferences, all of the time: for tests that would wait.
fn eager() -> LiveConfig {
    let shadow = ShadowBudget { share_bp: 10_000, duty_percent: 100, ..ShadowBudget::default() };
    LiveConfig { shadow, ..LiveConfig::default() }
}

/// Calls, and lets the agent look after what they show, until it says something else than `before`.
#[track_caller]
fn until_news(agent: &mut Agent, live: &Live, before: &str) -> String {
    let (start, one) = (Instant::now(), Release::new(1));
    for n in 0.. {
        let answer = live.run(&[&input(n)]).unwrap();
        if answer.version.number == 1 {
            assert_eq!(answer.outputs[0], one.answer(&input(n)), "what runs in the shadow is never seen");
        }
        let _ = live.wait(Duration::from_millis(1));
        let now = word(agent.tick(NOW).unwrap());
        if now != before {
            return now;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "nothing but {before}");
    }
    unreachable!()
}

#[test]
fn a_shadow_passes_or_is_rejected_unseen() {
    let rows: [(&str, Body, &str); 3] = [
        ("the same answers", Body::As(1), "trial 2"),
        ("other answers", Body::Shifted, "rejected 2 465"),
        ("one answer", Body::Constant(0), "rejected 2 465"),
    ];
    for (name, body, expected) in rows {
        let dir = tempfile::tempdir().unwrap();
        let two = Release { body, ..Release::new(2) };
        let mut agent = device(dir.path(), &Release::new(1), &two, || config(dir.path(), SHADOW, eager()));
        let live = agent.live();
        assert_eq!(word(Some(agent.poll(NOW))), "shadow 2", "{name}");
        assert_eq!(serving(&live), 1);
        assert_eq!(until_news(&mut agent, &live, "shadow 2"), expected, "{name}");
        assert!(live.status().shadow.is_none(), "{name}");
        let record = agent.record().candidate;
        assert_eq!(record.map(|c| c.attempts_left), expected.starts_with("trial").then_some(1), "{name}");
    }
}

/// It passes at noon, and serves at night.
#[test]
fn a_shadow_that_has_passed_waits_for_the_hours_of_updates() {
    let dir = tempfile::tempdir().unwrap();
    let two = Release { body: Body::As(1), ..Release::new(2) };
    let minute = Arc::new(AtomicU16::new(120));
    let open = || {
        let minute = Arc::clone(&minute);
        let now = move |_| Situation { local_minute: Some(minute.load(Ordering::Relaxed)), ..Situation::default() };
        let policy = UpdatePolicy { window: Window::parse("01:00-05:00"), ..UpdatePolicy::default() };
        AgentConfig { policy, conditions: Some(Box::new(now)), ..config(dir.path(), SHADOW, eager()) }
    };
    let mut agent = device(dir.path(), &Release::new(1), &two, open);
    let live = agent.live();
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 2");
    minute.store(720, Ordering::Relaxed);
    let runs = |agent: &Agent| match agent.record().candidate.unwrap().phase {
        fleetfoot::format::record::Phase::Shadow { runs, .. } => runs,
        other => panic!("{other:?}"),
    };
    let start = Instant::now();
    while runs(&agent) < 3 * 50 {
        assert!(start.elapsed() < Duration::from_secs(60));
        (0..50).for_each(|n| drop(live.run(&[&input(n)]).unwrap()));
        agent.tick(NOW).unwrap();
    }
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 2", "three times what it needs, and still not its time");
    assert_eq!(serving(&live), 1);
    minute.store(120, Ordering::Relaxed);
    assert_eq!(word(agent.tick(NOW).unwrap()), "trial 2");
    assert_eq!(serving(&live), 2);
}

#[test]
fn a_shadow_is_counted_and_rests_while_the_device_is_short_of_anything() {
    let dir = tempfile::tempdir().unwrap();
    let gate = ShadowGate { min_runs: 1_000_000, ..ShadowGate::default() };
    let limits = Config { shadow: Some(gate), ..LIMITS };
    let two = Release { body: Body::As(1), ..Release::new(2) };
    let mut agent = device(dir.path(), &Release::new(1), &two, || config(dir.path(), limits, eager()));
    let live = agent.live();
    agent.poll(NOW);
    let runs = |agent: &mut Agent| {
        agent.tick(NOW).unwrap();
        match agent.record().candidate.unwrap().phase {
            fleetfoot::format::record::Phase::Shadow { runs, agree, .. } => (runs, agree),
            other => panic!("{other:?}"),
        }
    };
    for conditions in [
        Conditions { low_battery: true, ..Conditions::default() },
        Conditions { hot: true, ..Conditions::default() },
        Conditions { low_memory: true, ..Conditions::default() },
    ] {
        live.set_conditions(conditions);
        (0..100).for_each(|n| drop(live.run(&[&input(n)]).unwrap()));
        thread::sleep(Duration::from_millis(20));
        assert_eq!(runs(&mut agent), (0, 0), "{conditions:?}");
    }
    live.set_conditions(Conditions::default());
    let start = Instant::now();
    while runs(&mut agent).0 < 100 {
        assert!(start.elapsed() < Duration::from_secs(60));
        (0..100).for_each(|n| drop(live.run(&[&input(n)]).unwrap()));
    }
    // What the agent has written is part of what the live handle knows: it goes on comparing in between.
    let (runs, agree) = runs(&mut agent);
    let status = live.status().shadow.unwrap();
    assert_eq!((runs, status.version.number), (agree, 2), "all agree");
    assert!(status.agreement.runs >= runs && status.agreement.agree == status.agreement.runs);
    assert!(status.agreement.correlation().is_none_or(|r| r > 0.999), "equal scores");
    assert!(status.dropped > 0, "calls do not wait for the shadow");

    // No memory for it: nothing is compared, and nothing is concluded.
    let dir = tempfile::tempdir().unwrap();
    let shadow = ShadowBudget { max_arena_bytes: 100, ..eager().shadow };
    let live = LiveConfig { shadow, ..eager() };
    let mut agent = device(dir.path(), &Release::new(1), &two, || config(dir.path(), SHADOW, live.clone()));
    agent.poll(NOW);
    (0..1000).for_each(|n| drop(agent.live().run(&[&input(n)]).unwrap()));
    assert_eq!(word(agent.tick(NOW + 9_000_000).unwrap()), "shadow 2");
}

#[test]
fn a_shadow_gives_way_to_a_newer_release_and_survives_damage() {
    let dir = tempfile::tempdir().unwrap();
    let same = |number| Release { body: Body::As(1), ..Release::new(number) };
    let waits = ShadowBudget { share_bp: 0, ..eager().shadow };
    let open = |shadow: &ShadowBudget| config(dir.path(), SHADOW, LiveConfig { shadow: shadow.clone(), ..eager() });
    let mut agent = device(dir.path(), &Release::new(1), &same(2), || open(&waits));
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 2");
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 2");
    let mut repository = Repository::new(&dir.path().join("repository"));
    (0..3).for_each(|_| repository.publish(&[Release::new(1), same(2), same(3)]));
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 3");
    assert_eq!(agent.live().status().shadow.unwrap().version.number, 3);
    agent.close(NOW).unwrap();

    // The file is damaged while the device is off: it is fetched again.
    let sha256 = fleetfoot_trust::sha256(&same(3).bundle());
    let path = dir.path().join(format!("store/kws/versions/{}.ff", fleetfoot::hex(&sha256)));
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"noise").unwrap();
    let mut agent = Agent::open(open(&eager().shadow), NOW).unwrap();
    let live = agent.live();
    assert_eq!((serving(&live), agent.record().candidate), (1, None));
    assert_eq!(word(Some(agent.poll(NOW))), "shadow 3");
    assert_eq!(until_news(&mut agent, &live, "shadow 3"), "trial 3");
}

fn panics(point: &str) {
    assert!(point != "shadow", "planted in the shadow");
}

fn hangs(point: &str) {
    if point == "shadow" {
        loop {
            thread::park();
        }
    }
}

#[test]
fn a_shadow_that_panics_or_hangs_is_not_seen_but_rejected() {
    let (long, short) = (Duration::from_secs(600), Duration::from_millis(200));
    for (at, deadline, expected) in [(panics as fn(&str), long, "rejected 2 466"), (hangs, short, "rejected 2 467")] {
        let dir = tempfile::tempdir().unwrap();
        let shadow = ShadowBudget { deadline, ..eager().shadow };
        let live = LiveConfig { shadow, ..eager() };
        let open = || AgentConfig { at: Some(at), ..config(dir.path(), SHADOW, live.clone()) };
        let mut agent = device(dir.path(), &Release::new(1), &Release { body: Body::As(1), ..Release::new(2) }, open);
        let live = agent.live();
        assert_eq!(word(Some(agent.poll(NOW))), "shadow 2");
        assert_eq!(until_news(&mut agent, &live, "shadow 2"), expected);
        assert_eq!(word(Some(agent.poll(NOW))), format!("2 stays {expected}").replace("rejected 2", "rejected"));
        assert_eq!(serving(&live), 1);
    }
}

/// Ends the process in the first inference of the shadow.
fn aborts(point: &str) {
    static FIRST: AtomicU32 = AtomicU32::new(0);
    if point == "shadow" && FIRST.fetch_add(1, Ordering::Relaxed) == 0 {
        std::process::abort();
    }
}

/// The body of a process that its shadow kills. Run by hand it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var("FLEETFOOT_LIVE_DIR") else { return };
    let open = AgentConfig { at: Some(aborts), ..config(dir.as_ref(), SHADOW, eager()) };
    let mut agent = Agent::open(open, NOW).unwrap();
    agent.poll(NOW);
    let (live, start) = (agent.live(), Instant::now());
    while live.status().shadow.is_some() {
        assert_eq!(live.run(&[&INPUT]).unwrap().outputs[0], Release::new(1).output());
        assert!(start.elapsed() < Duration::from_secs(60));
        thread::yield_now();
    }
    assert_eq!(serving(&live), 1);
    agent.close(NOW).unwrap();
}

#[test]
fn a_shadow_that_ends_the_process_is_given_up_after_its_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let two = Release { body: Body::As(1), ..Release::new(2) };
    drop(device(dir.path(), &Release::new(1), &two, || config(dir.path(), SHADOW, eager())));
    let spawn = || {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env("FLEETFOOT_LIVE_DIR", dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap()
    };
    let lived: Vec<bool> = (0..4).map(|_| spawn().success()).collect();
    assert_eq!(lived, [false, false, true, true], "two attempts");
    let mut agent = Agent::open(config(dir.path(), SHADOW, eager()), NOW).unwrap();
    assert_eq!(serving(&agent.live()), 1);
    assert_eq!(word(Some(agent.poll(NOW))), "2 stays rejected 405");
}

#[test]
fn a_million_cached_calls_across_swaps_are_never_stale() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Release::new(1), Release::new(2));
    let cache = Some(CacheConfig { max_bytes: 100_000, ttl: Duration::from_secs(3600) });
    let live = LiveConfig { cache, ..LiveConfig::default() };
    let mut agent = device(dir.path(), &one, &two, || config(dir.path(), LIMITS, live.clone()));
    agent.poll(NOW);
    agent.confirm_healthy(NOW).unwrap();
    let live = agent.live();
    let answers: Vec<_> = (0..256).map(|n| [one.answer(&input(n)), two.answer(&input(n))]).collect();
    let (over, serves, hits) = (AtomicBool::new(false), AtomicU64::new(2), AtomicU64::new(0));
    // `serves` is never the same twice: the number of the swap, and the version in the last digit; 0 there: a swap is on its way.
    thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|thread| {
                let (live, answers, serves, hits) = (live.clone(), &answers, &serves, &hits);
                scope.spawn(move || {
                    for call in 0..500_000u64 {
                        let n = (call * (7 + thread)) % 256;
                        let before = serves.load(Ordering::SeqCst);
                        let answer = live.run(&[&input(n)]).unwrap();
                        let after = serves.load(Ordering::SeqCst);
                        let number = answer.version.number;
                        assert_eq!(answer.outputs[0], answers[n as usize][number as usize - 1], "{answer:?}");
                        if before == after && !before.is_multiple_of(10) {
                            assert_eq!(number, before % 10, "an answer of a version that does not serve");
                        }
                        hits.fetch_add(answer.cached.into(), Ordering::Relaxed);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            for swap in 0u64.. {
                let to = 1 + swap % 2;
                serves.store((swap + 1) * 10, Ordering::SeqCst);
                agent.rollback(&to.to_string()).unwrap();
                serves.store((swap + 1) * 10 + to, Ordering::SeqCst);
                if over.load(Ordering::Relaxed) {
                    println!("{swap} swaps, {} of 1000000 calls from memory", hits.load(Ordering::Relaxed));
                    assert!(swap > 20);
                    return;
                }
                thread::sleep(Duration::from_millis(2));
            }
        });
        let ended: Vec<_> = callers.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        ended.into_iter().for_each(|ended| ended.unwrap());
    });
    assert!(hits.into_inner() > 100_000);
}

#[test]
fn outcomes_come_later_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Release::new(1), Release::new(2));
    let open = || config(dir.path(), LIMITS, LiveConfig::default());
    let mut agent = device(dir.path(), &one, &two, open);
    let live = agent.live();
    let (answer, id) = live.predict(&[&INPUT], NOW).unwrap();
    assert_eq!((answer.arm, id), (None, None), "no part in a rollout");
    let part = |arm| Part { rollout: "kws-2026-11".into(), arm };
    live.set_part(Some(part(Arm::Control)));
    let predict = |live: &Live, now| live.predict(&[&INPUT], now).unwrap().1.unwrap();
    let first: Vec<_> = (0..3).map(|_| predict(&live, NOW)).collect();
    agent.poll(NOW);
    live.set_part(Some(part(Arm::Treatment)));
    let (answer, second) = live.predict(&[&INPUT], NOW + 86_400).unwrap();
    assert_eq!((answer.arm, answer.version.number), (Some(Arm::Treatment), 2));
    live.outcome(first[0], 0.5, NOW).unwrap();
    assert_eq!(live.outcome(first[0], 0.5, NOW).unwrap_err().code(), 472);
    drop(agent);

    let agent = Agent::open(open(), NOW).unwrap();
    let live = agent.live();
    live.outcome(first[1], 2.0, NOW + 86_400).unwrap();
    live.outcome(second.unwrap(), -1.0, NOW + 90_000).unwrap();
    let code = |id, value, now| live.outcome(id, value, now).unwrap_err().code();
    assert_eq!(code(first[0], 0.5, NOW), 472, "also after a restart");
    assert_eq!(code(fleetfoot::live::PredictionId(12345), 0.5, NOW), 471);
    assert_eq!(code(first[2], f64::NAN, NOW), 473);
    assert_eq!(code(first[2], 1.0, NOW + 3 * 86_400 + 1), 471, "too late");
    let day = NOW / 86_400;
    let found: Vec<_> = live.outcomes().iter().map(|s| (s.day, s.arm, s.n, s.sum, s.sum_squares)).collect();
    assert_eq!(found, [(day, Arm::Control, 2, 2.5, 4.25), (day + 1, Arm::Treatment, 1, -1.0, 1.0)]);
}
