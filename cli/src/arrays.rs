//! Arrays from files and to files: `.npz`, `.npy`, images.

use std::{fs, io::BufReader, path::Path};

use npyz::{NpyFile, TypeStr, WriterBuilder as _};

use crate::failure::Failure;

/// The most bytes that an array may take: guards memory against a header that lies.
const MAX_ARRAY_LEN: u64 = 4 << 30;

/// Bytes of one element each, or wider ones as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Array {
    /// As numpy writes it: `int8`, `uint8`, `float32`, ...
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    /// The elements in C order, little-endian; only for int8, uint8, float32, int32 and int64.
    pub(crate) bytes: Vec<u8>,
}

/// Reads the array `name` of an `.npz`, or the only array of an `.npy` or an image.
pub(crate) fn read(path: &Path, name: &str) -> Result<Array, Failure> {
    match read_optional(path, name)? {
        Some(array) => Ok(array),
        None => {
            let names = npz_names(path)?;
            Err(Failure::usage(format!("{} has no array '{name}', it has: {}", path.display(), names.join(", "))))
        }
    }
}

/// As [`read`]; `None` where an `.npz` has no array of that name.
pub(crate) fn read_optional(path: &Path, name: &str) -> Result<Option<Array>, Failure> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "npz" => {
            let mut archive = npyz::npz::NpzArchive::open(path).map_err(|e| Failure::io("read", path, &e))?;
            match archive.by_name(name).map_err(|e| Failure::io("read", path, &e))? {
                Some(file) => decode(path, file).map(Some),
                None => Ok(None),
            }
        }
        "npy" => {
            let file = fs::File::open(path).map_err(|e| Failure::io("open", path, &e))?;
            let file = NpyFile::new(BufReader::new(file)).map_err(|e| Failure::io("read", path, &e))?;
            decode(path, file).map(Some)
        }
        "png" | "jpg" | "jpeg" | "bmp" => read_image(path).map(Some),
        "wav" | "csv" => Err(Failure::usage(format!(
            "{}: {extension} needs preprocessing, and this model has none",
            path.display()
        ))
        .help("pack it with a bundle.yaml that says how (`preprocess`), or convert it to the model's quantized input as .npy or .npz")),
        _ => Err(Failure::usage(format!("{}: not a file of data that is known", path.display()))
            .help("give .npz, .npy, .png, .jpg or .bmp")),
    }
}

fn npz_names(path: &Path) -> Result<Vec<String>, Failure> {
    let archive = npyz::npz::NpzArchive::open(path).map_err(|e| Failure::io("read", path, &e))?;
    Ok(archive.array_names().map(str::to_owned).collect())
}

fn decode<R: std::io::Read>(path: &Path, file: NpyFile<R>) -> Result<Array, Failure> {
    let bad = |what: String| Failure::usage(format!("{}: {what}", path.display()));
    let npyz::DType::Plain(ty) = file.dtype() else {
        return Err(bad("a structured array, where one of plain numbers is needed".into()));
    };
    let dtype = type_name(&ty);
    let shape = file.shape().iter().map(|&d| usize::try_from(d)).collect::<Result<Vec<_>, _>>();
    let shape = shape.map_err(|_| bad("a dimension over the address space".into()))?;
    let len = shape.iter().try_fold(1u64, |all, &d| all.checked_mul(d as u64)).filter(|&n| n <= MAX_ARRAY_LEN);
    if len.is_none() {
        return Err(bad(format!("shape {shape:?} is over the limit of {MAX_ARRAY_LEN} elements")));
    }
    if file.order() != npyz::Order::C && shape.len() > 1 {
        return Err(bad("the array is in Fortran order: save np.ascontiguousarray(x)".into()));
    }
    let broken = |e: std::io::Error| bad(format!("cannot read the array: {e}"));
    let bytes = match dtype.as_str() {
        "int8" => {
            let values = file.data::<i8>().map_err(|e| bad(e.to_string()))?;
            values.map(|v| v.map(i8::cast_unsigned)).collect::<Result<_, _>>().map_err(broken)?
        }
        "uint8" => file.data::<u8>().map_err(|e| bad(e.to_string()))?.collect::<Result<_, _>>().map_err(broken)?,
        "float32" => wide(file.data::<f32>(), f32::to_le_bytes).map_err(broken)?,
        "int32" => wide(file.data::<i32>(), i32::to_le_bytes).map_err(broken)?,
        "int64" => wide(file.data::<i64>(), i64::to_le_bytes).map_err(broken)?,
        _ => Vec::new(),
    };
    Ok(Array { dtype, shape, bytes })
}

/// Elements of several bytes each, little-endian.
fn wide<T, E: ToString, const N: usize>(
    values: Result<impl Iterator<Item = std::io::Result<T>>, E>,
    bytes: impl Fn(T) -> [u8; N],
) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for value in values.map_err(|e| std::io::Error::other(e.to_string()))? {
        out.extend(bytes(value?));
    }
    Ok(out)
}

fn type_name(ty: &TypeStr) -> String {
    // numpy's own notation: byte order, kind, size in bytes.
    let text = ty.to_string();
    let mut chars = text.chars();
    chars.next();
    let kind = match chars.next() {
        Some('i') => "int",
        Some('u') => "uint",
        Some('f') => "float",
        Some('b') => return "bool".into(),
        _ => return text,
    };
    match chars.as_str().parse::<u32>() {
        Ok(size) => format!("{kind}{}", size * 8),
        Err(_) => text,
    }
}

fn read_image(path: &Path) -> Result<Array, Failure> {
    let mut reader = image::ImageReader::open(path).map_err(|e| Failure::io("open", path, &e))?;
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(512 << 20);
    reader.limits(limits);
    let reader = reader.with_guessed_format().map_err(|e| Failure::io("read", path, &e))?;
    let image = reader.decode().map_err(|e| Failure::usage(format!("{}: {e}", path.display())))?;
    let (w, h) = (image.width() as usize, image.height() as usize);
    let grey = matches!(image.color(), image::ColorType::L8 | image::ColorType::L16);
    let (bytes, channels) = if grey { (image.into_luma8().into_raw(), 1) } else { (image.into_rgb8().into_raw(), 3) };
    Ok(Array { dtype: "pixels".into(), shape: vec![h, w, channels], bytes })
}

/// Writes an `.npy` of a type that outputs of models have; `bytes` are little-endian.
pub(crate) fn write_npy(path: &Path, dtype: &str, shape: &[usize], bytes: &[u8]) -> Result<(), Failure> {
    let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
    let out = match dtype {
        "int8" => npy(&shape, bytes.iter().map(|&b| b.cast_signed())),
        "float32" => npy(&shape, bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b))),
        "int32" => npy(&shape, bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b))),
        "int64" => npy(&shape, bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b))),
        _ => npy(&shape, bytes.iter().copied()),
    };
    write_file(path, &out.map_err(|e| Failure::io("write", path, &e))?)
}

fn npy<T: npyz::AutoSerialize>(shape: &[u64], values: impl Iterator<Item = T>) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut out).begin_nd()?;
    writer.extend(values)?;
    writer.finish()?;
    Ok(out)
}

/// Writes a file whole or not at all: a temporary one beside it, then a rename. What a link points to is written; a device
/// or a pipe is written to as it is, never replaced.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let path = real.as_path();
    if fs::metadata(path).is_ok_and(|m| !m.is_file()) {
        return fs::write(path, bytes).map_err(|e| Failure::io("write", path, &e));
    }
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Failure::io("write", path, &e)
    })
}
