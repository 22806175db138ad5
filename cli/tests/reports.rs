//! Health reports over a real socket: devices in processes of their own, killed at random, and a server that adds up.

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use support::{Server, World};

const DAY: i64 = 86_400;

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("not so late")
}

/// Arguments of a device on `day`, counted back from today.
fn device(world: &World, server: &Server, store: &str, days_ago: i64, more: &[&str]) -> Command {
    let at = (now() - days_ago * DAY).to_string();
    let mut args = world.device_args("repo", store);
    let reports = ["--report-url", &server.url, "--report-key", "report.key", "--report-jitter-s", "0", "--now", &at];
    args.extend(reports.iter().chain(more).map(|arg| (*arg).to_owned()));
    let mut command = world.command();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The sums of the server.
fn sums(server: &Server) -> Value {
    let url = server.url.strip_prefix("http://").expect("http");
    let mut stream = std::net::TcpStream::connect(url).expect("the server listens");
    std::io::Write::write_all(&mut stream, b"GET /v1/reports HTTP/1.0\r\n\r\n").expect("asked");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut stream, &mut text).expect("an answer");
    serde_json::from_str(text.split_once("\r\n\r\n").expect("a body").1).expect("JSON")
}

fn inferences(sums: &Value) -> u64 {
    let groups = sums["groups"].as_array().expect("groups");
    groups.iter().map(|group| group["inferences"].as_u64().expect("a count")).sum()
}

fn world() -> (World, Server) {
    let world = World::published();
    fs::write(world.path("report.key"), "5a".repeat(32)).expect("written");
    let server = world.serve_with(&["--report-key", "report.key", "--show-small-groups"]);
    (world, server)
}

/// Days of a device whose process is killed at the steps of reporting, and at random. The server has each inference of a process that ended, once;
/// those of a process that was killed once or not at all.
#[test]
fn kills_neither_lose_nor_double_what_was_counted() {
    let (world, server) = world();
    let run = |days_ago: i64, more: &[&str]| {
        assert!(device(&world, &server, "store", days_ago, more).status().expect("runs").success());
    };
    // 25 days ago the metadata was not signed yet: the device goes by its clock, and by the time in the metadata.
    let samples = {
        let args = world.device_args("repo", "probe");
        let ran = world.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok().json();
        ran["ran"]["samples"].as_u64().expect("digits were run")
    };
    run(25, &[]);
    let (mut whole, mut killed) = (1, 0);
    for (at, day) in ["report", "reported"].into_iter().cycle().zip((6..25).rev()) {
        let marker = world.path(&format!("marker-{day}"));
        let mut child = device(&world, &server, "store", day, &[])
            .env("FLEETFOOT_PAUSE_AT", at)
            .env("FLEETFOOT_PAUSE_MARKER", &marker)
            .spawn()
            .expect("runs");
        let mut waited = 0;
        while !marker.exists() && child.try_wait().expect("a child").is_none() {
            std::thread::sleep(Duration::from_millis(2));
            waited += 1;
            assert!(waited < 30_000, "it comes to {at}");
        }
        assert!(marker.exists(), "day {day}: {at} is passed");
        child.kill().expect("killed");
        child.wait().expect("a child");
        run(day, &[]);
        whole += 1;
    }
    // Which steps were passed is known: each process that ended is counted once, but for the last, whose day is not over.
    assert_eq!(inferences(&sums(&server)), (whole - 1) * samples, "{whole} processes ended");
    // At random moments of a run, which are as far into it as runs on this machine last.
    let begun = std::time::Instant::now();
    run(5, &[]);
    whole += 1;
    let lasts_us = u64::try_from(begun.elapsed().as_micros()).expect("not so long");
    let mut seed = 0x2545_F491_4F6C_DD1D_u64;
    for day in (2..6).rev() {
        for _ in 0..10 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut child = device(&world, &server, "store", day, &[]).spawn().expect("runs");
            std::thread::sleep(Duration::from_micros((seed >> 20) % lasts_us));
            let ended = child.try_wait().expect("a child");
            let _ = child.kill();
            child.wait().expect("a child");
            whole += u64::from(ended.is_some());
            killed += u64::from(ended.is_none());
        }
        run(day, &[]);
        whole += 1;
    }
    run(0, &[]);
    let seen = sums(&server);
    let found = inferences(&seen);
    println!(
        "{whole} processes ended, {killed} were killed; {found} inferences of {samples} each; {}",
        seen["duplicates"]
    );
    assert!(killed > 0, "{killed} met a running process");
    assert!((whole * samples..=(whole + killed) * samples).contains(&found), "{found} of {}", whole * samples);
    assert_eq!(seen["refused"], 0, "{seen}");
    for group in seen["groups"].as_array().expect("groups") {
        assert_eq!(group["devices"], 1, "one nonce a day: {group}");
    }
}

#[test]
fn switched_off_and_offline() {
    let (world, server) = world();
    let waiting = |store: &str| {
        let folder = world.path(store).join("digits/reports");
        let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".report")).count()
    };
    // Without a server reports wait; with one they are sent, once.
    let url = server.url.clone();
    drop(server);
    let nobody = Server::nobody(&url);
    for day in (5..9).rev() {
        assert!(device(&world, &nobody, "store", day, &[]).status().expect("runs").success());
    }
    // The first day in two parts: on trial, and active.
    assert_eq!(waiting("store"), 4);
    let server = world.serve_with(&["--report-key", "report.key", "--show-small-groups"]);
    assert!(device(&world, &server, "store", 4, &[]).status().expect("runs").success());
    assert_eq!(waiting("store"), 0);
    let seen = sums(&server);
    assert_eq!(seen["groups"].as_array().map(Vec::len), Some(4), "{seen}");
    // A key that the server does not know: refused, and not sent for ever.
    fs::write(world.path("report.key"), "a5".repeat(32)).expect("written");
    assert!(device(&world, &server, "other", 3, &[]).status().expect("runs").success());
    assert!(device(&world, &server, "other", 2, &[]).status().expect("runs").success());
    assert_eq!(waiting("other"), 0);
    // On trial, and active.
    assert_eq!(sums(&server)["refused"], 2);
    // Off: what waits is removed.
    let mut args = world.device_args("repo", "store");
    args.push("--no-reports".into());
    world.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).ok();
    assert_eq!(fs::read_dir(world.path("store/digits/reports")).expect("a folder").count(), 0);
    // One in a million: this device is not among them.
    for days_ago in [3, 2] {
        let rare = device(&world, &server, "rare", days_ago, &["--report-one-in", "1000000"]).status();
        assert!(rare.expect("runs").success());
    }
    assert_eq!(waiting("rare"), 0);
    for wrong in [&["--report-key", "x"][..], &["--report-url", "x", "--no-reports"], &["--report-one-in", "0"]] {
        let args = world.device_args("repo", "store");
        let args: Vec<&str> = args.iter().map(String::as_str).chain(wrong.iter().copied()).collect();
        assert_eq!(world.run(&args).code, 2, "{wrong:?}");
    }
}
