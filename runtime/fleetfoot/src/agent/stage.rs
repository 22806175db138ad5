//! An update in two steps, for applications that choose the moment: [`Agent::stage`] does all of a poll up to the admission of a
//! candidate, and [`Agent::activate`] lets it serve on trial. In between nothing of it runs, over restarts, too.

use fleetfoot_format::record::{Candidate, Phase, Version};
use fleetfoot_update::Event as Input;

use super::{Agent, Event, Outcome};
use crate::error::Error;

impl Agent {
    /// As [`poll`](Self::poll), but a candidate that is admitted waits: [`Outcome::Staged`].
    pub fn stage(&mut self, now: i64) -> Outcome {
        self.holds = true;
        let outcome = self.poll(now);
        self.holds = false;
        outcome
    }

    /// Lets the candidate that is staged serve on trial. Without one nothing happens, and the result is `None`. Needs no network.
    ///
    /// # Errors
    /// [`Error::NewerState`], [`Error::File`] where the state cannot be stored.
    pub fn activate(&mut self, now: i64) -> Result<Option<Outcome>, Error> {
        self.now = now;
        self.writable()?;
        // One that only runs beside the version that serves, or of which nobody knows whether it does, stays where it is.
        if !self.is_staged(None) || self.waits_for_word() {
            return Ok(None);
        }
        let action = self.step(Input::Resume { now })?;
        let outcome = self.carry(action, None);
        if let Err(error) = &outcome {
            self.emit(&Event::Failed(error.to_string()));
        }
        outcome
    }

    /// Whether the candidate, or just this version as the candidate, is admitted and has to wait.
    pub(super) fn is_held(&self, version: Option<&Version>) -> bool {
        self.holds && self.is_staged(version)
    }

    fn is_staged(&self, version: Option<&Version>) -> bool {
        match &self.machine.record().candidate {
            Some(Candidate { version: found, phase: Phase::Validated, .. }) => version.is_none_or(|v| v == found),
            _ => false,
        }
    }
}
