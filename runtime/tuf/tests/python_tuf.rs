//! A repository that python-tuf wrote (`python_tuf/write.py` makes it again), read by ours.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::{fs, path::Path};

use fleetfoot_tuf::Stored;
use support::{ROLE, refresh};

/// While its files hold: 2030.
const NOW: i64 = 1_900_000_000;

#[test]
fn a_repository_of_python_tuf() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_tuf");
    let mut files = Stored::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.insert(path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap());
        }
    }
    let mut stored = Stored::new();
    let targets = refresh(&files["1.root.json"], &mut stored, &files, ROLE, NOW).unwrap();
    assert_eq!(targets.len(), 1);
    assert_eq!(targets[0].path, "models/kws/1.0.0/kws-1.0.0.ff");
    assert_eq!((targets[0].length, targets[0].sha256), (6, fleetfoot_trust::sha256(b"bundle")));
    assert_eq!(targets[0].custom["note"], "\u{e9} \u{1f600} \" \\ \n \t");
    assert_eq!(stored["root.json"], files["2.root.json"]);
    // Each file without its last signature.
    for name in files.keys().filter(|name| *name != "1.root.json") {
        let mut unsigned = files.clone();
        let mut document: serde_json::Value = serde_json::from_slice(&files[name]).unwrap();
        document["signatures"].as_array_mut().unwrap().pop();
        unsigned.insert(name.clone(), serde_json::to_vec(&document).unwrap());
        let found = refresh(&files["1.root.json"], &mut Stored::new(), &unsigned, ROLE, NOW);
        assert!(matches!(found.unwrap_err().code(), 245 | 248..=250), "{name}");
    }
}
