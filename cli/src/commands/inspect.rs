//! `inspect`: everything a bundle says of itself; as a model card (`card`) and a bill of materials (`sbom`), too.

mod card;
mod sbom;

use std::path::PathBuf;

use fleetfoot::{BundleInfo, Kernels, Model, engine::Tensor};
use fleetfoot_format::{
    baseline::{Baseline, TensorSketch},
    bundle::{Preamble, Provenance, Quantization, SectionKind},
    golden::Golden,
};
use fleetfoot_trust::sha256;
use serde_json::json;

use crate::{
    arrays::write_file,
    failure::Failure,
    models,
    output::{Output, table},
};

/// Show every section, tensor, layer, budget and signature of a bundle.
///
/// Example: fleetfoot inspect kws.ff --json
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The bundle.
    bundle: PathBuf,
    /// Public keys that must have signed it.
    #[arg(long)]
    key: Vec<PathBuf>,
    /// Write a model card (Markdown): what the bundle says of itself, for people.
    #[arg(long)]
    model_card: Option<PathBuf>,
    /// Write a bill of materials (CycloneDX 1.6, JSON).
    #[arg(long)]
    sbom: Option<PathBuf>,
}

/// What the exports are made of.
struct Facts<'a> {
    info: &'a BundleInfo,
    bytes: usize,
    digest: String,
    /// `input` or `output`, name, tensor.
    tensors: Vec<(&'static str, String, Tensor)>,
    labels: Vec<String>,
    /// Name, operator, multiply-accumulates.
    layers: &'a [(String, &'static str, u64)],
    arena_bytes: usize,
    isa: &'static str,
    golden_cases: usize,
    has_baseline: bool,
    provenance: Option<(Provenance<'a>, Option<Quantization<'a>>)>,
    signers: &'a [(String, bool)],
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let file = models::open_bundle(&args.bundle, &args.key, output)?;
    let format = |e: fleetfoot_format::FormatError| Failure::from(fleetfoot::Error::from(e)).in_file(&args.bundle);
    let info = file.info();
    let model = Model::from_file(&file).map_err(|e| Failure::from(e).in_file(&args.bundle))?;
    let golden = file.section(SectionKind::GOLDEN);
    let golden_cases = match &golden {
        Some(bytes) => Golden::parse(bytes.as_ref()).map_err(format)?.cases().len(),
        None => 0,
    };
    let baseline = file.section(SectionKind::BASELINE);
    let baseline = baseline.map(|b| Baseline::parse(b.as_ref())).transpose().map_err(format)?;
    let provenance = file.section(SectionKind::PROVENANCE);
    let provenance = provenance.as_ref().map(|p| Provenance::read(p.as_ref())).transpose().map_err(format)?;
    let preamble = Preamble::read(file.bytes()).map_err(format)?;
    let signers: Vec<(String, bool)> = (0..preamble.n_signers)
        .map(|i| {
            let (key, signature) = preamble.signature(file.bytes(), i);
            (fleetfoot::hex(key), *signature != [0; 64])
        })
        .collect();
    let graph = model.engine().graph().map_err(fleetfoot::Error::from)?;
    let names = |io: &[fleetfoot_format::graph::Io<'_>]| io.iter().map(|i| i.name.to_owned()).collect::<Vec<_>>();
    let (inputs, outputs) = (names(graph.inputs()), names(graph.outputs()));
    let io = || {
        let all = inputs.iter().zip(model.engine().inputs()).map(|(n, t)| ("input", n, t));
        all.chain(outputs.iter().zip(model.engine().outputs()).map(|(n, t)| ("output", n, t)))
    };
    let layers: Vec<(String, &'static str, u64)> =
        model.engine().records().map(|r| (r.name.to_owned(), r.step.op(), r.step.macs())).collect();
    let arena = |k: Kernels| model.arena_len(k);
    let facts = Facts {
        info,
        bytes: file.bytes().len(),
        digest: fleetfoot::hex(&file.sha256()),
        tensors: io().map(|(what, name, tensor)| (what, name.clone(), tensor.clone())).collect(),
        labels: file.labels(),
        layers: &layers,
        arena_bytes: arena(Kernels::scalar()),
        isa: Kernels::scalar().name(),
        golden_cases,
        has_baseline: baseline.is_some(),
        provenance: provenance.clone(),
        signers: &signers,
    };
    if let Some(path) = &args.model_card {
        write_file(path, card::card(&facts).as_bytes())?;
    }
    if let Some(path) = &args.sbom {
        write_file(path, format!("{:#}\n", sbom::sbom(&facts)).as_bytes())?;
    }
    let limit = |v: Option<u32>| v.map_or("none".into(), |v| v.to_string());
    let people = || {
        let mut text = format!(
            "{} {} (release {}), {} bytes, sha256 {}\ntarget {}, runtime {}.{} or later\n",
            info.model,
            info.version,
            info.number,
            file.bytes().len(),
            fleetfoot::hex(&file.sha256()),
            info.target,
            info.min_runtime.0,
            info.min_runtime.1
        );
        text += &format!(
            "budget: p99 {} us, arena {} bytes; arena here {} bytes ({})\n",
            limit(info.budget.p99_us),
            limit(info.budget.arena_bytes),
            arena(Kernels::detect()),
            Kernels::detect().name()
        );
        text += &format!("{golden_cases} golden cases\n");
        if let Some(b) = &baseline {
            let values = |sketches: &[TensorSketch]| sketches.iter().map(TensorSketch::total).sum::<u64>();
            text +=
                &format!("drift baseline of {} input and {} output values\n", values(&b.inputs), values(&b.outputs));
        }
        if let Some((p, quantization)) = &provenance {
            text += &format!(
                "made by {} from a {} file with sha256 {}\n",
                p.tool,
                p.source_format,
                fleetfoot::hex(&p.source_sha256)
            );
            if let Some(q) = quantization {
                text += &format!(
                    "quantized with {}\nand samples of sha256 {} (as float32)\n",
                    q.config,
                    fleetfoot::hex(&q.data_sha256)
                );
            }
        }
        text += &format!(
            "\n{}\n",
            table(
                &["signer", "signed"],
                signers.iter().map(|(k, s)| vec![k.clone(), if *s { "yes" } else { "not yet" }.into()])
            )
        );
        let sections = file
            .sections()
            .iter()
            .map(|s| vec![s.kind.name().into(), s.offset.to_string(), s.len.to_string(), fleetfoot::hex(&s.sha256)]);
        text += &format!("\n{}\n", table(&["section", "offset", "bytes", "sha256"], sections));
        let tensors = io().map(|(what, name, t)| {
            vec![
                what.into(),
                name.clone(),
                t.dtype.name().into(),
                format!("{:?}", t.dims),
                t.scale.to_string(),
                t.zero_point.to_string(),
            ]
        });
        text += &format!("\n{}\n", table(&["tensor", "name", "type", "shape", "scale", "zero point"], tensors));
        let rows = layers
            .iter()
            .enumerate()
            .map(|(i, (name, op, macs))| vec![i.to_string(), (*op).into(), macs.to_string(), name.clone()]);
        text + "\n" + &table(&["step", "op", "MACs", "layer"], rows)
    };
    output.result(people, || {
        let tensor = |(what, name, t): (&str, &String, &Tensor)| json!({ "kind": what, "name": name, "dtype": t.dtype.name(), "shape": t.dims.as_slice(), "scale": t.scale, "zero_point": t.zero_point });
        json!({
            "model": info.model, "version": info.version, "number": info.number, "bytes": file.bytes().len(),
            "digest": fleetfoot::hex(&file.sha256()), "target": info.target, "min_runtime": format!("{}.{}", info.min_runtime.0, info.min_runtime.1),
            "budget": { "p99_us": info.budget.p99_us, "arena_bytes": info.budget.arena_bytes },
            "arena_bytes": arena(Kernels::detect()), "golden_cases": golden_cases, "labels": file.labels().len(),
            "baseline": baseline.as_ref().map(|b| json!({ "inputs": sketches(&b.inputs), "outputs": sketches(&b.outputs) })),
            "provenance": provenance.as_ref().map(|(p, q)| json!({
                "tool": p.tool, "source_format": p.source_format, "source_sha256": fleetfoot::hex(&p.source_sha256),
                "config": q.map(|q| q.config), "config_sha256": q.map(|q| fleetfoot::hex(&sha256(q.config.as_bytes()))),
                "data_sha256": q.map(|q| fleetfoot::hex(&q.data_sha256)),
            })),
            "signers": signers.iter().map(|(k, s)| json!({ "key": k, "signed": s })).collect::<Vec<_>>(),
            "sections": file.sections().iter().map(|s| json!({ "kind": s.kind.name(), "offset": s.offset, "bytes": s.len, "sha256": fleetfoot::hex(&s.sha256) })).collect::<Vec<_>>(),
            "tensors": io().map(tensor).collect::<Vec<_>>(),
            "layers": layers.iter().map(|(name, op, macs)| json!({ "name": name, "op": op, "macs": macs })).collect::<Vec<_>>(),
        })
    })
}

fn sketches(sketches: &[TensorSketch]) -> Vec<serde_json::Value> {
    sketches.iter().map(|s| json!({ "lo": s.lo, "hi": s.hi, "bins": s.bins })).collect()
}
