//! The agent: keeps one model on this device up to date, and always has something to serve.
//!
//! ```text
//! poll(now)   go on with what the record says         (needs no network)
//!             refresh the metadata                    tuf      -> store
//!             choose the newest release               that was not rejected and is above the active one
//!             fetch, from where it stopped            transport -> store; length, hash, signatures, announcement
//!             validate on this device                 an attempt is durable before the candidate's code runs
//!             serve it on trial                       the active version is the fallback
//! record_inference(..)                                enough good ones: active; a bad one: the fallback serves again
//! ```
//! What happens in which state is decided by [`fleetfoot_update::Machine`]; the agent is its hands. Whatever fails: the version that
//! serves is untouched, and the [`Outcome`] says why. A process that is killed at any moment goes on from the record.
//!
//! Time is an argument: seconds since 1970. It decides whether metadata has expired and when a trial is over, never what serves.

mod admit;
mod assignment;
mod config;
mod event;
mod fetch;
mod hold;
mod live;
mod reports;
mod rollout;
mod room;
mod serve;
mod stage;

use std::{collections::BTreeMap, sync::Arc};

use fleetfoot_format::record::{Candidate, Phase, Reason, Record, Version};
use fleetfoot_trust::Keys;
use fleetfoot_update::{Action, Event as Input, Machine, NotTaken};

pub use self::{
    assignment::Assignment,
    config::{AgentConfig, Factory, OnEvent},
    event::{Event, Outcome, Role, VersionInfo},
    reports::Reports,
    serve::Serving,
};
use self::{
    fetch::{Announced, Announcements, Source},
    live::Published,
    reports::Reporting,
    rollout::Choice,
};
use crate::{
    error::{Error, hex},
    live::core::Core,
    session::Session,
    store::{Admitted, DEVICE_KEY_LEN, Loaded, ModelStore, Store},
    validate::run_goldens,
    watchdog::watched,
};

/// Keeps one model up to date. See the module.
pub struct Agent {
    config: AgentConfig,
    store: Store,
    models: ModelStore,
    machine: Machine,
    factory: Option<Version>,
    serving: Option<Serving>,
    /// Record version of a newer runtime: nothing is written.
    newer: Option<u8>,
    /// Release labels of versions that were seen.
    labels: BTreeMap<[u8; 32], String>,
    /// Tag of the timestamp that this process fetched last.
    timestamp_tag: Option<String>,
    /// Which versions answer rightly in the environment of this fingerprint.
    admitted: Admitted,
    fingerprint: String,
    /// The version that should serve and could not just now; it is left alone until the next poll.
    passed_over: Option<[u8; 32]>,
    /// What [`live`](Self::live) handles share, and what they were told last.
    live: Arc<Core>,
    published: Option<Published>,
    /// What is reported of the health of the model, where that was asked for.
    reports: Option<Reporting>,
    /// A candidate that is admitted waits for [`Agent::activate`].
    holds: bool,
    /// Draws the bucket of this device; none where it cannot be stored.
    device_key: Option<[u8; DEVICE_KEY_LEN]>,
    /// The part of this device in a rollout, as the last refresh found it.
    assignment: Option<Assignment>,
    now: i64,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent")
            .field("config", &self.config)
            .field("record", self.machine.record())
            .finish_non_exhaustive()
    }
}

impl Agent {
    /// Opens the store and goes on from its record: after this, [`serving`](Self::serving) serves. Needs no network.
    ///
    /// # Errors
    /// [`Error::StoreBusy`] where another process has the store, [`Error::BadName`], [`Error::File`]. Damaged state is
    /// no error: the factory version serves.
    pub fn open(mut config: AgentConfig, now: i64) -> Result<Self, Error> {
        let store = Store::open(&config.store_dir, Arc::clone(&config.disk))?;
        let mut models = store.model(&config.model)?;
        let loaded = models.load()?;
        let machine = Machine::new(config.limits, Record::default());
        let (admitted, fingerprint) = (models.admitted(), admit::fingerprint(config.kernels, &config.environment));
        let (live, predictions) = Self::handle(&config, &models.predictions_path());
        let reports = config.reports.take();
        let mut agent = Self {
            config,
            store,
            models,
            machine,
            factory: None,
            serving: None,
            newer: None,
            labels: BTreeMap::new(),
            timestamp_tag: None,
            admitted,
            fingerprint,
            passed_over: None,
            live,
            published: None,
            reports: None,
            device_key: None,
            assignment: None,
            holds: false,
            now,
        };
        if let Err(error) = predictions {
            agent.emit(&Event::Failed(format!("predictions are not kept: {error}")));
        }
        match agent.store.device_key() {
            Ok(key) => agent.device_key = Some(key),
            Err(error) => agent.emit(&Event::Failed(error.to_string())),
        }
        if let Some(mut reports) = reports {
            reports.config.at = reports.config.at.or(agent.config.at);
            let key = agent.device_key.unwrap_or_default();
            // Off: what lay there is removed, and nothing is counted.
            let enabled = reports.config.enabled;
            match Reporting::open(&agent.models.reports_path(), reports, key) {
                Ok(reports) => agent.reports = enabled.then_some(reports),
                Err(error) => agent.emit(&Event::Failed(format!("health is not reported: {error}"))),
            }
        }
        let found = agent.open_factory();
        agent.factory = found.unwrap_or_else(|error| {
            agent.emit(&Event::Failed(format!("the factory version cannot be used: {error}")));
            None
        });
        let known = matches!(loaded, Loaded::Record(_));
        agent.take_up(loaded);
        agent.recall();
        if agent.newer.is_none() {
            if let Err(error) = agent.stored(Input::Factory(agent.factory)) {
                agent.emit(&Event::Failed(error.to_string()));
                agent.unstored(Input::Factory(agent.factory));
            }
            if let Some(Candidate { phase: Phase::Shadow { .. } | Phase::Trial { .. }, .. }) =
                agent.machine.record().candidate
                && !agent.waits_for_word()
                && agent.held_before_start().is_none()
            {
                match agent.stored(Input::Resume { now }) {
                    Ok(action) => drop(agent.carry(action, None)?),
                    // No attempt is durable, so the candidate does not run: the active version serves.
                    Err(error) => agent.emit(&Event::Failed(error.to_string())),
                }
            }
        }
        agent.settle()?;
        if known {
            // What a power cut left. Where the state was lost, bundles that are there may save a download.
            agent.tidy();
        }
        Ok(agent)
    }

    /// One poll: whatever can be done now is done. See the module.
    pub fn poll(&mut self, now: i64) -> Outcome {
        self.now = now;
        let outcome = self.try_poll().unwrap_or_else(|error| {
            self.emit(&Event::Failed(error.to_string()));
            Outcome::Failed(error)
        });
        self.report_health();
        outcome
    }

    /// The version that serves, if there is one.
    #[must_use]
    pub const fn serving(&self) -> Option<&Serving> {
        self.serving.as_ref()
    }

    /// The part of this device in the rollout of its model, if there is one. It changes in polls, and [`Event::Assigned`] tells.
    #[must_use]
    pub const fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    /// The state of the model.
    #[must_use]
    pub const fn record(&self) -> &Record {
        self.machine.record()
    }

    /// Counts an inference of the version that serves. In a trial, enough good ones make it active, and a bad one ends it: the
    /// next [`serving`](Self::serving) is another one. Outside of a trial nothing happens and the result is `None`. Inferences of a
    /// [`live`](Self::live) handle are counted there already.
    ///
    /// # Errors
    /// [`Error::File`] where the state cannot be stored.
    pub fn record_inference(&mut self, good: bool, now: i64) -> Result<Option<Outcome>, Error> {
        let (good, bad) = (u32::from(good), u32::from(!good));
        self.in_trial(Input::Inferences { good, bad, now }, now)
    }

    /// The application vouches for the version on trial: it becomes active now.
    ///
    /// # Errors
    /// [`Error::File`] where the state cannot be stored.
    pub fn confirm_healthy(&mut self, now: i64) -> Result<Option<Outcome>, Error> {
        self.in_trial(Input::ConfirmHealthy, now)
    }

    /// Runs the golden cases of the version on trial once more; each counts as an inference. For devices that have no
    /// input of their own at the moment.
    ///
    /// # Errors
    /// [`Error::File`] where the state cannot be stored.
    pub fn self_check(&mut self, now: i64) -> Result<Option<Outcome>, Error> {
        let Some(Serving { trial: true, file, model, .. }) = self.serving.clone() else { return Ok(None) };
        let kernels = self.config.kernels;
        let checked = watched(self.config.watchdog.deadline, move || {
            let mut session = Session::new(model, kernels)?;
            Ok::<_, Error>(run_goldens(&file, &mut session)?)
        });
        match checked.and_then(|checked| checked) {
            Ok(cases) => {
                let good = u32::try_from(cases).unwrap_or(u32::MAX);
                self.in_trial(Input::Inferences { good, bad: 0, now }, now)
            }
            Err(Error::Lost(lost)) => self.in_trial(Input::Refuse(lost.reason()), now),
            Err(Error::Refused(_)) => self.in_trial(Input::Refuse(Reason::SELF_CHECK), now),
            Err(error) => Err(error),
        }
    }

    /// Goes back, or forth, to a kept version, without network: a release label, a release number, the beginning of a SHA-256 (8
    /// digits or more), or `factory`. Newer releases up to the present one are not taken again until they are offered under a higher attempt.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`], [`Error::NewerState`], [`Error::File`].
    pub fn rollback(&mut self, name: &str) -> Result<VersionInfo, Error> {
        self.writable()?;
        self.passed_over = None;
        self.hear()?;
        let versions = self.versions();
        let named = |v: &VersionInfo| {
            v.version == name || v.number.to_string() == name || (name.len() >= 8 && hex(&v.sha256).starts_with(name))
        };
        let found = versions.iter().find(|(version, role)| match role {
            Role::Factory => name == "factory" || named(version),
            Role::Candidate => false,
            _ => named(version),
        });
        let (version, role) = found.ok_or_else(|| Error::NoSuchVersion { name: name.into() })?;
        let to = (*role != Role::Factory).then_some(version.sha256);
        self.step(Input::Rollback { to, remote: false })?;
        self.settle()?;
        self.emit(&Event::RolledBack(version.clone()));
        self.tidy();
        Ok(version.clone())
    }

    /// All versions on this device.
    #[must_use]
    pub fn versions(&mut self) -> Vec<(VersionInfo, Role)> {
        let record = self.machine.record().clone();
        let role = |version: &Version| match Some(version.sha256) {
            sha256 if sha256 == record.active => Role::Active,
            sha256 if sha256 == record.last_good => Role::LastGood,
            _ => Role::Kept,
        };
        let kept = record.kept.iter().map(|version| (version, role(version)));
        let candidate = record.candidate.as_ref().map(|candidate| (&candidate.version, Role::Candidate));
        let factory = record.factory.as_ref().map(|version| (version, Role::Factory));
        kept.chain(candidate).chain(factory).map(|(version, role)| (self.describe(version), role)).collect()
    }

    /// Ends the process, or lets it sleep, in order: a trial that runs is interrupted without costing an attempt. Dropping the agent does
    /// the same, unless a panic is on its way.
    ///
    /// # Errors
    /// [`Error::File`] where the state cannot be stored.
    pub fn close(mut self, now: i64) -> Result<(), Error> {
        self.now = now;
        self.suspend()
    }

    fn suspend(&mut self) -> Result<(), Error> {
        if self.newer.is_none() {
            self.hear()?;
            // What serves after a trial that is interrupted is nobody's concern any more.
            self.tend_reports(true);
            self.reports = None;
            self.step(Input::Suspend { now: self.now })?;
            // Handles may live on: they serve what is active.
            self.settle()?;
        }
        self.live.flush()
    }

    fn try_poll(&mut self) -> Result<Outcome, Error> {
        self.writable()?;
        if self.passed_over.take().is_some() {
            self.settle()?;
        }
        self.prove_fallback();
        let heard = self.hear()?;
        let waits = self.waits_for_word() || self.held_before_start().is_some() || self.is_held(None);
        let resumed = if waits { Action::None } else { self.step_in_shadow(self.take_up_again())? };
        let local = match resumed {
            // These need the network; the offer below takes them up again.
            Action::None | Action::Fetch { .. } | Action::Deferred { .. } => None,
            action => self.carry(action, None)?,
        };
        let local = local.or(heard);
        let announcements = match (self.refresh(), local) {
            (Ok(announcements), Some(local)) => {
                return self.choose(&announcements).map(|outcome| match outcome {
                    Outcome::UpToDate { .. } => local,
                    outcome => outcome,
                });
            }
            (Ok(announcements), None) => announcements,
            (Err(error), Some(local)) => {
                self.emit(&Event::Failed(error.to_string()));
                return Ok(local);
            }
            (Err(error), None) => return Err(error),
        };
        self.choose(&announcements)
    }

    /// Offers the releases that may be taken to the machine until it takes one: what the rollout names, or the newest first.
    fn choose(&mut self, announcements: &Announcements) -> Result<Outcome, Error> {
        let Choice { offers, refused, shadow } = self.judge(announcements, Source::Repository);
        if let Some(outcome) = self.take_back(&announcements.said)? {
            return Ok(outcome);
        }
        if let Some(candidate) = self.machine.record().candidate
            && !offers.iter().any(|offer| offer.version == candidate.version)
        {
            self.step(Input::Withdraw)?;
            self.settle()?;
            let version = self.describe(&candidate.version);
            self.emit(&Event::Withdrawn(version));
        }
        let mut newest = refused;
        for offer in &offers {
            let candidate = self.machine.record().candidate;
            let known = candidate.is_some_and(|c| c.version == offer.version);
            if shadow == Some(offer.version) && known && self.only_shadows() {
                break;
            }
            if known && let Some(held) = self.held_before_start() {
                return Ok(self.put_off(held));
            }
            if self.is_held(Some(&offer.version)) {
                return Ok(Outcome::Staged(self.describe(&offer.version)));
            }
            match self.step_in_shadow(Input::Offer { version: offer.version, now: self.now })? {
                Action::NotTaken(NotTaken::Busy) => break,
                Action::NotTaken(why) => {
                    if newest.is_none_or(|(number, _)| number < offer.version.number) {
                        newest = Some((offer.version.number, why));
                    }
                }
                action => {
                    if !known {
                        let version = self.describe(&offer.version);
                        self.emit(&Event::Offered(version));
                    }
                    let outcome = self.carry(action, Some((offer, &announcements.keys)))?;
                    return Ok(outcome.unwrap_or(Outcome::UpToDate { newest }));
                }
            }
        }
        Ok(self.trial().unwrap_or(Outcome::UpToDate { newest }))
    }

    /// Does what the machine asks for until it has an outcome. Without an offer nothing is fetched.
    fn carry(&mut self, mut action: Action, offer: Option<(&Announced, &Keys)>) -> Result<Option<Outcome>, Error> {
        let (mut error, mut fresh) = (None, false);
        loop {
            self.settle()?;
            if let Some(wait) = self.hold(&action, offer.is_some(), fresh) {
                action = self.step(wait)?;
                continue;
            }
            let input = match action {
                Action::Fetch { version, .. } => {
                    let Some((offer, keys)) = offer else { return Ok(None) };
                    fresh = true;
                    match self.fetch(&version, offer, keys) {
                        Ok(()) => Input::Fetched,
                        Err(fault) => {
                            let input = after_fetch(&fault, self.now);
                            error = Some(fault);
                            match input {
                                Some(input) => input,
                                None => return error.map_or(Ok(None), Err),
                            }
                        }
                    }
                }
                Action::Validate { version } => match self.admit(&version) {
                    Ok(()) => Input::Validated,
                    Err(fault) => {
                        let input = self.after_admission(&version, &fault);
                        error = Some(fault);
                        input
                    }
                },
                Action::Validated { .. } if self.only_shadows() => return Ok(self.trial()),
                Action::Validated { version } if self.holds => {
                    let version = self.describe(&version);
                    self.emit(&Event::Staged(version.clone()));
                    return Ok(Some(Outcome::Staged(version)));
                }
                // A rollout may have said since that it is for the shadow only: its word comes with the next refresh.
                Action::Validated { .. } if offer.is_none() && self.waits_for_word() => return Ok(self.trial()),
                // The moment is good: nothing waits for it here.
                Action::Validated { .. } => Input::Resume { now: self.now },
                Action::StartShadow { version } => {
                    // Where nothing runs there may be no memory for it, and then it waits; a damaged file is fetched again.
                    if !self.live.has_shadow()
                        && let Err(fault) = self.load(&version)
                    {
                        error = Some(fault);
                        action = self.step(Input::Broken { sha256: version.sha256 })?;
                        continue;
                    }
                    let version = self.describe(&version);
                    self.emit(&Event::ShadowStarted(version));
                    self.at("shadowing");
                    return Ok(self.trial());
                }
                Action::StartTrial { version } if self.machine.in_trial() => {
                    let version = self.describe(&version);
                    self.emit(&Event::TrialStarted(version));
                    self.at("trial");
                    Input::Resume { now: self.now }
                }
                done => return Ok(self.report(done, error)),
            };
            action = self.step(input)?;
        }
    }

    /// Tells what the end of a piece of work is, and tidies up behind it.
    fn report(&mut self, action: Action, error: Option<Error>) -> Option<Outcome> {
        match action {
            Action::Committed { version } => {
                let version = self.describe(&version);
                self.emit(&Event::Committed(version.clone()));
                self.tidy();
                Some(Outcome::Committed(version))
            }
            Action::Rejected { version, reason } => {
                let version = self.describe(&version);
                let because = error.as_ref().map(ToString::to_string);
                self.emit(&Event::Rejected { version: version.clone(), reason, because });
                // The gates of the fleet are to hear of it, whatever becomes of this process.
                self.tend_reports(true);
                self.tidy();
                Some(Outcome::Rejected { version, reason, error })
            }
            Action::Deferred { version, reason, retry_at } => {
                let version = self.describe(&version);
                self.emit(&Event::Deferred { version: version.clone(), reason, retry_at });
                Some(Outcome::Deferred { version, reason, retry_at, error })
            }
            _ => error.map(Outcome::Failed).or_else(|| self.trial()),
        }
    }

    /// The candidate, where it runs: in the shadow or on trial.
    fn trial(&mut self) -> Option<Outcome> {
        if let Some(candidate) = self.machine.in_shadow().copied() {
            return Some(Outcome::Shadow(self.describe(&candidate)));
        }
        self.serving.as_ref().filter(|s| s.trial).map(|s| Outcome::Trial(s.version.clone()))
    }

    fn in_trial(&mut self, input: Input, now: i64) -> Result<Option<Outcome>, Error> {
        self.now = now;
        let heard = self.hear()?;
        if !self.machine.in_trial() {
            return Ok(heard);
        }
        let action = self.step(input)?;
        self.carry(action, None)
    }

    /// As [`stored`](Self::stored); after an error, too, what serves is what the machine says.
    fn step(&mut self, input: Input) -> Result<Action, Error> {
        let done = self.stored(input);
        if done.is_err() {
            self.settle()?;
        }
        done
    }

    /// One step of the machine that is not made durable: for what may be forgotten, where nothing can be stored.
    fn unstored(&mut self, input: Input) {
        if self.machine.step(input) == Ok(Action::Persist) {
            // What it asks for after that is a matter of those who store.
            let _ = self.machine.step(Input::Persisted);
        }
    }

    /// One step of the machine, with its record made durable where it asks for that.
    fn stored(&mut self, input: Input) -> Result<Action, Error> {
        let before = self.machine.record().clone();
        let action = self.machine.step(input)?;
        if action != Action::Persist {
            return Ok(action);
        }
        self.at("record");
        if let Err(error) = self.models.save(self.machine.record()) {
            // Old or new: what is stored decides. Where that cannot be read either, nothing is written until it can be.
            match self.models.load() {
                Ok(loaded) => self.take_up(loaded),
                Err(_) => self.machine = Machine::new(self.machine.config(), before),
            }
            return Err(error);
        }
        self.at("recorded");
        Ok(self.machine.step(Input::Persisted)?)
    }

    fn take_up(&mut self, loaded: Loaded) {
        let fresh = Record { factory: self.factory, ..Record::default() };
        let record = match loaded {
            Loaded::Fresh => Record::default(),
            Loaded::Record(record) => *record,
            Loaded::Restored(record) => {
                self.emit(&Event::StateRestored);
                *record
            }
            Loaded::Lost => {
                self.emit(&Event::StateLost);
                Record::default()
            }
            Loaded::Newer { version } => {
                self.newer = Some(version);
                fresh
            }
        };
        // The gate of a shadow, where a rollout asked for one, stays.
        self.machine = Machine::new(self.machine.config(), record);
    }

    fn writable(&self) -> Result<(), Error> {
        match self.newer {
            Some(version) => Err(Error::NewerState { model: self.config.model.clone(), version }),
            None => Ok(()),
        }
    }

    /// Removes what no record names. It can wait, so a fault is only told.
    fn tidy(&mut self) {
        if let Err(error) = self.models.collect(|sha256| self.machine.may_delete(sha256)) {
            self.emit(&Event::Failed(error.to_string()));
        }
    }

    fn emit(&mut self, event: &Event) {
        tracing::info!(model = self.config.model, "{event}");
        if let Some(reports) = &mut self.reports {
            reports.note(event);
        }
        if let Some(on_event) = &mut self.config.on_event {
            on_event(event);
        }
    }

    fn at(&self, point: &str) {
        if let Some(at) = self.config.at {
            at(point);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A panic in an inference is a death: the attempt is spent.
        if !std::thread::panicking() {
            let _ = self.suspend();
        }
    }
}

/// Releases that are looked at in one poll; fewer than the rejections that a record remembers.
const LOOKED_AT: usize = 16;
/// How long a download waits where no space is left and nobody can tell when there is some.
const DISK_FULL_WAIT_S: i64 = 600;
/// How long a download waits whose bytes were wrong.
const WRONG_BYTES_WAIT_S: i64 = 3600;

/// What a failed download means for the candidate; `None`: nothing, the next poll goes on with it.
fn after_fetch(fault: &Error, now: i64) -> Option<Input> {
    let defer = |reason, wait_s| Some(Input::Defer { reason, retry_at: now.saturating_add(wait_s), now });
    match fault {
        _ if fault.is_disk_full() => defer(Reason::DISK_FULL, DISK_FULL_WAIT_S),
        Error::HashMismatch { .. } => defer(Reason::WRONG_BYTES, WRONG_BYTES_WAIT_S),
        Error::Trust(_) => Some(Input::Refuse(Reason::SIGNATURE)),
        Error::Announcement { .. } => Some(Input::Refuse(Reason::METADATA)),
        Error::Format(_) => Some(Input::Refuse(Reason::NOT_SOUND)),
        _ => None,
    }
}
