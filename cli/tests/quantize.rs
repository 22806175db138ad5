//! From a float network to a signed bundle and what is said of it: reports, gates, teachers, differences, exports; and bad input.

mod support;

use std::{collections::BTreeMap, fs};

use fleetfoot_import::onnx::model::{Attribute, Constant, Dim, Model, Node, Port, Type};
use npyz::WriterBuilder as _;
use support::{Ran, World};

const SIDE: usize = 6;

fn numbers(n: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32 - 0.5) * scale
    };
    (0..n).map(|_| next()).collect()
}

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    let inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
    Node { name: output.into(), op: op.into(), inputs, outputs: vec![output.into()], ..Node::default() }
}

fn port(name: &str, dims: Vec<Dim>) -> Port {
    Port { name: name.into(), dtype: Type::Float32, dims }
}

/// A convolution of two channels, and four classes.
fn network() -> Model {
    let mut conv = node("Conv", &["x", "w", "b"], "conv");
    conv.attributes.insert("pads".into(), Attribute::Ints(vec![1; 4]));
    let area = 6 * SIDE * SIDE;
    let constants: BTreeMap<String, Constant> = [
        ("w", Constant::floats(&[6, 2, 3, 3], &numbers(108, 1, 1.0))),
        ("b", Constant::floats(&[6], &numbers(6, 2, 0.5))),
        ("v", Constant::floats(&[area, 4], &numbers(area * 4, 3, 0.5))),
    ]
    .map(|(name, constant)| (name.to_owned(), constant))
    .into();
    let nodes = vec![
        conv,
        node("Relu", &["conv"], "relu"),
        node("Flatten", &["relu"], "flat"),
        node("Gemm", &["flat", "v"], "y"),
    ];
    let dims = [1, 2, SIDE, SIDE].map(Dim::Fixed).to_vec();
    Model { opset: 17, nodes, constants, inputs: vec![port("x", dims)], outputs: vec![port("y", Vec::new())] }
}

fn write_npz(world: &World, name: &str, x: &[f32], shape: &[u64], y: Option<&[i64]>) {
    let mut archive = npyz::npz::NpzWriter::create(world.path(name)).expect("created");
    let mut writer = archive
        .array("x", Default::default())
        .expect("an array")
        .default_dtype()
        .shape(shape)
        .begin_nd()
        .expect("begun");
    writer.extend(x).expect("written");
    writer.finish().expect("finished");
    if let Some(y) = y {
        let shape = [y.len() as u64];
        let writer = archive.array("y", Default::default()).expect("an array").default_dtype().shape(&shape);
        let mut writer = writer.begin_nd().expect("begun");
        writer.extend(y).expect("written");
        writer.finish().expect("finished");
    }
}

/// A folder with `m.onnx`, `x.npz` and `d.npz`, whose labels are all 0.
fn world() -> World {
    let world = World::new();
    fs::write(world.path("m.onnx"), network().to_bytes()).expect("written");
    let shape = |n: u64| [n, 2, SIDE as u64, SIDE as u64];
    write_npz(&world, "x.npz", &numbers(30 * 72, 7, 2.0), &shape(30), None);
    write_npz(&world, "d.npz", &numbers(40 * 72, 8, 2.0), &shape(40), Some(&[0; 40]));
    world
}

fn quantize(world: &World, more: &[&str]) -> Ran {
    world.run(&[&["--json", "quantize", "m.onnx", "--data", "x.npz", "-o", "m.ffm"], more].concat())
}

#[test]
fn a_report_for_machines_and_one_for_people() {
    let world = world();
    let ran = quantize(&world, &["--eval", "d.npz", "--report", "r.html", "--apply"]).ok().json();
    for key in [
        "model",
        "float_islands",
        "size_ratio",
        "evaluated",
        "float_correct",
        "int8_correct",
        "sqnr_db",
        "peak_rss_bytes",
    ] {
        assert!(!ran[key].is_null(), "{key}: {ran}");
    }
    assert_eq!(ran["float_islands"], 0);
    assert_eq!(ran["evaluated"], 40);
    assert!(ran["sqnr_db"].as_f64().is_some_and(|db| db > 25.0), "{ran}");
    assert!(ran["speed"]["predicted"].as_f64().is_some_and(|s| s > 0.0));
    let layers = ran["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 2);
    for key in
        ["name", "op", "rank", "isolated_db", "accumulated_db", "saturated", "channel_ratio", "macs", "bytes", "causes"]
    {
        assert!(!layers[0][key].is_null(), "{key}: {}", layers[0]);
    }
    assert_eq!(layers[0]["macs"], 6 * 2 * 9 * 36);
    let page = fs::read_to_string(world.path("r.html")).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.contains("m.onnx"), "{page}");
    let people = world.run(&["quantize", "m.onnx", "--data", "x.npz", "-o", "again.ffm"]).ok().stdout;
    for words in ["rank", "float islands: 0", "SQNR of the output", "times as fast here", "of the float model"] {
        assert!(people.contains(words), "{words}: {people}");
    }
    assert_eq!(fs::read(world.path("m.ffm")).ok(), fs::read(world.path("again.ffm")).ok(), "nothing had to be applied");
}

#[test]
fn an_accuracy_that_is_lost_is_refused() {
    let world = world();
    // Labels that float gets right: int8 with a single scale and one sample of another size for calibration does not.
    let answers = world.run(&["--json", "eval", "m.onnx", "--data", "d.npz"]);
    assert_eq!(answers.code, 4, "a float model has no int8 answers: {}", answers.stderr);
    write_npz(&world, "tiny.npz", &numbers(72, 9, 0.02), &[1, 2, SIDE as u64, SIDE as u64], None);
    let teach = |label: i64| {
        write_npz(&world, "e.npz", &numbers(40 * 72, 8, 2.0), &[40, 2, SIDE as u64, SIDE as u64], Some(&[label; 40]));
        let args =
            ["--json", "quantize", "m.onnx", "--data", "tiny.npz", "--eval", "e.npz", "--max-drop", "1", "-o", "t.ffm"];
        world.run(&args)
    };
    let refused = (0..4).map(teach).find(|ran| ran.code == 5).expect("one class is lost");
    let json = refused.json();
    assert!(json["float_correct"].as_u64() > json["int8_correct"].as_u64(), "{json}");
    assert_eq!(json["written"], false);
    assert!(refused.stderr.contains("percentage points"), "{}", refused.stderr);
    assert_eq!(world.run(&["quantize", "m.onnx", "--data", "x.npz", "--max-drop", "1", "-o", "t.ffm"]).code, 2);
}

#[test]
fn a_teacher_a_difference_and_exports() {
    let world = world();
    world.keys();
    quantize(&world, &[]).ok();
    let agreed = world.run(&["--json", "eval", "m.ffm", "--data", "x.npz", "--teacher", "m.onnx"]).ok().json();
    assert_eq!(agreed["evaluated"], 30);
    assert!(agreed["correct"].is_null());
    assert!(agreed["agreement"].as_f64().is_some_and(|a| a > 0.85), "{agreed}");
    let itself = world.run(&["--json", "eval", "m.ffm", "--data", "d.npz", "--teacher", "m.ffm"]).ok().json();
    assert_eq!(itself["agreement"], 1.0);
    // Four samples of half the size: other ranges, other answers.
    write_npz(&world, "few.npz", &numbers(4 * 72, 9, 0.2), &[4, 2, SIDE as u64, SIDE as u64], None);
    world.run(&["quantize", "m.onnx", "--data", "few.npz", "-o", "n.ffm"]).ok();
    for (model, bundle, version) in [("m.ffm", "a.ff", "1.0.0"), ("n.ffm", "b.ff", "1.1.0")] {
        let args = ["pack", model, "--name", "net", "--version", version, "--key", "keys/releases.key", "-o", bundle];
        world.run(&args).ok();
    }
    let diff = world.run(&["--json", "diff", "a.ff", "b.ff", "--data", "d.npz"]).ok().json();
    assert_eq!(diff["evaluated"], 40);
    let flips = diff["flips"].as_array().expect("flips");
    assert!(!flips.is_empty() && diff["flipped"] == flips.len(), "{diff}");
    let count = |key: &str| diff[key].as_i64().expect("a number");
    assert_eq!(count("b_correct") - count("a_correct"), count("became_right") - count("became_wrong"));
    assert!(diff["a"]["arena_bytes"].as_u64() > Some(0) && diff["b"]["us"].as_f64() > Some(0.0), "{diff}");
    let same = world.run(&["--json", "diff", "a.ff", "a.ff", "--data", "d.npz"]).ok().json();
    assert_eq!(same["flipped"], 0);
    let inspect =
        world.run(&["--json", "inspect", "a.ff", "--model-card", "card.md", "--sbom", "bom.json"]).ok().json();
    let made = &inspect["provenance"];
    assert!(made["config"].as_str().is_some_and(|c| c.contains("method=mse")), "{made}");
    assert_eq!(made["data_sha256"].as_str().map(str::len), Some(64));
    let card = fs::read_to_string(world.path("card.md")).expect("a card");
    assert!(card.starts_with("# net 1.0.0") && card.contains("method=mse") && card.contains("Release 1"), "{card}");
    let bom: serde_json::Value =
        serde_json::from_slice(&fs::read(world.path("bom.json")).expect("a bill")).expect("JSON");
    assert_eq!(bom["bomFormat"], "CycloneDX");
    assert_eq!(bom["metadata"]["component"]["hashes"][0]["content"], inspect["digest"]);
    assert_eq!(bom["components"][1]["hashes"][0]["content"], made["data_sha256"]);
    assert_eq!(bom["dependencies"][0]["dependsOn"].as_array().map(Vec::len), Some(2));
}

/// Each kind of bad input: exit code, and words that are said.
#[test]
fn bad_input_of_quantize() {
    let world = world();
    let check = |what: &str, args: &[&str], code: i32, words: &[&str]| {
        let ran = world.run(&[&["quantize"], args, &["-o", "out.ffm"]].concat());
        assert_eq!(ran.code, code, "{what}: {}{}", ran.stdout, ran.stderr);
        for word in words {
            assert!(ran.stderr.contains(word), "{what} does not say '{word}': {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("panicked") && !world.path("out.ffm").exists(), "{what}: {}", ran.stderr);
    };
    let with = |name: &str, change: &dyn Fn(&mut Model)| {
        let mut model = network();
        change(&mut model);
        fs::write(world.path(name), model.to_bytes()).expect("written");
    };
    with("odd.onnx", &|m| {
        m.nodes.push(node("Sin", &["y"], "sine"));
        m.nodes.push(node("STFT", &["y"], "spectrum"));
        m.outputs = vec![port("sine", Vec::new()), port("spectrum", Vec::new())];
    });
    check("operators", &["odd.onnx", "--data", "x.npz"], 4, &["sine", "Sin", "spectrum", "STFT", "float islands: 2"]);
    with("middle.onnx", &|m| m.nodes[1].op = "Sin".into());
    check("an island inside", &["middle.onnx", "--data", "x.npz", "--allow-float"], 4, &["Sin", "relu"]);
    with("dynamic.onnx", &|m| m.inputs[0].dims[2] = Dim::Named("height".into()));
    let words = ["dimension 2", "height", "make_dynamic_shape_fixed"];
    check("a dynamic shape", &["dynamic.onnx", "--data", "x.npz"], 4, &words);
    with("nan.onnx", &|m| m.constants.get_mut("w").expect("weights").data[3] = 0x7f);
    with("nan.onnx", &|m| {
        m.constants.get_mut("w").expect("weights").data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    });
    check("NaN", &["nan.onnx", "--data", "x.npz"], 2, &["nan.onnx", "'w'", "earlier checkpoint"]);
    with("zero.onnx", &|m| m.constants.get_mut("v").expect("weights").data.fill(0));
    check("a constant output", &["zero.onnx", "--data", "x.npz"], 5, &["'y'", "constant"]);
    with("opset.onnx", &|m| m.opset = 9);
    check("an old opset", &["opset.onnx", "--data", "x.npz"], 4, &["version 9", "opset_version=17"]);
    let side = SIDE as u64;
    write_npz(&world, "nhwc.npz", &numbers(2 * 72, 5, 1.0), &[2, side, side, 2], None);
    check("another shape", &["m.onnx", "--data", "nhwc.npz"], 2, &["[2, 6, 6]", "[6, 6, 2]", "transpose"]);
    write_npz(&world, "none.npz", &[], &[0, 2, side, side], None);
    check("no sample", &["m.onnx", "--data", "none.npz"], 2, &["none.npz", "no sample"]);
    write_npz(&world, "inf.npz", &[f32::INFINITY; 72], &[1, 2, side, side], None);
    check("infinite data", &["m.onnx", "--data", "inf.npz"], 2, &["inf.npz", "sample 0", "finite"]);
    write_npz(&world, "label.npz", &numbers(72, 5, 1.0), &[1, 2, side, side], Some(&[4]));
    check("a label", &["m.onnx", "--data", "x.npz", "--eval", "label.npz"], 2, &["label.npz", "label 4", "0 to 3"]);
    check("no labels", &["m.onnx", "--data", "x.npz", "--eval", "x.npz"], 2, &["x.npz", "'y'"]);
    check("no data", &["m.onnx", "--data", "missing.npz"], 2, &["missing.npz"]);
    check("a method", &["m.onnx", "--data", "x.npz", "--method", "magic"], 2, &["minmax, percentile, entropy, mse"]);
    for (name, bytes, words) in [
        ("a.pkl", &b"\x80\x04\x95\x0b\0\0\0\0\0\0\0"[..], ["pickle", "torch.onnx.export"]),
        ("a.pt", b"PK\x03\x04\x0a\0\0\0 model/code/ model/data.pkl", ["PyTorch", "torch.jit.load"]),
        ("saved_model.pb", b"\x08\x01\x12\x90\x20\x0a", ["SavedModel", "python -m tf2onnx.convert --saved-model"]),
        ("a.pmml", b"<?xml version=\"1.0\"?><PMML>", ["PMML", "not supported"]),
    ] {
        fs::write(world.path(name), bytes).expect("written");
        check(name, &[name, "--data", "x.npz"], 2, &words);
    }
    quantize(&world, &[]).ok();
    check("a quantized model", &["m.ffm", "--data", "x.npz"], 2, &["m.ffm"]);
}
