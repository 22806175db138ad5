//! Whole rollouts over real sockets: a policy is applied and approved, devices follow what is signed and report, the gates decide.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_update::Stage;
use serde_json::{Value, json};
use support::{
    HOUR, NOW, Served, World,
    fleet::{Candidate, Fleet},
};

const DEVICES: usize = 400;

fn policy(id: &str, stages: &str) -> String {
    format!(
        "rollout: {id}\nmodel: kws\ncandidate: 2\nbaseline: 1\nstages:\n{stages}guardrails:\n  \
         - {{metric: error_rate, worse_by: 1%, action: rollback, look: 6h}}\n  - {{metric: latency_ms, ratio: 2.0, action: hold, look: 6h}}\n"
    )
}

const LADDER: &str = "  - canary: {percent: 10, bake: 24h}\n  - full: {ramp: [50, 100], step: 12h}\n";

/// Six hours of the fleet, and a look: the state afterwards.
fn six_hours(world: &World, served: &Served, fleet: &mut Fleet, id: &str, step: i64, candidate: Candidate) -> Value {
    let now = NOW + step * 6 * HOUR;
    let told = fleet.told(now);
    fleet.follow(&told);
    let day = u32::try_from(now / 86_400).unwrap();
    fleet.report(&told, day, u8::try_from(step % 4).unwrap(), candidate);
    world.clock.pass(6 * HOUR);
    served.gates.tick();
    served.rollout(id)
}

#[test]
fn a_good_candidate_reaches_everybody_by_itself() {
    let world = World::new("now:100:full");
    let served = world.serve();
    served.apply(&policy("good", LADDER), DEVICES);
    let mut fleet = Fleet::new(served.address, DEVICES);
    let mut ladder = Vec::new();
    for step in 0..8 {
        let shown = six_hours(&world, &served, &mut fleet, "good", step, Candidate::default());
        ladder.push((shown["stage"].as_u64().unwrap(), fleet.with_candidate(), shown["state"].clone()));
    }
    let exposed: Vec<usize> = ladder.iter().map(|(_, exposed, _)| *exposed).collect();
    assert!((25..60).contains(&exposed[0]) && exposed[..4].iter().all(|n| *n == exposed[0]), "{ladder:?}");
    assert!((150..250).contains(&exposed[4]) && exposed[5] == exposed[4], "{ladder:?}");
    assert_eq!((exposed[6], exposed[7]), (DEVICES, DEVICES), "{ladder:?}");
    let stages: Vec<u64> = ladder.iter().map(|(stage, ..)| *stage).collect();
    assert_eq!(stages, [1, 1, 1, 2, 2, 3, 3, 3]);
    assert_eq!(ladder[7].2, "full");

    let (_, explained) = served.get("/v1/rollouts/good/explain", &served.viewer);
    let steps = explained["steps"].as_array().unwrap();
    assert_eq!(steps.iter().map(|step| step["looks"].as_array().unwrap().len()).collect::<Vec<_>>(), [4, 2, 2]);
    for look in steps.iter().flat_map(|step| step["looks"].as_array().unwrap()) {
        assert_eq!(look["repeats"], true, "{look}");
    }
    let error_rate =
        |look: &Value| look["metrics"].as_array().unwrap().iter().find(|m| m["metric"] == "error_rate").cloned();
    let last = error_rate(&steps[0]["looks"][3]).unwrap();
    assert!(last["n"]["treatment"].as_u64().unwrap() >= 25 && last["treatment"].as_f64().unwrap() < 0.02, "{last}");
    // The log has every step, and holds.
    let (_, log) = served.get("/v1/audit?limit=1000", &served.viewer);
    let done = |row: &Value| (row["who"].as_str().unwrap().to_owned(), row["action"].as_str().unwrap().to_owned());
    let rows: Vec<_> =
        log["rows"].as_array().unwrap().iter().filter(|row| row["subject"] == "good").map(done).collect();
    let expected = [
        ("otto", "apply"),
        ("anna", "approve"),
        ("anna", "begin"),
        ("gates", "promote"),
        ("gates", "promote"),
        ("gates", "promote"),
    ];
    assert_eq!(rows, expected.map(|(who, action)| (who.to_owned(), action.to_owned())));
    assert_eq!(served.store.verify_audit(None).unwrap().row, log["head"]["row"].as_u64().unwrap());
    // A person can still send everybody back.
    let (status, back) =
        served.post("/v1/rollouts/good/rollback", &served.operator, &json!({ "reason": "a customer called" }));
    assert_eq!((status, &back["state"], &back["signed"]), (200, &json!("reverted"), &json!(true)), "{back}");
    let told = fleet.told(NOW + 48 * HOUR);
    assert_eq!(told.exposure.stage, Stage::Revert);
    fleet.follow(&told);
    assert_eq!(fleet.with_candidate(), 0);
}

#[test]
fn a_planted_fault_is_rolled_back_with_its_numbers() {
    let world = World::new("now:100:full");
    let served = world.serve();
    served.apply(&policy("bad", LADDER), DEVICES);
    let mut fleet = Fleet::new(served.address, DEVICES);
    let bad = Candidate { errors: 60, ..Candidate::default() };
    let shown = six_hours(&world, &served, &mut fleet, "bad", 0, bad);
    let exposed = fleet.with_candidate();
    assert!((25..60).contains(&exposed), "{exposed}");
    assert_eq!(shown["state"], "rolled_back", "{shown}");
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.starts_with("error_rate 0.0") && reason.contains("standard errors, the boundary is"), "{reason}");
    let (_, explained) = served.get("/v1/rollouts/bad/explain", &served.viewer);
    let finding = &explained["steps"][0]["looks"][0]["findings"][0];
    assert_eq!((&finding["what"], &finding["outcome"]), (&json!("error_rate"), &json!("roll_back")), "{explained}");
    assert!(finding["z"].as_f64().unwrap() > finding["bound"].as_f64().unwrap());
    let told = fleet.told(NOW + 6 * HOUR);
    assert_eq!(told.exposure.stage, Stage::Abort);
    fleet.follow(&told);
    assert_eq!(fleet.with_candidate(), 0);
}

#[test]
fn what_holds_and_what_a_person_can_do_then() {
    let rows = [
        ("slow", Candidate { slower: 4.0, ..Candidate::default() }, "latency_ms"),
        ("mute", Candidate { mute: 90, ..Candidate::default() }, "sample ratio"),
    ];
    for (id, candidate, what) in rows {
        let world = World::new("now:100:full");
        let served = world.serve();
        served.apply(&policy(id, LADDER), DEVICES);
        let mut fleet = Fleet::new(served.address, DEVICES);
        let mut shown = Value::Null;
        for step in 0..4 {
            shown = six_hours(&world, &served, &mut fleet, id, step, candidate);
            if shown["state"] != "running" {
                break;
            }
        }
        assert_eq!(shown["state"], "held", "{id}: {shown}");
        assert!(shown["reason"].as_str().unwrap().contains(what), "{id}: {shown}");
        let before = fleet.with_candidate();
        let told = fleet.told(NOW);
        assert_eq!(told.exposure.stage, Stage::Hold);
        fleet.follow(&told);
        assert_eq!(fleet.with_candidate(), before, "who has it keeps it");
        let act = |action: &str| {
            served.post(&format!("/v1/rollouts/{id}/{action}"), &served.operator, &json!({ "reason": "looked" }))
        };
        let (status, resumed) = act("resume");
        assert_eq!((status, &resumed["state"], &resumed["stage"]), (200, &json!("running"), &json!(1)));
        assert_eq!(act("resume").0, 409);
        assert_eq!(act("promote").1["stage"], 2);
        assert_eq!(act("abort").1["state"], "aborted");
        assert_eq!(act("promote").0, 409);
    }
}

#[test]
fn nobody_reports_and_the_envelope_says_no() {
    // Nobody reports: no data is no pass.
    let world = World::new("now:10:canary");
    let served = world.serve();
    served.apply(&policy("quiet", LADDER), DEVICES);
    world.clock.pass(24 * HOUR);
    served.gates.tick();
    let shown = served.rollout("quiet");
    assert_eq!(shown["state"], "held", "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("no data is no pass"), "{shown}");
    // A person promotes, but the release keys allow a canary of 10% only: nothing is signed, devices keep what they were told.
    let (_, promoted) =
        served.post("/v1/rollouts/quiet/promote", &served.operator, &json!({ "reason": "I know better" }));
    assert_eq!(promoted["state"], "held", "{promoted}");
    assert!(promoted["reason"].as_str().unwrap().contains("[750]"), "{promoted}");
    assert_eq!(Fleet::new(served.address, 1).told(NOW + 25 * HOUR).exposure.stage, Stage::Hold);
}

/// A comparison by what people do: a better candidate wins, an equal one is not worth a change.
#[test]
fn an_ab_stage_has_three_ends() {
    let ab = "  - ab: {percent: 100, split: [50, 50], max: 4d, metric: click_rate, minimum_effect: 1%}\n  - full: {ramp: [100], step: 6h}\n";
    for (id, clicks, end) in [("better", 26, "full"), ("equal", 20, "kept"), ("worse", 14, "rolled_back")] {
        let world = World::new("now:100:full");
        let served = world.serve();
        served.apply(&policy(id, ab), DEVICES);
        let mut fleet = Fleet::new(served.address, DEVICES);
        let mut shown = Value::Null;
        for step in 0..18 {
            shown = six_hours(&world, &served, &mut fleet, id, step, Candidate { clicks, ..Candidate::default() });
            if shown["state"] != "running" {
                break;
            }
        }
        assert_eq!(shown["state"], end, "{id}: {shown}");
    }
}

/// The process ends between two looks: nothing is counted twice and the rollout goes on.
#[test]
fn a_restart_loses_nothing() {
    let world = World::new("now:100:full");
    let mut served = world.serve();
    served.apply(&policy("again", LADDER), DEVICES);
    let mut fleet = Fleet::new(served.address, DEVICES);
    for step in 0..8 {
        let told = fleet.told(NOW + step * 6 * HOUR);
        fleet.follow(&told);
        let (day, part) = (u32::try_from((NOW + step * 6 * HOUR) / 86_400).unwrap(), u8::try_from(step % 4).unwrap());
        let n = fleet.report(&told, day, part, Candidate::default());
        assert_eq!(n, DEVICES);
        let sums = |served: &Served| served.get("/v1/reports", "").1;
        let before = sums(&served);
        // Another server on the same database: the first has nothing more to say.
        served = world.serve();
        fleet.reconnect(served.address);
        fleet.report(&told, day, part, Candidate::default());
        let after = sums(&served);
        assert_eq!((&after["groups"], &after["duplicates"]), (&before["groups"], &json!(n)), "step {step}");
        world.clock.pass(6 * HOUR);
        served.gates.tick();
    }
    assert_eq!(served.rollout("again")["state"], "full");
}

/// A rollout that waits, or that nobody was ever told of, is not in the way of taking back the one that is in force.
#[test]
fn what_was_never_told_is_not_in_the_way() {
    let world = World::new("now:100:full");
    let served = world.serve();
    let because = json!({ "reason": "a test" });
    let act = |id: &str, action: &str| served.post(&format!("/v1/rollouts/{id}/{action}"), &served.operator, &because);
    served.apply(&policy("first", LADDER), DEVICES);
    for _ in 0..3 {
        act("first", "promote");
    }
    assert_eq!(served.rollout("first")["state"], "full");
    world.clock.pass(HOUR);
    let second = policy("second", LADDER);
    let digest = support::hex(&fleetfoot_trust::sha256(second.as_bytes()));
    let asked = json!({ "policy": second, "digest": digest, "devices": DEVICES, "reason": "a test" });
    assert_eq!(served.post("/v1/rollouts", &served.operator, &asked).1["state"], "waiting");
    assert_eq!(act("second", "abort").1["state"], "aborted");
    let (status, said) = act("second", "rollback");
    assert_eq!((status, &said["code"]), (409, &json!(770)), "{said}");
    let (status, back) = act("first", "rollback");
    assert_eq!((status, &back["state"], &back["signed"]), (200, &json!("reverted"), &json!(true)), "{back}");
    assert_eq!(Fleet::new(served.address, 1).told(NOW + HOUR).exposure.stage, Stage::Revert);
}

/// A promotion that cannot be signed for a day: its stage lasts from when it was.
#[test]
fn a_stage_lasts_from_its_signature() {
    let world = World::new("now:100:full");
    let served = world.serve();
    served.apply(&policy("late", LADDER), DEVICES);
    let metadata = world.repo().join("metadata");
    let away = world.folder.path().join("away");
    std::fs::rename(&metadata, &away).unwrap();
    let because = json!({ "reason": "a test" });
    let (_, shown) = served.post("/v1/rollouts/late/promote", &served.operator, &because);
    assert_eq!((&shown["stage"], &shown["signed"]), (&json!(2), &json!(false)), "{shown}");
    world.clock.pass(20 * HOUR);
    std::fs::rename(&away, &metadata).unwrap();
    served.gates.tick();
    served.gates.tick();
    let shown = served.rollout("late");
    assert_eq!((&shown["state"], &shown["stage"], &shown["signed"]), (&json!("running"), &json!(2), &json!(true)));
    assert_eq!(shown["begun_s"], NOW + 20 * HOUR, "{shown}");
    let (_, explained) = served.get("/v1/rollouts/late/explain", &served.viewer);
    assert_eq!(explained["steps"][1]["begun_s"], NOW + 20 * HOUR);
}

/// The gates may promote further than the release keys allow: nobody new gets the candidate then.
#[test]
fn what_the_envelope_refuses_is_a_signed_hold() {
    let world = World::new("now:10:canary");
    let served = world.serve();
    served.apply(&policy("far", LADDER), DEVICES);
    let mut fleet = Fleet::new(served.address, DEVICES);
    let mut shown = Value::Null;
    for step in 0..4 {
        shown = six_hours(&world, &served, &mut fleet, "far", step, Candidate::default());
    }
    assert_eq!((&shown["state"], &shown["signed"]), (&json!("held"), &json!(true)), "{shown}");
    assert!(shown["reason"].as_str().unwrap().contains("[750]"), "{shown}");
    assert_eq!(fleet.told(NOW + 24 * HOUR).exposure.stage, Stage::Hold);
}

/// Somebody sets the clock, or the server did not run: a person looks first.
#[test]
fn a_clock_that_jumps_holds() {
    for (jump, restart, text) in [
        (40 * 24 * HOUR, false, "since the gates last looked"),
        (30 * HOUR, true, "since the gates last looked"),
        (-HOUR, false, "before the stage began"),
    ] {
        let world = World::new("now:100:full");
        let mut served = world.serve();
        served.apply(&policy("jump", LADDER), DEVICES);
        served.gates.tick();
        assert_eq!(served.rollout("jump")["state"], "running");
        world.clock.pass(jump);
        if restart {
            served = world.serve();
        }
        served.gates.tick();
        let shown = served.rollout("jump");
        assert_eq!(shown["state"], "held", "{jump}: {shown}");
        assert!(shown["reason"].as_str().unwrap().contains(text), "{jump}: {shown}");
        // The clock is right again: it goes on when a person says so.
        world.clock.pass(-jump);
        served.gates.tick();
        let (_, resumed) = served.post("/v1/rollouts/jump/resume", &served.operator, &json!({ "reason": "looked" }));
        assert_eq!(resumed["state"], "running", "{resumed}");
        served.gates.tick();
        assert_eq!(served.rollout("jump")["state"], "running", "{jump}");
    }
}

/// A server that was just started signs a timestamp that is old already, and only once.
#[test]
fn a_start_signs_an_old_timestamp() {
    let world = World::new("now:100:full");
    world.clock.pass(7 * HOUR);
    let served = world.serve();
    let before = version(&world);
    for _ in 0..3 {
        served.gates.tick();
    }
    assert_eq!(version(&world), before + 1);
}

/// The key of a rollout role is elsewhere: the timestamp is signed as often as ever, not every second.
#[test]
fn a_role_that_cannot_be_renewed_is_not_tried_every_second() {
    let world = World::new("now:100:full");
    world.serve().apply(&policy("other", LADDER), DEVICES);
    world.clock.pass(7 * HOUR);
    let mut config = world.config();
    let keys = config.keys.as_mut().unwrap();
    keys.rollout = vec![fleetfoot_trust::SigningKey::from_seed(&[66; 32])];
    // So that the role is due.
    keys.expiry.snapshot *= 4;
    let served = world.serve_with(config);
    let before = version(&world);
    for _ in 0..3 {
        served.gates.tick();
    }
    assert_eq!(version(&world), before + 1);
}

/// Of the timestamp.
fn version(world: &World) -> u64 {
    let bytes = std::fs::read(world.repo().join("metadata/timestamp.json")).unwrap();
    serde_json::from_slice::<Value>(&bytes).unwrap()["signed"]["version"].as_u64().unwrap()
}
