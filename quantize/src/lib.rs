//! From a trained network to a signed bundle.
//!
//! A float ONNX network and samples of its input become int8 with [`quantize`]; [`Ffm`] keeps the result in a file.
//! [`pack`] takes a plan and writes the bundle; [`run_goldens`] runs the plan on its golden inputs, so that a bundle never leaves without
//! the answers that it must give. Signing is one call of `fleetfoot_trust::sign_bundle` on the result, per key.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assemble;
mod baseline;
mod calibrate;
mod cause;
mod data;
mod empirical;
mod encode;
mod error;
mod ffm;
mod float;
mod float_error;
mod golden;
mod histogram;
mod inside;
mod islands;
mod mend;
mod pack;
mod page;
mod passes;
mod ranges;
mod raw;
mod reference;
mod report;
mod speed;

pub use assemble::assemble;
pub use baseline::sketch as baseline;
pub use cause::{Cause, Fix};
pub use data::Data;
pub use error::PackError;
pub use ffm::Ffm;
pub use float::{BiasCorrection, Options, Quantized, quantize};
pub use float_error::QuantizeError;
pub use golden::{Case, run as run_goldens, seeded_inputs};
pub use histogram::Bars;
pub use mend::{Applied, mend};
pub use pack::{Pack, pack};
pub use page::{Accuracy, Page};
pub use ranges::Method;
pub use raw::{RawError, RawInput, is_raw, raw_files, read_raw};
pub use reference::Reference;
pub use report::LayerReport;
pub use speed::Speed;
