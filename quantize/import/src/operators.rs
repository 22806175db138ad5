//! Operators: which they are, their attributes, their operands.

mod moves;

use fleetfoot_plan::graph::{Activation, Graph, Op, OpKind, Padding, TensorId, Unary};

use crate::{
    error::{ImportError, Problem, Problems},
    flat::{Field, Table},
    fold::Folded,
    schema::{self, ARITHMETIC, MODEL, OPERATOR, OPERATOR_CODE, SUBGRAPH, op},
    tensors::{Tensors, printable},
};

/// Kernels, strides, dilations and borders are at most this: products with extents stay far below 64 bits.
const MAX_ATTRIBUTE: i32 = u16::MAX as i32;

/// An operator as the file has it.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a> {
    pub(crate) position: usize,
    /// Number in the schema.
    pub(crate) code: i32,
    pub(crate) name: String,
    pub(crate) inputs: &'a [[u8; 4]],
    outputs: &'a [[u8; 4]],
    table: Table<'a>,
}

impl<'a> Source<'a> {
    /// The name in the schema of a builtin operator.
    fn static_name(&self) -> &'static str {
        schema::operator_name(self.code).unwrap_or("CUSTOM")
    }

    /// The number of the tensor that is operand `i`, if there is one.
    pub(crate) fn input(&self, i: usize) -> Option<usize> {
        self.inputs.get(i).and_then(index)
    }

    /// The number of the tensor that is result `i`.
    pub(crate) fn output(&self, i: usize) -> Option<usize> {
        self.outputs.get(i).and_then(index)
    }

    /// The attributes, if they are those of union member `member`.
    pub(crate) fn options(&self, member: u8) -> Result<Option<Table<'a>>, ImportError> {
        if self.table.u8(OPERATOR.builtin_options_type, 0)? != member {
            return Ok(None);
        }
        self.table.table(OPERATOR.builtin_options)
    }
}

/// The number of a tensor; -1 stands for an optional operand that is absent.
fn index(bytes: &[u8; 4]) -> Option<usize> {
    usize::try_from(i32::from_le_bytes(*bytes)).ok()
}

/// All operators of the file.
pub(crate) fn read<'a>(model: &Table<'a>, subgraph: &Table<'a>) -> Result<Vec<Source<'a>>, ImportError> {
    let codes = model.tables(MODEL.operator_codes)?;
    let source = |(position, table): (usize, Result<Table<'a>, ImportError>)| {
        let table = table?;
        let index = table.u32(OPERATOR.opcode_index, 0)? as usize;
        let entry = codes.get(index)?.ok_or(ImportError::Index {
            what: "operator code",
            index: index as i64,
            count: codes.len(),
        })?;
        // Numbers over 127 did not fit the first field; the larger one holds.
        let old = i32::from(entry.u8(OPERATOR_CODE.deprecated_builtin_code, 0)?.cast_signed());
        let code = old.max(entry.i32(OPERATOR_CODE.builtin_code, 0)?);
        let name = match schema::operator_name(code) {
            Some(_) if code == op::CUSTOM => {
                format!("CUSTOM '{}'", printable(&entry.string(OPERATOR_CODE.custom_code)?))
            }
            Some(name) => name.into(),
            None => format!("builtin operator {code}"),
        };
        let (inputs, outputs) = (table.vector(OPERATOR.inputs)?, table.vector(OPERATOR.outputs)?);
        Ok(Source { position, code, name, inputs, outputs, table })
    };
    subgraph.tables(SUBGRAPH.operators)?.iter().enumerate().map(source).collect()
}

/// Why one operator is not imported.
enum Stop {
    /// The file is damaged: nothing else matters.
    Broken(ImportError),
    /// A problem of this operator.
    Form(&'static str),
    /// A number in the schema that is not known.
    Unknown,
    /// Its problems were listed already.
    Listed,
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Self {
        Self::Broken(error)
    }
}

/// Makes the graph of all operators that have not been folded; lists what stands in the way.
pub(crate) fn import(
    subgraph: &Table<'_>,
    tensors: Tensors<'_>,
    ops: &[Source<'_>],
    folded: &Folded,
    problems: &mut Problems,
) -> Result<Graph, ImportError> {
    let mut importer = Importer { written: vec![false; tensors.len()], tensors, folded, problems };
    let ids = |field| -> Result<Vec<Option<usize>>, ImportError> {
        Ok(subgraph.vector::<4>(field)?.iter().map(index).collect())
    };
    let mut graph = Graph::default();
    for input in ids(SUBGRAPH.inputs)? {
        graph.inputs.extend(importer.result(0, "model", input)?);
    }
    for source in ops.iter().filter(|source| !folded.folds(source)) {
        match importer.operator(source) {
            Ok(ops) => graph.ops.extend(ops),
            Err(Stop::Broken(error)) => return Err(error),
            Err(Stop::Listed) => {}
            Err(Stop::Unknown) => {
                let (position, op, output) = (source.position, source.name.clone(), importer.output_name(source)?);
                importer.problems.push(Problem::Operator { position, op, output });
            }
            Err(Stop::Form(what)) => {
                let (position, op, output) = (source.position, source.name.clone(), importer.output_name(source)?);
                importer.problems.push(Problem::Form { position, op, output, what });
            }
        }
        // Whatever became of it: what reads its results has no fault of its own.
        for output in source.outputs.iter().filter_map(index) {
            if let Some(written) = importer.written.get_mut(output) {
                *written = true;
            }
        }
    }
    for output in ids(SUBGRAPH.outputs)? {
        graph.outputs.extend(importer.operand(ops.len(), "model", output)?);
    }
    for (side, what) in [(&graph.inputs, "inputs"), (&graph.outputs, "outputs")] {
        if side.is_empty() && importer.problems.is_empty() {
            importer.problems.push(Problem::TooFew { what });
        }
    }
    graph.tensors = importer.tensors.used;
    Ok(graph)
}

/// An operator of the graph that one of the file becomes.
struct Made {
    kind: OpKind,
    /// Which operands of the file's operator it has.
    inputs: Vec<usize>,
    /// Which result.
    output: usize,
}

struct Importer<'a, 'p> {
    tensors: Tensors<'a>,
    /// By number in the file: inputs of the model, and results of the operators so far.
    written: Vec<bool>,
    folded: &'p Folded,
    problems: &'p mut Problems,
}

impl Importer<'_, '_> {
    fn operator(&mut self, source: &Source<'_>) -> Result<Vec<Op>, Stop> {
        let made = match self.moves(source)? {
            Some(made) => made,
            None => {
                let kind = self.kind(source)?;
                let inputs = match kind {
                    OpKind::Conv2d { .. } | OpKind::DepthwiseConv2d { .. } | OpKind::FullyConnected { .. } => {
                        vec![0, 1, 2]
                    }
                    // Its first operand is the shape of the result.
                    OpKind::TransposeConv { .. } => vec![2, 1, 3],
                    OpKind::Add { .. }
                    | OpKind::Sub { .. }
                    | OpKind::Mul { .. }
                    | OpKind::Maximum
                    | OpKind::Minimum
                    | OpKind::Prelu
                    | OpKind::BatchMatMul { .. } => vec![0, 1],
                    _ => vec![0],
                };
                vec![Made { kind, inputs, output: 0 }]
            }
        };
        if source.outputs.len() != made.len() {
            return Err(Stop::Form("it has not exactly one result"));
        }
        made.into_iter().map(|made| self.made(source, made)).collect()
    }

    fn made(&mut self, source: &Source<'_>, made: Made) -> Result<Op, Stop> {
        let (mut inputs, mut complete) = (Vec::new(), true);
        for &i in made.inputs.iter().filter(|i| **i < source.inputs.len()) {
            match source.input(i) {
                None => inputs.push(None),
                present => {
                    let id = self.operand(source.position, &source.name, present)?;
                    complete &= id.is_some();
                    inputs.push(id);
                }
            }
        }
        // Only a bias may be absent.
        if inputs.len() < made.inputs.len().min(2) || inputs.iter().take(2).any(Option::is_none) && complete {
            return Err(Stop::Form("an operand is missing"));
        }
        let output = self.result(source.position, &source.name, source.output(made.output))?;
        match output {
            Some(output) if complete => {
                Ok(Op { position: source.position, kind: made.kind, inputs, outputs: vec![output] })
            }
            _ => Err(Stop::Listed),
        }
    }

    /// A tensor that is read. Its problems are listed; `None` if it has any.
    fn operand(&mut self, position: usize, op: &str, index: Option<usize>) -> Result<Option<TensorId>, ImportError> {
        let index = index.ok_or(ImportError::Index { what: "tensor", index: -1, count: self.tensors.len() })?;
        let id = self.tensors.load(index, self.problems)?;
        let Some(id) = id else { return Ok(None) };
        let tensor = self.tensors.get(id);
        if self.written[index] || tensor.data.is_some() {
            return Ok(Some(id));
        }
        let what = if self.folded.contains(index) {
            "is computed from a shape: only a reshape may use that"
        } else {
            "is read but no earlier operator writes it"
        };
        self.problems.push(Problem::Order { position, op: op.into(), tensor: tensor.name.clone(), what });
        Ok(None)
    }

    /// A tensor that is written.
    fn result(&mut self, position: usize, op: &str, index: Option<usize>) -> Result<Option<TensorId>, ImportError> {
        let index = index.ok_or(ImportError::Index { what: "tensor", index: -1, count: self.tensors.len() })?;
        let id = self.tensors.load(index, self.problems)?;
        let Some(id) = id else { return Ok(None) };
        let tensor = self.tensors.get(id);
        if !self.written[index] && tensor.data.is_none() {
            self.written[index] = true;
            return Ok(Some(id));
        }
        let what = if tensor.data.is_some() { "is constant but written" } else { "is written twice" };
        self.problems.push(Problem::Order { position, op: op.into(), tensor: tensor.name.clone(), what });
        Ok(None)
    }

    fn output_name(&self, source: &Source<'_>) -> Result<String, ImportError> {
        source.output(0).map_or_else(|| Ok(String::new()), |index| self.tensors.name(index))
    }

    fn kind(&mut self, source: &Source<'_>) -> Result<OpKind, Stop> {
        Ok(match source.code {
            op::CONV_2D => {
                const F: schema::Conv2d = schema::CONV_2D;
                let options = required(source, 1)?;
                OpKind::Conv2d {
                    stride: pair(&options, F.stride_h, F.stride_w, 0)?,
                    dilation: pair(&options, F.dilation_h_factor, F.dilation_w_factor, 1)?,
                    padding: padding(&options, F.padding)?,
                    activation: activation(&options, F.activation)?,
                }
            }
            op::DEPTHWISE_CONV_2D => {
                const F: schema::DepthwiseConv2d = schema::DEPTHWISE_CONV_2D;
                let options = required(source, 2)?;
                OpKind::DepthwiseConv2d {
                    stride: pair(&options, F.stride_h, F.stride_w, 0)?,
                    dilation: pair(&options, F.dilation_h_factor, F.dilation_w_factor, 1)?,
                    padding: padding(&options, F.padding)?,
                    activation: activation(&options, F.activation)?,
                }
            }
            op::FULLY_CONNECTED => {
                const F: schema::FullyConnected = schema::FULLY_CONNECTED;
                let options = optional(source, 8)?;
                if options.is_some_and(|o| o.u8(F.weights_format, 0).is_ok_and(|format| format != 0)) {
                    return Err(Stop::Form("its weights are shuffled: convert without shuffled weights"));
                }
                OpKind::FullyConnected { activation: fused(options, F.activation)? }
            }
            op::ADD => OpKind::Add { activation: fused(optional(source, 11)?, ARITHMETIC.activation)? },
            op::SUB => OpKind::Sub { activation: fused(optional(source, 28)?, ARITHMETIC.activation)? },
            op::MUL => OpKind::Mul { activation: fused(optional(source, 21)?, ARITHMETIC.activation)? },
            op::AVERAGE_POOL_2D | op::MAX_POOL_2D => {
                const F: schema::Pool2d = schema::POOL_2D;
                let options = required(source, 5)?;
                let (kernel, stride) =
                    (pair(&options, F.filter_height, F.filter_width, 0)?, pair(&options, F.stride_h, F.stride_w, 0)?);
                let (padding, activation) = (padding(&options, F.padding)?, activation(&options, F.activation)?);
                if source.code == op::MAX_POOL_2D {
                    OpKind::MaxPool2d { kernel, stride, padding, activation }
                } else {
                    OpKind::AveragePool2d { kernel, stride, padding, activation }
                }
            }
            op::MEAN => OpKind::Mean { axes: self.axes(source)? },
            op::PAD => OpKind::Pad { amounts: self.amounts(source)? },
            op::RESHAPE | op::SQUEEZE | op::EXPAND_DIMS => OpKind::Reshape,
            op::SOFTMAX => OpKind::Softmax { beta: required(source, 9)?.f32(schema::SOFTMAX.beta)? },
            op::QUANTIZE => OpKind::Quantize,
            op::HARD_SWISH => OpKind::HardSwish,
            op::LOGISTIC => OpKind::Logistic,
            op::TANH => OpKind::Tanh,
            op::DEQUANTIZE => OpKind::Dequantize,
            op::MAXIMUM => OpKind::Maximum,
            op::MINIMUM => OpKind::Minimum,
            op::PRELU => OpKind::Prelu,
            op::RELU => OpKind::Unary(Unary::Relu),
            op::RELU6 => OpKind::Unary(Unary::Relu6),
            op::RELU_N1_TO_1 => OpKind::Unary(Unary::ReluN1To1),
            op::RELU_0_TO_1 => OpKind::Unary(Unary::Relu0To1),
            op::ELU => OpKind::Unary(Unary::Elu),
            op::EXP => OpKind::Unary(Unary::Exp),
            op::LOG => OpKind::Unary(Unary::Log),
            op::ABS => OpKind::Unary(Unary::Abs),
            op::LEAKY_RELU => {
                let alpha = required(source, 75)?.f32(schema::LEAKY_RELU.alpha)?;
                if !alpha.is_finite() || alpha.abs() > 65536.0 {
                    return Err(Stop::Form("a slope that is not a number of at most 65536"));
                }
                OpKind::Unary(Unary::LeakyRelu { alpha })
            }
            op::GELU => {
                let options = optional(source, 116)?;
                let approximate = options.map_or(Ok(false), |options| options.bool(schema::GELU.approximate))?;
                OpKind::Unary(Unary::Gelu { approximate })
            }
            op::SUM => OpKind::Sum { axes: self.axes(source)? },
            op::REDUCE_MAX => OpKind::ReduceMax { axes: self.axes(source)? },
            op::ARG_MAX | op::ARG_MIN => match self.axes(source)?[..] {
                [axis] => OpKind::ArgExtreme { axis, largest: source.code == op::ARG_MAX },
                _ => return Err(Stop::Form("more than one axis")),
            },
            op::PADV2 => self.pad_value(source)?,
            op::RESIZE_BILINEAR | op::RESIZE_NEAREST_NEIGHBOR => {
                let bilinear = source.code == op::RESIZE_BILINEAR;
                let options = optional(source, if bilinear { 15 } else { 74 })?;
                let fields = if bilinear { schema::RESIZE_BILINEAR } else { schema::RESIZE_NEAREST };
                let flag = |field| options.map_or(Ok(false), |options| options.bool(field));
                let (align_corners, half_pixel_centers) =
                    (flag(fields.align_corners)?, flag(fields.half_pixel_centers)?);
                if align_corners && half_pixel_centers {
                    return Err(Stop::Form("both aligned corners and half pixel centres"));
                }
                OpKind::Resize { bilinear, align_corners, half_pixel_centers }
            }
            op::TRANSPOSE_CONV => {
                const F: schema::TransposeConv = schema::TRANSPOSE_CONV;
                let options = required(source, 49)?;
                OpKind::TransposeConv {
                    stride: pair(&options, F.stride_h, F.stride_w, 0)?,
                    padding: padding(&options, F.padding)?,
                    activation: activation(&options, F.activation)?,
                }
            }
            op::BATCH_MATMUL => {
                let options = optional(source, 101)?;
                let flag = |field| options.map_or(Ok(false), |options| options.bool(field));
                if flag(schema::BATCH_MATMUL.adj_x)? {
                    return Err(Stop::Form("a transposed first operand"));
                }
                OpKind::BatchMatMul { transposed: flag(schema::BATCH_MATMUL.adj_y)? }
            }
            _ => return Err(Stop::Unknown),
        })
    }

    /// Constant operand 1 as dimensions, ascending.
    fn axes(&self, source: &Source<'_>) -> Result<Vec<usize>, Stop> {
        let (values, rank) = self.constant(source)?;
        let axis = |&axis: &i64| {
            let axis = if axis < 0 { axis.checked_add(rank as i64)? } else { axis };
            usize::try_from(axis).ok().filter(|&axis| axis < rank)
        };
        let axes: Option<Vec<usize>> = values.iter().map(axis).collect();
        let mut axes = axes.ok_or(Stop::Form("an axis that its operand does not have"))?;
        axes.sort_unstable();
        axes.dedup();
        if axes.is_empty() { Err(Stop::Form("a reduction over no axis")) } else { Ok(axes) }
    }

    /// Constant operand 1 as cells before and after each dimension.
    fn amounts(&self, source: &Source<'_>) -> Result<Vec<[usize; 2]>, Stop> {
        let (values, rank) = self.constant(source)?;
        let amount = |&v: &i64| usize::try_from(v).ok().filter(|&v| v <= MAX_ATTRIBUTE as usize);
        let amounts: Option<Vec<usize>> = values.iter().map(amount).collect();
        match amounts {
            Some(amounts) if amounts.len() == 2 * rank => Ok(amounts.as_chunks().0.to_vec()),
            _ => Err(Stop::Form("a border that is negative, over 65535, or not two numbers per dimension")),
        }
    }

    /// Operand 1, which must be constant, and the rank of operand 0.
    fn constant(&self, source: &Source<'_>) -> Result<(Vec<i64>, usize), Stop> {
        let (Some(input), Some(operand)) = (source.input(0), source.input(1)) else {
            return Err(Stop::Form("an operand is missing"));
        };
        let values =
            self.tensors.ints(operand)?.ok_or(Stop::Form("its second operand is not a short integer constant"))?;
        Ok((values, self.tensors.shape(input)?.len()))
    }
}

fn required<'a>(source: &Source<'a>, member: u8) -> Result<Table<'a>, Stop> {
    source.options(member)?.ok_or(Stop::Form("its attributes are missing"))
}

/// Attributes that may be absent, but not those of another operator.
fn optional<'a>(source: &Source<'a>, member: u8) -> Result<Option<Table<'a>>, Stop> {
    match source.table.u8(OPERATOR.builtin_options_type, 0)? {
        0 => Ok(None),
        m if m == member => Ok(source.options(member)?),
        _ => Err(Stop::Form("its attributes are those of another operator")),
    }
}

/// Rows and columns of something that is at least 1.
fn pair(options: &Table<'_>, rows: Field, columns: Field, default: i32) -> Result<[usize; 2], Stop> {
    let one = |field| match options.i32(field, default)? {
        value @ 1..=MAX_ATTRIBUTE => Ok(value as usize),
        _ => Err(Stop::Form("a kernel, stride or dilation outside of 1 to 65535")),
    };
    Ok([one(rows)?, one(columns)?])
}

fn padding(options: &Table<'_>, field: Field) -> Result<Padding, Stop> {
    match options.u8(field, 0)? {
        0 => Ok(Padding::Same),
        1 => Ok(Padding::Valid),
        _ => Err(Stop::Form("a kind of padding that is not known")),
    }
}

fn fused(options: Option<Table<'_>>, field: Field) -> Result<Activation, Stop> {
    options.map_or(Ok(Activation::None), |options| activation(&options, field))
}

fn activation(options: &Table<'_>, field: Field) -> Result<Activation, Stop> {
    match options.u8(field, 0)? {
        0 => Ok(Activation::None),
        1 => Ok(Activation::Relu),
        2 => Ok(Activation::ReluN1To1),
        3 => Ok(Activation::Relu6),
        _ => Err(Stop::Form("a fused activation other than RELU, RELU_N1_TO_1 and RELU6")),
    }
}
