//! Raw inputs and answers on the command line: photos, recordings and tables through the bundle's own preprocessing.

use std::{path::Path, sync::Arc};

use fleetfoot::{
    Answer, Kernels, Model, Session,
    format::preprocess::{ImageStep, PixelValues, Preprocess, Program},
};
use fleetfoot_format::raw_golden::{Case, Raw};
use fleetfoot_quantize::{Data, RawInput, is_raw, read_raw};
use fleetfoot_trust::sha256;
use serde_json::{Value, json};

use crate::failure::{Exit, Failure};

/// The raw inputs of a file, for a model whose bundle prepares them.
pub(crate) fn read(path: &Path, model: &Model) -> Result<Vec<RawInput>, Failure> {
    let program = model.preprocess();
    let inputs = read_raw(path, program.as_ref()).map_err(Failure::from)?;
    if let Some(Preprocess::Audio(settings)) = program.map(|program| program.preprocess) {
        inputs.iter().try_for_each(|input| rate(path, input, settings.rate_hz))?;
    }
    Ok(inputs)
}

/// Whether the settings give levels from 0 to 255 as they are.
pub(crate) fn takes_levels(section: Option<&[u8]>) -> bool {
    let program = section.and_then(|section| Program::parse(section).ok());
    matches!(program.map(|program| program.preprocess), Some(Preprocess::Image(image)) if image.values == PixelValues::Levels)
}

/// Whether a file or folder holds raw inputs.
pub(crate) fn is_raw_data(path: &Path) -> bool {
    path.is_dir() || is_raw(path)
}

/// The model itself where it prepares raw inputs, else with the settings `section` for them.
pub(crate) fn with_section(model: Arc<Model>, section: Option<&[u8]>) -> Result<Arc<Model>, Failure> {
    match section {
        Some(section) if model.preprocess_section().is_none() => {
            let labels = model.labels().to_vec();
            Ok(Arc::new(Model::clone(&model).with_processing(Some(section), None, labels)?))
        }
        _ => Ok(model),
    }
}

/// Prepares a raw input of the file `path`: it is the input of the next run.
pub(crate) fn set(session: &mut Session, path: &Path, input: &RawInput) -> Result<(), Failure> {
    let program = session.model().preprocess();
    if let Some(Preprocess::Audio(settings)) = program.map(|program| program.preprocess) {
        rate(path, input, settings.rate_hz)?;
    }
    session.set_raw(input.raw, &input.bytes).map_err(|e| Failure::from(e).in_file(path))
}

fn rate(path: &Path, input: &RawInput, need: u32) -> Result<(), Failure> {
    let have = input.rate_hz;
    if have == 0 || have == need {
        return Ok(());
    }
    let what = format!("{have} samples per second, the model was made for {need}");
    Err(Failure::usage(what)
        .in_file(path)
        .code(fleetfoot::preprocess::PreprocessError::Rate { need_hz: need, have_hz: have }.code())
        .help(format!("resample it: sox {} -r {need} resampled.wav", path.display())))
}

/// Samples of a file, or raw ones of a folder or a file where there are settings that prepare them.
pub(crate) fn open_data(path: &Path, preprocess: Option<&[u8]>) -> Result<Data, Failure> {
    let raw = is_raw_data(path);
    match preprocess {
        Some(section) if raw => Ok(Data::open_raw(path, section)?),
        None if raw => Err(Failure::usage("raw inputs need preprocessing, and there is none")
            .in_file(path)
            .help("say in bundle.yaml how they become the input of the model: `preprocess`")),
        _ => Ok(Data::open(path)?),
    }
}

/// The bytes that the model takes for each of `inputs`.
pub(crate) fn prepare(session: &mut Session, path: &Path, inputs: &[RawInput]) -> Result<Vec<Vec<u8>>, Failure> {
    let mut prepared = Vec::with_capacity(inputs.len());
    for (number, input) in inputs.iter().enumerate() {
        let fault = |e: fleetfoot::Error| {
            let failure = Failure::from(e).in_file(path);
            match input.raw {
                // The first line has the names.
                Raw::Row { .. } => failure.help(format!("row {} of the table (not counting the names)", number + 1)),
                _ => failure,
            }
        };
        session.set_raw(input.raw, &input.bytes).map_err(fault)?;
        prepared.push(session.input_mut(0)?.to_vec());
    }
    Ok(prepared)
}

/// Golden cases that begin at `inputs`, and the inputs of the model that become of them.
pub(crate) fn golden_cases(model: &Model, inputs: &[RawInput]) -> Result<(Vec<Case>, Vec<Vec<u8>>), Failure> {
    let mut session = Session::new(Arc::new(model.clone()), Kernels::scalar())?;
    let (mut cases, mut prepared) = (Vec::new(), Vec::new());
    for input in inputs {
        session.set_raw(input.raw, &input.bytes)?;
        let bytes = session.input_mut(0)?.to_vec();
        session.run()?;
        // What a device could not read must not be released.
        if model.postprocess().is_some() {
            session.answer()?;
        }
        let mut outputs = Vec::new();
        for index in 0..model.engine().outputs().len() {
            outputs.extend_from_slice(session.output(index)?);
        }
        cases.push(Case { raw: input.raw, input_sha256: sha256(&bytes), output_sha256: sha256(&outputs) });
        prepared.push(bytes);
    }
    Ok((cases, prepared))
}

/// Raw inputs that depend on nothing but the settings: for goldens where nobody gave any.
pub(crate) fn seeded(model: &Model, count: usize) -> Result<Vec<RawInput>, Failure> {
    // xorshift64* (Vigna, arXiv 1402.6246).
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    let Some(program) = model.preprocess() else { return Ok(Vec::new()) };
    let input = model.engine().input(0).map_err(fleetfoot::Error::from)?;
    match &program.preprocess {
        Preprocess::Image(settings) => {
            let (h, w) = match input.dims[..] {
                [_, h, w, _] => (h, w),
                _ => (1, 1),
            };
            // The first size that the steps take.
            let sizes = match cropped(&settings.steps) {
                Some((w, h)) => vec![(w.saturating_add(3), h.saturating_add(2)), (w, h)],
                None => vec![(w + w / 2 + 1, h + h / 3 + 2), (w, h), (256, 341), (512, 384), (1024, 1024)],
            };
            let mut session = Session::new(Arc::new(model.clone()), Kernels::scalar())?;
            let mut image = |width: u32, height: u32| {
                let bytes = (0..3 * width as usize * height as usize).map(|_| next()).collect();
                RawInput { raw: Raw::Pixels { width, height }, rate_hz: 0, bytes }
            };
            for (width, height) in sizes {
                let first = image(width, height);
                if session.set_raw(first.raw, &first.bytes).is_ok() {
                    let rest = (1..count).map(|_| image(width, height));
                    return Ok(std::iter::once(first).chain(rest).collect());
                }
            }
            Err(Failure::usage("no size of an image that was tried suits the steps of preprocess.image")
                .help("give golden images: --golden photo.png"))
        }
        Preprocess::Audio(settings) => {
            let samples = settings.samples;
            let one = |_| {
                let bytes = (0..2 * samples).map(|_| next()).collect();
                RawInput { raw: Raw::Samples { count: samples }, rate_hz: settings.rate_hz, bytes }
            };
            Ok((0..count).map(one).collect())
        }
        Preprocess::Table(_) => Ok((0..count).map(|_| seeded_row(&program, &mut next)).collect()),
    }
}

/// The smallest image that crops before a resize leave something of; `None` where there is none of a fixed size.
fn cropped(steps: &[ImageStep]) -> Option<(u32, u32)> {
    let mut square = false;
    for step in steps {
        let (w, h) = match *step {
            ImageStep::CentreSquare => {
                square = true;
                continue;
            }
            ImageStep::Crop { left, top, width, height } => (left.saturating_add(width), top.saturating_add(height)),
            ImageStep::CentreCrop { width, height } => (width, height),
            ImageStep::Resize { .. } | ImageStep::ResizeShorter { .. } => return None,
        };
        return Some(if square { (w.max(h), w.max(h)) } else { (w, h) });
    }
    None
}

fn seeded_row(program: &Program<'_>, next: &mut impl FnMut() -> u8) -> RawInput {
    use fleetfoot_format::preprocess::{Cell, Encode};
    let cells: Vec<Cell<'_>> = program
        .columns()
        .map(|column| match column.encode {
            Encode::Number { mean, std, .. } => Cell::Number(mean + std * (f32::from(next()) / 64.0 - 2.0)),
            Encode::OneHot { categories, .. } => {
                let all: Vec<&str> = categories.split('\n').collect();
                Cell::Text(all[usize::from(next()) % all.len()])
            }
        })
        .collect();
    let bytes = fleetfoot_format::raw_golden::row(&cells);
    RawInput { raw: Raw::Row { len: bytes.len() as u32 }, rate_hz: 0, bytes }
}

/// An answer as rows of a table: what, value.
pub(crate) fn rows(answer: &Answer) -> Vec<Vec<String>> {
    let labelled = |index: usize, label: &Option<String>| match label {
        Some(label) => label.clone(),
        None => index.to_string(),
    };
    match answer {
        Answer::Classes(classes) => {
            classes.iter().map(|c| vec![labelled(c.index, &c.label), format!("{:.4}", c.score)]).collect()
        }
        Answer::Values { values, unit } => {
            let one = |(i, value): (usize, &f32)| vec![i.to_string(), format!("{value} {unit}").trim_end().to_owned()];
            values.iter().enumerate().map(one).collect()
        }
        Answer::Boxes(boxes) => boxes
            .iter()
            .map(|(d, label)| {
                let place = format!("y {:.4} to {:.4}, x {:.4} to {:.4}", d.top, d.bottom, d.left, d.right);
                vec![labelled(d.class, label), format!("{:.4} at {place}", d.score)]
            })
            .collect(),
    }
}

/// An answer for programs.
pub(crate) fn json(answer: &Answer) -> Value {
    match answer {
        Answer::Classes(classes) => {
            classes.iter().map(|c| json!({ "index": c.index, "value": c.score, "label": c.label })).collect()
        }
        Answer::Values { values, unit } => json!({ "values": values, "unit": unit }),
        Answer::Boxes(boxes) => boxes
            .iter()
            .map(|(d, label)| {
                json!({
                    "index": d.class, "value": d.score, "label": label,
                    "top": d.top, "left": d.left, "bottom": d.bottom, "right": d.right,
                })
            })
            .collect(),
    }
}

impl From<fleetfoot_quantize::RawError> for Failure {
    fn from(error: fleetfoot_quantize::RawError) -> Self {
        Self::new(Exit::Usage, &error).code(error.code())
    }
}

/// The text of a `bundle.yaml` as settings; its paths become paths beside it.
pub(crate) fn read_config(path: &Path) -> Result<fleetfoot_config::Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io("read", path, &e))?;
    let mut config = fleetfoot_config::read(&text).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        let what = format!("{} problems{}", problems.len(), lines.concat());
        Failure::usage(what)
            .in_file(path)
            .help("`fleetfoot schema bundle` prints the JSON Schema of this file for editors")
    })?;
    let beside = |file: &mut String| {
        if let Some(folder) = path.parent() {
            *file = folder.join(&*file).to_string_lossy().into_owned();
        }
    };
    config.golden.iter_mut().for_each(beside);
    [&mut config.baseline, &mut config.card].into_iter().flatten().for_each(beside);
    if let Some(fleetfoot_config::Labels::File(file)) = &mut config.labels {
        beside(file);
    }
    Ok(config)
}
