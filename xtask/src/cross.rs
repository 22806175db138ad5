//! The check `aarch64`: tests built for AArch64 Linux and run under `qemu-aarch64`.
//!
//! Kernels select by the CPU they find, so the emulated CPU is part of the test: without dot products, with them, and with
//! everything that qemu knows.

use crate::{
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";
/// The instruction sets that matter, by a CPU that has them. `pauth-impdef` only makes emulation faster.
const CPUS: [&str; 3] = ["cortex-a53", "cortex-a76", "max,pauth-impdef=on"];
/// Seconds for one test binary; an emulator that hangs must not hang the run.
const TIMEOUT_S: u32 = 900;
/// The packages (and the one test of each, or all) whose results could depend on the CPU.
const TESTS: [(&str, Option<&str>); 2] = [("fleetfoot-kernels", None), ("fleetfoot-tests", Some("goldens"))];

pub(crate) fn check(tree: &Tree) -> Result {
    let mut failed = Vec::new();
    for cpu in CPUS {
        for (package, test) in TESTS {
            let mut cargo = Cmd::cargo(tree, ["test", "--target", TARGET, "-p", package]);
            cargo = match test {
                Some(test) => cargo.args(["--test", test]),
                // Documentation examples are the host's business.
                None => cargo.args(["--lib", "--tests"]),
            };
            let runner = format!("timeout -k 5 {TIMEOUT_S} qemu-aarch64 -cpu {cpu} -L /");
            let done = cargo
                .arg("--target-dir")
                .arg(tree.target.join("aarch64"))
                .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner)
                .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc")
                .env("RUSTC", DEBIAN_RUSTC)
                // Tests leave out what would take hours in an emulator.
                .env("FLEETFOOT_EMULATED", "1")
                // Cargo points it to the libraries of the compiler that built this program; that is another one.
                .env_remove("LD_LIBRARY_PATH")
                .run();
            if let Err(fault) = done {
                println!("{fault}");
                failed.push(format!("{package} on {cpu}"));
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}
