//! What a device keeps and offers: damaged stores, every bit of every file, delegated paths, keys of roles.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_tuf::{Action, Client, Stored, keys_from};
use serde_json::json;
use support::{Edit, NOW, PATH, ROLE, ROOT_1, Repo, RootSpec, key, refresh, target};

fn rotated() -> Repo {
    let mut repo = Repo::default();
    repo.roots.push(RootSpec { root: vec![1, 12], signed_by: vec![1, 2, 12], ..ROOT_1 });
    repo
}

#[test]
fn no_bit_of_the_repository_changes_what_is_offered() {
    let (root, files) = (rotated().first_root(), rotated().files());
    let expected = refresh(&root, &mut Stored::new(), &files, ROLE, NOW).unwrap();
    let (mut flips, mut accepted) = (0, 0);
    for (path, bytes) in files.iter().filter(|(path, _)| *path != "1.root.json") {
        for at in 0..bytes.len() {
            // All bits in turn, and the one that makes upper case of lower case.
            for bit in [at % 8, 5] {
                let mut changed = files.clone();
                changed.get_mut(path).unwrap()[at] ^= 1 << bit;
                flips += 1;
                if let Ok(found) = refresh(&root, &mut Stored::new(), &changed, ROLE, NOW) {
                    accepted += 1;
                    assert_eq!(found, expected, "{path}: byte {at} bit {bit}");
                }
            }
        }
    }
    println!("{flips} bits flipped, {accepted} without effect");
    assert!(flips > 5_000, "{flips}");
}

#[test]
fn no_damage_of_the_store_stops_a_device() {
    let repo = rotated();
    let (root, files) = (repo.first_root(), repo.files());
    let mut stored = Stored::new();
    let expected = refresh(&root, &mut stored, &files, ROLE, NOW).unwrap();
    let names: Vec<_> = stored.keys().cloned().collect();
    assert_eq!(
        names,
        ["2.root.json", "releases-kws.json", "root.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
    assert_eq!(stored["timestamp.json"], files["timestamp.json"], "byte for byte");
    let check = |name: &str, bytes: Vec<u8>| {
        let mut damaged = stored.clone();
        damaged.insert(name.into(), bytes);
        assert_eq!(refresh(&root, &mut damaged, &files, ROLE, NOW).as_ref(), Ok(&expected), "{name}");
        assert!(damaged.keys().eq(stored.keys()), "{name}");
    };
    for name in &names {
        check(name, Vec::new());
        check(name, b"{}".to_vec());
        check(name, stored[name][..stored[name].len() / 2].to_vec());
        for other in &names {
            check(name, stored[other].clone());
        }
        for at in (0..stored[name].len()).step_by(17) {
            let mut bytes = stored[name].clone();
            bytes[at] ^= 1 << (at % 8);
            check(name, bytes);
        }
    }
}

#[test]
fn what_is_stored_is_not_fetched_again() {
    let repo = rotated();
    let (root, files) = (repo.first_root(), repo.files());
    let mut stored = Stored::new();
    refresh(&root, &mut stored, &files, ROLE, NOW).unwrap();
    let mut client = Client::new(&root, stored.clone(), NOW).unwrap();
    client.refresh(ROLE);
    let mut fetched = Vec::new();
    loop {
        match client.poll().unwrap() {
            Action::Fetch { path, .. } => {
                client.feed(files.get(&path).cloned()).unwrap();
                fetched.push(path);
            }
            Action::Persist { name, .. } => panic!("{name} has not changed"),
            Action::Done => break,
        }
    }
    assert_eq!(fetched, ["3.root.json", "timestamp.json"]);
    assert_eq!(client.version_of("snapshot"), Some(10));
    let roles: Vec<_> = client.expires().map(|(role, _)| role).collect();
    assert_eq!(roles, ["root", "timestamp", "snapshot", "targets", ROLE]);
    let mut expected = vec![key(7).public(), key(8).public()];
    expected.sort_unstable();
    assert_eq!(client.role_keys(ROLE), Some((expected.clone(), 2)));
    assert_eq!(client.role_keys("releases-vww"), None);
    assert_eq!(keys_from(&stored["root.json"], &stored["targets.json"], ROLE, NOW), Ok((expected, 2)));
    assert_eq!(keys_from(&stored["root.json"], &stored["targets.json"], "releases-vww", NOW).unwrap_err().code(), 253);
    assert_eq!(keys_from(&stored["root.json"], &stored["targets.json"], ROLE, i64::MAX).unwrap_err().code(), 251);
    let swapped = keys_from(&stored["root.json"], &stored["snapshot.json"], ROLE, NOW);
    assert_eq!(swapped.unwrap_err().code(), 245);
}

#[test]
fn a_role_speaks_for_its_paths_only() {
    let offered = |edits: Vec<Edit>| {
        let repo = Repo { edits, ..Repo::default() };
        let targets = refresh(&repo.first_root(), &mut Stored::new(), &repo.files(), ROLE, NOW).unwrap();
        targets.into_iter().map(|target| target.path).collect::<Vec<_>>()
    };
    assert_eq!(offered(Vec::new()), [PATH]);
    let foreign: Edit = (ROLE, |signed| signed["targets"]["models/vww/1.0.0/vww-1.0.0.ff"] = target(b"x"));
    assert_eq!(offered(vec![foreign]), [PATH]);
    // A role that comes first, and is trusted with the path, has the first word.
    assert!(offered(vec![("targets", |signed| before(signed, true))]).is_empty());
    assert!(offered(vec![("targets", |signed| before(signed, false))]).is_empty());
    // So has the delegator itself.
    assert!(offered(vec![("targets", |signed| signed["targets"][PATH] = target(b"other"))]).is_empty());
}

fn before(signed: &mut serde_json::Value, terminating: bool) {
    let mut other = signed["delegations"]["roles"][0].clone();
    other["name"] = json!("releases-all");
    other["terminating"] = json!(terminating);
    other["paths"] = json!(["models/*/*/*"]);
    signed["delegations"]["roles"].as_array_mut().unwrap().insert(0, other);
}

#[test]
fn targets_lie_under_their_hash() {
    let repo = Repo::default();
    let targets = refresh(&repo.first_root(), &mut Stored::new(), &repo.files(), ROLE, NOW).unwrap();
    let hash = fleetfoot_tuf::hex::encode(&fleetfoot_trust::sha256(b"bundle"));
    assert_eq!(targets[0].url_path(), format!("models/kws/1.2.0/{hash}.kws-1.2.0.ff"));
    assert_eq!((targets[0].length, &targets[0].custom["number"]), (6, &json!(12)));
}
