//! The check `conformance`: the TUF client against python-tuf with keys of every type, and against the public conformance suite.
//!
//! The program is built twice: as it is shipped, Ed25519 only, and with the feature `conformance`, which adds the types of keys that the suite
//! uses. The suite (theupdateframework/tuf-conformance) is in no package registry, so it is not fetched: where the variable TUF_CONFORMANCE
//! names a checkout of it, it is installed with the versions that it pins itself, and run whole, with nothing that is expected to fail.
//! Without it our own tests over HTTP stand in for it (`tests/tuf-client/tests`), and this check says so.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    setup,
    shell::{Cmd, Result, Tree},
};

const PACKAGES: [&str; 6] = ["-p", "fleetfoot-trust", "-p", "fleetfoot-tuf", "-p", "fleetfoot-tuf-client"];
const FEATURE: &str = "fleetfoot-tuf-client/conformance";

pub(crate) fn check(tree: &Tree) -> Result {
    let features = ["--features", FEATURE];
    let clippy = Cmd::cargo(tree, ["clippy", "--quiet", "--all-targets"]).args(PACKAGES).args(features);
    clippy.args(["--", "-D", "warnings"]).run()?;
    Cmd::cargo(tree, ["test"]).args(PACKAGES).args(features).run()?;
    let (all, shipped) = (program(tree, "all", &features)?, program(tree, "ed25519", &[])?);

    let script = tree.root.join("tests/conformance/key_types.py");
    let python = || Cmd::new(setup::python(tree)).dir(&tree.root).arg(&script);
    python().arg(&all).args(["ed25519", "ecdsa", "rsa", "rsa-pkcs1v15"]).run()?;
    python().arg(&shipped).arg("ed25519").run()?;

    match env::var_os(VARIABLE) {
        Some(suite) => public_suite(tree, Path::new(&suite), &all, &shipped),
        None => {
            println!("the public suite was not run: {VARIABLE} does not say where a checkout of it is");
            Ok(())
        }
    }
}

const VARIABLE: &str = "TUF_CONFORMANCE";

/// Builds the client with these features, into a file of its own.
fn program(tree: &Tree, name: &str, features: &[&str]) -> Result<PathBuf> {
    Cmd::cargo(tree, ["build", "--quiet", "-p", "fleetfoot-tuf-client"]).args(features).run()?;
    let built = tree.target.join("debug").join(format!("fleetfoot-tuf-client{}", env::consts::EXE_SUFFIX));
    let folder = folder(tree)?;
    let place = folder.join(format!("client-{name}{}", env::consts::EXE_SUFFIX));
    fs::copy(&built, &place).map_err(|e| format!("{}: {e}", built.display()))?;
    Ok(place)
}

fn folder(tree: &Tree) -> Result<PathBuf> {
    let folder = tree.target.join("tuf-conformance");
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// The suite as it is, with all types of keys; and with Ed25519 in the place of its usual keys, without the tests that are about others.
fn public_suite(tree: &Tree, suite: &Path, all: &Path, shipped: &Path) -> Result {
    setup::ensure_faketime()?;
    let folder = folder(tree)?;
    let venv = folder.join("venv");
    Cmd::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).run()?;
    let python = venv.join("bin/python");
    Cmd::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).arg(suite).run()?;

    let pytest = |dir: &Path, client: &Path, more: &[&str]| {
        let tests = dir.join("tuf_conformance");
        let cmd =
            Cmd::new(&python).dir(dir).env("PYTHONPATH", dir).args(["-m", "pytest", "-q", "-p", "no:cacheprovider"]);
        cmd.arg(tests).arg("--entrypoint").arg(client).args(more).run()
    };
    println!("the public suite, all types of keys");
    pytest(suite, all, &[])?;

    let switched = folder.join("suite-ed25519");
    if switched.exists() {
        fs::remove_dir_all(&switched).map_err(|e| format!("{}: {e}", switched.display()))?;
    }
    copy(suite, &switched)?;
    let simulator = switched.join("tuf_conformance/_internal/repository_simulator.py");
    let text = fs::read_to_string(&simulator).map_err(|e| format!("{}: {e}", simulator.display()))?;
    let usual = r#"keytype: str = "ecdsa", scheme: str = "ecdsa-sha2-nistp256""#;
    if !text.contains(usual) {
        return Err(format!("{}: its usual type of key is not where it was", simulator.display()));
    }
    let text = text.replace(usual, r#"keytype: str = "ed25519", scheme: str = "ed25519""#);
    fs::write(&simulator, text).map_err(|e| format!("{}: {e}", simulator.display()))?;
    println!("the public suite, the shipped client");
    pytest(&switched, shipped, &["-k", OWN_TYPE_ONLY])
}

/// All tests but those that are about other types of keys: two or three rows of one test, and repositories that others have signed.
const OWN_TYPE_ONLY: &str =
    "not (test_keytype_and_scheme and (rsassa or pkcs1v15 or nistp256)) and not test_static_repository";

fn copy(from: &Path, to: &Path) -> Result {
    let broken = |e| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(broken)?;
    for entry in fs::read_dir(from).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != ".git" {
            copy(&path, &to.join(name))?;
        } else if path.is_file() {
            fs::copy(&path, to.join(name)).map_err(broken)?;
        }
    }
    Ok(())
}
