//! What does not depend on the input is computed now: dequantized weights, folded scales, shapes of constants.

use fleetfoot_import::{
    Problem, Problems,
    onnx::model::{Attribute, Dim, Model, Type},
};

use crate::{float_error::QuantizeError as Error, reference};

pub(super) fn fold(model: &mut Model) -> Result<(), Error> {
    let mut problems = Problems::default();
    for port in &mut model.inputs {
        for (dimension, dim) in port.dims.iter_mut().enumerate() {
            match dim {
                Dim::Fixed(_) => {}
                Dim::Named(_) if dimension == 0 => *dim = Dim::Fixed(1),
                Dim::Named(name) => {
                    let (tensor, name) = (port.name.clone(), name.clone());
                    problems.push(Problem::Dynamic { tensor, dimension, name });
                }
            }
        }
    }
    if !problems.list().is_empty() {
        return Err(problems.into());
    }
    let mut kept = Vec::with_capacity(model.nodes.len());
    for mut node in std::mem::take(&mut model.nodes) {
        // What follows reads what it would have copied.
        if node.is("Identity") || node.is("Dropout") {
            let (from, to) = (node.inputs[0].clone(), node.outputs[0].clone());
            if !model.outputs.iter().any(|port| port.name == to) {
                if let Some(constant) = model.constants.get(&from).cloned() {
                    model.constants.insert(to, constant);
                } else {
                    node.op = "Identity".into();
                    node.inputs.truncate(1);
                    node.outputs.truncate(1);
                    kept.push(node);
                }
                continue;
            }
        }
        let constant = !node.inputs.is_empty()
            && node.inputs.iter().all(|name| name.is_empty() || model.constants.contains_key(name))
            && !node.attributes.values().any(|a| *a == Attribute::Other);
        if constant {
            let values = reference::evaluate(model.opset, &node, &model.constants)?;
            if values.len() == node.outputs.len() && values.iter().all(Option::is_some) {
                model.constants.extend(node.outputs.iter().cloned().zip(values.into_iter().flatten()));
                continue;
            }
        }
        kept.push(node);
    }
    model.nodes = kept;
    bypass(model);
    Ok(())
}

/// Takes out the copies.
fn bypass(model: &mut Model) {
    let mut renamed = std::collections::BTreeMap::new();
    model.nodes.retain_mut(|node| {
        for name in &mut node.inputs {
            if let Some(to) = renamed.get(name) {
                *name = String::clone(to);
            }
        }
        let output = node.output(0).to_owned();
        if node.is("Identity") && !model.outputs.iter().any(|port| port.name == output) {
            renamed.insert(output, node.inputs[0].clone());
            return false;
        }
        true
    });
}

/// NaN in the weights would silently become some integer.
pub(super) fn are_finite(model: &Model) -> Result<(), Error> {
    let used = super::uses(model);
    for (name, constant) in
        model.constants.iter().filter(|(name, c)| c.dtype == Type::Float32 && used.contains_key(*name))
    {
        // Bounds of a Clip and sizes of a Resize may be infinite.
        let bound = constant.elements() <= 1;
        let broken = |v: &f32| if bound { v.is_nan() } else { !v.is_finite() };
        if constant.to_floats().unwrap_or_default().iter().any(broken) {
            return Err(Error::Weights { tensor: name.clone() });
        }
    }
    Ok(())
}
