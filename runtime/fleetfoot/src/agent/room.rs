//! Room on the disk: a download that does not fit is not begun, and one that waits for room goes on as soon as there is some.

use fleetfoot_format::record::{Candidate, Phase, Reason};
use fleetfoot_update::Event as Input;

use super::Agent;
use crate::error::Error;

impl Agent {
    /// Whether so many bytes of a bundle can come.
    pub(super) fn room_for(&self, missing: u64) -> Result<(), Error> {
        let need = missing.saturating_add(KEPT_FREE_BYTES);
        match self.store.free_bytes() {
            Some(free) if missing > 0 && free < need => Err(Error::NoRoom { need, free }),
            _ => Ok(()),
        }
    }

    /// How a poll goes on: as the record says, and at once where it waited for room that is there now.
    pub(super) fn take_up_again(&self) -> Input {
        let now = self.now;
        match self.machine.record().candidate {
            Some(Candidate {
                version, phase: Phase::Deferred { reason: Reason::DISK_FULL, ready: false, .. }, ..
            }) => {
                let there = self.models.partial_len(&version);
                let room =
                    self.store.free_bytes().is_some() && self.room_for(version.len.saturating_sub(there)).is_ok();
                if room { Input::Retry { now } } else { Input::Resume { now } }
            }
            _ => Input::Resume { now },
        }
    }
}

/// An update never takes the last bytes of a disk: they are for records, metadata and everybody else.
const KEPT_FREE_BYTES: u64 = 256 * 1024;
