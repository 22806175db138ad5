//! `diff`: what changes for a device and for its users when one model takes the place of another.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fleetfoot::{Kernels, Session};
use fleetfoot_quantize::{Data, QuantizeError};
use serde_json::{Value, json};

use crate::{
    commands::{eval::Answers, quantize::Bar},
    failure::Failure,
    models::{self, Loaded},
    output::{Output, table},
    processing,
};

/// Compare two models: decisions that flip, time, memory, bytes.
///
/// Example: fleetfoot diff kws-1.2.0.ff kws-1.3.0.ff --data test.npz
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The model that is there: a bundle (.ff), an int8 model (.ffm) or a raw quantized model (.tflite, .onnx).
    a: PathBuf,
    /// The one that would take its place.
    b: PathBuf,
    /// Samples `x`, and labels `y` if there are some (.npz), or, for bundles with preprocessing, raw inputs: a folder of them (with a folder for each class
    /// there are labels) or a file. Both models answer them, each prepares raw inputs as its own bundle says.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Public keys that must have signed the bundles.
    #[arg(long)]
    key: Vec<PathBuf>,
}

/// The clock is looked at for no longer than this.
const MOST: Duration = Duration::from_millis(800);
/// Flipped decisions that are named.
const NAMED: usize = 10;

/// What one of the two takes.
struct Side {
    loaded: Loaded,
    file_bytes: u64,
    arena_bytes: usize,
    macs: u64,
    steps: usize,
    us: f64,
}

/// What samples say.
#[derive(Default)]
struct Answered {
    samples: usize,
    flipped: Vec<(usize, usize, usize)>,
    /// Right in each, right only in B, right only in A.
    labelled: Option<[usize; 4]>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let (mut a, mut b) = (Side::open(&args.a, args, output)?, Side::open(&args.b, args, output)?);
    (a.us, b.us) = times(&a.loaded, &b.loaded)?;
    let answered = args
        .data
        .as_deref()
        .map(|path| answer(path, [&a.loaded, &b.loaded], [&args.a, &args.b], output))
        .transpose()?;
    let label = |side: &Side, i: usize| side.loaded.labels.get(i).cloned().unwrap_or_else(|| i.to_string());
    let people = || {
        let row = |what: &str, a: f64, b: f64| {
            let change = if a == b { "same".into() } else { format!("{:+.1}%", (b / a - 1.0) * 100.0) };
            let digits = usize::from(what.ends_with("us"));
            vec![what.into(), format!("{a:.digits$}"), format!("{b:.digits$}"), change]
        };
        let rows = [
            row("bytes of the file", a.file_bytes as f64, b.file_bytes as f64),
            row("bytes of weights", a.loaded.weights_len as f64, b.loaded.weights_len as f64),
            row("bytes of memory (arena)", a.arena_bytes as f64, b.arena_bytes as f64),
            row("multiply-accumulates", a.macs as f64, b.macs as f64),
            row("steps", a.steps as f64, b.steps as f64),
            row("least time here, us", a.us, b.us),
        ];
        let mut text = table(&["", &args.a.display().to_string(), &args.b.display().to_string(), "change"], rows);
        let Some(found) = &answered else { return text };
        let share = |n: usize| n as f64 * 100.0 / found.samples.max(1) as f64;
        let flipped = found.flipped.len();
        text += &format!("\n\n{flipped} of {} decisions flip ({:.2}%)\n", found.samples, share(flipped));
        if let Some([in_a, in_b, only_b, only_a]) = found.labelled {
            text += &format!("right: {in_a} and {in_b}; {only_b} become right, {only_a} become wrong\n");
        }
        for &(sample, from, to) in found.flipped.iter().take(NAMED) {
            text += &format!("  sample {sample}: {} becomes {}\n", label(&a, from), label(&b, to));
        }
        if flipped > NAMED { text + &format!("  and {} more", flipped - NAMED) } else { text }
    };
    output.result(people, || {
        let flips = |found: &Answered| -> Vec<Value> {
            found.flipped.iter().map(|&(sample, from, to)| json!({ "sample": sample, "a": from, "b": to })).collect()
        };
        let labelled = answered.as_ref().and_then(|found| found.labelled);
        json!({
            "a": a.json(), "b": b.json(), "evaluated": answered.as_ref().map(|found| found.samples),
            "flipped": answered.as_ref().map(|found| found.flipped.len()), "flips": answered.as_ref().map(flips),
            "a_correct": labelled.map(|l| l[0]), "b_correct": labelled.map(|l| l[1]),
            "became_right": labelled.map(|l| l[2]), "became_wrong": labelled.map(|l| l[3]),
        })
    })
}

impl Side {
    fn open(path: &Path, args: &Args, output: &Output) -> Result<Self, Failure> {
        let loaded = models::load(path, &args.key, output)?;
        let file_bytes = std::fs::metadata(path).map_err(|e| Failure::io("open", path, &e))?.len();
        let steps = loaded.model.engine().records().count();
        let macs = loaded.model.engine().records().map(|record| record.step.macs()).sum();
        let arena_bytes = loaded.model.arena_len(Kernels::detect());
        Ok(Self { loaded, file_bytes, arena_bytes, macs, steps, us: 0.0 })
    }

    fn json(&self) -> Value {
        json!({
            "model": self.loaded.info.as_ref().map(|i| format!("{} {}", i.model, i.version)), "bytes": self.file_bytes,
            "weights_bytes": self.loaded.weights_len, "arena_bytes": self.arena_bytes, "macs": self.macs,
            "steps": self.steps, "us": self.us,
        })
    }
}

/// The least time of an inference of each, taken in turn: what else the machine does adds to both.
fn times(a: &Loaded, b: &Loaded) -> Result<(f64, f64), Failure> {
    let session = |loaded: &Loaded| Session::new(loaded.model.clone(), Kernels::detect());
    let mut sessions = [session(a)?, session(b)?];
    let mut least = [Duration::MAX; 2];
    let start = Instant::now();
    for round in 0..1000 {
        for (session, least) in sessions.iter_mut().zip(&mut least) {
            let before = Instant::now();
            session.run()?;
            *least = before.elapsed().min(*least);
        }
        if round > 3 && start.elapsed() > MOST {
            break;
        }
    }
    let [a, b] = least.map(|time| time.as_secs_f64() * 1e6);
    Ok((a, b))
}

fn answer(path: &Path, [a, b]: [&Loaded; 2], files: [&Path; 2], output: &Output) -> Result<Answered, Failure> {
    let (mut first, mut second) = if processing::is_raw_data(path) {
        // A model without preprocessing is given that of the other.
        let sections = [a, b].map(|side| side.model.preprocess_section());
        let of = |side: &Loaded, other: Option<&[u8]>, file: &Path| {
            processing::with_section(side.model.clone(), other).map_err(|e| e.in_file(file)).and_then(Answers::new)
        };
        (of(a, sections[1], files[0])?, of(b, sections[0], files[1])?)
    } else {
        (Answers::new(a.model.clone())?, Answers::new(b.model.clone())?)
    };
    let (one, other) = (data(path, &first)?, data(path, &second)?);
    let shape = first.shape()?;
    if !one.is_raw() && shape != second.shape()? {
        let what = format!("the inputs differ: {shape:?} and {:?}: no data fits both models", second.shape()?);
        return Err(Failure::usage(what).help("leave out --data"));
    }
    let samples = one.count(&shape)?;
    let labels = match one.labels(samples, first.classes()?.max(second.classes()?)) {
        Err(QuantizeError::NoArray { .. }) => None,
        labels => Some(labels?),
    };
    let bar = Bar::new("comparing", output);
    let in_a = first.decisions(&one, &shape, samples, &mut |done| bar.set(done, 2 * samples))?;
    let in_b = second.decisions(&other, &shape, samples, &mut |done| bar.set(samples + done, 2 * samples))?;
    let pairs = in_a.into_iter().zip(in_b);
    let mut found = Answered { samples, labelled: labels.as_ref().map(|_| [0; 4]), ..Answered::default() };
    for (number, (one, other)) in pairs.enumerate() {
        if one != other {
            found.flipped.push((number, one, other));
        }
        if let (Some(labels), Some(counts)) = (&labels, &mut found.labelled) {
            let right = |answer: usize| labels[number] == answer as i64;
            let (in_a, in_b) = (right(one), right(other));
            for (count, yes) in counts.iter_mut().zip([in_a, in_b, in_b && !in_a, in_a && !in_b]) {
                *count += usize::from(yes);
            }
        }
    }
    Ok(found)
}

/// The samples as one of the two takes them.
fn data(path: &Path, answers: &Answers) -> Result<Data, Failure> {
    processing::open_data(path, answers.model().preprocess_section())
}
