//! `bench`: how long a model takes on this machine: warm, layer by layer (`layers`), or from nothing (`cold`).

mod cold;
mod layers;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use fleetfoot::Session;
use serde_json::json;

use self::{
    cold::Cold,
    layers::{PerOp, Step},
};
use crate::{
    commands::run::{kernels, threads},
    failure::Failure,
    models,
    output::Output,
};

/// Measure a model on this machine, on one thread unless told otherwise.
///
/// Example: fleetfoot bench kws.tflite --runs 500 --per-op
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle (.ff), an int8 model (.ffm) or a raw quantized model (.tflite, .onnx).
    model: PathBuf,
    /// Measured inferences.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Inferences before the measured ones.
    #[arg(long, default_value_t = 20)]
    warmup: u32,
    /// Threads, 1 to 64.
    #[arg(long, default_value_t = 1, value_parser = threads())]
    threads: u16,
    /// Instruction set, instead of the fastest of this machine.
    #[arg(long)]
    isa: Option<String>,
    /// Time every layer, and compare it with the best that this core can do.
    #[arg(long)]
    per_op: bool,
    /// Time verifying, loading and the first inference instead, each run in a new process.
    #[arg(long, conflicts_with = "per_op")]
    cold: bool,
    /// One round of --cold, in this process.
    #[arg(long, hide = true)]
    cold_round: bool,
    /// Public keys that must have signed the bundle.
    #[arg(long)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    if args.cold_round {
        return cold::round(args, output);
    }
    let kernels = kernels(args.isa.as_deref())?;
    let start = Instant::now();
    let loaded = models::load(&args.model, &args.key, output)?;
    let mut session = Session::with_threads(loaded.model.clone(), kernels, args.threads.into())?;
    let mut load_us = micros(start.elapsed());
    fill(&mut session)?;
    let start = Instant::now();
    session.run()?;
    let mut first_us = micros(start.elapsed());

    let records = loaded.model.engine().records();
    let steps: Vec<Step> = records
        .map(|r| Step { name: r.name.to_owned(), op: r.step.op(), macs: r.step.macs(), bytes: r.step.bytes() })
        .collect();
    let macs: u64 = steps.iter().map(|step| step.macs).sum();
    let cold = args.cold.then(|| Cold::measure(args)).transpose()?;
    let (min, p50, p99) = match &cold {
        Some(cold) => {
            (load_us, first_us) = (cold.p50_us(&["verify", "load", "session"]), cold.p50_us(&["first"]));
            (cold.sum.min, cold.sum.p50, cold.sum.p99)
        }
        None => warm(&mut session, args)?,
    };
    let per_op = args.per_op.then(|| PerOp::measure(&mut session, steps.len(), args.runs)).transpose()?;
    let (arena_bytes, n_threads) = (session.arena_len(), session.threads());
    let name =
        loaded.info.as_ref().map_or_else(|| args.model.display().to_string(), |i| format!("{} {}", i.model, i.version));
    let people = || {
        let mut text = format!(
            "{name}, {}, {n_threads} thread{}, {macs} MACs, arena {arena_bytes} bytes, weights {} bytes\n",
            kernels.name(),
            if n_threads == 1 { "" } else { "s" },
            loaded.weights_len
        );
        if let Some(cold) = &cold {
            return text + &format!("{} new processes, from the file to the first answer\n", args.runs) + &cold.text();
        }
        text += &format!("load {load_us:.0} us, first inference {first_us:.0} us\n");
        let (runs, rate) = (args.runs, macs as f64 / min / 1e3);
        text += &format!("{runs} runs: min {min:.1} us, p50 {p50:.1} us, p99 {p99:.1} us ({rate:.1} GMAC/s at best)\n");
        text + &per_op.as_ref().map_or(String::new(), |per_op| per_op.text(&steps))
    };
    output.result(people, || {
        let (layers, summary) = per_op.as_ref().map_or_else(Default::default, |per_op| per_op.json(&steps));
        json!({
            "model": name, "isa": kernels.name(), "threads": n_threads, "runs": args.runs,
            "min_us": min, "p50_us": p50, "p99_us": p99, "load_us": load_us, "first_us": first_us,
            "arena_bytes": arena_bytes, "weights_bytes": loaded.weights_len, "macs": macs,
            "layers": layers, "per_op": summary, "cold": cold.as_ref().map(Cold::json),
        })
    })
}

/// Least, median and 99th percentile of warm runs.
fn warm(session: &mut Session, args: &Args) -> Result<(f64, f64, f64), Failure> {
    for _ in 0..args.warmup {
        fill(session)?;
        session.run()?;
    }
    let mut times = Vec::with_capacity(args.runs as usize);
    for _ in 0..args.runs {
        fill(session)?;
        let start = Instant::now();
        session.run()?;
        times.push(micros(start.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    Ok((percentile(&times, 0), percentile(&times, 50), percentile(&times, 99)))
}

/// A run may overwrite its inputs; the pattern keeps the work that of real data.
fn fill(session: &mut Session) -> Result<(), Failure> {
    for index in 0..session.model().engine().inputs().len() {
        let bytes = session.input_mut(index)?;
        bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i as u8).wrapping_mul(37));
    }
    Ok(())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of sorted values, by the nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
