//! A Debian 13 in a folder, for the sake of its Swift: Debian 12, where the checks run, has none.
//!
//! ```text
//! debootstrap trixie    -> DIR: FLEETFOOT_TRIXIE, or `trixie` below the target folder
//! apt-get install       -> swiftlang in it (3 GB)
//! enter                 -> a mount namespace of its own, in which checkout (read-only) and target folder lie at the same paths; chroot
//! ```
//! Mounts live in the namespace of the command and are gone with it, so nothing that removes the folder can reach what was mounted in it.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::shell::{Cmd, Result, Tree, on_path};

const PACKAGES: [&str; 5] = ["swiftlang", "libc6-dev", "libstdc++-14-dev", "git", "ca-certificates"];
const PATH: &str = "PATH=/usr/libexec/swift/bin:/usr/local/bin:/usr/bin:/usr/sbin:/bin";
const LIBRARIES: [&str; 2] = ["/usr/libexec/swift/lib/swift/linux", "/usr/libexec/swift/lib/swift/host"];

fn folder(tree: &Tree) -> PathBuf {
    env::var_os("FLEETFOOT_TRIXIE").map_or_else(|| tree.target.join("trixie"), |dir| tree.root.join(dir))
}

/// Written when everything is in place.
fn stamp(tree: &Tree) -> PathBuf {
    folder(tree).join("fleetfoot-packages")
}

/// Makes the system, unless it is there.
pub(crate) fn ensure(tree: &Tree) -> Result {
    let wanted = PACKAGES.join(" ");
    if fs::read_to_string(stamp(tree)).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    let is_root = Cmd::new("id").arg("-u").read().is_ok_and(|id| id.trim() == "0");
    if !is_root {
        return Err("a Debian 13 with Swift can only be made by root (debootstrap, chroot)".into());
    }
    if on_path("unshare").is_none() || on_path("debootstrap").is_none() {
        return Err("unshare or debootstrap is missing".into());
    }
    let (dir, mirror) = (folder(tree), mirror()?);
    println!("installing Debian 13 with Swift into {} (3 GB, two minutes, once)", dir.display());
    if dir.exists() {
        // Left behind by a run that was broken off.
        fs::remove_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    }
    fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let namespace = || Cmd::new("unshare").arg("--mount");
    namespace().args(["debootstrap", "--variant=minbase", "trixie"]).arg(&dir).arg(mirror).read()?;
    namespace()
        .args(["chroot"])
        .arg(&dir)
        .args(["/usr/bin/env", "DEBIAN_FRONTEND=noninteractive"])
        .args(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "Dpkg::Options::=--force-unsafe-io"])
        .args(PACKAGES)
        .read()?;
    namespace().arg("chroot").arg(&dir).args(["apt-get", "clean"]).run()?;
    fs::write(stamp(tree), wanted).map_err(|e| format!("{}: {e}", dir.display()))
}

/// The mirror that the apt sources of this machine name.
fn mirror() -> Result<String> {
    let targets = Cmd::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(ORIGIN)", "Created-By: Packages"])
        .read()?;
    let is_main = |uri: &&str| !uri.contains("security") && !uri.contains("updates");
    targets
        .lines()
        .filter_map(|line| line.strip_suffix(" Debian"))
        .find(is_main)
        .map(str::to_owned)
        .ok_or_else(|| "the apt sources name no mirror of Debian".into())
}

/// A command in the system; `environment` is `NAME=VALUE`, and all that it gets beyond PATH, HOME and the libraries of Swift and `libraries`.
pub(crate) fn enter(tree: &Tree, libraries: &Path, environment: &[String], program: &str) -> Cmd {
    let own = LIBRARIES.join(":");
    let at = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    Cmd::new("unshare")
        .args(["--mount", "sh"])
        .arg(tree.root.join("xtask/src/swift/enter.sh"))
        .arg(folder(tree))
        .arg(at(&tree.root))
        .arg(at(&tree.target))
        .args(["/usr/bin/env", "-i", PATH, "HOME=/", "LANG=C.UTF-8"])
        .arg(format!("LD_LIBRARY_PATH={}:{own}", libraries.display()))
        .args(environment)
        .arg(program)
}
