//! Runs the float network over the samples, one at a time, and remembers what each value is like.

use std::collections::BTreeMap;

use fleetfoot_import::onnx::model::{Constant, Model};
use fleetfoot_trust::Sha256;

use crate::{
    data::Data,
    float_error::QuantizeError as Error,
    histogram::Histogram,
    reference::{Reference, input_shape},
};

/// How many samples are kept whole, for the report.
pub(crate) const KEPT: usize = 8;

/// What one value is like.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) histogram: Histogram,
    /// Sum over samples, rows and columns of each channel.
    sums: Vec<f64>,
    /// Summands of each.
    count: f64,
    /// Largest magnitude of each channel.
    pub(crate) channel_max: Vec<f32>,
}

impl Seen {
    /// Mean of each channel.
    pub(crate) fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.count.max(1.0)).collect()
    }
}

/// What the values of a network are like, by name.
#[derive(Debug)]
pub(crate) struct Calibration {
    pub(crate) seen: BTreeMap<String, Seen>,
    /// Shapes of all values.
    pub(crate) shapes: BTreeMap<String, Vec<usize>>,
    pub(crate) samples: usize,
    /// The first samples.
    pub(crate) kept: Vec<Vec<f32>>,
    /// SHA-256 of all samples as the network reads them: float32, little-endian, one after another.
    pub(crate) sha256: [u8; 32],
}

impl Calibration {
    /// Of a network that has not run: only what it is asked for without data.
    pub(crate) fn of_shapes(shapes: BTreeMap<String, Vec<usize>>) -> Self {
        Self { seen: BTreeMap::new(), shapes, samples: 0, kept: Vec::new(), sha256: [0; 32] }
    }
}

/// The float values of a network: its input and the results of its nodes.
pub(crate) fn values(model: &Model) -> Vec<String> {
    let results = model.nodes.iter().flat_map(|node| &node.outputs).filter(|name| !name.is_empty());
    results.cloned().collect()
}

/// Runs all samples; `progress` hears how many of how many are done.
pub(crate) fn run(model: &Model, data: &Data, progress: &mut dyn FnMut(usize, usize)) -> Result<Calibration, Error> {
    let shape = input_shape(model)?;
    let samples = data.count(&shape)?;
    let names = values(model);
    let reference = Reference::new(model, &names)?;
    let input = &model.inputs[0].name;
    let shapes = reference.shapes(&names)?;
    let mut calibration = Calibration { samples, ..Calibration::of_shapes(shapes) };
    calibration.shapes.insert(input.clone(), shape.clone());
    let outputs: Vec<&String> = model.outputs.iter().map(|port| &port.name).collect();
    let mut constant: BTreeMap<&String, Option<Vec<f32>>> = BTreeMap::new();
    let mut hash = Sha256::new();
    data.each(shape.iter().product(), samples, |number, sample| {
        hash.update(&sample.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
        let results = reference.run(sample)?;
        let given = std::iter::once((input, sample)).chain(names.iter().zip(results.iter().map(Vec::as_slice)));
        for (name, values) in given {
            if !values.iter().all(|v| v.is_finite()) {
                return Err(Error::Activations { tensor: name.clone(), sample: number });
            }
            let shape = calibration.shapes.get(name).cloned().unwrap_or_default();
            let seen = calibration.seen.entry(name.clone()).or_default();
            seen.histogram.add(values);
            add_channels(seen, &shape, values);
            if outputs.contains(&name) {
                let first = constant.entry(name).or_insert_with(|| Some(values.to_vec()));
                if first.as_ref().is_some_and(|first| first != values) {
                    *first = None;
                }
            }
        }
        if number < KEPT {
            calibration.kept.push(sample.to_vec());
        }
        progress(number + 1, samples);
        Ok(())
    })?;
    calibration.sha256 = hash.finish();
    // One sample says nothing.
    let unchanged = constant.into_iter().find_map(|(name, first)| first.map(|first| (name, first)));
    match unchanged {
        Some((name, first)) if samples > 1 => {
            let value = first.first().copied().unwrap_or(0.0);
            Err(Error::ConstantOutput { tensor: name.clone(), value, samples })
        }
        _ => Ok(calibration),
    }
}

/// Channels, and elements that lie together: channels are the second dimension of an image, the last of everything else.
pub(crate) fn channels_of(shape: &[usize]) -> (usize, usize) {
    match shape {
        &[_, c, h, w] => (c, h * w),
        &[.., c] => (c, 1),
        [] => (1, 1),
    }
}

fn add_channels(seen: &mut Seen, shape: &[usize], values: &[f32]) {
    let (channels, inner) = channels_of(shape);
    seen.sums.resize(channels, 0.0);
    seen.channel_max.resize(channels, 0.0);
    for (row, part) in values.chunks(inner.max(1)).enumerate() {
        let channel = row % channels.max(1);
        seen.sums[channel] += part.iter().map(|&v| f64::from(v)).sum::<f64>();
        seen.channel_max[channel] = part.iter().fold(seen.channel_max[channel], |most, v| most.max(v.abs()));
    }
    seen.count += values.len() as f64 / channels.max(1) as f64;
}

/// The extremes of a constant as a histogram's.
pub(crate) fn of_constant(constant: &Constant) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(&constant.to_floats().unwrap_or_default());
    histogram
}
