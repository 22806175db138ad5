//! What is done to a float network before it is calibrated. In this order:
//!
//! ```text
//! constants     what does not depend on the input is computed now; a dynamic batch becomes 1
//! batch_norm    batch normalisations go into the weights before them
//! bias          an addition of a constant goes into the bias before it; MatMul and Add become Gemm
//! pads          a border of zeros goes into the convolution behind it
//! spell_out     operators that int8 does not have become those that it has
//! dead          what nobody reads goes
//! equalise      on demand, when calibration has seen the ranges: channels between two layers are made alike
//! ```
//! Activations are fused, and dimensions brought into the engine's order, where the quantized network is imported.

mod batch_norm;
mod bias;
mod constants;
mod dead;
pub(crate) mod equalise;
mod pads;
mod spell_out;

use std::collections::{BTreeMap, BTreeSet};

use fleetfoot_import::onnx::model::{Constant, Model, Node};

use crate::float_error::QuantizeError as Error;

/// Runs all passes.
///
/// # Errors
/// A [`Error`] for a network that cannot be quantized, whatever the data.
pub(crate) fn run(model: &mut Model) -> Result<(), Error> {
    constants::fold(model)?;
    constants::are_finite(model)?;
    batch_norm::fold(model);
    bias::fold(model);
    pads::fold(model);
    spell_out::rewrite(model);
    dead::remove(model);
    Ok(())
}

/// Removes what nobody reads.
pub(crate) fn remove_dead(model: &mut Model) {
    dead::remove(model);
}

/// How often each value is read, by nodes and as an output of the network.
fn uses(model: &Model) -> BTreeMap<String, usize> {
    let mut uses = BTreeMap::new();
    let names = model.nodes.iter().flat_map(|node| &node.inputs).chain(model.outputs.iter().map(|port| &port.name));
    for name in names.filter(|name| !name.is_empty()) {
        *uses.entry(name.clone()).or_insert(0) += 1;
    }
    uses
}

/// The place of the node that writes `name` and nobody else but one node reads.
fn only_source(model: &Model, uses: &BTreeMap<String, usize>, name: &str) -> Option<usize> {
    let single = uses.get(name) == Some(&1);
    single.then(|| model.nodes.iter().position(|node| node.outputs.first().is_some_and(|o| o == name))).flatten()
}

/// A name that nothing has yet.
fn fresh(model: &Model, wish: &str) -> String {
    let taken: BTreeSet<&String> =
        model.constants.keys().chain(model.nodes.iter().flat_map(|node| &node.outputs)).collect();
    let mut name = wish.to_owned();
    while taken.contains(&name) {
        name.push('\'');
    }
    name
}

/// Floats of a constant operand.
fn floats(model: &Model, node: &Node, i: usize) -> Option<(Vec<f32>, Vec<usize>)> {
    let constant: &Constant = model.constants.get(node.input(i)?)?;
    Some((constant.to_floats()?, constant.shape.clone()))
}

/// Stores weights and bias of a node under new names: others may read the old ones.
fn replace(model: &mut Model, at: usize, i: usize, constant: Constant) {
    let wish = format!("{}/{i}", model.nodes[at].output(0));
    let name = fresh(model, &wish);
    let node = &mut model.nodes[at];
    node.inputs.resize(node.inputs.len().max(i + 1), String::new());
    node.inputs[i].clone_from(&name);
    model.constants.insert(name, constant);
}
