//! The check `firmware`: the device side without heap or OS on emulated boards.
//!
//! ```text
//! fleetfoot keys new, fleetfoot pack  ->  bundles of the networks and the public key of this run
//! devices/boards, program golden      ->  its symbols: no allocator
//!                                         its run with each network: every golden case, those from raw inputs among them
//!                                         instructions, arena, stack: not above devices/ratchet.csv
//!                                         once more with a damaged bundle: exit status 1
//! program kernels                     ->  the core's kernels equal the reference
//! program lite (lite.rs)              ->  lite files accepted, and with any change refused; instructions and flash
//! ```

mod boards;
pub(crate) mod lite;
mod ratchet;

use std::{
    fs,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSymbol};

use crate::shell::{Cmd, Result, Tree};
use boards::{BOARDS, Board};
use ratchet::Ratchet;

pub(crate) fn check(tree: &Tree) -> Result {
    let work = tree.target.join("firmware");
    let (networks, key) = bundles(tree, &work)?;
    let mut ratchet = Ratchet::default();
    for board in BOARDS {
        println!("\n--- {} ---", board.machine);
        let elf = golden(tree, &work, board, &key)?;
        for (network, bundle) in &networks {
            run(board, &elf, (network, bundle), &mut ratchet)?;
        }
    }
    let [board, ..] = BOARDS else { return Err("no board".into()) };

    println!("\nthe same with one bit of the bundle changed: the board must refuse it");
    let [(_, bundle), ..] = &networks[..] else { return Err("no network".into()) };
    let damaged = work.join("damaged.ff");
    let file = |e: std::io::Error| format!("{}: {e}", damaged.display());
    let mut bytes = fs::read(bundle).map_err(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).map_err(file)?;
    board.run_with(&kept(&work, board, "golden"), &damaged)?.expect(1)?;

    board.cargo(tree, &work, "kernels")?.args(["--features", "heap"]).run()?;
    board.run(&board.elf(&work, "kernels")).run()?;
    lite::check(tree, &work, board, bundle)?;
    ratchet.check(tree)
}

/// Builds the program for a board; each keeps its file.
fn golden(tree: &Tree, work: &Path, board: &Board, key: &Path) -> Result<PathBuf> {
    let kept = kept(work, board, "golden");
    if !board.shares() {
        board.cargo(tree, work, "golden")?.env("FF_KEY", key).run()?;
        fs::copy(board.elf(work, "golden"), &kept).map_err(|e| format!("{}: {e}", kept.display()))?;
        no_allocator(&kept)?;
    }
    Ok(kept)
}

fn kept(work: &Path, board: &Board, bin: &str) -> PathBuf {
    work.join(format!("{}-{bin}.elf", board.program))
}

/// Runs a network on a board and notes what it cost.
fn run(board: &Board, elf: &Path, (network, bundle): (&str, &Path), ratchet: &mut Ratchet) -> Result {
    let printed = board.run_with(elf, bundle)?.read()?;
    print!("{printed}");
    let number = |line: &str, before: &str| {
        let missing = || format!("{}, {network}: the board printed no '{line}... {before}'", board.machine);
        let line = printed.lines().rfind(|text| text.starts_with(line)).ok_or_else(missing)?;
        let words = line.split(before).next().and_then(|text| text.trim_end().rsplit(' ').next());
        words.and_then(|word| word.parse::<u64>().ok()).ok_or_else(missing)
    };
    for (what, line, before) in [
        ("instructions", "golden 1/", "instructions"),
        ("arena_bytes", "arena ", "bytes,"),
        ("open_instructions", "opened:", "instructions"),
        ("stack_of_verify_bytes", "verified ", "bytes of stack"),
        ("stack_of_inference_bytes", "steps:", "bytes of stack"),
    ] {
        ratchet.add(board.machine, network, what, number(line, before)?);
    }
    Ok(())
}

/// A network and the file of its bundle.
type Network = (&'static str, PathBuf);

/// The networks of this run, smallest first, and the public key of their signer.
fn bundles(tree: &Tree, work: &Path) -> Result<(Vec<Network>, PathBuf)> {
    let (kws, key) = bundle(tree, work)?;
    let Some(shared) = tree.shared() else { return Ok((vec![("digits", kws)], key)) };
    let mut networks = vec![("kws", kws)];
    for name in ["ad", "ic", "vww"] {
        let model = shared.join(format!("models/mlperf-tiny/{name}_int8"));
        networks.push((name, pack(tree, work, name, &model, None)?));
    }
    Ok((networks, key))
}

/// Packs and signs a model with a key made for this run.
pub(crate) fn bundle(tree: &Tree, work: &Path) -> Result<(PathBuf, PathBuf)> {
    let program = tree.program()?;
    if work.join("keys").exists() {
        fs::remove_dir_all(work.join("keys")).map_err(|e| format!("{}: {e}", work.display()))?;
    }
    fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    let keys = work.join("keys");
    let made = Cmd::new(&program)
        .args(["--json", "keys", "new", "--plain", "--role", "releases", "--out"])
        .arg(&keys)
        .read()?;
    let public = work.join("public-key.bin");
    fs::write(&public, public_key(&made)?).map_err(|e| format!("{}: {e}", public.display()))?;
    let bundle = match tree.shared() {
        Some(shared) => pack(tree, work, "kws", &shared.join("models/mlperf-tiny/kws_int8"), Some(KEYWORDS))?,
        None => pack(tree, work, "digits", &tree.root.join("examples/digits/digits_v2"), Some(DIGITS))?,
    };
    Ok((bundle, public))
}

/// Packs `model`.tflite with the cases of `model`.golden.npz, and with the preprocessing of `settings`.
fn pack(tree: &Tree, work: &Path, name: &str, model: &Path, settings: Option<&str>) -> Result<PathBuf> {
    let bundle = work.join(format!("{name}.ff"));
    let mut pack = Cmd::new(tree.program()?);
    if let Some(settings) = settings {
        let file = work.join(format!("{name}.yaml"));
        fs::write(&file, settings).map_err(|e| format!("{}: {e}", file.display()))?;
        pack = pack.args(["pack", "--config"]).arg(&file);
    } else {
        pack = pack.arg("pack");
    }
    pack.arg(model.with_extension("tflite"))
        .args(["--name", name, "--version", "1.0.0", "--golden"])
        .arg(model.with_extension("golden.npz"))
        .arg("--key")
        .arg(work.join("keys/releases.key"))
        .arg("-o")
        .arg(&bundle)
        .run()?;
    Ok(bundle)
}

/// How a second of 16 kHz becomes what the keyword model hears. Its golden cases are noise that `pack` makes up.
const KEYWORDS: &str = "preprocess: {audio: {rate_hz: 16000, samples: 16000, mel: {frame: 480, hop: 320, fft: 512, energy: magnitude, \
                        bands: 40, low_hz: 20, high_hz: 4000, floor: 1e-6, cepstra: 10}}}\n";
/// How a picture becomes a digit's.
const DIGITS: &str = "preprocess: {image: {channels: grey, normalise: {divide: 255}, steps: [centre_square, \
                      {resize: {width: 8, height: 8, filter: area}}]}}\n";

/// The 32 bytes of the public key in what `keys new --json` printed.
fn public_key(json: &str) -> Result<Vec<u8>> {
    let made: serde_json::Value = serde_json::from_str(json).map_err(|e| format!("keys new --json: {e}"))?;
    let hex = made["key"].as_str().filter(|hex| hex.len() == 64 && hex.is_ascii());
    let hex = hex.ok_or("keys new --json tells no key of 64 hexadecimal digits")?;
    let byte = |i: usize| u8::from_str_radix(&hex[i..i + 2], 16).map_err(|e| format!("keys new --json: {e}"));
    (0..64).step_by(2).map(byte).collect()
}

/// A program that links without an allocator cannot allocate; a symbol would show that one came in.
fn no_allocator(elf: &Path) -> Result {
    let bytes = fs::read(elf).map_err(|e| format!("{}: {e}", elf.display()))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", elf.display()))?;
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    if !names.iter().any(|name| name.contains("_start")) {
        return Err(format!("{}: stripped, so that symbols prove nothing", elf.display()));
    }
    match names
        .iter()
        .find(|name| ["__rust_alloc", "__rust_realloc", "__rg_alloc", "malloc"].iter().any(|a| name.contains(a)))
    {
        Some(name) => Err(format!("the firmware holds an allocator: {name}")),
        None => {
            println!("no allocator among {} symbols", names.len());
            Ok(())
        }
    }
}
