//! `cargo xtask test`: the table of checks, and the run through it.

mod lanes;

use std::{thread, time::Duration};

use crate::{
    capi, conformance, cross, direction, dist, firmware, hygiene, interop, kotlin, memory,
    setup::{self, Area},
    shell::{Cmd, Result, Tree},
    size, swift,
};

/// One check. It prints as it goes and returns what is wrong.
struct Check {
    name: &'static str,
    /// Tools beyond Rust that it needs.
    area: Option<Area>,
    /// What it builds or writes that another check does, too: two of one room never run at the same time.
    room: Room,
    run: fn(&Tree) -> Result,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Shares nothing, or only what Cargo guards itself.
    Own,
    /// `target/debug`, whose programs differ with their features.
    Debug,
    /// The world of the scenario, and what Maven fetches.
    Scenario,
}

/// In the order in which they begin: what the others need first, then what takes longest.
const CHECKS: &[Check] = &[
    Check { name: "fmt", area: None, room: Room::Own, run: fmt },
    Check { name: "hygiene", area: None, room: Room::Own, run: hygiene::check },
    Check { name: "direction", area: None, room: Room::Own, run: direction::check },
    Check { name: "deny", area: Some(Area::Deny), room: Room::Own, run: deny },
    Check { name: "clippy", area: None, room: Room::Debug, run: clippy },
    Check { name: "program", area: None, room: Room::Own, run: program },
    Check { name: "unit", area: None, room: Room::Debug, run: unit },
    Check { name: "aarch64", area: Some(Area::Aarch64), room: Room::Own, run: cross::check },
    Check { name: "capi", area: Some(Area::C), room: Room::Scenario, run: capi::check },
    Check { name: "memory", area: None, room: Room::Own, run: memory::check },
    Check { name: "doc", area: None, room: Room::Debug, run: doc },
    Check { name: "demo", area: None, room: Room::Own, run: demo },
    Check { name: "size", area: Some(Area::Aarch64), room: Room::Own, run: size::check },
    Check { name: "kotlin", area: Some(Area::Kotlin), room: Room::Scenario, run: kotlin::check },
    Check { name: "swift", area: Some(Area::Swift), room: Room::Scenario, run: swift::check },
    Check { name: "firmware", area: Some(Area::Firmware), room: Room::Own, run: firmware::check },
    Check { name: "conformance", area: Some(Area::Python), room: Room::Debug, run: conformance::check },
    Check { name: "interop", area: Some(Area::Python), room: Room::Own, run: interop::check },
];

/// Run only when they are asked for by name.
const ON_DEMAND: &[Check] = &[
    // Builds a standard library for Android and for each slice of the XCFramework.
    Check { name: "dist", area: Some(Area::Dist), room: Room::Scenario, run: dist::check },
];

pub(crate) fn names() -> Vec<&'static str> {
    CHECKS.iter().chain(ON_DEMAND).map(|check| check.name).collect()
}

/// Runs the named checks, or all of them: one after the other, or two at a time where there are several and two cores.
pub(crate) fn run(tree: &Tree, wanted: &[String]) -> Result {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(&name.as_str())) {
        return Err(format!("no check {unknown}; there are: {}", names().join(" ")));
    }
    let chosen: Vec<_> = if wanted.is_empty() { CHECKS.iter().collect() } else { named(wanted).collect() };
    let areas: Vec<Area> = chosen.iter().filter_map(|check| check.area).collect();
    let ready = setup::ensure(tree, &areas);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let lanes = if chosen.len() > 1 { cores.min(LANES) } else { 1 };
    report(&lanes::run(tree, &chosen, &ready, lanes))
}

fn named(wanted: &[String]) -> impl Iterator<Item = &'static Check> {
    CHECKS.iter().chain(ON_DEMAND).filter(|check| wanted.iter().any(|name| name == check.name))
}

/// Checks at a time. Links, emulators and virtual machines use one core each and leave the other idle; builds take turns at Cargo's lock.
const LANES: usize = 2;

/// One check in this process, as [`lanes`] starts it: its output is streamed, its fault is the last line.
pub(crate) fn run_one(tree: &Tree, name: &str) -> Result {
    let check =
        CHECKS.iter().chain(ON_DEMAND).find(|check| check.name == name).ok_or_else(|| format!("no check {name}"))?;
    (check.run)(tree)
}

enum Outcome {
    Ok,
    Failed(String),
    Skipped(String),
}

/// A check that was run, how long it took, and what came of it.
type Row = (&'static str, Duration, Outcome);

fn report(rows: &[Row]) -> Result {
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
