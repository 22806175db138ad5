//! From a float network and samples to a quantized graph. In this order:
//!
//! ```text
//! passes       the network is simplified (passes.rs)
//! calibrate    it runs in float over the samples; what each value is like is remembered
//! encode       scales are chosen, weights rounded, biases corrected
//! import       as any other quantized network
//! report       each layer in int8 beside its float original
//! ```

use fleetfoot_import::onnx::{self, model::Model};
use fleetfoot_plan::graph::Graph;

use crate::{
    calibrate,
    data::Data,
    encode,
    float_error::QuantizeError as Error,
    passes,
    ranges::Method,
    reference::Reference,
    report::{self, LayerReport},
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How ranges of activations are chosen.
    pub method: Method,
    /// Whether biases make up for what rounding the weights shifts on average.
    pub bias_correction: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { method: Method::default(), bias_correction: true }
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
/// The same bytes and samples give the same graph on every machine: nothing depends on the number of threads.
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
    let float_len = model.to_bytes().len();
    let calibration = calibrate::run(&model, data, progress)?;
    let encoded = encode::encode(&model, &calibration, options.method, options.bias_correction);
    let (mut graph, places) = onnx::graph_and_places(&encoded.model)?;
    for (id, port) in graph.outputs.clone().into_iter().zip(&model.outputs) {
        graph.tensors[id.0].name.clone_from(&port.name);
    }
    let layers = report::layers(&graph, &places, &encoded.layers, &model, &calibration)?;
    let sqnr_db = layers.last().map_or(0.0, |layer| layer.accumulated_db);
    let samples = calibration.samples;
    Ok(Quantized { graph, onnx: encoded.model.to_bytes(), float_len, sqnr_db, layers, samples, float: model })
}
