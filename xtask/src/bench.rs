//! `cargo xtask bench WHAT`: measurements. They are no checks: CI does not run them, a shared machine cannot pass or fail them.
//!
//! ```text
//! peers [--rounds N] [--models A,B] [--peers A,B] [--threads 1,2]   other runtimes beside ours, in turn, on one core
//! arm [--models A,B] [--cpus A,B] [--peers A,B] [--isa auto|all|NAME] [--layers]
//!     executed AArch64 instructions in an emulator, ours and theirs; `benches/arm/README.md`
//! isa [--rounds N]     whether the picked instruction set is the fastest of this CPU; fails if not
//! jni                  what a call from Kotlin costs beside one from C
//! kernels [FILTER]     single layers with criterion, against what it measured before
//! models [FILTER]      whole networks, the same way
//! shadow [--blocks N] [--calls N] [--pause US]   what a candidate in the shadow costs the calls of the application
//! swift                what a call from Swift costs over the same call from C (after `cargo xtask test swift`, which installs Swift)
//! ```

mod arm;
mod jni;
mod peers;

use crate::{
    shell::{Cmd, Result, Tree},
    swift,
};

/// What stands after `bench`.
pub(crate) const USAGE: &str = "bench: peers [--rounds N] [--models A,B] [--peers A,B] [--threads 1,2]
       arm [--models A,B] [--cpus A,B] [--peers litert,onnxruntime|none] [--isa auto|all|NAME] [--layers]
       isa [--rounds N]
       jni
       kernels|models [FILTER or options of criterion]
       shadow [--blocks N] [--calls N] [--pause MICROSECONDS]
       swift";

/// `cargo xtask bench ARGS`.
pub(crate) fn run(tree: &Tree, args: &[String]) -> Result {
    match args.split_first().map(|(what, rest)| (what.as_str(), rest)) {
        Some(("arm", rest)) => arm::run(tree, rest),
        Some(("jni", [])) => jni::run(tree),
        Some(("peers", rest)) => peers::run(tree, rest),
        Some(("swift", _)) => swift::bench(tree),
        Some(("isa", rest)) => {
            Cmd::cargo(tree, ["run", "--release", "--quiet", "-p", "fleetfoot-benches", "--bin", "isa", "--"])
                .args(rest)
                .run()
        }
        Some((name @ ("kernels" | "models" | "shadow"), rest)) => {
            Cmd::cargo(tree, ["bench", "--quiet", "-p", "fleetfoot-benches", "--bench", name, "--"]).args(rest).run()
        }
        _ => Err(USAGE.into()),
    }
}
