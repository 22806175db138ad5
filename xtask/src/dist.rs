//! `cargo xtask dist [DIR]`: what others take and build upon, in one folder; and the check `dist`, which lays it out and looks at every file.
//!
//! ```text
//! linux-x86_64/ linux-aarch64/    a prefix each: header, shared and static library, pkg-config, CMake     -> only ff_* is exported
//! kotlin/                         the jar of the JVM and its native library                               -> only ff_*, Java_*
//! android/                        the AAR as a folder and a zip, static libraries, link.sh                -> see dist/aar.rs
//! apple/                          the XCFramework as a folder
//! abi.txt                         functions, numbers, structs: as in ffi/abi.txt, on every machine        -> else the interface changed
//! exports.txt sizes.txt           what each library exports, and how long each file is
//! sbom.cdx.json                   what it is made of (CycloneDX)
//! SHA256SUMS                      of all other files
//! .fleetfoot-dist                 that the folder is ours: the next run may empty it, also where this one did not come to its end
//! ```

mod aar;
pub(crate) mod abi;
mod elf;
mod sbom;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{
    capi, cross, kotlin,
    shell::{Cmd, Result, Tree},
    swift,
};

/// The version of everything in the folder.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// `cargo xtask dist [--bless] [DIR]`; `--bless` takes the interface as it is for the one that is meant.
pub(crate) fn run(tree: &Tree, args: &[String]) -> Result {
    let (bless, rest) = match args.split_first() {
        Some((flag, rest)) if flag == "--bless" => (true, rest),
        _ => (false, args),
    };
    let out = match rest {
        // In the target folder everything is ours.
        [] => tree.target.join("dist"),
        [dir] => theirs(std::env::current_dir().map_err(|e| e.to_string())?.join(dir))?,
        _ => return Err("usage: cargo xtask dist [--bless] [DIR]".into()),
    };
    lay_out(tree, &out, bless)
}

/// A folder that somebody named: it is emptied only where it is empty, or an earlier run made it.
fn theirs(out: PathBuf) -> Result<PathBuf> {
    if !out.exists() || out.join(MARK).is_file() {
        return Ok(out);
    }
    let mut entries = fs::read_dir(&out).map_err(|e| format!("{}: {e}", out.display()))?;
    match entries.next() {
        None => Ok(out),
        Some(_) => Err(format!(
            "{} was not made by `cargo xtask dist` (it has no {MARK}): name an empty folder, or one that does not exist",
            out.display()
        )),
    }
}

/// The check `dist`.
pub(crate) fn check(tree: &Tree) -> Result {
    let out = tree.target.join("dist");
    lay_out(tree, &out, false)?;
    sbom::validate(tree, &out.join(sbom::NAME))
}

fn lay_out(tree: &Tree, out: &Path, bless: bool) -> Result {
    capi::fresh(out)?;
    write(
        &out.join(MARK),
        "Made by `cargo xtask dist`, which empties this folder when it is told to make it again.\n",
    )?;
    let work = tree.target.join("capi");
    make(&work)?;
    abi::listing(tree, &work, &out.join("abi.txt"), bless)?;
    let functions = abi::names(tree)?;
    let mut exports = String::new();
    for (name, target) in [("linux-x86_64", None), ("linux-aarch64", Some(cross::TARGET))] {
        if target.is_none() && std::env::consts::ARCH != "x86_64" {
            println!("{name} is built only where it is the host");
            continue;
        }
        let libraries = capi::build(tree, capi::FEATURES, target, &work)?;
        let prefix = out.join(name);
        capi::install_for(tree, &libraries, &prefix, target.map_or("strip", |_| "aarch64-linux-gnu-strip"))?;
        let library = prefix.join("lib").join(capi::SHARED);
        // Kernels with pages of 16 kB are out there on AArch64; on x86-64 all have 4 kB.
        let gates =
            elf::Gates { prefixes: &["ff_"], functions: &functions, page: target.map_or(1 << 12, |_| elf::PAGE) };
        writeln!(exports, "{name} {}", elf::exports(&library, &gates)?.join(" ")).map_err(|e| e.to_string())?;
    }

    let kotlin_out = out.join("kotlin");
    make(&kotlin_out)?;
    jar(tree, &[], &kotlin_out.join(format!("fleetfoot-{VERSION}.jar")))?;
    let library = kotlin::library(tree)?;
    let name = library.file_name().ok_or("the native library has no name")?;
    capi::copy(&library, &kotlin_out.join(name))?;
    Cmd::new("strip").arg("--strip-unneeded").arg(kotlin_out.join(name)).run()?;
    let gates = elf::Gates { prefixes: aar::EXPORTED, functions: &functions, page: elf::PAGE };
    writeln!(exports, "kotlin {}", elf::exports(&kotlin_out.join(name), &gates)?.join(" "))
        .map_err(|e| e.to_string())?;

    aar::lay_out(tree, &out.join("android"), &library.with_file_name("libfleetfoot_jni.a"), &functions)?;
    make(&out.join("apple"))?;
    swift::xcframework(tree, &out.join("apple"))?;
    sbom::write(tree, &out.join(sbom::NAME))?;
    write(&out.join("exports.txt"), &exports)?;
    sizes(out)?;
    sums(out)
}

/// The classes of the binding as a jar: the same bytes from the same classes.
fn jar(tree: &Tree, profiles: &[&str], to: &Path) -> Result {
    kotlin::maven(tree, profiles, "compile").read()?;
    let classes = kotlin::work(tree, profiles).join("classes");
    archive(to, &["--no-manifest"], &classes)
}

/// A zip of a folder, by the JDK; times of files do not count.
fn archive(to: &Path, flags: &[&str], folder: &Path) -> Result {
    // The order of a folder is an accident.
    let files = files(folder)?;
    let mut command = Cmd::new("jar").args(["--create", "--date=2020-01-01T00:00:00Z", "--file"]).arg(to).args(flags);
    for file in files {
        command = command.arg("-C").arg(folder).arg(file);
    }
    command.run()
}

/// All files below a folder, as paths in it, in order. Links are followed by nobody: they are files.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let here = folder.join(&inner);
        for entry in fs::read_dir(&here).map_err(|e| format!("{}: {e}", here.display()))? {
            let entry = entry.map_err(|e| e.to_string())?;
            let path = inner.join(entry.file_name());
            match entry.file_type().map_err(|e| e.to_string())? {
                kind if kind.is_dir() => folders.push(path),
                _ => found.push(path),
            }
        }
    }
    found.sort();
    Ok(found)
}

fn sizes(out: &Path) -> Result {
    let mut lines = String::new();
    for file in files(out)? {
        let path = out.join(&file);
        let len = fs::symlink_metadata(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        if !len.is_symlink() && file != Path::new(MARK) {
            writeln!(lines, "{:>10} {}", len.len(), file.display()).map_err(|e| e.to_string())?;
        }
    }
    print!("{lines}");
    write(&out.join("sizes.txt"), &lines)
}

const SUMS: &str = "SHA256SUMS";
const MARK: &str = ".fleetfoot-dist";

/// `sha256sum --check SHA256SUMS` reads it.
fn sums(out: &Path) -> Result {
    let mut lines = String::new();
    for file in files(out)? {
        let path = out.join(&file);
        if path.is_symlink() || file == Path::new(MARK) {
            continue;
        }
        let bytes = fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(lines, "{digest}  {}", file.display()).map_err(|e| e.to_string())?;
    }
    write(&out.join(SUMS), &lines)?;
    Cmd::new("sha256sum").args(["--check", "--quiet", SUMS]).dir(out).run()
}

fn make(folder: &Path) -> Result {
    fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{MARK, theirs};

    #[test]
    fn folders_of_others_stay() {
        let folder = std::env::temp_dir().join(format!("fleetfoot-dist-{}", std::process::id()));
        let made = || theirs(folder.clone()).is_ok();
        let told = [
            made(),
            fs::create_dir(&folder).is_ok() && made(),
            fs::write(folder.join("SHA256SUMS"), "").is_ok() && made(),
            fs::write(folder.join(MARK), "").is_ok() && made(),
        ];
        fs::remove_dir_all(&folder).expect("the folder is ours");
        assert_eq!(told, [true, true, false, true]);
    }
}
