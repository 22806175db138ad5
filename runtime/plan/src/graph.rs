//! A quantized model as its author wrote it: tensors and operators in execution order.
//!
//! Importers make it, [`plan`](crate::plan) consumes it. Activations are NHWC. Nothing here is rounded or packed yet: scales
//! are the float32 numbers of the source file, and `docs/numerics.md` says what every operator computes from them.

use alloc::{string::String, vec::Vec};

pub use fleetfoot_format::graph::DType;

/// Index into [`Graph::tensors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(pub usize);

/// The whole model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// All tensors.
    pub tensors: Vec<Tensor>,
    /// Operators in an order in which they can run.
    pub ops: Vec<Op>,
    /// Inputs of the model.
    pub inputs: Vec<TensorId>,
    /// Outputs of the model.
    pub outputs: Vec<TensorId>,
}

impl Graph {
    /// The tensor `id`.
    #[must_use]
    pub fn tensor(&self, id: TensorId) -> &Tensor {
        &self.tensors[id.0]
    }
}

/// A tensor: an activation, or a constant where `data` is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its name in the source file.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: ElementType,
    /// Quantization, for quantized types.
    pub quant: Option<Quant>,
    /// Little-endian contents of a constant.
    pub data: Option<Vec<u8>>,
}

impl Tensor {
    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Element types that a source file can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementType {
    /// Quantized, or raw bytes.
    Int8,
    /// Quantized, or raw bytes.
    UInt8,
    /// Biases and shapes.
    Int32,
    /// Shapes.
    Int64,
    /// Not executable by the int8 engine.
    Float32,
}

impl ElementType {
    /// As the type of an activation.
    #[must_use]
    pub const fn activation(self) -> Option<DType> {
        match self {
            Self::Int8 => Some(DType::Int8),
            Self::UInt8 => Some(DType::UInt8),
            Self::Int32 | Self::Int64 | Self::Float32 => None,
        }
    }

    /// Its name as numpy writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int8 => "int8",
            Self::UInt8 => "uint8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
        }
    }
}

/// `real = (q - zero_point) * scale`, per tensor (one element each) or per channel along `axis`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quant {
    /// One, or one per channel.
    pub scales: Vec<f32>,
    /// As many as scales.
    pub zero_points: Vec<i32>,
    /// The dimension of the channels, where there is more than one scale.
    pub axis: usize,
}

/// One operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Position in the source file, for messages.
    pub position: usize,
    /// What it computes.
    pub kind: OpKind,
    /// Operands in the order of the TFLite schema; an optional one that is absent is `None`.
    pub inputs: Vec<Option<TensorId>>,
    /// Results.
    pub outputs: Vec<TensorId>,
}

/// A fused activation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    None,
    /// At least 0.
    Relu,
    /// From -1 to 1.
    ReluN1To1,
    /// From 0 to 6.
    Relu6,
}

/// How a window meets the border.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Output is `ceil(input / stride)`; the odd cell goes below and right.
    Same,
    /// Only whole windows.
    Valid,
}

/// What an operator computes, with its attributes. Operands are those of TFLite's operator of the same name.
#[derive(Clone, Debug, PartialEq)]
pub enum OpKind {
    /// input `[n,h,w,ci]`, weights `[co,kh,kw,ci]`, bias `[co]` int32.
    Conv2d {
        /// Rows, columns.
        stride: [usize; 2],
        /// Rows, columns.
        dilation: [usize; 2],
        /// Border.
        padding: Padding,
        /// Fused.
        activation: Activation,
    },
    /// input `[n,h,w,ci]`, weights `[1,kh,kw,ci*m]`, bias `[ci*m]` int32.
    DepthwiseConv2d {
        /// Rows, columns.
        stride: [usize; 2],
        /// Rows, columns.
        dilation: [usize; 2],
        /// Border.
        padding: Padding,
        /// Fused.
        activation: Activation,
    },
    /// input (any shape, last dimensions flattened to `k`), weights `[co,k]`, bias `[co]` int32 (optional).
    FullyConnected {
        /// Fused.
        activation: Activation,
    },
    /// Two tensors of one shape.
    Add {
        /// Fused.
        activation: Activation,
    },
    /// Two tensors of one shape.
    Sub {
        /// Fused.
        activation: Activation,
    },
    /// Two tensors of one shape, or the second `[n,1,1,c]`.
    Mul {
        /// Fused.
        activation: Activation,
    },
    /// input `[n,h,w,c]`.
    AveragePool2d {
        /// Rows, columns.
        kernel: [usize; 2],
        /// Rows, columns.
        stride: [usize; 2],
        /// Border.
        padding: Padding,
        /// Fused.
        activation: Activation,
    },
    /// input `[n,h,w,c]`.
    MaxPool2d {
        /// Rows, columns.
        kernel: [usize; 2],
        /// Rows, columns.
        stride: [usize; 2],
        /// Border.
        padding: Padding,
        /// Fused.
        activation: Activation,
    },
    /// Mean over `axes` (non-negative, ascending).
    Mean {
        /// Dimensions that go.
        axes: Vec<usize>,
    },
    /// Border of real 0, `[before, after]` per dimension.
    Pad {
        /// Cells.
        amounts: Vec<[usize; 2]>,
    },
    /// Same bytes, other shape. Only operand 0 counts.
    Reshape,
    /// Over the last dimension.
    Softmax {
        /// Factor on the input.
        beta: f32,
    },
    /// Between quantized types and scales.
    Quantize,
    /// `x * relu6(x + 3) / 6`.
    HardSwish,
    /// `1 / (1 + exp(-x))`.
    Logistic,
    /// Hyperbolic tangent.
    Tanh,
}

impl OpKind {
    /// Its name in the TFLite schema.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Conv2d { .. } => "CONV_2D",
            Self::DepthwiseConv2d { .. } => "DEPTHWISE_CONV_2D",
            Self::FullyConnected { .. } => "FULLY_CONNECTED",
            Self::Add { .. } => "ADD",
            Self::Sub { .. } => "SUB",
            Self::Mul { .. } => "MUL",
            Self::AveragePool2d { .. } => "AVERAGE_POOL_2D",
            Self::MaxPool2d { .. } => "MAX_POOL_2D",
            Self::Mean { .. } => "MEAN",
            Self::Pad { .. } => "PAD",
            Self::Reshape => "RESHAPE",
            Self::Softmax { .. } => "SOFTMAX",
            Self::Quantize => "QUANTIZE",
            Self::HardSwish => "HARD_SWISH",
            Self::Logistic => "LOGISTIC",
            Self::Tanh => "TANH",
        }
    }
}
