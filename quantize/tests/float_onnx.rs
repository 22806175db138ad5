//! Float ONNX to int8: a small network of the repository, the reference networks where they are, and what is refused.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use std::{collections::BTreeMap, fs, sync::Arc};

use fleetfoot::{Kernels, Model as Runnable, Session};
use fleetfoot_import::onnx::model::{Attribute, Constant, Dim, Model, Node, Port, Type};
use fleetfoot_quantize::{BiasCorrection, Data, Ffm, Method, Options, QuantizeError, Quantized, quantize};
use fleetfoot_tests::shared;

/// A folder with digits as data.
fn data(count: usize) -> (tempfile::TempDir, Data) {
    let (x, _) = support::digits();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    support::write_npz(&path, &x[..count * 64], &[8, 8, 1], None);
    let data = Data::open(&path).unwrap();
    (folder, data)
}

fn made(bytes: &[u8], data: &Data, options: &Options) -> Result<Quantized, QuantizeError> {
    quantize(bytes, data, options, &mut |_, _| {})
}

/// How many of the held-out digits behind the first hundred the network gets right.
fn right(made: &Quantized) -> usize {
    let (x, y) = support::digits();
    let plan = fleetfoot_plan::plan(&made.graph).unwrap();
    let model = Arc::new(Runnable::open_unsigned(&plan).unwrap());
    let mut session = Session::new(model.clone(), Kernels::detect()).unwrap();
    let door = model.engine().input(0).unwrap().clone();
    let quantized = |v: &f32| ((v / door.scale).round_ties_even() + door.zero_point as f32).clamp(-128.0, 127.0) as i8;
    let is_right = |(image, &label): (&[f32], &u8)| {
        let bytes: Vec<u8> = image.iter().map(|v| quantized(v).cast_unsigned()).collect();
        session.set_input(0, &bytes).unwrap();
        session.run().unwrap();
        let output: Vec<i8> = session.output(0).unwrap().iter().map(|b| b.cast_signed()).collect();
        let best = (0..output.len()).rev().max_by_key(|&i| output[i]).unwrap();
        best == usize::from(label)
    };
    x.chunks_exact(64).zip(&y).skip(100).map(is_right).filter(|r| *r).count()
}

fn right_in_float(made: &Quantized) -> usize {
    let (x, y) = support::digits();
    let reference = made.reference().unwrap();
    let best = |image: &[f32]| {
        let output = reference.run(image).unwrap().concat();
        (0..output.len()).rev().max_by(|&a, &b| output[a].total_cmp(&output[b])).unwrap()
    };
    x.chunks_exact(64).zip(&y).skip(100).filter(|(image, label)| best(image) == usize::from(**label)).count()
}

#[test]
fn digits_stay_as_good_with_every_method() {
    let (_folder, data) = data(100);
    for name in ["digits_v1", "digits_v2"] {
        let bytes = support::float_network(name).to_bytes();
        for method in [Method::MinMax, Method::Percentile, Method::Entropy, Method::Mse] {
            let made = made(&bytes, &data, &Options { method, ..Options::default() }).unwrap();
            let (float, int8) = (right_in_float(&made), right(&made));
            assert!(float > 315, "{name}: float gets {float} of 350");
            assert!(int8 + 6 >= float, "{name} {method:?}: float gets {float} of 350 right, int8 {int8}");
            assert!(made.sqnr_db > 15.0, "{name} {method:?}: {} dB", made.sqnr_db);
            assert!(made.layers.iter().all(|l| l.isolated_db > 20.0), "{name} {method:?}: {:?}", made.layers);
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_and_the_file_comes_back() {
    let (_folder, data) = data(50);
    let bytes = support::float_network("digits_v2").to_bytes();
    let file = || {
        let made = made(&bytes, &data, &Options::default()).unwrap();
        let plan = fleetfoot_plan::plan(&made.graph).unwrap();
        Ffm { plan, source_sha256: [7; 32], data_sha256: made.data_sha256, config: made.options.text() }.to_bytes()
    };
    // On another thread, too.
    let (one, two) = std::thread::scope(|scope| (file(), scope.spawn(file).join().unwrap()));
    assert_eq!(one, two);
    let read = Ffm::parse(&one).unwrap();
    assert_eq!(read.to_bytes(), one);
    assert_eq!(read.source_sha256, [7; 32]);
    assert!(read.config.contains("method=mse bias_correction=analytic"), "{}", read.config);
    for at in [0, 8, 12, 16, 20, 25, 57, 89, 104, one.len() - 1] {
        let mut damaged = one.clone();
        damaged[at] ^= 1;
        assert_eq!(Ffm::parse(&damaged).unwrap_err().code(), 574, "byte {at}");
    }
    for len in [0, 7, 103, 104, one.len() - 1] {
        assert_eq!(Ffm::parse(&one[..len]).unwrap_err().code(), 574, "{len} bytes");
    }
}

#[test]
fn correcting_biases_brings_means_back() {
    let (_folder, data) = data(100);
    let mut network = support::float_network("digits_v2");
    // The weights lie on int8 steps; now they lie between them, more often above.
    for constant in network.constants.values_mut().filter(|c| c.shape.len() >= 2) {
        let mut values = constant.to_floats().unwrap();
        let most = values.iter().fold(0f32, |a, b| a.max(b.abs()));
        let shifted = |(i, v): (usize, &mut f32)| *v += most / 127.0 * [0.45, 0.3, -0.2, 0.4][i % 4];
        values.iter_mut().enumerate().for_each(shifted);
        *constant = Constant::floats(&constant.shape, &values);
    }
    let bytes = network.to_bytes();
    let of = |bias_correction| made(&bytes, &data, &Options { bias_correction, ..Options::default() }).unwrap();
    let (with, without) = (of(BiasCorrection::Analytic), of(BiasCorrection::Off));
    let mean = |made: &Quantized| made.layers.iter().map(|l| l.accumulated_db).sum::<f64>() / made.layers.len() as f64;
    assert!(mean(&with) > mean(&without) + 1.0, "{} {}", mean(&with), mean(&without));
}

/// One node over `[1, 4]`, with constants.
fn small(op: &str, constants: &[(&str, Constant)]) -> Model {
    let port = |name: &str| Port { name: name.into(), dtype: Type::Float32, dims: vec![Dim::Fixed(1), Dim::Fixed(4)] };
    let inputs = std::iter::once("x".to_owned()).chain(constants.iter().map(|(name, _)| (*name).to_owned())).collect();
    let node = Node { op: op.into(), name: "only".into(), inputs, outputs: vec!["y".into()], ..Node::default() };
    let constants = constants.iter().map(|(name, constant)| ((*name).to_owned(), constant.clone())).collect();
    Model { opset: 17, nodes: vec![node], constants, inputs: vec![port("x")], outputs: vec![port("y")] }
}

#[test]
fn what_cannot_be_quantized_is_refused_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let check = |what: &str, model: &Model, x: &[f32], code: u16, says: &str| {
        support::write_npz(&path, x, &[4], None);
        let error = Data::open(&path).and_then(|data| made(&model.to_bytes(), &data, &Options::default())).unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.to_string().contains(says), "{what}: {error}");
    };
    let weights = |values: &[f32]| small("MatMul", &[("w", Constant::floats(&[4, 2], values))]);
    let good = weights(&[1.0, -1.0, 0.5, 0.25, -0.5, 2.0, 1.0, 3.0]);
    let x = [0.5, 1.0, -1.0, 2.0, 1.5, 0.0, 1.0, -2.0];
    support::write_npz(&path, &x, &[4], None);
    made(&good.to_bytes(), &Data::open(&path).unwrap(), &Options::default()).unwrap();

    check("NaN in the weights", &weights(&[f32::NAN; 8]), &x, 571, "'w'");
    check("a constant output", &weights(&[0.0; 8]), &x, 573, "for all 2 samples");
    check("no sample", &good, &[], 567, "no sample");
    check("a sample of NaN", &good, &[0.0, 1.0, f32::NAN, 1.0], 568, "sample 0");
    check("an operator without int8 arithmetic", &small("Sin", &[]), &x, 537, "Sin");
    let mut named = good.clone();
    named.inputs[0].dims[1] = Dim::Named("width".into());
    check("a dynamic dimension", &named, &x, 540, "dimension 1 ('width')");
    let mut old = good.clone();
    old.opset = 9;
    check("an old opset", &old, &x, 534, "version 9");
    let mut wide = good.clone();
    wide.inputs[0].dims[1] = Dim::Fixed(5);
    check("samples of another shape", &wide, &x, 566, "[5]");
    let mut two = good;
    let second = Port { name: "second".into(), ..two.inputs[0].clone() };
    two.inputs.push(second);
    check("two inputs", &two, &x, 562, "2 inputs");
}

#[test]
fn normalisations_borders_and_biases_are_folded() {
    // Pad, Conv, BatchNormalization, Add of a constant per channel, HardSigmoid.
    let node = |op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]| Node {
        op: op.into(),
        inputs: inputs.iter().map(|i| (*i).to_owned()).collect(),
        outputs: vec![output.into()],
        attributes: attributes.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect(),
        ..Node::default()
    };
    let ramp = |n: usize, from: f32, step: f32| (0..n).map(|i| from + step * i as f32).collect::<Vec<f32>>();
    let constants: BTreeMap<String, Constant> = [
        ("pads", Constant::ints(&[0, 0, 1, 1, 0, 0, 1, 1])),
        ("w", Constant::floats(&[2, 1, 3, 3], &ramp(18, -0.8, 0.11))),
        ("gamma", Constant::floats(&[2], &[1.5, -0.5])),
        ("beta", Constant::floats(&[2], &[0.1, 0.2])),
        ("mean", Constant::floats(&[2], &[0.3, -0.4])),
        ("variance", Constant::floats(&[2], &[0.5, 2.0])),
        ("more", Constant::floats(&[2, 1, 1], &[0.25, -0.75])),
    ]
    .map(|(name, constant)| (name.to_owned(), constant))
    .into();
    let hard = [("alpha", Attribute::Float(1.0 / 6.0)), ("beta", Attribute::Float(0.5))];
    let nodes = vec![
        node("Pad", &["x", "pads"], "padded", &[]),
        node("Conv", &["padded", "w"], "conv", &[]),
        node("BatchNormalization", &["conv", "gamma", "beta", "mean", "variance"], "norm", &[]),
        node("Add", &["norm", "more"], "sum", &[]),
        node("HardSigmoid", &["sum"], "y", &hard),
    ];
    let fixed = |dims: &[usize]| dims.iter().map(|&d| Dim::Fixed(d)).collect();
    let port = |name: &str, dims: &[usize]| Port { name: name.into(), dtype: Type::Float32, dims: fixed(dims) };
    let model = Model {
        opset: 17,
        nodes,
        constants,
        inputs: vec![port("x", &[1, 1, 6, 6])],
        outputs: vec![port("y", &[1, 2, 6, 6])],
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let x: Vec<f32> = (0..36 * 20).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0).collect();
    support::write_npz(&path, &x, &[1, 6, 6], None);
    let made = made(&model.to_bytes(), &Data::open(&path).unwrap(), &Options::default()).unwrap();
    let ops: Vec<&str> = made.layers.iter().map(|l| &l.op[..]).collect();
    assert_eq!(ops, ["Conv", "Add", "Mul"]);
    assert!(made.layers.iter().all(|l| l.accumulated_db > 25.0), "{:?}", made.layers);
}

#[test]
fn reference_networks_lose_little() {
    let Some(network) = shared("models/mlperf-tiny/ic_fp32.onnx") else { return };
    let data = Data::open(&shared("data/cifar10_calibration_400.npz").unwrap()).unwrap();
    let bytes = fs::read(network).unwrap();
    let made = made(&bytes, &data, &Options::default()).unwrap();
    let plan = fleetfoot_plan::plan(&made.graph).unwrap();
    let (data_sha256, config) = (made.data_sha256, made.options.text());
    let file = Ffm { plan: plan.clone(), source_sha256: [0; 32], data_sha256, config }.to_bytes();
    assert!((file.len() as f64) <= 0.27 * bytes.len() as f64, "{} of {}", file.len(), bytes.len());
    let test = Data::open(&shared("data/cifar10_test_2000.npz").unwrap()).unwrap();
    let labels = test.labels(2000, 10).unwrap();
    let model = Arc::new(Runnable::open_unsigned(&plan).unwrap());
    let mut session = Session::new(model.clone(), Kernels::detect()).unwrap();
    let door = model.engine().input(0).unwrap().clone();
    let mut right = 0;
    test.each(32 * 32 * 3, 2000, |number, sample| {
        let q =
            |v: &f32| ((v * (1.0 / door.scale)).round_ties_even() + door.zero_point as f32).clamp(-128.0, 127.0) as i8;
        let bytes: Vec<u8> = sample.iter().map(|v| q(v).cast_unsigned()).collect();
        session.set_input(0, &bytes).unwrap();
        session.run().unwrap();
        let output: Vec<i8> = session.output(0).unwrap().iter().map(|b| b.cast_signed()).collect();
        let best = (0..output.len()).rev().max_by_key(|&i| output[i]).unwrap();
        right += usize::from(best as i64 == labels[number]);
        Ok(())
    })
    .unwrap();
    // Float gets 1537 right, the vendor's own int8 network 1536.
    assert!(right >= 1527, "{right} of 2000");
}
