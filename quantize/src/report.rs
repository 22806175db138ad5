//! Each layer in int8 beside its float original, over the first samples: how true it is, what it costs, and where a loss comes from.
//!
//! *Accumulated* is the noise of the quantized network up to the layer; *isolated* what the layer adds by itself, when what it
//! reads is the float original, rounded to the scale of its input. Signal and noise are energies; their ratio is in dB.

use std::collections::BTreeMap;

use fleetfoot_engine::Model as Engine;
use fleetfoot_format::{graph::Record, limits::MAX_IO};
use fleetfoot_import::onnx::{Place, model::Model};
use fleetfoot_plan::{Aligned, graph::Graph};

use crate::{
    calibrate::{Calibration, channels_of, of_constant, values},
    cause::{self, Cause},
    encode::{INT8, Layer},
    float::Options,
    float_error::QuantizeError as Error,
    histogram::{Bars, Histogram},
    inside::{Alone, Runner, as_file, real},
    passes::equalise,
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
    /// Place in the order of `isolated_db`; 1 is the worst layer.
    pub rank: usize,
    /// Share of results that float has outside of the range of int8, of all.
    pub saturated: f64,
    /// Share of the accumulated noise that is the same for all values of a channel.
    pub shifted: f64,
    /// The largest range of a channel of its operand over the one at the lower quarter; 1 for layers without weights.
    pub channel_ratio: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes that it reads and writes: operands, weights, result.
    pub bytes: u64,
    /// Where its loss comes from, the weightiest first; nothing where it loses little.
    pub causes: Vec<Cause>,
    /// Layers that it reads, or the input, by their values.
    pub reads: Vec<String>,
    /// Ends of the range of its result.
    pub range: [f64; 2],
    /// Its results in float, over all samples.
    pub values: Bars,
    /// Its weights in float.
    pub weights: Option<Bars>,
}

/// Energies over all samples.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noise {
    signal: f64,
    noise: f64,
}

/// What is added up of a layer.
#[derive(Clone, Default)]
struct Sums {
    isolated: Noise,
    accumulated: Noise,
    clipped: usize,
    count: usize,
    /// Error of each channel of the accumulated results, and how many there are.
    errors: Vec<f64>,
}

impl Sums {
    fn errors(&mut self, float: &[f32], int8: &[f32], shape: &[usize]) {
        let (channels, inner) = channels_of(shape);
        self.errors.resize(channels, 0.0);
        for (row, (f, q)) in float.chunks(inner.max(1)).zip(int8.chunks(inner.max(1))).enumerate() {
            let difference = f.iter().zip(q).map(|(&f, &q)| f64::from(f - q)).sum::<f64>();
            self.errors[row % channels.max(1)] += difference;
        }
    }

    /// The part of the noise that a change of biases would take away.
    fn shifted(&self) -> f64 {
        let each = self.count as f64 / self.errors.len().max(1) as f64;
        let constant: f64 = self.errors.iter().map(|sum| sum * sum / each.max(1.0)).sum();
        if self.accumulated.noise > 0.0 { (constant / self.accumulated.noise).min(1.0) } else { 0.0 }
    }
}

impl Noise {
    fn add(&mut self, float: &[f32], int8: &[f32]) {
        for (&f, &q) in float.iter().zip(int8) {
            self.signal += f64::from(f) * f64::from(f);
            self.noise += f64::from(f - q) * f64::from(f - q);
        }
    }

    /// Signal over noise.
    pub(crate) fn ratio(self) -> f64 {
        if self.signal == 0.0 && self.noise == 0.0 { f64::INFINITY } else { self.signal / self.noise }
    }

    /// At most 120: a layer without any noise has no ratio.
    pub(crate) fn db(self) -> f64 {
        if self.signal == 0.0 && self.noise == 0.0 {
            return 120.0;
        }
        (10.0 * libm::log10(self.ratio())).clamp(-120.0, 120.0)
    }
}

/// Runs the first samples through both networks: each layer, and the energies of the last one's result.
pub(crate) fn layers(
    graph: &Graph,
    places: &BTreeMap<String, Place>,
    layers: &[Layer],
    float: &Model,
    calibration: &Calibration,
    options: &Options,
) -> Result<(Vec<LayerReport>, Noise), Error> {
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
    let mut sums = vec![Sums::default(); found.len()];
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
            sum.accumulated.add(float, &int8);
            sum.errors(float, &int8, &layer_shape(calibration, layer));
            let half_a_step = f64::from(quant.scale) / 2.0;
            let clipped = |v: &&f32| {
                f64::from(**v) < layer.range[0] - half_a_step || f64::from(**v) > layer.range[1] + half_a_step
            };
            sum.clipped += float.iter().filter(clipped).count();
            sum.count += float.len();
            let isolated = match alone {
                Some(alone) => alone.run(graph, &floats)?.map(|bytes| as_file(&bytes, place, quant)),
                None => None,
            };
            sum.isolated.add(float, isolated.as_ref().unwrap_or(&int8));
        }
    }
    let costs = costs(graph)?;
    let pairs = equalise::pairs(float, calibration);
    let histogram = |name: &str| calibration.seen.get(name).map(|seen| &seen.histogram);
    let report = |((layer, place), sum): (&(&Layer, &Place), &Sums)| {
        let (macs, bytes) = costs.get(&place.tensor.0.to_string()).copied().unwrap_or((0, 0));
        let (isolated_db, saturated) = (sum.isolated.db(), sum.clipped as f64 / sum.count.max(1) as f64);
        let weights = layer.weights.as_ref().and_then(|name| float.constants.get(name));
        let channel_ratio = match layer.weights {
            Some(_) => layer.reads.first().map_or(1.0, |name| channel_ratio(calibration, name)),
            None => 1.0,
        };
        let pair = pairs.iter().find(|pair| float.nodes[pair.second].output(0) == layer.node);
        let evidence = cause::Evidence {
            isolated_db,
            accumulated_db: sum.accumulated.db(),
            channel_ratio,
            saturated,
            shifted: sum.shifted(),
            weight_ratio: weights.map_or(1.0, |w| cause::weight_ratio(&layer.op, w)),
            histograms: layer.reads.iter().chain([&layer.value]).filter_map(|name| histogram(name)).collect(),
            equalises_with: pair.map(|pair| pair.value.clone()),
        };
        LayerReport {
            name: layer.value.clone(),
            op: layer.op.clone(),
            isolated_db,
            accumulated_db: evidence.accumulated_db,
            rank: 0,
            saturated,
            shifted: evidence.shifted,
            channel_ratio,
            macs,
            bytes,
            causes: cause::name(&evidence, options),
            reads: layer.reads.iter().map(|name| source(float, layers, name)).collect(),
            range: layer.range,
            values: histogram(&layer.value).map(Histogram::bars).unwrap_or_default(),
            weights: weights.map(|w| of_constant(w).bars()),
        }
    };
    let mut reports: Vec<LayerReport> = found.iter().zip(&sums).map(report).collect();
    let mut order: Vec<usize> = (0..reports.len()).collect();
    order.sort_by(|&a, &b| reports[a].isolated_db.total_cmp(&reports[b].isolated_db));
    order.into_iter().zip(1..).for_each(|(i, rank)| reports[i].rank = rank);
    let output = sums.last().map_or(Noise::default(), |sum| sum.accumulated);
    Ok((reports, output))
}

/// The layer that gives `name`, through operators that only move elements; or the input.
fn source(float: &Model, layers: &[Layer], name: &str) -> String {
    let mut name = name;
    while !layers.iter().any(|layer| layer.value == name) {
        let node = float.nodes.iter().find(|node| node.outputs.iter().any(|output| output == name));
        match node.and_then(|node| node.input(0)) {
            Some(before) => name = before,
            None => break,
        }
    }
    name.to_owned()
}

/// How far the ranges of channels are apart.
fn channel_ratio(calibration: &Calibration, name: &str) -> f64 {
    let Some(seen) = calibration.seen.get(name) else { return 1.0 };
    cause::spread(seen.channel_max.iter().copied())
}

fn layer_shape(calibration: &Calibration, layer: &Layer) -> Vec<usize> {
    calibration.shapes.get(&layer.value).cloned().unwrap_or_default()
}

/// Multiply-accumulates and bytes that are touched, by the tensor that is written.
fn costs(graph: &Graph) -> Result<BTreeMap<String, (u64, u64)>, Error> {
    // Plans cut long names off.
    let mut numbered = graph.clone();
    numbered.tensors.iter_mut().enumerate().for_each(|(i, tensor)| tensor.name = i.to_string());
    let plan = fleetfoot_plan::plan_as_written(&numbered)?;
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
