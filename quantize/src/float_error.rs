//! Why a float network was not quantized: codes 560 to 579.

use std::path::PathBuf;

use fleetfoot_engine::EngineError;
use fleetfoot_import::{ImportError, Problem, Problems};
use fleetfoot_plan::PlanError;
use thiserror::Error;

/// Why a float network was not quantized.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The network cannot be read, or not all of it can be quantized.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The quantized network cannot be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The quantized network does not run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A raw input cannot be read, or does not become a sample.
    #[error(transparent)]
    Raw(#[from] crate::raw::RawError),
    /// The float reference does not run the network.
    #[error("the float reference cannot {doing}: {what}")]
    Reference {
        /// What it was asked for.
        doing: &'static str,
        /// What it says.
        what: String,
    },
    /// The network is quantized already.
    #[error("the model is quantized already: it needs no calibration; fleetfoot pack takes it as it is")]
    Quantized,
    /// A network with several inputs.
    #[error("the model has {count} inputs, calibration takes models with one")]
    Inputs {
        /// How many.
        count: usize,
    },
    /// A file of data cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An array is not there.
    #[error("{} has no array '{wanted}', it has: {}", path.display(), have.join(", "))]
    NoArray {
        /// The file.
        path: PathBuf,
        /// The array.
        wanted: &'static str,
        /// Arrays that are there.
        have: Vec<String>,
    },
    /// An array has a type that is not taken.
    #[error("{}: the array is of {dtype}, which is not taken here: save it as {need}", path.display())]
    DataType {
        /// The file.
        path: PathBuf,
        /// Its type, as numpy writes it.
        dtype: String,
        /// What is taken.
        need: &'static str,
    },
    /// Samples do not fit the input of the network.
    #[error("{}: the input of the model is {need:?}, a sample of the array is {have:?}{}", path.display(), hint(need, have))]
    DataShape {
        /// The file.
        path: PathBuf,
        /// Shape of the input.
        need: Vec<usize>,
        /// Shape of a sample.
        have: Vec<usize>,
    },
    /// There is no sample.
    #[error("{}: the array holds no sample", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A sample is not of numbers.
    #[error("{}: sample {sample} holds a value that is not a finite number", path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: usize,
    },
    /// As many labels as samples are needed.
    #[error("{}: {samples} samples but {labels} labels", path.display())]
    LabelCount {
        /// The file.
        path: PathBuf,
        /// Samples.
        samples: usize,
        /// Labels.
        labels: usize,
    },
    /// A label names a class that the network does not have.
    #[error("{}: label {label} of sample {sample} is out of range: the model has {classes} outputs, labels are 0 to {}", path.display(), classes - 1)]
    Label {
        /// The file.
        path: PathBuf,
        /// Which sample.
        sample: usize,
        /// Its label.
        label: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A constant of the network holds NaN or infinity.
    #[error(
        "the weights '{tensor}' hold a value that is not a finite number: the training has diverged, take an earlier checkpoint"
    )]
    Weights {
        /// Its name.
        tensor: String,
    },
    /// The float network gives NaN or infinity.
    #[error(
        "'{tensor}' is not a finite number for sample {sample}: the float model itself is broken, or the data are not scaled as in its training"
    )]
    Activations {
        /// The value.
        tensor: String,
        /// Which sample.
        sample: usize,
    },
    /// The output never changes.
    #[error(
        "the output '{tensor}' is {value} for all {samples} samples: a constant answer cannot be quantized; is the data the one of the training?"
    )]
    ConstantOutput {
        /// The output.
        tensor: String,
        /// Its first element.
        value: f32,
        /// How many samples.
        samples: usize,
    },
    /// A `.ffm` file is damaged.
    #[error("damaged .ffm: {what}")]
    Ffm {
        /// What is wrong.
        what: &'static str,
    },
}

impl QuantizeError {
    /// The stable number of this error.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Import(inner) => inner.code(),
            Self::Plan(inner) => inner.code(),
            Self::Engine(inner) => inner.code(),
            Self::Raw(inner) => inner.code(),
            Self::Reference { .. } => 560,
            Self::Quantized => 561,
            Self::Inputs { .. } => 562,
            Self::Data { .. } => 563,
            Self::NoArray { .. } => 564,
            Self::DataType { .. } => 565,
            Self::DataShape { .. } => 566,
            Self::Empty { .. } => 567,
            Self::NotFinite { .. } => 568,
            Self::LabelCount { .. } => 569,
            Self::Label { .. } => 570,
            Self::Weights { .. } => 571,
            Self::Activations { .. } => 572,
            Self::ConstantOutput { .. } => 573,
            Self::Ffm { .. } => 574,
        }
    }

    /// Whether a file that was given is at fault, and not the network.
    #[must_use]
    pub const fn is_bad_input(&self) -> bool {
        !matches!(
            self,
            Self::Import(_) | Self::Plan(_) | Self::Engine(_) | Self::Reference { .. } | Self::Inputs { .. }
        )
    }

    /// Parts of the network that would stay in float: nodes whose operator or form has no int8 arithmetic.
    #[must_use]
    pub fn float_islands(&self) -> usize {
        let island =
            |p: &&Problem| matches!(p, Problem::NodeOperator { .. } | Problem::Node { .. } | Problem::Island { .. });
        match self {
            Self::Import(inner) => inner.problems().iter().filter(island).count(),
            _ => 0,
        }
    }
}

impl From<Problems> for QuantizeError {
    fn from(problems: Problems) -> Self {
        Self::Import(problems.into())
    }
}

/// What to do about a sample in another order.
fn hint(need: &[usize], have: &[usize]) -> &'static str {
    match (need, have) {
        (&[.., c, h, w], &[a, b, d]) if [a, b, d] == [h, w, c] => ": transpose it, x.transpose(0, 3, 1, 2)",
        (&[.., h, w, c], &[a, b, d]) if [a, b, d] == [c, h, w] => ": transpose it, x.transpose(0, 2, 3, 1)",
        _ => ": give it as [N, ...]",
    }
}
