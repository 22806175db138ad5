//! The bundle as an update: what a firmware does with `fleetfoot_update::Machine`, its flash pretended in RAM.
//!
//! ```text
//! Offer -> Fetch -> Fetched -> Validate (goldens) -> Validated -> trial -> power cut -> trial -> active
//! another version: Offer -> Fetch -> Refuse -> rejected; offered again: not taken; the first still serves
//! ```

use fleetfoot_format::record::{MAX_RECORD_LEN, Reason, Record, Version};
use fleetfoot_update::{Action, Config, Event, Machine, NotTaken, UpdateError};
use semihosting::println;

/// Where the life of the candidate left its path.
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are shown through Debug")]
pub(crate) enum Fault {
    /// The machine refused an event: number of the error.
    Refused(u16),
    /// It asked for something else than the step expects.
    Action(&'static str),
    /// What was stored could not be read back.
    Stored,
    /// The candidate failed on this device.
    Candidate,
}

/// Takes `candidate` from an offer to active, with a power cut in its trial, then sees a bad version refused. `run` runs the
/// candidate's golden cases and tells how many were right, or `None` if one was not.
pub(crate) fn check(candidate: Version, mut run: impl FnMut() -> Option<u32>) -> Result<(), Fault> {
    let mut flash = Flash { slots: [[0xFF; MAX_RECORD_LEN]; 2] };
    let mut now = 1;
    let mut machine = Machine::new(CONFIG, Record::default());

    expect("Fetch", flash.step(&mut machine, Event::Offer { version: candidate, now })?, |a| {
        *a == Action::Fetch { version: candidate, offset: 0 }
    })?;
    expect("Validate", flash.step(&mut machine, Event::Fetched)?, |a| matches!(a, Action::Validate { .. }))?;
    run().ok_or(Fault::Candidate)?;
    expect("Validated", flash.step(&mut machine, Event::Validated)?, |a| matches!(a, Action::Validated { .. }))?;
    now += 1;
    expect("StartTrial", flash.step(&mut machine, Event::Resume { now })?, |a| matches!(a, Action::StartTrial { .. }))?;
    println!("update: offered, fetched, validated, in its trial");

    // Power is lost: only what is in flash remains, and the next start goes on from it.
    let mut machine = Machine::new(CONFIG, flash.load().ok_or(Fault::Stored)?);
    now += 1;
    expect("StartTrial", flash.step(&mut machine, Event::Resume { now })?, |a| matches!(a, Action::StartTrial { .. }))?;
    let good = run().ok_or(Fault::Candidate)?;
    now += i64::from(CONFIG.health_window_s);
    expect("Committed", flash.step(&mut machine, Event::Inferences { good, bad: 0, now })?, |a| {
        *a == Action::Committed { version: candidate }
    })?;
    serves(&flash, &candidate)?;
    println!("update: power lost in the trial, tried again, active after {good} good inferences");

    let bad = Version { sha256: candidate.sha256.map(|byte| !byte), number: candidate.number + 1, ..candidate };
    now += 1;
    expect("Fetch", flash.step(&mut machine, Event::Offer { version: bad, now })?, |a| {
        matches!(a, Action::Fetch { .. })
    })?;
    expect("Rejected", flash.step(&mut machine, Event::Refuse(Reason::SIGNATURE))?, |a| {
        matches!(a, Action::Rejected { reason: Reason::SIGNATURE, .. })
    })?;
    expect("NotTaken", flash.step(&mut machine, Event::Offer { version: bad, now })?, |a| {
        *a == Action::NotTaken(NotTaken::Rejected(Reason::SIGNATURE))
    })?;
    serves(&flash, &candidate)?;
    println!("update: a version with a bad signature was refused, the first one serves");
    Ok(())
}

const CONFIG: Config =
    Config { attempts: 2, min_inferences: 1, health_window_s: 60, slots: 2, checkpoint: 0, ..Config::DEFAULT };

fn expect(what: &'static str, action: Action, is_expected: impl Fn(&Action) -> bool) -> Result<(), Fault> {
    if is_expected(&action) {
        return Ok(());
    }
    println!("expected {what}, the machine says {action:?}");
    Err(Fault::Action(what))
}

/// What is stored says that `version` serves.
fn serves(flash: &Flash, version: &Version) -> Result<(), Fault> {
    let record = flash.load().ok_or(Fault::Stored)?;
    if record.active() == Some(version) { Ok(()) } else { Err(Fault::Stored) }
}

/// Two slots that take turns, as the state record's documentation has it.
struct Flash {
    slots: [[u8; MAX_RECORD_LEN]; 2],
}

impl Flash {
    /// One event, and storing the record if the machine asks for it.
    fn step(&mut self, machine: &mut Machine, event: Event) -> Result<Action, Fault> {
        let refused = |e: UpdateError| Fault::Refused(e.code());
        let action = machine.step(event).map_err(refused)?;
        if action != Action::Persist {
            return Ok(action);
        }
        self.store(machine.record())?;
        machine.step(Event::Persisted).map_err(refused)
    }

    fn store(&mut self, record: &Record) -> Result<(), Fault> {
        let older = usize::from(self.seq(0) > self.seq(1));
        record.encode(&mut self.slots[older]).map_err(|_| Fault::Stored)?;
        if self.load().as_ref() == Some(record) { Ok(()) } else { Err(Fault::Stored) }
    }

    fn load(&self) -> Option<Record> {
        let newer = usize::from(self.seq(1) > self.seq(0));
        Record::decode(&self.slots[newer]).ok()
    }

    /// The sequence number in a slot; none is below all.
    fn seq(&self, slot: usize) -> Option<u64> {
        Record::decode(&self.slots[slot]).ok().map(|record| record.seq)
    }
}
