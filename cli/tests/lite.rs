//! Files for devices without clock, JSON or TLS, from the command line.

mod support;

use std::fs;

use fleetfoot_format::lite::{Frame, Header, Kind};
use support::World;

const ONLINE: [&str; 6] =
    ["--repo", "repo", "--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];
const MODEL: [&str; 2] = ["--model", "digits"];

#[test]
fn a_chain_a_release_and_a_directive() {
    let world = World::published();
    let run =
        |what: &str, more: &[&str]| world.run(&[&["--json", "repo", "lite", what], &MODEL[..], more, &ONLINE].concat());
    let direct = ["--stage", "canary", "--basis-points", "100", "--nonce", "000102030405060708090a0b0c0d0e0f"];
    let refused = run("direct", &direct);
    assert_eq!((refused.code, refused.stderr.contains("repo lite trust")), (2, true), "{}", refused.stderr);
    let keys = ["--root-key", "keys/root.key", "--targets-key", "keys/targets.key", "--key", "keys/releases.key"];
    assert_eq!(run("trust", &keys).ok().json()["trust"], 1);
    let files = || {
        let entries = fs::read_dir(world.path("repo/targets/lite/digits")).expect("there");
        let mut names: Vec<_> = entries.map(|e| e.expect("read").file_name().into_string().expect("a name")).collect();
        names.sort_by_key(|name| name[64..].to_owned());
        names
    };
    let kinds: Vec<_> = files().iter().map(|name| name[65..].to_owned()).collect();
    assert_eq!(kinds, ["directive.bin", "header.bin", "trust.bin"]);
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    run("direct", &direct).ok();
    run("header", &["--key", "keys/releases.key"]).ok();
    assert_eq!(run("trust", &keys).ok().json()["trust"], 2);
    let headers = files().into_iter().filter(|name| name.ends_with(".header.bin"));
    let mut numbers: Vec<_> = headers
        .map(|name| {
            let bytes = fs::read(world.path("repo/targets/lite/digits").join(name)).expect("there");
            Header::parse(&Frame::whole(&bytes, Kind::Header).expect("a frame")).expect("a header").counter
        })
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 1, 2, 3], "anew under the second link");
    // Too much, and no nonce.
    assert_eq!(run("direct", &["--stage", "full", "--basis-points", "10001"]).code, 3);
    assert_eq!(run("direct", &["--stage", "full", "--nonce", "12"]).code, 2);
    // Devices with metadata do not see a difference.
    assert_eq!(world.device("repo", "store").ok().json()["serving"]["version"], "2.0.0");
}
