//! A refresh from end to end: what is asked for, what is stored, and where it stops.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use serde_json::{Value, json};
use support::{DAY, NOW, TOP, client::Client, server::Server};

fn trusted(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|(role, version)| ((*role).to_owned(), *version)).collect()
}

fn asked(rows: &[(&str, Option<u64>)]) -> Vec<(String, Option<u64>)> {
    rows.iter().map(|(role, version)| ((*role).to_owned(), *version)).collect()
}

const ALL: [(&str, Option<u64>); 4] =
    [("root", Some(2)), ("timestamp", None), ("snapshot", Some(1)), ("targets", Some(1))];

#[test]
fn everything_in_order_and_byte_for_byte() {
    let server = Server::new();
    // A form that nobody would write again.
    server.repo(|repo| repo.last("timestamp").extend(b" \n\t"));
    let client = Client::new(&server);
    assert!(server.state().metadata.is_empty(), "init asks nobody");
    assert_eq!(client.refresh(), 0);
    assert_eq!(server.state().metadata, asked(&ALL));
    for role in TOP {
        assert_eq!(client.stored(role).as_ref(), Some(server.repo(|repo| repo.last(role).clone())).as_ref(), "{role}");
    }
    // Again: nothing is fetched that is there.
    server.state().metadata.clear();
    assert_eq!(client.refresh(), 0);
    assert_eq!(server.state().metadata, asked(&ALL[..2]));
    // A download refreshes first, also where it finds nothing.
    let fresh = Client::new(&server);
    server.state().metadata.clear();
    assert_eq!(fresh.download("nothing"), 1);
    assert_eq!(server.state().metadata, asked(&ALL));
    assert_eq!(fresh.trusted(), trusted(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 1)]));
}

#[test]
fn a_first_root_that_does_not_hold_asks_nobody() {
    let spoils: [fn(&mut Value); 4] = [
        |root| drop(root["signed"].as_object_mut().unwrap().remove("version")),
        |root| root["signatures"][0]["sig"] = json!("00".repeat(64)),
        |root| root["signatures"] = json!([]),
        |root| root["signed"]["_type"] = json!("targets"),
    ];
    for (i, spoil) in spoils.into_iter().enumerate() {
        let server = Server::new();
        let mut root = server.repo(|repo| serde_json::from_slice(repo.last("root")).unwrap());
        spoil(&mut root);
        let client = Client::with_root(&server, &serde_json::to_vec(&root).unwrap());
        assert_eq!(client.refresh(), 1, "{i}");
        assert!(server.state().metadata.is_empty(), "{i}");
    }
}

/// What is stored when the file of a role is bad: everything before it, in its new version.
#[test]
fn it_stops_at_the_file_that_does_not_hold() {
    let before = |role: &str| match role {
        "root" => trusted(&[("root", 1)]),
        "timestamp" => trusted(&[("root", 2)]),
        "snapshot" => trusted(&[("root", 2), ("timestamp", 2)]),
        _ => trusted(&[("root", 2), ("snapshot", 2), ("timestamp", 2)]),
    };
    let check = |name: &str, role: &str, spoil: &dyn Fn(&mut support::Sim)| {
        let server = Server::new();
        server.repo(spoil);
        let client = Client::new(&server);
        assert_eq!(client.refresh(), 1, "{name} {role}");
        assert_eq!(client.trusted(), before(role), "{name} {role}");
    };
    for role in TOP {
        check("unsigned", role, &|repo| {
            repo.signers.insert(role.into(), Vec::new());
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        });
        check("another type", role, &|repo| {
            repo.body(role)["_type"] = json!("mirrors");
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        });
        if role != "timestamp" {
            // The name of the file says 2.
            check("another version", role, &|repo| {
                let version = repo.version(role) + 1;
                repo.body(role)["version"] = json!(version);
                repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            });
        }
        if role != "root" {
            check("expired", role, &|repo| {
                repo.body(role)["expires"] = json!(fleetfoot_tuf::time::format(NOW));
                repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            });
            check("missing", role, &|repo| {
                repo.publish(&["root", "targets", "snapshot", "timestamp"]);
                repo.published.insert(role.into(), Vec::new());
            });
        }
        check("a member twice", role, &|repo| {
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            let file = String::from_utf8(repo.last(role).clone()).unwrap();
            *repo.last(role) = file.replacen('{', "{\"signatures\": [],", 1).into_bytes();
        });
    }
    // 5.3.10: an expired root is kept, so that the next one can follow, and nothing else is done.
    let server = Server::new();
    let client = Client::new(&server);
    assert_eq!(client.refresh(), 0);
    server.repo(|repo| {
        repo.body("root")["expires"] = json!(fleetfoot_tuf::time::format(NOW - DAY));
        repo.publish(&["root", "targets", "snapshot", "timestamp"]);
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(client.trusted(), trusted(&[("root", 2), ("snapshot", 1), ("targets", 1), ("timestamp", 1)]));
    server.repo(|repo| {
        repo.body("root")["expires"] = json!(fleetfoot_tuf::time::format(NOW + DAY));
        repo.publish(&["root"]);
    });
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(3));
}

#[test]
fn what_is_stored_may_have_expired_where_something_newer_has_not() {
    for role in TOP {
        let server = Server::new();
        server.repo(|repo| {
            repo.body(role)["expires"] = json!(fleetfoot_tuf::time::format(NOW + 7 * DAY));
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        });
        let mut client = Client::new(&server);
        assert_eq!(client.refresh(), 0, "{role}");
        client.now = NOW + 18 * DAY;
        assert_eq!(client.refresh(), 1, "{role}");
        server.repo(|repo| {
            repo.body(role)["expires"] = json!(fleetfoot_tuf::time::format(NOW + 21 * DAY));
            repo.publish(&["root", "targets", "snapshot", "timestamp"]);
        });
        assert_eq!(client.refresh(), 0, "{role}");
        assert_eq!(client.version(role), Some(3), "{role}");
    }
}

#[test]
fn lengths_and_hashes_where_they_are_listed() {
    let server = Server::new();
    server.repo(|repo| {
        repo.with_hashes = true;
        repo.publish_targets();
    });
    let client = Client::new(&server);
    assert_eq!(client.refresh(), 0);
    server.repo(|repo| {
        repo.publish(&["targets"]);
        repo.body("snapshot")["meta"]["targets.json"]["hashes"]["sha256"] = json!("46".repeat(32));
        repo.publish(&["snapshot", "timestamp"]);
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!((client.version("snapshot"), client.version("targets")), (Some(3), Some(2)));
}

#[test]
fn fields_that_nobody_knows_are_signed_like_the_others() {
    let server = Server::new();
    let client = Client::new(&server);
    server.repo(|repo| {
        let key = repo.add_key("root");
        repo.body("root")["keys"][support::id(key)]["extra"] = json!({ "a": 1, "b": 2 });
        repo.body("root")["keys"][support::id(key)]["keyid_hash_algorithms"] = json!(["md5"]);
        repo.role("root")["another"] = json!("value");
        repo.body("root")["custom"] = json!("\u{e9} \" \\ \n");
        repo.publish(&["root"]);
    });
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.version("root"), Some(2));
}

#[test]
fn missing_files() {
    let server = Server::new();
    let client = Client::new(&server);
    assert_eq!(client.refresh(), 0);
    server.repo(|repo| {
        repo.body("timestamp")["meta"]["snapshot.json"]["version"] = json!(2);
        repo.publish(&["timestamp"]);
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(server.state().metadata.last(), Some(&("snapshot".into(), Some(2))));
    assert_eq!(client.trusted(), trusted(&[("root", 1), ("snapshot", 1), ("targets", 1), ("timestamp", 2)]));

    let server = Server::new();
    let client = Client::new(&server);
    assert_eq!(client.refresh(), 0);
    server.repo(|repo| {
        repo.body("snapshot")["meta"]["targets.json"]["version"] = json!(2);
        repo.publish(&["snapshot", "timestamp"]);
    });
    assert_eq!(client.refresh(), 1);
    assert_eq!(server.state().metadata.last(), Some(&("targets".into(), Some(2))));
    assert_eq!(client.trusted(), trusted(&[("root", 1), ("snapshot", 2), ("targets", 1), ("timestamp", 2)]));
}

#[test]
fn wrong_use() {
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fleetfoot-tuf-client"));
        command.args(args).output().unwrap().status.code()
    };
    for args in [
        &[][..],
        &["refresh"],
        &["--metadata-dir", "d", "refresh"],
        &["--metadata-dir"],
        &["--what", "d", "init", "r"],
        &["--metadata-dir", "d", "--metadata-url", "http://127.0.0.1:1", "download"],
    ] {
        assert_eq!(run(args), Some(2), "{args:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    assert_eq!(run(&["--metadata-dir", dir, "init", "no such root"]), Some(1));
    assert_eq!(run(&["--metadata-dir", dir, "--metadata-url", "http://127.0.0.1:1", "refresh"]), Some(1));
}
