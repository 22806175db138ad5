//! The int8 network from inside: any of its values, and any of its layers alone, in the order of the float network's values.

use std::collections::BTreeMap;

use fleetfoot_engine::{Kernels, Model as Engine};
use fleetfoot_import::onnx::Place;
use fleetfoot_plan::{
    Aligned, Plan,
    graph::{Graph, Op, Quant, TensorId},
};

use crate::{
    encode::{INT8, REAL},
    float_error::QuantizeError as Error,
    ranges::Real,
};

/// Where the value `name` of the float network lies, if the int8 network still has it.
pub(crate) fn place<'p>(places: &'p BTreeMap<String, Place>, name: &str) -> Option<&'p Place> {
    [format!("{name}{INT8}"), format!("{name}{REAL}"), name.to_owned()].iter().find_map(|name| places.get(name))
}

/// The operators that write one tensor, fed with float originals.
pub(crate) struct Alone {
    runner: Runner,
    /// Of each operand: the value of the network, and its place.
    operands: Vec<(String, Place)>,
}

impl Alone {
    /// `None` where an operand is no value of the network.
    pub(crate) fn new(
        graph: &Graph,
        places: &BTreeMap<String, Place>,
        output: TensorId,
    ) -> Result<Option<Self>, Error> {
        // Backwards to values that the float network knows.
        let known = |id: TensorId| {
            let of = |(name, place): (&String, &Place)| (place.tensor == id).then(|| (name.clone(), place.clone()));
            let mut found = places.iter().filter_map(of);
            found
                .find(|(name, _)| name.ends_with(INT8))
                .or_else(|| graph.inputs.contains(&id).then(|| places.iter().filter_map(of).next()).flatten())
        };
        let (mut ops, mut wanted, mut operands) = (Vec::new(), vec![output], Vec::<(String, Place)>::new());
        while let Some(id) = wanted.pop() {
            let Some(op) = graph.ops.iter().find(|op| op.outputs.contains(&id)) else { return Ok(None) };
            if ops.iter().any(|other: &Op| other.outputs == op.outputs) {
                continue;
            }
            ops.push(op.clone());
            for &input in op.inputs.iter().flatten().filter(|id| graph.tensor(**id).data.is_none()) {
                match known(input) {
                    Some(operand) if operands.iter().any(|o| o.1.tensor == operand.1.tensor) => {}
                    Some(operand) => operands.push(operand),
                    None => wanted.push(input),
                }
            }
        }
        let inside = |op: &&Op| ops.iter().any(|other| other.outputs == op.outputs);
        let part = Graph {
            tensors: graph.tensors.clone(),
            ops: graph.ops.iter().filter(inside).cloned().collect(),
            inputs: operands.iter().map(|(_, place)| place.tensor).collect(),
            outputs: vec![output],
        };
        Ok(Some(Self { runner: Runner::new(&part)?, operands }))
    }

    pub(crate) fn run(&self, graph: &Graph, floats: &BTreeMap<&str, &[f32]>) -> Result<Option<Vec<u8>>, Error> {
        let mut inputs = Vec::new();
        for (name, place) in &self.operands {
            let Some(values) = floats.get(name.trim_end_matches(INT8)) else { return Ok(None) };
            let quant = real(graph.tensor(place.tensor).quant.as_ref());
            inputs.push(as_stored(values, place, quant));
        }
        let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
        Ok(self.runner.run(&inputs)?.into_iter().next())
    }
}

/// A graph that runs.
pub(crate) struct Runner {
    plan: Plan,
}

impl Runner {
    pub(crate) fn new(graph: &Graph) -> Result<Self, Error> {
        Ok(Self { plan: fleetfoot_plan::plan_as_written(graph)? })
    }

    pub(crate) fn run(&self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
        let weights = Aligned::copy_of(&self.plan.weights);
        let model = Engine::open(&self.plan.graph[..], weights.as_ref())?;
        let kernels = Kernels::detect();
        let mut arena = Aligned::zeroed(model.bounded_arena_len(kernels, 1)?);
        for (tensor, bytes) in model.inputs().iter().zip(inputs) {
            arena.as_mut()[tensor.span.range()].copy_from_slice(bytes);
        }
        model.run(kernels, arena.as_mut())?;
        Ok(model.outputs().iter().map(|t| arena.as_ref()[t.span.range()].to_vec()).collect())
    }
}

/// The quantization of an activation.
pub(crate) fn real(quant: Option<&Quant>) -> Real {
    let first = quant.and_then(|q| Some((*q.scales.first()?, *q.zero_points.first()?)));
    first.map_or(Real { scale: 1.0, zero_point: 0 }, |(scale, zero_point)| Real { scale, zero_point })
}

/// For each element as it is stored, its place in the order of the file.
fn order(place: &Place) -> Vec<usize> {
    let mut strides = vec![1; place.shape.len()];
    for d in (1..place.shape.len()).rev() {
        strides[d - 1] = strides[d] * place.shape[d];
    }
    let mut places = vec![0];
    for &d in &place.order {
        places = places
            .iter()
            .flat_map(|&at| (0..place.shape[d]).map(move |i| (at, i)))
            .map(|(at, i)| at + i * strides[d])
            .collect();
    }
    places
}

/// What a stored tensor stands for, in the order of the file.
pub(crate) fn as_file(stored: &[u8], place: &Place, quant: Real) -> Vec<f32> {
    let mut out = vec![0.0; stored.len()];
    for (&byte, at) in stored.iter().zip(order(place)) {
        out[at] = quant.real(byte.cast_signed());
    }
    out
}

/// The other way around.
pub(crate) fn as_stored(values: &[f32], place: &Place, quant: Real) -> Vec<u8> {
    order(place).into_iter().map(|at| quant.quantize(values[at]).cast_unsigned()).collect()
}
