//! `pack`: a raw int8 model to a signed bundle.

use std::path::{Path, PathBuf};

use fleetfoot_format::{
    baseline::Baseline,
    bundle::{Budget, Provenance, Quantization},
};
use fleetfoot_quantize::{Pack, baseline, pack, run_goldens, seeded_inputs};
use fleetfoot_trust::{SigningKey, sha256, sign_bundle};
use serde::Deserialize;
use serde_json::json;

use crate::{
    arrays::{self, Array, write_file},
    commands::{keys, run::samples},
    failure::{Exit, Failure},
    models,
    output::Output,
};

/// Golden cases that are made up where no file of them is given.
const SEEDED_CASES: usize = 4;
/// Golden cases that are taken from a file at most.
const FILE_CASES: usize = fleetfoot_format::limits::MAX_GOLDEN_CASES;

/// Make a signed bundle from an int8 model.
///
/// Example: fleetfoot pack kws.tflite --name kws --version 1.2.0 --golden kws.golden.npz --key releases.key -o kws.ff
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model: .tflite or .onnx, quantized, or .ffm.
    model: PathBuf,
    /// Settings as YAML: `number`, `labels` (a file), `golden` (a file), `budget: {p99_us, arena_bytes}`; flags win.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Name of the model.
    #[arg(long)]
    name: String,
    /// Release label, such as 1.2.0.
    #[arg(long)]
    version: String,
    /// Release number; rises with every release. By default the next after those in --repo, else 1.
    #[arg(long)]
    number: Option<u64>,
    /// The repository that the next release number is looked up in.
    #[arg(long, env = "FLEETFOOT_REPO")]
    repo: Option<PathBuf>,
    /// Golden vectors (.npz): `input` is run; `output`, where it is there, must be equal.
    #[arg(long)]
    golden: Option<PathBuf>,
    /// Data that the model was made for (.npz with `input`, or `x`): how its values and the answers are spread goes into the bundle, and devices
    /// report how far theirs are from it. 100 samples or more.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Labels of the outputs, one per line.
    #[arg(long)]
    labels: Option<PathBuf>,
    /// Largest 99th percentile of the time of one inference on a device, microseconds.
    #[arg(long)]
    budget_p99_us: Option<u32>,
    /// Largest arena on a device, bytes.
    #[arg(long)]
    budget_arena_bytes: Option<u32>,
    /// Layout of the weights; only `portable` is there today.
    #[arg(long, default_value = "portable")]
    target: String,
    /// Private keys that sign now.
    #[arg(long, required_unless_present = "signer")]
    key: Vec<PathBuf>,
    /// Public keys of those who will sign later.
    #[arg(long)]
    signer: Vec<PathBuf>,
    /// File with the passphrase of the keys; else FLEETFOOT_PASSPHRASE, else the terminal.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// The bundle to write.
    #[arg(short, long)]
    output: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    number: Option<u64>,
    labels: Option<PathBuf>,
    golden: Option<PathBuf>,
    budget: ConfigBudget,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConfigBudget {
    p99_us: Option<u32>,
    arena_bytes: Option<u32>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    if args.target != "portable" {
        return Err(Failure::new(
            Exit::Unsupported,
            format!("--target {}: only 'portable' is there today", args.target),
        ));
    }
    let config = read_config(args.config.as_deref())?;
    let models::Imported { plan, source_sha256, source_format, quantization } = models::import(&args.model)?;
    let golden = args.golden.clone().or(config.golden);
    let (inputs, expected) = match &golden {
        Some(path) => read_golden(path, &plan)?,
        None => (seeded_inputs(&plan, SEEDED_CASES)?, None),
    };
    let cases = run_goldens(&plan, &inputs, expected.as_deref()).map_err(|e| {
        let failure = Failure::from(e);
        match &golden {
            Some(path) => failure.in_file(path),
            None => failure,
        }
    })?;
    let sketches = match &args.baseline {
        Some(path) => Some(read_baseline(path, &plan)?),
        None => None,
    };
    let labels = match args.labels.clone().or(config.labels) {
        Some(path) => Some(std::fs::read_to_string(&path).map_err(|e| Failure::io("read", &path, &e))?),
        None => None,
    };
    let signing: Vec<SigningKey> = keys::load_private(&args.key, args.passphrase_file.as_deref())?;
    let mut signers: Vec<[u8; 32]> = signing.iter().map(SigningKey::public).collect();
    for path in &args.signer {
        signers.push(fleetfoot_repository::keyfile::load_public(path)?);
    }
    let number = match args.number.or(config.number) {
        Some(number) => number,
        None => next_number(args.repo.as_deref(), &args.name)?,
    };
    let mut bytes = pack(&Pack {
        model: &args.name,
        version: &args.version,
        number,
        plan: &plan,
        budget: Budget {
            p99_us: args.budget_p99_us.or(config.budget.p99_us),
            arena_bytes: args.budget_arena_bytes.or(config.budget.arena_bytes),
        },
        golden: &cases,
        baseline: sketches.as_ref(),
        labels: labels.as_deref(),
        provenance: Provenance { source_sha256, source_format, tool: concat!("fleetfoot ", env!("CARGO_PKG_VERSION")) },
        quantization: quantization
            .as_ref()
            .map(|(data_sha256, config)| Quantization { data_sha256: *data_sha256, config }),
        signers: &signers,
    })?;
    for key in &signing {
        sign_bundle(&mut bytes, key)?;
    }
    write_file(&args.output, &bytes)?;
    let digest = fleetfoot::hex(&sha256(&bytes));
    let removed = removed(&plan.removed);
    let people = || {
        format!(
            "{}: {} {} (release {number}), {} bytes, {} golden cases, {} of {} signatures\nsha256 {digest}\narena {} bytes (lower bound {}), weights {} bytes, {} MACs{removed}",
            args.output.display(),
            args.name,
            args.version,
            bytes.len(),
            cases.len(),
            signing.len(),
            signers.len(),
            plan.arena_len,
            plan.arena_lower_bound,
            plan.weights.len(),
            plan.macs,
        )
    };
    output.result(people, || {
        json!({
            "bundle": args.output, "model": args.name, "version": args.version, "number": number, "bytes": bytes.len(),
            "digest": digest, "golden_cases": cases.len(), "signatures": signing.len(), "signers": signers.len(),
            "arena_bytes": plan.arena_len, "arena_lower_bound_bytes": plan.arena_lower_bound,
            "weights_bytes": plan.weights.len(), "macs": plan.macs,
            "removed_channels": plan.removed.channels, "removed_macs": plan.removed.macs,
            "removed_steps": plan.removed.steps, "merged_table_bytes": plan.removed.table_bytes,
        })
    })
}

fn read_config(path: Option<&Path>) -> Result<Config, Failure> {
    let Some(path) = path else { return Ok(Config::default()) };
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    let mut config: Config = serde_saphyr::from_str(&text).map_err(|e| Failure::usage(e).in_file(path))?;
    // Paths in the file are relative to it.
    let beside = |file: PathBuf| path.parent().map_or(file.clone(), |folder| folder.join(&file));
    config.labels = config.labels.map(beside);
    config.golden = config.golden.map(beside);
    Ok(config)
}

fn next_number(repo: Option<&Path>, model: &str) -> Result<u64, Failure> {
    let Some(repo) = repo else { return Ok(1) };
    let status = fleetfoot_repository::Repository::open(repo)?.status()?;
    let published = status.targets.iter().filter(|t| t.model == model).map(|t| t.number).max();
    Ok(published.unwrap_or(0) + 1)
}

type Golden = (Vec<Vec<u8>>, Option<Vec<Vec<u8>>>);

/// The baseline of a file of data.
fn read_baseline(path: &Path, plan: &fleetfoot_plan::Plan) -> Result<Baseline, Failure> {
    let model = fleetfoot::Model::open_unsigned(plan)?;
    if model.engine().inputs().len() != 1 {
        return Err(Failure::new(Exit::Unsupported, "--baseline takes models with one input").in_file(path));
    }
    let array = match arrays::read_optional(path, "input")? {
        Some(array) => array,
        None => arrays::read(path, "x")?,
    };
    let input = model.engine().input(0).map_err(fleetfoot::Error::from)?;
    let inputs = samples(&array, "input 0", input).map_err(|e| e.in_file(path))?;
    Ok(baseline(plan, &inputs)?)
}

/// The inputs of a golden file and, where it has them, the outputs.
fn read_golden(path: &Path, plan: &fleetfoot_plan::Plan) -> Result<Golden, Failure> {
    let model = fleetfoot::Model::open_unsigned(plan)?;
    let engine = model.engine();
    if engine.inputs().len() != 1 || engine.outputs().len() != 1 {
        return Err(
            Failure::new(Exit::Unsupported, "--golden takes models with one input and one output").in_file(path)
        );
    }
    let (input, result) =
        (engine.input(0).map_err(fleetfoot::Error::from)?, engine.output(0).map_err(fleetfoot::Error::from)?);
    let graph = engine.graph().map_err(fleetfoot::Error::from)?;
    let names = [graph.inputs(), graph.outputs()].map(|side| side.first().map_or("", |io| io.name));
    let read = |array: &Array, tensor, name| samples(array, name, tensor).map_err(|e| e.in_file(path));
    let mut inputs = read(&arrays::read(path, "input")?, input, names[0])?;
    if inputs.is_empty() {
        return Err(Failure::usage("the golden file holds no case")
            .in_file(path)
            .help("'input' needs at least one sample"));
    }
    let mut expected = match arrays::read_optional(path, "output")? {
        Some(array) => Some(read(&array, result, names[1])?),
        None => None,
    };
    if let Some(expected) = expected.as_ref().filter(|e| e.len() != inputs.len()) {
        return Err(Failure::usage(format!("{} inputs but {} outputs", inputs.len(), expected.len())).in_file(path));
    }
    inputs.truncate(FILE_CASES);
    if let Some(expected) = &mut expected {
        expected.truncate(FILE_CASES);
    }
    Ok((inputs, expected))
}

/// What planning took out, in brackets; nothing where it was nothing.
fn removed(removed: &fleetfoot_plan::Removed) -> String {
    let parts = [
        (removed.channels > 0)
            .then(|| format!("{} constant channels and {} MACs taken out", removed.channels, removed.macs)),
        (removed.steps > 0).then(|| format!("{} steps fused or dead", removed.steps)),
        (removed.table_bytes > 0).then(|| format!("{} bytes of equal tables merged", removed.table_bytes)),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
