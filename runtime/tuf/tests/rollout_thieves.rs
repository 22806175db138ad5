//! What somebody can do who has stolen the key of a rollout role: choose among the releases inside their envelopes, and halt. Not more, also
//! together with both other online keys. `docs/security.md` has the table.
//!
//! The fleet is a thousand devices. A release is allowed to 5 % of them as a canary, from tomorrow on to 20 %, and to everybody in a week.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::collections::BTreeSet;

use fleetfoot_tuf::{Action, Client, Stored, Target, TufError, json, rollout};
use fleetfoot_update::{
    Arm, Decision, Why,
    cohort::{bucket, rollout_key},
    decide,
    directive::Device,
    record::{Enrolment, Reason, Record, Rejected, Version},
};
use serde_json::{Value, json};
use support::{CURRENT, DAY, NOW, PATH, ROLE, ROLLOUT, Repo, time_text};

const SALT: &str = "kws-2026-11/1";

/// The releases: one in its envelope.
fn released(signed: &mut Value) {
    signed["targets"][PATH]["custom"] = json!({
        "model": "kws", "number": 12, "salt": SALT, "attempt": 1, "security_epoch": 2,
        "limits": [
            {"not_before": time_text(NOW - DAY), "max_bp": 500, "max_stage": "canary"},
            {"not_before": time_text(NOW + DAY), "max_bp": 2000, "max_stage": "ab"},
            {"not_before": time_text(NOW + 7 * DAY), "max_bp": 10_000, "max_stage": "full"},
        ],
    });
}

fn directive(stage: &str, exposed_bp: u16) -> Value {
    let sha256 = fleetfoot_tuf::hex::encode(&fleetfoot_trust::sha256(b"bundle"));
    json!({
        "rollout": "kws-12", "model": "kws", "candidate": {"number": 12, "sha256": sha256, "attempt": 1},
        "stage": stage, "exposed_bp": exposed_bp,
    })
}

/// The repository of the owner, who rolls out to 1 %.
fn good() -> Repo {
    Repo { edits: vec![(ROLE, released)], rollout: Some((10, directive("canary", 100))), ..Repo::default() }
}

/// The repository in which the thief of the rollout key, or of all online keys, says `directive`.
fn forged(directive: Value, stolen: &[u8]) -> Repo {
    let mut repo = good().next(1);
    (repo.releases, repo.targets) = (repo.releases - 1, repo.targets - 1);
    repo.rollout = Some((11, directive));
    for (role, key) in [(ROLLOUT, 40), ("snapshot", 4), ("timestamp", 3)] {
        repo.signers.insert(role, stolen.iter().copied().filter(|stolen| *stolen == key).collect());
    }
    repo
}

/// The release and the directive that a device believes.
fn poll(stored: &mut Stored, repo: &Repo, now: i64) -> Result<(Vec<Target>, Option<Value>), TufError> {
    let files = repo.files();
    let mut client = Client::new(&good().first_root(), stored.clone(), now)?;
    client.refresh(ROLE);
    for step in 0..2 {
        loop {
            match client.poll()? {
                Action::Fetch { path, .. } => client.feed(files.get(&path).cloned())?,
                Action::Persist { name, bytes } => {
                    stored.insert(name, bytes);
                    client.persisted();
                }
                Action::Done => break,
            }
        }
        if step == 0 {
            client.find(CURRENT);
        }
    }
    let said = client.found().filter(|target| target.sha256 == fleetfoot_trust::sha256(&files["directive"]));
    Ok((client.targets_of(ROLE).collect(), said.map(|_| json::parse(&files["directive"]).unwrap())))
}

fn key(n: u32) -> [u8; 16] {
    let mut key = [0; 16];
    key[..4].copy_from_slice(&n.to_le_bytes());
    key
}

fn below(bound: u16) -> BTreeSet<u32> {
    (0..1_000).filter(|&n| bucket(SALT.as_bytes(), &key(n)) < bound).collect()
}

/// The devices of the fleet that would install something at `now`, and why the first of the others would not.
fn taken(repo: &Repo, now: i64, record: &Record) -> (BTreeSet<u32>, Option<Why>) {
    let mut stored = Stored::new();
    poll(&mut stored, &good(), NOW).unwrap();
    let (releases, said) = poll(&mut stored, repo, now).unwrap();
    let (mut all, mut refused) = (BTreeSet::new(), None);
    for n in 0..1_000 {
        let key = key(n);
        let device = Device { key: Some(&key), runtime: (0, 1), facts: &[("hardware", "linux-arm64")] };
        for release in &releases {
            let envelope = rollout::envelope(&release.custom).unwrap();
            let directive = rollout::directive(said.as_ref().unwrap(), "kws").unwrap();
            let number = release.custom["number"].as_u64().unwrap();
            let (attempt, epoch) = (directive.candidate.attempt, envelope.security_epoch);
            let version = Version { sha256: release.sha256, number, len: release.length, attempt, epoch };
            match decide(&version, &envelope, Some(&directive), &device, now, record) {
                Decision::Install => drop(all.insert(n)),
                Decision::Shadow => {}
                Decision::Stay(why) => refused = refused.or(Some(why)),
            }
        }
    }
    (all, refused)
}

const ONLINE: [u8; 3] = [40, 3, 4];

#[test]
fn the_rollout_key_alone_reaches_nobody() {
    for (stolen, code) in [(&[40][..], 245), (&[40, 4], 245), (&[3, 4], 245)] {
        let mut stored = Stored::new();
        let before = poll(&mut stored, &good(), NOW).unwrap();
        let found = poll(&mut stored, &forged(directive("canary", 500), stolen), NOW);
        assert_eq!(found.unwrap_err().code(), code, "{stolen:?}");
        assert_eq!(poll(&mut stored, &good().next(9), NOW).unwrap(), before, "after {stolen:?}");
    }
}

#[test]
fn all_online_keys_stay_inside_the_envelope() {
    assert!(below(100).len() > 3 && below(500).len() > below(100).len());
    let record = Record::default();
    let check = |said: Value, now: i64, whom: BTreeSet<u32>, why: Option<Why>| {
        let text = said.to_string();
        let (found, refused) = taken(&forged(said, &ONLINE), now, &record);
        assert_eq!((found, refused), (whom, why), "{text}");
    };
    let share = |max_bp| Some(Why::BeyondShare { max_bp });
    let nobody = BTreeSet::new;
    // What the owner does, and what the thief gets at most: 5 % now, by the clock of each device.
    check(directive("canary", 100), NOW, below(100), Some(Why::Outside));
    check(directive("canary", 10_000), NOW, below(500), share(500));
    // The first device would be in the control of a comparison.
    for (stage, why) in [("ab", Why::Control), ("full", Why::StageNotAllowed)] {
        check(directive(stage, 10_000), NOW, nobody(), Some(why));
    }
    check(directive("full", 10_000), NOW + 2 * DAY, nobody(), Some(Why::StageNotAllowed));
    check(directive("canary", 10_000), NOW + 2 * DAY, below(2_000), share(2_000));
    check(directive("canary", 10_000), NOW - 2 * DAY, nobody(), Some(Why::NotYet));
    // Halting is always allowed.
    for (stage, why) in [("hold", Why::Halted), ("abort", Why::TakenBack), ("revert", Why::TakenBack)] {
        check(directive(stage, 10_000), NOW, nobody(), Some(why));
    }
    check(directive("everybody", 10_000), NOW, nobody(), Some(Why::UnknownStage));
    let mut said = directive("canary", 10_000);
    said["candidate"]["attempt"] = json!(2);
    check(said, NOW, nobody(), Some(Why::AttemptNotAllowed { asked: 2, allowed: 1 }));
    // A bundle of his own is no release, whatever his role lists.
    let mut said = directive("canary", 10_000);
    said["candidate"]["sha256"] = json!("ab".repeat(32));
    check(said.clone(), NOW, nobody(), Some(Why::NotNamed));
    let mut repo = forged(said, &ONLINE);
    repo.edits.push((ROLLOUT, |signed| signed["targets"][PATH] = support::target(b"by the thief")));
    assert_eq!(taken(&repo, NOW, &record), (nobody(), Some(Why::NotNamed)));
    // As a baseline a release is held to its envelope like any other: everybody only when everybody may have it.
    let mut said = directive("full", 0);
    said["baseline"] = said["candidate"].clone();
    said["candidate"]["sha256"] = json!("ab".repeat(32));
    check(said.clone(), NOW, nobody(), Some(Why::StageNotAllowed));
    // Every device has a bucket below 10 000; the share of everybody is what the envelope says it is in a week.
    let mut weeks = forged(said, &ONLINE);
    weeks.days.insert("timestamp", 30);
    assert_eq!(taken(&weeks, NOW + 7 * DAY, &record).0.len(), 1_000);
}

/// Under whatever names he rolls it out, and whatever else he says: always the same devices.
#[test]
fn the_salt_cannot_be_walked() {
    let mut reached = BTreeSet::new();
    for n in 0..20 {
        let mut said = directive("canary", 10_000);
        said["rollout"] = json!(format!("walk-{n}"));
        said["salt"] = json!(format!("salt-{n}"));
        said["candidate"]["salt"] = said["salt"].clone();
        reached.extend(taken(&forged(said, &ONLINE), NOW, &Record::default()).0);
    }
    assert_eq!(reached, below(500));
    // Nor does a side help that a device was on: the envelope is asked each time.
    let mut record = Record::default();
    record.enrolled.push(Enrolment { rollout: rollout_key("kws-12"), arm: Arm::Treatment }).unwrap();
    assert_eq!(taken(&forged(directive("canary", 0), &ONLINE), NOW, &record).0, below(500));
}

#[test]
fn what_failed_or_is_too_old_does_not_come_back() {
    let sha256 = fleetfoot_trust::sha256(b"bundle");
    let mut record = Record { epoch_floor: 3, ..Record::default() };
    let said = || forged(directive("canary", 10_000), &ONLINE);
    assert_eq!(taken(&said(), NOW, &record), (BTreeSet::new(), Some(Why::BelowEpochFloor { epoch: 2, floor: 3 })));
    record.epoch_floor = 2;
    assert_eq!(taken(&said(), NOW, &record).0, below(500));
    record.rejected.push(Rejected { sha256, attempt: 1, reason: Reason::BAD_INFERENCE }).unwrap();
    assert_eq!(taken(&said(), NOW, &record), (BTreeSet::new(), Some(Why::Quarantined { reason: 406 })));
}

/// The envelope is in the file of the release role.
#[test]
fn release_keys_and_envelopes() {
    let wider = |stolen: &[u8]| {
        let mut repo = forged(directive("full", 10_000), &[40, 3, 4]);
        repo.releases += 1;
        repo.signers.insert(ROLE, stolen.to_vec());
        repo.edits.push((ROLE, |signed| {
            signed["targets"][PATH]["custom"]["limits"] =
                json!([{"not_before": time_text(NOW - DAY), "max_bp": 10_000, "max_stage": "full"}]);
        }));
        repo
    };
    // One of two, with all online keys: not believed.
    for one in [7, 8] {
        let mut stored = Stored::new();
        poll(&mut stored, &good(), NOW).unwrap();
        assert_eq!(poll(&mut stored, &wider(&[one]), NOW).unwrap_err().code(), 245);
    }
    // Both are the two people: they allow what they like, of their model.
    assert_eq!(taken(&wider(&[7, 8]), NOW, &Record::default()).0.len(), 1_000);
    // Without the online keys it reaches nobody.
    let mut alone = wider(&[7, 8]);
    alone.signers.insert("snapshot", Vec::new());
    alone.signers.insert("timestamp", Vec::new());
    let mut stored = Stored::new();
    poll(&mut stored, &good(), NOW).unwrap();
    assert_eq!(poll(&mut stored, &alone, NOW).unwrap_err().code(), 245);
}

/// A device that has seen the role keeps to it: only targets keys can take it away.
#[test]
fn the_role_cannot_be_left_out() {
    let mut stored = Stored::new();
    poll(&mut stored, &good(), NOW).unwrap();
    // Not listed any more.
    let mut left_out = forged(directive("canary", 100), &ONLINE);
    left_out
        .edits
        .push(("snapshot", |signed| drop(signed["meta"].as_object_mut().unwrap().remove("rollout-kws.json"))));
    assert_eq!(poll(&mut stored.clone(), &left_out, NOW).unwrap_err().code(), 247);
    // A new device sees that there should be one, and finds nothing in it.
    assert_eq!(poll(&mut Stored::new(), &left_out, NOW).unwrap_err().code(), 253);
    // Not delegated any more, by somebody without the targets keys.
    let mut undelegated = forged(directive("canary", 100), &ONLINE);
    undelegated.targets += 1;
    undelegated.signers.insert("targets", vec![40, 3, 4]);
    undelegated.edits.push(("targets", |signed| drop(signed["delegations"]["roles"].as_array_mut().unwrap().pop())));
    assert_eq!(poll(&mut stored, &undelegated, NOW).unwrap_err().code(), 245);
}
