//! How envelopes and directives are spelled: what is read, what is refused, and what is passed over.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fleetfoot_tuf::rollout::{directive, envelope};
use fleetfoot_update::{Envelope, Stage, envelope::Limit};
use serde_json::{Value, json};

fn an_envelope() -> Value {
    json!({
        "model": "kws", "number": 42, "salt": "kws-2026-11/1", "hardware": ["cortex-m4f", "linux-arm64"],
        "min_runtime": "0.3", "security_epoch": 2, "attempt": 3, "golden_sha256": "07".repeat(32),
        "limits": [
            {"not_before": "2026-11-30T00:00:00Z", "max_bp": 100, "max_stage": "canary"},
            {"not_before": "2026-12-07T00:00:00Z", "max_bp": 10000, "max_stage": "full"},
        ],
    })
}

fn a_directive() -> Value {
    let named = |number: u64, byte: &str| json!({"number": number, "sha256": byte.repeat(32), "attempt": 2});
    json!({
        "rollout": "kws-2026-11", "model": "kws", "candidate": named(42, "2a"), "baseline": named(41, "29"),
        "stage": "ab", "exposed_bp": 2000, "split": [90, 10],
        "match": {"hardware": ["cortex-m4f"], "runtime": ">=0.3", "line": ["3", "4"]},
        "device": {"attempts": 2, "health_window_s": 21600, "min_inferences": 500, "keep": 5},
        "network": {"poll_s": 14400, "poll_active_s": 900, "apply_jitter_s": 7200, "metered": false, "window": "22:30-05:00"},
        "shadow": {"share_bp": 500, "agreement_bp": 9000, "min_compared": 2000},
        "from the future": {"a": [1]},
    })
}

/// Sets the member at `path` (`a/b`), or takes it away.
fn with(mut document: Value, path: &str, value: Value) -> Value {
    let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = if above.is_empty() { &mut document } else { document.pointer_mut(&format!("/{above}")).unwrap() };
    match (parent, value) {
        (Value::Object(members), Value::Null) => drop(members.remove(last)),
        (parent, value) => parent[last] = value,
    }
    document
}

#[test]
fn an_envelope_is_read() {
    let document = an_envelope();
    let read = envelope(&document).unwrap();
    assert_eq!((read.salt, &read.hardware[..]), ("kws-2026-11/1", &["cortex-m4f", "linux-arm64"][..]));
    assert_eq!((read.min_runtime, read.security_epoch, read.attempt), ((0, 3), 2, 3));
    assert_eq!(read.golden_sha256, Some([7; 32]));
    let first = 1_795_996_800;
    let limits = [
        Limit { not_before: first, max_bp: 100, max_stage: Stage::Canary },
        Limit { not_before: first + 7 * 86_400, max_bp: 10_000, max_stage: Stage::Full },
    ];
    assert_eq!(read.limits[..], limits);
    assert_eq!([first - 1, first, i64::MAX].map(|now| read.limit(now)), [None, Some(&limits[0]), Some(&limits[1])]);
    // Releases from before there were envelopes.
    for old in [json!({}), Value::Null, json!({"model": "kws", "version": "1.0.0"})] {
        assert_eq!(envelope(&old), Ok(Envelope::everybody()));
    }
    let old = json!({"attempt": 2, "security_epoch": 1});
    assert_eq!(envelope(&old), Ok(Envelope { attempt: 2, security_epoch: 1, ..Envelope::everybody() }));
}

#[test]
fn envelopes_that_are_refused() {
    let check = |path: &str, value: Value, what: &str| {
        let document = with(an_envelope(), path, value.clone());
        assert_eq!(envelope(&document), Err(what), "{path}: {value}");
    };
    for bad in [json!(""), json!("a b"), json!("é"), json!("a".repeat(65)), json!(1), Value::Null] {
        check("salt", bad, "salt");
    }
    let limit =
        |bp: Value, stage: &str| json!([{"not_before": "2026-11-30T00:00:00Z", "max_bp": bp, "max_stage": stage}]);
    let twice = json!([an_envelope()["limits"][0], an_envelope()["limits"][0]]);
    let backwards = json!([an_envelope()["limits"][1], an_envelope()["limits"][0]]);
    let many: Value = (1..18)
        .map(|day| with(an_envelope()["limits"][0].clone(), "not_before", json!(format!("2026-11-{day:02}T00:00:00Z"))))
        .collect();
    let bad =
        [limit(json!(10_001), "full"), limit(json!(-1), "full"), limit(json!("1"), "full"), limit(json!(1), "hold")];
    for bad in
        bad.into_iter().chain([limit(json!(1), "later"), twice, backwards, many, json!({}), json!([1]), Value::Null])
    {
        check("limits", bad, "limits");
    }
    for bad in [json!("x"), json!([1]), json!(["x".repeat(65)]), vec!["x"; 17].into()] {
        check("hardware", bad, "hardware");
    }
    for bad in [json!("x"), json!("0.3.1"), json!("+0.3"), json!(0.3), json!("0.65536")] {
        check("min_runtime", bad, "min_runtime");
    }
    for name in ["security_epoch", "attempt"] {
        for bad in [json!(-1), json!("1"), json!(1u64 << 32)] {
            check(name, bad, name);
        }
    }
    check("golden_sha256", json!("AB".repeat(32)), "golden_sha256");
}

#[test]
fn a_directive_is_read() {
    let document = a_directive();
    let read = directive(&document, "kws").unwrap();
    assert_eq!((read.rollout, read.candidate.number, read.candidate.sha256), ("kws-2026-11", 42, [0x2a; 32]));
    assert_eq!((read.candidate.attempt, read.baseline.unwrap().number), (2, 41));
    assert_eq!((read.exposure.stage, read.exposure.exposed_bp, read.exposure.split), (Stage::Ab, 2000, (90, 10)));
    let selectors: Vec<_> = read.selectors.iter().map(|s| (s.key, s.values.join("|"))).collect();
    let expected = [("hardware", "cortex-m4f"), ("line", "3|4"), ("runtime", ">=0.3")];
    assert_eq!(selectors, expected.map(|(key, values)| (key, values.to_owned())));
    let device = read.device;
    assert_eq!(
        (device.attempts, device.health_window_s, device.min_inferences, device.keep),
        (Some(2), Some(21_600), Some(500), Some(5))
    );
    let network = read.network;
    assert_eq!((network.poll_s, network.poll_active_s, network.apply_jitter_s), (Some(14_400), Some(900), Some(7200)));
    assert_eq!((network.metered, network.window), (Some(false), Some((1350, 300))));
    assert_eq!((read.shadow.share_bp, read.shadow.agreement_bp, read.shadow.min_compared), (500, 9000, 2000));
    let short = ["baseline", "split", "match", "device", "network", "shadow", "candidate/attempt"];
    let document = short.iter().fold(a_directive(), |document, path| with(document, path, Value::Null));
    let read = directive(&document, "kws").unwrap();
    assert_eq!(
        (read.baseline, read.exposure.split, read.selectors.len(), read.candidate.attempt),
        (None, (1, 1), 0, 1)
    );
    // A stage from the future is no fault: it keeps devices on the baseline.
    let document = with(a_directive(), "stage", json!("teleport"));
    assert_eq!(directive(&document, "kws").unwrap().exposure.stage, Stage::Unknown);
}

#[test]
fn directives_that_are_refused() {
    let check = |path: &str, value: Value, what: &str| {
        let document = with(a_directive(), path, value.clone());
        assert_eq!(directive(&document, "kws").map(|_| ()), Err(what), "{path}: {value}");
    };
    for bad in [json!(""), json!("a b"), json!("a/b"), json!("a".repeat(65)), json!(1), Value::Null] {
        check("rollout", bad, "rollout");
    }
    for bad in [json!("vww"), Value::Null] {
        check("model", bad, "model");
    }
    for bad in
        [Value::Null, json!(42), json!({}), json!({"number": 42}), json!({"number": -1, "sha256": "2a".repeat(32)})]
    {
        check("candidate", bad, "candidate");
    }
    check("candidate/sha256", json!("2A".repeat(32)), "candidate");
    check("candidate/attempt", json!("1"), "candidate");
    check("baseline", a_directive()["candidate"].clone(), "baseline");
    check("baseline", json!([]), "baseline");
    for bad in [Value::Null, json!(2), json!(["full"])] {
        check("stage", bad, "stage");
    }
    for bad in [Value::Null, json!(10_001), json!(-1), json!("1"), json!(0.5)] {
        check("exposed_bp", bad, "exposed_bp");
    }
    for bad in [json!([1]), json!([0, 0]), json!([1, 2, 3]), json!([-1, 1]), json!([65_536, 1]), json!("50:50")] {
        check("split", bad, "split");
    }
    let many: Value = (0..9).map(|n| (n.to_string(), json!(["x"]))).collect::<serde_json::Map<_, _>>().into();
    for bad in [json!([]), json!({"region": 1}), json!({"region": [1]}), json!({"region": vec!["x"; 17]}), many] {
        check("match", bad, "match");
    }
    for section in ["device", "network", "shadow"] {
        check(section, json!([]), section);
    }
    let rows = [
        ("device/attempts", json!(256)),
        ("device/health_window_s", json!("6h")),
        ("network/poll_s", json!(1u64 << 32)),
        ("network/metered", json!(0)),
        ("shadow/share_bp", json!(10_001)),
        ("shadow/agreement_bp", json!(0.9)),
    ];
    for (path, bad) in rows {
        check(path, bad, path.rsplit_once('/').unwrap().1);
    }
    for bad in ["22:30", "22:30-24:00", "22:60-05:00", "2:30-5:00", "22:30-+5:00", "22-30-05:00", "éé:30-05:00", ""] {
        check("network/window", json!(bad), "window");
    }
    for bad in [Value::Null, json!([]), json!("directive"), json!(1)] {
        assert_eq!(directive(&bad, "kws").map(|_| ()), Err("rollout"));
    }
}
