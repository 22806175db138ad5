//! Whatever the bytes of a graph are, opening and running end in an answer or in an error.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_format::graph::{self, Span, Step};
use fleetfoot_plan::{
    Aligned, Plan,
    graph::{Activation, ElementType, Graph, Op, OpKind, Padding, Quant, Tensor, TensorId},
    plan,
};

#[test]
fn flipped_bits_and_truncation_never_panic() {
    let plan = small();
    let (mut refused, mut ran) = (0, 0);
    for at in 0..plan.graph.len() {
        for bit in 0..8 {
            let mut graph = plan.graph.clone();
            graph[at] ^= 1 << bit;
            if attempt(&graph, &plan.weights) { ran += 1 } else { refused += 1 }
        }
        assert!(!attempt(&plan.graph[..at], &plan.weights), "truncated to {at} bytes");
    }
    // Most flips break a length or a bound; some only change a zero point, a name or a clamp.
    assert!(refused > ran && ran > 0, "{refused} refused, {ran} ran");
}

#[test]
fn random_bytes_in_place_of_fields_never_panic() {
    let plan = small();
    let mut seed = 1u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..20_000 {
        let mut graph = plan.graph.clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % graph.len();
            match next() % 3 {
                0 => graph[at] = next() as u8,
                1 => graph[at] = 0xFF,
                _ => graph.insert(at, next() as u8 | 0x80),
            }
        }
        attempt(&graph, &plan.weights);
    }
}

/// 6,700,417 rows of 16,711,935 columns of 164,737 channels are 2^64 - 1 weights, which cannot be rounded up to a multiple of 4.
#[test]
fn a_product_of_extents_that_cannot_be_rounded_up_is_refused() {
    let plan = small();
    let graph = graph::Graph::parse(&plan.graph).unwrap();
    let mut steps: Vec<_> = graph.steps().map(Result::unwrap).collect();
    let Step::Conv(conv) = &mut steps[0].step else { panic!("the first step is a convolution") };
    let span = |offset, len| Span { offset, len };
    (conv.window.in_h, conv.window.in_w, conv.window.out_h, conv.window.out_w) = (1, 1, 1, 1);
    (conv.window.kernel_h, conv.window.kernel_w, conv.in_c) = (6_700_417, 16_711_935, 164_737);
    (conv.input, conv.output) = (span(0, conv.in_c), span(conv.in_c, conv.out_c));
    let arena_len = conv.in_c + conv.out_c;
    let bytes = graph::write(graph.inputs(), graph.outputs(), arena_len, graph.weights_len(), &steps[..1]).unwrap();
    let weights = Aligned::copy_of(&plan.weights);
    assert_eq!(Model::open(&bytes[..], weights.as_ref()).unwrap_err().code(), 305);
}

#[test]
fn weights_are_checked() {
    let plan = small();
    let weights = Aligned::copy_of(&plan.weights);
    let short = &weights.as_ref()[..plan.weights.len() - 16];
    assert_eq!(Model::open(&plan.graph[..], short).unwrap_err().code(), 300);
    let shifted = Aligned::copy_of(&[&[0; 4][..], &plan.weights].concat());
    assert_eq!(Model::open(&plan.graph[..], &shifted.as_ref()[4..]).unwrap_err().code(), 301);
}

#[test]
fn the_arena_is_exact() {
    let plan = small();
    let weights = Aligned::copy_of(&plan.weights);
    for kernels in Kernels::available() {
        let model = Model::open(&plan.graph[..], weights.as_ref()).unwrap();
        let need = model.arena_len(kernels);
        let mut arena = Aligned::zeroed(need);
        model.run(kernels, arena.as_mut()).unwrap();
        let error = model.run(kernels, &mut arena.as_mut()[..need - 1]).unwrap_err();
        assert_eq!(error.code(), 306, "{} {error}", kernels.name());
    }
}

/// Opens and, where that succeeds, runs. Whether it ran.
fn attempt(graph: &[u8], weights: &[u8]) -> bool {
    let weights = Aligned::copy_of(weights);
    let Ok(model) = Model::open(graph, weights.as_ref()) else { return false };
    let kernels = Kernels::detect();
    let need = model.arena_len(kernels);
    if need > 1 << 20 {
        return false;
    }
    let mut arena = Aligned::zeroed(need);
    model.run(kernels, arena.as_mut()).expect("an opened model runs in an arena of the length it asks for");
    true
}

/// Convolution, depthwise, add, pool, fully connected, softmax: one of each kind of step.
fn small() -> Plan {
    use ElementType::{Int8, Int32};
    let mut graph = Graph::default();
    let mut tensor = |name: &str, shape: &[usize], dtype, quant: Option<(&[f32], i32)>, constant: bool| {
        let quant = quant.map(|(scales, zero_point)| Quant {
            scales: scales.to_vec(),
            zero_points: vec![zero_point; scales.len()],
            axis: if scales.len() == 1 { 0 } else { shape.len() - 1 },
        });
        let width = if dtype == Int32 { 4 } else { 1 };
        let len = shape.iter().product::<usize>() * width;
        let data =
            constant.then(|| (0..len).map(|i| if width == 4 && i % 4 == 3 { 0 } else { (i * 7) as u8 }).collect());
        graph.tensors.push(Tensor { name: name.into(), shape: shape.to_vec(), dtype, quant, data });
        TensorId(graph.tensors.len() - 1)
    };
    let act = |s: &'static [f32]| Some((s, -5));
    let input = tensor("input", &[1, 6, 5, 3], Int8, act(&[0.5]), false);
    let w1 = tensor("w1", &[8, 3, 3, 3], Int8, Some((&[0.01], 0)), true);
    let b1 = tensor("b1", &[8], Int32, None, true);
    let c1 = tensor("c1", &[1, 6, 5, 8], Int8, act(&[0.6]), false);
    let w2 = tensor("w2", &[1, 3, 3, 8], Int8, Some((&[0.01; 8], 0)), true);
    let c2 = tensor("c2", &[1, 6, 5, 8], Int8, act(&[0.7]), false);
    let sum = tensor("sum", &[1, 6, 5, 8], Int8, act(&[0.8]), false);
    let pool = tensor("pool", &[1, 2, 2, 8], Int8, act(&[0.8]), false);
    let flat = tensor("flat", &[1, 32], Int8, act(&[0.8]), false);
    let w3 = tensor("w3", &[10, 32], Int8, Some((&[0.02], 0)), true);
    let logits = tensor("logits", &[1, 10], Int8, act(&[0.3]), false);
    let out = tensor("out", &[1, 10], Int8, Some((&[1.0 / 256.0], -128)), false);
    let (padding, activation) = (Padding::Same, Activation::Relu);
    let kinds = [
        (OpKind::Conv2d { stride: [1, 1], dilation: [1, 1], padding, activation }, vec![input, w1, b1], c1),
        (OpKind::DepthwiseConv2d { stride: [1, 1], dilation: [1, 1], padding, activation }, vec![c1, w2], c2),
        (OpKind::Add { activation: Activation::None }, vec![c1, c2], sum),
        (
            OpKind::AveragePool2d {
                kernel: [3, 3],
                stride: [3, 2],
                padding: Padding::Valid,
                activation: Activation::None,
            },
            vec![sum],
            pool,
        ),
        (OpKind::Reshape, vec![pool], flat),
        (OpKind::FullyConnected { activation: Activation::None }, vec![flat, w3], logits),
        (OpKind::Softmax { beta: 1.0 }, vec![logits], out),
    ];
    graph.ops = kinds
        .into_iter()
        .enumerate()
        .map(|(position, (kind, inputs, output))| Op {
            position,
            kind,
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: vec![output],
        })
        .collect();
    (graph.inputs, graph.outputs) = (vec![input], vec![out]);
    plan(&graph).expect("the small model is plannable")
}

/// Every kind of step that moves, combines or converts, with one number spoilt at a time: refused, never run.
#[test]
fn steps_that_reach_outside_are_refused() {
    use graph::{ArgExtreme, BinaryOp, Broadcast, Copy, DType, Fixed, FromFloat, Resample, ToFloat};
    let plan = small();
    let (arena_len, weights_len) = (4096u32, plan.weights.len() as u32);
    let span = |offset, len| Span { offset, len };
    let (input, output) = (span(0, 64), span(64, 64));
    let copy = Copy {
        input,
        in_weights: false,
        output,
        dims: [1, 1, 1, 1, 8, 8],
        from: 0,
        from_strides: [0, 0, 0, 0, 1, 8],
        to: 0,
        to_strides: [0, 0, 0, 0, 8, 1],
        table: None,
        fill: None,
    };
    let fixed = Fixed { multiplier: 1 << 30, exponent: 0 };
    let (dims, dense, dtype) = ([1, 1, 1, 1, 8, 8], [0, 0, 0, 0, 8, 1], DType::Int8);
    let op = BinaryOp::Prelu { a_zero_point: 0, b_zero_point: 0, positive: fixed, negative: fixed, out_zero_point: 0 };
    let broadcast = Broadcast {
        a: input,
        b: span(128, 8),
        b_in_weights: false,
        output,
        dims,
        a_strides: dense,
        b_strides: [0, 0, 0, 0, 0, 1],
        dtype,
        op,
    };
    let multiply =
        |multiplier| BinaryOp::Mul { a_zero_point: 0, b_zero_point: 0, multiplier, out_zero_point: 0, lo: 0, hi: 9 };
    let prelu = |exponent| BinaryOp::Prelu {
        a_zero_point: 0,
        b_zero_point: 0,
        positive: Fixed { exponent, ..fixed },
        negative: fixed,
        out_zero_point: 0,
    };
    // Two cells at the start of the weights are made below: {0, 0} and {1, 2048}.
    let resample = Resample {
        batch: 1,
        in_h: 2,
        in_w: 2,
        out_h: 2,
        out_w: 2,
        channels: 16,
        dtype,
        input,
        output,
        rows: span(0, 16),
        columns: span(0, 16),
    };
    let arg = ArgExtreme { outer: 2, n: 4, inner: 8, dtype, largest: true, wide: false, input, output };
    let from = FromFloat { input: span(0, 64), output: span(64, 16), dtype, inverse: 1.0, zero_point: 0 };
    let to = ToFloat { input: span(64, 16), output: span(0, 64), dtype, scale: 1.0, zero_point: 0 };
    let rows: Vec<(&str, Step, u16)> = vec![
        ("copy", Step::Copy(copy), 0),
        ("copy reads behind", Step::Copy(Copy { from: 1, ..copy }), 305),
        ("copy reads before", Step::Copy(Copy { from_strides: [0, 0, 0, 0, -1, 8], ..copy }), 305),
        ("copy writes behind", Step::Copy(Copy { to: 1, ..copy }), 305),
        ("copy of nothing", Step::Copy(Copy { dims: [1, 0, 1, 1, 8, 8], ..copy }), 305),
        ("copy without end", Step::Copy(Copy { dims: [1, 1, 1 << 20, 1, 8, 8], ..copy }), 305),
        ("copy over itself", Step::Copy(Copy { output: span(63, 64), ..copy }), 303),
        ("copy outside the arena", Step::Copy(Copy { input: span(arena_len, 64), ..copy }), 302),
        ("copy outside the weights", Step::Copy(Copy { input: span(weights_len, 64), in_weights: true, ..copy }), 302),
        ("copy with a short table", Step::Copy(Copy { table: Some(span(0, 255)), ..copy }), 304),
        ("copy with huge strides", Step::Copy(Copy { from_strides: [i32::MIN; 6], ..copy }), 305),
        (
            "unused huge strides",
            Step::Copy(Copy {
                from_strides: [i32::MIN, i32::MAX, 0, 0, 1, 8],
                to_strides: [u32::MAX, u32::MAX, 0, 0, 8, 1],
                ..copy
            }),
            0,
        ),
        ("broadcast", Step::Broadcast(broadcast), 0),
        ("broadcast reads behind a", Step::Broadcast(Broadcast { a_strides: [0, 0, 0, 0, 9, 1], ..broadcast }), 305),
        ("broadcast reads behind b", Step::Broadcast(Broadcast { b_strides: [0, 0, 0, 0, 1, 1], ..broadcast }), 305),
        ("broadcast of another length", Step::Broadcast(Broadcast { dims: [1, 1, 1, 1, 4, 8], ..broadcast }), 304),
        ("broadcast over its operand", Step::Broadcast(Broadcast { b: span(120, 8), ..broadcast }), 303),
        ("infinite multiplier", Step::Broadcast(Broadcast { op: multiply(f32::INFINITY), ..broadcast }), 305),
        ("multiplier that is no number", Step::Broadcast(Broadcast { op: multiply(f32::NAN), ..broadcast }), 305),
        ("shift too far left", Step::Broadcast(Broadcast { op: prelu(15), ..broadcast }), 305),
        ("shift too far right", Step::Broadcast(Broadcast { op: prelu(-32), ..broadcast }), 305),
        ("resample", Step::Resample(resample), 0),
        ("resample outside", Step::Resample(Resample { in_w: 1, input: span(0, 32), ..resample }), 305),
        ("resample without rows", Step::Resample(Resample { rows: span(0, 8), ..resample }), 304),
        ("arg", Step::ArgExtreme(arg), 0),
        ("arg too wide", Step::ArgExtreme(ArgExtreme { wide: true, ..arg }), 304),
        ("arg of nothing", Step::ArgExtreme(ArgExtreme { n: 0, ..arg }), 304),
        ("from float", Step::FromFloat(from), 0),
        ("from float that is short", Step::FromFloat(FromFloat { input: span(0, 63), ..from }), 304),
        ("from float, infinite", Step::FromFloat(FromFloat { inverse: f32::INFINITY, ..from }), 305),
        ("to float", Step::ToFloat(to), 0),
        ("to float, zero point", Step::ToFloat(ToFloat { zero_point: 128, ..to }), 305),
        ("to float that is short", Step::ToFloat(ToFloat { output: span(0, 60), ..to }), 304),
    ];
    let parsed = graph::Graph::parse(&plan.graph).unwrap();
    let mut weights = plan.weights.clone();
    weights[..16].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8, 0, 0]);
    let weights = Aligned::copy_of(&weights);
    for (name, step, code) in rows {
        let record = graph::Record { name, step };
        let mut io = parsed.inputs().to_vec();
        io[0].span.offset = 0;
        let outputs: Vec<_> = parsed
            .outputs()
            .iter()
            .cloned()
            .map(|mut o| {
                o.span.offset = 0;
                o
            })
            .collect();
        let bytes = graph::write(&io, &outputs, arena_len, weights_len, &[record]).unwrap();
        match Model::open(&bytes[..], weights.as_ref()) {
            Ok(model) => {
                assert_eq!(code, 0, "{name} was opened");
                let mut arena = Aligned::zeroed(model.arena_len(Kernels::scalar()));
                model.run(Kernels::scalar(), arena.as_mut()).unwrap();
            }
            Err(error) => assert_eq!(error.code(), code, "{name}: {error}"),
        }
    }
}
