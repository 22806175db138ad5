//! Nobody takes a client back, and a rotated key lets it start again.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use serde_json::json;
use support::{client::Client, server::Server};

/// A client that has seen version 3 of everything but the root, with and without hashes.
fn check(name: &str, attack: impl Fn(&mut support::Sim), code: i32, versions: [u64; 3]) {
    for with_hashes in [false, true] {
        let server = Server::new();
        server.repo(|repo| {
            repo.with_hashes = with_hashes;
            repo.publish_targets();
            repo.publish_targets();
        });
        let client = Client::new(&server);
        assert_eq!(client.refresh(), 0, "{name}");
        server.repo(&attack);
        assert_eq!(client.refresh(), code, "{name}");
        let found = ["timestamp", "snapshot", "targets"].map(|role| client.version(role).unwrap());
        assert_eq!(found, versions, "{name}, hashes: {with_hashes}");
    }
}

#[test]
fn versions_do_not_fall() {
    check("nothing", |_| {}, 0, [3, 3, 3]);
    check(
        "rollback-timestamp",
        |repo| {
            repo.body("timestamp")["version"] = json!(1);
            repo.publish(&["timestamp"]);
        },
        1,
        [3, 3, 3],
    );
    check(
        "rollback-snapshot-in-timestamp",
        |repo| {
            repo.body("timestamp")["meta"]["snapshot.json"] = json!({ "version": 2 });
            repo.publish(&["timestamp"]);
        },
        1,
        [3, 3, 3],
    );
    check(
        "rollback-targets",
        |repo| {
            repo.body("snapshot")["meta"]["targets.json"] = json!({ "version": 2 });
            repo.publish(&["snapshot", "timestamp"]);
        },
        1,
        [4, 3, 3],
    );
    check(
        "targets-left-out",
        |repo| {
            repo.body("snapshot")["meta"] = json!({});
            repo.publish(&["snapshot", "timestamp"]);
        },
        1,
        [4, 3, 3],
    );
    check(
        "another-timestamp-of-the-same-version",
        |repo| {
            repo.body("timestamp")["meta"]["snapshot.json"] = json!({ "version": 100 });
            repo.publish_as_it_is("timestamp");
        },
        0,
        [3, 3, 3],
    );
    check(
        "the-old-root-again",
        |repo| {
            let first = repo.published["root"][0].clone();
            repo.published.get_mut("root").unwrap().push(first);
        },
        1,
        [3, 3, 3],
    );
}

#[test]
fn a_rotated_key_ends_a_fast_forward() {
    let check = |driven_up: &str, rotated: &[&str]| {
        let server = Server::new();
        let client = Client::new(&server);
        server.repo(|repo| {
            // Somebody who has the key signs a version that the owner will never reach.
            let far = 99_999;
            repo.body(driven_up)["version"] = json!(far);
            let versions = repo.published.get_mut(driven_up).unwrap();
            versions.resize(far - 1, Vec::new());
            repo.publish_as_it_is(driven_up);
            repo.publish(&["targets", "snapshot", "timestamp"].split_off_after(driven_up));
        });
        assert_eq!(client.refresh(), 0, "{driven_up}");
        assert_eq!(client.version(driven_up), Some(99_999), "{driven_up}");
        // The owner goes on from version 2.
        server.repo(|repo| {
            repo.published.get_mut(driven_up).unwrap().truncate(1);
            repo.body(driven_up)["version"] = json!(1);
            repo.publish(&["targets", "snapshot", "timestamp"].split_off_from(driven_up));
        });
        assert_eq!(client.refresh(), 1, "{driven_up} without a rotation");
        server.repo(|repo| {
            rotated.iter().for_each(|role| repo.rotate(role));
            repo.publish(&["root", "snapshot", "timestamp"]);
        });
        assert_eq!(client.refresh(), 0, "{driven_up} after rotation of {rotated:?}");
        assert!(client.version(driven_up).unwrap() < 10, "{driven_up}");
    };
    check("timestamp", &["timestamp"]);
    check("snapshot", &["snapshot", "timestamp"]);
    check("snapshot", &["timestamp"]);
    check("snapshot", &["snapshot"]);
    check("targets", &["snapshot"]);
}

/// Roles from a role on, or after it.
trait Split<'a> {
    fn split_off_from(&self, role: &str) -> Vec<&'a str>;
    fn split_off_after(&self, role: &str) -> Vec<&'a str>;
}

impl<'a> Split<'a> for [&'a str; 3] {
    fn split_off_from(&self, role: &str) -> Vec<&'a str> {
        self.iter().copied().skip_while(|other| *other != role).collect()
    }

    fn split_off_after(&self, role: &str) -> Vec<&'a str> {
        self.split_off_from(role)[1..].to_vec()
    }
}
