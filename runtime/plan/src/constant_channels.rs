//! Channels that cannot change are taken out of the network.
//!
//! Trained networks hold channels whose quantized output is one constant whatever the input is: ReLU clamps them, or their
//! weights are too small for the output scale. `ranges` proves it. Such a channel costs its producer and its consumer
//! multiply-accumulates for nothing:
//!
//! ```text
//! producer   rows of weights of the channel go
//! consumer   bias[n] += sum over taps of (constant - z_in) * (w[n] - z_w);    columns of weights of the channel go
//! ```
//! The sum is exact in integers, unless the consumer pads: outside the image stands the zero point, so that there only the
//! constant `z_in` may go. Depthwise layers, sums, pools and tables tie a channel of their operands to that of their
//! result; a class of tied channels goes as a whole or not at all. Inputs and outputs of the model keep all channels.
//!
//! A channel *matters* if something that stays reads it. Going backwards, inputs of channels that do not matter need not
//! matter; repeated until nothing changes. Kernels work in blocks of 16 channels: a tensor keeps some constant ones (with
//! weights of zero) to fill its last block.

use alloc::{vec, vec::Vec};
use core::ops::Range as Indices;

use crate::{
    error::PlanError,
    graph::{ElementType, Graph, Op, Tensor, TensorId},
    plan::Removed,
    ranges::{self, Layer, Range, Role},
};

/// Channels of a tensor stay a multiple of this, where they were more.
const BLOCK: usize = 16;

/// More channels than this over all tensors are not examined. Bounds the memory that a hostile file can ask for.
const MAX_CHANNELS: usize = 1 << 20;

/// The network without its constant channels, and what that saves. `None` if there are none.
///
/// # Errors
/// What lowering the operator at fault would give.
pub(crate) fn remove(graph: &Graph) -> Result<Option<(Graph, Removed)>, PlanError> {
    let count = graph.tensors.iter().try_fold(0usize, |all, t| all.checked_add(ranges::channels(t)));
    if count.is_none_or(|count| count > MAX_CHANNELS) || graph.tensors.iter().any(|t| t.elements() == 0) {
        return Ok(None);
    }
    let (roles, ranges) = ranges::analyse(graph)?;
    let mut stays = Stays::new(graph, &roles, &ranges);
    stays.settle();
    stays.fill_blocks();
    let channels = stays.removed();
    if channels == 0 {
        return Ok(None);
    }
    let smaller = Rewrite { stays: &stays }.graph();
    let removed =
        Removed { channels, macs: macs(graph, &roles).saturating_sub(macs(&smaller, &roles)), ..Removed::default() };
    Ok(Some((smaller, removed)))
}

/// Multiply-accumulates of layers: each output element sums over the weights of its channel.
fn macs(graph: &Graph, roles: &[Role]) -> u64 {
    let of = |(op, role): (&Op, &Role)| match (role, &op.inputs[..], &op.outputs[..]) {
        (Role::Dense(_) | Role::Depthwise(_), &[_, Some(weights), ..], &[output]) => {
            let output = graph.tensor(output);
            (output.elements() / ranges::channels(output)) as u64 * graph.tensor(weights).elements() as u64
        }
        _ => 0,
    };
    graph.ops.iter().zip(roles).map(of).sum()
}

/// Which channels stay.
struct Stays<'g> {
    graph: &'g Graph,
    roles: &'g [Role],
    ranges: &'g [Vec<Range>],
    /// Number of the first channel of each tensor.
    first: Vec<usize>,
    /// For each channel its class, as a forest.
    class: Vec<usize>,
    /// For each class.
    matters: Vec<bool>,
}

impl<'g> Stays<'g> {
    fn new(graph: &'g Graph, roles: &'g [Role], ranges: &'g [Vec<Range>]) -> Self {
        let mut count = 0;
        let mut next = |len: usize| {
            count += len;
            count - len
        };
        let first = ranges.iter().map(|r| next(r.len())).collect();
        let class = (0..count).collect();
        let mut this = Self { graph, roles, ranges, first, class, matters: vec![false; count] };
        for (op, role) in graph.ops.iter().zip(roles) {
            this.tie(op, role);
        }
        for &id in graph.inputs.iter().chain(&graph.outputs) {
            this.all_matter(id);
        }
        for (op, role) in graph.ops.iter().zip(roles) {
            if matches!(role, Role::Opaque) {
                op.inputs.iter().flatten().chain(&op.outputs).for_each(|&id| this.all_matter(id));
            }
        }
        this
    }

    fn tie(&mut self, op: &Op, role: &Role) {
        let (Some(&output), operands) = (op.outputs.first(), activations(self.graph, op)) else { return };
        for input in operands {
            let (from, to) = (self.ranges[input.0].len(), self.ranges[output.0].len());
            match role {
                Role::Depthwise(layer) if layer.in_c > 1 => {
                    (0..to).for_each(|n| self.join((input, n / (to / from)), (output, n)));
                }
                Role::Channelwise => (0..to).for_each(|n| self.join((input, n), (output, n))),
                Role::Reshape => (0..to.max(from)).for_each(|i| self.join((input, i % from), (output, i % to))),
                Role::Dense(_) | Role::Depthwise(_) | Role::Opaque => (),
            }
        }
    }

    fn join(&mut self, a: (TensorId, usize), b: (TensorId, usize)) {
        let (a, b) = (self.root(a), self.root(b));
        self.class[a] = b;
    }

    fn root(&self, (id, channel): (TensorId, usize)) -> usize {
        let mut at = self.first[id.0] + channel;
        while self.class[at] != at {
            at = self.class[at];
        }
        at
    }

    fn stays(&self, id: TensorId, channel: usize) -> bool {
        self.matters[self.root((id, channel))]
    }

    fn all_matter(&mut self, id: TensorId) {
        (0..self.ranges[id.0].len()).for_each(|channel| {
            self.mark(id, channel);
        });
    }

    /// Whether this is news.
    fn mark(&mut self, id: TensorId, channel: usize) -> bool {
        let root = self.root((id, channel));
        !core::mem::replace(&mut self.matters[root], true)
    }

    fn constant(&self, id: TensorId, channel: usize) -> Option<i32> {
        let (lo, hi) = self.ranges[id.0][channel];
        (lo == hi).then_some(lo)
    }

    /// The value of a channel of a layer that is as good without any input, and the bias that gives it.
    fn bias_alone(&self, layer: &Layer, output: TensorId, n: usize) -> Option<i32> {
        layer.bias_for(n, self.constant(output, n)?)
    }

    /// Marks what matters until nothing changes.
    fn settle(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            for (op, role) in self.graph.ops.iter().zip(self.roles).rev() {
                if let (Role::Dense(layer), &[Some(input), ..], &[output]) = (role, &op.inputs[..], &op.outputs[..]) {
                    changed |= self.settle_dense(layer, input, output);
                }
            }
        }
    }

    fn settle_dense(&mut self, layer: &Layer, input: TensorId, output: TensorId) -> bool {
        let live: Vec<usize> = (0..layer.out_c)
            .filter(|&n| self.stays(output, n) && self.bias_alone(layer, output, n).is_none())
            .collect();
        let mut changed = false;
        for channel in 0..layer.in_c {
            let folds = self.constant(input, channel).is_some_and(|v| !layer.is_padded() || v == layer.in_zero_point);
            let is_read = || live.iter().any(|&n| column(layer, n, channel).any(|w| w != layer.weight_zero_point));
            if !folds && !self.stays(input, channel) && is_read() {
                changed |= self.mark(input, channel);
            }
        }
        changed
    }

    /// Keeps as many channels of each tensor as fill its last block. Those that stay for this reason alone are constants
    /// where there are enough of them.
    fn fill_blocks(&mut self) {
        for op in self.graph.ops.iter().rev() {
            let &[output] = &op.outputs[..] else { continue };
            let n = self.ranges[output.0].len();
            for only_constants in [true, false] {
                let kept = (0..n).filter(|&c| self.stays(output, c)).count();
                let mut missing = n.min(kept.next_multiple_of(BLOCK).max(BLOCK)) - kept;
                for channel in 0..n {
                    let wanted = !only_constants || self.constant(output, channel).is_some();
                    if missing > 0 && wanted && self.mark(output, channel) {
                        missing -= 1;
                    }
                }
            }
            self.settle();
        }
    }

    fn removed(&self) -> usize {
        let of = |id: usize| (0..self.ranges[id].len()).filter(|&c| !self.stays(TensorId(id), c)).count();
        let outputs = self
            .graph
            .ops
            .iter()
            .zip(self.roles)
            .filter(|(_, role)| matches!(role, Role::Dense(_) | Role::Depthwise(_)));
        outputs.filter_map(|(op, _)| op.outputs.first()).map(|id| of(id.0)).sum()
    }
}

/// Operands that are not constants.
fn activations(graph: &Graph, op: &Op) -> Vec<TensorId> {
    op.inputs.iter().flatten().copied().filter(|&id| graph.tensor(id).data.is_none()).collect()
}

/// The weights of a dense layer from an input channel to an output channel, as stored.
fn column(layer: &Layer, n: usize, channel: usize) -> impl Iterator<Item = i32> {
    let row = &layer.weights[n * layer.taps() * layer.in_c..][..layer.taps() * layer.in_c];
    row[channel..].iter().step_by(layer.in_c).map(|&w| i32::from(w))
}

struct Rewrite<'s, 'g> {
    stays: &'s Stays<'g>,
}

impl Rewrite<'_, '_> {
    fn graph(&self) -> Graph {
        let mut graph = self.stays.graph.clone();
        for (op, role) in graph.ops.iter_mut().zip(self.stays.roles) {
            if let (Role::Dense(layer) | Role::Depthwise(layer), &[output]) = (role, &op.outputs[..]) {
                self.layer(&mut graph.tensors, op, layer, output, matches!(role, Role::Dense(_)));
            }
        }
        for id in 0..self.stays.ranges.len() {
            let tensor = &mut graph.tensors[id];
            if tensor.data.is_none()
                && let Some(last) = tensor.shape.last_mut()
            {
                *last = self.kept(TensorId(id)).len();
            }
        }
        graph
    }

    fn kept(&self, id: TensorId) -> Vec<usize> {
        (0..self.stays.ranges[id.0].len()).filter(|&c| self.stays.stays(id, c)).collect()
    }

    /// Gives `op` its own weights and bias, if a channel on either side went.
    fn layer(&self, tensors: &mut Vec<Tensor>, op: &mut Op, layer: &Layer, output: TensorId, dense: bool) {
        let (Some(&Some(input)), Some(&Some(weights))) = (op.inputs.first(), op.inputs.get(1)) else { return };
        let (rows, columns) = (self.kept(output), self.kept(input));
        if rows.len() == layer.out_c && columns.len() == layer.in_c {
            return;
        }
        let (mut bytes, mut bias) = (Vec::new(), Vec::new());
        let source = &tensors[weights.0];
        let zero = (layer.weight_zero_point as i8, source.dtype);
        let alone: Vec<Option<i32>> = rows.iter().map(|&n| self.stays.bias_alone(layer, output, n)).collect();
        for (&n, alone) in rows.iter().zip(&alone) {
            bias.push(alone.unwrap_or_else(|| layer.bias[n] + if dense { self.folded(layer, input, n) } else { 0 }));
        }
        let stored =
            |w: i8, dtype| if dtype == ElementType::UInt8 { w.cast_unsigned() ^ 0x80 } else { w.cast_unsigned() };
        let mut push =
            |w: i8, alone: &Option<i32>| bytes.push(stored(if alone.is_some() { zero.0 } else { w }, zero.1));
        if dense {
            for (&n, alone) in rows.iter().zip(&alone) {
                for tap in 0..layer.taps() {
                    let row = &layer.weights[(n * layer.taps() + tap) * layer.in_c..];
                    columns.iter().for_each(|&c| push(row[c], alone));
                }
            }
        } else {
            for tap in 0..layer.taps() {
                let row = &layer.weights[tap * layer.out_c..];
                rows.iter().zip(&alone).for_each(|(&n, alone)| push(row[n], alone));
            }
        }
        let mut quant = source.quant.clone();
        if let Some(quant) = quant.as_mut().filter(|q| q.scales.len() == layer.out_c && layer.out_c > 1) {
            quant.scales = rows.iter().map(|&n| quant.scales[n]).collect();
            if quant.zero_points.len() == layer.out_c {
                quant.zero_points = rows.iter().map(|&n| quant.zero_points[n]).collect();
            }
        }
        let mut shape = source.shape.clone();
        resize(&mut shape, layer, &rows, &columns, dense);
        let packed = Tensor { name: source.name.clone(), shape, dtype: source.dtype, quant, data: Some(bytes) };
        let bias = Tensor {
            name: op.inputs.get(2).copied().flatten().map_or_else(Default::default, |id| tensors[id.0].name.clone()),
            shape: vec![rows.len()],
            dtype: ElementType::Int32,
            quant: None,
            data: Some(bias.iter().flat_map(|b| b.to_le_bytes()).collect()),
        };
        let at: Indices<usize> = tensors.len()..tensors.len() + 2;
        tensors.extend([packed, bias]);
        op.inputs = vec![Some(input), Some(TensorId(at.start)), Some(TensorId(at.end - 1))];
    }

    /// What the channels of the input that went add to output channel `n`.
    fn folded(&self, layer: &Layer, input: TensorId, n: usize) -> i32 {
        let of = |channel: usize| {
            let value = self.stays.constant(input, channel).filter(|_| !self.stays.stays(input, channel));
            let x = value.map_or(0, |value| value - layer.in_zero_point);
            let sum: i32 = column(layer, n, channel).map(|w| w - layer.weight_zero_point).sum();
            x * sum
        };
        (0..layer.in_c).map(of).sum()
    }
}

fn resize(shape: &mut [usize], layer: &Layer, rows: &[usize], columns: &[usize], dense: bool) {
    match shape {
        [out_c, k] => (*out_c, *k) = (rows.len(), layer.taps() * columns.len()),
        [out_c, _, _, in_c] if dense => (*out_c, *in_c) = (rows.len(), columns.len()),
        [.., out_c] => *out_c = rows.len(),
        [] => (),
    }
}
