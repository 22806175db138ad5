//! What a rollout says about the network is kept: agents on virtual time, each in its own time zone, at home and away.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use fleetfoot::{
    Agent, AgentConfig,
    agent::{Event, Outcome},
    conditions::{PollPolicy, Situation, UpdatePolicy, Window},
    format::record::Reason,
    transport::{Fetched, FolderTransport, Request, Sink, Transport, TransportError},
    update::Config,
};
use fleetfoot_trust::sha256;
use serde_json::{Value, json};
use support::{MODEL, NOW, Release, Repository, Rollout, kernels};

const DAY: i64 = 86_400;
const DEVICES: u32 = 12;

/// Writes down when which file was fetched.
struct Watched {
    inner: FolderTransport,
    clock: Arc<AtomicI64>,
    bundles: Arc<Mutex<Vec<i64>>>,
    metadata: Arc<Mutex<Vec<i64>>>,
}

impl Transport for Watched {
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let now = self.clock.load(Ordering::Relaxed);
        if request.path.starts_with("targets/models") {
            self.bundles.lock().unwrap().push(now);
        }
        if request.path == "metadata/timestamp.json" {
            self.metadata.lock().unwrap().push(now);
        }
        self.inner.fetch(request, sink)
    }
}

/// At home from 20 to 8 o'clock, where the network is free, but on some nights.
fn situation(device: u32, now: i64) -> Situation {
    let local = now + i64::from(device) * 3600;
    let minute = local.rem_euclid(DAY) / 60;
    let away = (local.div_euclid(DAY) + i64::from(device)) % 4 == 0;
    Situation {
        unmetered: Some(!(480..1200).contains(&minute) && !away),
        charging: None,
        local_minute: Some(minute as u16),
    }
}

fn directive(network: &Value, stage: &str) -> Rollout {
    let named = |number: u64| {
        let sha256 = fleetfoot::hex(&sha256(&Release::new(number).bundle()));
        json!({"number": number, "sha256": sha256, "attempt": 1})
    };
    let said = json!({
        "rollout": "kws-2", "model": MODEL, "stage": stage, "exposed_bp": 9_900,
        "candidate": named(2), "baseline": named(1), "network": network,
    });
    Rollout::Says(said.to_string().into_bytes())
}

#[test]
fn twelve_devices_and_no_violation() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let network = json!({
        "poll_s": 14_400, "poll_active_s": 3600, "apply_jitter_s": 3600, "metered": false, "window": "01:00-05:00",
    });
    repository.rollout = directive(&network, "full");
    repository.publish(&[Release::new(1), Release::new(2)]);
    let window = Window::parse("01:00-05:00").unwrap();
    let (mut violations, mut bundles_in_all, mut admissions_in_all, mut reached) = (0, 0, 0, 0);
    for device in 0..DEVICES {
        let clock = Arc::new(AtomicI64::new(NOW));
        let (bundles, metadata, admitted) = (Arc::default(), Arc::default(), Arc::new(Mutex::new(Vec::new())));
        let transport = Watched {
            inner: FolderTransport::new(&repository.dir),
            clock: Arc::clone(&clock),
            bundles: Arc::clone(&bundles),
            metadata: Arc::clone(&metadata),
        };
        let store = dir.path().join(format!("store-{device}"));
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join(".device-key"), [device as u8; 16]).unwrap();
        let config = AgentConfig::new(store, MODEL, &repository.root(), Box::new(transport));
        let (now_of, log) = (Arc::clone(&clock), Arc::clone(&admitted));
        let on_event = move |event: &Event| {
            if matches!(event, Event::Validated { .. } | Event::TrialStarted(_)) {
                log.lock().unwrap().push(now_of.load(Ordering::Relaxed));
            }
        };
        let limits = Config { min_inferences: 1, health_window_s: 0, ..Config::DEFAULT };
        let config = AgentConfig {
            limits,
            kernels: kernels(),
            conditions: Some(Box::new(move |now| situation(device, now))),
            on_event: Some(Box::new(on_event)),
            // What the application says is not what holds.
            policy: UpdatePolicy { window: Window::parse("10:00-11:00"), ..UpdatePolicy::default() },
            poll: PollPolicy { every_s: 600, active_s: 600 },
            ..config
        };
        let mut agent = Agent::open(config, NOW).unwrap();
        let mut now = NOW;
        while now < NOW + 8 * DAY {
            clock.store(now, Ordering::Relaxed);
            let outcome = agent.poll(now);
            assert!(!matches!(outcome, Outcome::Failed(_) | Outcome::Rejected { .. }), "{outcome:?}");
            agent.confirm_healthy(now).unwrap();
            let next = agent.next_poll(now);
            assert!(next > now && next - now < 2 * 3600, "{now}: {next}");
            now = next;
        }
        let inside = |now: &i64| window.contains(situation(device, *now).local_minute.unwrap());
        let free = |now: &i64| situation(device, *now).unmetered == Some(true);
        let (bundles, admitted) = (bundles.lock().unwrap(), admitted.lock().unwrap());
        violations += bundles.iter().filter(|now| !inside(now) || !free(now)).count();
        violations += admitted.iter().filter(|now| !inside(now)).count();
        (bundles_in_all, admissions_in_all) = (bundles_in_all + bundles.len(), admissions_in_all + admitted.len());
        reached += u32::from(agent.serving().is_some_and(|serving| serving.version.number == 2));
        let polls = metadata.lock().unwrap().len();
        assert!(
            (8 * 24 - 12..8 * 24 * 3 / 2).contains(&polls),
            "every hour, and when what waits may go on: device {device}, {polls}"
        );
    }
    println!(
        "{DEVICES} devices, 8 days: {bundles_in_all} bundles, {admissions_in_all} admissions and trials, {violations} violations"
    );
    // One in a hundred is held out, and who has bucket 9,900 and above stays with the baseline.
    assert!(reached >= DEVICES - 2, "{reached}");
    assert_eq!(violations, 0);
}

#[test]
fn how_often_to_poll() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let config = AgentConfig::new(
        dir.path().join("store"),
        MODEL,
        &repository.root(),
        Box::new(FolderTransport::new(&repository.dir)),
    );
    let poll = PollPolicy { every_s: 7200, active_s: 600 };
    let mut agent = Agent::open(AgentConfig { kernels: kernels(), poll, ..config }, NOW).unwrap();
    let mut check = |repository: &mut Repository, rollout: Rollout, period: i64| {
        repository.rollout = rollout;
        repository.publish(&[Release::new(1), Release::new(2)]);
        agent.poll(NOW);
        agent.confirm_healthy(NOW).unwrap();
        let (mut now, mut polls) = (NOW, 0);
        while now < NOW + 100 * period {
            now = agent.next_poll(now);
            polls += 1;
        }
        assert!((99..=102).contains(&polls), "{polls} polls in 100 periods of {period}");
    };
    check(&mut repository, Rollout::NoRole, 7200);
    check(&mut repository, directive(&json!({}), "canary"), 600);
    check(&mut repository, directive(&json!({"poll_s": 3600}), "canary"), 600);
    check(&mut repository, directive(&json!({"poll_active_s": 1200}), "canary"), 1200);
    check(&mut repository, directive(&json!({"poll_s": 3600, "poll_active_s": 1200}), "abort"), 3600);
    check(&mut repository, directive(&json!({"poll_s": 4_000_000_000u64, "poll_active_s": 0}), "abort"), 86_400);
    check(&mut repository, directive(&json!({"poll_s": 0, "poll_active_s": 0}), "hold"), 15);
}

/// A user's choice to keep off a metered network stands, whatever a rollout says.
#[test]
fn a_rollout_does_not_spend_the_users_money() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    repository.rollout = directive(&json!({"metered": true}), "full");
    repository.publish(&[Release::new(1), Release::new(2)]);
    let config = AgentConfig::new(
        dir.path().join("store"),
        MODEL,
        &repository.root(),
        Box::new(FolderTransport::new(&repository.dir)),
    );
    let metered = |_: i64| Situation { unmetered: Some(false), ..Situation::default() };
    let config = AgentConfig {
        policy: UpdatePolicy { unmetered: true, ..UpdatePolicy::default() },
        conditions: Some(Box::new(metered)),
        kernels: kernels(),
        ..config
    };
    let mut agent = Agent::open(config, NOW).unwrap();
    let outcome = agent.poll(NOW);
    assert!(matches!(outcome, Outcome::Deferred { reason: Reason::METERED, .. }), "{outcome:?}");
}
