//! Graphs with one fault each, and the reason for which each is refused: step, operand, what was expected, what came.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a graph that cannot be built must fail the test")]

mod support;

use fleetfoot_engine::{EngineError, Kernels, Model};
use fleetfoot_format::graph::{self, Conv, DType, Io, Record, Span, Step};
use fleetfoot_plan::Aligned;
use support::small;

/// A model that a row may spoil.
struct Parts<'a> {
    inputs: Vec<Io<'a>>,
    outputs: Vec<Io<'a>>,
    arena_len: u32,
    steps: Vec<Record<'a>>,
    weights: Vec<u8>,
}

/// The reason for which the small model is refused after `spoil`.
fn refusal(spoil: impl FnOnce(&mut Parts<'_>)) -> Result<(), EngineError> {
    let plan = small();
    let graph = graph::Graph::parse(&plan.graph).unwrap();
    let mut parts = Parts {
        inputs: graph.inputs().to_vec(),
        outputs: graph.outputs().to_vec(),
        arena_len: graph.arena_len(),
        steps: graph.steps().map(Result::unwrap).collect(),
        weights: plan.weights.clone(),
    };
    spread(&mut parts);
    spoil(&mut parts);
    let weights = Aligned::copy_of(&parts.weights);
    let len = weights.as_ref().len() as u32;
    let bytes = graph::write(&parts.inputs, &parts.outputs, parts.arena_len, len, &parts.steps)?;
    let model = Model::open(&bytes[..], weights.as_ref())?;
    let mut arena =
        Aligned::zeroed(model.bounded_arena_len(Kernels::scalar(), 1)?.max(model.arena_len(Kernels::detect())));
    model.run(Kernels::detect(), arena.as_mut())
}

/// Input at 0, the result of step `i` at `1000 * (i + 1)`: rows can name places without knowing how planning chooses them.
fn spread(parts: &mut Parts<'_>) {
    let mut places = vec![(parts.inputs[0].span, 0)];
    parts.arena_len = 1000 * (parts.steps.len() as u32 + 2);
    for (i, record) in parts.steps.iter_mut().enumerate() {
        let (reads, output) = operands(&mut record.step);
        for read in reads {
            read.offset = places.iter().rev().find(|(old, _)| old == read).unwrap().1;
        }
        let place = 1000 * (i as u32 + 1);
        places.push((*output, place));
        output.offset = place;
    }
    parts.inputs[0].span.offset = 0;
    parts.outputs[0].span.offset = 1000 * parts.steps.len() as u32;
}

fn operands(step: &mut Step) -> (Vec<&mut Span>, &mut Span) {
    match step {
        Step::Conv(c) | Step::Depthwise(c) | Step::FullyConnected(c) => (vec![&mut c.input], &mut c.output),
        Step::Add(p) => (vec![&mut p.a, &mut p.b], &mut p.output),
        Step::Mul(p) => (vec![&mut p.a, &mut p.b], &mut p.output),
        Step::Pool(p) => (vec![&mut p.input], &mut p.output),
        Step::Mean(p) => (vec![&mut p.input], &mut p.output),
        Step::Pad(p) => (vec![&mut p.input], &mut p.output),
        Step::Lut(p) => (vec![&mut p.input], &mut p.output),
        Step::Softmax(p) => (vec![&mut p.input], &mut p.output),
        other => panic!("the small model has no {}", other.op()),
    }
}

#[track_caller]
fn check(code: u16, reason: &str, spoil: impl FnOnce(&mut Parts<'_>)) {
    let error = refusal(spoil).expect_err(reason);
    assert_eq!((error.code(), error.to_string()), (code, reason.into()));
}

/// As [`check`], for the numbers of step `at`, a convolution of any kind.
#[track_caller]
fn conv(at: usize, code: u16, reason: &str, spoil: impl FnOnce(&mut Conv)) {
    check(code, reason, |parts| match &mut parts.steps[at].step {
        Step::Conv(c) | Step::Depthwise(c) | Step::FullyConnected(c) => spoil(c),
        other => panic!("step {at} is {}", other.op()),
    });
}

macro_rules! of_step {
    ($name:ident, $at:literal, $kind:ident) => {
        #[track_caller]
        fn $name(code: u16, reason: &str, spoil: impl FnOnce(&mut graph::$kind)) {
            check(code, reason, |parts| match &mut parts.steps[$at].step {
                Step::$kind(p) => spoil(p),
                other => panic!("step {} is {}", $at, other.op()),
            });
        }
    };
}

of_step!(add, 2, Add);
of_step!(max_pool, 3, Pool);
of_step!(pad, 4, Pad);
of_step!(mean, 5, Mean);
of_step!(lut, 6, Lut);
of_step!(mul, 7, Mul);
of_step!(softmax, 10, Softmax);

const fn span(offset: u32, len: u32) -> Span {
    Span { offset, len }
}

#[test]
fn the_model_itself_is_sound() {
    refusal(|_| ()).unwrap();
}

#[test]
fn order() {
    // A cycle: the first step reads what the second writes.
    check(312, "step 0: input is 240 bytes at 2000, and nothing before wrote byte 2000", |p| {
        let Step::Conv(first) = &mut p.steps[0].step else { panic!("the first step is a convolution") };
        (first.in_c, first.input) = (8, span(2000, 240));
    });
    add(312, "step 2: b is 240 bytes at 9000, and nothing before wrote byte 9000", |p| p.b.offset = 9000);
    check(312, "step 0: input is 240 bytes at 1000, and nothing before wrote byte 1000", |p| p.steps.swap(0, 1));
    check(312, "step 9: input is 10 bytes at 10000, and nothing before wrote byte 10000", |p| {
        p.steps.remove(9);
    });
    // All but the last byte was written, and all but the first.
    conv(1, 312, "step 1: input is 240 bytes at 1001, and nothing before wrote byte 1240", |c| c.input.offset = 1001);
    conv(1, 312, "step 1: input is 240 bytes at 999, and nothing before wrote byte 999", |c| c.input.offset = 999);
    // Two tensors and what lies between them.
    conv(0, 312, "step 1: input is 240 bytes at 1000, and nothing before wrote byte 1120", |c| {
        (c.window.out_h, c.output.len) = (3, 120);
    });
    check(312, "output 0 of the model: output is 10 bytes at 12500, and nothing before wrote byte 12500", |p| {
        p.outputs[0].span.offset = 12_500;
    });
    check(312, "output 0 of the model: output is 10 bytes at 11000, and nothing before wrote byte 11000", |p| {
        p.steps.clear();
    });
}

#[test]
fn spans() {
    conv(0, 302, "step 0: output is 240 bytes at 4294967295, outside of 13000 bytes", |c| c.output.offset = u32::MAX);
    conv(0, 302, "step 0: output is 240 bytes at 12761, outside of 13000 bytes", |c| c.output.offset = 12_761);
    conv(0, 304, "step 0: output has 239 bytes, its shape needs 240", |c| c.output.len -= 1);
    conv(0, 304, "step 0: output has 0 bytes, its shape needs 240", |c| c.output.len = 0);
    conv(0, 302, "step 0: weights is 448 bytes at 1000000, outside of 2960 bytes", |c| c.weights.offset = 1_000_000);
    conv(0, 304, "step 0: weights has 432 bytes, its shape needs 448", |c| c.weights.len -= 16);
    conv(0, 309, "step 0: weights begins at 4, which is no multiple of 16", |c| c.weights.offset += 4);
    conv(0, 309, "step 0: bias begins at 449, which is no multiple of 16", |c| c.bias.offset += 1);
    conv(0, 304, "step 0: bias has 32 bytes, its shape needs 64", |c| c.bias.len = 32);
    conv(0, 304, "step 0: sums has 60 bytes, its shape needs 64", |c| c.sums.len -= 4);
    conv(0, 304, "step 0: multipliers has 128 bytes, its shape needs 64", |c| c.multipliers.len *= 2);
    lut(304, "step 6: table has 255 bytes, its shape needs 256", |p| p.table.len = 255);
    lut(304, "step 6: table has 512 bytes, its shape needs 256", |p| p.table.len = 512);
    lut(302, "step 6: table is 256 bytes at 4294967280, outside of 2960 bytes", |p| p.table.offset = u32::MAX - 15);
    softmax(304, "step 10: table has 256 bytes, its shape needs 1024", |p| p.table.len = 256);
    check(304, "input 0 of the model: input has 91 bytes, its shape needs 90", |p| p.inputs[0].span.len += 1);
    check(304, "output 0 of the model: output has 10 bytes, its shape needs 20", |p| p.outputs[0].dims[0] = 2);
    check(302, "input 0 of the model: input is 90 bytes at 4294967290, outside of 13000 bytes", |p| {
        p.inputs[0].span.offset = u32::MAX - 5;
    });
    check(302, "step 0: output is 240 bytes at 1000, outside of 100 bytes", |p| p.arena_len = 100);
}

#[test]
fn overlaps() {
    conv(0, 303, "step 0: input and output at 0 and 0 share memory", |c| c.output.offset = 0);
    conv(1, 303, "step 1: input and output at 1000 and 1239 share memory", |c| c.output.offset = 1239);
    add(303, "step 2: a and output at 1000 and 1000 share memory", |p| p.output = p.a);
    add(303, "step 2: b and output at 2000 and 1900 share memory", |p| p.output.offset = 1900);
    add(303, "step 2: a and b at 1000 and 1119 share memory", |p| {
        (p.a, p.b, p.output.len) = (span(1000, 120), span(1119, 120), 120);
    });
    max_pool(303, "step 3: input and output at 3000 and 3008 share memory", |p| p.output.offset = 3008);
    pad(303, "step 4: input and output at 4000 and 3999 share memory", |p| p.output.offset = 3999);
    mean(303, "step 5: input and output at 5000 and 5000 share memory", |p| p.output.offset = 5000);
    lut(303, "step 6: input and output at 6000 and 6007 share memory", |p| p.output.offset = 6007);
    mul(303, "step 7: a and output at 5000 and 5000 share memory", |p| p.output.offset = 5000);
    mul(303, "step 7: b and output at 7000 and 6800 share memory", |p| p.output.offset = 6800);
    softmax(303, "step 10: input and output at 10000 and 10009 share memory", |p| p.output.offset = 10_009);
    check(303, "input 1 of the model: two inputs at 0 and 0 share memory", |p| p.inputs.push(p.inputs[0].clone()));
}

#[test]
fn windows() {
    conv(0, 305, "step 0: row stride is 0, not 1 to 16777216", |c| c.window.stride_h = 0);
    conv(0, 305, "step 0: column stride is 0, not 1 to 16777216", |c| c.window.stride_w = 0);
    conv(0, 305, "step 0: kernel rows is 0, not 1 to 16777216", |c| c.window.kernel_h = 0);
    conv(0, 305, "step 0: kernel columns is 16777217, not 1 to 16777216", |c| c.window.kernel_w = (1 << 24) + 1);
    conv(0, 305, "step 0: row dilation is 0, not 1 to 16777216", |c| c.window.dilation_h = 0);
    conv(0, 305, "step 0: column dilation is 4294967295, not 1 to 16777216", |c| c.window.dilation_w = u32::MAX);
    conv(0, 305, "step 0: output rows is 0, not 1 to 16777216", |c| c.window.out_h = 0);
    conv(0, 305, "step 0: input columns is 4294967295, not 1 to 16777216", |c| c.window.in_w = u32::MAX);
    conv(0, 305, "step 0: rows that a window spans is 671088640, not 0 to 536870911", |c| {
        (c.window.kernel_h, c.window.dilation_h) = (41, 1 << 24);
    });
    conv(0, 305, "step 0: padding above is 3, not 0 to 2", |c| c.window.pad_top = 3);
    conv(0, 305, "step 0: padding on the left is 4294967295, not 0 to 2", |c| c.window.pad_left = u32::MAX);
    conv(0, 305, "step 0: first row of the last window is 6, not -2 to 5", |c| {
        (c.window.out_h, c.window.out_w) = (8, 1);
    });
    conv(0, 305, "step 0: first column of the last window is 39, not -2 to 4", |c| c.window.stride_w = 10);
    max_pool(305, "step 3: row dilation of a pool is 2, not 1 to 1", |p| p.window.dilation_h = 2);
    max_pool(305, "step 3: padding above is 2, not 0 to 1", |p| p.window.pad_top = 2);
    max_pool(305, "step 3: cells of a pool is 8388608, not 1 to 8388607", |p| {
        (p.window.kernel_h, p.window.kernel_w) = (1 << 12, 1 << 11);
    });
    max_pool(305, "step 3: first row of the last window is 8, not -1 to 5", |p| p.window.stride_h = 2);
}

#[test]
fn sizes_that_cannot_be_counted() {
    conv(0, 311, "step 0: input has extents over 2^24, or 2^32 elements and more", |c| c.batch = 1 << 30);
    conv(0, 311, "step 0: input has extents over 2^24, or 2^32 elements and more", |c| {
        (c.window.in_h, c.window.in_w) = (1 << 24, 1 << 24);
    });
    conv(0, 305, "step 0: input channels is 0, not 1 to 16777216", |c| c.in_c = 0);
    conv(0, 305, "step 0: output channels is 16777217, not 1 to 16777216", |c| c.out_c = (1 << 24) + 1);
    // 6,700,417 rows of 16,711,935 columns of 164,737 channels are 2^64 - 1 weights, which cannot be rounded up to a multiple of 4.
    check(311, "step 0: weights has extents over 2^24, or 2^32 elements and more", |p| {
        let Step::Conv(c) = &mut p.steps[0].step else { panic!("the first step is a convolution") };
        (c.window.in_h, c.window.in_w, c.window.out_h, c.window.out_w) = (1, 1, 1, 1);
        (c.window.kernel_h, c.window.kernel_w, c.in_c) = (6_700_417, 16_711_935, 164_737);
        (c.input, c.output) = (span(0, c.in_c), span(c.in_c, c.out_c));
        (p.arena_len, p.inputs[0].span.len) = (c.in_c + c.out_c, c.in_c);
        p.inputs[0].dims = heapless::Vec::from_slice(&[c.in_c]).unwrap();
    });
    conv(1, 310, "step 1: output channels is 8, which is no multiple of 3", |c| c.in_c = 3);
    conv(1, 310, "step 1: output channels is 8, which is no multiple of 0", |c| c.in_c = 0);
    mean(305, "step 5: pixels is 0, not 1 to 8388608", |p| p.pixels = 0);
    mean(305, "step 5: pixels is 4294967295, not 1 to 8388608", |p| p.pixels = u32::MAX);
    mean(311, "step 5: input has extents over 2^24, or 2^32 elements and more", |p| p.channels = 1 << 25);
    mul(310, "step 7: output is 240, which is no multiple of 0", |p| p.channels = 0);
    mul(310, "step 7: output is 240, which is no multiple of 7", |p| p.channels = 7);
    mul(310, "step 7: output is 240, which is no multiple of 0", |p| (p.batch, p.channels) = (1 << 24, 1 << 24));
    pad(305, "step 4: extent is 0, not 1 to 16777216", |p| p.in_dims[0] = 0);
    pad(305, "step 4: padded extent is 8589934591, not 1 to 16777216", |p| {
        (p.before[3], p.after[3]) = (u32::MAX, u32::MAX - 7);
    });
    pad(311, "step 4: output has extents over 2^24, or 2^32 elements and more", |p| p.before = [1 << 23; 4]);
    softmax(310, "step 10: output is 10, which is no multiple of 0", |p| p.row = 0);
    softmax(310, "step 10: output is 10, which is no multiple of 3", |p| p.row = 3);
    check(311, "input 0 of the model: input has extents over 2^24, or 2^32 elements and more", |p| {
        p.inputs[0].dims = heapless::Vec::from_slice(&[u32::MAX; 6]).unwrap();
    });
    check(304, "output 0 of the model: output has 10 bytes, its shape needs 0", |p| p.outputs[0].dims[1] = 0);
}

#[test]
fn numbers() {
    conv(0, 305, "step 0: zero point of the input is -129, not -128 to 127", |c| c.in_zero_point = -129);
    conv(0, 305, "step 0: zero point of the input is -5, not 0 to 255", |c| c.in_dtype = DType::UInt8);
    conv(0, 305, "step 0: zero point of the weights is 128, not -128 to 127", |c| c.weight_zero_point = 128);
    conv(0, 305, "step 0: zero point of the output is 2147483647, not -128 to 127", |c| c.out_zero_point = i32::MAX);
    conv(0, 305, "step 0: lower bound is -129, not -128 to 127", |c| c.lo = -129);
    conv(0, 305, "step 0: upper bound is 128, not -5 to 127", |c| c.hi = 128);
    conv(0, 305, "step 0: upper bound is -6, not -5 to 127", |c| c.hi = -6);
    add(305, "step 2: shift is 0, not 1 to 31", |p| p.shift = 0);
    add(305, "step 2: shift is 32, not 1 to 31", |p| p.shift = 32);
    add(305, "step 2: multiplier of a is 2097153, not -2097152 to 2097152", |p| p.a_multiplier = (1 << 21) + 1);
    add(305, "step 2: multiplier of b is -2147483648, not -2097152 to 2097152", |p| p.b_multiplier = i32::MIN);
    add(305, "step 2: zero point of the output is 200, not -128 to 127", |p| p.out_zero_point = 200);
    mul(305, "step 7: zero point of a is 128, not -128 to 127", |p| p.a_zero_point = 128);
    mul(305, "step 7: zero point of b is -129, not -128 to 127", |p| p.b_zero_point = -129);
    mul(305, "step 7: multiplier is not a number, not 1.4012985e-45 to 2.5599998e2", |p| p.multiplier = f32::NAN);
    mul(305, "step 7: multiplier is 256, not 1.4012985e-45 to 2.5599998e2", |p| p.multiplier = 256.0);
    mul(305, "step 7: multiplier is 0, not 1.4012985e-45 to 2.5599998e2", |p| p.multiplier = 0.0);
    mean(305, "step 5: multiplier is -1, not 1.4012985e-45 to 2.5599998e2", |p| p.multiplier = -1.0);
    mean(305, "step 5: offset is infinity, not -3.4028235e38 to 3.4028235e38", |p| p.offset = f32::INFINITY);
    max_pool(305, "step 3: lower bound is 500, not -128 to 127", |p| p.lo = 500);
    softmax(305, "step 10: scale is 1.5000000e0, not 1.5258789e-5 to 1", |p| p.out_scale = 1.5);
    softmax(305, "step 10: scale is not a number, not 1.5258789e-5 to 1", |p| p.out_scale = f32::NAN);
    softmax(305, "step 10: zero point of the output is -129, not -128 to 127", |p| p.out_zero_point = -129);
    check(305, "input 0 of the model: scale is 0, not 1.4012985e-45 to 3.4028235e38", |p| p.inputs[0].scale = 0.0);
    check(305, "output 0 of the model: scale is not a number, not 1.4012985e-45 to 3.4028235e38", |p| {
        p.outputs[0].scale = f32::NAN;
    });
    check(305, "input 0 of the model: zero point is 128, not -128 to 127", |p| p.inputs[0].zero_point = 128);
}

/// Numbers in the section *weights*.
#[test]
fn constants() {
    let multipliers = |value: f32| {
        move |p: &mut Parts<'_>| {
            let Step::Conv(c) = p.steps[0].step else { panic!("the first step is a convolution") };
            p.weights[c.multipliers.range()][4..8].copy_from_slice(&value.to_le_bytes());
        }
    };
    check(305, "step 0: multiplier is 1000, not 1.4012985e-45 to 2.5599998e2", multipliers(1000.0));
    check(305, "step 0: multiplier is -5.0000000e-1, not 1.4012985e-45 to 2.5599998e2", multipliers(-0.5));
    check(305, "step 0: multiplier is not a number, not 1.4012985e-45 to 2.5599998e2", multipliers(f32::NAN));
    let table = |at: usize, value: f32| {
        move |p: &mut Parts<'_>| {
            let Step::Softmax(s) = p.steps[10].step else { panic!("the last step is a softmax") };
            p.weights[s.table.range()][4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        }
    };
    check(305, "step 10: entry of the table is infinity, not 0 to 1", table(255, f32::INFINITY));
    check(305, "step 10: entry of the table is not a number, not 0 to 1", table(0, f32::NAN));
    check(305, "step 10: first entry of the table is 0, not 1 to 1", table(0, 0.0));
    // Kernels that read the sums and kernels that add weights up would give two answers.
    let weight = |at: usize, step: usize, value: u8| {
        move |p: &mut Parts<'_>| match p.steps[step].step {
            Step::Conv(c) | Step::Depthwise(c) => p.weights[c.weights.range()][at] = value,
            _ => panic!("step {step} is no convolution"),
        }
    };
    check(314, "step 0: weights of channel 1: their sum is 648, 645 follows from the weights", weight(5, 0, 193));
    check(314, "step 1: weights of channel 7: their sum is -103, -104 follows from the weights", weight(7, 1, 48));
    // 27 weights of a channel are followed by one of padding.
    check(314, "step 0: weights of channel 2: a weight in the padding is 1, 0 follows from the weights", |p| {
        weight(6 * 64 + 2 * 4 + 3, 0, 1)(p);
        let Step::Conv(c) = p.steps[0].step else { panic!("the first step is a convolution") };
        let sum = p.weights[c.sums.range()][8..].first_chunk_mut::<4>().unwrap();
        *sum = (i32::from_le_bytes(*sum) + 1).to_le_bytes();
    });
}

#[test]
fn counts() {
    check(104, "graph: number of steps is 4097, over the limit of 4096", |p| {
        p.steps = vec![p.steps[0]; 4097];
    });
    check(104, "graph: arena length is 4294967295, over the limit of 1073741824", |p| p.arena_len = u32::MAX);
    check(111, "graph: number of inputs or outputs is out of range", |p| p.inputs.clear());
    check(111, "graph: number of inputs or outputs is out of range", |p| p.outputs.clear());
    check(104, "graph: number of inputs is 9, over the limit of 8", |p| p.inputs = vec![p.inputs[0].clone(); 9]);
    // The largest tensors, and scratch on top.
    check(316, "this model needs an arena of 1073741856 bytes, the limit is 1073741824", |p| p.arena_len = 1 << 30);
    // Single bytes far apart: more runs than anybody counts.
    check(313, "step 255: output is one of more than 256 tensors with gaps between them", |p| {
        p.arena_len = 1 << 16;
        let Step::Lut(lut) = p.steps[6].step else { panic!("step 6 is a table") };
        p.steps = (0..260u32)
            .map(|i| {
                let (input, output) = (span(0, 1), span(1000 + 2 * i, 1));
                Record { name: "far", step: Step::Lut(graph::Lut { input, output, ..lut }) }
            })
            .collect();
    });
}

/// What no writer would write: the bytes themselves.
#[test]
fn bytes() {
    let plan = small();
    let weights = Aligned::copy_of(&plan.weights);
    let check = |bytes: &[u8], code: u16, reason: &str| {
        let error = Model::open(bytes, weights.as_ref()).expect_err(reason);
        assert_eq!((error.code(), error.to_string()), (code, reason.into()));
    };
    check(&[], 105, "graph: graph head does not decode");
    check(&[&[2], &plan.graph[1..]].concat(), 111, "graph: graph schema is out of range");
    check(&[&plan.graph[..], &[0]].concat(), 103, "graph: 1 bytes present, the signed length is 0");
    check(&plan.graph[..plan.graph.len() - 1], 105, "graph: step of the graph does not decode");
    // A count of inputs that no memory could hold.
    let head = [&[1, 0x80, 1, 0, 1][..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    check(&head, 105, "graph: graph head does not decode");
}
