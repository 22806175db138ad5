//! Float islands: operators without int8 arithmetic. The engine has no float arithmetic, so one in the middle is refused. At the
//! end of a network they can be cut off, where that is allowed: the int8 model then gives what they read, and the application
//! computes them, as it did before for everything behind the model.

use std::collections::{BTreeMap, BTreeSet};

use fleetfoot_import::{
    ImportError, Problem,
    onnx::{
        self,
        model::{Dim, Model, Port, Type},
    },
};

use crate::{
    calibrate::Calibration,
    encode::{self, Correction, Settings, WEIGHTED},
    float_error::QuantizeError as Error,
    passes,
    ranges::Method,
};

/// Looks for islands before anything runs. Where they are `allowed`, those at the end are cut off: the names of the nodes that
/// are gone.
///
/// # Errors
/// All islands, if they are not allowed or one has a layer with weights behind it.
pub(crate) fn cut(model: &mut Model, allowed: bool) -> Result<Vec<String>, Error> {
    let Err(error) = trial(model) else { return Ok(Vec::new()) };
    let named = |problem: &Problem| match problem {
        Problem::NodeOperator { node, .. } | Problem::Node { node, .. } | Problem::Island { node, .. } => {
            model.nodes.iter().position(|n| n.name == *node)
        }
        // Not a matter of an operator, and perhaps one of the ranges that are made up: the real run will tell.
        _ => None,
    };
    let mut gone: BTreeSet<usize> = error.problems().iter().filter_map(named).collect();
    if gone.is_empty() {
        return Ok(Vec::new());
    }
    if !allowed {
        return Err(error.into());
    }
    // Whatever reads a node that is gone is gone, too.
    for at in 0..model.nodes.len() {
        let node = &model.nodes[at];
        let reads = |before: &usize| model.nodes[*before].outputs.iter().any(|o| node.inputs.contains(o));
        if gone.iter().any(reads) {
            gone.insert(at);
        }
    }
    let is_weighted = |at: &usize| WEIGHTED.contains(&&model.nodes[*at].op[..]);
    if gone.len() == model.nodes.len() || gone.iter().any(is_weighted) {
        return Err(error.into());
    }
    let names = gone.iter().map(|&at| model.nodes[at].name.clone()).collect();
    shorten(model, &gone);
    match trial(model) {
        Ok(()) => Ok(names),
        Err(error) => Err(error.into()),
    }
}

/// Removes nodes, and gives what they read.
fn shorten(model: &mut Model, gone: &BTreeSet<usize>) {
    let left: BTreeSet<&String> =
        model.nodes.iter().enumerate().filter(|(at, _)| !gone.contains(at)).flat_map(|(_, n)| &n.outputs).collect();
    let mut outputs: Vec<Port> = model.outputs.iter().filter(|port| left.contains(&port.name)).cloned().collect();
    for name in gone.iter().flat_map(|&at| &model.nodes[at].inputs).filter(|name| left.contains(name)) {
        if outputs.iter().all(|port| port.name != *name) {
            outputs.push(Port { name: name.clone(), dtype: Type::Float32, dims: Vec::<Dim>::new() });
        }
    }
    let mut at = 0;
    model.nodes.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
    model.outputs = outputs;
    passes::remove_dead(model);
}

/// Quantizes with ranges that are made up, only to see what the importer says.
fn trial(model: &Model) -> Result<(), ImportError> {
    let calibration = Calibration::of_shapes(BTreeMap::new());
    let settings = Settings { method: Method::MinMax, per_channel: true, levels: false, correction: Correction::Off };
    onnx::graph(&encode::encode(model, &calibration, settings).model).map(drop)
}
