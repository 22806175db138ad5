//! Runs of a candidate's code that never came back, versions that do not answer rightly any more, and deferrals whose cause has passed.
//!
//! A driver that watches the code of a candidate from outside (a child process, a thread with a deadline) survives what kills or stops that
//! code. Then the attempt stays spent, as if the device itself had died, whatever the phase is:
//!
//! ```text
//! validating      attempts left: Deferred, validates again     none: rejected
//! shadow, trial   attempts left: same phase, nothing runs      none: rejected
//! ```

use fleetfoot_format::record::{Phase, Reason};

use super::{Machine, Running};
use crate::{
    change,
    error::UpdateError,
    event::{Action, Event},
};

impl Machine {
    /// [`Event::Lost`].
    pub(super) fn lost(&mut self, reason: Reason, retry_at: i64, now: i64) -> Result<Action, UpdateError> {
        self.count(0, now);
        let running = core::mem::replace(&mut self.running, Running::Nothing);
        let (false, Some(candidate)) = (running == Running::Nothing, &mut self.record.candidate) else {
            self.running = running;
            return Err(UpdateError::Unexpected { event: "Lost" });
        };
        let version = candidate.version;
        if candidate.attempts_left == 0 {
            return Ok(self.reject(reason));
        }
        if running != Running::Validation {
            return Ok(self.persist(Action::None));
        }
        candidate.phase = Phase::Deferred { reason, retry_at, offset: version.len, ready: true };
        Ok(self.persist(Action::Deferred { version, reason, retry_at }))
    }

    /// [`Event::Unfit`].
    pub(super) fn unfit(&mut self, sha256: [u8; 32], reason: Reason) -> Action {
        if self.record.candidate.is_some_and(|c| c.version.sha256 == sha256) {
            return self.reject(reason);
        }
        let factory = self.record.factory.filter(|factory| factory.sha256 == sha256);
        let Some(version) = self.record.kept(&sha256).copied().or(factory) else { return Action::None };
        if self.record.active == Some(sha256) {
            // What takes over has been settled for long.
            self.record.watch_left_s = 0;
        }
        change::reject(&mut self.record, &version, reason);
        change::forget(&mut self.record, &sha256);
        let to = self.serving().copied();
        self.persist(Action::FellBack { to })
    }

    /// [`Event::Retry`].
    pub(super) fn retry(&mut self, now: i64) -> Result<Action, UpdateError> {
        if let Some(Phase::Deferred { retry_at, .. }) = self.record.candidate.as_mut().map(|c| &mut c.phase) {
            *retry_at = now.min(*retry_at);
        }
        self.step(Event::Resume { now })
    }
}
