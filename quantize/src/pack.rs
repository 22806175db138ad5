//! Writes a bundle: the same inputs give the same bytes, on every machine and on every day.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_format::{
    FormatError,
    bundle::{
        Budget, Bundle, CONTAINER_VERSION, Header, MAGIC, PREAMBLE_LEN, Preamble, Provenance, SECTION_ALIGN, Section,
        SectionKind, valid_name, valid_version,
    },
    golden,
    limits::{MAX_BUNDLE_LEN, MAX_HEADER_LEN, MAX_SECTIONS, MAX_SIGNERS},
};
use fleetfoot_plan::{Aligned, Plan};
use fleetfoot_trust::sha256;

use crate::{error::PackError, golden::Case};

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
    /// Labels of output 0, one per line.
    pub labels: Option<&'a str>,
    /// Where the model comes from.
    pub provenance: Provenance<'a>,
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
    let provenance = postcard::to_allocvec(&pack.provenance).map_err(encode)?;
    let mut parts: Vec<(SectionKind, &[u8])> = vec![
        (SectionKind::GRAPH, &pack.plan.graph),
        (SectionKind::WEIGHTS, &pack.plan.weights),
        (SectionKind::GOLDEN, &golden),
    ];
    parts.extend(pack.labels.map(|labels| (SectionKind::LABELS, labels.as_bytes())));
    parts.push((SectionKind::PROVENANCE, &provenance));

    let mut signers = pack.signers.to_vec();
    signers.sort_unstable();
    signers.dedup();
    if signers.is_empty() || signers.len() > MAX_SIGNERS {
        let (value, limit) = (signers.len() as u64, MAX_SIGNERS as u64);
        return Err(FormatError::OverLimit { what: "number of signers", value, limit }.into());
    }
    // Offsets depend on the length of the header, and the header holds the offsets. Encoded lengths grow with the offsets, so
    // this ends.
    let mut header_len = 0;
    let header = loop {
        let start = Preamble { n_signers: signers.len(), header_len }.sections_start();
        let header = postcard::to_allocvec(&header(pack, &parts, start)?).map_err(encode)?;
        if header.len() == header_len {
            break header;
        }
        header_len = header.len();
    };
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[CONTAINER_VERSION, signers.len() as u8, 0, 0]);
    let header_len = u32::try_from(header.len()).ok().filter(|&len| len as usize <= MAX_HEADER_LEN);
    let (value, limit) = (header.len() as u64, MAX_HEADER_LEN as u64);
    let header_len = header_len.ok_or(FormatError::OverLimit { what: "header length", value, limit })?;
    out.extend_from_slice(&header_len.to_le_bytes());
    debug_assert_eq!(out.len(), PREAMBLE_LEN);
    signers.iter().for_each(|key| out.extend_from_slice(key));
    out.extend_from_slice(&header);
    out.resize(out.len() + 64 * signers.len(), 0);
    for (_, bytes) in &parts {
        out.resize(out.len().next_multiple_of(SECTION_ALIGN), 0);
        out.extend_from_slice(bytes);
    }
    Bundle::parse(&out)?;
    Ok(out)
}

fn header<'a>(pack: &Pack<'a>, parts: &[(SectionKind, &[u8])], start: usize) -> Result<Header<'a>, PackError> {
    let mut end = start as u64;
    let mut sections = heapless::Vec::<Section, MAX_SECTIONS>::new();
    for &(kind, bytes) in parts {
        let offset = end.next_multiple_of(SECTION_ALIGN as u64);
        end = offset + bytes.len() as u64;
        if end > MAX_BUNDLE_LEN {
            return Err(FormatError::OverLimit { what: "bundle length", value: end, limit: MAX_BUNDLE_LEN }.into());
        }
        let section = Section { kind, offset: offset as u32, len: bytes.len() as u32, sha256: sha256(bytes) };
        let over = FormatError::OverLimit { what: "sections", value: parts.len() as u64, limit: MAX_SECTIONS as u64 };
        sections.push(section).map_err(|_| over)?;
    }
    Ok(Header {
        model: pack.model,
        version: pack.version,
        number: pack.number,
        total_len: end,
        min_runtime: (0, 1),
        target: "portable",
        budget: pack.budget,
        sections,
    })
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
