//! The container `.ff`.
//!
//! ```text
//! 0        8   magic  89 46 46 42 0D 0A 1A 0A
//! 8        1   container version, 1
//! 9        1   number of signers n, 1..=8
//! 10       2   zero
//! 12       4   header length h
//! 16       32n signers: Ed25519 public keys, declared in advance, in signature order
//! 16+32n   h   header, postcard (see [`Header`])
//!          64n signatures; 64 zero bytes for a declared signer that has not signed yet
//!              zero padding to a multiple of 64
//!              sections, each at a multiple of 64, zero padding between them
//! ```
//! The signatures are over `"ff-bundle-v1\0" ‖ SHA-256(bytes 0 .. 16+32n+h)`. The header holds the length of
//! the whole file and the offset, length and SHA-256 of every section, so that with a good signature every byte of the file is
//! fixed but those of signatures. Nothing after byte 16 is interpreted before the signatures hold:
//! that is the business of the crate `fleetfoot-trust`, which alone calls [`Bundle::parse`] on files from outside.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    error::FormatError,
    limits::{MAX_BUNDLE_LEN, MAX_HEADER_LEN, MAX_NAME_LEN, MAX_SECTIONS, MAX_SIGNERS},
};

/// The first eight bytes of a bundle; like PNG's they break under newline conversion and 7-bit transfer.
pub const MAGIC: [u8; 8] = *b"\x89FFB\r\n\x1a\n";
/// The container version that this crate reads and writes.
pub const CONTAINER_VERSION: u8 = 1;
/// Length of the preamble.
pub const PREAMBLE_LEN: usize = 16;
/// Length of an Ed25519 public key.
pub const KEY_LEN: usize = 32;
/// Length of an Ed25519 signature.
pub const SIGNATURE_LEN: usize = 64;
/// Alignment of every section; weights are read in place with vector loads.
pub const SECTION_ALIGN: usize = 64;

/// Where the parts that stand before the sections lie. Made from the 16 bytes of the preamble alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Number of declared signers.
    pub n_signers: usize,
    /// Length of the header.
    pub header_len: usize,
}

impl Preamble {
    /// Reads and bounds the preamble; looks at nothing after byte 16.
    ///
    /// # Errors
    /// [`FormatError::BadMagic`], [`FormatError::UnknownVersion`], [`FormatError::Truncated`] or
    /// [`FormatError::OverLimit`].
    pub fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        let Some(head) = bytes.first_chunk::<PREAMBLE_LEN>() else {
            if !bytes.starts_with(&MAGIC) {
                return Err(FormatError::BadMagic);
            }
            return Err(FormatError::Truncated { need: PREAMBLE_LEN as u64, have: bytes.len() as u64 });
        };
        let [m0, m1, m2, m3, m4, m5, m6, m7, version, n_signers, r0, r1, h0, h1, h2, h3] = *head;
        if [m0, m1, m2, m3, m4, m5, m6, m7] != MAGIC {
            return Err(FormatError::BadMagic);
        }
        if version != CONTAINER_VERSION {
            return Err(FormatError::UnknownVersion { found: version, known: CONTAINER_VERSION });
        }
        if [r0, r1] != [0, 0] {
            return Err(FormatError::ReservedNotZero);
        }
        let n_signers = usize::from(n_signers);
        if n_signers == 0 || n_signers > MAX_SIGNERS {
            return Err(FormatError::OverLimit {
                what: "number of signers",
                value: n_signers as u64,
                limit: MAX_SIGNERS as u64,
            });
        }
        let header_len = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        if header_len > MAX_HEADER_LEN {
            return Err(FormatError::OverLimit {
                what: "header length",
                value: header_len as u64,
                limit: MAX_HEADER_LEN as u64,
            });
        }
        let this = Self { n_signers, header_len };
        if bytes.len() < this.sections_start() {
            return Err(FormatError::Truncated { need: this.sections_start() as u64, have: bytes.len() as u64 });
        }
        Ok(this)
    }

    /// Length of what the signatures are over: preamble, signers and header.
    #[must_use]
    pub const fn signed_len(self) -> usize {
        PREAMBLE_LEN + KEY_LEN * self.n_signers + self.header_len
    }

    /// End of the signatures.
    #[must_use]
    pub const fn signatures_end(self) -> usize {
        self.signed_len() + SIGNATURE_LEN * self.n_signers
    }

    /// Where the first section may begin: the end of the signatures, rounded up to [`SECTION_ALIGN`].
    #[must_use]
    pub const fn sections_start(self) -> usize {
        self.signatures_end().next_multiple_of(SECTION_ALIGN)
    }

    /// The part of `bytes` that the signatures are over.
    #[must_use]
    pub fn signed<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[..self.signed_len()]
    }

    /// Signer `i` and its signature. `i < n_signers`.
    #[must_use]
    pub fn signature<'a>(&self, bytes: &'a [u8], i: usize) -> (&'a [u8; KEY_LEN], &'a [u8; SIGNATURE_LEN]) {
        assert!(i < self.n_signers);
        let key = bytes[PREAMBLE_LEN + KEY_LEN * i..].first_chunk().expect("length was checked in read()");
        let signature =
            bytes[self.signed_len() + SIGNATURE_LEN * i..].first_chunk().expect("length was checked in read()");
        (key, signature)
    }
}

/// What a section holds. Unknown kinds are kept and hash-checked but not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectionKind(pub u8);

impl SectionKind {
    /// The plan: [`graph`](crate::graph).
    pub const GRAPH: Self = Self(1);
    /// Weights, biases, multipliers and tables that the graph points into.
    pub const WEIGHTS: Self = Self(2);
    /// [`golden`](crate::golden) vectors.
    pub const GOLDEN: Self = Self(3);
    /// One label per line, UTF-8, for output 0.
    pub const LABELS: Self = Self(4);
    /// Provenance: postcard, see [`Provenance`].
    pub const PROVENANCE: Self = Self(5);
    /// Drift [`baseline`](crate::baseline).
    pub const BASELINE: Self = Self(6);
    /// From a raw input to the input of the model: [`preprocess`](crate::preprocess).
    pub const PREPROCESS: Self = Self(7);
    /// From outputs to an answer: [`postprocess`](crate::postprocess).
    pub const POSTPROCESS: Self = Self(8);
    /// Golden cases that begin at the raw input: [`raw_golden`](crate::raw_golden).
    pub const RAW_GOLDEN: Self = Self(9);
    /// What people should know of the model, UTF-8.
    pub const CARD: Self = Self(10);

    /// The name of a known kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::GRAPH => "graph",
            Self::WEIGHTS => "weights",
            Self::GOLDEN => "golden",
            Self::LABELS => "labels",
            Self::PROVENANCE => "provenance",
            Self::BASELINE => "baseline",
            Self::PREPROCESS => "preprocess",
            Self::POSTPROCESS => "postprocess",
            Self::RAW_GOLDEN => "raw golden",
            Self::CARD => "card",
            _ => "unknown",
        }
    }
}

/// One section of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// Offset in the file, a multiple of [`SECTION_ALIGN`].
    pub offset: u32,
    /// Length in bytes, without padding.
    pub len: u32,
    /// SHA-256 of these bytes.
    pub sha256: [u8; 32],
}

/// What the model may cost on the device that admits it. `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    /// 99th percentile of warm single-thread inferences, microseconds.
    pub p99_us: Option<u32>,
    /// Arena (tensors and scratch), bytes.
    pub arena_bytes: Option<u32>,
}

/// The signed header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// Name of the model: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
    pub model: &'a str,
    /// Release label, such as `1.2.0`, same alphabet plus `A-Z` and `+`.
    pub version: &'a str,
    /// Release number; only the order counts, and it rises with every release.
    pub number: u64,
    /// Length of the whole file.
    pub total_len: u64,
    /// Lowest runtime that may run the bundle: major, minor.
    pub min_runtime: (u16, u16),
    /// Layout of the weights: `portable` is understood by every runtime.
    pub target: &'a str,
    /// Admission limits.
    pub budget: Budget,
    /// The sections in file order.
    pub sections: Vec<Section, MAX_SECTIONS>,
}

/// Where a bundle comes from. Hashes are SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance<'a> {
    /// Of the file that was imported.
    pub source_sha256: [u8; 32],
    /// Its format: `tflite` or `onnx`.
    pub source_format: &'a str,
    /// The program and version that packed it.
    pub tool: &'a str,
}

/// How a model became int8, for one that was quantized here. Stands behind [`Provenance`] in the same section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantization<'a> {
    /// Of the samples, as float32 one after another.
    pub data_sha256: [u8; 32],
    /// Options, as text.
    pub config: &'a str,
}

impl<'a> Provenance<'a> {
    /// Reads the section, and what may follow.
    ///
    /// # Errors
    /// [`FormatError::Malformed`].
    pub fn read(section: &'a [u8]) -> Result<(Self, Option<Quantization<'a>>), FormatError> {
        let malformed = |_| FormatError::Malformed { what: "provenance" };
        let (provenance, rest) = postcard::take_from_bytes(section).map_err(malformed)?;
        let quantization = if rest.is_empty() { None } else { Some(postcard::from_bytes(rest).map_err(malformed)?) };
        Ok((provenance, quantization))
    }
}

/// A bundle whose structure holds: header decoded, sections inside the file and in order, padding zero.
///
/// This says nothing of hashes and signatures. Use `fleetfoot_trust::verify`, which calls [`parse`](Self::parse) only
/// after the signatures held and checks every hash.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    preamble: Preamble,
    header: Header<'a>,
}

impl<'a> Bundle<'a> {
    /// Decodes the header and proves where everything lies.
    ///
    /// # Errors
    /// A [`FormatError`] that names the field or the offset at fault.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let preamble = Preamble::read(bytes)?;
        let body = &bytes[PREAMBLE_LEN + KEY_LEN * preamble.n_signers..preamble.signed_len()];
        let Ok((header, [])) = postcard::take_from_bytes::<Header<'a>>(body) else {
            return Err(FormatError::Malformed { what: "bundle header" });
        };
        if !valid_name(header.model) {
            return Err(FormatError::OutOfRange { what: "model name" });
        }
        if !valid_version(header.version) {
            return Err(FormatError::OutOfRange { what: "version label" });
        }
        if header.total_len > MAX_BUNDLE_LEN {
            return Err(FormatError::OverLimit {
                what: "bundle length",
                value: header.total_len,
                limit: MAX_BUNDLE_LEN,
            });
        }
        if header.total_len != bytes.len() as u64 {
            return Err(FormatError::WrongLength { expected: header.total_len, have: bytes.len() as u64 });
        }
        let mut end = preamble.signatures_end();
        for (index, section) in header.sections.iter().enumerate() {
            let start = section.offset as usize;
            let bad = FormatError::BadSection { index, offset: section.offset, len: section.len };
            if start != end.next_multiple_of(SECTION_ALIGN) {
                return Err(bad);
            }
            let stop = start.checked_add(section.len as usize).filter(|&stop| stop <= bytes.len()).ok_or(bad)?;
            zero_between(bytes, end, start)?;
            end = stop;
        }
        if end != bytes.len() {
            return Err(FormatError::WrongLength { expected: end as u64, have: bytes.len() as u64 });
        }
        Ok(Self { bytes, preamble, header })
    }

    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The preamble.
    #[must_use]
    pub const fn preamble(&self) -> Preamble {
        self.preamble
    }

    /// The whole file.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The bytes of `section`, which must come from this bundle's header.
    #[must_use]
    pub fn section_bytes(&self, section: &Section) -> &'a [u8] {
        &self.bytes[section.offset as usize..][..section.len as usize]
    }

    /// The first section of `kind`.
    ///
    /// # Errors
    /// [`FormatError::MissingSection`].
    pub fn section(&self, kind: SectionKind) -> Result<&'a [u8], FormatError> {
        let section = self.header.sections.iter().find(|s| s.kind == kind);
        section.map(|s| self.section_bytes(s)).ok_or(FormatError::MissingSection { what: kind.name() })
    }
}

/// Whether `name` may name a model: it becomes part of paths and URLs.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    (1..=MAX_NAME_LEN).contains(&name.len()) && name.bytes().all(allowed) && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// Whether `version` may be a release label.
#[must_use]
pub fn valid_version(version: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+');
    (1..=MAX_NAME_LEN).contains(&version.len())
        && version.bytes().all(allowed)
        && version.as_bytes()[0].is_ascii_alphanumeric()
}

fn zero_between(bytes: &[u8], from: usize, to: usize) -> Result<(), FormatError> {
    let gap = bytes.get(from..to).ok_or(FormatError::Truncated { need: to as u64, have: bytes.len() as u64 })?;
    match gap.iter().position(|&b| b != 0) {
        Some(at) => Err(FormatError::NonZeroPadding { offset: (from + at) as u64 }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preamble_is_bounded_before_anything_else() {
        let mut bytes = [0u8; 200];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8] = 1;
        bytes[9] = 1;
        assert_eq!(Preamble::read(&bytes), Ok(Preamble { n_signers: 1, header_len: 0 }));
        let with = |i: usize, v: u8| {
            let mut b = bytes;
            b[i] = v;
            Preamble::read(&b).unwrap_err().code()
        };
        assert_eq!(with(0, 0), 100);
        assert_eq!(with(8, 2), 101);
        assert_eq!(with(9, 0), 104);
        assert_eq!(with(9, 9), 104);
        assert_eq!(with(10, 1), 109);
        assert_eq!(with(12, 255), 102);
        assert_eq!(with(15, 255), 104);
        assert_eq!(Preamble::read(&bytes[..12]).unwrap_err().code(), 102);
        assert_eq!(Preamble::read(b"PK\x03\x04").unwrap_err().code(), 100);
    }

    #[test]
    fn names_are_safe_in_paths() {
        for good in ["kws", "a", "mobilenet-v2_1.0"] {
            assert!(valid_name(good), "{good}");
        }
        for bad in ["", ".", "..", "-x", "A", "a/b", "a b", "ü", &"a".repeat(65)[..]] {
            assert!(!valid_name(bad), "{bad}");
        }
        assert!(valid_version("1.2.0-rc.1+x"));
        assert!(!valid_version("../1"));
    }
}
