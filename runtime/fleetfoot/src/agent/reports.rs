//! What the agent reports of the health of its model, and when.
//!
//! ```text
//! sessions, live handles ── Observer, one for each version ──┐
//! crashes, fallbacks, shadow, what was refused ──────────────┴─ book ──▶ Reporter ──▶ queue ── poll, in its turn ──▶ transport
//! outcomes of predictions, of the days behind ───────────────────────▶
//! ```
//! A report is about one version: before another one serves, what was counted of it is booked. What runs of a version that does not serve any
//! more, in sessions that keep it, is not reported. Nothing here can keep an update or an inference from happening: what fails is told in the log
//! and tried again.

use std::{
    collections::{BTreeMap, btree_map},
    path::Path,
};

use fleetfoot_format::{
    bundle::SectionKind,
    golden::Golden,
    raw_golden::RawGolden,
    record::{Arm, Candidate, Phase, Reason},
    report::{Arm as Side, State},
};
use fleetfoot_health::{Counters, ErrorKind, Tally};
use fleetfoot_update::Stage;

use super::{Agent, Assignment, Event};
use crate::{
    error::Error,
    health::{Context, Observer, Outcomes, ReportConfig, ReportTransport, Reporter, Sent},
    live::OutcomeSums,
    model::Model,
    verified::VerifiedFile,
};

/// Where reports of health go, and what is in them.
pub struct Reports {
    /// Whether and how this device reports.
    pub config: ReportConfig,
    /// How reports leave the device.
    pub transport: Box<dyn ReportTransport>,
}

/// The agent's side of its reports.
pub(super) struct Reporting {
    reporter: Reporter,
    transport: Box<dyn ReportTransport>,
    /// Of the versions that serve or may serve at once.
    observers: BTreeMap<[u8; 32], Observed>,
    /// What the open part is about.
    context: Option<Context>,
    /// What happened outside of sessions.
    happened: Counters,
    /// Fallbacks of live handles that were booked.
    fallbacks: u64,
    booked_at: i64,
    /// After so many attempts to send that failed, the next one is not before this time.
    failures: u32,
    retry_at: i64,
}

struct Observed {
    observer: Observer,
    golden: [u8; 8],
}

impl Reporting {
    pub(super) fn open(folder: &Path, reports: Reports, device_key: [u8; 16]) -> Result<Self, Error> {
        let Reports { config, transport } = reports;
        Ok(Self {
            reporter: Reporter::open(folder, config, device_key)?,
            transport,
            observers: BTreeMap::new(),
            context: None,
            happened: Counters::default(),
            fallbacks: 0,
            booked_at: i64::MIN,
            failures: 0,
            retry_at: i64::MIN,
        })
    }

    /// Counts what an event says of the health of this device.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::FellBack { .. } => {
                self.happened.fallbacks = self.happened.fallbacks.saturating_add(1);
                self.failed(ErrorKind::Bundle);
            }
            Event::Lost { .. } => self.failed(ErrorKind::Crash),
            Event::Rejected { reason, .. } => self.rejected(*reason),
            _ => {}
        }
    }

    /// A candidate was given up. Where it had served, this device went back to the version before.
    fn rejected(&mut self, reason: Reason) {
        match reason {
            Reason::GOLDEN_MISMATCH | Reason::SELF_CHECK => self.failed(ErrorKind::Golden),
            Reason::CRASH_LOOP => self.failed(ErrorKind::Crash),
            _ => {}
        }
        if WHILE_IT_SERVED.contains(&reason) {
            self.happened.fallbacks = self.happened.fallbacks.saturating_add(1);
        }
    }

    /// Counts a failure outside of sessions: a version that is broken, does not answer rightly, or did not come back.
    fn failed(&mut self, kind: ErrorKind) {
        let count = &mut self.happened.errors[kind as usize];
        *count = count.saturating_add(1);
    }

    /// A candidate was compared in the shadow.
    pub(super) fn compared(&mut self, runs: u32, agree: u32) {
        self.happened.shadow = self.happened.shadow.saturating_add(runs);
        self.happened.agree = self.happened.agree.saturating_add(agree.min(runs));
    }

    /// Counts a version from now on; the same for every session of it.
    pub(super) fn observe(&mut self, file: &VerifiedFile, model: &Model) -> Option<Observer> {
        let sha256 = file.sha256();
        if let btree_map::Entry::Vacant(place) = self.observers.entry(sha256) {
            let observer = Observer::of(file, model)
                .inspect_err(|error| tracing::warn!("a version is not observed: {error}"))
                .ok()?;
            place.insert(Observed { observer, golden: golden(file) });
        }
        self.observer(&sha256)
    }

    fn observer(&self, sha256: &[u8; 32]) -> Option<Observer> {
        self.observers.get(sha256).map(|observed| observed.observer.clone())
    }

    fn is_due(&self, context: &Context, now: i64) -> bool {
        let passed = now.saturating_sub(self.booked_at);
        !(0..BOOK_S).contains(&passed) || self.context.as_ref() != Some(context)
    }

    /// Books what was counted on the part of now; where `context` is another one, what was counted until now on the part before.
    fn book(&mut self, context: Context, now: i64) -> Result<(), Error> {
        let differs = |before: &Context| {
            (&before.rollout, before.arm, before.bundle) != (&context.rollout, context.arm, context.bundle)
        };
        if let Some(before) = self.context.take().filter(differs) {
            self.add(&before, now)?;
        }
        self.context = Some(context.clone());
        self.add(&context, now)?;
        self.booked_at = now;
        // Sessions that keep a version that does not serve count on: that is not to come to light days later, when it serves again.
        for (_, observed) in self.observers.iter().filter(|(sha256, _)| **sha256 != context.bundle) {
            drop(observed.observer.take());
        }
        Ok(())
    }

    fn add(&mut self, context: &Context, now: i64) -> Result<(), Error> {
        let observer = self.observer(&context.bundle);
        let mut tally = observer.as_ref().map_or_else(Tally::default, Observer::take);
        tally.counters.add(&std::mem::take(&mut self.happened));
        self.reporter.book(&tally, observer.as_ref().and_then(Observer::baseline), context, now)
    }

    /// Sends what waits, if it is this device's turn or `at_once`.
    fn send(&mut self, at_once: bool, now: i64) -> Result<Sent, Error> {
        let rests = self.retry_at > now && self.retry_at.saturating_sub(now) <= MOST_RETRY_S;
        if !at_once && (rests || !self.reporter.is_its_turn(now)) || self.reporter.queue().is_empty()? {
            return Ok(Sent::default());
        }
        let sent = self.reporter.send(&*self.transport);
        let whole = sent.as_ref().is_ok_and(|sent| sent.waiting == 0);
        self.failures = if whole { 0 } else { self.failures.saturating_add(1) };
        let wait = FIRST_RETRY_S.saturating_mul(1 << self.failures.min(16)).min(MOST_RETRY_S);
        self.retry_at = if whole { i64::MIN } else { now.saturating_add(wait) };
        sent
    }
}

impl Agent {
    /// Counts sessions of one's own of the version that serves: make a [`Probe`](crate::health::Probe) for each and run them with it.
    /// [`live`](Self::live) handles count by themselves. `None` where nothing serves or nothing is reported.
    #[must_use]
    pub fn observer(&self) -> Option<Observer> {
        let serving = self.serving.as_ref()?;
        self.reports.as_ref()?.observer(&serving.version.sha256)
    }

    /// Books what was counted and sends every report that waits, whoever's turn it is: for applications that have a network now and are about to
    /// lose it. [`poll`](Self::poll) does it in this device's turn. Nothing happens where nothing is reported.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Transport`]: what was not acknowledged waits.
    pub fn send_reports(&mut self, now: i64) -> Result<Sent, Error> {
        self.now = now;
        self.book_reports(true)?;
        self.reports.as_mut().map_or(Ok(Sent::default()), |reports| reports.send(true, now))
    }

    /// How many reports wait for a network, or for their turn.
    #[must_use]
    pub fn reports_waiting(&self) -> usize {
        self.reports.as_ref().map_or(0, |reports| reports.reporter.queue().len().unwrap_or(0))
    }

    /// Books what was counted, where some minutes have passed or something changed; `now`: in any case.
    pub(super) fn tend_reports(&mut self, at_once: bool) {
        if let Err(error) = self.book_reports(at_once) {
            tracing::warn!(model = self.config.model, "health is not booked: {error}");
        }
    }

    /// As [`tend_reports`](Self::tend_reports), and sends in this device's turn.
    pub(super) fn report_health(&mut self) {
        self.tend_reports(true);
        let now = self.now;
        let Some(sent) = self.reports.as_mut().map(|reports| reports.send(false, now)) else { return };
        match sent {
            Ok(Sent { taken: 0, dropped: 0, .. }) => {}
            Ok(sent) => self.emit(&Event::Reported(sent)),
            Err(error) => tracing::warn!(model = self.config.model, "reports wait: {error}"),
        }
    }

    fn book_reports(&mut self, at_once: bool) -> Result<(), Error> {
        // Before anything has its place nobody knows what counts would be about.
        if self.reports.is_none() || self.newer.is_some() || self.published.is_none() {
            return Ok(());
        }
        let (context, now) = (self.health(), self.now);
        if !at_once && !self.reports.as_ref().is_some_and(|reports| reports.is_due(&context, now)) {
            return Ok(());
        }
        let (keep, fallbacks, sums) = (self.observed(), self.live.count_fallbacks(), self.late_outcomes());
        let Some(reports) = &mut self.reports else { return Ok(()) };
        let more = u32::try_from(fallbacks.saturating_sub(reports.fallbacks)).unwrap_or(u32::MAX);
        reports.fallbacks = fallbacks;
        reports.happened.fallbacks = reports.happened.fallbacks.saturating_add(more);
        reports.book(context.clone(), now)?;
        reports.observers.retain(|sha256, _| keep.contains(sha256));
        reports.reporter.late(&sums, &context, now)
    }

    /// Versions of which counts may still come.
    fn observed(&self) -> Vec<[u8; 32]> {
        let serving = self.serving.as_ref().map(|serving| serving.version.sha256);
        let others = [self.machine.fallback(), self.machine.in_shadow().copied()];
        serving.into_iter().chain(others.into_iter().flatten().map(|version| version.sha256)).collect()
    }

    /// What counts of now are about.
    fn health(&self) -> Context {
        let (state, reason) = self.health_state();
        let (rollout, arm, hourly) = self.assignment.as_ref().map_or_else(Default::default, part);
        let bundle = self.serving.as_ref().map(|serving| serving.version.sha256).unwrap_or_default();
        let observed = self.reports.as_ref().and_then(|reports| reports.observers.get(&bundle));
        let golden = observed.map(|observed| observed.golden).unwrap_or_default();
        Context { rollout, arm, hourly, bundle, state, reason: reason.0, golden }
    }

    fn health_state(&self) -> (State, Reason) {
        let record = self.machine.record();
        let Some(Candidate { phase, .. }) = record.candidate else {
            let named = self.assignment.as_ref().map(|assignment| assignment.candidate);
            let rejected = named.and_then(|named| record.rejection(&named.sha256, named.attempt));
            return rejected.map_or((State::Idle, Reason(0)), |reason| (State::Rejected, reason));
        };
        let state = match phase {
            Phase::Writing { .. } => State::Fetching,
            Phase::Ready => State::Ready,
            Phase::Validated => State::Validated,
            Phase::Shadow { .. } => State::Shadow,
            Phase::Trial { .. } => State::Trial,
            Phase::Deferred { reason, .. } => return (State::Deferred, reason),
        };
        (state, Reason(0))
    }

    /// Outcomes by day, rollout and side, as reports have them.
    fn late_outcomes(&self) -> Vec<Outcomes> {
        let sums = |sums: OutcomeSums| {
            let (day, n) = (u32::try_from(sums.day).ok()?, u32::try_from(sums.n).ok()?);
            let OutcomeSums { rollout, sum, sum_squares, .. } = sums;
            Some(Outcomes { day, rollout, arm: side(sums.arm), n, sum, sum_squares })
        };
        self.live().outcomes().into_iter().filter_map(sums).collect()
    }

    /// What counts the sessions of a version that may serve.
    pub(super) fn observe(&mut self, file: &VerifiedFile, model: &Model) -> Option<Observer> {
        self.reports.as_mut()?.observe(file, model)
    }
}

/// Rollout, arm, and whether it is active for this device.
fn part(assignment: &Assignment) -> (String, Side, bool) {
    let arm = match side(assignment.arm) {
        Side::Treatment if assignment.stage() == Stage::Shadow => Side::Shadow,
        arm => arm,
    };
    let compared = matches!(arm, Side::Treatment | Side::Control | Side::Shadow);
    (assignment.rollout.to_ascii_lowercase(), arm, assignment.is_active() && compared)
}

const fn side(arm: Arm) -> Side {
    match arm {
        Arm::Treatment => Side::Treatment,
        Arm::Control => Side::Control,
        Arm::HoldOut => Side::Holdout,
        Arm::Outside => Side::None,
    }
}

/// What a report says of the golden cases of a bundle: those of prepared inputs first, then those of raw ones.
fn golden(file: &VerifiedFile) -> [u8; 8] {
    let (prepared, raw) = (file.section(SectionKind::GOLDEN), file.section(SectionKind::RAW_GOLDEN));
    let prepared = prepared.as_ref().and_then(|section| Golden::parse(section.as_ref()).ok());
    let raw = raw.as_ref().and_then(|section| RawGolden::parse(section.as_ref()).ok());
    if prepared.is_none() && raw.is_none() {
        return [0; 8];
    }
    let prepared = prepared.iter().flat_map(Golden::cases).map(|(_, digest)| digest);
    let raw = raw.iter().flat_map(RawGolden::cases).map(|(case, _)| &case.output_sha256);
    Context::golden(prepared.chain(raw))
}

/// Why a candidate is given up that had served: by deaths on its trial, or by a gate.
const WHILE_IT_SERVED: [Reason; 8] = [
    Reason::CRASH_LOOP,
    Reason::BAD_INFERENCE,
    Reason::SELF_CHECK,
    Reason::ERROR_RATE,
    Reason::SLOWER,
    Reason::OUT_OF_RANGE,
    Reason::CONSTANT,
    Reason::NOT_A_NUMBER,
];
/// Seconds between two looks at what was counted, where nothing changed: what a death may lose.
const BOOK_S: i64 = 300;
const FIRST_RETRY_S: i64 = 300;
const MOST_RETRY_S: i64 = 6 * 3600;
