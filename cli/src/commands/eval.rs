//! `eval`: how many labelled samples a model gets right, and how often it agrees with another.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fleetfoot::{Kernels, Model, Session, engine::Tensor, format::graph::IoType};
use fleetfoot_quantize::{Data, QuantizeError, Reference};
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
    /// Another model (float .onnx, or anything that `run` takes) whose answers this one should give; then labels may be absent.
    #[arg(long)]
    teacher: Option<PathBuf>,
    /// Public keys that must have signed the bundle.
    #[arg(long)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let loaded = models::load(&args.model, &args.key, output)?;
    let section = loaded.model.preprocess_section();
    let mut student = Answers::new(loaded.model.clone())?;
    let teacher = args.teacher.as_deref().map(|path| Teacher::open(path, section, args, output)).transpose()?;
    let data = processing::open_data(&args.data, section)?;
    let shape = student.shape()?;
    let samples = data.count(&shape)?;
    let labels = match data.labels(samples, student.classes()?) {
        Err(QuantizeError::NoArray { .. }) if teacher.is_some() => None,
        labels => Some(labels?),
    };
    let bar = Bar::new("evaluating", output);
    let all = if teacher.is_some() { 2 * samples } else { samples };
    let decisions = student.decisions(&data, &shape, samples, &mut |done| bar.set(done, all))?;
    let right = labels.iter().flatten().zip(&decisions).filter(|(label, answer)| **label == **answer as i64).count();
    let progress = &mut |done: usize| bar.set(samples + done, all);
    let taught = match teacher {
        Some(Teacher::Float(reference)) => {
            Some(float_decisions(&reference, &args.data, section, &shape, samples, progress)?)
        }
        Some(Teacher::Int8(mut answers)) => {
            let own = processing::open_data(&args.data, answers.model().preprocess_section())?;
            Some(answers.decisions(&own, &shape, samples, progress)?)
        }
        None => None,
    };
    let agreed = taught.iter().flatten().zip(&decisions).filter(|(theirs, ours)| theirs == ours).count();
    drop(bar);
    let share = |n: usize| n as f64 / samples as f64;
    let people = || {
        let mut lines = Vec::new();
        if labels.is_some() {
            lines.push(format!("{right} of {samples} right ({:.2}%)", share(right) * 100.0));
        }
        if let Some(path) = &args.teacher {
            let percent = share(agreed) * 100.0;
            lines.push(format!("{agreed} of {samples} answers are those of {} ({percent:.2}%)", path.display()));
        }
        lines.join("\n")
    };
    output.result(people, || {
        json!({
            "evaluated": samples, "correct": labels.is_some().then_some(right),
            "accuracy": labels.is_some().then(|| share(right)), "agreement": taught.is_some().then(|| share(agreed)),
        })
    })
}

/// A model whose answers are compared with.
enum Teacher {
    Float(Reference),
    Int8(Answers),
}

impl Teacher {
    /// A model without preprocessing of its own is given `section`.
    fn open(path: &Path, section: Option<&[u8]>, args: &Args, output: &Output) -> Result<Self, Failure> {
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("onnx")) {
            match Reference::of_onnx(&models::read_whole(path)?) {
                // A quantized one runs in the engine.
                Err(QuantizeError::Quantized) => {}
                reference => return Ok(Self::Float(reference.map_err(|e| Failure::of_model(e, path))?)),
            }
        }
        let model = models::load(path, &args.key, output)?.model;
        // Where all samples are prepared already, nobody asks for it.
        let raw = processing::is_raw_data(&args.data);
        let model = if raw { processing::with_section(model, section).map_err(|e| e.in_file(path))? } else { model };
        Ok(Self::Int8(Answers::new(model)?))
    }
}

/// The class that a float network gives for each sample of the file `path`, which has the shape `shape`; raw inputs become its real numbers as `section`
/// says.
pub(crate) fn float_decisions(
    reference: &Reference,
    path: &Path,
    section: Option<&[u8]>,
    shape: &[usize],
    samples: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<usize>, Failure> {
    // Opened anew: raw inputs get the shape of the float network, where channels may lie elsewhere.
    let data = processing::open_data(path, section)?;
    let shape = if data.is_raw() { reference.shape() } else { shape };
    if data.is_raw() {
        data.count(shape)?;
    }
    let mut decisions = Vec::with_capacity(samples);
    each(&data, samples, shape, |number, sample| {
        decisions.push(largest(&reference.run(sample)?.concat()));
        progress(number + 1);
        Ok(())
    })?;
    Ok(decisions)
}

/// A model that answers samples.
pub(crate) struct Answers {
    session: Session,
}

impl Answers {
    pub(crate) fn new(model: Arc<Model>) -> Result<Self, Failure> {
        let inputs = model.engine().inputs().len();
        if inputs != 1 {
            return Err(QuantizeError::Inputs { count: inputs }.into());
        }
        Ok(Self { session: Session::new(model, Kernels::detect())? })
    }

    fn tensors(&self) -> Result<(Tensor, Tensor), Failure> {
        let engine = self.session.model().engine();
        let fault = fleetfoot::Error::from;
        Ok((engine.input(0).map_err(fault)?.clone(), engine.output(0).map_err(fault)?.clone()))
    }

    /// Shape of the input.
    pub(crate) fn shape(&self) -> Result<Vec<usize>, Failure> {
        Ok(self.tensors()?.0.dims.iter().map(|&d| d as usize).collect())
    }

    /// Elements of the output.
    pub(crate) fn classes(&self) -> Result<usize, Failure> {
        Ok(self.tensors()?.1.dims.iter().map(|&d| d as usize).product())
    }

    pub(crate) fn model(&self) -> &Model {
        self.session.model()
    }

    /// The class that it gives for each sample, which has the shape `shape`. It prepares raw inputs itself, as on a device.
    pub(crate) fn decisions(
        &mut self,
        data: &Data,
        shape: &[usize],
        samples: usize,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<usize>, Failure> {
        let mut decisions = Vec::with_capacity(samples);
        if data.is_raw() {
            data.each_raw(samples, |number, path, input| {
                processing::set(&mut self.session, path, input)?;
                decisions.push(largest(&self.finish()?));
                progress(number + 1);
                Ok::<_, Failure>(())
            })?;
            return Ok(decisions);
        }
        each(data, samples, shape, |number, sample| {
            decisions.push(largest(&self.answer(sample, data)?));
            progress(number + 1);
            Ok(())
        })?;
        Ok(decisions)
    }

    /// The real values of output 0 for a sample that is prepared.
    fn answer(&mut self, sample: &[f32], data: &Data) -> Result<Vec<f32>, Failure> {
        let (input, _) = self.tensors()?;
        let as_is = match input.dtype {
            IoType::Int8 => data.is_int8(),
            IoType::UInt8 => data.is_uint8(),
            _ => false,
        };
        let bytes: Vec<u8> = sample.iter().flat_map(|&v| stored(&input, v, as_is)).collect();
        self.session.set_input(0, &bytes)?;
        self.finish()
    }

    fn finish(&mut self) -> Result<Vec<f32>, Failure> {
        let (_, result) = self.tensors()?;
        self.session.run()?;
        let answer = values(&result, self.session.output(0)?);
        Ok(answer.into_iter().map(|v| real(&result, v)).collect())
    }
}

/// Gives all samples, one after another; the first failure ends it.
fn each(
    data: &Data,
    samples: usize,
    shape: &[usize],
    mut then: impl FnMut(usize, &[f32]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut failed = None;
    data.each(shape.iter().product(), samples, |number, sample| {
        if failed.is_none() {
            failed = then(number, sample).err();
        }
        Ok(())
    })?;
    failed.map_or(Ok(()), Err)
}

/// The first place of the largest value.
fn largest(values: &[f32]) -> usize {
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
