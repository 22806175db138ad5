//! `rollout lint`, `plan` and `apply`: from a policy in YAML to what devices follow.

use std::path::{Path, PathBuf};

use fleetfoot_rollout::{
    Policy,
    directive::Said,
    plan::{self, Fleet, Plan},
    policy::Stage,
    read,
};
use fleetfoot_trust::sha256;
use serde_json::{Value, json};

use crate::{
    client::{Client, TokenArgs},
    commands::{
        keys::load_private,
        repo::{OnlineArgs, now},
    },
    failure::{Exit, Failure},
    output::{Output, table},
};

#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// The policy.
    file: PathBuf,
    /// Devices of the fleet: then shares are printed as devices.
    #[arg(long)]
    devices: Option<u64>,
}

#[derive(clap::Args)]
pub(crate) struct PlanArgs {
    /// The policy.
    file: PathBuf,
    /// Devices that match.
    #[arg(long)]
    devices: u64,
    /// Bytes of the candidate's bundle.
    #[arg(long, default_value_t = 0)]
    bundle_bytes: u64,
    /// Inferences of a device on a day, on the average: they decide what a day knows about a rate.
    #[arg(long, default_value_t = 100.0)]
    inferences: f64,
}

#[derive(clap::Args)]
pub(crate) struct ApplyArgs {
    /// The release server that runs the rollout.
    #[arg(long, env = "FLEETFOOT_SERVER")]
    server: Option<String>,
    #[command(flatten)]
    token: TokenArgs,
    /// Devices of the fleet, as planned; for a server.
    #[arg(long, requires = "server")]
    devices: Option<u64>,
    #[command(flatten)]
    role: FolderArgs,
    /// The policy.
    #[arg(short, long)]
    file: PathBuf,
    /// The digest that `rollout plan` printed for this policy: what was planned is what is applied.
    #[arg(long)]
    digest: String,
    /// The stage that begins, from 1; in a ramp the first share.
    #[arg(long, default_value_t = 1)]
    stage: usize,
    /// Share of the ramp that begins, from 1.
    #[arg(long, default_value_t = 1)]
    step: usize,
    /// Why more than 5% of the devices get the candidate at once.
    #[arg(long)]
    reason: Option<String>,
}

/// Where and with what one stage is signed without a server.
#[derive(clap::Args)]
struct FolderArgs {
    /// Name of the model.
    #[arg(long, required_unless_present = "server")]
    model: Option<String>,
    /// Private keys of the rollout role of the model.
    #[arg(long, required_unless_present = "server", env = "FLEETFOOT_ROLLOUT_KEY")]
    key: Vec<PathBuf>,
    /// The repository.
    #[arg(long, required_unless_present = "server", env = "FLEETFOOT_REPO")]
    repo: Option<PathBuf>,
    /// Private keys of the role snapshot, as many as it needs.
    #[arg(long, required_unless_present = "server", env = "FLEETFOOT_SNAPSHOT_KEY")]
    snapshot_key: Vec<PathBuf>,
    /// Private keys of the role timestamp, as many as it needs.
    #[arg(long, required_unless_present = "server", env = "FLEETFOOT_TIMESTAMP_KEY")]
    timestamp_key: Vec<PathBuf>,
    /// File with what is remembered of the repository; by default beside the first key of the role timestamp.
    #[arg(long, env = "FLEETFOOT_MEMORY")]
    memory: Option<PathBuf>,
    /// Seconds for which what is signed now holds.
    #[arg(long, value_parser = clap::value_parser!(i64).range(1..))]
    expires_in: Option<i64>,
    /// File with the passphrase of the keys; else FLEETFOOT_PASSPHRASE, else the terminal.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
}

impl FolderArgs {
    fn online(&self) -> OnlineArgs {
        OnlineArgs {
            repo: self.repo.clone().unwrap_or_default(),
            snapshot_key: self.snapshot_key.clone(),
            timestamp_key: self.timestamp_key.clone(),
            memory: self.memory.clone(),
            expires_in: self.expires_in,
            passphrase_file: self.passphrase_file.clone(),
        }
    }
}

/// Reads a policy; the problems of a bad one, each on a line, are the message.
pub(crate) fn read_policy(path: &Path) -> Result<(Policy, String), Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    let policy = read::policy(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        let n = problems.len();
        Failure::usage(format!("{n} problem{}{}", if n == 1 { "" } else { "s" }, lines.concat())).in_file(path)
    })?;
    Ok((policy, fleetfoot::hex(&sha256(text.as_bytes()))))
}

pub(crate) fn lint(args: &LintArgs, output: &Output) -> Result<(), Failure> {
    let (policy, digest) = read_policy(&args.file)?;
    let share = |bp: u16| {
        let percent = f64::from(bp) / 100.0;
        let devices = |n: u64| format!("{percent}% = {:.0} devices", n as f64 * percent / 100.0);
        args.devices.map_or_else(|| format!("{percent}%"), devices)
    };
    let stages = || {
        let each = policy.stages.iter().map(|stage| format!("{} {}", stage.name(), share(stage.exposed_bp())));
        each.collect::<Vec<_>>().join(" > ")
    };
    let people = || {
        format!("{}: rollout {} of {} is well formed: {}", args.file.display(), policy.rollout, policy.model, stages())
    };
    output.result(people, || json!({ "ok": true, "rollout": policy.rollout, "model": policy.model, "digest": digest }))
}

pub(crate) fn plan(args: &PlanArgs, output: &Output) -> Result<(), Failure> {
    let (policy, digest) = read_policy(&args.file)?;
    if args.inferences.is_nan() || args.inferences <= 0.0 {
        return Err(Failure::usage("--inferences has to be above 0"));
    }
    let fleet = Fleet { devices: args.devices, bundle_bytes: args.bundle_bytes, inferences_per_day: args.inferences };
    let plan = plan::plan(&policy, fleet);
    output.result(
        || people(&plan, &digest),
        || {
            let mut value = serde_json::to_value(&plan).unwrap_or_default();
            value["digest"] = digest.clone().into();
            value
        },
    )
}

fn people(plan: &Plan, digest: &str) -> String {
    let rows = plan.stages.iter().map(|stage| {
        vec![
            stage.stage.into(),
            format!("{:.2} to {:.2}", stage.days.0, stage.days.1),
            stage.exposed_devices.to_string(),
            stage.control_devices.to_string(),
            stage.bytes.to_string(),
        ]
    });
    let mut text = table(&["stage", "days", "devices", "control", "bytes"], rows);
    for stage in &plan.stages {
        for power in &stage.power {
            text += &format!("\n{}: {} ({}): {}", stage.stage, power.metric, power.limit, power.text);
        }
    }
    for warning in &plan.warnings {
        text += &format!("\nwarning: {warning}");
    }
    format!("{text}\ndigest {digest}")
}

/// More than this at once, as the first thing, needs a reason; basis points.
const MOST_AT_ONCE_BP: u64 = 500;

/// What devices are told in stage `args.stage`.
fn document(args: &ApplyArgs, policy: &Policy) -> Result<Value, Failure> {
    let n = policy.stages.len();
    let stage = args.stage.checked_sub(1).and_then(|index| policy.stages.get(index));
    let stage =
        stage.ok_or_else(|| Failure::usage(format!("stage {} of {n}", args.stage)).help("stages count from 1"))?;
    let said = match stage {
        Stage::Full { ramp_bp, step_s } => {
            let step = args.step.checked_sub(1).and_then(|index| ramp_bp.get(index)).copied();
            let bp = step.ok_or_else(|| Failure::usage(format!("step {} of {}", args.step, ramp_bp.len())))?;
            Said::stage(policy, &Stage::Full { ramp_bp: vec![bp], step_s: *step_s })
        }
        other => Said::stage(policy, other),
    };
    serde_json::to_value(said).map_err(|error| Failure::new(Exit::Unexpected, error))
}

pub(crate) fn apply(args: &ApplyArgs, output: &Output) -> Result<(), Failure> {
    let (policy, digest) = read_policy(&args.file)?;
    if args.digest.len() < 16 || !digest.starts_with(&args.digest) {
        return Err(Failure::new(
            Exit::Refused,
            format!("the policy is not the one that was planned: its digest is {digest}"),
        )
        .in_file(&args.file)
        .help("look at `fleetfoot rollout plan` again, and give the digest that it prints"));
    }
    match &args.server {
        Some(server) => hand_over(args, server, &digest, output),
        None => sign_stage(args, &policy, output),
    }
}

/// The server reads the policy itself.
fn hand_over(args: &ApplyArgs, server: &str, digest: &str, output: &Output) -> Result<(), Failure> {
    let devices = args.devices.ok_or_else(|| {
        Failure::usage("--devices is missing: how many devices match")
            .help("more reports than their share are not believed")
    })?;
    let policy = std::fs::read_to_string(&args.file).map_err(|error| Failure::io("read", &args.file, &error))?;
    let asked = json!({ "policy": policy, "digest": digest, "devices": devices, "reason": args.reason });
    let rollout = Client::new(server, &args.token)?.post("/v1/rollouts", &asked)?;
    super::server::show(&rollout, output)
}

fn sign_stage(args: &ApplyArgs, policy: &Policy, output: &Output) -> Result<(), Failure> {
    let model = args.role.model.as_deref().unwrap_or_default();
    if policy.model != model {
        return Err(Failure::usage(format!("the policy is for {}, --model says {model}", policy.model)));
    }
    let online = args.role.online();
    let repository = online.repository()?;
    let said = document(args, policy)?;
    let share = |said: &Value| match said["stage"].as_str() {
        Some("canary" | "ab" | "full") => said["exposed_bp"].as_u64().unwrap_or(0),
        _ => 0,
    };
    let before = repository.current_directive(model)?.filter(|before| before["rollout"] == said["rollout"]);
    let (before, now_bp) = (before.as_ref().map_or(0, share), share(&said));
    if before == 0 && now_bp > MOST_AT_ONCE_BP && args.reason.is_none() {
        let percent = now_bp as f64 / 100.0;
        let what = format!("the first exposure of rollout {} is {percent}% of the devices at once", policy.rollout);
        return Err(
            Failure::new(Exit::Refused, what).help("begin with a stage of at most 5%, or say why with --reason")
        );
    }
    let keys = load_private(&args.role.key, online.passphrase_file())?;
    let signed = online.with(|o| repository.direct(model, said, &keys, o, online.expiry(), now()))?;
    super::show(model, Some(&signed), output)
}
