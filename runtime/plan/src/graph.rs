//! A quantized model as its author wrote it: tensors and operators in execution order.
//!
//! Importers make it, [`plan`](crate::plan) consumes it. Activations are NHWC. Nothing here is rounded or packed yet: scales
//! are the float32 numbers of the source file, and `docs/numerics.md` says what every operator computes from them.

use alloc::{string::String, vec::Vec};

pub use fleetfoot_format::graph::{DType, IoType};

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

    /// As the type of an input or output of the model.
    #[must_use]
    pub const fn io(self) -> IoType {
        match self {
            Self::Int8 => IoType::Int8,
            Self::UInt8 => IoType::UInt8,
            Self::Int32 => IoType::Int32,
            Self::Int64 => IoType::Int64,
            Self::Float32 => IoType::Float32,
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
    /// From 0 to 1.
    Relu0To1,
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
    /// input `[n,h,w,ci * groups]`, weights `[co,kh,kw,ci]`, bias `[co]` int32.
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
    /// Two tensors whose shapes broadcast.
    Add {
        /// Fused.
        activation: Activation,
    },
    /// Two tensors whose shapes broadcast.
    Sub {
        /// Fused.
        activation: Activation,
    },
    /// Two tensors whose shapes broadcast.
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
    /// Another function of one variable.
    Unary(Unary),
    /// From a quantized type to float32.
    Dequantize,
    /// The larger of two tensors whose shapes broadcast, all quantized alike.
    Maximum,
    /// The smaller of two tensors whose shapes broadcast, all quantized alike.
    Minimum,
    /// `x` where it is not negative, else `x` times operand 1.
    Prelu,
    /// Sum over `axes` (non-negative, ascending).
    Sum {
        /// Dimensions that go.
        axes: Vec<usize>,
    },
    /// Largest over `axes` (non-negative, ascending, neighbours).
    ReduceMax {
        /// Dimensions that go.
        axes: Vec<usize>,
    },
    /// Index of the first largest or smallest along one dimension; int32 or int64.
    ArgExtreme {
        /// The dimension that goes.
        axis: usize,
        /// Largest or smallest.
        largest: bool,
    },
    /// Border of one value, `[before, after]` per dimension.
    PadV2 {
        /// Cells.
        amounts: Vec<[usize; 2]>,
        /// The byte that fills, quantized as the tensor is.
        value: u8,
    },
    /// All operands one after another: of each, `outer` runs.
    Concat {
        /// Its name in the schema.
        name: &'static str,
        /// Product of the dimensions before the one that grows.
        outer: usize,
    },
    /// A strided read: `output[i] = input[first + i . strides]` for all `i` below `dims`, which are at most six.
    Strided {
        /// Its name in the schema.
        name: &'static str,
        /// First element.
        first: usize,
        /// Extents of the output, not necessarily its shape.
        dims: Vec<usize>,
        /// As many, in elements; negative to go backwards, 0 to repeat.
        strides: Vec<isize>,
    },
    /// Rows of one dimension, in any order.
    Gather {
        /// The dimension.
        axis: usize,
        /// Which.
        indices: Vec<usize>,
    },
    /// input `[n,h,w,c]`.
    Resize {
        /// Between four cells, else the nearest.
        bilinear: bool,
        /// The outermost cells of both lie on each other.
        align_corners: bool,
        /// Cells have their value in the middle.
        half_pixel_centers: bool,
    },
    /// input `[n,h,w,ci]`, weights `[co,kh,kw,ci]`, bias `[co]` int32 (optional).
    TransposeConv {
        /// Rows, columns.
        stride: [usize; 2],
        /// Border of the convolution that this is the transpose of.
        padding: Padding,
        /// Fused.
        activation: Activation,
    },
    /// input `[..,m,k]`, weights `[k,n]`, or `[n,k]` if they are transposed.
    BatchMatMul {
        /// Whether the weights are `[n,k]`.
        transposed: bool,
    },
    /// Made by planning: the cells of an image `[n,h,w,c]` `stride` apart, zero points between and around them.
    Spread {
        /// Rows, columns.
        stride: [usize; 2],
        /// Rows above, columns on the left.
        before: [usize; 2],
    },
}

/// A function of one variable.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// At least 0.
    Relu,
    /// From 0 to 6.
    Relu6,
    /// From -1 to 1.
    ReluN1To1,
    /// From 0 to 1.
    Relu0To1,
    /// `x` where it is not negative, else `alpha * x`.
    LeakyRelu {
        /// The slope.
        alpha: f32,
    },
    /// `x` where it is not negative, else `exp(x) - 1`.
    Elu,
    /// `x` times the normal distribution function.
    Gelu {
        /// By way of tanh.
        approximate: bool,
    },
    /// Exponential.
    Exp,
    /// Natural logarithm.
    Log,
    /// Without the sign.
    Abs,
}

impl Unary {
    /// Its name in the TFLite schema.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relu => "RELU",
            Self::Relu6 => "RELU6",
            Self::ReluN1To1 => "RELU_N1_TO_1",
            Self::Relu0To1 => "RELU_0_TO_1",
            Self::LeakyRelu { .. } => "LEAKY_RELU",
            Self::Elu => "ELU",
            Self::Gelu { .. } => "GELU",
            Self::Exp => "EXP",
            Self::Log => "LOG",
            Self::Abs => "ABS",
        }
    }
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
            Self::Unary(unary) => unary.name(),
            Self::Dequantize => "DEQUANTIZE",
            Self::Maximum => "MAXIMUM",
            Self::Minimum => "MINIMUM",
            Self::Prelu => "PRELU",
            Self::Sum { .. } => "SUM",
            Self::ReduceMax { .. } => "REDUCE_MAX",
            Self::ArgExtreme { largest: true, .. } => "ARG_MAX",
            Self::ArgExtreme { .. } => "ARG_MIN",
            Self::PadV2 { .. } => "PADV2",
            Self::Concat { name, .. } | Self::Strided { name, .. } => name,
            Self::Gather { .. } => "GATHER",
            Self::Resize { bilinear: true, .. } => "RESIZE_BILINEAR",
            Self::Resize { .. } => "RESIZE_NEAREST_NEIGHBOR",
            Self::TransposeConv { .. } | Self::Spread { .. } => "TRANSPOSE_CONV",
            Self::BatchMatMul { .. } => "BATCH_MATMUL",
        }
    }
}
