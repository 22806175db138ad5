//! The whole way from a graph to a plan.
//!
//! ```text
//! expand    operators that are made of others become those
//! constant_channels   channels that cannot change are taken out, their constants folded into the next bias
//! alias     reshapes (and requantizations that change nothing) share the tensor they read
//! memory    each remaining tensor gets its place in the arena by the span of its life
//! lower     each operator becomes one step; its weights, multipliers and tables go to the section weights
//! ```

use alloc::{string::ToString, vec, vec::Vec};

use fleetfoot_format::{
    graph::{self, Io, Record, Span},
    limits::MAX_ARENA_LEN,
};

use crate::{
    constant_channels,
    error::PlanError,
    expand,
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
}

/// Plans `graph`.
///
/// # Errors
/// A [`PlanError`] that names the operator and the tensor.
pub fn plan(graph: &Graph) -> Result<Plan, PlanError> {
    let expanded = expand::expand(graph);
    let graph = expanded.as_ref().unwrap_or(graph);
    let Some((smaller, removed)) = constant_channels::remove(graph)? else { return plan_as_written(graph) };
    Ok(Plan { removed, ..plan_as_written(&smaller)? })
}

/// Plans `graph` operator by operator, with nothing taken out: the same results for more work.
///
/// # Errors
/// As [`plan()`].
pub fn plan_as_written(graph: &Graph) -> Result<Plan, PlanError> {
    let expanded = expand::expand(graph);
    let graph = expanded.as_ref().unwrap_or(graph);
    let roots = alias(graph);
    let lives = lives(graph, &roots);
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
    for op in &graph.ops {
        let Some(&output) = op.outputs.first() else { continue };
        if op.inputs.first().copied().flatten().is_some_and(|input| roots[output.0] == roots[input.0]) {
            continue;
        }
        let steps = Lower { graph, op, span: &span }.steps(&mut packer)?;
        records.extend(steps.into_iter().map(|step| Record { name: short(&graph.tensor(output).name), step }));
    }
    let io = |ids: &[TensorId]| ids.iter().map(|&id| describe(graph, id, span(id))).collect::<Result<Vec<_>, _>>();
    let weights = packer.finish().map_err(|need| PlanError::TooLarge {
        what: "the section weights",
        need,
        limit: u64::from(u32::MAX),
    })?;
    let bytes = graph::write(&io(&graph.inputs)?, &io(&graph.outputs)?, arena_len, weights.len() as u32, &records)?;
    Ok(Plan {
        graph: bytes,
        weights,
        arena_len,
        arena_lower_bound: memory::lower_bound(&lives, graph.ops.len() + 1),
        macs: records.iter().map(|r| r.step.macs()).sum(),
        removed: Removed::default(),
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
