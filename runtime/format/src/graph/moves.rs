//! Steps that move bytes, combine tensors of different shapes, or stand at the doors of the model.

use serde::{Deserialize, Serialize};

use super::{DType, Span};
use crate::limits::MAX_DIMS;

/// Extents or strides of at most [`MAX_DIMS`] dimensions, outermost first, lower ranks with ones in front.
pub type Dims<T = u32> = [T; MAX_DIMS];

/// Element type of an input or output of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum IoType {
    /// Signed 8 bits.
    Int8,
    /// Unsigned 8 bits.
    UInt8,
    /// IEEE single precision, little-endian.
    Float32,
    /// Signed 32 bits, little-endian.
    Int32,
    /// Signed 64 bits, little-endian.
    Int64,
}

impl IoType {
    /// Bytes of one element.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Int8 | Self::UInt8 => 1,
            Self::Float32 | Self::Int32 => 4,
            Self::Int64 => 8,
        }
    }

    /// As a quantized type; `None` for wider ones, whose scale is 1 and whose zero point is 0.
    #[must_use]
    pub const fn quantized(self) -> Option<DType> {
        match self {
            Self::Int8 => Some(DType::Int8),
            Self::UInt8 => Some(DType::UInt8),
            _ => None,
        }
    }

    /// Its name as numpy writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::Float32 => "float32",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
        }
    }
}

impl From<DType> for IoType {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::Int8 => Self::Int8,
            DType::UInt8 => Self::UInt8,
        }
    }
}

/// `output[to + i . to_strides] = input[from + i . from_strides]` for all `i` below `dims`: concatenation, transposition,
/// slices of all kinds, borders.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Copy {
    /// Input tensor, or a constant.
    pub input: Span,
    /// Whether the input lies in the weights.
    pub in_weights: bool,
    /// Output tensor.
    pub output: Span,
    /// Extents of what is copied.
    pub dims: Dims,
    /// First byte that is read.
    pub from: u32,
    /// Bytes from one element to the next; negative to go backwards.
    pub from_strides: Dims<i32>,
    /// First byte that is written.
    pub to: u32,
    /// Bytes from one element to the next.
    pub to_strides: Dims,
    /// 256 bytes in the weights that every byte goes through.
    pub table: Option<Span>,
    /// Byte that fills the output before anything is copied.
    pub fill: Option<u8>,
}

/// A number as `multiplier * 2^(exponent - 31)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fixed {
    /// 0 or more.
    pub multiplier: i32,
    /// -31 to 14.
    pub exponent: i32,
}

/// What [`Broadcast`] computes of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum BinaryOp {
    /// As the step [`Add`](super::Add).
    Add {
        /// Multiplier of `a`.
        a_multiplier: i32,
        /// Multiplier of `b`, negated for a subtraction.
        b_multiplier: i32,
        /// Rounding term and zero points.
        bias: i32,
        /// Right shift, arithmetic.
        shift: u32,
        /// Zero point of the output.
        out_zero_point: i32,
        /// Lowest output value.
        lo: i32,
        /// Highest output value.
        hi: i32,
    },
    /// As the step [`Mul`](super::Mul).
    Mul {
        /// Zero point of `a`.
        a_zero_point: i32,
        /// Zero point of `b`.
        b_zero_point: i32,
        /// `f32(f32(s_a * s_b) / s_out)`.
        multiplier: f32,
        /// Zero point of the output.
        out_zero_point: i32,
        /// Lowest output value.
        lo: i32,
        /// Highest output value.
        hi: i32,
    },
    /// The larger one.
    Maximum,
    /// The smaller one.
    Minimum,
    /// `a` where it is not negative, else `a * b`.
    Prelu {
        /// Zero point of `a`.
        a_zero_point: i32,
        /// Zero point of `b`.
        b_zero_point: i32,
        /// `s_a / s_out`.
        positive: Fixed,
        /// `s_a * s_b / s_out`.
        negative: Fixed,
        /// Zero point of the output.
        out_zero_point: i32,
    },
}

/// An element-wise operation on tensors of which either may repeat along a dimension (stride 0).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broadcast {
    /// First operand.
    pub a: Span,
    /// Second operand, or a constant.
    pub b: Span,
    /// Whether `b` lies in the weights.
    pub b_in_weights: bool,
    /// Result, dense.
    pub output: Span,
    /// Extents of the result.
    pub dims: Dims,
    /// Bytes from one element of `a` to the next.
    pub a_strides: Dims,
    /// Bytes from one element of `b` to the next.
    pub b_strides: Dims,
    /// Element type of all three.
    pub dtype: DType,
    /// What is computed.
    pub op: BinaryOp,
}

/// Resizing of images, and gathering of rows: each output row and column says where in the input it looks.
///
/// `rows` is `[out_h]` and `columns` `[out_w]` of {u32 first, u32 weight} in the weights: the value lies `weight / 2048` of the
/// way from cell `first` to the next (the last cell has itself for next).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resample {
    /// Images.
    pub batch: u32,
    /// Input rows.
    pub in_h: u32,
    /// Input columns.
    pub in_w: u32,
    /// Output rows.
    pub out_h: u32,
    /// Output columns.
    pub out_w: u32,
    /// Channels.
    pub channels: u32,
    /// Element type of both.
    pub dtype: DType,
    /// Input tensor.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// Where output rows look.
    pub rows: Span,
    /// Where output columns look.
    pub columns: Span,
}

/// Index of the first largest or smallest element along the middle of `[outer, n, inner]`, as integers `[outer, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArgExtreme {
    /// Product of the dimensions before.
    pub outer: u32,
    /// Extent that is searched.
    pub n: u32,
    /// Product of the dimensions behind.
    pub inner: u32,
    /// Element type of the input.
    pub dtype: DType,
    /// Largest or smallest.
    pub largest: bool,
    /// Whether indices have 64 bits, else 32.
    pub wide: bool,
    /// Input tensor.
    pub input: Span,
    /// Output tensor, little-endian.
    pub output: Span,
}

/// From float32 to a quantized type: `clip(rne(f32(x * inverse)) + zero_point)`; not a number becomes the lowest value.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FromFloat {
    /// Input tensor, little-endian float32.
    pub input: Span,
    /// Output tensor.
    pub output: Span,
    /// Element type of the output.
    pub dtype: DType,
    /// `f32(1 / s_out)`.
    pub inverse: f32,
    /// Zero point of the output.
    pub zero_point: i32,
}

/// From a quantized type to float32: `f32((q - zero_point) * scale)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToFloat {
    /// Input tensor.
    pub input: Span,
    /// Output tensor, little-endian float32.
    pub output: Span,
    /// Element type of the input.
    pub dtype: DType,
    /// Scale of the input.
    pub scale: f32,
    /// Zero point of the input.
    pub zero_point: i32,
}
