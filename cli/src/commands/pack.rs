//! `pack`: a raw int8 model to a signed bundle.

use std::path::{Path, PathBuf};

use fleetfoot_config::{Config, Labels};
use fleetfoot_format::{
    baseline::Baseline,
    bundle::{Budget, Provenance, Quantization, SectionKind},
    limits::MAX_RAW_GOLDEN_CASES,
    raw_golden,
};
use fleetfoot_quantize::{Pack, baseline, is_raw, pack, run_goldens, seeded_inputs};
use fleetfoot_trust::{SigningKey, sha256, sign_bundle};
use serde_json::json;

use crate::{
    arrays::{self, Array, write_file},
    commands::{keys, run::samples},
    failure::{Exit, Failure},
    models,
    output::Output,
    processing,
};

/// Golden cases that are made up where no file of them is given.
const SEEDED_CASES: usize = 4;
/// The same where they begin at raw inputs.
const SEEDED_RAW_CASES: usize = 2;
/// Golden cases that are taken from a file at most.
const FILE_CASES: usize = fleetfoot_format::limits::MAX_GOLDEN_CASES;

/// Make a signed bundle from an int8 model.
///
/// Example: fleetfoot pack kws.tflite --name kws --version 1.2.0 --golden kws.golden.npz --key releases.key -o kws.ff
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model: .tflite or .onnx, quantized, or .ffm.
    model: PathBuf,
    /// Settings as YAML (`bundle.yaml`): name, version, budgets, labels, pre- and postprocessing; flags win.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Name of the model.
    #[arg(long, required_unless_present = "config")]
    name: Option<String>,
    /// Release label, such as 1.2.0.
    #[arg(long, required_unless_present = "config")]
    version: Option<String>,
    /// Release number; rises with every release. By default the next after those in --repo, else 1.
    #[arg(long)]
    number: Option<u64>,
    /// The repository that the next release number is looked up in.
    #[arg(long, env = "FLEETFOOT_REPO")]
    repo: Option<PathBuf>,
    /// Golden vectors (.npz): `input` is run; `output`, where it is there, must be equal. With preprocessing also raw inputs, 16 at most: images, .wav,
    /// rows of a .csv.
    #[arg(long)]
    golden: Vec<PathBuf>,
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

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    if args.target != "portable" {
        return Err(Failure::new(
            Exit::Unsupported,
            format!("--target {}: only 'portable' is there today", args.target),
        ));
    }
    let config = args.config.as_deref().map(processing::read_config).transpose()?.unwrap_or_default();
    let named = |flag: &Option<String>, setting: &Option<String>, what: &str| {
        let found = flag.clone().or_else(|| setting.clone());
        found.ok_or_else(|| {
            Failure::usage(format!("the bundle has no {what}"))
                .help(format!("give --{what}, or `{what}` in the settings"))
        })
    };
    let (name, version) = (named(&args.name, &config.name, "name")?, named(&args.version, &config.version, "version")?);
    let models::Imported { plan, source_sha256, source_format, quantization } = models::import(&args.model)?;
    let labels = labels(args.labels.as_deref(), &config)?;
    let all_golden =
        if args.golden.is_empty() { config.golden.iter().map(PathBuf::from).collect() } else { args.golden.clone() };
    let (raw_files, prepared_files): (Vec<PathBuf>, Vec<PathBuf>) =
        all_golden.into_iter().partition(|file| is_raw(file));
    if prepared_files.len() > 1 {
        return Err(
            Failure::usage("one .npz of golden vectors is taken, any number of raw inputs").in_file(&prepared_files[1])
        );
    }
    let golden = prepared_files.into_iter().next();
    let raw = raw_goldens(args, &config, &plan, &labels, &raw_files)?;
    let (inputs, expected) = match (&golden, &raw) {
        (Some(path), _) => read_golden(path, &plan)?,
        (None, Some(raw)) => (raw.prepared.clone(), None),
        (None, None) => (seeded_inputs(&plan, SEEDED_CASES)?, None),
    };
    let cases = run_goldens(&plan, &inputs, expected.as_deref()).map_err(|e| {
        let failure = Failure::from(e);
        match &golden {
            Some(path) => failure.in_file(path),
            None => failure,
        }
    })?;
    let sketches = match args.baseline.clone().or(config.baseline.as_ref().map(PathBuf::from)) {
        Some(path) => Some(read_baseline(&path, &plan)?),
        None => None,
    };
    let card = config.card.as_ref().map(|file| read_text(Path::new(file))).transpose()?;
    let mut further: Vec<(SectionKind, &[u8])> = Vec::new();
    further.extend(config.preprocess.as_deref().map(|bytes| (SectionKind::PREPROCESS, bytes)));
    further.extend(config.postprocess.as_deref().map(|bytes| (SectionKind::POSTPROCESS, bytes)));
    further.extend(raw.as_ref().map(|raw| (SectionKind::RAW_GOLDEN, &raw.section[..])));
    further.extend(card.as_deref().map(|text| (SectionKind::CARD, text.as_bytes())));
    let signing: Vec<SigningKey> = keys::load_private(&args.key, args.passphrase_file.as_deref())?;
    let mut signers: Vec<[u8; 32]> = signing.iter().map(SigningKey::public).collect();
    for path in &args.signer {
        signers.push(fleetfoot_repository::keyfile::load_public(path)?);
    }
    let number = match args.number.or(config.number) {
        Some(number) => number,
        None => next_number(args.repo.as_deref(), &name)?,
    };
    let mut bytes = pack(&Pack {
        model: &name,
        version: &version,
        number,
        plan: &plan,
        budget: Budget {
            p99_us: args.budget_p99_us.or(config.budget.p99_us),
            arena_bytes: args.budget_arena_bytes.or(config.budget.arena_bytes),
        },
        golden: &cases,
        baseline: sketches.as_ref(),
        labels: labels.as_deref(),
        further: &further,
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
            name,
            version,
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
            "bundle": args.output, "model": name, "version": version, "number": number, "bytes": bytes.len(),
            "digest": digest, "golden_cases": cases.len(), "raw_golden_cases": raw.as_ref().map_or(0, |raw| raw.prepared.len()), "signatures": signing.len(), "signers": signers.len(),
            "arena_bytes": plan.arena_len, "arena_lower_bound_bytes": plan.arena_lower_bound,
            "weights_bytes": plan.weights.len(), "macs": plan.macs,
            "removed_channels": plan.removed.channels, "removed_macs": plan.removed.macs,
            "removed_steps": plan.removed.steps, "merged_table_bytes": plan.removed.table_bytes,
        })
    })
}

fn read_text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))
}

fn labels(flag: Option<&Path>, config: &Config) -> Result<Option<String>, Failure> {
    match (flag, &config.labels) {
        (Some(path), _) => read_text(path).map(Some),
        (None, Some(Labels::File(file))) => read_text(Path::new(file)).map(Some),
        (None, Some(Labels::List(list))) => Ok(Some(list.iter().map(|label| format!("{label}\n")).collect())),
        (None, None) => Ok(None),
    }
}

/// Golden cases that begin at raw inputs.
struct RawGoldens {
    section: Vec<u8>,
    /// What preprocessing made of them.
    prepared: Vec<Vec<u8>>,
}

/// Those of the settings, made up where there is preprocessing and no file of them; nothing without preprocessing. Checks pre- and postprocessing against the
/// model on the way.
fn raw_goldens(
    args: &Args,
    config: &Config,
    plan: &fleetfoot_plan::Plan,
    labels: &Option<String>,
    files: &[PathBuf],
) -> Result<Option<RawGoldens>, Failure> {
    let labels = labels.iter().flat_map(|text| text.lines()).map(String::from).collect();
    let (preprocess, postprocess) = (config.preprocess.as_deref(), config.postprocess.as_deref());
    let model =
        fleetfoot::Model::open_unsigned(plan)?.with_processing(preprocess, postprocess, labels).map_err(|e| {
            let failure = Failure::from(e);
            args.config.iter().fold(failure, |failure, path| failure.in_file(path))
        })?;
    if preprocess.is_none() {
        return match files.first() {
            Some(file) => Err(Failure::usage("a raw input needs preprocessing, and the bundle has none")
                .in_file(file)
                .help("say in --config how it becomes the input of the model: `preprocess`")),
            None => Ok(None),
        };
    }
    let mut inputs = Vec::new();
    for file in files {
        inputs.extend(processing::read(file, &model)?);
    }
    if files.is_empty() {
        inputs = processing::seeded(&model, SEEDED_RAW_CASES)?;
    }
    inputs.truncate(MAX_RAW_GOLDEN_CASES);
    let (cases, prepared) = processing::golden_cases(&model, &inputs)?;
    let cases: Vec<_> = cases.into_iter().zip(inputs.iter().map(|input| &input.bytes[..])).collect();
    let section = raw_golden::write(&cases).map_err(fleetfoot::Error::from)?;
    Ok(Some(RawGoldens { section, prepared }))
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
