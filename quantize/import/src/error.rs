//! Why a model was not imported: codes 500 to 509 and 515 to 549.

use std::fmt;

use thiserror::Error;

use crate::recognise::FileKind;

/// Why a model was not imported.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ImportError {
    /// The file is of another kind.
    #[error("not a .tflite file but {}: {}", kind.what(), kind.way_out())]
    NotTfLite {
        /// What it is.
        kind: FileKind,
    },
    /// The file is of another kind.
    #[error("not an .onnx file but {}: {}", kind.what(), kind.way_out())]
    NotOnnx {
        /// What it is.
        kind: FileKind,
    },
    /// The structure of an ONNX file breaks off: it is truncated or damaged.
    #[error("damaged or truncated .onnx: its messages do not end where they should")]
    Protobuf,
    /// The structure of the file breaks off: it is truncated or damaged.
    #[error("damaged or truncated .tflite: {what} at byte {at}")]
    Malformed {
        /// What should be there.
        what: &'static str,
        /// Where in the file.
        at: usize,
    },
    /// A number points to something that is not there.
    #[error("damaged .tflite: {what} {index} is named, there are {count}")]
    Index {
        /// Of what.
        what: &'static str,
        /// The number.
        index: i64,
        /// How many there are.
        count: usize,
    },
    /// Tensors share their contents so often that they would take more memory than any real model of this length.
    #[error("damaged .tflite: its tensors would take more than {limit} bytes, because they share their contents")]
    Amplified {
        /// Four times the file and a little.
        limit: usize,
    },
    /// The file is whole, the model is not one that can run.
    #[error("{problems}")]
    Refused {
        /// All that stands against it.
        problems: Problems,
    },
}

impl ImportError {
    /// The stable number of this error; of the first problem, where there are several.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::NotTfLite { .. } => 500,
            Self::NotOnnx { .. } => 532,
            Self::Protobuf => 533,
            Self::Malformed { .. } => 501,
            Self::Index { .. } => 503,
            Self::Amplified { .. } => 504,
            Self::Refused { problems } => problems.list.first().map_or(502, Problem::code),
        }
    }

    /// The problems of a model that was refused.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Refused { problems } => problems.list(),
            _ => &[],
        }
    }
}

impl From<Problems> for ImportError {
    fn from(problems: Problems) -> Self {
        Self::Refused { problems }
    }
}

/// Problems in the order in which they were found; displayed one per line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Problems {
    list: Vec<Problem>,
    /// Found after the list was full.
    more: usize,
}

impl Problems {
    /// A message longer than this helps nobody, and a hostile file could make it arbitrarily long.
    const MAX: usize = 64;

    /// The problems, at most 65.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }

    /// How many more were found.
    #[must_use]
    pub fn more(&self) -> usize {
        self.more
    }

    /// Adds a problem, unless it is there already.
    pub fn push(&mut self, problem: Problem) {
        if self.list.contains(&problem) {
            return;
        }
        if self.list.len() < Self::MAX {
            self.list.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Before all others: what explains them.
    pub(crate) fn push_first(&mut self, problem: Problem) {
        self.list.insert(0, problem);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        if self.more > 0 { write!(f, "\nand {} more problems", self.more) } else { Ok(()) }
    }
}

/// One thing that stands against a model. Positions and names are those of the file.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The file has another version.
    #[error("the file has schema version {found}, version 3 is supported")]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The model has control flow or several signatures.
    #[error("the model has {count} subgraphs, one is supported")]
    Subgraphs {
        /// How many.
        count: usize,
    },
    /// More of something than a model can need.
    #[error("{count} {what}, the limit is {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The model has nothing to give or nothing to return.
    #[error("the model has no {what}")]
    TooFew {
        /// Of what.
        what: &'static str,
    },
    /// An operator that the engine does not have.
    #[error("operator {position} ({op}, writes '{output}') is not supported")]
    Operator {
        /// Position in the file.
        position: usize,
        /// Its name in the schema.
        op: String,
        /// The tensor that it writes.
        output: String,
    },
    /// A known operator in a form that the engine does not execute.
    #[error("operator {position} ({op}, writes '{output}'): {what}")]
    Form {
        /// Position in the file.
        position: usize,
        /// Its name in the schema.
        op: String,
        /// The tensor that it writes.
        output: String,
        /// What is not supported about it.
        what: &'static str,
    },
    /// The model was converted without quantization.
    #[error(
        "the model is float32 ({count} tensors, for example '{example}'): quantize it first; with TensorFlow set \
         converter.optimizations = [tf.lite.Optimize.DEFAULT], converter.representative_dataset, \
         converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8] and \
         converter.inference_input_type = converter.inference_output_type = tf.int8"
    )]
    Float {
        /// How many tensors of operators are float32.
        count: usize,
        /// The name of one.
        example: String,
    },
    /// The model is quantized only in part: float inputs and outputs, or float activations.
    #[error(
        "{count} tensors are float32 although others are quantized, for example '{example}': convert again with \
         converter.representative_dataset, converter.target_spec.supported_ops = \
         [tf.lite.OpsSet.TFLITE_BUILTINS_INT8] and \
         converter.inference_input_type = converter.inference_output_type = tf.int8"
    )]
    PartlyFloat {
        /// How many tensors of operators are float32.
        count: usize,
        /// The name of one.
        example: String,
    },
    /// A tensor has an element type that is not supported in its place.
    #[error("tensor '{tensor}' is {found}, {need} is supported here")]
    ElementType {
        /// Its name.
        tensor: String,
        /// Its type.
        found: &'static str,
        /// What may stand there.
        need: &'static str,
    },
    /// A tensor has no scale.
    #[error("tensor '{tensor}' is {dtype} but has no scale: the model is not fully quantized")]
    NotQuantized {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: &'static str,
    },
    /// Scales or zero points of a tensor are not usable.
    #[error("tensor '{tensor}': {what}")]
    Quantization {
        /// Its name.
        tensor: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The contents of a constant are longer or shorter than its shape.
    #[error("tensor '{tensor}' is {dtype}{shape:?}: {need} bytes expected, {have} present")]
    Length {
        /// Its name.
        tensor: String,
        /// Its type.
        dtype: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// Bytes that follow from them.
        need: usize,
        /// Bytes in the file.
        have: usize,
    },
    /// An extent is zero, negative or huge, or there are too many.
    #[error(
        "tensor '{tensor}' has shape {shape:?}: extents must be positive, at most 6 of them, with at most 2^30 elements"
    )]
    Shape {
        /// Its name.
        tensor: String,
        /// The first extents of its shape.
        shape: Vec<i32>,
    },
    /// The contents of a tensor are not a plain array in the file.
    #[error("tensor '{tensor}': {what}")]
    Storage {
        /// Its name.
        tensor: String,
        /// How it is stored.
        what: &'static str,
    },
    /// An operand is there neither as constant nor from an earlier operator, or is written twice.
    #[error("operator {position} ({op}): tensor '{tensor}' {what}")]
    Order {
        /// Position in the file; of an output of the model, the number of operators.
        position: usize,
        /// Its name in the schema, or `model`.
        op: String,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        what: &'static str,
    },
    /// int8 weights have a zero point, which the int8 scheme does not know.
    #[error(
        "operator {position} ({op}): int8 weights '{tensor}' have zero point {zero_point} in channel {channel}, 0 is supported"
    )]
    WeightZeroPoint {
        /// Position in the file.
        position: usize,
        /// Its name in the schema.
        op: &'static str,
        /// The weights.
        tensor: String,
        /// Output channel.
        channel: usize,
        /// Its zero point.
        zero_point: i32,
    },
    /// A factor between scales is outside the range in which results are defined.
    #[error("operator {position} ({op}, writes '{output}'): {what} is {value:e}, outside of {low} .. {high}")]
    Ratio {
        /// Position in the file.
        position: usize,
        /// Its name in the schema.
        op: &'static str,
        /// The tensor that it writes.
        output: String,
        /// Which factor.
        what: &'static str,
        /// Its value.
        value: f32,
        /// The smallest value that is supported.
        low: f32,
        /// The first value that is too large.
        high: f32,
    },
    /// An ONNX file speaks of another version of the operators.
    #[error(
        "the model uses version {found} of ONNX's operators, 11 to 21 are supported: export it with opset_version=17, or in \
         Python: onnx.save(onnx.version_converter.convert_version(onnx.load(path), 17), path)"
    )]
    Opset {
        /// Version in the file.
        found: i64,
    },
    /// An ONNX file defines operators itself.
    #[error(
        "the model has {count} functions of its own, for example '{example}': inline them; in Python: \
         onnx.save(onnx.inliner.inline_local_functions(onnx.load(path)), path)"
    )]
    Functions {
        /// How many.
        count: usize,
        /// The name of one.
        example: String,
    },
    /// An ONNX file without quantized activations.
    #[error(
        "the model is float32 ({nodes} nodes, none quantizes): fleetfoot quantize model.onnx --data samples.npz -o model.ffm"
    )]
    FloatOnnx {
        /// How many nodes it has.
        nodes: usize,
    },
    /// An ONNX operator that the engine does not have.
    #[error("node {node}: operator {op}{} is not supported", if domain.is_empty() { String::new() } else { format!(" of {domain}") })]
    NodeOperator {
        /// Its name, or its place.
        node: String,
        /// Its type.
        op: String,
        /// The set of operators it is of.
        domain: String,
    },
    /// A known ONNX operator in a form that the engine does not execute.
    #[error("node {node} ({op}): {what}")]
    Node {
        /// Its name, or its place.
        node: String,
        /// Its type.
        op: String,
        /// What is not supported about it.
        what: &'static str,
    },
    /// A float value stands between operators of a quantized ONNX file.
    #[error(
        "node {node} ({op}): '{value}' is float32: put QuantizeLinear and DequantizeLinear behind the operator that writes it \
         (onnxruntime.quantization does that for operators in op_types_to_quantize)"
    )]
    Island {
        /// The name of the node, or its place.
        node: String,
        /// Its type.
        op: String,
        /// The value.
        value: String,
    },
    /// A dimension of an input is known only when the model runs.
    #[error(
        "input '{tensor}': dimension {dimension} ('{name}') is dynamic: fix it; in Python: python -m \
         onnxruntime.tools.make_dynamic_shape_fixed --input_name {tensor} --input_shape 1,.. model.onnx fixed.onnx, or export \
         without dynamic_axes"
    )]
    Dynamic {
        /// The input.
        tensor: String,
        /// Which of its dimensions.
        dimension: usize,
        /// The name that the file gives it.
        name: String,
    },
}

impl Problem {
    /// The stable number of this problem.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Version { .. } => 515,
            Self::Subgraphs { .. } => 516,
            Self::TooMany { .. } => 517,
            Self::Operator { .. } => 518,
            Self::Form { .. } => 519,
            Self::Float { .. } => 520,
            Self::PartlyFloat { .. } => 521,
            Self::ElementType { .. } => 522,
            Self::NotQuantized { .. } => 523,
            Self::Quantization { .. } => 524,
            Self::Length { .. } => 525,
            Self::Shape { .. } => 526,
            Self::Storage { .. } => 527,
            Self::Order { .. } => 528,
            Self::WeightZeroPoint { .. } => 529,
            Self::Ratio { .. } => 530,
            Self::TooFew { .. } => 531,
            Self::Opset { .. } => 534,
            Self::Functions { .. } => 535,
            Self::FloatOnnx { .. } => 536,
            Self::NodeOperator { .. } => 537,
            Self::Node { .. } => 538,
            Self::Island { .. } => 539,
            Self::Dynamic { .. } => 540,
        }
    }
}
