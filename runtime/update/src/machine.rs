//! The machine: which event does what. The table is in the crate's documentation; what changes in the record is in `change`.

mod lost;

use fleetfoot_format::record::{Candidate, Phase, Reason, Record, Version};

use crate::{
    change,
    cohort::enrol,
    config::Config,
    error::UpdateError,
    event::{Action, Event, NotTaken},
};

/// The state machine of one model.
///
/// ```
/// use fleetfoot_update::{Action, Config, Event, Machine, record::{Record, Version}};
/// let mut machine = Machine::new(Config::default(), Record::default());
/// let version = Version { sha256: [7; 32], number: 1, len: 1000, attempt: 1, epoch: 0 };
/// assert_eq!(machine.step(Event::Offer { version, now: 0 })?, Action::Persist);
/// // The driver stores machine.record() here.
/// assert_eq!(machine.step(Event::Persisted)?, Action::Fetch { version, offset: 0 });
/// # Ok::<(), fleetfoot_update::UpdateError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Machine {
    config: Config,
    record: Record,
    running: Running,
    /// What is handed out once the record is durable.
    then: Option<Action>,
    /// The latest time that an event carried.
    now: i64,
}

/// Code of the candidate that runs in this process. Not durable: after a power cut nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Nothing,
    Validation,
    Trial {
        /// Up to when the health window was counted.
        since: i64,
        /// Good inferences that are not durable yet.
        unsaved: u32,
    },
}

impl Machine {
    /// A machine that goes on from `record`; nothing runs until [`Event::Resume`].
    #[must_use]
    pub const fn new(config: Config, record: Record) -> Self {
        Self { config, record, running: Running::Nothing, then: None, now: 0 }
    }

    /// Other limits from now on, for what is not decided yet; a candidate keeps the attempts that it was given.
    pub const fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// The state: what must be stored when [`Action::Persist`] was handed out, what is stored otherwise (but for the
    /// counters of a running trial).
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// The version whose inferences the application gets: the candidate while its trial runs in this process,
    /// else the active version, else the factory version.
    #[must_use]
    pub fn serving(&self) -> Option<&Version> {
        match (&self.running, &self.record.candidate) {
            (Running::Trial { .. }, Some(candidate)) => Some(&candidate.version),
            _ => self.record.active(),
        }
    }

    /// Whether the version that serves is in its trial.
    #[must_use]
    pub const fn in_trial(&self) -> bool {
        matches!(self.running, Running::Trial { .. })
    }

    /// Whether the stored bundle `sha256` may be deleted: it is neither kept nor the factory version nor the candidate.
    #[must_use]
    pub fn may_delete(&self, sha256: &[u8; 32]) -> bool {
        let is = |version: &Version| version.sha256 == *sha256;
        let candidate = self.record.candidate.as_ref().is_some_and(|c| is(&c.version));
        !candidate && !self.record.factory.as_ref().is_some_and(is) && self.record.kept(sha256).is_none()
    }

    /// Takes one event and says what to do.
    ///
    /// # Errors
    /// [`UpdateError`] where the event does not fit; the state is unchanged then.
    pub fn step(&mut self, event: Event) -> Result<Action, UpdateError> {
        if let Some(then) = self.then {
            return match event {
                Event::Persisted => Ok(self.persisted(then)),
                _ => Err(UpdateError::PersistPending),
            };
        }
        match event {
            Event::Resume { now } => Ok(self.resume(now)),
            Event::Factory(version) => Ok(self.factory(version)),
            Event::Offer { version, now } => Ok(self.offer(version, now)),
            Event::Withdraw => Ok(self.withdraw()),
            Event::Written { offset } => self.written(offset),
            Event::Fetched => self.fetched(),
            Event::Validated => self.validated(),
            Event::Refuse(reason) => self.refuse(reason),
            Event::Defer { reason, retry_at, now } => self.defer(reason, retry_at.min(now.saturating_add(MAX_DEFER_S))),
            Event::Inferences { good, bad, now } => Ok(self.inferences(good, bad, now)),
            Event::ConfirmHealthy => Ok(if self.in_trial() { self.commit() } else { Action::None }),
            Event::Suspend { now } => Ok(self.suspend(now)),
            Event::Rollback { to, remote } => self.rollback(to, remote),
            Event::Broken { sha256 } => Ok(self.broken(sha256)),
            Event::Lost { reason, retry_at, now } => {
                self.lost(reason, retry_at.min(now.saturating_add(MAX_DEFER_S)), now)
            }
            Event::Unfit { sha256, reason } => Ok(self.unfit(sha256, reason)),
            Event::Retry { now } => self.retry(now),
            Event::Enrol(enrolment) => {
                Ok(if enrol(&mut self.record, enrolment) { self.persist(Action::None) } else { Action::None })
            }
            Event::RolloutRole { targets } if targets > self.record.rollout_role => {
                self.record.rollout_role = targets;
                Ok(self.persist(Action::None))
            }
            Event::RolloutRole { .. } => Ok(Action::None),
            Event::Persisted => Err(UpdateError::Unexpected { event: "Persisted" }),
        }
    }

    fn persist(&mut self, then: Action) -> Action {
        self.record.seq += 1;
        self.then = Some(then);
        Action::Persist
    }

    fn persisted(&mut self, then: Action) -> Action {
        self.then = None;
        match then {
            Action::Validate { .. } => self.running = Running::Validation,
            Action::StartTrial { .. } => self.running = Running::Trial { since: self.now, unsaved: 0 },
            _ => {}
        }
        then
    }

    fn resume(&mut self, now: i64) -> Action {
        if self.in_trial() {
            return self.inferences(0, 0, now);
        }
        self.now = now;
        let Some(candidate) = &mut self.record.candidate else { return Action::None };
        let version = candidate.version;
        if self.running == Running::Validation {
            return Action::None;
        }
        match candidate.phase {
            Phase::Writing { offset } => Action::Fetch { version, offset },
            Phase::Ready => self.take_attempt(Action::Validate { version }),
            Phase::Validated => {
                candidate.phase = Phase::Trial { good: 0, elapsed_s: 0 };
                self.take_attempt(Action::StartTrial { version })
            }
            Phase::Trial { .. } => self.take_attempt(Action::StartTrial { version }),
            Phase::Deferred { reason, retry_at, .. } if now < retry_at && retry_at - now <= MAX_DEFER_S => {
                Action::Deferred { version, reason, retry_at }
            }
            Phase::Deferred { ready: true, .. } => {
                candidate.phase = Phase::Ready;
                self.take_attempt(Action::Validate { version })
            }
            Phase::Deferred { offset, .. } => {
                candidate.phase = Phase::Writing { offset };
                Action::Fetch { version, offset }
            }
        }
    }

    /// The rule of attempts: durable before the code runs, and the end of a candidate that has none left.
    fn take_attempt(&mut self, then: Action) -> Action {
        match &mut self.record.candidate {
            Some(Candidate { attempts_left: left @ 1.., .. }) => {
                *left -= 1;
                self.persist(then)
            }
            _ => self.reject(Reason::CRASH_LOOP),
        }
    }

    fn give_attempt_back(&mut self) {
        if self.running != Running::Nothing
            && let Some(candidate) = &mut self.record.candidate
        {
            candidate.attempts_left = candidate.attempts_left.saturating_add(1);
        }
        self.running = Running::Nothing;
    }

    fn factory(&mut self, version: Option<Version>) -> Action {
        if self.record.factory == version {
            return Action::None;
        }
        self.record.factory = version;
        self.persist(Action::None)
    }

    fn offer(&mut self, version: Version, now: i64) -> Action {
        if let Err(why) = change::may_take(&self.record, &version) {
            return Action::NotTaken(why);
        }
        if let Some(candidate) = &self.record.candidate {
            if candidate.version == version {
                return self.resume(now);
            }
            if self.running != Running::Nothing || matches!(candidate.phase, Phase::Trial { .. }) {
                return Action::NotTaken(NotTaken::Busy);
            }
        }
        self.now = now;
        let room = self.slots() - 1;
        change::make_room(&mut self.record, room);
        let (attempts_left, phase) = (self.config.attempts.max(1), Phase::Writing { offset: 0 });
        self.record.candidate = Some(Candidate { version, attempts_left, phase });
        self.persist(Action::Fetch { version, offset: 0 })
    }

    fn withdraw(&mut self) -> Action {
        let Some(candidate) = self.record.candidate.take() else { return Action::None };
        self.running = Running::Nothing;
        self.persist(Action::Withdrawn { version: candidate.version })
    }

    fn written(&mut self, offset: u64) -> Result<Action, UpdateError> {
        match &mut self.record.candidate {
            Some(Candidate { version, phase: Phase::Writing { offset: bookmark }, .. }) if offset <= version.len => {
                *bookmark = offset;
                Ok(self.persist(Action::None))
            }
            _ => Err(UpdateError::Unexpected { event: "Written" }),
        }
    }

    fn fetched(&mut self) -> Result<Action, UpdateError> {
        match &mut self.record.candidate {
            Some(Candidate { version, phase: phase @ Phase::Writing { .. }, .. }) => {
                *phase = Phase::Ready;
                let version = *version;
                Ok(self.take_attempt(Action::Validate { version }))
            }
            _ => Err(UpdateError::Unexpected { event: "Fetched" }),
        }
    }

    fn validated(&mut self) -> Result<Action, UpdateError> {
        match (self.running, &mut self.record.candidate) {
            (Running::Validation, Some(candidate)) => {
                candidate.phase = Phase::Validated;
                let version = candidate.version;
                self.give_attempt_back();
                Ok(self.persist(Action::Validated { version }))
            }
            _ => Err(UpdateError::Unexpected { event: "Validated" }),
        }
    }

    fn refuse(&mut self, reason: Reason) -> Result<Action, UpdateError> {
        match self.record.candidate {
            Some(_) => Ok(self.reject(reason)),
            None => Err(UpdateError::Unexpected { event: "Refuse" }),
        }
    }

    fn defer(&mut self, reason: Reason, retry_at: i64) -> Result<Action, UpdateError> {
        let (offset, ready) = match &self.record.candidate {
            Some(Candidate { phase: Phase::Writing { offset }, .. }) => (*offset, false),
            Some(Candidate { phase: Phase::Ready, version, .. }) => (version.len, true),
            Some(Candidate { phase: Phase::Deferred { offset, ready, .. }, .. }) => (*offset, *ready),
            _ => return Err(UpdateError::Unexpected { event: "Defer" }),
        };
        self.give_attempt_back();
        let Some(candidate) = &mut self.record.candidate else { return Ok(Action::None) };
        candidate.phase = Phase::Deferred { reason, retry_at, offset, ready };
        let version = candidate.version;
        Ok(self.persist(Action::Deferred { version, reason, retry_at }))
    }

    fn inferences(&mut self, new_good: u32, bad: u32, now: i64) -> Action {
        self.count(new_good, now);
        let (Running::Trial { unsaved, .. }, Some(Phase::Trial { good, elapsed_s })) = (self.running, self.phase())
        else {
            return Action::None;
        };
        if bad > 0 {
            return self.reject(Reason::BAD_INFERENCE);
        }
        let (enough, window) = (self.config.min_inferences, self.config.health_window_s);
        let in_time = good >= enough && elapsed_s >= window;
        let seldom_used = window > 0 && good > 0 && elapsed_s >= window.saturating_mul(4);
        if in_time || seldom_used {
            return self.commit();
        }
        if self.config.checkpoint > 0 && unsaved >= self.config.checkpoint {
            self.running = Running::Trial { since: now, unsaved: 0 };
            return self.persist(Action::None);
        }
        Action::None
    }

    /// Adds to the counters of a running trial. A clock that went back counts as one that stood still.
    fn count(&mut self, new_good: u32, now: i64) {
        self.now = now;
        if let (Running::Trial { since, unsaved }, Some(Candidate { phase: Phase::Trial { good, elapsed_s }, .. })) =
            (&mut self.running, &mut self.record.candidate)
        {
            *good = good.saturating_add(new_good);
            *unsaved = unsaved.saturating_add(new_good);
            let passed = now.saturating_sub(*since).max(0);
            *elapsed_s = elapsed_s.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
            *since = now;
        }
    }

    fn suspend(&mut self, now: i64) -> Action {
        if self.running == Running::Nothing {
            return Action::None;
        }
        self.count(0, now);
        self.give_attempt_back();
        self.persist(Action::None)
    }

    fn commit(&mut self) -> Action {
        let Some(candidate) = self.record.candidate.take() else { return Action::None };
        self.running = Running::Nothing;
        let rest = self.slots().min(fleetfoot_format::record::MAX_KEPT);
        change::commit(&mut self.record, candidate.version, rest);
        self.persist(Action::Committed { version: candidate.version })
    }

    fn reject(&mut self, reason: Reason) -> Action {
        let Some(candidate) = self.record.candidate.take() else { return Action::None };
        self.running = Running::Nothing;
        change::reject(&mut self.record, &candidate.version, reason);
        self.persist(Action::Rejected { version: candidate.version, reason })
    }

    fn rollback(&mut self, to: Option<[u8; 32]>, remote: bool) -> Result<Action, UpdateError> {
        let kept = to.as_ref().map_or(self.record.factory.as_ref(), |sha256| self.record.kept(sha256));
        let target = *kept.ok_or(UpdateError::NotKept)?;
        let floor = self.record.epoch_floor;
        if remote && target.epoch < floor {
            return Err(UpdateError::BelowEpochFloor { epoch: target.epoch, floor });
        }
        let from = self.serving().copied();
        let candidate = self.record.candidate.take();
        self.running = Running::Nothing;
        change::rollback(&mut self.record, to, &target, candidate.map(|c| c.version), !remote);
        Ok(self.persist(Action::RolledBack { from, to: target }))
    }

    fn broken(&mut self, sha256: [u8; 32]) -> Action {
        if self.may_delete(&sha256) {
            return Action::None;
        }
        if self.record.candidate.is_some_and(|c| c.version.sha256 == sha256) {
            self.record.candidate = None;
            self.running = Running::Nothing;
        }
        change::forget(&mut self.record, &sha256);
        let to = self.serving().copied();
        self.persist(Action::FellBack { to })
    }

    fn phase(&self) -> Option<Phase> {
        self.record.candidate.map(|c| c.phase)
    }

    fn slots(&self) -> usize {
        usize::from(self.config.slots.max(2))
    }
}

/// A deferral lasts a day at most.
const MAX_DEFER_S: i64 = 86_400;
