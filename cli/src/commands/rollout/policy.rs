//! `rollout lint`, `plan` and `apply`: from a policy in YAML to what devices follow.

use std::path::{Path, PathBuf};

use fleetfoot_rollout::{
    Policy,
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

/// Share of its inferences that a device runs twice in the stage shadow, basis points.
const SHADOW_SHARE_BP: u16 = 2_000;
/// Comparisons after which a device judges for itself.
const SHADOW_COMPARED: u32 = 50;
/// More than this at once, as the first thing, needs a reason; basis points.
const MOST_AT_ONCE_BP: u64 = 500;

/// What devices are told in stage `args.stage`.
fn document(args: &ApplyArgs, policy: &Policy) -> Result<Value, Failure> {
    let n = policy.stages.len();
    let stage = args.stage.checked_sub(1).and_then(|index| policy.stages.get(index));
    let stage =
        stage.ok_or_else(|| Failure::usage(format!("stage {} of {n}", args.stage)).help("stages count from 1"))?;
    let mut exposed_bp = stage.exposed_bp();
    let mut said = json!({
        "rollout": policy.rollout,
        "candidate": { "number": policy.candidate },
        "baseline": { "number": policy.baseline },
        "stage": stage.name(),
    });
    match stage {
        Stage::Shadow { percent_bp, agreement, .. } => {
            exposed_bp = *percent_bp;
            // It fits: an agreement is at most 1. How many comparisons the fleet needs is the gate's affair; a device judges for itself after a few.
            let agreement_bp = (agreement * 10_000.0).round() as u16;
            said["shadow"] =
                json!({ "share_bp": SHADOW_SHARE_BP, "agreement_bp": agreement_bp, "min_compared": SHADOW_COMPARED });
        }
        Stage::Canary { .. } => {}
        Stage::Ab { percent_bp, split, .. } => {
            exposed_bp = *percent_bp;
            said["split"] = json!([split.0, split.1]);
        }
        Stage::Full { ramp_bp, .. } => {
            let step = args.step.checked_sub(1).and_then(|index| ramp_bp.get(index)).copied();
            exposed_bp = step.ok_or_else(|| Failure::usage(format!("step {} of {}", args.step, ramp_bp.len())))?;
        }
    }
    said["exposed_bp"] = exposed_bp.into();
    if !policy.selectors.is_empty() {
        let one = |(fact, values): (&String, &Vec<String>)| {
            // A range of runtimes is one text.
            let values = if fact == "runtime" { json!(values.join(",")) } else { json!(values) };
            (fact.clone(), values)
        };
        said["match"] = Value::Object(policy.selectors.iter().map(one).collect());
    }
    let (device, network) = (&policy.device, &policy.network);
    let mut limits = json!({});
    for (name, value) in [
        ("attempts", device.attempts.map(u32::from)),
        ("health_window_s", device.health_window_s),
        ("min_inferences", device.min_inferences),
        ("keep", device.keep.map(u32::from)),
    ] {
        if let Some(value) = value {
            limits[name] = value.into();
        }
    }
    let mut traffic = json!({});
    for (name, value) in [
        ("poll_s", network.poll_s),
        ("poll_active_s", network.poll_active_s),
        ("apply_jitter_s", network.apply_jitter_s),
    ] {
        if let Some(value) = value {
            traffic[name] = value.into();
        }
    }
    if let Some(metered) = network.metered {
        traffic["metered"] = metered.into();
    }
    if let Some((from, to)) = network.window {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        traffic["window"] = format!("{}-{}", time(from), time(to)).into();
    }
    for (name, value) in [("device", limits), ("network", traffic)] {
        if value.as_object().is_some_and(|members| !members.is_empty()) {
            said[name] = value;
        }
    }
    Ok(said)
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
