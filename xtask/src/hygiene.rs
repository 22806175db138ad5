//! The check `hygiene`: what a reviewer should not have to say, over every tracked text file.

use std::fs;

use crate::shell::{Cmd, Result, Tree};

/// Past this a file surely has a seam; it is a warning, not a fault.
const LONG_LINES: usize = 700;
/// Past this a file is an artefact that does not belong into the repository.
const LARGE_BYTES: usize = 1_000_000;
const TEXT: [&str; 14] = ["rs", "toml", "md", "py", "sh", "yml", "yaml", "html", "css", "js", "h", "c", "kt", "swift"];
/// Where `unsafe` may be: `ARCHITECTURE.md`, invariants.
const UNSAFE_ROOTS: [&str; 4] =
    ["runtime/kernels/src/lib.rs", "runtime/fleetfoot/src/lib.rs", "ffi/src/lib.rs", "bindings/kotlin/jni/src/lib.rs"];

pub(crate) fn check(tree: &Tree) -> Result {
    let listed =
        Cmd::new("git").dir(&tree.root).args(["ls-files", "--cached", "--others", "--exclude-standard"]).read()?;
    let mut n_faults = 0;
    for path in listed.lines() {
        // Deleted but still tracked.
        let Ok(bytes) = fs::read(tree.root.join(path)) else { continue };
        let (faults, warnings) = look(path, &bytes);
        for warning in warnings {
            println!("warning: {path}: {warning}");
        }
        for fault in &faults {
            println!("{path}{fault}");
        }
        n_faults += faults.len();
    }
    if n_faults == 0 { Ok(()) } else { Err(format!("{n_faults} faults")) }
}

/// Faults (each begins with `:line: ` or `: `) and warnings of one file.
fn look(path: &str, bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let (mut faults, mut warnings) = (Vec::new(), Vec::new());
    if bytes.len() > LARGE_BYTES {
        faults.push(format!(": {} bytes", bytes.len()));
    }
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    if !TEXT.contains(&extension) {
        return (faults, warnings);
    }
    let Ok(text) = str::from_utf8(bytes) else {
        faults.push(": not UTF-8".into());
        return (faults, warnings);
    };
    let is_rust = extension == "rs";
    for (index, line) in text.lines().enumerate() {
        let rust_only = UNFINISHED.iter().filter(|_| is_rust);
        for word in MACHINE_PATHS.iter().chain(rust_only).filter(|word| line.contains(**word)) {
            faults.push(format!(":{}: {word}", index + 1));
        }
        if line.ends_with([' ', '\t', '\r']) {
            faults.push(format!(":{}: white space at the end", index + 1));
        }
    }
    if is_rust && !text.starts_with("//!") {
        faults.push(": does not begin with what it is about (//!)".into());
    }
    let is_crate_root = path.ends_with("src/lib.rs") || path.ends_with("src/main.rs");
    let is_firmware = path.starts_with("devices/boards/");
    if is_crate_root && !is_firmware && !UNSAFE_ROOTS.contains(&path) && !text.contains("#![forbid(unsafe_code)]") {
        faults.push(": #![forbid(unsafe_code)] is missing".into());
    }
    let n_lines = text.lines().count();
    if n_lines > LONG_LINES {
        warnings.push(format!("{n_lines} lines"));
    }
    (faults, warnings)
}

// In two pieces each, so that this file passes its own check.
const MACHINE_PATHS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];
const UNFINISHED: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("dbg", "!(")];

#[cfg(test)]
mod tests {
    use super::look;

    fn check(path: &str, text: &str, faults: &[&str]) {
        assert_eq!(look(path, text.as_bytes()).0, faults, "{path}: {text:?}");
    }

    #[test]
    fn faults() {
        check("a.rs", "//! A.\nfn f() {}\n", &[]);
        check("a.rs", "fn f() {}\n", &[": does not begin with what it is about (//!)"]);
        check("a.rs", concat!("//! A.\nfn f() { todo", "!() }\n"), &[concat!(":2: todo", "!(")]);
        check("a.md", concat!("in /tm", "p/x\n"), &[concat!(":1: /tm", "p/")]);
        check("a.md", "x \n", &[":1: white space at the end"]);
        check("a.png", "x \n", &[]);
        check("x/src/lib.rs", "//! X.\n", &[": #![forbid(unsafe_code)] is missing"]);
        check("runtime/kernels/src/lib.rs", "//! X.\n", &[]);
        assert_eq!(look("a.md", "x\n".repeat(701).as_bytes()).1, ["701 lines"]);
    }
}
