//! Bad input: each a clear error with the exit code of the contract, and nothing lost.

mod support;

use std::fs;

use support::{World, example};

/// Runs a command that must fail with `code` and say each of `words`.
#[track_caller]
fn check(world: &World, args: &[&str], code: i32, words: &[&str]) {
    let ran = world.run(args);
    assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "{args:?} does not say '{word}': {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn files_that_are_no_model() {
    let world = World::new();
    let good = fs::read(example("digits_v1.tflite")).expect("the example");
    fs::write(world.path("empty.tflite"), b"").expect("written");
    fs::write(world.path("pickle.tflite"), b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.").expect("written");
    fs::write(world.path("onnx.tflite"), b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x10\n\x01x").expect("written");
    fs::write(world.path("text.tflite"), b"hello").expect("written");
    fs::write(world.path("truncated.tflite"), &good[..good.len() / 2]).expect("written");
    fs::create_dir(world.path("folder.tflite")).expect("made");
    let data = example("digits_test.npz");
    let run = |model: &str, code, words: &[&str]| check(&world, &["run", model, "--input", &data], code, words);
    run("missing.tflite", 2, &["missing.tflite"]);
    run("empty.tflite", 2, &["empty"]);
    run("pickle.tflite", 2, &["pickle", "help:"]);
    run("onnx.tflite", 4, &["damaged or truncated .onnx"]);
    run("text.tflite", 2, &["text.tflite"]);
    run("truncated.tflite", 4, &["truncated.tflite"]);
    run("folder.tflite", 2, &["folder"]);
}

#[test]
fn data_that_does_not_fit() {
    let world = World::new();
    let model = example("digits_v1.tflite");
    let npy = |name: &str, descr: &str, shape: &str, bytes: &[u8]| {
        let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        while !(header.len() + 11).is_multiple_of(64) {
            header.push(' ');
        }
        header.push('\n');
        let len = u16::try_from(header.len()).expect("short").to_le_bytes();
        let file = [b"\x93NUMPY\x01\x00", &len[..], header.as_bytes(), bytes].concat();
        fs::write(world.path(name), file).expect("written");
    };
    npy("shape.npy", "|i1", "(1, 7, 8, 1)", &[0; 56]);
    npy("dtype.npy", "<f4", "(1, 8, 8, 1)", &[0; 256]);
    npy("short.npy", "|i1", "(1, 8, 8, 1)", &[0; 10]);
    npy("huge.npy", "|i1", "(99999999999, 8, 8, 1)", &[0; 10]);
    npy("none.npy", "|i1", "(0, 8, 8, 1)", &[]);
    let run = |input: &str, code, words: &[&str]| check(&world, &["run", &model, "--input", input], code, words);
    run("shape.npy", 2, &["shape", "[1, 8, 8, 1]", "[1, 7, 8, 1]"]);
    run("dtype.npy", 2, &["int8", "float32", "quantize it"]);
    run("short.npy", 2, &["short.npy"]);
    run("huge.npy", 2, &["huge.npy"]);
    run("none.npy", 2, &["no sample"]);
    run("missing.npy", 2, &["missing.npy"]);
    run("data.parquet", 2, &["data.parquet", ".npz"]);
    check(
        &world,
        &["run", &model, "--input", &example("digits_test.npz"), "--isa", "abacus"],
        2,
        &["abacus", "scalar"],
    );
    check(&world, &["run", &model], 2, &["--input"]);
}

/// A full disk, and readers that went away: an exit code of the contract, never a panic; what is no file is not replaced.
#[cfg(target_os = "linux")]
#[test]
fn outputs_that_take_nothing() {
    let world = World::new();
    let (model, input) = (example("digits_v1.tflite"), example("digits_v1.golden.npz"));
    let full = |args: &[&str], code| {
        let out = fs::OpenOptions::new().write(true).open("/dev/full").expect("a device of Linux");
        let done = world.command().args(args).stdout(out).output().expect("the program runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains("No space left") || code != 1, "{args:?}: {said}");
    };
    full(&["completions", "bash"], 1);
    full(&["--json", "bench", &model, "--runs", "1"], 1);
    full(&["--json", "run", "missing.tflite", "--input", &input], 2);
    check(&world, &["run", &model, "--input", &input, "--output", "/dev/full"], 1, &["/dev/full", "help:"]);
    // A link stays one: what it points to is written.
    std::os::unix::fs::symlink("real.npy", world.path("link.npy")).expect("linked");
    fs::write(world.path("real.npy"), b"old").expect("written");
    world.run(&["run", &model, "--input", &input, "--output", "link.npy"]).ok();
    assert!(fs::symlink_metadata(world.path("link.npy")).expect("a link").is_symlink());
    assert!(fs::read(world.path("real.npy")).expect("a file").starts_with(b"\x93NUMPY"));
}

/// Every command shows how it is used.
#[test]
fn help_has_an_example() {
    let world = World::new();
    let commands = "keys|keys new|quantize|eval|diff|pack|verify|inspect|run|bench|repo|repo init|repo add|repo status|repo resign|repo rotate|repo adopt|publish|serve|openapi|token|token new|token revoke|audit|audit verify|rollout|rollout status|rollout explain|rollout approve|rollout promote|rollout hold|rollout resume|rollout abort|rollout rollback|rollout apply|policy schema|device|demo|completions";
    for command in commands.split('|') {
        let args: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let ran = world.run(&args).ok();
        assert!(ran.stdout.contains(&format!("Example: fleetfoot {command}")), "{command}: {}", ran.stdout);
    }
}

#[test]
fn golden_files_that_do_not_fit() {
    let world = World::new();
    world.keys();
    let model = example("digits_v1.tflite");
    let pack = |golden: &str, more: &[&str], code, words: &[&str]| {
        let base = [
            "pack",
            &model,
            "--name",
            "digits",
            "--version",
            "1",
            "--golden",
            golden,
            "--key",
            "keys/releases.key",
            "-o",
            "x.ff",
        ];
        check(&world, &[&base[..], more].concat(), code, words);
        assert!(!world.path("x.ff").exists(), "nothing may be written");
    };
    // The outputs of another model.
    pack(&example("digits_v2.golden.npz"), &[], 5, &["golden case 0", "output byte"]);
    pack("missing.npz", &[], 2, &["missing.npz"]);
    fs::write(world.path("empty.npz"), b"").expect("written");
    pack("empty.npz", &[], 2, &["empty.npz"]);
    pack(&example("digits_v1.golden.npz"), &["--budget-arena-bytes", "10"], 5, &["arena", "10"]);
    pack(&example("digits_v1.golden.npz"), &["--name", "../x"], 2, &[]);
}

#[test]
fn a_server_that_is_not_there_and_metadata_that_expired() {
    let world = World::published();
    world.device("repo", "store").ok();
    // Nothing listens on port 9 of this machine.
    let ran = world.device("http://127.0.0.1:9", "store");
    assert_eq!(ran.code, 6, "{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.json()["serving"]["version"], "1.0.0", "the serving version goes on");
    world.pack(2, "digits_v2").ok();
    world.publish(2, &["--expires-in", "1"]).ok();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let ran = world.device("repo", "store");
    assert_eq!(ran.code, 3, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("expired"), "{}", ran.stderr);
    assert_eq!(ran.json()["serving"]["version"], "1.0.0");
}

#[test]
fn wrong_use_is_a_json_document_too() {
    let world = World::new();
    let ran = world.run(&["--json", "run", "--no-such-flag"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    let error = &ran.json()["error"];
    assert_eq!(error["exit"], 2);
    assert!(error["message"].as_str().is_some_and(|m| m.contains("--no-such-flag")), "{error}");
    assert_eq!(world.run(&["--json", "run", "--help"]).code, 0);
}
