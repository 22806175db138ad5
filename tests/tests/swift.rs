//! The Swift binding against the header: nothing that the header has is unknown in Swift. (What is used there and not in the header, the compiler finds.)
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{collections::BTreeMap, fs, path::Path};

use fleetfoot_tests::root;

/// Of no use in Swift, where what goes well throws nothing, and where kinds of later versions have a case that is for all other numbers.
const LEFT_OUT: [&str; 3] = ["FF_OK", "FF_EVENT_OTHER", "FF_UPDATE_OTHER"];

/// The header without comments.
fn header() -> String {
    let text = fs::read_to_string(root().join("ffi/include/fleetfoot.h")).unwrap();
    let mut code = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("/*") {
        code.push_str(before);
        rest = after.split_once("*/").unwrap().1;
    }
    code + rest
}

/// The sources, without comments.
fn sources() -> String {
    let folder = root().join("bindings/swift/Sources/Fleetfoot");
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        all.extend(text.lines().map(|line| line.split("//").next().unwrap()).flat_map(|line| [line, "\n"]));
    }
    all
}

/// The words of a text, as C and Swift divide them.
fn has_word(text: &str, word: &str) -> bool {
    let is_inside = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_inside) && !text[at + word.len()..].starts_with(is_inside))
}

#[test]
fn every_function_is_called() {
    let (header, sources) = (header(), sources());
    let functions: Vec<&str> = header
        .split("FF_API ")
        .skip(1)
        .filter_map(|part| part.split_once(';')?.0.split_once('(')?.0.rsplit([' ', '*']).next())
        .filter(|name| name.starts_with("ff_"))
        .collect();
    assert!(functions.len() > 40, "{functions:?}");
    let unknown: Vec<_> = functions.iter().filter(|name| !sources.contains(&format!("{name}("))).collect();
    assert!(unknown.is_empty(), "not called from Swift: {unknown:?}");
}

#[test]
fn every_field_is_read_or_set() {
    let (header, sources) = (header(), sources());
    let mut n_fields = 0;
    let mut unknown = Vec::new();
    for part in header.split("typedef struct ").skip(1) {
        let (name, body) = part.split_once([' ', ';']).unwrap();
        // One that is never looked into has no fields.
        let Some(body) = body.strip_prefix('{') else { continue };
        let body = body.split_once('}').unwrap().0;
        assert!(has_word(&sources, name), "{name} is not used in Swift");
        for declarator in
            body.split(';').flat_map(|declaration| declaration.split(',')).filter(|d| !d.trim().is_empty())
        {
            let field = declarator.split('[').next().unwrap().rsplit([' ', '*']).next().unwrap();
            n_fields += 1;
            if field != "reserved" && !has_word(&sources, field) {
                unknown.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(n_fields > 90, "{n_fields} fields");
    assert!(unknown.is_empty(), "not used in Swift: {unknown:?}");
}

/// `NAME = number` of all enums.
fn constants(header: &str) -> BTreeMap<String, i64> {
    header
        .split("enum {")
        .skip(1)
        .flat_map(|part| part.split_once('}').unwrap().0.split(','))
        .filter_map(|item| item.trim().split_once(" = "))
        .map(|(name, number)| (name.to_owned(), number.trim().parse().unwrap()))
        .collect()
}

/// Cases of a Swift enum with numbers, by their names in C.
fn cases(name: &str, prefix: &str) -> BTreeMap<String, i64> {
    let sources = sources();
    let body = sources.split_once(&format!("enum {name}: Int32")).unwrap().1;
    body.lines()
        .skip(1)
        .map(str::trim)
        .take_while(|line| line.is_empty() || line.starts_with("case "))
        .filter_map(|line| line.strip_prefix("case ")?.split_once(" = "))
        .map(|(case, number)| {
            let letters =
                case.chars().map(|c| if c.is_uppercase() { format!("_{c}") } else { c.to_uppercase().to_string() });
            (format!("{prefix}{}", letters.collect::<String>()), number.parse().unwrap())
        })
        .collect()
}

#[test]
fn every_number_is_known() {
    let (header, sources) = (header(), sources());
    let all = constants(&header);
    assert!(all.len() > 80, "{}", all.len());
    let mut known = BTreeMap::new();
    for (name, prefix) in [("Status", "FF_ERR_"), ("DType", "FF_"), ("PixelFormat", "FF_"), ("Filter", "FF_")] {
        let cases = cases(name, prefix);
        assert!(cases.len() > 1, "{name}");
        known.extend(cases);
    }
    for (name, number) in &known {
        assert_eq!(all.get(name), Some(number), "{name} in Swift and in the header");
    }
    let unknown: Vec<_> = all
        .keys()
        .filter(|name| !known.contains_key(*name) && !has_word(&sources, name) && !LEFT_OUT.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "not known in Swift: {unknown:?}");
}

/// The module is made of the header itself.
#[test]
fn the_module_is_made_of_the_header() {
    let folder = root().join("bindings/swift/Sources/CFleetfoot");
    let map = fs::read_to_string(folder.join("module.modulemap")).unwrap();
    let header = map.split_once("header \"").unwrap().1.split('"').next().unwrap();
    let header = fs::canonicalize(folder.join(header)).unwrap();
    assert_eq!(header, fs::canonicalize(Path::new(&root().join("ffi/include/fleetfoot.h"))).unwrap());
}
