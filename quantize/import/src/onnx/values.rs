//! What the names of a network stand for while it is read, node by node.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use fleetfoot_plan::graph::{ElementType, Graph, Op, OpKind, Quant, Tensor, TensorId};

use super::{
    Place,
    model::{Constant, Dim, Model, Node, Port, Type},
    shapes,
};
use crate::{
    error::{Problem, Problems},
    tensors::{extents, printable},
};

/// Why a node is not imported.
pub(super) enum Stop {
    /// A problem of this node.
    Form(&'static str),
    /// An operator that is not known.
    Unknown,
    /// A float value reaches an operator that must see quantized ones: the name of the value.
    Island(String),
    /// Its problem, or that of a value it reads, was listed already.
    Listed,
}

/// What a name stands for.
#[derive(Clone)]
pub(super) enum Value {
    /// Contents from the file, or arithmetic on shapes.
    Constant(Rc<Constant>),
    /// A constant behind `DequantizeLinear`.
    Scaled(Rc<Scaled>),
    /// An activation, as integers or as the real numbers that they stand for.
    Activation(Activation),
    /// The result of an operator, not quantized yet.
    Pending(Rc<Pending>),
    /// Its node, or one before it, has a problem.
    Broken,
}

/// Integers with a scale; int8, or int32 for a bias. uint8 ones have been moved to int8, with their zero points, unless
/// they are weights.
pub(super) struct Scaled {
    pub(super) name: String,
    pub(super) constant: Constant,
    pub(super) quant: Quant,
}

/// A tensor of the graph.
#[derive(Clone, Debug)]
pub(super) struct Activation {
    pub(super) id: TensorId,
    /// As the file sees it.
    pub(super) shape: Vec<usize>,
    /// `order[i]` is the dimension of the file that is stored at place `i`.
    pub(super) order: Vec<usize>,
    /// The file sees real numbers, not integers.
    pub(super) real: bool,
    /// The file sees uint8.
    pub(super) unsigned: bool,
}

/// An operator that only lacks the quantization of its result.
#[derive(Clone)]
pub(super) struct Pending {
    pub(super) position: usize,
    pub(super) kind: OpKind,
    pub(super) inputs: Vec<Option<TensorId>>,
    /// As the operator stores its result.
    pub(super) stored: Vec<usize>,
    /// As the file sees what comes of it.
    pub(super) shape: Vec<usize>,
    pub(super) order: Vec<usize>,
    /// The result of the node.
    pub(super) name: String,
    /// What follows before it is quantized: functions of one variable, and other shapes; each with the shape that is stored.
    pub(super) then: Vec<(OpKind, Vec<usize>)>,
}

/// Reads a network.
pub(super) struct Importer<'m, 'p> {
    pub(super) model: &'m Model,
    pub(super) graph: Graph,
    pub(super) values: HashMap<&'m str, Value>,
    pub(super) problems: &'p mut Problems,
    /// Tensors that exist in another order, too.
    pub(super) relaid: BTreeMap<(TensorId, Vec<usize>), TensorId>,
    /// uint8 inputs as int8.
    pub(super) flipped: BTreeMap<TensorId, TensorId>,
    /// Places of the nodes in the file.
    positions: &'m [usize],
}

impl<'m, 'p> Importer<'m, 'p> {
    pub(super) fn new(model: &'m Model, positions: &'m [usize], problems: &'p mut Problems) -> Self {
        let constant = |(name, value): (&'m String, &Constant)| (&name[..], Value::Constant(Rc::new(value.clone())));
        let values = model.constants.iter().map(constant).collect();
        let (relaid, flipped) = (BTreeMap::new(), BTreeMap::new());
        Self { model, graph: Graph::default(), values, problems, relaid, flipped, positions }
    }

    /// The graph of all nodes that could be imported; the others are among the problems.
    pub(super) fn import(mut self) -> (Graph, BTreeMap<String, Place>) {
        for port in &self.model.inputs {
            let value = self.input(port).map_or(Value::Broken, Value::Activation);
            self.values.insert(&port.name, value);
        }
        for (node, &position) in self.model.nodes.iter().zip(self.positions) {
            let results = match self.node(position, node) {
                Ok(results) => results,
                Err(stop) => {
                    self.stopped(position, node, stop);
                    vec![Value::Broken; node.outputs.len()]
                }
            };
            for (name, value) in node.outputs.iter().zip(results) {
                self.values.insert(name, value);
            }
        }
        for port in &self.model.outputs {
            if let Some(id) = self.output(port) {
                self.graph.outputs.push(id);
            }
        }
        for (side, what) in [(self.graph.inputs.len(), "inputs"), (self.graph.outputs.len(), "outputs")] {
            if side == 0 && self.problems.is_empty() {
                self.problems.push(Problem::TooFew { what });
            }
        }
        let place = |(name, value): (&&str, &Value)| match value {
            Value::Activation(a) => {
                let (tensor, shape, order) = (a.id, a.shape.clone(), a.order.clone());
                Some(((*name).to_owned(), Place { tensor, shape, order }))
            }
            _ => None,
        };
        let places = self.values.iter().filter_map(place).collect();
        (self.graph, places)
    }

    fn stopped(&mut self, position: usize, node: &Node, stop: Stop) {
        let name = label(position, node);
        let op = printable(&node.op);
        self.problems.push(match stop {
            Stop::Listed => return,
            Stop::Form(what) => Problem::Node { node: name, op, what },
            Stop::Unknown => Problem::NodeOperator { node: name, op, domain: printable(&node.domain) },
            Stop::Island(value) => Problem::Island { node: name, op, value: printable(&value) },
        });
    }

    /// The results of a node.
    fn node(&mut self, position: usize, node: &'m Node) -> Result<Vec<Value>, Stop> {
        if node.inputs.iter().any(|name| matches!(self.values.get(&name[..]), Some(Value::Broken))) {
            return Err(Stop::Listed);
        }
        if let Some(missing) = node.inputs.iter().find(|n| !n.is_empty() && !self.values.contains_key(&n[..])) {
            let tensor = printable(missing);
            let what = "is read but no earlier operator writes it";
            self.problems.push(Problem::Order { position, op: printable(&node.op), tensor, what });
            return Err(Stop::Listed);
        }
        if let Some(constant) = shapes::evaluate(self, node)? {
            return Ok(vec![Value::Constant(Rc::new(constant))]);
        }
        if let Some(value) = self.quantized(position, node)? {
            return Ok(vec![value]);
        }
        if !matches!(&node.domain[..], "" | "ai.onnx" | "com.microsoft") {
            return Err(Stop::Unknown);
        }
        if let Some(values) = self.moves(position, node)? {
            return Ok(values);
        }
        let value = match &node.op[..] {
            "Conv" => self.conv(position, node)?,
            "ConvTranspose" => self.conv_transpose(position, node)?,
            "Gemm" | "MatMul" => self.product(position, node)?,
            "AveragePool" | "MaxPool" | "GlobalAveragePool" | "GlobalMaxPool" => self.pool(position, node)?,
            "ReduceMean" | "ReduceSum" | "ReduceMax" => self.reduce(position, node)?,
            _ => self.pointwise(position, node)?,
        };
        Ok(vec![value])
    }

    /// A tensor for an input of the model.
    fn input(&mut self, port: &Port) -> Option<Activation> {
        let mut shape = Vec::new();
        for (index, dim) in port.dims.iter().enumerate() {
            match dim {
                Dim::Fixed(extent) => shape.push(*extent),
                // A dynamic batch: one inference at a time.
                Dim::Named(_) if index == 0 => shape.push(1),
                Dim::Named(name) => {
                    let (tensor, dimension) = (printable(&port.name), index);
                    self.problems.push(Problem::Dynamic { tensor, dimension, name: name.clone() });
                    return None;
                }
            }
        }
        let stored: Vec<i32> = shape.iter().map(|&d| i32::try_from(d).unwrap_or(i32::MAX)).collect();
        if extents(&stored).is_none() {
            self.problems.push(Problem::Shape { tensor: printable(&port.name), shape: stored });
            return None;
        }
        let (dtype, unsigned) = match port.dtype {
            Type::Float32 => (ElementType::Float32, false),
            Type::Int8 => (ElementType::Int8, false),
            Type::UInt8 => (ElementType::UInt8, true),
            other => {
                let (tensor, found) = (printable(&port.name), other.name());
                self.problems.push(Problem::ElementType { tensor, found, need: "float32, int8 or uint8" });
                return None;
            }
        };
        let id = self.tensor(&port.name, &shape, dtype, None);
        self.graph.inputs.push(id);
        let order = (0..shape.len()).collect();
        Some(Activation { id, shape, order, real: dtype == ElementType::Float32, unsigned })
    }

    /// The tensor of an output of the model.
    fn output(&mut self, port: &Port) -> Option<TensorId> {
        let position = self.positions.last().map_or(0, |last| last + 1);
        match self.values.get(&port.name[..]).cloned() {
            Some(Value::Activation(activation)) => {
                let plain = self.plain(position, &activation);
                let shape = &plain.shape;
                let dtype = self.graph.tensor(plain.id).dtype;
                if dtype != ElementType::Int8 || !(plain.real || plain.unsigned) {
                    self.graph.tensors[plain.id.0].name = printable(&port.name);
                    return Some(plain.id);
                }
                let quant = self.quant(&plain);
                let (kind, dtype, quant) = if plain.real {
                    (OpKind::Dequantize, ElementType::Float32, None)
                } else {
                    let quant = quant.map(|(s, z)| Quant { scales: vec![s], zero_points: vec![z + 128], axis: 0 });
                    (OpKind::Quantize, ElementType::UInt8, quant)
                };
                let id = self.tensor(&port.name, shape, dtype, quant);
                self.push(position, kind, vec![Some(plain.id)], id);
                Some(id)
            }
            Some(Value::Broken) => None,
            Some(Value::Pending(pending)) => {
                let (node, value) = (printable(&pending.name), printable(&port.name));
                self.problems.push(Problem::Island { node, op: pending.kind.name().into(), value });
                None
            }
            Some(Value::Constant(_) | Value::Scaled(_)) => {
                let tensor = printable(&port.name);
                let what = "is an output of the model, but it never changes";
                self.problems.push(Problem::Order { position, op: "model".into(), tensor, what });
                None
            }
            None => {
                let tensor = printable(&port.name);
                let what = "is an output of the model, but no operator writes it";
                self.problems.push(Problem::Order { position, op: "model".into(), tensor, what });
                None
            }
        }
    }

    pub(super) fn value(&self, node: &Node, i: usize) -> Result<Value, Stop> {
        let name = node.input(i).ok_or(Stop::Form("an operand is missing"))?;
        self.values.get(name).cloned().ok_or(Stop::Listed)
    }

    /// Operand `i`, which must be a tensor with a scale.
    pub(super) fn activation(&mut self, node: &Node, i: usize) -> Result<Activation, Stop> {
        match self.value(node, i)? {
            Value::Activation(a) if self.graph.tensor(a.id).dtype == ElementType::Float32 => {
                Err(Stop::Island(node.inputs[i].clone()))
            }
            Value::Activation(activation) => Ok(activation),
            Value::Pending(_) => Err(Stop::Island(node.inputs[i].clone())),
            Value::Scaled(_) | Value::Constant(_) => Err(Stop::Form("an operand that is constant")),
            Value::Broken => Err(Stop::Listed),
        }
    }

    /// Operand `i` as real numbers.
    pub(super) fn real(&mut self, node: &Node, i: usize) -> Result<Activation, Stop> {
        let activation = self.activation(node, i)?;
        if activation.real {
            Ok(activation)
        } else {
            Err(Stop::Form("it computes with integers, not with what they stand for"))
        }
    }

    /// Operand `i`, which must be constant, if it is there.
    pub(super) fn constant(&self, node: &Node, i: usize) -> Result<Option<Rc<Constant>>, Stop> {
        let Some(name) = node.input(i) else { return Ok(None) };
        match self.values.get(name) {
            Some(Value::Constant(constant)) => Ok(Some(constant.clone())),
            Some(Value::Broken) => Err(Stop::Listed),
            _ => Err(Stop::Form("an operand that must be constant is not")),
        }
    }

    /// Integers of constant operand `i`, if it is there.
    pub(super) fn integers(&self, node: &Node, i: usize) -> Result<Option<Vec<i64>>, Stop> {
        let Some(constant) = self.constant(node, i)? else { return Ok(None) };
        constant.to_ints().map(Some).ok_or(Stop::Form("an operand that is not of integers"))
    }

    /// Integers of attribute `name`, in newer versions of constant operand `i`.
    pub(super) fn attribute_or_operand(&self, node: &Node, name: &str, i: usize) -> Result<Option<Vec<i64>>, Stop> {
        match node.ints(name) {
            Some(values) => Ok(Some(values.to_vec())),
            None => self.integers(node, i),
        }
    }

    /// Scale and zero point of an activation.
    pub(super) fn quant(&self, activation: &Activation) -> Option<(f32, i32)> {
        let quant = self.graph.tensor(activation.id).quant.as_ref()?;
        Some((*quant.scales.first()?, *quant.zero_points.first()?))
    }

    pub(super) fn tensor(&mut self, name: &str, shape: &[usize], dtype: ElementType, quant: Option<Quant>) -> TensorId {
        self.graph.tensors.push(Tensor { name: printable(name), shape: shape.to_vec(), dtype, quant, data: None });
        TensorId(self.graph.tensors.len() - 1)
    }

    /// A tensor with contents.
    pub(super) fn stored(&mut self, tensor: Tensor) -> TensorId {
        self.graph.tensors.push(tensor);
        TensorId(self.graph.tensors.len() - 1)
    }

    pub(super) fn push(&mut self, position: usize, kind: OpKind, inputs: Vec<Option<TensorId>>, output: TensorId) {
        self.graph.ops.push(Op { position, kind, inputs, outputs: vec![output] });
    }

    /// A new int8 tensor quantized like `like`, with an operator that writes it.
    pub(super) fn alike(&mut self, position: usize, kind: OpKind, like: &Activation, name: &str, made: Made) -> Value {
        let stored: Vec<usize> = made.order.iter().map(|&d| made.shape[d]).collect();
        let quant = self.graph.tensor(like.id).quant.clone();
        let dtype = self.graph.tensor(like.id).dtype;
        let id = self.tensor(name, &stored, dtype, quant);
        self.push(position, kind, made.inputs.into_iter().map(Some).collect(), id);
        Value::Activation(Activation { id, shape: made.shape, order: made.order, ..like.clone() })
    }
}

/// What [`Importer::alike`] makes.
pub(super) struct Made {
    pub(super) inputs: Vec<TensorId>,
    pub(super) shape: Vec<usize>,
    pub(super) order: Vec<usize>,
}

/// A node for messages: its name, or where it stands.
pub(super) fn label(position: usize, node: &Node) -> String {
    if node.name.is_empty() {
        format!("#{position} (writes '{}')", printable(node.output(0)))
    } else {
        printable(&node.name)
    }
}

/// A dimension counted from the end, if it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, Stop> {
    let at = if axis < 0 { axis.checked_add(rank as i64).unwrap_or(-1) } else { axis };
    usize::try_from(at).ok().filter(|&at| at < rank).ok_or(Stop::Form("an axis that its operand does not have"))
}

/// A product of extents that stays within what a tensor may have.
pub(super) fn product(shape: &[usize]) -> Result<usize, Stop> {
    let all = shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d));
    all.filter(|&n| n <= 1 << 30).ok_or(Stop::Form("a result of more than 2^30 elements"))
}
