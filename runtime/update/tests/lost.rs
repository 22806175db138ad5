//! Code of a candidate that is killed or hangs under the eyes of its driver, versions that become unfit, and deferrals that end early.
#![allow(clippy::unwrap_used, missing_docs)]

use fleetfoot_update::{
    Action, Config, Event, Machine, NotTaken,
    record::{Phase, Reason, Record, Version},
};

const CONFIG: Config =
    Config { attempts: 2, min_inferences: 10, health_window_s: 100, slots: 6, checkpoint: 0, ..Config::DEFAULT };

const fn v(n: u8) -> Version {
    Version { sha256: [n; 32], number: n as u64, len: 1000, attempt: 1, epoch: 0 }
}

const FACTORY: Version = Version { number: 0, ..v(9) };

/// Sends `event`, stores what is to be stored, and returns the action behind it.
#[track_caller]
fn send(machine: &mut Machine, event: Event) -> Action {
    match machine.step(event).unwrap() {
        Action::Persist => machine.step(Event::Persisted).unwrap(),
        action => action,
    }
}

/// A device with version 1 active and version 2 after `events`.
fn device(events: &[Event]) -> Machine {
    let mut machine = Machine::new(CONFIG, Record { factory: Some(FACTORY), ..Record::default() });
    let first = [offer(1), Event::Fetched, Event::Validated, RESUME, Event::ConfirmHealthy, offer(2)];
    for event in first.iter().chain(events) {
        send(&mut machine, *event);
    }
    machine
}

const fn offer(n: u8) -> Event {
    Event::Offer { version: v(n), now: 0 }
}

const RESUME: Event = Event::Resume { now: 1000 };
const LOST: Event = Event::Lost { reason: Reason::HUNG, retry_at: 1600, now: 1000 };

#[test]
fn a_validation_that_is_lost_is_tried_again_and_given_up() {
    let mut machine = device(&[Event::Fetched]);
    let put_off = Action::Deferred { version: v(2), reason: Reason::HUNG, retry_at: 1600 };
    assert_eq!(send(&mut machine, LOST), put_off);
    assert_eq!(machine.record().candidate.unwrap().attempts_left, 1, "the attempt stays spent");
    assert_eq!(send(&mut machine, Event::Resume { now: 1599 }), put_off, "not before its time");
    assert_eq!(send(&mut machine, Event::Resume { now: 1600 }), Action::Validate { version: v(2) });
    assert_eq!(send(&mut machine, LOST), Action::Rejected { version: v(2), reason: Reason::HUNG });
    assert_eq!(machine.serving(), Some(&v(1)));
    assert_eq!(send(&mut machine, offer(2)), Action::NotTaken(NotTaken::Rejected(Reason::HUNG)));
}

#[test]
fn a_trial_that_is_lost_starts_again_and_is_given_up() {
    let mut machine = device(&[Event::Fetched, Event::Validated, RESUME]);
    assert_eq!(machine.serving(), Some(&v(2)));
    let some = Event::Inferences { good: 5, bad: 0, now: 1010 };
    assert_eq!(send(&mut machine, some), Action::None);
    assert_eq!(send(&mut machine, Event::Lost { reason: Reason::DIED, retry_at: 0, now: 1020 }), Action::None);
    assert_eq!(machine.serving(), Some(&v(1)), "nothing runs");
    assert_eq!(machine.record().candidate.unwrap().phase, Phase::Trial { good: 5, elapsed_s: 20 }, "it goes on later");
    assert_eq!(send(&mut machine, Event::Resume { now: 1030 }), Action::StartTrial { version: v(2) });
    let reason = Reason::DIED;
    assert_eq!(
        send(&mut machine, Event::Lost { reason, retry_at: 0, now: 1040 }),
        Action::Rejected { version: v(2), reason }
    );
}

#[test]
fn nothing_is_lost_where_nothing_runs() {
    for events in [&[][..], &[Event::Fetched, Event::Validated], &[Event::Refuse(Reason::SIGNATURE)]] {
        let mut machine = device(events);
        let before = machine.record().clone();
        assert_eq!(machine.step(LOST).unwrap_err().code(), 400);
        assert_eq!(*machine.record(), before);
    }
}

#[test]
fn what_becomes_unfit_is_out() {
    let reason = Reason::GOLDEN_MISMATCH;
    let unfit = |n: u8| Event::Unfit { sha256: [n; 32], reason };
    // The active one, with a last good one behind it; then that one, too; then the factory version.
    let mut machine = device(&[Event::Fetched, Event::Validated, RESUME, Event::ConfirmHealthy]);
    assert_eq!(send(&mut machine, unfit(2)), Action::FellBack { to: Some(v(1)) });
    assert_eq!(send(&mut machine, offer(2)), Action::NotTaken(NotTaken::Rejected(reason)), "it is not fetched again");
    assert_eq!(send(&mut machine, unfit(1)), Action::FellBack { to: Some(FACTORY) });
    assert_eq!(send(&mut machine, unfit(9)), Action::FellBack { to: None });
    assert_eq!(send(&mut machine, unfit(7)), Action::None, "never heard of");
    // A candidate on trial.
    let mut machine = device(&[Event::Fetched, Event::Validated, RESUME]);
    assert_eq!(send(&mut machine, unfit(2)), Action::Rejected { version: v(2), reason });
    assert_eq!(machine.serving(), Some(&v(1)));
}

#[test]
fn what_it_waited_for_has_come() {
    let defer = Event::Defer { reason: Reason::DISK_FULL, retry_at: 600, now: 0 };
    let mut machine = device(&[defer]);
    let waits = Action::Deferred { version: v(2), reason: Reason::DISK_FULL, retry_at: 600 };
    assert_eq!(send(&mut machine, Event::Resume { now: 10 }), waits);
    assert_eq!(send(&mut machine, Event::Retry { now: 10 }), Action::Fetch { version: v(2), offset: 0 });
    let mut machine = device(&[Event::Fetched]);
    send(&mut machine, LOST);
    assert_eq!(send(&mut machine, Event::Retry { now: 1001 }), Action::Validate { version: v(2) });
    assert_eq!(
        send(&mut device(&[]), Event::Retry { now: 5 }),
        Action::Fetch { version: v(2), offset: 0 },
        "as Resume"
    );
}
