//! One version in memory: its model, the sessions that wait for the next call, and what is counted of it.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use fleetfoot_kernels::Kernels;

use super::{
    config::LiveConfig,
    gates::{Counts, nanos, percentile},
    lock, output,
};
use crate::{
    agent::VersionInfo,
    error::Error,
    health::{ErrorKind, Observer, Probe},
    model::Model,
    session::Session,
};

/// How closely a version is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not any more.
    Settled,
    /// It was committed a short time ago.
    Watched,
    /// It is on trial.
    Trial,
}

/// See the module.
pub(crate) struct Slot {
    pub(super) version: Arc<VersionInfo>,
    pub(super) model: Arc<Model>,
    pub(super) budget: Option<Duration>,
    /// Whether outputs can be bad at all, so that inputs are worth keeping.
    pub(super) can_fail: bool,
    pub(super) counts: Mutex<Counts>,
    /// Good inferences that the machine does not know of.
    pub(super) good: AtomicU32,
    mode: AtomicU8,
    kernels: Kernels,
    threads: usize,
    /// Counts for reports of health, where there are any.
    observer: Option<Observer>,
    /// `None` once it does not serve any more.
    idle: Mutex<Option<Vec<Pooled>>>,
    most_idle: usize,
}

/// A session, and what counts its runs for reports.
#[derive(Debug)]
pub(super) struct Pooled {
    pub(super) session: Session,
    pub(super) probe: Option<Probe>,
}

impl Slot {
    pub(super) fn new(
        version: VersionInfo,
        model: Arc<Model>,
        budget_us: Option<u32>,
        observer: Option<Observer>,
        kernels: Kernels,
        config: &LiveConfig,
    ) -> Self {
        Self {
            version: Arc::new(version),
            budget: budget_us.map(|us| Duration::from_micros(us.into())),
            can_fail: output::can_fail(model.engine().outputs(), &config.gates.ranges),
            model,
            counts: Mutex::default(),
            good: AtomicU32::new(0),
            mode: AtomicU8::new(0),
            kernels,
            threads: config.threads,
            observer,
            idle: Mutex::new(Some(Vec::new())),
            most_idle: config.idle_sessions,
        }
    }

    pub(super) fn mode(&self) -> Mode {
        match self.mode.load(Ordering::Relaxed) {
            0 => Mode::Settled,
            1 => Mode::Watched,
            _ => Mode::Trial,
        }
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// A session that nobody else has.
    pub(super) fn acquire(&self) -> Result<Pooled, Error> {
        let idle = lock(&self.idle).as_mut().and_then(Vec::pop);
        idle.map_or_else(
            || {
                let session = Session::with_threads(Arc::clone(&self.model), self.kernels, self.threads)?;
                Ok(Pooled { session, probe: self.observer.as_ref().map(Observer::probe) })
            },
            Ok,
        )
    }

    /// Counts an error outside of a run.
    pub(super) fn failed(&self, kind: ErrorKind) {
        if let Some(observer) = &self.observer {
            observer.count(|tally| tally.error(kind));
        }
    }

    pub(super) fn release(&self, session: Pooled) {
        if let Some(idle) = lock(&self.idle).as_mut()
            && idle.len() < self.most_idle
        {
            idle.push(session);
        }
    }

    /// Sessions that wait are given up, and those that come back; [`open`](Self::open) undoes it.
    pub(super) fn close(&self) {
        *lock(&self.idle) = None;
    }

    pub(super) fn open(&self) {
        lock(&self.idle).get_or_insert_default();
    }

    pub(super) fn arena_len(&self) -> usize {
        self.model.arena_len(self.kernels)
    }

    /// Median and 99th percentile of its durations, where enough are known.
    pub(super) fn latency(&self) -> Option<(Duration, Duration)> {
        let counts = lock(&self.counts);
        let enough = counts.all.count() >= ENOUGH;
        enough.then(|| percentile(&counts.all, 50).zip(percentile(&counts.all, 99)))?
    }

    /// Runs all inputs in `bytes`, one after another, and returns the first output; `None` where they do not fit, or where it
    /// fails or answers badly.
    pub(super) fn answer(&self, bytes: &[u8], ranges: &[Option<(f32, f32)>]) -> Option<Vec<u8>> {
        let mut pooled = self.acquire().ok()?;
        let session = &mut pooled.session;
        set_inputs(session, bytes)?;
        session.run().ok()?;
        let good = output::fault(session, ranges).is_none();
        let first = session.output(0).ok().map(<[u8]>::to_vec);
        self.release(pooled);
        first.filter(|_| good)
    }

    /// Medians of [`PAIRS`](super::PAIRS) runs of this version and of `other` in turn, with the same inputs.
    pub(super) fn race(&self, other: &Self, bytes: &[u8]) -> Option<(Duration, Duration)> {
        let (mut one, mut two) = (self.acquire().ok()?, other.acquire().ok()?);
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..=super::PAIRS {
            for (pooled, times) in [&mut one, &mut two].into_iter().zip(&mut times) {
                let session = &mut pooled.session;
                set_inputs(session, bytes)?;
                let start = Instant::now();
                session.run().ok()?;
                // The first one warms up.
                if round > 0 {
                    times.push(nanos(start.elapsed()));
                }
            }
        }
        self.release(one);
        other.release(two);
        let [one, two] = times.map(|mut times| {
            times.sort_unstable();
            Duration::from_nanos(times[times.len() / 2])
        });
        Some((one, two))
    }
}

/// Sets all inputs from their bytes, one after another; `None` where the lengths differ.
pub(super) fn set_inputs(session: &mut Session, bytes: &[u8]) -> Option<()> {
    let mut rest = bytes;
    for index in 0..session.model().engine().inputs().len() {
        let input = session.input_mut(index).ok()?;
        let (mine, after) = rest.split_at_checked(input.len())?;
        input.copy_from_slice(mine);
        rest = after;
    }
    rest.is_empty().then_some(())
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("version", &self.version).field("mode", &self.mode()).finish_non_exhaustive()
    }
}

/// Inferences after which durations of a version say something.
const ENOUGH: u64 = 50;
