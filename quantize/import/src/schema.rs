//! TensorFlow Lite's schema, version 3: the numbers that this crate needs.
//!
//! The schema is `tensorflow/compiler/mlir/lite/schema/schema.fbs` of TensorFlow (Apache-2.0). Numbers of fields and
//! operators never change there, new ones are appended; hence no generated code, only the list of those that are read.

use crate::flat::Field;

macro_rules! table {
    ($(#[$doc:meta])* $name:ident: $kind:ident { $($field:ident = $id:literal),* $(,)? }) => {
        $(#[$doc])*
        pub(crate) struct $kind { $(pub(crate) $field: Field),* }
        $(#[$doc])*
        pub(crate) const $name: $kind = $kind { $($field: ($id, stringify!($field))),* };
    };
}

table!(
    /// The root.
    MODEL: Model { version = 0, operator_codes = 1, subgraphs = 2, buffers = 4 }
);
table!(
    /// Lists of tensors and operators.
    SUBGRAPH: SubGraph { tensors = 0, inputs = 1, outputs = 2, operators = 3 }
);
table!(
    /// A tensor.
    TENSOR: Tensor {
        shape = 0, element_type = 1, buffer = 2, name = 3, quantization = 4, is_variable = 5, sparsity = 6,
        external_buffer = 10,
    }
);
table!(
    /// Scales and zero points.
    QUANTIZATION: Quantization { scale = 2, zero_point = 3, details_type = 4, quantized_dimension = 6 }
);
table!(
    /// Contents of a tensor, within the file or behind it.
    BUFFER: Buffer { data = 0, offset = 1, size = 2 }
);
table!(
    /// Which operator.
    OPERATOR_CODE: OperatorCode { deprecated_builtin_code = 0, custom_code = 1, builtin_code = 3 }
);
table!(
    /// One use of an operator.
    OPERATOR: Operator { opcode_index = 0, inputs = 1, outputs = 2, builtin_options_type = 3, builtin_options = 4 }
);
table!(
    /// Union member 1.
    CONV_2D: Conv2d {
        padding = 0, stride_w = 1, stride_h = 2, activation = 3, dilation_w_factor = 4, dilation_h_factor = 5,
    }
);
table!(
    /// Union member 2.
    DEPTHWISE_CONV_2D: DepthwiseConv2d {
        padding = 0, stride_w = 1, stride_h = 2, activation = 4, dilation_w_factor = 5, dilation_h_factor = 6,
    }
);
table!(
    /// Union member 5.
    POOL_2D: Pool2d { padding = 0, stride_w = 1, stride_h = 2, filter_width = 3, filter_height = 4, activation = 5 }
);
table!(
    /// Union member 8.
    FULLY_CONNECTED: FullyConnected { activation = 0, weights_format = 1 }
);
table!(
    /// Union member 9.
    SOFTMAX: Softmax { beta = 0 }
);
table!(
    /// Union members 11 (addition), 28 (subtraction), 21 (multiplication).
    ARITHMETIC: Arithmetic { activation = 0 }
);
table!(
    /// Union member 32.
    STRIDED_SLICE: StridedSlice {
        begin_mask = 0, end_mask = 1, ellipsis_mask = 2, new_axis_mask = 3, shrink_axis_mask = 4, offset = 5,
    }
);
table!(
    /// Union member 59.
    PACK: Pack { axis = 1 }
);
table!(
    /// Union member 10.
    CONCATENATION: Concatenation { axis = 0, activation = 1 }
);
table!(
    /// Union members 19 (space to depth), 94 (depth to space).
    BLOCK: Block { size = 0 }
);
table!(
    /// Union member 15.
    RESIZE_BILINEAR: Resize { align_corners = 2, half_pixel_centers = 3 }
);
/// Union member 74.
pub(crate) const RESIZE_NEAREST: Resize =
    Resize { align_corners: (0, "align_corners"), half_pixel_centers: (1, "half_pixel_centers") };
table!(
    /// Union member 23.
    GATHER: Gather { axis = 0, batch_dims = 1 }
);
table!(
    /// Union member 49.
    TRANSPOSE_CONV: TransposeConv { padding = 0, stride_w = 1, stride_h = 2, activation = 3 }
);
table!(
    /// Union member 64.
    UNPACK: Unpack { axis = 1 }
);
table!(
    /// Union member 75.
    LEAKY_RELU: LeakyRelu { alpha = 0 }
);
table!(
    /// Union member 101.
    BATCH_MATMUL: BatchMatMul { adj_x = 0, adj_y = 1 }
);
table!(
    /// Union member 116.
    GELU: Gelu { approximate = 0 }
);

/// Numbers of the builtin operators that are imported or folded.
pub(crate) mod op {
    pub(crate) const ADD: i32 = 0;
    pub(crate) const AVERAGE_POOL_2D: i32 = 1;
    pub(crate) const CONCATENATION: i32 = 2;
    pub(crate) const CONV_2D: i32 = 3;
    pub(crate) const DEPTHWISE_CONV_2D: i32 = 4;
    pub(crate) const DEPTH_TO_SPACE: i32 = 5;
    pub(crate) const DEQUANTIZE: i32 = 6;
    pub(crate) const FULLY_CONNECTED: i32 = 9;
    pub(crate) const LOGISTIC: i32 = 14;
    pub(crate) const MAX_POOL_2D: i32 = 17;
    pub(crate) const MUL: i32 = 18;
    pub(crate) const RELU: i32 = 19;
    pub(crate) const RELU_N1_TO_1: i32 = 20;
    pub(crate) const RELU6: i32 = 21;
    pub(crate) const RESHAPE: i32 = 22;
    pub(crate) const RESIZE_BILINEAR: i32 = 23;
    pub(crate) const SOFTMAX: i32 = 25;
    pub(crate) const SPACE_TO_DEPTH: i32 = 26;
    pub(crate) const TANH: i32 = 28;
    pub(crate) const CUSTOM: i32 = 32;
    pub(crate) const PAD: i32 = 34;
    pub(crate) const GATHER: i32 = 36;
    pub(crate) const TRANSPOSE: i32 = 39;
    pub(crate) const MEAN: i32 = 40;
    pub(crate) const SUB: i32 = 41;
    pub(crate) const SQUEEZE: i32 = 43;
    pub(crate) const STRIDED_SLICE: i32 = 45;
    pub(crate) const EXP: i32 = 47;
    pub(crate) const SPLIT: i32 = 49;
    pub(crate) const PRELU: i32 = 54;
    pub(crate) const MAXIMUM: i32 = 55;
    pub(crate) const ARG_MAX: i32 = 56;
    pub(crate) const MINIMUM: i32 = 57;
    pub(crate) const PADV2: i32 = 60;
    pub(crate) const SLICE: i32 = 65;
    pub(crate) const TRANSPOSE_CONV: i32 = 67;
    pub(crate) const TILE: i32 = 69;
    pub(crate) const EXPAND_DIMS: i32 = 70;
    pub(crate) const LOG: i32 = 73;
    pub(crate) const SUM: i32 = 74;
    pub(crate) const SHAPE: i32 = 77;
    pub(crate) const ARG_MIN: i32 = 79;
    pub(crate) const REDUCE_MAX: i32 = 82;
    pub(crate) const PACK: i32 = 83;
    pub(crate) const UNPACK: i32 = 88;
    pub(crate) const RESIZE_NEAREST_NEIGHBOR: i32 = 97;
    pub(crate) const LEAKY_RELU: i32 = 98;
    pub(crate) const ABS: i32 = 101;
    pub(crate) const SPLIT_V: i32 = 102;
    pub(crate) const REVERSE_V2: i32 = 105;
    pub(crate) const ELU: i32 = 111;
    pub(crate) const QUANTIZE: i32 = 114;
    pub(crate) const HARD_SWISH: i32 = 117;
    pub(crate) const BATCH_MATMUL: i32 = 126;
    pub(crate) const GELU: i32 = 150;
    pub(crate) const RELU_0_TO_1: i32 = 152;
}

/// The name of a builtin operator.
pub(crate) fn operator_name(code: i32) -> Option<&'static str> {
    usize::try_from(code).ok().and_then(|code| OPERATORS.get(code)).copied()
}

/// The name of an element type.
pub(crate) fn type_name(code: u8) -> &'static str {
    TYPES.get(usize::from(code)).copied().unwrap_or("of an unknown type")
}

const TYPES: [&str; 23] = [
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
    "bfloat16",
    "int2",
    "uint4",
    "float8_e4m3fn",
    "float8_e5m2",
];

#[rustfmt::skip]
const OPERATORS: [&str; 163] = [
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE",
    "EMBEDDING_LOOKUP", "FLOOR", "FULLY_CONNECTED", "HASHTABLE_LOOKUP", "L2_NORMALIZATION", "L2_POOL_2D",
    "LOCAL_RESPONSE_NORMALIZATION", "LOGISTIC", "LSH_PROJECTION", "LSTM", "MAX_POOL_2D", "MUL", "RELU",
    "RELU_N1_TO_1", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RNN", "SOFTMAX", "SPACE_TO_DEPTH", "SVDF", "TANH",
    "CONCAT_EMBEDDINGS", "SKIP_GRAM", "CALL", "CUSTOM", "EMBEDDING_LOOKUP_SPARSE", "PAD",
    "UNIDIRECTIONAL_SEQUENCE_RNN", "GATHER", "BATCH_TO_SPACE_ND", "SPACE_TO_BATCH_ND", "TRANSPOSE", "MEAN", "SUB",
    "DIV", "SQUEEZE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "STRIDED_SLICE", "BIDIRECTIONAL_SEQUENCE_RNN", "EXP", "TOPK_V2",
    "SPLIT", "LOG_SOFTMAX", "DELEGATE", "BIDIRECTIONAL_SEQUENCE_LSTM", "CAST", "PRELU", "MAXIMUM", "ARG_MAX",
    "MINIMUM", "LESS", "NEG", "PADV2", "GREATER", "GREATER_EQUAL", "LESS_EQUAL", "SELECT", "SLICE", "SIN",
    "TRANSPOSE_CONV", "SPARSE_TO_DENSE", "TILE", "EXPAND_DIMS", "EQUAL", "NOT_EQUAL", "LOG", "SUM", "SQRT", "RSQRT",
    "SHAPE", "POW", "ARG_MIN", "FAKE_QUANT", "REDUCE_PROD", "REDUCE_MAX", "PACK", "LOGICAL_OR", "ONE_HOT",
    "LOGICAL_AND", "LOGICAL_NOT", "UNPACK", "REDUCE_MIN", "FLOOR_DIV", "REDUCE_ANY", "SQUARE", "ZEROS_LIKE", "FILL",
    "FLOOR_MOD", "RANGE", "RESIZE_NEAREST_NEIGHBOR", "LEAKY_RELU", "SQUARED_DIFFERENCE", "MIRROR_PAD", "ABS",
    "SPLIT_V", "UNIQUE", "CEIL", "REVERSE_V2", "ADD_N", "GATHER_ND", "COS", "WHERE", "RANK", "ELU",
    "REVERSE_SEQUENCE", "MATRIX_DIAG", "QUANTIZE", "MATRIX_SET_DIAG", "ROUND", "HARD_SWISH", "IF", "WHILE",
    "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "SCATTER_ND", "SELECT_V2", "DENSIFY", "SEGMENT_SUM",
    "BATCH_MATMUL", "PLACEHOLDER_FOR_GREATER_OP_CODES", "CUMSUM", "CALL_ONCE", "BROADCAST_TO", "RFFT2D", "CONV_3D",
    "IMAG", "REAL", "COMPLEX_ABS", "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE", "REDUCE_ALL",
    "CONV_3D_TRANSPOSE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "BROADCAST_ARGS", "RANDOM_STANDARD_NORMAL",
    "BUCKETIZE", "RANDOM_UNIFORM", "MULTINOMIAL", "GELU", "DYNAMIC_UPDATE_SLICE", "RELU_0_TO_1",
    "UNSORTED_SEGMENT_PROD", "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_SUM", "ATAN2", "UNSORTED_SEGMENT_MIN", "SIGN",
    "BITCAST", "BITWISE_XOR", "RIGHT_SHIFT", "STABLEHLO_LOGISTIC",
];
