//! `--threads`: the same outputs for any number, and a clear refusal of numbers that make no sense.

mod support;

use std::fs;

use support::{World, example};

#[test]
fn outputs_are_the_same_for_any_number_of_threads() {
    let world = World::new();
    let (model, input) = (example("digits_v1.tflite"), example("digits_v1.golden.npz"));
    let output = |threads: &str, name: &str| {
        world.run(&["run", &model, "--input", &input, "--threads", threads, "--output", name]).ok();
        fs::read(world.path(name)).expect("written")
    };
    let one = output("1", "1.npy");
    assert_eq!(output("2", "2.npy"), one);
    assert_eq!(output("64", "64.npy"), one);
}

#[test]
fn bench_says_how_many() {
    let world = World::new();
    let model = example("digits_v1.tflite");
    for threads in ["1", "3"] {
        let ran = world.run(&["--json", "bench", &model, "--runs", "2", "--threads", threads]);
        assert!(ran.stdout.contains(&format!("\"threads\":{threads}")), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn numbers_that_make_no_sense() {
    let world = World::new();
    let (model, input) = (example("digits_v1.tflite"), example("digits_v1.golden.npz"));
    for threads in ["0", "65", "-1", "many", "99999999999"] {
        let option = format!("--threads={threads}");
        for args in [&["run", &model, "--input", &input, &option][..], &["bench", &model, &option]] {
            let ran = world.run(args);
            assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("--threads") && ran.stderr.contains(threads), "{}", ran.stderr);
        }
    }
}
