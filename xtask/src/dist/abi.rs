//! The interface as a list: functions and numbers of the header, and its structs as compilers lay them out. `ffi/abi.txt` is the list that is meant; where the
//! header gives another one the interface has changed, and somebody has to say so with `cargo xtask dist --bless` (and raise its version in the header).

use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

use super::write;
use crate::{
    cross,
    shell::{Cmd, Result, Tree},
};

/// Writes the list; an error where it is not the one that is meant, or not the same on AArch64.
pub(super) fn listing(tree: &Tree, work: &Path, to: &Path, bless: bool) -> Result {
    let code = code(tree)?;
    let program = program(&code)?;
    let host = layouts(tree, work, &program, "gcc", "host", |binary| Cmd::new(binary))?;
    let arm = layouts(tree, work, &program, "aarch64-linux-gnu-gcc", cross::TARGET, |binary| {
        Cmd::new("timeout").args(["60", "qemu-aarch64"]).arg(binary)
    })?;
    if host != arm {
        return Err("structs lie otherwise on AArch64 than on this machine".into());
    }
    let list = format!("{}\n{}\n{host}", functions(&code), numbers(&code));
    write(to, &list)?;
    let meant = tree.root.join("ffi/abi.txt");
    if bless {
        return write(&meant, &list);
    }
    let before = fs::read_to_string(&meant).map_err(|e| format!("{}: {e}", meant.display()))?;
    if before == list {
        return Ok(());
    }
    for line in list.lines().filter(|line| !before.lines().any(|other| other == *line)) {
        println!("+ {line}");
    }
    for line in before.lines().filter(|line| !list.lines().any(|other| other == *line)) {
        println!("- {line}");
    }
    Err("the interface is not the one of ffi/abi.txt: undo that, or raise its version and say `cargo xtask dist --bless`".into())
}

/// The names of all functions of the header: every library has these, and no other `ff_*`.
pub(crate) fn names(tree: &Tree) -> Result<BTreeSet<String>> {
    Ok(named(&functions(&code(tree)?)))
}

fn named(functions: &str) -> BTreeSet<String> {
    let before = functions.lines().filter_map(|line| line.split_once('(').map(|(before, _)| before));
    before.filter_map(|before| before.rsplit([' ', '*']).next()).map(str::to_owned).collect()
}

/// Names that are wanted and missing, or there and not wanted.
pub(crate) fn compare(found: &BTreeSet<String>, wanted: &BTreeSet<String>) -> Option<String> {
    let without = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    let (missing, strange) = (without(wanted, found), without(found, wanted));
    let differs = wanted.is_empty() || !missing.is_empty() || !strange.is_empty();
    differs.then(|| {
        format!("of {} functions of the header {missing:?} are missing; not in it are {strange:?}", wanted.len())
    })
}

/// The header without its comments.
fn code(tree: &Tree) -> Result<String> {
    let header = tree.root.join("ffi/include/fleetfoot.h");
    Ok(without_comments(&fs::read_to_string(&header).map_err(|e| format!("{}: {e}", header.display()))?))
}

fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        code.push(' ');
        rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
    }
    code + rest
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn functions(code: &str) -> String {
    let declarations = code.split("FF_API ").skip(1).filter_map(|part| part.split_once(';'));
    let lines: Vec<String> = declarations.map(|(line, _)| words(line)).filter(|line| line.contains("ff_")).collect();
    lines.join("\n") + "\n"
}

/// Names of enums and their numbers, and the version.
fn numbers(code: &str) -> String {
    let mut lines = String::new();
    for line in code.lines().filter(|line| line.starts_with("#define FF_ABI_")) {
        lines.push_str(&words(line.trim_start_matches("#define")));
        lines.push('\n');
    }
    for body in code.split("enum {").skip(1).filter_map(|part| part.split_once('}')) {
        for number in body.0.split(',').map(words).filter(|number| number.contains(" = ")) {
            lines.push_str(&number);
            lines.push('\n');
        }
    }
    lines
}

/// A program that prints where the fields of all structs are.
fn program(code: &str) -> Result<String> {
    let mut program = String::from("#include <fleetfoot.h>\n#include <stdio.h>\nint main(void) {\n");
    let mut n_structs = 0;
    for part in code.split("typedef struct ").skip(1) {
        let Some((name, body)) = part.split_once('{').filter(|(name, _)| !name.contains(';')) else { continue };
        let (name, body) = (name.trim(), body.split_once('}').ok_or("a struct without an end")?.0);
        n_structs += 1;
        writeln!(program, "printf(\"{name} %zu\\n\", sizeof({name}));").map_err(|e| e.to_string())?;
        for declarator in body.split(';').flat_map(|declaration| declaration.split(',')) {
            let declarator = declarator.split('[').next().unwrap_or_default().trim();
            let field = declarator.rsplit([' ', '*']).next().unwrap_or_default();
            if !field.is_empty() {
                let found = format!("offsetof({name}, {field}), sizeof((({name} *)0)->{field})");
                writeln!(program, "printf(\"{name}.{field} at %zu, %zu bytes\\n\", {found});")
                    .map_err(|e| e.to_string())?;
            }
        }
    }
    program.push_str("return 0;\n}\n");
    if n_structs > 8 { Ok(program) } else { Err(format!("only {n_structs} structs were found in the header")) }
}

fn layouts(
    tree: &Tree,
    work: &Path,
    program: &str,
    compiler: &str,
    name: &str,
    run: impl Fn(&Path) -> Cmd,
) -> Result<String> {
    let (source, binary) = (work.join(format!("abi-{name}.c")), work.join(format!("abi-{name}")));
    write(&source, program)?;
    let include = tree.root.join("ffi/include");
    Cmd::new(compiler).args(["-std=c99", "-static", "-I"]).arg(include).arg(&source).arg("-o").arg(&binary).run()?;
    run(&binary).read()
}

#[cfg(test)]
mod tests {
    use super::{compare, functions, named, numbers, program, without_comments};

    #[test]
    fn a_header() {
        let code = without_comments(
            "/* x */ FF_API int ff_a(int x,\n  int y); #define FF_API y\n#define FF_ABI_MAJOR 1u\nenum { FF_A = 1, /* one */\n FF_B = 2 };",
        );
        assert_eq!(functions(&code), "int ff_a(int x, int y)\n");
        let names = named("int ff_a(int x)\nconst char *ff_b(void)\n");
        assert_eq!(names.iter().collect::<Vec<_>>(), ["ff_a", "ff_b"]);
        assert_eq!(compare(&names, &names), None);
        assert!(compare(&named(""), &names).is_some_and(|fault| fault.contains("ff_b")));
        assert!(compare(&names, &named("int ff_a(")).is_some_and(|fault| fault.contains("ff_b")));
        assert!(compare(&named(""), &named("")).is_some());
        assert_eq!(numbers(&code), "FF_ABI_MAJOR 1u\nFF_A = 1\nFF_B = 2\n");
        assert!(program(&code).is_err());
    }
}
