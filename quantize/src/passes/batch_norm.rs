//! Batch normalisations go into the weights before them; one that stands alone becomes a depthwise 1x1 convolution.
//!
//! `y = gamma * (x - mean) / sqrt(variance + epsilon) + beta` is one factor and one summand per channel, computed in float64.

use fleetfoot_import::onnx::model::{Attribute, Constant, Model, Node};

pub(super) fn fold(model: &mut Model) {
    let mut at = 0;
    while at < model.nodes.len() {
        if model.nodes[at].is("BatchNormalization")
            && let Some((factor, summand)) = line(model, at)
        {
            let uses = super::uses(model);
            let source = super::only_source(model, &uses, &model.nodes[at].inputs[0]);
            match source.filter(|&before| scale(model, before, &factor, &summand)) {
                Some(before) => {
                    let removed = model.nodes.remove(at);
                    model.nodes[before].outputs[0] = removed.outputs[0].clone();
                    continue;
                }
                None => alone(model, at, &factor, &summand),
            }
        }
        at += 1;
    }
}

/// Factor and summand of each channel.
fn line(model: &Model, at: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let node = &model.nodes[at];
    let operand = |i: usize| super::floats(model, node, i).map(|(values, _)| values);
    let (gamma, beta, mean, variance) = (operand(1)?, operand(2)?, operand(3)?, operand(4)?);
    let epsilon = f64::from(node.float("epsilon", 1e-5));
    let n = gamma.len();
    if [beta.len(), mean.len(), variance.len()] != [n; 3] || node.outputs.iter().skip(1).any(|o| !o.is_empty()) {
        return None;
    }
    let factor: Vec<f64> =
        gamma.iter().zip(&variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + epsilon).sqrt()).collect();
    let summand = (0..n).map(|c| f64::from(beta[c]) - f64::from(mean[c]) * factor[c]).collect();
    Some((factor, summand))
}

/// Multiplies the output channels of a weighted node and adds to its bias; `false`, with nothing changed, where it has other ones.
fn scale(model: &mut Model, at: usize, factor: &[f64], summand: &[f64]) -> bool {
    let node = &model.nodes[at];
    let axis = match &node.op[..] {
        "Conv" => 0,
        "Gemm" if node.int("transB", 0) != 0 => 0,
        "Gemm" | "MatMul" => 1,
        "ConvTranspose" if node.int("group", 1) == 1 => 1,
        _ => return false,
    };
    let Some((mut weights, shape)) = super::floats(model, node, 1) else { return false };
    if shape.get(axis) != Some(&factor.len()) || (node.op == "MatMul" && shape.len() != 2) {
        return false;
    }
    let bias = match node.input(2) {
        Some(_) => match super::floats(model, node, 2) {
            Some((bias, _)) if bias.len() == factor.len() => bias,
            _ => return false,
        },
        None => vec![0.0; factor.len()],
    };
    let inner: usize = shape[axis + 1..].iter().product();
    for (i, weight) in weights.iter_mut().enumerate() {
        *weight = (f64::from(*weight) * factor[i / inner.max(1) % factor.len()]) as f32;
    }
    let bias: Vec<f32> =
        bias.iter().enumerate().map(|(c, &b)| (f64::from(b) * factor[c] + summand[c]) as f32).collect();
    super::replace(model, at, 1, Constant::floats(&shape, &weights));
    super::replace(model, at, 2, Constant::floats(&[bias.len()], &bias));
    if model.nodes[at].op == "MatMul" {
        model.nodes[at].op = "Gemm".into();
    }
    true
}

fn alone(model: &mut Model, at: usize, factor: &[f64], summand: &[f64]) {
    let floats = |values: &[f64]| -> Vec<f32> { values.iter().map(|&v| v as f32).collect() };
    let n = factor.len();
    let old = model.nodes[at].clone();
    model.nodes[at] = Node {
        op: "Conv".into(),
        inputs: vec![old.inputs[0].clone()],
        outputs: vec![old.outputs[0].clone()],
        name: old.name,
        domain: String::new(),
        attributes: [("group".to_owned(), Attribute::Int(n as i64))].into(),
    };
    super::replace(model, at, 1, Constant::floats(&[n, 1, 1, 1], &floats(factor)));
    super::replace(model, at, 2, Constant::floats(&[n], &floats(summand)));
}
