//! The whole way from a graph to a plan.
//!
//! ```text
//! dead      operators whose result nobody reads go
//! expand    operators that are made of others become those
//! constant_channels   channels that cannot change are taken out, their constants folded into the next bias
//! alias     reshapes (and requantizations that change nothing) share the tensor they read
//! fuse      activations, requantizations and borders become part of the step beside them, where that is the same to the byte
//! memory    each remaining tensor gets its place in the arena by the span of its life
//! lower     each operator becomes one step; its weights, multipliers and tables go to the section weights
//! ```

use alloc::{string::ToString, vec, vec::Vec};

use fleetfoot_format::{
    FormatError,
    graph::{self, Io, Record, Span},
    limits::{MAX_ARENA_LEN, MAX_BUNDLE_LEN, MAX_STEPS},
};

use crate::{
    constant_channels,
    error::PlanError,
    expand,
    fuse::Fusion,
    graph::{Graph, OpKind, TensorId},
    lower::{self, Lower},
    memory::{self, Life},
    pack::Packer,
};

/// What the engine executes, and what it costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The section *graph*.
    pub graph: Vec<u8>,
    /// The section *weights*.
    pub weights: Vec<u8>,
    /// Bytes that tensors take in the arena.
    pub arena_len: u32,
    /// The most bytes that live at one step: no arena can be smaller.
    pub arena_lower_bound: u64,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// What the passes that rewrite the network took out of it.
    pub removed: Removed,
}

/// What planning took out of a network without changing one of its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Channels of convolutions of all kinds that cannot change.
    pub channels: usize,
    /// Multiply-accumulates of one inference.
    pub macs: u64,
    /// Steps that another step does on the way, and steps whose result nobody reads. Reshapes are not counted: they never had one.
    pub steps: usize,
    /// Bytes of tables in the section weights that are there once and used several times.
    pub table_bytes: usize,
}

/// Plans `graph`.
///
/// # Errors
/// A [`PlanError`] that names the operator and the tensor.
pub fn plan(graph: &Graph) -> Result<Plan, PlanError> {
    few_steps(graph)?;
    let expanded = expand::expand(graph);
    let graph = expanded.as_ref().unwrap_or(graph);
    few_steps(graph)?;
    let (live, dead) = live(graph);
    let graph = live.as_ref().unwrap_or(graph);
    let smaller = constant_channels::remove(graph)?;
    let (graph, removed) = smaller.as_ref().map_or((graph, Removed::default()), |(graph, removed)| (graph, *removed));
    let mut plan = lowered(graph, &Fusion::of(graph, alias(graph)))?;
    plan.removed.channels = removed.channels;
    plan.removed.macs = removed.macs.saturating_add(dead.macs);
    plan.removed.steps += dead.steps;
    Ok(plan)
}

/// Plans `graph` operator by operator, with nothing taken out: the same results for more work.
///
/// # Errors
/// As [`plan()`].
pub fn plan_as_written(graph: &Graph) -> Result<Plan, PlanError> {
    few_steps(graph)?;
    let expanded = expand::expand(graph);
    let graph = expanded.as_ref().unwrap_or(graph);
    few_steps(graph)?;
    lowered(graph, &Fusion::none(graph, alias(graph)))
}

/// Told before any work is done: operators can share weights, and each would pack them anew.
fn few_steps(graph: &Graph) -> Result<(), PlanError> {
    let steps = graph.ops.iter().filter(|op| op.kind != OpKind::Reshape).count();
    if steps > MAX_STEPS {
        let (value, limit) = (steps as u64, MAX_STEPS as u64);
        return Err(FormatError::OverLimit { what: "number of steps", value, limit }.into());
    }
    Ok(())
}

/// Without operators whose result nobody reads, if there are any, and what that saves.
fn live(graph: &Graph) -> (Option<Graph>, Removed) {
    let mut needed = vec![false; graph.tensors.len()];
    graph.outputs.iter().for_each(|id| needed[id.0] = true);
    let (mut keep, mut dead) = (vec![true; graph.ops.len()], Removed::default());
    for (op, keep) in graph.ops.iter().zip(&mut keep).rev() {
        *keep = op.outputs.iter().any(|id| needed[id.0]);
        if *keep {
            op.inputs.iter().flatten().for_each(|id| needed[id.0] = true);
        } else {
            let nowhere = |_| Span::default();
            let step = Lower { graph, op, span: &nowhere }.step(&mut Packer::default());
            dead.macs = dead.macs.saturating_add(step.map_or(0, |step| step.macs()));
            dead.steps += usize::from(op.kind != OpKind::Reshape);
        }
    }
    if keep.iter().all(|&keep| keep) {
        return (None, dead);
    }
    let mut live = graph.clone();
    let mut kept = keep.into_iter();
    live.ops.retain(|_| kept.next().unwrap_or(true));
    (Some(live), dead)
}

fn lowered(graph: &Graph, fusion: &Fusion) -> Result<Plan, PlanError> {
    let roots = &fusion.roots;
    let lives = lives(graph, roots);
    let (places, arena_len) = match memory::place(&lives) {
        Some((places, len)) if len <= MAX_ARENA_LEN => (places, len),
        _ => {
            let need = memory::lower_bound(&lives, graph.ops.len() + 1);
            return Err(PlanError::TooLarge { what: "the arena", need, limit: u64::from(MAX_ARENA_LEN) });
        }
    };
    let span = |id: TensorId| places[roots[id.0]];
    let mut packer = Packer::default();
    let mut records = Vec::new();
    for (at, op) in graph.ops.iter().enumerate() {
        let Some(&output) = op.outputs.first() else { continue };
        if fusion.is_gone(op) {
            continue;
        }
        let steps = fusion.steps(at, &Lower { graph, op, span: &span }, &mut packer)?;
        if packer.is_too_large() {
            break;
        }
        records.extend(steps.into_iter().map(|step| Record { name: short(&graph.tensor(output).name), step }));
    }
    let io = |ids: &[TensorId]| ids.iter().map(|&id| describe(graph, id, span(id))).collect::<Result<Vec<_>, _>>();
    let table_bytes = packer.merged_bytes();
    let weights = packer.finish().map_err(|need| PlanError::TooLarge {
        what: "the section weights",
        need,
        limit: MAX_BUNDLE_LEN,
    })?;
    let bytes = graph::write(&io(&graph.inputs)?, &io(&graph.outputs)?, arena_len, weights.len() as u32, &records)?;
    Ok(Plan {
        graph: bytes,
        weights,
        arena_len,
        arena_lower_bound: memory::lower_bound(&lives, graph.ops.len() + 1),
        macs: records.iter().map(|r| r.step.macs()).sum(),
        removed: Removed { steps: fusion.steps, table_bytes, ..Removed::default() },
    })
}

/// For each tensor the one whose bytes it shares: itself, or what a reshape reads.
fn alias(graph: &Graph) -> Vec<usize> {
    let mut roots: Vec<usize> = (0..graph.tensors.len()).collect();
    for op in &graph.ops {
        let (Some(Some(input)), Some(output)) = (op.inputs.first(), op.outputs.first()) else { continue };
        let (from, to) = (graph.tensor(*input), graph.tensor(*output));
        let shares = match op.kind {
            OpKind::Reshape => true,
            OpKind::Quantize => from.dtype == to.dtype && from.quant == to.quant,
            _ => false,
        };
        if shares && from.data.is_none() && from.elements() == to.elements() {
            roots[output.0] = roots[input.0];
        }
    }
    roots
}

/// From the step that writes a tensor to the last that reads it; step 0 is the caller's writing of the inputs, and
/// outputs live to the end. Tensors that no step touches have no length.
fn lives(graph: &Graph, roots: &[usize]) -> Vec<Life> {
    let end = graph.ops.len() + 1;
    let mut lives = vec![None::<Life>; graph.tensors.len()];
    let mut touch = |id: TensorId, step: usize| {
        if graph.tensor(id).data.is_none() {
            let len = (graph.tensor(id).elements() * graph.tensor(id).dtype.io().size()) as u32;
            let life = lives[roots[id.0]].get_or_insert(Life { first: step, last: step, len });
            life.first = life.first.min(step);
            life.last = life.last.max(step);
        }
    };
    for &input in &graph.inputs {
        touch(input, 0);
    }
    for (i, op) in graph.ops.iter().enumerate() {
        op.inputs.iter().flatten().chain(&op.outputs).for_each(|&id| touch(id, i + 1));
    }
    for &output in &graph.outputs {
        touch(output, end);
    }
    let unused = Life { first: 0, last: 0, len: 0 };
    lives.into_iter().map(|life| life.unwrap_or(unused)).collect()
}

fn describe(graph: &Graph, id: TensorId, span: Span) -> Result<Io<'_>, PlanError> {
    let tensor = graph.tensor(id);
    let unsupported = |what| PlanError::Unsupported { position: 0, op: "model", output: tensor.name.to_string(), what };
    if tensor.data.is_some() {
        return Err(unsupported("an input or output of the model is a constant"));
    }
    let dtype = tensor.dtype.io();
    let quant = if dtype.quantized().is_some() { lower::per_tensor(tensor) } else { Some((1.0, 0)) };
    let Some((scale, zero_point)) = quant else {
        return Err(unsupported("an input or output of the model is int8 or uint8 without one scale"));
    };
    let dims = tensor.shape.iter().map(|&d| u32::try_from(d)).collect::<Result<Vec<_>, _>>();
    let dims = dims.ok().and_then(|dims| heapless::Vec::from_slice(&dims).ok());
    let dims = dims.ok_or_else(|| unsupported("an input or output of the model has too many dimensions"))?;
    Ok(Io { name: short(&tensor.name), dtype, dims, scale, zero_point, span })
}

/// Names of converted models can be very long lists of fused layers; the first 96 bytes tell them apart well enough.
fn short(name: &str) -> &str {
    const MAX: usize = 96;
    &name[..name.floor_char_boundary(MAX)]
}
