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

use fleetfoot_format::preprocess::{Preprocess, Program};

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
