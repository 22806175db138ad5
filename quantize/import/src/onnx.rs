//! Quantized ONNX files to [`Graph`]: QDQ (float operators between `DequantizeLinear` and `QuantizeLinear`) and QOperator
//! (`QLinearConv` and the like). What the file says is kept exactly: no value is quantized anew.
//!
//! ```text
//! proto       the messages of the file
//! model       the network as plain values, each length checked
//! values      what the name of a tensor stands for on the way: a constant, real numbers that are stored as int8, a float
//!             result that waits for its QuantizeLinear
//! layout      where dimensions lie: transposes are only noted, and made where an operator needs another order
//! shapes      arithmetic on shapes disappears
//! quantized   QuantizeLinear, DequantizeLinear, and the operators of QOperator files as their float ones between the two
//! weighted    Conv, ConvTranspose, Gemm, MatMul: weights in our order, bias
//! windows     pools, and borders as ours
//! pointwise   functions of one or two tensors
//! moves       operators that move elements
//! ```
//!
//! uint8 activations become int8 with the zero point less 128, which gives the same results less 128; inputs and outputs of
//! the model stay what they are.

mod layout;
pub mod model;
mod moves;
mod pointwise;
mod proto;
mod quantized;
mod shapes;
mod values;
mod weighted;
mod windows;

use std::collections::BTreeMap;

use fleetfoot_plan::graph::{Graph, TensorId};

use self::{model::Model, values::Importer};
use crate::{
    FileKind,
    check::{self, Scheme},
    error::{ImportError, Problem, Problems},
    recognise,
};

/// Imports a quantized ONNX model.
///
/// A dynamic batch is taken as 1. Inputs keep the order of their dimensions: NCHW stays NCHW for the caller.
/// [`Op::position`](fleetfoot_plan::graph::Op::position) is the node's place in the file.
///
/// # Errors
/// [`ImportError::NotOnnx`] for other files, [`ImportError::Protobuf`] where the structure breaks off, else
/// [`ImportError::Refused`] with every problem of the model.
pub fn onnx(bytes: &[u8]) -> Result<Graph, ImportError> {
    let kind = recognise(bytes);
    if kind != FileKind::Onnx {
        return Err(ImportError::NotOnnx { kind });
    }
    graph(&Model::parse(bytes)?)
}

/// The graph of a quantized network.
///
/// # Errors
/// As [`onnx`].
pub fn graph(model: &Model) -> Result<Graph, ImportError> {
    graph_and_places(model).map(|(graph, _)| graph)
}

/// Where a value of the network lies in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tensor.
    pub tensor: TensorId,
    /// Its shape in the network.
    pub shape: Vec<usize>,
    /// `order[i]` is the dimension of the network that the tensor has at place `i`.
    pub order: Vec<usize>,
}

/// The graph of a quantized network, and the place of each of its activations by name.
///
/// # Errors
/// As [`onnx`].
pub fn graph_and_places(model: &Model) -> Result<(Graph, BTreeMap<String, Place>), ImportError> {
    let mut problems = Problems::default();
    if !is_quantized(model) {
        problems.push(Problem::FloatOnnx { nodes: model.nodes.len() });
        return Err(problems.into());
    }
    let (model, positions) = quantized::as_qdq(model);
    let imported = Importer::new(&model, &positions, &mut problems).import();
    check::limits(&imported.0, Scheme::Onnx, &mut problems);
    if problems.is_empty() { Ok(imported) } else { Err(problems.into()) }
}

/// Whether activations of the network are quantized: some operator quantizes, or is defined on integers.
#[must_use]
pub fn is_quantized(model: &Model) -> bool {
    model.nodes.iter().any(|node| node.is("QuantizeLinear") || node.op.starts_with("QLinear") || node.op == "QGemm")
}
