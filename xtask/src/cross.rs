//! The check `aarch64`: tests built for AArch64 Linux and run under `qemu-aarch64`.
//!
//! Kernels select by the CPU they find, so the emulated CPU is part of the test: without dot products, with them, and with
//! everything that qemu knows. Each must choose the fastest kernels it has; all others that it has are tested too.

use std::path::PathBuf;

use crate::{
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

/// The triple.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";
/// CPUs, and the kernels that must be chosen on each. `pauth-impdef` only makes emulation faster.
const CPUS: [(&str, &str); 3] = [("cortex-a53", "neon"), ("cortex-a76", "dotprod"), ("max,pauth-impdef=on", "i8mm")];
/// Seconds for one test binary; an emulator that hangs must not hang the run.
const TIMEOUT_S: u32 = 900;
/// The packages (and the one test of each, or all) whose results could depend on the CPU.
const TESTS: [(&str, Option<&str>); 3] =
    [("fleetfoot-kernels", None), ("fleetfoot-tests", Some("goldens")), ("fleetfoot-config", Some("same_everywhere"))];

pub(crate) fn check(tree: &Tree) -> Result {
    let mut failed = Vec::new();
    for (cpu, isa) in CPUS {
        for (package, test) in TESTS {
            let args = match test {
                Some(test) => ["-p", package, "--test", test].to_vec(),
                // Documentation examples are the host's business.
                None => ["-p", package, "--lib", "--tests"].to_vec(),
            };
            let runner = format!("timeout -k 5 {TIMEOUT_S} qemu-aarch64 -cpu {cpu} -L /");
            let done = cargo(tree, "test", &args)
                .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner)
                // Tests leave out what would take hours in an emulator.
                .env("FLEETFOOT_EMULATED", "1")
                .env("FLEETFOOT_EXPECTED_ISA", isa)
                .run();
            if let Err(fault) = done {
                println!("{fault}");
                failed.push(format!("{package} on {cpu}"));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}

/// Where builds for [`TARGET`] go: beside those for this machine.
pub(crate) fn target_folder(tree: &Tree) -> PathBuf {
    tree.target.join("aarch64")
}

/// `cargo COMMAND ARGS` for [`TARGET`].
pub(crate) fn cargo(tree: &Tree, command: &str, args: &[&str]) -> Cmd {
    Cmd::cargo(tree, [command, "--target", TARGET])
        .args(args)
        .arg("--target-dir")
        .arg(target_folder(tree))
        .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
        .env("RUSTC", DEBIAN_RUSTC)
        // Cargo points it to the libraries of the compiler that built this program; that is another one.
        .env_remove("LD_LIBRARY_PATH")
}
