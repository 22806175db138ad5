//! The machine: which event does what. The table is in the crate's documentation; what changes in the record is in `change`.

mod lost;

use fleetfoot_format::record::{Candidate, Phase, Reason, Record, Version};

use crate::{
    change,
    cohort::enrol,
    config::{Config, ShadowGate},
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
    /// Up to when the watch of the active version was counted, and whether that is durable.
    watched: Option<i64>,
    watch_unsaved: bool,
}

/// Code of the candidate that runs in this process. Not durable: after a power cut nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    Nothing,
    Validation,
    Shadow {
        /// Up to when the bake time was counted.
        since: i64,
        /// Compared inferences that are not durable yet.
        unsaved: u32,
    },
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
        Self { config, record, running: Running::Nothing, then: None, now: 0, watched: None, watch_unsaved: false }
    }

    /// The limits that hold: those of the device, or of a rollout.
    #[must_use]
    pub const fn config(&self) -> Config {
        self.config
    }

    /// Other limits from now on, for what is not decided yet; a candidate keeps the attempts that it was given.
    pub const fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// The state: what must be stored when [`Action::Persist`] was handed out, what is stored otherwise (but for the
    /// counters of what runs or is watched).
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

    /// The candidate, while it runs in the shadow of the version that serves.
    #[must_use]
    pub const fn in_shadow(&self) -> Option<&Version> {
        match (&self.running, &self.record.candidate) {
            (Running::Shadow { .. }, Some(candidate)) => Some(&candidate.version),
            _ => None,
        }
    }

    /// Whether local gates may take back the version that serves: it is on trial, or was committed a short time ago.
    #[must_use]
    pub const fn watches(&self) -> bool {
        self.in_trial() || self.record.watch_left_s > 0
    }

    /// The version that takes over when the one that serves is condemned.
    #[must_use]
    pub fn fallback(&self) -> Option<Version> {
        if self.in_trial() {
            return self.record.active().copied();
        }
        change::next_best(&self.record)
    }

    /// What candidates need to show in the shadow.
    #[must_use]
    pub const fn shadow_asked(&self) -> Option<ShadowGate> {
        self.config.shadow
    }

    /// From now on candidates need, or need no more, a shadow: for a rollout whose stage changed. A shadow that runs is over at the next
    /// [`Event::Resume`] where none is needed.
    pub const fn set_shadow(&mut self, shadow: Option<ShadowGate>) {
        self.config.shadow = shadow;
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
            Event::Shadow { runs, agree, now } => Ok(self.shadow(runs, agree, now)),
            Event::Condemn { sha256, reason } => Ok(self.condemn(&sha256, reason)),
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
        self.watch_unsaved = false;
        if let Running::Shadow { unsaved, .. } = &mut self.running {
            *unsaved = 0;
        }
        self.then = Some(then);
        Action::Persist
    }

    fn persisted(&mut self, then: Action) -> Action {
        self.then = None;
        match then {
            Action::Validate { .. } => self.running = Running::Validation,
            Action::StartShadow { .. } => self.running = Running::Shadow { since: self.now, unsaved: 0 },
            Action::StartTrial { .. } => self.running = Running::Trial { since: self.now, unsaved: 0 },
            _ => {}
        }
        then
    }

    fn resume(&mut self, now: i64) -> Action {
        match self.running {
            Running::Trial { .. } => return self.inferences(0, 0, now),
            Running::Shadow { .. } => return self.shadow(0, 0, now),
            Running::Validation | Running::Nothing => self.count_watch(now),
        }
        self.now = now;
        let shadow = self.shadow_gate().is_some();
        let Some(candidate) = &mut self.record.candidate else { return Action::None };
        let version = candidate.version;
        if self.running == Running::Validation {
            return Action::None;
        }
        match candidate.phase {
            Phase::Writing { offset } => Action::Fetch { version, offset },
            Phase::Ready => self.take_attempt(Action::Validate { version }),
            Phase::Validated if shadow => {
                candidate.phase = Phase::Shadow { runs: 0, agree: 0, elapsed_s: 0 };
                self.take_attempt(Action::StartShadow { version })
            }
            Phase::Shadow { .. } if shadow => self.take_attempt(Action::StartShadow { version }),
            Phase::Validated | Phase::Shadow { .. } => {
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
            let waits = matches!(self.running, Running::Nothing | Running::Shadow { .. });
            if !waits || matches!(candidate.phase, Phase::Trial { .. }) {
                return Action::NotTaken(NotTaken::Busy);
            }
            // Nobody waits for the answers of a shadow.
            self.running = Running::Nothing;
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

    /// What a shadow is held against: nothing where none is asked for, or where nothing serves that it could be compared with.
    fn shadow_gate(&self) -> Option<ShadowGate> {
        self.config.shadow.filter(|_| self.record.active().is_some())
    }

    fn shadow(&mut self, new_runs: u32, new_agree: u32, now: i64) -> Action {
        self.count_shadow(new_runs, new_agree, now);
        let (Running::Shadow { unsaved, .. }, Some(Phase::Shadow { runs, agree, elapsed_s })) =
            (self.running, self.phase())
        else {
            return Action::None;
        };
        if let Some(gate) = self.shadow_gate() {
            if runs < gate.min_runs.max(1) || elapsed_s < gate.bake_s {
                let save = self.config.checkpoint > 0 && unsaved >= self.config.checkpoint;
                return if save { self.persist(Action::None) } else { Action::None };
            }
            if u64::from(agree) * 10_000 < u64::from(runs) * u64::from(gate.agreement_bp) {
                return self.reject(Reason::DISAGREES);
            }
            if gate.stays {
                return Action::None;
            }
        }
        // The attempt that was taken for the shadow goes on as that of the trial.
        let Some(candidate) = &mut self.record.candidate else { return Action::None };
        candidate.phase = Phase::Trial { good: 0, elapsed_s: 0 };
        let version = candidate.version;
        self.running = Running::Nothing;
        self.persist(Action::StartTrial { version })
    }

    fn count_shadow(&mut self, new_runs: u32, new_agree: u32, now: i64) {
        self.count_watch(now);
        self.now = now;
        if let (
            Running::Shadow { since, unsaved },
            Some(Candidate { phase: Phase::Shadow { runs, agree, elapsed_s }, .. }),
        ) = (&mut self.running, &mut self.record.candidate)
        {
            *runs = runs.saturating_add(new_runs);
            *agree = agree.saturating_add(new_agree.min(new_runs));
            *elapsed_s = elapsed_s.saturating_add(passed(*since, now));
            *unsaved = unsaved.saturating_add(new_runs);
            *since = now;
        }
    }

    fn condemn(&mut self, sha256: &[u8; 32], reason: Reason) -> Action {
        if let Some(candidate) = &self.record.candidate
            && candidate.version.sha256 == *sha256
        {
            let runs = matches!(self.running, Running::Shadow { .. } | Running::Trial { .. });
            return if runs { self.reject(reason) } else { Action::None };
        }
        if self.in_trial() || self.record.watch_left_s == 0 || self.record.active != Some(*sha256) {
            return Action::None;
        }
        match change::condemn(&mut self.record, reason) {
            Some(version) => {
                self.record.watch_left_s = 0;
                self.persist(Action::Rejected { version, reason })
            }
            None => Action::None,
        }
    }

    /// Counts the watch of the active version down; while a trial is on it is not the one that serves.
    fn count_watch(&mut self, now: i64) {
        if self.in_trial() || self.record.watch_left_s == 0 {
            self.watched = None;
            return;
        }
        let passed = self.watched.map_or(0, |since| passed(since, now));
        self.watched = Some(now);
        self.watch_unsaved |= passed > 0;
        self.record.watch_left_s = self.record.watch_left_s.saturating_sub(passed);
    }

    fn inferences(&mut self, new_good: u32, bad: u32, now: i64) -> Action {
        self.count_watch(now);
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

    /// Adds to the counters of a running trial.
    fn count(&mut self, new_good: u32, now: i64) {
        self.now = now;
        if let (Running::Trial { since, unsaved }, Some(Candidate { phase: Phase::Trial { good, elapsed_s }, .. })) =
            (&mut self.running, &mut self.record.candidate)
        {
            *good = good.saturating_add(new_good);
            *unsaved = unsaved.saturating_add(new_good);
            *elapsed_s = elapsed_s.saturating_add(passed(*since, now));
            *since = now;
        }
    }

    fn suspend(&mut self, now: i64) -> Action {
        match self.running {
            Running::Shadow { .. } => self.count_shadow(0, 0, now),
            _ => self.count_watch(now),
        }
        if self.running == Running::Nothing && !self.watch_unsaved {
            return Action::None;
        }
        self.count(0, now);
        self.give_attempt_back();
        self.persist(Action::None)
    }

    fn commit(&mut self) -> Action {
        let Some(candidate) = self.record.candidate.take() else { return Action::None };
        self.running = Running::Nothing;
        self.record.watch_left_s = self.config.watch_s;
        self.watched = Some(self.now);
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
        self.record.watch_left_s = 0;
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
        if self.record.active == Some(sha256) {
            self.record.watch_left_s = 0;
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

/// Seconds from `since` to `now`. A clock that went back counts as one that stood still.
fn passed(since: i64, now: i64) -> u32 {
    u32::try_from(now.saturating_sub(since).max(0)).unwrap_or(u32::MAX)
}

/// A deferral lasts a day at most.
const MAX_DEFER_S: i64 = 86_400;
