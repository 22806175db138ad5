//! What a device waits for, and the drift baseline of a bundle, as the program is told about them.

mod support;

use serde_json::Value;
use support::{World, example};

/// Midday of tomorrow, when the metadata is signed and still holds.
fn midday() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = i64::try_from(since.as_secs()).expect("not so late");
    now - now.rem_euclid(86_400) + 86_400 + 43_200
}

fn poll(world: &World, store: &str, now: i64, more: &[&str]) -> Value {
    let now = now.to_string();
    let mut args = world.device_args("repo", store);
    args.extend(["--now", &now].iter().chain(more).map(|arg| (*arg).to_owned()));
    world.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok().json()
}

#[test]
fn what_a_device_waits_for() {
    let world = World::published();
    let rows: [(&[&str], &str, &str); 5] = [
        (&[], "trial", "serves on trial"),
        (&["--window", "11:00-13:00"], "trial", "serves on trial"),
        (&["--window", "01:00-05:00"], "deferred", "waits until"),
        (&["--max-bytes", "100"], "deferred", "waits until"),
        (&["--apply-jitter-s", "86400"], "deferred", "waits until"),
    ];
    for (row, (more, outcome, event)) in rows.iter().enumerate() {
        let store = format!("store-{row}");
        let seen = poll(&world, &store, midday(), more);
        assert_eq!(seen["outcome"], *outcome, "{more:?}: {seen}");
        assert!(seen["events"].to_string().contains(event), "{more:?}: {seen}");
    }
    // In its hours, after its turn, it goes on; a bundle that is too long does not.
    let later = |days: i64, hour: i64| midday() + days * 86_400 + (hour - 12) * 3600;
    assert_eq!(poll(&world, "store-2", later(1, 4), &["--window", "01:00-05:00"])["serving"]["version"], "1.0.0");
    assert_eq!(poll(&world, "store-4", later(1, 13), &["--apply-jitter-s", "86400"])["serving"]["version"], "1.0.0");
    assert_eq!(poll(&world, "store-3", later(2, 13), &["--max-bytes", "100"])["serving"], Value::Null);
    for wrong in [["--window", "5-6"], ["--window", "01:00-01:00"], ["--poll-s", "0"], ["--max-bytes", "x"]] {
        let args = world.device_args("repo", "store");
        let args: Vec<&str> = args.iter().map(String::as_str).chain(wrong).collect();
        assert_eq!(world.run(&args).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_baseline_comes_with_the_bundle() {
    let world = World::new();
    world.keys();
    let pack = |data: &str| {
        let model = example("digits_v1.tflite");
        let named = ["--json", "pack", &model, "--name", "digits", "--version", "1.0.0", "--number", "1"];
        world.run(&[&named[..], &["--key", "keys/releases.key", "-o", "b.ff", "--baseline", data]].concat())
    };
    pack(&example("digits_test.npz")).ok();
    let seen = world.run(&["--json", "inspect", "b.ff"]).ok().json();
    for side in ["inputs", "outputs"] {
        let sketches = seen["baseline"][side].as_array().expect("sketches");
        assert_eq!(sketches.len(), 1, "{side}: {seen}");
    }
    // Not the inputs of this model, and no file at all.
    assert_eq!(pack(&example("digits_v1.tflite")).code, 2);
    assert_eq!(pack("missing.npz").code, 2);
}
