//! Raw inputs and answers: what a bundle says about pre- and postprocessing, for the sessions of its model.
//!
//! ```text
//! set_image, set_audio, set_row  ->  run  ->  answer
//! ```

use fleetfoot_engine as engine;
use fleetfoot_format::{
    bundle::SectionKind,
    graph::IoType,
    postprocess::Postprocess,
    preprocess::{Cell, Preprocess, Program},
    raw_golden::{Case, Raw, cells},
};
use fleetfoot_preprocess::{self as preprocess, Class, Detection, Output, Pixels, PreprocessError, Rgb, Tensor};

use crate::{error::Error, map::Bytes, model::Model, session::Session};

/// The sections of a bundle that are about raw inputs and answers. They are copies, as the graph is, and were checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processing {
    preprocess: Option<Bytes>,
    postprocess: Option<Bytes>,
    labels: Vec<String>,
}

/// What a model says, as the bundle tells to read it.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The best classes, the best one first.
    Classes(Vec<Label>),
    /// Numbers of a unit.
    Values {
        /// In the order of the output.
        values: Vec<f32>,
        /// What they are counted in; may be empty.
        unit: String,
    },
    /// Boxes, the best one first.
    Boxes(Vec<(Detection, Option<String>)>),
}

/// A class of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Its index.
    pub index: usize,
    /// Its score.
    pub score: f32,
    /// Its label, where the bundle has one.
    pub label: Option<String>,
}

impl Processing {
    /// Checks both sections against the model that they are for.
    pub(crate) fn new(
        engine: &engine::Model<Bytes>,
        preprocess: Option<&[u8]>,
        postprocess: Option<&[u8]>,
        labels: Vec<String>,
    ) -> Result<Self, Error> {
        // Copied first: what is checked is what stays.
        let [preprocess, postprocess] = [preprocess, postprocess].map(|bytes| bytes.map(Bytes::aligned_copy));
        if let Some(bytes) = &preprocess {
            let program = Program::parse(bytes.as_ref())?;
            if engine.inputs().len() != 1 {
                let (need, have) = (engine.inputs().len() as u64, 1);
                return Err(PreprocessError::Shape { what: "inputs", need, have }.into());
            }
            preprocess::check(&program, &tensor(engine.input(0)?))?;
        }
        if let Some(bytes) = &postprocess {
            let outputs: Vec<Tensor<'_>> = engine.outputs().iter().map(tensor).collect();
            preprocess::check_answers(&Postprocess::parse(bytes.as_ref())?, &outputs)?;
        }
        Ok(Self { preprocess, postprocess, labels })
    }

    /// Bytes that it takes.
    pub(crate) fn len(&self) -> usize {
        [&self.preprocess, &self.postprocess].into_iter().flatten().map(|bytes| bytes.as_ref().len()).sum()
    }

    fn program(&self) -> Option<Program<'_>> {
        Program::reread(self.preprocess.as_ref()?.as_ref())
    }

    fn answers(&self) -> Option<Postprocess<'_>> {
        Postprocess::reread(self.postprocess.as_ref()?.as_ref())
    }
}

impl Model {
    /// What the bundle says about raw inputs.
    #[must_use]
    pub fn preprocess(&self) -> Option<Program<'_>> {
        self.processing.program()
    }

    /// The section *preprocess* as the bundle has it.
    #[must_use]
    pub fn preprocess_section(&self) -> Option<&[u8]> {
        self.processing.preprocess.as_ref().map(AsRef::as_ref)
    }

    /// What the bundle says about answers.
    #[must_use]
    pub fn postprocess(&self) -> Option<Postprocess<'_>> {
        self.processing.answers()
    }

    /// Labels of the classes; may be empty.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.processing.labels
    }

    /// Numbers of scratch that preparing an input takes.
    pub(crate) fn preprocess_scratch_len(&self) -> usize {
        match self.preprocess().map(|program| program.preprocess) {
            Some(Preprocess::Audio(settings)) => preprocess::scratch_len(&settings),
            _ => 0,
        }
    }
}

impl Session {
    /// Prepares `pixels` as the bundle says: they are the input of the next run.
    ///
    /// # Errors
    /// [`Error::NotInBundle`] where it says nothing, [`Error::Preprocess`] where it is about something else or the image does not fit.
    pub fn set_image(&mut self, pixels: &impl Pixels) -> Result<(), Error> {
        self.prepare("an image", |program, tensor, _, input| match &program.preprocess {
            Preprocess::Image(settings) => Some(preprocess::image(settings, tensor, pixels, input)),
            _ => None,
        })
    }

    /// Prepares `samples` of one channel, `rate_hz` per second.
    ///
    /// # Errors
    /// As [`set_image`](Self::set_image), and where the model was made for another rate.
    pub fn set_audio(&mut self, rate_hz: u32, samples: &[i16]) -> Result<(), Error> {
        self.prepare("audio", |program, tensor, scratch, input| match &program.preprocess {
            Preprocess::Audio(settings) if settings.rate_hz != rate_hz => {
                Some(Err(PreprocessError::Rate { need_hz: settings.rate_hz, have_hz: rate_hz }))
            }
            Preprocess::Audio(settings) => Some(preprocess::audio(settings, tensor, samples, scratch, input)),
            _ => None,
        })
    }

    /// Prepares the cells of a row, in the order of the columns of the bundle.
    ///
    /// # Errors
    /// As [`set_image`](Self::set_image), with the column where a cell has no encoding.
    pub fn set_row(&mut self, row: &[Cell<'_>]) -> Result<(), Error> {
        self.prepare("a row", |program, tensor, _, input| match program.preprocess {
            Preprocess::Table(_) => Some(preprocess::row(program, tensor, row.iter().copied(), input)),
            _ => None,
        })
    }

    /// Real numbers into input `index`, quantized as QUANTIZE does it (`docs/preprocessing.md`); a float32 input takes them as they are.
    ///
    /// # Errors
    /// [`Error::Engine`] where there is no such input, [`Error::Preprocess`] where it has another length or is of integers that are not quantized.
    pub fn set_input_f32(&mut self, index: usize, values: &[f32]) -> Result<(), Error> {
        self.set_reals(index, values.len(), values.iter().copied())
    }

    /// As [`set_input_f32`](Self::set_input_f32), from the bits of half-precision numbers, which single precision holds exactly.
    ///
    /// # Errors
    /// As there.
    pub fn set_input_f16(&mut self, index: usize, bits: &[u16]) -> Result<(), Error> {
        self.set_reals(index, bits.len(), bits.iter().map(|&bits| preprocess::f16_to_f32(bits)))
    }

    fn set_reals(&mut self, index: usize, have: usize, values: impl Iterator<Item = f32>) -> Result<(), Error> {
        let input = self.model.engine().input(index)?;
        let door = tensor(input);
        let (size, need) = (input.dtype.size(), input.span.len as usize / input.dtype.size());
        if !matches!(input.dtype, IoType::Int8 | IoType::UInt8 | IoType::Float32) {
            return Err(PreprocessError::ElementType { have: input.dtype }.into());
        }
        if need != have {
            return Err(PreprocessError::Buffer { what: "the input", need, have }.into());
        }
        let bytes = &mut self.arena.as_mut()[input.span.range()];
        for (element, value) in bytes.chunks_exact_mut(size).zip(values) {
            element.copy_from_slice(&door.element(value)[..size]);
        }
        Ok(())
    }

    /// The outputs of the last run, read as the bundle says.
    ///
    /// # Errors
    /// [`Error::NotInBundle`] where it says nothing, [`Error::Preprocess`] where an output does not hold what it should.
    pub fn answer(&self) -> Result<Answer, Error> {
        let program = self.model.postprocess().ok_or(Error::NotInBundle { what: "postprocessing" })?;
        let labels = self.model.labels();
        let output = |index: u8| -> Result<Output<'_>, Error> {
            let tensor = self.model.engine().output(index.into())?;
            let (dtype, scale, zero_point) = (tensor.dtype, tensor.scale, tensor.zero_point);
            Ok(Output { dtype, scale, zero_point, bytes: self.output(index.into())? })
        };
        Ok(match program {
            Postprocess::Classes(settings) => {
                let mut best = vec![Class::default(); settings.top.into()];
                let count = preprocess::classes(&settings, &output(settings.output)?, &mut best)?;
                best.truncate(count);
                let label = |Class { index, score }: Class| Label { index, score, label: labels.get(index).cloned() };
                Answer::Classes(best.into_iter().map(label).collect())
            }
            Postprocess::Values(settings) => {
                let output = output(settings.output)?;
                let reals = (0..output.len()).filter_map(|i| output.real(i));
                let values = reals.map(|real| real * settings.scale + settings.offset).collect();
                Answer::Values { values, unit: settings.unit.into() }
            }
            Postprocess::Boxes(settings) => {
                let mut found = vec![Detection::default(); settings.top.into()];
                let (places, scores) = (output(settings.boxes)?, output(settings.scores)?);
                let count = preprocess::boxes(&settings, &places, &scores, &mut found)?;
                found.truncate(count);
                Answer::Boxes(found.into_iter().map(|one| (one, labels.get(one.class).cloned())).collect())
            }
        })
    }

    /// Prepares a case of the section *raw golden*, runs, and returns the SHA-256 of the input and of all outputs.
    ///
    /// # Errors
    /// As the setters.
    pub fn run_raw_golden(&mut self, case: &Case, bytes: &[u8]) -> Result<([u8; 32], [u8; 32]), Error> {
        self.set_raw(case.raw, bytes)?;
        let input = fleetfoot_trust::sha256(self.input_mut(0)?);
        self.run()?;
        Ok((input, self.output_sha256()?))
    }

    /// Prepares raw bytes as a case of the section *raw golden* holds them.
    ///
    /// # Errors
    /// As the setters, and [`Error::Format`] for cells that do not decode.
    pub fn set_raw(&mut self, raw: Raw, bytes: &[u8]) -> Result<(), Error> {
        match raw {
            Raw::Pixels { width, height } => self.set_image(&Rgb::new(width, height, bytes)?),
            Raw::Samples { .. } => {
                let samples: Vec<i16> = bytes.as_chunks().0.iter().map(|&s| i16::from_le_bytes(s)).collect();
                let rate_hz = match self.model.preprocess().map(|program| program.preprocess) {
                    Some(Preprocess::Audio(settings)) => settings.rate_hz,
                    _ => 0,
                };
                self.set_audio(rate_hz, &samples)
            }
            Raw::Row { .. } => {
                let malformed = fleetfoot_format::FormatError::Malformed { what: "row of a raw golden case" };
                let row: Option<Vec<Cell<'_>>> = cells(bytes).collect();
                self.set_row(&row.ok_or(malformed)?)
            }
        }
    }

    /// `with` answers `None` where the bundle prepares something else than `have`.
    fn prepare(
        &mut self,
        have: &'static str,
        with: impl FnOnce(&Program<'_>, &Tensor<'_>, &mut [i32], &mut [u8]) -> Option<Result<(), PreprocessError>>,
    ) -> Result<(), Error> {
        let program = self.model.preprocess().ok_or(Error::NotInBundle { what: "preprocessing" })?;
        let input = self.model.engine().input(0)?;
        let bytes = &mut self.arena.as_mut()[input.span.range()];
        let done = with(&program, &tensor(input), &mut self.scratch, bytes);
        done.unwrap_or_else(|| {
            let need = match program.preprocess {
                Preprocess::Image(_) => "images",
                Preprocess::Audio(_) => "audio",
                Preprocess::Table(_) => "rows of a table",
            };
            Err(PreprocessError::Kind { need, have })
        })?;
        Ok(())
    }
}

fn tensor(tensor: &engine::Tensor) -> Tensor<'_> {
    Tensor { dtype: tensor.dtype, dims: &tensor.dims, scale: tensor.scale, zero_point: tensor.zero_point }
}

/// The sections that are about raw inputs and answers.
pub(crate) const SECTIONS: [SectionKind; 2] = [SectionKind::PREPROCESS, SectionKind::POSTPROCESS];
