//! The C interface for the Java virtual machine. Every method takes and gives numbers only: handles, and addresses of direct buffers in which Kotlin lays out
//! the structs of the header; where their fields are it asks [`Java_dev_fleetfoot_Native_layout`], so the two cannot drift apart. The only calls back into the
//! virtual machine are for the address of a buffer.
//!
//! No method is a critical one: a garbage collection does not wait for an inference.
#![allow(non_snake_case, reason = "names that the virtual machine looks for")]

use fleetfoot_c as c;
use jni_sys::{JNIEnv, jclass, jint, jlong, jobject};

/// An address or a handle as C takes it.
const fn p<T>(number: jlong) -> *mut T {
    std::ptr::with_exposed_provenance_mut(number as usize)
}

/// Declares methods of `dev.fleetfoot.Native` that call a function of the C interface.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty),*) = $call:expr;)*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As the header says of the function that it calls; Kotlin keeps the buffers alive during the call.
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name(_env: *mut JNIEnv, _class: jclass, $($arg: $type),*) -> jint {
            // SAFETY: Kotlin passes handles, and addresses of buffers that are as large as the header wants.
            #[allow(unused_unsafe, reason = "not all of them are")]
            unsafe { $call }
        }
    )*};
}

methods! {
    /// `ff_model_from_file`
    Java_dev_fleetfoot_Native_modelFromFile(path: jlong, keys: jlong, n_keys: jint, threshold: jint, out: jlong, error: jlong) = c::ff_model_from_file(p(path), p(keys), n_keys as u32, threshold as u32, p(out), p(error));
    /// `ff_model_from_fd`
    Java_dev_fleetfoot_Native_modelFromFd(fd: jint, offset: jlong, length: jlong, keys: jlong, n_keys: jint, threshold: jint, out: jlong, error: jlong) = c::ff_model_from_fd(fd, offset.cast_unsigned(), length.cast_unsigned(), p(keys), n_keys as u32, threshold as u32, p(out), p(error));
    /// `ff_model_from_memory`
    Java_dev_fleetfoot_Native_modelFromMemory(data: jlong, length: jlong, keys: jlong, n_keys: jint, threshold: jint, out: jlong, error: jlong) = c::ff_model_from_memory(p(data), length as usize, p(keys), n_keys as u32, threshold as u32, p(out), p(error));
    /// `ff_model_get_info`
    Java_dev_fleetfoot_Native_modelInfo(model: jlong, info: jlong, error: jlong) = c::ff_model_get_info(p(model), p(info), p(error));
    /// `ff_model_input`
    Java_dev_fleetfoot_Native_modelInput(model: jlong, index: jint, info: jlong, error: jlong) = c::ff_model_input(p(model), index as u32, p(info), p(error));
    /// `ff_model_output`
    Java_dev_fleetfoot_Native_modelOutput(model: jlong, index: jint, info: jlong, error: jlong) = c::ff_model_output(p(model), index as u32, p(info), p(error));
    /// `ff_session_create`
    Java_dev_fleetfoot_Native_sessionCreate(model: jlong, options: jlong, out: jlong, error: jlong) = c::ff_session_create(p(model), p(options), p(out), p(error));
    /// `ff_session_input`
    Java_dev_fleetfoot_Native_sessionInput(session: jlong, index: jint, data: jlong, len: jlong, error: jlong) = c::ff_session_input(p(session), index as u32, p(data), p(len), p(error));
    /// `ff_session_output`
    Java_dev_fleetfoot_Native_sessionOutput(session: jlong, index: jint, data: jlong, len: jlong, error: jlong) = c::ff_session_output(p(session), index as u32, p(data), p(len), p(error));
    /// `ff_session_set_image`
    Java_dev_fleetfoot_Native_sessionSetImage(session: jlong, index: jint, image: jlong, error: jlong) = c::ff_session_set_image(p(session), index as u32, p(image), p(error));
    /// `ff_session_run`
    Java_dev_fleetfoot_Native_sessionRun(session: jlong, cancel: jlong, error: jlong) = c::ff_session_run(p(session), p(cancel), p(error));
    /// `ff_session_run_batch`
    Java_dev_fleetfoot_Native_sessionRunBatch(session: jlong, n: jlong, inputs: jlong, outputs: jlong, error: jlong) = c::ff_session_run_batch(p(session), n as usize, p(inputs), p(outputs), p(error));
    /// `ff_session_metrics`
    Java_dev_fleetfoot_Native_sessionMetrics(session: jlong, metrics: jlong, error: jlong) = c::ff_session_metrics(p(session), p(metrics), p(error));
    /// `ff_cancel_create`
    Java_dev_fleetfoot_Native_cancelCreate(out: jlong) = c::ff_cancel_create(p(out));
    /// `ff_runtime_open`
    Java_dev_fleetfoot_Native_runtimeOpen(options: jlong, out: jlong, error: jlong) = c::ff_runtime_open(p(options), p(out), p(error));
    /// `ff_model_active`
    Java_dev_fleetfoot_Native_modelActive(runtime: jlong, name: jlong, out: jlong, error: jlong) = c::ff_model_active(p(runtime), p(name), p(out), p(error));
    /// `ff_outcome`
    Java_dev_fleetfoot_Native_outcome(runtime: jlong, model: jlong, good: jint, error: jlong) = c::ff_outcome(p(runtime), p(model), good, p(error));
    /// `ff_confirm_healthy`
    Java_dev_fleetfoot_Native_confirmHealthy(runtime: jlong, name: jlong, error: jlong) = c::ff_confirm_healthy(p(runtime), p(name), p(error));
    /// `ff_rollback`
    Java_dev_fleetfoot_Native_rollback(runtime: jlong, name: jlong, to: jlong, error: jlong) = c::ff_rollback(p(runtime), p(name), p(to), p(error));
    /// `ff_status_json`
    Java_dev_fleetfoot_Native_statusJson(runtime: jlong, buffer: jlong, len: jlong, need: jlong, error: jlong) = c::ff_status_json(p(runtime), p(buffer), len as usize, p(need), p(error));
    /// `ff_update_activate`
    Java_dev_fleetfoot_Native_updateActivate(runtime: jlong, name: jlong, result: jlong, error: jlong) = c::ff_update_activate(p(runtime), p(name), p(result), p(error));
    /// `ff_update_begin`
    Java_dev_fleetfoot_Native_updateBegin(runtime: jlong, name: jlong, stage: jint, now_s: jlong, out: jlong, error: jlong) = c::ff_update_begin(p(runtime), p(name), stage, now_s, p(out), p(error));
    /// `ff_update_next`
    Java_dev_fleetfoot_Native_updateNext(update: jlong, request: jlong, result: jlong, error: jlong) = c::ff_update_next(p(update), p(request), p(result), p(error));
    /// `ff_update_feed`
    Java_dev_fleetfoot_Native_updateFeed(update: jlong, data: jlong, len: jlong, error: jlong) = c::ff_update_feed(p(update), p(data), len as usize, p(error));
    /// `ff_update_answer`
    Java_dev_fleetfoot_Native_updateAnswer(update: jlong, answer: jint, http_status: jint, etag: jlong, error: jlong) = c::ff_update_answer(p(update), answer, http_status as u32, p(etag), p(error));
    /// `ff_events_subscribe`
    Java_dev_fleetfoot_Native_eventsSubscribe(runtime: jlong, capacity: jint, out: jlong, error: jlong) = c::ff_events_subscribe(p(runtime), capacity as u32, p(out), p(error));
    /// `ff_events_next`
    Java_dev_fleetfoot_Native_eventsNext(queue: jlong, event: jlong, timeout_ms: jint) = c::ff_events_next(p(queue), p(event), timeout_ms);
    /// `ff_cancel_set`
    Java_dev_fleetfoot_Native_cancelSet(cancel: jlong, cancelled: jint) = c::ff_cancel_set(p(cancel), cancelled);
}

/// Declares methods of `dev.fleetfoot.Native` that close a handle.
macro_rules! releases {
    ($($name:ident = $call:ident;)*) => {$(
        /// Closes a handle.
        #[unsafe(no_mangle)]
        pub extern "system" fn $name(_env: *mut JNIEnv, _class: jclass, handle: jlong) {
            c::$call(p(handle));
        }
    )*};
}

releases! {
    Java_dev_fleetfoot_Native_modelRelease = ff_model_release;
    Java_dev_fleetfoot_Native_sessionRelease = ff_session_release;
    Java_dev_fleetfoot_Native_cancelRelease = ff_cancel_release;
    Java_dev_fleetfoot_Native_runtimeRelease = ff_runtime_release;
    Java_dev_fleetfoot_Native_updateRelease = ff_update_release;
    Java_dev_fleetfoot_Native_eventsRelease = ff_events_release;
}

/// Version of the interface.
#[unsafe(no_mangle)]
pub extern "system" fn Java_dev_fleetfoot_Native_abiVersion(_env: *mut JNIEnv, _class: jclass) -> jint {
    c::ff_abi_version().cast_signed()
}

/// Where the bytes of a direct buffer are; 0 for another one.
///
/// # Safety
/// `env` is the environment of this thread, `buffer` an object of the virtual machine.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_dev_fleetfoot_Native_address(
    env: *mut JNIEnv,
    _class: jclass,
    buffer: jobject,
) -> jlong {
    if env.is_null() || buffer.is_null() {
        return 0;
    }
    // SAFETY: the virtual machine gave the environment, whose table has this function since JNI 1.4.
    let at = unsafe { ((**env).v1_4.GetDirectBufferAddress)(env, buffer) };
    at.expose_provenance() as jlong
}

/// Copies the text at `from`, which ends with a zero, to `to`, where `room` bytes are. Returns its length, or -1 where it does not fit.
///
/// # Safety
/// `from` is a text that the library gave and that is still alive, or 0; `to` has `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_dev_fleetfoot_Native_text(
    _env: *mut JNIEnv,
    _class: jclass,
    from: jlong,
    to: jlong,
    room: jint,
) -> jint {
    if from == 0 || to == 0 {
        return -1;
    }
    // SAFETY: by the contract of this function.
    let text = unsafe { std::ffi::CStr::from_ptr(p(from)) }.to_bytes();
    match jint::try_from(text.len()) {
        Ok(len) if len <= room => {
            // SAFETY: there is room, and the buffer is not the library's.
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), p(to), text.len()) };
            len
        }
        _ => -1,
    }
}

/// Lengths of all structs, offsets and lengths of all their fields, a line each: `ff_event 448`, `ff_event.kind 4 4`. Returns how many bytes that is; they
/// are written where they fit.
///
/// # Safety
/// `to` has `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn Java_dev_fleetfoot_Native_layout(
    _env: *mut JNIEnv,
    _class: jclass,
    to: jlong,
    room: jint,
) -> jint {
    let mut lines = String::new();
    for (name, len, fields) in c::LAYOUTS {
        lines.push_str(&format!("{name} {len}\n"));
        for (field, offset, len) in *fields {
            lines.push_str(&format!("{name}.{field} {offset} {len}\n"));
        }
    }
    if to != 0 && lines.len() <= usize::try_from(room).unwrap_or(0) {
        // SAFETY: there is room, by the contract of this function.
        unsafe { std::ptr::copy_nonoverlapping(lines.as_ptr(), p(to), lines.len()) };
    }
    lines.len() as jint
}
