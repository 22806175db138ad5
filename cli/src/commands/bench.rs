//! `bench`: how long a model takes on this machine.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use fleetfoot::Session;
use serde_json::json;

use crate::{
    commands::run::{kernels, threads},
    failure::Failure,
    models,
    output::{Output, table},
};

/// Measure a model on this machine, on one thread unless told otherwise.
///
/// Example: fleetfoot bench kws.tflite --runs 500 --per-op
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A bundle (.ff) or a raw int8 model (.tflite).
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
    /// Time every layer (medians; the clock is read between layers).
    #[arg(long)]
    per_op: bool,
    /// Stop after loading and the first inference.
    #[arg(long)]
    cold: bool,
    /// Public keys that must have signed the bundle.
    #[arg(long)]
    key: Vec<PathBuf>,
}

pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let kernels = kernels(args.isa.as_deref())?;
    let start = Instant::now();
    let loaded = models::load(&args.model, &args.key, output)?;
    let mut session = Session::with_threads(loaded.model.clone(), kernels, args.threads.into())?;
    let load_us = micros(start.elapsed());
    let fill = |session: &mut Session| -> Result<(), Failure> {
        // A run may overwrite its inputs; the pattern keeps the work that of real data.
        for index in 0..loaded.model.engine().inputs().len() {
            let bytes = session.input_mut(index)?;
            bytes.iter_mut().enumerate().for_each(|(i, b)| *b = (i as u8).wrapping_mul(37));
        }
        Ok(())
    };
    fill(&mut session)?;
    let start = Instant::now();
    session.run()?;
    let first_us = micros(start.elapsed());

    let records: Vec<(String, &str, u64, u64)> = loaded
        .model
        .engine()
        .records()
        .map(|r| (r.name.to_owned(), r.step.op(), r.step.macs(), r.step.bytes()))
        .collect();
    let macs: u64 = records.iter().map(|r| r.2).sum();
    let runs = if args.cold { 0 } else { args.runs };
    for _ in 0..if args.cold { 0 } else { args.warmup } {
        fill(&mut session)?;
        session.run()?;
    }
    let mut times = Vec::with_capacity(runs as usize);
    for _ in 0..runs {
        fill(&mut session)?;
        let start = Instant::now();
        session.run()?;
        times.push(micros(start.elapsed()));
    }
    times.sort_by(f64::total_cmp);
    let mut layers: Vec<Vec<f64>> = vec![Vec::new(); records.len()];
    if args.per_op {
        for _ in 0..runs {
            fill(&mut session)?;
            let mut last = Instant::now();
            session.run_observed(|step| {
                let now = Instant::now();
                layers[step.index].push(micros(now - last));
                last = Instant::now();
            })?;
        }
    }
    let layer_us: Vec<f64> = layers
        .iter_mut()
        .map(|times| {
            times.sort_by(f64::total_cmp);
            percentile(times, 50)
        })
        .collect();
    let (arena_bytes, n_threads) = (session.arena_len(), session.threads());
    let name =
        loaded.info.as_ref().map_or_else(|| args.model.display().to_string(), |i| format!("{} {}", i.model, i.version));
    let (min, p50, p99) = (times.first().copied().unwrap_or(0.0), percentile(&times, 50), percentile(&times, 99));
    let people = || {
        let mut text = format!(
            "{name}, {}, {n_threads} {}, {macs} MACs, arena {arena_bytes} bytes, weights {} bytes\n",
            kernels.name(),
            if n_threads == 1 { "thread" } else { "threads" },
            loaded.weights_len
        );
        text += &format!("load {load_us:.0} us, first inference {first_us:.0} us\n");
        if runs > 0 {
            let rate = macs as f64 / min / 1e3;
            text +=
                &format!("{runs} runs: min {min:.1} us, p50 {p50:.1} us, p99 {p99:.1} us ({rate:.1} GMAC/s at best)\n");
        }
        if args.per_op {
            let rows = records.iter().zip(&layer_us).map(|((name, op, macs, _), us)| {
                vec![
                    op.to_string(),
                    format!("{us:.2}"),
                    macs.to_string(),
                    format!("{:.1}", *macs as f64 / us / 1e3),
                    name.clone(),
                ]
            });
            text += &table(&["op", "us", "MACs", "GMAC/s", "layer"], rows);
        }
        text
    };
    output.result(people, || {
        let layers: Vec<_> = records
            .iter()
            .zip(&layer_us)
            .map(|((name, op, macs, bytes), us)| json!({ "name": name, "op": op, "us": us, "macs": macs, "bytes": bytes }))
            .collect();
        json!({
            "model": name, "isa": kernels.name(), "threads": n_threads, "runs": runs,
            "min_us": min, "p50_us": p50, "p99_us": p99, "load_us": load_us, "first_us": first_us,
            "arena_bytes": arena_bytes, "weights_bytes": loaded.weights_len, "macs": macs,
            "layers": if args.per_op { layers } else { Vec::new() },
        })
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Of sorted values, by the nearest rank.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0.0)
}
