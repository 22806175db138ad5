//! `cargo xtask bench WHAT`: measurements. They are no checks: CI does not run them, a shared machine cannot pass or fail them.
//!
//! ```text
//! peers [--rounds N] [--models A,B] [--peers A,B] [--threads 1,2]   other runtimes beside ours, in turn, on one core
//! arm [--models A,B] [--cpus A,B] [--peers A,B] [--isa auto|all|NAME] [--layers]
//!     executed AArch64 instructions in an emulator, ours and theirs; `benches/arm/README.md`
//! ```

mod arm;
mod peers;

use crate::shell::{Result, Tree};

/// What stands after `bench`.
pub(crate) const USAGE: &str = "bench: peers [--rounds N] [--models A,B] [--peers A,B] [--threads 1,2]
       arm [--models A,B] [--cpus A,B] [--peers litert,onnxruntime|none] [--isa auto|all|NAME] [--layers]";

/// `cargo xtask bench ARGS`.
pub(crate) fn run(tree: &Tree, args: &[String]) -> Result {
    match args.split_first().map(|(what, rest)| (what.as_str(), rest)) {
        Some(("arm", rest)) => arm::run(tree, rest),
        Some(("peers", rest)) => peers::run(tree, rest),
        _ => Err(USAGE.into()),
    }
}
