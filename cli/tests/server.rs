//! The release server as people use it: tokens, a rollout that is planned, applied, approved, held, resumed and ended, and the audit log.

mod support;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use support::{Ran, World};

const ONLINE: [&str; 4] = ["--snapshot-key", "keys/snapshot.key", "--timestamp-key", "keys/timestamp.key"];
const POLICY: &str = "rollout: digits-2026-12\nmodel: digits\ncandidate: 2\nbaseline: 1\nstages:\n  - canary: {percent: 1, bake: 24h}\n  \
                      - full: {ramp: [50, 100], step: 12h}\n";

struct Server {
    child: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(world: &World) -> Server {
    let args = ["--json", "serve", "--repo", "repo", "--listen", "127.0.0.1:0", "--db", "sqlite:server.sqlite"];
    let args = [&args[..], &["--rollout-key", "keys/rollout.key"], &ONLINE].concat();
    let mut child = world.command().args(args).stdout(Stdio::piped()).spawn().expect("the program runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    Server { child, url: said["url"].as_str().expect("a URL").to_owned() }
}

#[test]
fn a_rollout_by_two_people() {
    let world = World::published();
    world.run(&["keys", "new", "--plain", "--role", "rollout", "--out", "keys"]).ok();
    let add = ["repo", "add", "--repo", "repo", "--model", "digits", "--targets-key", "keys/targets.key"];
    world.run(&[&add[..], &["--rollout-key", "keys/rollout.pub"], &ONLINE].concat()).ok();
    world.pack(2, "digits_v2").ok();
    world.publish(2, &["--salt", "digits-2/1"]).ok();
    let token = |name: &str, role: &str| {
        let new = ["--json", "token", "new", "--db", "sqlite:server.sqlite", "--role", role, "--name", name];
        world.run(&new).ok().json()["token"].as_str().expect("a token").to_owned()
    };
    let (otto, anna) = (token("otto", "operator"), token("anna", "approver"));
    assert_eq!(world.run(&["token", "new", "--db", "server.sqlite", "--role", "viewer", "--name", "otto"]).code, 2);
    let server = serve(&world);
    fs::write(world.path("rollout.yaml"), POLICY).expect("written");
    let planned = world.run(&["--json", "rollout", "plan", "rollout.yaml", "--devices", "20000"]).ok().json();
    let digest = planned["digest"].as_str().expect("a digest").to_owned();
    let as_who = |who: &str, args: &[&str]| -> Ran {
        world.run(&[&["--json", "rollout"], args, &["--server", &server.url, "--token", who]].concat())
    };
    let apply = ["apply", "-f", "rollout.yaml", "--devices", "20000", "--digest"];
    assert_eq!(as_who(&otto, &[&apply[..], &["0000000000000000"]].concat()).code, 5);
    assert_eq!(as_who("fft_nobody", &[&apply[..], &[&digest]].concat()).code, 3);
    let applied = as_who(&otto, &[&apply[..], &[&digest]].concat()).ok().json();
    assert_eq!((&applied["state"], &applied["approvals_needed"]), (&"waiting".into(), &1.into()));
    let id = "digits-2026-12";
    // The digest of the policy alone is not enough: devices and reason are approved as well.
    assert_eq!(as_who(&anna, &["approve", id, "--digest", &digest]).code, 5);
    let whole = applied["approval_digest"].as_str().expect("a digest");
    let approve = ["approve", id, "--digest", whole];
    let refused = as_who(&otto, &approve);
    assert_eq!((refused.code, refused.json()["error"]["code"].as_u64()), (3, Some(768)));
    let begun = as_who(&anna, &approve).ok().json();
    assert_eq!((&begun["state"], &begun["signed"]), (&"running".into(), &true.into()));
    let directive = || {
        let shown = world.run(&["--json", "rollout", "show", "--repo", "repo", "--model", "digits"]).ok().json();
        shown["directive"]["stage"].as_str().expect("a stage").to_owned()
    };
    assert_eq!(directive(), "canary");
    let because = ["--reason", "a test"];
    assert_eq!(as_who(&otto, &["hold", id]).code, 2, "without a reason");
    for (action, state, stage) in [
        ("hold", "held", "hold"),
        ("resume", "running", "canary"),
        ("promote", "running", "full"),
        ("rollback", "reverted", "revert"),
    ] {
        let done = as_who(&otto, &[&[action, id][..], &because].concat()).ok().json();
        assert_eq!((done["state"].as_str(), directive().as_str()), (Some(state), stage), "{action}");
    }
    assert_eq!(as_who(&otto, &[&["promote", id][..], &because].concat()).code, 2, "it is over");
    let people = world.run(&["rollout", "status", id, "--watch", "--server", &server.url, "--token", &otto]).ok();
    assert!(people.stdout.contains("digits-2026-12 of digits: release 2 over 1, reverted"), "{}", people.stdout);
    let explained = as_who(&otto, &["explain", id]).ok().json();
    assert_eq!(explained["steps"].as_array().map(Vec::len), Some(3));
    assert_eq!(as_who(&otto, &["status"]).ok().json()["rollouts"].as_array().map(Vec::len), Some(1));
    drop(server);
    let verified = world.run(&["--json", "audit", "verify", "--db", "sqlite:server.sqlite"]).ok().json();
    // Two tokens; applied, approved, begun; four times taken over.
    assert_eq!(verified["row"], 9);
    let head = format!("9:{}", verified["hash"].as_str().expect("a hash"));
    world.run(&["audit", "verify", "--db", "server.sqlite", "--head", &head]).ok();
    let wrong = format!("9:{}", "0".repeat(64));
    assert_eq!(world.run(&["audit", "verify", "--db", "server.sqlite", "--head", &wrong]).code, 3);
    assert_eq!(world.run(&["audit", "verify", "--db", "nothing.sqlite"]).code, 2);
    // Nobody is there any more.
    assert_eq!(world.run(&["rollout", "status", "--server", "http://127.0.0.1:9", "--token", "x"]).code, 6);
    let described = world.run(&["openapi"]).ok().json();
    assert!(described["paths"]["/v1/rollouts"]["post"].is_object());
}
