//! `preprocess.audio`.

use fleetfoot_format::{
    limits::{MAX_BANDS, MAX_FFT_LOG2},
    preprocess::{Audio, Features, Mel},
};
use fleetfoot_settings::{Fields, Node, Value};

use crate::{
    kinds::{count, divisor, real, whole},
    spectrum,
};

/// Settings with the tables that they point to.
pub(crate) struct Owned {
    rate_hz: u32,
    samples: u32,
    mean: f32,
    std: f32,
    mel: Option<OwnedMel>,
}

struct OwnedMel {
    frame: u32,
    hop: u32,
    fft_log2: u8,
    magnitude: bool,
    bands: u16,
    cepstra: u16,
    floor_q16: i32,
    unit: f32,
    window: Vec<u8>,
    twiddles: Vec<u8>,
    weights: Vec<u8>,
    cosines: Vec<u8>,
}

impl Owned {
    pub(crate) fn settings(&self) -> Audio<'_> {
        let features = match &self.mel {
            None => Features::Waveform,
            Some(mel) => Features::Mel(Mel {
                frame: mel.frame,
                hop: mel.hop,
                fft_log2: mel.fft_log2,
                magnitude: mel.magnitude,
                bands: mel.bands,
                cepstra: mel.cepstra,
                floor_q16: mel.floor_q16,
                unit: mel.unit,
                window: &mel.window,
                twiddles: &mel.twiddles,
                weights: &mel.weights,
                cosines: &mel.cosines,
            }),
        };
        Audio { rate_hz: self.rate_hz, samples: self.samples, features, mean: self.mean, std: self.std }
    }
}

/// The settings; `None` where a problem was told.
pub(crate) fn audio(fields: &mut Fields<'_>) -> Option<Owned> {
    let mut inner = fields.inner("audio")?;
    let rate_hz = inner.required("rate_hz", count, "samples per second, such as 16000");
    let samples = inner.required("samples", count, "how many are looked at, such as 16000 for a second of 16 kHz");
    let mean = inner.optional("mean", real).map_or(0.0, |(mean, _)| mean);
    let std = inner.optional("std", divisor).map_or(1.0, |(std, _)| std);
    let (wanted, mel) = (inner.has("mel"), mel(&mut inner, rate_hz.unwrap_or(16_000)));
    inner.finish();
    if wanted && mel.is_none() {
        return None;
    }
    Some(Owned { rate_hz: rate_hz?, samples: samples?, mean, std, mel })
}

fn mel(fields: &mut Fields<'_>, rate_hz: u32) -> Option<OwnedMel> {
    let mut inner = fields.inner("mel")?;
    let frame = inner.required("frame", count, "samples of a frame, such as 480");
    let hop = inner.required("hop", count, "samples from one frame to the next, such as 320");
    let fft = inner.required("fft", power_of_two, "length of the Fourier transform, a power of two such as 512");
    let window = inner.optional("window", window).map_or(spectrum::Window::Hann, |(window, _)| window);
    let magnitude = inner.required("energy", energy, "power or magnitude: what the bands add up");
    let bands = inner.required("bands", short, "such as 40");
    let low = inner.optional("low_hz", real).map_or(0.0, |(low, _)| low);
    let high = inner.optional("high_hz", real).map_or(rate_hz as f32 / 2.0, |(high, _)| high);
    let unit = inner.optional("log", logarithm).map_or(spectrum::NATURAL, |(unit, _)| unit);
    let floor = inner.required("floor", Fields::number_of, "the least energy that is told from silence, such as 1e-6");
    let cepstra = inner.optional("cepstra", whole).map_or(0, |(cepstra, _)| cepstra);
    if low < 0.0 || low >= high || high > rate_hz as f32 / 2.0 {
        inner.problem_at(
            "high_hz",
            format!("bands from {low} to {high} Hz are not possible"),
            "0 <= low_hz < high_hz <= rate_hz / 2",
        );
    }
    let short = frame.zip(fft).filter(|&(frame, fft)| frame > 1 << fft);
    if let Some((frame, fft)) = short {
        inner.problem_at("frame", format!("{frame} samples are more than the {} of fft", 1 << fft), "a longer fft");
    }
    let few = bands.filter(|&bands| cepstra > u32::from(bands));
    if let Some(bands) = few {
        inner.problem_at("cepstra", format!("{cepstra} of {bands} bands"), "as many as there are bands at most");
    }
    inner.finish();
    if short.is_some() || few.is_some() {
        return None;
    }
    let (frame, hop, fft, magnitude, bands) = (frame?, hop?, fft?, magnitude?, bands?);
    let cepstra = cepstra as u16;
    Some(OwnedMel {
        frame,
        hop,
        fft_log2: fft,
        magnitude,
        bands,
        cepstra,
        floor_q16: spectrum::log2_q16(floor?),
        unit,
        window: spectrum::window(window, frame),
        twiddles: spectrum::twiddles(1 << fft),
        weights: spectrum::mel_weights(1 << fft, bands, rate_hz, f64::from(low), f64::from(high)),
        cosines: spectrum::cosines(cepstra, bands),
    })
}

fn power_of_two(node: &Node) -> Result<u8, &'static str> {
    let length = count(node).ok().filter(|n| n.is_power_of_two()).map(|n| n.trailing_zeros() as u8);
    length.filter(|n| (2..=MAX_FFT_LOG2).contains(n)).ok_or("a power of two from 4 to 8192")
}

fn short(node: &Node) -> Result<u16, &'static str> {
    let short = count(node).ok().and_then(|n| u16::try_from(n).ok());
    short.filter(|&n| n <= MAX_BANDS).ok_or("a whole number from 1 to 256")
}

fn window(node: &Node) -> Result<spectrum::Window, &'static str> {
    match &node.value {
        Value::Text(text) if text == "hann" => Ok(spectrum::Window::Hann),
        Value::Text(text) if text == "hamming" => Ok(spectrum::Window::Hamming),
        Value::Text(text) if text == "rectangular" => Ok(spectrum::Window::Rectangular),
        _ => Err("hann, hamming or rectangular"),
    }
}

fn energy(node: &Node) -> Result<bool, &'static str> {
    match &node.value {
        Value::Text(text) if text == "magnitude" => Ok(true),
        Value::Text(text) if text == "power" => Ok(false),
        _ => Err("power or magnitude"),
    }
}

fn logarithm(node: &Node) -> Result<f32, &'static str> {
    match &node.value {
        Value::Text(text) => match text.as_str() {
            "natural" => Ok(spectrum::NATURAL),
            "log2" => Ok(spectrum::LOG2),
            "log10" => Ok(spectrum::LOG10),
            "decibel" => Ok(spectrum::DECIBEL),
            _ => Err("natural, log2, log10 or decibel"),
        },
        _ => Err("natural, log2, log10 or decibel"),
    }
}
