//! What a device does with a release: the envelope, the directive, the device and its record, row by row.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_update::{
    Action, Arm, Config, Decision, Directive, Envelope, Event, Exposure, Machine, Stage, Why,
    cohort::{bucket, rollout_key},
    decide,
    directive::{Device, DeviceLimits, Named, Network, Selector, Shadow},
    envelope::{Limit, side},
    record::{Candidate, Enrolment, Phase, Reason, Record, Rejected, Version},
};

const SALT: &str = "kws-2026-11/1";
const KEY: &[u8; 16] = b"device-000000001";
const CANDIDATE: Version = Version { sha256: [42; 32], number: 42, len: 1000, attempt: 1, epoch: 2 };
const BASELINE: Version = Version { sha256: [41; 32], number: 41, len: 1000, attempt: 1, epoch: 2 };
const NOW: i64 = 1_800_000_000;

fn named(version: Version) -> Named {
    Named { number: version.number, sha256: version.sha256, attempt: version.attempt }
}

fn directive(stage: Stage, exposed_bp: u16) -> Directive<'static> {
    Directive {
        rollout: "kws-2026-11",
        candidate: named(CANDIDATE),
        baseline: Some(named(BASELINE)),
        exposure: Exposure { stage, exposed_bp, split: (1, 1) },
        selectors: Default::default(),
        device: DeviceLimits::default(),
        network: Network::default(),
        shadow: Shadow::default(),
    }
}

fn envelope(max_bp: u16, max_stage: Stage) -> Envelope<'static> {
    let limits = [Limit { not_before: NOW, max_bp, max_stage }].into_iter().collect();
    Envelope { salt: SALT, limits, security_epoch: 2, ..Envelope::everybody() }
}

fn device() -> Device<'static> {
    Device { key: Some(KEY), runtime: (0, 3), facts: &[("hardware", "linux-arm64"), ("region", "eu")] }
}

fn on_trial() -> Record {
    let candidate = Candidate { version: CANDIDATE, attempts_left: 1, phase: Phase::Trial { good: 1, elapsed_s: 0 } };
    Record { candidate: Some(candidate), ..Record::default() }
}

/// Above and below the bucket of the device.
fn around() -> (u16, u16) {
    let own = bucket(SALT.as_bytes(), KEY);
    assert!((1_000..4_900).contains(&own), "{own}: neither treatment nor control of a tenth");
    (own, own + 1)
}

#[test]
fn the_rollout_comes_to_a_device_or_not() {
    let (not_yet, reached) = around();
    let everything = envelope(10_000, Stage::Full);
    let check = |directive: &Directive<'_>, envelope: &Envelope<'_>, record: &Record, expected: Decision| {
        assert_eq!(decide(&CANDIDATE, envelope, Some(directive), &device(), NOW, record), expected, "{directive:?}");
    };
    let fresh = Record::default();
    let stay = |why| Decision::Stay(why);
    for stage in [Stage::Canary, Stage::Full] {
        check(&directive(stage, reached), &everything, &fresh, Decision::Install);
        check(&directive(stage, 1_000), &everything, &fresh, stay(Why::Outside));
    }
    check(&directive(Stage::Canary, not_yet), &everything, &fresh, stay(Why::Outside));
    check(&directive(Stage::Shadow, reached), &everything, &fresh, Decision::Shadow);
    check(&directive(Stage::Shadow, not_yet), &everything, &fresh, stay(Why::Outside));
    check(&directive(Stage::Ab, 9_900), &everything, &fresh, Decision::Install);
    check(&directive(Stage::Hold, 10_000), &everything, &fresh, stay(Why::Halted));
    check(&directive(Stage::Hold, 0), &everything, &on_trial(), Decision::Install);
    check(&directive(Stage::Abort, 10_000), &everything, &on_trial(), stay(Why::TakenBack));
    check(&directive(Stage::Revert, 10_000), &everything, &on_trial(), stay(Why::TakenBack));
    check(&directive(Stage::Unknown, 10_000), &everything, &on_trial(), stay(Why::UnknownStage));
    // A side that was taken before.
    let enrolled = |arm| {
        let enrolled = [Enrolment { rollout: rollout_key("kws-2026-11"), arm }].into_iter().collect();
        Record { enrolled, ..Record::default() }
    };
    check(&directive(Stage::Canary, 0), &everything, &enrolled(Arm::Treatment), Decision::Install);
    check(&directive(Stage::Canary, reached), &everything, &enrolled(Arm::Control), stay(Why::Control));
    check(&directive(Stage::Full, reached), &everything, &enrolled(Arm::Control), Decision::Install);
    // The envelope is asked in any case.
    let share = stay(Why::BeyondShare { max_bp: not_yet });
    check(&directive(Stage::Canary, 10_000), &envelope(not_yet, Stage::Full), &fresh, share);
    check(&directive(Stage::Canary, 10_000), &envelope(not_yet, Stage::Full), &enrolled(Arm::Treatment), share);
    check(&directive(Stage::Canary, 10_000), &envelope(reached, Stage::Full), &fresh, Decision::Install);
    check(&directive(Stage::Full, 10_000), &envelope(10_000, Stage::Ab), &fresh, stay(Why::StageNotAllowed));
    check(&directive(Stage::Shadow, 10_000), &envelope(10_000, Stage::Shadow), &fresh, Decision::Shadow);
    check(&directive(Stage::Canary, 10_000), &envelope(10_000, Stage::Shadow), &fresh, stay(Why::StageNotAllowed));
    // Selectors.
    let mut elsewhere = directive(Stage::Full, 10_000);
    elsewhere.selectors.push(Selector { key: "region", values: ["us"].into_iter().collect() }).unwrap();
    check(&elsewhere, &everything, &fresh, stay(Why::NotMatched));
    check(&elsewhere, &everything, &enrolled(Arm::Treatment), Decision::Install);
    // Another release.
    let other = Directive { candidate: named(BASELINE), baseline: None, ..directive(Stage::Full, 10_000) };
    check(&other, &everything, &fresh, stay(Why::NotNamed));
    let renumbered = Named { number: 43, ..named(CANDIDATE) };
    check(&Directive { candidate: renumbered, ..other }, &everything, &fresh, stay(Why::NotNamed));
}

#[test]
fn what_the_envelope_asks_of_a_device() {
    let check = |envelope: &Envelope<'_>, device: &Device<'_>, now: i64, record: &Record, expected: Result<(), Why>| {
        let found = envelope.allows(&CANDIDATE, Some(Stage::Full), device, now, record);
        assert_eq!(found, expected, "{envelope:?} {record:?}");
    };
    let (fresh, all) = (Record::default(), envelope(10_000, Stage::Full));
    check(&all, &device(), NOW, &fresh, Ok(()));
    check(&all, &device(), NOW - 1, &fresh, Err(Why::NotYet));
    let keyless = Device { key: None, ..device() };
    check(&all, &keyless, NOW, &fresh, Ok(()));
    check(&envelope(9_999, Stage::Full), &keyless, NOW, &fresh, Err(Why::BeyondShare { max_bp: 9_999 }));
    let hardware = |own: &[&'static str]| Envelope { hardware: own.iter().copied().collect(), ..all.clone() };
    check(&hardware(&["cortex-m4f", "linux-arm64"]), &device(), NOW, &fresh, Ok(()));
    check(&hardware(&["cortex-m4f"]), &device(), NOW, &fresh, Err(Why::OtherHardware));
    check(&hardware(&["linux-arm64"]), &Device { facts: &[], ..device() }, NOW, &fresh, Err(Why::OtherHardware));
    let newer = Envelope { min_runtime: (0, 4), ..all.clone() };
    check(&newer, &device(), NOW, &fresh, Err(Why::RuntimeTooOld { needs: (0, 4) }));
    let floor = Record { epoch_floor: 3, ..Record::default() };
    check(&all, &device(), NOW, &floor, Err(Why::BelowEpochFloor { epoch: 2, floor: 3 }));
    let rejected = Rejected { sha256: CANDIDATE.sha256, attempt: 1, reason: Reason::CRASH_LOOP };
    let failed = Record { rejected: [rejected].into_iter().collect(), ..Record::default() };
    check(&all, &device(), NOW, &failed, Err(Why::Quarantined { reason: 405 }));
    let again = Version { attempt: 2, ..CANDIDATE };
    let allows = |envelope: &Envelope<'_>| envelope.allows(&again, Some(Stage::Full), &device(), NOW, &failed);
    assert_eq!(allows(&all), Err(Why::AttemptNotAllowed { asked: 2, allowed: 1 }));
    assert_eq!(allows(&Envelope { attempt: 2, ..all.clone() }), Ok(()));
    // Without a directive the releases alone decide: as far as their signers allow, if that serves at all.
    let alone = |envelope: &Envelope<'_>| decide(&CANDIDATE, envelope, None, &device(), NOW, &fresh);
    assert_eq!(alone(&Envelope::everybody()), Decision::Install);
    assert_eq!(alone(&envelope(around().1, Stage::Canary)), Decision::Install);
    assert_eq!(alone(&envelope(around().0, Stage::Canary)), Decision::Stay(Why::BeyondShare { max_bp: around().0 }));
    assert_eq!(alone(&envelope(10_000, Stage::Shadow)), Decision::Stay(Why::StageNotAllowed));
    assert_eq!(alone(&Envelope { limits: Default::default(), ..Envelope::everybody() }), Decision::Stay(Why::NotYet));
    // A baseline is for everybody, and so must be its envelope.
    let baseline = |envelope: &Envelope<'_>| {
        decide(&BASELINE, envelope, Some(&directive(Stage::Canary, 0)), &device(), NOW, &fresh)
    };
    assert_eq!(baseline(&all), Decision::Install);
    assert_eq!(baseline(&envelope(10_000, Stage::Ab)), Decision::Stay(Why::StageNotAllowed));
}

#[test]
fn sides_without_a_key() {
    let everything = envelope(10_000, Stage::Full);
    let keyless = Device { key: None, ..device() };
    let check = |stage, bp, expected| {
        assert_eq!(side(&directive(stage, bp), &everything, &keyless, &Record::default()), expected, "{stage:?} {bp}");
    };
    check(Stage::Canary, 9_999, Arm::Outside);
    check(Stage::Full, 10_000, Arm::Treatment);
    check(Stage::Ab, 10_000, Arm::Outside);
}

#[test]
fn where_a_device_goes_back_to() {
    let version = |n: u8| Version { sha256: [n; 32], number: n.into(), len: 1000, attempt: 1, epoch: 2 };
    let record = |kept: &[u8]| Record {
        active: Some([42; 32]),
        last_good: kept.get(1).map(|n| [*n; 32]),
        kept: kept.iter().map(|n| version(*n)).collect(),
        epoch_floor: 2,
        ..Record::default()
    };
    let check = |stage, record: &Record, taken: bool, to: Option<u64>| {
        let directive = directive(stage, 0);
        assert_eq!(directive.takes_back(record), taken, "{stage:?} {record:?}");
        assert_eq!(directive.goes_back_to(record).map(|v| v.number), to, "{stage:?} {record:?}");
    };
    check(Stage::Abort, &record(&[42, 40, 41]), true, Some(41));
    check(Stage::Abort, &record(&[42, 40, 39]), true, Some(40));
    check(Stage::Abort, &Record { last_good: None, ..record(&[42, 38, 39]) }, true, Some(39));
    check(Stage::Abort, &record(&[42]), true, None);
    check(Stage::Abort, &Record { factory: Some(version(1)), ..record(&[42]) }, true, Some(1));
    check(Stage::Canary, &record(&[42, 41]), false, Some(41));
    check(Stage::Hold, &record(&[42, 41]), false, Some(41));
    check(Stage::Revert, &record(&[42, 41]), true, Some(41));
    check(Stage::Revert, &record(&[42, 40]), true, None);
    let newer = Record { active: Some([50; 32]), ..record(&[50, 41]) };
    check(Stage::Abort, &newer, false, Some(41));
    check(Stage::Revert, &newer, true, Some(41));
    let older = Record { active: Some([40; 32]), ..record(&[40]) };
    check(Stage::Revert, &older, false, None);
    // Neither what failed here nor what is below the floor.
    let rejected = |n: u8| Rejected { sha256: [n; 32], attempt: 1, reason: Reason::BAD_INFERENCE };
    check(
        Stage::Abort,
        &Record { rejected: [rejected(41)].into_iter().collect(), ..record(&[42, 40, 41]) },
        true,
        Some(40),
    );
    check(Stage::Abort, &Record { epoch_floor: 3, ..record(&[42, 40, 41]) }, true, None);
    // The machine holds nothing else back when a rollout goes back: it names itself what comes next.
    let mut machine = Machine::new(Config::default(), record(&[42, 41]));
    assert_eq!(machine.step(Event::Rollback { to: Some([41; 32]), remote: true }), Ok(Action::Persist));
    assert!(matches!(machine.step(Event::Persisted), Ok(Action::RolledBack { .. })));
    assert_eq!((machine.record().active, machine.record().held), (Some([41; 32]), None));
    assert_eq!(machine.record().rejection(&[42; 32], 1), Some(Reason::ROLLED_BACK));
    let offer = |machine: &mut Machine, attempt| {
        machine.step(Event::Offer { version: Version { attempt, ..version(42) }, now: NOW })
    };
    assert!(matches!(offer(&mut machine, 1), Ok(Action::NotTaken(_))));
    assert_eq!(offer(&mut machine, 2), Ok(Action::Persist));
}
