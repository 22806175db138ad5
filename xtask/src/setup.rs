//! What the checks need beyond Rust and a C compiler, and how it gets here.
//!
//! | area | needs | from |
//! |---|---|---|
//! | aarch64 | an AArch64 standard library, linker, C library, `qemu-aarch64` | Debian packages |
//! | firmware | the sources of `core`, `rust-lld`, `qemu-system-arm`, `qemu-system-riscv32` | Debian packages, the Rust toolchain |
//! | python | an environment with the packages of `xtask/requirements.txt` | PyPI, into the target folder |
//! | c | `clang` with its sanitizers, `valgrind`, `cmake`, `pkg-config`, and what aarch64 needs | Debian packages |
//! | kotlin | a JDK, Maven (which fetches Kotlin, coroutines, JUnit and the classes of Android from Maven Central) | Debian packages |
//! | swift | `debootstrap`, with it a Debian 13 that has Swift (3 GB) | Debian packages, into the target folder or `FLEETFOOT_TRIXIE` |
//! | dist | what aarch64, python and kotlin need, and the sources of `std` | as those |
//! | deny | `cargo-deny` | crates.io, built into the target folder unless it is on PATH |
//!
//! Debian's `rustc-web` is a second Rust beside the usual one; it is used for cross builds only, because it brings a standard
//! library for AArch64 and the sources of `core`. Packages are installed only on Debian and only by root; elsewhere
//! the missing ones are named. Every step looks first: with everything in place `setup` changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    shell::{Cmd, Result, Tree, on_path},
    swift::trixie,
};

/// A group of tools that a check asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Area {
    Aarch64,
    Firmware,
    Python,
    Deny,
    C,
    Kotlin,
    Swift,
    Dist,
}

const ALL: [Area; 8] =
    [Area::Aarch64, Area::Firmware, Area::Python, Area::Deny, Area::C, Area::Kotlin, Area::Swift, Area::Dist];

/// What [`ensure`] left missing.
pub(crate) struct Ready(BTreeMap<Area, String>);

impl Ready {
    /// Why checks of this area cannot run.
    pub(crate) fn missing(&self, area: Area) -> Option<String> {
        self.0.get(&area).cloned()
    }
}

/// `cargo xtask setup`.
pub(crate) fn run(tree: &Tree) -> Result {
    let ready = ensure(tree, &ALL);
    for (area, what) in &ready.0 {
        println!("{area:?}: {what}; its checks will be skipped");
    }
    if ready.0.is_empty() {
        println!("everything that the checks need is here");
    } else if Tree::is_ci() {
        return Err("a skipped check is a failure in CI".into());
    }
    Ok(())
}

/// Installs what `areas` need and can be installed here.
pub(crate) fn ensure(tree: &Tree, areas: &[Area]) -> Ready {
    let wanted: Vec<_> = NEEDS.iter().filter(|need| areas.iter().any(|area| need.areas.contains(area))).collect();
    let absent: Vec<&str> = wanted.iter().filter(|need| !(need.present)()).map(|need| need.package).collect();
    if !absent.is_empty()
        && let Err(fault) = apt_install(&absent)
    {
        println!("{fault}");
    }
    let mut missing = BTreeMap::new();
    for area in areas {
        let absent: Vec<&str> =
            wanted.iter().filter(|n| n.areas.contains(area) && !(n.present)()).map(|n| n.package).collect();
        let fault = match area {
            _ if !absent.is_empty() => Err(format!("missing (Debian's names): {}", absent.join(" "))),
            Area::Python | Area::Dist => python_environment(tree),
            Area::Deny => install_cargo_deny(tree),
            Area::Firmware => rust_lld_dir().map(drop),
            Area::Swift => trixie::ensure(tree),
            Area::Aarch64 | Area::C | Area::Kotlin => Ok(()),
        };
        if let Err(fault) = fault {
            missing.insert(*area, fault);
        }
    }
    Ready(missing)
}

/// A Debian package, and how to see that what we want of it is here.
struct Need {
    package: &'static str,
    areas: &'static [Area],
    present: fn() -> bool,
}

const NEEDS: &[Need] = &[
    Need {
        package: "qemu-user",
        areas: &[Area::Aarch64, Area::C, Area::Dist],
        present: || on_path("qemu-aarch64").is_some(),
    },
    Need {
        package: "gcc-aarch64-linux-gnu",
        areas: &[Area::Aarch64, Area::C, Area::Dist],
        present: || on_path("aarch64-linux-gnu-gcc").is_some(),
    },
    Need {
        package: "libc6-dev-arm64-cross",
        areas: &[Area::Aarch64, Area::C, Area::Dist],
        present: || Path::new("/usr/aarch64-linux-gnu/lib/libc.so").exists(),
    },
    Need {
        package: "rustc-web",
        areas: &[Area::Aarch64, Area::C, Area::Firmware, Area::Dist],
        present: || Path::new(DEBIAN_RUSTC).exists(),
    },
    Need {
        package: "libstd-rust-web-dev:arm64",
        areas: &[Area::Aarch64, Area::C, Area::Dist],
        // The loader comes with it; the emulator needs that one and not the cross compiler's.
        present: || {
            Path::new("/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib").exists()
                && Path::new("/lib/ld-linux-aarch64.so.1").exists()
        },
    },
    Need {
        package: "rust-web-src",
        areas: &[Area::C, Area::Firmware, Area::Dist],
        present: || Path::new("/usr/lib/rustlib/src/rust/library/core/Cargo.toml").exists(),
    },
    Need {
        package: "qemu-system-misc",
        areas: &[Area::Firmware],
        present: || on_path("qemu-system-riscv32").is_some(),
    },
    Need { package: "qemu-system-arm", areas: &[Area::Firmware], present: || on_path("qemu-system-arm").is_some() },
    Need { package: "clang", areas: &[Area::C], present: || on_path("clang++").is_some() },
    Need { package: "libclang-rt-14-dev", areas: &[Area::C], present: clang_has_sanitizers },
    Need { package: "g++", areas: &[Area::C], present: || on_path("g++").is_some() },
    Need { package: "valgrind", areas: &[Area::C], present: || on_path("valgrind").is_some() },
    Need { package: "cmake", areas: &[Area::C], present: || on_path("cmake").is_some() },
    Need { package: "make", areas: &[Area::C], present: || on_path("make").is_some() },
    Need { package: "pkg-config", areas: &[Area::C], present: || on_path("pkg-config").is_some() },
    Need {
        package: "openjdk-17-jdk-headless",
        areas: &[Area::Kotlin, Area::Dist],
        present: || on_path("javac").is_some(),
    },
    Need { package: "maven", areas: &[Area::Kotlin, Area::Dist], present: || on_path("mvn").is_some() },
    Need { package: "debootstrap", areas: &[Area::Swift], present: || on_path("debootstrap").is_some() },
    Need { package: "python3-venv", areas: &[Area::Python, Area::Dist], present: python_makes_environments },
];

/// Whether clang finds the libraries of its sanitizers.
fn clang_has_sanitizers() -> bool {
    let name = format!("libclang_rt.asan-{}.a", std::env::consts::ARCH);
    // It prints the bare name where there is none.
    Cmd::new("clang").arg(format!("-print-file-name={name}")).read().is_ok_and(|path| path.trim() != name)
}

fn python_makes_environments() -> bool {
    Cmd::new("python3").args(["-c", "import ensurepip, venv"]).read().is_ok()
}

/// The Rust compiler of Debian's `rustc-web`.
pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

fn apt_install(packages: &[&str]) -> Result {
    let list = packages.join(" ");
    let is_root = || Cmd::new("id").arg("-u").read().is_ok_and(|id| id.trim() == "0");
    if !Path::new("/etc/debian_version").exists() || on_path("apt-get").is_none() || !is_root() {
        return Err(format!(
            "missing: {list}\non Debian 12, as root: dpkg --add-architecture arm64 && apt-get update && apt-get install {list}"
        ));
    }
    println!("installing Debian packages: {list}");
    Cmd::new("dpkg").args(["--add-architecture", "arm64"]).run()?;
    // A source that cannot be reached makes this fail although the others are up to date; the next step tells.
    if let Err(fault) = Cmd::new("apt-get").args(["update", "-qq"]).run() {
        println!("{fault}");
    }
    Cmd::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-y", "-qq", "--no-install-recommends"])
        .args(packages)
        .run()
}

/// The folder of `rust-lld`, the linker for bare metal, in the toolchain that runs this (Debian's has none).
pub(crate) fn rust_lld_dir() -> Result<PathBuf> {
    let rustc = || Cmd::new("rustc");
    let sysroot = rustc().args(["--print", "sysroot"]).read()?;
    let version = rustc().arg("-vV").read()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc -vV names no host")?;
    let dir = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
    let present = dir.join(format!("rust-lld{}", std::env::consts::EXE_SUFFIX)).exists();
    if present { Ok(dir) } else { Err("rust-lld is missing from the Rust toolchain (rustup's has it)".into()) }
}

/// The program `faketime`, which the public TUF conformance suite runs clients with.
pub(crate) fn ensure_faketime() -> Result {
    if on_path("faketime").is_some() { Ok(()) } else { apt_install(&["faketime"]) }
}

/// The interpreter of our environment.
pub(crate) fn python(tree: &Tree) -> PathBuf {
    tree.target.join("venv/bin/python")
}

fn python_environment(tree: &Tree) -> Result {
    let list = tree.root.join("xtask/requirements.txt");
    let wanted = fs::read_to_string(&list).map_err(|e| format!("{}: {e}", list.display()))?;
    let stamp = tree.target.join("venv/requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    println!("installing Python packages into {}", tree.target.join("venv").display());
    Cmd::new("python3").args(["-m", "venv", "--clear"]).arg(tree.target.join("venv")).run()?;
    Cmd::new(python(tree))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(&list)
        .run()?;
    fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}

const CARGO_DENY: &str = "cargo-deny";
const CARGO_DENY_VERSION: &str = "0.20.2";

/// `cargo-deny` on PATH, or ours.
pub(crate) fn cargo_deny(tree: &Tree) -> Option<PathBuf> {
    let ours = tree.target.join("tools/bin").join(CARGO_DENY);
    on_path(CARGO_DENY).or_else(|| ours.exists().then_some(ours))
}

fn install_cargo_deny(tree: &Tree) -> Result {
    if cargo_deny(tree).is_some() {
        return Ok(());
    }
    let root = tree.target.join("tools");
    println!("building {CARGO_DENY} {CARGO_DENY_VERSION} into {} (some minutes, once)", root.display());
    Cmd::cargo(tree, ["install", CARGO_DENY, "--quiet", "--locked", "--version", CARGO_DENY_VERSION, "--root"])
        .arg(&root)
        .run()
}
