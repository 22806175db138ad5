//! Raw inputs from files, as people have them: photos, recordings, tables. Decoders stand here and nowhere else.
//!
//! ```text
//! .png .jpg .bmp   -> red, green, blue per pixel; without alpha, as the file has them (EXIF turns nothing)
//! .wav             -> int16: of wider samples the upper 16 bits, of 8 bits times 256, of floats times 32768 rounded and clipped;
//!                     several channels are their mean, rounded half up
//! .csv             -> one row after another, columns by the names in the first line
//! ```

use std::{
    fs,
    path::{Path, PathBuf},
};

use fleetfoot_format::{
    FormatError,
    preprocess::{Cell, Program},
    raw_golden::{Raw, row},
};
use fleetfoot_preprocess::PreprocessError;
use thiserror::Error;

/// A raw input: what it is and its bytes, as the section *raw golden* holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawInput {
    /// What the bytes are.
    pub raw: Raw,
    /// Samples per second of audio; else 0.
    pub rate_hz: u32,
    /// Pixels, samples or cells.
    pub bytes: Vec<u8>,
}

/// Why a file is no raw input: codes 575 to 578.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RawError {
    /// The operating system refused it.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not decode.
    #[error("{}: {what}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        what: String,
    },
    /// A table has no column of a name.
    #[error("{}: there is no column '{column}', the first line has: {}", path.display(), have.join(", "))]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Columns that are there.
        have: Vec<String>,
    },
    /// A file does not become the input of the model.
    #[error("{}: {source}", path.display())]
    Prepare {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PreprocessError,
    },
    /// The settings do not decode.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It holds nothing.
    #[error("{}: there is no input in it", path.display())]
    Empty {
        /// The file or folder.
        path: PathBuf,
    },
}

impl RawError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::File { .. } => 575,
            Self::Decode { .. } => 576,
            Self::Column { .. } => 577,
            Self::Empty { .. } => 578,
            Self::Prepare { source, .. } => source.code(),
            Self::Format(inner) => inner.code(),
        }
    }
}

/// Whether a file of this name holds raw inputs.
#[must_use]
pub fn is_raw(path: &Path) -> bool {
    matches!(extension(path).as_str(), "png" | "jpg" | "jpeg" | "bmp" | "wav" | "csv")
}

/// The raw inputs of a file: one, or as many as a table has rows. Columns of tables are those of `program`.
///
/// # Errors
/// A [`RawError`] that names the file.
pub fn read_raw(path: &Path, program: Option<&Program<'_>>) -> Result<Vec<RawInput>, RawError> {
    match extension(path).as_str() {
        "wav" => wav(path).map(|one| vec![one]),
        "csv" => csv(path, program),
        _ => image(path).map(|one| vec![one]),
    }
}

/// The files with raw inputs in a folder, in the order of their names; those in folders inside it behind them.
///
/// # Errors
/// [`RawError::File`], or [`RawError::Empty`] where there is none.
pub fn raw_files(folder: &Path) -> Result<Vec<PathBuf>, RawError> {
    let mut files = Vec::new();
    walk(folder, 0, &mut files)?;
    if files.is_empty() { Err(RawError::Empty { path: folder.into() }) } else { Ok(files) }
}

fn walk(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) -> Result<(), RawError> {
    let fault = |source| RawError::File { path: folder.into(), source };
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(fault)? {
        entries.push(entry.map_err(fault)?.path());
    }
    entries.sort();
    files.extend(entries.iter().filter(|path| path.is_file() && is_raw(path)).cloned());
    // Deeper than anybody sorts pictures: links could lead in circles.
    for inner in entries.iter().filter(|path| path.is_dir() && depth < MAX_DEPTH) {
        walk(inner, depth + 1, files)?;
    }
    Ok(())
}

fn extension(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn image(path: &Path) -> Result<RawInput, RawError> {
    let fault = |source| RawError::File { path: path.into(), source };
    let mut reader = image::ImageReader::open(path).map_err(fault)?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODED_LEN);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(fault)?;
    let image = reader.decode().map_err(|e| RawError::Decode { path: path.into(), what: e.to_string() })?;
    let (width, height) = (image.width(), image.height());
    Ok(RawInput { raw: Raw::Pixels { width, height }, rate_hz: 0, bytes: image.into_rgb8().into_raw() })
}

fn wav(path: &Path) -> Result<RawInput, RawError> {
    let fault = |e: hound::Error| match e {
        hound::Error::IoError(source) => RawError::File { path: path.into(), source },
        other => RawError::Decode { path: path.into(), what: other.to_string() },
    };
    let mut reader = hound::WavReader::open(path).map_err(fault)?;
    let spec = reader.spec();
    let channels = usize::from(spec.channels.max(1));
    let shift = i32::from(spec.bits_per_sample) - 16;
    let samples: Vec<i16> = match spec.sample_format {
        hound::SampleFormat::Float => {
            let sample = |x: f32| (x * 32_768.0).round_ties_even().clamp(-32_768.0, 32_767.0) as i16;
            reader.samples::<f32>().map(|x| x.map(sample)).collect::<Result<_, _>>()
        }
        hound::SampleFormat::Int => {
            let sample = |x: i32| (x >> shift.max(0) << (-shift).max(0)) as i16;
            reader.samples::<i32>().map(|x| x.map(sample)).collect::<Result<_, _>>()
        }
    }
    .map_err(fault)?;
    let mean = |frame: &[i16]| {
        let sum: i64 = frame.iter().map(|&s| i64::from(s)).sum();
        let n = channels as i64;
        (2 * sum + n).div_euclid(2 * n) as i16
    };
    let bytes: Vec<u8> = samples.chunks_exact(channels).flat_map(|frame| mean(frame).to_le_bytes()).collect();
    if bytes.is_empty() {
        return Err(RawError::Empty { path: path.into() });
    }
    Ok(RawInput { raw: Raw::Samples { count: (bytes.len() / 2) as u32 }, rate_hz: spec.sample_rate, bytes })
}

fn csv(path: &Path, program: Option<&Program<'_>>) -> Result<Vec<RawInput>, RawError> {
    let fault = |e: csv::Error| RawError::Decode { path: path.into(), what: e.to_string() };
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(fault)?;
    let have: Vec<String> = reader.headers().map_err(fault)?.iter().map(str::to_owned).collect();
    let mut places = Vec::new();
    for column in program.into_iter().flat_map(Program::columns) {
        let place = have.iter().position(|name| name == column.name).ok_or_else(|| RawError::Column {
            path: path.into(),
            column: column.name.into(),
            have: have.clone(),
        })?;
        places.push(place);
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(fault)?;
        let cell = |&place: &usize| match record.get(place) {
            None | Some("") => Cell::Missing,
            Some(text) => Cell::Text(text),
        };
        let bytes = row(&places.iter().map(cell).collect::<Vec<_>>());
        rows.push(RawInput { raw: Raw::Row { len: bytes.len() as u32 }, rate_hz: 0, bytes });
    }
    if rows.is_empty() { Err(RawError::Empty { path: path.into() }) } else { Ok(rows) }
}

/// Bytes that a picture may take when it is decoded.
const MAX_DECODED_LEN: u64 = 512 << 20;
/// Folders inside one another.
const MAX_DEPTH: u32 = 4;
