//! A small float network: the digits network of the demo, its weights turned back into floats.
#![allow(dead_code, reason = "each test uses its part")]

use std::{collections::BTreeMap, fs, path::Path};

use fleetfoot_import::onnx::model::{Attribute, Constant, Dim, Model, Node, Port, Type};
use fleetfoot_plan::graph::{Activation, Graph, Op, OpKind, Padding, TensorId};
use fleetfoot_tests::{npz, root};

/// Held-out digits as real numbers `[450, 8, 8, 1]`, and their labels.
pub(crate) fn digits() -> (Vec<f32>, Vec<u8>) {
    let path = root().join("examples/digits/digits_test.npz");
    let graph = graph("digits_v2");
    let quant = graph.tensor(graph.inputs[0]).quant.clone().unwrap();
    let (scale, zero) = (quant.scales[0], quant.zero_points[0]);
    let x = npz(&path, "x").1.iter().map(|b| (i32::from(b.cast_signed()) - zero) as f32 * scale).collect();
    (x, npz(&path, "y").1)
}

/// Writes samples as `.npz`: `x` of shape `[n, ..shape]` and, if there are any, labels `y`.
pub(crate) fn write_npz(path: &Path, x: &[f32], shape: &[u64], y: Option<&[u8]>) {
    use npyz::WriterBuilder as _;
    let mut archive = npyz::npz::NpzWriter::create(path).unwrap();
    let n = x.len() as u64 / shape.iter().product::<u64>();
    let shape: Vec<u64> = std::iter::once(n).chain(shape.iter().copied()).collect();
    let options = Default::default();
    let mut writer = archive.array("x", options).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
    writer.extend(x).unwrap();
    writer.finish().unwrap();
    if let Some(y) = y {
        let shape = [y.len() as u64];
        let mut writer = archive.array("y", options).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
        writer.extend(y).unwrap();
        writer.finish().unwrap();
    }
}

pub(crate) fn graph(name: &str) -> Graph {
    fleetfoot_import::tflite(&fs::read(root().join(format!("examples/digits/{name}.tflite"))).unwrap()).unwrap()
}

/// The float network of a quantized one that reads NHWC.
pub(crate) fn float_network(name: &str) -> Model {
    let graph = graph(name);
    let mut builder =
        Builder { graph: &graph, model: Model { opset: 17, ..Model::default() }, images: BTreeMap::new() };
    let port = |id: TensorId, dims| Port { name: format!("t{}", id.0), dtype: Type::Float32, dims };
    let shape = &graph.tensor(graph.inputs[0]).shape;
    let dims = std::iter::once(Dim::Named("batch".into())).chain(shape[1..].iter().map(|&d| Dim::Fixed(d)));
    builder.model.inputs.push(port(graph.inputs[0], dims.collect()));
    graph.ops.iter().for_each(|op| builder.op(op));
    builder.model.outputs.push(port(graph.outputs[0], Vec::new()));
    builder.model
}

struct Builder<'g> {
    graph: &'g Graph,
    model: Model,
    /// Names of values as NCHW.
    images: BTreeMap<TensorId, String>,
}

impl Builder<'_> {
    fn node(&mut self, op: &str, inputs: Vec<String>, output: String, attributes: &[(&str, Attribute)]) {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        self.model.nodes.push(Node { op: op.into(), inputs, outputs: vec![output], attributes, ..Node::default() });
    }

    /// The value of a tensor in the order of its images, transposed if it comes from an input.
    fn image(&mut self, id: TensorId) -> String {
        if let Some(name) = self.images.get(&id) {
            return name.clone();
        }
        let name = format!("t{}/nchw", id.0);
        self.node(
            "Transpose",
            vec![format!("t{}", id.0)],
            name.clone(),
            &[("perm", Attribute::Ints(vec![0, 3, 1, 2]))],
        );
        self.images.insert(id, name.clone());
        name
    }

    /// A constant as floats, with dimensions in another order.
    fn constant(&mut self, id: TensorId, scales: &[f32], order: &[usize]) -> String {
        let tensor = self.graph.tensor(id);
        let data = tensor.data.as_ref().unwrap();
        let ints: Vec<i32> = if data.len() == tensor.elements() {
            data.iter().map(|b| b.cast_signed().into()).collect()
        } else {
            data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b)).collect()
        };
        let axis = tensor.quant.as_ref().map_or(0, |q| q.axis);
        let inner: usize = tensor.shape[axis + 1..].iter().product();
        let real = |(i, &q): (usize, &i32)| q as f32 * scales[i / inner % scales.len()];
        let values: Vec<f32> = ints.iter().enumerate().map(real).collect();
        let shape: Vec<usize> = order.iter().map(|&d| tensor.shape[d]).collect();
        let mut strides = vec![1; order.len()];
        (1..order.len()).rev().for_each(|d| strides[d - 1] = strides[d] * tensor.shape[d]);
        let mut moved = vec![0];
        for &d in order {
            let along = |&at: &usize| (0..tensor.shape[d]).map(move |i| (at, i)).collect::<Vec<_>>();
            moved = moved.iter().flat_map(along).map(|(at, i)| at + i * strides[d]).collect();
        }
        let values: Vec<f32> = moved.into_iter().map(|at| values[at]).collect();
        let name = format!("c{}", id.0);
        self.model.constants.insert(name.clone(), Constant::floats(&shape, &values));
        name
    }

    fn weighted(&mut self, op: &Op, order: &[usize]) -> [String; 2] {
        let scale = self.graph.tensor(op.inputs[0].unwrap()).quant.as_ref().unwrap().scales[0];
        let weights = op.inputs[1].unwrap();
        let scales = self.graph.tensor(weights).quant.clone().unwrap().scales;
        let sums: Vec<f32> = scales.iter().map(|s| s * scale).collect();
        [self.constant(weights, &scales, order), self.constant(op.inputs[2].unwrap(), &sums, &[0])]
    }

    /// Adds the activation of an operator whose result is named `name`.
    fn activated(&mut self, activation: Activation, name: String) {
        match activation {
            Activation::None => {}
            Activation::Relu => {
                let before = format!("{name}/before");
                self.model.nodes.last_mut().unwrap().outputs[0].clone_from(&before);
                self.node("Relu", vec![before], name, &[]);
            }
            other => panic!("{other:?}"),
        }
    }

    fn op(&mut self, op: &Op) {
        let output = op.outputs[0];
        let name = format!("t{}", output.0);
        let (image, ints) =
            (format!("{name}/image"), |v: &[usize]| Attribute::Ints(v.iter().map(|&v| v as i64).collect()));
        match &op.kind {
            OpKind::Conv2d { stride, padding, activation, .. }
            | OpKind::DepthwiseConv2d { stride, padding, activation, .. } => {
                let depthwise = matches!(op.kind, OpKind::DepthwiseConv2d { .. });
                let order: &[usize] = if depthwise { &[3, 0, 1, 2] } else { &[0, 3, 1, 2] };
                let [weights, bias] = self.weighted(op, order);
                let x = self.image(op.inputs[0].unwrap());
                let group = if depthwise { self.graph.tensor(op.inputs[0].unwrap()).shape[3] as i64 } else { 1 };
                let pad = if *padding == Padding::Same { "SAME_UPPER" } else { "VALID" };
                let attributes = [
                    ("strides", ints(stride)),
                    ("group", Attribute::Int(group)),
                    ("auto_pad", Attribute::Text(pad.into())),
                ];
                self.node("Conv", vec![x, weights, bias], image.clone(), &attributes);
                self.activated(*activation, image.clone());
                self.images.insert(output, image);
            }
            OpKind::Add { activation } => {
                let inputs = op.inputs.iter().flatten().map(|&id| self.image(id)).collect();
                self.node("Add", inputs, image.clone(), &[]);
                self.activated(*activation, image.clone());
                self.images.insert(output, image);
            }
            OpKind::Mean { .. } | OpKind::AveragePool2d { .. } => {
                let x = self.image(op.inputs[0].unwrap());
                self.node("GlobalAveragePool", vec![x], image.clone(), &[]);
                self.images.insert(output, image.clone());
                self.node("Flatten", vec![image], name, &[]);
            }
            OpKind::Reshape => {
                let from = op.inputs[0].unwrap();
                let shape = self.graph.tensor(output).shape.iter().map(|&d| d as i64).collect::<Vec<_>>();
                let back = format!("{name}/nhwc");
                let from = match self.images.get(&from).cloned() {
                    Some(image) => {
                        self.node(
                            "Transpose",
                            vec![image],
                            back.clone(),
                            &[("perm", Attribute::Ints(vec![0, 2, 3, 1]))],
                        );
                        back
                    }
                    None => format!("t{}", from.0),
                };
                self.model.constants.insert(format!("{name}/shape"), Constant::ints(&shape));
                self.node("Reshape", vec![from, format!("{name}/shape")], name, &[]);
            }
            OpKind::FullyConnected { activation } => {
                let [weights, bias] = self.weighted(op, &[1, 0]);
                let x = format!("t{}", op.inputs[0].unwrap().0);
                self.node("MatMul", vec![x, weights], format!("{name}/product"), &[]);
                self.node("Add", vec![format!("{name}/product"), bias], name.clone(), &[]);
                self.activated(*activation, name);
            }
            OpKind::Softmax { .. } => self.node("Softmax", vec![format!("t{}", op.inputs[0].unwrap().0)], name, &[]),
            other => panic!("{other:?}"),
        }
    }
}

/// A quantized network that answers samples of real numbers.
pub(crate) struct Runs {
    session: fleetfoot::Session,
}

impl Runs {
    pub(crate) fn new(made: &fleetfoot_quantize::Quantized) -> Self {
        let plan = fleetfoot_plan::plan(&made.graph).unwrap();
        let model = std::sync::Arc::new(fleetfoot::Model::open_unsigned(&plan).unwrap());
        Self { session: fleetfoot::Session::new(model, fleetfoot::Kernels::detect()).unwrap() }
    }

    /// Real values of output 0.
    pub(crate) fn run(&mut self, sample: &[f32]) -> Vec<f32> {
        let engine = self.session.model().clone();
        let (door, result) = (engine.engine().input(0).unwrap(), engine.engine().output(0).unwrap());
        let stored =
            |v: &f32| ((v * (1.0 / door.scale)).round_ties_even() + door.zero_point as f32).clamp(-128.0, 127.0);
        let bytes: Vec<u8> = sample.iter().map(|v| (stored(v) as i8).cast_unsigned()).collect();
        self.session.set_input(0, &bytes).unwrap();
        self.session.run().unwrap();
        let real = |b: &u8| (i32::from(b.cast_signed()) - result.zero_point) as f32 * result.scale;
        self.session.output(0).unwrap().iter().map(real).collect()
    }
}
