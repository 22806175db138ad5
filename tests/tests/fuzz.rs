//! The kept files of `fuzz/corpus`, and some mutations of each, through the targets that `cargo xtask fuzz` runs for longer.
#![allow(clippy::unwrap_used, reason = "a file that cannot be read must fail the test")]

use fleetfoot_tests::{
    fuzz::{bundle, http, keyfile, lite, mutate, onnx, record, report, tflite, tuf},
    root,
};

/// Every file of `fuzz/corpus/<name>` and `mutations` of each, all the same in every run.
fn check(name: &str, target: fn(&[u8]), mutations: u32, mutate: fn(&[u8], u32) -> Option<Vec<u8>>) {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join("fuzz/corpus").join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut runs = 0;
    for file in &files {
        let bytes = std::fs::read(file).unwrap();
        target(&bytes);
        for seed in 0..mutations {
            // A second mutation of the first: faults in two places.
            let once = mutate(&bytes, seed);
            let twice = once.as_deref().and_then(|once| mutate(once, seed + 1));
            for mutated in once.iter().chain(&twice) {
                target(mutated);
                runs += 1;
            }
        }
    }
    println!("{name}: {} files, {runs} mutations", files.len());
    // Every kept file can be changed in this way, or few cannot.
    let (expected, most) = (files.len() * mutations as usize, files.len() >= 4);
    assert!(most && runs > expected, "{} files, {runs} mutations", files.len());
}

#[test]
fn bundles() {
    check("bundle", bundle::target, 100, mutate::bundle);
}

#[test]
fn models() {
    check("tflite", tflite::target, 100, |bytes, seed| {
        let mut bytes = bytes.to_vec();
        mutate::words(&mut bytes, seed);
        Some(bytes)
    });
}

#[test]
fn networks() {
    check("onnx", onnx::target, 300, |bytes, seed| match seed % 3 {
        0 => Some(mutate::bytes(bytes, seed)),
        _ => onnx::mutate(bytes, seed).or_else(|| Some(mutate::bytes(bytes, seed))),
    });
}

#[test]
fn metadata() {
    check("tuf", tuf::target, 150, |bytes, seed| match seed % 4 {
        0 => Some(mutate::bytes(bytes, seed)),
        _ => mutate::json(bytes, seed).or_else(|| Some(mutate::bytes(bytes, seed))),
    });
}

#[test]
fn records() {
    check("record", record::target, 200, |bytes, seed| Some(mutate::bytes(bytes, seed)));
}

#[test]
fn lite_files() {
    check("lite", lite::target, 60, |bytes, seed| Some(mutate::bytes(bytes, seed)));
}

#[test]
fn key_files() {
    check("keyfile", keyfile::target, 200, |bytes, seed| Some(mutate::bytes(bytes, seed)));
}

#[test]
fn answers_of_web_servers() {
    check("http", http::target, 60, |bytes, seed| Some(mutate::bytes(bytes, seed)));
}
#[test]
fn reports() {
    check("report", report::target, 200, |bytes, seed| {
        let mut bytes = bytes.to_vec();
        let at = (seed.wrapping_mul(2_654_435_761) >> 8) as usize % bytes.len();
        bytes[at] ^= 1 << (seed % 8);
        Some(bytes)
    });
}
