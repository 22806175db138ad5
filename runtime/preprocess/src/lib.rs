//! From raw inputs to the input of a model, and from its outputs to an answer.
//!
//! ```text
//! pixels   -> crop, resize, channels, normalise, quantize             image.rs, geometry.rs, filter.rs
//! samples  -> frames, window, Fourier transform, mel, log, cosines    audio.rs, fft.rs
//! a row    -> scale, one-hot                                          table.rs
//! outputs  -> dequantize, softmax, the best                           classes.rs
//!          -> boxes, those that overlap a better one left out         boxes.rs
//! ```
//! The settings stand in the bundle (`fleetfoot_format::preprocess`, `postprocess`). `docs/preprocessing.md` says what each gives, to the
//! bit: integers, and single IEEE operations in a fixed order, so that an author's machine and every device have the same
//! bytes. There is no heap: callers own all buffers, and [`scratch_len`] tells how much audio needs.
//!
//! ```
//! use fleetfoot_format::{graph::IoType, preprocess::{Channels, Filter, Image, ImageStep, PixelValues}};
//! use fleetfoot_preprocess::{Rgb, Tensor, image};
//!
//! let steps = [ImageStep::Resize { width: 1, height: 1, filter: Filter::Area }];
//! let program = Image { steps: steps.into_iter().collect(), channels: Channels::Grey, values: PixelValues::Levels };
//! let tensor = Tensor { dtype: IoType::UInt8, dims: &[1, 1, 1, 1], scale: 1.0, zero_point: 0 };
//! let (black, white) = ([0; 3], [255; 3]);
//! let (pixels, mut input) = ([black, white].concat(), [0]);
//! image(&program, &tensor, &Rgb::new(2, 1, &pixels)?, &mut input)?;
//! assert_eq!(input, [128]);
//! # Ok::<(), fleetfoot_preprocess::PreprocessError>(())
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

mod audio;
mod boxes;
mod classes;
mod door;
mod error;
mod exp;
mod fft;
mod filter;
mod geometry;
mod image;
mod table;

use fleetfoot_format::{
    postprocess::Postprocess,
    preprocess::{Preprocess, Program},
};

pub use audio::{audio, scratch_len};
pub use boxes::{Detection, boxes};
pub use classes::{Class, classes};
pub use door::{Output, Tensor, f16_to_f32};
pub use error::{CellFault, PreprocessError};
pub use exp::{exp, sigmoid};
pub use image::{Pixels, Rgb, image};
pub use table::row;

/// Whether what `program` gives fits `tensor`, as far as that does not depend on the input.
///
/// # Errors
/// [`PreprocessError::Shape`], [`PreprocessError::ElementType`].
pub fn check(program: &Program<'_>, tensor: &Tensor<'_>) -> Result<(), PreprocessError> {
    tensor.is_a_door()?;
    match &program.preprocess {
        Preprocess::Image(settings) => image::check(settings, tensor),
        Preprocess::Audio(settings) => audio::check(settings, tensor),
        Preprocess::Table(_) => table::check(program, tensor),
    }
}

/// Whether `program` can read an answer from the outputs of a model, whatever they hold.
///
/// # Errors
/// [`PreprocessError::NoSuchOutput`] where there is no such output, or it has not as many elements as [`classes`] and [`boxes`] ask for.
pub fn check_answers(program: &Postprocess<'_>, outputs: &[Tensor<'_>]) -> Result<(), PreprocessError> {
    let elements = |index: u8| {
        let elements = outputs.get(usize::from(index)).map(Tensor::elements).filter(|&n| n > 0);
        elements.ok_or(PreprocessError::NoSuchOutput { index: index.into() })
    };
    match program {
        Postprocess::Classes(settings) => elements(settings.output).map(drop),
        Postprocess::Values(settings) => elements(settings.output).map(drop),
        Postprocess::Boxes(settings) => {
            boxes::classes_of(settings, elements(settings.boxes)?, elements(settings.scores)?).map(drop)
        }
    }
}

#[cfg(test)]
mod tests {
    use fleetfoot_format::{
        graph::IoType,
        postprocess::{Boxes, Classes, Coding, Values},
    };

    use super::*;

    #[test]
    fn answers_and_outputs_that_do_not_fit() {
        let output = |dims| Tensor { dtype: IoType::Int8, dims, scale: 1.0, zero_point: 0 };
        let outputs = [output(&[1, 3, 4]), output(&[1, 3, 2]), output(&[1, 5]), output(&[1, 0])];
        let faulty = |program| match check_answers(&program, &outputs) {
            Err(PreprocessError::NoSuchOutput { index }) => Some(index),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        };
        let classes = |output| Postprocess::Classes(Classes { output, softmax: true, top: 1, threshold: 0.0 });
        let values = |output| Postprocess::Values(Values { output, scale: 1.0, offset: 0.0, unit: "" });
        assert_eq!([2, 3, 4].map(|output| faulty(classes(output))), [None, Some(3), Some(4)]);
        assert_eq!([2, 3, 4].map(|output| faulty(values(output))), [None, Some(3), Some(4)]);
        let boxes = |boxes, scores, anchors| {
            let (coding, threshold, overlap) = (Coding::CentreSize, 0.5, 0.5);
            let (sigmoid, background, top) = (false, false, 5);
            Postprocess::Boxes(Boxes { boxes, scores, coding, sigmoid, background, threshold, overlap, top, anchors })
        };
        assert_eq!(faulty(boxes(0, 1, &[])), None);
        assert_eq!(faulty(boxes(0, 1, &[0; 48])), None);
        assert_eq!(faulty(boxes(0, 1, &[0; 32])), Some(0), "anchors of two boxes");
        assert_eq!(faulty(boxes(1, 0, &[])), Some(1), "six numbers are no boxes");
        assert_eq!(faulty(boxes(0, 2, &[])), Some(2), "five scores of three boxes");
        assert_eq!(faulty(boxes(0, 7, &[])), Some(7));
        assert_eq!(faulty(boxes(3, 1, &[])), Some(3));
    }
}
