//! What nobody reads goes: nodes behind no output, constants that were folded into others.

use std::collections::BTreeSet;

use fleetfoot_import::onnx::model::Model;

pub(super) fn remove(model: &mut Model) {
    let mut needed: BTreeSet<String> = model.outputs.iter().map(|port| port.name.clone()).collect();
    let mut keep = vec![false; model.nodes.len()];
    for (node, keep) in model.nodes.iter().zip(&mut keep).rev() {
        *keep = node.outputs.iter().any(|name| needed.contains(name));
        if *keep {
            needed.extend(node.inputs.iter().cloned());
        }
    }
    let mut keep = keep.into_iter();
    model.nodes.retain(|_| keep.next().unwrap_or(true));
    model.constants.retain(|name, _| needed.contains(name));
}
