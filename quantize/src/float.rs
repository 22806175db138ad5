//! From a float network and samples to a quantized graph. In this order:
//!
//! ```text
//! passes       the network is simplified (passes.rs)
//! calibrate    it runs in float over the samples; what each value is like is remembered
//! equalise     on demand: channels between two layers are made alike (passes/equalise.rs), and it is calibrated again
//! encode       scales are chosen, weights rounded, biases corrected
//! import       as any other quantized network
//! empirical    on demand: biases are corrected again, by what the int8 network reads
//! report       each layer in int8 beside its float original (report.rs, cause.rs)
//! ```
//! [`mend`](crate::mend) does it again with what the report asks for, as long as that helps.

use std::collections::BTreeMap;

use fleetfoot_import::onnx::{self, Place, model::Model};
use fleetfoot_plan::graph::Graph;

use crate::{
    calibrate::{self, Calibration},
    cause::Fix,
    data::Data,
    empirical,
    encode::{self, Correction, Encoded, Settings},
    float_error::QuantizeError as Error,
    islands, passes,
    ranges::Method,
    reference::{Reference, input_shape},
    report::{self, LayerReport},
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How ranges of activations are chosen.
    pub method: Method,
    /// What biases make up for.
    pub bias_correction: BiasCorrection,
    /// A scale for each output channel of weights; else one for all.
    pub per_channel: bool,
    /// Whether channels between two layers are made alike.
    pub equalise: bool,
    /// Whether float operators at the end of the network may be left to the application.
    pub allow_float: bool,
    /// Whether preprocessing gives levels from 0 to 255 as they are (`values: levels`): the input holds them exactly, whatever the samples are like.
    pub levels: bool,
}

/// What biases make up for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BiasCorrection {
    /// Nothing.
    Off,
    /// What rounding the weights shifts on average, computed from the means of the float network.
    #[default]
    Analytic,
    /// All that shifts a layer on average, measured in the int8 network.
    Empirical,
}

impl std::str::FromStr for BiasCorrection {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "off" => Ok(Self::Off),
            "analytic" => Ok(Self::Analytic),
            "empirical" => Ok(Self::Empirical),
            _ => Err("one of off, analytic, empirical"),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            bias_correction: BiasCorrection::default(),
            per_channel: true,
            equalise: false,
            allow_float: false,
            levels: false,
        }
    }
}

impl Options {
    /// These options and what `fix` changes.
    #[must_use]
    pub const fn with(mut self, fix: Fix) -> Self {
        match fix {
            Fix::PerChannel => self.per_channel = true,
            Fix::Method(method) => self.method = method,
            Fix::Equalise => self.equalise = true,
            Fix::EmpiricalBias => self.bias_correction = BiasCorrection::Empirical,
        }
        self
    }

    /// In one line, for provenance: the same options give the same text.
    #[must_use]
    pub fn text(&self) -> String {
        let yes = |on: bool| if on { "yes" } else { "no" };
        let bias = match self.bias_correction {
            BiasCorrection::Off => "off",
            BiasCorrection::Analytic => "analytic",
            BiasCorrection::Empirical => "empirical",
        };
        let levels = if self.levels { " levels=yes" } else { "" };
        format!(
            "method={} bias_correction={bias} per_channel={} equalise={} allow_float={}{levels}",
            self.method.name(),
            yes(self.per_channel),
            yes(self.equalise),
            yes(self.allow_float)
        )
    }
}

/// A network in int8.
#[derive(Debug)]
pub struct Quantized {
    /// The graph.
    pub graph: Graph,
    /// The same as ONNX: between `QuantizeLinear` and `DequantizeLinear`.
    pub onnx: Vec<u8>,
    /// Bytes of the float network with all its weights in float32.
    pub float_len: usize,
    /// Signal to noise of the last layer, dB.
    pub sqnr_db: f64,
    /// Each layer, in the order in which they run.
    pub layers: Vec<LayerReport>,
    /// Samples that were seen.
    pub samples: usize,
    /// SHA-256 of the samples, as float32 one after another.
    pub data_sha256: [u8; 32],
    /// What it was made with.
    pub options: Options,
    /// Float operators that were cut off at the end, by name: the application computes them. Empty unless they were allowed.
    pub islands: Vec<String>,
    /// The first samples, as the float network reads them.
    pub kept: Vec<Vec<f32>>,
    /// Signal over noise of the last layer.
    pub(crate) ratio: f64,
    /// The float network, simplified.
    float: Model,
}

impl Quantized {
    /// The float network, ready to run, with its first output.
    ///
    /// # Errors
    /// [`Error::Reference`].
    pub fn reference(&self) -> Result<Reference, Error> {
        let first: Vec<String> = self.float.outputs.iter().take(1).map(|port| port.name.clone()).collect();
        Reference::new(&self.float, &first)
    }
}

/// Quantizes the float network in the bytes of an ONNX file. `progress` hears how many samples of how many are done.
///
/// The same bytes, samples and options give the same graph, whatever the number of threads. The float network runs in `tract`, whose
/// sums depend in their last bits on the instruction set of the processor: on another kind of processor a scale may differ
/// in its last bits, too. Everything behind the float values is exact arithmetic, without functions of the platform.
///
/// # Errors
/// A [`Error`]: the network, the samples, or what does not fit between them.
pub fn quantize(
    bytes: &[u8],
    data: &Data,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Quantized, Error> {
    let mut model = Model::parse(bytes)?;
    if onnx::is_quantized(&model) {
        return Err(Error::Quantized);
    }
    passes::run(&mut model)?;
    name_nodes(&mut model);
    let float_len = model.to_bytes().len();
    // What is wrong with the data, before what is wrong with the network in int8.
    data.count(&input_shape(&model)?)?;
    let islands = islands::cut(&mut model, options.allow_float)?;
    let mut calibration = calibrate::run(&model, data, progress)?;
    if options.equalise && equalised(&mut model, &calibration)? {
        calibration = calibrate::run(&model, data, progress)?;
    }
    let Int8 { graph, places, encoded } = encoded(&model, &calibration, data, options)?;
    let (layers, noise) = report::layers(&graph, &places, &encoded.layers, &model, &calibration, options)?;
    Ok(Quantized {
        graph,
        onnx: encoded.model.to_bytes(),
        float_len,
        sqnr_db: noise.db(),
        layers,
        samples: calibration.samples,
        data_sha256: calibration.sha256,
        options: *options,
        islands,
        kept: calibration.kept,
        ratio: noise.ratio(),
        float: model,
    })
}

/// Makes channels alike; whether that changed the network. Where the answers to the samples that were kept are not the same to the last bit, it is
/// undone: weights that leave the range of floats are not worth it.
fn equalised(model: &mut Model, calibration: &Calibration) -> Result<bool, Error> {
    let before = model.clone();
    if passes::equalise::run(model, calibration) == 0 {
        return Ok(false);
    }
    let outputs: Vec<String> = model.outputs.iter().map(|port| port.name.clone()).collect();
    let (was, is) = (Reference::new(&before, &outputs)?, Reference::new(model, &outputs)?);
    let bits = |outputs: Vec<Vec<f32>>| -> Vec<u32> { outputs.concat().into_iter().map(f32::to_bits).collect() };
    for sample in &calibration.kept {
        if bits(was.run(sample)?) != bits(is.run(sample)?) {
            *model = before;
            return Ok(false);
        }
    }
    Ok(true)
}

struct Int8 {
    graph: Graph,
    places: BTreeMap<String, Place>,
    encoded: Encoded,
}

/// Rounds everything, and corrects biases.
fn encoded(model: &Model, calibration: &Calibration, data: &Data, options: &Options) -> Result<Int8, Error> {
    let with = |correction: Correction<'_>| {
        let Options { method, per_channel, levels, .. } = *options;
        let settings = Settings { method, per_channel, levels, correction };
        let encoded = encode::encode(model, calibration, settings);
        let (mut graph, places) = onnx::graph_and_places(&encoded.model)?;
        for (id, port) in graph.outputs.clone().into_iter().zip(&model.outputs) {
            graph.tensors[id.0].name.clone_from(&port.name);
        }
        Ok::<_, Error>(Int8 { graph, places, encoded })
    };
    let mut int8 = with(match options.bias_correction {
        BiasCorrection::Off => Correction::Off,
        BiasCorrection::Analytic | BiasCorrection::Empirical => Correction::Analytic,
    })?;
    if options.bias_correction == BiasCorrection::Empirical {
        for _ in 0..2 {
            let taps = empirical::measure(&int8.graph, &int8.places, model, calibration, data)?;
            int8 = with(Correction::Measured(&taps))?;
        }
    }
    Ok(int8)
}

/// Messages name nodes: those without a name get that of their result.
fn name_nodes(model: &mut Model) {
    for node in model.nodes.iter_mut().filter(|node| node.name.is_empty()) {
        node.name = node.output(0).to_owned();
    }
}
