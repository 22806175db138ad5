//! The section *raw golden*: what preprocessing and the model must make of raw inputs, to the byte.
//!
//! ```text
//! postcard(Head { cases: [{ raw, input_sha256, output_sha256 }] })   then   for each case its raw bytes
//! ```
//! Pixels are three bytes each (red, green, blue) in rows from the top, samples are int16, a row is postcard([`Cell`]) for each of its cells.
//! One digest is over the bytes of the model's input, the other over all outputs: where only the second differs, it is the model.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    error::FormatError,
    limits::{MAX_AUDIO_SAMPLES, MAX_IMAGE_EXTENT, MAX_RAW_GOLDEN_CASES},
    preprocess::Cell,
};

/// What the raw bytes of a case are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Raw {
    /// Red, green and blue of each pixel.
    Pixels {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// int16, little-endian.
    Samples {
        /// How many.
        count: u32,
    },
    /// Cells of a row.
    Row {
        /// Bytes of all cells.
        len: u32,
    },
}

impl Raw {
    /// Bytes of the case.
    #[must_use]
    pub const fn len(self) -> u64 {
        match self {
            Self::Pixels { width, height } => (width as u64 * height as u64).saturating_mul(3),
            Self::Samples { count } => 2 * count as u64,
            Self::Row { len } => len as u64,
        }
    }

    /// Whether there is nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }

    const fn is_bounded(self) -> bool {
        match self {
            Self::Pixels { width, height } => {
                width > 0 && height > 0 && width <= MAX_IMAGE_EXTENT && height <= MAX_IMAGE_EXTENT
            }
            Self::Samples { count } => count > 0 && count <= MAX_AUDIO_SAMPLES,
            Self::Row { len } => len > 0 && len <= 1 << 20,
        }
    }
}

/// A case without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// What its bytes are.
    pub raw: Raw,
    /// SHA-256 of the model's input.
    pub input_sha256: [u8; 32],
    /// SHA-256 of all outputs of the model, one after another.
    pub output_sha256: [u8; 32],
}

/// Raw golden cases, borrowed from the section.
#[derive(Debug)]
pub struct RawGolden<'a> {
    cases: Vec<Case, MAX_RAW_GOLDEN_CASES>,
    bytes: &'a [u8],
}

impl<'a> RawGolden<'a> {
    /// Decodes the section.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OutOfRange`], or [`FormatError::WrongLength`] where bytes are missing or left over.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((cases, bytes)) = postcard::take_from_bytes::<Vec<Case, MAX_RAW_GOLDEN_CASES>>(bytes) else {
            return Err(FormatError::Malformed { what: "raw golden section" });
        };
        if cases.is_empty() || !cases.iter().all(|case| case.raw.is_bounded()) {
            return Err(FormatError::OutOfRange { what: "case of the raw golden section" });
        }
        let expected = cases.iter().map(|case| case.raw.len()).sum();
        if expected != bytes.len() as u64 {
            return Err(FormatError::WrongLength { expected, have: bytes.len() as u64 });
        }
        Ok(Self { cases, bytes })
    }

    /// Each case with its raw bytes.
    pub fn cases(&self) -> impl ExactSizeIterator<Item = (&Case, &'a [u8])> {
        let mut rest = self.bytes;
        self.cases.iter().map(move |case| {
            // The sum of all lengths was checked.
            let (bytes, after) = rest.split_at(case.raw.len() as usize);
            rest = after;
            (case, bytes)
        })
    }
}

/// The cells of a row as a case stores them; `None` where bytes do not decode.
pub fn cells(mut bytes: &[u8]) -> impl Iterator<Item = Option<Cell<'_>>> {
    core::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        match postcard::take_from_bytes(bytes) {
            Ok((cell, rest)) => {
                bytes = rest;
                Some(Some(cell))
            }
            Err(_) => {
                bytes = &[];
                Some(None)
            }
        }
    })
}

/// Writes a row as a case stores it.
#[cfg(feature = "alloc")]
#[must_use]
pub fn row(cells: &[Cell<'_>]) -> alloc::vec::Vec<u8> {
    // Into a vector of bytes postcard writes every value.
    cells.iter().flat_map(|cell| postcard::to_allocvec(cell).unwrap_or_default()).collect()
}

/// Writes the section.
///
/// # Errors
/// [`FormatError::OverLimit`] for too many cases, else as [`RawGolden::parse`].
#[cfg(feature = "alloc")]
pub fn write(cases: &[(Case, &[u8])]) -> Result<alloc::vec::Vec<u8>, FormatError> {
    let mut head = Vec::<Case, MAX_RAW_GOLDEN_CASES>::new();
    for (case, _) in cases {
        head.push(*case).map_err(|_| FormatError::OverLimit {
            what: "raw golden cases",
            value: cases.len() as u64,
            limit: MAX_RAW_GOLDEN_CASES as u64,
        })?;
    }
    let mut out = postcard::to_allocvec(&head).map_err(|_| FormatError::Malformed { what: "raw golden section" })?;
    cases.iter().for_each(|(_, bytes)| out.extend_from_slice(bytes));
    RawGolden::parse(&out)?;
    Ok(out)
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_faults() {
        let case = |raw| Case { raw, input_sha256: [1; 32], output_sha256: [2; 32] };
        let row = row(&[Cell::Missing, Cell::Number(2.5), Cell::Text("red")]);
        let (pixels, cells_len) = (Raw::Pixels { width: 2, height: 1 }, Raw::Row { len: row.len() as u32 });
        let bytes = write(&[(case(pixels), &[9; 6]), (case(cells_len), &row)]).unwrap();
        let golden = RawGolden::parse(&bytes).unwrap();
        let parsed: alloc::vec::Vec<_> = golden.cases().collect();
        assert_eq!(parsed, [(&case(pixels), &[9; 6][..]), (&case(cells_len), &row[..])]);
        let read: alloc::vec::Vec<_> = cells(parsed[1].1).collect();
        assert_eq!(read, [Some(Cell::Missing), Some(Cell::Number(2.5)), Some(Cell::Text("red"))]);
        assert_eq!(cells(&row[..row.len() - 1]).last(), Some(None), "a row that breaks off");
        assert_eq!(RawGolden::parse(&bytes[..bytes.len() - 1]).unwrap_err().code(), 103);
        assert_eq!(RawGolden::parse(&[]).unwrap_err().code(), 105);
        assert_eq!(write(&[]).unwrap_err().code(), 111);
        let huge = Raw::Pixels { width: u32::MAX, height: u32::MAX };
        assert_eq!(huge.len(), u64::MAX);
        assert_eq!(write(&[(case(huge), &[])]).unwrap_err().code(), 111);
        assert_eq!(write(&[(case(Raw::Pixels { width: 0, height: 1 }), &[])]).unwrap_err().code(), 111);
    }
}
