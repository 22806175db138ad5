//! The section *preprocess*: how a raw input becomes the bytes of the model's input.
//!
//! ```text
//! postcard(Preprocess)         then, for a table, postcard(Column) once for each column
//! ```
//! The model has one input. What each setting means, to the bit, is in `docs/preprocessing.md`; the crate `fleetfoot-preprocess` does it.
//! Tables that need a sine or a logarithm (windows, twiddle factors, mel weights, cosines) are made when the bundle is packed and
//! stored, so that no device computes one.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    error::{FormatError, in_range, within},
    limits::{
        MAX_AUDIO_SAMPLES, MAX_BANDS, MAX_CATEGORIES, MAX_COLUMNS, MAX_FFT_LOG2, MAX_IMAGE_EXTENT, MAX_IMAGE_STEPS,
    },
};

/// The program, and what stands behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Program<'a> {
    /// What to do.
    pub preprocess: Preprocess<'a>,
    columns: &'a [u8],
}

/// What a raw input is, and what is done to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Preprocess<'a> {
    /// Pixels.
    Image(Image),
    /// Samples of one channel.
    #[serde(borrow)]
    Audio(Audio<'a>),
    /// A row of a table.
    Table(Table),
}

/// From pixels to `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// One after another; at most one of them resizes.
    pub steps: Vec<ImageStep, MAX_IMAGE_STEPS>,
    /// Which numbers of a pixel, and in what order.
    pub channels: Channels,
    /// What the numbers are for the model.
    pub values: PixelValues,
}

/// A step on pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageStep {
    /// Keeps a rectangle.
    Crop {
        /// Columns that are left out on the left.
        left: u32,
        /// Rows that are left out above.
        top: u32,
        /// Columns that stay.
        width: u32,
        /// Rows that stay.
        height: u32,
    },
    /// Keeps a rectangle in the middle; of an odd rest the smaller half is left out on the left and above.
    CentreCrop {
        /// Columns that stay.
        width: u32,
        /// Rows that stay.
        height: u32,
    },
    /// Keeps the largest square in the middle.
    CentreSquare,
    /// To a size, whatever the ratio.
    Resize {
        /// Columns.
        width: u32,
        /// Rows.
        height: u32,
        /// How.
        filter: Filter,
    },
    /// The shorter side to a length, the other in proportion, rounded down.
    ResizeShorter {
        /// Of the shorter side.
        length: u32,
        /// How.
        filter: Filter,
    },
}

/// An algorithm that resizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Filter {
    /// The pixel that lies under the centre.
    Nearest,
    /// Between four pixels, half a pixel is the centre.
    BilinearHalfPixel,
    /// Between four pixels, the outermost stay the outermost.
    BilinearAlignCorners,
    /// The mean of all that a pixel covers, by their areas.
    Area,
    /// A triangle as wide as the reduction, the `BILINEAR` of Pillow.
    BilinearAntialias,
}

/// Which numbers of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One: luma.
    Grey,
}

impl Channels {
    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// What the levels 0 to 255 are for the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum PixelValues {
    /// As they are: the lowest is the lowest of the element type.
    Levels,
    /// Real numbers `(level / divide - mean[c]) / std[c]`, quantized as the input is; `c` counts in the order of `channels`.
    Real {
        /// Not 0, finite.
        divide: f32,
        /// Finite.
        mean: [f32; 3],
        /// Not 0, finite.
        std: [f32; 3],
    },
}

/// From samples to a waveform or to `[frames, features]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Audio<'a> {
    /// Samples per second.
    pub rate_hz: u32,
    /// Samples that are looked at; a shorter input is followed by zeros, what is longer is left out.
    pub samples: u32,
    /// What is made of them.
    #[serde(borrow)]
    pub features: Features<'a>,
    /// Subtracted from every feature.
    pub mean: f32,
    /// Divides it then.
    pub std: f32,
}

/// What the model hears.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Features<'a> {
    /// Samples, 32768 is 1.
    Waveform,
    /// Logarithms of the energies of mel bands, and cepstra of them.
    #[serde(borrow)]
    Mel(Mel<'a>),
}

/// Logarithmic mel energies of overlapping frames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mel<'a> {
    /// Samples of a frame.
    pub frame: u32,
    /// Samples from one frame to the next.
    pub hop: u32,
    /// Logarithm to base 2 of the length of the Fourier transform, which is not below `frame`.
    pub fft_log2: u8,
    /// Whether energies are magnitudes; else their squares.
    pub magnitude: bool,
    /// Bands.
    pub bands: u16,
    /// Coefficients of the cosine transform of the bands; 0 where the bands themselves are the features.
    pub cepstra: u16,
    /// Lowest logarithm to base 2, in 1/65536.
    pub floor_q16: i32,
    /// What one 65536th of an octave is for the model: `ln 2 / 65536` for natural logarithms.
    pub unit: f32,
    /// `frame` u16, 32768 is 1.
    pub window: &'a [u8],
    /// `fft / 2` pairs of i32, cosine and minus sine of `2 pi k / fft`; 2^30 is 1.
    pub twiddles: &'a [u8],
    /// For each of `fft / 2 + 1` lines three u16: a band, the weight of the line there, its weight in the band before; 32768 is 1.
    pub weights: &'a [u8],
    /// `[cepstra][bands]` i16; 32768 is 1.
    pub cosines: &'a [u8],
}

impl Mel<'_> {
    /// Length of the Fourier transform.
    #[must_use]
    pub const fn fft(&self) -> usize {
        1 << self.fft_log2
    }

    /// Frames of `samples`.
    #[must_use]
    pub const fn frames(&self, samples: u32) -> usize {
        match samples.checked_sub(self.frame) {
            Some(rest) => (rest / self.hop) as usize + 1,
            None => 0,
        }
    }

    /// Features of a frame.
    #[must_use]
    pub const fn features(&self) -> usize {
        if self.cepstra == 0 { self.bands as usize } else { self.cepstra as usize }
    }
}

/// From a row to its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Columns; they stand behind this.
    pub columns: u16,
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column<'a> {
    /// Its name.
    pub name: &'a str,
    /// What becomes of its cells.
    #[serde(borrow)]
    pub encode: Encode<'a>,
}

/// What becomes of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Encode<'a> {
    /// One feature `(x - mean) / std`.
    Number {
        /// Subtracted.
        mean: f32,
        /// Divides; not 0.
        std: f32,
        /// Taken where the cell is empty; without it such a row is refused.
        missing: Option<f32>,
    },
    /// One feature for each category: 1 for that of the cell, 0 for the others.
    OneHot {
        /// One per line.
        categories: &'a str,
        /// Whether a cell of another category is all zeros; else such a row is refused.
        unknown_is_zeros: bool,
        /// Whether an empty cell is all zeros; else such a row is refused.
        missing_is_zeros: bool,
    },
}

impl Encode<'_> {
    /// Features of a cell.
    #[must_use]
    pub fn features(&self) -> usize {
        match self {
            Self::Number { .. } => 1,
            Self::OneHot { categories, .. } => categories.split('\n').count(),
        }
    }
}

/// A cell of a row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Cell<'a> {
    /// Empty.
    Missing,
    /// A number.
    Number(f32),
    /// A word.
    Text(&'a str),
}

impl<'a> Program<'a> {
    /// Decodes and bounds the section.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OverLimit`] or [`FormatError::OutOfRange`] with the field.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let Ok((preprocess, columns)) = postcard::take_from_bytes::<Preprocess<'a>>(bytes) else {
            return Err(FormatError::Malformed { what: "preprocess section" });
        };
        let program = Self { preprocess, columns };
        match &program.preprocess {
            Preprocess::Image(image) => check_image(image)?,
            Preprocess::Audio(audio) => check_audio(audio)?,
            Preprocess::Table(table) => check_table(*table, columns)?,
        }
        if !columns.is_empty() && !matches!(program.preprocess, Preprocess::Table(_)) {
            return Err(FormatError::Malformed { what: "preprocess section" });
        }
        Ok(program)
    }

    /// Decodes a section that [`parse`](Self::parse) took before, without its checks. Nothing where it does not decode.
    #[must_use]
    pub fn reread(bytes: &'a [u8]) -> Option<Self> {
        let (preprocess, columns) = postcard::take_from_bytes(bytes).ok()?;
        Some(Self { preprocess, columns })
    }

    /// The columns of a table; none for other inputs.
    pub fn columns(&self) -> impl Iterator<Item = Column<'a>> {
        Columns { rest: self.columns }
    }
}

/// Columns in the order of the section; ends where one does not decode, which [`Program::parse`] has excluded.
struct Columns<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Columns<'a> {
    type Item = Column<'a>;

    fn next(&mut self) -> Option<Column<'a>> {
        let (column, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(column)
    }
}

fn check_image(image: &Image) -> Result<(), FormatError> {
    let extent = |value: u32| {
        if value == 0 {
            return Err(FormatError::OutOfRange { what: "extent of an image step" });
        }
        within("extent of an image step", u64::from(value), u64::from(MAX_IMAGE_EXTENT))
    };
    let mut resizes = 0;
    for step in &image.steps {
        match *step {
            ImageStep::Crop { left, top, width, height } => {
                for value in [width, height] {
                    extent(value)?;
                }
                for value in [left, top] {
                    within("offset of a crop", u64::from(value), u64::from(MAX_IMAGE_EXTENT))?;
                }
            }
            ImageStep::CentreCrop { width, height } => {
                extent(width)?;
                extent(height)?;
            }
            ImageStep::CentreSquare => {}
            ImageStep::Resize { width, height, .. } => {
                extent(width)?;
                extent(height)?;
                resizes += 1;
            }
            ImageStep::ResizeShorter { length, .. } => {
                extent(length)?;
                resizes += 1;
            }
        }
    }
    within("resizes of an image", resizes, 1)?;
    let real = match image.values {
        PixelValues::Levels => true,
        PixelValues::Real { divide, mean, std } => {
            divisor(divide) && mean.iter().all(|v| v.is_finite()) && std.iter().all(|&v| divisor(v))
        }
    };
    in_range(real, "normalisation of pixels")
}

fn check_audio(audio: &Audio<'_>) -> Result<(), FormatError> {
    in_range(audio.rate_hz > 0 && audio.rate_hz <= 768_000, "sampling rate")?;
    in_range(audio.samples > 0, "length of the audio")?;
    within("length of the audio", u64::from(audio.samples), u64::from(MAX_AUDIO_SAMPLES))?;
    in_range(audio.mean.is_finite() && divisor(audio.std), "normalisation of features")?;
    let Features::Mel(mel) = &audio.features else { return Ok(()) };
    within("length of the Fourier transform (log2)", u64::from(mel.fft_log2), u64::from(MAX_FFT_LOG2))?;
    in_range(mel.fft_log2 >= 2, "length of the Fourier transform")?;
    let fft = mel.fft();
    in_range(mel.frame > 0 && mel.frame as usize <= fft && mel.frame <= audio.samples, "length of a frame")?;
    in_range(mel.hop > 0, "hop of frames")?;
    in_range(mel.bands > 0 && mel.cepstra <= mel.bands, "number of bands or cepstra")?;
    within("mel bands", u64::from(mel.bands), u64::from(MAX_BANDS))?;
    in_range(mel.unit.is_finite() && mel.unit != 0.0, "unit of the logarithm")?;
    in_range((-(1 << 24)..1 << 24).contains(&mel.floor_q16), "floor of the logarithm")?;
    in_range(mel.window.len() == 2 * mel.frame as usize, "length of the window")?;
    in_range(mel.window.as_chunks().0.iter().all(|&w| u16::from_le_bytes(w) <= 32_768), "weight of the window")?;
    in_range(mel.twiddles.len() == 4 * fft, "length of the twiddle factors")?;
    let unit = |&w: &[u8; 4]| i32::from_le_bytes(w).unsigned_abs() <= 1 << 30;
    in_range(mel.twiddles.as_chunks().0.iter().all(unit), "twiddle factor")?;
    in_range(mel.weights.len() == 6 * (fft / 2 + 1), "length of the mel weights")?;
    let mut before = 0;
    for &[b0, b1, u0, u1, d0, d1] in mel.weights.as_chunks::<6>().0 {
        let (band, up, down) =
            (u16::from_le_bytes([b0, b1]), u16::from_le_bytes([u0, u1]), u16::from_le_bytes([d0, d1]));
        in_range(before <= band && band <= mel.bands && up <= 32_768 && down <= 32_768, "weight of a mel band")?;
        before = band;
    }
    in_range(
        mel.cosines.len() == 2 * usize::from(mel.cepstra) * usize::from(mel.bands),
        "length of the cosine transform",
    )
}

fn check_table(table: Table, mut rest: &[u8]) -> Result<(), FormatError> {
    in_range(table.columns > 0, "number of columns")?;
    within("columns of a table", u64::from(table.columns), MAX_COLUMNS as u64)?;
    for _ in 0..table.columns {
        let Ok((column, after)) = postcard::take_from_bytes::<Column<'_>>(rest) else {
            return Err(FormatError::Malformed { what: "column of the preprocess section" });
        };
        rest = after;
        match column.encode {
            Encode::Number { mean, std, missing } => {
                let finite = mean.is_finite() && divisor(std) && missing.is_none_or(f32::is_finite);
                in_range(finite, "scaling of a column")?;
            }
            Encode::OneHot { .. } => {
                within("categories of a column", column.encode.features() as u64, MAX_CATEGORIES as u64)?;
            }
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(FormatError::Malformed { what: "preprocess section" }) }
}

pub(crate) fn divisor(value: f32) -> bool {
    value.is_finite() && value != 0.0
}

/// Writes the section.
///
/// # Errors
/// As [`Program::parse`].
#[cfg(feature = "alloc")]
pub fn write(preprocess: &Preprocess<'_>, columns: &[Column<'_>]) -> Result<alloc::vec::Vec<u8>, FormatError> {
    let malformed = |_| FormatError::Malformed { what: "preprocess section" };
    let mut bytes = postcard::to_allocvec(preprocess).map_err(malformed)?;
    for column in columns {
        bytes.extend(postcard::to_allocvec(column).map_err(malformed)?);
    }
    Program::parse(&bytes)?;
    Ok(bytes)
}

#[cfg(all(test, feature = "alloc"))]
mod tests {
    use super::*;

    fn image(steps: &[ImageStep], values: PixelValues) -> Preprocess<'static> {
        Preprocess::Image(Image { steps: steps.iter().copied().collect(), channels: Channels::Rgb, values })
    }

    fn table<'a>() -> (Preprocess<'a>, [Column<'a>; 2]) {
        let number = Encode::Number { mean: 1.0, std: 2.0, missing: Some(0.0) };
        let words = Encode::OneHot { categories: "red\ngreen", unknown_is_zeros: true, missing_is_zeros: false };
        let columns = [Column { name: "age", encode: number }, Column { name: "colour", encode: words }];
        (Preprocess::Table(Table { columns: 2 }), columns)
    }

    #[test]
    fn round_trip_and_every_cut() {
        let (program, columns) = table();
        let bytes = write(&program, &columns).unwrap();
        let parsed = Program::parse(&bytes).unwrap();
        assert_eq!(parsed.preprocess, program);
        assert_eq!(parsed.columns().collect::<alloc::vec::Vec<_>>(), columns);
        for cut in 0..bytes.len() {
            assert_eq!(Program::parse(&bytes[..cut]).unwrap_err().code(), 105, "cut at {cut}");
        }
        let mut longer = bytes;
        longer.push(0);
        assert_eq!(Program::parse(&longer).unwrap_err().code(), 105);
    }

    fn refused(program: &Preprocess<'_>, columns: &[Column<'_>], code: u16) {
        assert_eq!(write(program, columns).unwrap_err().code(), code, "{program:?}");
    }

    #[test]
    fn what_is_no_program() {
        let resize = ImageStep::Resize { width: 8, height: 8, filter: Filter::Area };
        refused(&image(&[resize, resize], PixelValues::Levels), &[], 104);
        refused(&image(&[ImageStep::CentreCrop { width: 0, height: 1 }], PixelValues::Levels), &[], 111);
        refused(&image(&[ImageStep::CentreCrop { width: 1 << 16, height: 1 }], PixelValues::Levels), &[], 104);
        for (divide, std) in [(0.0, [1.0; 3]), (f32::NAN, [1.0; 3]), (1.0, [1.0, 0.0, 1.0])] {
            refused(&image(&[], PixelValues::Real { divide, mean: [0.0; 3], std }), &[], 111);
        }
        let (program, mut columns) = table();
        columns[0].encode = Encode::Number { mean: 0.0, std: 0.0, missing: None };
        refused(&program, &columns, 111);
        refused(&program, &columns[1..], 105);
        refused(&image(&[], PixelValues::Levels), &columns[1..], 105);
        refused(&Preprocess::Table(Table { columns: 0 }), &[], 111);
    }
}
