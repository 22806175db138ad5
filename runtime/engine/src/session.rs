//! A model, its arena and the kernels of this CPU: what firmware holds.

use fleetfoot_kernels::Kernels;

use crate::{
    error::EngineError,
    model::{Model, Position},
};

/// One model in one arena. A session runs one inference at a time.
#[derive(Debug)]
pub struct Session<'m, B> {
    model: &'m Model<B>,
    kernels: Kernels,
    arena: &'m mut [u8],
    at: Position,
}

impl<'m, B: AsRef<[u8]>> Session<'m, B> {
    /// Binds `model` to `arena`, which stays borrowed and needs [`Model::arena_len`] bytes.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`].
    pub fn new(model: &'m Model<B>, kernels: Kernels, arena: &'m mut [u8]) -> Result<Self, EngineError> {
        let (need, have) = (model.arena_len(kernels), arena.len());
        if have < need {
            return Err(EngineError::ArenaTooSmall { need, have });
        }
        Ok(Self { model, kernels, arena, at: Position::START })
    }

    /// The bytes of input `index`, to be written before every [`run`](Self::run).
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`].
    pub fn input_mut(&mut self, index: usize) -> Result<&mut [u8], EngineError> {
        Ok(&mut self.arena[self.model.input(index)?.span.range()])
    }

    /// Copies `bytes` into input `index`.
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`] or [`EngineError::InputLength`].
    pub fn set_input(&mut self, index: usize, bytes: &[u8]) -> Result<(), EngineError> {
        let input = self.input_mut(index)?;
        if input.len() != bytes.len() {
            return Err(EngineError::InputLength { index, need: input.len(), have: bytes.len() });
        }
        input.copy_from_slice(bytes);
        Ok(())
    }

    /// One inference. Inputs may be overwritten on the way.
    ///
    /// # Errors
    /// None after [`new`](Self::new) succeeded.
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.at = Position::START;
        self.model.run(self.kernels, self.arena)
    }

    /// One layer of an inference; whether there are more. For firmware that has something else to do in between. The inputs must be there before
    /// the first, the outputs after the last; a [`run`](Self::run) begins anew.
    ///
    /// ```
    /// # use fleetfoot_engine::{EngineError, Session};
    /// # fn example(session: &mut Session<'_, &[u8]>, mut serve_the_radio: impl FnMut()) -> Result<(), EngineError> {
    /// while session.step()? {
    ///     serve_the_radio();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// None after [`new`](Self::new) succeeded.
    pub fn step(&mut self) -> Result<bool, EngineError> {
        let more = self.model.step(self.kernels, &mut self.at, self.arena)?;
        if !more {
            self.at = Position::START;
        }
        Ok(more)
    }

    /// The bytes of output `index` of the last run.
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`].
    pub fn output(&self, index: usize) -> Result<&[u8], EngineError> {
        Ok(&self.arena[self.model.output(index)?.span.range()])
    }
}
