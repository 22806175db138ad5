//! One row per fault: a device that saw a good repository meets a bad one, says what is wrong, and goes on when it is good
//! again.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_tuf::{Client, Stored, TufError, time};
use serde_json::json;
use support::{DAY, NOW, PATH, ROLE, ROOT_1, Repo, RootSpec, Spoil, id, key_entry, refresh, target};

/// A device that saw `Repo::default()` meets `fault(next state)`; the code of the error, or 0. Whatever it is, the device then takes a good
/// later state.
fn check(name: &str, code: u16, fault: impl Fn(&mut Repo)) {
    let good = Repo::default();
    let root = good.first_root();
    let mut stored = Stored::new();
    let before = refresh(&root, &mut stored, &good.files(), ROLE, NOW).expect("the good repository");
    assert_eq!(before.len(), 1, "{name}");

    let mut bad = good.next(1);
    fault(&mut bad);
    let found = refresh(&root, &mut stored, &bad.files(), ROLE, NOW);
    assert_eq!(found.as_ref().map_or_else(TufError::code, |_| 0), code, "{name}: {found:?}");

    let mut later = good.next(10);
    later.roots.clone_from(&bad.roots);
    if code != 0 {
        later.roots.truncate(1);
    }
    let after = refresh(&root, &mut stored, &later.files(), ROLE, NOW);
    assert_eq!(after.as_ref(), Ok(&before), "after {name}");
    // And without a network history: a new device.
    let fresh = refresh(&root, &mut Stored::new(), &later.files(), ROLE, NOW);
    assert_eq!(fresh.as_ref(), Ok(&before), "new device after {name}");
}

#[test]
fn nothing_wrong() {
    check("a later state", 0, |_| {});
    check("the same state", 0, |r| *r = Repo::default());
    check("unknown fields", 0, |r| {
        r.edits = ["root", "timestamp", "snapshot", "targets", ROLE].map(|role| (role, UNKNOWN)).to_vec();
    });
    check("no lengths and hashes", 0, |r| r.edits = vec![("timestamp", WITHOUT_HASHES), ("snapshot", WITHOUT_HASHES)]);
    check("a key of another type", 0, |r| {
        r.edits = vec![("targets", |signed| {
            let other = json!({ "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": { "public": "PEM" } });
            signed["delegations"]["keys"]["other"] = other;
            signed["delegations"]["roles"][0]["keyids"] = json!([id(7), "other", id(8), "nowhere"]);
        })];
    });
}

const UNKNOWN: fn(&mut serde_json::Value) =
    |signed| signed["x-unknown"] = json!({ "\u{e9}\"\\\n": [1, null, true, -5] });
const WITHOUT_HASHES: fn(&mut serde_json::Value) = |signed| {
    for entry in signed["meta"].as_object_mut().unwrap().values_mut() {
        *entry = json!({ "version": entry["version"] });
    }
};

#[test]
fn rollback() {
    check("rollback-timestamp", 247, |r| r.timestamp = 9);
    check("rollback-snapshot", 247, |r| r.snapshot = 9);
    check("rollback-targets", 247, |r| r.targets = 9);
    check("rollback-releases", 247, |r| r.releases = 9);
    check("dropped-releases", 247, |r| {
        r.edits = vec![("snapshot", |signed| {
            signed["meta"].as_object_mut().unwrap().remove("releases-kws.json");
        })];
    });
}

#[test]
fn freeze() {
    for role in ["timestamp", "snapshot", "targets", ROLE] {
        check(&format!("expired-{role}"), 251, |r| {
            r.days.insert(role, 0);
        });
    }
    // The stored files are those of the repository, and time passes.
    let repo = Repo::default();
    let mut stored = Stored::new();
    let root = repo.first_root();
    refresh(&root, &mut stored, &repo.files(), ROLE, NOW).unwrap();
    let mut at = |days: i64| refresh(&root, &mut stored, &repo.files(), ROLE, NOW + days * DAY);
    let expired = |role: &str, days: i64, now: i64| {
        Err(TufError::Expired { role: role.into(), expires: NOW + days * DAY, now: NOW + now * DAY })
    };
    assert!(at(6).is_ok());
    assert_eq!(at(7), expired("timestamp", 7, 7));
    assert_eq!(at(400), expired("root", 365, 400));
    assert_eq!(refresh(&root, &mut stored, &repo.files(), ROLE, i64::MAX).unwrap_err().code(), 251);
    // A clock in the far future does not stop new metadata, such as a new root, from being fetched and kept.
    let mut later = repo.next(1);
    later.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], ..ROOT_1 });
    assert_eq!(refresh(&root, &mut stored, &later.files(), ROLE, i64::MAX).unwrap_err().code(), 251);
    assert!(stored.contains_key("2.root.json"));
    assert!(refresh(&root, &mut stored, &later.files(), ROLE, NOW).is_ok());
}

#[test]
fn a_clock_that_runs_behind_is_raised_to_the_last_timestamp() {
    let repo = Repo {
        edits: vec![("timestamp", |signed| signed["x-ff-issued"] = json!(time::format(NOW - 1)))],
        ..Repo::default()
    };
    let (root, mut stored) = (repo.first_root(), Stored::new());
    refresh(&root, &mut stored, &repo.files(), ROLE, 0).expect("nothing is known of the time yet");
    let mut old = repo.next(1);
    old.days.insert("timestamp", -1);
    let found = refresh(&root, &mut stored, &old.files(), ROLE, 0);
    assert_eq!(found, Err(TufError::Expired { role: "timestamp".into(), expires: NOW - DAY, now: NOW - 1 }));
    // A timestamp from beyond the end of the root does not lock the device out.
    let mut mad = repo.next(2);
    mad.edits = vec![("timestamp", |signed| {
        signed["x-ff-issued"] = json!("9999-01-01T00:00:00Z");
        signed["expires"] = json!("9999-02-01T00:00:00Z");
    })];
    assert!(refresh(&root, &mut stored, &mad.files(), ROLE, NOW).is_ok());
    let mut next = repo.next(3);
    next.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], timestamp: 9, ..ROOT_1 });
    assert!(refresh(&root, &mut stored, &next.files(), ROLE, NOW).is_ok(), "a rotated key resets the clock");
}

#[test]
fn mix_and_match() {
    check("wrong-hash-snapshot", 250, |r| r.spoils = vec![("snapshot", |bytes| bytes[20] ^= 1)]);
    check("wrong-hash-targets", 250, |r| r.spoils = vec![("targets", |bytes| bytes[20] ^= 1)]);
    check("wrong-hash-releases", 250, |r| r.spoils = vec![(ROLE, |bytes| bytes[20] ^= 1)]);
    check("wrong-length-snapshot", 249, |r| {
        r.spoils = vec![("snapshot", |bytes| {
            bytes.pop();
        })];
    });
    for (role, version) in [("snapshot", 10), ("targets", 10), (ROLE, 10)] {
        // A good old file under the new name; its version tells where no hash does.
        let good = Repo::default();
        let mut bad = good.next(1);
        bad.edits = vec![("timestamp", WITHOUT_HASHES), ("snapshot", WITHOUT_HASHES)];
        let mut files = bad.files();
        files.insert(format!("11.{role}.json"), good.files()[&format!("{version}.{role}.json")].clone());
        let found = refresh(&good.first_root(), &mut Stored::new(), &files, ROLE, NOW);
        assert_eq!(found, Err(TufError::WrongVersion { role: role.into(), expected: 11, found: 10 }));
    }
}

#[test]
fn endless_data() {
    const PAD: fn(&mut Vec<u8>) = |bytes| bytes.resize(6 << 20, b' ');
    check("endless-timestamp", 248, |r| r.spoils = vec![("timestamp", PAD)]);
    check("endless-snapshot", 248, |r| r.spoils = vec![("snapshot", PAD)]);
    check("endless-targets", 248, |r| r.spoils = vec![("targets", PAD)]);
    check("endless-releases", 248, |r| r.spoils = vec![(ROLE, PAD)]);
    check("announced-endless-snapshot", 248, |r| {
        r.edits = vec![("timestamp", |signed| signed["meta"]["snapshot.json"]["length"] = json!(1u64 << 40))];
    });
    check("deep-timestamp", 240, |r| r.spoils = vec![("timestamp", |bytes| *bytes = vec![b'['; 10_000])]);
}

#[test]
fn arbitrary_software() {
    for (role, one) in [("timestamp", vec![4]), ("snapshot", vec![3]), ("targets", vec![5]), (ROLE, vec![8])] {
        check(&format!("threshold-{role}"), 245, |r| {
            r.signers.insert(role, one.clone());
        });
        check(&format!("unsigned-{role}"), 245, |r| {
            r.signers.insert(role, Vec::new());
        });
        check(&format!("keys-of-root-{role}"), 245, |r| {
            r.signers.insert(role, vec![1, 2]);
        });
    }
    check("duplicate-signatures", 244, |r| {
        r.signers.insert("targets", vec![5, 5]);
    });
    check("one-key-two-names", 245, |r| {
        r.signers.insert(ROLE, vec![7, 8]);
        r.edits = vec![("targets", |signed| signed["delegations"]["keys"]["key-8"] = key_entry(7))];
    });
    check("repeated-keyid", 242, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"][0]["keyids"] = json!([id(7), id(7)]))];
    });
    check("threshold-zero", 242, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"][0]["threshold"] = json!(0))];
    });
    check("upper-case-signature", 245, |r| {
        r.spoils = vec![("timestamp", |bytes| {
            let mut document: serde_json::Value = serde_json::from_slice(bytes).unwrap();
            let upper = document["signatures"][0]["sig"].as_str().unwrap().to_uppercase();
            document["signatures"][0]["sig"] = json!(upper);
            *bytes = serde_json::to_vec(&document).unwrap();
        })];
    });
    check("upper-case-key", 245, |r| {
        r.edits = vec![("targets", |signed| {
            let public = &mut signed["delegations"]["keys"]["key-7"]["keyval"]["public"];
            *public = json!(public.as_str().unwrap().to_uppercase());
        })];
    });
    check("upper-case-hash", 242, |r| {
        r.edits = vec![("timestamp", |signed| {
            let hash = &mut signed["meta"]["snapshot.json"]["hashes"]["sha256"];
            *hash = json!(hash.as_str().unwrap().to_uppercase());
        })];
    });
}

/// Two members of one name, of which readers take one or the other: in what is signed, and outside of it.
#[test]
fn duplicate_members() {
    fn insert(bytes: &mut Vec<u8>, before: &str, text: &str) {
        let file = String::from_utf8(bytes.clone()).unwrap();
        assert!(file.contains(before), "{file}");
        *bytes = file.replacen(before, &format!("{text}{before}"), 1).into_bytes();
    }
    let rows: [Spoil; 5] = [
        ("signatures", |bytes| insert(bytes, "\"signatures\"", "\"signatures\":[],")),
        ("signed", |bytes| insert(bytes, "\"signed\"", "\"signed\":{},")),
        ("sig", |bytes| insert(bytes, "\"sig\"", "\"sig\":\"\",")),
        ("version", |bytes| insert(bytes, "\"version\"", "\"version\":99,")),
        ("escaped", |bytes| insert(bytes, "\"_type\"", "\"\\u005ftype\":\"root\",")),
    ];
    for (name, spoil) in rows {
        check(&format!("duplicate-member-{name}"), 254, |r| r.spoils = vec![("timestamp", spoil)]);
    }
    check("duplicate-member-unknown", 254, |r| {
        r.spoils = vec![("timestamp", |bytes| insert(bytes, "\"signed\"", "\"x\":{\"a\":1,\"a\":1},"))];
    });
    check("unknown-member-outside", 0, |r| {
        r.spoils = vec![("timestamp", |bytes| insert(bytes, "\"signed\"", "\"x\":{\"a\":1.5},"))];
    });
}

#[test]
fn malformed() {
    check("trailing-garbage", 240, |r| r.spoils = vec![("timestamp", |bytes| bytes.extend(b"{}"))]);
    check("truncated", 240, |r| r.spoils = vec![("timestamp", |bytes| bytes.truncate(100))]);
    check("not-an-object", 242, |r| r.spoils = vec![("timestamp", |bytes| *bytes = b"[]".to_vec())]);
    check("signed-is-no-object", 242, |r| {
        r.spoils = vec![("timestamp", |bytes| *bytes = br#"{"signatures":[],"signed":[]}"#.to_vec())];
    });
    check("float", 241, |r| r.edits = vec![("timestamp", |signed| signed["x"] = json!(1.5))]);
    check("wrong-type", 243, |r| r.edits = vec![("timestamp", |signed| signed["_type"] = json!("snapshot"))]);
    check("wrong-type-releases", 243, |r| r.edits = vec![(ROLE, |signed| signed["_type"] = json!("root"))]);
    check("spec-version", 242, |r| r.edits = vec![("timestamp", |signed| signed["spec_version"] = json!("2.0.0"))]);
    check("version-zero", 242, |r| r.timestamp = 0);
    check("version-text", 242, |r| r.edits = vec![("timestamp", |signed| signed["version"] = json!("11"))]);
    check("expires", 242, |r| r.edits = vec![("timestamp", |signed| signed["expires"] = json!("2030-01-01"))]);
    check("no-meta", 242, |r| r.edits = vec![("timestamp", |signed| signed["meta"] = json!([]))]);
    check("no-targets-in-meta", 242, |r| {
        r.edits = vec![("snapshot", |signed| {
            signed["meta"].as_object_mut().unwrap().remove("targets.json");
        })];
    });
    check("target-path", 242, |r| r.edits = vec![(ROLE, |signed| signed["targets"]["models/../x"] = target(b"x"))]);
    check("target-hash", 242, |r| {
        r.edits = vec![(ROLE, |signed| signed["targets"][PATH]["hashes"] = json!({ "sha512": "00" }))];
    });
    check("paths-and-prefixes", 242, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"][0]["path_hash_prefixes"] = json!(["0"]))];
    });
    check("neither-paths-nor-prefixes", 242, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"][0]["paths"] = json!(null))];
    });
    check("long-name", 242, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"][0]["name"] = json!("a".repeat(81)))];
    });
    check("name-twice", 242, |r| {
        r.edits = vec![("targets", |signed| {
            let roles = signed["delegations"]["roles"].as_array_mut().unwrap();
            roles.push(roles[0].clone());
        })];
    });
    for name in ["root", "timestamp", "2.root", ""] {
        let edit: fn(&mut serde_json::Value) = match name {
            "root" => |signed| signed["delegations"]["roles"][0]["name"] = json!("root"),
            "timestamp" => |signed| signed["delegations"]["roles"][0]["name"] = json!("timestamp"),
            "2.root" => |signed| signed["delegations"]["roles"][0]["name"] = json!("2.root"),
            _ => |signed| signed["delegations"]["roles"][0]["name"] = json!(""),
        };
        check(&format!("delegated-name-{name:?}"), 242, |r| r.edits = vec![("targets", edit)]);
    }
    check("missing-timestamp", 252, |r| r.without = vec!["timestamp"]);
    check("missing-snapshot", 252, |r| r.without = vec!["snapshot"]);
    check("missing-releases", 252, |r| r.without = vec![ROLE]);
    check("no-such-role", 253, |r| {
        r.edits = vec![("targets", |signed| signed["delegations"]["roles"] = json!([]))];
    });
}

#[test]
fn roots() {
    let second = |root: &[u8], by: &[u8]| RootSpec { root: root.to_vec(), signed_by: by.to_vec(), ..ROOT_1 };
    check("rotated", 0, |r| r.roots.push(second(&[11, 12], &[1, 2, 11, 12])));
    check("rotated-twice", 0, |r| {
        r.roots.extend([second(&[1, 12], &[1, 2, 12]), second(&[13, 12], &[1, 12, 13])]);
    });
    check("rotated-signed-by-new", 245, |r| r.roots.push(second(&[11, 12], &[11, 12])));
    check("rotated-signed-by-old", 245, |r| r.roots.push(second(&[11, 12], &[1, 2])));
    check("rotated-one-short", 245, |r| r.roots.push(second(&[11, 12], &[1, 11, 12])));
    check("root-version-skipped", 246, |r| {
        r.roots.push(second(&[1, 2], &[1, 2]));
        r.edits = vec![("root", |signed| signed["version"] = json!(3))];
    });
    check("root-version-again", 246, |r| {
        r.roots.push(second(&[1, 2], &[1, 2]));
        r.edits = vec![("root", |signed| signed["version"] = json!(1))];
    });
    check("root-endless", 248, |r| {
        r.roots.push(second(&[1, 2], &[1, 2]));
        r.spoils = vec![("2.root", |bytes| bytes.resize(300_000, b' '))];
    });
    check("root-consistent-of-another-type", 242, |r| {
        r.roots.push(second(&[1, 2], &[1, 2]));
        r.edits = vec![("root", |signed| signed["consistent_snapshot"] = json!("no"))];
    });
    // The first root is trusted because it was built in, but it must be one.
    for (code, spoil) in [(240, b"".to_vec()), (245, unsigned_root().first_root())] {
        assert_eq!(Client::new(&spoil, Stored::new(), NOW).unwrap_err().code(), code);
    }
}

fn unsigned_root() -> Repo {
    let mut repo = Repo::default();
    repo.roots[0].signed_by = vec![1];
    repo
}

#[test]
fn a_rotated_key_ends_a_fast_forward() {
    let good = Repo::default();
    let (root, mut stored) = (good.first_root(), Stored::new());
    let far = good.next(1_000_000);
    refresh(&root, &mut stored, &far.files(), ROLE, NOW).unwrap();
    let mut back = good.next(1);
    assert_eq!(refresh(&root, &mut stored, &back.files(), ROLE, NOW).unwrap_err().code(), 247);
    back.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], timestamp: 9, ..ROOT_1 });
    assert!(refresh(&root, &mut stored, &back.files(), ROLE, NOW).is_ok());
    // From then on the new counters hold.
    let mut older = back.clone();
    older.timestamp -= 1;
    assert_eq!(refresh(&root, &mut stored, &older.files(), ROLE, NOW).unwrap_err().code(), 247);
}

/// Of the snapshot key alone too: what the timestamp says of the snapshot is forgotten with it.
#[test]
fn a_rotated_snapshot_key_ends_a_fast_forward_of_the_snapshot() {
    let good = Repo::default();
    let (root, mut stored) = (good.first_root(), Stored::new());
    let far = Repo { snapshot: 1_000_000, ..good.clone() };
    refresh(&root, &mut stored, &far.files(), ROLE, NOW).unwrap();
    let mut back = good.next(1);
    assert_eq!(refresh(&root, &mut stored, &back.files(), ROLE, NOW).unwrap_err().code(), 247);
    back.roots.push(RootSpec { root: vec![1, 2], signed_by: vec![1, 2], snapshot: 9, ..ROOT_1 });
    assert!(refresh(&root, &mut stored, &back.files(), ROLE, NOW).is_ok());
}
