//! Sections that were tampered with are refused, or do something bounded; nothing panics, and nothing is read outside of a buffer.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fleetfoot_format::{
    graph::IoType,
    postprocess::Postprocess,
    preprocess::{Cell, Preprocess, Program},
};
use fleetfoot_preprocess::{Class, Detection, Output, Rgb, Tensor, audio, boxes, classes, image, row, scratch_len};

const SETTINGS: [&str; 4] = [
    "preprocess: {image: {channels: rgb, normalise: {divide: 255}, steps: [centre_square, {resize: {width: 4, height: 4, filter: area}}]}}",
    "preprocess: {image: {channels: rgb, values: levels, steps: [{resize_shorter: {length: 5, filter: bilinear_antialias}}, {centre_crop: {width: 4, height: 4}}]}}",
    "preprocess: {audio: {rate_hz: 8000, samples: 96, mel: {frame: 32, hop: 16, fft: 32, energy: power, bands: 8, floor: 1e-6, cepstra: 4}}}",
    "preprocess: {table: {columns: [{age: {mean: 1, std: 2}}, {word: {one_hot: [a, b, c]}}]}}",
];

/// Whatever `section` is: prepared where it can be, refused where not.
fn attempt(section: &[u8]) {
    let Ok(program) = Program::parse(section) else { return };
    for dims in [&[1, 4, 4, 3][..], &[1, 5, 4], &[1, 4]] {
        let tensor = Tensor { dtype: IoType::Int8, dims, scale: 0.1, zero_point: 3 };
        let mut out = vec![0; tensor.elements() as usize];
        let pixels = [7; 3 * 9 * 6];
        // Errors are as welcome as results.
        let _ = match &program.preprocess {
            Preprocess::Image(settings) => image(settings, &tensor, &Rgb::new(9, 6, &pixels).unwrap(), &mut out),
            Preprocess::Audio(settings) => {
                let mut scratch = vec![0; scratch_len(settings)];
                audio(settings, &tensor, &[i16::MIN; 100], &mut scratch, &mut out)
            }
            Preprocess::Table(_) => {
                let cells = [Cell::Text("1e30"), Cell::Text("c")];
                row(&program, &tensor, cells.into_iter(), &mut out)
            }
        };
    }
}

#[test]
fn every_changed_byte_of_settings_for_inputs() {
    for settings in SETTINGS {
        let good = fleetfoot_config::read(settings).unwrap().preprocess.unwrap();
        attempt(&good);
        for at in 0..good.len() {
            for change in [1, 0x80, 0xff, 0x41] {
                let mut bad = good.clone();
                bad[at] ^= change;
                attempt(&bad);
            }
            attempt(&good[..at]);
        }
    }
}

#[test]
fn every_changed_byte_of_settings_for_answers() {
    let settings = [
        "postprocess: {classes: {softmax: true, top: 3, threshold: 0.1}}",
        "postprocess: {boxes: {coding: anchors, threshold: 0.1, sigmoid: true, anchors: [[0.5, 0.5, 1, 1], [0.2, 0.2, 1, 1]], scales: 10}}",
    ];
    let bytes: Vec<u8> = (0..64).map(|i| (i * 37) as u8).collect();
    for dtype in [IoType::Int8, IoType::UInt8, IoType::Float32, IoType::Int32, IoType::Int64] {
        let output = |len: usize| Output { dtype, scale: 0.1, zero_point: i32::MIN, bytes: &bytes[..len] };
        for settings in settings {
            let good = fleetfoot_config::read(settings).unwrap().postprocess.unwrap();
            for at in 0..good.len() {
                for change in [0, 1, 0x80, 0xff] {
                    let mut bad = good.clone();
                    bad[at] ^= change;
                    match Postprocess::parse(&bad) {
                        Ok(Postprocess::Classes(settings)) => {
                            let _ = classes(&settings, &output(64), &mut [Class::default(); 5]);
                        }
                        Ok(Postprocess::Boxes(settings)) => {
                            let _ = boxes(&settings, &output(8), &output(64), &mut [Detection::default(); 5]);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}
