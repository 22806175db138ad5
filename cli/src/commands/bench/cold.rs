//! `bench --cold`: from nothing to the first answer, in a new process each time.
//!
//! ```text
//! each round is `fleetfoot bench MODEL --cold-round`, which times itself:
//!     verify     map the file, its hashes, its signatures      (a raw model: import, plan)
//!     load       prove the plan sound, decode it
//!     session    choose the instruction set, allocate the arena
//!     first      write the inputs, one inference
//! ```
//! A new process has neither memory nor code in place: page faults and cold caches are in the times. The file itself stays
//! in the page cache of the system, as it does on a device that has just stored it. What the system needs to
//! start a process is measured beside it and is no part of the sum.

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use fleetfoot::Session;
use serde_json::{Value, json};

use super::{Args, fill, micros, percentile};
use crate::{
    commands::run::kernels,
    failure::{Exit, Failure},
    models,
    output::{Output, table},
};

const STAGES: [&str; 4] = ["verify", "load", "session", "first"];

/// One round, in this process: the times of [`STAGES`].
pub(super) fn round(args: &Args, output: &Output) -> Result<(), Failure> {
    let mut times = Vec::with_capacity(STAGES.len());
    let mut start = Instant::now();
    let mut lap = || {
        let now = Instant::now();
        times.push(micros(now - start));
        start = now;
    };
    let opened = models::open(&args.model, &args.key, output)?;
    lap();
    let model = opened.load(&args.model)?.model;
    lap();
    let mut session = Session::new(model, kernels(args.isa.as_deref())?)?;
    lap();
    fill(&mut session)?;
    session.run()?;
    lap();
    output.result(|| format!("{times:?}"), || json!(times))
}

/// The least and the median of every stage, of their sum, and of the whole process.
pub(super) struct Cold {
    stages: Vec<(&'static str, Spread)>,
    pub(super) sum: Spread,
    process: Spread,
}

/// Of some times, in microseconds.
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
}

impl Spread {
    fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self { min: percentile(&times, 0), p50: percentile(&times, 50), p99: percentile(&times, 99) }
    }
}

impl Cold {
    pub(super) fn measure(args: &Args) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|e| Failure::io("find", "this program".as_ref(), &e))?;
        let mut rounds = Vec::new();
        let mut process = Vec::new();
        // The first round brings program and model into the page cache.
        for round in 0..=args.runs {
            let start = Instant::now();
            let times = ask(&program, args)?;
            if round > 0 {
                process.push(micros(start.elapsed()));
                rounds.push(times);
            }
        }
        let column = |stage: usize| rounds.iter().map(|times| times[stage]).collect();
        let stages = STAGES.iter().enumerate().map(|(at, name)| (*name, Spread::of(column(at)))).collect();
        let sum = Spread::of(rounds.iter().map(|times| times.iter().sum()).collect());
        Ok(Self { stages, sum, process: Spread::of(process) })
    }

    /// The median of one of [`STAGES`].
    pub(super) fn p50_us(&self, stages: &[&str]) -> f64 {
        self.stages.iter().filter(|(name, _)| stages.contains(name)).map(|(_, spread)| spread.p50).sum()
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let row = |name: &str, spread: &Spread| {
            vec![
                name.to_string(),
                format!("{:.1}", spread.min),
                format!("{:.1}", spread.p50),
                format!("{:.1}", spread.p99),
            ]
        };
        let stages = self.stages.iter().map(|(name, spread)| row(name, spread));
        let last = [row("together", &self.sum), row("process, from start to end", &self.process)];
        table(&["stage", "min us", "p50 us", "p99 us"], stages.chain(last))
    }

    pub(super) fn json(&self) -> Value {
        let row = |name: &str, spread: &Spread| json!({ "name": name, "min_us": spread.min, "p50_us": spread.p50, "p99_us": spread.p99 });
        let stages: Vec<Value> = self.stages.iter().map(|(name, spread)| row(name, spread)).collect();
        json!({ "stages": stages, "together": row("together", &self.sum), "process": row("process", &self.process) })
    }
}

/// The times of one round in a process of its own.
fn ask(program: &Path, args: &Args) -> Result<[f64; STAGES.len()], Failure> {
    let mut command = Command::new(program);
    command.args(["--json", "bench", "--cold-round"]).arg(&args.model);
    args.key.iter().for_each(|key| {
        command.arg("--key").arg(key);
    });
    if let Some(isa) = &args.isa {
        command.args(["--isa", isa]);
    }
    let done = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let done = done.map_err(|e| Failure::io("start", program, &e))?;
    let times: Option<Vec<f64>> = serde_json::from_slice(&done.stdout).ok();
    let times = times.and_then(|times| times.try_into().ok()).filter(|_| done.status.success());
    times.ok_or_else(|| Failure::new(Exit::Unexpected, format!("a round of its own ended with {}", done.status)))
}
