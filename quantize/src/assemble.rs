//! Lays a bundle out: preamble, signers, header, empty signature slots, sections.

use fleetfoot_format::{
    FormatError,
    bundle::{Bundle, CONTAINER_VERSION, Header, MAGIC, Preamble, SECTION_ALIGN, SIGNATURE_LEN, Section, SectionKind},
    limits::{MAX_BUNDLE_LEN, MAX_HEADER_LEN, MAX_SECTIONS, MAX_SIGNERS},
};
use fleetfoot_trust::sha256;

use crate::error::PackError;

/// The bytes of a bundle with the fields of `header` and the sections `parts`; the section table and the length in
/// `header` are computed here. Signers are sorted and each is taken once.
///
/// # Errors
/// [`PackError::Format`] for what [`Bundle::parse`] would refuse.
pub fn assemble(
    mut header: Header<'_>,
    parts: &[(SectionKind, &[u8])],
    signers: &[[u8; 32]],
) -> Result<Vec<u8>, PackError> {
    let mut signers = signers.to_vec();
    signers.sort_unstable();
    signers.dedup();
    within("number of signers", signers.len() as u64, MAX_SIGNERS as u64)?;
    if signers.is_empty() {
        return Err(FormatError::OutOfRange { what: "number of signers" }.into());
    }
    // Offsets depend on the length of the header, and the header holds the offsets. Encoded lengths grow with the offsets, so
    // this ends.
    let mut header_len = 0;
    let header = loop {
        let preamble = Preamble { n_signers: signers.len(), header_len };
        (header.sections, header.total_len) = sections(parts, preamble.signatures_end() as u64)?;
        let encoded = postcard::to_allocvec(&header).map_err(|_| FormatError::Malformed { what: "bundle header" })?;
        if encoded.len() == header_len {
            break encoded;
        }
        header_len = encoded.len();
    };
    within("header length", header.len() as u64, MAX_HEADER_LEN as u64)?;
    let mut out = Vec::new();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[CONTAINER_VERSION, signers.len() as u8, 0, 0]);
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    signers.iter().for_each(|key| out.extend_from_slice(key));
    out.extend_from_slice(&header);
    out.resize(out.len() + SIGNATURE_LEN * signers.len(), 0);
    for (_, bytes) in parts {
        out.resize(out.len().next_multiple_of(SECTION_ALIGN), 0);
        out.extend_from_slice(bytes);
    }
    Bundle::parse(&out)?;
    Ok(out)
}

/// The table of sections behind `start`, and the end of the last.
fn sections(
    parts: &[(SectionKind, &[u8])],
    start: u64,
) -> Result<(heapless::Vec<Section, MAX_SECTIONS>, u64), PackError> {
    within("sections", parts.len() as u64, MAX_SECTIONS as u64)?;
    let mut end = start;
    let mut table = heapless::Vec::new();
    for &(kind, bytes) in parts {
        let offset = end.next_multiple_of(SECTION_ALIGN as u64);
        end = offset + bytes.len() as u64;
        within("bundle length", end, MAX_BUNDLE_LEN)?;
        table.extend([Section { kind, offset: offset as u32, len: bytes.len() as u32, sha256: sha256(bytes) }]);
    }
    Ok((table, end))
}

fn within(what: &'static str, value: u64, limit: u64) -> Result<(), PackError> {
    if value > limit { Err(FormatError::OverLimit { what, value, limit }.into()) } else { Ok(()) }
}
