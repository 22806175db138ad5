//! Steps that move, combine or convert, with one number spoilt at a time: refused with a reason, never run.
#![allow(clippy::unwrap_used, reason = "a graph that cannot be built must fail the test")]

mod support;

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_format::graph::{self, Span, Step};
use fleetfoot_plan::Aligned;
use support::small;

/// Every kind of step that moves, combines or converts, with one number spoilt at a time: refused, never run.
#[test]
fn steps_that_reach_outside_are_refused() {
    use graph::{ArgExtreme, BinaryOp, Broadcast, Copy, DType, Fixed, FromFloat, Resample, ToFloat};
    let plan = small();
    let (arena_len, weights_len) = (4096u32, plan.weights.len() as u32);
    let span = |offset, len| Span { offset, len };
    let (input, output) = (span(0, 64), span(128, 64));
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
    let gaps =
        Copy { dims: [1, 1, 1, 1, 8, 4], from_strides: [0, 0, 0, 0, 4, 1], to_strides: [0, 0, 0, 0, 8, 1], ..copy };
    let fixed = Fixed { multiplier: 1 << 30, exponent: 0 };
    let (dims, dense, dtype) = ([1, 1, 1, 1, 8, 8], [0, 0, 0, 0, 8, 1], DType::Int8);
    let op = BinaryOp::Prelu { a_zero_point: 0, b_zero_point: 0, positive: fixed, negative: fixed, out_zero_point: 0 };
    let broadcast = Broadcast {
        a: input,
        b: span(64, 8),
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
        ("copy reads behind", Step::Copy(Copy { from: 1, ..copy }), 315),
        ("copy reads before", Step::Copy(Copy { from_strides: [0, 0, 0, 0, -1, 8], ..copy }), 315),
        ("copy writes behind", Step::Copy(Copy { to: 1, ..copy }), 315),
        ("copy of nothing", Step::Copy(Copy { dims: [1, 0, 1, 1, 8, 8], ..copy }), 305),
        ("copy without end", Step::Copy(Copy { dims: [1, 1, 1 << 20, 1, 8, 8], ..copy }), 315),
        ("copy over itself", Step::Copy(Copy { output: span(63, 64), ..copy }), 303),
        ("copy outside the arena", Step::Copy(Copy { input: span(arena_len, 64), ..copy }), 302),
        ("copy outside the weights", Step::Copy(Copy { input: span(weights_len, 64), in_weights: true, ..copy }), 302),
        ("copy with a short table", Step::Copy(Copy { table: Some(span(0, 255)), ..copy }), 304),
        ("copy with huge strides", Step::Copy(Copy { from_strides: [i32::MIN; 6], ..copy }), 315),
        (
            "unused huge strides",
            Step::Copy(Copy {
                from_strides: [i32::MIN, i32::MAX, 0, 0, 1, 8],
                to_strides: [u32::MAX, u32::MAX, 0, 0, 8, 1],
                ..copy
            }),
            0,
        ),
        ("copy with gaps", Step::Copy(gaps), 312),
        ("copy that fills its gaps", Step::Copy(Copy { fill: Some(7), ..gaps }), 0),
        ("broadcast", Step::Broadcast(broadcast), 0),
        ("broadcast reads behind a", Step::Broadcast(Broadcast { a_strides: [0, 0, 0, 0, 9, 1], ..broadcast }), 315),
        ("broadcast reads behind b", Step::Broadcast(Broadcast { b_strides: [0, 0, 0, 0, 1, 1], ..broadcast }), 315),
        ("broadcast of another length", Step::Broadcast(Broadcast { dims: [1, 1, 1, 1, 4, 8], ..broadcast }), 304),
        ("broadcast over its operand", Step::Broadcast(Broadcast { output: span(70, 64), ..broadcast }), 303),
        ("infinite multiplier", Step::Broadcast(Broadcast { op: multiply(f32::INFINITY), ..broadcast }), 305),
        ("multiplier that is no number", Step::Broadcast(Broadcast { op: multiply(f32::NAN), ..broadcast }), 305),
        ("shift too far left", Step::Broadcast(Broadcast { op: prelu(15), ..broadcast }), 305),
        ("shift too far right", Step::Broadcast(Broadcast { op: prelu(-32), ..broadcast }), 305),
        ("resample", Step::Resample(resample), 0),
        ("resample outside", Step::Resample(Resample { in_w: 1, input: span(0, 32), ..resample }), 315),
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
