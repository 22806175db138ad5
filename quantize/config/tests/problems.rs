//! What `bundle.yaml` cannot say is told with its place and a way out, all of it at once.
#![allow(clippy::unwrap_used, reason = "this is a test")]

/// Path and problem of each.
fn problems(yaml: &str) -> Vec<String> {
    let problems = fleetfoot_config::read(yaml).unwrap_err();
    problems.iter().map(|problem| format!("{}: {} ({})", problem.path, problem.what, problem.hint)).collect()
}

#[test]
fn categories_and_labels_are_text() {
    let quotes = "write numbers and yes/no in quotes";
    for one in ["1.0", "007", "true", "1e3"] {
        let told =
            problems(&format!("labels: [a, {one}]\npreprocess: {{table: {{columns: [{{c: {{one_hot: [{one}]}}}}]}}}}"));
        assert!(told.len() == 2 && told.iter().all(|problem| problem.contains(quotes)), "{told:?}");
        let quoted =
            format!("labels: [a, \"{one}\"]\npreprocess: {{table: {{columns: [{{c: {{one_hot: ['{one}']}}}}]}}}}");
        let config = fleetfoot_config::read(&quoted).unwrap();
        let have = fleetfoot_config::Labels::List(vec!["a".into(), one.into()]);
        assert_eq!(config.labels, Some(have), "as it is written");
    }
}

#[test]
fn bands_are_bounded_before_anything_is_computed() {
    let of =
        |mel: &str| problems(&format!("preprocess: {{audio: {{rate_hz: 16000, samples: 16000, mel: {{{mel}}}}}}}"));
    let told = of("frame: 400, hop: 160, fft: 8192, energy: power, bands: 65535, cepstra: 65535, floor: 1e-6");
    assert!(told.len() == 1 && told[0].contains("1 to 256"), "{told:?}");
    let told = of("frame: 400, hop: 160, fft: 512, energy: power, bands: 40, cepstra: 41, floor: 1e-6");
    assert!(told.len() == 1 && told[0].contains("41 of 40 bands"), "{told:?}");
}

#[test]
fn every_problem_of_a_mel_spectrogram_is_told() {
    let mel = "frame: 600, hop: 160, fft: 512, windows: hann, bands: 40, floor: 1e-6";
    let told = problems(&format!("preprocess: {{audio: {{rate_hz: 16000, samples: 16000, mel: {{{mel}}}}}}}"));
    for part in ["did you mean `window`?", "energy: is missing", "600 samples are more than the 512"] {
        assert!(told.iter().any(|problem| problem.contains(part)), "{part}: {told:?}");
    }
}

#[test]
fn a_hint_shows_what_is_accepted() {
    let of = |step: &str| format!("preprocess: {{image: {{channels: rgb, values: levels, steps: [{step}]}}}}");
    let told = problems(&of("turn"));
    let example = told[0].split('`').nth(1).unwrap().strip_prefix("- ").unwrap();
    assert!(fleetfoot_config::read(&of(&format!("{{{example}}}"))).is_ok(), "{example}");
}
