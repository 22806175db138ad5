//! An ONNX network as plain values: what passes rewrite, what the importer reads.
//!
//! [`Model::parse`] takes the bytes of a file; its limits guard against files that lie about their size. [`Model::to_bytes`]
//! writes a file again, for the float reference.

use std::collections::BTreeMap;

use prost::Message as _;

use super::proto::{self, attribute, data_type};
use crate::{
    error::{ImportError, Problem, Problems},
    tensors::printable,
};

/// The most nodes, constants, inputs and outputs of a file. Real networks have hundreds.
const MAX_COUNT: usize = 1 << 16;
/// The most elements of a constant.
const MAX_ELEMENTS: usize = 1 << 30;
/// Versions of the operator set that the importer knows.
const OPSETS: std::ops::RangeInclusive<i64> = 11..=21;

/// A network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// Version of the operators of the default domain.
    pub opset: i64,
    /// Operators, each behind those it reads.
    pub nodes: Vec<Node>,
    /// Tensors whose contents are in the file, by name.
    pub constants: BTreeMap<String, Constant>,
    /// Inputs that are given at every inference.
    pub inputs: Vec<Port>,
    /// Outputs.
    pub outputs: Vec<Port>,
}

/// An input or output of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub dtype: Type,
    /// Its extents, as far as they are stated.
    pub dims: Vec<Dim>,
}

/// An extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Fixed(usize),
    /// A name, or nothing at all (an empty name): it is known only when the network runs.
    Named(String),
}

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// 32-bit float.
    Float32,
    /// Unsigned byte.
    UInt8,
    /// Signed byte.
    Int8,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Bytes of 0 or 1.
    Bool,
    /// Another; its number in `onnx.proto`.
    Other(i32),
}

/// An operator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Its name, often empty.
    pub name: String,
    /// Its type: `Conv`, `Relu`, ...
    pub op: String,
    /// The set of operators it is of; empty for ONNX's own.
    pub domain: String,
    /// Names of operands; an empty name stands for an optional operand that is absent.
    pub inputs: Vec<String>,
    /// Names of results.
    pub outputs: Vec<String>,
    /// Attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// A text.
    Text(String),
    /// Integers.
    Ints(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// A constant.
    Tensor(Constant),
    /// Of a kind that no supported operator has.
    Other,
}

/// A tensor with its contents.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Element type.
    pub dtype: Type,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Elements, little-endian.
    pub data: Vec<u8>,
}

impl Type {
    /// Bytes of an element; 0 where the type is not supported.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::UInt8 | Self::Int8 | Self::Bool => 1,
            Self::Float32 | Self::Int32 => 4,
            Self::Int64 => 8,
            Self::Other(_) => 0,
        }
    }

    /// Its name as numpy writes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::UInt8 => "uint8",
            Self::Int8 => "int8",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Other(number) => match number {
                4 => "uint16",
                5 => "int16",
                8 => "string",
                10 => "float16",
                11 => "float64",
                12 => "uint32",
                13 => "uint64",
                16 => "bfloat16",
                17..=20 => "float8",
                21 => "uint4",
                22 => "int4",
                _ => "an unknown type",
            },
        }
    }

    const fn of(number: i32) -> Self {
        match number {
            data_type::FLOAT => Self::Float32,
            data_type::UINT8 => Self::UInt8,
            data_type::INT8 => Self::Int8,
            data_type::INT32 => Self::Int32,
            data_type::INT64 => Self::Int64,
            data_type::BOOL => Self::Bool,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> i32 {
        match self {
            Self::Float32 => data_type::FLOAT,
            Self::UInt8 => data_type::UINT8,
            Self::Int8 => data_type::INT8,
            Self::Int32 => data_type::INT32,
            Self::Int64 => data_type::INT64,
            Self::Bool => data_type::BOOL,
            Self::Other(other) => other,
        }
    }
}

impl Constant {
    /// A tensor of floats.
    #[must_use]
    pub fn floats(shape: &[usize], values: &[f32]) -> Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: Type::Float32, shape: shape.to_vec(), data }
    }

    /// A vector of integers.
    #[must_use]
    pub fn ints(values: &[i64]) -> Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { dtype: Type::Int64, shape: vec![values.len()], data }
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements, if they are floats.
    #[must_use]
    pub fn to_floats(&self) -> Option<Vec<f32>> {
        let floats = || self.data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        (self.dtype == Type::Float32).then(floats)
    }

    /// The elements, if they are integers of any width.
    #[must_use]
    pub fn to_ints(&self) -> Option<Vec<i64>> {
        Some(match self.dtype {
            Type::Int8 => self.data.iter().map(|b| b.cast_signed().into()).collect(),
            Type::UInt8 | Type::Bool => self.data.iter().map(|&b| b.into()).collect(),
            Type::Int32 => self.data.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
            Type::Int64 => self.data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b)).collect(),
            Type::Float32 | Type::Other(_) => return None,
        })
    }
}

impl Node {
    /// Whether it is ONNX's own operator `op`.
    #[must_use]
    pub fn is(&self, op: &str) -> bool {
        self.op == op && matches!(&self.domain[..], "" | "ai.onnx")
    }

    /// The integer attribute `name`, or `default`.
    #[must_use]
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Int(value)) => *value,
            _ => default,
        }
    }

    /// The float attribute `name`, or `default`.
    #[must_use]
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }

    /// The text attribute `name`, or `default`.
    #[must_use]
    pub fn text<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        match self.attributes.get(name) {
            Some(Attribute::Text(value)) => value,
            _ => default,
        }
    }

    /// The attribute `name`, if it is there and holds integers.
    #[must_use]
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// The name of operand `i`, if it is there.
    #[must_use]
    pub fn input(&self, i: usize) -> Option<&str> {
        self.inputs.get(i).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The name of result `i`; empty where there is none.
    #[must_use]
    pub fn output(&self, i: usize) -> &str {
        self.outputs.get(i).map_or("", String::as_str)
    }
}

impl Model {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ImportError::Protobuf`] where the structure breaks off, else [`ImportError::Refused`] with every problem of the
    /// file itself: versions, types, lengths, contents that lie in other files.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImportError> {
        let file = proto::ModelProto::decode(bytes).map_err(|_| ImportError::Protobuf)?;
        let mut problems = Problems::default();
        let default = |set: &&proto::OperatorSetIdProto| matches!(&set.domain[..], "" | "ai.onnx");
        let opset = file.opset_import.iter().find(default).map_or(1, |set| set.version);
        if !OPSETS.contains(&opset) {
            problems.push(Problem::Opset { found: opset });
        }
        if let Some(function) = file.functions.first() {
            problems.push(Problem::Functions { count: file.functions.len(), example: printable(&function.name) });
        }
        let graph = file.graph.unwrap_or_default();
        let counts = [
            ("nodes", graph.node.len()),
            ("constants", graph.initializer.len()),
            ("inputs", graph.input.len()),
            ("outputs", graph.output.len()),
        ];
        for (what, count) in counts.into_iter().filter(|(_, count)| *count > MAX_COUNT) {
            problems.push(Problem::TooMany { what, count, limit: MAX_COUNT });
        }
        if !problems.is_empty() {
            return Err(problems.into());
        }
        let mut model = Self { opset, ..Self::default() };
        for tensor in graph.initializer {
            let name = tensor.name.clone();
            model.constants.extend(constant(tensor, &mut problems).map(|constant| (name, constant)));
        }
        for sparse in graph.sparse_initializer {
            let tensor = printable(&sparse.values.unwrap_or_default().name);
            problems.push(Problem::Storage { tensor, what: "it is stored as sparse: store it as a plain initializer" });
        }
        // Old files list constants among the inputs, too.
        let ports = |infos: Vec<proto::ValueInfoProto>| infos.into_iter().map(port);
        model.inputs = ports(graph.input).filter(|port| !model.constants.contains_key(&port.name)).collect();
        model.outputs = ports(graph.output).collect();
        for node in graph.node {
            let node = read_node(node, &mut problems);
            let value = if node.is("Constant") { constant_value(&node) } else { None };
            match value {
                Some(value) => {
                    model.constants.insert(node.output(0).to_owned(), value);
                }
                None => model.nodes.push(node),
            }
        }
        if problems.is_empty() { Ok(model) } else { Err(problems.into()) }
    }

    /// The bytes of a file that holds this network.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let info = |port: &Port| proto::ValueInfoProto {
            name: port.name.clone(),
            r#type: Some(proto::TypeProto {
                tensor_type: Some(proto::TensorTypeProto {
                    elem_type: port.dtype.number(),
                    shape: Some(proto::TensorShapeProto { dim: port.dims.iter().map(dimension).collect() }),
                }),
            }),
        };
        let initializer = |(name, constant): (&String, &Constant)| tensor(name, constant);
        let set = |domain: &str, version| proto::OperatorSetIdProto { domain: domain.into(), version };
        let graph = proto::GraphProto {
            node: self.nodes.iter().map(write_node).collect(),
            name: "network".into(),
            initializer: self.constants.iter().map(initializer).collect(),
            input: self.inputs.iter().map(info).collect(),
            output: self.outputs.iter().map(info).collect(),
            sparse_initializer: Vec::new(),
        };
        let file = proto::ModelProto {
            ir_version: 8,
            producer_name: "fleetfoot".into(),
            graph: Some(graph),
            opset_import: vec![set("", self.opset), set("com.microsoft", 1)],
            functions: Vec::new(),
        };
        file.encode_to_vec()
    }
}

fn port(info: proto::ValueInfoProto) -> Port {
    let ty = info.r#type.and_then(|t| t.tensor_type).unwrap_or_default();
    let dim = |dim: proto::DimensionProto| match dim.dim_value.map(usize::try_from) {
        Some(Ok(value)) if value > 0 => Dim::Fixed(value),
        _ => Dim::Named(printable(&dim.dim_param.unwrap_or_default())),
    };
    let dims = ty.shape.map(|shape| shape.dim.into_iter().map(dim).collect()).unwrap_or_default();
    Port { name: info.name, dtype: Type::of(ty.elem_type), dims }
}

fn dimension(dim: &Dim) -> proto::DimensionProto {
    match dim {
        Dim::Fixed(value) => proto::DimensionProto { dim_value: Some(*value as i64), dim_param: None },
        Dim::Named(name) => proto::DimensionProto { dim_value: None, dim_param: Some(name.clone()) },
    }
}

fn read_node(node: proto::NodeProto, problems: &mut Problems) -> Node {
    let attribute = |a: proto::AttributeProto, problems: &mut Problems| {
        let value = match a.r#type {
            attribute::FLOAT => Attribute::Float(a.f),
            attribute::INT => Attribute::Int(a.i),
            attribute::STRING => Attribute::Text(String::from_utf8_lossy(&a.s).into_owned()),
            attribute::TENSOR => a.t.and_then(|t| constant(t, problems)).map_or(Attribute::Other, Attribute::Tensor),
            attribute::FLOATS => Attribute::Floats(a.floats),
            attribute::INTS => Attribute::Ints(a.ints),
            _ => Attribute::Other,
        };
        (a.name, value)
    };
    Node {
        name: node.name,
        op: node.op_type,
        domain: node.domain,
        inputs: node.input,
        outputs: node.output,
        attributes: node.attribute.into_iter().map(|a| attribute(a, problems)).collect(),
    }
}

fn write_node(node: &Node) -> proto::NodeProto {
    let attribute = |(name, value): (&String, &Attribute)| {
        let mut a = proto::AttributeProto { name: name.clone(), ..Default::default() };
        match value {
            Attribute::Int(i) => (a.r#type, a.i) = (attribute::INT, *i),
            Attribute::Float(f) => (a.r#type, a.f) = (attribute::FLOAT, *f),
            Attribute::Text(s) => (a.r#type, a.s) = (attribute::STRING, s.clone().into_bytes()),
            Attribute::Ints(ints) => (a.r#type, a.ints) = (attribute::INTS, ints.clone()),
            Attribute::Floats(floats) => (a.r#type, a.floats) = (attribute::FLOATS, floats.clone()),
            Attribute::Tensor(t) => (a.r#type, a.t) = (attribute::TENSOR, Some(tensor("", t))),
            Attribute::Other => {}
        }
        a
    };
    proto::NodeProto {
        input: node.inputs.clone(),
        output: node.outputs.clone(),
        name: node.name.clone(),
        op_type: node.op.clone(),
        attribute: node.attributes.iter().map(attribute).collect(),
        domain: node.domain.clone(),
    }
}

fn tensor(name: &str, constant: &Constant) -> proto::TensorProto {
    proto::TensorProto {
        dims: constant.shape.iter().map(|&d| d as i64).collect(),
        data_type: constant.dtype.number(),
        name: name.into(),
        raw_data: constant.data.clone(),
        ..Default::default()
    }
}

/// What a node `Constant` holds, whichever of its forms it has.
fn constant_value(node: &Node) -> Option<Constant> {
    let scalar = |constant: Constant| Constant { shape: Vec::new(), ..constant };
    let value = |name: &str| node.attributes.get(name);
    match (value("value"), value("value_int"), value("value_ints"), value("value_float"), value("value_floats")) {
        (Some(Attribute::Tensor(tensor)), ..) => Some(tensor.clone()),
        (_, Some(Attribute::Int(i)), ..) => Some(scalar(Constant::ints(&[*i]))),
        (_, _, Some(Attribute::Ints(ints)), ..) => Some(Constant::ints(ints)),
        (.., Some(Attribute::Float(f)), _) => Some(scalar(Constant::floats(&[1], &[*f]))),
        (.., Some(Attribute::Floats(floats))) => Some(Constant::floats(&[floats.len()], floats)),
        _ => None,
    }
}

/// A stored tensor, if its length is what its shape says.
fn constant(tensor: proto::TensorProto, problems: &mut Problems) -> Option<Constant> {
    let name = printable(&tensor.name);
    if tensor.data_location != 0 {
        let what = "its contents are in another file: load the model in Python and save it with onnx.save(model, path, \
                    save_as_external_data=False)";
        problems.push(Problem::Storage { tensor: name, what });
        return None;
    }
    let dtype = Type::of(tensor.data_type);
    if let Type::Other(_) = dtype {
        let need = "float32, int8, uint8, int32, int64 or bool";
        problems.push(Problem::ElementType { tensor: name, found: dtype.name(), need });
        return None;
    }
    let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&d| usize::try_from(d).ok()).collect();
    let product = |shape: &Vec<usize>| shape.iter().try_fold(1usize, |all, &d| all.checked_mul(d));
    let Some((shape, elements)) = shape.and_then(|s| product(&s).filter(|&n| n <= MAX_ELEMENTS).map(|n| (s, n))) else {
        let shape = tensor.dims.iter().take(8).map(|&d| d.clamp(i32::MIN.into(), i32::MAX.into()) as i32).collect();
        problems.push(Problem::Shape { tensor: name, shape });
        return None;
    };
    let data = if !tensor.raw_data.is_empty() {
        tensor.raw_data
    } else {
        match dtype {
            Type::Float32 => tensor.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Type::Int32 => tensor.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            Type::Int64 => tensor.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            _ => tensor.int32_data.iter().map(|v| v.to_le_bytes()[0]).collect(),
        }
    };
    let need = elements * dtype.size();
    if data.len() != need {
        let have = data.len();
        problems.push(Problem::Length { tensor: name, dtype: dtype.name(), shape, need, have });
        return None;
    }
    Some(Constant { dtype, shape, data })
}
