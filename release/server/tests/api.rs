//! `/v1` as programs see it: the description that is generated, caching, the wake channel, metrics, the audit log.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::collections::BTreeMap;

use fleetfoot_server::{AuditHead, ControlError, Role, Store, openapi};
use serde_json::{Value, json};
use support::{HOUR, NOW, World, http::Http};

const POLICY: &str = "rollout: kws-2\nmodel: kws\ncandidate: 2\nbaseline: 1\nstages:\n  - canary: {percent: 1, bake: 24h}\n  \
                      - full: {ramp: [100], step: 12h}\n";

/// Every route that is described is there, with exactly the methods that are described; every reference leads somewhere.
#[test]
fn the_description_is_that_of_the_routes() {
    let world = World::new("now:100:full");
    let served = world.serve();
    let described: Value = serde_json::from_str(&openapi()).unwrap();
    let answer = Http::to(served.address).ask("GET", "/v1/openapi.json", &[], b"").unwrap();
    assert_eq!(answer.json(), described);
    let bearer = format!("Bearer {}", served.approver);
    let paths = described["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 9, "{:?}", paths.keys());
    for (path, methods) in paths {
        let concrete = path.replace("{rollout}", "none").replace("{action}", "hold");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let answer = Http::to(served.address).ask(method, &concrete, &[("authorization", &bearer)], b"{}").unwrap();
            let known = methods.get(method.to_lowercase());
            assert_eq!(answer.status != 405, known.is_some(), "{method} {path}: {}", answer.status);
            if let Some(known) = known {
                let status = answer.status.to_string();
                assert!(
                    known["responses"].get(&status).is_some(),
                    "{method} {path} answers {status}, which is not described"
                );
                let secured = known.get("security").is_some();
                let bare = Http::to(served.address).ask(
                    method,
                    &concrete,
                    &[],
                    b"{\"digest\":\"\",\"reason\":\"x\",\"policy\":\"\",\"devices\":1}",
                );
                assert_eq!(bare.unwrap().status == 401, secured, "{method} {path}");
            }
        }
    }
    let text = described.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(described["components"]["schemas"].get(name).is_some(), "{name}");
    }
}

#[test]
fn the_timestamp_is_kept_for_as_long_as_devices_may_wait() {
    let world = World::new("now:100:full");
    let served = world.serve();
    let mut http = Http::to(served.address);
    let path = "/metadata/timestamp.json";
    let first = http.ask("GET", path, &[], b"").unwrap();
    assert_eq!((first.status, first.header("cache-control")), (200, Some("max-age=60")));
    assert_eq!(first.body, std::fs::read(world.repo().join("metadata/timestamp.json")).unwrap());
    let tag = first.header("etag").unwrap().to_owned();
    for (known, status) in
        [(tag.clone(), 304), (format!("\"x\", W/{tag}"), 304), ("*".into(), 304), ("\"x\"".into(), 200)]
    {
        let answer = http.ask("GET", path, &[("if-none-match", &known)], b"").unwrap();
        assert_eq!((answer.status, answer.header("etag")), (status, Some(&tag[..])), "{known}");
        assert_eq!(answer.body.is_empty(), status == 304);
    }
    served.apply(POLICY, 4_000);
    let second = http.ask("GET", path, &[("if-none-match", &tag)], b"").unwrap();
    assert_eq!((second.status, second.header("cache-control")), (200, Some("max-age=5")));
    // An hour after its end a rollout is over for caches, too; every six hours the timestamp is signed again.
    served.post("/v1/rollouts/kws-2/abort", &served.operator, &json!({ "reason": "enough" }));
    world.clock.pass(HOUR + 1);
    served.gates.tick();
    assert_eq!(http.ask("GET", path, &[], b"").unwrap().header("cache-control"), Some("max-age=60"));
    let version =
        |http: &mut Http| http.ask("GET", path, &[], b"").unwrap().json()["signed"]["version"].as_u64().unwrap();
    let before = version(&mut http);
    world.clock.pass(6 * HOUR);
    served.gates.tick();
    wait_for(|| version(&mut http) == before + 1);
    // Files that never change are kept for ever, and can be fetched in parts.
    let part = http.ask("GET", "/metadata/1.root.json", &[("range", "bytes=10-19")], b"").unwrap();
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert!(part.header("cache-control").unwrap().contains("immutable"));
    assert_eq!(
        http.ask("GET", "/metadata/2.root.json", &[], b"").unwrap().header("cache-control"),
        Some("max-age=300")
    );
}

/// It becomes true within a minute; how soon is not the question here.
fn wait_for(mut is: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("it never came");
}

#[test]
fn who_waits_is_woken() {
    let world = World::new("now:100:full");
    let served = world.serve();
    let version = || {
        let bytes = std::fs::read(world.repo().join("metadata/timestamp.json")).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"].as_u64().unwrap()
    };
    let before = version();
    let at_once = Http::to(served.address).ask("GET", "/v1/wake?seen=0", &[], b"").unwrap();
    assert_eq!((at_once.status, at_once.json()["timestamp"].as_u64()), (200, Some(before)));
    let address = served.address;
    let waiting: Vec<_> = (0..50)
        .map(|_| std::thread::spawn(move || Http::to(address).ask("GET", &format!("/v1/wake?seen={before}"), &[], b"")))
        .collect();
    served.apply(POLICY, 4_000);
    for waits in waiting {
        let woken = waits.join().unwrap().unwrap();
        assert_eq!((woken.status, woken.json()["timestamp"].as_u64()), (200, Some(before + 1)));
    }
}

/// Parsed line by line after the text format of Prometheus: a family is announced before its samples, names and labels are well formed.
#[test]
fn metrics_are_those_of_prometheus() {
    let world = World::new("now:100:full");
    let served = world.serve();
    served.apply(POLICY, 4_000);
    let bearer = format!("Bearer {}", served.viewer);
    let answer = Http::to(served.address).ask("GET", "/metrics", &[("authorization", &bearer)], b"").unwrap();
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body).unwrap();
    let name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let (mut families, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            assert!(name(family) && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(family.ends_with("_total") || family == "fleetfoot_audit_rows", kind == "counter", "{line}");
            assert!(families.insert(family.to_owned(), kind).is_none(), "{family} is announced twice");
        } else if !line.starts_with("# HELP ") {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let family = series.split('{').next().unwrap();
            assert!(name(family) && families.contains_key(family), "{line}");
            if let Some((_, labels)) = series.split_once('{') {
                for label in labels.strip_suffix('}').unwrap().split(',') {
                    let (key, value) = label.split_once('=').unwrap();
                    assert!(name(key) && value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
            let value: f64 = value.parse().unwrap();
            assert!(samples.insert(series.to_owned(), value).is_none(), "{series} twice");
        }
    }
    assert_eq!(samples["fleetfoot_rollout_stage{rollout=\"kws-2\",model=\"kws\",state=\"running\"}"], 1.0);
    assert_eq!(samples["fleetfoot_reports_total{outcome=\"added\"}"], 0.0);
    assert!(samples["fleetfoot_audit_rows"] >= 5.0 && samples["fleetfoot_timestamp_expires_seconds"] > 6.0 * 86_400.0);
    let mut http = Http::to(served.address);
    assert_eq!(http.ask("GET", "/readyz", &[], b"").unwrap().status, 200);
    world.clock.pass(30 * 86_400);
    assert_eq!(http.ask("GET", "/readyz", &[], b"").unwrap().status, 503, "the timestamp has expired");
    assert_eq!(http.ask("GET", "/healthz", &[], b"").unwrap().status, 200);
    assert_eq!(http.ask("GET", "/", &[], b"").unwrap().status, 200);
}

/// Somebody with a database tool: whatever is done to a row is found, and where.
#[test]
fn a_changed_removed_or_moved_row_is_found() {
    let rows: [(&str, &str, Option<u64>); 9] = [
        ("nothing", "SELECT 1", None),
        ("a detail is changed", "UPDATE audit SET detail = 'never mind' WHERE row = 3", Some(3)),
        ("a name is changed", "UPDATE audit SET who = 'mallory' WHERE row = 1", Some(1)),
        ("a time is changed", "UPDATE audit SET at_s = at_s - 1 WHERE row = 5", Some(5)),
        (
            "letters move from one column to the next",
            "UPDATE audit SET who = 'othe', action = 'rtoken new' WHERE row = 2",
            Some(2),
        ),
        ("a row in the middle is removed", "DELETE FROM audit WHERE row = 3", Some(3)),
        ("the last row is removed", "DELETE FROM audit WHERE row = 6", Some(6)),
        (
            "two rows change places",
            "UPDATE audit SET row = 100 WHERE row = 2; UPDATE audit SET row = 2 WHERE row = 4; UPDATE audit SET row = 4 WHERE row = 100",
            Some(2),
        ),
        (
            "one is removed and the others close up",
            "DELETE FROM audit WHERE row = 2; UPDATE audit SET row = row - 1 WHERE row > 2; UPDATE audit_head SET row = 5",
            Some(2),
        ),
    ];
    for (what, sql, broken) in rows {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite");
        let store = Store::open(&path).unwrap();
        for name in ["a", "b", "c", "d", "e", "f"] {
            store.new_token(name, Role::Viewer, NOW).unwrap();
        }
        let head = store.verify_audit(None).unwrap();
        assert_eq!(head.row, 6);
        let connection = rusqlite::Connection::open(&path).unwrap();
        if sql.contains("audit") {
            assert!(connection.execute_batch(sql).is_err(), "{what}: the table refuses it first");
            connection.execute_batch("DROP TRIGGER audit_stays; DROP TRIGGER audit_remains").unwrap();
        }
        connection.execute_batch(sql).unwrap();
        let found = match store.verify_audit(None) {
            Ok(_) => None,
            Err(ControlError::Audit { row, .. }) => Some(row),
            Err(other) => panic!("{what}: {other}"),
        };
        assert_eq!(found, broken, "{what}");
        // With a head that was kept, a log that was written anew as a whole is found, too.
        let known = AuditHead { row: 4, hash: "00".repeat(32) };
        assert!(store.verify_audit(Some(&known)).is_err(), "{what}");
        assert_eq!(store.verify_audit(Some(&head)).is_ok(), broken.is_none(), "{what}");
    }
}
