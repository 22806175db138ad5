//! Operators that int8 does not have become those that it has.
//!
//! ```text
//! HardSigmoid(x)    Clip(x * alpha + beta, 0, 1) = Clip(x + beta/alpha, 0, 1/alpha) * alpha     where 1/alpha is 6
//! Div(x, c)         Mul(x, 1/c)
//! ```

use fleetfoot_import::onnx::model::{Constant, Model, Node};

pub(super) fn rewrite(model: &mut Model) {
    let mut nodes = Vec::with_capacity(model.nodes.len());
    for node in std::mem::take(&mut model.nodes) {
        match &node.op[..] {
            "HardSigmoid" => hard_sigmoid(model, &node, &mut nodes),
            "Div" => nodes.push(reciprocal(model, node)),
            _ => nodes.push(node),
        }
    }
    model.nodes = nodes;
}

fn hard_sigmoid(model: &mut Model, node: &Node, nodes: &mut Vec<Node>) {
    let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
    if (alpha * 6.0 - 1.0).abs() > 1e-5 {
        nodes.push(node.clone());
        return;
    }
    let out = node.output(0);
    let mut constant = |what: &str, value: f32, shape: &[usize]| {
        let name = super::fresh(model, &format!("{out}/{what}"));
        model.constants.insert(name.clone(), Constant::floats(shape, &[value]));
        name
    };
    let (offset, factor) = (constant("offset", beta / alpha, &[1]), constant("factor", alpha, &[1]));
    let (zero, six) = (constant("zero", 0.0, &[]), constant("six", 6.0, &[]));
    let names = [format!("{out}/shifted"), format!("{out}/clipped")];
    let made = |op: &str, inputs: Vec<String>, output: &str| Node {
        name: node.name.clone(),
        op: op.into(),
        inputs,
        outputs: vec![output.to_owned()],
        ..Node::default()
    };
    nodes.push(made("Add", vec![node.inputs[0].clone(), offset], &names[0]));
    nodes.push(made("Clip", vec![names[0].clone(), zero, six], &names[1]));
    nodes.push(made("Mul", vec![names[1].clone(), factor], out));
}

fn reciprocal(model: &mut Model, mut node: Node) -> Node {
    let Some((values, shape)) = super::floats(model, &node, 1) else { return node };
    if values.iter().all(|v| *v != 0.0) {
        let name = super::fresh(model, &format!("{}/reciprocal", node.output(0)));
        let inverse: Vec<f32> = values.iter().map(|v| 1.0 / v).collect();
        model.constants.insert(name.clone(), Constant::floats(&shape, &inverse));
        node.inputs[1] = name;
        node.op = "Mul".into();
    }
    node
}
