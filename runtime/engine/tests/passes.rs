//! A plan whose passes took work out gives the bytes of the plan as written, and a network of several images those of its
//! images one by one: random networks, random inputs, every instruction set of this CPU.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a network that cannot be built must fail the test")]

use std::collections::BTreeMap;

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::{
    Aligned, Plan,
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    plan, plan_as_written,
};

/// Builds the network of `seed`, plans it both ways, compares outputs of several inputs. The plan.
fn check(seed: u64) -> (Graph, Plan) {
    let mut random = Random(seed);
    let graph = network(&mut random);
    let written = plan_as_written(&graph).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let smaller = plan(&graph).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    for kernels in Kernels::available() {
        for fill in 0..4 {
            let input: Vec<u8> = (0..4096).map(|_| if fill == 0 { 0x80 } else { random.below(256) as u8 }).collect();
            let outputs = [&written, &smaller].map(|plan| run(plan, kernels, &input));
            assert_eq!(outputs[0], outputs[1], "seed {seed}, {}", kernels.name());
        }
    }
    (graph, smaller)
}

fn run(plan: &Plan, kernels: Kernels, input: &[u8]) -> Vec<Vec<u8>> {
    let weights = Aligned::copy_of(&plan.weights);
    let model = Model::open(&plan.graph[..], weights.as_ref()).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len(kernels));
    let arena = arena.as_mut();
    for io in model.inputs() {
        let span = io.span.range();
        arena[span.clone()].copy_from_slice(&input[..span.len()]);
    }
    model.run(kernels, arena).unwrap();
    model.outputs().iter().map(|io| arena[io.span.range()].to_vec()).collect()
}

#[test]
fn smaller_plans_give_the_same_bytes() {
    let seeds = if cfg!(debug_assertions) { 150 } else { 1500 };
    let (mut with_removed, mut kinds, mut steps) = (0, BTreeMap::new(), 0);
    for seed in 0..seeds {
        let (graph, smaller) = check(seed);
        steps += u64::from(smaller.removed.steps > 0);
        if smaller.removed.channels > 0 {
            with_removed += 1;
            assert!(smaller.removed.macs > 0, "seed {seed}");
            graph.ops.iter().for_each(|op| *kinds.entry(op.kind.name()).or_insert(0) += 1);
        }
    }
    assert!(with_removed > seeds / 4, "only {with_removed} of {seeds} networks had channels to remove");
    assert!(kinds.len() >= 12, "{kinds:?}");
    assert!(steps > seeds / 4, "only {steps} of {seeds} networks had steps to remove");
}

#[test]
fn images_together_give_the_bytes_of_each_alone() {
    for seed in 0..if cfg!(debug_assertions) { 100 } else { 1000 } {
        let mut random = Random(seed);
        let single = network(&mut random);
        let images = 2 + random.below(4) as usize;
        let together = batched(&single, images);
        let plans = [&single, &together].map(|graph| plan(graph).unwrap_or_else(|e| panic!("seed {seed}: {e}")));
        let len = single.tensor(single.inputs[0]).elements();
        let input: Vec<u8> = (0..images * len).map(|_| random.below(256) as u8).collect();
        for kernels in Kernels::available() {
            let alone: Vec<_> = input.chunks_exact(len).map(|image| run(&plans[0], kernels, image)).collect();
            let outputs = run(&plans[1], kernels, &input);
            for (index, output) in outputs.iter().enumerate() {
                let alone: Vec<u8> = alone.iter().flat_map(|outputs| outputs[index].clone()).collect();
                assert_eq!(*output, alone, "seed {seed}, {images} images, output {index}, {}", kernels.name());
            }
        }
    }
}

/// An input taken apart into many small tensors that live at once, and put together in another order.
#[test]
fn many_small_tensors_have_a_plan_that_opens() {
    let (slices, len) = (98, 10);
    let mut net = Net { graph: Graph::default(), random: &mut Random(1), dtype: ElementType::Int8 };
    let input = net.activation(&[1, slices, len], 0.05);
    net.graph.inputs.push(input);
    let quant = net.graph.tensor(input).quant.clone();
    let parts: Vec<TensorId> = (0..slices)
        .map(|i| {
            let part = net.push(&[1, len], ElementType::Int8, quant.clone(), None);
            net.op(
                OpKind::Strided { name: "UNPACK", first: i * len, dims: vec![len], strides: vec![1] },
                &[input],
                part,
            )
        })
        .rev()
        .collect();
    let output = net.push(&[1, slices, len], ElementType::Int8, quant, None);
    net.op(OpKind::Concat { name: "PACK", outer: 1 }, &parts, output);
    net.graph.outputs.push(output);
    let bytes: Vec<u8> = (0..slices * len).map(|i| (i % 251) as u8).collect();
    let expected: Vec<u8> = (0..slices).rev().flat_map(|i| bytes[i * len..][..len].to_vec()).collect();
    for kernels in Kernels::available() {
        assert_eq!(run(&plan(&net.graph).unwrap(), kernels, &bytes), std::slice::from_ref(&expected));
    }
}

/// The network for `images` at once.
fn batched(graph: &Graph, images: usize) -> Graph {
    let mut graph = graph.clone();
    for op in &mut graph.ops {
        match &mut op.kind {
            OpKind::Strided { dims, .. } => dims[0] *= images,
            OpKind::Concat { outer, .. } => *outer *= images,
            _ => {}
        }
    }
    graph.tensors.iter_mut().filter(|tensor| tensor.data.is_none()).for_each(|tensor| tensor.shape[0] *= images);
    graph
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A chain of random operators, most of them with channels that a clamp or weights of zero make constant.
fn network(random: &mut Random) -> Graph {
    let unsigned = random.one_in(5);
    let mut net =
        Net { graph: Graph::default(), random, dtype: if unsigned { ElementType::UInt8 } else { ElementType::Int8 } };
    let channels = net.random.pick(&[1, 3, 16]);
    let mut at = net.activation(&[1, 6, 5, channels], 0.05);
    net.graph.inputs.push(at);
    for _ in 0..3 + net.random.below(6) {
        let before = at;
        at = match net.random.below(15) {
            0..4 => net.conv(at),
            4..7 => net.depthwise(at),
            7 => net.residual(at),
            8 => net.table(at),
            9 => net.pad(at),
            10 => net.pool(at),
            11 => net.gate(at),
            12 => net.shift(at),
            13 if net.shape(at)[3] > 1 => net.swap(at),
            _ => {
                let padded = net.pad(at);
                net.conv(padded)
            }
        };
        if net.random.one_in(25) {
            net.graph.outputs.push(before);
        }
        if net.random.one_in(20) {
            // Nobody reads it.
            net.table(before);
        }
    }
    at = if net.random.one_in(2) { net.mean(at) } else { at };
    at = if net.random.one_in(2) { net.reshape(at) } else { at };
    at = net.fully_connected(at);
    net.graph.outputs.retain(|o| !net.graph.inputs.contains(o));
    net.graph.outputs.truncate(2);
    net.graph.outputs.push(at);
    net.graph
}

struct Net<'r> {
    graph: Graph,
    random: &'r mut Random,
    dtype: ElementType,
}

impl Net<'_> {
    fn push(&mut self, shape: &[usize], dtype: ElementType, quant: Option<Quant>, data: Option<Vec<u8>>) -> TensorId {
        let name = format!("t{}", self.graph.tensors.len());
        self.graph.tensors.push(Tensor { name, shape: shape.to_vec(), dtype, quant, data });
        TensorId(self.graph.tensors.len() - 1)
    }

    fn activation(&mut self, shape: &[usize], scale: f32) -> TensorId {
        let zero_point = if self.dtype == ElementType::UInt8 {
            self.random.pick(&[0, 128, 7])
        } else {
            self.random.pick(&[-128, 0, -20])
        };
        let quant = Quant { scales: vec![scale], zero_points: vec![zero_point], axis: 0 };
        self.push(shape, self.dtype, Some(quant), None)
    }

    fn op(&mut self, kind: OpKind, inputs: &[TensorId], output: TensorId) -> TensorId {
        let position = self.graph.ops.len();
        self.graph.ops.push(Op {
            position,
            kind,
            inputs: inputs.iter().map(|&i| Some(i)).collect(),
            outputs: vec![output],
        });
        output
    }

    fn shape(&self, id: TensorId) -> Vec<usize> {
        self.graph.tensor(id).shape.clone()
    }

    /// Weights `[.., out_c]` or `[out_c, ..]` and a bias, with dead channels among them.
    fn constants(&mut self, shape: &[usize], out_c: usize, depthwise: bool) -> [TensorId; 2] {
        let n: usize = shape.iter().product();
        let fate: Vec<u64> = (0..out_c).map(|_| self.random.below(6)).collect();
        let of = |i: usize| if depthwise { i % out_c } else { i / (n / out_c) };
        let zero_point = if self.dtype == ElementType::UInt8 { 120 } else { 0 };
        let data = (0..n).map(|i| match fate[of(i)] {
            0 => zero_point as u8,
            1 => (zero_point as u8).wrapping_add((self.random.below(3) as u8).wrapping_sub(1)),
            _ => self.random.next() as u8,
        });
        let data: Vec<u8> = data.collect();
        let bias = fate.iter().flat_map(|f| match f {
            0..3 => (self.random.below(80_000) as i32 - 60_000).to_le_bytes(),
            _ => (self.random.below(2000) as i32 - 1000).to_le_bytes(),
        });
        let bias: Vec<u8> = bias.collect();
        let per_channel = zero_point == 0 && self.random.one_in(2);
        let scales: Vec<f32> =
            (0..if per_channel { out_c } else { 1 }).map(|i| 0.004 + 0.001 * (i % 7) as f32).collect();
        let zero_points = vec![zero_point; scales.len()];
        let axis = if depthwise { shape.len() - 1 } else { 0 };
        let weights = self.push(shape, self.dtype, Some(Quant { scales, zero_points, axis }), Some(data));
        [weights, self.push(&[out_c], ElementType::Int32, None, Some(bias))]
    }

    fn conv(&mut self, input: TensorId) -> TensorId {
        let [n, h, w, c] = self.shape(input)[..] else { panic!("four dimensions") };
        let out_c = self.random.pick(&[4, 16, 24, 40]);
        let kernel = if h < 3 || w < 3 { 1 } else { self.random.pick(&[1, 1, 3]) };
        let padding = self.random.pick(&[Padding::Same, Padding::Valid]);
        let [weights, bias] = self.constants(&[out_c, kernel, kernel, c], out_c, false);
        let extent = |e: usize| if padding == Padding::Same { e } else { e - kernel + 1 };
        let output = self.activation(&[n, extent(h), extent(w), out_c], 0.05);
        let activation = self.random.pick(&[Activation::Relu, Activation::Relu6, Activation::None]);
        self.op(
            OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation },
            &[input, weights, bias],
            output,
        )
    }

    fn depthwise(&mut self, input: TensorId) -> TensorId {
        let [n, h, w, c] = self.shape(input)[..] else { panic!("four dimensions") };
        let out_c = c * self.random.pick(&[1, 1, 1, 2]);
        let kernel = if h < 3 || w < 3 { 1 } else { 3 };
        let padding = self.random.pick(&[Padding::Same, Padding::Same, Padding::Valid]);
        let [weights, bias] = self.constants(&[1, kernel, kernel, out_c], out_c, true);
        let extent = |e: usize| if padding == Padding::Same { e } else { e - kernel + 1 };
        let output = self.activation(&[n, extent(h), extent(w), out_c], 0.04);
        let activation = self.random.pick(&[Activation::Relu, Activation::None]);
        let kind = OpKind::DepthwiseConv2d { stride: [1, 1], dilation: [1, 1], padding, activation };
        self.op(kind, &[input, weights, bias], output)
    }

    /// `a + conv(a)` or `a - conv(a)`.
    fn residual(&mut self, input: TensorId) -> TensorId {
        let shape = self.shape(input);
        let [weights, bias] = self.constants(&[shape[3], 1, 1, shape[3]], shape[3], false);
        let branch = self.activation(&shape, 0.05);
        let padding = Padding::Same;
        let kind = OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation: Activation::Relu };
        self.op(kind, &[input, weights, bias], branch);
        let output = self.activation(&shape, 0.07);
        let activation = self.random.pick(&[Activation::Relu, Activation::None]);
        let kind = if self.random.one_in(3) { OpKind::Sub { activation } } else { OpKind::Add { activation } };
        self.op(kind, &[input, branch], output)
    }

    /// The channels in two parts, the second first.
    fn swap(&mut self, input: TensorId) -> TensorId {
        let (shape, quant) = (self.shape(input), self.graph.tensor(input).quant.clone());
        let [n, h, w, c] = shape[..] else { panic!("four dimensions") };
        let first = 1 + self.random.below(c as u64 - 1) as usize;
        let parts = [(first, c - first), (0, first)].map(|(from, len)| {
            let part = self.push(&[n, h, w, len], self.dtype, quant.clone(), None);
            let (dims, strides) = (vec![n * h * w, len], vec![c as isize, 1]);
            self.op(OpKind::Strided { name: "SPLIT", first: from, dims, strides }, &[input], part)
        });
        let output = self.push(&shape, self.dtype, quant, None);
        self.op(OpKind::Concat { name: "CONCATENATION", outer: n * h * w }, &parts, output)
    }

    fn table(&mut self, input: TensorId) -> TensorId {
        let output = self.activation(&self.shape(input), 0.06);
        let kind = self.random.pick(&[0, 1, 2, 3]);
        let kind = [OpKind::Quantize, OpKind::HardSwish, OpKind::Logistic, OpKind::Tanh][kind].clone();
        self.op(kind, &[input], output)
    }

    /// A requantization of the same scale: a shift, a clamp, or nothing.
    fn shift(&mut self, input: TensorId) -> TensorId {
        let mut quant = self.graph.tensor(input).quant.clone().unwrap();
        let (lo, hi) = if self.dtype == ElementType::UInt8 { (0, 255) } else { (-128, 127) };
        let by = self.random.pick(&[0, 1, -3, 128, -40]);
        quant.zero_points[0] = (quant.zero_points[0] + by).clamp(lo, hi);
        let shape = self.shape(input);
        let output = self.push(&shape, self.dtype, Some(quant), None);
        self.op(OpKind::Quantize, &[input], output)
    }

    fn pad(&mut self, input: TensorId) -> TensorId {
        let [n, h, w, c] = self.shape(input)[..] else { panic!("four dimensions") };
        let quant = self.graph.tensor(input).quant.clone();
        let [top, bottom, left, right] = [0; 4].map(|_: u64| self.random.below(3) as usize);
        let output = self.push(&[n, h + top + bottom, w + left + right, c], self.dtype, quant, None);
        self.op(OpKind::Pad { amounts: vec![[0, 0], [top, bottom], [left, right], [0, 0]] }, &[input], output)
    }

    fn pool(&mut self, input: TensorId) -> TensorId {
        let [n, h, w, c] = self.shape(input)[..] else { panic!("four dimensions") };
        let quant = self.graph.tensor(input).quant.clone();
        let output = self.push(&[n, h, w, c], self.dtype, quant, None);
        let (kernel, stride, padding, activation) = ([2, 2], [1, 1], Padding::Same, Activation::None);
        let kind = if self.random.one_in(2) {
            OpKind::MaxPool2d { kernel, stride, padding, activation }
        } else {
            OpKind::AveragePool2d { kernel, stride, padding, activation }
        };
        self.op(kind, &[input], output)
    }

    fn mean(&mut self, input: TensorId) -> TensorId {
        let [n, _, _, c] = self.shape(input)[..] else { panic!("four dimensions") };
        let output = self.activation(&[n, 1, 1, c], 0.05);
        self.op(OpKind::Mean { axes: vec![1, 2] }, &[input], output)
    }

    /// Squeeze and excite without the middle: `a * logistic(mean(a))`.
    fn gate(&mut self, input: TensorId) -> TensorId {
        let mean = self.mean(input);
        let gate = self.activation(&self.shape(mean), 1.0 / 256.0);
        self.op(OpKind::Logistic, &[mean], gate);
        let output = self.activation(&self.shape(input), 0.04);
        self.op(OpKind::Mul { activation: Activation::None }, &[input, gate], output)
    }

    fn reshape(&mut self, input: TensorId) -> TensorId {
        let (n, quant) = (self.graph.tensor(input).elements(), self.graph.tensor(input).quant.clone());
        let output = self.push(&[1, n], self.dtype, quant, None);
        self.op(OpKind::Reshape, &[input], output)
    }

    fn fully_connected(&mut self, input: TensorId) -> TensorId {
        let k = self.graph.tensor(input).elements();
        let [weights, bias] = self.constants(&[10, k], 10, false);
        let output = self.activation(&[1, 10], 0.5);
        self.op(OpKind::FullyConnected { activation: Activation::None }, &[input, weights, bias], output)
    }
}
