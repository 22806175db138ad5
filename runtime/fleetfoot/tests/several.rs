//! Several models in one store, each with an agent of its own: in threads of one process, and in several processes. They share the metadata and
//! nothing else.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use fleetfoot::{
    Agent, AgentConfig, Session,
    agent::Outcome,
    store::{OsDisk, Store},
    transport::FolderTransport,
};
use fleetfoot_update::Config;
use support::{INPUT, NOW, Release, Repository, kernels};

const LIMITS: Config =
    Config { attempts: 2, min_inferences: 1, health_window_s: 0, slots: 6, checkpoint: 0, ..Config::DEFAULT };
const MODELS: [&str; 4] = ["kws", "digits", "faces", "words"];
const UPDATES: u64 = 6;

fn config(dir: &Path, model: &str) -> AgentConfig {
    let repository = Repository::new(&dir.join("repository"));
    let transport = Box::new(FolderTransport::new(&repository.dir));
    let config = AgentConfig::new(dir.join("store"), model, &repository.root(), transport);
    AgentConfig { limits: LIMITS, kernels: kernels(), ..config }
}

fn release(model: &'static str, number: u64) -> Release {
    Release { model, filler_len: 1000, ..Release::new(number) }
}

/// One poll and, where it starts a trial, its end. Returns what serves.
fn update(agent: &mut Agent) -> u64 {
    match agent.poll(NOW) {
        Outcome::Trial(_) => {
            let serving = agent.serving().unwrap().clone();
            let mut session = Session::new(Arc::clone(&serving.model), kernels()).unwrap();
            session.set_input(0, &INPUT).unwrap();
            session.run().unwrap();
            assert_eq!(session.output(0).unwrap(), Release::new(serving.version.number).output());
            assert!(matches!(agent.record_inference(true, NOW).unwrap(), Some(Outcome::Committed(_))));
        }
        Outcome::UpToDate { .. } => {}
        other => panic!("{other:?}"),
    }
    agent.serving().map_or(0, |serving| serving.version.number)
}

/// The version of the timestamp that the store has.
fn floor(dir: &Path) -> u64 {
    let store = Store::open(&dir.join("store"), Arc::new(OsDisk)).unwrap();
    let timestamp = store.metadata().unwrap().remove("timestamp.json").unwrap();
    serde_json::from_slice::<serde_json::Value>(&timestamp).unwrap()["signed"]["version"].as_u64().unwrap()
}

#[test]
fn in_threads() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let mut agents = MODELS.map(|model| Agent::open(config(dir.path(), model), NOW).unwrap());
    for model in MODELS {
        assert_eq!(Agent::open(config(dir.path(), model), NOW).unwrap_err().code(), 423, "{model}");
    }
    for number in 1..=UPDATES {
        repository.publish(&MODELS.map(|model| release(model, number)));
        // All of them poll at the same time.
        let served: Vec<u64> = std::thread::scope(|scope| {
            let polls: Vec<_> = agents.iter_mut().map(|agent| scope.spawn(|| update(agent))).collect();
            polls.into_iter().map(|poll| poll.join().unwrap()).collect()
        });
        assert_eq!(served, [number; MODELS.len()]);
        assert_eq!(floor(dir.path()), number, "one floor for all");
    }
    for (model, agent) in MODELS.iter().zip(&mut agents) {
        let kept: Vec<u64> = agent.record().kept.iter().map(|v| v.number).collect();
        assert_eq!(kept, [6, 5, 4, 3, 2], "{model}");
        let files = std::fs::read_dir(dir.path().join(format!("store/{model}/versions"))).unwrap().count();
        assert_eq!(files, 5, "{model}");
    }
    agents[0].rollback("3").unwrap();
    assert_eq!(
        agents.each_ref().map(|agent| agent.serving().unwrap().version.number),
        [3, 6, 6, 6],
        "one alone goes back"
    );
}

/// One device process: every model whose lock it gets is brought up to date. Run by hand it does nothing.
#[test]
fn child() {
    let (Ok(dir), Ok(model)) = (std::env::var("FLEETFOOT_SEVERAL"), std::env::var("FLEETFOOT_MODEL")) else { return };
    match Agent::open(config(dir.as_ref(), &model), NOW) {
        Ok(mut agent) => println!("\nserves {}", update(&mut agent)),
        Err(error) => println!("\nerror {}", error.code()),
    }
}

fn spawn(dir: &Path, model: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env("FLEETFOOT_SEVERAL", dir)
        .env("FLEETFOOT_MODEL", model)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn said(child: std::process::Child) -> String {
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().find(|line| line.starts_with("serves ") || line.starts_with("error "));
    said.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn in_processes() {
    let dir = tempfile::tempdir().unwrap();
    let mut repository = Repository::new(&dir.path().join("repository"));
    let mut busy = 0;
    for number in 1..=UPDATES {
        repository.publish(&MODELS.map(|model| release(model, number)));
        // Two processes for each model, all at the same time: at least one of two gets the lock, and the other one says why not.
        let all: Vec<_> = MODELS.iter().chain(&MODELS).map(|model| (model, spawn(dir.path(), model))).collect();
        let said: Vec<_> = all.into_iter().map(|(model, child)| (model, said(child))).collect();
        for model in MODELS {
            let of_model: Vec<&str> =
                said.iter().filter(|(m, _)| **m == model).map(|(_, said)| said.as_str()).collect();
            assert!(of_model.iter().any(|said| *said == format!("serves {number}")), "{model}: {of_model:?}");
            assert!(
                of_model.iter().all(|said| *said == format!("serves {number}") || *said == "error 423"),
                "{of_model:?}"
            );
            busy += of_model.iter().filter(|said| **said == "error 423").count();
        }
        assert_eq!(floor(dir.path()), number);
    }
    println!("{busy} of {} found the model in use", UPDATES as usize * MODELS.len());
    // For certain, not by luck: the lock is held here.
    let agent = Agent::open(config(dir.path(), "kws"), NOW).unwrap();
    assert_eq!(said(spawn(dir.path(), "kws")), "error 423");
    assert_eq!(said(spawn(dir.path(), "words")), format!("serves {UPDATES}"));
    drop(agent);
    assert_eq!(said(spawn(dir.path(), "kws")), format!("serves {UPDATES}"));
}
