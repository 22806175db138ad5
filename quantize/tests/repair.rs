//! What is lost is found and mended: networks with a planted fault, made here from a seed.
#![allow(clippy::unwrap_used, reason = "this is a test")]

mod support;

use fleetfoot_import::onnx::model::{Attribute, Constant, Dim, Model, Node, Port, Type};
use fleetfoot_quantize::{BiasCorrection, Cause, Data, Method, Options, QuantizeError, Quantized, mend, quantize};

/// Numbers around zero, as even as the sum of four dice.
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        let mut one = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 40) as f32 / (1 << 24) as f32 - 0.5
        };
        one() + one() + one() + one()
    }

    fn many(&mut self, n: usize, scale: f32) -> Vec<f32> {
        (0..n).map(|_| self.next() * scale).collect()
    }
}

const SIDE: usize = 8;

/// A network that grows layer by layer.
struct Net {
    model: Model,
    random: Random,
    last: String,
    channels: usize,
}

impl Net {
    fn new(seed: u64, channels: usize) -> Self {
        let dims = [1, channels, SIDE, SIDE].map(Dim::Fixed).to_vec();
        let port = Port { name: "x".into(), dtype: Type::Float32, dims };
        let model = Model { opset: 17, inputs: vec![port], ..Model::default() };
        Self { model, random: Random(seed), last: "x".into(), channels }
    }

    fn node(&mut self, op: &str, name: &str, more: &[String], attributes: &[(&str, Attribute)]) {
        let inputs = std::iter::once(self.last.clone()).chain(more.iter().cloned()).collect();
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let outputs = vec![name.to_owned()];
        self.model.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs,
            outputs,
            attributes,
            ..Node::default()
        });
        self.last = name.into();
    }

    /// A convolution, depthwise without `outputs`, and Relu.
    fn conv(&mut self, name: &str, outputs: Option<usize>, kernel: usize) {
        let n = outputs.unwrap_or(self.channels);
        let (inner, group) = if outputs.is_some() { (self.channels, 1) } else { (1, self.channels) };
        let fan = (inner * kernel * kernel) as f32;
        let weights = self.random.many(n * inner * kernel * kernel, 2.0 / fan.sqrt());
        let bias = self.random.many(n, 0.2);
        let constants = &mut self.model.constants;
        constants.insert(format!("{name}.w"), Constant::floats(&[n, inner, kernel, kernel], &weights));
        constants.insert(format!("{name}.b"), Constant::floats(&[n], &bias));
        let pad = (kernel / 2) as i64;
        let attributes = [("pads", Attribute::Ints(vec![pad; 4])), ("group", Attribute::Int(group as i64))];
        self.node("Conv", name, &[format!("{name}.w"), format!("{name}.b")], &attributes);
        self.node("Relu", &format!("{name}.relu"), &[], &[]);
        self.channels = n;
    }

    /// An average over rows and columns, and ten classes.
    fn finish(mut self) -> Model {
        self.node("GlobalAveragePool", "mean", &[], &[]);
        self.node("Flatten", "flat", &[], &[]);
        let weights = self.random.many(self.channels * 10, 1.0);
        self.model.constants.insert("classes.w".into(), Constant::floats(&[self.channels, 10], &weights));
        self.node("Gemm", "classes", &["classes.w".to_owned()], &[]);
        self.model.outputs = vec![Port { name: "classes".into(), dtype: Type::Float32, dims: Vec::new() }];
        self.model
    }
}

/// Multiplies output channel `c` of `first` by `factor(c)` and divides what `second` makes of it: the network stays the same.
fn unbalance(model: &mut Model, first: &str, second: &str, depthwise: bool, factor: impl Fn(usize) -> f32) {
    let mut change = |name: String, of: &dyn Fn(usize, &[usize]) -> f32| {
        let constant = model.constants.get_mut(&name).unwrap();
        let shape = constant.shape.clone();
        let values = constant.to_floats().unwrap();
        let values: Vec<f32> = values.iter().enumerate().map(|(i, v)| v * of(i, &shape)).collect();
        *constant = Constant::floats(&shape, &values);
    };
    let rows = |i: usize, shape: &[usize]| i / shape[1..].iter().product::<usize>();
    change(format!("{first}.w"), &|i, shape| factor(rows(i, shape)));
    change(format!("{first}.b"), &|i, _| factor(i));
    change(format!("{second}.w"), &|i, shape| {
        let taps = shape[2] * shape[3];
        1.0 / factor(if depthwise { rows(i, shape) } else { i / taps % shape[1] })
    });
}

/// Samples in a file; `change` may plant something.
fn data(channels: usize, count: usize, change: impl Fn(usize, &mut [f32])) -> (tempfile::TempDir, Data, Vec<f32>) {
    let mut random = Random(99);
    let len = channels * SIDE * SIDE;
    let mut x = random.many(count * len, 1.0);
    x.chunks_exact_mut(len).enumerate().for_each(|(i, sample)| change(i, sample));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    support::write_npz(&path, &x, &[channels as u64, SIDE as u64, SIDE as u64], None);
    let data = Data::open(&path).unwrap();
    (folder, data, x)
}

fn made(model: &Model, data: &Data, options: Options) -> Quantized {
    quantize(&model.to_bytes(), data, &options, &mut |_, _| {}).unwrap()
}

/// Moves weights off their int8 steps, all to the same side: what rounding does to them does not average out.
fn lean(model: &mut Model, layer: &str, part: f32) {
    let constant = model.constants.get_mut(&format!("{layer}.w")).unwrap();
    let (shape, mut values) = (constant.shape.clone(), constant.to_floats().unwrap());
    let outputs = shape[0];
    for row in values.chunks_exact_mut(constant.elements() / outputs) {
        let most = row.iter().fold(0f32, |most, w| most.max(w.abs()));
        let step = most / 127.0;
        row.iter_mut().filter(|w| w.abs() < most).for_each(|w| *w = ((*w / step).floor() + part) * step);
    }
    *constant = Constant::floats(&shape, &values);
}

/// Gives the classes a bias so that each is as likely as the others, as training does.
fn centre(model: &mut Model, x: &[f32], channels: usize) {
    let reference = fleetfoot_quantize::Reference::of_onnx(&model.to_bytes()).unwrap();
    let mut sums = vec![0f32; 10];
    let samples = x.chunks_exact(channels * SIDE * SIDE);
    let count = samples.len() as f32;
    for sample in samples {
        reference.run(sample).unwrap()[0].iter().zip(&mut sums).for_each(|(v, sum)| *sum -= v / count);
    }
    model.constants.insert("classes.b".into(), Constant::floats(&[10], &sums));
    model.nodes.last_mut().unwrap().inputs.push("classes.b".into());
}

/// Pointwise, depthwise, pointwise: channels behind the first two differ up to `2^(powers - 1)` times.
fn depthwise_imbalance(powers: usize) -> Model {
    let mut net = Net::new(5, 4);
    net.conv("expand", Some(16), 1);
    net.conv("depthwise", None, 3);
    net.conv("project", Some(8), 1);
    let mut model = net.finish();
    unbalance(&mut model, "expand", "depthwise", true, |c| 0.5f32.powi((c * 5 % powers) as i32));
    unbalance(&mut model, "depthwise", "project", false, |c| 0.5f32.powi((c * 3 % powers) as i32));
    model
}

#[test]
fn each_repair_of_an_unbalanced_depthwise_network_gains() {
    let (_folder, data, x) = data(4, 60, |_, _| {});
    let mut model = depthwise_imbalance(5);
    centre(&mut model, &x, 4);
    let plain = Options { bias_correction: BiasCorrection::Off, ..Options::default() };
    let db = |options: Options| made(&model, &data, options).sqnr_db;
    let per_tensor = db(Options { per_channel: false, ..plain });
    let per_channel = db(plain);
    let corrected = db(Options { bias_correction: BiasCorrection::Empirical, ..plain });
    let equalised = db(Options { bias_correction: BiasCorrection::Empirical, equalise: true, ..plain });
    println!("{per_tensor:.1} < {per_channel:.1} < {corrected:.1} < {equalised:.1} dB");
    assert!(per_tensor + 1.0 < per_channel, "{per_tensor} {per_channel}");
    assert!(per_channel + 1.0 < corrected, "{per_channel} {corrected}");
    assert!(corrected + 3.0 < equalised, "{corrected} {equalised}");
}

#[test]
fn correcting_biases_halves_the_decisions_that_flip() {
    let (_folder, data, x) = data(4, 200, |_, _| {});
    let mut model = depthwise_imbalance(2);
    lean(&mut model, "depthwise", 0.45);
    lean(&mut model, "project", 0.45);
    centre(&mut model, &x, 4);
    let flipped = |bias_correction| {
        let made = made(&model, &data, Options { bias_correction, ..Options::default() });
        let (reference, mut int8) = (made.reference().unwrap(), support::Runs::new(&made));
        let best = |v: &[f32]| (0..v.len()).max_by(|&a, &b| v[a].total_cmp(&v[b])).unwrap();
        x.chunks_exact(4 * SIDE * SIDE).filter(|s| best(&reference.run(s).unwrap()[0]) != best(&int8.run(s))).count()
    };
    let (without, with) = (flipped(BiasCorrection::Off), flipped(BiasCorrection::Empirical));
    println!("{without} of 200 decisions flip, {with} with corrected biases");
    assert!(without >= 8, "the fixture loses {without}");
    assert!(with * 2 <= without, "{with} {without}");
}

#[test]
fn equalising_changes_no_float_value() {
    let model = depthwise_imbalance(7);
    let (_folder, data, x) = data(4, 20, |_, _| {});
    let plain = made(&model, &data, Options::default()).reference().unwrap();
    let equalised = made(&model, &data, Options { equalise: true, ..Options::default() }).reference().unwrap();
    for sample in x.chunks_exact(4 * SIDE * SIDE) {
        assert_eq!(plain.run(sample).unwrap(), equalised.run(sample).unwrap());
    }
}

/// `[1, 4, 8, 8]` as 16 rows of 16 numbers, a product with Relu, all rows flattened, a second product: its input `i` is channel `i % 8`.
fn rows_that_are_flattened() -> Model {
    let mut net = Net::new(5, 4);
    let whole = |values: &[i64]| Constant {
        dtype: Type::Int64,
        shape: vec![values.len()],
        data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
    };
    net.model.constants.insert("rows".into(), whole(&[1, 16, 16]));
    net.node("Reshape", "reshaped", &["rows".to_owned()], &[]);
    let mut weights = net.random.many(16 * 8, 0.5);
    weights.iter_mut().enumerate().for_each(|(i, w)| *w *= 0.5f32.powi([0, 6, 7, 8, 7, 6, 3, 1][i % 8]));
    net.model.constants.insert("first.w".into(), Constant::floats(&[16, 8], &weights));
    net.node("MatMul", "first", &["first.w".to_owned()], &[]);
    net.node("Relu", "first.relu", &[], &[]);
    net.node("Flatten", "flat", &[], &[]);
    let weights = net.random.many(128 * 10, 1.0);
    net.model.constants.insert("classes.w".into(), Constant::floats(&[128, 10], &weights));
    net.node("Gemm", "classes", &["classes.w".to_owned()], &[]);
    net.model.outputs = vec![Port { name: "classes".into(), dtype: Type::Float32, dims: Vec::new() }];
    net.model
}

/// `[1, 16, 8, 8]` as 16 rows of 64 places: what the product behind reads are places, not channels.
fn places_of_channels() -> Model {
    let mut net = Net::new(6, 4);
    net.conv("first", Some(16), 3);
    let data: Vec<u8> = [1i64, 16, 64].iter().flat_map(|v| v.to_le_bytes()).collect();
    net.model.constants.insert("rows".into(), Constant { dtype: Type::Int64, shape: vec![3], data });
    net.node("Reshape", "reshaped", &["rows".to_owned()], &[]);
    let weights = net.random.many(64 * 10, 1.0);
    net.model.constants.insert("classes.w".into(), Constant::floats(&[64, 10], &weights));
    net.node("MatMul", "classes", &["classes.w".to_owned()], &[]);
    net.model.outputs = vec![Port { name: "classes".into(), dtype: Type::Float32, dims: Vec::new() }];
    net.model
}

#[test]
fn equalising_knows_whose_channels_are_read() {
    for (model, changes) in [(rows_that_are_flattened(), true), (places_of_channels(), false)] {
        let (_folder, data, x) = data(4, 20, |_, _| {});
        let plain = made(&model, &data, Options::default());
        let equalised = made(&model, &data, Options { equalise: true, ..Options::default() });
        let (before, after) = (plain.reference().unwrap(), equalised.reference().unwrap());
        for sample in x.chunks_exact(4 * SIDE * SIDE) {
            assert_eq!(before.run(sample).unwrap(), after.run(sample).unwrap());
        }
        assert_eq!(plain.onnx != equalised.onnx, changes);
        println!("{:.1} dB, {:.1} equalised", plain.sqnr_db, equalised.sqnr_db);
        assert!(equalised.sqnr_db >= plain.sqnr_db - 0.5);
    }
}

#[test]
fn levels_are_held_exactly_whatever_the_samples_are() {
    let mut net = Net::new(8, 4);
    net.conv("first", Some(8), 3);
    let model = net.finish();
    // From 10 to 90 only: ranges of these would not be those of a device.
    let (_folder, data, _) = data(4, 12, |_, sample| {
        sample.iter_mut().for_each(|v| *v = ((*v + 2.0) * 20.0).round() + 10.0);
    });
    let input = |levels| {
        let made = made(&model, &data, Options { levels, ..Options::default() });
        let quant = made.graph.tensor(made.graph.inputs[0]).quant.clone().unwrap();
        (quant.scales[0], quant.zero_points[0], made.options.text().ends_with(" levels=yes"))
    };
    assert_eq!(input(true), (1.0, -128, true));
    let (scale, _, told) = input(false);
    assert!(scale < 0.5 && !told, "{scale}");
}

#[test]
fn an_outlier_in_the_data_does_not_cost_the_network() {
    let mut net = Net::new(3, 4);
    net.conv("first", Some(8), 3);
    net.conv("second", Some(8), 3);
    let model = net.finish();
    // In a sample behind those that the report looks at.
    let (_folder, data, _) = data(4, 60, |i, sample| {
        if i == 30 {
            sample[77] = 300.0;
        }
    });
    let of = |method| made(&model, &data, Options { method, ..Options::default() });
    let (minmax, mse, entropy) = (of(Method::MinMax), of(Method::Mse), of(Method::Entropy));
    println!("minmax {:.1}, mse {:.1}, entropy {:.1} dB", minmax.sqnr_db, mse.sqnr_db, entropy.sqnr_db);
    assert!(mse.sqnr_db.max(entropy.sqnr_db) > minmax.sqnr_db + 6.0);
    let first = minmax.layers.iter().find(|layer| layer.name == "first.relu").unwrap();
    assert!(first.causes.iter().any(|c| matches!(c, Cause::Outlier { .. })), "{:?}", first.causes);
}

#[test]
fn a_planted_layer_is_ranked_first_and_applying_its_fix_brings_the_signal_back() {
    let healthy = || {
        let mut net = Net::new(11, 4);
        for name in ["a", "b", "c", "d", "e"] {
            net.conv(name, Some(12), 3);
        }
        net.finish()
    };
    let mut bad = healthy();
    unbalance(&mut bad, "c", "d", false, |c| 0.5f32.powi([0, 6, 7, 8, 7, 6][c % 6]));
    let (_folder, data, _) = data(4, 24, |_, _| {});
    let good_db = made(&healthy(), &data, Options::default()).sqnr_db;
    let found = made(&bad, &data, Options::default());
    let worst = found.layers.iter().find(|layer| layer.rank == 1).unwrap();
    assert_eq!(worst.name, "d.relu", "{:?}", found.layers);
    assert!(matches!(&worst.causes[0], Cause::Channels { with: Some(value), .. } if value == "c.relu"), "{worst:?}");
    let (mended, applied) = mend(&bad.to_bytes(), &data, &Options::default(), &mut |_, _| {}).unwrap();
    println!("{good_db:.1} dB healthy, {:.1} planted, {:.1} mended: {applied:?}", found.sqnr_db, mended.sqnr_db);
    let (lost, recovered) = (good_db - found.sqnr_db, mended.sqnr_db - found.sqnr_db);
    assert!(lost > 6.0, "the fixture loses {lost} dB");
    assert!(recovered >= 0.8 * lost, "{recovered} of {lost} dB");
    assert!(applied.iter().any(|a| a.kept) && mended.options.equalise);
    // The whole page, with everything in it and nothing from outside.
    let page = fleetfoot_quantize::Page {
        source: "bad <network>.onnx",
        source_sha256: [7; 32],
        tool: "test",
        made: &mended,
        int8_len: 1000,
        accuracy: None,
        speed: None,
        applied: &applied,
    };
    let html = page.to_html();
    for part in ["bad &lt;network&gt;.onnx", "d.relu", "--equalise", "prefers-color-scheme:dark", "<svg", "</html>"] {
        assert!(html.contains(part), "{part}");
    }
    for outside in ["http:", "https:", "<script", "url(", "@import", "src="] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn float_operators_are_refused_at_once_or_left_to_the_application() {
    let mut net = Net::new(1, 4);
    net.conv("first", Some(8), 3);
    let mut model = net.finish();
    model.nodes.push(Node {
        op: "Sin".into(),
        inputs: vec!["classes".into()],
        outputs: vec!["s".into()],
        ..Node::default()
    });
    model.nodes.push(Node { op: "Cos".into(), inputs: vec!["s".into()], outputs: vec!["y".into()], ..Node::default() });
    model.outputs[0].name = "y".into();
    let (_folder, data, _) = data(4, 10, |_, _| {});
    let run = |model: &Model, allow_float| {
        quantize(&model.to_bytes(), &data, &Options { allow_float, ..Options::default() }, &mut |_, _| {})
    };
    let refused = run(&model, false).unwrap_err();
    assert!(refused.float_islands() > 0 && refused.to_string().contains("Sin"), "{refused}");
    let left = run(&model, true).unwrap();
    assert_eq!(left.islands, ["s", "y"]);
    assert_eq!(left.graph.outputs.len(), 1);
    assert_eq!(left.graph.tensor(left.graph.outputs[0]).name, "classes");
    // In the middle there is no arithmetic for it, whatever is allowed.
    let relu = model.nodes.iter_mut().find(|node| node.op == "Relu").unwrap();
    relu.op = "Sin".into();
    let refused = run(&model, true).unwrap_err();
    assert!(matches!(&refused, QuantizeError::Import(_)), "{refused}");
}
