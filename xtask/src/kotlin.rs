//! The check `kotlin`: the Kotlin binding on the JVM against the real library, with the scenario that C and Rust play, too; once plain and once with
//! `-Xcheck:jni`, which looks at every call that passes between the two.

use std::path::Path;

use crate::{
    capi,
    shell::{Cmd, Result, Tree},
};

/// Handles that the scenario closes: each of these runs starts eight threads of a virtual machine.
const HANDLES: &str = "2000";

pub(crate) fn check(tree: &Tree) -> Result {
    let world = capi::world(tree)?;
    Cmd::cargo(tree, ["build", "--quiet", "--release", "-p", "fleetfoot-jni"]).run()?;
    let name = format!("{}fleetfoot_jni{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = tree.target.join("release").join(name);
    for jvm in ["", "-Xcheck:jni"] {
        test(tree, &library, &world, jvm)?;
    }
    Ok(())
}

fn test(tree: &Tree, library: &Path, world: &Path, jvm: &str) -> Result {
    let property = |name: &str, value: &Path| format!("-Dfleetfoot.{name}={}", value.display());
    let work = tree.target.join("kotlin");
    let output = Cmd::new("mvn")
        .args(["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never", "test"])
        .arg(property("target", &work))
        .arg(property("library", library))
        .arg(property("world", world))
        .arg(property("scenario", &tree.root.join("tests/scenario.txt")))
        .arg(format!("-Dfleetfoot.jvm={jvm}"))
        .dir(tree.root.join("bindings/kotlin"))
        .env("FLEETFOOT_FEW", HANDLES)
        .read()?;
    let summary = output.lines().rfind(|line| line.contains("Tests run:")).unwrap_or_default();
    println!("{summary} {jvm}");
    // The virtual machine warns and goes on.
    let warnings: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("WARNING in native method") || line.contains("FATAL ERROR"))
        .collect();
    if !summary.contains("Failures: 0, Errors: 0, Skipped: 0") {
        return Err(format!("not all tests ran: {summary:?}"));
    }
    if warnings.is_empty() { Ok(()) } else { Err(warnings.join("; ")) }
}
