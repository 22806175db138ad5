//! What the texts say of the code, as far as a program can tell: numbers of errors, folders on the map, names of checks.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{collections::BTreeMap, fs, path::Path};

use fleetfoot_tests::root;

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// All Rust sources below `folder`, by their path.
fn sources(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            let short = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            found.insert(short, fs::read_to_string(path).unwrap());
        }
    }
}

/// `a-b` and single numbers of a row of the table in `docs/errors.md`.
fn ranges(column: &str) -> Vec<(u16, u16)> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        (from.parse().unwrap(), to.parse().unwrap())
    };
    column.split(',').map(|part| range(part.trim())).collect()
}

#[test]
fn every_number_of_an_error_is_its_own_and_in_the_range_of_its_crate() {
    let errors = text("docs/errors.md");
    let rows: Vec<(Vec<(u16, u16)>, &str)> = errors
        .lines()
        .filter(|line| line.starts_with('|') && line.contains("`fleetfoot"))
        .map(|line| {
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            (ranges(columns[1]), columns[2].trim_matches('`'))
        })
        .collect();
    assert!(rows.len() >= 10);
    let mut files = BTreeMap::new();
    for folder in ["runtime", "quantize", "release", "ffi"] {
        sources(&root().join(folder), &mut files);
    }
    let mut seen = BTreeMap::new();
    for (path, source) in files.iter().filter(|(path, _)| path.contains("/src/") && !path.contains("tests")) {
        let (folder, _) = path.split_once("/src/").unwrap();
        let manifest = text(&format!("{folder}/Cargo.toml"));
        let name = manifest.lines().find_map(|l| l.strip_prefix("name = \"")).unwrap().trim_end_matches('"');
        for line in source.lines().map(str::trim).filter(|line| line.starts_with("Self::") && line.ends_with(',')) {
            let Some(number) = line.rsplit_once("=> ").and_then(|(_, n)| n.trim_end_matches(',').parse::<u16>().ok())
            else {
                continue;
            };
            if !(100..1000).contains(&number) {
                continue;
            }
            let within = |rows: &[(u16, u16)]| rows.iter().any(|&(from, to)| (from..=to).contains(&number));
            let documented = rows.iter().any(|(ranges, owner)| *owner == name && within(ranges));
            assert!(documented, "{number} in {path} is not in the ranges of {name} in docs/errors.md");
            let other = seen.insert(number, path);
            assert!(other.is_none(), "{number} is used in {path} and in {}", other.unwrap());
        }
    }
    assert!(seen.len() > 90, "{} numbers found", seen.len());
    let record = text("runtime/format/src/record.rs");
    let reasons = record.split("Self = Self(").skip(1).map(|rest| rest.split(')').next().unwrap());
    for number in reasons {
        assert!(errors.contains(&format!("| {number} |")), "reason {number} is not in docs/errors.md");
        assert!(!seen.contains_key(&number.parse().unwrap()), "reason {number} is also the number of an error");
    }
}

#[test]
fn every_crate_is_on_the_map_and_every_check_is_in_the_list() {
    let map = text("ARCHITECTURE.md");
    let manifest = text("Cargo.toml");
    let members = manifest.split_once("members = [").unwrap().1.split_once(']').unwrap().0;
    for member in members.split('"').skip(1).step_by(2) {
        let last = member.rsplit('/').next().unwrap();
        assert!(map.contains(&format!("{last}/")), "{member} is not on the map of ARCHITECTURE.md");
    }
    let contributing = text("CONTRIBUTING.md");
    let table = contributing.split_once("| check | what |").unwrap().1.split_once("\n\n").unwrap().0;
    let listed: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty() && !name.starts_with('-'))
        .collect();
    let checks = text("xtask/src/checks.rs");
    let mut existing: Vec<&str> =
        checks.split("Check { name: \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut sorted = listed;
    sorted.sort_unstable();
    existing.sort_unstable();
    assert_eq!(sorted, existing, "checks in CONTRIBUTING.md and in xtask/src/checks.rs");
}

#[test]
fn links_between_the_texts_lead_somewhere() {
    let texts = [
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/errors.md",
        "docs/formats.md",
        "docs/numerics.md",
        "docs/preprocessing.md",
        "docs/security.md",
    ];
    for name in texts {
        let folder = Path::new(name).parent().unwrap();
        let text = text(name);
        for target in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let file = target.split('#').next().unwrap();
            let local = !file.is_empty() && !target.contains("://");
            assert!(!local || root().join(folder).join(file).exists(), "{name}: {target}");
        }
    }
}
