//! Mel energies and cepstra against `tf.signal`, as `runtime/preprocess/tests/vectors.py` spells it out in NumPy.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fleetfoot_format::{
    graph::IoType,
    preprocess::{Preprocess, Program},
};
use fleetfoot_preprocess::{Tensor, audio, scratch_len};

#[test]
fn the_same_as_others() {
    let vectors = include_str!("../../../runtime/preprocess/tests/vectors.txt");
    let mut seen = 0;
    for line in vectors.lines().filter(|line| line.starts_with("mel ")) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, power, frame, hop, fft, bands, low, high, cepstra, samples, expected] = fields[..] else {
            panic!("{line}")
        };
        let samples: Vec<i16> = samples.split(',').map(|n| n.parse().unwrap()).collect();
        let expected: Vec<f32> = expected.split(',').map(|n| n.parse().unwrap()).collect();
        let energy = if power == "1" { "magnitude" } else { "power" };
        let yaml = format!(
            "preprocess: {{audio: {{rate_hz: 16000, samples: {}, mel: {{frame: {frame}, hop: {hop}, fft: {fft}, bands: {bands}, \
             low_hz: {low}, high_hz: {high}, energy: {energy}, floor: 1e-6, cepstra: {cepstra}}}}}}}",
            samples.len()
        );
        let section = fleetfoot_config::read(&yaml).unwrap().preprocess.unwrap();
        let program = Program::parse(&section).unwrap();
        let Preprocess::Audio(settings) = &program.preprocess else { panic!() };
        let dims = [expected.len() as u32];
        let tensor = Tensor { dtype: IoType::Float32, dims: &dims, scale: 1.0, zero_point: 0 };
        let (mut out, mut scratch) = (vec![0; 4 * expected.len()], vec![0; scratch_len(settings)]);
        fleetfoot_preprocess::check(&program, &tensor).unwrap();
        audio(settings, &tensor, &samples, &mut scratch, &mut out).unwrap();
        let got: Vec<f32> = out.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let errors = got.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = errors.fold(0.0, f32::max);
        assert!(worst < 0.02, "{fields:?}: off by {worst}", fields = &fields[..9]);
        seen += 1;
    }
    assert_eq!(seen, 4);
}
