//! `quantize`: a float ONNX model becomes int8, with a report of what that costs.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_quantize::{Data, Ffm, LayerReport, Method, Options, QuantizeError, Quantized, quantize};
use fleetfoot_trust::sha256;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    arrays::write_file,
    commands::eval,
    failure::{Exit, Failure},
    models,
    output::{Output, table},
    processing,
};

/// A result above this share of the float file is worth a remark.
const SMALL: f64 = 0.27;

/// Quantize a float ONNX model to int8.
///
/// Example: fleetfoot quantize ic.onnx --data train.npz --eval test.npz --max-drop 1 -o ic.ffm
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The float model (.onnx).
    model: PathBuf,
    /// Samples of its input for calibration: .npz (array `x` or `input`) or .npy, as in its training; with --config a folder of images or .wav files, or a .csv.
    #[arg(long)]
    data: PathBuf,
    /// Settings (bundle.yaml) whose preprocessing makes samples of raw inputs.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Labelled samples (.npz with `x` and `y`): both models are compared on them.
    #[arg(long)]
    eval: Option<PathBuf>,
    /// The most percentage points of accuracy that may be lost; more is refused with exit code 5.
    #[arg(long, requires = "eval", value_parser = percentage)]
    max_drop: Option<f64>,
    /// How ranges are chosen: minmax, percentile, entropy or mse.
    #[arg(long, default_value = "mse")]
    method: Method,
    /// Leave the biases as they are, though rounding the weights shifts sums.
    #[arg(long)]
    no_bias_correction: bool,
    /// The model to write (.ffm).
    #[arg(short, long)]
    output: PathBuf,
}

/// What labelled samples say.
struct Accuracy {
    evaluated: usize,
    float: usize,
    int8: usize,
}

impl Accuracy {
    /// Percentage points that int8 is worse.
    fn drop(&self) -> f64 {
        (self.float as f64 - self.int8 as f64) * 100.0 / self.evaluated.max(1) as f64
    }
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let bytes = models::read_whole(&args.model)?;
    let kind = fleetfoot_import::recognise(&bytes);
    if kind != fleetfoot_import::FileKind::Onnx {
        let what = format!("{}: {}", args.model.display(), kind.what());
        return Err(Failure::usage(what).help(kind.way_out()));
    }
    let fault = |e: QuantizeError| Failure::of_model(e, &args.model);
    let settings = args.config.as_deref().map(processing::read_config).transpose()?;
    let preprocess = settings.and_then(|settings| settings.preprocess);
    let data = processing::open_data(&args.data, preprocess.as_deref())?;
    let eval_data = args.eval.as_deref().map(|path| processing::open_data(path, preprocess.as_deref())).transpose()?;
    let options = Options { method: args.method, bias_correction: !args.no_bias_correction };
    let bar = Bar::new("calibrating", output);
    let made = quantize(&bytes, &data, &options, &mut |done, of| bar.set(done, of)).map_err(fault)?;
    drop(bar);
    let plan = fleetfoot_plan::plan(&made.graph).map_err(|e| fault(e.into()))?;
    let model = Arc::new(Model::open_unsigned(&plan)?);
    let file = Ffm { plan, source_sha256: sha256(&bytes) }.to_bytes();
    let accuracy = eval_data.map(|data| accuracy(&made, &model, &data, output)).transpose()?;
    let ratio = file.len() as f64 / made.float_len as f64;
    let refused = accuracy.as_ref().zip(args.max_drop).filter(|(accuracy, most)| accuracy.drop() > *most);
    if refused.is_none() {
        write_file(&args.output, &file)?;
    }
    output.result(
        || report(args, &made, &file, ratio, accuracy.as_ref(), refused.is_some()),
        || {
            json!({
                "model": args.output, "float_islands": 0, "size_ratio": ratio,
                "evaluated": accuracy.as_ref().map(|a| a.evaluated),
                "float_correct": accuracy.as_ref().map(|a| a.float),
                "int8_correct": accuracy.as_ref().map(|a| a.int8),
                "sqnr_db": made.sqnr_db, "peak_rss_bytes": peak_rss_bytes(), "samples": made.samples,
                "written": refused.is_none(), "layers": made.layers.iter().map(layer).collect::<Vec<Value>>(),
            })
        },
    )?;
    if ratio > SMALL {
        output.note(&format!(
            "the result is {ratio:.2} of the float model in size: small layers have more scales than weights"
        ));
    }
    match refused {
        Some((accuracy, most)) => {
            let what = format!(
                "int8 loses {:.2} percentage points, --max-drop allows {most}: nothing was written",
                accuracy.drop()
            );
            let mut failure = Failure::new(Exit::Refused, what).help(
                "give more or better calibration data, or another --method; the layers with the lowest SQNR lose most",
            );
            failure.quiet = true;
            Err(failure)
        }
        None => Ok(()),
    }
}

fn accuracy(made: &Quantized, model: &Arc<Model>, data: &Data, output: &Output) -> Result<Accuracy, Failure> {
    let bar = Bar::new("evaluating", output);
    let mut session = Session::new(model.clone(), Kernels::detect())?;
    let reference = made.reference()?;
    let mut float = 0;
    let (evaluated, int8) = eval::correct(
        &mut session,
        data,
        |sample, label| {
            float += usize::from(eval::largest(&reference.run(sample)?.concat()) == label);
            Ok(())
        },
        &mut |done, of| bar.set(done, of),
    )?;
    Ok(Accuracy { evaluated, float, int8 })
}

fn report(
    args: &Args,
    made: &Quantized,
    file: &[u8],
    ratio: f64,
    accuracy: Option<&Accuracy>,
    refused: bool,
) -> String {
    let row = |layer: &LayerReport| {
        vec![
            layer.op.clone(),
            format!("{:.1}", layer.isolated_db),
            format!("{:.1}", layer.accumulated_db),
            format!("{:.1}%", layer.saturated * 100.0),
            layer.macs.to_string(),
            layer.bytes.to_string(),
            short(&layer.name),
        ]
    };
    let header = ["operator", "alone dB", "so far dB", "at ends", "MACs", "bytes", "value"];
    let mut text = table(&header, made.layers.iter().map(row));
    text += &format!("\nfloat islands: 0\n{} samples, SQNR of the output {:.1} dB\n", made.samples, made.sqnr_db);
    if let Some(a) = accuracy {
        let share = |n: usize| n as f64 * 100.0 / a.evaluated.max(1) as f64;
        text += &format!(
            "float: {} of {} right ({:.2}%), int8: {} ({:.2}%)\n",
            a.float,
            a.evaluated,
            share(a.float),
            a.int8,
            share(a.int8)
        );
    }
    let verb = if refused { "not written" } else { "written" };
    text + &format!("{}: {verb}, {} bytes, {ratio:.3} of the float model", args.output.display(), file.len())
}

/// The end of a long name tells more than its beginning.
fn short(name: &str) -> String {
    const MOST: usize = 48;
    match name.len().checked_sub(MOST) {
        Some(over) if over > 0 => format!("..{}", &name[name.ceil_char_boundary(over)..]),
        _ => name.to_owned(),
    }
}

fn layer(layer: &LayerReport) -> Value {
    json!({
        "name": layer.name, "op": layer.op, "isolated_db": layer.isolated_db, "accumulated_db": layer.accumulated_db,
        "saturated": layer.saturated, "macs": layer.macs, "bytes": layer.bytes,
    })
}

fn percentage(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("from 0 to 100".into()) }
}

/// The most memory that this process has had, where the system tells.
fn peak_rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

/// A bar with an end, for people at a terminal.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(what: &'static str, output: &Output) -> Self {
        if output.json || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg} [{bar:40}] {pos}/{len} {eta}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn set(&self, done: usize, of: usize) {
        self.0.set_length(of as u64);
        self.0.set_position(done as u64);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
