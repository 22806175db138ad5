//! From a policy to what devices follow: lint, plan, apply; and what is refused on the way.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::fs;

use support::World;

const POLICY: &str = "\
rollout: digits-1
model: digits
candidate: 2
baseline: 1
stages:
  - canary: {percent: 5, bake: 24h}
  - full:   {ramp: [50, 100], step: 12h}
guardrails:
  - {metric: latency_ms, ratio: 2.0, action: rollback}
device: {attempts: 2, min_inferences: 10}
network: {poll: 4h, window: \"01:00-05:00\"}
";

#[test]
fn a_policy_is_checked_planned_and_simulated() {
    let world = World::new();
    let (file, path) = (world.path("r.yaml"), "r.yaml");
    fs::write(&file, POLICY).unwrap();
    let lint = world.run(&["--json", "rollout", "lint", path, "--devices", "2000"]).ok().json();
    let plan =
        world.run(&["--json", "rollout", "plan", path, "--devices", "2000", "--bundle-bytes", "1000"]).ok().json();
    assert_eq!(lint["digest"], plan["digest"]);
    assert_eq!((&plan["stages"][0]["exposed_devices"], &plan["stages"][0]["bytes"]), (&100.into(), &100_000.into()));
    let text = world.run(&["rollout", "lint", path, "--devices", "2000"]).ok().stdout;
    assert!(text.contains("canary 5% = 100 devices"), "{text}");

    let fault =
        ["--json", "simulate", "-f", path, "--devices", "2000", "--fault", "error_rate=0.05@0", "--chart", "c.svg"];
    let run = world.run(&fault).ok().json();
    assert_eq!(run["outcome"], "rolled_back", "{run}");
    assert!(run["exposed_devices"].as_u64().unwrap() < 140, "{run}");
    assert!(run["reason"].as_str().unwrap().contains("error_rate"), "{run}");
    assert!(fs::read_to_string(world.path("c.svg")).unwrap().starts_with("<svg"));
    assert_eq!(run, world.run(&fault).ok().json(), "the same seed is the same run");
    let run = world.run(&["--json", "simulate", "-f", path, "--devices", "2000"]).ok().json();
    assert_eq!((&run["outcome"], &run["exposed_devices"]), (&"full".into(), &2000.into()));
}

#[test]
fn bad_input_is_refused_with_a_way_out() {
    let world = World::new();
    for (policy, args, code, word) in [
        (POLICY.replace("percent: 5", "percent: five"), vec!["rollout", "lint", "r.yaml"], 2, "line 6, column 23"),
        (
            POLICY.replace("poll:", "pol:"),
            vec!["rollout", "plan", "r.yaml", "--devices", "5"],
            2,
            "did you mean `poll`?",
        ),
        (POLICY.into(), vec!["rollout", "lint", "none.yaml"], 2, "none.yaml"),
        (POLICY.into(), vec!["simulate", "-f", "r.yaml", "--fault", "error_rate"], 2, "KIND=VALUE@DAY"),
        (POLICY.into(), vec!["simulate", "-f", "r.yaml", "--inferences", "0"], 2, "above 0"),
        (POLICY.into(), vec!["policy", "show", "netflx"], 2, "one of netflix"),
    ] {
        fs::write(world.path("r.yaml"), policy).unwrap();
        let ran = world.run(&args);
        assert_eq!(ran.code, code, "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(word), "{args:?}: {}", ran.stderr);
    }
}

const ONLINE: [&str; 6] =
    ["--key", "keys/rollout.key", "--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];

/// What is applied is what was planned, stage by stage, and it is what devices read.
#[test]
fn a_planned_policy_is_applied() {
    let world = World::published();
    world.run(&["keys", "new", "--plain", "--role", "rollout", "--out", "keys"]).ok();
    let add = ["repo", "add", "--repo", "repo", "--model", "digits", "--targets-key", "keys/targets.key"];
    world.run(&[&add[..], &["--rollout-key", "keys/rollout.pub"], &ONLINE[2..]].concat()).ok();
    world.pack(2, "digits_v2").ok();
    world.publish(2, &[]).ok();
    fs::write(world.path("r.yaml"), POLICY).unwrap();
    let digest = world.run(&["--json", "rollout", "plan", "r.yaml", "--devices", "2000"]).ok().json()["digest"].clone();
    let digest = digest.as_str().unwrap();
    let apply = |model: &str, digest: &str, more: &[&str]| {
        let args =
            ["--json", "rollout", "apply", "-f", "r.yaml", "--digest", digest, "--repo", "repo", "--model", model];
        world.run(&[&args[..], &ONLINE, more].concat())
    };
    let other = "0".repeat(64);
    for (ran, code, word) in [
        (apply("digits", &other, &[]), 5, "not the one that was planned"),
        (apply("digits", "", &[]), 5, "not the one that was planned"),
        (apply("other", digest, &[]), 2, "the policy is for digits"),
        (apply("digits", digest, &["--stage", "3"]), 2, "stage 3 of 2"),
        (apply("digits", digest, &["--stage", "2", "--step", "0"]), 2, "step 0 of 2"),
    ] {
        assert_eq!(ran.code, code, "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(word), "{word}: {}", ran.stderr);
    }
    let said = apply("digits", digest, &[]).ok().json()["directive"].clone();
    assert_eq!(
        (&said["stage"], &said["exposed_bp"], &said["candidate"]["number"]),
        (&"canary".into(), &500.into(), &2.into())
    );
    assert_eq!((&said["device"]["min_inferences"], &said["network"]["window"]), (&10.into(), &"01:00-05:00".into()));
    let said = apply("digits", digest, &["--stage", "2", "--step", "2"]).ok().json()["directive"].clone();
    assert_eq!((&said["stage"], &said["exposed_bp"]), (&"full".into(), &10_000.into()));
    let show = world.run(&["--json", "rollout", "show", "--repo", "repo", "--model", "digits"]).ok().json();
    assert_eq!(show["directive"], said);

    // More than 5% at once, as the first thing of a rollout, needs a reason, also where a later stage is applied first.
    fs::write(world.path("r.yaml"), POLICY.replace("digits-1", "digits-b").replace("percent: 5", "percent: 6"))
        .unwrap();
    let digest = world.run(&["--json", "rollout", "lint", "r.yaml"]).ok().json()["digest"].clone();
    let ran = apply("digits", digest.as_str().unwrap(), &[]);
    assert!(ran.code == 5 && ran.stderr.contains("6% of the devices at once"), "{}", ran.stderr);
    let ran = apply("digits", digest.as_str().unwrap(), &["--stage", "2", "--step", "2"]);
    assert!(ran.code == 5 && ran.stderr.contains("100% of the devices at once"), "{}", ran.stderr);
    apply("digits", digest.as_str().unwrap(), &["--reason", "a fix that everybody waits for"]).ok();
}
