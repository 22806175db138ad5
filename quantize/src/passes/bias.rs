//! An addition of one constant per output channel goes into the bias before it; `MatMul` with a matrix becomes `Gemm`.

use fleetfoot_import::onnx::model::{Constant, Model};

pub(super) fn fold(model: &mut Model) {
    let mut at = 0;
    while at < model.nodes.len() {
        if model.nodes[at].is("Add") && folded(model, at).is_some() {
            model.nodes.remove(at);
        } else {
            at += 1;
        }
    }
}

fn folded(model: &mut Model, at: usize) -> Option<()> {
    let uses = super::uses(model);
    let node = &model.nodes[at];
    let (before, added) = (0..2).find_map(|i| {
        let (constant, shape) = super::floats(model, node, 1 - i)?;
        let before = super::only_source(model, &uses, node.input(i)?)?;
        Some((before, (constant, shape)))
    })?;
    let (values, shape) = added;
    let source = &model.nodes[before];
    let (_, weights) = super::floats(model, source, 1)?;
    // Where channels lie in the constant: an image's are followed by rows and columns.
    let (channels, behind) = match (&source.op[..], &weights[..]) {
        ("Conv", &[out, ..]) => (out, 2),
        ("ConvTranspose", &[_, out, ..]) if source.int("group", 1) == 1 => (out, 2),
        ("Gemm", &[out, _]) if source.int("transB", 0) != 0 => (out, 0),
        ("Gemm" | "MatMul", &[_, out]) => (out, 0),
        _ => return None,
    };
    let place = shape.len().checked_sub(behind + 1)?;
    let fits = shape.iter().enumerate().all(|(d, &extent)| if d == place { extent == channels } else { extent == 1 });
    if !fits {
        return None;
    }
    // Of a product of higher rank tract would not take a Gemm.
    if source.op == "MatMul" && !is_matrix(model, before) {
        return None;
    }
    let bias = match source.input(2) {
        Some(_) => super::floats(model, source, 2).map(|(bias, _)| bias).filter(|bias| bias.len() == channels)?,
        None => vec![0.0; channels],
    };
    let sum: Vec<f32> = bias.iter().zip(&values).map(|(a, b)| a + b).collect();
    super::replace(model, before, 2, Constant::floats(&[channels], &sum));
    model.nodes[before].outputs[0] = model.nodes[at].outputs[0].clone();
    if model.nodes[before].op == "MatMul" {
        model.nodes[before].op = "Gemm".into();
    }
    Some(())
}

/// Whether the first operand of a product is known to have two dimensions.
fn is_matrix(model: &Model, at: usize) -> bool {
    let mut name = model.nodes[at].inputs[0].as_str();
    loop {
        if let Some(port) = model.inputs.iter().find(|port| port.name == name) {
            return port.dims.len() == 2;
        }
        let Some(node) = model.nodes.iter().find(|node| node.outputs.iter().any(|o| o == name)) else { return false };
        match &node.op[..] {
            "Flatten" | "Gemm" => return true,
            "Reshape" => {
                return node.input(1).and_then(|n| model.constants.get(n)).is_some_and(|c| c.elements() == 2);
            }
            "Relu" | "Clip" | "Sigmoid" | "Tanh" | "Add" | "Mul" | "LeakyRelu" | "MatMul" | "Elu" | "HardSwish" => {
                // Of two operands the one that is no constant.
                let operand = node.inputs.iter().find(|n| !model.constants.contains_key(*n));
                let Some(operand) = operand else { return false };
                name = operand;
            }
            _ => return false,
        }
    }
}
