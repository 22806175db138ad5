//! Polls: with the built-in transport, in the caller's thread; or fed, with a thread of ours that waits for the files which the caller brings.
//!
//! ```text
//! caller                                 thread of the poll
//! ff_update_begin  ->                    Agent::poll
//! ff_update_next   <- path, max_len      Transport::fetch
//! ff_update_feed   -> bytes              sink
//! ff_update_answer -> whole / missing    fetch returns
//! ff_update_next   <- over, result
//! ```

mod feed;

use std::{
    ffi::c_char,
    io, ptr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use fleetfoot::{
    Agent,
    agent::{Outcome, VersionInfo},
    transport::{Fetched, Request, Sink, Transport, TransportError},
};

use self::feed::{Feed, Wanted};
use crate::{
    door::{bytes, door, give, put_text, quietly, text, write},
    handle::{Table, lock},
    layout::{Versioned, ff_error, ff_request, ff_runtime, ff_update, ff_update_result, pointer},
    runtime::{Entry, now, runtime},
    status::{Fault, Status},
};

static UPDATES: Table<Update> = Table::new(6);

/// The transport of an agent: the repository that it was opened with, or the feed of the poll that is under way.
#[derive(Debug)]
pub(crate) struct Switch {
    repository: Option<Repository>,
    feed: Mutex<Option<Arc<Feed>>>,
    stopped: AtomicBool,
}

struct Repository(Mutex<Box<dyn Transport>>);

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Repository")
    }
}

impl Switch {
    pub(crate) fn new(repository: Option<Box<dyn Transport>>) -> Self {
        let repository = repository.map(|transport| Repository(Mutex::new(transport)));
        Self { repository, feed: Mutex::default(), stopped: AtomicBool::new(false) }
    }

    /// Polls end at the next byte from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(feed) = &*lock(&self.feed) {
            feed.stop();
        }
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }
}

/// An agent's end of a [`Switch`].
#[derive(Debug)]
pub(crate) struct Switched(pub(crate) Arc<Switch>);

impl Transport for Switched {
    fn fetch(&self, request: &Request<'_>, sink: Sink<'_>) -> Result<Fetched, TransportError> {
        let stopped = || TransportError::Unreachable { url: request.path.into(), source: STOPPED.into() };
        let switch = &self.0;
        if switch.stopped() {
            return Err(stopped());
        }
        let feed = lock(&switch.feed).clone();
        match (feed, &switch.repository) {
            (Some(feed), _) => feed.fetch(request, sink),
            (None, Some(repository)) => lock(&repository.0).fetch(request, &mut |chunk| {
                if switch.stopped() {
                    return Err(io::Error::other(STOPPED));
                }
                sink(chunk)
            }),
            (None, None) => Err(stopped()),
        }
    }
}

const STOPPED: &str = "the poll was given up";

/// What an update handle means: a feed, and the thread that polls with it.
#[derive(Debug)]
struct Update {
    feed: Arc<Feed>,
    /// The request that C got pointers to.
    shown: Mutex<Option<Wanted>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Update {
    fn drop(&mut self) {
        self.feed.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of it was told as the result.
            let _ended = thread.join();
        }
    }
}

impl Update {
    fn begin(entry: Arc<Entry>, stages: bool, time: i64) -> Result<Self, Fault> {
        let feed = Arc::new(Feed::default());
        let claim = entry.claim()?;
        *lock(&entry.switch.feed) = Some(Arc::clone(&feed));
        let (of, on) = (Arc::clone(&feed), Arc::clone(&entry));
        let body = move || {
            let poll = std::panic::AssertUnwindSafe(|| claim.poll(|agent| run(agent, stages, time)));
            let done = std::panic::catch_unwind(poll);
            let result = done.unwrap_or_else(|_| Err(Status::Panic.into())).and_then(|outcome| outcome);
            // Before the claim ends: the next poll has a feed of its own, or none.
            lock(&on.switch.feed).take();
            drop(claim);
            of.change(|state| {
                state.wanted = None;
                state.result = Some(result);
            });
        };
        let started = thread::Builder::new().name("fleetfoot-poll".into()).spawn(body);
        let mut this = Self { feed, shown: Mutex::default(), thread: None };
        match started {
            Ok(thread) => this.thread = Some(thread),
            Err(source) => {
                lock(&entry.switch.feed).take();
                return Err(fleetfoot::Error::Thread { source }.into());
            }
        }
        Ok(this)
    }
}

/// Polls with the repository of the runtime. `now_s` is seconds since 1970, or 0 for the clock of the system.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_poll(
    of: *mut ff_runtime,
    name: *const c_char,
    now_s: i64,
    out: *mut ff_update_result,
    error: *mut ff_error,
) -> i32 {
    // SAFETY: the header's contract of all of them.
    unsafe { built_in(of, name, now_s, false, out, error) }
}

/// As [`ff_update_poll`], but a version that is admitted waits for [`ff_update_activate`].
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_stage(
    of: *mut ff_runtime,
    name: *const c_char,
    now_s: i64,
    out: *mut ff_update_result,
    error: *mut ff_error,
) -> i32 {
    // SAFETY: the header's contract of all of them.
    unsafe { built_in(of, name, now_s, true, out, error) }
}

/// # Safety
/// The header's contract of all of them.
unsafe fn built_in(
    of: *mut ff_runtime,
    name: *const c_char,
    now_s: i64,
    stages: bool,
    out: *mut ff_update_result,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let runtime = runtime(of)?;
        // SAFETY: by the contract of this function.
        let entry = unsafe {
            write(out, ff_update_result::ZERO)?;
            runtime.entry(text(name, "name")?)?
        };
        if entry.switch.repository.is_none() {
            let why = "the model was opened without the address of a repository: ff_update_begin feeds a poll";
            return Err(Fault::new(Status::NoRepository, why));
        }
        let result = entry.claim()?.poll(|agent| run(agent, stages, now_s))?;
        let result = result.map_err(|fault| if entry.switch.stopped() { Status::Stopped.into() } else { fault })?;
        // SAFETY: by the contract of this function.
        unsafe { write(out, result) }
    };
    // SAFETY: by the contract of this function.
    unsafe { door(error, body) }
}

/// Lets the version that is staged serve on trial.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_activate(
    of: *mut ff_runtime,
    name: *const c_char,
    out: *mut ff_update_result,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let runtime = runtime(of)?;
        // SAFETY: the header's contract of `out` and `name`.
        let entry = unsafe {
            write(out, ff_update_result::ZERO)?;
            runtime.entry(text(name, "name")?)?
        };
        let outcome = entry.briefly(|agent| agent.activate(now(0)))??;
        let result = outcome.map_or(Ok(ff_update_result::ZERO), lay_out)?;
        // SAFETY: as above.
        unsafe { write(out, result) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Begins a poll whose files the caller brings.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_begin(
    of: *mut ff_runtime,
    name: *const c_char,
    stage: i32,
    now_s: i64,
    out: *mut *mut ff_update,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out` and `name`.
        let name = unsafe {
            give(out, "out", ptr::null_mut())?;
            text(name, "name")?
        };
        let entry = runtime(of)?.entry(name)?;
        let handle = UPDATES.insert(Update::begin(entry, stage != 0, now_s)?)?;
        // SAFETY: as above.
        unsafe { give(out, "out", pointer(handle)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Waits for the next file that the poll asks for, or for its end.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_next(
    of: *mut ff_update,
    request: *mut ff_request,
    result: *mut ff_update_result,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let update = UPDATES.shared(of.addr())?;
        // SAFETY: the header's contract of both.
        unsafe {
            write(request, ff_request::ZERO)?;
            write(result, ff_update_result::ZERO)?;
        }
        let next = update.feed.wait(|state| match (&state.wanted, &mut state.result) {
            (Some(wanted), _) => Some(Ok(wanted.clone())),
            (None, Some(Ok(result))) => Some(Err(Ok(*result))),
            (None, Some(Err(fault))) => Some(Err(Err(fault.clone()))),
            (None, None) => None,
        })?;
        let wanted = match next {
            Ok(wanted) => wanted,
            // SAFETY: as above.
            Err(over) => return unsafe { write(result, over?) },
        };
        let mut shown = lock(&update.shown);
        let wanted = shown.insert(wanted);
        let etag = wanted.etag.as_ref().map_or(ptr::null(), |etag| etag.as_ptr());
        let (offset, max_len, path) = (wanted.offset, wanted.max_len, wanted.path.as_ptr());
        // SAFETY: as above.
        unsafe { write(request, ff_request { offset, max_len, path, etag, ..ff_request::ZERO }) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Brings bytes of the file that is asked for.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_feed(of: *mut ff_update, data: *const u8, len: usize, error: *mut ff_error) -> i32 {
    let body = || {
        let update = UPDATES.shared(of.addr())?;
        // SAFETY: the header's contract of `data`.
        let chunk = unsafe { bytes(data, len, "data")? };
        if chunk.is_empty() { Ok(()) } else { update.feed.feed(chunk) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Says what came of the file that is asked for.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_update_answer(
    of: *mut ff_update,
    answer: i32,
    http_status: u32,
    etag: *const c_char,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        let update = UPDATES.shared(of.addr())?;
        let etag = match etag.is_null() {
            true => None,
            // SAFETY: the header's contract of `etag`.
            false => Some(unsafe { text(etag, "etag")? }),
        };
        update.feed.answer(answer, http_status, etag)
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Closes a poll; one that is not over is given up, and goes on with the next.
#[unsafe(no_mangle)]
pub extern "C" fn ff_update_release(of: *mut ff_update) {
    quietly(|| UPDATES.close(of.addr(), |update| update.feed.stop()));
}

fn run(agent: &mut Agent, stages: bool, time: i64) -> Result<ff_update_result, Fault> {
    let time = now(time);
    lay_out(if stages { agent.stage(time) } else { agent.poll(time) })
}

/// An outcome for C. A poll that failed is a failed call.
fn lay_out(outcome: Outcome) -> Result<ff_update_result, Fault> {
    let mut result = ff_update_result::ZERO;
    let mut about = |kind, version: &VersionInfo| {
        result.kind = kind;
        result.number = version.number;
        put_text(&mut result.version, &version.version);
    };
    let text = match outcome {
        Outcome::UpToDate { newest: None } => "nothing newer is offered".into(),
        Outcome::UpToDate { newest: Some((number, _)) } => {
            result.number = number;
            format!("release {number} is the newest, and not taken")
        }
        Outcome::Staged(version) => {
            about(1, &version);
            format!("version {version} waits to be activated")
        }
        Outcome::Trial(version) => {
            about(2, &version);
            format!("version {version} serves on trial")
        }
        Outcome::Committed(version) => {
            about(3, &version);
            format!("version {version} is active")
        }
        Outcome::Rejected { version, reason, error } => {
            about(4, &version);
            result.code = reason.0.into();
            let why = error.map_or_else(|| reason.text().into(), |error| error.to_string());
            format!("version {version} is rejected: {why}")
        }
        Outcome::Deferred { version, reason, retry_at, .. } => {
            about(5, &version);
            (result.code, result.retry_at) = (reason.0.into(), retry_at);
            format!("version {version} waits: {}", reason.text())
        }
        Outcome::Failed(error) => return Err(error.into()),
        _ => {
            result.kind = 6;
            "an outcome that this interface does not know".into()
        }
    };
    put_text(&mut result.text, &text);
    Ok(result)
}
