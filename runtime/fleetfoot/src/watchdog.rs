//! Code of a bundle under a watch: what aborts, eats all memory or never ends must not take the application with it, or at least not for ever.
//!
//! | | in a thread, the default | in a process of its own ([`Isolated`]) |
//! |---|---|---|
//! | it ends | its answer | its answer |
//! | it panics | lost: died | lost: died |
//! | it aborts, or the system kills it for its memory | the application dies; the attempt is spent, the next start goes on | lost: died |
//! | it does not end in time | lost: hung. A thread cannot be killed: it is left, and said loudly | lost: hung; the process is killed |
//! | it takes more memory than it may | what can be counted beforehand is refused | the same; and allocating beyond the limit kills it (Linux) |
//!
//! *Lost* means that the attempt, durable before the start, stays spent, so that a candidate gets as many as the device allows and no more.

mod process;

use std::{
    fmt, io, mem,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use fleetfoot_format::record::Reason;
use thiserror::Error;

pub use self::process::{Isolated, answer};
pub(crate) use self::process::{Job, ask};
use crate::{error::Error, pool::lock};

/// How code of a bundle is watched while a version proves itself.
#[derive(Clone, Debug)]
pub struct Watchdog {
    /// When it is given up. Far above what the slowest device needs for its golden cases: two minutes if nothing else is said.
    pub deadline: Duration,
    /// Whether it runs in a process of its own.
    pub isolated: Option<Isolated>,
    /// Bytes that a model with one session may take; see [`Session::memory_len`](crate::Session::memory_len) for what is counted.
    /// `None`: only the budget of the bundle counts.
    pub max_memory_bytes: Option<u64>,
}

impl Default for Watchdog {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(120), isolated: None, max_memory_bytes: None }
    }
}

/// Code that was started and did not come back.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Lost {
    /// It did not end in time.
    #[error("no end after {} s{}", Seconds(*after), if *left { "; its thread cannot be stopped and is left" } else { "" })]
    Hung {
        /// How long was waited.
        after: Duration,
        /// Whether it still runs, in a thread of this process.
        left: bool,
    },
    /// The process that tried it, or the thread, died.
    #[error("it died: {how}")]
    Died {
        /// What is known of it.
        how: String,
    },
}

impl Lost {
    /// The reason as the state record keeps it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Hung { .. } => Reason::HUNG,
            Self::Died { .. } => Reason::DIED,
        }
    }
}

/// Runs `work` in a thread and waits for its answer until the deadline.
///
/// # Errors
/// [`Error::Lost`]; [`Error::Thread`] where no thread can be started, or too many hang already.
pub(crate) fn watched<T: Send + 'static>(
    deadline: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let answer = Arc::new(Mutex::new(None));
    let theirs = Arc::clone(&answer);
    in_thread(deadline, Box::new(move || *lock(&theirs) = Some(work())))?;
    let answer = lock(&answer).take();
    // It came to its end, so the answer is there.
    answer.ok_or_else(|| Lost::Died { how: "it said nothing".into() }.into())
}

/// What [`watched`] does, once for all kinds of work.
fn in_thread(deadline: Duration, work: Box<dyn FnOnce() + Send>) -> Result<(), Error> {
    if HANGING.load(Ordering::Relaxed) >= MAX_HANGING {
        let source = io::Error::other("threads with code that hangs fill this process; only its restart helps");
        return Err(Error::Thread { source });
    }
    let watch = Arc::new(Watch { state: Mutex::new(State::Running), ended: Condvar::new() });
    let end = End(Arc::clone(&watch));
    let run = move || {
        let _end = end;
        work();
    };
    let thread = thread::Builder::new().name("fleetfoot-watched".into()).stack_size(STACK_BYTES).spawn(run);
    let thread = thread.map_err(|source| Error::Thread { source })?;
    let running = |state: &mut State| *state == State::Running;
    let waited = watch.ended.wait_timeout_while(lock(&watch.state), deadline, running);
    let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
    if *state == State::Running {
        *state = State::Left;
        HANGING.fetch_add(1, Ordering::Relaxed);
        drop(state);
        tracing::error!("code of a bundle did not end in {} s; its thread is left", Seconds(deadline));
        return Err(Lost::Hung { after: deadline, left: true }.into());
    }
    drop(state);
    let Err(panic) = thread.join() else { return Ok(()) };
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(|s| &**s));
    Err(Lost::Died { how: format!("it panicked: {}", text.unwrap_or("without words")) }.into())
}

/// How a thread does.
struct Watch {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Ended,
    /// Nobody waits for it any more.
    Left,
}

/// Tells that the thread ends, in a panic, too. One that was left and ends after all is not counted any more.
struct End(Arc<Watch>);

impl Drop for End {
    fn drop(&mut self) {
        if mem::replace(&mut *lock(&self.0.state), State::Ended) == State::Left {
            HANGING.fetch_sub(1, Ordering::Relaxed);
        }
        self.0.ended.notify_one();
    }
}

/// A time in seconds, to the millisecond, without the printing of floats, which is some 15 kB of a program.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{}", self.0.as_secs()),
            millis => write!(f, "{}.{millis:03}", self.0.as_secs()),
        }
    }
}

/// Threads of this process that were left.
static HANGING: AtomicUsize = AtomicUsize::new(0);
/// More are not left. Each holds a processor and the memory of a model.
const MAX_HANGING: usize = 4;
/// As the first thread of a process has it on most systems.
const STACK_BYTES: usize = 8 << 20;
