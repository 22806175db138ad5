//! Photos, recordings and tables through the preprocessing of a bundle, from `bundle.yaml` to the answer.

mod support;

use std::fs;

use serde_json::{Value, json};
use support::{World, example};

const DIGITS: &str = "
name: digits
version: 1.2.0
number: 7
labels: [zero, one, two, three, four, five, six, seven, eight, nine]
golden: [three.png]
card: card.md
budget: {arena_bytes: 100000}
preprocess:
  image:
    steps:
      - centre_square
      - resize: {width: 8, height: 8, filter: area}
    channels: grey
    normalise: {divide: 255}
postprocess:
  classes: {softmax: true, top: 3}
";

/// The first golden digit as a photo: every pixel a block of 20 x 20, on a wider canvas.
fn photo(world: &World) -> Vec<i8> {
    let file = fs::File::open(example("digits_v1.golden.npz")).expect("the golden file");
    let mut archive = npyz::npz::NpzArchive::new(file).expect("an archive");
    let input: Vec<i8> = archive.by_name("input").expect("read").expect("there").into_vec().expect("int8");
    let input = input[..64].to_vec();
    let picture = image::RgbImage::from_fn(200, 160, |x, y| {
        let inside = (20..180).contains(&x).then(|| input[(y / 20 * 8 + (x - 20) / 20) as usize]);
        // Whatever stands outside of the square is not seen.
        image::Rgb([inside.map_or(255, |q| (i16::from(q) + 128) as u8); 3])
    });
    picture.save(world.path("three.png")).expect("saved");
    input
}

fn world(settings: &str) -> World {
    let world = World::new();
    world.keys();
    fs::write(world.path("bundle.yaml"), settings).expect("written");
    fs::write(world.path("card.md"), "For tests.\n").expect("written");
    world
}

fn pack(world: &World, more: &[&str]) -> support::Ran {
    let model = example("digits_v1.tflite");
    let args = ["--json", "pack", &model, "--config", "bundle.yaml", "--key", "keys/releases.key", "-o", "d.ff"];
    world.run(&[&args[..], more].concat())
}

#[test]
fn a_photo_is_the_golden_digit_that_it_was_made_of() {
    let world = world(DIGITS);
    let input = photo(&world);
    let packed = pack(&world, &[]).ok().json();
    assert_eq!(
        (&packed["model"], &packed["version"], &packed["number"]),
        (&json!("digits"), &json!("1.2.0"), &json!(7))
    );
    assert_eq!(packed["raw_golden_cases"], 1);
    let ran = world.run(&["--json", "run", "d.ff", "--input", "three.png"]).ok().json();
    // The same tensor, given as it is.
    let array: Vec<u8> = npy(&input);
    fs::write(world.path("three.npy"), array).expect("written");
    let prepared = world.run(&["--json", "run", "d.ff", "--input", "three.npy"]).ok().json();
    assert_eq!(ran["outputs"], prepared["outputs"]);
    let top: &Vec<Value> = ran["top"][0].as_array().expect("answers");
    assert_eq!(top.len(), 3);
    assert_eq!(top[0]["index"], prepared["top"][0][0]["index"]);
    let names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let index = usize::try_from(top[0]["index"].as_u64().expect("an index")).expect("small");
    assert_eq!(top[0]["label"], names[index]);
    // Flags win over the file.
    assert_eq!(pack(&world, &["--version", "9.9"]).ok().json()["version"], "9.9");
    let sections = world.run(&["inspect", "d.ff"]).ok().stdout;
    for section in ["preprocess", "postprocess", "raw golden", "card", "labels"] {
        assert!(sections.contains(section), "{section}");
    }
}

/// `[1, 8, 8, 1]` int8.
fn npy(values: &[i8]) -> Vec<u8> {
    use npyz::WriterBuilder as _;
    let mut out = Vec::new();
    let mut writer =
        npyz::WriteOptions::new().default_dtype().shape(&[1, 8, 8, 1]).writer(&mut out).begin_nd().expect("begun");
    writer.extend(values.iter().copied()).expect("written");
    writer.finish().expect("finished");
    out
}

#[test]
fn a_device_admits_a_version_by_its_raw_goldens() {
    let world = world(DIGITS);
    photo(&world);
    world.repository();
    pack(&world, &[]).ok();
    fs::rename(world.path("d.ff"), world.path("7.ff")).expect("renamed");
    world.publish(7, &[]).ok();
    let said = world.device("repo", "store").ok().stdout;
    assert!(said.contains("1.2.0"), "{said}");
}

#[test]
fn every_problem_has_its_line_and_a_way_out() {
    for (settings, line, words) in [
        ("name: Digits", 1, "1 to 64 of a-z"),
        ("name: d\nversion: 1.0", 2, "in quotes"),
        ("nam: d", 1, "did you mean `name`?"),
        ("budget:\n  p99_us: fast", 2, "a whole number from 1 on"),
        ("preprocess:\n  image:\n    channels: rgb\n    values: pixels", 4, "only `levels`"),
        ("preprocess:\n  image:\n    channels: cmyk\n    values: levels", 3, "rgb, bgr or grey"),
        (
            "preprocess:\n  image:\n    channels: rgb\n    values: levels\n    steps:\n      - resize: {width: 8, height: 8, filter: bilinear}",
            6,
            "bilinear_half_pixel",
        ),
        ("preprocess:\n  image: {channels: rgb, values: levels, steps: [turn]}", 2, "a step was expected"),
        ("preprocess:\n  image: {channels: rgb, normalise: {std: 0}}", 2, "what divides is not 0"),
        ("preprocess: {image: {channels: rgb, values: levels}, table: {columns: []}}", 1, "one kind of input"),
        (
            "preprocess:\n  audio: {rate_hz: 16000, samples: 16000,\n    mel: {frame: 480, hop: 320, fft: 500, energy: power, bands: 40, floor: 1e-6}}",
            3,
            "a power of two",
        ),
        (
            "preprocess:\n  audio: {rate_hz: 16000, samples: 16000,\n    mel: {frame: 480, hop: 320, fft: 256, energy: power, bands: 40, floor: 1e-6}}",
            3,
            "a longer fft",
        ),
        ("preprocess:\n  table:\n    columns:\n      - age: {std: 0}", 4, "a number other than 0"),
        ("preprocess:\n  table:\n    columns:\n      - colour: {one_hot: [red, red]}", 4, "all different"),
        ("postprocess:\n  classes: {top: 0}", 2, "from 1 to 1000"),
        ("postprocess:\n  boxes: {coding: anchors, threshold: 0.5}", 2, "do not agree"),
        ("name: a: b", 1, "YAML"),
    ] {
        let world = world(settings);
        let ran = pack(&world, &["--name", "d", "--version", "1"]);
        assert_eq!(ran.code, 2, "{settings}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("line {line}, ")) && ran.stderr.contains(words),
            "{settings}\n{}",
            ran.stderr
        );
    }
    let both = world("name: Digits\nversion: '?'\n");
    let told = pack(&both, &[]).stderr;
    assert!(told.contains("line 1") && told.contains("line 2"), "{told}");
}

#[test]
fn settings_that_do_not_fit_the_model_or_the_input() {
    let image = |rest: &str| format!("name: d\nversion: v1\npreprocess: {{image: {{{rest}}}}}\n");
    let refused = |settings: &str, words: &str| {
        let world = world(settings);
        let ran = pack(&world, &[]);
        assert!(ran.code == 2 && ran.stderr.contains(words), "{settings}: {} {}", ran.code, ran.stderr);
    };
    refused(&image("channels: rgb, values: levels"), "channels of a pixel");
    refused(
        &image("channels: grey, values: levels, steps: [{resize: {width: 9, height: 8, filter: area}}]"),
        "9 x 8 after all steps",
    );
    refused("name: d\nversion: v1\npostprocess: {classes: {output: 3}}", "output 3");
    // Ten scores are no boxes of four numbers, and whatever the model says they never will be.
    refused(
        "name: d\nversion: v1\npostprocess: {boxes: {boxes: 0, scores: 0, coding: centre_size, threshold: 0.5}}",
        "output 0",
    );
    refused("name: d\nversion: v1\ngolden: x.png", "needs preprocessing");
    // Made-up images are no larger than the crops ask for.
    let far = world(&image(
        "channels: grey, values: levels, steps: [centre_square, {crop: {left: 300, top: 200, width: 8, height: 8}}]",
    ));
    pack(&far, &[]).ok();
    let len = fs::metadata(far.path("d.ff")).expect("packed").len();
    assert!(len < 2_000_000, "{len} bytes");
    let world = world(&image("channels: grey, values: levels, steps: [{centre_crop: {width: 8, height: 8}}]"));
    pack(&world, &[]).ok();
    image::RgbImage::new(7, 8).save(world.path("small.png")).expect("saved");
    let ran = world.run(&["run", "d.ff", "--input", "small.png"]);
    assert!(ran.code == 2 && ran.stderr.contains("[344]") && ran.stderr.contains("small.png"), "{}", ran.stderr);
    fs::write(world.path("broken.png"), b"\x89PNG\r\n\x1a\nno").expect("written");
    let ran = world.run(&["run", "d.ff", "--input", "broken.png"]);
    assert!(ran.code == 2 && ran.stderr.contains("[576]"), "{}", ran.stderr);
}

#[test]
fn a_recording_and_a_table_become_the_input_too() {
    // The digits model takes 64 numbers, whatever they are.
    let audio = world(
        "name: d\nversion: v1\npreprocess: {audio: {rate_hz: 8000, samples: 960, mean: -8, std: 10, \
         mel: {frame: 120, hop: 120, fft: 128, energy: power, bands: 8, floor: 1e-6}}}\npostprocess: {classes: {top: 1}}",
    );
    let wav = |name: &str, rate: u32, channels: u16| {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut writer = hound::WavWriter::create(audio.path(name), spec).expect("begun");
        for t in 0..1000i32 {
            let sample = (f64::from(t) * 0.35).sin() * 9000.0;
            (0..channels).for_each(|_| writer.write_sample(sample as i16).expect("written"));
        }
        writer.finalize().expect("finished");
    };
    wav("tone.wav", 8000, 1);
    wav("both.wav", 8000, 2);
    wav("fast.wav", 16_000, 1);
    assert_eq!(pack(&audio, &["--golden", "tone.wav"]).ok().json()["raw_golden_cases"], 1);
    let of = |name: &str| audio.run(&["--json", "run", "d.ff", "--input", name]);
    assert_eq!(of("tone.wav").ok().json()["outputs"], of("both.wav").ok().json()["outputs"]);
    let fast = of("fast.wav");
    assert!(fast.code == 2 && fast.stderr.contains("16000 samples per second"), "{}", fast.stderr);

    let words: Vec<String> = (0..62).map(|i| format!("w{i}")).collect();
    let table = world(&format!(
        "name: d\nversion: v1\npreprocess: {{table: {{columns: [{{age: {{mean: 40, std: 80, missing: 40}}}}, {{word: {{one_hot: [{}]}}}}, {{weight: {{}}}}]}}}}",
        words.join(", ")
    ));
    assert_eq!(pack(&table, &[]).ok().json()["raw_golden_cases"], 2);
    fs::write(table.path("rows.csv"), "weight,word,more,age\n0.5,w3,x,60\n0.25,w61,y,\n").expect("written");
    let ran = table.run(&["--json", "run", "d.ff", "--input", "rows.csv"]).ok().json();
    assert_eq!(ran["outputs"].as_array().expect("a list").len(), 2);
    for (text, code, words) in [
        ("word,age\nw1,3\n", "[577]", "no column 'weight'"),
        ("weight,word,age\n1,w99,3\n", "[349]", "column 2 is none of its categories"),
        ("weight,word,age\nheavy,w1,3\n", "[349]", "column 3 is not a finite number"),
        ("weight,word,age\n,w1,3\n", "[349]", "column 3 is empty"),
        ("weight,word,age\n", "[578]", "no input"),
    ] {
        fs::write(table.path("bad.csv"), text).expect("written");
        let ran = table.run(&["run", "d.ff", "--input", "bad.csv"]);
        assert!(ran.code == 2 && ran.stderr.contains(code) && ran.stderr.contains(words), "{text}: {}", ran.stderr);
    }
}

#[test]
fn the_schema_is_json() {
    let schema = World::new().run(&["schema", "bundle"]).ok().json();
    assert_eq!(schema["title"], "bundle.yaml");
}
