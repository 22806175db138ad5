//! The check `swift`: the Swift binding as a Swift package on Linux, against the real library.
//!
//! ```text
//! trixie.rs        a Debian 13 in a folder, with Swift in it
//! swift test       the scenario that C, Rust and Kotlin play, too; models, images, actors, polls over HTTP with everything that goes wrong; that every test ran
//! README           its code, in a package of its own that depends on ours: built and run
//! Examples/Watch   against the server of the project, which serves a first release, a better one, a broken one
//! Apple            files behind `#if canImport` against declarations by hand
//! ```
//! The XCFramework (xcframework.rs) is built and looked at by the check `dist`.

pub(crate) mod trixie;
mod xcframework;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

pub(crate) use xcframework::xcframework;

use crate::{
    capi,
    served::Server,
    shell::{Cmd, Result, Tree},
};

const PACKAGE: &str = "bindings/swift";
/// Handles that the scenario closes: the threads take turns, which takes milliseconds for each.
const HANDLES: &str = "2000";

pub(crate) fn check(tree: &Tree) -> Result {
    let work = Work::new(tree)?;
    tests(&work)?;
    readme(&work)?;
    watch(&work)?;
    apple(&work)
}

/// All tests, and that each of those in the sources was run.
fn tests(work: &Work<'_>) -> Result {
    let report = work.folder.join("tests.xml");
    if report.exists() {
        fs::remove_file(&report).map_err(|e| format!("{}: {e}", report.display()))?;
    }
    work.swift("test", PACKAGE)
        .args(["-Xswiftc", "-warnings-as-errors", "--parallel", "--num-workers", "2", "--xunit-output"])
        .arg(&report)
        .run()?;
    let ran = ran(&read(&report)?);
    let mut missing = BTreeSet::new();
    for file in swift_files(&work.tree.root.join(PACKAGE).join("Tests/FleetfootTests"))? {
        missing.extend(declared(&read(&file)?).into_iter().filter(|name| !ran.contains(name)));
    }
    println!("{} tests were run", ran.len());
    match ran.iter().any(|name| name.starts_with("ScenarioTests.")) && missing.is_empty() {
        true => Ok(()),
        false => Err(format!("not run: {missing:?}; run: {ran:?}")),
    }
}

/// `Class.test` of a file with tests.
fn declared(text: &str) -> Vec<String> {
    let (mut class, mut found) = ("", Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some((name, _)) = line.strip_prefix("final class ").and_then(|rest| rest.split_once(": XCTestCase")) {
            class = name;
        }
        if let Some((name, _)) = line.strip_prefix("func ").and_then(|rest| rest.split_once('('))
            && name.starts_with("test")
        {
            found.push(format!("{class}.{name}"));
        }
    }
    found
}

/// The same of a report in the form of xUnit.
fn ran(report: &str) -> BTreeSet<String> {
    let value = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let tags = report.split("<testcase").skip(1).filter_map(|rest| Some(rest.split_once('>')?.0));
    tags.filter_map(|tag| {
        let (class, name) = (value(tag, "classname")?, value(tag, "name")?);
        Some(format!("{}.{name}", class.rsplit('.').next().unwrap_or_default()))
    })
    .collect()
}

/// `cargo xtask bench swift`: what a call costs.
pub(crate) fn bench(tree: &Tree) -> Result {
    trixie::ensure(tree)?;
    let work = Work::new(tree)?;
    work.swift("build", PACKAGE).args(["--configuration", "release", "--product", "calls"]).run()?;
    let program = work.folder.join("build/swift/release/calls");
    work.enter(&program.display().to_string()).arg(work.world.join("calls.ff")).arg(work.world.join("key.bin")).run()
}

/// What all parts of the check share.
struct Work<'a> {
    tree: &'a Tree,
    folder: PathBuf,
    world: PathBuf,
    /// An installed library: `lib`, with what pkg-config reads.
    prefix: PathBuf,
}

impl<'a> Work<'a> {
    fn new(tree: &'a Tree) -> Result<Self> {
        let folder = tree.target.join("swift");
        fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let world = capi::world(tree)?;
        let kinds = ["rustc", "--quiet", "--release", "-p", "fleetfoot-ffi", "--crate-type", "cdylib,staticlib"];
        Cmd::cargo(tree, kinds).args(capi::NAMED).run()?;
        let prefix = folder.join("prefix");
        capi::install(tree, &tree.target.join("release"), &prefix)?;
        Ok(Self { tree, folder, world, prefix })
    }

    fn enter(&self, program: &str) -> Cmd {
        let say = |name: &str, path: &Path| format!("{name}={}", path.display());
        let environment = [
            say("PKG_CONFIG_PATH", &self.prefix.join("lib/pkgconfig")),
            say("FLEETFOOT_WORLD", &self.world),
            say("FLEETFOOT_SCENARIO", &self.tree.root.join("tests/scenario.txt")),
            format!("FLEETFOOT_FEW={HANDLES}"),
        ];
        trixie::enter(self.tree, &self.prefix.join("lib"), &environment, program)
    }

    /// `swift COMMAND` for the package in `folder` of the checkout (or an absolute path), whose builds lie below the target folder.
    fn swift(&self, command: &str, folder: impl AsRef<Path>) -> Cmd {
        let name = folder.as_ref().file_name().unwrap_or_default();
        self.enter("swift")
            .args([command, "--disable-sandbox", "--package-path"])
            .arg(self.tree.root.join(folder.as_ref()))
            .arg("--scratch-path")
            .arg(self.folder.join("build").join(name))
            .arg("--cache-path")
            .arg(self.folder.join("cache"))
    }
}

/// Builds and runs what the README of the binding shows, word for word but for the names of this run.
fn readme(work: &Work<'_>) -> Result {
    let text = read(&work.tree.root.join(PACKAGE).join("README.md"))?;
    let blocks: Vec<&str> =
        text.split("```swift\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    let [first, updates] = blocks[..] else {
        return Err(format!("README has {} pieces of Swift, not 2", blocks.len()));
    };
    if first.lines().count() > 6 {
        return Err(format!("the first result takes {} lines, not 6", first.lines().count()));
    }
    let package = work.folder.join("newcomer");
    let source = package.join("Sources/newcomer");
    fs::create_dir_all(&source).map_err(|e| format!("{}: {e}", source.display()))?;
    let manifest = NEWCOMER.replace("BINDING", &work.tree.root.join(PACKAGE).display().to_string());
    write(&package.join("Package.swift"), &manifest)?;
    let main = format!("{BEFORE}{first}{BETWEEN}{}{AFTER}", updates.replace("\"kws\"", "\"digits\""));
    write(&source.join("main.swift"), &main.replace("\"https://example.org/models\"", "arguments[2]"))?;
    work.swift("build", &package).run()?;
    let serving = Server::start(work.tree, &work.world.join("1"))?;
    let store = work.folder.join("newcomer-store");
    fresh(&store)?;
    let program = work.folder.join("build/newcomer/debug/newcomer");
    let said = work.enter(&program.display().to_string()).arg(&store).arg(&serving.url).read()?;
    print!("{said}");
    if said.contains("first result right, serving 1.0.0") {
        Ok(())
    } else {
        Err("README does not do what it says".into())
    }
}

const NEWCOMER: &str = r#"// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "newcomer",
    dependencies: [.package(path: "BINDING")],
    targets: [.executableTarget(name: "newcomer", dependencies: [.product(name: "Fleetfoot", package: "swift")])]
)
"#;

const BEFORE: &str = r#"import Foundation
let arguments = CommandLine.arguments
let world = URL(fileURLWithPath: ProcessInfo.processInfo.environment["FLEETFOOT_WORLD"]!)
func file(_ name: String) throws -> Data { try Data(contentsOf: world.appendingPathComponent(name)) }
let (bundle, publicKey, root) = (world.appendingPathComponent("1.ff"), try file("key.bin"), try file("root.json"))
let samples = try file("input.bin").map { Int8(bitPattern: $0) }
let folder = URL(fileURLWithPath: arguments[1])
"#;

const BETWEEN: &str = r#"
let steps = try session.output(as: Int8.self)
let expected = try file("output-1.bin").map { Int8(bitPattern: $0) }
precondition(steps == expected)
precondition(scores.count == steps.count)
"#;

const AFTER: &str = r#"
print("first result right, serving \(serving.info.version)")
"#;

/// The sample: it takes the first release, the better one, and goes on with it when a broken one is offered.
fn watch(work: &Work<'_>) -> Result {
    let (store, photo) = (work.folder.join("watch-store"), work.folder.join("photo.ppm"));
    fresh(&store)?;
    fs::write(&photo, picture(&work.world)?).map_err(|e| format!("{}: {e}", photo.display()))?;
    let program = work.folder.join("build/swift/debug/watch").display().to_string();
    for (repository, expected) in [
        ("1", &["1.0.0 (number 1) serves on trial", "1.0.0 (number 1) is active", "answer of 1.0.0: class "][..]),
        ("2", &["2.0.0 (number 2) serves on trial", "2.0.0 (number 2) is active", "answer of 2.0.0: class "]),
        ("3", &["3.0.0 is out: 401", "answer of 2.0.0: class "]),
    ] {
        let serving = Server::start(work.tree, &work.world.join(repository))?;
        let said = work
            .enter(&program)
            .arg(&store)
            .arg(&serving.url)
            .arg(work.world.join("root.json"))
            .arg("digits")
            .arg(&photo)
            .args(["--polls", "2", "--every", "0.2"])
            .read()?;
        print!("{said}");
        if let Some(missing) = expected.iter().find(|words| !said.contains(**words)) {
            return Err(format!("watch of repository {repository} does not say {missing:?}"));
        }
    }
    // Nobody there: it says so, and goes on with what it has.
    let said = work
        .enter(&program)
        .arg(&store)
        .arg("http://127.0.0.1:1")
        .arg(work.world.join("root.json"))
        .arg("digits")
        .arg(&photo)
        .read()?;
    print!("{said}");
    if said.contains("poll failed") && said.contains("answer of 2.0.0: class ") {
        Ok(())
    } else {
        Err("offline it stops".into())
    }
}

/// The input of the world as a photo eight times as wide and high.
fn picture(world: &Path) -> Result<Vec<u8>> {
    const SCALE: usize = 8;
    let input = world.join("input.bin");
    let grey = fs::read(&input).map_err(|e| format!("{}: {e}", input.display()))?;
    let side = grey.len().isqrt();
    let mut photo = format!("P6\n{0} {0}\n255\n", side * SCALE).into_bytes();
    for y in 0..side * SCALE {
        for x in 0..side * SCALE {
            photo.extend([grey[y / SCALE * side + x / SCALE] ^ 0x80; 3]);
        }
    }
    Ok(photo)
}

/// Type checks what Linux leaves out, against modules of our own with the names of Apple's: that our side is sound, not that theirs is as declared.
fn apple(work: &Work<'_>) -> Result {
    let modules = work.folder.join("apple-modules");
    fresh(&modules)?;
    let binding = work.tree.root.join(PACKAGE);
    for name in ["CoreVideo", "BackgroundTasks"] {
        work.enter("swiftc")
            .args(["-emit-module", "-swift-version", "6", "-parse-as-library", "-module-name", name, "-o"])
            .arg(modules.join(format!("{name}.swiftmodule")))
            .arg(binding.join(format!("Tests/Apple/{name}.swift")))
            .run()?;
    }
    work.enter("swiftc")
        .args(["-typecheck", "-swift-version", "6", "-warnings-as-errors", "-module-name", "Fleetfoot", "-I"])
        .arg(&modules)
        .arg("-Xcc")
        .arg(format!("-fmodule-map-file={}", binding.join("Sources/CFleetfoot/module.modulemap").display()))
        .args(swift_files(&binding.join("Sources/Fleetfoot"))?)
        .run()
}

fn swift_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map_err(|e| format!("{}: {e}", folder.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "swift"))
        .collect();
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

fn fresh(dir: &Path) -> Result {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::{declared, ran};

    #[test]
    fn tests_that_ran() {
        let source = "final class A: XCTestCase {\n    func testOne() async throws {\n    func helper() {\n    func testTwo() {\n";
        assert_eq!(declared(source), ["A.testOne", "A.testTwo"]);
        let report = "<testsuite tests=\"1\">\n<testcase classname=\"T.A\" name=\"testOne\" time=\"0.1\">\n</testcase>\n</testsuite>";
        assert_eq!(ran(report).into_iter().collect::<Vec<_>>(), ["A.testOne"]);
    }
}
