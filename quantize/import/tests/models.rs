//! Whole models: those of the examples, and those beside the project where they are.
#![allow(clippy::unwrap_used, reason = "a model that cannot be read must fail the test")]

use std::{collections::BTreeMap, fs, path::PathBuf};

use fleetfoot_import::{FileKind, recognise};
use fleetfoot_plan::graph::Graph;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Imports a model; `None`, said on standard error, where the folder beside the project is absent.
fn import(path: &str) -> Option<Graph> {
    let path = root().join(path);
    if !path.exists() && path.components().any(|c| c.as_os_str() == "shared") {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{} is missing", path.display());
        eprintln!("skipped: {} is not there", path.display());
        return None;
    }
    let graph = fleetfoot_import::tflite(&fs::read(&path).unwrap());
    Some(graph.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// `ops` as `NAME count`, sorted; `input` and `output` as `dtype shape scale zero_point`; `crc` over everything that
/// operators read and write. `data/digest_models.py` prints the rows.
fn check(path: &str, ops: &str, input: &str, output: &str, crc: u32) {
    let Some(graph) = import(path) else { return };
    let mut counts = BTreeMap::new();
    for op in &graph.ops {
        *counts.entry(op.kind.name()).or_insert(0) += 1;
    }
    let counts: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n}")).collect();
    assert_eq!(counts.join(", "), ops, "{path}");
    let describe = |id| {
        let tensor = graph.tensor(id);
        let quant = tensor.quant.as_ref().unwrap();
        let (scale, zero_point) = (quant.scales[0], quant.zero_points[0]);
        format!("{} {:?} {scale:e} {zero_point}", tensor.dtype.name(), tensor.shape)
    };
    assert_eq!(describe(graph.inputs[0]), input, "{path}");
    assert_eq!(describe(graph.outputs[0]), output, "{path}");
    let mut hasher = crc32fast::Hasher::new();
    for op in &graph.ops {
        for tensor in op.inputs.iter().flatten().chain(&op.outputs).map(|&id| graph.tensor(id)) {
            if let Some(quant) = &tensor.quant {
                quant.scales.iter().for_each(|s| hasher.update(&s.to_le_bytes()));
                quant.zero_points.iter().for_each(|z| hasher.update(&z.to_le_bytes()));
            }
            hasher.update(tensor.data.as_deref().unwrap_or_default());
        }
    }
    assert_eq!(hasher.finalize(), crc, "{path}: quantization or contents");
}

#[test]
fn operators_and_quantization_of_real_models() {
    check(
        "examples/digits/digits_v1.tflite",
        "CONV_2D 2, DEPTHWISE_CONV_2D 1, FULLY_CONNECTED 1, RESHAPE 1, SOFTMAX 1",
        "int8 [1, 8, 8, 1] 3.921569e-3 -128",
        "int8 [1, 10] 3.90625e-3 -128",
        0xecb3_f792,
    );
    check(
        "examples/digits/digits_v2.tflite",
        "ADD 2, CONV_2D 4, DEPTHWISE_CONV_2D 2, FULLY_CONNECTED 1, MEAN 1, SOFTMAX 1",
        "int8 [1, 8, 8, 1] 3.921569e-3 -128",
        "int8 [1, 10] 3.90625e-3 -128",
        0x8f3a_fcaa,
    );
    check(
        "../shared/models/imagenet/mobilenet_v1_0.25_128_quant.tflite",
        "AVERAGE_POOL_2D 1, CONV_2D 15, DEPTHWISE_CONV_2D 13, RESHAPE 1, SOFTMAX 1",
        "uint8 [1, 128, 128, 3] 7.8125e-3 128",
        "uint8 [1, 1001] 3.90625e-3 0",
        0x3fda_ec13,
    );
    check(
        "../shared/models/imagenet/tf2_mobilenet_v2_1.0_224_ptq.tflite",
        "ADD 10, CONV_2D 36, DEPTHWISE_CONV_2D 17, MEAN 1, QUANTIZE 2, RESHAPE 1, SOFTMAX 1",
        "uint8 [1, 224, 224, 3] 7.843138e-3 127",
        "uint8 [1, 1001] 3.90625e-3 0",
        0xb8ee_6088,
    );
    check(
        "../shared/models/mlperf-tiny/ad_int8.tflite",
        "FULLY_CONNECTED 10",
        "int8 [1, 640] 3.9101523e-1 89",
        "int8 [1, 640] 3.6449847e-1 96",
        0x0446_1060,
    );
    check(
        "../shared/models/mlperf-tiny/ic_int8.tflite",
        "ADD 3, AVERAGE_POOL_2D 1, CONV_2D 9, FULLY_CONNECTED 1, RESHAPE 1, SOFTMAX 1",
        "int8 [1, 32, 32, 3] 1e0 -128",
        "int8 [1, 10] 3.90625e-3 -128",
        0xace2_78a1,
    );
    check(
        "../shared/models/mlperf-tiny/ic_logits_int8.tflite",
        "ADD 3, AVERAGE_POOL_2D 1, CONV_2D 9, FULLY_CONNECTED 1, RESHAPE 1",
        "int8 [1, 32, 32, 3] 1e0 -128",
        "int8 [1, 10] 1.7185351e-1 24",
        0x314c_4661,
    );
    check(
        "../shared/models/mlperf-tiny/kws_int8.tflite",
        "AVERAGE_POOL_2D 1, CONV_2D 5, DEPTHWISE_CONV_2D 4, FULLY_CONNECTED 1, RESHAPE 1, SOFTMAX 1",
        "int8 [1, 49, 10, 1] 5.847029e-1 83",
        "int8 [1, 12] 3.90625e-3 -128",
        0x366e_86bd,
    );
    check(
        "../shared/models/mlperf-tiny/kws_logits_int8.tflite",
        "AVERAGE_POOL_2D 1, CONV_2D 5, DEPTHWISE_CONV_2D 4, FULLY_CONNECTED 1, RESHAPE 1",
        "int8 [1, 49, 10, 1] 5.847029e-1 83",
        "int8 [1, 12] 1.4469251e-1 14",
        0xd20e_dda8,
    );
    check(
        "../shared/models/mlperf-tiny/vww_int8.tflite",
        "AVERAGE_POOL_2D 1, CONV_2D 14, DEPTHWISE_CONV_2D 13, FULLY_CONNECTED 1, RESHAPE 1, SOFTMAX 1",
        "int8 [1, 96, 96, 3] 3.921569e-3 -128",
        "int8 [1, 2] 3.90625e-3 -128",
        0xe2c0_a6ff,
    );
    check(
        "../shared/models/mlperf-tiny/vww_logits_int8.tflite",
        "AVERAGE_POOL_2D 1, CONV_2D 14, DEPTHWISE_CONV_2D 13, FULLY_CONNECTED 1, RESHAPE 1",
        "int8 [1, 96, 96, 3] 3.921569e-3 -128",
        "int8 [1, 2] 1.4636219e-2 -5",
        0x4620_7ce1,
    );
    check(
        "../shared/models/shapes/efficientnet_lite0_logits_int8.tflite",
        "ADD 9, CONV_2D 33, DEPTHWISE_CONV_2D 16, FULLY_CONNECTED 1, MEAN 1",
        "int8 [1, 224, 224, 3] 7.843136e-3 0",
        "int8 [1, 1000] 1.3124675e-2 3",
        0x2ea2_c5c0,
    );
    check(
        "../shared/models/shapes/mobilenet_v1_1.0_224_logits_int8.tflite",
        "CONV_2D 15, DEPTHWISE_CONV_2D 13, MEAN 1, RESHAPE 1",
        "int8 [1, 224, 224, 3] 7.843136e-3 0",
        "int8 [1, 1000] 1.2182138e-2 -2",
        0x8850_f9c8,
    );
    check(
        "../shared/models/shapes/mobilenet_v2_1.0_224_logits_int8.tflite",
        "ADD 10, CONV_2D 35, DEPTHWISE_CONV_2D 17, FULLY_CONNECTED 1, MEAN 1",
        "int8 [1, 224, 224, 3] 7.843136e-3 0",
        "int8 [1, 1000] 1.4358993e-2 13",
        0x793c_734c,
    );
    check(
        "../shared/models/shapes/mobilenet_v3_small_logits_int8.tflite",
        "ADD 6, CONV_2D 43, DEPTHWISE_CONV_2D 11, HARD_SWISH 19, MEAN 10, MUL 18, RESHAPE 1",
        "int8 [1, 224, 224, 3] 7.843136e-3 0",
        "int8 [1, 1000] 4.2279176e-3 -3",
        0x75ee_8804,
    );
}

#[test]
fn other_files_are_recognised() {
    let check = |path: &str, kind| {
        let path = root().join(path);
        if path.exists() {
            assert_eq!(recognise(&fs::read(&path).unwrap()), kind, "{}", path.display());
        } else {
            assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "{} is missing", path.display());
            eprintln!("skipped: {} is not there", path.display());
        }
    };
    check("examples/digits/digits_v1.golden.npz", FileKind::Npz);
    check("../shared/models/mlperf-tiny/ic_fp32.onnx", FileKind::Onnx);
    check("../shared/models/mlperf-tiny/kws_logits_qdq_s8.onnx", FileKind::Onnx);
    check("../shared/models/shapes/mobilenet_v2_1.0_224_logits_fp32.onnx", FileKind::Onnx);
    check("../shared/models/imagenet/mobilenet_v1_0.25_128_quant.golden.npz", FileKind::Npz);
    check("../shared/models/imagenet/labels.txt", FileKind::Unknown);
}
