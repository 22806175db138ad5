//! Targets: through delegations, under odd names, with servers that do as they like.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use serde_json::json;
use support::{
    DAY, NOW,
    client::Client,
    server::{Fault, Server},
};

#[test]
fn what_is_signed_is_what_is_stored() {
    let server = Server::new();
    let client = Client::new(&server);
    server.repo(|repo| {
        repo.add_artifact("targets", "file.txt", b"one");
        repo.add_artifact("targets", "path/to/a/file.txt", b"two");
        repo.add_artifact("targets", "odd name?#%+\u{e9}.txt", b"three");
        repo.add_artifact("targets", "empty", b"");
        repo.publish_targets();
    });
    assert_eq!(client.refresh(), 0);
    assert_eq!(client.downloaded(), Vec::<Vec<u8>>::new());
    for path in ["file.txt", "path/to/a/file.txt", "odd name?#%+\u{e9}.txt", "empty"] {
        assert_eq!(client.download(path), 0, "{path}");
    }
    assert_eq!(client.downloaded(), [&b""[..], b"one", b"three", b"two"]);
    // It is there: nobody is asked.
    server.state().targets.clear();
    assert_eq!(client.download("file.txt"), 0);
    assert!(server.state().targets.is_empty());
    // Not signed, and so not taken, whether longer, shorter or as long.
    for other in [&b"longer"[..], b"1", b"ONE"] {
        server.repo(|repo| repo.artifacts.insert("path/to/a/file.txt".into(), other.into()));
        let fresh = Client::new(&server);
        assert_eq!(fresh.download("path/to/a/file.txt"), 1);
        assert_eq!(fresh.downloaded(), Vec::<Vec<u8>>::new());
    }
    // Changed and signed: it takes the place of the old one.
    server.repo(|repo| {
        repo.add_artifact("targets", "file.txt", b"another one");
        repo.publish_targets();
    });
    assert_eq!(client.download("file.txt"), 0);
    assert_eq!(client.downloaded(), [&b""[..], b"another one", b"three", b"two"]);
    for path in ["../file.txt", "/file.txt", "", "path//to", "nothing"] {
        assert_eq!(client.download(path), 1, "{path:?}");
    }
}

/// From, to, whether it is terminating, paths.
type Edge = (&'static str, &'static str, bool, &'static str);

#[test]
fn delegations_are_asked_in_order_over_the_wire() {
    let check = |edges: &[Edge], expected: &[&str]| {
        let server = Server::new();
        let client = Client::new(&server);
        server.repo(|repo| {
            let mut roles = Vec::new();
            for &(from, to, terminating, paths) in edges {
                repo.delegate(from, to, terminating, &[paths]);
                if !roles.contains(&to) {
                    roles.push(to);
                }
            }
            repo.publish(&roles);
            repo.publish_targets();
        });
        assert_eq!(client.download("nothing"), 1);
        let asked: Vec<String> = server.state().metadata[4..].iter().map(|(role, _)| role.clone()).collect();
        assert_eq!(asked, expected);
    };
    check(&[("targets", "A", false, "*")], &["A"]);
    check(&[("targets", "A", false, "*"), ("targets", "B", false, "*"), ("A", "C", false, "*")], &["A", "C", "B"]);
    check(&[("targets", "A", false, "*"), ("targets", "B", false, "*"), ("A", "C", true, "*")], &["A", "C"]);
    check(&[("targets", "A", false, "*.py"), ("targets", "B", false, "*")], &["B"]);
    check(
        &[("targets", "A", false, "*"), ("A", "B", false, "*"), ("B", "C", false, "*"), ("C", "A", false, "*")],
        &["A", "B", "C"],
    );
}

#[test]
fn names_of_roles_stay_in_their_folder() {
    for odd in ["?", "#", "/role", "../role", "a/../../b", "%2e%2e%2frole", "\u{e9} \u{1f600}"] {
        let server = Server::new();
        let client = Client::new(&server);
        server.repo(|repo| {
            repo.delegate("targets", odd, false, &["*"]);
            repo.add_artifact(odd, "file", b"by the odd role");
            repo.publish(&[odd]);
            repo.publish_targets();
        });
        assert_eq!(client.download("file"), 0, "{odd}");
        assert_eq!(server.state().metadata.last(), Some(&(odd.to_owned(), Some(1))), "{odd}");
        assert_eq!(client.trusted().len(), 5, "{odd}");
        assert_eq!(client.downloaded(), [b"by the odd role"]);
    }
}

#[test]
fn an_expired_role_vouches_for_nothing() {
    let server = Server::new();
    let mut client = Client::new(&server);
    server.repo(|repo| {
        repo.delegate("targets", "A", false, &["path/*"]);
        repo.body("A")["expires"] = json!(fleetfoot_tuf::time::format(NOW + 7 * DAY));
        repo.add_artifact("A", "path/first", b"first");
        repo.add_artifact("A", "path/second", b"second");
        repo.publish(&["A"]);
        repo.publish_targets();
    });
    assert_eq!(client.download("path/first"), 0);
    client.now = NOW + 18 * DAY;
    assert_eq!(client.refresh(), 0, "it is not asked");
    assert_eq!(client.download("path/second"), 1);
    server.repo(|repo| {
        repo.body("A")["expires"] = json!(fleetfoot_tuf::time::format(NOW + 21 * DAY));
        repo.publish(&["A", "snapshot", "timestamp"]);
    });
    assert_eq!(client.download("path/second"), 0);
    assert_eq!(client.downloaded(), [&b"first"[..], b"second"]);
}

#[test]
fn servers_that_misbehave() {
    let files = ["2.root.json", "timestamp.json", "snapshot.json", "targets.json", "file"];
    for file in files {
        for fault in [Fault::Endless(file), Fault::Short(file), Fault::Broken(file), Fault::Elsewhere(file)] {
            let server = Server::new();
            server.repo(|repo| {
                repo.add_artifact("targets", "file", b"the file");
                repo.publish(&["root", "targets", "snapshot", "timestamp"]);
            });
            let client = Client::new(&server);
            server.state().fault = Some(fault);
            assert_eq!(client.download("file"), 1, "{fault:?}");
            assert_eq!(client.downloaded(), Vec::<Vec<u8>>::new(), "{fault:?}");
            // The longest file of all may have 5 MiB, and some lie in buffers on the way.
            let n = server.state().n_endless;
            assert!(n < 24 << 20, "{fault:?}: {n} bytes");
            server.state().fault = None;
            assert_eq!(client.download("file"), 0, "after {fault:?}");
            assert_eq!(client.downloaded(), [b"the file"], "after {fault:?}");
        }
    }
}
