//! Quantized ONNX networks give the recorded output of LiteRT with XNNPACK, byte for byte: their operators are those of the
//! `.tflite` import. uint8 networks give it plus 128.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{fs, sync::Arc};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_plan::graph::{Graph, OpKind};
use fleetfoot_tests::{fuzz::onnx, npz, shared};

/// Networks, and whether they end in a softmax that the recorded ones do not have.
const NETWORKS: &[(&str, &str, bool)] = &[
    ("mlperf-tiny/ad_qdq_s8", "mlperf-tiny/ad_int8", false),
    ("mlperf-tiny/ad_qdq_u8", "mlperf-tiny/ad_int8", false),
    ("mlperf-tiny/ic_logits_qdq_s8", "mlperf-tiny/ic_logits_int8", false),
    ("mlperf-tiny/ic_logits_qdq_u8", "mlperf-tiny/ic_logits_int8", false),
    ("mlperf-tiny/kws_logits_qdq_s8", "mlperf-tiny/kws_logits_int8", false),
    ("mlperf-tiny/kws_logits_qdq_u8", "mlperf-tiny/kws_logits_int8", false),
    ("mlperf-tiny/vww_logits_qdq_s8", "mlperf-tiny/vww_logits_int8", false),
    ("mlperf-tiny/vww_logits_qdq_u8", "mlperf-tiny/vww_logits_int8", false),
    ("shapes/efficientnet_lite0_logits_qdq_u8", "shapes/efficientnet_lite0_logits_int8", false),
    ("shapes/mobilenet_v1_1.0_224_qdq_u8", "shapes/mobilenet_v1_1.0_224_logits_int8", true),
    ("shapes/mobilenet_v2_1.0_224_logits_qdq_u8", "shapes/mobilenet_v2_1.0_224_logits_int8", false),
    ("shapes/mobilenet_v3_small_qdq_u8", "shapes/mobilenet_v3_small_logits_int8", true),
];

#[test]
fn quantized_onnx_equals_litert() {
    for &(network, golden, softmax) in NETWORKS {
        let Some(path) = shared(&format!("models/{network}.onnx")) else { continue };
        let golden = shared(&format!("models/{golden}.golden.npz")).unwrap();
        let mut graph =
            fleetfoot_import::onnx::onnx(&fs::read(path).unwrap()).unwrap_or_else(|e| panic!("{network}: {e}"));
        if softmax {
            cut(&mut graph);
        }
        let (shape, input) = npz(&golden, "input");
        let (_, want) = npz(&golden, "output_xnnpack");
        let input =
            if let &[n, h, w, c] = &shape[..] { to_nchw(&input, [n, h, w, c].map(|d| d as usize)) } else { input };
        let flip =
            |bytes: Vec<u8>, yes| -> Vec<u8> { if yes { bytes.iter().map(|b| b ^ 0x80).collect() } else { bytes } };
        let unsigned = network.ends_with("u8");
        let output = run(&graph, &[&flip(input, unsigned)]);
        // What is cut off stays int8 inside.
        let output = flip(output, unsigned && !softmax);
        let differ = output.iter().zip(&want).filter(|(a, b)| a != b).count();
        assert_eq!((output.len(), differ), (want.len(), 0), "{network}");
    }
}

/// Makes what the softmax reads the output.
fn cut(graph: &mut Graph) {
    let softmax = graph.ops.iter().find(|op| matches!(op.kind, OpKind::Softmax { .. })).unwrap();
    graph.outputs = vec![softmax.inputs[0].unwrap()];
}

fn to_nchw(bytes: &[u8], [n, h, w, c]: [usize; 4]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for image in 0..n {
        for channel in 0..c {
            out.extend((0..h * w).map(|pixel| bytes[(image * h * w + pixel) * c + channel]));
        }
    }
    out
}

/// By hand: real values are `(q - z) * s`, sums are exact, results round half to even.
#[test]
fn one_node_of_a_qoperator_file() {
    let graph = fleetfoot_import::onnx::onnx(&onnx::qlinear_conv().to_bytes()).unwrap();
    // Channels [5, 3, -1] and [3, 7, 127]; less the zero point [2, 0, -4], [0, 4, 124], times 0.5.
    let input = [5i8, 3, -1, 3, 7, 127].map(i8::cast_unsigned);
    let pixels = [[1.0f32, 0.0], [0.0, 2.0], [-2.0, 62.0]];
    let (weights, bias) = ([[1.0, -0.5], [0.25, 0.75]], [8.0 * 0.25, -16.0 * 0.125]);
    let mut want = Vec::new();
    for (weights, bias) in weights.iter().zip(bias) {
        for real in &pixels {
            let sum: f32 = weights[0] * real[0] + weights[1] * real[1] + bias;
            want.push((sum.round_ties_even() - 2.0).clamp(-128.0, 127.0) as i8);
        }
    }
    let output: Vec<i8> = run(&graph, &[&input]).iter().map(|b| b.cast_signed()).collect();
    assert_eq!(output, want);
}

#[test]
fn two_inputs_by_their_names() {
    let graph = fleetfoot_import::onnx::onnx(&onnx::two_inputs().to_bytes()).unwrap();
    let names: Vec<&str> = graph.inputs.iter().map(|&id| &graph.tensor(id).name[..]).collect();
    assert_eq!(names, ["a", "b"]);
    let (a, b) = ([0i8, 1, 2, -7, 100, -128], [2i8, 4, 6, 8, 127, -128]);
    // (a * 0.5 + (b - 2) * 0.25) / 0.5 - 1
    let want = [0.0f32, 2.0, 4.0, -4.0, 162.5, -193.0].map(|v| (v.round_ties_even() - 1.0).clamp(-128.0, 127.0) as i8);
    let output = run(&graph, &[&a.map(i8::cast_unsigned), &b.map(i8::cast_unsigned)]);
    assert_eq!(output.iter().map(|b| b.cast_signed()).collect::<Vec<_>>(), want);
}

fn run(graph: &Graph, inputs: &[&[u8]]) -> Vec<u8> {
    let plan = fleetfoot_plan::plan(graph).unwrap();
    let model = Arc::new(Model::open_unsigned(&plan).unwrap());
    let mut session = Session::new(model, Kernels::detect()).unwrap();
    session.run_batch(inputs).unwrap().remove(0)
}
