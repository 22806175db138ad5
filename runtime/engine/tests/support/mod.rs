//! A small model that has one of each kind of step.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use fleetfoot_plan::{
    Plan,
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    plan_as_written,
};

/// In this order: convolution, depthwise, add, maximum pool, pad, mean, table, product, average pool, fully connected, softmax.
pub fn small() -> Plan {
    use ElementType::{Int8, Int32};
    let mut graph = Graph::default();
    let mut tensor = |name: &str, shape: &[usize], dtype, quant: Option<(&[f32], i32)>, constant: bool| {
        let quant = quant.map(|(scales, zero_point)| Quant {
            scales: scales.to_vec(),
            zero_points: vec![zero_point; scales.len()],
            axis: if scales.len() == 1 { 0 } else { shape.len() - 1 },
        });
        let width = if dtype == Int32 { 4 } else { 1 };
        let len = shape.iter().product::<usize>() * width;
        let data =
            constant.then(|| (0..len).map(|i| if width == 4 && i % 4 == 3 { 0 } else { (i * 7) as u8 }).collect());
        graph.tensors.push(Tensor { name: name.into(), shape: shape.to_vec(), dtype, quant, data });
        TensorId(graph.tensors.len() - 1)
    };
    let act = |s: &'static [f32]| Some((s, -5));
    let input = tensor("input", &[1, 6, 5, 3], Int8, act(&[0.5]), false);
    let w1 = tensor("w1", &[8, 3, 3, 3], Int8, Some((&[0.01], 0)), true);
    let b1 = tensor("b1", &[8], Int32, None, true);
    let c1 = tensor("c1", &[1, 6, 5, 8], Int8, act(&[0.6]), false);
    let w2 = tensor("w2", &[1, 3, 3, 8], Int8, Some((&[0.01; 8], 0)), true);
    let c2 = tensor("c2", &[1, 6, 5, 8], Int8, act(&[0.7]), false);
    let sum = tensor("sum", &[1, 6, 5, 8], Int8, act(&[0.8]), false);
    let max = tensor("max", &[1, 5, 4, 8], Int8, act(&[0.8]), false);
    let padded = tensor("padded", &[1, 6, 5, 8], Int8, act(&[0.8]), false);
    let mean = tensor("mean", &[1, 1, 1, 8], Int8, act(&[0.7]), false);
    let gate = tensor("gate", &[1, 1, 1, 8], Int8, Some((&[1.0 / 256.0], -128)), false);
    let product = tensor("product", &[1, 6, 5, 8], Int8, act(&[0.8]), false);
    let pool = tensor("pool", &[1, 2, 2, 8], Int8, act(&[0.8]), false);
    let flat = tensor("flat", &[1, 32], Int8, act(&[0.8]), false);
    let w3 = tensor("w3", &[10, 32], Int8, Some((&[0.02], 0)), true);
    let logits = tensor("logits", &[1, 10], Int8, act(&[0.3]), false);
    let out = tensor("out", &[1, 10], Int8, Some((&[1.0 / 256.0], -128)), false);
    let (padding, activation) = (Padding::Same, Activation::Relu);
    let (valid, none) = (Padding::Valid, Activation::None);
    let kinds = [
        (OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation }, vec![input, w1, b1], c1),
        (OpKind::DepthwiseConv2d { stride: [1, 1], dilation: [1, 1], padding, activation }, vec![c1, w2], c2),
        (OpKind::Add { activation: none }, vec![c1, c2], sum),
        (OpKind::MaxPool2d { kernel: [2, 2], stride: [1, 1], padding: valid, activation: none }, vec![sum], max),
        (OpKind::Pad { amounts: vec![[0, 0], [1, 0], [0, 1], [0, 0]] }, vec![max], padded),
        (OpKind::Mean { axes: vec![1, 2] }, vec![padded], mean),
        (OpKind::Logistic, vec![mean], gate),
        (OpKind::Mul { activation: none }, vec![padded, gate], product),
        (
            OpKind::AveragePool2d { kernel: [3, 3], stride: [3, 2], padding: valid, activation: none },
            vec![product],
            pool,
        ),
        (OpKind::Reshape, vec![pool], flat),
        (OpKind::FullyConnected { activation: none }, vec![flat, w3], logits),
        (OpKind::Softmax { beta: 1.0 }, vec![logits], out),
    ];
    graph.ops = kinds
        .into_iter()
        .enumerate()
        .map(|(position, (kind, inputs, output))| Op {
            position,
            kind,
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: vec![output],
        })
        .collect();
    (graph.inputs, graph.outputs) = (vec![input], vec![out]);
    plan_as_written(&graph).expect("the small model is plannable")
}
