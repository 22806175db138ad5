//! A model, its arena and the kernels of this CPU: what firmware holds.

use fleetfoot_kernels::Kernels;

use crate::{error::EngineError, model::Model};

/// One model in one arena. A session runs one inference at a time.
#[derive(Debug)]
pub struct Session<'m, B> {
    model: &'m Model<B>,
    kernels: Kernels,
    arena: &'m mut [u8],
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
        Ok(Self { model, kernels, arena })
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
        self.model.run(self.kernels, self.arena)
    }

    /// The bytes of output `index` of the last run.
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`].
    pub fn output(&self, index: usize) -> Result<&[u8], EngineError> {
        Ok(&self.arena[self.model.output(index)?.span.range()])
    }
}
