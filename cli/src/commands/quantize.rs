//! `quantize`: a float ONNX model becomes int8, with a report of what that costs and how to mend it.

use std::{io::IsTerminal as _, path::PathBuf, sync::Arc};

use fleetfoot::Model;
use fleetfoot_quantize::{
    Accuracy, Applied, BiasCorrection, Cause, Data, Ffm, LayerReport, Method, Options, Page, QuantizeError, Quantized,
    Speed, mend, quantize,
};
use fleetfoot_trust::sha256;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{
    arrays::write_file,
    commands::eval::{self, Answers},
    failure::{Exit, Failure},
    models,
    output::{Output, table},
    processing,
};

/// A result above this share of the float file is worth a remark.
const SMALL: f64 = 0.27;
/// And so is one that is not this many times as fast.
const FAST: f64 = 2.0;

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
    /// What biases make up for: off, analytic (rounded weights) or empirical (what the int8 model was seen to read).
    #[arg(long, default_value = "analytic")]
    bias_correction: BiasCorrection,
    /// Make channels between two layers alike, without a change of the float model's results.
    #[arg(long)]
    equalise: bool,
    /// One scale for all weights of a layer, instead of one for each output channel.
    #[arg(long)]
    per_tensor: bool,
    /// Do what the report asks for, as long as the output gets truer.
    #[arg(long)]
    apply: bool,
    /// Leave float operators at the end of the model to the application; without this they are refused.
    #[arg(long)]
    allow_float: bool,
    /// Write the report as one page of HTML.
    #[arg(long)]
    report: Option<PathBuf>,
    /// The model to write (.ffm).
    #[arg(short, long)]
    output: PathBuf,
}

/// Causes that are printed with what to do.
const CAUSES: usize = 3;

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
    let options = Options {
        method: args.method,
        bias_correction: args.bias_correction,
        per_channel: !args.per_tensor,
        equalise: args.equalise,
        allow_float: args.allow_float,
        levels: processing::takes_levels(preprocess.as_deref()),
    };
    let bar = Bar::new("calibrating", output);
    let progress = &mut |done, of| bar.set(done, of);
    let (made, applied) = if args.apply {
        mend(&bytes, &data, &options, progress).map_err(fault)?
    } else {
        (quantize(&bytes, &data, &options, progress).map_err(fault)?, Vec::new())
    };
    drop(bar);
    let plan = fleetfoot_plan::plan(&made.graph).map_err(|e| fault(e.into()))?;
    let model = Arc::new(Model::open_unsigned(&plan)?);
    let speed = Speed::measure(&made.reference()?, &plan, &made.layers, &made.kept[0]).map_err(fault)?;
    let source_sha256 = sha256(&bytes);
    let file = Ffm { plan, source_sha256, data_sha256: made.data_sha256, config: made.options.text() }.to_bytes();
    let accuracy = match &eval_data {
        Some(_) if !made.islands.is_empty() => {
            return Err(Failure::usage("--eval compares answers, and these are computed behind the float islands")
                .help("leave out --eval, and compare them in the application"));
        }
        Some(data) => Some(accuracy(&made, &model, data, preprocess.as_deref(), output)?),
        None => None,
    };
    let result = Outcome { args, made: &made, applied: &applied, len: file.len(), accuracy, speed };
    let refused = accuracy.as_ref().zip(args.max_drop).filter(|(accuracy, most)| accuracy.drop() > *most);
    if let Some(path) = &args.report {
        let source = args.model.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let page = Page {
            source: &source,
            source_sha256,
            tool: concat!("fleetfoot ", env!("CARGO_PKG_VERSION")),
            made: &made,
            int8_len: file.len(),
            accuracy,
            speed: Some(speed),
            applied: &applied,
        };
        write_file(path, page.to_html().as_bytes())?;
    }
    if refused.is_none() {
        write_file(&args.output, &file)?;
    }
    output.result(|| result.text(refused.is_some()), || result.json(refused.is_none()))?;
    result.warn(output);
    match refused {
        Some((accuracy, most)) => {
            let what = format!(
                "int8 loses {:.2} percentage points, --max-drop allows {most}: nothing was written",
                accuracy.drop()
            );
            let mut failure = Failure::new(Exit::Refused, what).help(
                "try --apply, give more or better calibration data, or another --method; the layers with the lowest SQNR lose most",
            );
            failure.quiet = true;
            Err(failure)
        }
        None => Ok(()),
    }
}

fn accuracy(
    made: &Quantized,
    model: &Arc<Model>,
    data: &Data,
    section: Option<&[u8]>,
    output: &Output,
) -> Result<Accuracy, Failure> {
    let bar = Bar::new("evaluating", output);
    let model = if data.is_raw() { processing::with_section(model.clone(), section)? } else { model.clone() };
    let mut answers = Answers::new(model)?;
    let shape = answers.shape()?;
    let evaluated = data.count(&shape)?;
    let labels = data.labels(evaluated, answers.classes()?)?;
    let all = 2 * evaluated;
    let right =
        |decisions: Vec<usize>| decisions.iter().zip(&labels).filter(|(d, label)| **d as i64 == **label).count();
    let int8 = right(answers.decisions(data, &shape, evaluated, &mut |done| bar.set(done, all))?);
    let progress = &mut |done: usize| bar.set(evaluated + done, all);
    let reference = made.reference()?;
    let float = right(eval::float_decisions(&reference, data.path(), section, &shape, evaluated, progress)?);
    Ok(Accuracy { evaluated, float, int8 })
}

/// What is shown.
struct Outcome<'a> {
    args: &'a Args,
    made: &'a Quantized,
    applied: &'a [Applied],
    /// Bytes of the file.
    len: usize,
    accuracy: Option<Accuracy>,
    speed: Speed,
}

impl Outcome<'_> {
    fn ratio(&self) -> f64 {
        self.len as f64 / self.made.float_len as f64
    }

    fn text(&self, refused: bool) -> String {
        let row = |layer: &LayerReport| {
            vec![
                layer.rank.to_string(),
                layer.op.clone(),
                format!("{:.1}", layer.isolated_db),
                format!("{:.1}", layer.accumulated_db),
                format!("{:.2}%", layer.saturated * 100.0),
                format!("{:.1}", layer.channel_ratio),
                layer.macs.to_string(),
                layer.bytes.to_string(),
                layer.causes.first().map_or("", Cause::name).to_owned(),
                short(&layer.name),
            ]
        };
        let header =
            ["rank", "operator", "alone dB", "so far dB", "cut off", "channels", "MACs", "bytes", "cause", "value"];
        let mut text = table(&header, self.made.layers.iter().map(row)) + "\n";
        let mut worst: Vec<&LayerReport> = self.made.layers.iter().filter(|l| !l.causes.is_empty()).collect();
        worst.sort_by_key(|layer| layer.rank);
        for layer in worst.into_iter().take(CAUSES) {
            for cause in &layer.causes {
                text += &format!("\n{} ({}): {cause}\n  help: {}", short(&layer.name), layer.op, cause.advice());
            }
        }
        for a in self.applied {
            let verb = if a.kept { "kept" } else { "left out" };
            text += &format!("\n{verb}: {}, {:.1} dB before, {:.1} dB with it", a.fix, a.before_db, a.after_db);
        }
        text += &format!("\nfloat islands: {}", self.made.islands.len());
        for name in &self.made.islands {
            text += &format!("\n  {name}: cut off, the application computes it");
        }
        let (samples, db) = (self.made.samples, self.made.sqnr_db);
        text += &format!("\n{samples} samples, SQNR of the output {db:.1} dB\n");
        if let Some(a) = self.accuracy {
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
        let (speed, ratio) = (self.speed, self.speed.ratio());
        text += &format!(
            "int8 {:.0} us, float {:.0} us: {ratio:.1} times as fast here, {:.1} predicted\n",
            speed.int8_us, speed.float_us, speed.predicted
        );
        if let Some(page) = &self.args.report {
            text += &format!("report: {}\n", page.display());
        }
        let verb = if refused { "not written" } else { "written" };
        text + &format!(
            "{}: {verb}, {} bytes, {:.3} of the float model",
            self.args.output.display(),
            self.len,
            self.ratio()
        )
    }

    fn json(&self, written: bool) -> Value {
        let (accuracy, speed) = (self.accuracy, self.speed);
        let applied = |a: &Applied| json!({ "fix": a.fix.to_string(), "before_db": a.before_db, "after_db": a.after_db, "kept": a.kept });
        json!({
            "model": self.args.output, "float_islands": self.made.islands.len(), "size_ratio": self.ratio(),
            "evaluated": accuracy.map(|a| a.evaluated), "float_correct": accuracy.map(|a| a.float),
            "int8_correct": accuracy.map(|a| a.int8), "sqnr_db": self.made.sqnr_db,
            "peak_rss_bytes": peak_rss_bytes(), "samples": self.made.samples, "written": written,
            "islands": self.made.islands, "config": self.made.options.text(),
            "data_sha256": fleetfoot::hex(&self.made.data_sha256),
            "speed": { "float_us": speed.float_us, "int8_us": speed.int8_us, "ratio": speed.ratio(), "predicted": speed.predicted },
            "applied": self.applied.iter().map(applied).collect::<Vec<Value>>(),
            "layers": self.made.layers.iter().map(layer).collect::<Vec<Value>>(),
        })
    }

    /// Where the result is not what int8 is for.
    fn warn(&self, output: &Output) {
        let (size, speed) = (self.ratio(), self.speed.ratio());
        if size > SMALL {
            output.note(&format!(
                "the result is {size:.2} of the float model in size: small layers have more scales than weights"
            ));
        }
        if speed < FAST {
            output.note(&format!(
                "the result is only {speed:.1} times as fast as float here: see the bytes of its layers"
            ));
        }
    }
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
    let cause = |cause: &Cause| json!({ "name": cause.name(), "what": cause.to_string(), "help": cause.advice(), "fix": cause.fix().map(|f| f.to_string()) });
    json!({
        "rank": layer.rank, "shifted": layer.shifted, "channel_ratio": layer.channel_ratio, "range": layer.range,
        "reads": layer.reads, "causes": layer.causes.iter().map(cause).collect::<Vec<Value>>(),
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
