//! The same tensors and answers on every CPU: 1,000 images, rows and recordings, and as many answers of classes and of boxes, have the sums that stand here. The check `aarch64` runs
//! this in an emulator. Where a sum is to change, the program prints the new one: that is a change of `docs/preprocessing.md`.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use fleetfoot_format::{
    graph::IoType,
    postprocess::{Boxes, Classes, Coding},
    preprocess::{Cell, Preprocess, Program},
};
use fleetfoot_preprocess::{Class, Detection, Output, Rgb, Tensor, audio, boxes, classes, image, row, scratch_len};

/// FNV-1a.
struct Sum(u64);

impl Sum {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// xorshift64* (Vigna, arXiv 1402.6246).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    fn below(&mut self, n: u32) -> u32 {
        self.next() % n
    }
}

const TYPES: [IoType; 3] = [IoType::Int8, IoType::UInt8, IoType::Float32];

#[test]
fn images() {
    let (mut numbers, mut sum) = (Numbers(1), Sum::new());
    for _ in 0..1000 {
        let filters = ["nearest", "bilinear_half_pixel", "bilinear_align_corners", "bilinear_antialias", "area"];
        let filter = filters[numbers.below(5) as usize];
        let (width, height) = (1 + numbers.below(9), 1 + numbers.below(9));
        let (channels, count) = [("rgb", 3), ("bgr", 3), ("grey", 1)][numbers.below(3) as usize];
        let values =
            ["values: levels", "normalise: {divide: 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}"];
        let values = values[numbers.below(2) as usize];
        let square = ["centre_square, ", ""][numbers.below(2) as usize];
        let yaml = format!(
            "preprocess: {{image: {{channels: {channels}, {values}, steps: [{square}resize: {{width: {width}, height: {height}, filter: {filter}}}]}}}}"
        );
        let yaml = yaml.replace("resize: {", "{resize: {").replace("}]", "}}]");
        let section = fleetfoot_config::read(&yaml).unwrap().preprocess.unwrap();
        let Preprocess::Image(settings) = Program::parse(&section).unwrap().preprocess else { panic!() };
        let (w, h) = (1 + numbers.below(24), 1 + numbers.below(24));
        let pixels: Vec<u8> = (0..3 * w * h).map(|_| numbers.next() as u8).collect();
        let dtype = TYPES[numbers.below(3) as usize];
        let dims = [1, height, width, count];
        let tensor = Tensor { dtype, dims: &dims, scale: 0.0187, zero_point: numbers.below(9).cast_signed() - 4 };
        let mut out = vec![0; tensor.elements() as usize * dtype.size()];
        image(&settings, &tensor, &Rgb::new(w, h, &pixels).unwrap(), &mut out).unwrap();
        sum.add(&out);
    }
    assert_eq!(sum.0, IMAGES, "images: {:#x}", sum.0);
}

#[test]
fn rows() {
    let (mut numbers, mut sum) = (Numbers(2), Sum::new());
    let yaml = "preprocess: {table: {columns: [{age: {mean: 41.3, std: 12.7, missing: 40}}, {colour: {one_hot: [red, green, \"3\"], unknown: zeros, missing: zeros}}, \
                {weight: {std: 0.37}}]}}";
    let section = fleetfoot_config::read(yaml).unwrap().preprocess.unwrap();
    let program = Program::parse(&section).unwrap();
    for _ in 0..1000 {
        let number = (numbers.next().cast_signed() >> 12) as f32 / 1000.0;
        let written = format!("{}.{}", numbers.below(200), numbers.below(100_000));
        let cells = [
            [Cell::Missing, Cell::Number(number), Cell::Text(&written)][numbers.below(3) as usize],
            [Cell::Missing, Cell::Number(3.0), Cell::Text("green"), Cell::Text("blue")][numbers.below(4) as usize],
            [Cell::Number(number), Cell::Text(&written)][numbers.below(2) as usize],
        ];
        let dtype = TYPES[numbers.below(3) as usize];
        let tensor = Tensor { dtype, dims: &[1, 5], scale: 0.021, zero_point: 7 };
        let mut out = vec![0; 5 * dtype.size()];
        row(&program, &tensor, cells.into_iter(), &mut out).unwrap();
        sum.add(&out);
    }
    assert_eq!(sum.0, ROWS, "rows: {:#x}", sum.0);
}

#[test]
fn recordings() {
    let (mut numbers, mut sum) = (Numbers(3), Sum::new());
    let kinds = [
        "mel: {frame: 200, hop: 100, fft: 256, energy: magnitude, bands: 20, floor: 1e-6}",
        "mel: {frame: 128, hop: 64, fft: 128, window: hamming, energy: power, bands: 12, floor: 1e-9, log: decibel, cepstra: 8}",
        "mel: {frame: 240, hop: 240, fft: 512, window: rectangular, energy: power, bands: 24, low_hz: 60, high_hz: 3800, log: log10, floor: 1e-12}",
    ];
    for kind in kinds {
        let yaml = format!("preprocess: {{audio: {{rate_hz: 8000, samples: 240, mean: -3.5, std: 2.5, {kind}}}}}");
        let section = fleetfoot_config::read(&yaml).unwrap().preprocess.unwrap();
        // Tables are made here too, and have to be the same.
        sum.add(&section);
        let program = Program::parse(&section).unwrap();
        let Preprocess::Audio(settings) = &program.preprocess else { panic!() };
        let fleetfoot_format::preprocess::Features::Mel(mel) = &settings.features else { panic!() };
        let dims = [1, mel.frames(240) as u32, mel.features() as u32];
        let mut scratch = vec![0; scratch_len(settings)];
        for _ in 0..334 {
            let loud = numbers.below(16);
            let samples: Vec<i16> =
                (0..200 + numbers.below(60)).map(|_| (numbers.next() >> 16) as i16 >> loud).collect();
            let dtype = TYPES[numbers.below(3) as usize];
            let tensor = Tensor { dtype, dims: &dims, scale: 0.031, zero_point: -3 };
            let mut out = vec![0; tensor.elements() as usize * dtype.size()];
            audio(settings, &tensor, &samples, &mut scratch, &mut out).unwrap();
            sum.add(&out);
        }
    }
    assert_eq!(sum.0, RECORDINGS, "recordings: {:#x}", sum.0);
}

#[test]
fn answers() {
    let (mut numbers, mut sum) = (Numbers(4), Sum::new());
    for _ in 0..1000 {
        let bytes: Vec<u8> = (0..1 + numbers.below(50)).map(|_| numbers.next() as u8).collect();
        let scale = numbers.below(1000) as f32 / 3000.0;
        let output = Output { dtype: TYPES[numbers.below(2) as usize], scale, zero_point: 5, bytes: &bytes };
        let settings = Classes { output: 0, softmax: true, top: 7, threshold: 0.001 };
        let mut best = [Class::default(); 7];
        let count = classes(&settings, &output, &mut best).unwrap();
        for class in &best[..count] {
            sum.add(&[class.index as u8]);
            sum.add(&class.score.to_bits().to_le_bytes());
        }
    }
    assert_eq!(sum.0, ANSWERS, "answers: {:#x}", sum.0);
}

#[test]
fn detections() {
    let (mut numbers, mut sum, mut all) = (Numbers(5), Sum::new(), 0);
    for _ in 0..1000 {
        let (n, count) = (1 + numbers.below(40), 1 + numbers.below(4));
        let mut bytes = |len: u32| -> Vec<u8> { (0..len).map(|_| numbers.next() as u8).collect() };
        let (places, scores) = (bytes(4 * n), bytes(n * count));
        let mut real = || numbers.below(1000) as f32 / 700.0 - 0.3;
        let anchors: Vec<u8> = (0..4 * n).flat_map(|_| real().to_le_bytes()).collect();
        let codings = [
            Coding::TopLeftBottomRight,
            Coding::LeftTopRightBottom,
            Coding::CentreSize,
            Coding::Anchors { scales: [10.0, 10.0, 5.0, 5.0] },
        ];
        let coding = codings[numbers.below(4) as usize];
        let anchors = if matches!(coding, Coding::Anchors { .. }) { &anchors[..] } else { &[] };
        let [sigmoid, background] = [numbers.below(2) == 0, numbers.below(4) == 0];
        let (threshold, overlap) = (0.3, numbers.below(100) as f32 / 99.0);
        let settings = Boxes { boxes: 0, scores: 1, coding, sigmoid, background, threshold, overlap, top: 30, anchors };
        let mut output = |bytes| {
            let (dtype, scale) = (TYPES[numbers.below(2) as usize], 0.001 + numbers.below(1000) as f32 / 9000.0);
            Output { dtype, scale, zero_point: 5, bytes }
        };
        let (places, scores) = (output(&places), output(&scores));
        let mut found = [Detection::default(); 30];
        let count = boxes(&settings, &places, &scores, &mut found).unwrap();
        all += count;
        sum.add(&[count as u8]);
        for one in &found[..count] {
            sum.add(&[one.class as u8]);
            for number in [one.score, one.top, one.left, one.bottom, one.right] {
                sum.add(&number.to_bits().to_le_bytes());
            }
        }
    }
    assert!(all > 5000, "{all} boxes");
    assert_eq!(sum.0, DETECTIONS, "detections: {:#x}", sum.0);
}

const IMAGES: u64 = 0x6413_2c37_0e01_234a;
const ROWS: u64 = 0x16cf_7166_4df5_d7dd;
const RECORDINGS: u64 = 0x89b5_3a8e_6239_4117;
const ANSWERS: u64 = 0xe28e_43b9_0522_800e;
const DETECTIONS: u64 = 0xcc88_4c57_2fa6_c316;
