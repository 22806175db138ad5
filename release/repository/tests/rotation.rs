//! Other keys for every role, and devices that follow, also after a long time without a network.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::fs;

use fleetfoot_repository::{Expiry, Init, Online, Repository, RepositoryError, Signers, TopRole};
use fleetfoot_trust::SigningKey;
use support::{DAY, Device, Fixture, NOW, bundle, key, keys, kws, publics};

fn signers(signing: &[SigningKey], threshold: usize) -> Signers<'_> {
    Signers { signing, others: &[], threshold }
}

fn code<T>(result: Result<T, RepositoryError>) -> u16 {
    result.map_or_else(|error| error.code(), |_| 0)
}

/// What a rotation is done with.
struct With<'a> {
    role: TopRole,
    new: &'a [u8],
    threshold: usize,
    root: &'a [u8],
    snapshot: &'a [u8],
    timestamp: &'a [u8],
}

const WITH: With<'_> =
    With { role: TopRole::Targets, new: &[33], threshold: 1, root: &[1, 2], snapshot: &[4], timestamp: &[5] };

fn rotate(repository: &Repository, with: &With<'_>) -> u16 {
    let (new, root) = (keys(with.new), keys(with.root));
    let (snapshot, timestamp) = (keys(with.snapshot), keys(with.timestamp));
    let online = Online { snapshot: &snapshot, timestamp: &timestamp };
    code(repository.rotate(with.role, &signers(&new, with.threshold), &root, online, Expiry::default(), NOW))
}

#[test]
fn every_role_of_the_root() {
    for (with, after) in [
        (With { ..WITH }, (&[33][..], &[4][..], &[5][..])),
        (With { new: &[33, 34, 35], threshold: 2, ..WITH }, (&[34, 35], &[4], &[5])),
        (With { role: TopRole::Snapshot, new: &[44], snapshot: &[44], ..WITH }, (&[3], &[44], &[5])),
        (
            With { role: TopRole::Snapshot, new: &[44, 45], threshold: 2, snapshot: &[44, 45], ..WITH },
            (&[3], &[44, 45], &[5]),
        ),
        (With { role: TopRole::Timestamp, new: &[55], timestamp: &[55], ..WITH }, (&[3], &[4], &[55])),
        (
            With { role: TopRole::Timestamp, new: &[55, 56], threshold: 1, timestamp: &[56], ..WITH },
            (&[3], &[4], &[55]),
        ),
    ] {
        let fixture = Fixture::new();
        fixture.publish(&kws(3), NOW).unwrap();
        let (mut offline, mut online) = (Device::new(&fixture), Device::new(&fixture));
        assert_eq!(online.numbers(&fixture, NOW), Ok(vec![3]));
        let before = fixture.files();

        // Refused, and nothing is different.
        let repository = fixture.repository();
        let wrong = [
            rotate(&repository, &With { root: &[1], ..with }),
            rotate(&repository, &With { root: &[3, 4], ..with }),
            rotate(&repository, &With { threshold: 0, ..with }),
            rotate(&repository, &With { threshold: with.new.len() + 1, ..with }),
            rotate(&repository, &With { snapshot: &[5], ..with }),
            rotate(&repository, &With { timestamp: &[4], ..with }),
        ];
        assert_eq!(wrong, [705; 6], "{:?}", with.role);
        assert_eq!(fs::read(fixture.metadata("timestamp.json")).unwrap(), before[&fixture.metadata("timestamp.json")]);
        assert!(!fixture.metadata("2.root.json").exists());
        assert_eq!(online.numbers(&fixture, NOW), Ok(vec![3]));

        assert_eq!(rotate(&repository, &with), 0, "{:?}", with.role);
        for device in [&mut offline, &mut online, &mut Device::new(&fixture)] {
            assert_eq!(device.numbers(&fixture, NOW), Ok(vec![3]), "{:?}", with.role);
            assert_eq!(device.stored["root.json"], fs::read(fixture.metadata("2.root.json")).unwrap());
        }
        // From now on the new keys count, and the old ones do not.
        let (targets, snapshot, timestamp) = (keys(after.0), keys(after.1), keys(after.2));
        let new = Online { snapshot: &snapshot, timestamp: &timestamp };
        repository.publish(&kws(4), &keys(&[7, 8]), new, Expiry::default(), NOW).unwrap();
        repository.renew_targets(&targets, new, Expiry::default(), NOW).unwrap();
        assert_eq!(online.numbers(&fixture, NOW), Ok(vec![3, 4]), "{:?}", with.role);
        let old = if with.role == TopRole::Targets {
            code(repository.renew_targets(&keys(&[3]), new, Expiry::default(), NOW))
        } else {
            code(repository.resign(fixture.online(), Expiry::default(), NOW))
        };
        assert_eq!(old, 705, "{:?}", with.role);
    }
}

#[test]
fn release_keys_take_their_bundles_along() {
    let fixture = Fixture::new();
    // Three may release from now on, two must.
    let rotate = |model: &str, new: &[u8], threshold, targets: &[u8]| {
        let (new, targets) = (keys(new), keys(targets));
        let new = signers(&new, threshold);
        fixture.repository().rotate_releases(model, &new, &targets, fixture.online(), Expiry::default(), NOW)
    };
    assert_eq!(rotate("kws", &[7, 8, 9], 2, &[3]).unwrap(), Vec::<String>::new());
    let by = |number: u64, by: &[u8]| bundle("kws", number, &format!("{number}.0.0"), by, by);
    fixture.publish(&by(1, &[7, 8]), NOW).unwrap();
    fixture.publish(&by(2, &[8, 9]), NOW).unwrap();
    let mut device = Device::new(&fixture);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![1, 2]));

    assert_eq!(code(rotate("kws", &[10, 11], 2, &[4])), 705);
    assert_eq!(code(rotate("vww", &[10, 11], 2, &[3])), 706);
    assert_eq!(code(rotate("kws", &[10], 2, &[3])), 705);
    assert_eq!(code(rotate("kws", &[10, 11, 12, 13, 14, 15, 16, 17, 18], 2, &[3])), 709);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![1, 2]));

    // 7 is stolen, 10 comes: what 8 and 9 have signed stays, what 7 had a part in goes.
    assert_eq!(rotate("kws", &[8, 9, 10], 2, &[3]).unwrap(), ["models/kws/1.0.0/kws-1.0.0.ff"]);
    for device in [&mut device, &mut Device::new(&fixture)] {
        assert_eq!(device.numbers(&fixture, NOW), Ok(vec![2]));
    }
    let publish = |bytes: &[u8], releases: &[u8]| {
        code(fixture.repository().publish(bytes, &keys(releases), fixture.online(), Expiry::default(), NOW))
    };
    assert_eq!(publish(&by(3, &[7, 8]), &[7, 8]), 205);
    assert_eq!(publish(&by(3, &[8, 10]), &[7, 8]), 705);
    assert_eq!(publish(&by(3, &[8, 10]), &[8, 10]), 0);
    assert_eq!(device.numbers(&fixture, NOW), Ok(vec![2, 3]));
    // The old key is named nowhere any more.
    let status = fixture.repository().status().unwrap();
    let releases = status.roles.iter().find(|role| role.name == "releases-kws").unwrap();
    assert_eq!((releases.keyids.len(), releases.threshold), (3, 2));
    let versions = status.roles.iter().find(|role| role.name == "targets").unwrap().version;
    let targets = fs::read_to_string(fixture.metadata(&format!("{versions}.targets.json"))).unwrap();
    assert!(!targets.contains(&fleetfoot_tuf::hex::encode(&key(7).public())));
}

#[test]
fn a_device_that_slept_through_everything() {
    let fixture = Fixture::new();
    fixture.publish(&kws(3), NOW).unwrap();
    let mut sleeper = Device::new(&fixture);
    assert_eq!(sleeper.numbers(&fixture, NOW), Ok(vec![3]));
    let repository = fixture.repository();
    let expiry = Expiry::default();
    // Every role gets other keys, the root three times; no key of the first day is left.
    let renew = |new: &[u8], previous: &[u8], day: i64| {
        let signing = keys(new);
        let root = signers(&signing, 2);
        repository.renew_root(&root, &keys(previous), expiry, NOW + day * DAY).map_err(|e| e.code())
    };
    assert_eq!(renew(&[2, 21, 22], &[1, 2], 100), Ok(2));
    assert_eq!(rotate(&repository, &With { root: &[21, 22], ..WITH }), 0);
    assert_eq!(renew(&[21, 22, 23], &[2, 22], 200), Ok(4));
    assert_eq!(
        rotate(&repository, &With { role: TopRole::Snapshot, new: &[44], snapshot: &[44], root: &[22, 23], ..WITH }),
        0
    );
    let timestamp =
        With { role: TopRole::Timestamp, new: &[55], snapshot: &[44], timestamp: &[55], root: &[22, 23], ..WITH };
    assert_eq!(rotate(&repository, &timestamp), 0);
    assert_eq!(renew(&[24, 25], &[22, 23], 300), Ok(7));
    let (snapshot, timestamp) = (keys(&[44]), keys(&[55]));
    let online = Online { snapshot: &snapshot, timestamp: &timestamp };
    let new = keys(&[10, 11]);
    let now = NOW + 400 * DAY;
    let dropped = repository.rotate_releases("kws", &signers(&new, 2), &keys(&[33]), online, expiry, now).unwrap();
    assert_eq!(dropped.len(), 1);
    let bytes = bundle("kws", 4, "4.0.0", &[10, 11], &[10, 11]);
    repository.publish(&bytes, &new, online, expiry, now).unwrap();

    for device in [&mut sleeper, &mut Device::new(&fixture)] {
        assert_eq!(device.numbers(&fixture, now), Ok(vec![4]));
        assert_eq!(device.stored["root.json"], fs::read(fixture.metadata("7.root.json")).unwrap());
    }
    // A root in the middle is gone: a new device cannot follow, and says so by refusing, not by believing less.
    fs::remove_file(fixture.metadata("3.root.json")).unwrap();
    assert!(Device::new(&fixture).numbers(&fixture, now).is_err());
    assert_eq!(sleeper.numbers(&fixture, now), Ok(vec![4]));
}

#[test]
fn thresholds_of_the_online_roles() {
    let folder = tempfile::tempdir().unwrap();
    let (root, targets, snapshot, timestamp) = (keys(&[1, 2, 3]), keys(&[4, 5]), keys(&[6, 7]), keys(&[8, 9]));
    let init = Init {
        root: signers(&root, 2),
        targets: signers(&targets, 2),
        online: Online { snapshot: &snapshot, timestamp: &timestamp },
        models: &[("kws", &publics(&[10, 11, 12]), 2)],
    };
    let repository = Repository::init(folder.path(), &init, Expiry::default(), NOW).unwrap();
    let bytes = bundle("kws", 1, "1.0.0", &[11, 12], &[11, 12]);
    let publish = |snapshot: &[u8], timestamp: &[u8]| {
        let (snapshot, timestamp) = (keys(snapshot), keys(timestamp));
        let online = Online { snapshot: &snapshot, timestamp: &timestamp };
        code(repository.publish(&bytes, &keys(&[11, 12]), online, Expiry::default(), NOW))
    };
    assert_eq!(publish(&[6], &[8, 9]), 705);
    assert_eq!(publish(&[6, 7], &[9]), 705);
    assert_eq!(publish(&[6, 6], &[8, 9]), 705);
    assert_eq!(publish(&[7, 6], &[9, 8]), 0);
    let status = repository.status().unwrap();
    let thresholds: Vec<_> = status.roles.iter().map(|role| (role.threshold, role.keyids.len())).collect();
    assert_eq!(thresholds, [(2, 3), (2, 2), (2, 2), (2, 2), (2, 3)]);
}
