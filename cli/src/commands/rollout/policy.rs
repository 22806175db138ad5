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

use super::RoleArgs;
use crate::{
    commands::{keys::load_private, repo::now},
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
    #[command(flatten)]
    role: RoleArgs,
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
    if policy.model != args.role.model {
        return Err(Failure::usage(format!("the policy is for {}, --model says {}", policy.model, args.role.model)));
    }
    let repository = args.role.online.repository()?;
    let said = document(args, &policy)?;
    let share = |said: &Value| match said["stage"].as_str() {
        Some("canary" | "ab" | "full") => said["exposed_bp"].as_u64().unwrap_or(0),
        _ => 0,
    };
    let before = repository.current_directive(&args.role.model)?.filter(|before| before["rollout"] == said["rollout"]);
    let (before, now_bp) = (before.as_ref().map_or(0, share), share(&said));
    if before == 0 && now_bp > MOST_AT_ONCE_BP && args.reason.is_none() {
        let percent = now_bp as f64 / 100.0;
        let what = format!("the first exposure of rollout {} is {percent}% of the devices at once", policy.rollout);
        return Err(
            Failure::new(Exit::Refused, what).help("begin with a stage of at most 5%, or say why with --reason")
        );
    }
    let keys = load_private(&args.role.key, args.role.online.passphrase_file())?;
    let online = &args.role.online;
    let signed = online.with(|o| repository.direct(&args.role.model, said, &keys, o, online.expiry(), now()))?;
    super::show(&args.role.model, Some(&signed), output)
}
