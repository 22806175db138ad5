//! The check `firmware`: the device side without heap or OS, built for a Cortex-M4 and run on an emulated board.
//!
//! ```text
//! fleetfoot keys new, fleetfoot pack  ->  bundle and public key of this run
//! cargo build (devices/boards/mps2-an386)  ->  an ELF file with both inside
//! its symbols: no allocator            its run: every golden case, those from raw inputs among them, exit status 0
//! once more with a damaged bundle: exit status 1
//! lite files of the same release (lite.rs)        accepted, and with any change refused; instructions and flash
//! ```

pub(crate) mod lite;

use std::{
    fs,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSymbol};

use crate::{
    setup::{self, DEBIAN_RUSTC},
    shell::{Cmd, Result, Tree},
};

const TARGET: &str = "thumbv7em-none-eabihf";
/// Seconds for one emulated run.
const TIMEOUT_S: u32 = 300;

pub(crate) fn check(tree: &Tree) -> Result {
    let work = tree.target.join("firmware");
    let (bundle, key) = bundle(tree, &work)?;
    let elf = build(tree, &work, &bundle, &key)?;
    no_allocator(&elf)?;
    board(&elf).run()?;

    println!("the same with one bit of the bundle changed: the board must refuse it");
    let damaged = work.join("damaged.ff");
    let file = |e: std::io::Error| format!("{}: {e}", damaged.display());
    let mut bytes = fs::read(&bundle).map_err(file)?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&damaged, bytes).map_err(file)?;
    board(&build(tree, &work, &damaged, &key)?).expect(1)?;
    lite::check(tree, &work, &bundle)
}

/// The emulated board with `elf` in its memory. The exit code is that of the firmware.
fn board(elf: &Path) -> Cmd {
    Cmd::new("timeout")
        .args(["-k", "5", &TIMEOUT_S.to_string(), "qemu-system-arm", "-M", "mps2-an386", "-cpu", "cortex-m4"])
        .args(["-nographic", "-monitor", "none", "-serial", "none", "-icount", "shift=0"])
        .args(["-semihosting-config", "enable=on,target=native", "-kernel"])
        .arg(elf)
}

/// Packs and signs a model with a key made for this run.
pub(crate) fn bundle(tree: &Tree, work: &Path) -> Result<(PathBuf, PathBuf)> {
    let program = tree.program()?;
    if work.join("keys").exists() {
        fs::remove_dir_all(work.join("keys")).map_err(|e| format!("{}: {e}", work.display()))?;
    }
    fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    let (model, golden, name, preprocess) = match tree.shared() {
        Some(shared) => {
            let dir = shared.join("models/mlperf-tiny");
            (dir.join("kws_int8.tflite"), dir.join("kws_int8.golden.npz"), "kws", KEYWORDS)
        }
        None => {
            let dir = tree.root.join("examples/digits");
            (dir.join("digits_v2.tflite"), dir.join("digits_v2.golden.npz"), "digits", DIGITS)
        }
    };
    let keys = work.join("keys");
    let made = Cmd::new(&program)
        .args(["--json", "keys", "new", "--plain", "--role", "releases", "--out"])
        .arg(&keys)
        .read()?;
    let public = work.join("public-key.bin");
    fs::write(&public, public_key(&made)?).map_err(|e| format!("{}: {e}", public.display()))?;
    let (bundle, settings) = (work.join("model.ff"), work.join("bundle.yaml"));
    fs::write(&settings, preprocess).map_err(|e| format!("{}: {e}", settings.display()))?;
    Cmd::new(&program)
        .arg("pack")
        .arg(&model)
        .args(["--name", name, "--version", "1.0.0", "--golden"])
        .arg(&golden)
        .arg("--config")
        .arg(&settings)
        .arg("--key")
        .arg(keys.join("releases.key"))
        .arg("-o")
        .arg(&bundle)
        .run()?;
    Ok((bundle, public))
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

fn build(tree: &Tree, work: &Path, bundle: &Path, key: &Path) -> Result<PathBuf> {
    cargo(tree, work, "golden")?.env("FF_BUNDLE", bundle).env("FF_KEY", key).run()?;
    Ok(elf(work, "golden"))
}

fn elf(work: &Path, bin: &str) -> PathBuf {
    work.join(TARGET).join("release").join(bin)
}

/// The command that builds the program `bin` for the board.
fn cargo(tree: &Tree, work: &Path, bin: &str) -> Result<Cmd> {
    // In the folder of the firmware, for the sake of its .cargo/config.toml.
    Ok(Cmd::cargo(tree, ["build", "--release", "--target", TARGET, "-Zbuild-std=core", "--bin", bin])
        .dir(tree.root.join("devices"))
        .arg("--target-dir")
        .arg(work)
        .env("RUSTC", DEBIAN_RUSTC)
        // Building `core` ourselves is not stable yet; nothing else here needs it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("LD_LIBRARY_PATH")
        .path(&setup::rust_lld_dir()?))
}

/// A program that links without an allocator cannot allocate; a symbol would show that one came in.
fn no_allocator(elf: &Path) -> Result {
    let bytes = fs::read(elf).map_err(|e| format!("{}: {e}", elf.display()))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", elf.display()))?;
    let names: Vec<&str> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    if !names.iter().any(|name| name.contains("Reset")) {
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
