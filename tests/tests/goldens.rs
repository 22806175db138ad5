//! Every reference network gives the recorded output of LiteRT with XNNPACK, byte for byte, with every instruction set of
//! this CPU, with one, two and four threads, in one batch, and as a
//! network of several images. Arguments, all optional: parts of names of models.

use std::{path::Path, process::ExitCode, sync::Arc};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_tests::{npz, root, shared};

/// Model, and how many of its golden samples run with the portable kernels (the others run all of them).
const MODELS: &[(&str, usize)] = &[
    ("models/mlperf-tiny/ad_int8", 16),
    ("models/mlperf-tiny/ic_int8", 8),
    ("models/mlperf-tiny/ic_logits_int8", 8),
    ("models/mlperf-tiny/kws_int8", 16),
    ("models/mlperf-tiny/kws_logits_int8", 16),
    ("models/mlperf-tiny/vww_int8", 4),
    ("models/mlperf-tiny/vww_logits_int8", 4),
    ("models/imagenet/mobilenet_v1_0.25_128_quant", 2),
    ("models/imagenet/tf2_mobilenet_v2_1.0_224_ptq", 1),
    ("models/shapes/efficientnet_lite0_logits_int8", 1),
    ("models/shapes/mobilenet_v1_1.0_224_logits_int8", 1),
    ("models/shapes/mobilenet_v2_1.0_224_logits_int8", 1),
    ("models/shapes/mobilenet_v3_small_logits_int8", 1),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    // Under emulation the large networks would take hours.
    let emulated = std::env::var_os("FLEETFOOT_EMULATED").is_some();
    let (mut passed, mut failed) = (0, 0);
    // Whoever knows the CPU says what the choice must be; all sets that it has are run below, each by its name.
    if let Ok(expected) = std::env::var("FLEETFOOT_EXPECTED_ISA") {
        let found = Kernels::detect().name();
        println!("test the choice is {found} ... {}", if found == expected { "ok" } else { "FAILED" });
        if found != expected {
            println!("expected {expected}");
            failed += 1;
        }
    }
    let mut run = |name: &str, model: &Path, golden: &Path, output: &str, scalar_samples: usize| {
        for kernels in Kernels::available() {
            let limit = if kernels == Kernels::scalar() || emulated { scalar_samples } else { usize::MAX };
            match check(model, golden, output, kernels, limit) {
                Ok(n) => {
                    println!("test {name} {} ({n} samples) ... ok", kernels.name());
                    passed += 1;
                }
                Err(what) => {
                    println!("test {name} {} ... FAILED: {what}", kernels.name());
                    failed += 1;
                }
            }
        }
    };
    for version in ["digits_v1", "digits_v2"] {
        if is_wanted(version) {
            let folder = root().join("examples/digits");
            let file = |suffix: &str| folder.join(format!("{version}{suffix}"));
            run(version, &file(".tflite"), &file(".golden.npz"), "output", usize::MAX);
        }
    }
    for &(name, samples) in MODELS {
        if !is_wanted(name) || emulated && !name.contains("mlperf-tiny") {
            continue;
        }
        let Some(model) = shared(&format!("{name}.tflite")) else { continue };
        let Some(golden) = shared(&format!("{name}.golden.npz")) else { continue };
        run(name, &model, &golden, "output_xnnpack", samples);
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(model: &Path, golden: &Path, output: &str, kernels: Kernels, limit: usize) -> Result<usize, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let bytes = std::fs::read(model).map_err(|e| text(&e))?;
    let graph = fleetfoot_import::tflite(&bytes).map_err(|e| text(&e))?;
    let plan = fleetfoot_plan::plan(&graph).map_err(|e| text(&e))?;
    let model = Arc::new(Model::open_unsigned(&plan).map_err(|e| text(&e))?);
    let ((shape, inputs), (_, expected)) = (npz(golden, "input"), npz(golden, output));
    let n = shape[0] as usize;
    let (input_len, output_len) = (inputs.len() / n, expected.len() / n);
    let samples = n.min(limit);
    let differ = |how: &str, sample: usize, found: &[u8]| {
        let expected = &expected[sample * output_len..][..found.len()];
        match found.iter().zip(expected).filter(|(a, b)| a != b).count() {
            0 => Ok(()),
            n => Err(format!("{how}, from sample {sample}: {n} of {} bytes differ", found.len())),
        }
    };
    for threads in [1, 2, 4] {
        let mut session = Session::with_threads(Arc::clone(&model), kernels, threads).map_err(|e| text(&e))?;
        // One after the other on one thread; a few of them cut into parts; most of them spread over the threads.
        let singles = if threads == 1 { samples } else { samples.min(2) };
        for sample in 0..singles {
            session.set_input(0, &inputs[sample * input_len..][..input_len]).map_err(|e| text(&e))?;
            session.run().map_err(|e| text(&e))?;
            differ(&format!("{threads} threads"), sample, session.output(0).map_err(|e| text(&e))?)?;
        }
        if threads > 1 {
            let batch = session.run_batch(&[&inputs[..samples * input_len]]).map_err(|e| text(&e))?;
            assert_eq!(batch[0].len(), samples * output_len);
            differ(&format!("a batch on {threads} threads"), 0, &batch[0])?;
        }
    }
    if samples > 1 {
        // The same network for all of a few samples at once.
        let images = samples.min(3);
        let mut graph = graph;
        graph.tensors.iter_mut().filter(|tensor| tensor.data.is_none()).for_each(|tensor| tensor.shape[0] *= images);
        let plan = fleetfoot_plan::plan(&graph).map_err(|e| text(&e))?;
        let model = Arc::new(Model::open_unsigned(&plan).map_err(|e| text(&e))?);
        for threads in [1, 2] {
            let mut session = Session::with_threads(Arc::clone(&model), kernels, threads).map_err(|e| text(&e))?;
            session.set_input(0, &inputs[..images * input_len]).map_err(|e| text(&e))?;
            session.run().map_err(|e| text(&e))?;
            let output = session.output(0).map_err(|e| text(&e))?;
            assert_eq!(output.len(), images * output_len);
            differ(&format!("{images} images, {threads} threads"), 0, output)?;
        }
    }
    Ok(samples)
}
