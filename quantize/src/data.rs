//! Samples from `.npz` and `.npy`, one at a time: memory does not depend on how many there are.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use npyz::{NpyFile, npz::NpzArchive};

use crate::float_error::QuantizeError as Error;

/// The array of samples of a file: `x` or `input` of an `.npz`, the only array of an `.npy`.
#[derive(Debug)]
pub struct Data {
    path: PathBuf,
    /// In an archive.
    name: Option<String>,
    dtype: String,
    shape: Vec<usize>,
}

impl Data {
    /// Opens a file and reads what it says of its samples, not the samples.
    ///
    /// # Errors
    /// [`Error::Data`], [`Error::NoArray`] or [`Error::DataType`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let fault = |source| Error::Data { path: path.to_owned(), source };
        let mut data = Self { path: path.to_owned(), name: None, dtype: String::new(), shape: Vec::new() };
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

    /// The labels beside the samples: the array `y` of the archive.
    ///
    /// # Errors
    /// [`Error::NoArray`], [`Error::DataType`], [`Error::LabelCount`], or [`Error::Label`] for one that is not below `classes`.
    pub fn labels(&self, samples: usize, classes: usize) -> Result<Vec<i64>, Error> {
        let fault = |source| Error::Data { path: self.path.clone(), source };
        let missing = |have| Error::NoArray { path: self.path.clone(), wanted: "y", have };
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

/// Kind and size as numpy writes them: `f4`, `u1`.
fn type_of(dtype: npyz::DType) -> String {
    match dtype {
        npyz::DType::Plain(ty) => ty.to_string().chars().skip(1).collect(),
        _ => "a record".into(),
    }
}
