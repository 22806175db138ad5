//! The check `capi`: the C interface as others get it.
//!
//! ```text
//! build       the libraries, and once more without updates                -> sizes, on x86-64 and AArch64
//! install     header, shared and static library, pkg-config, CMake        (the check `dist` looks at what they export)
//! tests       bindings/c/tests with gcc and clang, as C99 and C++11       -> run, and under sanitizers, valgrind and qemu-aarch64
//! consumers   a program through pkg-config, one through CMake, what the README shows, the example beside `fleetfoot serve`
//! at once     without updates, with a standard library of its own in which a panic ends the process  -> its size, and that it answers
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::{
    cross, readme, served,
    setup::DEBIAN_RUSTC,
    shell::{Cmd, Result, Tree},
};

/// Bytes of the stripped shared library with models and sessions only, and with updates; both without a transport over HTTP.
/// The standard library as it comes is some 300,000 of them and the kernels of all instruction sets 195,000. The goals are 650,000 and 1,100,000: not met. It does
/// not grow further.
const BUDGETS: [(&str, &[&str], u64); 2] = [("models and sessions", &[], 800_000), ("with updates", UPDATE, 1_430_000)];
/// Bytes of the one with models and sessions, with a standard library built for it in which a panic ends the process. The goal is 350,000, and missed: the kernels of
/// all instruction sets are 188,000 of it.
const OWN_STD: u64 = 460_000;
const ABORT: &str = "-Cpanic=immediate-abort -Cforce-unwind-tables=no";
const HOST: &str = "x86_64-unknown-linux-gnu";
const UPDATE: &[&str] = &["--features", "update"];
/// As `[profile.small]` of the workspace has it; whole-program optimization is for libraries that are not also linked into Rust.
const SMALL: [&str; 8] = [
    "--profile",
    "small",
    "--quiet",
    "-p",
    "fleetfoot-ffi",
    "--crate-type",
    "cdylib,staticlib",
    "--no-default-features",
];
const LIBRARY: &str = "libfleetfoot_c.so";
/// Of the library that is installed.
pub(crate) const FEATURES: &[&str] = &["--features", "net"];
const SONAME: &str = "libfleetfoot.so.0";
/// Gives the shared library the name under which it is installed. Not a matter of a build script: that would name the library of the Kotlin shim, too.
pub(crate) const NAMED: [&str; 2] = ["--", "-Clink-arg=-Wl,-soname,libfleetfoot.so.0"];
pub(crate) const SHARED: &str = "libfleetfoot.so.0.1.0";
const VERSION: &str = "0.1.0";
/// What a program that links the static library needs beside it.
const STATIC_LIBS: [&str; 4] = ["pthread", "dl", "m", "gcc_s"];
const TESTS: [&str; 2] = ["api", "scenario"];
const COMPILERS: [&[&str]; 4] = [
    &["gcc", "-std=c99"],
    &["clang", "-std=c99"],
    &["g++", "-x", "c++", "-std=c++11"],
    &["clang++", "-x", "c++", "-std=c++11"],
];
const WARNINGS: [&str; 7] = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wshadow"];
/// Handles that the scenario closes where everything is slow.
const FEW: &str = "40";
const TIMEOUT_S: &str = "900";
const WORLD_AGE: Duration = Duration::from_secs(3600);

pub(crate) fn check(tree: &Tree) -> Result {
    let work = tree.target.join("capi");
    let world = world(tree)?;
    let prefix = work.join("prefix");
    let libraries = build(tree, FEATURES, None, &work)?;
    install(tree, &libraries, &prefix)?;

    for compiler in COMPILERS {
        for test in TESTS {
            let binary = compile(tree, &work, compiler, test, &[], &prefix)?;
            let few = (compiler[0] != "gcc").then_some(FEW);
            run(Cmd::new(&binary), tree, test, &world, &work, few)?;
        }
    }
    for test in TESTS {
        let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
        let binary = compile(tree, &work, COMPILERS[1], test, &sanitizers, &prefix)?;
        run(Cmd::new(&binary), tree, test, &world, &work, Some(FEW))?;
        let binary = compile(tree, &work, COMPILERS[0], test, &[], &prefix)?;
        let valgrind = Cmd::new("valgrind").args(["-q", "--error-exitcode=9", "--leak-check=full"]);
        run(valgrind.args(["--errors-for-leak-kinds=definite"]).arg(&binary), tree, test, &world, &work, Some(FEW))?;
    }
    emulated(tree, &work, &world)?;
    consumers(tree, &work, &prefix, &world)?;
    sizes(tree, &work, &world)
}

/// The world of `tests/scenario.txt`: made anew where the program that makes it has changed, or the last one is an hour old (its metadata expires).
pub(crate) fn world(tree: &Tree) -> Result<PathBuf> {
    let world = tree.target.join("scenario");
    Cmd::cargo(tree, ["build", "--quiet", "-p", "fleetfoot-tests", "--bin", "scenario"]).run()?;
    let program = tree.target.join("debug").join(format!("scenario{}", std::env::consts::EXE_SUFFIX));
    let time = |path: &Path| fs::metadata(path).and_then(|found| found.modified());
    let built = time(&program).map_err(|e| format!("{}: {e}", program.display()))?;
    // Written last: a run that was broken off leaves none.
    let stamp = world.join("made");
    let holds = |made: SystemTime| made > built && made.elapsed().is_ok_and(|age| age < WORLD_AGE);
    if time(&stamp).is_ok_and(holds) {
        println!("{} holds", world.display());
        return Ok(world);
    }
    fresh(&world)?;
    Cmd::new(&program).arg(&world).dir(&tree.root).run()?;
    fs::write(&stamp, "").map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(world)
}

/// Builds the libraries as others get them and tells their folder.
pub(crate) fn build(tree: &Tree, features: &[&str], target: Option<&str>, work: &Path) -> Result<PathBuf> {
    let (cargo, folder) = match target {
        Some(target) => (cross::cargo(tree, "rustc", &SMALL), cross::target_folder(tree).join(target)),
        None => {
            let folder = work.join("build");
            (Cmd::cargo(tree, ["rustc"]).args(SMALL).arg("--target-dir").arg(&folder), folder)
        }
    };
    cargo.args(features).args(NAMED).env("RUSTFLAGS", flags(target)).run()?;
    Ok(folder.join("small"))
}

/// Lays the library of this machine out as a prefix has it.
pub(crate) fn install(tree: &Tree, libraries: &Path, prefix: &Path) -> Result {
    install_for(tree, libraries, prefix, "strip")
}

/// Lays the library of any machine out, with a `strip` that knows it.
pub(crate) fn install_for(tree: &Tree, libraries: &Path, prefix: &Path, strip: &str) -> Result {
    fresh(prefix)?;
    let (include, lib) = (prefix.join("include"), prefix.join("lib"));
    let (pkg_config, cmake) = (lib.join("pkgconfig"), lib.join("cmake/fleetfoot"));
    for folder in [&include, &pkg_config, &cmake] {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    copy(&tree.root.join("ffi/include/fleetfoot.h"), &include.join("fleetfoot.h"))?;
    copy(&libraries.join("libfleetfoot_c.a"), &lib.join("libfleetfoot.a"))?;
    let shared = lib.join(SHARED);
    copy(&libraries.join(LIBRARY), &shared)?;
    Cmd::new(strip).arg("--strip-unneeded").arg(&shared).run()?;
    Cmd::new(strip).arg("--strip-debug").arg(lib.join("libfleetfoot.a")).run()?;
    link(SHARED, &lib.join(SONAME))?;
    link(SONAME, &lib.join("libfleetfoot.so"))?;
    let flags: Vec<String> = STATIC_LIBS.iter().map(|lib| format!("-l{lib}")).collect();
    let words = [
        ("@VERSION@", VERSION),
        ("@STATIC_LIBS@", &flags.join(" ")),
        ("@STATIC_LIBS_CMAKE@", &STATIC_LIBS.join(";")),
        ("@SHARED@", SHARED),
        ("@SONAME@", SONAME),
    ];
    for (name, folder) in
        [("fleetfoot.pc", &pkg_config), ("fleetfoot-config.cmake", &cmake), ("fleetfoot-config-version.cmake", &cmake)]
    {
        let from = tree.root.join(format!("ffi/packaging/{name}.in"));
        let mut text = fs::read_to_string(&from).map_err(|e| format!("{}: {e}", from.display()))?;
        for (word, value) in words {
            text = text.replace(word, value);
        }
        fs::write(folder.join(name), text).map_err(|e| format!("{name}: {e}"))?;
    }
    Ok(())
}

fn compile(tree: &Tree, work: &Path, compiler: &[&str], test: &str, more: &[&str], prefix: &Path) -> Result<PathBuf> {
    let binary = work.join(format!("{test}-{}", compiler[0]));
    let lib = prefix.join("lib");
    Cmd::new(compiler[0])
        .args(&compiler[1..])
        .args(WARNINGS)
        .args(more)
        .arg("-I")
        .arg(prefix.join("include"))
        .arg(tree.root.join(format!("bindings/c/tests/{test}.c")))
        .arg("-o")
        .arg(&binary)
        .arg(format!("-L{}", lib.display()))
        .arg(format!("-Wl,-rpath,{}", lib.display()))
        .args(["-x", "none", "-lfleetfoot", "-lpthread"])
        .run()?;
    Ok(binary)
}

fn run(program: Cmd, tree: &Tree, test: &str, world: &Path, work: &Path, few: Option<&str>) -> Result {
    let scratch = work.join("scratch");
    fresh(&scratch)?;
    let program = match few {
        Some(few) => program.env("FLEETFOOT_FEW", few),
        None => program,
    };
    match test {
        "scenario" => program.arg(tree.root.join("tests/scenario.txt")).arg(world).arg(&scratch).run(),
        _ => program.arg(world).arg(&scratch).run(),
    }
}

/// The same tests for AArch64, statically linked and emulated.
fn emulated(tree: &Tree, work: &Path, world: &Path) -> Result {
    let libraries = build(tree, FEATURES, Some(cross::TARGET), work)?;
    for test in TESTS {
        let binary = work.join(format!("{test}-aarch64"));
        Cmd::new("aarch64-linux-gnu-gcc")
            .args(["-std=c99", "-O1", "-static", "-I"])
            .arg(tree.root.join("ffi/include"))
            .arg(tree.root.join(format!("bindings/c/tests/{test}.c")))
            .arg(libraries.join("libfleetfoot_c.a"))
            .args(["-lpthread", "-ldl", "-lm", "-o"])
            .arg(&binary)
            .run()?;
        let emulator = Cmd::new("timeout").args(["-k", "5", TIMEOUT_S, "qemu-aarch64", "-cpu", "max,pauth-impdef=on"]);
        run(emulator.arg(&binary), tree, test, world, work, Some(FEW))?;
    }
    Ok(())
}

/// Programs of others: what pkg-config and CMake say is enough to build and run them.
fn consumers(tree: &Tree, work: &Path, prefix: &Path, world: &Path) -> Result {
    let source = tree.root.join("bindings/c/consumer");
    let pkg_config = prefix.join("lib/pkgconfig").into_os_string();
    let rpath = format!("-Wl,-rpath,{}", prefix.join("lib").display());
    for (name, flags, libraries) in [("shared", &["--cflags", "--libs"][..], true), ("static", &["--cflags"], false)] {
        let said =
            Cmd::new("pkg-config").args(flags).arg("fleetfoot").env("PKG_CONFIG_PATH", pkg_config.clone()).read()?;
        let binary = work.join(format!("consumer-{name}"));
        let mut compile =
            Cmd::new("gcc").arg(source.join("main.c")).args(said.split_whitespace()).arg("-o").arg(&binary);
        if libraries {
            compile = compile.arg(&rpath);
        } else {
            compile = compile.arg(prefix.join("lib/libfleetfoot.a"));
            compile = compile.args(STATIC_LIBS.map(|lib| format!("-l{lib}")));
        }
        compile.run()?;
        Cmd::new(&binary).run()?;
    }
    let build = work.join("consumer");
    fresh(&build)?;
    Cmd::new("cmake")
        .arg("-S")
        .arg(&source)
        .arg("-B")
        .arg(&build)
        .arg(format!("-DCMAKE_PREFIX_PATH={}", prefix.display()))
        .run()?;
    Cmd::new("cmake").arg("--build").arg(&build).run()?;
    Cmd::new(build.join("shared")).run()?;
    Cmd::new(build.join("static")).run()?;

    let example = work.join("watch");
    let include = prefix.join("include");
    Cmd::new("gcc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(include)
        .arg(tree.root.join("bindings/c/example/watch.c"))
        .arg("-o")
        .arg(&example)
        .arg(format!("-L{}", prefix.join("lib").display()))
        .args([&rpath, "-lfleetfoot"])
        .run()?;
    served::watch(tree, world, "photo.ppm", |arguments| Cmd::new(&example).args(arguments))?;
    newcomer(tree, work, prefix, world)
}

/// A newcomer's first result, as the README has it: at most six lines.
fn newcomer(tree: &Tree, work: &Path, prefix: &Path, world: &Path) -> Result {
    let examples = readme::examples(&tree.root.join("bindings/c/README.md"), "c")?;
    readme::short(&examples[0], 6)?;
    let source = format!(
        "#include <fleetfoot.h>\n#include <stdio.h>\n#include <string.h>\n\
         static unsigned char key[32], input[4096];\n\
         static void take(const char *name, unsigned char *to, size_t len) {{\n\
         FILE *file = fopen(name, \"rb\");\nif (file == NULL || fread(to, 1, len, file) == 0) perror(name);\nfclose(file);\n}}\n\
         int main(void) {{\ntake(\"key.bin\", key, sizeof key);\ntake(\"input.bin\", input, sizeof input);\n{{\n{}\
         fwrite(out, 1, n, stdout);\n}}\nreturn 0;\n}}\n",
        examples[0]
    );
    let (file, binary) = (work.join("newcomer.c"), work.join("newcomer"));
    fs::write(&file, source).map_err(|e| format!("{}: {e}", file.display()))?;
    copy(&world.join("1.ff"), &world.join("digits-1.0.0.ff"))?;
    Cmd::new("gcc")
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
        .arg(prefix.join("include"))
        .arg(&file)
        .arg("-o")
        .arg(&binary)
        .arg(format!("-L{}", prefix.join("lib").display()))
        .arg(format!("-Wl,-rpath,{}", prefix.join("lib").display()))
        .arg("-lfleetfoot")
        .run()?;
    let answer = work.join("newcomer.bin");
    Cmd::new(&binary).dir(world).output_to(&answer)?;
    let bytes = |path: &Path| fs::read(path).map_err(|e| format!("{}: {e}", path.display()));
    if bytes(&answer)? == bytes(&world.join("output-1.bin"))? {
        Ok(())
    } else {
        Err("the example of bindings/c/README.md answers otherwise than the model does".into())
    }
}

fn sizes(tree: &Tree, work: &Path, world: &Path) -> Result {
    let mut faults = Vec::new();
    let mut weigh = |name: &str, library: &Path, strip: &str, budget: u64| -> Result {
        let stripped = work.join("stripped.so");
        Cmd::new(strip).args(["--strip-all", "-o"]).arg(&stripped).arg(library).run()?;
        let len = fs::metadata(&stripped).map_err(|e| e.to_string())?.len();
        println!("{name}: {len} bytes of {budget}");
        if len > budget {
            faults.push(format!("{name}: {len} bytes, over {budget}"));
        }
        Ok(())
    };
    for (name, features, budget) in BUDGETS {
        for (target, strip) in [(None, "strip"), (Some(cross::TARGET), "aarch64-linux-gnu-strip")] {
            let library = build(tree, features, target, work)?.join(LIBRARY);
            weigh(&format!("{name}, {}", target.unwrap_or("this machine")), &library, strip, budget)?;
        }
    }
    if std::env::consts::ARCH == "x86_64" {
        let (first, folder) = (work.join("first"), own_std(tree, work)?);
        weigh(
            "models and sessions, its own standard library, a panic ends the process",
            &folder.join(LIBRARY),
            "strip",
            OWN_STD,
        )?;
        // It answers, and it refuses, as any other.
        Cmd::new("gcc")
            .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
            .arg(tree.root.join("ffi/include"))
            .arg(tree.root.join("bindings/c/tests/first.c"))
            .arg("-o")
            .arg(&first)
            .arg(folder.join(SONAME))
            .run()?;
        Cmd::new(&first).arg(world).env("LD_LIBRARY_PATH", &folder).run()?;
    } else {
        println!("a library with a standard library of its own is weighed only where x86-64 is the host");
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
}

/// The library with a standard library built for it, small and without the reading of debug information that its backtraces have.
fn own_std(tree: &Tree, work: &Path) -> Result<PathBuf> {
    let folder = work.join("own-std");
    Cmd::cargo(tree, ["rustc", "--target", HOST])
        .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"])
        .args(SMALL)
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTC", DEBIAN_RUSTC)
        // None of this is stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("{} -Zlocation-detail=none -Zunstable-options {ABORT}", flags(None)))
        .args(NAMED)
        .env_remove("LD_LIBRARY_PATH")
        .run()?;
    let kept = work.join("own-std-abort");
    fs::create_dir_all(&kept).map_err(|e| format!("{}: {e}", kept.display()))?;
    copy(&folder.join(HOST).join("small").join(LIBRARY), &kept.join(LIBRARY))?;
    // The name under which programs look for it.
    copy(&kept.join(LIBRARY), &kept.join(SONAME))?;
    Ok(kept)
}

/// What the compiler is told beside `[profile.small]`: one implementation of the curve instead of two, and SHA-2 in its compact form where the processor
/// has no instructions for it. See docs/decisions/006-small-builds.md.
fn flags(target: Option<&str>) -> String {
    let compact = "--cfg sha2_backend_soft=\"compact\"";
    match target {
        // There is one only.
        Some(_) => compact.into(),
        None => format!("{compact} --cfg curve25519_dalek_backend=\"serial\""),
    }
}

pub(crate) fn fresh(dir: &Path) -> Result {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result {
    fs::copy(from, to).map(drop).map_err(|e| format!("{}: {e}", from.display()))
}

#[cfg(unix)]
fn link(to: &str, at: &Path) -> Result {
    std::os::unix::fs::symlink(to, at).map_err(|e| format!("{}: {e}", at.display()))
}

#[cfg(not(unix))]
fn link(to: &str, at: &Path) -> Result {
    copy(&at.with_file_name(to), at)
}
