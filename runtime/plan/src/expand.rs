//! Operators that are made of others: after this no step needs to know them, and the fast kernels serve them too.
//!
//! ```text
//! grouped CONV_2D      one input channel a group: DEPTHWISE_CONV_2D; else slices, one CONV_2D each, CONCATENATION. Groups of
//!                      few output channels are taken together, with zeros between them, until they fill a block of 16
//! TRANSPOSE_CONV       the image spread out with zero points between its cells, then CONV_2D with the kernel turned around
//! BATCH_MATMUL         with constant weights: FULLY_CONNECTED with the weights transposed
//! reductions           over axes that are not neighbours: transposed first
//! ```
//! What cannot be rewritten stays as it is, and lowering says why it is refused.

use alloc::{format, vec, vec::Vec};

use crate::{
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    pack,
};

/// The most bytes of weights that taking groups together may make of one operator.
const MAX_DENSE: usize = 1 << 28;
/// The most convolutions that one grouped convolution becomes.
const MAX_PARTS: usize = 512;

/// The graph without operators that are made of others; `None` if it has none.
pub(crate) fn expand(graph: &Graph) -> Option<Graph> {
    let needs = |op: &Op| match &op.kind {
        OpKind::Conv2d { .. } => group_channels(graph, op).is_some(),
        OpKind::TransposeConv { .. } | OpKind::BatchMatMul { .. } => true,
        OpKind::Mean { axes } | OpKind::Sum { axes } | OpKind::ReduceMax { axes } => !are_neighbours(axes),
        _ => false,
    };
    if !graph.ops.iter().any(needs) {
        return None;
    }
    let mut out = Expand { graph: Graph { ops: Vec::new(), ..graph.clone() } };
    for op in &graph.ops {
        if !needs(op) || out.rewrite(op).is_none() {
            out.graph.ops.push(op.clone());
        }
    }
    Some(out.graph)
}

fn are_neighbours(axes: &[usize]) -> bool {
    axes.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// Input channels of the image and of one group, where they differ and make a whole number of groups.
fn group_channels(graph: &Graph, op: &Op) -> Option<(usize, usize)> {
    let &[Some(input), Some(weights), ..] = &op.inputs[..] else { return None };
    let (&[_, _, _, c], &[out_c, _, _, group]) = (&graph.tensor(input).shape[..], &graph.tensor(weights).shape[..])
    else {
        return None;
    };
    let whole = group != 0 && group != c && c.is_multiple_of(group) && out_c.is_multiple_of(c / group);
    (whole && graph.tensor(weights).data.is_some()).then_some((c, group))
}

struct Expand {
    graph: Graph,
}

impl Expand {
    /// `None`, with nothing pushed, where the operator has a form that lowering will refuse.
    fn rewrite(&mut self, op: &Op) -> Option<()> {
        match &op.kind {
            OpKind::Conv2d { .. } => self.grouped(op),
            OpKind::TransposeConv { stride, padding, activation } => {
                self.transpose_conv(op, *stride, *padding, *activation)
            }
            OpKind::BatchMatMul { transposed } => self.batch_mat_mul(op, *transposed),
            OpKind::Mean { axes } | OpKind::Sum { axes } | OpKind::ReduceMax { axes } => self.reduce(op, axes),
            _ => None,
        }
    }

    fn tensor(&mut self, tensor: Tensor) -> TensorId {
        self.graph.tensors.push(tensor);
        TensorId(self.graph.tensors.len() - 1)
    }

    /// A tensor like `id` of another shape.
    fn like(&mut self, id: TensorId, shape: Vec<usize>, what: &str) -> TensorId {
        let source = self.graph.tensor(id);
        let (name, dtype, quant) = (format!("{}/{what}", source.name), source.dtype, source.quant.clone());
        self.tensor(Tensor { name, shape, dtype, quant, data: None })
    }

    fn push(&mut self, position: usize, kind: OpKind, inputs: Vec<Option<TensorId>>, output: TensorId) {
        self.graph.ops.push(Op { position, kind, inputs, outputs: vec![output] });
    }

    fn grouped(&mut self, op: &Op) -> Option<()> {
        let (c, group) = group_channels(&self.graph, op)?;
        let OpKind::Conv2d { stride, dilation, padding, activation } = op.kind else { return None };
        let (&[Some(input), Some(weights), ..], &[output]) = (&op.inputs[..], &op.outputs[..]) else { return None };
        let (tensor, bias) = (self.graph.tensor(weights).clone(), op.inputs.get(2).copied().flatten());
        let &[out_c, kernel_h, kernel_w, _] = &tensor.shape[..] else { return None };
        let (data, taps) = (tensor.data.as_deref()?, kernel_h * kernel_w);
        let quant = tensor.quant.clone()?;
        let per_channel = quant.scales.len() == out_c && out_c > 1;
        if data.len() != out_c * taps * group || (quant.scales.len() != 1 && !per_channel) {
            return None;
        }
        if group == 1 {
            let turned = (0..taps * out_c).map(|i| data[i % out_c * taps + i / out_c]).collect();
            let quant = Some(Quant { axis: if per_channel { 3 } else { 0 }, ..quant });
            let shape = vec![1, kernel_h, kernel_w, out_c];
            let weights = self.tensor(Tensor { shape, quant, data: Some(turned), ..tensor });
            let kind = OpKind::DepthwiseConv2d { stride, dilation, padding, activation };
            self.push(op.position, kind, vec![Some(input), Some(weights), bias], output);
            return Some(());
        }
        let (groups, per) = (c / group, out_c / (c / group));
        let together = (1..=64).find(|&g| groups.is_multiple_of(g) && per * g >= pack::BLOCK);
        let together = together.filter(|g| data.len().saturating_mul(*g) <= MAX_DENSE).unwrap_or(1);
        let (parts, part_in, part_out) = (groups / together, group * together, per * together);
        let &[n, h, w, _] = &self.graph.tensor(input).shape[..] else { return None };
        let &[out_n, out_h, out_w, _] = &self.graph.tensor(output).shape[..] else { return None };
        if parts > MAX_PARTS {
            return None;
        }
        let bias = match bias {
            Some(id) => Some(self.graph.tensor(id).clone()),
            None => None,
        };
        if bias.as_ref().is_some_and(|b| b.data.as_ref().is_none_or(|data| data.len() != 4 * out_c)) {
            return None;
        }
        let mut results = Vec::new();
        for part in 0..parts {
            let first = part * part_out;
            let zero = quant.zero_points.first().copied().unwrap_or(0).to_le_bytes()[0];
            let mut dense = vec![zero; part_out * taps * part_in];
            for row in 0..part_out {
                let at = row / per * group;
                for tap in 0..taps {
                    let from = &data[((first + row) * taps + tap) * group..][..group];
                    dense[(row * taps + tap) * part_in + at..][..group].copy_from_slice(from);
                }
            }
            let mut quant = quant.clone();
            if per_channel {
                quant.scales = quant.scales[first..][..part_out].to_vec();
                quant.zero_points =
                    quant.zero_points.get(first..first + part_out).map_or(vec![0; part_out], <[_]>::to_vec);
            }
            let shape = vec![part_out, kernel_h, kernel_w, part_in];
            let of = |t: &Tensor| (t.name.clone(), t.dtype);
            let (name, dtype) = of(&tensor);
            let weights = self.tensor(Tensor { name, shape, dtype, quant: Some(quant), data: Some(dense) });
            let bias = bias.as_ref().map(|bias| {
                let (name, dtype) = of(bias);
                let data = bias.data.as_ref().and_then(|data| data.get(4 * first..4 * (first + part_out)));
                self.tensor(Tensor { name, shape: vec![part_out], dtype, quant: None, data: data.map(<[_]>::to_vec) })
            });
            let (slice, result) = if parts == 1 {
                (input, output)
            } else {
                let slice = self.like(input, vec![n, h, w, part_in], "group");
                let (dims, strides) = (vec![n * h * w, part_in], vec![c as isize, 1]);
                let kind = OpKind::Strided { name: "CONV_2D", first: part * part_in, dims, strides };
                self.push(op.position, kind, vec![Some(input)], slice);
                (slice, self.like(output, vec![out_n, out_h, out_w, part_out], "group"))
            };
            self.push(op.position, op.kind.clone(), vec![Some(slice), Some(weights), bias], result);
            results.push(Some(result));
        }
        if parts > 1 {
            let kind = OpKind::Concat { name: "CONV_2D", outer: out_n * out_h * out_w };
            self.push(op.position, kind, results, output);
        }
        Some(())
    }

    fn transpose_conv(&mut self, op: &Op, stride: [usize; 2], padding: Padding, activation: Activation) -> Option<()> {
        let (&[Some(input), Some(weights), ..], &[output]) = (&op.inputs[..], &op.outputs[..]) else { return None };
        let tensor = self.graph.tensor(weights).clone();
        let (&[out_c, kernel_h, kernel_w, in_c], data) = (&tensor.shape[..], tensor.data.as_deref()?) else {
            return None;
        };
        let &[n, h, w, c] = &self.graph.tensor(input).shape[..] else { return None };
        let &[out_n, out_h, out_w, c_of_out] = &self.graph.tensor(output).shape[..] else { return None };
        let taps = kernel_h * kernel_w;
        if [c, c_of_out, out_n] != [in_c, out_c, n] || data.len() != out_c * taps * in_c {
            return None;
        }
        let along = |input: usize, output: usize, kernel: usize, stride: usize| -> Option<(usize, usize)> {
            let pad = match padding {
                Padding::Same => ((input - 1) * stride + kernel).saturating_sub(output) / 2,
                Padding::Valid => 0,
            };
            // The extent that the convolution the other way would give from this output.
            let back = match padding {
                Padding::Same => output.div_ceil(stride),
                Padding::Valid => output.checked_sub(kernel)? / stride + 1,
            };
            let spread = output + kernel - 1;
            let before = (kernel - 1).checked_sub(pad)?;
            (kernel >= stride && back == input && before + (input - 1) * stride < spread).then_some((before, spread))
        };
        let (top, spread_h) = along(h, out_h, kernel_h, stride[0])?;
        let (left, spread_w) = along(w, out_w, kernel_w, stride[1])?;
        let turned = (0..out_c * taps).flat_map(|at| {
            let (row, tap) = (at / taps, at % taps);
            data[(row * taps + taps - 1 - tap) * in_c..][..in_c].iter().copied()
        });
        let turned = Some(turned.collect());
        let weights = self.tensor(Tensor { data: turned, ..tensor });
        let spread = self.like(input, vec![n, spread_h, spread_w, c], "spread");
        self.push(op.position, OpKind::Spread { stride, before: [top, left] }, vec![Some(input)], spread);
        let kind = OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding: Padding::Valid, activation };
        let bias = op.inputs.get(2).copied().flatten();
        self.push(op.position, kind, vec![Some(spread), Some(weights), bias], output);
        Some(())
    }

    fn batch_mat_mul(&mut self, op: &Op, transposed: bool) -> Option<()> {
        let (&[Some(input), Some(weights)], &[output]) = (&op.inputs[..], &op.outputs[..]) else { return None };
        let tensor = self.graph.tensor(weights).clone();
        let data = tensor.data.as_deref()?;
        let (&[.., rows, columns], quant) = (&tensor.shape[..], tensor.quant.clone()?) else { return None };
        if data.len() != rows * columns || quant.scales.len() != 1 || tensor.dtype != ElementType::Int8 {
            return None;
        }
        let (n, k) = if transposed { (rows, columns) } else { (columns, rows) };
        if self.graph.tensor(input).shape.last() != Some(&k) {
            return None;
        }
        let turned = if transposed { data.to_vec() } else { (0..n * k).map(|at| data[at % k * n + at / k]).collect() };
        let weights = self.tensor(Tensor { shape: vec![n, k], data: Some(turned), ..tensor });
        let kind = OpKind::FullyConnected { activation: Activation::None };
        self.push(op.position, kind, vec![Some(input), Some(weights), None], output);
        Some(())
    }

    fn reduce(&mut self, op: &Op, axes: &[usize]) -> Option<()> {
        let (&[Some(input)], &[output]) = (&op.inputs[..], &op.outputs[..]) else { return None };
        let shape = self.graph.tensor(input).shape.clone();
        if self.graph.tensor(input).data.is_some() || axes.last().is_none_or(|&last| last >= shape.len()) {
            return None;
        }
        let kept = (0..shape.len()).filter(|d| !axes.contains(d));
        let order: Vec<usize> = kept.chain(axes.iter().copied()).collect();
        let dims: Vec<usize> = order.iter().map(|&d| shape[d]).collect();
        let strides = order.iter().map(|&d| shape[d + 1..].iter().product::<usize>() as isize).collect();
        let turned = self.like(input, dims.clone(), "transposed");
        self.push(
            op.position,
            OpKind::Strided { name: op.kind.name(), first: 0, dims, strides },
            vec![Some(input)],
            turned,
        );
        let axes = (shape.len() - axes.len()..shape.len()).collect();
        let kind = match op.kind {
            OpKind::Sum { .. } => OpKind::Sum { axes },
            OpKind::ReduceMax { .. } => OpKind::ReduceMax { axes },
            _ => OpKind::Mean { axes },
        };
        self.push(op.position, kind, vec![Some(turned)], output);
        Some(())
    }
}
