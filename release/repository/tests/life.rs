//! A repository from its first day on, as its keepers write it and as a device reads it.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::{fs, path::Path};

use fleetfoot_repository::{Expiry, Init, Online, Repository, RepositoryError, Signers};
use fleetfoot_trust::sha256;
use fleetfoot_tuf::{Client, Stored};
use support::{DAY, Device, Fixture, NOW, bundle, keys, kws, publics};

#[test]
fn what_is_published_reaches_a_device() {
    let fixture = Fixture::new();
    let mut device = Device::new(&fixture);
    // Nobody has released anything yet.
    assert_eq!(device.numbers(&fixture, NOW), Err(253));
    fixture.publish(&kws(3), NOW).unwrap();
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![3]));
    let before = fixture.files();

    let published = fixture.publish(&kws(4), NOW + DAY).unwrap();
    assert_eq!(published.releases_version, 2);
    let targets = device.refresh(&fixture, "releases-kws", NOW + DAY).unwrap();
    let target = targets.iter().find(|target| target.custom["number"] == 4).unwrap();
    assert_eq!(Path::new("targets").join(target.url_path()), published.path);
    assert_eq!(target.path, "models/kws/4.0.0/kws-4.0.0.ff");
    let file = fs::read(fixture.folder.path().join(&published.path)).unwrap();
    assert_eq!((file.len() as u64, sha256(&file)), (target.length, target.sha256));
    assert_eq!(target.custom["min_runtime"], "0.1");
    let mut client_keys = publics(&[7, 8]);
    client_keys.sort_unstable();
    let targets_file = fs::read(fixture.metadata("1.targets.json")).unwrap();
    let found = fleetfoot_tuf::keys_from(&device.root, &targets_file, "releases-kws", NOW);
    assert_eq!(found, Ok((client_keys, 2)));

    // Only the timestamp has changed; all other names are new.
    let after = fixture.files();
    for (path, bytes) in &before {
        assert_eq!(&after[path] != bytes, path.ends_with("timestamp.json"), "{}", path.display());
    }
    assert_eq!(after.len() - before.len(), 3, "bundle, releases, snapshot");
    // As long as the timestamp is the old one, nothing has happened.
    fs::write(fixture.metadata("timestamp.json"), &before[&fixture.metadata("timestamp.json")]).unwrap();
    assert_eq!(Device::new(&fixture).numbers(&fixture, NOW), Ok(vec![3]));
    // And a device that saw the new one does not go back.
    assert_eq!(device.numbers(&fixture, NOW), Err(247));

    let status = fixture.repository().status().unwrap();
    let roles: Vec<_> = status.roles.iter().map(|role| (role.name.as_str(), role.version, role.threshold)).collect();
    assert!(roles.contains(&("root", 1, 2)) && roles.contains(&("releases-kws", 1, 2)), "{roles:?}");
    assert_eq!(status.targets.iter().map(|t| t.number).collect::<Vec<_>>(), [3]);
}

#[test]
fn what_a_device_would_refuse_is_not_published() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    let before = fixture.files();
    let check = |name: &str, code: u16, bundle: &[u8]| {
        assert_eq!(fixture.publish(bundle, NOW).unwrap_err().code(), code, "{name}");
        assert_eq!(fixture.files(), before, "{name}");
    };
    check("the same again", 708, &kws(3));
    check("a lower number", 708, &bundle("kws", 2, "9.0.0", &[7, 8], &[7, 8]));
    check("a label that was used", 708, &bundle("kws", 9, "3.0.0", &[7, 8], &[7, 8]));
    check("half signed", 205, &bundle("kws", 4, "4.0.0", &[7, 8], &[7]));
    check("signed by others", 205, &bundle("kws", 4, "4.0.0", &[9, 10], &[9, 10]));
    check("another model", 706, &bundle("vww", 4, "4.0.0", &[7, 8], &[7, 8]));
    let mut damaged = kws(4);
    *damaged.last_mut().unwrap() ^= 1;
    check("damaged", 206, &damaged);
    check("no bundle", 100, b"PK");

    let publish = |releases: &[u8], online| {
        let found = fixture.repository().publish(&kws(4), &keys(releases), online, Expiry::default(), NOW);
        found.unwrap_err().code()
    };
    assert_eq!(publish(&[7], fixture.online()), 705);
    assert_eq!(publish(&[7, 7], fixture.online()), 705);
    assert_eq!(publish(&[7, 9], fixture.online()), 705);
    let wrong = Online { snapshot: &fixture.timestamp, timestamp: &fixture.timestamp };
    assert_eq!(publish(&[7, 8], wrong), 705);
    let timestamp = fixture.metadata("timestamp.json");
    assert_eq!(fs::read(&timestamp).unwrap(), before[&timestamp]);
    // What broke off leaves names behind that are not used again.
    fixture.publish(&kws(5), NOW).unwrap();
    assert_eq!(Device::new(&fixture).numbers(&fixture, NOW), Ok(vec![3, 5]));

    // The targets have expired: a device would not look any further.
    assert_eq!(fixture.publish(&kws(6), NOW + 366 * DAY).unwrap_err().code(), 251);
    // One more writer.
    let lock = fs::File::options().write(true).open(fixture.folder.path().join("repository.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(fixture.publish(&kws(6), NOW).unwrap_err().code(), 703);
    drop(lock);
    assert_eq!(fixture.init().unwrap_err().code(), 702);
    assert_eq!(Repository::open(&fixture.folder.path().join("targets")).unwrap_err().code(), 701);
}

#[test]
fn a_key_that_is_given_twice_counts_once() {
    let init = |root: &[u8], threshold| {
        let folder = tempfile::tempdir().unwrap();
        let (root, targets, snapshot, timestamp) = (keys(root), keys(&[3]), keys(&[4]), keys(&[5]));
        let init = Init {
            root: Signers { signing: &root, others: &publics(&[2]), threshold },
            targets: Signers { signing: &targets, others: &[], threshold: 1 },
            online: Online { snapshot: &snapshot, timestamp: &timestamp },
            models: &[],
        };
        Repository::init(folder.path(), &init, Expiry::default(), NOW)?;
        let root = fs::read(folder.path().join("metadata/1.root.json")).unwrap();
        Client::new(&root, Stored::new(), NOW).unwrap();
        Ok::<_, RepositoryError>(())
    };
    init(&[1], 1).unwrap();
    init(&[1, 1], 1).unwrap();
    init(&[1, 2, 1], 2).unwrap();
    assert_eq!(init(&[1, 1], 2).unwrap_err().code(), 705);
}

#[test]
fn nothing_forged_in_the_folder_is_signed_upon() {
    let check = |file: &str, code: u16, forge: fn(&str) -> String| {
        let fixture = Fixture::new();
        fixture.publish(&kws(3), NOW).unwrap();
        let path = fixture.metadata(file);
        fs::write(&path, forge(&fs::read_to_string(&path).unwrap())).unwrap();
        assert_eq!(fixture.publish(&kws(4), NOW).unwrap_err().code(), code, "publish after {file}");
        assert!(fixture.repository().status().is_err(), "status after {file}");
        assert!(Device::new(&fixture).numbers(&fixture, NOW).is_err(), "device after {file}");
    };
    check("1.releases-kws.json", 705, |text| text.replace("\"number\":3", "\"number\":2"));
    check("1.targets.json", 705, |text| text.replace("\"threshold\":2", "\"threshold\":1"));
    check("2.snapshot.json", 705, |text| text.replace("\"length\"", "\"lenght\""));
    check("timestamp.json", 705, |text| text.replace("2027", "2037"));
    check("timestamp.json", 704, |text| format!("{text}{{}}"));

    // Signed by the right keys and of the right version, and not the file that was published: 4 in the place of 3.
    let (fixture, other) = (Fixture::new(), Fixture::new());
    fixture.publish(&kws(3), NOW).unwrap();
    other.publish(&kws(4), NOW).unwrap();
    for file in ["1.releases-kws.json", "2.snapshot.json"] {
        let good = fs::read(fixture.metadata(file)).unwrap();
        fs::copy(other.metadata(file), fixture.metadata(file)).unwrap();
        assert_eq!(fixture.publish(&kws(5), NOW).unwrap_err().code(), 704, "{file}");
        fs::write(fixture.metadata(file), good).unwrap();
    }
    fixture.publish(&kws(5), NOW).unwrap();

    // A file that was signed once, under the name of a later one.
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    fixture.publish(&kws(4), NOW).unwrap();
    fs::copy(fixture.metadata("1.releases-kws.json"), fixture.metadata("2.releases-kws.json")).unwrap();
    assert_eq!(fixture.publish(&kws(5), NOW).unwrap_err().code(), 704);
    assert_eq!(Device::new(&fixture).numbers(&fixture, NOW), Err(249));
}

#[test]
fn signing_again_keeps_devices_going() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    let mut device = Device::new(&fixture);
    assert_eq!(device.numbers(&fixture, NOW + 6 * DAY), Ok(vec![3]));
    assert_eq!(device.numbers(&fixture, NOW + 8 * DAY), Err(251));
    let resign = |online, expiry, day: i64| fixture.repository().resign(online, expiry, NOW + day * DAY);
    resign(fixture.online(), Expiry::default(), 40).unwrap();
    assert_eq!(device.numbers(&fixture, NOW + 46 * DAY), Ok(vec![3]));
    let swapped = Online { snapshot: &fixture.timestamp, timestamp: &fixture.snapshot };
    assert_eq!(resign(swapped, Expiry::default(), 41).unwrap_err().code(), 705);
    resign(fixture.online(), Expiry { timestamp: 60, ..Expiry::default() }, 42).unwrap();
    assert_eq!(device.numbers(&fixture, NOW + 42 * DAY + 59), Ok(vec![3]));
    assert_eq!(device.numbers(&fixture, NOW + 42 * DAY + 60), Err(251));
}

#[test]
fn models_come_and_change_hands() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    let mut device = Device::new(&fixture);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![3]));
    let add = |model, by: &[u8], threshold, targets: &[u8]| {
        let model = (model, &publics(by)[..], threshold);
        fixture.repository().add_model(model, &keys(targets), fixture.online(), Expiry::default(), NOW)
    };
    let code = |result: Result<(), RepositoryError>| result.map_or_else(|e| e.code(), |()| 0);
    assert_eq!(code(add("vww", &[9], 1, &[4])), 705);
    assert_eq!(code(add("vww", &[9], 0, &[3])), 705);
    assert_eq!(code(add("vww", &[9, 9], 2, &[3])), 705);
    assert_eq!(code(add("vww", &[9, 10, 11, 12, 13, 14, 15, 16, 17], 2, &[3])), 709);
    assert_eq!(code(add("../x", &[9], 1, &[3])), 707);
    assert_eq!(code(add("vww", &[9], 1, &[3])), 0);
    let vww = bundle("vww", 1, "1.0.0", &[9], &[9]);
    let published = fixture.repository().publish(&vww, &keys(&[9]), fixture.online(), Expiry::default(), NOW);
    assert!(published.unwrap().path.starts_with("targets/models/vww/1.0.0"));
    assert_eq!(device.refresh(&fixture, "releases-vww", NOW).unwrap().len(), 1);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![3]));
    // Other keys for kws: not while what is released is signed by the old ones only, and then nothing has changed.
    let before = fs::read(fixture.metadata("timestamp.json")).unwrap();
    assert_eq!(code(add("kws", &[9], 1, &[3])), 245);
    assert_eq!(fs::read(fixture.metadata("timestamp.json")).unwrap(), before);
    assert_eq!(code(add("kws", &[7, 8, 9], 2, &[3])), 0);
    assert_eq!(Device::new(&fixture).numbers(&fixture, NOW), Ok(vec![3]));
    // One who releases vww does not release kws, not even with a bundle that says so.
    let forged = bundle("kws", 9, "9.0.0", &[9], &[9]);
    let found = fixture.repository().publish(&forged, &keys(&[9]), fixture.online(), Expiry::default(), NOW);
    assert!(matches!(found.unwrap_err().code(), 205 | 706));
}

#[test]
fn once_a_year() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    let mut device = Device::new(&fixture);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![3]));
    let renew = |new: &[u8], threshold, previous: &[u8], day: i64| {
        let signing = keys(new);
        let root = Signers { signing: &signing, others: &[], threshold };
        let now = NOW + day * DAY;
        fixture.repository().renew_root(&root, &keys(previous), Expiry::default(), now).map_err(|e| e.code())
    };
    assert_eq!(renew(&[1, 2], 2, &[1], 300), Err(705));
    assert_eq!(renew(&[21, 22], 2, &[21, 22], 300), Err(705));
    assert_eq!(renew(&[21], 2, &[1, 2], 300), Err(705));
    assert_eq!(renew(&[1, 2], 2, &[1, 2], 300), Ok(2));
    assert_eq!(renew(&[2, 21], 2, &[1, 2], 301), Ok(3));
    assert_eq!(renew(&[22, 23], 1, &[1, 2], 302), Err(705));
    assert_eq!(renew(&[22, 23], 1, &[2, 21], 302), Ok(4));

    let at = NOW + 400 * DAY;
    let targets = |by: &[u8]| fixture.repository().renew_targets(&keys(by), fixture.online(), Expiry::default(), at);
    assert_eq!(targets(&[4]).unwrap_err().code(), 705);
    targets(&[3]).unwrap();
    // The release role has half a year and is signed with the next release.
    assert_eq!(device.numbers(&fixture, at), Err(251));
    fixture.publish(&kws(4), at).unwrap();
    for mut device in [device, Device::new(&fixture)] {
        assert_eq!(device.numbers(&fixture, at), Ok(vec![3, 4]));
        assert_eq!(device.stored["root.json"], fs::read(fixture.metadata("4.root.json")).unwrap());
    }
    assert_eq!(fixture.repository().status().unwrap().roles[0].version, 4);
}
