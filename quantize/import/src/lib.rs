//! int8 and uint8 `.tflite` files, and quantized `.onnx` files, to [`Graph`].
//!
//! The bytes are hostile until proven otherwise. Each file does one thing, in this order:
//!
//! ```text
//! recognise   what kind of file is this, and if it is no .tflite, how does its owner get one
//! flat        the wire format: tables, vectors, strings, every access checked, nothing trusted
//! schema      numbers of fields and operators in TensorFlow Lite's schema
//! tensors     shapes, types, quantization, contents: lengths agree, products do not overflow
//! fold        shape arithmetic that only feeds a reshape disappears
//! operators   attributes and operands of each operator
//! onnx        the same for ONNX, with files of its own
//! check       what the arithmetic of docs/numerics.md is proven for; anything else is refused
//! ```
//!
//! A model that cannot be imported gets *all* its problems listed at once ([`Problem`]), with positions and names.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod error;
mod flat;
mod fold;

pub mod onnx;
mod operators;
mod recognise;
mod schema;
mod tensors;

use fleetfoot_plan::graph::Graph;

pub use error::{ImportError, Problem, Problems};
pub use recognise::{FileKind, recognise};

use crate::{
    flat::Table,
    schema::{MODEL, SUBGRAPH},
    tensors::Tensors,
};

/// The most tensors, and the most operators, of a file. Real networks have hundreds.
const MAX_COUNT: usize = 1 << 16;

/// Imports a quantized model.
///
/// Dynamic batches are taken as the shape that is stored, which is 1. The graph holds only tensors that its operators
/// use; [`Op::position`](fleetfoot_plan::graph::Op::position) is the operator's place in the file. Cost: one pass, one copy
/// of the constants; memory at most a small multiple of the file.
///
/// # Errors
/// [`ImportError::NotTfLite`] for other files, [`ImportError::Malformed`] where the structure breaks off, else
/// [`ImportError::Refused`] with every problem of the model.
pub fn tflite(bytes: &[u8]) -> Result<Graph, ImportError> {
    let kind = recognise(bytes);
    if kind != FileKind::TfLite {
        return Err(ImportError::NotTfLite { kind });
    }
    let mut problems = Problems::default();
    let model = Table::root(bytes)?;
    let version = model.u32(MODEL.version, 0)?;
    if version != 3 {
        problems.push(Problem::Version { found: version });
    }
    let subgraphs = model.tables(MODEL.subgraphs)?;
    if subgraphs.len() != 1 {
        problems.push(Problem::Subgraphs { count: subgraphs.len() });
    }
    let Some(subgraph) = subgraphs.get(0)? else { return Err(problems.into()) };
    let counts = [
        ("tensors", subgraph.tables(SUBGRAPH.tensors)?.len()),
        ("operators", subgraph.tables(SUBGRAPH.operators)?.len()),
    ];
    for (what, count) in counts {
        if count > MAX_COUNT {
            problems.push(Problem::TooMany { what, count, limit: MAX_COUNT });
        }
    }
    if !problems.is_empty() {
        return Err(problems.into());
    }
    let mut tensors = Tensors::new(&model, &subgraph, bytes.len())?;
    let ops = operators::read(&model, &subgraph)?;
    let folded = fold::shapes(&mut tensors, &ops, &mut problems)?;
    let graph = operators::import(&subgraph, tensors, &ops, &folded, &mut problems)?;
    check::limits(&graph, check::Scheme::TfLite, &mut problems);
    if problems.is_empty() { Ok(graph) } else { Err(problems.into()) }
}
