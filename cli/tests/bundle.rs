//! Bundles from the command line: the same bytes twice, and no bit that can be flipped unseen.

mod support;

use std::fs;

use support::{World, example};

#[test]
fn packing_twice_in_two_folders_gives_the_same_bytes() {
    let (a, b) = (World::new(), World::new());
    a.keys();
    fs::create_dir(b.path("keys")).expect("made");
    fs::copy(a.path("keys/releases.key"), b.path("keys/releases.key")).expect("copied");
    a.pack(1, "digits_v2").ok();
    b.pack(1, "digits_v2").ok();
    assert_eq!(fs::read(a.path("1.ff")).expect("packed"), fs::read(b.path("1.ff")).expect("packed"));
}

#[test]
fn flipped_bits_give_exit_code_3() {
    let world = World::new();
    world.keys();
    world.pack(1, "digits_v1").ok();
    let good = fs::read(world.path("1.ff")).expect("packed");
    let verify = |expected: &[i32], at: usize| {
        let ran = world.run(&["verify", "x.ff", "--key", "keys/releases.pub"]);
        assert!(expected.contains(&ran.code), "byte {at}: exit {} {}", ran.code, ran.stderr);
    };
    fs::write(world.path("x.ff"), &good).expect("written");
    verify(&[0], 0);
    // Every byte of preamble, signers, header and signature, then a sample of the sections; every bit is flipped in the tests of the library.
    let head = 16 + 32 + usize::from(good[12]) + 256 * usize::from(good[13]) + 64;
    let sample = (0..head).chain((head..good.len()).step_by(97)).chain([good.len() - 1]);
    for at in sample {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(world.path("x.ff"), &bad).expect("written");
        verify(if at < 16 { &[2, 3] } else { &[3] }, at);
    }
    for len in [0, 1, 8, 15, 16, 47, 100, good.len() / 2, good.len() - 1] {
        fs::write(world.path("x.ff"), &good[..len]).expect("written");
        verify(if len < 16 { &[2, 3] } else { &[3] }, len);
    }
    fs::write(world.path("x.ff"), [&good[..], b"x"].concat()).expect("written");
    verify(&[3], good.len());
}

#[test]
fn a_flipped_bit_in_the_signature_of_a_stranger_is_seen() {
    let world = World::new();
    world.keys();
    let (model, keys) = (example("digits_v1.tflite"), ["--key", "keys/releases.key", "--key", "keys/targets.key"]);
    world.run(&[&["pack", &model, "--name", "d", "--version", "1", "-o", "d.ff"], &keys[..]].concat()).ok();
    let good = fs::read(world.path("d.ff")).expect("packed");
    let known = ["--key", "keys/releases.pub"];
    world.run(&[&["verify", "d.ff"], &known[..]].concat()).ok();
    let slots = 16 + 64 + usize::from(good[12]) + 256 * usize::from(good[13]);
    for at in (slots..slots + 128).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(world.path("x.ff"), &bad).expect("written");
        assert_eq!(world.run(&[&["verify", "x.ff"], &known[..]].concat()).code, 3, "byte {at}");
    }
}

#[test]
fn keys_and_thresholds() {
    let world = World::new();
    world.keys();
    world.pack(1, "digits_v1").ok();
    let code = |args: &[&str]| world.run(&[&["verify", "1.ff"], args].concat()).code;
    assert_eq!(code(&["--key", "keys/releases.pub"]), 0);
    assert_eq!(code(&["--key", "keys/targets.pub"]), 3);
    assert_eq!(code(&["--key", "keys/releases.pub", "--key", "keys/targets.pub"]), 3);
    assert_eq!(code(&["--key", "keys/releases.pub", "--key", "keys/targets.pub", "--threshold", "1"]), 0);
    assert_eq!(code(&[]), 2);
    let json = world.run(&["--json", "verify", "1.ff", "--key", "keys/releases.pub"]).ok().json();
    assert_eq!(json["ok"], true);
    assert_eq!(json["signatures"][0]["ok"], true);
    assert_eq!(json["digest"].as_str().map(str::len), Some(64));
    assert_eq!(world.run(&["--json", "inspect", "1.ff"]).ok().json()["digest"], json["digest"]);
}

#[test]
fn encrypted_keys_need_their_passphrase() {
    let world = World::new();
    fs::write(world.path("right"), "correct horse\n").expect("written");
    fs::write(world.path("wrong"), "battery staple\n").expect("written");
    world.run(&["keys", "new", "--role", "releases", "--out", "keys", "--passphrase-file", "right"]).ok();
    let model = example("digits_v1.tflite");
    let pack = |passphrase: &str| {
        let args = [
            "pack",
            &model,
            "--name",
            "d",
            "--version",
            "1",
            "--key",
            "keys/releases.key",
            "--passphrase-file",
            passphrase,
            "-o",
            "d.ff",
        ];
        world.run(&args).code
    };
    assert_eq!(pack("wrong"), 2);
    assert_eq!(pack("right"), 0);
    let again = world.run(&["keys", "new", "--role", "releases", "--out", "keys", "--plain"]);
    assert_eq!(again.code, 2, "a key is never overwritten: {}", again.stderr);
}

#[test]
fn run_and_inspect_a_bundle() {
    let world = World::new();
    world.keys();
    world.pack(1, "digits_v2").ok();
    let json = world
        .run(&[
            "--json",
            "run",
            "1.ff",
            "--key",
            "keys/releases.pub",
            "--input",
            &example("digits_v2.golden.npz"),
            "--output",
            "y.npy",
        ])
        .ok()
        .json();
    assert_eq!(json["outputs"].as_array().map(Vec::len), Some(16));
    assert!(json["us"].as_f64() > Some(0.0));
    assert!(world.path("y.npy").exists());
    let json = world.run(&["--json", "inspect", "1.ff", "--key", "keys/releases.pub"]).ok().json();
    assert_eq!(json["golden_cases"], 16);
    assert_eq!(json["model"], "digits");
    let json =
        world.run(&["--json", "bench", "1.ff", "--key", "keys/releases.pub", "--runs", "5", "--per-op"]).ok().json();
    assert_eq!(json["runs"], 5);
    assert!(
        json["layers"].as_array().is_some_and(|l| !l.is_empty() && l.iter().all(|l| l["bytes"].as_u64() > Some(0)))
    );
    assert_eq!(
        json["layers"].as_array().map(Vec::len),
        json["layers"].as_array().map(|l| l.iter().filter(|l| l["us"].as_f64() > Some(0.0)).count())
    );
    let (per_op, layers) = (&json["per_op"], json["layers"].as_array().cloned().unwrap_or_default());
    let sum: f64 = layers.iter().filter_map(|layer| layer["us"].as_f64()).sum();
    assert!((per_op["layers_us"].as_f64().unwrap_or_default() - sum).abs() < 1e-6 * sum, "{per_op}");
    assert!(per_op["whole_us"].as_f64() > Some(0.0) && per_op["layers_over_whole"].as_f64() > Some(0.0), "{per_op}");
    let has_peak = per_op["peak_gmacs"].as_f64().is_some();
    for layer in &layers {
        let share = layer["share_of_peak"].as_f64();
        assert_eq!(share > Some(0.0), has_peak && layer["macs"].as_u64() > Some(0), "{layer}");
    }
    let portable = world.run(&["--json", "bench", "1.ff", "--runs", "1", "--per-op", "--isa", "scalar"]).ok().json();
    assert!(portable["per_op"]["peak_gmacs"].is_null() && portable["layers"][0]["share_of_peak"].is_null());

    let cold = &["--json", "bench", "1.ff", "--key", "keys/releases.pub", "--runs", "3", "--cold"];
    let json = world.run(cold).ok().json();
    let names: Vec<&str> =
        json["cold"]["stages"].as_array().into_iter().flatten().filter_map(|stage| stage["name"].as_str()).collect();
    assert_eq!(names, ["verify", "load", "session", "first"]);
    let (together, process) = (&json["cold"]["together"], &json["cold"]["process"]);
    assert_eq!((&together["min_us"], &together["p50_us"]), (&json["min_us"], &json["p50_us"]));
    assert!(process["min_us"].as_f64() > together["min_us"].as_f64() && json["load_us"].as_f64() > Some(0.0), "{json}");
    assert!(json["layers"].as_array().is_some_and(Vec::is_empty) && json["per_op"].is_null());
}
