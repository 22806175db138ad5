//! A repository with a flipped bit, seen by a device: refused, or what is installed is exactly what was published; the version that serves
//! stays. Half of the devices are new ones. When the file is whole again, the device takes the update.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use fleetfoot::hex;
use fleetfoot_trust::sha256;
use serde_json::Value;
use support::{Ran, World, copy, example};

/// One bit in this many bytes of a metadata file, and of a bundle. Odd, so that each of the 8 bits has its turn.
const STEP_METADATA: usize = 53;
const STEP_BUNDLE: usize = 421;

#[test]
fn flipped_bits_of_a_repository_change_nothing_that_serves() {
    let world = World::published();
    // The first root comes with the device: it is not part of what is served.
    fs::copy(world.path("repo/metadata/1.root.json"), world.path("root.json")).expect("copied");
    poll(&world, "base").ok();
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    let bundles = [1, 2].map(|n| fs::read(world.path(&format!("{n}.ff"))).expect("packed"));
    copy(&world.path("base"), &world.path("updated"));
    assert_eq!(
        serving(&poll(&world, "updated").ok()),
        Some(hex(&sha256(&bundles[1]))),
        "an update is there to be taken"
    );

    let mut seen = BTreeMap::<(bool, i32), u32>::new();
    let mut flips = 0;
    for file in files(&world.path("repo")) {
        let good = fs::read(&file).expect("a file of the repository");
        let is_bundle = file.extension().is_some_and(|e| e == "ff");
        let step = if is_bundle { STEP_BUNDLE } else { STEP_METADATA };
        for at in (0..good.len()).step_by(step).chain(good.len().checked_sub(1)) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (flips % 8);
            fs::write(&file, &bad).expect("written");
            // Eight bits on a device with a version, then eight on a new one.
            let old = flips / 8 % 2 == 0;
            check(&world, &bundles, old, &format!("{} byte {at} bit {}", file.display(), flips % 8), &mut seen);
            fs::write(&file, &good).expect("written");
            if !is_bundle && flips % 3 == 0 {
                // Nothing that was refused stays behind. (A bundle that came damaged is fetched again only after a while.)
                let healed = serving(&poll(&world, "store").ok());
                assert_eq!(healed, Some(hex(&sha256(&bundles[1]))), "{} byte {at}, whole again", file.display());
            }
            fs::remove_dir_all(world.path("store")).expect("removed");
            flips += 1;
        }
    }
    println!("{flips} bits flipped; (had a version, exit code): {seen:?}");
    assert!(seen.keys().any(|&(old, code)| old && code == 3) && seen.keys().any(|&(old, code)| !old && code == 3));
}

/// Polls the repository as it is now, with a store that has version 1 or with an empty one.
fn check(world: &World, bundles: &[Vec<u8>; 2], old: bool, what: &str, seen: &mut BTreeMap<(bool, i32), u32>) {
    if old {
        copy(&world.path("base"), &world.path("store"));
    }
    let ran = poll(world, "store");
    assert!([0, 3, 6].contains(&ran.code), "{what}: exit {} {}", ran.code, ran.stderr);
    let digests = bundles.each_ref().map(|bundle| hex(&sha256(bundle)));
    let version = serving(&ran);
    match &version {
        Some(digest) if ran.code == 0 => assert_eq!(*digest, digests[1], "{what}: exit 0 is the update"),
        Some(digest) => assert!(old && *digest == digests[0], "{what}: {digest} serves after a refusal"),
        None => assert!(!old, "{what}: nothing serves any more: {}", ran.stdout),
    }
    // Whatever came to lie among the versions is one of those that were published, to the byte.
    for file in files(&world.path("store/digits/versions")) {
        let bytes = fs::read(&file).expect("a version");
        assert!(bundles.contains(&bytes), "{what}: {} is no bundle that was published", file.display());
    }
    *seen.entry((old, ran.code)).or_default() += 1;
}

fn poll(world: &World, store: &str) -> Ran {
    let data = example("digits_test.npz");
    let args = ["--json", "device", "--repo", "repo", "--root", "root.json", "--store", store, "--model", "digits"];
    world.run(&[&args[..], &["--once", "--input", &data]].concat())
}

/// Digest of the version that serves, and of nothing else: its answers are right, too.
fn serving(ran: &Ran) -> Option<String> {
    let said = ran.json();
    let digest = said["serving"]["digest"].as_str()?.to_owned();
    let count = |name: &str| said["ran"][name].as_u64().unwrap_or_else(|| panic!("nothing was run: {}", ran.stdout));
    assert!(count("correct") * 10 > count("samples") * 8, "{}", ran.stdout);
    assert_eq!(said["serving"]["trial"], Value::Bool(false), "{}", ran.stdout);
    Some(digest)
}

/// All files of a folder and of those in it, sorted; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.file_name().is_some_and(|name| name != "repository.lock") {
            found.push(path);
        }
    }
    found.sort();
    found
}
