//! The check `memory`: tests of kernels and engine under AddressSanitizer, on every instruction set of this CPU.
//!
//! The compiler brings the sanitizer's runtime but lets only unstable toolchains switch it on; `RUSTC_BOOTSTRAP` makes the
//! stable one do it, for this build alone. The standard library is the usual one, without instrumentation; our code, and every vector
//! load and store in it, is instrumented. Inputs, weights, scratch and outputs in the tests of kernels lie against pages that cannot be touched, so
//! that what the sanitizer does not see ends the run as well. Miri knows none of the vector instructions.

use crate::shell::{Cmd, Result, Tree};

/// Packages that have `unsafe`, or run what was proved about bytes from outside.
const PACKAGES: [&str; 3] = ["fleetfoot-kernels", "fleetfoot-engine", "fleetfoot-plan"];

pub(crate) fn check(tree: &Tree) -> Result {
    let host = host()?;
    let mut cargo = Cmd::cargo(tree, ["test", "--lib", "--tests", "--no-fail-fast"]);
    for package in PACKAGES {
        cargo = cargo.args(["-p", package]);
    }
    cargo
        .args(["--target", &host, "--target-dir"])
        .arg(tree.target.join("memory"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address -Cforce-frame-pointers=yes")
        // Leaks are no faults of memory, and looking for them needs rights that containers do not give.
        .env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=1:strict_string_checks=1")
        .run()
}

/// The target that this compiler builds for by itself.
pub(crate) fn host() -> Result<String> {
    let version = Cmd::new("rustc").arg("-vV").read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(String::from).ok_or_else(|| "rustc -vV names no host".into())
}
