//! Counting where inferences run.
//!
//! Each session has a [`Probe`] with a tally of its own, behind a lock that only the collector asks for besides it, once in a while. A
//! run costs two of these locks, two looks at the clock and a sample of eight values of each watched tensor, at places that move from
//! run to run. Nothing is allocated.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use fleetfoot_format::{
    baseline::{Baseline, TensorSketch},
    graph::IoType,
    record::Reason,
};
use fleetfoot_health::{ErrorKind, MAX_WATCHED, Sketch, Tally};

use crate::{error::Error, model::Model, session::Session, validate, verified::VerifiedFile};

/// Values of one tensor that are looked at in one run.
const SAMPLED: usize = 8;

/// Counts one version of one model over all its sessions.
#[derive(Clone, Debug)]
pub struct Observer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inputs: Vec<Watched>,
    outputs: Vec<Watched>,
    baseline: Option<Baseline>,
    probes: Mutex<Vec<Arc<Mutex<Tally>>>>,
}

/// A tensor whose values are looked at.
#[derive(Clone, Copy, Debug)]
struct Watched {
    dtype: IoType,
    baseline: Option<TensorSketch>,
}

impl Observer {
    /// For a model; `baseline` is what its values are held against.
    #[must_use]
    pub fn new(model: &Model, baseline: Option<Baseline>) -> Self {
        let watched = |tensors: &[fleetfoot_engine::Tensor], sketches: Option<&[TensorSketch]>| {
            let sketch = |i: usize| sketches.and_then(|sketches| sketches.get(i).copied());
            let one =
                |(i, tensor): (usize, &fleetfoot_engine::Tensor)| Watched { dtype: tensor.dtype, baseline: sketch(i) };
            tensors.iter().enumerate().take(MAX_WATCHED).map(one).collect()
        };
        let inputs = watched(model.engine().inputs(), baseline.as_ref().map(|b| &b.inputs[..]));
        let outputs = watched(model.engine().outputs(), baseline.as_ref().map(|b| &b.outputs[..]));
        let probes = Mutex::new(vec![Arc::default()]);
        Self { shared: Arc::new(Shared { inputs, outputs, baseline, probes }) }
    }

    /// For a model of a bundle, with the bundle's baseline, where it has one.
    ///
    /// # Errors
    /// [`Error::Format`] where the section does not hold, or is that of a model with other tensors.
    pub fn of(file: &VerifiedFile, model: &Model) -> Result<Self, Error> {
        Ok(Self::new(model, validate::baseline(file, model)?))
    }

    /// A probe for one session.
    #[must_use]
    pub fn probe(&self) -> Probe {
        let tally = Arc::<Mutex<Tally>>::default();
        lock(&self.shared.probes).push(Arc::clone(&tally));
        Probe { shared: Arc::clone(&self.shared), tally, turn: 0, last: 0, inputs: Faults::default() }
    }

    /// Counts something outside of a session: a fallback, a crash, a run in the shadow, a metric of the application.
    pub fn count(&self, what: impl FnOnce(&mut Tally)) {
        if let Some(tally) = lock(&self.shared.probes).first() {
            what(&mut lock(tally));
        }
    }

    /// All that was counted since the last call.
    #[must_use]
    pub fn take(&self) -> Tally {
        let mut sum = Tally::default();
        let mut probes = lock(&self.shared.probes);
        probes.iter().for_each(|tally| sum.add(&lock(tally).take()));
        // Probes that are gone were counted just now; the first is that of `count`.
        let mut first = true;
        probes.retain(|tally| std::mem::take(&mut first) || Arc::strong_count(tally) > 1);
        sum
    }

    /// The baseline.
    #[must_use]
    pub fn baseline(&self) -> Option<&Baseline> {
        self.shared.baseline.as_ref()
    }
}

/// Counts the runs of one session.
#[derive(Debug)]
pub struct Probe {
    shared: Arc<Shared>,
    tally: Arc<Mutex<Tally>>,
    turn: u32,
    /// What the outputs of the last run hashed to.
    last: u64,
    /// What is wrong with the inputs of the run that is on its way.
    inputs: Faults,
}

/// What the values of one run are: it is counted once, whether inputs or outputs are like that, or both.
#[derive(Clone, Copy, Debug, Default)]
struct Faults {
    nan: bool,
    outside: bool,
}

impl Probe {
    /// Runs `session` and counts the run: the whole of [`before`](Self::before), [`Session::run`] and [`after`](Self::after).
    ///
    /// # Errors
    /// Those of [`Session::run`]; they are counted.
    pub fn run(&mut self, session: &mut Session) -> Result<(), Error> {
        self.before(session);
        let start = Instant::now();
        let ran = session.run();
        let ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        match ran {
            Ok(()) => self.after(session, ns),
            Err(_) => self.failed(ErrorKind::Engine),
        }
        ran
    }

    /// Looks at the inputs, which must be set; a run may overwrite them.
    pub fn before(&mut self, session: &Session) {
        self.turn = self.turn.wrapping_add(1);
        let mut tally = lock(&self.tally);
        let mut faults = Faults::default();
        let tensors = session.model.engine().inputs().iter();
        for ((watched, sketch), tensor) in self.shared.inputs.iter().zip(&mut tally.inputs).zip(tensors) {
            let bytes = &session.arena.as_ref()[tensor.span.range()];
            watched.look(bytes, self.turn, sketch, &mut faults);
        }
        self.inputs = faults;
    }

    /// Counts a run that took `ns` nanoseconds and looks at its outputs.
    pub fn after(&mut self, session: &Session, ns: u64) {
        let mut tally = lock(&self.tally);
        tally.inference(ns);
        let (mut faults, mut hash) = (std::mem::take(&mut self.inputs), HASH_START);
        let tensors = session.model.engine().outputs().iter();
        for ((watched, sketch), tensor) in self.shared.outputs.iter().zip(&mut tally.outputs).zip(tensors) {
            let bytes = &session.arena.as_ref()[tensor.span.range()];
            watched.look(bytes, self.turn, sketch, &mut faults);
            hash = mix(hash, bytes);
        }
        faults.note(&mut tally);
        if self.last == hash {
            tally.counters.constant = tally.counters.constant.saturating_add(1);
        }
        self.last = hash;
    }

    /// Counts a run whose answer is none: values that are no numbers, or out of the range that the application expects.
    pub(crate) fn refused(&mut self, reason: Reason) {
        let mut tally = lock(&self.tally);
        tally.error(ErrorKind::Answer);
        let mut faults = std::mem::take(&mut self.inputs);
        faults.nan |= reason == Reason::NOT_A_NUMBER;
        faults.outside |= reason == Reason::OUT_OF_RANGE;
        faults.note(&mut tally);
    }

    /// Counts a run that gave no answer.
    pub fn failed(&mut self, kind: ErrorKind) {
        let mut tally = lock(&self.tally);
        tally.error(kind);
        std::mem::take(&mut self.inputs).note(&mut tally);
    }
}

impl Watched {
    /// Counts a sample of the values of `bytes`.
    #[inline]
    fn look(&self, bytes: &[u8], turn: u32, sketch: &mut Sketch, faults: &mut Faults) {
        let size = self.dtype.size();
        let n = bytes.len() / size;
        if n == 0 {
            return;
        }
        let (lo, hi) = self.baseline.map_or((f32::NEG_INFINITY, f32::INFINITY), |b| (b.lo, b.hi));
        let count = n.min(SAMPLED);
        let stride = n / count;
        // All values have their turn: the sample moves by one place each run.
        let mut at = if stride > 1 { turn as usize % stride } else { 0 };
        for _ in 0..count {
            let value = match self.dtype {
                IoType::Int8 => {
                    let value = bytes[at].cast_signed();
                    sketch.record_int8(value);
                    f32::from(value)
                }
                IoType::UInt8 => {
                    sketch.record_uint8(bytes[at]);
                    f32::from(bytes[at])
                }
                _ => {
                    let value = real(self.dtype, &bytes[at * size..]);
                    if let Some(baseline) = &self.baseline {
                        sketch.record_real(value, baseline.lo, baseline.hi);
                    }
                    value
                }
            };
            faults.nan |= value.is_nan();
            faults.outside |= value < lo || value > hi;
            at += stride;
        }
    }
}

/// The value at the front of `bytes`, of a type that is wider than a byte.
fn real(dtype: IoType, bytes: &[u8]) -> f32 {
    match dtype {
        IoType::Int32 => bytes.first_chunk().map_or(0.0, |b| i32::from_le_bytes(*b) as f32),
        IoType::Int64 => bytes.first_chunk().map_or(0.0, |b| i64::from_le_bytes(*b) as f32),
        _ => bytes.first_chunk().map_or(0.0, |b| f32::from_le_bytes(*b)),
    }
}

impl Faults {
    fn note(self, tally: &mut Tally) {
        let counters = &mut tally.counters;
        counters.nan = counters.nan.saturating_add(u32::from(self.nan));
        counters.out_of_range = counters.out_of_range.saturating_add(u32::from(self.outside));
    }
}

/// Adds eight words of `bytes`, spread over them, to a hash. Good enough to tell answers apart that are looked at one after the other.
fn mix(mut hash: u64, bytes: &[u8]) -> u64 {
    let words = bytes.len() / 8;
    let step = words.div_ceil(8).max(1);
    for word in bytes.chunks_exact(8).step_by(step) {
        hash =
            (hash ^ word.first_chunk().map_or(0, |w| u64::from_le_bytes(*w))).wrapping_mul(HASH_FACTOR).rotate_left(29);
    }
    for &byte in &bytes[words * 8..] {
        hash = (hash ^ u64::from(byte)).wrapping_mul(HASH_FACTOR).rotate_left(29);
    }
    // Never that of no run at all.
    hash | 1
}

const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counts are whole whatever happened to a thread that held them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
