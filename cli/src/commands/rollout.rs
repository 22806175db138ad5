//! `rollout`: says with the online key which release reaches whom.

pub(crate) mod policy;
mod server;

use std::path::{Path, PathBuf};

use fleetfoot::update::Stage;
use fleetfoot_repository::{Repository, parse_percent};
use serde_json::{Map, Value, json};

use crate::{
    commands::{
        keys::load_private,
        repo::{OnlineArgs, now},
    },
    failure::{Exit, Failure},
    output::Output,
};

/// Roll a release out, within what its signers allow.
///
/// Example: fleetfoot rollout show --repo repo --model kws
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Check a policy: every problem with its line, column and a way out.
    ///
    /// Example: fleetfoot rollout lint rollout.yaml --devices 20000
    Lint(policy::LintArgs),
    /// Say what a policy will do to a fleet: exposure, bytes, and which faults it could notice.
    ///
    /// Example: fleetfoot rollout plan rollout.yaml --devices 20000 --bundle-bytes 350000
    Plan(policy::PlanArgs),
    /// Hand a policy that was planned to a release server, which runs it once it is approved; or, with keys and --repo, sign one stage of it.
    ///
    /// Example: fleetfoot rollout apply -f rollout.yaml --digest 3f2a.. --devices 20000 --server http://127.0.0.1:8080
    Apply(Box<policy::ApplyArgs>),
    /// Sign what is rolled out from now on. What every device would refuse is refused here.
    ///
    /// Example: fleetfoot rollout set --repo repo --model kws --candidate 42 --baseline 41 --stage canary --percent 1 --key keys/rollout.key
    /// --snapshot-key keys/snapshot.key --timestamp-key keys/timestamp.key
    Set(Box<SetArgs>),
    /// Sign again what was said, before it expires.
    ///
    /// Example: fleetfoot rollout renew --repo repo --model kws --key keys/rollout.key --snapshot-key keys/snapshot.key --timestamp-key
    /// keys/timestamp.key
    Renew(Box<RoleArgs>),
    /// Where the rollouts of a release server are, and why.
    ///
    /// Example: fleetfoot rollout status kws-2026-11 --watch --server http://127.0.0.1:8080
    Status(server::StatusArgs),
    /// Every look of a rollout: the numbers, the boundaries, and what was decided.
    ///
    /// Example: fleetfoot rollout explain kws-2026-11 --server http://127.0.0.1:8080
    Explain(server::ExplainArgs),
    /// Approve what another person has applied.
    ///
    /// Example: fleetfoot rollout approve kws-2026-11 --digest 81c0.. --server http://127.0.0.1:8080
    Approve(server::ApproveArgs),
    /// The next stage, whatever the gates say; never further than the release keys allow.
    ///
    /// Example: fleetfoot rollout promote kws-2026-11 --reason "seen on the bench" --server http://127.0.0.1:8080
    Promote(server::ActArgs),
    /// Nobody new; who has the candidate keeps it.
    ///
    /// Example: fleetfoot rollout hold kws-2026-11 --reason "a ticket" --server http://127.0.0.1:8080
    Hold(server::ActArgs),
    /// The stage once more, from its beginning.
    ///
    /// Example: fleetfoot rollout resume kws-2026-11 --reason "it was the network" --server http://127.0.0.1:8080
    Resume(server::ActArgs),
    /// The end of a rollout: who has the candidate goes back.
    ///
    /// Example: fleetfoot rollout abort kws-2026-11 --reason "wrong labels" --server http://127.0.0.1:8080
    Abort(server::ActArgs),
    /// Everybody goes back to the baseline, also after the rollout has ended.
    ///
    /// Example: fleetfoot rollout rollback kws-2026-11 --reason "a customer called" --server http://127.0.0.1:8080
    Rollback(server::ActArgs),
    /// Show what is rolled out.
    ///
    /// Example: fleetfoot rollout show --repo repo --model kws
    Show {
        /// The repository.
        #[arg(long, env = "FLEETFOOT_REPO")]
        repo: PathBuf,
        /// Name of the model.
        #[arg(long)]
        model: String,
    },
}

#[derive(clap::Args)]
pub(crate) struct RoleArgs {
    /// Name of the model.
    #[arg(long)]
    model: String,
    /// Private keys of the rollout role of the model.
    #[arg(long, required = true, env = "FLEETFOOT_ROLLOUT_KEY")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    online: OnlineArgs,
}

#[derive(clap::Args)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    role: RoleArgs,
    /// The release that is rolled out: its number or its label.
    #[arg(long)]
    candidate: String,
    /// The release that everybody else has, and that a failed rollout goes back to.
    #[arg(long)]
    baseline: Option<String>,
    /// How far it goes: shadow, canary, ab, full; hold (nobody new), abort (who has it goes back), revert (whoever is above the baseline goes back).
    #[arg(long, value_parser = stage)]
    stage: Stage,
    /// Share of the devices, percent, with at most two decimals.
    #[arg(long, default_value = "0", value_parser = percent)]
    percent: u16,
    /// Parts of treatment and control in the stage ab.
    #[arg(long, value_name = "TREATMENT:CONTROL", default_value = "50:50", value_parser = split)]
    split: (u16, u16),
    /// Identifier of the rollout; by default the model and the number of the candidate. Devices remember their side under it.
    #[arg(long)]
    rollout: Option<String>,
    /// Devices that take part: a fact and its values. A device without the fact takes no part.
    #[arg(long = "match", value_name = "FACT=VALUE,VALUE")]
    selectors: Vec<String>,
    /// Attempt under which devices try the candidate; by default the highest that its signers allow.
    #[arg(long)]
    attempt: Option<u32>,
}

fn stage(text: &str) -> Result<Stage, String> {
    let stage = Stage::parse(text);
    if stage == Stage::Unknown { Err("one of shadow, canary, ab, full, hold, abort, revert".into()) } else { Ok(stage) }
}

fn percent(text: &str) -> Result<u16, String> {
    parse_percent(text).ok_or_else(|| "a number from 0 to 100 with at most two decimals".into())
}

fn split(text: &str) -> Result<(u16, u16), String> {
    let parts = text.split_once(':').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parts.ok_or_else(|| "two whole numbers such as 50:50".into())
}

pub(crate) fn run(command: Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Lint(args) => policy::lint(&args, output),
        Command::Plan(args) => policy::plan(&args, output),
        Command::Apply(args) => policy::apply(&args, output),
        Command::Status(args) => server::status(&args, output),
        Command::Explain(args) => server::explain(&args, output),
        Command::Approve(args) => server::approve(&args, output),
        Command::Promote(args) => server::act("promote", &args, output),
        Command::Hold(args) => server::act("hold", &args, output),
        Command::Resume(args) => server::act("resume", &args, output),
        Command::Abort(args) => server::act("abort", &args, output),
        Command::Rollback(args) => server::act("rollback", &args, output),
        Command::Set(args) => {
            let repository = args.role.online.repository()?;
            let document = document(&args, &repository)?;
            let keys = load_private(&args.role.key, args.role.online.passphrase_file())?;
            let (model, online) = (&args.role.model, &args.role.online);
            let signed = online.with(|o| repository.direct(model, document, &keys, o, online.expiry(), now()))?;
            show(&args.role.model, Some(&signed), output)
        }
        Command::Renew(args) => {
            let repository = args.online.repository()?;
            let keys = load_private(&args.key, args.online.passphrase_file())?;
            let expiry = args.online.expiry();
            args.online.with(|online| repository.renew_rollout(&args.model, &keys, online, expiry, now()))?;
            show(&args.model, repository.current_directive(&args.model)?.as_ref(), output)
        }
        Command::Show { repo, model } => show(&model, current(&repo, &model)?.as_ref(), output),
    }
}

fn current(repo: &Path, model: &str) -> Result<Option<Value>, Failure> {
    Ok(Repository::open(repo)?.current_directive(model)?)
}

fn document(args: &SetArgs, repository: &Repository) -> Result<Value, Failure> {
    let releases = repository.status()?.targets;
    let number = |name: &str| {
        let is_it = |number: u64, label: &str| name == number.to_string() || name == label;
        let found = releases.iter().find(|r| r.model == args.role.model && is_it(r.number, &r.version));
        found.map(|release| release.number).ok_or_else(|| {
            Failure::usage(format!("no release {name} of {} is published", args.role.model))
                .help("fleetfoot repo status lists them")
        })
    };
    let candidate = number(&args.candidate)?;
    let rollout = args.rollout.clone().unwrap_or_else(|| format!("{}-{candidate}", args.role.model));
    let mut document = json!({
        "rollout": rollout, "candidate": { "number": candidate }, "stage": args.stage.name(), "exposed_bp": args.percent,
    });
    if let Some(attempt) = args.attempt {
        document["candidate"]["attempt"] = attempt.into();
    }
    if let Some(baseline) = &args.baseline {
        document["baseline"] = json!({ "number": number(baseline)? });
    }
    if args.stage == Stage::Ab {
        document["split"] = json!([args.split.0, args.split.1]);
    }
    let mut selectors = Map::new();
    for selector in &args.selectors {
        let (fact, values) = selector.split_once('=').unwrap_or((selector, ""));
        // Ranges of runtimes have commas and equal signs of their own.
        let values = if fact == "runtime" { json!(values) } else { values.split(',').collect() };
        selectors.insert(fact.into(), values);
    }
    if !selectors.is_empty() {
        document["match"] = selectors.into();
    }
    Ok(document)
}

fn show(model: &str, directive: Option<&Value>, output: &Output) -> Result<(), Failure> {
    let Some(said) = directive else {
        return Err(Failure::new(Exit::Usage, format!("nothing is rolled out of {model}")));
    };
    let people = || {
        let share = said["exposed_bp"].as_u64().unwrap_or(0);
        let (whole, part) = (share / 100, share % 100);
        let baseline = said["baseline"]["number"].as_u64().map_or_else(String::new, |n| format!(", baseline {n}"));
        format!(
            "rollout {} of {model}: release {}{baseline}, stage {}, {whole}.{part:02} % of the devices",
            said["rollout"].as_str().unwrap_or_default(),
            said["candidate"]["number"],
            said["stage"].as_str().unwrap_or_default(),
        )
    };
    output.result(people, || json!({ "model": model, "directive": said }))
}
