//! Flags that end runs from another thread.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    door::{door, give, quietly},
    handle::{Shared, Table},
    layout::{ff_cancel, pointer},
    status::Fault,
};

static CANCELS: Table<AtomicBool> = Table::new(3);

/// The flag of a handle; `None` for NULL.
pub(crate) fn cancel(handle: *const ff_cancel) -> Result<Option<Shared<AtomicBool>>, Fault> {
    if handle.is_null() { Ok(None) } else { CANCELS.shared(handle.addr()).map(Some) }
}

/// Makes a flag, not set.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_cancel_create(out: *mut *mut ff_cancel) -> i32 {
    let body = || {
        // SAFETY: the header wants a writable place or NULL.
        unsafe { give(out, "out", std::ptr::null_mut()) }?;
        let handle = CANCELS.insert(AtomicBool::new(false))?;
        // SAFETY: as above.
        unsafe { give(out, "out", pointer(handle)) }
    };
    // SAFETY: there is no ff_error.
    unsafe { door(std::ptr::null_mut(), body) }
}

/// Sets the flag, or takes it back.
#[unsafe(no_mangle)]
pub extern "C" fn ff_cancel_set(handle: *mut ff_cancel, cancelled: i32) -> i32 {
    let body = || {
        CANCELS.shared(handle.addr())?.store(cancelled != 0, Ordering::Relaxed);
        Ok(())
    };
    // SAFETY: there is no ff_error.
    unsafe { door(std::ptr::null_mut(), body) }
}

/// Closes the flag; runs that look at it are waited for.
#[unsafe(no_mangle)]
pub extern "C" fn ff_cancel_release(handle: *mut ff_cancel) {
    quietly(|| CANCELS.close(handle.addr(), |_| {}));
}
