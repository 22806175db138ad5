//! The C interface of Fleetfoot: what `include/fleetfoot.h` declares, which is also its documentation.
//!
//! ```text
//! status     the numbers that functions return; one table, which a test holds against the header
//! door       how every function begins and ends: NULL, sizes of structs, panics, the caller's ff_error
//! handle     handles: tables of objects with a closed bit and a count of calls in one atomic
//! layout     the structs of the header
//! model, session, arena, metrics, image        models and inference
//! runtime, update, events, json                (feature `update`) a store and its updates
//! ```
//! Functions here are thin: they turn C into Rust, call the facade, and turn its errors into numbers. The shim of the Kotlin binding links
//! this crate and calls the same functions.
#![allow(non_camel_case_types, reason = "names of C")]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arena;
mod cancel;
mod door;
#[cfg(feature = "update")]
mod events;
mod handle;
mod image;
#[cfg(feature = "update")]
mod json;
mod layout;
mod metrics;
mod model;
#[cfg(feature = "update")]
mod runtime;
mod session;
mod status;
#[cfg(feature = "update")]
mod update;

pub use cancel::{ff_cancel_create, ff_cancel_release, ff_cancel_set};
#[cfg(feature = "update")]
pub use events::{ff_events_next, ff_events_release, ff_events_subscribe};
pub use image::ff_session_set_image;
pub use layout::*;
pub use model::{
    ff_model_from_fd, ff_model_from_file, ff_model_from_memory, ff_model_get_info, ff_model_input, ff_model_output,
    ff_model_release,
};
#[cfg(feature = "update")]
pub use runtime::{
    ff_confirm_healthy, ff_model_active, ff_outcome, ff_rollback, ff_runtime_open, ff_runtime_release, ff_status_json,
};
pub use session::{
    ff_session_bind_input, ff_session_bind_output, ff_session_create, ff_session_input, ff_session_metrics,
    ff_session_output, ff_session_release, ff_session_run, ff_session_run_batch,
};
pub use status::{STATUSES, ff_status_name};
#[cfg(feature = "update")]
pub use update::{
    ff_update_activate, ff_update_answer, ff_update_begin, ff_update_feed, ff_update_next, ff_update_poll,
    ff_update_release, ff_update_stage,
};

/// `major << 16 | minor` of the interface. A higher minor number only adds.
pub const ABI_VERSION: u32 = 1 << 16;

/// The version of the interface that this library has.
#[unsafe(no_mangle)]
pub extern "C" fn ff_abi_version() -> u32 {
    ABI_VERSION
}

/// The version of the library: static text.
#[unsafe(no_mangle)]
pub extern "C" fn ff_version_string() -> *const core::ffi::c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}
