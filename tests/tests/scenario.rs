//! Plays `tests/scenario.txt` with the facade: what bindings must do is what this does.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::VecDeque,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use fleetfoot::{
    Agent, AgentConfig, Error, Kernels, Session,
    agent::{Event, Outcome},
    transport::FolderTransport,
};
use fleetfoot_tests::{root, scenario};

/// The device, between two steps.
struct Device {
    world: PathBuf,
    store: PathBuf,
    min_inferences: u32,
    agent: Option<Agent>,
    events: Arc<Mutex<VecDeque<&'static str>>>,
}

#[test]
fn plays() {
    let dir = tempfile::tempdir().unwrap();
    scenario::make(dir.path());
    let mut device = Device {
        world: dir.path().into(),
        store: dir.path().join("store"),
        min_inferences: 10,
        agent: None,
        events: Arc::default(),
    };
    let text = fs::read_to_string(root().join("tests/scenario.txt")).unwrap();
    let mut played = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (fails, words) = match &words[..] {
            [] | ["handles", ..] => continue,
            [first, ..] if first.starts_with('#') => continue,
            ["fails", code, words @ ..] => (code.parse().unwrap(), words),
            words => (0, words),
        };
        let code = device.step(words).map_or_else(|error| error.code(), |()| 0);
        assert_eq!(code, fails, "line {number}: {line}");
        played += 1;
    }
    assert!(played > 60, "{played} steps");
}

impl Device {
    fn step(&mut self, words: &[&str]) -> Result<(), Error> {
        match *words {
            ["limits", n] => self.min_inferences = n.parse().unwrap(),
            ["store", name] => self.store = self.world.join(name),
            ["open", repository] => self.open(repository)?,
            ["close"] => self.agent.take().unwrap().close(now())?,
            ["active", version] => assert_eq!(self.serving(), version),
            ["run", n] => assert_eq!(self.answer()?, fs::read(self.world.join(format!("output-{n}.bin"))).unwrap()),
            ["bad-input"] => self.bad_input()?,
            ["cancel"] => self.cancel()?,
            ["poll", kind, version, code] => {
                let outcome = self.agent().poll(now());
                assert_eq!(told(outcome)?, format!("{kind} {version} {code}"));
            }
            ["stage", kind, version, code] => {
                let outcome = self.agent().stage(now());
                assert_eq!(told(outcome)?, format!("{kind} {version} {code}"));
            }
            ["activate", kind, version, code] => {
                let outcome = self.agent().activate(now())?;
                let outcome = outcome.unwrap_or(Outcome::UpToDate { newest: None });
                assert_eq!(told(outcome)?, format!("{kind} {version} {code}"));
            }
            ["outcomes", n] => {
                for _ in 0..n.parse::<u32>().unwrap() {
                    self.agent().record_inference(true, now())?;
                }
            }
            ["outcome-bad"] => drop(self.agent().record_inference(false, now())?),
            ["confirm"] => drop(self.agent().confirm_healthy(now())?),
            ["rollback", version] => drop(self.agent().rollback(version)?),
            ["events", ref kinds @ ..] => {
                assert_eq!(self.events.lock().unwrap().drain(..).collect::<Vec<_>>(), kinds);
            }
            _ => panic!("no step {words:?}"),
        }
        Ok(())
    }

    fn agent(&mut self) -> &mut Agent {
        self.agent.as_mut().expect("open")
    }

    fn open(&mut self, repository: &str) -> Result<(), Error> {
        let transport = Box::new(FolderTransport::new(self.world.join(repository)));
        let root = fs::read(self.world.join("root.json")).unwrap();
        let mut config = AgentConfig::new(&self.store, scenario::MODEL, &root, transport);
        (config.limits.min_inferences, config.limits.health_window_s) = (self.min_inferences, 0);
        let events = Arc::clone(&self.events);
        config.on_event = Some(Box::new(move |event| events.lock().unwrap().push_back(kind(event))));
        self.agent = Some(Agent::open(config, now())?);
        Ok(())
    }

    fn serving(&mut self) -> String {
        self.agent().serving().map_or("-".into(), |serving| serving.version.version.clone())
    }

    fn session(&mut self) -> Result<(Session, Vec<u8>), Error> {
        let model = Arc::clone(&self.agent().serving().unwrap().model);
        Ok((Session::new(model, Kernels::detect())?, fs::read(self.world.join("input.bin")).unwrap()))
    }

    fn answer(&mut self) -> Result<Vec<u8>, Error> {
        let (mut session, input) = self.session()?;
        session.set_input(0, &input)?;
        session.run()?;
        Ok(session.output(0)?.to_vec())
    }

    fn bad_input(&mut self) -> Result<(), Error> {
        let (mut session, input) = self.session()?;
        assert_eq!(session.set_input(0, &input[1..]).unwrap_err().code(), 308);
        assert_eq!(session.set_input(1, &input).unwrap_err().code(), 307);
        assert_eq!(session.output(1).unwrap_err().code(), 307);
        Ok(())
    }

    fn cancel(&mut self) -> Result<(), Error> {
        let (mut session, input) = self.session()?;
        session.set_input(0, &input)?;
        assert!(!session.run_while(|| false)?);
        session.set_input(0, &input)?;
        assert!(session.run_while(|| true)?);
        assert_eq!(session.output(0)?, fs::read(self.world.join("output-1.bin")).unwrap());
        Ok(())
    }
}

/// An outcome in the words of the scenario.
fn told(outcome: Outcome) -> Result<String, Error> {
    Ok(match outcome {
        Outcome::UpToDate { .. } => "up-to-date - 0".into(),
        Outcome::Staged(version) => format!("staged {} 0", version.version),
        Outcome::Trial(version) => format!("trial {} 0", version.version),
        Outcome::Committed(version) => format!("active {} 0", version.version),
        Outcome::Rejected { version, reason, .. } => format!("rejected {} {}", version.version, reason.0),
        Outcome::Deferred { version, reason, .. } => format!("deferred {} {}", version.version, reason.0),
        Outcome::Failed(error) => return Err(error),
        other => panic!("{other:?}"),
    })
}

fn kind(event: &Event) -> &'static str {
    match event {
        Event::Refreshed => "refreshed",
        Event::Offered(_) => "offered",
        Event::Fetching { .. } => "fetching",
        Event::Fetched(_) => "fetched",
        Event::Validated { .. } => "validated",
        Event::Staged(_) => "staged",
        Event::TrialStarted(_) => "trial",
        Event::Committed(_) => "active",
        Event::Rejected { .. } => "rejected",
        Event::Deferred { .. } => "deferred",
        Event::Withdrawn(_) => "withdrawn",
        Event::RolledBack(_) => "rolled_back",
        Event::FellBack { .. } => "fell_back",
        Event::Skipped { .. } => "skipped",
        Event::StateLost => "state_lost",
        Event::Failed(_) => "failed",
        _ => "other",
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().cast_signed()
}
