//! Events are pulled: no thread of the library ever calls into the application.
//!
//! Each queue gets every event of its runtime from the moment it was made. A queue that nobody empties drops its oldest events and says how many.
//! What happened before the first queue was there, while the runtime was opened, is kept for it.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use fleetfoot::agent::{Event, VersionInfo};

use crate::{
    door::{door, give, put_text, quietly, write},
    handle::{Table, lock},
    layout::{Versioned, ff_error, ff_event, ff_event_queue, ff_runtime, pointer},
    runtime::runtime,
    status::{Fault, Status},
};

static QUEUES: Table<Arc<Queue>> = Table::new(5);

/// The queues of one runtime.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    queues: Vec<Arc<Queue>>,
    /// Events before there was a queue.
    early: VecDeque<Told>,
    seq: u64,
    closed: bool,
}

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Told>,
    dropped: u64,
    closed: bool,
}

/// An event before it is laid out for C: queues that are never emptied should not be large.
#[derive(Clone, Debug)]
struct Told {
    seq: u64,
    kind: i32,
    code: i32,
    a: u64,
    b: u64,
    model: Arc<str>,
    version: Option<VersionInfo>,
    text: String,
}

impl Queues {
    /// Tells an event to all queues.
    pub(crate) fn tell(&self, model: &Arc<str>, event: &Event) {
        let (kind, code, a, b, version) = describe(event);
        let mut all = lock(&self.all);
        all.seq += 1;
        let text = event.to_string();
        let event = Told { seq: all.seq, kind, code, a, b, model: Arc::clone(model), version, text };
        if all.queues.is_empty() {
            if all.early.len() == MAX_EARLY {
                all.early.pop_front();
            }
            all.early.push_back(event);
            return;
        }
        all.queues.retain(|queue| Arc::strong_count(queue) > 1);
        for queue in &all.queues {
            queue.push(event.clone());
        }
    }

    fn subscribe(&self, capacity: usize) -> Arc<Queue> {
        let mut all = lock(&self.all);
        let state = State { events: std::mem::take(&mut all.early), dropped: 0, closed: all.closed };
        let queue = Arc::new(Queue { state: Mutex::new(state), filled: Condvar::new(), capacity });
        queue.trim(&mut lock(&queue.state));
        all.queues.push(Arc::clone(&queue));
        queue
    }

    /// No more events come.
    pub(crate) fn close(&self) {
        let mut all = lock(&self.all);
        all.closed = true;
        all.queues.drain(..).for_each(|queue| queue.close());
    }
}

impl Queue {
    fn push(&self, event: Told) {
        let mut state = lock(&self.state);
        state.events.push_back(event);
        self.trim(&mut state);
        drop(state);
        self.filled.notify_one();
    }

    fn trim(&self, state: &mut State) {
        while state.events.len() > self.capacity {
            state.events.pop_front();
            state.dropped += 1;
        }
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.filled.notify_all();
    }

    /// The next event; `None` of time waits for ever.
    fn next(&self, timeout: Option<Duration>) -> Result<ff_event, Fault> {
        let until = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = lock(&self.state);
        loop {
            if state.dropped > 0 {
                let count = std::mem::take(&mut state.dropped);
                let mut event = ff_event { kind: DROPPED, a: count, ..ff_event::ZERO };
                put_text(&mut event.text, &format!("{count} events were dropped: the queue was full"));
                return Ok(event);
            }
            if let Some(event) = state.events.pop_front() {
                return Ok(event.lay_out());
            }
            if state.closed {
                return Err(Status::Closed.into());
            }
            state = match until {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                        return Err(Status::Timeout.into());
                    };
                    self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Told {
    fn lay_out(&self) -> ff_event {
        let Self { seq, kind, code, a, b, .. } = *self;
        let mut event = ff_event { seq, kind, code, a, b, ..ff_event::ZERO };
        put_text(&mut event.model, &self.model);
        if let Some(version) = &self.version {
            event.number = version.number;
            put_text(&mut event.version, &version.version);
        }
        put_text(&mut event.text, &self.text);
        event
    }
}

/// Makes a queue that keeps up to `capacity` events; 0: 256.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_events_subscribe(
    of: *mut ff_runtime,
    capacity: u32,
    out: *mut *mut ff_event_queue,
    error: *mut ff_error,
) -> i32 {
    let body = || {
        // SAFETY: the header's contract of `out`.
        unsafe { give(out, "out", std::ptr::null_mut()) }?;
        let capacity = if capacity == 0 { 256 } else { capacity.min(MAX_CAPACITY) as usize };
        let queue = runtime(of)?.queues.subscribe(capacity);
        let handle = QUEUES.insert(queue)?;
        // SAFETY: as above.
        unsafe { give(out, "out", pointer(handle)) }
    };
    // SAFETY: the header's contract of `error`.
    unsafe { door(error, body) }
}

/// Takes the next event.
///
/// # Safety
/// As the header says of all functions.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ff_events_next(of: *mut ff_event_queue, event: *mut ff_event, timeout_ms: i32) -> i32 {
    let body = || {
        let queue = QUEUES.shared(of.addr())?;
        // Where it cannot be given no event is taken.
        // SAFETY: the header's contract of `event`.
        unsafe { write(event, ff_event::ZERO) }?;
        let next = queue.next(u64::try_from(timeout_ms).ok().map(Duration::from_millis))?;
        // SAFETY: as above.
        unsafe { write(event, next) }
    };
    // SAFETY: there is no ff_error.
    unsafe { door(std::ptr::null_mut(), body) }
}

/// Closes the queue; who waits for an event of it is woken.
#[unsafe(no_mangle)]
pub extern "C" fn ff_events_release(of: *mut ff_event_queue) {
    quietly(|| QUEUES.close(of.addr(), |queue| queue.close()));
}

const MAX_EARLY: usize = 64;
const MAX_CAPACITY: u32 = 1 << 16;
const DROPPED: i32 = 17;

/// Kind, code, `a`, `b` and version of an event, as the header lists them.
fn describe(event: &Event) -> (i32, i32, u64, u64, Option<VersionInfo>) {
    let of = |kind, version: &VersionInfo| (kind, 0, 0, 0, Some(version.clone()));
    match event {
        Event::Refreshed => (1, 0, 0, 0, None),
        Event::Offered(version) => of(2, version),
        Event::Fetching { version, offset, len } => (3, 0, *offset, *len, Some(version.clone())),
        Event::Fetched(version) => of(4, version),
        Event::Validated { version, admission } => {
            (5, 0, admission.p99_us, admission.arena_bytes as u64, Some(version.clone()))
        }
        Event::Staged(version) => of(6, version),
        Event::TrialStarted(version) => of(7, version),
        Event::Committed(version) => of(8, version),
        Event::Rejected { version, reason, .. } => (9, reason.0.into(), 0, 0, Some(version.clone())),
        Event::Deferred { version, reason, retry_at } => {
            (10, reason.0.into(), retry_at.cast_unsigned(), 0, Some(version.clone()))
        }
        Event::Withdrawn(version) => of(11, version),
        Event::RolledBack(version) => of(12, version),
        Event::FellBack { to, .. } => (13, 0, 0, 0, to.clone()),
        Event::Skipped { .. } => (14, 0, 0, 0, None),
        Event::StateLost => (15, 0, 0, 0, None),
        Event::Failed(_) => (16, 0, 0, 0, None),
        Event::Assigned(_) => (18, 0, 0, 0, None),
        // One of a newer facade: its text says what it is.
        _ => (0, 0, 0, 0, None),
    }
}
