//! `run`: inference on files of data.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use fleetfoot::{
    Answer, Kernels, Label, Session,
    engine::{MAX_THREADS, Tensor},
    format::graph::IoType,
};
use serde_json::{Value, json};

use crate::{
    arrays::{self, Array},
    failure::Failure,
    models,
    output::{Output, table},
    processing,
};

/// How many of the highest outputs are printed.
const TOP: usize = 5;

/// Run a model on data.
///
/// Example: fleetfoot run kws.tflite --input kws.golden.npz --output y.npy
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle (.ff), an int8 model (.ffm) or a raw quantized model (.tflite, .onnx).
    model: PathBuf,
    /// Data: .npz (array `input`, or one array per input by its name) or .npy, as the model takes it. An image, a .wav or a .csv goes through the
    /// preprocessing of the bundle; without any, an image has to have the model's size.
    #[arg(long)]
    input: PathBuf,
    /// Write the raw outputs, stacked, in the model's type. Several outputs get their index before the suffix.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Instruction set, instead of the fastest of this machine.
    #[arg(long)]
    isa: Option<String>,
    /// Threads, 1 to 64; the outputs are the same for any number.
    #[arg(long, default_value_t = 1, value_parser = threads())]
    threads: u16,
    /// Public keys that must have signed the bundle.
    #[arg(long)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let kernels = kernels(args.isa.as_deref())?;
    let loaded = models::load(&args.model, &args.key, output)?;
    let model = loaded.model.clone();
    if model.preprocess().is_some() && fleetfoot_quantize::is_raw(&args.input) {
        return run_raw(args, &loaded, kernels, output);
    }
    let engine = model.engine();
    let names: Vec<String> =
        engine.graph().map_err(fleetfoot::Error::from)?.inputs().iter().map(|i| i.name.to_owned()).collect();
    let mut batches = Vec::new();
    for (name, tensor) in names.iter().zip(engine.inputs()) {
        let wanted = if names.len() == 1 { "input" } else { name };
        let array = arrays::read(&args.input, wanted)?;
        batches.push(samples(&array, name, tensor).map_err(|e| e.in_file(&args.input))?);
    }
    let n = batches.first().map_or(0, Vec::len);
    if batches.iter().any(|b| b.len() != n) {
        return Err(Failure::usage("the inputs have different numbers of samples").in_file(&args.input));
    }
    if n == 0 {
        return Err(Failure::usage("the file holds no sample").in_file(&args.input));
    }
    let mut session = Session::with_threads(model.clone(), kernels, args.threads.into())?;
    let batches: Vec<Vec<u8>> = batches.into_iter().map(|batch| batch.concat()).collect();
    let batches: Vec<&[u8]> = batches.iter().map(Vec::as_slice).collect();
    let start = Instant::now();
    let results = session.run_batch(&batches)?;
    let us = start.elapsed().as_secs_f64() * 1e6;
    write_outputs(args.output.as_deref(), engine.outputs(), &results, n)?;
    let Some((first, bytes)) = engine.outputs().first().zip(results.first()) else {
        return Err(Failure::usage("the model has no output"));
    };
    let tops: Vec<Vec<(usize, f32)>> = bytes.chunks_exact(first.span.len as usize).map(|row| top(first, row)).collect();
    let label = |i: usize| loaded.labels.get(i).cloned().unwrap_or_default();
    let people = || {
        let rows = tops.iter().enumerate().flat_map(|(sample, top)| {
            top.iter().map(move |&(i, v)| vec![sample.to_string(), i.to_string(), format!("{v:.4}"), label(i)])
        });
        format!(
            "{}\n{n} inferences, {:.1} us each, {}",
            table(&["sample", "output", "value", "label"], rows),
            us / n as f64,
            kernels.name()
        )
    };
    output.result(people, || {
        let top_json = |top: &Vec<(usize, f32)>| -> Value {
            top.iter().map(|&(i, v)| json!({ "index": i, "value": v, "label": loaded.labels.get(i) })).collect()
        };
        let outputs: Vec<Value> = (0..n).map(|sample| outputs_json(engine.outputs(), &results, sample)).collect();
        json!({ "outputs": outputs, "top": tops.iter().map(top_json).collect::<Vec<_>>(), "us": us / n as f64, "isa": kernels.name() })
    })
}

/// Raw inputs one after another, through the bundle's own preprocessing.
fn run_raw(args: &Args, loaded: &models::Loaded, kernels: Kernels, output: &Output) -> Result<(), Failure> {
    let model = loaded.model.clone();
    let inputs = processing::read(&args.input, &model)?;
    let mut session = Session::with_threads(model.clone(), kernels, args.threads.into())?;
    let prepared = processing::prepare(&mut session, &args.input, &inputs)?;
    let tensors = model.engine().outputs();
    let (mut results, mut answers) = (vec![Vec::new(); tensors.len()], Vec::new());
    let start = Instant::now();
    for input in &prepared {
        session.set_input(0, input)?;
        session.run()?;
        for (index, result) in results.iter_mut().enumerate() {
            result.extend_from_slice(session.output(index)?);
        }
        answers.push(match model.postprocess() {
            Some(_) => session.answer()?,
            None => plain_answer(&session, loaded)?,
        });
    }
    let (n, us) = (inputs.len(), start.elapsed().as_secs_f64() * 1e6 / inputs.len() as f64);
    write_outputs(args.output.as_deref(), tensors, &results, n)?;
    let people = || {
        let rows = answers.iter().enumerate().flat_map(|(sample, answer)| {
            processing::rows(answer).into_iter().map(move |row| [vec![sample.to_string()], row].concat())
        });
        format!("{}\n{n} inferences, {us:.1} us each, {}", table(&["sample", "answer", "value"], rows), kernels.name())
    };
    output.result(people, || {
        let outputs: Vec<Value> = (0..n).map(|sample| outputs_json(tensors, &results, sample)).collect();
        let top: Vec<Value> = answers.iter().map(processing::json).collect();
        json!({ "outputs": outputs, "top": top, "us": us, "isa": kernels.name() })
    })
}

/// The highest values of the first output, for a bundle that says nothing of answers.
fn plain_answer(session: &Session, loaded: &models::Loaded) -> Result<Answer, Failure> {
    let first = session.model().engine().output(0).map_err(fleetfoot::Error::from)?;
    let label = |(index, score)| Label { index, score, label: loaded.labels.get(index).cloned() };
    Ok(Answer::Classes(top(first, session.output(0)?).into_iter().map(label).collect()))
}

fn write_outputs(path: Option<&Path>, tensors: &[Tensor], results: &[Vec<u8>], n: usize) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    for (index, (tensor, bytes)) in tensors.iter().zip(results).enumerate() {
        let path = if index == 0 { path.to_owned() } else { path.with_extension(format!("{index}.npy")) };
        arrays::write_npy(&path, tensor.dtype.name(), &stacked(tensor, n), bytes)?;
    }
    Ok(())
}

/// The values of `--threads`.
pub(crate) fn threads() -> impl clap::builder::TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=MAX_THREADS as i64)
}

/// The kernels called `name`, or the fastest here.
pub(crate) fn kernels(name: Option<&str>) -> Result<Kernels, Failure> {
    let Some(name) = name else { return Ok(Kernels::detect()) };
    Kernels::by_name(name).ok_or_else(|| {
        let have: Vec<&str> = Kernels::available().map(Kernels::name).collect();
        Failure::usage(format!("--isa {name}: this machine has {}", have.join(", ")))
    })
}

/// The samples of `array` for the input `tensor`: one, or as many as its first dimension says.
pub(crate) fn samples(array: &Array, name: &str, tensor: &Tensor) -> Result<Vec<Vec<u8>>, Failure> {
    let dims: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
    let inner = if dims.first() == Some(&1) { &dims[1..] } else { &dims[..] };
    let shape = &array.shape[..];
    let n = if shape == dims || shape == inner {
        1
    } else if shape.len() == inner.len() + 1 && &shape[1..] == inner && dims.first() == Some(&1)
        || shape.len() == dims.len() + 1 && shape[1..] == dims
    {
        shape[0]
    } else {
        return Err(Failure::usage(format!("'{name}' has shape {dims:?}, the array has {shape:?}"))
            .help(format!("give {inner:?}, or [N, ...] of it for N samples")));
    };
    let bytes = if array.dtype == "pixels" && tensor.dtype.quantized().is_some() {
        // An image: raw pixels for uint8 inputs, less 128 for int8 ones.
        let flip = if tensor.dtype == IoType::Int8 { 0x80 } else { 0 };
        array.bytes.iter().map(|b| b ^ flip).collect()
    } else if array.dtype == tensor.dtype.name() {
        array.bytes.clone()
    } else {
        let (scale, zero_point) = (tensor.scale, tensor.zero_point);
        return Err(Failure::usage(format!("'{name}' is {}, the array is {}", tensor.dtype.name(), array.dtype)).help(
            match tensor.dtype.quantized() {
                Some(dtype) => {
                    format!("quantize it: round(x / {scale}) + {zero_point}, clipped to {:?}", dtype.range())
                }
                None => format!("convert it: x.astype(np.{})", tensor.dtype.name()),
            },
        ));
    };
    let len = tensor.span.len as usize;
    Ok(bytes.chunks_exact(len).take(n).map(<[u8]>::to_vec).collect())
}

/// The elements of `bytes` as `tensor` stores them; quantized ones are not scaled.
pub(crate) fn values(tensor: &Tensor, bytes: &[u8]) -> Vec<f64> {
    match tensor.dtype {
        IoType::Int8 => bytes.iter().map(|b| f64::from(b.cast_signed())).collect(),
        IoType::Float32 => bytes.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
        IoType::Int32 => bytes.as_chunks().0.iter().map(|&b| f64::from(i32::from_le_bytes(b))).collect(),
        // Indices: far below what a float holds.
        IoType::Int64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
        _ => bytes.iter().map(|&b| f64::from(b)).collect(),
    }
}

/// Real value of an element.
pub(crate) fn real(tensor: &Tensor, value: f64) -> f32 {
    (value - f64::from(tensor.zero_point)) as f32 * tensor.scale
}

fn top(tensor: &Tensor, row: &[u8]) -> Vec<(usize, f32)> {
    let values = values(tensor, row);
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order.truncate(TOP);
    order.into_iter().map(|i| (i, real(tensor, values[i]))).collect()
}

fn stacked(tensor: &Tensor, n: usize) -> Vec<usize> {
    let dims = tensor.dims.iter().map(|&d| d as usize);
    let inner = dims.skip(usize::from(tensor.dims.first() == Some(&1)));
    std::iter::once(n).chain(inner).collect()
}

fn outputs_json(tensors: &[Tensor], results: &[Vec<u8>], sample: usize) -> Value {
    let one = |(tensor, bytes): (&Tensor, &Vec<u8>)| -> Value {
        let len = tensor.span.len as usize;
        let number = |v: f64| if tensor.dtype == IoType::Float32 { json!(v) } else { json!(v as i64) };
        values(tensor, &bytes[sample * len..][..len]).into_iter().map(number).collect()
    };
    let all: Vec<Value> = tensors.iter().zip(results).map(one).collect();
    match <[Value; 1]>::try_from(all) {
        Ok([only]) => only,
        Err(all) => Value::Array(all),
    }
}
