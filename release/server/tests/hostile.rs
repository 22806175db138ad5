//! Clients that mean harm, over real sockets: refused, and nobody else notices.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::time::Duration;

use fleetfoot_format::report::Arm;
use fleetfoot_server::{Config, PATIENCE, Role};
use serde_json::{Value, json};
use support::{
    HOUR, NOW, REPORT_KEY, Served, World,
    fleet::{Candidate, Fleet},
    hex,
    http::Http,
};

const POLICY: &str = "rollout: kws-2\nmodel: kws\ncandidate: 2\nbaseline: 1\nstages:\n  - canary: {percent: 10, bake: 24h}\n  \
                      - full: {ramp: [100], step: 12h}\nguardrails:\n  - {metric: error_rate, worse_by: 1%, action: rollback}\n";

#[test]
fn paths_lead_nowhere_else() {
    let world = World::new("now:100:full");
    std::fs::write(world.folder.path().join("secret"), "secret").unwrap();
    std::fs::write(world.repo().join("secret"), "secret").unwrap();
    let served = world.serve();
    for path in [
        "/metadata/../secret",
        "/metadata/../../secret",
        "/metadata/%2e%2e/secret",
        "/metadata/..%2fsecret",
        "/metadata/%2e%2e%2f%2e%2e%2fsecret",
        "/targets/..%5csecret",
        "/targets//etc/passwd",
        "/targets/%2fetc%2fpasswd",
        "/metadata/....//secret",
        "/metadata/\0",
        "/metadata/%00",
        "/repository.lock",
        "/metadata/",
        "/metadata",
        "/v1/rollouts/..%2f..%2fstatus",
        "//healthz",
        "/v1/rollouts/a/explain/b",
    ] {
        let mut http = Http::to(served.address);
        http.send(format!("GET {path} HTTP/1.1\r\nhost: s\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
        let answer = http.answer().unwrap();
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.head);
        assert!(!String::from_utf8_lossy(&answer.body).contains("secret\n"), "{path}");
    }
    assert_eq!(Http::to(served.address).ask("GET", "/metadata/1.root.json", &[], b"").unwrap().status, 200);
}

/// Method, path, token, body; status and number.
type Refused<'a> = (&'a str, &'a str, &'a str, String, u16, Option<u64>);
/// What is forged: devices of treatment and control, with which key; how it may end.
type Forged = (&'static str, u32, u32, Option<[u8; 32]>, &'static [&'static str]);

/// Every refusal is a problem of RFC 9457 with its number.
#[test]
fn who_is_not_allowed_and_what_is_not_understood() {
    let world = World::new("now:100:full");
    let served = world.serve();
    let digest = hex(&fleetfoot_trust::sha256(POLICY.as_bytes()));
    let apply = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({ "policy": POLICY, "digest": digest, "devices": 400, "reason": "so" });
        change(&mut body);
        body.to_string()
    };
    let good = apply(&|_| ());
    let (viewer, operator, approver) = (&served.viewer[..], &served.operator[..], &served.approver[..]);
    let long = "x".repeat(300 << 10);
    let rows: &[Refused<'_>] = &[
        ("GET", "/v1/rollouts", "", String::new(), 401, Some(767)),
        ("GET", "/v1/audit", "", String::new(), 401, Some(767)),
        ("GET", "/metrics", "", String::new(), 401, Some(767)),
        ("POST", "/v1/rollouts", "", good.clone(), 401, Some(767)),
        (
            "POST",
            "/v1/rollouts",
            "fft_0000000000000000000000000000000000000000000000000000000000000000",
            good.clone(),
            401,
            Some(767),
        ),
        ("POST", "/v1/rollouts", "' OR 1=1 --", good.clone(), 401, Some(767)),
        ("POST", "/v1/rollouts", viewer, good.clone(), 403, Some(768)),
        ("POST", "/v1/rollouts/kws-2/approve", operator, json!({ "digest": digest }).to_string(), 403, Some(768)),
        ("POST", "/v1/rollouts", operator, "{".into(), 400, Some(778)),
        ("POST", "/v1/rollouts", operator, "[]".into(), 400, Some(778)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["more"] = 1.into()), 400, Some(778)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["devices"] = (-1).into()), 400, Some(778)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["devices"] = 0.into()), 400, Some(778)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["digest"] = "00".repeat(32).into()), 409, Some(772)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["digest"] = digest[..8].into()), 409, Some(772)),
        ("POST", "/v1/rollouts", operator, apply(&|b| b["reason"] = Value::Null), 422, Some(773)),
        (
            "POST",
            "/v1/rollouts",
            operator,
            json!({ "policy": "a: [", "digest": "", "devices": 1 }).to_string(),
            422,
            Some(771),
        ),
        (
            "POST",
            "/v1/rollouts",
            operator,
            json!({ "policy": long, "digest": "", "devices": 1 }).to_string(),
            413,
            None,
        ),
        ("POST", "/v1/rollouts/none/hold", operator, json!({ "reason": "x" }).to_string(), 404, Some(769)),
        ("POST", "/v1/rollouts/none/hold", operator, json!({ "reason": "" }).to_string(), 400, Some(778)),
        ("POST", "/v1/rollouts/none/destroy", operator, json!({ "reason": "x" }).to_string(), 404, None),
        ("GET", "/v1/rollouts/none", viewer, String::new(), 404, Some(769)),
        ("GET", "/v1/audit?limit=x", viewer, String::new(), 400, None),
        ("GET", "/v1/wake?seen=-1", "", String::new(), 400, None),
        ("DELETE", "/v1/rollouts", operator, String::new(), 405, None),
        ("GET", "/v2/rollouts", operator, String::new(), 404, None),
        ("POST", "/v1/reports", "", String::new(), 400, Some(761)),
        ("POST", "/v1/reports", "", "x".repeat(100 << 10), 413, None),
    ];
    for (method, path, token, body, status, code) in rows {
        let bearer = format!("Bearer {token}");
        let headers: &[_] = if token.is_empty() { &[] } else { &[("authorization", bearer.as_str())] };
        let answer = Http::to(served.address).ask(method, path, headers, body.as_bytes()).unwrap();
        let said = answer.json();
        let what = format!("{method} {path} {}: {} {said}", &body[..body.len().min(80)], answer.head);
        assert_eq!(
            (answer.status, said["code"].as_u64(), said["status"].as_u64()),
            (*status, *code, Some(u64::from(*status))),
            "{what}"
        );
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
        assert_eq!(answer.header("www-authenticate").is_some(), *status == 401, "{what}");
    }
    // Nobody approves for oneself; one model has one rollout at a time; an identifier is used once.
    let asked: Value = serde_json::from_str(&good).unwrap();
    assert_eq!(served.post("/v1/rollouts", approver, &asked).0, 200);
    let whole = served.rollout("kws-2")["approval_digest"].clone();
    for part in [&digest[..], &whole.as_str().unwrap()[..16], ""] {
        let half = served.post("/v1/rollouts/kws-2/approve", approver, &json!({ "digest": part }));
        assert_eq!((half.0, &half.1["code"]), (409, &json!(772)), "{part}");
    }
    let own = served.post("/v1/rollouts/kws-2/approve", approver, &json!({ "digest": whole }));
    assert_eq!((own.0, &own.1["code"]), (403, &json!(777)));
    assert_eq!(served.post("/v1/rollouts", operator, &asked).1["code"], 774);
    assert_eq!(
        served.post("/v1/rollouts/kws-2/abort", operator, &json!({ "reason": "a mistake" })).1["state"],
        "aborted"
    );
    assert_eq!(served.post("/v1/rollouts", operator, &asked).1["code"], 774);
    // What was never told of cannot be taken back.
    let back = served.post("/v1/rollouts/kws-2/rollback", operator, &json!({ "reason": "x" }));
    assert_eq!((back.0, &back.1["code"]), (409, &json!(770)), "{}", back.1);
    for name in ["gates", "shell", "anybody"] {
        assert!(served.store.new_token(name, Role::Viewer, NOW).is_err(), "{name}");
    }
    served.store.revoke_token("otto", NOW).unwrap();
    assert_eq!(served.post("/v1/rollouts", operator, &asked).0, 401);
    // Without keys a server signs nothing.
    let dumb = world.serve_with(Config { keys: None, ..world.config() });
    let other = POLICY.replace("kws-2\n", "kws-3\n");
    let digest = hex(&fleetfoot_trust::sha256(other.as_bytes()));
    let asked = json!({ "policy": other, "digest": digest, "devices": 400, "reason": "so" });
    assert_eq!(dumb.post("/v1/rollouts", &dumb.operator, &asked).1["code"], 775);
    // A metric that no report carries.
    let other = other.replace("error_rate, worse_by: 1%", "joy, drop: 5%");
    let asked = json!({ "policy": other, "digest": hex(&fleetfoot_trust::sha256(other.as_bytes())), "devices": 400, "reason": "so" });
    let served = world.serve();
    assert_eq!(served.post("/v1/rollouts", &served.operator, &asked).1["code"], 776);
}

/// Half a head, half a body, nothing at all: each holds its place for a while and then goes; others are served meanwhile.
#[test]
fn slow_senders_are_given_up() {
    assert!(PATIENCE >= Duration::from_secs(10));
    let world = World::new("now:100:full");
    let served = world.serve_with(Config { patience: Duration::from_millis(500), ..world.config() });
    let starts: [&[u8]; 4] = [
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nhost: s\r\nx-a: ",
        b"POST /v1/reports HTTP/1.1\r\nhost: s\r\ncontent-length: 1000\r\n\r\nFFHR",
    ];
    let mut slow: Vec<Http> = (0..200)
        .map(|n| {
            let mut http = Http::to(served.address);
            http.send(starts[n % 4]).unwrap();
            http
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(Http::to(served.address).ask("GET", "/healthz", &[], b"").unwrap().status, 200);
    }
    for http in &mut slow {
        // 408, or closed without a word; the read itself gives up after a minute, and then there is no answer either.
        let answer = http.answer();
        assert!(answer.is_none_or(|answer| answer.status == 408));
        let _ = http.send(b"x");
    }
    // Endless heads are not read to their end.
    let mut http = Http::to(served.address);
    let _ = http.send(b"GET / HTTP/1.1\r\n");
    for _ in 0..64 {
        let _ = http.send(format!("x-a: {}\r\n", "a".repeat(1000)).as_bytes());
    }
    assert!(http.answer().is_none_or(|answer| answer.status == 431));
    assert_eq!(Http::to(served.address).ask("GET", "/healthz", &[], b"").unwrap().status, 200);
}

/// Who asks for much and reads nothing does not keep its place.
#[test]
fn readers_that_never_read_are_given_up() {
    let world = World::new("now:100:full");
    std::fs::File::create(world.repo().join("targets/large")).unwrap().set_len(256 << 20).unwrap();
    let served = world.serve_with(Config { patience: Duration::from_millis(500), ..world.config() });
    let mut http = Http::to(served.address);
    http.send(b"GET /targets/large HTTP/1.1\r\nhost: s\r\n\r\n").unwrap();
    // The end is seen by what cannot be sent any more; a minute is for slow machines.
    let given_up = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(100));
        http.send(b"x").is_err()
    });
    assert!(given_up);
}

/// A candidate that fails six times of a hundred, and somebody who forges: it is never promoted.
#[test]
fn forged_reports_cannot_promote() {
    // How many devices are made up for the two arms, with which key, and how it has to end.
    let rows: [Forged; 5] = [
        ("nobody forges", 0, 0, Some(REPORT_KEY), &["rolled_back"]),
        ("without the key", 2_000, 2_000, None, &["rolled_back"]),
        ("one arm is drowned", 4_000, 0, Some(REPORT_KEY), &["held", "rolled_back"]),
        ("both arms are drowned", 4_000, 4_000, Some(REPORT_KEY), &["held", "rolled_back"]),
        ("as many as are not noticed", 20, 20, Some(REPORT_KEY), &["rolled_back"]),
    ];
    for (what, treatment, control, key, ends) in rows {
        let world = World::new("now:100:full");
        let served = world.serve();
        served.apply(POLICY, 400);
        let mut fleet = Fleet::new(served.address, 400);
        let told = fleet.told(NOW);
        fleet.follow(&told);
        let day = u32::try_from(NOW / 86_400).unwrap();
        fleet.report(&told, day, 0, Candidate { errors: 60, ..Candidate::default() });
        for (arm, n) in [(Arm::Treatment, treatment), (Arm::Control, control)] {
            let (status, answer) = fleet.forge(&told, day, arm, n, key);
            assert_eq!(status, 200);
            assert!(n == 0 || key.is_some() || answer["added"] == 0, "{what}: {answer}");
        }
        world.clock.pass(24 * HOUR);
        served.gates.tick();
        let shown = served.rollout("kws-2");
        assert!(ends.contains(&shown["state"].as_str().unwrap()), "{what}: {shown}");
        println!("{what}: {} because {}", shown["state"], shown["reason"]);
        if treatment >= 4_000 {
            let (_, explained) = served.get("/v1/rollouts/kws-2/explain", &served.viewer);
            let findings = explained["steps"][0]["looks"][0]["findings"].as_array().unwrap().clone();
            let share = findings.iter().find(|finding| finding["what"] == "expected_share").unwrap();
            assert_eq!(share["outcome"], "hold", "{what}: {share}");
        }
        replayed(&served, &mut fleet, day);
    }
}

/// The same reports once more change nothing.
fn replayed(served: &Served, fleet: &mut Fleet, day: u32) {
    let sums = || served.get("/v1/reports", "").1["groups"].clone();
    let before = sums();
    let told = fleet.told(NOW + 24 * HOUR);
    fleet.report(&told, day, 0, Candidate { errors: 60, ..Candidate::default() });
    assert_eq!(sums(), before);
}
