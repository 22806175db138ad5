//! Models with one kind of fault each, and every line that their owner is told. `data/make_models.py` makes them.
#![allow(clippy::unwrap_used, reason = "a model that cannot be read must fail the test")]

use std::{fs, path::PathBuf};

use fleetfoot_import::{ImportError, tflite};

fn read(name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{name}.tflite"))).unwrap()
}

fn check(name: &str, code: u16, lines: &[&str]) {
    let error = tflite(&read(name)).expect_err(name);
    assert_eq!(error.to_string().lines().collect::<Vec<_>>(), lines, "{name}");
    assert_eq!(error.code(), code, "{name}");
    assert_eq!(error.problems().len(), lines.len(), "{name}");
}

#[test]
fn all_operators_are_imported() {
    let graph = tflite(&read("all_operators")).unwrap();
    let names: Vec<&str> = graph.ops.iter().map(|op| op.kind.name()).collect();
    let first = ["PAD", "CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "SUB", "MEAN", "LOGISTIC", "MUL"];
    let second = ["MAX_POOL_2D", "AVERAGE_POOL_2D", "HARD_SWISH", "TANH", "RESHAPE", "FULLY_CONNECTED"];
    assert_eq!(names, [&first[..], &second, &["RESHAPE", "RESHAPE", "SOFTMAX", "QUANTIZE"]].concat());
    // Three operators of shape arithmetic went away; positions are still those of the file.
    let positions: Vec<usize> = graph.ops.iter().map(|op| op.position).collect();
    assert_eq!(positions, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 17, 18, 19, 20]);
}

#[test]
fn a_float_input_that_is_quantized_at_once_is_imported() {
    let graph = tflite(&read("float_door")).unwrap();
    assert_eq!(graph.ops.iter().map(|op| op.kind.name()).collect::<Vec<_>>(), ["QUANTIZE", "CONV_2D"]);
    assert_eq!(graph.tensor(graph.inputs[0]).dtype.name(), "float32");
}

#[test]
fn every_fault_is_named() {
    check(
        "add_ratio",
        530,
        &[
            "operator 0 (ADD, writes 'y'): first input scale / output scale is 5.0000003e2, outside of 0.0009765625 .. 256",
            "operator 0 (ADD, writes 'y'): second input scale / output scale is 5.0000003e2, outside of 0.0009765625 .. 256",
        ],
    );
    check("bias_int64", 522, &["tensor 'b' is int64, int32 is supported here"]);
    check("float16", 522, &["tensor 'x' is float16, int8 or uint8 is supported here"]);
    check(
        "float_inside",
        521,
        &[
            "1 tensors are float32 although others are quantized, for example 'inside': convert again with converter.representative_dataset, converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8] and converter.inference_input_type = converter.inference_output_type = tf.int8",
        ],
    );
    check(
        "float_model",
        520,
        &[
            "the model is float32 (4 tensors, for example 'x'): quantize it first; with TensorFlow set converter.optimizations = [tf.lite.Optimize.DEFAULT], converter.representative_dataset, converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8] and converter.inference_input_type = converter.inference_output_type = tf.int8",
        ],
    );
    check(
        "fused_tanh",
        519,
        &["operator 0 (CONV_2D, writes 'y'): a fused activation other than RELU, RELU_N1_TO_1 and RELU6"],
    );
    check(
        "hard_swish",
        519,
        &["operator 0 (HARD_SWISH, writes 'y'): its output scale is not between 1/128 and 512 times its input scale"],
    );
    check(
        "lengths",
        525,
        &[
            "tensor 'w' is int8[2, 3, 3, 2]: 36 bytes expected, 33 present",
            "tensor 'b' is int32[2]: 8 bytes expected, 5 present",
        ],
    );
    check("mixed_types", 519, &["operator 0 (CONV_2D, writes 'y'): its operands have different types"]);
    check(
        "mul_ratio",
        530,
        &[
            "operator 0 (MUL, writes 'y'): product of input scales / output scale is 2.5000002e3, outside of 0.000015258789 .. 256",
        ],
    );
    check(
        "multiplier",
        530,
        &["operator 0 (CONV_2D, writes 'y'): input scale x weight scale / output scale is 2.56e2, outside of 0 .. 256"],
    );
    check("no_outputs", 531, &["the model has no outputs"]);
    check(
        "no_scale",
        523,
        &[
            "tensor 'x' is int8 but has no scale: the model is not fully quantized",
            "tensor 'w' is int8 but has no scale: the model is not fully quantized",
        ],
    );
    check(
        "order",
        528,
        &[
            "operator 0 (CONV_2D): tensor 'z' is read but no earlier operator writes it",
            "operator 1 (CONV_2D): tensor 'x' is written twice",
        ],
    );
    check("per_channel_activation", 524, &["tensor 'x': it has a scale per channel, which only weights may have"]);
    check(
        "quantization",
        524,
        &[
            "tensor 'x': it has a scale that is not a positive number",
            "tensor 'w': it has neither one scale nor one per channel",
            "tensor 'b': it has a custom or blockwise quantization, which is not supported",
            "tensor 'y': it has a zero point outside of its type",
        ],
    );
    check(
        "reshape",
        519,
        &["operator 0 (RESHAPE, writes 'y'): the shape that it is given is not the shape of its result"],
    );
    check(
        "shape_is_output",
        528,
        &["operator 1 (model): tensor 'y' is computed from a shape: only a reshape may use that"],
    );
    check(
        "shapes",
        526,
        &[
            "tensor 'x' has shape [1, 0, 4, 2]: extents must be positive, at most 6 of them, with at most 2^30 elements",
            "tensor 'w' has shape [65536, 65536, 65536, 65536]: extents must be positive, at most 6 of them, with at most 2^30 elements",
            "tensor 'b' has shape [-2]: extents must be positive, at most 6 of them, with at most 2^30 elements",
            "tensor 'y' has shape [1, 1, 1, 1, 1, 1, 1]: extents must be positive, at most 6 of them, with at most 2^30 elements",
        ],
    );
    check(
        "shuffled_weights",
        519,
        &["operator 0 (FULLY_CONNECTED, writes 'y'): its weights are shuffled: convert without shuffled weights"],
    );
    check(
        "softmax",
        519,
        &[
            "operator 0 (SOFTMAX, writes 'y'): its factor beta is not a positive number",
            "operator 0 (SOFTMAX, writes 'y'): its int8 result has not scale 1/256 and zero point -128",
        ],
    );
    check(
        "storage",
        527,
        &[
            "tensor 'x': it keeps state between inferences, which is not supported",
            "tensor 'w': it is sparse, which is not supported: convert without sparsity",
            "tensor 'b': its contents are outside of the model (a file over 2 GB, or external buffers), which is not supported",
        ],
    );
    check("stride", 519, &["operator 0 (CONV_2D, writes 'y'): a kernel, stride or dilation outside of 1 to 65535"]);
    check("split", 519, &["operator 0 (SPLIT, writes 'y'): a part that its operand does not have"]);
    check("transpose", 519, &["operator 0 (TRANSPOSE, writes 'y'): an order that is no permutation of its dimensions"]);
    check("uint8_elu", 519, &["operator 0 (ELU, writes 'y'): it is defined for int8 only"]);
    check("two_subgraphs", 516, &["the model has 2 subgraphs, one is supported"]);
    check(
        "uint8_depthwise_axis",
        519,
        &[
            "operator 0 (DEPTHWISE_CONV_2D, writes 'y'): its uint8 weights have one scale, but a quantized dimension other than 0",
        ],
    );
    check("uint8_per_channel", 519, &["operator 0 (CONV_2D, writes 'y'): its uint8 weights are quantized per channel"]);
    check(
        "unsupported_operators",
        518,
        &[
            "operator 0 (COS, writes 'y') is not supported",
            "operator 1 (CUSTOM 'My�Op', writes 'z') is not supported",
            "operator 2 (builtin operator 208, writes 'u') is not supported",
        ],
    );
    check("version", 515, &["the file has schema version 2, version 3 is supported"]);
    check(
        "weight_zero_point",
        529,
        &["operator 0 (CONV_2D): int8 weights 'w' have zero point 5 in channel 1, 0 is supported"],
    );
    check("weights_not_constant", 519, &["operator 0 (CONV_2D, writes 'y'): its weights are not constant"]);
    check(
        "wrong_axis",
        519,
        &["operator 0 (CONV_2D, writes 'y'): its weights are quantized along another dimension than output channels"],
    );
}

/// Graphs that no order of execution makes sense of.
#[test]
fn hostile_graphs_are_named() {
    check("cycle", 528, &["operator 0 (CONV_2D): tensor 'z' is read but no earlier operator writes it"]);
    check("self_loop", 528, &["operator 0 (CONV_2D): tensor 'y' is read but no earlier operator writes it"]);
    check("unwritten_output", 528, &["operator 1 (model): tensor 'u' is read but no earlier operator writes it"]);
    check(
        "inputs",
        528,
        &["operator 0 (model): tensor 'x' is written twice", "operator 0 (model): tensor 'w' is constant but written"],
    );
    check(
        "no_result",
        519,
        &[
            "operator 0 (CONV_2D, writes ''): it has not exactly one result",
            "operator 1 (model): tensor 'y' is read but no earlier operator writes it",
        ],
    );
    check(
        "border",
        519,
        &["operator 0 (PAD, writes 'y'): a border that is negative, over 65535, or not two numbers per dimension"],
    );
    let index = |name: &str, want: &str| {
        let error = tflite(&read(name)).expect_err(name);
        assert_eq!((error.code(), error.to_string()), (503, want.into()), "{name}");
    };
    index("tensor_index", "damaged .tflite: tensor 99 is named, there are 4");
    index("operator_index", "damaged .tflite: operator code 7 is named, there are 1");
    index("buffer_index", "damaged .tflite: buffer 50 is named, there are 3");
    for (field, what) in [(0, "tensors"), (3, "operators")] {
        let error = tflite(&repeated(field, (1 << 16) + 1)).expect_err(what);
        assert_eq!((error.code(), error.to_string()), (517, format!("65537 {what}, the limit is 65536")));
    }
}

/// The model `cycle` whose subgraph has one element of vector `field` so many times: a vector behind the file, whose offsets all lead to
/// one table behind the vector.
fn repeated(field: usize, count: u32) -> Vec<u8> {
    let mut bytes = read("cycle");
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
    let vtable = |bytes: &[u8], table: usize| (table as i64 - i64::from(word(bytes, table) as u32 as i32)) as usize;
    let place = |bytes: &[u8], table: usize, field: usize| {
        let entry = vtable(bytes, table) + 4 + 2 * field;
        table + usize::from(u16::from_le_bytes(*bytes[entry..].first_chunk().unwrap()))
    };
    let root = word(&bytes, 0);
    let subgraphs = place(&bytes, root, 2);
    let first = |bytes: &[u8], at: usize| {
        let element = at + word(bytes, at) + 4;
        element + word(bytes, element)
    };
    let subgraph = first(&bytes, subgraphs);
    let vector = place(&bytes, subgraph, field);
    let table = first(&bytes, vector);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let start = bytes.len();
    let copy = start + 4 + 4 * count as usize;
    bytes.extend(count.to_le_bytes());
    (0..count as usize).for_each(|i| bytes.extend(((copy - (start + 4 + 4 * i)) as u32).to_le_bytes()));
    // A table of the same description as the first of the old vector, all its bytes zero: nobody reads it.
    let empty = ((copy - vtable(&bytes, table)) as u32).to_le_bytes();
    bytes.extend(empty);
    bytes.resize(copy + 256, 0);
    bytes[vector..vector + 4].copy_from_slice(&((start - vector) as u32).to_le_bytes());
    bytes
}

#[test]
fn structural_faults_are_named() {
    let check = |from: usize, to: usize, byte: u8, want: &str| {
        let mut bytes = read("all_operators");
        bytes[from..to].fill(byte);
        assert_eq!(tflite(&bytes).expect_err(want).to_string(), want);
    };
    check(0, 4, 0xff, "damaged or truncated .tflite: the root at byte 4294967295");
    let error = tflite(&read("all_operators")[..1000]).unwrap_err();
    assert!(matches!(error, ImportError::Malformed { .. }), "{error}");
    assert_eq!(error.code(), 501);
    // 40 constants of 16 KiB that share one buffer.
    let error = tflite(&read("shared_contents")).unwrap_err();
    assert!(matches!(error, ImportError::Amplified { .. }), "{error}");
    assert_eq!(error.code(), 504);
    let error = tflite(b"PK\x03\x04").unwrap_err();
    assert_eq!(
        (error.code(), error.to_string()),
        (500, "not a .tflite file but a ZIP archive: unpack it and give the model within".into())
    );
}
