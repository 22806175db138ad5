//! The section *golden*: what the model must answer, to the byte.
//!
//! ```text
//! postcard(Head { input_len, output_sha256: [..] })  then  for each digest input_len raw input bytes
//! ```
//! A case's input is the concatenation of all inputs of the model in order; its digest is the SHA-256 of the concatenation
//! of all outputs.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{error::FormatError, limits::MAX_GOLDEN_CASES};

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    input_len: u32,
    output_sha256: Vec<[u8; 32], MAX_GOLDEN_CASES>,
}

/// Golden cases, borrowed from the section.
#[derive(Debug)]
pub struct Golden<'a> {
    head: Head,
    inputs: &'a [u8],
}

impl<'a> Golden<'a> {
    /// Decodes the section.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], or [`FormatError::WrongLength`] where inputs are missing or left over.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((head, inputs)) = postcard::take_from_bytes::<Head>(bytes) else {
            return Err(FormatError::Malformed { what: "golden section" });
        };
        let expected = u64::from(head.input_len) * head.output_sha256.len() as u64;
        if expected != inputs.len() as u64 {
            return Err(FormatError::WrongLength { expected, have: inputs.len() as u64 });
        }
        if head.input_len == 0 || head.output_sha256.is_empty() {
            return Err(FormatError::OutOfRange { what: "golden section without a case" });
        }
        Ok(Self { head, inputs })
    }

    /// Bytes of one case's input.
    #[must_use]
    pub const fn input_len(&self) -> usize {
        self.head.input_len as usize
    }

    /// Each case: raw input bytes, SHA-256 of the raw output bytes.
    pub fn cases(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &[u8; 32])> {
        self.inputs.chunks_exact(self.input_len()).zip(&self.head.output_sha256)
    }
}

/// Writes a golden section.
///
/// # Errors
/// [`FormatError::OverLimit`] for too many cases, [`FormatError::OutOfRange`] for none or for inputs of different lengths.
#[cfg(feature = "alloc")]
pub fn write(cases: &[(&[u8], [u8; 32])]) -> Result<alloc::vec::Vec<u8>, FormatError> {
    let Some(((first, _), limit)) = cases.first().zip(Some(MAX_GOLDEN_CASES)) else {
        return Err(FormatError::OutOfRange { what: "golden section without a case" });
    };
    if cases.iter().any(|(input, _)| input.len() != first.len()) || first.is_empty() {
        return Err(FormatError::OutOfRange { what: "length of a golden input" });
    }
    let output_sha256 = Vec::from_iter_checked(cases.iter().map(|(_, digest)| *digest))
        .ok_or(FormatError::OverLimit { what: "golden cases", value: cases.len() as u64, limit: limit as u64 })?;
    let input_len =
        u32::try_from(first.len()).map_err(|_| FormatError::OutOfRange { what: "length of a golden input" })?;
    let mut out = postcard::to_allocvec(&Head { input_len, output_sha256 })
        .map_err(|_| FormatError::Malformed { what: "golden section" })?;
    for (input, _) in cases {
        out.extend_from_slice(input);
    }
    Ok(out)
}

#[cfg(feature = "alloc")]
trait FromIterChecked<T>: Sized {
    fn from_iter_checked(items: impl Iterator<Item = T>) -> Option<Self>;
}

#[cfg(feature = "alloc")]
impl<T, const N: usize> FromIterChecked<T> for Vec<T, N> {
    fn from_iter_checked(items: impl Iterator<Item = T>) -> Option<Self> {
        let mut out = Self::new();
        for item in items {
            out.push(item).ok()?;
        }
        Some(out)
    }
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_faults() {
        let bytes = write(&[(&[1, 2, 3], [7; 32]), (&[4, 5, 6], [8; 32])]).unwrap();
        let golden = Golden::parse(&bytes).unwrap();
        assert_eq!(
            golden.cases().collect::<alloc::vec::Vec<_>>(),
            [(&[1u8, 2, 3][..], &[7; 32]), (&[4, 5, 6], &[8; 32])]
        );
        assert_eq!(Golden::parse(&bytes[..bytes.len() - 1]).unwrap_err().code(), 103);
        assert_eq!(Golden::parse(&[]).unwrap_err().code(), 105);
        assert_eq!(write(&[]).unwrap_err().code(), 111);
        assert_eq!(write(&[(&[1], [0; 32]), (&[1, 2], [0; 32])]).unwrap_err().code(), 111);
    }
}
