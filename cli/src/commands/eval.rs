//! `eval`: how many labelled samples a model gets right.

use std::path::PathBuf;

use fleetfoot::{Kernels, Session, engine::Tensor, format::graph::IoType};
use fleetfoot_quantize::{Data, QuantizeError};
use serde_json::json;

use crate::{
    commands::{
        quantize::Bar,
        run::{real, values},
    },
    failure::Failure,
    models,
    output::Output,
    processing,
};

/// Measure the accuracy of a model on labelled data.
///
/// Example: fleetfoot eval ic.ff --data test.npz
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle (.ff), an int8 model (.ffm) or a raw quantized model (.tflite, .onnx).
    model: PathBuf,
    /// Samples `x` and labels `y` (.npz), or, for a bundle with preprocessing, a folder with a folder of raw inputs for each class, in the order of their
    /// names. Samples of the type of the input are taken as they are, others are numbers that
    /// are quantized as the input is.
    #[arg(long)]
    data: PathBuf,
    /// Public keys that must have signed the bundle.
    #[arg(long)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let loaded = models::load(&args.model, &args.key, output)?;
    let mut session = Session::new(loaded.model.clone(), Kernels::detect())?;
    let data = processing::open_data(&args.data, loaded.model.preprocess_section())?;
    let bar = Bar::new("evaluating", output);
    let (evaluated, correct) = correct(&mut session, &data, |_, _| Ok(()), &mut |done, of| bar.set(done, of))?;
    drop(bar);
    let accuracy = correct as f64 / evaluated as f64;
    output.result(
        || format!("{correct} of {evaluated} right ({:.2}%)", accuracy * 100.0),
        || json!({ "evaluated": evaluated, "correct": correct, "accuracy": accuracy, "agreement": null }),
    )
}

/// Samples, and how many of them the session gets right; `each` hears every sample and its label.
pub(crate) fn correct(
    session: &mut Session,
    data: &Data,
    mut each: impl FnMut(&[f32], usize) -> Result<(), QuantizeError>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<(usize, usize), Failure> {
    let model = session.model().clone();
    let engine = model.engine();
    let (input, result) =
        (engine.input(0).map_err(fleetfoot::Error::from)?, engine.output(0).map_err(fleetfoot::Error::from)?);
    if engine.inputs().len() != 1 {
        return Err(QuantizeError::Inputs { count: engine.inputs().len() }.into());
    }
    let dims: Vec<usize> = input.dims.iter().map(|&d| d as usize).collect();
    let samples = data.count(&dims)?;
    let classes = result.dims.iter().map(|&d| d as usize).product();
    let labels = data.labels(samples, classes)?;
    let as_is = match input.dtype {
        IoType::Int8 => data.is_int8(),
        IoType::UInt8 => data.is_uint8(),
        _ => false,
    };
    let (mut right, mut failed) = (0, None);
    data.each(dims.iter().product(), samples, |number, sample| {
        let label = usize::try_from(labels[number]).unwrap_or(usize::MAX);
        let bytes: Vec<u8> = sample.iter().flat_map(|&v| stored(input, v, as_is)).collect();
        if let Err(e) = session.set_input(0, &bytes).and_then(|()| session.run()) {
            failed.get_or_insert(e);
            return Ok(());
        }
        let answer = session.output(0).map(|bytes| values(result, bytes)).unwrap_or_default();
        let answer: Vec<f32> = answer.into_iter().map(|v| real(result, v)).collect();
        right += usize::from(largest(&answer) == label);
        each(sample, label)?;
        progress(number + 1, samples);
        Ok(())
    })?;
    match failed {
        Some(e) => Err(e.into()),
        None => Ok((samples, right)),
    }
}

/// The first place of the largest value.
pub(crate) fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in values.iter().enumerate() {
        if value > &values[best] {
            best = i;
        }
    }
    best
}

/// A value as the input stores it: `round(x * (1 / scale)) + zero_point`, half to even, as QUANTIZE does.
fn stored(tensor: &Tensor, value: f32, as_is: bool) -> Vec<u8> {
    let quantize = |low: f32, high: f32| {
        let v = if as_is { value } else { (value * (1.0 / tensor.scale)).round_ties_even() + tensor.zero_point as f32 };
        v.clamp(low, high) as i32
    };
    match tensor.dtype {
        IoType::Int8 => vec![quantize(-128.0, 127.0).to_le_bytes()[0]],
        IoType::UInt8 => vec![quantize(0.0, 255.0).to_le_bytes()[0]],
        IoType::Int32 => (value as i32).to_le_bytes().to_vec(),
        IoType::Int64 => (value as i64).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    }
}
