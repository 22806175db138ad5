//! The device agent is killed with SIGKILL at random moments of an update: every restart serves a valid version.

mod support;

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use support::{World, copy, example};

const KILLS: u32 = 200;

#[test]
fn every_restart_after_a_kill_serves_a_valid_version() {
    let world = World::published();
    let server = world.serve();
    world.device(&server.url, "base").ok();
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    // How long a whole update takes here, so that kills fall all over it.
    copy(&world.path("base"), &world.path("probe"));
    let start = Instant::now();
    world.device(&server.url, "probe").ok();
    let whole = start.elapsed().max(Duration::from_millis(5));

    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    let mut served = BTreeMap::new();
    let mut killed = 0;
    for round in 0..KILLS {
        let store = format!("store-{round}");
        copy(&world.path("base"), &world.path(&store));
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24));
        let mut device = world
            .command()
            .args(world.device_args(&server.url, &store))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program runs");
        std::thread::sleep(moment);
        let ended = device.try_wait().expect("a child").is_some();
        let _ = device.kill();
        device.wait().expect("a child");
        killed += u32::from(!ended);

        let data = example("digits_test.npz");
        let offline = ["--json", "device", "--store", &store, "--model", "digits", "--offline", "--input", &data];
        let ran = world.run(&offline);
        assert_eq!(ran.code, 0, "kill {round} after {moment:?}: {}{}", ran.stdout, ran.stderr);
        let seen = ran.json();
        let version = seen["serving"]["version"].as_str().expect("a version serves").to_owned();
        let right = seen["ran"]["correct"].as_u64().expect("digits were run");
        let samples = seen["ran"]["samples"].as_u64().expect("digits were run");
        assert!(["1.0.0", "2.0.0"].contains(&version.as_str()), "kill {round}: {version}");
        assert!(right * 10 > samples * 8, "kill {round}: {version} has {right} of {samples} right");
        *served.entry(version).or_insert(0) += 1;

        // One kill burns one attempt of two: the update still succeeds.
        let seen = world.device(&server.url, &store).ok().json();
        assert_eq!(seen["serving"]["version"], "2.0.0", "kill {round} after {moment:?}: {seen}");
        std::fs::remove_dir_all(world.path(&store)).expect("removed");
    }
    println!("{KILLS} kills in {whole:?}: {killed} met a running process; served afterwards: {served:?}");
    assert!(killed > KILLS / 2, "most kills meet a running process, {killed} did");
}

/// A version that never finishes proving itself: its process is killed at the deadline, the device serves what it has, and after its attempts
/// the version is out.
#[test]
fn a_version_that_hangs_is_given_up() {
    let world = World::published();
    world.device("repo", "store").ok();
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    let marker = world.path("marker");
    let poll = |now: &str| {
        let mut args = world.device_args("repo", "store");
        args.extend(["--deadline-s", "2", "--attempts", now].map(String::from));
        let done = world
            .command()
            .args(args)
            .env("FLEETFOOT_PAUSE_AT", "goldens")
            .env("FLEETFOOT_PAUSE_MARKER", &marker)
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        serde_json::from_str::<serde_json::Value>(text.lines().next().unwrap_or_default()).expect("JSON")
    };
    let seen = poll("1");
    assert!(marker.exists(), "it was started: {seen}");
    assert_eq!(seen["serving"]["version"], "1.0.0", "{seen}");
    assert_eq!(seen["refused"]["code"], 435, "{seen}");
    let events = seen["events"].to_string();
    assert!(events.contains("did not come back") && events.contains("attempts left: 0"), "{events}");
    // It stays out, also where nothing hangs any more.
    let seen = world.device("repo", "store").ok().json();
    assert_eq!((&seen["serving"]["version"], &seen["outcome"]), (&"1.0.0".into(), &"up_to_date".into()), "{seen}");
}
