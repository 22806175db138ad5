//! A bundle behind its signatures: a key that signs may be stolen, so nothing that was signed is believed.

use fleetfoot_engine::Model;
use fleetfoot_format::{
    bundle::{Bundle, SectionKind},
    golden::Golden,
};
use fleetfoot_plan::Aligned;

use super::run;

/// Parses, opens and runs. Hashes of sections are not compared: the fuzzer cannot make them.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    let Ok(bundle) = Bundle::parse(bytes) else { return };
    if let Ok(section) = bundle.section(SectionKind::GOLDEN)
        && let Ok(golden) = Golden::parse(section)
    {
        golden.cases().for_each(|case| _ = std::hint::black_box(case));
    }
    let (Ok(graph), Ok(weights)) = (bundle.section(SectionKind::GRAPH), bundle.section(SectionKind::WEIGHTS)) else {
        return;
    };
    let weights = Aligned::copy_of(weights);
    match Model::open(graph, weights.as_ref()) {
        Ok(model) => drop(run(&model, bytes.len() as u8)),
        Err(error) => assert!((100..400).contains(&error.code()) && !error.to_string().is_empty()),
    }
}
