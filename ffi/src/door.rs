//! How every function begins and ends. No panic leaves, no NULL is followed, no struct is read or written beyond the size that its caller knows.

use std::{
    ffi::{CStr, c_char},
    mem::size_of,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr, slice,
};

use crate::{
    layout::{Versioned, ff_error},
    status::{Fault, NO_TENSOR, Status},
};

/// Runs `body`; a fault of it is written to `error`, if there is one.
///
/// # Safety
/// `error` is NULL or points to an `ff_error` that only this call uses.
pub(crate) unsafe fn door(error: *mut ff_error, body: impl FnOnce() -> Result<(), Fault>) -> i32 {
    if !error.is_null() {
        // SAFETY: by the contract of this function the struct begins with its size.
        let size = unsafe { error.cast::<u32>().read_unaligned() };
        if !accepted::<ff_error>(size) {
            return Status::StructSize.code().into();
        }
    }
    let fault = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(fault)) => fault,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            let fault = Fault::new(Status::Panic, format!("a fault of this library: {text}"));
            // What the panic carried may panic when it is dropped.
            std::mem::forget(panic);
            fault
        }
    };
    if !error.is_null() {
        let mut told = ff_error { status: fault.status, os_errno: fault.os_errno, ..ff_error::ZERO };
        told.tensor_index = fault.tensor;
        put_text(&mut told.message, &fault.message);
        // SAFETY: by the contract of this function, and its size was looked at above.
        unsafe { store(error, told) };
    }
    fault.status
}

/// As [`door`], for functions that return nothing and cannot fail.
pub(crate) fn quietly(body: impl FnOnce()) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
        std::mem::forget(panic);
    }
}

/// Reads a struct that says how large its caller believes it to be; what it does not know is 0.
///
/// # Safety
/// `from` is NULL or points to as many bytes as the number at its beginning says.
pub(crate) unsafe fn read<T: Versioned>(from: *const T) -> Result<T, Fault> {
    if from.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: not NULL, and the struct begins with its size.
    let size = unsafe { from.cast::<u32>().read_unaligned() };
    if !accepted::<T>(size) {
        return Err(wrong_size::<T>(size));
    }
    let mut value = T::ZERO;
    let len = (size as usize).min(size_of::<T>());
    // SAFETY: both have `len` bytes, and any bytes are a value of a `Versioned`.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>(), ptr::from_mut(&mut value).cast::<u8>(), len) };
    Ok(value)
}

/// Fills a struct that says how large its caller believes it to be.
///
/// # Safety
/// `to` is NULL or points to as many bytes as the number at its beginning says, which only this call uses.
pub(crate) unsafe fn write<T: Versioned>(to: *mut T, value: T) -> Result<(), Fault> {
    if to.is_null() {
        return Err(null(T::NAME));
    }
    // SAFETY: not NULL, and the struct begins with its size.
    let size = unsafe { to.cast::<u32>().read_unaligned() };
    if !accepted::<T>(size) {
        return Err(wrong_size::<T>(size));
    }
    // SAFETY: by the contract of this function, and the size was looked at.
    unsafe { store(to, value) };
    Ok(())
}

/// # Safety
/// As [`write`]; `to` is not NULL and its size is accepted.
unsafe fn store<T: Versioned>(to: *mut T, value: T) {
    // SAFETY: by the contract of this function.
    let size = unsafe { to.cast::<u32>().read_unaligned() };
    let len = (size as usize).min(size_of::<T>());
    let head = size_of::<u32>();
    // SAFETY: both have `len` bytes, and `len` is larger than the size that stays.
    unsafe {
        ptr::copy_nonoverlapping(ptr::from_ref(&value).cast::<u8>().add(head), to.cast::<u8>().add(head), len - head);
    }
}

fn accepted<T: Versioned>(size: u32) -> bool {
    size >= T::FIRST_LEN && size <= MAX_STRUCT_LEN
}

fn wrong_size<T: Versioned>(size: u32) -> Fault {
    let (name, need) = (T::NAME, T::FIRST_LEN);
    Fault::new(Status::StructSize, format!("struct_size of {name} is {size}, it is {need} or more"))
}

pub(crate) fn null(what: &str) -> Fault {
    Fault::new(Status::Null, format!("{what} is NULL"))
}

/// Writes `value` to the place that a caller gave for it.
///
/// # Safety
/// `to` is NULL or writable.
pub(crate) unsafe fn give<T>(to: *mut T, what: &str, value: T) -> Result<(), Fault> {
    if to.is_null() {
        return Err(null(what));
    }
    if !to.is_aligned() {
        return Err(Fault::new(Status::Unaligned, format!("{what} is not aligned")));
    }
    // SAFETY: neither NULL nor misaligned, and writable by the contract of this function.
    unsafe { to.write(value) };
    Ok(())
}

/// Text of a caller, which ends with a zero byte. What comes back lives as long as the caller's bytes: for the call.
///
/// # Safety
/// `from` is NULL or points to bytes that end with a zero and stay the same during the call.
pub(crate) unsafe fn text<'a>(from: *const c_char, what: &str) -> Result<&'a str, Fault> {
    if from.is_null() {
        return Err(null(what));
    }
    // SAFETY: by the contract of this function.
    let text = unsafe { CStr::from_ptr(from) };
    text.to_str().map_err(|_| Fault::new(Status::Text, format!("{what} is not UTF-8")))
}

/// Bytes of a caller, for the call. No bytes may be at NULL.
///
/// # Safety
/// `from` points to `len` bytes that stay the same during the call, or is NULL.
pub(crate) unsafe fn bytes<'a>(from: *const u8, len: usize, what: &str) -> Result<&'a [u8], Fault> {
    match (from.is_null(), len) {
        (_, 0) => Ok(&[]),
        (true, _) => Err(null(what)),
        (false, _) if len > isize::MAX as usize => Err(too_long(what)),
        // SAFETY: by the contract of this function.
        (false, _) => Ok(unsafe { slice::from_raw_parts(from, len) }),
    }
}

pub(crate) fn too_long(what: &str) -> Fault {
    Fault::new(Status::Argument, format!("{what} is longer than memory"))
}

/// Puts text into a field of fixed length: cut between characters where it is too long, and ended by a zero.
pub(crate) fn put_text(to: &mut [c_char], text: &str) {
    let mut len = text.len().min(to.len() - 1);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    // A zero in the middle would end it for C.
    for (to, &from) in to.iter_mut().zip(&text.as_bytes()[..len]) {
        *to = if from == 0 { b'?' } else { from }.cast_signed() as c_char;
    }
    to[len..].fill(0);
}

/// Structs of later versions are longer, but no caller has one of this length.
const MAX_STRUCT_LEN: u32 = 4096;

const _: () = assert!(size_of::<ff_error>() == 256 && NO_TENSOR == u32::MAX);
