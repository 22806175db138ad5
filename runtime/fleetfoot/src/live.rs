//! Serving while versions change: a handle that many threads hold.
//!
//! ```text
//! Live          one per model, cheap to clone; made by Agent::live
//!   run         one call, one answer, and the version that gave it
//!   session     pins the version that serves now; a swap does not touch it
//!   predict     run, and an identifier under which the outcome can be told later
//!
//!   every inference counts        good ones for a trial, bad ones against a version        gates
//!   some inferences run twice     once more by a candidate in the shadow, unseen           shadow
//!   equal inputs may be answered  from memory, where that was asked for                    cache
//! ```
//! The agent swaps: when it starts a trial, commits, or goes back, new calls get the other version from that moment on, and those that run end
//! on theirs. When a gate closes the handle swaps by itself, at once: the version before is kept in memory as long as it may be
//! needed. The agent makes that durable with its next [`tick`](crate::Agent::tick) or [`poll`](crate::Agent::poll);
//! [`wait`](Live::wait) wakes the thread that does it.
//!
//! ```no_run
//! # fn example(mut agent: fleetfoot::Agent, now: fn() -> i64, frame: &[u8]) -> Result<(), fleetfoot::Error> {
//! let live = agent.live();
//! std::thread::spawn(move || loop {
//!     live_tick(&mut agent, now());
//! });
//! # fn live_tick(agent: &mut fleetfoot::Agent, now: i64) {
//! #     agent.live().wait(std::time::Duration::from_secs(60));
//! #     let _ = agent.tick(now);
//! # }
//! let answer = live.run(&[frame])?;
//! println!("{} says {:?}", answer.version, answer.outputs[0]);
//! # Ok(()) }
//! ```

mod cache;
mod config;
pub(crate) mod core;
mod gates;
pub(crate) mod outcomes;
mod output;
mod session;
mod shadow;
mod slot;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering},
    time::{Duration, Instant},
};

use fleetfoot_format::{agreement::Agreement, record::Arm};
use fleetfoot_update::cohort::rollout_key;

use self::core::Core;
pub use self::{
    config::{CacheConfig, Conditions, GateConfig, LiveConfig, PredictionConfig, ShadowBudget},
    session::LiveSession,
};
use crate::{agent::VersionInfo, error::Error, health::ErrorKind};

/// Runs of each version, in turn, that decide whether one is slower.
pub const PAIRS: usize = 7;

/// The version that serves, for any number of threads. See the module.
#[derive(Clone, Debug)]
pub struct Live {
    pub(crate) core: Arc<Core>,
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The version that gave it.
    pub version: Arc<VersionInfo>,
    /// The bytes of all outputs.
    pub outputs: Arc<[Vec<u8>]>,
    /// The side of this device in a rollout.
    pub arm: Option<Arm>,
    /// Whether it was kept from an earlier call with the same input.
    pub cached: bool,
    /// Whether the version that served failed, and the one before answered.
    pub fallback: bool,
}

/// The name of a prediction, for telling later what came of it. It means something only on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PredictionId(pub u64);

/// The part of this device in a rollout, as far as answers and outcomes name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Identifier of the rollout.
    pub rollout: String,
    /// The side whose version answers: `Outside` while the candidate runs in the shadow only.
    pub arm: Arm,
}

/// The outcomes of the predictions of one day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutcomeSums {
    /// Days since 1970, of the predictions.
    pub day: i64,
    /// First 8 bytes of the SHA-256 of the rollout's name in small letters, which is how reports name it.
    pub rollout: [u8; 8],
    /// The side.
    pub arm: Arm,
    /// How many.
    pub n: u64,
    /// Sum of their values.
    pub sum: f64,
    /// Sum of the squares.
    pub sum_squares: f64,
}

/// What a handle has seen in this process.
#[derive(Clone, Debug, Default)]
pub struct LiveStatus {
    /// The version that serves.
    pub version: Option<Arc<VersionInfo>>,
    /// Its inferences.
    pub inferences: u64,
    /// Those that failed, were not numbers or out of range.
    pub bad: u64,
    /// Answers that the version before gave in the place of bad ones.
    pub fallbacks: u64,
    /// The candidate in the shadow.
    pub shadow: Option<ShadowStatus>,
}

/// How a candidate in the shadow does.
#[derive(Clone, Debug)]
pub struct ShadowStatus {
    /// Which.
    pub version: Arc<VersionInfo>,
    /// What was compared in this process.
    pub agreement: Agreement,
    /// Inferences that were to be compared and found no room in the queue.
    pub dropped: u64,
}

impl Live {
    /// A session of the version that serves now. It keeps that version, whatever is swapped in.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where nothing serves, and what [`Session::new`](crate::Session::new) reports.
    pub fn session(&self) -> Result<LiveSession, Error> {
        let slot = self.core.state().serving.clone();
        let slot = slot.ok_or_else(|| Error::NotInstalled { model: self.core.model.clone() })?;
        LiveSession::new(Arc::clone(&self.core), slot)
    }

    /// One inference with all its inputs. Where the version that serves fails, or its outputs are not numbers or out of range, the version
    /// before answers, as long as it is kept.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where nothing serves, [`Error::Engine`] where inputs do not fit, [`Error::Panicked`].
    pub fn run(&self, inputs: &[&[u8]]) -> Result<Answer, Error> {
        self.run_at(inputs, Instant::now())
    }

    /// As [`run`](Self::run), with the time that ages kept answers.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_at(&self, inputs: &[&[u8]], now: Instant) -> Result<Answer, Error> {
        let mut session = self.session()?;
        let version = Arc::clone(session.version());
        let arm = self.core.state().part.as_ref().map(|part| part.arm);
        let key = self.core.cache.as_ref().map(|cache| (cache, cache::key(&version.sha256, inputs)));
        if let Some((cache, key)) = &key
            && let Some(outputs) = lock(cache).get(key, now)
        {
            return Ok(Answer { version, outputs, arm, cached: true, fallback: false });
        }
        let answer = |session: &LiveSession, fallback| {
            let (version, outputs) = (Arc::clone(session.version()), session.outputs()?);
            Ok(Answer { version, outputs, arm, cached: false, fallback })
        };
        let ran = run(&mut session, inputs).inspect_err(|_| session.slot().failed(ErrorKind::Input))?;
        if let Ok(None) = ran {
            let answer = answer(&session, false)?;
            if let Some((cache, key)) = key {
                lock(cache).put(key, Arc::clone(&answer.outputs), now);
            }
            return Ok(answer);
        }
        if let Some(other) = self.core.other(session.slot()) {
            let mut second = LiveSession::new(Arc::clone(&self.core), other)?;
            if let Ok(Ok(None)) = run(&mut second, inputs) {
                self.core.fallbacks.fetch_add(1, Ordering::Relaxed);
                return answer(&second, true);
            }
        }
        ran.and_then(|_| answer(&session, false))
    }

    /// As [`run`](Self::run); where this device has a part in a rollout, the prediction is written down, and
    /// [`outcome`](Self::outcome) can tell what came of it. `now` is in seconds since 1970.
    ///
    /// A prediction that cannot be written down is an answer all the same, without an identifier.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn predict(&self, inputs: &[&[u8]], now: i64) -> Result<(Answer, Option<PredictionId>), Error> {
        let answer = self.run(inputs)?;
        let part = self.core.state().part.clone();
        let mut outcomes = lock(&self.core.outcomes);
        let id = match (part, outcomes.as_mut()) {
            (Some(part), Some(outcomes)) => {
                let id = outcomes.predicted(rollout_key(&part.rollout.to_ascii_lowercase()), part.arm, now);
                id.inspect_err(|error| tracing::warn!(model = self.core.model, "a prediction is not kept: {error}"))
                    .ok()
            }
            _ => None,
        };
        Ok((answer, id))
    }

    /// What came of a prediction, once for each: a click, a correction, a rating. It is booked on the day of the prediction, also
    /// after a restart.
    ///
    /// # Errors
    /// [`Error::NoPrediction`] for an identifier that was not given, or too long ago, [`Error::OutcomeTwice`], [`Error::BadOutcome`];
    /// [`Error::File`] where it cannot be written down: it can be told again.
    pub fn outcome(&self, id: PredictionId, value: f64, now: i64) -> Result<(), Error> {
        let mut outcomes = lock(&self.core.outcomes);
        outcomes.as_mut().ok_or(Error::NoPrediction { id: id.0 })?.outcome(id, value, now)
    }

    /// Sums of outcomes by day, rollout and side, of the last days.
    #[must_use]
    pub fn outcomes(&self) -> Vec<OutcomeSums> {
        lock(&self.core.outcomes).as_ref().map(|outcomes| outcomes.sums()).unwrap_or_default()
    }

    /// The part of this device in a rollout, which answers and predictions name from now on.
    pub fn set_part(&self, part: Option<Part>) {
        self.core.set_part(part);
    }

    /// What the application knows of the device: the shadow rests while it is short of anything.
    pub fn set_conditions(&self, conditions: Conditions) {
        self.core.set_conditions(conditions);
    }

    /// Waits until the agent has something to do because of what was seen here, such as a version that was condemned, and says so;
    /// `false` after `timeout`. For the thread that runs the agent.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        self.core.wait(timeout)
    }

    /// What was seen so far.
    #[must_use]
    pub fn status(&self) -> LiveStatus {
        let (serving, shadow) = {
            let state = self.core.state();
            (state.serving.clone(), state.shadow.clone())
        };
        let (inferences, bad) = serving.as_ref().map_or((0, 0), |slot| {
            let counts = lock(&slot.counts);
            (counts.all.count(), counts.bad)
        });
        let of = |candidate: &[u8; 32]| self.core.agreement().filter(|(of, _)| of == candidate).map(|(_, sums)| sums);
        LiveStatus {
            version: serving.map(|slot| Arc::clone(&slot.version)),
            inferences,
            bad,
            fallbacks: self.core.fallbacks.load(Ordering::Relaxed),
            shadow: shadow.map(|shadow| ShadowStatus {
                version: Arc::clone(&shadow.candidate.version),
                agreement: of(&shadow.candidate.version.sha256).unwrap_or_default(),
                dropped: shadow.dropped(),
            }),
        }
    }
}

/// Sets the inputs and runs. The outer error is the caller's: inputs that do not fit say nothing about the version.
fn run(
    session: &mut LiveSession,
    inputs: &[&[u8]],
) -> Result<Result<Option<fleetfoot_format::record::Reason>, Error>, Error> {
    let needed = session.slot().model.engine().inputs().len();
    if inputs.len() != needed {
        // The first that is missing, or the first that is too many.
        let index = inputs.len().min(needed);
        return Err(fleetfoot_engine::EngineError::NoSuchTensor { what: "input", index, count: needed }.into());
    }
    for (index, input) in inputs.iter().enumerate() {
        session.set_input(index, input)?;
    }
    Ok(session.run_given(Some(inputs)))
}

/// Nothing that is guarded is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
