//! An `.onnx` of anybody: read, imported, planned, opened, run; and the passes of the planner change nothing.

use std::collections::BTreeMap;

use fleetfoot_import::onnx::model::{Attribute, Constant, Dim, Model, Node, Port, Type};

use super::run_import;

/// Imports and, where that succeeds, plans with and without passes and runs both. What can be read can be written and read
/// again.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    if let Ok(model) = Model::parse(bytes) {
        let again = Model::parse(&model.to_bytes());
        assert!(again.is_ok() || model.nodes.is_empty(), "{:?}", again.err());
    }
    run_import(fleetfoot_import::onnx::onnx(bytes), bytes.len() as u8);
}

/// A change of the network that leaves the file whole: numbers of attributes and shapes, contents, names of operands.
#[must_use]
pub fn mutate(bytes: &[u8], seed: u32) -> Option<Vec<u8>> {
    let mut model = Model::parse(bytes).ok()?;
    let mut state = u64::from(seed) | 1 << 40;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % n.max(1)
    };
    let names: Vec<String> =
        model.constants.keys().cloned().chain(model.nodes.iter().map(|n| n.output(0).to_owned())).collect();
    let which = below(model.nodes.len());
    match below(6) {
        0 => {
            let ints = [-1, 0, 1, 2, 3, 4, 65_536, i64::MAX, i64::MIN];
            let node = model.nodes.get_mut(which)?;
            let attribute = below(node.attributes.len());
            match node.attributes.values_mut().nth(attribute)? {
                Attribute::Int(value) => *value = ints[below(ints.len())],
                Attribute::Ints(values) => {
                    let at = below(values.len());
                    match values.get_mut(at) {
                        Some(value) => *value = ints[below(ints.len())],
                        None => values.push(ints[below(ints.len())]),
                    }
                }
                Attribute::Float(value) => *value = [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-30][below(5)],
                _ => return None,
            }
        }
        1 => {
            let node = model.nodes.get_mut(which)?;
            let at = below(node.inputs.len());
            node.inputs.get_mut(at)?.clone_from(names.get(below(names.len()))?);
        }
        2 => {
            let constant = model.constants.values_mut().nth(below(names.len()))?;
            let at = below(constant.data.len());
            *constant.data.get_mut(at)? = below(256) as u8;
        }
        3 => {
            let constant = model.constants.values_mut().nth(below(names.len()))?;
            let extents = constant.shape.len();
            let (i, j) = (below(extents), below(extents));
            if extents > 0 {
                constant.shape.swap(i, j);
            }
        }
        4 => {
            let dims = &mut model.inputs.first_mut()?.dims;
            let at = below(dims.len());
            *dims.get_mut(at)? =
                [Dim::Fixed(1), Dim::Fixed(7), Dim::Fixed(1 << 20), Dim::Named("n".into())][below(4)].clone();
        }
        _ => {
            let ops =
                ["Conv", "Add", "MaxPool", "Softmax", "Gemm", "Transpose", "Flatten", "QLinearConv", "Concat", "Clip"];
            ops[below(ops.len())].clone_into(&mut model.nodes.get_mut(which)?.op);
        }
    }
    Some(model.to_bytes())
}

/// Small networks: QDQ with a convolution, a pool and a product; QOperator; two inputs; uint8.
#[must_use]
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("qdq", qdq(Type::Int8).to_bytes()),
        ("qdq_uint8", qdq(Type::UInt8).to_bytes()),
        ("two_inputs", two_inputs().to_bytes()),
        ("qlinear_conv", qlinear_conv().to_bytes()),
    ]
}

fn byte(dtype: Type, shape: &[usize], data: Vec<u8>) -> Constant {
    Constant { dtype, shape: shape.to_vec(), data }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]) -> Node {
    Node {
        name: output.into(),
        op: op.into(),
        inputs: inputs.iter().map(|i| (*i).to_owned()).collect(),
        outputs: vec![output.into()],
        attributes: attributes.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect(),
        ..Node::default()
    }
}

fn port(name: &str, dtype: Type, dims: &[usize]) -> Port {
    Port { name: name.into(), dtype, dims: dims.iter().map(|&d| Dim::Fixed(d)).collect() }
}

/// Scales and zero points of type `dtype`, by name.
fn scales(dtype: Type, of: &[(&str, f32, u8)]) -> BTreeMap<String, Constant> {
    let both = |&(name, scale, zero): &(&str, f32, u8)| {
        let scale = Constant { shape: Vec::new(), ..Constant::floats(&[1], &[scale]) };
        [(format!("{name}.s"), scale), (format!("{name}.z"), byte(dtype, &[], vec![zero]))]
    };
    of.iter().flat_map(both).collect()
}

fn qdq(dtype: Type) -> Model {
    let middle = if dtype == Type::UInt8 { 128 } else { 0 };
    let mut constants =
        scales(dtype, &[("x", 0.05, middle), ("c", 0.1, middle), ("p", 0.1, middle), ("y", 0.2, middle)]);
    constants.extend(scales(Type::Int8, &[("w", 0.02, 0), ("v", 0.03, 0)]));
    constants.insert("w".into(), byte(Type::Int8, &[3, 2, 3, 3], (0..54).map(|i: u8| i.wrapping_mul(37)).collect()));
    constants.insert("v".into(), byte(Type::Int8, &[12, 4], (0..48).map(|i: u8| i.wrapping_mul(91)).collect()));
    let ints = |v: &[i64]| Attribute::Ints(v.to_vec());
    let nodes = vec![
        node("DequantizeLinear", &["x", "x.s", "x.z"], "x.real", &[]),
        node("DequantizeLinear", &["w", "w.s", "w.z"], "w.real", &[]),
        node("Conv", &["x.real", "w.real"], "conv", &[("pads", ints(&[1, 1, 1, 1]))]),
        node("Relu", &["conv"], "relu", &[]),
        node("QuantizeLinear", &["relu", "c.s", "c.z"], "c", &[]),
        node("DequantizeLinear", &["c", "c.s", "c.z"], "c.real", &[]),
        node("MaxPool", &["c.real"], "pool", &[("kernel_shape", ints(&[2, 2])), ("strides", ints(&[2, 2]))]),
        node("QuantizeLinear", &["pool", "p.s", "p.z"], "p", &[]),
        node("DequantizeLinear", &["p", "p.s", "p.z"], "p.real", &[]),
        node("Flatten", &["p.real"], "flat", &[]),
        node("DequantizeLinear", &["v", "v.s", "v.z"], "v.real", &[]),
        node("Gemm", &["flat", "v.real"], "gemm", &[]),
        node("QuantizeLinear", &["gemm", "y.s", "y.z"], "y", &[]),
    ];
    Model {
        opset: 13,
        nodes,
        constants,
        inputs: vec![port("x", dtype, &[1, 2, 4, 4])],
        outputs: vec![port("y", dtype, &[1, 4])],
    }
}

/// The sum of two inputs: an array each.
#[must_use]
pub fn two_inputs() -> Model {
    let nodes = vec![
        node("DequantizeLinear", &["a", "a.s", "a.z"], "a.real", &[]),
        node("DequantizeLinear", &["b", "b.s", "b.z"], "b.real", &[]),
        node("Add", &["a.real", "b.real"], "sum", &[]),
        node("QuantizeLinear", &["sum", "y.s", "y.z"], "y", &[]),
    ];
    Model {
        opset: 13,
        nodes,
        constants: scales(Type::Int8, &[("a", 0.5, 0), ("b", 0.25, 2), ("y", 0.5, 255)]),
        inputs: vec![port("a", Type::Int8, &[1, 6]), port("b", Type::Int8, &[1, 6])],
        outputs: vec![port("y", Type::Int8, &[1, 6])],
    }
}

/// One node of a QOperator file: two channels from two, 1x1, with scales per channel and a bias.
#[must_use]
pub fn qlinear_conv() -> Model {
    let mut constants = scales(Type::Int8, &[("x", 0.5, 3), ("y", 1.0, 254)]);
    constants.insert("w".into(), byte(Type::Int8, &[2, 2, 1, 1], vec![2, 255, 1, 3]));
    constants.insert("w.s".into(), Constant::floats(&[2], &[0.5, 0.25]));
    constants.insert("w.z".into(), byte(Type::Int8, &[2], vec![0, 0]));
    let bias = [8i32, -16].iter().flat_map(|b| b.to_le_bytes()).collect();
    constants.insert("b".into(), byte(Type::Int32, &[2], bias));
    let inputs = ["x", "x.s", "x.z", "w", "w.s", "w.z", "y.s", "y.z", "b"];
    Model {
        opset: 13,
        nodes: vec![node("QLinearConv", &inputs, "y", &[])],
        constants,
        inputs: vec![port("x", Type::Int8, &[1, 2, 1, 3])],
        outputs: vec![port("y", Type::Int8, &[1, 2, 1, 3])],
    }
}
