//! The float reference: `tract` runs the network as its author exported it.

use std::collections::BTreeMap;

use fleetfoot_import::onnx::{
    self,
    model::{Constant, Dim, Model, Node, Port, Type},
};
use tract_onnx::prelude::{
    DatumType, Framework as _, InferenceModelExt as _, IntoRunnable as _, Tensor, TypedRunnableModel, tvec,
};

use crate::{float_error::QuantizeError as Error, passes};

/// A network that is ready to run in float, with some of its values as outputs.
pub struct Reference {
    plan: std::sync::Arc<TypedRunnableModel>,
    shape: Vec<usize>,
}

impl Reference {
    /// Prepares `model`, whose input has a fixed shape, to give the values `outputs`.
    ///
    /// # Errors
    /// [`Error::Reference`] with what tract says.
    pub fn new(model: &Model, outputs: &[String]) -> Result<Self, Error> {
        let shape = input_shape(model)?;
        let port = |name: &String| Port { name: name.clone(), dtype: Type::Float32, dims: Vec::new() };
        let named = Model { outputs: outputs.iter().map(port).collect(), ..model.clone() };
        let plan = load(&named).and_then(|m| m.into_optimized()).and_then(|m| m.into_runnable());
        Ok(Self { plan: plan.map_err(|e| fault("take the model", &e))?, shape })
    }

    /// Prepares the float network in the bytes of an ONNX file, with its first output.
    ///
    /// # Errors
    /// A [`Error`] for a network that cannot be read, [`Error::Quantized`] for one that is no float network.
    pub fn of_onnx(bytes: &[u8]) -> Result<Self, Error> {
        let mut model = Model::parse(bytes)?;
        if onnx::is_quantized(&model) {
            return Err(Error::Quantized);
        }
        passes::run(&mut model)?;
        let first: Vec<String> = model.outputs.iter().take(1).map(|port| port.name.clone()).collect();
        Self::new(&model, &first)
    }

    /// Shape of the input.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Shapes of the outputs, which have the names `names`.
    ///
    /// # Errors
    /// [`Error::Reference`] for one that is known only when the network runs.
    pub(crate) fn shapes(&self, names: &[String]) -> Result<BTreeMap<String, Vec<usize>>, Error> {
        let model = self.plan.model();
        let shape = |(i, name): (usize, &String)| {
            let fact = model.output_fact(i).map_err(|e| fault("tell a shape", &e))?;
            let dims = fact.shape.as_concrete().map(<[usize]>::to_vec);
            let what = || Error::Reference { doing: "tell a shape", what: format!("'{name}' has no fixed shape") };
            Ok((name.clone(), dims.ok_or_else(what)?))
        };
        names.iter().enumerate().map(shape).collect()
    }

    /// The values for one sample, in the order of the outputs.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn run(&self, sample: &[f32]) -> Result<Vec<Vec<f32>>, Error> {
        let fault = |e| fault("run the model", &e);
        let input = Tensor::from_shape(&self.shape, sample).map_err(fault)?;
        let values = self.plan.run(tvec!(input.into())).map_err(fault)?;
        values.iter().map(|value| floats(value).map_err(fault)).collect()
    }
}

/// Shape of the only input.
///
/// # Errors
/// [`Error::Inputs`] unless there is exactly one.
pub(crate) fn input_shape(model: &Model) -> Result<Vec<usize>, Error> {
    let [port] = &model.inputs[..] else { return Err(Error::Inputs { count: model.inputs.len() }) };
    Ok(port.dims.iter().map(|dim| if let Dim::Fixed(d) = dim { *d } else { 1 }).collect())
}

/// The results of a node whose operands are all in `operands`.
///
/// # Errors
/// [`Error::Reference`] for an operator that tract does not have.
pub(crate) fn evaluate(
    opset: i64,
    node: &Node,
    operands: &BTreeMap<String, Constant>,
) -> Result<Vec<Option<Constant>>, Error> {
    let fault = |e| fault("fold a constant", &e);
    let constants = node
        .inputs
        .iter()
        .filter_map(|name| operands.get(name).map(|constant| (name.clone(), constant.clone())))
        .collect();
    let port = |name: &String| Port { name: name.clone(), dtype: Type::Float32, dims: Vec::new() };
    let outputs = node.outputs.iter().map(port).collect();
    let model = Model { opset, nodes: vec![node.clone()], constants, inputs: Vec::new(), outputs };
    let plan = load(&model).and_then(|m| m.into_optimized()).and_then(|m| m.into_runnable()).map_err(fault)?;
    let values = plan.run(tvec!()).map_err(fault)?;
    Ok(values.iter().map(|value| constant(value)).collect())
}

fn load(model: &Model) -> tract_onnx::prelude::TractResult<tract_onnx::prelude::InferenceModel> {
    tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_output_types(true)
        .model_for_read(&mut &model.to_bytes()[..])
}

fn floats(value: &Tensor) -> tract_onnx::prelude::TractResult<Vec<f32>> {
    let value = value.cast_to::<f32>()?;
    Ok(value.try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
}

fn constant(value: &Tensor) -> Option<Constant> {
    let (dtype, cast) = match value.datum_type() {
        DatumType::F32 => (Type::Float32, None),
        DatumType::I64 => (Type::Int64, None),
        DatumType::I32 => (Type::Int32, None),
        DatumType::U8 => (Type::UInt8, None),
        DatumType::I8 => (Type::Int8, None),
        DatumType::Bool => (Type::Bool, None),
        DatumType::TDim => (Type::Int64, Some(DatumType::I64)),
        _ => return None,
    };
    let value = match cast {
        Some(to) => value.cast_to_dt(to).ok()?,
        None => std::borrow::Cow::Borrowed(value),
    };
    let data = value.try_as_plain_ram().ok()?.as_bytes().to_vec();
    Some(Constant { dtype, shape: value.shape().to_vec(), data })
}

fn fault(doing: &'static str, error: &tract_onnx::prelude::TractError) -> Error {
    // The chain of causes, in one line.
    let what: Vec<String> = error.chain().map(ToString::to_string).collect();
    Error::Reference { doing, what: what.join(": ").replace('\n', " ") }
}

impl std::fmt::Debug for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reference").field("shape", &self.shape).finish_non_exhaustive()
    }
}
