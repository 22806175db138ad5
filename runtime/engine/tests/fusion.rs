//! Which steps become part of another, and which must not: the steps that are left, and the bytes of the plan as written.
#![allow(clippy::unwrap_used, reason = "a network that cannot be planned must fail the test")]

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::{
    Aligned, Plan,
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    plan, plan_as_written,
};

/// A network of one image `[1, 5, 6, 4]`; every method adds an operator that reads `x`.
#[derive(Default)]
struct Net(Graph);

impl Net {
    fn tensor(
        &mut self,
        shape: &[usize],
        dtype: ElementType,
        scale: f32,
        zero_point: i32,
        data: Option<Vec<u8>>,
    ) -> TensorId {
        let quant = Quant { scales: vec![scale], zero_points: vec![zero_point], axis: 0 };
        let name = format!("t{}", self.0.tensors.len());
        self.0.tensors.push(Tensor { name, shape: shape.to_vec(), dtype, quant: Some(quant), data });
        TensorId(self.0.tensors.len() - 1)
    }

    fn op(&mut self, kind: OpKind, inputs: &[TensorId], output: TensorId) -> TensorId {
        let (position, inputs) = (self.0.ops.len(), inputs.iter().map(|&id| Some(id)).collect());
        self.0.ops.push(Op { position, kind, inputs, outputs: vec![output] });
        output
    }

    fn shape(&self, x: TensorId) -> [usize; 4] {
        self.0.tensor(x).shape[..].try_into().unwrap()
    }

    fn input(&mut self) -> TensorId {
        let x = self.tensor(&[1, 5, 6, 4], ElementType::Int8, 0.05, -3, None);
        self.0.inputs.push(x);
        x
    }

    fn conv(&mut self, x: TensorId, kernel: usize, padding: Padding) -> TensorId {
        let ([_, h, w, c], z) = (self.shape(x), self.0.tensor(x).dtype);
        let data = (0..4 * kernel * kernel * c).map(|i| (i * 37 + 11) as u8).collect();
        let weights = self.tensor(&[4, kernel, kernel, c], z, 0.01, 0, Some(data));
        let less = if padding == Padding::Same { 0 } else { kernel - 1 };
        let y = self.tensor(&[1, h - less, w - less, 4], ElementType::Int8, 0.05, -10, None);
        self.op(
            OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation: Activation::None },
            &[x, weights],
            y,
        )
    }

    /// A requantization to `scale` and `zero_point`.
    fn quantize(&mut self, x: TensorId, dtype: ElementType, scale: f32, zero_point: i32) -> TensorId {
        let shape = self.shape(x);
        let y = self.tensor(&shape, dtype, scale, zero_point, None);
        self.op(OpKind::Quantize, &[x], y)
    }

    fn logistic(&mut self, x: TensorId) -> TensorId {
        let shape = self.shape(x);
        let y = self.tensor(&shape, ElementType::Int8, 1.0 / 256.0, -128, None);
        self.op(OpKind::Logistic, &[x], y)
    }

    fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let shape = self.shape(a);
        let y = self.tensor(&shape, ElementType::Int8, 0.1, 5, None);
        self.op(OpKind::Add { activation: Activation::None }, &[a, b], y)
    }

    fn pad(&mut self, x: TensorId, rows: [usize; 2], columns: [usize; 2]) -> TensorId {
        let ([n, h, w, c], from) = (self.shape(x), self.0.tensor(x).clone());
        let quant = from.quant.unwrap();
        let shape = [n, h + rows[0] + rows[1], w + columns[0] + columns[1], c];
        let y = self.tensor(&shape, from.dtype, quant.scales[0], quant.zero_points[0], None);
        self.op(OpKind::Pad { amounts: vec![[0, 0], rows, columns, [0, 0]] }, &[x], y)
    }

    fn pool(&mut self, x: TensorId, max: bool) -> TensorId {
        let ([n, h, w, c], from) = (self.shape(x), self.0.tensor(x).clone());
        let quant = from.quant.unwrap();
        let y = self.tensor(&[n, h - 1, w - 1, c], from.dtype, quant.scales[0], quant.zero_points[0], None);
        let (kernel, stride, padding, activation) = ([2, 2], [1, 1], Padding::Valid, Activation::None);
        let kind = if max {
            OpKind::MaxPool2d { kernel, stride, padding, activation }
        } else {
            OpKind::AveragePool2d { kernel, stride, padding, activation }
        };
        self.op(kind, &[x], y)
    }
}

/// Plans what `build` makes of the input, whose results are the outputs: `left` are the steps of the plan.
#[track_caller]
fn check(left: &[&str], build: impl FnOnce(&mut Net, TensorId) -> Vec<TensorId>) {
    let mut net = Net::default();
    let input = net.input();
    net.0.outputs = build(&mut net, input);
    let (fused, written) = (plan(&net.0).unwrap(), plan_as_written(&net.0).unwrap());
    let weights = Aligned::copy_of(&fused.weights);
    let model = Model::open(&fused.graph[..], weights.as_ref()).unwrap();
    let steps: Vec<&str> = model.records().map(|record| record.step.op()).collect();
    assert_eq!(steps, left);
    for kernels in Kernels::available() {
        for seed in 0..8 {
            assert_eq!(run(&fused, kernels, seed), run(&written, kernels, seed), "{}", kernels.name());
        }
    }
}

fn run(plan: &Plan, kernels: Kernels, seed: usize) -> Vec<Vec<u8>> {
    let weights = Aligned::copy_of(&plan.weights);
    let model = Model::open(&plan.graph[..], weights.as_ref()).unwrap();
    let mut arena = Aligned::zeroed(model.arena_len(kernels));
    let arena = arena.as_mut();
    arena[model.input(0).unwrap().span.range()]
        .iter_mut()
        .enumerate()
        .for_each(|(i, b)| *b = (i * (seed + 29) * 13) as u8);
    model.run(kernels, arena).unwrap();
    model.outputs().iter().map(|io| arena[io.span.range()].to_vec()).collect()
}

const INT8: ElementType = ElementType::Int8;
const UINT8: ElementType = ElementType::UInt8;

#[test]
fn tables() {
    let (same, valid) = (Padding::Same, Padding::Valid);
    // A shift of the zero point, also to the other type; a chain of them.
    check(&["conv"], |n, x| {
        let y = n.conv(x, 3, same);
        vec![n.quantize(y, INT8, 0.05, 20)]
    });
    check(&["conv"], |n, x| {
        let y = n.conv(x, 1, same);
        vec![n.quantize(y, UINT8, 0.05, 118)]
    });
    check(&["conv"], |n, x| {
        let y = n.conv(x, 3, valid);
        let z = n.quantize(y, INT8, 0.05, 100);
        vec![n.quantize(z, INT8, 0.05, -100)]
    });
    check(&["add"], |n, x| {
        let y = n.add(x, x);
        vec![n.quantize(y, INT8, 0.1, -9)]
    });
    check(&["max_pool"], |n, x| {
        let y = n.pool(x, true);
        vec![n.quantize(y, INT8, 0.05, -3)]
    });
    // A second rounding is a second rounding.
    check(&["conv", "lut"], |n, x| {
        let y = n.conv(x, 1, same);
        vec![n.quantize(y, INT8, 0.06, -10)]
    });
    check(&["add", "lut"], |n, x| {
        let y = n.add(x, x);
        vec![n.quantize(y, UINT8, 0.1, 133)]
    });
    // Two tables are one; somebody else reads what lies between.
    check(&["lut"], |n, x| {
        let y = n.logistic(x);
        vec![n.logistic(y)]
    });
    check(&["lut"], |n, x| {
        let y = n.quantize(x, INT8, 0.07, 3);
        let z = n.logistic(y);
        vec![n.logistic(z)]
    });
    check(&["lut", "lut"], |n, x| {
        let y = n.logistic(x);
        vec![n.logistic(y), y]
    });
    check(&["conv", "lut", "add"], |n, x| {
        let y = n.conv(x, 1, same);
        let z = n.quantize(y, INT8, 0.05, 20);
        vec![n.add(y, z)]
    });
    // Nothing changes: gone even between an input and an output.
    check(&["add"], |n, x| {
        let y = n.quantize(x, INT8, 0.05, -3);
        vec![n.add(y, x)]
    });
    check(&[], |n, x| vec![n.quantize(x, INT8, 0.050_000_1, -3)]);
}

#[test]
fn borders() {
    let (same, valid) = (Padding::Same, Padding::Valid);
    check(&["conv"], |n, x| {
        let y = n.pad(x, [1, 1], [1, 1]);
        vec![n.conv(y, 3, valid)]
    });
    check(&["conv"], |n, x| {
        let y = n.pad(x, [0, 1], [2, 0]);
        vec![n.conv(y, 3, valid)]
    });
    check(&["conv"], |n, x| {
        let y = n.pad(x, [1, 0], [0, 1]);
        vec![n.conv(y, 3, same)]
    });
    check(&["conv", "conv", "add"], |n, x| {
        let y = n.pad(x, [1, 1], [1, 1]);
        let (a, b) = (n.conv(y, 3, valid), n.conv(y, 3, valid));
        vec![n.add(a, b)]
    });
    // No cells at all.
    check(&["add"], |n, x| {
        let y = n.pad(x, [0, 0], [0, 0]);
        vec![n.add(y, y)]
    });
    // Windows that lie wholly in the border; a reader that is no convolution; an output.
    check(&["pad", "conv"], |n, x| {
        let y = n.pad(x, [3, 0], [0, 0]);
        vec![n.conv(y, 3, valid)]
    });
    check(&["pad", "conv"], |n, x| {
        let y = n.pad(x, [1, 1], [1, 1]);
        vec![n.conv(y, 1, same)]
    });
    check(&["pad", "conv", "add"], |n, x| {
        let y = n.pad(x, [1, 1], [1, 1]);
        let z = n.conv(y, 3, same);
        vec![n.add(y, z)]
    });
    check(&["pad", "conv"], |n, x| {
        let y = n.pad(x, [1, 1], [1, 1]);
        vec![n.conv(y, 3, valid), y]
    });
    // A pool counts what PAD wrote, unless it looks for the largest and PAD wrote the lowest.
    check(&["pad", "average_pool"], |n, x| {
        let y = n.pad(x, [1, 0], [1, 0]);
        vec![n.pool(y, false)]
    });
    check(&["pad", "max_pool"], |n, x| {
        let y = n.pad(x, [1, 0], [1, 0]);
        vec![n.pool(y, true)]
    });
    check(&["lut", "max_pool"], |n, x| {
        let gate = n.logistic(x);
        let y = n.pad(gate, [1, 0], [1, 0]);
        vec![n.pool(y, true)]
    });
}

#[test]
fn dead_steps() {
    check(&["add"], |n, x| {
        let y = n.conv(x, 3, Padding::Same);
        n.logistic(y);
        vec![n.add(x, x)]
    });
}

/// Told at once, although every operator shares the weights of the first.
#[test]
fn more_steps_than_a_plan_has() {
    let mut net = Net::default();
    let x = net.input();
    let y = net.conv(x, 1, Padding::Same);
    net.0.outputs = vec![y];
    net.0.ops = vec![net.0.ops[0].clone(); 5000];
    for plan in [plan, plan_as_written] {
        assert_eq!(plan(&net.0).unwrap_err().to_string(), "number of steps is 5000, over the limit of 4096");
    }
}
