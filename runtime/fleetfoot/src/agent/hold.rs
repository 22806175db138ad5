//! Work that waits for network, power or the time of day; see [`conditions`](crate::conditions).

use fleetfoot_format::record::{Candidate, Phase, Reason, Version};
use fleetfoot_update::{Action, Event as Input, ShadowGate};

use super::{Agent, Event, Outcome};
use crate::{
    conditions::{Jitter, Situation, Work},
    error::Error,
};

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

    /// Whether a candidate that could serve or run in the shadow as the next thing must wait, why, and until when. It stays what it is.
    pub(super) fn held_before_start(&self) -> Option<(Version, Reason, i64)> {
        let Candidate { phase, version, .. } = self.machine.record().candidate?;
        // A shadow goes on at any time; one that nothing is asked of any more would serve.
        let is_next = match phase {
            Phase::Validated => true,
            Phase::Shadow { .. } => self.machine.shadow_asked().is_none(),
            _ => false,
        };
        if !is_next {
            return None;
        }
        let (reason, retry_at) = self.ask(Work::Apply { fresh: false }, &version)?;
        Some((version, reason, retry_at))
    }

    /// One step of a candidate in the shadow. It may pass at any time, and serves when it may: until then its gate lets nothing through.
    pub(super) fn step_in_shadow(&mut self, input: Input) -> Result<Action, Error> {
        let version = self.machine.in_shadow().copied();
        let held = version.and_then(|version| self.ask(Work::Apply { fresh: false }, &version)).is_some();
        match self.machine.shadow_asked() {
            asked @ Some(gate) if held => {
                self.machine.set_shadow(Some(ShadowGate { stays: true, ..gate }));
                let done = self.step(input);
                self.machine.set_shadow(asked);
                done
            }
            None if held => Ok(Action::None),
            _ => self.step(input),
        }
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
        let policy = self.assignment.as_ref().map_or(config.policy, |part| config.policy.with(&part.network));
        policy.hold(work, version, situation, &self.jitter(), self.now)
    }

    fn jitter(&self) -> Jitter {
        self.config.jitter.clone().unwrap_or_else(|| Jitter::new(self.device_key.unwrap_or_default()))
    }

    /// When to poll next: this device's own moment of each period, which is that of the rollout, where there is one, and of
    /// [`AgentConfig::poll`](super::AgentConfig) otherwise; earlier where a candidate waits for less.
    #[must_use]
    pub fn next_poll(&self, now: i64) -> i64 {
        let own = self.config.poll;
        let (active, policy) = match &self.assignment {
            Some(part) => (part.is_active(), own.with(&part.network)),
            None => (false, own),
        };
        let period = if active { policy.active_s } else { policy.every_s };
        let next = self.jitter().next_poll(now, period);
        match self.machine.record().candidate.map(|candidate| candidate.phase) {
            // Where only the next look can tell, an ordinary poll is the next look.
            Some(Phase::Deferred { reason: Reason::OUTSIDE_WINDOW | Reason::NOT_ITS_TURN, retry_at, .. })
                if retry_at > now =>
            {
                next.min(retry_at)
            }
            _ => next,
        }
    }
}
