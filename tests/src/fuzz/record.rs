//! The state record of a device: bytes as they are, and as a body whose length and checksum hold; what decodes drives the machine.

use fleetfoot_format::{
    FormatError,
    record::{MAX_RECORD_LEN, RECORD_MAGIC, RECORD_VERSION, Record, Version},
};
use fleetfoot_update::{Action, Config, Event, Machine};

/// Decodes, encodes again, and goes on from it as a device does that starts with it.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    check(bytes);
    let body = &bytes[..bytes.len().min(MAX_RECORD_LEN - 12)];
    let len = (body.len() as u16).to_le_bytes();
    let mut whole = [&RECORD_MAGIC[..], &[RECORD_VERSION, 0], &len, body].concat();
    whole.extend(crc32fast::hash(&whole).to_le_bytes());
    check(&whole);
}

fn check(bytes: &[u8]) {
    let record = match Record::decode(bytes) {
        Ok(record) => record,
        Err(error) => return assert!((100..200).contains(&error.code()) && !error.to_string().is_empty()),
    };
    let mut slot = [0; MAX_RECORD_LEN];
    match record.encode(&mut slot) {
        Ok(len) => assert_eq!(Record::decode(&slot[..len]).as_ref(), Ok(&record), "written again it is another one"),
        Err(error) => assert!(matches!(error, FormatError::Truncated { .. })),
    }
    let version = Version { sha256: [3; 32], number: 1 << 40, len: 1000, attempt: 2, epoch: u32::MAX };
    let now = i64::from(bytes.len() as u8) << 24;
    let mut machine = Machine::new(Config::default(), record);
    for event in [
        Event::Resume { now },
        Event::Offer { version, now },
        Event::Offer { version, now: i64::MAX },
        Event::Fetched,
        Event::Validated,
        Event::Resume { now: i64::MIN },
        Event::Inferences { good: u32::MAX, bad: 0, now: i64::MAX },
        Event::Inferences { good: 0, bad: 1, now },
        Event::Suspend { now },
    ] {
        // An event that does not fit is refused, with a number.
        match machine.step(event) {
            Ok(Action::Persist) => drop(machine.step(Event::Persisted)),
            Ok(_) => {}
            Err(error) => assert!((400..450).contains(&error.code())),
        }
    }
}
