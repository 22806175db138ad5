//! The check `size`: what the runtime adds to a program, on x86-64 with all its instruction sets and on AArch64, and what a whole agent takes.
//!
//! ```text
//! devices/size, built with the engine and without, itself for size, the kernels for speed, stripped
//! the difference of what both load is what format, kernels and engine cost        <= BUDGET
//! the one with the engine runs a bundle; both targets print the same checksum of its outputs
//!
//! devices/size with an agent: engine, trust, metadata, state machine, store    <= AGENT, all that is loaded
//! the same with HTTP and TLS                                                   <= AGENT_TLS
//! both poll a repository of this run and run what then serves
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use object::{Object, ObjectSegment};

use crate::{
    cross, firmware,
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

/// Bytes that the runtime may add.
const BUDGET: u64 = 300_000;
/// Bytes of a program that keeps a model up to date from a folder. The goal is 1,100,000; what prepares raw inputs for golden cases and what reports health are
/// linked with every agent, and took it over that. It does not grow further.
const AGENT: u64 = 1_245_000;
/// Bytes of one that does so over HTTPS. The goal is 2,400,000.
const AGENT_TLS: u64 = 2_465_000;
const X86_64: &str = "x86_64-unknown-linux-gnu";
/// Seconds for one emulated run.
const TIMEOUT_S: &str = "300";

pub(crate) fn check(tree: &Tree) -> Result {
    let work = tree.target.join("size");
    let (bundle, _) = firmware::bundle(tree, &work)?;
    let mut faults = Vec::new();
    let (mut answers, mut too_large) = (Vec::new(), Vec::new());
    let mut weigh = |name: &str, with: &Path, without: &Path| -> Result {
        let (with, without) = (len(with)?, len(without)?);
        let adds = with.saturating_sub(without);
        println!("{name}: {with} bytes loaded with the engine, {without} without: it adds {adds} of {BUDGET}");
        if adds > BUDGET {
            faults.push(format!("{name}: {adds} bytes, over {BUDGET}"));
        }
        Ok(())
    };
    if std::env::consts::ARCH == "x86_64" {
        let build = |features| build(tree, &work, X86_64, features);
        let (without, with) = (build(None)?, build(Some("engine"))?);
        weigh("x86-64", &with, &without)?;
        answers.push(Cmd::new(&with).arg(&bundle).read()?);
        too_large = agents(tree, &work, &bundle)?;
    } else {
        println!("x86-64 is weighed only where it is the host");
    }
    let build = |features| build(tree, &work, cross::TARGET, features);
    let (without, with) = (build(None)?, build(Some("engine"))?);
    weigh("aarch64", &with, &without)?;
    let emulator = ["-k", "5", TIMEOUT_S, "qemu-aarch64", "-cpu", "max,pauth-impdef=on", "-L", "/"];
    answers.push(Cmd::new("timeout").args(emulator).arg(&with).arg(&bundle).read()?);
    faults.extend(too_large);
    println!("checksums of the outputs: {}", answers.iter().map(|a| a.trim()).collect::<Vec<_>>().join(" "));
    if answers.windows(2).any(|pair| pair[0] != pair[1]) {
        faults.push("the targets answer differently".into());
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// The programs with an agent: what is too large.
fn agents(tree: &Tree, work: &Path, bundle: &Path) -> Result<Vec<String>> {
    let (repository, model, _) = firmware::lite::repository(tree, work, bundle)?;
    let root = repository.join("metadata/1.root.json");
    let mut faults = Vec::new();
    for (feature, budget) in [("agent", AGENT), ("tls", AGENT_TLS)] {
        let program = build(tree, work, X86_64, Some(feature))?;
        let len = len(&program)?;
        println!("x86-64: {len} bytes loaded with {feature}, of {budget}");
        if len > budget {
            faults.push(format!("x86-64 with {feature}: {len} bytes, over {budget}"));
        }
        let store = work.join(format!("store-{feature}"));
        if store.exists() {
            fs::remove_dir_all(&store).map_err(|e| format!("{}: {e}", store.display()))?;
        }
        Cmd::new(&program).arg(&store).arg(&root).arg(&repository).arg(&model).run()?;
    }
    Ok(faults)
}

/// Builds the program; each kind keeps its file. They share a folder, and with it all crates that they have in common.
fn build(tree: &Tree, work: &Path, target: &str, features: Option<&str>) -> Result<PathBuf> {
    let folder = work.join("build");
    let mut cargo = Cmd::cargo(tree, ["build", "--release", "--quiet", "--locked", "-p", "fleetfoot-size", "--target"])
        .arg(target)
        .dir(tree.root.join("devices"))
        .arg("--target-dir")
        .arg(&folder)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols");
    if let Some(features) = features {
        cargo = cargo.args(["--features", features]);
    }
    if target == cross::TARGET {
        cargo = cargo
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
            .env("RUSTC", DEBIAN_RUSTC)
            // Cargo points it to the libraries of the compiler that built this program; that is another one.
            .env_remove("LD_LIBRARY_PATH");
    }
    cargo.run()?;
    let kept = work.join(format!("{}-{target}", features.unwrap_or("without")));
    let built = folder.join(target).join("release/fleetfoot-size");
    fs::copy(&built, &kept).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(kept)
}

/// Bytes of the file that are loaded. The length of the file would be rounded to pages of 64 kB on AArch64.
fn len(path: &Path) -> Result<u64> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let file = object::File::parse(&*bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let len = file.segments().map(|segment| segment.file_range().1).sum();
    println!("{}: {} bytes, {len} of them loaded", path.display(), bytes.len());
    Ok(len)
}
