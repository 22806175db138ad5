//! Each layer in int8 beside its float original, over the first samples.
//!
//! *Accumulated* is the noise of the quantized network up to the layer; *isolated* what the layer adds by itself, when what it
//! reads is the float original, rounded to the scale of its input. Signal and noise are energies; their ratio is in dB.

use std::collections::BTreeMap;

use fleetfoot_engine::{Kernels, Model as Engine};
use fleetfoot_format::{graph::Record, limits::MAX_IO};
use fleetfoot_import::onnx::{Place, model::Model};
use fleetfoot_plan::{
    Aligned, Plan,
    graph::{Graph, TensorId},
};

use crate::{
    calibrate::{Calibration, values},
    encode::{INT8, Layer},
    float_error::QuantizeError as Error,
    ranges::Real,
    reference::Reference,
};

/// What a layer costs and how true it is.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerReport {
    /// The value that it gives.
    pub name: String,
    /// Its operator in the ONNX file.
    pub op: String,
    /// Signal to noise when its operands are exact, dB.
    pub isolated_db: f64,
    /// Signal to noise with all that came before in int8, too, dB.
    pub accumulated_db: f64,
    /// Share of results at the ends of their range, of all.
    pub saturated: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of its weights.
    pub bytes: u64,
}

/// Energies of a layer over all samples.
#[derive(Clone, Copy, Default)]
struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    fn add(&mut self, float: &[f32], int8: &[f32]) {
        for (&f, &q) in float.iter().zip(int8) {
            self.signal += f64::from(f) * f64::from(f);
            self.noise += f64::from(f - q) * f64::from(f - q);
        }
    }

    /// At most 120: a layer without any noise has no ratio.
    fn db(self) -> f64 {
        if self.signal == 0.0 && self.noise == 0.0 {
            return 120.0;
        }
        (10.0 * (self.signal / self.noise).log10()).clamp(-120.0, 120.0)
    }
}

/// Runs the first samples through both networks.
pub(crate) fn layers(
    graph: &Graph,
    places: &BTreeMap<String, Place>,
    layers: &[Layer],
    float: &Model,
    calibration: &Calibration,
) -> Result<Vec<LayerReport>, Error> {
    let names = values(float);
    let reference = Reference::new(float, &names)?;
    // Layers whose value still lies in the graph.
    let found: Vec<(&Layer, &Place)> =
        layers.iter().filter_map(|l| places.get(&format!("{}{INT8}", l.value)).map(|p| (l, p))).collect();
    // A plan has few outputs: the network runs several times, each with other ones.
    let some = |part: &[(&Layer, &Place)]| {
        Runner::new(&Graph { outputs: part.iter().map(|(_, p)| p.tensor).collect(), ..graph.clone() })
    };
    let whole = found.chunks(MAX_IO).map(some).collect::<Result<Vec<_>, _>>()?;
    let alone: Vec<Option<Alone>> =
        found.iter().map(|(_, place)| Alone::new(graph, places, place.tensor)).collect::<Result<_, _>>()?;
    let mut sums = vec![(Noise::default(), Noise::default(), 0usize, 0usize); found.len()];
    let door = graph.tensor(graph.inputs[0]);
    let door = real(door.quant.as_ref());
    for sample in &calibration.kept {
        let results = reference.run(sample)?;
        let mut floats: BTreeMap<&str, &[f32]> =
            names.iter().map(String::as_str).zip(results.iter().map(Vec::as_slice)).collect();
        floats.insert(&float.inputs[0].name, sample);
        let input: Vec<u8> = sample.iter().map(|&v| door.quantize(v).cast_unsigned()).collect();
        let mut outputs = Vec::with_capacity(found.len());
        for runner in &whole {
            outputs.extend(runner.run(&[&input])?);
        }
        for (((layer, place), alone), ((output, sum), _)) in
            found.iter().zip(&alone).zip(outputs.iter().zip(&mut sums).zip(0..))
        {
            let Some(&float) = floats.get(&layer.value[..]) else { continue };
            let quant = real(graph.tensor(place.tensor).quant.as_ref());
            let int8 = as_file(output, place, quant);
            sum.1.add(float, &int8);
            sum.2 += output.iter().filter(|b| matches!(b.cast_signed(), -128 | 127)).count();
            sum.3 += output.len();
            let isolated = match alone {
                Some(alone) => alone.run(graph, &floats)?.map(|bytes| as_file(&bytes, place, quant)),
                None => None,
            };
            sum.0.add(float, isolated.as_ref().unwrap_or(&int8));
        }
    }
    let costs = costs(graph)?;
    let report = |((layer, place), sum): (&(&Layer, &Place), &(Noise, Noise, usize, usize))| {
        let (macs, bytes) = costs.get(&graph.tensor(place.tensor).name).copied().unwrap_or((0, 0));
        LayerReport {
            name: layer.value.clone(),
            op: layer.op.clone(),
            isolated_db: sum.0.db(),
            accumulated_db: sum.1.db(),
            saturated: sum.2 as f64 / sum.3.max(1) as f64,
            macs,
            bytes,
        }
    };
    Ok(found.iter().zip(&sums).map(report).collect())
}

/// Multiply-accumulates and bytes of weights, by the tensor that is written.
fn costs(graph: &Graph) -> Result<BTreeMap<String, (u64, u64)>, Error> {
    let plan = fleetfoot_plan::plan_as_written(graph)?;
    let weights = Aligned::copy_of(&plan.weights);
    let model = Engine::open(&plan.graph[..], weights.as_ref())?;
    let mut costs = BTreeMap::new();
    for Record { name, step } in model.records() {
        let cost: &mut (u64, u64) = costs.entry(name.to_owned()).or_default();
        cost.0 += step.macs();
        cost.1 += step.bytes();
    }
    Ok(costs)
}

/// The operators that write one tensor, fed with float originals.
struct Alone {
    runner: Runner,
    /// Of each operand: the value of the network, and its place.
    operands: Vec<(String, Place)>,
}

impl Alone {
    /// `None` where an operand is no value of the network.
    fn new(graph: &Graph, places: &BTreeMap<String, Place>, output: TensorId) -> Result<Option<Self>, Error> {
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
            if ops.iter().any(|other: &fleetfoot_plan::graph::Op| other.outputs == op.outputs) {
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
        let inside = |op: &&fleetfoot_plan::graph::Op| ops.iter().any(|other| other.outputs == op.outputs);
        let part = Graph {
            tensors: graph.tensors.clone(),
            ops: graph.ops.iter().filter(inside).cloned().collect(),
            inputs: operands.iter().map(|(_, place)| place.tensor).collect(),
            outputs: vec![output],
        };
        Ok(Some(Self { runner: Runner::new(&part)?, operands }))
    }

    fn run(&self, graph: &Graph, floats: &BTreeMap<&str, &[f32]>) -> Result<Option<Vec<u8>>, Error> {
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
struct Runner {
    plan: Plan,
}

impl Runner {
    fn new(graph: &Graph) -> Result<Self, Error> {
        Ok(Self { plan: fleetfoot_plan::plan_as_written(graph)? })
    }

    fn run(&self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, Error> {
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

fn real(quant: Option<&fleetfoot_plan::graph::Quant>) -> Real {
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

fn as_file(stored: &[u8], place: &Place, quant: Real) -> Vec<f32> {
    let mut out = vec![0.0; stored.len()];
    for (&byte, at) in stored.iter().zip(order(place)) {
        out[at] = quant.real(byte.cast_signed());
    }
    out
}

fn as_stored(values: &[f32], place: &Place, quant: Real) -> Vec<u8> {
    order(place).into_iter().map(|at| quant.quantize(values[at]).cast_unsigned()).collect()
}
