//! Keys, thresholds and their rotation, over real files and a real server.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use serde_json::{Value, json};
use support::{Sim, client::Client, entry, id, server::Server};

/// Keys of a role, how many of them must sign, and which keys do.
type Version<'a> = (&'a [u8], u64, &'a [u8]);

fn set(repo: &mut Sim, role: &str, (keys, threshold, signers): Version<'_>) {
    for &key in keys {
        repo.body("root")["keys"][id(key)] = entry(key);
    }
    repo.role(role)["keyids"] = keys.iter().map(|&key| json!(id(key))).collect();
    repo.role(role)["threshold"] = json!(threshold);
    repo.signers.insert(role.into(), signers.to_vec());
}

#[test]
fn roots_follow_one_another() {
    // The last version is the one in question.
    let check = |name: &str, versions: &[Version<'_>], holds: bool| {
        let server = Server::new();
        server.repo(|repo| {
            repo.published.remove("root");
            for &version in versions {
                set(repo, "root", version);
                repo.publish(&["root"]);
            }
        });
        let client = Client::new(&server);
        assert_eq!(client.refresh(), i32::from(!holds), "{name}");
        let last = versions.len() - usize::from(!holds);
        let expected = server.repo(|repo| repo.published["root"][last - 1].clone());
        assert_eq!(client.stored("root"), Some(expected), "{name}");
    };
    const FIVE: &[u8] = &[100, 101, 102, 103, 104];
    const NEXT: &[u8] = &[100, 101, 103, 104, 105];
    check("1 of 1 to another", &[(&[101], 1, &[101]), (&[102], 1, &[102, 101]), (&[102], 1, &[102])], true);
    check(
        "signatures of strangers",
        &[(&[101], 1, &[103, 101, 104]), (&[102], 1, &[103, 102, 101, 104]), (&[102], 1, &[103, 102, 104])],
        true,
    );
    check(
        "3 of 5, any three",
        &[(FIVE, 3, &[100, 102, 104]), (FIVE, 3, &[100, 104, 101]), (FIVE, 3, &[100, 101, 103])],
        true,
    );
    check("3 of 5, one key changed", &[(FIVE, 3, &[100, 102, 104]), (NEXT, 3, &[100, 104, 101])], true);
    check(
        "3 of 5, one key changed, in two steps",
        &[(FIVE, 3, &[100, 102, 104]), (NEXT, 3, &[100, 102, 104, 105]), (NEXT, 3, &[100, 104, 105])],
        true,
    );
    check(
        "3 of 5, all keys changed",
        &[
            (FIVE, 3, &[100, 102, 104]),
            (&[105, 106, 107, 108, 109], 3, &[100, 102, 104, 105, 106, 107]),
            (&[105, 106, 107, 108, 109], 3, &[105, 106, 107]),
        ],
        true,
    );
    check("threshold up", &[(&[101, 102, 103], 1, &[101]), (&[101, 102, 103], 2, &[101, 102])], true);
    check(
        "threshold down",
        &[(&[101, 102], 2, &[101, 102]), (&[101, 102], 1, &[101, 102]), (&[101, 102], 1, &[101])],
        true,
    );
    check("not signed by the old key", &[(&[101], 1, &[101]), (&[102], 1, &[102, 103, 104])], false);
    check("not signed by the new key", &[(&[101], 1, &[101]), (&[102], 1, &[101, 103, 104])], false);
    check("two of three new keys", &[(FIVE, 3, &[100, 102, 104]), (NEXT, 3, &[100, 102, 104])], false);
    check("two of three old keys", &[(FIVE, 3, &[100, 102, 104]), (NEXT, 3, &[100, 104, 105])], false);
    check("new threshold not reached", &[(&[101, 102, 103], 1, &[101]), (&[101, 102, 103], 2, &[102])], false);
    check("old threshold not reached", &[(&[101, 102, 103], 2, &[101, 102]), (&[101, 102, 103], 1, &[101])], false);
}

#[test]
fn keys_of_the_other_roles_change_with_the_root() {
    let check = |name: &str, version: Version<'_>, holds: bool| {
        for role in ["timestamp", "snapshot", "targets"] {
            let server = Server::new();
            server.repo(|repo| {
                set(repo, role, version);
                repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            });
            let client = Client::new(&server);
            assert_eq!(client.refresh(), i32::from(!holds), "{name}: {role}");
            let expected = server.repo(|repo| repo.last(role).clone());
            assert_eq!(client.stored(role), holds.then_some(expected), "{name}: {role}");
        }
    };
    const FIVE: &[u8] = &[100, 101, 102, 103, 104];
    check("another key", (&[102], 1, &[102]), true);
    check("signatures of strangers", (&[101], 1, &[103, 101, 104]), true);
    check("strangers only", (&[102], 1, &[101, 103, 104]), false);
    check("two of three, and a stranger", (&[100, 101, 103, 104, 105], 3, &[100, 102, 104]), false);
    check("two of three", (FIVE, 3, &[100, 104]), false);
    check("more asked than there are", (FIVE, 6, FIVE), false);
    for signers in [&[100, 102, 104][..], &[104, 100, 101], &[102, 103, 104], FIVE] {
        check("three of five", (FIVE, 3, signers), true);
    }
}

#[test]
fn a_key_counts_once() {
    let check = |name: &str, spoil: fn(&mut Sim)| {
        let server = Server::new();
        let client = Client::new(&server);
        server.repo(spoil);
        assert_eq!(client.refresh(), 1, "{name}");
        assert_eq!(client.version("snapshot"), None, "{name}");
    };
    check("one name many times in the role", |repo| {
        let key = repo.add_key("snapshot");
        (0..8).for_each(|_| repo.trust("snapshot", key));
        repo.role("snapshot")["threshold"] = json!(6);
        repo.publish(&["root", "snapshot", "timestamp"]);
    });
    check("one key under many names", |repo| {
        for n in 0..8 {
            let name = format!("also-{n}");
            repo.body("root")["keys"][&name] = entry(77);
            repo.role("snapshot")["keyids"].as_array_mut().unwrap().push(json!(name));
        }
        repo.role("snapshot")["threshold"] = json!(2);
        repo.signers.insert("snapshot".into(), vec![77]);
        repo.publish(&["root", "snapshot", "timestamp"]);
        let mut document: Value = serde_json::from_slice(repo.last("snapshot")).unwrap();
        let sig = document["signatures"][0]["sig"].clone();
        document["signatures"] = (0..8).map(|n| json!({ "keyid": format!("also-{n}"), "sig": sig })).collect();
        *repo.last("snapshot") = serde_json::to_vec(&document).unwrap();
    });
    check("one signature twice, though one would do", |repo| {
        let mut document: Value = serde_json::from_slice(repo.last("snapshot")).unwrap();
        let signature = document["signatures"][0].clone();
        document["signatures"].as_array_mut().unwrap().push(signature);
        *repo.last("snapshot") = serde_json::to_vec(&document).unwrap();
    });
    check("a threshold of nothing", |repo| {
        repo.role("snapshot")["threshold"] = json!(0);
        repo.signers.insert("snapshot".into(), Vec::new());
        repo.publish(&["root", "snapshot", "timestamp"]);
    });
}

#[test]
fn a_signature_that_does_not_hold_is_no_fault_where_enough_others_do() {
    for bad in ["", "00", "no hex", &"00".repeat(64)] {
        let server = Server::new();
        let client = Client::new(&server);
        server.repo(|repo| {
            repo.add_key("timestamp");
            repo.publish(&["root", "timestamp"]);
            let mut document: Value = serde_json::from_slice(repo.last("timestamp")).unwrap();
            document["signatures"][0]["sig"] = json!(bad);
            *repo.last("timestamp") = serde_json::to_vec(&document).unwrap();
        });
        assert_eq!(client.refresh(), 0, "{bad:?}");
        assert_eq!(client.version("timestamp"), Some(2), "{bad:?}");
    }
}
