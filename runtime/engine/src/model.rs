//! A model: the bytes of a plan and of its weights, proved sound.

use core::borrow::Borrow;

use fleetfoot_format::{
    graph::{Graph, Io, IoType, Record, Span, Steps},
    limits::{MAX_ARENA_LEN, MAX_DIMS, MAX_IO},
};
use fleetfoot_kernels::Kernels;

use crate::{
    check,
    error::EngineError,
    fork::Fork,
    split::{self, Cut},
    step::{self, StepInfo},
};

/// A plan and its weights, every bound proved. `B` is whatever holds the bytes: `&[u8]` in flash, or a mapped file.
///
/// ```
/// # use fleetfoot_engine::{EngineError, Kernels, Model};
/// # fn example(graph: &[u8], weights: &[u8], arena: &mut [u8]) -> Result<(), EngineError> {
/// let model = Model::open(graph, weights)?;
/// assert!(arena.len() >= model.arena_len(Kernels::scalar()));
/// arena[model.input(0)?.span.range()].fill(0);
/// model.run(Kernels::scalar(), arena)?;
/// let answer = &arena[model.output(0)?.span.range()];
/// # let _ = answer; Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Model<B> {
    graph: B,
    weights: B,
    steps_start: usize,
    n_steps: u32,
    tensors_len: usize,
    /// Whether all multipliers of convolutions are below 1.
    below_one: bool,
    inputs: heapless::Vec<Tensor, MAX_IO>,
    outputs: heapless::Vec<Tensor, MAX_IO>,
}

/// A step, decoded once. Who has memory to spare keeps all of them; small networks then run faster.
#[derive(Clone, Debug)]
pub struct Prepared {
    step: step::Prepared,
    cut: Option<Cut>,
}

impl Prepared {
    /// Bytes of scratch, whole or in parts.
    fn most_scratch_len(&self) -> usize {
        self.cut.map_or(0, |cut| cut.scratch_len()).max(self.step.scratch_len)
    }
}

/// Where in an inference the next step lies, see [`Model::step`]. It belongs to one model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    offset: usize,
    index: u32,
}

impl Position {
    /// Before the first step.
    pub(crate) const START: Self = Self { offset: 0, index: 0 };
}

/// An input or output: bytes in the order of `dims` (outermost first), `real = (q - zero_point) * scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub dtype: IoType,
    /// Extents.
    pub dims: heapless::Vec<u32, MAX_DIMS>,
    /// Real value of one quantized step.
    pub scale: f32,
    /// Quantized value of real 0.
    pub zero_point: i32,
    /// Where its bytes lie in the arena.
    pub span: Span,
}

impl<B: AsRef<[u8]>> Model<B> {
    /// Decodes `graph` and proves that every step stays inside the arena and `weights`.
    ///
    /// # Errors
    /// An [`EngineError`] that names the step and the operand at fault.
    pub fn open(graph: B, weights: B) -> Result<Self, EngineError> {
        let parsed = Graph::parse(graph.as_ref())?;
        let below_one = check::graph(&parsed, weights.as_ref())?;
        let steps_start = graph.as_ref().len() - parsed.step_bytes().len();
        let n_steps = parsed.n_steps();
        let tensors_len = parsed.arena_len() as usize;
        let (inputs, outputs) = (tensors(parsed.inputs()), tensors(parsed.outputs()));
        drop(parsed);
        Ok(Self { graph, weights, steps_start, n_steps, tensors_len, below_one, inputs, outputs })
    }

    /// Bytes of arena that [`run`](Self::run) needs with `kernels`: tensors and scratch; `usize::MAX` if that cannot be counted.
    #[must_use]
    pub fn arena_len(&self, kernels: Kernels) -> usize {
        let scratch = self.prepare(kernels).map(|p| p.step.scratch_len).max();
        self.tensors_len.saturating_add(scratch.unwrap_or(0))
    }

    /// As [`arena_len`](Self::arena_len), for [`run_forked`](Self::run_forked): each of `threads` has scratch of its own.
    #[must_use]
    pub fn arena_len_for(&self, kernels: Kernels, threads: usize) -> usize {
        let scratch = self.prepare_for(kernels, threads).map(|p| p.most_scratch_len()).max();
        self.tensors_len.saturating_add(scratch.unwrap_or(0))
    }

    /// As [`arena_len_for`](Self::arena_len_for), for callers that allocate: a small file can ask for any length.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooLarge`] above [`MAX_ARENA_LEN`].
    pub fn bounded_arena_len(&self, kernels: Kernels, threads: usize) -> Result<usize, EngineError> {
        let (need, limit) = (self.arena_len_for(kernels, threads), MAX_ARENA_LEN as usize);
        if need > limit { Err(EngineError::ArenaTooLarge { need, limit }) } else { Ok(need) }
    }

    /// Bytes of arena that tensors take, without scratch.
    #[must_use]
    pub const fn tensors_len(&self) -> usize {
        self.tensors_len
    }

    /// Inputs in the order of the source model.
    #[must_use]
    pub fn inputs(&self) -> &[Tensor] {
        &self.inputs
    }

    /// Outputs in the order of the source model.
    #[must_use]
    pub fn outputs(&self) -> &[Tensor] {
        &self.outputs
    }

    /// Input `index`.
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`].
    pub fn input(&self, index: usize) -> Result<&Tensor, EngineError> {
        let count = self.inputs.len();
        self.inputs.get(index).ok_or(EngineError::NoSuchTensor { what: "input", index, count })
    }

    /// Output `index`.
    ///
    /// # Errors
    /// [`EngineError::NoSuchTensor`].
    pub fn output(&self, index: usize) -> Result<&Tensor, EngineError> {
        let count = self.outputs.len();
        self.outputs.get(index).ok_or(EngineError::NoSuchTensor { what: "output", index, count })
    }

    /// The steps and the names of their layers, in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        // `open` decoded every step of these very bytes.
        Steps::new(&self.graph.as_ref()[self.steps_start..], self.n_steps).map_while(Result::ok)
    }

    /// The decoded head, for names of inputs and outputs.
    ///
    /// # Errors
    /// None for bytes that [`open`](Self::open) took.
    pub fn graph(&self) -> Result<Graph<'_>, EngineError> {
        Ok(Graph::parse(self.graph.as_ref())?)
    }

    /// The steps decoded, for [`run_prepared`](Self::run_prepared).
    pub fn prepare(&self, kernels: Kernels) -> impl Iterator<Item = Prepared> {
        let weights = self.weights.as_ref();
        let below_one = self.below_one;
        let prepared = move |step| step::Prepared::new(kernels, step, weights, below_one);
        self.records().map(move |r| Prepared { step: prepared(r.step), cut: None })
    }

    /// As [`prepare`](Self::prepare), for [`run_forked`](Self::run_forked) with up to `threads` threads, at most
    /// [`MAX_THREADS`](crate::MAX_THREADS).
    pub fn prepare_for(&self, kernels: Kernels, threads: usize) -> impl Iterator<Item = Prepared> {
        let weights = self.weights.as_ref();
        self.prepare(kernels).map(move |p| Prepared { cut: Cut::new(kernels, &p.step.step, weights, threads), ..p })
    }

    /// As [`run_observed`](Self::run_observed), without decoding the steps anew: `steps` are those that
    /// [`prepare`](Self::prepare) gave for this model and these kernels.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`].
    pub fn run_prepared(
        &self,
        kernels: Kernels,
        steps: &[Prepared],
        arena: &mut [u8],
        observe: impl FnMut(StepInfo),
    ) -> Result<(), EngineError> {
        self.run_steps(kernels, steps.iter(), arena, observe)
    }

    /// As [`run_prepared`](Self::run_prepared), and hands the parts of large steps to `fork`: `steps` are those that
    /// [`prepare_for`](Self::prepare_for) gave. The bytes are the same.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`] below [`arena_len_for`](Self::arena_len_for).
    pub fn run_forked(
        &self,
        kernels: Kernels,
        steps: &[Prepared],
        arena: &mut [u8],
        fork: &(impl Fork + ?Sized),
        mut observe: impl FnMut(StepInfo),
    ) -> Result<(), EngineError> {
        let (have, weights) = (arena.len(), self.weights.as_ref());
        let need = || self.tensors_len.saturating_add(steps.iter().map(Prepared::most_scratch_len).max().unwrap_or(0));
        let Some((tensors, scratch)) = arena.split_at_mut_checked(self.tensors_len) else {
            return Err(EngineError::ArenaTooSmall { need: need(), have });
        };
        for (index, prepared) in steps.iter().enumerate() {
            if scratch.len() < prepared.most_scratch_len() {
                return Err(EngineError::ArenaTooSmall { need: need(), have });
            }
            match &prepared.cut {
                None => step::run(kernels, &prepared.step, weights, tensors, scratch),
                Some(cut) => split::run(kernels, (&prepared.step, cut), weights, tensors, scratch, fork),
            }
            .map_err(|fault| fault.at(index as u32))?;
            observe(StepInfo { index });
        }
        Ok(())
    }

    fn run_steps(
        &self,
        kernels: Kernels,
        steps: impl Iterator<Item = impl Borrow<Prepared>>,
        arena: &mut [u8],
        mut observe: impl FnMut(StepInfo),
    ) -> Result<(), EngineError> {
        let have = arena.len();
        let too_small = |need| EngineError::ArenaTooSmall { need, have };
        let Some((tensors, scratch)) = arena.split_at_mut_checked(self.tensors_len) else {
            return Err(too_small(self.arena_len(kernels)));
        };
        for (index, prepared) in steps.enumerate() {
            let prepared = &prepared.borrow().step;
            if scratch.len() < prepared.scratch_len {
                return Err(too_small(self.arena_len(kernels)));
            }
            step::run(kernels, prepared, self.weights.as_ref(), tensors, scratch)
                .map_err(|fault| fault.at(index as u32))?;
            observe(StepInfo { index });
        }
        Ok(())
    }

    /// The step at `at`, and moves `at` behind it; whether there are more. A run of steps from [`Position::START`] on is an inference,
    /// and what lies between two of them is the caller's.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`].
    pub(crate) fn step(&self, kernels: Kernels, at: &mut Position, arena: &mut [u8]) -> Result<bool, EngineError> {
        let all = &self.graph.as_ref()[self.steps_start..];
        let mut steps = Steps::new(all.get(at.offset..).unwrap_or_default(), self.n_steps.saturating_sub(at.index));
        // `open` decoded every step of these very bytes.
        let Some(Ok(record)) = steps.next() else { return Ok(false) };
        let step = step::Prepared::new(kernels, record.step, self.weights.as_ref(), self.below_one);
        self.run_steps(kernels, core::iter::once(Prepared { step, cut: None }), arena, |_| ())?;
        let (rest, left) = steps.rest();
        *at = Position { offset: all.len() - rest.len(), index: at.index + 1 };
        Ok(left != 0)
    }

    /// One inference: reads the inputs from the arena, leaves the outputs in it. Inputs may be overwritten on the way.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`].
    pub fn run(&self, kernels: Kernels, arena: &mut [u8]) -> Result<(), EngineError> {
        self.run_observed(kernels, arena, |_| ())
    }

    /// As [`run`](Self::run); calls `observe` after every step, so that a profiler can read its clock.
    ///
    /// # Errors
    /// [`EngineError::ArenaTooSmall`].
    pub fn run_observed(
        &self,
        kernels: Kernels,
        arena: &mut [u8],
        observe: impl FnMut(StepInfo),
    ) -> Result<(), EngineError> {
        self.run_steps(kernels, self.prepare(kernels), arena, observe)
    }
}

fn tensors(io: &[Io<'_>]) -> heapless::Vec<Tensor, MAX_IO> {
    io.iter()
        .map(|io| Tensor {
            dtype: io.dtype,
            dims: io.dims.clone(),
            scale: io.scale,
            zero_point: io.zero_point,
            span: io.span,
        })
        .collect()
}
