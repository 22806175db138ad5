//! `bundle.yaml`: what a bundle holds beside its model.
//!
//! ```text
//! read.rs      YAML -> Config, every problem with its line and a way out
//! image.rs, audio.rs, table.rs, answers.rs      the parts of `preprocess` and `postprocess`
//! spectrum.rs  windows, twiddle factors, mel weights and cosines: the only place that computes a sine or a logarithm for a device
//! SCHEMA       the same for editors, as JSON Schema
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod answers;
mod audio;
mod image;
mod kinds;
mod read;
mod spectrum;
mod table;

use fleetfoot_format::bundle::Budget;
pub use fleetfoot_settings::Problem;

pub use read::read;

/// The JSON Schema of `bundle.yaml`.
pub const SCHEMA: &str = include_str!("../bundle.schema.json");

/// What the file says. Paths are as they stand there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Name of the model.
    pub name: Option<String>,
    /// Release label.
    pub version: Option<String>,
    /// Release number.
    pub number: Option<u64>,
    /// Labels of the classes.
    pub labels: Option<Labels>,
    /// Files of golden cases.
    pub golden: Vec<String>,
    /// A file of data for the drift baseline.
    pub baseline: Option<String>,
    /// Admission limits.
    pub budget: Budget,
    /// The section *preprocess*.
    pub preprocess: Option<Vec<u8>>,
    /// The section *postprocess*.
    pub postprocess: Option<Vec<u8>>,
    /// A file with what people should know of the model.
    pub card: Option<String>,
}

/// Labels of the classes, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labels {
    /// A file with one per line.
    File(String),
    /// Themselves.
    List(Vec<String>),
}
