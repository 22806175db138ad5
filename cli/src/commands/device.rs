//! `device`: the reference agent. Keeps one model up to date, runs it, falls back.

use std::{
    io::Write as _,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fleetfoot::{
    Agent, AgentConfig, Kernels, Session,
    agent::{Event, Outcome, Reports, Serving, VersionInfo},
    conditions::{PollPolicy, Situation, Window},
    health::{HttpReports, ReportConfig},
    transport::{FolderTransport, HttpTransport, Transport},
    watchdog::Isolated,
};
use serde_json::{Value, json};

use crate::{
    arrays,
    commands::{repo::now, run::samples},
    failure::Failure,
    models,
    output::Output,
};

/// Keep a model up to date as a device does: poll, validate, try, commit, fall back; optionally run data through it.
///
/// Example: fleetfoot device --repo http://127.0.0.1:8080 --root root.json --store store --model kws --once
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The repository: http://..., or a folder.
    #[arg(long, required_unless_present = "offline")]
    repo: Option<String>,
    /// The first root metadata; it comes with the device, never from the network.
    #[arg(long, required_unless_present = "offline")]
    root: Option<PathBuf>,
    /// Folder for the state, the bundles and the metadata of this device.
    #[arg(long)]
    store: PathBuf,
    /// Name of the model.
    #[arg(long)]
    model: String,
    /// Poll once and end.
    #[arg(long)]
    once: bool,
    /// Do not poll: open the store, serve what is there, end.
    #[arg(long, conflicts_with_all = ["repo", "root", "once"])]
    offline: bool,
    /// Go back, or forth, to a kept version first: a label, a number, the beginning of a SHA-256, or `factory`.
    #[arg(long)]
    rollback: Option<String>,
    /// A fact that rollouts can tell devices apart by, such as region=eu; it stays here.
    #[arg(long, value_name = "NAME=VALUE")]
    fact: Vec<String>,
    /// Data that is run through the version that serves: an .npz with `x` (or `input`) and, for counting, labels `y`.
    #[arg(long)]
    input: Option<PathBuf>,
    /// Seconds between two polls, each at a moment of this device's own; a rollout may say otherwise.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..))]
    poll_s: u32,
    /// Good inferences that end the trial of a new version.
    #[arg(long, default_value_t = 10)]
    min_inferences: u32,
    /// Seconds that a trial takes at least.
    #[arg(long, default_value_t = 0)]
    health_window_s: u32,
    /// Fetch and start updates only in these hours of UTC, such as 01:00-05:00; a rollout may say otherwise.
    #[arg(long, value_parser = window)]
    window: Option<Window>,
    /// The longest bundle that is fetched, bytes.
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Seconds over which devices are spread that have fetched the same bundle; a rollout may say otherwise.
    #[arg(long, default_value_t = 0)]
    apply_jitter_s: u32,
    /// Deaths of the process that a new version may cause.
    #[arg(long, default_value_t = 2)]
    attempts: u8,
    /// Seconds after which a version that does not finish proving itself is given up.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    deadline_s: u64,
    /// Bytes of memory that a model with one session may take. On Linux, the process in which it proves itself is killed beyond them.
    #[arg(long)]
    max_memory_bytes: Option<u64>,
    /// Report health to the server at this address (POST /v1/reports): once a day, about hourly while a rollout is active. No device, no input and no
    /// answer is in it.
    #[arg(long, value_name = "URL")]
    report_url: Option<String>,
    /// File with the key of health reports (64 hexadecimal digits).
    #[arg(long, requires = "report_url")]
    report_key: Option<PathBuf>,
    /// One device in so many reports; which ones is drawn for each rollout.
    #[arg(long, value_name = "K", default_value_t = 1, requires = "report_url", value_parser = clap::value_parser!(u32).range(1..))]
    report_one_in: u32,
    /// Seconds over which devices are spread that have a report to send.
    #[arg(long, default_value_t = 14_400, requires = "report_url")]
    report_jitter_s: u32,
    /// Report nothing from now on, and remove what waits to be sent.
    #[arg(long, conflicts_with = "report_url")]
    no_reports: bool,
    /// Seconds since 1970 in the place of the clock of this machine, for tests and simulations.
    #[arg(long, hide = true)]
    now: Option<i64>,
    /// Let versions prove themselves in a thread of this process, not in a process of their own.
    #[arg(long)]
    in_process: bool,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let now = || args.now.unwrap_or_else(now);
    let root = match &args.root {
        Some(path) => models::read_whole(path)?,
        None => Vec::new(),
    };
    let mut config = AgentConfig::new(&args.store, &args.model, &root, transport(args.repo.as_deref()));
    config.limits.min_inferences = args.min_inferences;
    config.limits.health_window_s = args.health_window_s;
    config.limits.attempts = args.attempts;
    for fact in &args.fact {
        let (name, value) = fact.split_once('=').ok_or_else(|| Failure::usage(format!("{fact} is no NAME=VALUE")))?;
        config.facts.insert(name.into(), value.into());
    }
    config.policy.window = args.window;
    config.policy.max_bytes = args.max_bytes;
    config.policy.apply_jitter_s = args.apply_jitter_s;
    config.poll = PollPolicy { every_s: args.poll_s, active_s: args.poll_s };
    config.reports = reports(args, config.facts.get("hardware").map(String::as_str))?;
    config.conditions = Some(Box::new(|now: i64| Situation {
        local_minute: Some((now.rem_euclid(86_400) / 60) as u16),
        ..Situation::default()
    }));
    config.at = Some(pause);
    config.watchdog.deadline = Duration::from_secs(args.deadline_s);
    config.watchdog.max_memory_bytes = args.max_memory_bytes;
    if !args.in_process {
        let program = std::env::current_exe().ok();
        config.watchdog.isolated = program.map(|program| Isolated { program, args: vec!["admit".into()] });
    }
    let events = Arc::new(Mutex::new(Vec::<String>::new()));
    let (log, speak) = (Arc::clone(&events), !output.json);
    config.on_event = Some(Box::new(move |event: &Event| {
        if speak {
            // An agent does not end because nobody reads on.
            let _ = writeln!(std::io::stdout(), "{event}");
        }
        log.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string());
    }));
    let mut agent = Agent::open(config, now())?;
    if let Some(version) = &args.rollback {
        agent.rollback(version)?;
    }
    loop {
        let outcome = (!args.offline).then(|| agent.poll(now()));
        let ran = match &args.input {
            Some(_) => run_data(args, &mut agent)?,
            None => None,
        };
        let last = args.once || args.offline;
        if last || !output.json {
            report(args, &agent, outcome.as_ref(), ran.as_ref(), &events, output)?;
        }
        if last {
            let failed = match outcome {
                Some(Outcome::Failed(error) | Outcome::Deferred { error: Some(error), .. }) => {
                    Some(Failure::from(error))
                }
                _ => None,
            };
            agent.close(now())?;
            return failed.map_or(Ok(()), |failure| Err(Failure { quiet: true, ..failure }));
        }
        let wait = agent.next_poll(now()).saturating_sub(now());
        std::thread::sleep(Duration::from_secs(u64::try_from(wait).unwrap_or(0).max(1)));
    }
}

/// What is reported, and where to.
fn reports(args: &Args, hardware: Option<&str>) -> Result<Option<Reports>, Failure> {
    let url = match &args.report_url {
        Some(url) => url.as_str(),
        None if args.no_reports => "",
        None => return Ok(None),
    };
    let config = ReportConfig {
        enabled: !args.no_reports,
        one_in: args.report_one_in,
        key: args.report_key.as_deref().map(models::report_key).transpose()?,
        jitter_s: args.report_jitter_s,
        ..ReportConfig::new(hardware.unwrap_or_default())
    };
    Ok(Some(Reports { config, transport: Box::new(HttpReports::new(url)) }))
}

fn window(text: &str) -> Result<Window, String> {
    Window::parse(text).ok_or_else(|| "a window is two times of day, such as 01:00-05:00".into())
}

fn transport(repo: Option<&str>) -> Box<dyn Transport> {
    match repo {
        Some(url) if url.starts_with("http://") || url.starts_with("https://") => Box::new(HttpTransport::new(url)),
        Some(folder) => Box::new(FolderTransport::new(folder.strip_prefix("file://").unwrap_or(folder))),
        None => Box::new(FolderTransport::new("")),
    }
}

/// What came of running data through the version that serves.
struct Ran {
    samples: usize,
    correct: Option<usize>,
    us: f64,
}

/// Runs the data; every inference counts for a trial.
fn run_data(args: &Args, agent: &mut Agent) -> Result<Option<Ran>, Failure> {
    let now = || args.now.unwrap_or_else(now);
    let (Some(path), Some(serving)) = (&args.input, agent.serving()) else { return Ok(None) };
    let Serving { model, .. } = serving.clone();
    let (input, result) = (
        model.engine().input(0).map_err(fleetfoot::Error::from)?,
        model.engine().output(0).map_err(fleetfoot::Error::from)?,
    );
    let array = match arrays::read_optional(path, "x")? {
        Some(array) => array,
        None => arrays::read(path, "input")?,
    };
    let samples = samples(&array, "input", input).map_err(|e| e.in_file(path))?;
    let labels = arrays::read_optional(path, "y")?.filter(|y| y.bytes.len() == samples.len());
    let mut session = Session::new(Arc::clone(&model), Kernels::detect())?;
    let mut probe = agent.observer().map(|observer| observer.probe());
    let (mut us, mut correct) = (0.0, 0);
    for (index, sample) in samples.iter().enumerate() {
        session.set_input(0, sample)?;
        let start = Instant::now();
        let ran = match &mut probe {
            Some(probe) => probe.run(&mut session),
            None => session.run(),
        };
        us += start.elapsed().as_secs_f64() * 1e6;
        agent.record_inference(ran.is_ok(), now())?;
        ran?;
        let values = super::run::values(result, session.output(0)?);
        let best = (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]).then(b.cmp(&a)));
        correct += usize::from(labels.as_ref().is_some_and(|y| best == Some(usize::from(y.bytes[index]))));
    }
    Ok(Some(Ran { samples: samples.len(), correct: labels.map(|_| correct), us: us / samples.len().max(1) as f64 }))
}

fn report(
    args: &Args,
    agent: &Agent,
    outcome: Option<&Outcome>,
    ran: Option<&Ran>,
    events: &Mutex<Vec<String>>,
    output: &Output,
) -> Result<(), Failure> {
    let events = events.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let people = || {
        let serving = agent
            .serving()
            .map_or("nothing".into(), |s| format!("version {}{}", s.version, if s.trial { ", on trial" } else { "" }));
        let ran = ran.map_or(String::new(), |r| {
            let right = r.correct.map_or(String::new(), |c| format!(", {c} right"));
            format!("; {} samples{right}, {:.1} us each", r.samples, r.us)
        });
        format!("{} serves {serving}{ran}", args.model)
    };
    output.result(people, || {
        let version = |v: &VersionInfo| json!({ "version": v.version, "number": v.number, "digest": fleetfoot::hex(&v.sha256) });
        let serving = agent.serving().map(|s| {
            let mut all = version(&s.version);
            all["trial"] = s.trial.into();
            all
        });
        let refused: Option<Value> = match outcome {
            Some(Outcome::Rejected { version: v, reason, error }) => {
                let mut all = version(v);
                let detail = error.as_ref().map_or(String::new(), |e| format!(": {e}"));
                all["reason"] = format!("{}{detail}", reason.text()).into();
                all["code"] = reason.0.into();
                Some(all)
            }
            _ => None,
        };
        json!({
            "model": args.model, "serving": serving, "refused": refused, "outcome": outcome.map(outcome_name), "events": events,
            "ran": ran.map(|r| json!({ "samples": r.samples, "correct": r.correct, "us": r.us })),
            "reports_waiting": agent.reports_waiting(),
        })
    })
}

const fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::UpToDate { .. } => "up_to_date",
        Outcome::Trial(_) => "trial",
        Outcome::Committed(_) => "committed",
        Outcome::RolledBack(_) => "rolled_back",
        Outcome::Rejected { .. } => "rejected",
        Outcome::Deferred { .. } => "deferred",
        Outcome::Failed(_) => "failed",
        _ => "other",
    }
}

/// For tests of sudden death: where FLEETFOOT_PAUSE_AT names this point of an update, says so by making the file
/// FLEETFOOT_PAUSE_MARKER and waits to be killed.
pub(super) fn pause(point: &str) {
    if std::env::var_os("FLEETFOOT_PAUSE_AT").is_none_or(|at| at != point) {
        return;
    }
    if let Some(marker) = std::env::var_os("FLEETFOOT_PAUSE_MARKER") {
        // Without the marker the test that asked for it fails, and says so.
        let _ = std::fs::write(marker, point);
    }
    std::thread::sleep(Duration::from_secs(60));
}
