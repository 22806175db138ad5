//! A session: one model, one arena, one inference at a time.

use std::sync::Arc;

use fleetfoot_engine::{EngineError, MAX_THREADS, Prepared, StepInfo};
use fleetfoot_kernels::Kernels;
use fleetfoot_plan::Aligned;

use crate::{
    arena::{Arena, Memory},
    error::Error,
    model::Model,
    pool::Pool,
};

/// Runs a [`Model`]. Creating one allocates the arena; running allocates nothing. It keeps its model alive, so a
/// newer version that is swapped in meanwhile does not disturb it.
///
/// A session runs on the thread that calls it, unless [`with_threads`](Self::with_threads) gave it more. Outputs are the same
/// bytes for any number of threads.
#[derive(Debug)]
pub struct Session {
    pub(crate) model: Arc<Model>,
    pub(crate) kernels: Kernels,
    pub(crate) steps: Vec<Prepared>,
    pub(crate) arena: Arena,
    /// For raw inputs that need some.
    pub(crate) scratch: Vec<i32>,
    /// Arenas of the other threads, for batches.
    pub(crate) lanes: Vec<Aligned>,
    /// The other threads.
    pub(crate) pool: Option<Pool>,
}

impl Session {
    /// Allocates the arena of `model` for `kernels`.
    ///
    /// # Errors
    /// [`Error::Engine`] for an arena over 1 GiB.
    pub fn new(model: Arc<Model>, kernels: Kernels) -> Result<Self, Error> {
        Self::with_threads(model, kernels, 1)
    }

    /// As [`new`](Self::new), and starts `threads - 1` threads (at most 63), which sleep between runs and end with the session.
    /// Large steps are cut into as many parts, each with scratch of its own; how much that gains depends on the model: small
    /// steps stay on the caller. Where a helper comes late, because the processor is busy, the caller does its part, too.
    ///
    /// In a child made by `fork` there are no such threads, and the session runs on the caller alone. If a kernel panics
    /// on another thread, `run` panics with it.
    ///
    /// # Errors
    /// [`Error::Engine`] for an arena over 1 GiB, [`Error::ThreadCount`], or [`Error::Thread`] where the operating system starts no more.
    pub fn with_threads(model: Arc<Model>, kernels: Kernels, threads: usize) -> Result<Self, Error> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::ThreadCount { threads });
        }
        let arena = Arena::Own(Aligned::zeroed(model.engine().bounded_arena_len(kernels, threads)?));
        Self::with_arena(model, kernels, threads, arena)
    }

    /// As [`with_threads`](Self::with_threads), in memory of the caller: inputs and outputs lie in it at the places that the engine's tensors name, and
    /// nothing is copied. It is filled with zeros first. [`arena_len_for`](fleetfoot_engine::Model::arena_len_for) tells how much is needed.
    ///
    /// # Errors
    /// As [`with_threads`](Self::with_threads), and [`Error::Engine`] where the memory is too small.
    pub fn in_memory(
        model: Arc<Model>,
        kernels: Kernels,
        threads: usize,
        mut memory: Box<dyn Memory>,
    ) -> Result<Self, Error> {
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::ThreadCount { threads });
        }
        let need = model.engine().bounded_arena_len(kernels, threads)?;
        let have = (*memory).as_mut().len();
        if have < need {
            return Err(EngineError::ArenaTooSmall { need, have }.into());
        }
        (*memory).as_mut().fill(0);
        Self::with_arena(model, kernels, threads, Arena::Lent(memory))
    }

    fn with_arena(model: Arc<Model>, kernels: Kernels, threads: usize, arena: Arena) -> Result<Self, Error> {
        let scratch = vec![0; model.preprocess_scratch_len()];
        if threads == 1 {
            // Exactly as many as there are: growing on the way would take up to three times their memory.
            let mut steps = Vec::with_capacity(model.engine().records().count());
            steps.extend(model.engine().prepare(kernels));
            return Ok(Self { model, kernels, steps, arena, scratch, lanes: Vec::new(), pool: None });
        }
        let steps = model.engine().prepare_for(kernels, threads).collect();
        let pool = Pool::new(threads - 1).map_err(|source| Error::Thread { source })?;
        Ok(Self { model, kernels, steps, arena, scratch, lanes: Vec::new(), pool: Some(pool) })
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

    /// Threads that may run, the caller's among them.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.as_ref().map_or(1, Pool::threads)
    }

    /// Bytes that `model` and a session of it with `kernels` and one thread allocate, counted before anything is: the copy of the graph,
    /// the decoded steps, the arena with its scratch, that of raw inputs. Weights are mapped and not counted.
    #[must_use]
    pub fn memory_len(model: &Model, kernels: Kernels) -> u64 {
        let steps = model.engine().records().count() as u64 * size_of::<Prepared>() as u64;
        let (arena, alignments) = (model.arena_len(kernels) as u64, 2 * fleetfoot_plan::ALIGN as u64);
        let scratch = 4 * model.preprocess_scratch_len() as u64;
        arena + model.copied_len() as u64 + steps + scratch + alignments
    }

    /// Bytes that the session allocated for tensors and scratch, of all threads.
    #[must_use]
    pub fn arena_len(&self) -> usize {
        self.arena.as_ref().len() + self.lanes.iter().map(|lane| lane.as_ref().len()).sum::<usize>()
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
            return Err(EngineError::InputLength { index, need, have }.into());
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
        let engine = self.model.engine();
        let arena = self.arena.as_mut();
        match self.pool.as_ref().filter(|pool| pool.is_here()) {
            None => engine.run_prepared(self.kernels, &self.steps, arena, observe)?,
            Some(pool) => engine.run_forked(self.kernels, &self.steps, arena, pool, observe)?,
        }
        Ok(())
    }

    /// As [`run`](Self::run), and looks before every step whether it is to go on. Returns whether it came to the end; outputs are
    /// those of no inference otherwise.
    ///
    /// # Errors
    /// [`Error::Engine`].
    pub fn run_while(&mut self, go_on: impl Fn() -> bool) -> Result<bool, Error> {
        for step in self.steps.chunks(1) {
            if !go_on() {
                return Ok(false);
            }
            let (engine, arena) = (self.model.engine(), self.arena.as_mut());
            match self.pool.as_ref().filter(|pool| pool.is_here()) {
                None => engine.run_prepared(self.kernels, step, arena, |_| ())?,
                Some(pool) => engine.run_forked(self.kernels, step, arena, pool, |_| ())?,
            }
        }
        Ok(true)
    }

    /// The other threads, where there are any.
    pub(crate) fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref().filter(|pool| pool.is_here())
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
            return Err(EngineError::InputLength { index: 0, need, have }.into());
        }
        let mut rest = case;
        for index in 0..self.model.engine().inputs().len() {
            let (input, after) = rest.split_at(self.model.engine().input(index)?.span.len as usize);
            self.set_input(index, input)?;
            rest = after;
        }
        self.run()?;
        self.output_sha256()
    }

    /// The SHA-256 of all outputs of the last run.
    pub(crate) fn output_sha256(&self) -> Result<[u8; 32], Error> {
        let mut hash = fleetfoot_trust::Sha256::new();
        for index in 0..self.model.engine().outputs().len() {
            hash.update(self.output(index)?);
        }
        Ok(hash.finish())
    }
}
