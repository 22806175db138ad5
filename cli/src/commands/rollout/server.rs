//! Rollouts that a release server runs: where they are, why, and taking over.

use std::{thread::sleep, time::Duration};

use serde_json::{Value, json};

use crate::{
    client::ServerArgs,
    failure::Failure,
    output::{Output, table},
};

#[derive(clap::Args)]
pub(crate) struct StatusArgs {
    /// The rollout; without, all of them.
    rollout: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
    /// Print again whenever something changes, until the rollout is over.
    #[arg(long, requires = "rollout")]
    watch: bool,
}

#[derive(clap::Args)]
pub(crate) struct ExplainArgs {
    /// The rollout.
    rollout: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(clap::Args)]
pub(crate) struct ApproveArgs {
    /// The rollout.
    rollout: String,
    #[command(flatten)]
    server: ServerArgs,
    /// The digest that is approved, over policy, devices and reason: all 64 digits, as `rollout status` prints it of a rollout that waits.
    #[arg(long)]
    digest: String,
}

#[derive(clap::Args)]
pub(crate) struct ActArgs {
    /// The rollout.
    rollout: String,
    #[command(flatten)]
    server: ServerArgs,
    /// Why: it is kept in the audit log.
    #[arg(long)]
    reason: String,
}

pub(crate) fn status(args: &StatusArgs, output: &Output) -> Result<(), Failure> {
    let client = args.server.client()?;
    let Some(id) = &args.rollout else {
        let all = client.get("/v1/rollouts")?;
        let rows = all["rollouts"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|r| vec![text(&r["rollout"]), text(&r["model"]), text(&r["state"]), stage(r), text(&r["reason"])]);
        return output.result(|| table(&["rollout", "model", "state", "stage", "why"], rows), || all.clone());
    };
    let mut shown = String::new();
    loop {
        let rollout = client.get(&path(id, ""))?;
        let now = people(&rollout);
        if now != shown {
            output.result(|| now.clone(), || rollout.clone())?;
            shown = now;
        }
        let over = !matches!(rollout["state"].as_str(), Some("waiting" | "running" | "held" | "halted"));
        if !args.watch || over {
            return Ok(());
        }
        sleep(Duration::from_secs(2));
    }
}

pub(crate) fn explain(args: &ExplainArgs, output: &Output) -> Result<(), Failure> {
    let explained = args.server.client()?.get(&path(&args.rollout, "/explain"))?;
    let people = || {
        let mut lines = people(&explained["rollout"]);
        for step in explained["steps"].as_array().into_iter().flatten() {
            lines += &format!("\n\nstep {}, stage {}", step["step"], step["stage"]);
            if let Some(by) = step["ended_by"].as_str() {
                lines += &format!(", ended by {by}");
            }
            for seen in step["looks"].as_array().into_iter().flatten() {
                lines += &format!("\n{}", look(seen));
            }
        }
        lines
    };
    output.result(people, || explained.clone())
}

pub(crate) fn approve(args: &ApproveArgs, output: &Output) -> Result<(), Failure> {
    let rollout = args.server.client()?.post(&path(&args.rollout, "/approve"), &json!({ "digest": args.digest }))?;
    show(&rollout, output)
}

pub(crate) fn act(action: &str, args: &ActArgs, output: &Output) -> Result<(), Failure> {
    let body = json!({ "reason": args.reason });
    let rollout = args.server.client()?.post(&path(&args.rollout, &format!("/{action}")), &body)?;
    show(&rollout, output)
}

pub(super) fn show(rollout: &Value, output: &Output) -> Result<(), Failure> {
    output.result(|| people(rollout), || rollout.clone())
}

fn path(id: &str, rest: &str) -> String {
    // Identifiers are letters, digits, dots and dashes; anything else is a name that no rollout has.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let id: String =
        id.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
    format!("/v1/rollouts/{id}{rest}")
}

fn people(r: &Value) -> String {
    let mut lines = format!(
        "rollout {} of {}: release {} over {}, {}, stage {}",
        text(&r["rollout"]),
        text(&r["model"]),
        r["candidate"],
        r["baseline"],
        text(&r["state"]),
        stage(r)
    );
    if let Some(reason) = r["reason"].as_str().filter(|reason| !reason.is_empty()) {
        lines += &format!("\nwhy: {reason}");
    }
    if r["state"] == "waiting" {
        let have = r["approvals"].as_array().map_or(0, Vec::len);
        lines += &format!("\ndevices: {}; policy: {}", r["devices"], text(&r["digest"]));
        lines += &format!("\napprovals: {have} of {}", r["approvals_needed"]);
        lines += &format!("\nto approve (policy, devices, reason): --digest {}", text(&r["approval_digest"]));
    }
    if r["signed"] == false {
        lines += "\nnot signed yet: devices have not been told";
    }
    if !r["now"].is_null() {
        lines += &format!("\n{}", look(&r["now"]));
    }
    lines
}

/// Number, name and share of the stage.
fn stage(r: &Value) -> String {
    let (number, stages) = (r["stage"].as_u64().unwrap_or(0), r["stages"].as_array());
    let own = usize::try_from(number).ok().and_then(|number| stages?.get(number.checked_sub(1)?));
    let name = own.map_or_else(String::new, |own| format!(" {} {}%", text(&own["name"]), own["percent"]));
    format!("{number}/{}{name}", stages.map_or(0, Vec::len))
}

fn look(look: &Value) -> String {
    let devices = &look["devices"];
    let hours = look["elapsed_s"].as_f64().unwrap_or(0.0) / 3600.0;
    let mut lines = format!(
        "  after {hours:.1} h, {} devices against {}: {}{}",
        devices["treatment"],
        devices["control"],
        text(&look["outcome"]),
        if look["repeats"] == false { " (THE SAME NUMBERS GIVE ANOTHER DECISION NOW)" } else { "" }
    );
    for finding in look["findings"].as_array().into_iter().flatten() {
        lines += &format!("\n    {:9} {}", text(&finding["outcome"]), text(&finding["text"]));
    }
    lines
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
