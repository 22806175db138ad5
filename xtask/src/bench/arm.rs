//! `cargo xtask bench arm`: how many AArch64 instructions an inference executes, by class, and a rough estimate of cycles.
//!
//! ```text
//! for each network:  for each emulated CPU:  ours (each instruction set it offers), LiteRT, ONNX Runtime
//!     qemu-aarch64 -cpu CPU -plugin icount.so PROGRAM    loads, runs once, and marks the beginning and the end of three more runs
//!     marks -> counts of those runs alone; the least is what is reported, the most shows by how much runs differ
//! ```
//! Time under emulation means nothing and is not looked at. Counts are exact for the program and CPU model; cycles are an
//! estimate from published throughputs (`cost.rs`), not measured on hardware, and are called that wherever they stand.
//! A peer that cannot be installed or does not run is a row that says why.

mod cost;
mod count;
mod machine;
mod networks;
mod record;

use self::{
    machine::{Machine, Subject},
    networks::Network,
    record::Row,
};
use crate::shell::{Result, Tree};

/// Emulated CPUs: without dot products, with them, and with matrix products; no SVE, which no kernel here uses.
const CPUS: [&str; 3] = ["cortex-a53", "cortex-a76", "max,sve=off"];
const PEERS: [&str; 2] = ["litert", "onnxruntime"];
const OURS: &str = "fleetfoot";
/// How our program says that the CPU lacks an instruction set.
const LACKS: &str = ": this CPU has ";

struct Options {
    models: Vec<String>,
    cpus: Vec<String>,
    peers: Vec<String>,
    /// Ours: `auto` is what it picks by itself, `all` everything that the CPU has.
    isa: String,
    /// Ours step by step as well.
    layers: bool,
}

/// `cargo xtask bench arm ARGS`.
pub(super) fn run(tree: &Tree, args: &[String]) -> Result {
    let options = options(args)?;
    let networks = networks::find(tree, &options.models)?;
    let peers: Vec<&str> = PEERS.into_iter().filter(|peer| options.peers.iter().any(|p| p == peer)).collect();
    let machine = Machine::prepare(tree, &peers)?;
    let mut rows = Vec::new();
    for network in &networks {
        for cpu in &options.cpus {
            let mut measured = ours(&machine, network, cpu, &options.isa);
            measured.extend(peers.iter().map(|peer| machine.row(network, cpu, Subject::Peer(peer))));
            print!("{}", record::table(network.name, cpu, &measured));
            if options.layers {
                measured.iter().filter(|row| !row.layers.is_empty()).for_each(|row| print!("{}", record::layers(row)));
            }
            rows.extend(measured);
        }
    }
    if !peers.is_empty() {
        record::summary(&rows);
    }
    // A part of the networks, CPUs or subjects is a trial: it leaves the record alone.
    if args.is_empty() && tree.shared().is_some() {
        record::write_csv(tree, &rows)?;
    }
    // An instruction set that was asked for and that this CPU lacks is a row that says so, no fault.
    let is_fault = |row: &&Row| row.is_ours() && row.counts.is_none() && !row.absent.contains(LACKS);
    let failed: Vec<String> = rows.iter().filter(is_fault).map(Row::title).collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("ours did not run, or not to the golden bytes: {}", failed.join("; ")))
    }
}

/// Ours with its own choice first; then, if asked for, with every other instruction set that it finds on this CPU.
fn ours(machine: &Machine, network: &Network, cpu: &str, isa: &str) -> Vec<Row> {
    let wanted = match isa {
        "auto" | "all" => None,
        name => Some(name),
    };
    let first = machine.row(network, cpu, Subject::Ours(wanted));
    let others: Vec<String> = match isa {
        "all" => first.have.iter().filter(|name| **name != first.version).cloned().collect(),
        _ => Vec::new(),
    };
    let rest = others.iter().map(|name| machine.row(network, cpu, Subject::Ours(Some(name))));
    let rest: Vec<Row> = rest.collect();
    std::iter::once(first).chain(rest).collect()
}

fn options(args: &[String]) -> Result<Options> {
    let text = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    let mut options =
        Options { models: Vec::new(), cpus: text(&CPUS), peers: text(&PEERS), isa: "auto".into(), layers: false };
    let mut args = args.iter();
    while let Some(flag) = args.next() {
        if flag == "--layers" {
            options.layers = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--models" => options.models = list(value),
            "--cpus" => options.cpus = list(value),
            "--peers" => options.peers = list(value),
            "--isa" => options.isa.clone_from(value),
            _ => return Err(format!("{flag}: {}", super::USAGE)),
        }
    }
    if let Some(unknown) = options.peers.iter().find(|peer| !PEERS.contains(&peer.as_str()) && *peer != "none") {
        return Err(format!("--peers {unknown}: there are {}, and none", PEERS.join(",")));
    }
    if options.cpus.is_empty() {
        return Err("--cpus names none".into());
    }
    Ok(options)
}

/// The names in `A,B`. A CPU brings its properties along: `max,sve=off` is one.
fn list(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        match names.last_mut() {
            Some(last) if part.contains('=') => *last = format!("{last},{part}"),
            _ => names.push(part.into()),
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{CPUS, list, options};

    fn check(text: &str, names: &[&str]) {
        assert_eq!(list(text), names, "{text}");
    }

    #[test]
    fn lists() {
        check("", &[]);
        check("ad,kws", &["ad", "kws"]);
        check("max,sve=off", &["max,sve=off"]);
        check("max,sve=off,sme=off,cortex-a53", &["max,sve=off,sme=off", "cortex-a53"]);
    }

    #[test]
    fn arguments() {
        let parse = |args: &[&str]| options(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let plain = parse(&[]).expect("no arguments");
        assert_eq!((plain.cpus.len(), plain.peers.len(), plain.isa.as_str()), (CPUS.len(), 2, "auto"));
        let none = parse(&["--peers", "none", "--isa", "scalar", "--layers", "--cpus", "max,sve=off"]).expect("known");
        assert!(none.layers && !plain.layers);
        assert_eq!((none.isa.as_str(), none.cpus.as_slice()), ("scalar", &["max,sve=off".to_string()][..]));
        for wrong in [&["--peers", "ncnn"][..], &["--cpus", ""], &["--cpu", "x"], &["--models"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
