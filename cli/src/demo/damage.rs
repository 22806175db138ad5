//! A bundle whose weights were damaged after its golden vectors were made, and that was signed all the same: what a broken build
//! machine would produce. Only golden vectors can tell it from a good one.

use fleetfoot_format::{
    FormatError,
    bundle::{Bundle, Header, SectionKind},
    graph::{Graph, Step},
};
use fleetfoot_trust::{SigningKey, sign_bundle};

use crate::failure::Failure;

/// `bundle` as release `number`, one bit of the first layer's weights flipped and their stored sum to match, hashed and signed by `keys`.
pub(crate) fn flip_weight_bit(
    bundle: &[u8],
    model: &str,
    version: &str,
    number: u64,
    keys: &[SigningKey],
) -> Result<Vec<u8>, Failure> {
    let format = |e: FormatError| Failure::from(fleetfoot::Error::from(e));
    let parsed = Bundle::parse(bundle).map_err(format)?;
    let graph = Graph::parse(parsed.section(SectionKind::GRAPH).map_err(format)?).map_err(format)?;
    let first = graph.steps().filter_map(Result::ok).find_map(|r| match r.step {
        Step::Conv(c) | Step::FullyConnected(c) => Some((c.weights.offset as usize, c.sums.offset as usize)),
        _ => None,
    });
    let (at, sum_at) = first.ok_or_else(|| Failure::usage("the model has no layer with weights"))?;
    let mut header: Header<'_> = parsed.header().clone();
    (header.model, header.version, header.number) = (model, version, number);
    let mut contents: Vec<(SectionKind, Vec<u8>)> =
        header.sections.iter().map(|s| (s.kind, parsed.section_bytes(s).to_vec())).collect();
    for (kind, bytes) in &mut contents {
        if *kind == SectionKind::WEIGHTS {
            let before = i32::from(bytes[at].cast_signed());
            bytes[at] ^= 0x40;
            // It is a weight of channel 0, and an engine holds the stored sum of its weights against them.
            let change = i32::from(bytes[at].cast_signed()) - before;
            let sum = bytes.get_mut(sum_at..).and_then(<[u8]>::first_chunk_mut::<4>);
            let sum = sum.ok_or_else(|| Failure::usage("the model has no sums of weights"))?;
            *sum = i32::from_le_bytes(*sum).wrapping_add(change).to_le_bytes();
        }
    }
    let parts: Vec<(SectionKind, &[u8])> = contents.iter().map(|(kind, bytes)| (*kind, &bytes[..])).collect();
    let signers: Vec<[u8; 32]> = keys.iter().map(SigningKey::public).collect();
    let mut out = fleetfoot_quantize::assemble(header, &parts, &signers)?;
    for key in keys {
        sign_bundle(&mut out, key)?;
    }
    Ok(out)
}
