//! Rows of events and the actions that must follow, for the table in the crate's documentation.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_update::{
    Action, Config, Event, Machine, NotTaken, ShadowGate, UpdateError,
    record::{Reason, Record, Version},
};

const CONFIG: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 100, slots: 6, checkpoint: 0, ..Config::DEFAULT };

/// Version `n`, first attempt.
const fn v(n: u8) -> Version {
    Version { sha256: [n; 32], number: n as u64, len: 1000, attempt: 1, epoch: 0 }
}

const fn again(n: u8) -> Version {
    Version { attempt: 2, ..v(n) }
}

fn offer(version: Version) -> Event {
    Event::Offer { version, now: 0 }
}

fn inferences(good: u32, bad: u32, now: i64) -> Event {
    Event::Inferences { good, bad, now }
}

/// Sends `event`, stores what is to be stored, and returns the action behind it.
#[track_caller]
fn send(machine: &mut Machine, event: Event) -> (bool, Action) {
    match machine.step(event).unwrap() {
        Action::Persist => (true, machine.step(Event::Persisted).unwrap()),
        action => (false, action),
    }
}

/// A device that has committed versions `1 ..= n`.
fn device(config: Config, n: u8) -> Machine {
    let mut machine = Machine::new(config, Record::default());
    for n in 1..=n {
        for event in [offer(v(n)), Event::Fetched, Event::Validated, Event::Resume { now: 0 }, Event::ConfirmHealthy] {
            send(&mut machine, event);
        }
        assert_eq!(machine.serving(), Some(&v(n)));
    }
    machine
}

/// One row: events, whether a record must be stored before the action, the action, and who serves after it.
#[track_caller]
fn check(name: &str, mut machine: Machine, rows: &[(Event, bool, Action, Option<Version>)]) -> Machine {
    for (i, (event, durable, action, serving)) in rows.iter().enumerate() {
        assert_eq!(send(&mut machine, *event), (*durable, *action), "{name}, row {i}: {event:?}");
        assert_eq!(machine.serving(), serving.as_ref(), "{name}, row {i}: {event:?}");
    }
    machine
}

/// A power cut: only the record is left.
fn restart(machine: &Machine) -> Machine {
    Machine::new(CONFIG, machine.record().clone())
}

const FETCH: [(Event, bool, Action, Option<Version>); 3] = [
    (Event::Offer { version: v(2), now: 0 }, true, Action::Fetch { version: v(2), offset: 0 }, Some(v(1))),
    (Event::Fetched, true, Action::Validate { version: v(2) }, Some(v(1))),
    (Event::Validated, true, Action::Validated { version: v(2) }, Some(v(1))),
];

const TRIAL: (Event, bool, Action, Option<Version>) =
    (Event::Resume { now: 1000 }, true, Action::StartTrial { version: v(2) }, Some(v(2)));

#[test]
fn a_good_candidate_becomes_active() {
    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [
        TRIAL,
        (inferences(9, 0, 1200), false, Action::None, Some(v(2))),
        (inferences(1, 0, 1200), true, Action::Committed { version: v(2) }, Some(v(2))),
        (inferences(0, 1, 1300), false, Action::None, Some(v(2))),
    ];
    let machine = check("enough inferences, then the window", machine, &rows);
    assert_eq!(machine.record().last_good, Some([1; 32]));

    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [
        TRIAL,
        (inferences(10, 0, 1099), false, Action::None, Some(v(2))),
        (Event::Resume { now: 900 }, false, Action::None, Some(v(2))),
        (Event::Resume { now: 900 }, false, Action::None, Some(v(2))),
        (Event::Resume { now: 901 }, true, Action::Committed { version: v(2) }, Some(v(2))),
    ];
    check("the window, over a clock that goes back", machine, &rows);

    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [
        TRIAL,
        (inferences(1, 0, 1399), false, Action::None, Some(v(2))),
        (Event::Resume { now: 1400 }, true, Action::Committed { version: v(2) }, Some(v(2))),
    ];
    check("seldom used: four windows", machine, &rows);

    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [TRIAL, (Event::ConfirmHealthy, true, Action::Committed { version: v(2) }, Some(v(2)))];
    check("the application vouches for it", machine, &rows);
}

#[test]
fn a_bad_candidate_does_not() {
    let rejected = |reason| Action::Rejected { version: v(2), reason };
    let machine = check("to validation", device(CONFIG, 1), &FETCH[..2]);
    let reason = Reason::GOLDEN_MISMATCH;
    let rows = [
        (Event::Refuse(reason), true, rejected(reason), Some(v(1))),
        (offer(v(2)), false, Action::NotTaken(NotTaken::Rejected(reason)), Some(v(1))),
        (offer(again(2)), true, Action::Fetch { version: again(2), offset: 0 }, Some(v(1))),
    ];
    check("golden mismatch; the next attempt is taken", machine, &rows);

    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [TRIAL, (inferences(50, 1, 2000), true, rejected(Reason::BAD_INFERENCE), Some(v(1)))];
    check("one bad inference among good ones", machine, &rows);

    let machine = check("to the trial", device(CONFIG, 1), &FETCH);
    let rows = [TRIAL, (Event::Refuse(Reason::SELF_CHECK), true, rejected(Reason::SELF_CHECK), Some(v(1)))];
    check("self-check", machine, &rows);

    let mut machine = check("to validation", device(CONFIG, 1), &FETCH[..2]);
    let rows = [(Event::Resume { now: 0 }, true, Action::Validate { version: v(2) }, Some(v(1)))];
    machine = check("death in validation", restart(&machine), &rows);
    let rows = [(Event::Resume { now: 0 }, true, rejected(Reason::CRASH_LOOP), Some(v(1)))];
    check("second death in validation", restart(&machine), &rows);

    let mut machine = check("trial", check("to the trial", device(CONFIG, 1), &FETCH), &[TRIAL]);
    assert_eq!(restart(&machine).serving(), Some(&v(1)), "the candidate serves only after an attempt was taken");
    machine = check("death in the trial", restart(&machine), &[TRIAL]);
    let rows = [(Event::Resume { now: 0 }, true, rejected(Reason::CRASH_LOOP), Some(v(1)))];
    check("second death in the trial", restart(&machine), &rows);

    let first = check("to validation", device(CONFIG, 0), &[(offer(v(2)), true, FETCH[0].2, None)]);
    let rows = [
        (Event::Fetched, true, Action::Validate { version: v(2) }, None),
        (Event::Refuse(Reason::OVER_LATENCY), true, rejected(Reason::OVER_LATENCY), None),
    ];
    check("a first version that fails leaves none", first, &rows);
}

#[test]
fn a_run_that_ends_in_order_costs_no_attempt() {
    let mut machine = check("to the trial", device(CONFIG, 1), &FETCH);
    for now in 0..20 {
        let start = (Event::Resume { now }, true, Action::StartTrial { version: v(2) }, Some(v(2)));
        let suspend = (Event::Suspend { now: now + 1 }, true, Action::None, Some(v(1)));
        machine = restart(&check("short runs", machine, &[start, suspend]));
    }
    let rows = [
        (Event::Resume { now: 0 }, true, Action::StartTrial { version: v(2) }, Some(v(2))),
        (inferences(10, 0, 79), false, Action::None, Some(v(2))),
        (inferences(0, 0, 80), true, Action::Committed { version: v(2) }, Some(v(2))),
    ];
    check("the window was counted over all of them", machine, &rows);
}

#[test]
fn deferrals_go_on_where_they_stopped() {
    let defer = |reason, retry_at| Event::Defer { reason, retry_at, now: 0 };
    let deferred = |reason, retry_at| Action::Deferred { version: v(2), reason, retry_at };
    let (full, hot) = (Reason::DISK_FULL, Reason::THROTTLED);
    let machine = check("to the download", device(CONFIG, 1), &FETCH[..1]);
    let rows = [
        (Event::Written { offset: 640 }, true, Action::None, Some(v(1))),
        (defer(full, 500), true, deferred(full, 500), Some(v(1))),
        (offer(v(2)), false, deferred(full, 500), Some(v(1))),
        (Event::Resume { now: 500 }, false, Action::Fetch { version: v(2), offset: 640 }, Some(v(1))),
        (Event::Fetched, true, Action::Validate { version: v(2) }, Some(v(1))),
        (defer(hot, 900), true, deferred(hot, 900), Some(v(1))),
        (Event::Resume { now: 899 }, false, deferred(hot, 900), Some(v(1))),
        (Event::Resume { now: -1_000_000 }, true, Action::Validate { version: v(2) }, Some(v(1))),
        (defer(hot, i64::MAX), true, deferred(hot, 86_400), Some(v(1))),
        (Event::Resume { now: 86_400 }, true, Action::Validate { version: v(2) }, Some(v(1))),
        (Event::Validated, true, Action::Validated { version: v(2) }, Some(v(1))),
        (Event::Withdraw, true, Action::Withdrawn { version: v(2) }, Some(v(1))),
    ];
    check("disk full, then too hot, then a clock that jumps", machine, &rows);
}

#[test]
fn offers() {
    let not = Action::NotTaken;
    let rows = [
        (offer(v(3)), false, not(NotTaken::NotNewer { active: 3 }), Some(v(3))),
        (offer(v(2)), false, not(NotTaken::NotNewer { active: 3 }), Some(v(3))),
        (offer(v(4)), true, Action::Fetch { version: v(4), offset: 0 }, Some(v(3))),
        (offer(v(4)), false, Action::Fetch { version: v(4), offset: 0 }, Some(v(3))),
        (offer(v(5)), true, Action::Fetch { version: v(5), offset: 0 }, Some(v(3))),
        (Event::Fetched, true, Action::Validate { version: v(5) }, Some(v(3))),
        (offer(v(6)), false, not(NotTaken::Busy), Some(v(3))),
        (Event::Validated, true, Action::Validated { version: v(5) }, Some(v(3))),
        (offer(v(6)), true, Action::Fetch { version: v(6), offset: 0 }, Some(v(3))),
    ];
    check("newer ones replace a candidate whose code does not run", device(CONFIG, 3), &rows);

    let high = Version { epoch: 7, ..v(4) };
    let machine = device(CONFIG, 3);
    let rows = [
        (offer(high), true, Action::Fetch { version: high, offset: 0 }, Some(v(3))),
        (Event::Fetched, true, Action::Validate { version: high }, Some(v(3))),
        (Event::Validated, true, Action::Validated { version: high }, Some(v(3))),
        (Event::Resume { now: 0 }, true, Action::StartTrial { version: high }, Some(high)),
        (Event::ConfirmHealthy, true, Action::Committed { version: high }, Some(high)),
        (offer(v(5)), false, not(NotTaken::BelowEpochFloor { floor: 7 }), Some(high)),
    ];
    let mut machine = check("the epoch floor rises at the commit", machine, &rows);
    let to = Some([3; 32]);
    let refused = machine.step(Event::Rollback { to, remote: true });
    assert_eq!(refused, Err(UpdateError::BelowEpochFloor { epoch: 0, floor: 7 }));
    let rows =
        [(Event::Rollback { to, remote: false }, true, Action::RolledBack { from: Some(high), to: v(3) }, Some(v(3)))];
    check("a person at the device may go below it", machine, &rows);
}

#[test]
fn rollbacks() {
    let back = |n: u8| Event::Rollback { to: Some([n; 32]), remote: false };
    let held = Action::NotTaken(NotTaken::Held { number: 5 });
    let rows = [
        (back(3), true, Action::RolledBack { from: Some(v(5)), to: v(3) }, Some(v(3))),
        (offer(v(5)), false, Action::NotTaken(NotTaken::Rejected(Reason::ROLLED_BACK)), Some(v(3))),
        (offer(v(4)), false, held, Some(v(3))),
        (back(1), true, Action::RolledBack { from: Some(v(3)), to: v(1) }, Some(v(1))),
        (offer(v(4)), false, held, Some(v(1))),
        (offer(again(4)), true, Action::Fetch { version: again(4), offset: 0 }, Some(v(1))),
        (offer(v(6)), true, Action::Fetch { version: v(6), offset: 0 }, Some(v(1))),
        (Event::Fetched, true, Action::Validate { version: v(6) }, Some(v(1))),
        (Event::Validated, true, Action::Validated { version: v(6) }, Some(v(1))),
        (Event::Resume { now: 0 }, true, Action::StartTrial { version: v(6) }, Some(v(6))),
        (Event::ConfirmHealthy, true, Action::Committed { version: v(6) }, Some(v(6))),
    ];
    let machine = check("back twice, then a newer release", device(CONFIG, 5), &rows);
    assert_eq!((machine.record().held, machine.record().last_good), (None, Some([1; 32])));
    let numbers: Vec<_> = machine.record().kept.iter().map(|v| v.number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 1], "the oldest that is neither active nor last good left");

    let mut machine = device(CONFIG, 2);
    assert_eq!(machine.step(back(9)), Err(UpdateError::NotKept));
    assert_eq!(machine.step(Event::Rollback { to: None, remote: false }), Err(UpdateError::NotKept));
    let machine = check("trial", check("rows", device(CONFIG, 1), &FETCH), &[TRIAL]);
    let rows = [(back(1), true, Action::RolledBack { from: Some(v(2)), to: v(1) }, Some(v(1)))];
    let machine = check("out of a trial", machine, &rows);
    assert_eq!(machine.record().rejection(&[2; 32], 1), Some(Reason::ROLLED_BACK));

    let rows = [
        (back(1), true, Action::RolledBack { from: Some(v(3)), to: v(1) }, Some(v(1))),
        (back(3), true, Action::RolledBack { from: Some(v(1)), to: v(3) }, Some(v(3))),
        (Event::Broken { sha256: [3; 32] }, true, Action::FellBack { to: Some(v(2)) }, Some(v(2))),
        (offer(v(3)), true, Action::Fetch { version: v(3), offset: 0 }, Some(v(2))),
    ];
    check("forth again: what was held against it is forgotten", device(CONFIG, 3), &rows);

    let rows = [
        (Event::Factory(Some(v(9))), true, Action::None, Some(v(2))),
        (Event::Factory(Some(v(9))), false, Action::None, Some(v(2))),
        (
            Event::Rollback { to: None, remote: false },
            true,
            Action::RolledBack { from: Some(v(2)), to: v(9) },
            Some(v(9)),
        ),
    ];
    check("to the factory version", device(CONFIG, 2), &rows);
}

#[test]
fn damaged_files_are_forgotten() {
    let broken = |n: u8| Event::Broken { sha256: [n; 32] };
    let rows = [
        (broken(7), false, Action::None, Some(v(4))),
        (broken(4), true, Action::FellBack { to: Some(v(3)) }, Some(v(3))),
        (offer(v(4)), true, Action::Fetch { version: v(4), offset: 0 }, Some(v(3))),
        (broken(1), true, Action::FellBack { to: Some(v(3)) }, Some(v(3))),
        (broken(3), true, Action::FellBack { to: Some(v(2)) }, Some(v(2))),
        (broken(2), true, Action::FellBack { to: None }, None),
    ];
    check("one after the other", device(CONFIG, 4), &rows);

    let mut machine = device(CONFIG, 2);
    send(&mut machine, Event::Factory(Some(v(1))));
    let rows = [
        (broken(2), true, Action::FellBack { to: Some(v(1)) }, Some(v(1))),
        (broken(1), true, Action::FellBack { to: None }, None),
    ];
    check("down to the factory version and below", machine, &rows);
}

#[test]
fn what_may_be_deleted() {
    for (slots, kept, with_candidate) in
        [(6, &[7, 6, 5, 4, 3][..], &[7, 6, 5, 4, 3][..]), (3, &[7, 6, 5], &[7, 6]), (2, &[7, 6], &[7])]
    {
        let mut machine = device(Config { slots, ..CONFIG }, 7);
        let stored = |machine: &Machine| (0..=9).rev().filter(|n| !machine.may_delete(&[*n; 32])).collect::<Vec<u8>>();
        assert_eq!(stored(&machine), kept, "{slots} slots");
        send(&mut machine, offer(v(8)));
        assert_eq!(stored(&machine), [&[8], with_candidate].concat(), "{slots} slots and a candidate");
        assert_eq!(machine.serving(), Some(&v(7)));
    }
}

#[test]
fn nothing_happens_while_a_record_waits() {
    let mut machine = device(CONFIG, 1);
    assert_eq!(machine.step(Event::Persisted).unwrap_err().code(), 400);
    for event in [Event::Fetched, Event::Validated, Event::Refuse(Reason::SIGNATURE), Event::Written { offset: 1 }] {
        let before = machine.record().clone();
        assert_eq!(machine.step(event).unwrap_err().code(), 400, "{event:?} without a candidate");
        assert_eq!(*machine.record(), before);
    }
    assert_eq!(machine.step(offer(v(2))), Ok(Action::Persist));
    assert_eq!(machine.step(Event::Fetched).unwrap_err().code(), 418);
    assert!(!machine.in_trial());
    assert_eq!(machine.step(Event::Persisted), Ok(Action::Fetch { version: v(2), offset: 0 }));
}

const SHADOW: Config = Config {
    shadow: Some(ShadowGate { min_runs: 10, bake_s: 50, agreement_bp: 9000, stays: false }),
    checkpoint: 0,
    ..CONFIG
};

const STARTED: (Event, bool, Action, Option<Version>) =
    (Event::Resume { now: 1000 }, true, Action::StartShadow { version: v(2) }, Some(v(1)));

fn shadow(runs: u32, agree: u32, now: i64) -> Event {
    Event::Shadow { runs, agree, now }
}

#[test]
fn a_shadow_comes_before_the_trial() {
    let trial = Action::StartTrial { version: v(2) };
    let machine = check("to the shadow", device(SHADOW, 1), &FETCH);
    let rows = [
        STARTED,
        (shadow(9, 8, 1060), false, Action::None, Some(v(1))),
        (offer(v(2)), false, Action::None, Some(v(1))),
        (inferences(0, 1, 1060), false, Action::None, Some(v(1))),
        (shadow(1, 1, 1060), true, trial, Some(v(2))),
        (inferences(10, 0, 1160), true, Action::Committed { version: v(2) }, Some(v(2))),
    ];
    check("nine of ten agree", machine, &rows);

    let machine = check("to the shadow", device(SHADOW, 1), &FETCH);
    let rows = [
        STARTED,
        (shadow(100, 89, 1049), false, Action::None, Some(v(1))),
        (Event::Resume { now: 1050 }, true, Action::Rejected { version: v(2), reason: Reason::DISAGREES }, Some(v(1))),
    ];
    check("89 of 100 agree", machine, &rows);

    let machine = check("to the shadow", device(SHADOW, 1), &FETCH);
    let rows = [
        STARTED,
        (Event::Resume { now: 900_000 }, false, Action::None, Some(v(1))),
        (shadow(9, 9, 1_900_000), false, Action::None, Some(v(1))),
    ];
    let machine = check("no data", machine, &rows);
    let rows = [(offer(v(3)), true, Action::Fetch { version: v(3), offset: 0 }, Some(v(1)))];
    check("a newer one takes its place", machine, &rows);
    let machine = check("to the shadow", device(SHADOW, 1), &FETCH);
    let rows = [
        STARTED,
        (Event::Resume { now: 900_000 }, false, Action::None, Some(v(1))),
        (shadow(9, 9, 1_900_000), false, Action::None, Some(v(1))),
    ];
    let mut machine = check("no data is no verdict, however long it takes", machine, &rows);
    machine.set_shadow(None);
    check("no shadow any more", machine, &[(Event::Resume { now: 1_900_000 }, true, trial, Some(v(2)))]);

    let machine = check("to the shadow", device(SHADOW, 1), &FETCH);
    let rows = [
        STARTED,
        (
            Event::Condemn { sha256: [2; 32], reason: Reason::SHADOW_FAILED },
            true,
            Action::Rejected { version: v(2), reason: Reason::SHADOW_FAILED },
            Some(v(1)),
        ),
    ];
    check("it panicked", machine, &rows);

    let first = check("nothing to compare with", device(SHADOW, 0), &[(offer(v(2)), true, FETCH[0].2, None)]);
    let rows = [
        (Event::Fetched, true, Action::Validate { version: v(2) }, None),
        (Event::Validated, true, Action::Validated { version: v(2) }, None),
        (Event::Resume { now: 0 }, true, trial, Some(v(2))),
    ];
    check("the first version has no shadow", first, &rows);
}

#[test]
fn deaths_in_the_shadow_burn_attempts() {
    let restart = |machine: &Machine| Machine::new(SHADOW, machine.record().clone());
    let started = |left: u8, machine: &Machine| {
        assert_eq!(machine.record().candidate.unwrap().attempts_left, left);
        assert_eq!(machine.serving(), Some(&v(1)));
    };
    let machine = check("shadow", check("to the shadow", device(SHADOW, 1), &FETCH), &[STARTED]);
    started(1, &machine);
    let rows = [STARTED, (Event::Suspend { now: 1020 }, true, Action::None, Some(v(1)))];
    let machine = check("death, then an end in order", restart(&machine), &rows);
    started(1, &machine);
    let machine = check("again", restart(&machine), &[STARTED]);
    started(0, &machine);
    let rejected = Action::Rejected { version: v(2), reason: Reason::CRASH_LOOP };
    check("the second death", restart(&machine), &[(Event::Resume { now: 0 }, true, rejected, Some(v(1)))]);

    let rows = [
        STARTED,
        (shadow(6, 6, 1030), false, Action::None, Some(v(1))),
        (Event::Suspend { now: 1030 }, true, Action::None, Some(v(1))),
    ];
    let machine = check("to the shadow", check("to the shadow", device(SHADOW, 1), &FETCH), &rows);
    let rows = [
        STARTED,
        (shadow(4, 4, 1019), false, Action::None, Some(v(1))),
        (Event::Resume { now: 1020 }, true, Action::StartTrial { version: v(2) }, Some(v(2))),
    ];
    let machine = check("runs and time were counted over both", restart(&machine), &rows);
    started_trial(&machine);
}

fn started_trial(machine: &Machine) {
    assert!(machine.in_trial());
    assert_eq!(machine.record().candidate.unwrap().attempts_left, 1, "one is taken for the trial");
}

#[test]
fn an_active_version_is_watched_for_some_time() {
    let condemn = |n: u8| Event::Condemn { sha256: [n; 32], reason: Reason::CONSTANT };
    let rejected = Action::Rejected { version: v(3), reason: Reason::CONSTANT };
    let watch = Config { watch_s: 100, ..CONFIG };
    let rows = [
        (inferences(1, 0, 1000), false, Action::None, Some(v(3))),
        (condemn(2), false, Action::None, Some(v(3))),
        (inferences(1, 0, 1099), false, Action::None, Some(v(3))),
        (condemn(3), true, rejected, Some(v(2))),
        (offer(v(3)), false, Action::NotTaken(NotTaken::Rejected(Reason::CONSTANT)), Some(v(2))),
        (condemn(2), false, Action::None, Some(v(2))),
        (offer(v(4)), true, Action::Fetch { version: v(4), offset: 0 }, Some(v(2))),
    ];
    let fresh = Machine::new(watch, device(watch, 3).record().clone());
    assert_eq!((fresh.watches(), fresh.fallback()), (true, Some(v(2))));
    check("condemned in the last second", fresh, &rows);

    let rows = [
        (inferences(1, 0, 1000), false, Action::None, Some(v(3))),
        (inferences(1, 0, 1060), false, Action::None, Some(v(3))),
        (Event::Suspend { now: 1060 }, true, Action::None, Some(v(3))),
        (Event::Suspend { now: 1060 }, false, Action::None, Some(v(3))),
    ];
    let machine = check("a part of it", Machine::new(watch, device(watch, 3).record().clone()), &rows);
    assert_eq!(machine.record().watch_left_s, 40);
    let rows = [
        (Event::Resume { now: 5000 }, false, Action::None, Some(v(3))),
        (Event::Resume { now: 4000 }, false, Action::None, Some(v(3))),
        (Event::Resume { now: 4040 }, false, Action::None, Some(v(3))),
        (condemn(3), false, Action::None, Some(v(3))),
    ];
    let machine = check("over", Machine::new(watch, machine.record().clone()), &rows);
    assert!(!machine.watches());

    let rows = [(inferences(1, 0, 0), false, Action::None, Some(v(1))), (condemn(1), false, Action::None, Some(v(1)))];
    let machine = check("nothing to go back to", device(watch, 1), &rows);
    assert_eq!((machine.watches(), machine.fallback()), (true, None));

    let mut machine = device(watch, 1);
    send(&mut machine, Event::Factory(Some(Version { sha256: [77; 32], ..v(0) })));
    let factory = Version { sha256: [77; 32], ..v(0) };
    let rejected = Action::Rejected { version: v(1), reason: Reason::CONSTANT };
    check("to the factory version", machine, &[(condemn(1), true, rejected, Some(factory))]);

    let rows = [
        (
            Event::Rollback { to: Some([2; 32]), remote: false },
            true,
            Action::RolledBack { from: Some(v(3)), to: v(2) },
            Some(v(2)),
        ),
        (condemn(2), false, Action::None, Some(v(2))),
    ];
    check("what a person went back to is not watched", device(watch, 3), &rows);
    check("no watch", device(Config { watch_s: 0, ..CONFIG }, 3), &[(condemn(3), false, Action::None, Some(v(3)))]);
}

#[test]
fn checkpoints_bound_what_a_power_cut_costs() {
    let config = Config { checkpoint: 4, ..CONFIG };
    let mut machine = check("to the trial", device(config, 1), &FETCH);
    send(&mut machine, Event::Resume { now: 0 });
    let stored: Vec<bool> = (0..9).map(|_| send(&mut machine, inferences(1, 0, 0)).0).collect();
    assert_eq!(stored, [false, false, false, true, false, false, false, true, false]);
}

#[test]
fn the_list_of_rejections_is_bounded() {
    let mut machine = device(CONFIG, 1);
    for n in 2..=40 {
        send(&mut machine, offer(v(n)));
        send(&mut machine, Event::Refuse(Reason::SIGNATURE));
    }
    let remembered = |n: u8| machine.record().rejection(&[n; 32], 1).is_some();
    assert!(!remembered(8) && (9..=40).all(remembered));
}
