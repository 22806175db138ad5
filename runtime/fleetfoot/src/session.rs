//! A session: one model, one arena, one inference at a time.

use std::sync::Arc;

use fleetfoot_engine::{Prepared, StepInfo};
use fleetfoot_kernels::Kernels;
use fleetfoot_plan::Aligned;

use crate::{error::Error, model::Model};

/// Runs a [`Model`]. Creating one allocates the arena; running allocates nothing. It keeps its model alive, so a
/// newer version that is swapped in meanwhile does not disturb it.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    kernels: Kernels,
    steps: Vec<Prepared>,
    arena: Aligned,
}

impl Session {
    /// Allocates the arena of `model` for `kernels`.
    ///
    /// # Errors
    /// [`Error::Engine`] for an arena over 1 GiB.
    pub fn new(model: Arc<Model>, kernels: Kernels) -> Result<Self, Error> {
        let arena = Aligned::zeroed(model.engine().bounded_arena_len(kernels)?);
        let steps = model.engine().prepare(kernels).collect();
        Ok(Self { model, kernels, steps, arena })
    }

    /// The model.
    #[must_use]
    pub const fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// The kernels in use.
    #[must_use]
    pub const fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The bytes of input `index`, to be written before every [`run`](Self::run).
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such input.
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [u8], Error> {
        let range = self.model.engine().input(index)?.span.range();
        Ok(&mut self.arena.as_mut()[range])
    }

    /// Copies `bytes` into input `index`.
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such input or the length differs.
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), Error> {
        let input = self.input_mut(index)?;
        if input.len() != bytes.len() {
            let (need, have) = (input.len(), bytes.len());
            return Err(fleetfoot_engine::EngineError::InputLength { index, need, have }.into());
        }
        input.copy_from_slice(bytes);
        Ok(())
    }

    /// One inference. Inputs may be overwritten on the way.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn run(&mut self) -> Result<(), Error> {
        self.run_observed(|_| ())
    }

    /// As [`run`](Self::run), and calls `observe` after every step.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn run_observed(&mut self, observe: impl FnMut(StepInfo)) -> Result<(), Error> {
        Ok(self.model.engine().run_prepared(self.kernels, &self.steps, self.arena.as_mut(), observe)?)
    }

    /// The bytes of output `index` of the last run.
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such output.
    pub fn output(&self, index: usize) -> Result<&[u8], Error> {
        let range = self.model.engine().output(index)?.span.range();
        Ok(&self.arena.as_ref()[range])
    }

    /// Sets all inputs from one golden case, runs, and returns the SHA-256 of all outputs.
    ///
    /// # Errors
    /// [`Error::Engine`] where the case has another length than the inputs.
    pub fn run_golden(&mut self, case: &[u8]) -> Result<[u8; 32], Error> {
        if case.len() != self.model.input_len() {
            let (need, have) = (self.model.input_len(), case.len());
            return Err(fleetfoot_engine::EngineError::InputLength { index: 0, need, have }.into());
        }
        let mut rest = case;
        for index in 0..self.model.engine().inputs().len() {
            let (input, after) = rest.split_at(self.model.engine().input(index)?.span.len as usize);
            self.set_input(index, input)?;
            rest = after;
        }
        self.run()?;
        let mut hash = fleetfoot_trust::Sha256::new();
        for index in 0..self.model.engine().outputs().len() {
            hash.update(self.output(index)?);
        }
        Ok(hash.finish())
    }
}
