//! Rotation and memory from the command line: devices follow, old folders are refused, and the way out is one.

mod support;

use std::fs;

use support::{Ran, World};

/// `repo rotate` for a role, with the new key `keys/ROLE-2.key`.
fn rotate(world: &World, role: &str, authority: &str, online: [&str; 2], more: &[&str]) -> Ran {
    world.run(&["keys", "new", "--plain", "--role", role, "--name", "2", "--out", "keys"]).ok();
    let (new, authority) = (format!("keys/{role}-2.key"), format!("keys/{authority}.key"));
    let [snapshot, timestamp] = online.map(|name| format!("keys/{name}.key"));
    let args = ["--json", "repo", "rotate", "--repo", "repo", "--role", role, "--new-key", &new];
    let keys = ["--authority-key", &authority, "--snapshot-key", &snapshot, "--timestamp-key", &timestamp];
    world.run(&[&args[..], &keys, more].concat())
}

fn serving(world: &World) -> String {
    world.device("repo", "store").ok().json()["serving"]["version"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn every_role_from_the_command_line() {
    let world = World::published();
    // The first root of the device is the first one of all.
    fs::copy(world.path("repo/metadata/1.root.json"), world.path("root.json")).expect("copied");
    assert_eq!(serving(&world), "1.0.0");
    let online = ["snapshot", "timestamp"];
    assert_eq!(rotate(&world, "snapshot", "targets", ["snapshot-2", "timestamp"], &[]).code, 3);
    fs::remove_file(world.path("keys/snapshot-2.key")).expect("there");
    fs::remove_file(world.path("keys/snapshot-2.pub")).expect("there");
    rotate(&world, "root", "root", online, &[]).ok();
    rotate(&world, "targets", "root-2", online, &[]).ok();
    rotate(&world, "snapshot", "root-2", ["snapshot-2", "timestamp"], &[]).ok();
    rotate(&world, "timestamp", "root-2", ["snapshot-2", "timestamp-2"], &[]).ok();
    let online = ["snapshot-2", "timestamp-2"];
    let ran = rotate(&world, "releases", "targets-2", online, &["--model", "digits"]).ok();
    assert_eq!(ran.json()["dropped"][0], "models/digits/1.0.0/digits-1.0.0.ff");
    // A bundle of the new keys reaches the device that knew only the old ones.
    fs::rename(world.path("keys/releases-2.key"), world.path("keys/releases.key")).expect("renamed");
    world.pack(2, "digits_v2").ok();
    let keys = ["--snapshot-key", "keys/snapshot-2.key", "--timestamp-key", "keys/timestamp-2.key"];
    let publish = ["publish", "2.ff", "--repo", "repo", "--key", "keys/releases.key"];
    world.run(&[&publish[..], &keys].concat()).ok();
    assert_eq!(serving(&world), "2.0.0");
    // The old online keys are none.
    let old = ["--repo", "repo", "--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];
    assert_eq!(world.run(&[&["repo", "resign"][..], &old].concat()).code, 3);
}

#[test]
fn an_old_folder_is_refused_and_there_is_a_way_out() {
    let world = World::published();
    let timestamp = world.path("repo/metadata/timestamp.json");
    let old = fs::read(&timestamp).expect("there");
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    let new = fs::read(&timestamp).expect("there");
    fs::write(&timestamp, &old).expect("written");
    world.pack(3, "digits_v1").ok();
    let refused = world.publish(3, &[]);
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(
        refused.stderr.contains("this is an old state") && refused.stderr.contains("repo adopt"),
        "{}",
        refused.stderr
    );
    // The newest copy is back.
    fs::write(&timestamp, &new).expect("written");
    world.publish(3, &[]).ok();
    // It is lost: the old one is adopted.
    fs::write(&timestamp, &old).expect("written");
    let online = ["--repo", "repo", "--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];
    assert_eq!(world.run(&[&["repo", "resign"][..], &online].concat()).code, 3);
    world.run(&[&["repo", "adopt"][..], &online].concat()).ok();
    world.run(&[&["repo", "resign"][..], &online].concat()).ok();
    // Another machine, with the keys and without a memory, is asked to look first.
    fs::create_dir(world.path("elsewhere")).expect("made");
    for key in ["snapshot", "timestamp"] {
        let name = format!("{key}.key");
        fs::copy(world.path("keys").join(&name), world.path("elsewhere").join(&name)).expect("copied");
    }
    let there =
        ["--repo", "repo", "--snapshot-key", "elsewhere/snapshot.key", "--timestamp-key", "elsewhere/timestamp.key"];
    let unknown = world.run(&[&["repo", "resign"][..], &there].concat());
    assert_eq!(unknown.code, 3, "{}", unknown.stderr);
    assert!(unknown.stderr.contains("repo adopt"), "{}", unknown.stderr);
    world.run(&[&["repo", "adopt"][..], &there].concat()).ok();
    world.run(&[&["repo", "resign"][..], &there].concat()).ok();
}
