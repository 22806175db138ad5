//! Writes the quantized network as ONNX: each float value between `QuantizeLinear` and `DequantizeLinear`, weights as int8.
//!
//! ```text
//! x ── Conv ── Relu ── y      becomes      x* ── Conv ── Relu ── QuantizeLinear ── y/int8 ── DequantizeLinear ── y*
//!       W, b                                     DequantizeLinear(W int8, scale per channel), b int32 in units of the sum
//! ```
//! The importer of quantized networks reads it, and so does ONNX Runtime.

use std::collections::{BTreeMap, BTreeSet};

use fleetfoot_import::onnx::model::{Attribute, Constant, Model, Node, Type};

use crate::{
    calibrate::{Calibration, Seen, of_constant},
    empirical::Taps,
    ranges::{Method, Real, choose},
};

/// A network in int8, as ONNX.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) model: Model,
    /// Nodes with weights that were quantized, by the value that they give in the end.
    pub(crate) layers: Vec<Layer>,
}

/// A node of the float network that computes something in int8.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Its operator.
    pub(crate) op: String,
    /// The first result of the node.
    pub(crate) node: String,
    /// The value that it gives, behind its activation.
    pub(crate) value: String,
    /// The values that it reads.
    pub(crate) reads: Vec<String>,
    /// Its weights, if it has some.
    pub(crate) weights: Option<String>,
    /// Ends of the range of its result.
    pub(crate) range: [f64; 2],
}

/// What biases make up for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Correction<'a> {
    /// Nothing.
    Off,
    /// What rounding the weights shifts, from the float network's means.
    Analytic,
    /// All that shifts, from what the int8 network was seen to read; by the result of the node.
    Measured(&'a BTreeMap<String, Taps>),
}

/// How a network is quantized.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) method: Method,
    /// One scale for each output channel of weights, or one for all.
    pub(crate) per_channel: bool,
    /// Whether the input is levels from 0 to 255, less 128.
    pub(crate) levels: bool,
    pub(crate) correction: Correction<'a>,
}

/// Operators whose result is quantized as their operand is.
const KEEPING: &[&str] = &[
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "Slice",
    "Split",
    "Gather",
    "MaxPool",
    "GlobalMaxPool",
    "Pad",
    "DepthToSpace",
    "SpaceToDepth",
    "Resize",
    "ReduceMax",
    "Identity",
    "Dropout",
];
/// Operators with weights.
pub(crate) const WEIGHTED: &[&str] = &["Conv", "ConvTranspose", "Gemm", "MatMul"];
/// Operators that take an activation with them.
const FUSING: &[&str] =
    &["Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Sub", "Mul", "AveragePool", "GlobalAveragePool"];

/// The suffix of a quantized value.
pub(crate) const INT8: &str = "/int8";
/// And of what it stands for.
pub(crate) const REAL: &str = "/real";

struct Encoder<'a> {
    float: &'a Model,
    calibration: &'a Calibration,
    settings: Settings<'a>,
    out: Model,
    /// Quantization of values.
    reals: BTreeMap<String, Real>,
    /// What a value is called behind DequantizeLinear.
    names: BTreeMap<String, String>,
    layers: Vec<Layer>,
}

/// Quantizes `float`, whose values are like `calibration` says.
pub(crate) fn encode(float: &Model, calibration: &Calibration, settings: Settings<'_>) -> Encoded {
    // Version 13 is the first with scales per channel.
    let out = Model { opset: float.opset.max(13), ..Model::default() };
    let (reals, names) = (BTreeMap::new(), BTreeMap::new());
    let mut encoder = Encoder { float, calibration, settings, out, reals, names, layers: Vec::new() };
    encoder.run();
    Encoded { model: encoder.out, layers: encoder.layers }
}

/// What an int8 input stands for that takes levels from 0 to 255.
const LEVELS: Real = Real { scale: 1.0, zero_point: -128 };

impl Encoder<'_> {
    fn run(&mut self) {
        for port in &self.float.inputs {
            // On a device levels become int8 without a look at the scale.
            let real = if self.settings.levels { LEVELS } else { self.range(&port.name) };
            let mut port = port.clone();
            port.dtype = Type::Int8;
            self.dequantize(&port.name, &port.name.clone(), real);
            self.out.inputs.push(port);
        }
        let skipped: BTreeSet<String> = self.float.nodes.iter().filter_map(|node| self.fused(node)).collect();
        for node in &self.float.nodes {
            self.node(node, &skipped);
        }
        for port in &self.float.outputs {
            let mut port = port.clone();
            // What only moves elements has no quantization of its own yet.
            let quantized = format!("{}{INT8}", port.name);
            if !self.out.nodes.iter().any(|node| node.output(0) == quantized)
                && let Some(&real) = self.reals.get(&port.name)
            {
                let name = self.names.get(&port.name).cloned().unwrap_or_else(|| port.name.clone());
                self.quantize(&name, &quantized, real);
            }
            port.name = quantized;
            port.dtype = Type::Int8;
            self.out.outputs.push(port);
        }
    }

    /// The result of `node`, if it is not quantized because the only one that reads it is an activation that is fused.
    fn fused(&self, node: &Node) -> Option<String> {
        let name = node.output(0);
        if !FUSING.contains(&&node.op[..]) || self.float.outputs.iter().any(|port| port.name == name) {
            return None;
        }
        let mut readers = self.float.nodes.iter().filter(|other| other.inputs.iter().any(|i| i == name));
        let reader = readers.next().filter(|_| readers.next().is_none())?;
        let fits = reader.op == "Relu" || reader.op == "Clip" && self.is_known_clip(reader);
        fits.then(|| name.to_owned())
    }

    fn is_known_clip(&self, node: &Node) -> bool {
        let bound = |i: usize, name: &str, default: f32| match node.input(i) {
            Some(operand) => {
                let values = self.float.constants.get(operand).and_then(Constant::to_floats);
                values.and_then(|v| v.first().copied())
            }
            None => Some(node.float(name, default)),
        };
        let bounds = (bound(1, "min", f32::MIN), bound(2, "max", f32::MAX));
        let (Some(low), Some(high)) = bounds else { return false };
        matches!((low, high), (0.0, 6.0 | 1.0) | (-1.0, 1.0)) || low == 0.0 && high >= 3e38
    }

    fn node(&mut self, node: &Node, skipped: &BTreeSet<String>) {
        let output = node.output(0).to_owned();
        let mut made = node.clone();
        for name in &mut made.inputs {
            if let Some(real) = self.names.get(name) {
                name.clone_from(real);
            }
        }
        match &node.op[..] {
            op if WEIGHTED.contains(&op) => self.weights(node, &mut made),
            "Add" | "Sub" | "Mul" | "Max" | "Min" | "PRelu" => self.operands(node, &mut made),
            _ => self.copy_constants(node),
        }
        let keeps = KEEPING.contains(&&node.op[..]);
        self.out.nodes.push(made);
        if keeps {
            let real = self.reals.get(&node.inputs[0]).copied();
            for name in &node.outputs {
                self.reals.extend(real.map(|real| (name.clone(), real)));
            }
            return;
        }
        if skipped.contains(&output) || node.op.starts_with("Arg") {
            return;
        }
        let real = match &node.op[..] {
            "Softmax" | "Sigmoid" => Real { scale: 1.0 / 256.0, zero_point: -128 },
            "Tanh" => Real { scale: 1.0 / 128.0, zero_point: 0 },
            "AveragePool" if !self.covers(node) => {
                self.reals.get(&node.inputs[0]).copied().unwrap_or_else(|| self.range(&output))
            }
            _ => self.range(&output),
        };
        let quantized = format!("{output}{INT8}");
        self.quantize(&output, &quantized, real);
        self.dequantize(&output, &quantized, real);
        // The name of the operator that computes, not of the activation behind it.
        let source = self.float.nodes.iter().find(|n| n.output(0) == node.inputs[0] && skipped.contains(n.output(0)));
        let source = source.unwrap_or(node);
        let constant = |name: &&String| self.float.constants.contains_key(*name);
        let reads = source.inputs.iter().filter(|name| !name.is_empty() && !constant(name)).cloned().collect();
        let weights = source.inputs.get(1).filter(|name| WEIGHTED.contains(&&source.op[..]) && constant(name)).cloned();
        let range = [real.real(-128).into(), real.real(127).into()];
        self.layers.push(Layer {
            op: source.op.clone(),
            node: source.output(0).to_owned(),
            value: output,
            reads,
            weights,
            range,
        });
    }

    /// Whether a pool sees the whole image at once.
    fn covers(&self, node: &Node) -> bool {
        let shape = self.calibration.shapes.get(&node.inputs[0]);
        shape.and_then(|s| s.get(2..)).is_some_and(|s| {
            node.ints("kernel_shape").is_some_and(|k| k.iter().map(|&k| k as usize).eq(s.iter().copied()))
        })
    }

    fn range(&self, name: &str) -> Real {
        match self.calibration.seen.get(name) {
            Some(seen) => choose(&seen.histogram, self.settings.method),
            None => Real { scale: 1.0 / 256.0, zero_point: 0 },
        }
    }

    fn scalar(&mut self, name: String, constant: Constant) -> String {
        self.out.constants.insert(name.clone(), Constant { shape: Vec::new(), ..constant });
        name
    }

    fn parameters(&mut self, of: &str, real: Real) -> [String; 2] {
        let zero = Constant { dtype: Type::Int8, shape: Vec::new(), data: vec![real.zero_point.to_le_bytes()[0]] };
        [
            self.scalar(format!("{of}/scale"), Constant::floats(&[1], &[real.scale])),
            self.scalar(format!("{of}/zero_point"), zero),
        ]
    }

    fn quantize(&mut self, from: &str, to: &str, real: Real) {
        let [scale, zero] = self.parameters(to, real);
        let name = format!("{to} from float");
        let inputs = vec![from.to_owned(), scale, zero];
        self.out.nodes.push(Node {
            name,
            op: "QuantizeLinear".into(),
            inputs,
            outputs: vec![to.into()],
            ..Node::default()
        });
    }

    /// `value` is read as `quantized`, dequantized.
    fn dequantize(&mut self, value: &str, quantized: &str, real: Real) {
        let [scale, zero] = self.parameters(quantized, real);
        let (name, to) = (format!("{quantized} to float"), format!("{value}{REAL}"));
        let inputs = vec![quantized.to_owned(), scale, zero];
        let outputs = vec![to.clone()];
        self.out.nodes.push(Node { name, op: "DequantizeLinear".into(), inputs, outputs, ..Node::default() });
        self.reals.insert(value.to_owned(), real);
        self.names.insert(value.to_owned(), to);
    }

    fn copy_constants(&mut self, node: &Node) {
        for name in &node.inputs {
            if let Some(constant) = self.float.constants.get(name) {
                self.out.constants.insert(name.clone(), constant.clone());
            }
        }
    }

    /// Constant operands get one scale.
    fn operands(&mut self, node: &Node, made: &mut Node) {
        for (i, name) in node.inputs.iter().enumerate() {
            let Some(constant) = self.float.constants.get(name) else { continue };
            let histogram = of_constant(constant);
            let real = Real::spanning(histogram.min.into(), histogram.max.into());
            let values = constant.to_floats().unwrap_or_default();
            let data = values.iter().map(|&v| real.quantize(v).cast_unsigned()).collect();
            let stored = format!("{}/{i}{INT8}", node.output(0));
            self.out
                .constants
                .insert(stored.clone(), Constant { dtype: Type::Int8, shape: constant.shape.clone(), data });
            self.dequantize(&format!("{}/{i}", node.output(0)), &stored, real);
            made.inputs[i] = format!("{}/{i}{REAL}", node.output(0));
        }
    }

    /// Weights get a scale per output channel, the bias the scale of the sum.
    fn weights(&mut self, node: &Node, made: &mut Node) {
        let weights = node.input(1).and_then(|name| self.float.constants.get(name)).cloned();
        let Some((weights, values)) = weights.and_then(|w| w.to_floats().map(|values| (w, values))) else {
            // Two activations, which the importer will refuse by name.
            return;
        };
        let axis = match &node.op[..] {
            "Conv" => 0,
            "Gemm" if node.int("transB", 0) != 0 => 0,
            _ => 1,
        };
        let Some(&channels) = weights.shape.get(axis) else { return };
        let inner: usize = weights.shape[axis + 1..].iter().product();
        let channel = |i: usize| i / inner.max(1) % channels.max(1);
        let input = self.reals.get(&node.inputs[0]).map_or(1.0, |real| f64::from(real.scale));
        let bias = node.input(2).and_then(|name| self.float.constants.get(name)).and_then(Constant::to_floats);
        let bias_of = |c: usize| bias.as_ref().map_or(0.0, |b| f64::from(b[if b.len() == 1 { 0 } else { c }]));
        let mut most = vec![0f32; channels];
        values.iter().enumerate().for_each(|(i, v)| most[channel(i)] = most[channel(i)].max(v.abs()));
        let whole = most.iter().fold(0f32, |a, &b| a.max(b));
        let scale = |(c, &most): (usize, &f32)| {
            // A channel of zeros takes the scale of the others; a bias must stay far below 2^31 units of the sum.
            let most = if most > 0.0 {
                most
            } else if whole > 0.0 {
                whole
            } else {
                1.0
            };
            let least = (bias_of(c).abs() / input / f64::from(1 << 28)) as f32;
            (most / 127.0).max(least).max(f32::MIN_POSITIVE)
        };
        let mut scales: Vec<f32> = most.iter().enumerate().map(scale).collect();
        if !self.settings.per_channel {
            let one = scales.iter().fold(0f32, |a, &b| a.max(b));
            scales.fill(one);
        }
        let quantize = |(i, &v): (usize, &f32)| (v / scales[channel(i)]).round_ties_even().clamp(-127.0, 127.0) as i8;
        let integers: Vec<i8> = values.iter().enumerate().map(quantize).collect();
        let rounded = |i: usize| f64::from(integers[i]) * f64::from(scales[channel(i)]);
        let shift = self.shifts(node, &weights.shape, axis, |i| (rounded(i), f64::from(values[i])));
        let stored = format!("{}/weights{INT8}", node.output(0));
        let name = format!("{}/weights", node.output(0));
        let data = integers.iter().map(|q| q.cast_unsigned()).collect();
        self.out.constants.insert(stored.clone(), Constant { dtype: Type::Int8, shape: weights.shape.clone(), data });
        let int = |dtype, data| Constant { dtype, shape: vec![channels], data };
        self.dequantize_channels(&stored, &name, axis, &scales, int(Type::Int8, vec![0; channels]));
        made.inputs.truncate(1);
        made.inputs.push(name);
        if bias.is_some() || shift.iter().any(|s| *s != 0.0) {
            let units: Vec<f32> = scales.iter().map(|&s| input as f32 * s).collect();
            let sum = |c: usize| ((bias_of(c) - shift[c]) / f64::from(units[c])).round_ties_even() as i32;
            let data = (0..channels).flat_map(|c| sum(c).to_le_bytes()).collect();
            let (stored, name) = (format!("{}/bias/int32", node.output(0)), format!("{}/bias", node.output(0)));
            self.out.constants.insert(stored.clone(), int(Type::Int32, data));
            self.dequantize_channels(&stored, &name, 0, &units, int(Type::Int32, vec![0; 4 * channels]));
            if made.op == "MatMul" {
                // Only a product of matrices has a bias; a correction of others is left out.
                if bias.is_some() {
                    made.op = "Gemm".into();
                    made.inputs.push(name);
                }
            } else {
                made.inputs.push(name);
            }
        }
    }

    fn dequantize_channels(&mut self, stored: &str, name: &str, axis: usize, scales: &[f32], zeros: Constant) {
        let (scale, zero) = (format!("{stored}/scale"), format!("{stored}/zero_point"));
        self.out.constants.insert(scale.clone(), Constant::floats(&[scales.len()], scales));
        self.out.constants.insert(zero.clone(), zeros);
        self.out.nodes.push(Node {
            name: format!("{stored} to float"),
            op: "DequantizeLinear".into(),
            inputs: vec![stored.to_owned(), scale, zero],
            outputs: vec![name.to_owned()],
            attributes: [("axis".to_owned(), Attribute::Int(axis as i64))].into(),
            ..Node::default()
        });
    }

    /// By how much each output channel is off on average, given each weight as it is stored and as it was: the difference of
    /// their sums over the mean of what each weight is multiplied with.
    fn shifts(&self, node: &Node, shape: &[usize], axis: usize, weight: impl Fn(usize) -> (f64, f64)) -> Vec<f64> {
        let channels = shape[axis];
        let mut shifts = vec![0.0; channels];
        let seen = self.calibration.seen.get(&node.inputs[0]);
        let measured = match self.settings.correction {
            Correction::Off => return shifts,
            Correction::Analytic => None,
            Correction::Measured(taps) => taps.get(node.output(0)),
        };
        let means = seen.map(Seen::means).unwrap_or_default();
        let inner: usize = shape[axis + 1..].iter().product();
        let group = node.int("group", 1).max(1) as usize;
        // Weights of one input channel for one output channel.
        let taps: usize = shape[2..].iter().product::<usize>().max(1);
        for i in 0..shape.iter().product() {
            let out = i / inner.max(1) % channels;
            // The input channel of the weight: the other of the first two dimensions, within the group.
            let input = if axis == 0 {
                let per_group = shape[1];
                (out / (channels / group).max(1)) * per_group + i / taps % per_group
            } else {
                i / (channels * taps)
            };
            // Without a measurement borders count as if they were image, and the operand as if it were exact.
            let mean = means.get(input).copied().unwrap_or(0.0);
            let (int8, float) = measured.map_or((mean, mean), |measured| measured.mean(input * taps + i % taps));
            let (stored, was) = weight(i);
            shifts[out] += stored * int8 - was * float;
        }
        shifts
    }
}
