//! Models: from a file, a part of a file, memory or a runtime; immutable, shared by any number of threads and sessions.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    path::Path,
    ptr,
    sync::Arc,
};

use fleetfoot::{Bytes, Keys, Model, VerifiedFile, engine, format::graph::IoType};

use crate::{
    door::{bytes, door, give, null, quietly, text, write},
    handle::{Shared, Table},
    layout::{Versioned, ff_error, ff_model, ff_model_info, ff_tensor_info, pointer},
    status::{Fault, Status},
};

static MODELS: Table<Named> = Table::new(1);

/// A model, and the texts that C gets pointers to.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) model: Arc<Model>,
    pub(crate) file: VerifiedFile,
    name: CString,
    version: CString,
    inputs: Vec<CString>,
    outputs: Vec<CString>,
}

impl Named {
    pub(crate) fn new(file: VerifiedFile, model: Arc<Model>) -> Result<Self, Fault> {
        let graph = model.engine().graph().map_err(fleetfoot::Error::from)?;
        let names = |tensors: &[fleetfoot::format::graph::Io<'_>]| tensors.iter().map(|io| c_text(io.name)).collect();
        let (inputs, outputs) = (names(graph.inputs()), names(graph.outputs()));
        drop(graph);
        let (name, version) = (c_text(&file.info().model), c_text(&file.info().version));
        Ok(Self { model, file, name, version, inputs, outputs })
    }
}

/// The model of a handle.
pub(crate) fn model(handle: *const ff_model) -> Result<Shared<Named>, Fault> {
    MODELS.shared(handle.addr())
}

/// Makes a handle of a model and gives it.
///
/// # Safety
/// `out` is writable or NULL.
pub(crate) unsafe fn give_model(out: *mut *mut ff_model, named: Named) -> Result<(), Fault> {
    let handle = MODELS.insert(named)?;
    // SAFETY: by the contract of this function.
    unsafe { give(out, "out", pointer(handle)) }
}

/// As every function that makes a model begins: nothing is given until there is something.
///
/// # Safety
/// `out` is writable or NULL.
unsafe fn nothing(out: *mut *mut ff_model) -> Result<(), Fault> {
    // SAFETY: by the contract of this function.
    unsafe { give(out, "out", ptr::null_mut()) }
}

/// Opens a bundle, verified with `n_keys` keys of 32 bytes, of which `threshold` must have signed.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_from_file(
    path: *const c_char,
    keys: *const u8,
    n_keys: u32,
    threshold: u32,
    out: *mut *mut ff_model,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out`, `path` and `keys`.
        let (path, keys) = unsafe {
            nothing(out)?;
            (text(path, "path")?, read_keys(keys, n_keys, threshold)?)
        };
        let file = VerifiedFile::open(Path::new(path), &keys)?;
        // SAFETY: as above.
        unsafe { give_model(out, opened(file)?) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Opens a bundle that is `length` bytes of an open file from `offset` on. The descriptor stays the caller's.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_from_fd(
    fd: c_int,
    offset: u64,
    length: u64,
    keys: *const u8,
    n_keys: u32,
    threshold: u32,
    out: *mut *mut ff_model,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out` and `keys`.
        let keys = unsafe {
            nothing(out)?;
            read_keys(keys, n_keys, threshold)?
        };
        let failed = |source| {
            Fault::from(fleetfoot::Error::File { action: "map", path: format!("descriptor {fd}").into(), source })
        };
        let file = duplicate(fd)?;
        let mapped = Bytes::map_part(&file, offset, Some(length)).map_err(failed)?;
        let file = VerifiedFile::of_bytes(mapped, &keys)?;
        // SAFETY: as above.
        unsafe { give_model(out, opened(file)?) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

#[cfg(unix)]
fn duplicate(fd: c_int) -> Result<std::fs::File, Fault> {
    use std::os::fd::BorrowedFd;
    if fd < 0 {
        return Err(Fault::new(Status::Argument, format!("{fd} is no descriptor of a file")));
    }
    // SAFETY: not -1; the caller has it open during the call, and where not, the operating system says so when it is duplicated.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let owned = borrowed.try_clone_to_owned();
    let path = format!("descriptor {fd}").into();
    owned.map(Into::into).map_err(|source| fleetfoot::Error::File { action: "duplicate", path, source }.into())
}

#[cfg(not(unix))]
fn duplicate(fd: c_int) -> Result<std::fs::File, Fault> {
    Err(Fault::new(Status::Unsupported, format!("descriptor {fd}: this system has none")))
}

/// Opens a bundle in memory, which is copied once.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_from_memory(
    data: *const c_void,
    length: usize,
    keys: *const u8,
    n_keys: u32,
    threshold: u32,
    out: *mut *mut ff_model,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out`, `data` and `keys`.
        let (data, keys) = unsafe {
            nothing(out)?;
            if data.is_null() {
                return Err(null("data"));
            }
            (bytes(data.cast(), length, "data")?, read_keys(keys, n_keys, threshold)?)
        };
        let file = VerifiedFile::of_bytes(Bytes::aligned_copy(data), &keys)?;
        // SAFETY: as above.
        unsafe { give_model(out, opened(file)?) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// What a model is called, and how large it is. Texts live until the model is released.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_get_info(
    handle: *const ff_model,
    out: *mut ff_model_info,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let named = model(handle)?;
        let engine = named.model.engine();
        let info = ff_model_info {
            n_inputs: engine.inputs().len() as u32,
            n_outputs: engine.outputs().len() as u32,
            number: named.file.info().number,
            arena_len: named.model.arena_len(fleetfoot::Kernels::detect()) as u64,
            name: named.name.as_ptr(),
            version: named.version.as_ptr(),
            sha256: named.file.sha256(),
            ..ff_model_info::ZERO
        };
        // SAFETY: the header's contract of `out`.
        unsafe { write(out, info) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// What input `index` is. Its name lives until the model is released.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_input(
    handle: *const ff_model,
    index: u32,
    out: *mut ff_tensor_info,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let named = model(handle)?;
        let tensor = named.model.engine().input(index as usize).map_err(fleetfoot::Error::from)?;
        // SAFETY: the header's contract of `out`.
        unsafe { write(out, describe(tensor, &named.inputs[index as usize])) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// What output `index` is. Its name lives until the model is released.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_model_output(
    handle: *const ff_model,
    index: u32,
    out: *mut ff_tensor_info,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let named = model(handle)?;
        let tensor = named.model.engine().output(index as usize).map_err(fleetfoot::Error::from)?;
        // SAFETY: the header's contract of `out`.
        unsafe { write(out, describe(tensor, &named.outputs[index as usize])) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Closes the handle. Sessions keep the model itself.
#[unsafe(no_mangle)]
pub extern "C" fn ff_model_release(handle: *mut ff_model) {
    quietly(|| MODELS.close(handle.addr(), |_| {}));
}

fn opened(file: VerifiedFile) -> Result<Named, Fault> {
    let model = Arc::new(Model::from_file(&file)?);
    Named::new(file, model)
}

/// # Safety
/// `keys` points to `n_keys` times 32 bytes, or is NULL.
pub(crate) unsafe fn read_keys(keys: *const u8, n_keys: u32, threshold: u32) -> Result<Keys, Fault> {
    // SAFETY: by the contract of this function.
    let all = unsafe { bytes(keys, (n_keys as usize).saturating_mul(32), "keys")? };
    let (keys, _) = all.as_chunks::<32>();
    Keys::new(keys, threshold as usize).map_err(|error| fleetfoot::Error::from(error).into())
}

fn describe(tensor: &engine::Tensor, name: &CString) -> ff_tensor_info {
    let mut info = ff_tensor_info {
        dtype: dtype(tensor.dtype),
        rank: tensor.dims.len() as u32,
        scale: tensor.scale,
        zero_point: tensor.zero_point,
        byte_len: tensor.span.len.into(),
        name: name.as_ptr(),
        ..ff_tensor_info::ZERO
    };
    info.dims[..tensor.dims.len()].copy_from_slice(&tensor.dims);
    info
}

/// `FF_INT8` and so on.
const fn dtype(dtype: IoType) -> i32 {
    match dtype {
        IoType::Int8 => 1,
        IoType::UInt8 => 2,
        IoType::Int32 => 3,
        IoType::Int64 => 4,
        IoType::Float32 => 5,
        // A later one, which this interface has no number for.
        _ => 0,
    }
}

/// For C: a zero in the middle would end it.
fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).unwrap_or_default()
}
