//! `cargo xtask bench peers`: other runtimes on the same networks, in turn with ours.
//!
//! ```text
//! for each network:  every peer loads it in a process of its own, pinned to the same core, and runs the golden samples
//!   for each round:  every peer runs it for a while, one peer after another, so that noise hits all of them
//! ```
//! What is compared are the least time and the median over all rounds. Outputs are compared before, with the golden ones of
//! LiteRT: whoever runs the `.tflite` must give them to the bit, the other forms within the steps that `forms.rs` states; or
//! the command fails. A peer that cannot be installed, does not take a network or answers with something else is a row that
//! says why. `benches/peers/prepare.py` makes the forms of the networks that they get.
//!
//! A run of everything writes what it found: `benches/record/peers-CPU-DATE.csv`, the chart `benches/record/peers.svg`
//! drawn from it, and the table in README.

mod child;
mod forms;
mod readme;
mod record;

use std::{collections::BTreeSet, path::Path, time::Duration};

pub(super) use self::forms::NETWORKS;
use self::{
    child::{Child, Start},
    forms::{Forms, Network},
    record::Row,
};
use crate::shell::{Cmd, Result, Tree};

/// How long one peer runs in one round.
const SLICE: Duration = Duration::from_millis(25);
/// Runs in one round at most.
const MAX_RUNS: u64 = 2000;

/// A runtime and the form of the network that it gets.
struct Peer {
    name: &'static str,
    form: Form,
    program: Program,
}

/// A form of a network; `forms.rs` makes them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    TfLite,
    QdqU8,
    Fp32,
    Mnn,
    Ncnn,
}

/// Which program holds a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Program {
    Ours,
    Python,
    Rust,
}

const PEERS: &[Peer] = &[
    Peer { name: "fleetfoot", form: Form::TfLite, program: Program::Ours },
    Peer { name: "litert", form: Form::TfLite, program: Program::Python },
    Peer { name: "onnxruntime", form: Form::QdqU8, program: Program::Python },
    Peer { name: "openvino", form: Form::QdqU8, program: Program::Python },
    Peer { name: "ncnn", form: Form::Ncnn, program: Program::Python },
    Peer { name: "mnn", form: Form::Mnn, program: Program::Python },
    Peer { name: "tract", form: Form::Fp32, program: Program::Rust },
    Peer { name: "tract", form: Form::QdqU8, program: Program::Rust },
    Peer { name: "rten", form: Form::Fp32, program: Program::Rust },
    Peer { name: "rten", form: Form::QdqU8, program: Program::Rust },
];

struct Options {
    rounds: u32,
    models: Vec<String>,
    peers: Vec<String>,
    threads: Vec<usize>,
}

/// `cargo xtask bench peers ARGS`.
pub(super) fn run(tree: &Tree, args: &[String]) -> Result {
    let options = options(args)?;
    let is_wanted = |peer: &Peer| options.peers.is_empty() || options.peers.iter().any(|p| p == peer.name);
    let peers: Vec<&Peer> = PEERS.iter().filter(|peer| is_wanted(peer)).collect();
    if peers.is_empty() {
        return Err("--peers names none that there is".into());
    }
    let forms = Forms::prepare(tree, peers.iter().any(|peer| peer.program == Program::Rust))?;
    let networks = forms.networks(tree, &options.models)?;
    let mut rows = Vec::new();
    for network in &networks {
        for &threads in &options.threads {
            let measured = measure(&forms, network, &peers, threads, options.rounds);
            print!("{}", record::table(&network.name, threads, &measured));
            rows.extend(measured);
        }
    }
    if !child::is_pinned() {
        println!("there is no taskset here: nothing was pinned to a core");
    }
    // A part of the networks or of the peers is a trial: it leaves the record alone.
    if options.models.is_empty() && options.peers.is_empty() {
        let csv = record::write_csv(tree, &rows)?;
        readme::write(tree, &rows)?;
        draw(tree, &csv)?;
    }
    record::summary(&rows);
    let differ: BTreeSet<String> = rows.iter().filter_map(Row::disagreement).collect();
    for what in &differ {
        println!("{what}");
    }
    if differ.is_empty() { Ok(()) } else { Err(format!("{} outputs disagree", differ.len())) }
}

/// The chart of a record.
fn draw(tree: &Tree, csv: &Path) -> Result {
    let svg = tree.root.join("benches/record/peers.svg");
    // `Forms::prepare` built it.
    Cmd::new(tree.target.join(format!("release/chart{}", std::env::consts::EXE_SUFFIX))).arg(csv).arg(&svg).run()
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options { rounds: 20, models: Vec::new(), peers: Vec::new(), threads: vec![1, 2] };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        let list = || value.split(',').map(String::from).collect();
        let number = |text: &str| text.parse().map_err(|e| format!("{flag} {text}: {e}"));
        match flag.as_str() {
            "--rounds" => options.rounds = number(value)? as u32,
            "--models" => options.models = list(),
            "--peers" => options.peers = list(),
            "--threads" => options.threads = value.split(',').map(number).collect::<Result<_>>()?,
            _ => return Err(format!("{flag}: {}", super::USAGE)),
        }
    }
    if options.rounds == 0 || options.threads.contains(&0) {
        return Err("--rounds and --threads begin at 1".into());
    }
    Ok(options)
}

/// All peers on one network.
fn measure(forms: &Forms, network: &Network, peers: &[&Peer], threads: usize, rounds: u32) -> Vec<Row> {
    let mut rows: Vec<Row> = peers.iter().map(|peer| Row::new(network, peer, threads)).collect();
    let mut children: Vec<Option<Child>> = Vec::new();
    for (peer, row) in peers.iter().zip(&mut rows) {
        let started = forms.start(network, peer, threads);
        children.push(match started {
            Ok(Start { child, version, output }) => {
                row.version = version;
                row.compare(network, &output);
                // A peer that computes something else, for instance after a bad conversion, has no time worth a row.
                if row.max_difference.is_finite() {
                    Some(child)
                } else {
                    row.absent = format!("{} outputs, not {}", output.len(), network.golden.len());
                    None
                }
            }
            Err(why) => {
                row.absent = why;
                None
            }
        });
    }
    // The first slice warms each up and tells how many runs fill a slice.
    let mut runs = vec![1; peers.len()];
    for round in 0..=rounds {
        for (at, row) in rows.iter_mut().enumerate() {
            let Some(child) = &mut children[at] else { continue };
            let times = if round == 0 { child.times(3) } else { child.times(runs[at]) };
            match times {
                Ok(times) if round == 0 => {
                    let one = times.iter().copied().min().unwrap_or(1).max(1);
                    runs[at] = (SLICE.as_nanos() as u64 / one).clamp(1, MAX_RUNS);
                }
                Ok(times) => row.times_ns.extend(times),
                Err(why) => {
                    row.absent = why;
                    children[at] = None;
                }
            }
        }
    }
    rows.iter_mut().for_each(Row::finish);
    rows
}
