//! From a quantized model to a signed bundle.
//!
//! [`pack`] takes a plan and writes the file; [`run_goldens`] runs the plan on its golden inputs, so that a bundle never leaves without
//! the answers that it must give. Signing is one call of `fleetfoot_trust::sign_bundle` on the result, per key.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod assemble;
mod baseline;
mod error;
mod golden;
mod pack;

pub use assemble::assemble;
pub use baseline::sketch as baseline;
pub use error::PackError;
pub use golden::{Case, run as run_goldens, seeded_inputs};
pub use pack::{Pack, pack};
