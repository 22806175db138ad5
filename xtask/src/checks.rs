//! `cargo xtask test`: the table of checks, quick ones first, and the run through it.

use std::time::{Duration, Instant};

use crate::{
    capi, conformance, cross, direction, dist, firmware, hygiene, interop, kotlin, memory,
    setup::{self, Area},
    shell::{Cmd, Result, Tree},
    size,
};

/// One check. It prints as it goes and returns what is wrong.
struct Check {
    name: &'static str,
    /// Tools beyond Rust that it needs.
    area: Option<Area>,
    run: fn(&Tree) -> Result,
}

const CHECKS: &[Check] = &[
    Check { name: "fmt", area: None, run: fmt },
    Check { name: "hygiene", area: None, run: hygiene::check },
    Check { name: "direction", area: None, run: direction::check },
    Check { name: "clippy", area: None, run: clippy },
    Check { name: "unit", area: None, run: unit },
    Check { name: "memory", area: None, run: memory::check },
    Check { name: "doc", area: None, run: doc },
    Check { name: "deny", area: Some(Area::Deny), run: deny },
    Check { name: "program", area: None, run: program },
    Check { name: "demo", area: None, run: demo },
    Check { name: "interop", area: Some(Area::Python), run: interop::check },
    Check { name: "conformance", area: Some(Area::Python), run: conformance::check },
    Check { name: "aarch64", area: Some(Area::Aarch64), run: cross::check },
    Check { name: "capi", area: Some(Area::C), run: capi::check },
    Check { name: "kotlin", area: Some(Area::Kotlin), run: kotlin::check },
    // After those two: it takes what they have built.
    Check { name: "dist", area: Some(Area::Dist), run: dist::check },
    Check { name: "size", area: Some(Area::Aarch64), run: size::check },
    Check { name: "firmware", area: Some(Area::Firmware), run: firmware::check },
];

pub(crate) fn names() -> Vec<&'static str> {
    CHECKS.iter().map(|check| check.name).collect()
}

/// Runs the named checks, or all of them.
pub(crate) fn run(tree: &Tree, wanted: &[String]) -> Result {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_str())) {
        return Err(format!("no check {unknown}; there are: {}", names().join(" ")));
    }
    let chosen: Vec<_> =
        CHECKS.iter().filter(|check| wanted.is_empty() || wanted.iter().any(|name| name == check.name)).collect();
    let areas: Vec<Area> = chosen.iter().filter_map(|check| check.area).collect();
    let ready = setup::ensure(tree, &areas);

    let mut rows = Vec::new();
    for check in chosen {
        println!("\n=== {} ===", check.name);
        let missing = check.area.and_then(|area| ready.missing(area));
        let start = Instant::now();
        let outcome = match missing {
            Some(what) if Tree::is_ci() => Outcome::Failed(format!("not run: {what}")),
            Some(what) => Outcome::Skipped(what),
            None => (check.run)(tree).map_or_else(Outcome::Failed, |()| Outcome::Ok),
        };
        if let Outcome::Failed(fault) = &outcome {
            println!("FAILED {}: {fault}", check.name);
        }
        rows.push((check.name, start.elapsed(), outcome));
    }
    report(&rows)
}

enum Outcome {
    Ok,
    Failed(String),
    Skipped(String),
}

fn report(rows: &[(&str, Duration, Outcome)]) -> Result {
    println!("\ncheck       result   seconds");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, time, outcome) in rows {
        let (word, count, why) = match outcome {
            Outcome::Ok => ("ok", &mut passed, ""),
            Outcome::Failed(fault) => ("FAILED", &mut failed, fault.as_str()),
            Outcome::Skipped(what) => ("skipped", &mut skipped, what.as_str()),
        };
        *count += 1;
        println!("{}", format!("{name:11} {word:8} {:7.1}  {why}", time.as_secs_f64()).trim_end());
    }
    println!();
    match skipped {
        0 => println!("{passed} passed, {failed} failed"),
        _ => println!("{passed} passed, {failed} failed, {skipped} skipped"),
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} checks failed")) }
}

fn fmt(tree: &Tree) -> Result {
    Cmd::cargo(tree, ["fmt", "--all", "--check"]).run()?;
    for workspace in ["devices", "fuzz"] {
        Cmd::cargo(tree, ["fmt", "--all", "--check"]).dir(tree.root.join(workspace)).run()?;
    }
    Ok(())
}

pub(crate) fn clippy(tree: &Tree) -> Result {
    Cmd::cargo(tree, ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]).run()
}

/// All tests of the workspace; `--no-fail-fast` so that one failure does not hide another.
fn unit(tree: &Tree) -> Result {
    Cmd::cargo(tree, ["test", "--workspace", "--no-fail-fast"]).run()
}

fn doc(tree: &Tree) -> Result {
    Cmd::cargo(tree, ["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings").run()
}

/// Licences, sources and duplicates of every dependency. Known vulnerabilities are not looked up: that needs a database
/// fetched from GitHub at the time of the check (`cargo deny check advisories` does it where the network allows).
fn deny(tree: &Tree) -> Result {
    println!("advisories are not checked here: their database is fetched from GitHub (cargo deny check advisories)");
    let cargo_deny = setup::cargo_deny(tree).ok_or("cargo-deny is missing")?;
    for manifest in ["Cargo.toml", "devices/Cargo.toml"] {
        // It finds deny.toml in the folder where it runs.
        Cmd::new(&cargo_deny)
            .dir(&tree.root)
            .args(["--manifest-path", manifest, "check", "--hide-inclusion-graph", "bans", "licenses", "sources"])
            .run()?;
    }
    Ok(())
}

/// The main job from end to end, with the server, the devices and the refusals; it ends by itself where there is no terminal.
fn demo(tree: &Tree) -> Result {
    Cmd::new(tree.program()?).args(["demo", "--quiet"]).dir(&tree.root).run()
}

/// The release build, which the checks after this one run.
fn program(tree: &Tree) -> Result {
    let program = tree.program()?;
    Cmd::new(program).arg("--version").run()
}
