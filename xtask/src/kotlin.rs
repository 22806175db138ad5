//! The check `kotlin`: the Kotlin binding against the real library, with the scenario that C and Rust play, too.
//!
//! ```text
//! documentation   every public declaration has a comment
//! readme          its first result has at most six lines, is compiled from there, and runs
//! tests           all that are in the sources, on the JVM: once plain and once with -Xcheck:jni, which looks at every call that passes between the two
//! android         the classes of the AAR, compiled against Android 7; frames, jobs and the scenario with the system's own classes
//! sample          against `fleetfoot serve`: takes updates, classifies a photo, survives a bad version
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    capi, readme, served,
    shell::{Cmd, Result, Tree},
};

/// Handles that the scenario closes: each of these runs starts eight threads of a virtual machine.
const HANDLES: &str = "2000";
/// Lines of a newcomer's first result.
const FIRST_LINES: usize = 6;

pub(crate) fn check(tree: &Tree) -> Result {
    documented(tree)?;
    let world = capi::world(tree)?;
    let library = library(tree)?;
    for jvm in ["", "-Xcheck:jni"] {
        test(tree, &library, &world, &[], jvm)?;
    }
    test(tree, &library, &world, &["-Pandroid"], "")?;
    sample(tree, &library, &world)
}

/// Builds the native library for this machine, shared and static, and tells where the shared one is.
pub(crate) fn library(tree: &Tree) -> Result<PathBuf> {
    let kinds = ["rustc", "--quiet", "--release", "-p", "fleetfoot-jni", "--crate-type", "cdylib,staticlib"];
    Cmd::cargo(tree, kinds).run()?;
    let name = format!("{}fleetfoot_jni{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    Ok(tree.target.join("release").join(name))
}

/// Where Maven builds: the classes of the JVM or those of Android.
pub(crate) fn work(tree: &Tree, profiles: &[&str]) -> PathBuf {
    tree.target.join(if profiles.is_empty() { "kotlin" } else { "kotlin-android" })
}

/// Maven in the folder of the binding.
pub(crate) fn maven(tree: &Tree, profiles: &[&str], goal: &str) -> Cmd {
    Cmd::new("mvn")
        .args(["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never"])
        .args(profiles)
        .arg(goal)
        .arg(property("target", &work(tree, profiles)))
        .arg(property("readme", &tree.target.join("kotlin-readme")))
        .dir(tree.root.join("bindings/kotlin"))
}

pub(crate) fn property(name: &str, value: &Path) -> String {
    format!("-Dfleetfoot.{name}={}", value.display())
}

fn test(tree: &Tree, library: &Path, world: &Path, profiles: &[&str], jvm: &str) -> Result {
    newcomer(tree, world)?;
    let output = maven(tree, profiles, "test")
        .arg(property("library", library))
        .arg(property("world", world))
        .arg(property("scenario", &tree.root.join("tests/scenario.txt")))
        .arg(property("header", &tree.root.join("ffi/include/fleetfoot.h")))
        .arg(format!("-Dfleetfoot.jvm={jvm}"))
        .env("FLEETFOOT_FEW", HANDLES)
        .read()?;
    let summary = output.lines().rfind(|line| line.contains("Tests run:")).unwrap_or_default();
    println!("{summary} {profiles:?} {jvm}");
    // The virtual machine warns and goes on.
    let warnings: Vec<&str> = output
        .lines()
        .filter(|line| line.contains("WARNING in native method") || line.contains("FATAL ERROR"))
        .collect();
    let declared = declared(tree, if profiles.is_empty() { "jvmTest" } else { "androidTest" })?;
    let scenario =
        output.lines().any(|line| line.contains("Tests run: 1, ") && line.ends_with("dev.fleetfoot.ScenarioTest"));
    if !summary.contains(&format!("Tests run: {declared}, Failures: 0, Errors: 0, Skipped: 0")) || !scenario {
        return Err(format!("not all {declared} tests ran (the scenario: {scenario}): {summary:?}"));
    }
    if warnings.is_empty() { Ok(()) } else { Err(warnings.join("; ")) }
}

/// Tests in the sources: those of all platforms, and those in `folder`.
fn declared(tree: &Tree, folder: &str) -> Result<usize> {
    let mut n_tests = 0;
    for folder in ["test", folder] {
        for path in sources(&tree.root.join("bindings/kotlin/src").join(folder).join("kotlin"))? {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            n_tests += text.lines().filter(|line| line.trim() == "@Test").count();
        }
    }
    Ok(n_tests)
}

/// The examples of the README as functions that the tests call; they find their files in the folder where the tests run.
fn newcomer(tree: &Tree, world: &Path) -> Result {
    let examples = readme::examples(&tree.root.join("bindings/kotlin/README.md"), "kotlin")?;
    let mut source = String::from("package dev.fleetfoot.readme\n\nimport dev.fleetfoot.*\nimport java.io.File\n");
    for (number, example) in examples.iter().enumerate() {
        readme::short(example, FIRST_LINES)?;
        source.push_str(&format!("\nsuspend fun example{number}() {{\n{example}}}\n"));
    }
    let folder = tree.target.join("kotlin-readme");
    capi::fresh(&folder)?;
    fs::write(folder.join("Readme.kt"), source).map_err(|e| format!("Readme.kt: {e}"))?;
    capi::copy(&world.join("1.ff"), &folder.join("digits-1.0.0.ff"))?;
    for name in ["key.bin", "input.bin", "root.json"] {
        capi::copy(&world.join(name), &folder.join(name))?;
    }
    Ok(())
}

/// The sample program against a server, while the repository behind it gets a better release and then a broken one.
fn sample(tree: &Tree, library: &Path, world: &Path) -> Result {
    let class_path = class_path(tree)?;
    served::watch(tree, world, "photo.bmp", |arguments| {
        Cmd::new("java")
            .args(["-Xcheck:jni", "-cp", &class_path])
            .arg(property("library", library))
            .arg("dev.fleetfoot.sample.WatchKt")
            .args(arguments)
    })
}

/// Compiles the binding with its tests, and tells the class path of both.
pub(crate) fn test_classes(tree: &Tree, world: &Path, library: &Path) -> Result<String> {
    newcomer(tree, world)?;
    maven(tree, &[], "test-compile").arg(property("library", library)).read()?;
    class_path(tree)
}

/// The class path of the tests.
fn class_path(tree: &Tree) -> Result<String> {
    let list = tree.target.join("class-path.txt");
    let output = format!("-Dmdep.outputFile={}", list.display());
    maven(tree, &[], "dependency:build-classpath").arg(output).read()?;
    let jars = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let classes = work(tree, &[]);
    let (tests, binding) = (classes.join("test-classes"), classes.join("classes"));
    Ok(format!("{}:{}:{}", tests.display(), binding.display(), jars.trim()))
}

/// Every public declaration of the binding has a comment of its own.
fn documented(tree: &Tree) -> Result {
    let mut faults = Vec::new();
    let mut n_documented = 0;
    for folder in ["main", "android"] {
        for path in sources(&tree.root.join("bindings/kotlin/src").join(folder).join("kotlin"))? {
            let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let (documented, missing) = undocumented(&text);
            n_documented += documented;
            faults.extend(missing.into_iter().map(|line| format!("{}:{line}", path.display())));
        }
    }
    println!("{n_documented} public declarations of the Kotlin binding are documented");
    if faults.is_empty() { Ok(()) } else { Err(format!("without a comment (KDoc): {}", faults.join(" "))) }
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
            let path = entry.map_err(|e| e.to_string())?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "kt") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// How many public declarations have a comment, and the lines of those that have none. Overridden members have that of what they override.
fn undocumented(text: &str) -> (usize, Vec<usize>) {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let (mut documented, mut missing) = (0, Vec::new());
    // Properties of public data classes need no `public`: their parameter lists are looked through.
    let mut in_data_class = false;
    for (at, line) in lines.iter().enumerate() {
        let is_entry = line.split(['(', ',', ';']).next().is_some_and(|word| {
            word.len() > 1
                && word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
        });
        let property = in_data_class && line.starts_with("val ");
        if line.starts_with("public data class") {
            in_data_class = line.ends_with('(');
        } else if line.starts_with(')') {
            in_data_class = false;
        }
        if !line.starts_with("public ") && !line.starts_with("protected ") && !property && !is_entry {
            continue;
        }
        let before = lines[..at].iter().rev().find(|before| !before.starts_with('@'));
        if before.is_some_and(|before| before.ends_with("*/")) {
            documented += 1;
        } else {
            missing.push(at + 1);
        }
    }
    (documented, missing)
}

#[cfg(test)]
mod tests {
    use super::undocumented;

    #[test]
    fn comments() {
        let text = "/** A. */\npublic data class A(\n    /** B. */\n    val b: Int,\n    val c: Int,\n) {\n    val d = 1\n    public fun e() {}\n}\n\
                    /** F. */\n@JvmStatic\npublic fun f() {}\n/** G */\npublic enum class G {\n    ONE,\n    /** Two. */\n    TWO,\n}\n";
        assert_eq!(undocumented(text), (5, vec![5, 8, 15]));
    }
}
