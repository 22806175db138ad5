//! Writes a bundle: the same inputs give the same bytes, on every machine and on every day.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_format::{
    FormatError,
    baseline::{self, Baseline},
    bundle::{Budget, Header, Provenance, Quantization, SectionKind, valid_name, valid_version},
    golden,
};
use fleetfoot_plan::{Aligned, Plan};
use fleetfoot_trust::sha256;

use crate::{assemble::assemble, error::PackError, golden::Case};

/// What goes into a bundle.
#[derive(Debug)]
pub struct Pack<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Release label.
    pub version: &'a str,
    /// Release number.
    pub number: u64,
    /// The plan.
    pub plan: &'a Plan,
    /// Admission limits.
    pub budget: Budget,
    /// Golden cases, at least one.
    pub golden: &'a [Case],
    /// What the values of inputs and outputs looked like; see [`baseline`](crate::baseline).
    pub baseline: Option<&'a Baseline>,
    /// Labels of output 0, one per line.
    pub labels: Option<&'a str>,
    /// Further sections, such as *preprocess*; they are written behind the others, as they are.
    pub further: &'a [(SectionKind, &'a [u8])],
    /// Where the model comes from.
    pub provenance: Provenance<'a>,
    /// How it was quantized, if that was done here.
    pub quantization: Option<Quantization<'a>>,
    /// Public keys of all who will sign, in any order; at least one.
    pub signers: &'a [[u8; 32]],
}

/// The file, with a slot of zeros for each signature.
///
/// # Errors
/// A [`PackError`]; among them [`PackError::OverBudget`] for a budget that the model cannot hold anywhere.
pub fn pack(pack: &Pack<'_>) -> Result<Vec<u8>, PackError> {
    check_names(pack)?;
    check_arena(pack)?;
    let cases: Vec<(&[u8], [u8; 32])> = pack.golden.iter().map(|c| (&c.input[..], sha256(&c.output))).collect();
    let encode = |_| FormatError::Malformed { what: "bundle" };
    let golden = golden::write(&cases)?;
    let mut provenance = postcard::to_allocvec(&pack.provenance).map_err(encode)?;
    if let Some(quantization) = &pack.quantization {
        provenance.extend(postcard::to_allocvec(quantization).map_err(encode)?);
    }
    let mut parts: Vec<(SectionKind, &[u8])> = vec![
        (SectionKind::GRAPH, &pack.plan.graph),
        (SectionKind::WEIGHTS, &pack.plan.weights),
        (SectionKind::GOLDEN, &golden),
    ];
    parts.extend(pack.labels.map(|labels| (SectionKind::LABELS, labels.as_bytes())));
    parts.push((SectionKind::PROVENANCE, &provenance));
    let baseline = pack.baseline.map(baseline::write).transpose()?;
    parts.extend(baseline.as_deref().map(|bytes| (SectionKind::BASELINE, bytes)));
    parts.extend(pack.further);

    let header = Header {
        model: pack.model,
        version: pack.version,
        number: pack.number,
        total_len: 0,
        min_runtime: (0, 1),
        target: "portable",
        budget: pack.budget,
        sections: heapless::Vec::new(),
    };
    assemble(header, &parts, pack.signers)
}

fn check_names(pack: &Pack<'_>) -> Result<(), PackError> {
    let name = |what, value: &str, valid: bool| {
        if valid { Ok(()) } else { Err(PackError::Name { what, value: value.to_owned() }) }
    };
    name("model name", pack.model, valid_name(pack.model))?;
    name("version label", pack.version, valid_version(pack.version))
}

/// The portable arena is the smallest that any device needs; a budget below it would be refused everywhere.
fn check_arena(pack: &Pack<'_>) -> Result<(), PackError> {
    let weights = Aligned::copy_of(&pack.plan.weights);
    let need = Model::open(&pack.plan.graph[..], weights.as_ref())?.arena_len(Kernels::scalar());
    match pack.budget.arena_bytes {
        Some(budget) if need > budget as usize => Err(PackError::OverBudget { need, budget }),
        _ => Ok(()),
    }
}
