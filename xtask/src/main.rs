//! Tasks of the project, for people and for CI:
//!
//! ```text
//! cargo xtask setup               installs what the checks need (says what), or says what is missing
//! cargo xtask test [CHECK...]     every check, or the named ones; one table at the end
//! cargo xtask fuzz [--minutes N] [TARGET...]   libFuzzer over bundles and .tflite files, 10 minutes each
//! cargo xtask tidy                fmt, clippy and the look of the files: before you push
//! cargo xtask dist [DIR]          everything that others build upon, in one folder: libraries, headers, jar, AAR, lists
//! cargo xtask demo [ARGS...]      builds the program and runs `fleetfoot demo ARGS`
//! cargo xtask xcframework DIR     builds the C interface for Apple's platforms and lays CFleetfoot.xcframework out in DIR
//! cargo xtask bench WHAT [ARGS...] measurements: see `bench.rs`
//! ```
//! `test` runs two checks at a time where it can, prints what each has to say when it ends (a single one as it goes), goes on after
//! a failure, and exits with 1 if any check failed. A check whose
//! tools are missing is skipped, and says which; where the environment has CI=true that is a failure.
#![forbid(unsafe_code)]

mod bench;
mod capi;
mod checks;
mod conformance;
mod cross;
mod direction;
mod dist;
mod firmware;
mod fuzz;
mod hygiene;
mod interop;
mod kotlin;
mod memory;
mod readme;
mod served;
mod setup;
mod shell;
mod size;
mod swift;

use std::process::ExitCode;

use shell::{Cmd, Result, Tree};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tree = Tree::find();
    let done = match args.split_first().map(|(task, rest)| (task.as_str(), rest)) {
        Some(("setup", [])) => setup::run(&tree),
        Some(("test", names)) => checks::run(&tree, names),
        // One check alone, as `test` starts it beside others.
        Some(("check", [name])) => checks::run_one(&tree, name),
        Some(("fuzz", rest)) => fuzz::run(&tree, rest),
        Some(("tidy", [])) => tidy(&tree),
        Some(("demo", rest)) => demo(&tree, rest),
        Some(("xcframework", [dir])) => swift::xcframework(&tree, dir.as_ref()),
        Some(("bench", rest)) => bench::run(&tree, rest),
        Some(("dist", rest)) => dist::run(&tree, rest),
        _ => {
            eprintln!(
                "usage: cargo xtask setup | test [CHECK...] | fuzz [--minutes N] [TARGET...] | bench WHAT [ARGS...] | xcframework DIR | tidy | dist [--bless] [DIR] | demo [ARGS...]"
            );
            eprintln!("checks: {}", checks::names().join(" "));
            eprintln!("targets: {}", fuzz::TARGETS.join(" "));
            eprintln!("{}", bench::USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("xtask: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Formats, then says what clippy and the hygiene check find.
fn tidy(tree: &Tree) -> Result {
    Cmd::cargo(tree, ["fmt", "--all"]).run()?;
    for workspace in ["devices", "fuzz"] {
        Cmd::cargo(tree, ["fmt", "--all"]).dir(tree.root.join(workspace)).run()?;
    }
    checks::clippy(tree)?;
    hygiene::check(tree)
}

fn demo(tree: &Tree, args: &[String]) -> Result {
    let program = tree.program()?;
    // `cargo xtask demo -- --quiet` and `cargo xtask demo --quiet` mean the same.
    let args = args.strip_prefix(&["--".to_string()]).unwrap_or(args);
    Cmd::new(&program).arg("demo").args(args).dir(&tree.root).run()
}
