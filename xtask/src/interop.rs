//! The check `interop`: each `tests/interop/*.py` is a program that uses an independent implementation (LiteRT, python-tuf)
//! against ours, and exits with 0 if both agree. It finds the program `fleetfoot` in the variable FLEETFOOT.

use std::fs;

use crate::{
    setup,
    shell::{Cmd, Result, Tree},
};

pub(crate) fn check(tree: &Tree) -> Result {
    let dir = tree.root.join("tests/interop");
    let entries = fs::read_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut scripts: Vec<_> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .collect();
    scripts.sort();
    if scripts.is_empty() {
        return Err("tests/interop has no script".into());
    }

    let program = tree.program()?;
    let mut failed = Vec::new();
    for script in &scripts {
        let run = Cmd::new(setup::python(tree)).arg(script).dir(&tree.root).env("FLEETFOOT", &program);
        if let Err(fault) = run.run() {
            println!("{fault}");
            failed.push(script.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join(", ")) }
}
