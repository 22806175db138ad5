//! Sessions: bind, run, read.
//!
//! ```text
//! ff_session_input     the place of an input in the arena: written there, nothing is copied
//! ff_session_bind_*    a buffer of the caller: one copy of it per run
//! ff_session_run       bound inputs in -> the engine -> bound outputs out
//! ```
//! All calls need the session alone: a second one at the same time is told FF_ERR_BUSY. A run that panics leaves the session poisoned.

use std::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use fleetfoot::{Kernels, Session, engine, preprocess::Pixels};

use crate::{
    arena::{Arena, Port},
    cancel::cancel,
    door::{bytes, door, give, null, quietly, read, write},
    handle::{Exclusive, Table},
    layout::{
        FF_SESSION_TIMED, Versioned, ff_cancel, ff_error, ff_model, ff_run_metrics, ff_session, ff_session_options,
        pointer,
    },
    metrics::Times,
    model::{Named, model},
    status::{Fault, Status},
};

static SESSIONS: Table<Bound> = Table::new(2);

/// A session and what is bound to it.
#[derive(Debug)]
pub(crate) struct Bound {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    runs: u64,
    times: Option<Box<Times>>,
    poisoned: bool,
}

/// The session of a handle, alone.
pub(crate) fn session(handle: *const ff_session) -> Result<Exclusive<Bound>, Fault> {
    SESSIONS.exclusive(handle.addr())
}

impl Bound {
    /// # Safety
    /// The arena of the options is NULL, or the caller's to lend.
    unsafe fn new(named: &Named, options: &ff_session_options) -> Result<Self, Fault> {
        let (kernels, threads) = (Kernels::detect(), options.threads.max(1) as usize);
        let engine = named.model.engine();
        let arena = if options.arena.is_null() {
            // So many threads that nobody has them are refused below.
            let len = engine.bounded_arena_len(kernels, threads.min(engine::MAX_THREADS));
            Arena::new(len.map_err(fleetfoot::Error::from)?)?
        } else {
            // SAFETY: by the contract of this function.
            unsafe { Arena::lent(options.arena.cast(), options.arena_len)? }
        };
        let at = arena.at();
        let session = Session::in_memory(Arc::clone(&named.model), kernels, threads, Box::new(arena))?;
        let ports = |tensors: &[engine::Tensor]| tensors.iter().map(|tensor| Port::new(at, tensor)).collect();
        let (inputs, outputs) = (ports(engine.inputs()), ports(engine.outputs()));
        let times = (options.flags & FF_SESSION_TIMED != 0).then(|| Box::new(Times::new()));
        Ok(Self { session, inputs, outputs, runs: 0, times, poisoned: false })
    }

    /// One inference.
    fn run(&mut self, cancelled: Option<&AtomicBool>) -> Result<(), Fault> {
        self.sound()?;
        let start = self.times.is_some().then(Instant::now);
        self.inputs.iter().for_each(Port::take_in);
        self.poisoned = true;
        let ran = match cancelled {
            None => self.session.run().map(|()| true),
            Some(flag) => self.session.run_while(|| !flag.load(Ordering::Relaxed)),
        };
        self.poisoned = false;
        if !ran? {
            return Err(Status::Cancelled.into());
        }
        self.outputs.iter().for_each(Port::hand_out);
        self.runs += 1;
        if let (Some(times), Some(start)) = (&mut self.times, start) {
            times.add(start.elapsed());
        }
        Ok(())
    }

    pub(crate) fn sound(&self) -> Result<(), Fault> {
        if self.poisoned { Err(Status::Panic.into()) } else { Ok(()) }
    }

    /// Input `index` as the engine knows it, and its bytes.
    pub(crate) fn input_mut(&mut self, index: u32) -> Result<(engine::Tensor, &mut [u8]), Fault> {
        let tensor = self.session.model().engine().input(index as usize).map_err(fleetfoot::Error::from)?.clone();
        Ok((tensor, self.session.input_mut(index as usize)?))
    }

    /// Makes `pixels` the content of input `index` as the bundle says; `false` where it says nothing about that.
    pub(crate) fn prepare(&mut self, index: u32, pixels: &impl Pixels) -> Result<bool, Fault> {
        if index != 0 || self.session.model().preprocess().is_none() {
            return Ok(false);
        }
        self.session.set_image(pixels)?;
        Ok(true)
    }

    /// A bound input that is written by us would be overwritten by the next run.
    pub(crate) fn unbind_input(&mut self, index: u32) {
        if let Some(port) = self.inputs.get_mut(index as usize) {
            port.bound = None;
        }
    }

    fn batch(&mut self, n: usize, inputs: &[*const c_void], outputs: &[*mut c_void]) -> Result<(), Fault> {
        self.sound()?;
        let lens = |ports: &[Port]| ports.iter().map(|port| port.len.checked_mul(n)).collect::<Option<Vec<_>>>();
        let too_many = || Fault::new(Status::Argument, format!("{n} items are more than memory has"));
        let (in_lens, out_lens) = (lens(&self.inputs), lens(&self.outputs));
        let (in_lens, out_lens) = (in_lens.ok_or_else(too_many)?, out_lens.ok_or_else(too_many)?);
        let mut given = Vec::with_capacity(inputs.len());
        for (at, (&input, &len)) in (0..).zip(inputs.iter().zip(&in_lens)) {
            // SAFETY: the header wants `n` items at each of them.
            given.push(unsafe { bytes(input.cast(), len, "an input") }.map_err(|fault| fault.at(at))?);
        }
        if let Some(at) = outputs.iter().position(|output| output.is_null()).filter(|_| n > 0) {
            return Err(null("an output").at(at as u32));
        }
        self.poisoned = true;
        let ran = self.session.run_batch(&given);
        self.poisoned = false;
        for ((made, &output), len) in ran?.iter().zip(outputs).zip(out_lens).filter(|_| n > 0) {
            debug_assert_eq!(made.len(), len);
            // SAFETY: the header wants room for `n` items at each of them; it is not NULL.
            unsafe { ptr::copy_nonoverlapping(made.as_ptr(), output.cast(), made.len()) };
        }
        self.runs += n as u64;
        Ok(())
    }
}

/// Makes a session of a model.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_create(
    of: *const ff_model,
    options: *const ff_session_options,
    out: *mut *mut ff_session,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out` and `options`.
        let options = unsafe {
            give(out, "out", ptr::null_mut())?;
            if options.is_null() { ff_session_options::ZERO } else { read(options)? }
        };
        if options.flags & !FF_SESSION_TIMED != 0 {
            return Err(Fault::new(
                Status::Argument,
                format!("flags are {:#x}, of which some are unknown", options.flags),
            ));
        }
        // SAFETY: the header's contract of the arena.
        let handle = SESSIONS.insert(unsafe { Bound::new(&*model(of)?, &options)? })?;
        // SAFETY: as above.
        unsafe { give(out, "out", pointer(handle)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Where input `index` lies: to be written before every run.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_input(
    handle: *mut ff_session,
    index: u32,
    data: *mut *mut c_void,
    len: *mut usize,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let mut bound = session(handle)?;
        let port = port(&mut bound.inputs, "input", index)?;
        // SAFETY: the header's contract of `data` and `len`.
        unsafe { give(data, "data", port.at.as_ptr().cast()).and_then(|()| give(len, "len", port.len)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Where output `index` lies: to be read after every run.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_output(
    handle: *mut ff_session,
    index: u32,
    data: *mut *const c_void,
    len: *mut usize,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let mut bound = session(handle)?;
        let port = port(&mut bound.outputs, "output", index)?;
        let at: *const u8 = port.at.as_ptr();
        // SAFETY: the header's contract of `data` and `len`.
        unsafe { give(data, "data", at.cast()).and_then(|()| give(len, "len", port.len)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Binds a buffer of the caller to input `index`, or with NULL takes that back.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_bind_input(
    handle: *mut ff_session,
    index: u32,
    data: *const c_void,
    len: usize,
    error: *mut ff_error,
) -> i32 {
    let body = || bind(port(&mut session(handle)?.inputs, "input", index)?, index, data.cast_mut(), len);
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Binds a buffer of the caller to output `index`, or with NULL takes that back.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_bind_output(
    handle: *mut ff_session,
    index: u32,
    data: *mut c_void,
    len: usize,
    error: *mut ff_error,
) -> i32 {
    let body = || bind(port(&mut session(handle)?.outputs, "output", index)?, index, data, len);
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// One inference.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_run(handle: *mut ff_session, flag: *mut ff_cancel, error: *mut ff_error) -> i32 {
    let body = || {
        let flag = cancel(flag)?;
        session(handle)?.run(flag.as_deref())
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// `n` inferences in one call.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_run_batch(
    handle: *mut ff_session,
    n: usize,
    inputs: *const *const c_void,
    outputs: *const *mut c_void,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let mut bound = session(handle)?;
        if inputs.is_null() || outputs.is_null() {
            return Err(null(if inputs.is_null() { "inputs" } else { "outputs" }));
        }
        if !inputs.is_aligned() || !outputs.is_aligned() {
            return Err(Fault::new(Status::Unaligned, "inputs or outputs are not aligned"));
        }
        let (n_inputs, n_outputs) = (bound.inputs.len(), bound.outputs.len());
        // SAFETY: neither NULL nor misaligned, and the header wants as many pointers as the model has inputs and outputs.
        let (inputs, outputs) =
            unsafe { (std::slice::from_raw_parts(inputs, n_inputs), std::slice::from_raw_parts(outputs, n_outputs)) };
        bound.batch(n, inputs, outputs)
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// What the session counted.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_session_metrics(
    handle: *mut ff_session,
    out: *mut ff_run_metrics,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let bound = session(handle)?;
        let metrics = bound.times.as_ref().map_or(ff_run_metrics::ZERO, |times| times.metrics());
        let arena_len = bound.session.arena_len() as u64;
        // SAFETY: the header's contract of `out`.
        unsafe { write(out, ff_run_metrics { runs: bound.runs, arena_len, ..metrics }) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Closes the session; a call that is under way is waited for.
#[unsafe(no_mangle)]
pub extern "C" fn ff_session_release(handle: *mut ff_session) {
    quietly(|| SESSIONS.close(handle.addr(), |_| {}));
}

fn port<'a>(ports: &'a mut [Port], what: &'static str, index: u32) -> Result<&'a mut Port, Fault> {
    let count = ports.len();
    let none = engine::EngineError::NoSuchTensor { what, index: index as usize, count };
    ports.get_mut(index as usize).ok_or_else(|| fleetfoot::Error::from(none).into())
}

fn bind(port: &mut Port, index: u32, data: *mut c_void, len: usize) -> Result<(), Fault> {
    let data = NonNull::new(data.cast::<u8>());
    if data.is_some() && len != port.len {
        let need = port.len;
        return Err(
            Fault::new(Status::Length, format!("tensor {index} has {need} bytes, the buffer has {len}")).at(index)
        );
    }
    port.bound = data;
    Ok(())
}

#[cfg(test)]
mod tests;
