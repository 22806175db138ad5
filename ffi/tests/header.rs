//! The header against the code: structs as a C compiler lays them out, the numbers of statuses, the names of functions.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{collections::BTreeSet, ffi::CStr, fmt::Write as _, fs, path::Path, process::Command};

use fleetfoot_c::{ABI_VERSION, LAYOUTS, STATUSES, ff_abi_version, ff_status_name, ff_version_string};

fn header() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("include/fleetfoot.h")).unwrap()
}

/// The header without comments.
fn code() -> String {
    let text = header();
    let mut code = String::new();
    for part in text.split("/*") {
        let rest = part.split_once("*/").map_or(part, |(_, rest)| rest);
        code.push_str(if code.is_empty() && text.starts_with("/*") { "" } else { rest });
        code.push(' ');
    }
    code.push_str(text.split_once("*/").map_or("", |(_, rest)| rest.split("/*").next().unwrap()));
    code
}

#[test]
fn structs_are_as_a_c_compiler_lays_them_out() {
    let mut program = String::from("#include <fleetfoot.h>\n#include <stdio.h>\nint main(void) {\n");
    let mut expected = String::new();
    for (name, size, fields) in LAYOUTS {
        writeln!(program, "printf(\"{name} %zu\\n\", sizeof({name}));").unwrap();
        writeln!(expected, "{name} {size}").unwrap();
        for (field, offset, len) in *fields {
            let found = format!("offsetof({name}, {field}), sizeof((({name} *)0)->{field})");
            writeln!(program, "printf(\"{name}.{field} %zu %zu\\n\", {found});").unwrap();
            writeln!(expected, "{name}.{field} {offset} {len}").unwrap();
        }
        // No field of the header is missing in Rust.
        let body = code();
        let body =
            body.split_once(&format!("typedef struct {name} {{")).unwrap().1.split_once('}').unwrap().0.to_owned();
        let declared = body.split(';').map(|d| d.split(',').count()).sum::<usize>() - 1;
        assert_eq!(declared, fields.len() + 1, "fields of {name}: {body}");
    }
    program.push_str("return 0;\n}\n");
    let dir = tempfile::tempdir().unwrap();
    let (source, binary) = (dir.path().join("layout.c"), dir.path().join("layout"));
    fs::write(&source, program).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let built =
        Command::new(compiler).args(["-std=c99", "-I"]).arg(include).arg(&source).arg("-o").arg(&binary).status();
    assert!(built.unwrap().success(), "a C compiler");
    let printed = Command::new(&binary).output().unwrap().stdout;
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
}

#[test]
fn statuses_have_the_numbers_of_the_header() {
    let code = code();
    let mut in_header = BTreeSet::new();
    for line in code.split([',', '{', '}']) {
        if let Some((name, number)) = line.trim().split_once(" = ")
            && (name == "FF_OK" || name.starts_with("FF_ERR_"))
        {
            in_header.insert((number.trim().parse::<i32>().unwrap(), name.to_owned()));
        }
    }
    let in_code: BTreeSet<_> = STATUSES.iter().map(|(n, name)| (*n, name.to_str().unwrap().to_owned())).collect();
    assert_eq!(in_header, in_code);
    assert!(in_code.len() > 40 && in_code.len() == STATUSES.len());
    let name = |status| {
        // SAFETY: static text that ends with a zero.
        unsafe { CStr::from_ptr(ff_status_name(status)) }.to_str().unwrap()
    };
    for (number, name_in_header) in &in_header {
        assert_eq!(name(*number), name_in_header);
    }
    for unknown in [-1, 1, 599, 648, i32::MAX, i32::MIN] {
        assert_eq!(name(unknown), "FF_ERR_UNKNOWN");
    }
}

#[test]
fn the_version_is_that_of_the_header() {
    let number = |name: &str| {
        let rest = header().split_once(&format!("#define {name} ")).unwrap().1.split_once('u').unwrap().0.to_owned();
        rest.parse::<u32>().unwrap()
    };
    assert_eq!(ABI_VERSION, number("FF_ABI_MAJOR") << 16 | number("FF_ABI_MINOR"));
    assert_eq!(ff_abi_version(), ABI_VERSION);
    // SAFETY: static text that ends with a zero.
    assert_eq!(unsafe { CStr::from_ptr(ff_version_string()) }.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
}

/// Every function that the header declares is exported, and no other.
#[test]
fn functions_are_those_of_the_header() {
    let mut exported = BTreeSet::new();
    let mut folder = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(dir) = folder.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folder.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for part in text.split("#[unsafe(no_mangle)]\n").skip(1) {
                let name = part.split_once(" fn ").unwrap().1.split('(').next().unwrap();
                assert!(exported.insert(name.to_owned()), "{name} twice");
            }
        }
    }
    let code = code();
    let declared = code.split("FF_API ").skip(1).filter_map(|part| {
        let declaration = part.split_once(';')?.0;
        let name = declaration.split_once('(')?.0.rsplit([' ', '*']).next()?;
        name.starts_with("ff_").then(|| name.to_owned())
    });
    assert_eq!(declared.collect::<BTreeSet<_>>(), exported);
    assert!(exported.len() > 30);
}
