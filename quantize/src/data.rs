//! Samples from `.npz` and `.npy`, or raw ones from folders and tables through the bundle's own preprocessing, one at a time: memory does not depend on how
//! many there are.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

use fleetfoot_format::{
    FormatError,
    graph::IoType,
    preprocess::{Preprocess, Program},
    raw_golden::{Raw, cells},
};
use fleetfoot_preprocess::{PreprocessError, Rgb, Tensor, audio, image, row, scratch_len};
use npyz::{NpyFile, npz::NpzArchive};

use crate::{
    float_error::QuantizeError as Error,
    raw::{RawError, RawInput, raw_files, read_raw},
};

/// The array of samples of a file: `x` or `input` of an `.npz`, the only array of an `.npy`.
#[derive(Debug)]
pub struct Data {
    path: PathBuf,
    /// In an archive.
    name: Option<String>,
    dtype: String,
    shape: Vec<usize>,
    raw: Option<RawData>,
}

/// Files with raw inputs, and how they become samples.
#[derive(Debug)]
struct RawData {
    files: Vec<PathBuf>,
    /// The section *preprocess*.
    section: Vec<u8>,
    /// Shape of the input of the model, once [`Data::count`] was asked.
    input: OnceLock<Vec<usize>>,
}

impl Data {
    /// Raw inputs: a folder of images or recordings, or a file of them or a `.csv`, with the section *preprocess* that makes samples of them.
    ///
    /// # Errors
    /// [`Error::Raw`].
    pub fn open_raw(path: &Path, section: &[u8]) -> Result<Self, Error> {
        Program::parse(section).map_err(RawError::from)?;
        let files = if path.is_dir() { raw_files(path)? } else { vec![path.to_owned()] };
        let raw = RawData { files, section: section.to_vec(), input: OnceLock::new() };
        let (path, dtype, shape) = (path.to_owned(), "f4".into(), Vec::new());
        Ok(Self { path, name: None, dtype, shape, raw: Some(raw) })
    }

    /// Opens a file and reads what it says of its samples, not the samples.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::NoArray`] or [`Error::DataType`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fault = |source| Error::Data { path: path.to_owned(), source };
        let mut data = Self { path: path.to_owned(), name: None, dtype: String::new(), shape: Vec::new(), raw: None };
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz")) {
            let archive = NpzArchive::open(path).map_err(fault)?;
            let have: Vec<String> = archive.array_names().map(str::to_owned).collect();
            let wanted = ["x", "input"].into_iter().find(|name| have.iter().any(|h| h == name));
            data.name = match (wanted, &have[..]) {
                (Some(name), _) => Some(name.into()),
                (None, [only]) => Some(only.clone()),
                (None, _) => return Err(Error::NoArray { path: path.to_owned(), wanted: "x", have }),
            };
        }
        let (dtype, shape) = data.with(|file| Ok((type_of(file.dtype()), file.shape().to_vec())))?;
        data.dtype = dtype;
        data.shape = shape.iter().map(|&d| usize::try_from(d).unwrap_or(usize::MAX)).collect();
        if !matches!(&data.dtype[..], "i1" | "u1" | "f4" | "f8" | "i4" | "i8" | "i2" | "u2") {
            let need = "float32, int8 or uint8";
            return Err(Error::DataType { path: path.to_owned(), dtype: data.dtype, need });
        }
        Ok(data)
    }

    /// Whether samples are raw inputs, which preprocessing makes samples of.
    #[must_use]
    pub const fn is_raw(&self) -> bool {
        self.raw.is_some()
    }

    /// Gives the first `limit` raw inputs, one after another, with the files that they are in: a model prepares them as a device does. Nothing
    /// where samples are [prepared](Self::is_raw) already.
    ///
    /// # Errors
    /// What `each` returns, [`Error::Raw`].
    pub fn each_raw<E: From<Error>>(
        &self,
        limit: usize,
        mut each: impl FnMut(usize, &Path, &RawInput) -> Result<(), E>,
    ) -> Result<(), E> {
        self.raw.as_ref().map_or(Ok(()), |raw| raw.each_raw(limit, &mut each))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the elements are int8.
    #[must_use]
    pub fn is_int8(&self) -> bool {
        self.dtype == "i1"
    }

    /// Whether the elements are uint8.
    #[must_use]
    pub fn is_uint8(&self) -> bool {
        self.dtype == "u1"
    }

    /// How many samples there are for an input of shape `input`, whose first extent is the batch of 1.
    ///
    /// # Errors
    /// [`Error::DataShape`] if they have another shape, [`Error::Empty`] if there is none.
    pub fn count(&self, input: &[usize]) -> Result<usize, Error> {
        if let Some(raw) = &self.raw {
            return raw.count(input);
        }
        let inner = if input.first() == Some(&1) { &input[1..] } else { input };
        let count = match &self.shape[..] {
            shape if shape == input || shape == inner => 1,
            [n, sample @ ..] if sample == inner || sample == input => *n,
            shape => {
                let (path, need) = (self.path.clone(), inner.to_vec());
                return Err(Error::DataShape { path, need, have: shape.iter().skip(1).copied().collect() });
            }
        };
        if count == 0 { Err(Error::Empty { path: self.path.clone() }) } else { Ok(count) }
    }

    /// Gives the first `limit` samples of `len` elements, one after another, as floats.
    ///
    /// # Errors
    /// What `each` returns, [`Error::Data`] where the file breaks off, [`Error::NotFinite`].
    pub fn each(
        &self,
        len: usize,
        limit: usize,
        mut each: impl FnMut(usize, &[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if let Some(raw) = &self.raw {
            return raw.each(limit, &mut each);
        }
        self.with(|file| {
            let order = file.order();
            if order != npyz::Order::C && file.shape().len() > 1 {
                return Ok(Err(io::Error::other("the array is in Fortran order: save np.ascontiguousarray(x)")));
            }
            let mut sample = Vec::with_capacity(len);
            let mut number = 0;
            let mut give = |value: f32| -> Result<bool, Error> {
                sample.push(value);
                if sample.len() == len {
                    if !sample.iter().all(|v: &f32| v.is_finite()) {
                        return Err(Error::NotFinite { path: self.path.clone(), sample: number });
                    }
                    each(number, &sample)?;
                    sample.clear();
                    number += 1;
                }
                Ok(number < limit)
            };
            macro_rules! read {
                ($ty:ty, $float:expr) => {
                    match file.data::<$ty>() {
                        Ok(values) => {
                            for value in values {
                                match value {
                                    Ok(value) => {
                                        if !give($float(value))? {
                                            break;
                                        }
                                    }
                                    Err(e) => return Ok(Err(e)),
                                }
                            }
                            Ok(())
                        }
                        Err(e) => Err(io::Error::other(e.to_string())),
                    }
                };
            }
            Ok(match &self.dtype[..] {
                "i1" => read!(i8, f32::from),
                "u1" => read!(u8, f32::from),
                "i2" => read!(i16, f32::from),
                "u2" => read!(u16, f32::from),
                "i4" => read!(i32, |v| v as f32),
                "i8" => read!(i64, |v| v as f32),
                "f8" => read!(f64, |v| v as f32),
                _ => read!(f32, |v| v),
            })
        })?
        .map_err(|source| Error::Data { path: self.path.clone(), source })
    }

    /// The labels beside the samples: the array `y` of the archive; of a folder the place of the folder that a file is in, among all such folders by name.
    ///
    /// # Errors
    /// [`Error::NoArray`], [`Error::DataType`], [`Error::LabelCount`], or [`Error::Label`] for one that is not below `classes`.
    pub fn labels(&self, samples: usize, classes: usize) -> Result<Vec<i64>, Error> {
        let fault = |source| Error::Data { path: self.path.clone(), source };
        let missing = |have| Error::NoArray { path: self.path.clone(), wanted: "y", have };
        if let Some(raw) = &self.raw {
            return raw.labels(&self.path, classes).ok_or_else(|| missing(Vec::new()));
        }
        if self.name.is_none() {
            return Err(missing(Vec::new()));
        }
        let mut archive = NpzArchive::open(&self.path).map_err(fault)?;
        let have: Vec<String> = archive.array_names().map(str::to_owned).collect();
        let file = archive.by_name("y").map_err(fault)?.ok_or_else(|| missing(have))?;
        let dtype = type_of(file.dtype());
        let labels = file.shape().iter().product::<u64>() as usize;
        if labels != samples {
            return Err(Error::LabelCount { path: self.path.clone(), samples, labels });
        }
        fn wide<T: npyz::Deserialize + Into<i64>, R: Read>(file: NpyFile<R>) -> io::Result<Vec<i64>> {
            let values = file.data::<T>().map_err(|e| io::Error::other(e.to_string()))?;
            values.map(|v| v.map(Into::into)).collect()
        }
        let labels = match &dtype[..] {
            "u1" => wide::<u8, _>(file),
            "i1" => wide::<i8, _>(file),
            "i2" => wide::<i16, _>(file),
            "u2" => wide::<u16, _>(file),
            "i4" => wide::<i32, _>(file),
            "u4" => wide::<u32, _>(file),
            "i8" => wide::<i64, _>(file),
            _ => {
                let need = "integers";
                return Err(Error::DataType { path: self.path.clone(), dtype, need });
            }
        };
        let labels = labels.map_err(fault)?;
        let outside = |(_, label): &(usize, &i64)| !usize::try_from(**label).is_ok_and(|l| l < classes);
        match labels.iter().enumerate().find(outside) {
            Some((sample, &label)) => Err(Error::Label { path: self.path.clone(), sample, label, classes }),
            None => Ok(labels),
        }
    }

    /// Opens the array anew.
    fn with<T>(&self, then: impl FnOnce(NpyFile<&mut dyn Read>) -> Result<T, Error>) -> Result<T, Error> {
        let fault = |source| Error::Data { path: self.path.clone(), source };
        match &self.name {
            Some(name) => {
                let mut archive = NpzArchive::open(&self.path).map_err(fault)?;
                // Its own reader stops behind the header; the elements follow.
                let mut entry = archive.zip_archive().by_name(&format!("{name}.npy")).map_err(|e| fault(e.into()))?;
                let reader: &mut dyn Read = &mut entry;
                then(NpyFile::new(reader).map_err(fault)?)
            }
            None => {
                let mut reader = BufReader::new(File::open(&self.path).map_err(fault)?);
                let reader: &mut dyn Read = &mut reader;
                then(NpyFile::new(reader).map_err(fault)?)
            }
        }
    }
}

/// Takes the number of a sample and its values.
type Each<'a> = dyn FnMut(usize, &[f32]) -> Result<(), Error> + 'a;

/// Takes the number of a raw input, its file and itself.
type EachRaw<'a, E> = dyn FnMut(usize, &Path, &RawInput) -> Result<(), E> + 'a;

impl RawData {
    fn count(&self, input: &[usize]) -> Result<usize, Error> {
        let _ = self.input.set(input.to_vec());
        let program = self.program()?;
        // Only tables hold more than one.
        let mut count = 0;
        for file in &self.files {
            count += match program.preprocess {
                Preprocess::Table(_) => read_raw(file, Some(&program))?.len(),
                _ => 1,
            };
        }
        Ok(count)
    }

    fn each(&self, limit: usize, each: &mut Each<'_>) -> Result<(), Error> {
        let program = self.program()?;
        self.each_raw(limit, &mut |number, path, input| {
            let prepared = self.sample(&program, input);
            let sample = prepared.map_err(|source| RawError::Prepare { path: path.into(), source })?;
            each(number, &sample)
        })
    }

    fn each_raw<E: From<Error>>(&self, limit: usize, each: &mut EachRaw<'_, E>) -> Result<(), E> {
        let program = self.program()?;
        let mut number = 0;
        for file in &self.files {
            for input in read_raw(file, Some(&program)).map_err(Error::from)? {
                if number == limit {
                    return Ok(());
                }
                each(number, file, &input)?;
                number += 1;
            }
        }
        Ok(())
    }

    /// The real numbers of a sample, in the order of the network.
    fn sample(&self, program: &Program<'_>, input: &RawInput) -> Result<Vec<f32>, PreprocessError> {
        let shape: Vec<u32> = self.input.get().into_iter().flatten().map(|&d| d as u32).collect();
        // Networks of images have their channels in front, or last.
        let first = matches!((&program.preprocess, &shape[..]), (Preprocess::Image(image), &[_, c, _, last])
            if c as usize == image.channels.count() && last != c);
        let dims = match shape[..] {
            [n, c, h, w] if first => vec![n, h, w, c],
            _ => shape,
        };
        let tensor = Tensor { dtype: IoType::Float32, dims: &dims, scale: 1.0, zero_point: 0 };
        let mut bytes = vec![0; usize::try_from(tensor.elements()).unwrap_or(usize::MAX).saturating_mul(4)];
        match (&program.preprocess, input.raw) {
            (Preprocess::Image(settings), Raw::Pixels { width, height }) => {
                image(settings, &tensor, &Rgb::new(width, height, &input.bytes)?, &mut bytes)?;
            }
            (Preprocess::Audio(settings), Raw::Samples { .. }) => {
                if settings.rate_hz != input.rate_hz {
                    return Err(PreprocessError::Rate { need_hz: settings.rate_hz, have_hz: input.rate_hz });
                }
                let samples: Vec<i16> = input.bytes.as_chunks().0.iter().map(|&s| i16::from_le_bytes(s)).collect();
                audio(settings, &tensor, &samples, &mut vec![0; scratch_len(settings)], &mut bytes)?;
            }
            (Preprocess::Table(_), Raw::Row { .. }) => {
                let cells: Vec<_> = cells(&input.bytes).flatten().collect();
                row(program, &tensor, cells.into_iter(), &mut bytes)?;
            }
            (_, raw) => {
                let have = match raw {
                    Raw::Pixels { .. } => "an image",
                    Raw::Samples { .. } => "audio",
                    Raw::Row { .. } => "a row",
                };
                return Err(PreprocessError::Kind { need: "something else", have });
            }
        }
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        Ok(match dims[..] {
            [_, h, w, c] if first => {
                let (pixels, c) = (h as usize * w as usize, c as usize);
                (0..c)
                    .flat_map(|channel| (0..pixels).map(move |pixel| pixel * c + channel))
                    .map(|at| values[at])
                    .collect()
            }
            _ => values,
        })
    }

    /// By the folders that files are in; `None` where they are in none, or in more than there are classes.
    fn labels(&self, root: &Path, classes: usize) -> Option<Vec<i64>> {
        let parents: Vec<&Path> = self.files.iter().map(|file| file.parent()).collect::<Option<_>>()?;
        let mut names = parents.clone();
        names.sort_unstable();
        names.dedup();
        if names.contains(&root) || names.len() > classes || !root.is_dir() {
            return None;
        }
        parents.iter().map(|parent| names.iter().position(|name| name == parent).map(|at| at as i64)).collect()
    }

    fn program(&self) -> Result<Program<'_>, Error> {
        Ok(Program::parse(&self.section).map_err(|e: FormatError| RawError::from(e))?)
    }
}

/// Kind and size as numpy writes them: `f4`, `u1`.
fn type_of(dtype: npyz::DType) -> String {
    match dtype {
        npyz::DType::Plain(ty) => ty.to_string().chars().skip(1).collect(),
        _ => "a record".into(),
    }
}
