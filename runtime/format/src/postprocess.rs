//! The section *postprocess*: how the outputs of the model become an answer.
//!
//! ```text
//! postcard(Postprocess)
//! ```
//! What each setting means, to the bit, is in `docs/preprocessing.md`; labels stand in the section of that name.

use serde::{Deserialize, Serialize};

use crate::{
    error::{FormatError, in_range, within},
    limits::{MAX_ANCHORS, MAX_ANSWERS, MAX_IO, MAX_NAME_LEN},
    preprocess::divisor,
};

/// What is made of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Postprocess<'a> {
    /// The highest scores of one output, each with its class.
    Classes(Classes),
    /// The elements of one output as numbers of a unit.
    #[serde(borrow)]
    Values(Values<'a>),
    /// Boxes around things.
    #[serde(borrow)]
    Boxes(Boxes<'a>),
}

/// Scores of classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Classes {
    /// Which output.
    pub output: u8,
    /// Whether the outputs are logits.
    pub softmax: bool,
    /// At most so many.
    pub top: u16,
    /// Only those that are not below.
    pub threshold: f32,
}

/// Numbers of a unit: `x * scale + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Values<'a> {
    /// Which output.
    pub output: u8,
    /// Multiplies.
    pub scale: f32,
    /// Added then.
    pub offset: f32,
    /// What they are counted in.
    pub unit: &'a str,
}

/// Boxes with scores per class, of which those that overlap a better one of the same class are left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Boxes<'a> {
    /// The output with four numbers per box.
    pub boxes: u8,
    /// The output with one number per box and class.
    pub scores: u8,
    /// What the four numbers are.
    pub coding: Coding,
    /// Whether scores are to go through `1 / (1 + exp(-x))`.
    pub sigmoid: bool,
    /// Whether class 0 is the background, which is no answer.
    pub background: bool,
    /// Only those that are not below.
    pub threshold: f32,
    /// A box that overlaps a better one of its class by more than this (intersection over union) is left out.
    pub overlap: f32,
    /// At most so many.
    pub top: u16,
    /// For [`Coding::Anchors`]: four f32 per box, centre y, centre x, height, width.
    pub anchors: &'a [u8],
}

/// What the four numbers of a box are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Coding {
    /// Top, left, bottom, right.
    TopLeftBottomRight,
    /// Left, top, right, bottom.
    LeftTopRightBottom,
    /// Centre x, centre y, width, height.
    CentreSize,
    /// Offsets of the anchors: y, x in their sizes, logarithms of height and width; each divided by its scale first.
    Anchors {
        /// Of y, x, height, width.
        scales: [f32; 4],
    },
}

impl<'a> Postprocess<'a> {
    /// Decodes and bounds the section.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OverLimit`] or [`FormatError::OutOfRange`] with the field.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((program, [])) = postcard::take_from_bytes::<Self>(bytes) else {
            return Err(FormatError::Malformed { what: "postprocess section" });
        };
        program.check()?;
        Ok(program)
    }

    /// Decodes a section that [`parse`](Self::parse) took before, without its checks. Nothing where it does not decode.
    #[must_use]
    pub fn reread(bytes: &'a [u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    fn check(&self) -> Result<(), FormatError> {
        match self {
            Self::Classes(classes) => {
                output(classes.output)?;
                answers(classes.top)?;
                in_range(classes.threshold.is_finite(), "threshold of scores")
            }
            Self::Values(values) => {
                output(values.output)?;
                in_range(values.scale.is_finite() && values.offset.is_finite(), "scale of values")?;
                within("length of a unit", values.unit.len() as u64, MAX_NAME_LEN as u64)
            }
            Self::Boxes(boxes) => {
                output(boxes.boxes)?;
                output(boxes.scores)?;
                answers(boxes.top)?;
                in_range(boxes.threshold.is_finite(), "threshold of scores")?;
                in_range((0.0..=1.0).contains(&boxes.overlap), "overlap of boxes")?;
                let (anchors, rest) = boxes.anchors.as_chunks::<4>();
                within("anchors", anchors.len() as u64 / 4, MAX_ANCHORS as u64)?;
                let whole = rest.is_empty() && anchors.len().is_multiple_of(4);
                let finite = anchors.iter().all(|&a| f32::from_le_bytes(a).is_finite());
                in_range(whole && finite, "anchors")?;
                match boxes.coding {
                    Coding::Anchors { scales } => {
                        in_range(!anchors.is_empty() && scales.iter().copied().all(divisor), "anchors")
                    }
                    _ => in_range(anchors.is_empty(), "anchors"),
                }
            }
        }
    }
}

fn output(index: u8) -> Result<(), FormatError> {
    in_range(usize::from(index) < MAX_IO, "output of the postprocess section")
}

fn answers(top: u16) -> Result<(), FormatError> {
    in_range(top > 0, "number of answers")?;
    within("number of answers", u64::from(top), MAX_ANSWERS as u64)
}

/// Writes the section.
///
/// # Errors
/// As [`Postprocess::parse`].
#[cfg(feature = "alloc")]
pub fn write(program: &Postprocess<'_>) -> Result<alloc::vec::Vec<u8>, FormatError> {
    program.check()?;
    postcard::to_allocvec(program).map_err(|_| FormatError::Malformed { what: "postprocess section" })
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    const BOXES: Boxes<'_> = Boxes {
        boxes: 0,
        scores: 1,
        coding: Coding::CentreSize,
        sigmoid: true,
        background: false,
        threshold: 0.5,
        overlap: 0.6,
        top: 10,
        anchors: &[],
    };

    #[test]
    fn round_trip_and_every_cut() {
        let program = Postprocess::Boxes(BOXES);
        let bytes = write(&program).unwrap();
        assert_eq!(Postprocess::parse(&bytes), Ok(program));
        for cut in 0..bytes.len() {
            assert_eq!(Postprocess::parse(&bytes[..cut]).unwrap_err().code(), 105, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_program() {
        let refused = |program, code| assert_eq!(write(&program).unwrap_err().code(), code, "{program:?}");
        let classes = Classes { output: 0, softmax: true, top: 5, threshold: 0.0 };
        refused(Postprocess::Classes(Classes { output: 8, ..classes }), 111);
        refused(Postprocess::Classes(Classes { top: 0, ..classes }), 111);
        refused(Postprocess::Classes(Classes { top: 1001, ..classes }), 104);
        refused(Postprocess::Classes(Classes { threshold: f32::NAN, ..classes }), 111);
        refused(Postprocess::Boxes(Boxes { overlap: 1.5, ..BOXES }), 111);
        refused(Postprocess::Boxes(Boxes { anchors: &[0; 16], ..BOXES }), 111);
        let anchors = Coding::Anchors { scales: [10.0, 10.0, 5.0, 5.0] };
        refused(Postprocess::Boxes(Boxes { coding: anchors, ..BOXES }), 111);
        refused(Postprocess::Boxes(Boxes { coding: anchors, anchors: &[0; 20], ..BOXES }), 111);
    }
}
