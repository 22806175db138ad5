//! Reports of an agent: what inferences, updates and outcomes become in them, over days of virtual time, rollouts, restarts and deaths.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::{Event, Outcome, Reports},
    format::report::{Arm, Message, Report, State},
    health::{Answer, DAY_BYTES, ErrorKind, OUTCOME_METRIC, ReportConfig, ReportTransport},
    transport::{FolderTransport, TransportError},
    update::{Config, cohort::bucket},
};
use fleetfoot_trust::{ReportKey, sha256};
use serde_json::{Value, json};
use support::{Body, INPUT, MODEL, NOW, Release, Repository, Rollout, kernels};

const DAY: i64 = 86_400;
const HOUR: i64 = 3600;
/// Midnight after NOW.
const FIRST: i64 = NOW - NOW % DAY + DAY;
const LIMITS: Config =
    Config { attempts: 2, min_inferences: 5, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };

/// Day, nonce and number of a part.
type Part = (u32, [u8; 16], u8);

/// Takes everything in, each part of each day once; a part that comes twice must be the same.
#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<BTreeMap<Part, Report>>>,
    bytes: Arc<Mutex<BTreeMap<u32, usize>>>,
    twice: Arc<AtomicU32>,
    off: Arc<AtomicBool>,
    key: Option<ReportKey>,
}

impl ReportTransport for Receiver {
    fn post(&self, body: &[u8]) -> Result<Answer, TransportError> {
        if self.off.load(Ordering::Relaxed) {
            return Err(TransportError::Unreachable { url: "here".into(), source: "no network".into() });
        }
        let mut rest = body;
        while !rest.is_empty() {
            let (message, after) = Message::split(rest).unwrap();
            assert!(self.key.as_ref().is_none_or(|key| key.verify(&message)));
            let report = message.read().unwrap();
            let mut seen = self.seen.lock().unwrap();
            match seen.insert((report.day, report.nonce, report.part), report.clone()) {
                None => *self.bytes.lock().unwrap().entry(report.day).or_default() += rest.len() - after.len(),
                Some(before) => {
                    assert_eq!(before, report, "the same part is the same report");
                    self.twice.fetch_add(1, Ordering::Relaxed);
                }
            }
            rest = after;
        }
        Ok(Answer::Taken)
    }
}

impl Receiver {
    fn reports(&self) -> Vec<Report> {
        self.seen.lock().unwrap().values().cloned().collect()
    }

    fn inferences(&self) -> u64 {
        self.reports().iter().map(|report| u64::from(report.counts.inferences)).sum()
    }
}

fn config(dir: &Path, receiver: &Receiver) -> AgentConfig {
    let repository = Repository::new(&dir.join("root"));
    let transport = Box::new(FolderTransport::new(dir.join("repository")));
    let config = AgentConfig::new(dir.join("store"), MODEL, &repository.root(), transport);
    let of = ReportConfig { key: receiver.key.clone(), jitter_s: 1800, ..ReportConfig::new("linux-arm64") };
    let reports = Some(Reports { config: of, transport: Box::new(receiver.clone()) });
    AgentConfig { limits: LIMITS, kernels: kernels(), reports, ..config }
}

/// A canary of release 2 for everybody but the control arm, release 1 before it.
fn rolled_out(dir: &Path, two: &Release, stage: &str) -> Repository {
    let two = enveloped(two);
    let mut repository = Repository::new(&dir.join("repository"));
    let named = |release: &Release| json!({"number": release.number, "sha256": fleetfoot::hex(&sha256(&release.bundle())), "attempt": 1});
    let one = Release::new(1);
    let said: Value = json!({
        "rollout": "Kws-2026-11", "model": MODEL, "stage": stage, "exposed_bp": 5_000,
        "candidate": named(&two), "baseline": named(&one),
    });
    repository.rollout = Rollout::Says(said.to_string().into_bytes());
    repository.publish(&[one, two]);
    repository
}

/// A release that may be rolled out to everybody.
fn enveloped(release: &Release) -> Release {
    let limits = json!([{"not_before": "2026-01-01T00:00:00Z", "max_bp": 10_000, "max_stage": "full"}]);
    Release { envelope: json!({"salt": SALT, "limits": limits}), ..release.clone() }
}

const SALT: &str = "kws-2026-11/1";

fn put_key(dir: &Path, wanted: impl Fn(u16) -> bool) {
    let keys = (0u32..).map(|n| [n.to_le_bytes(); 4].concat());
    let key = keys.into_iter().find(|key| wanted(bucket(SALT.as_bytes(), key))).unwrap();
    fs::create_dir_all(dir.join("store")).unwrap();
    fs::write(dir.join("store/.device-key"), key).unwrap();
}

/// A week in a rollout, in use in some hours of each day, with the network gone for two days and the process started anew every night: every
/// inference is in one report, and no day has more than two kilobytes.
#[test]
fn a_week_in_a_rollout() {
    for (used, at_least) in [(8..18, 8), (0..24, 7)] {
        let dir = tempfile::tempdir().unwrap();
        put_key(dir.path(), |bucket| bucket < 4_000);
        rolled_out(dir.path(), &Release::new(2), "canary");
        let receiver = Receiver { key: Some(ReportKey::new([7; 32])), ..Receiver::default() };
        let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
        agent.poll(FIRST);
        agent.confirm_healthy(FIRST).unwrap();
        agent.poll(FIRST);
        let (mut ran, mut live) = (0, agent.live());
        for minute in (0..7 * 24 * 60).step_by(15) {
            let now = FIRST + minute * 60;
            receiver.off.store((2..4).contains(&(minute / (24 * 60))), Ordering::Relaxed);
            if used.contains(&(minute / 60 % 24)) {
                for _ in 0..20 {
                    live.run(&[&INPUT]).unwrap();
                    ran += 1;
                }
                agent.tick(now).unwrap();
            }
            agent.poll(now + 60);
            if minute % (24 * 60) == 23 * 60 {
                agent.close(now + 120).unwrap();
                agent = Agent::open(config(dir.path(), &receiver), now + 180).unwrap();
                live = agent.live();
            }
        }
        agent.poll(FIRST + 8 * DAY);
        agent.send_reports(FIRST + 8 * DAY).unwrap();
        assert_eq!(receiver.inferences(), ran, "every inference once");
        assert_eq!(receiver.twice.load(Ordering::Relaxed), 0);
        let bytes = receiver.bytes.lock().unwrap().clone();
        let mut parts = BTreeMap::<u32, usize>::new();
        for report in receiver.reports() {
            *parts.entry(report.day).or_default() += 1;
            // The latencies of 20 inferences may all be different ones.
            assert_eq!(report.latency.count(), u64::from(report.counts.inferences));
        }
        let (most, fewest) = (bytes.values().max().unwrap(), parts.values().rev().skip(2).min().unwrap());
        println!("in use {used:?}: at most {most} bytes a day, {parts:?} reports");
        assert!(*most < DAY_BYTES, "{bytes:?}");
        assert!(*fewest >= at_least, "about hourly: {parts:?}");
        let arms: Vec<_> =
            receiver.reports().iter().filter(|r| r.arm == Arm::Treatment).map(|r| r.rollout.clone()).collect();
        assert!(arms.len() > 7 * 5 && arms.iter().all(|name| name == "kws-2026-11"), "{arms:?}");
        assert!(receiver.reports().iter().all(|report| report.golden != [0; 8] || report.counts.inferences == 0));
    }
}

/// A day without a rollout is one report.
#[test]
fn a_day_without_a_rollout() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&[Release::new(1)]);
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    // A session of the application's own, counted with a probe.
    let model = Arc::clone(&agent.serving().unwrap().model);
    let mut session = Session::new(model, kernels()).unwrap();
    let mut probe = agent.observer().unwrap().probe();
    for hour in 0..50 {
        session.set_input(0, &INPUT).unwrap();
        probe.run(&mut session).unwrap();
        agent.poll(FIRST + hour * HOUR);
    }
    let reports = receiver.reports();
    let told: Vec<_> = reports.iter().map(|r| (r.part, r.counts.inferences, r.arm, r.state)).collect();
    assert_eq!(told.iter().map(|t| t.1).sum::<u32>(), 48, "{told:?}");
    assert!(told.iter().all(|t| t.2 == Arm::None && t.3 == State::Idle), "{told:?}");
    assert!(told.len() <= 3, "before there was a version, and two days: {told:?}");
    assert_eq!(agent.reports_waiting(), 0);
    // Switched off: nothing is left, and nothing is counted.
    drop(agent);
    let off = ReportConfig { enabled: false, ..ReportConfig::new("linux-arm64") };
    let reports = Some(Reports { config: off, transport: Box::new(receiver.clone()) });
    let agent = Agent::open(AgentConfig { reports, ..config(dir.path(), &receiver) }, FIRST + 50 * HOUR).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("store/kws/reports")).unwrap().count(), 0);
    drop(agent);
    let agent = Agent::open(AgentConfig { reports: None, ..config(dir.path(), &receiver) }, FIRST + 50 * HOUR).unwrap();
    assert!(agent.observer().is_none() && agent.reports_waiting() == 0);
    // A class of hardware that could be a name is not reported, and everything else goes on.
    let events = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&events);
    drop(agent);
    let named = Reports { config: ReportConfig::new("Jane's phone"), transport: Box::new(receiver.clone()) };
    let on_event: fleetfoot::agent::OnEvent =
        Box::new(move |event: &Event| log.lock().unwrap().push(event.to_string()));
    let bad = AgentConfig { reports: Some(named), on_event: Some(on_event), ..config(dir.path(), &receiver) };
    let agent = Agent::open(bad, FIRST + 51 * HOUR).unwrap();
    assert!(agent.serving().is_some() && events.lock().unwrap().iter().any(|event| event.contains("not reported")));
}

/// A candidate that fails on trial, and one that is refused before: the arm that it is in says so, in the part that is about it.
#[test]
fn what_goes_wrong_is_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 4_000);
    let two = Release { body: Body::Float(f32::MAX), ..Release::new(2) };
    rolled_out(dir.path(), &two, "canary");
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    assert!(matches!(agent.poll(FIRST), Outcome::Trial(_)));
    let live = agent.live();
    let answer = live.run(&[&INPUT]).unwrap();
    assert!(answer.fallback);
    live.run(&[&INPUT]).unwrap();
    // Inputs that do not fit are errors of the application.
    assert!(live.run(&[&INPUT[..7]]).is_err());
    agent.tick(FIRST + 1).unwrap();
    agent.poll(FIRST + DAY);
    agent.send_reports(FIRST + DAY).unwrap();
    let two = sha256(&two.bundle());
    let reports = receiver.reports();
    let of_two: Vec<&Report> = reports.iter().filter(|report| report.bundle[..] == two[..16]).collect();
    assert!(of_two.iter().all(|report| report.arm == Arm::Treatment), "{of_two:?}");
    let sum = |count: fn(&Report) -> u32| reports.iter().map(count).sum::<u32>();
    assert_eq!(of_two.iter().map(|r| r.counts.inferences).sum::<u32>(), 0, "an answer that is no number is none");
    assert_eq!(of_two.iter().map(|r| r.counts.errors[ErrorKind::Answer as usize]).sum::<u32>(), 1, "{of_two:?}");
    assert_eq!(of_two.iter().map(|r| r.counts.nan).sum::<u32>(), 1);
    assert_eq!(
        sum(|r| r.counts.fallbacks),
        2,
        "an answer of the version before, and the version taken back: {reports:?}"
    );
    assert_eq!(sum(|r| r.counts.errors[ErrorKind::Input as usize]), 1);
    let last = reports.iter().max_by_key(|report| (report.day, report.part)).unwrap();
    assert_eq!(last.state, State::Rejected);
    assert!((460..465).contains(&last.reason), "{}", last.reason);

    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 4_000);
    rolled_out(dir.path(), &Release { wrong_golden: true, ..Release::new(2) }, "canary");
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    assert!(matches!(agent.poll(FIRST), Outcome::Rejected { .. }));
    agent.poll(FIRST + DAY);
    agent.send_reports(FIRST + DAY).unwrap();
    let wrong: u32 = receiver.reports().iter().map(|r| r.counts.errors[ErrorKind::Golden as usize]).sum();
    assert_eq!(wrong, 1);
}

/// A candidate that kills the process on its trial is given up: that is a crash and a fallback, each once.
#[test]
fn deaths_on_trial_are_in_the_report() {
    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 4_000);
    rolled_out(dir.path(), &Release::new(2), "canary");
    assert!(spawn(dir.path(), 0, "").wait().unwrap().success());
    for _ in 0..LIMITS.attempts {
        assert!(!spawn(dir.path(), 1, "trial:0").wait().unwrap().success(), "it dies");
    }
    for day in [1, 2] {
        assert!(spawn(dir.path(), day, "trial:0").wait().unwrap().success(), "there is no trial any more");
    }
    let reports = reports(dir.path());
    let sum = |count: fn(&Report) -> u32| reports.iter().map(count).sum::<u32>();
    assert_eq!(sum(|r| r.counts.errors[ErrorKind::Crash as usize]), 1, "{reports:?}");
    assert_eq!(sum(|r| r.counts.fallbacks), 1, "{reports:?}");
    // But for those of outcomes, which say nothing of a state.
    let last = reports
        .iter()
        .filter(|report| report.metrics.is_empty())
        .max_by_key(|report| (report.day, report.part))
        .unwrap();
    assert_eq!((last.state, last.reason, last.arm), (State::Rejected, 405, Arm::Treatment));
}

/// While the candidate runs in the shadow the baseline answers: outcomes of that time are of neither side.
#[test]
fn outcomes_beside_a_shadow_are_of_neither_side() {
    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 2_000);
    rolled_out(dir.path(), &Release::new(2), "shadow");
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    for _ in 0..2 {
        agent.poll(FIRST);
        agent.confirm_healthy(FIRST).unwrap();
    }
    assert!(matches!(agent.poll(FIRST), Outcome::Shadow(_)));
    let (answer, id) = agent.live().predict(&[&INPUT], FIRST).unwrap();
    assert_eq!(answer.version.number, 1);
    agent.live().outcome(id.unwrap(), 1.0, FIRST).unwrap();
    agent.poll(FIRST + HOUR);
    agent.poll(FIRST + DAY);
    agent.send_reports(FIRST + DAY).unwrap();
    let reports = receiver.reports();
    let arms: Vec<_> = reports.iter().filter(|r| !r.metrics.is_empty()).map(|r| (r.arm, r.rollout.as_str())).collect();
    assert_eq!(arms, [(Arm::None, "kws-2026-11")]);
    assert!(reports.iter().any(|report| report.arm == Arm::Shadow), "{reports:?}");
}

/// The outcome of a prediction comes when another rollout has begun: it is of the one before.
#[test]
fn outcomes_of_a_rollout_that_is_over() {
    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 2_000);
    let mut repository = rolled_out(dir.path(), &Release::new(2), "ab");
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    for _ in 0..2 {
        agent.poll(FIRST);
        agent.confirm_healthy(FIRST).unwrap();
    }
    let (_, id) = agent.live().predict(&[&INPUT], FIRST).unwrap();
    let Rollout::Says(said) = &repository.rollout else { unreachable!("it was given one") };
    let said = String::from_utf8(said.clone()).unwrap().replace("Kws-2026-11", "Kws-2026-12");
    repository.rollout = Rollout::Says(said.into_bytes());
    repository.publish(&[Release::new(1), enveloped(&Release::new(2))]);
    agent.poll(FIRST + HOUR);
    assert_eq!(agent.assignment().unwrap().rollout, "Kws-2026-12");
    agent.live().outcome(id.unwrap(), 1.0, FIRST + HOUR).unwrap();
    agent.poll(FIRST + DAY);
    agent.send_reports(FIRST + DAY).unwrap();
    let reports = receiver.reports();
    let of: Vec<_> = reports.iter().filter(|r| !r.metrics.is_empty()).map(|r| (r.arm, r.rollout.as_str())).collect();
    assert_eq!(of, [(Arm::Treatment, "kws-2026-11")]);
}

/// A session that keeps a version which does not serve any more is not reported, also not when that version serves again.
#[test]
fn what_does_not_serve_is_not_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.publish(&[Release::new(1)]);
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    let mut session = Session::new(Arc::clone(&agent.serving().unwrap().model), kernels()).unwrap();
    let mut probe = agent.observer().unwrap().probe();
    let mut run = |times: u32| (0..times).for_each(|_| probe.run(&mut session).unwrap());
    run(3);
    repository.publish(&[Release::new(1), Release::new(2)]);
    agent.poll(FIRST + HOUR);
    agent.confirm_healthy(FIRST + HOUR).unwrap();
    assert_eq!(agent.serving().unwrap().version.number, 2);
    run(50);
    agent.poll(FIRST + 2 * HOUR);
    agent.rollback("1").unwrap();
    run(4);
    agent.poll(FIRST + DAY);
    agent.poll(FIRST + 2 * DAY);
    agent.send_reports(FIRST + 2 * DAY).unwrap();
    assert_eq!(receiver.inferences(), 7);
}

/// Outcomes are booked on the day of their prediction, each once, over restarts.
#[test]
fn outcomes_are_booked_on_their_day() {
    let dir = tempfile::tempdir().unwrap();
    put_key(dir.path(), |bucket| bucket < 2_000);
    rolled_out(dir.path(), &Release::new(2), "ab");
    let receiver = Receiver::default();
    let mut agent = Agent::open(config(dir.path(), &receiver), FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    agent.poll(FIRST);
    agent.confirm_healthy(FIRST).unwrap();
    let mut pending = Vec::new();
    let mut expected = BTreeMap::<u32, (u32, f64, f64)>::new();
    for day in 0..6i64 {
        let midday = FIRST + day * DAY + DAY / 2;
        for n in 0..10 {
            let (_, id) = agent.live().predict(&[&INPUT], midday + n).unwrap();
            pending.push((day, n, id.unwrap()));
        }
        // Some at once, some a day later, some two days later.
        pending.retain(|&(made, n, id)| {
            let late = day - made;
            if late < n % 3 {
                return true;
            }
            let value = n as f64 / 4.0;
            agent.live().outcome(id, value, midday + 100).unwrap();
            let sums = expected.entry((FIRST / DAY + made) as u32).or_default();
            *sums = (sums.0 + 1, sums.1 + value, sums.2 + value * value);
            false
        });
        agent.poll(midday + 200);
        agent.close(midday + 300).unwrap();
        agent = Agent::open(config(dir.path(), &receiver), midday + 400).unwrap();
        agent.poll(midday + 500);
    }
    agent.poll(FIRST + 7 * DAY);
    agent.send_reports(FIRST + 7 * DAY).unwrap();
    let mut found = BTreeMap::<u32, (u32, f64, f64)>::new();
    let mut nonces = BTreeMap::new();
    for report in receiver.reports() {
        assert_eq!(*nonces.entry(report.day).or_insert(report.nonce), report.nonce, "one nonce a day");
        for metric in report.metrics {
            assert_eq!(
                (metric.id, report.arm, report.rollout.as_str()),
                (OUTCOME_METRIC, Arm::Treatment, "kws-2026-11")
            );
            let sums = found.entry(report.day).or_default();
            *sums = (sums.0 + metric.n, sums.1 + metric.sum, sums.2 + metric.sum_squares);
        }
    }
    // Quarters, so that every sum is exact.
    assert_eq!(found, expected);
    let late = receiver.reports().iter().filter(|r| !r.metrics.is_empty() && r.counts.inferences == 0).count();
    assert!(late > 6, "{late} reports of what came late");
}

/// The body of the process that is killed: one day of a device. Run by hand it does nothing.
#[test]
fn child() {
    let Ok(dir) = std::env::var("FLEETFOOT_REPORTS_DIR") else { return };
    let day: i64 = std::env::var("FLEETFOOT_REPORTS_DAY").unwrap().parse().unwrap();
    let (dir, now) = (Path::new(&dir), FIRST + day * DAY + HOUR);
    let transport = OnDisk(dir.join("received"));
    let mut config = config(dir, &Receiver::default());
    config.at = Some(die_there);
    if let Some(reports) = &mut config.reports {
        reports.transport = Box::new(transport);
        reports.config.jitter_s = 0;
    }
    let mut agent = Agent::open(config, now).unwrap();
    agent.poll(now);
    agent.confirm_healthy(now).unwrap();
    let live = agent.live();
    for n in 0..10 {
        let (_, id) = live.predict(&[&INPUT], now + n).unwrap();
        if let Some(id) = id {
            live.outcome(id, 1.0, now + n).unwrap();
        }
    }
    agent.close(now + 100).unwrap();
}

/// A receiver in a folder: messages as they came.
struct OnDisk(std::path::PathBuf);

impl ReportTransport for OnDisk {
    fn post(&self, body: &[u8]) -> Result<Answer, TransportError> {
        fs::create_dir_all(&self.0).unwrap();
        die_there("posting");
        let n = fs::read_dir(&self.0).unwrap().count();
        fs::write(self.0.join(n.to_string()), body).unwrap();
        die_there("posted");
        Ok(Answer::Taken)
    }
}

fn die_there(point: &str) {
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let chosen = std::env::var("FLEETFOOT_REPORTS_AT").unwrap_or_default();
    let (name, count) = chosen.split_once(':').unwrap_or_default();
    if name == point && SEEN.fetch_add(1, Ordering::Relaxed).to_string() == count {
        std::process::abort();
    }
}

fn spawn(dir: &Path, day: i64, at: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("FLEETFOOT_REPORTS_DIR", dir)
        .env("FLEETFOOT_REPORTS_DAY", day.to_string())
        .env("FLEETFOOT_REPORTS_AT", at)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a receiver makes of everything that came: each part once.
fn reports(dir: &Path) -> Vec<Report> {
    let receiver = Receiver::default();
    for entry in fs::read_dir(dir.join("received")).unwrap() {
        receiver.post(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
    }
    receiver.reports()
}

/// Inferences and outcomes in everything that came.
fn received(dir: &Path) -> (u32, u32) {
    let reports = reports(dir);
    let metrics = reports.iter().flat_map(|report| &report.metrics);
    (reports.iter().map(|r| r.counts.inferences).sum(), metrics.map(|metric| metric.n).sum())
}

/// The process dies before, between and after every step of making and sending reports. What it had counted and closed is in the sums, once.
#[test]
fn a_death_at_every_step_counts_nothing_twice() {
    let mut deaths = 0;
    for point in ["report", "reported", "posting", "posted"] {
        for count in 0.. {
            let dir = tempfile::tempdir().unwrap();
            put_key(dir.path(), |bucket| bucket < 2_000);
            rolled_out(dir.path(), &Release::new(2), "ab");
            assert!(spawn(dir.path(), 0, "").wait().unwrap().success());
            assert!(spawn(dir.path(), 1, "").wait().unwrap().success());
            let died = !spawn(dir.path(), 2, &format!("{point}:{count}")).wait().unwrap().success();
            // Started again on the same day, it runs its ten.
            for day in 2..5 {
                assert!(spawn(dir.path(), day, "").wait().unwrap().success(), "{point}:{count}");
            }
            // A last look at what waits, on a day of its own.
            assert!(spawn(dir.path(), 6, "").wait().unwrap().success());
            let (inferences, outcomes) = received(dir.path());
            // The one that died had run none; the last day is not over.
            let closed = 5 + u32::from(!died);
            assert_eq!(inferences, 10 * closed, "{point}:{count}");
            assert_eq!(outcomes, 10 * closed, "{point}:{count}");
            if !died {
                assert!(count > 0, "{point} is never passed");
                break;
            }
            deaths += 1;
        }
    }
    println!("{deaths} deaths");
    assert!(deaths >= 6, "{deaths}");
}
