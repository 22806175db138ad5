//! What can be wrong with a raw input or with settings that do not fit the model: codes 340 to 369.

use fleetfoot_format::graph::IoType;
use thiserror::Error;

/// Why a raw input did not become the input of a model, or outputs no answer.
#[derive(Clone, Copy, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum PreprocessError {
    /// The bundle prepares another kind of input.
    #[error("the bundle prepares {need}, this is {have}")]
    Kind {
        /// What its settings are for.
        need: &'static str,
        /// What came.
        have: &'static str,
    },
    /// What the settings give is not what the model takes.
    #[error("the settings give {have} elements ({what}), the input of the model takes {need}")]
    Shape {
        /// What was counted.
        what: &'static str,
        /// Elements of the input, of one of its extents where `what` says so.
        need: u64,
        /// What the settings give.
        have: u64,
    },
    /// Inputs of this type take no raw input.
    #[error("an input of {} cannot be prepared: it is int8, uint8 or float32", have.name())]
    ElementType {
        /// The type of the input.
        have: IoType,
    },
    /// No image that is known has this size.
    #[error("an image of {width} x {height} pixels: 1 to 32768 each are possible")]
    ImageSize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
    },
    /// A rectangle lies outside the image.
    #[error(
        "a crop of {width} x {height} pixels at ({left}, {top}) does not lie in an image of {in_width} x {in_height}"
    )]
    Crop {
        /// First column.
        left: u32,
        /// First row.
        top: u32,
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Columns of the image.
        in_width: u32,
        /// Rows of the image.
        in_height: u32,
    },
    /// After all steps the image has not the size that the model takes.
    #[error("the image is {width} x {height} after all steps, the model takes {need_width} x {need_height}")]
    ResultSize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// Columns of the input.
        need_width: u32,
        /// Rows of the input.
        need_height: u32,
    },
    /// A filter that looks at every pixel is asked to make an image too small.
    #[error("from {from} to {to} pixels: this filter reduces to a 64th at most")]
    Reduction {
        /// Before.
        from: u32,
        /// After.
        to: u32,
    },
    /// A buffer has another length than it needs.
    #[error("{what} has {have} elements, {need} are needed")]
    Buffer {
        /// Which.
        what: &'static str,
        /// Elements that are needed.
        need: usize,
        /// Elements that it has.
        have: usize,
    },
    /// A row has another number of cells than the table has columns.
    #[error("the row has {have} cells, the table {need} columns")]
    Cells {
        /// Columns.
        need: usize,
        /// Cells.
        have: usize,
    },
    /// A cell has no encoding.
    #[error("column {} {fault}", column + 1)]
    Cell {
        /// Which column, from 0.
        column: usize,
        /// Why.
        fault: CellFault,
    },
    /// There is no such output, or it has not as many elements as it should.
    #[error("output {index} does not fit the answer that is asked for")]
    NoSuchOutput {
        /// Which.
        index: usize,
    },
    /// The model was made for another sampling rate.
    #[error("{have_hz} samples per second, the model was made for {need_hz}")]
    Rate {
        /// What it was made for.
        need_hz: u32,
        /// What came.
        have_hz: u32,
    },
}

/// Why a cell has no encoding.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CellFault {
    /// It is empty, and the settings name nothing instead.
    #[error("is empty, and no value for that was given")]
    Missing,
    /// It is no number.
    #[error("is not a finite number")]
    NotANumber,
    /// It is none of the categories.
    #[error("is none of its categories")]
    Unknown,
}

impl PreprocessError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Kind { .. } => 340,
            Self::Shape { .. } => 341,
            Self::ElementType { .. } => 342,
            Self::ImageSize { .. } => 343,
            Self::Crop { .. } => 344,
            Self::ResultSize { .. } => 345,
            Self::Reduction { .. } => 346,
            Self::Buffer { .. } => 347,
            Self::Cells { .. } => 348,
            Self::Cell { .. } => 349,
            Self::NoSuchOutput { .. } => 350,
            Self::Rate { .. } => 351,
        }
    }
}
