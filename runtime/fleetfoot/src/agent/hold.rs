//! Work that waits for network, power or the time of day; see [`conditions`](crate::conditions).

use fleetfoot_format::record::{Candidate, Phase, Reason, Version};
use fleetfoot_update::{Action, Event as Input};

use super::{Agent, Event, Outcome};
use crate::conditions::{Jitter, Situation, Work};

impl Agent {
    /// The event that puts `action` off, where it must wait. `fetches`: there is an offer, so that a fetch would happen; `fresh`: the
    /// bundle was fetched in this poll.
    pub(super) fn hold(&self, action: &Action, fetches: bool, fresh: bool) -> Option<Input> {
        let (work, version) = match action {
            Action::Fetch { version, .. } if fetches => (Work::Fetch, version),
            Action::Validate { version } => (Work::Apply { fresh }, version),
            _ => return None,
        };
        let (reason, retry_at) = self.ask(work, version)?;
        Some(Input::Defer { reason, retry_at, now: self.now })
    }

    /// Whether a candidate that was validated before this poll must wait, why, and until when. It stays what it is.
    pub(super) fn held_before_start(&self) -> Option<(Version, Reason, i64)> {
        let Some(Candidate { phase: Phase::Validated, version, .. }) = self.machine.record().candidate else {
            return None;
        };
        let (reason, retry_at) = self.ask(Work::Apply { fresh: false }, &version)?;
        Some((version, reason, retry_at))
    }

    /// What a poll comes to where that is all there is.
    pub(super) fn put_off(&mut self, (version, reason, retry_at): (Version, Reason, i64)) -> Outcome {
        let version = self.describe(&version);
        self.emit(&Event::Deferred { version: version.clone(), reason, retry_at });
        Outcome::Deferred { version, reason, retry_at, error: None }
    }

    fn ask(&self, work: Work, version: &Version) -> Option<(Reason, i64)> {
        let config = &self.config;
        let situation = config.conditions.as_ref().map_or_else(Situation::default, |c| c.situation(self.now));
        let jitter = config.jitter.clone().unwrap_or_else(|| Jitter::new(self.device_key.unwrap_or_default()));
        config.policy.hold(work, version, situation, &jitter, self.now)
    }
}
