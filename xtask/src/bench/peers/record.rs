//! What was measured: a row per network and peer, on the terminal and in `benches/record/`.

use std::{fmt::Write as _, fs, path::PathBuf};

use super::{Form, Peer, forms::Network};
use crate::shell::{Cmd, Result, Tree};

/// One peer on one network.
pub(super) struct Row {
    pub(super) model: String,
    pub(super) peer: &'static str,
    form: Form,
    pub(super) threads: usize,
    pub(super) version: String,
    /// Why it was not measured; empty if it was.
    pub(super) absent: String,
    pub(super) times_ns: Vec<u64>,
    pub(super) min_us: f64,
    p50_us: f64,
    /// Samples whose highest output is the golden one's, of all.
    top1: (usize, usize),
    /// Largest difference from the golden outputs, in steps of the output.
    pub(super) max_difference: f32,
    /// Largest difference that is taken for agreement: none for the `.tflite` form.
    tolerance: f32,
}

impl Row {
    pub(super) fn new(network: &Network, peer: &Peer, threads: usize) -> Self {
        Self {
            model: network.name.clone(),
            peer: peer.name,
            form: peer.form,
            threads,
            version: String::new(),
            absent: String::new(),
            times_ns: Vec::new(),
            min_us: f64::NAN,
            p50_us: f64::NAN,
            top1: (0, network.samples),
            max_difference: f32::INFINITY,
            tolerance: if peer.form == Form::TfLite { 0.0 } else { network.tolerance },
        }
    }

    /// Compares the outputs of all samples with the golden ones, which LiteRT gave.
    pub(super) fn compare(&mut self, network: &Network, output: &[f32]) {
        let golden = &network.golden;
        if output.len() == golden.len() && !golden.is_empty() {
            // Int8 saturates where floats go on.
            let quantize = |v: f32| (v / network.scale + network.zero_point).clamp(-128.0, 127.0);
            let step = |v: f32| if self.form.is_real() { quantize(v) } else { v };
            let output: Vec<f32> = output.iter().map(|&v| step(v)).collect();
            // `max` would drop a NaN, and with it a broken peer.
            let worse = |a: f32, b: f32| if b.is_nan() || b > a { b } else { a };
            self.max_difference = output.iter().zip(golden).map(|(a, b)| (a - b).abs()).fold(0.0, worse);
            let len = golden.len() / network.samples;
            let pairs = output.chunks_exact(len).zip(golden.chunks_exact(len));
            // Where several golden outputs are the highest, each of them is right.
            self.top1.0 = pairs.filter(|(a, b)| b[highest(a)] >= b[highest(b)]).count();
        }
    }

    /// Why its outputs are not those that it should have; `None` if they are, or if it did not run.
    pub(super) fn disagreement(&self) -> Option<String> {
        // Not `>`: a NaN disagrees.
        let agrees = self.max_difference <= self.tolerance;
        (self.is_measured() && !agrees).then(|| {
            let (model, peer, form, difference) = (&self.model, self.peer, self.form.name(), self.max_difference);
            format!("{model}: {peer} ({form}) differs by {difference} steps, {} are allowed", self.tolerance)
        })
    }

    /// Sorts the times and takes what is compared.
    pub(super) fn finish(&mut self) {
        self.times_ns.sort_unstable();
        let at = |index: usize| self.times_ns.get(index).map_or(f64::NAN, |&ns| ns as f64 / 1e3);
        (self.min_us, self.p50_us) = (at(0), at(self.times_ns.len() / 2));
    }

    pub(super) const fn is_measured(&self) -> bool {
        self.absent.is_empty() && !self.times_ns.is_empty()
    }

    pub(super) fn is_ours(&self) -> bool {
        self.peer == "fleetfoot"
    }

    /// Our least time over this one's, where ours ran the same.
    pub(super) fn ratio(&self, rows: &[Self]) -> Option<f64> {
        let same = |row: &&Self| row.model == self.model && row.threads == self.threads;
        let ours = rows.iter().filter(same).find(|row| row.is_ours() && row.is_measured())?;
        self.is_measured().then(|| ours.min_us / self.min_us)
    }
}

fn highest(values: &[f32]) -> usize {
    values.iter().enumerate().fold(0, |best, (at, v)| if *v > values[best] { at } else { best })
}

/// The rows of one network for the terminal.
pub(super) fn table(model: &str, threads: usize, rows: &[Row]) -> String {
    let mut text = format!("\n{model}, {threads} thread{}\n", if threads == 1 { "" } else { "s" });
    let _ = writeln!(
        text,
        "{:12} {:12} {:>10} {:>10} {:>8} {:>6} {:>9} {:>8}  version",
        "peer", "form", "min us", "p50 us", "ours/it", "top-1", "max diff", "allowed"
    );
    for row in rows {
        let head = format!("{:12} {:12}", row.peer, row.form.name());
        if !row.is_measured() {
            let _ = writeln!(text, "{head} absent: {}", row.absent);
            continue;
        }
        let ratio = row.ratio(rows).map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let top1 = format!("{}/{}", row.top1.0, row.top1.1);
        let difference = if row.max_difference == 0.0 { "none".into() } else { format!("{:.1}", row.max_difference) };
        let (min, p50, allowed, version) = (row.min_us, row.p50_us, row.tolerance, &row.version);
        let _ =
            writeln!(text, "{head} {min:10.1} {p50:10.1} {ratio:>8} {top1:>6} {difference:>9} {allowed:8}  {version}");
    }
    text
}

/// The geometric mean of ours over each peer.
pub(super) fn summary(rows: &[Row]) {
    println!("\nours over theirs, geometric mean of the networks that both ran (least times)");
    let mut seen = Vec::new();
    for row in rows.iter().filter(|row| !row.is_ours()) {
        let key = (row.peer, row.form.name(), row.threads);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let same = |other: &&Row| (other.peer, other.form.name(), other.threads) == key;
        let ratios: Vec<f64> = rows.iter().filter(same).filter_map(|other| other.ratio(rows)).collect();
        if !ratios.is_empty() {
            let mean = (ratios.iter().map(|r| r.ln()).sum::<f64>() / ratios.len() as f64).exp();
            println!("{:12} {:12} {} threads: {mean:.2} of {} networks", key.0, key.1, key.2, ratios.len());
        }
    }
}

const CSV_HEADER: &str =
    "model,peer,form,version,threads,min_us,p50_us,ours_over_it,top1,max_difference_steps,allowed_steps,absent\n";

/// Writes all rows into `benches/record/`; returns where.
pub(super) fn write_csv(tree: &Tree, rows: &[Row]) -> Result<PathBuf> {
    let mut text = String::from(CSV_HEADER);
    for row in rows {
        let _ = write!(text, "{},{},{},{},{},", row.model, row.peer, row.form.name(), row.version, row.threads);
        if row.is_measured() {
            let ratio = row.ratio(rows).map_or_else(String::new, |ratio| format!("{ratio:.3}"));
            let (min, p50, difference, (right, all)) = (row.min_us, row.p50_us, row.max_difference, row.top1);
            let _ = writeln!(text, "{min:.2},{p50:.2},{ratio},{right}/{all},{difference:.2},{},", row.tolerance);
        } else {
            let _ = writeln!(text, ",,,,,,{}", row.absent.replace([',', '"', '\n'], " "));
        }
    }
    let folder = tree.root.join("benches/record");
    let path = folder.join(format!("peers-{}-{}.csv", cpu(), date()?));
    fs::create_dir_all(&folder)
        .and_then(|()| fs::write(&path, text))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    println!("\nwritten: {}", path.display());
    Ok(path)
}

/// A short name of this CPU for the name of a file.
fn cpu() -> String {
    let words = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = cpu_name().to_lowercase().chars().map(words).collect();
    name.split('-').filter(|word| !word.is_empty()).take(7).collect::<Vec<_>>().join("-")
}

/// This CPU for people. Names of virtual machines say little: family and model say which it is.
pub(super) fn cpu_name() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_string())
    };
    let name = field("model name").unwrap_or_else(|| std::env::consts::ARCH.into());
    let numbers = field("cpu family").zip(field("model"));
    numbers.map_or(name.clone(), |(family, model)| format!("{name} (family {family}, model {model})"))
}

fn date() -> Result<String> {
    Cmd::new("date").args(["-u", "+%F"]).read().map(|date| date.trim().into())
}
