//! What the tests share: where data lies, and files of numpy.
#![forbid(unsafe_code)]

pub mod calls;
pub mod fuzz;
pub mod scenario;

use std::{fs::File, io::BufReader, path::PathBuf};

/// The root of the project.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A path in the folder of models and data beside the project; `None`, said on standard error, where there is none.
///
/// # Panics
/// In continuous integration (`CI=true`), where the folder must be there.
#[must_use]
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = root().join("../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{} is missing", path.display());
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// An array of an `.npz`: its shape and its bytes, little-endian.
///
/// # Panics
/// If there is no such array.
#[must_use]
pub fn npz(path: &std::path::Path, name: &str) -> (Vec<u64>, Vec<u8>) {
    let mut archive = npyz::npz::NpzArchive::<BufReader<File>>::open(path).expect("a file of numpy");
    let array = archive.by_name(name).expect("a readable archive").unwrap_or_else(|| panic!("no array '{name}'"));
    let shape = array.shape().to_vec();
    let descr = array.dtype().descr();
    let bytes = match descr.trim_matches('\'').get(1..).expect("a plain type") {
        "i1" => array.into_vec::<i8>().expect("int8").into_iter().map(i8::cast_unsigned).collect(),
        "f4" => array.into_vec::<f32>().expect("float32").into_iter().flat_map(f32::to_le_bytes).collect(),
        "i4" => array.into_vec::<i32>().expect("int32").into_iter().flat_map(i32::to_le_bytes).collect(),
        "i8" => array.into_vec::<i64>().expect("int64").into_iter().flat_map(i64::to_le_bytes).collect(),
        _ => array.into_vec::<u8>().expect("uint8"),
    };
    (shape, bytes)
}

/// The recorded single-operator networks: an archive (one per type of the operators) and the name of the network in it.
///
/// # Panics
/// If an archive is missing or damaged.
#[must_use]
pub fn operators() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    for suffix in ["int8", "uint8"] {
        let archive = root().join(format!("tests/vectors/operators_{suffix}.npz"));
        let names = String::from_utf8(npz(&archive, "names").1).expect("names are text");
        all.extend(names.lines().map(|name| (archive.clone(), name.to_string())));
    }
    all
}
