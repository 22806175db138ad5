//! A pinned version: a session that keeps what it began with, whatever is swapped in meanwhile.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use fleetfoot_format::record::Reason;

use super::{
    core::Core,
    gates::{Seen, nanos},
    lock, output,
    shadow::Job,
    slot::{Mode, Pooled, Slot},
};
use crate::{agent::VersionInfo, error::Error, health::ErrorKind, session::Session};

/// A session of the version that served when it was made. It keeps that version; what it finds out about it counts.
#[derive(Debug)]
pub struct LiveSession {
    core: Arc<Core>,
    slot: Arc<Slot>,
    /// `None` after a panic.
    session: Option<Pooled>,
}

impl LiveSession {
    pub(super) fn new(core: Arc<Core>, slot: Arc<Slot>) -> Result<Self, Error> {
        let session = Some(slot.acquire()?);
        Ok(Self { core, slot, session })
    }

    /// The version that answers.
    #[must_use]
    pub fn version(&self) -> &Arc<VersionInfo> {
        &self.slot.version
    }

    /// Whether this is still the version that new sessions get.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.core.state().serving.as_ref().is_some_and(|serving| Arc::ptr_eq(serving, &self.slot))
    }

    /// The bytes of input `index`, to be written before every [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such input, [`Error::Panicked`] after a panic.
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [u8], Error> {
        self.session.as_mut().ok_or(Error::Panicked)?.session.input_mut(index)
    }

    /// Copies `bytes` into input `index`.
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such input or the length differs, [`Error::Panicked`] after a panic.
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        self.session.as_mut().ok_or(Error::Panicked)?.session.set_input(index, bytes)
    }

    /// The bytes of output `index` of the last run.
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such output, [`Error::Panicked`] after a panic.
    pub fn output(&self, index: usize) -> Result<&[u8], Error> {
        self.session.as_ref().ok_or(Error::Panicked)?.session.output(index)
    }

    /// One inference, and what it says about the version is counted. Outputs that are not numbers or out of range are outputs all
    /// the same: a session that is pinned to a version has that version's answers.
    ///
    /// # Errors
    /// [`Error::Engine`]; [`Error::Panicked`] where a kernel panicked: this session cannot be used any more, others can.
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_given(None).map(drop)
    }

    /// As [`run`](Self::run), with inputs that are already set and still at hand. Returns what is wrong with the outputs.
    pub(super) fn run_given(&mut self, given: Option<&[&[u8]]>) -> Result<Option<Reason>, Error> {
        let Self { core, slot, session } = self;
        let Pooled { session: running, probe } = session.as_mut().ok_or(Error::Panicked)?;
        let judged = slot.mode() != Mode::Settled;
        let shadow = core.shadow_for(slot);
        // Inputs may be overwritten by the run.
        let wanted =
            shadow.is_some() || judged && (slot.can_fail || lock(&slot.counts).wants_input(&core.config.gates));
        let copy = if given.is_none() && wanted { inputs(running) } else { None };
        let input = if judged { fingerprint_inputs(running, given) } else { 0 };
        if let Some(probe) = probe {
            probe.before(running);
        }
        let start = Instant::now();
        let ran = catch_unwind(AssertUnwindSafe(|| running.run()));
        let took = start.elapsed();
        let mut failed = None;
        let fault = match ran {
            Ok(Ok(())) if slot.can_fail => output::fault(running, &core.config.gates.ranges),
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                failed = Some(error);
                Some(Reason::BAD_INFERENCE)
            }
            Err(_) => {
                failed = Some(Error::Panicked);
                Some(Reason::BAD_INFERENCE)
            }
        };
        if let Some(probe) = probe {
            match (fault, &failed) {
                (None, _) => probe.after(running, nanos(took)),
                (Some(reason), None) => probe.refused(reason),
                (_, Some(Error::Panicked)) => probe.failed(ErrorKind::Crash),
                (_, Some(_)) => probe.failed(ErrorKind::Engine),
            }
        }
        let output = if judged && fault.is_none() { fingerprint_outputs(running) } else { 0 };
        let seen = Seen { took, input, output };
        core.judge(slot, &seen, fault, || given.map(<[&[u8]]>::concat).or_else(|| copy.clone()));
        if let (Some(shadow), None) = (shadow, fault)
            && let Some(inputs) = given.map(<[&[u8]]>::concat).or(copy)
            && let Ok(output) = running.output(0)
        {
            shadow.offer(Job { inputs, output: output.to_vec(), serving: Arc::clone(slot) });
        }
        match failed {
            None => Ok(fault),
            Some(error) => {
                if matches!(error, Error::Panicked) {
                    *session = None;
                }
                Err(error)
            }
        }
    }

    pub(super) const fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    pub(super) fn outputs(&self) -> Result<Arc<[Vec<u8>]>, Error> {
        let session = &self.session.as_ref().ok_or(Error::Panicked)?.session;
        (0..session.model().engine().outputs().len()).map(|index| Ok(session.output(index)?.to_vec())).collect()
    }
}

impl Drop for LiveSession {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            self.slot.release(session);
        }
    }
}

fn inputs(session: &mut Session) -> Option<Vec<u8>> {
    let mut all = Vec::with_capacity(session.model().input_len());
    for index in 0..session.model().engine().inputs().len() {
        all.extend_from_slice(session.input_mut(index).ok()?);
    }
    Some(all)
}

fn fingerprint_inputs(session: &mut Session, given: Option<&[&[u8]]>) -> u64 {
    if let Some(given) = given {
        return given.iter().fold(0, |hash, input| output::fingerprint(hash, input));
    }
    (0..session.model().engine().inputs().len())
        .fold(0, |hash, index| session.input_mut(index).map_or(hash, |input| output::fingerprint(hash, input)))
}

fn fingerprint_outputs(session: &Session) -> u64 {
    (0..session.model().engine().outputs().len())
        .fold(0, |hash, index| session.output(index).map_or(hash, |bytes| output::fingerprint(hash, bytes)))
}
