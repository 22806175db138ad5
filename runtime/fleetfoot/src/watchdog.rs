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
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use fleetfoot_format::record::Reason;
use thiserror::Error;

pub use self::process::{Isolated, answer};
pub(crate) use self::process::{Job, ask};
use crate::error::Error;

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
    #[error("no end after {} s{}", after.as_secs_f32(), if *left { "; its thread cannot be stopped and is left" } else { "" })]
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
    if HANGING.load(Ordering::Relaxed) >= MAX_HANGING {
        let source = io::Error::other("threads with code that hangs fill this process; only its restart helps");
        return Err(Error::Thread { source });
    }
    let (send, answer) = mpsc::sync_channel(1);
    let state = Arc::new(AtomicU8::new(RUNNING));
    let theirs = Arc::clone(&state);
    let run = move || {
        let _end = End(theirs);
        // Nobody listens any more where it took too long.
        let _ = send.send(work());
    };
    let thread = thread::Builder::new().name("fleetfoot-watched".into()).stack_size(STACK_BYTES).spawn(run);
    let thread = thread.map_err(|source| Error::Thread { source })?;
    match answer.recv_timeout(deadline) {
        Ok(value) => {
            let _ = thread.join();
            Ok(value)
        }
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().err();
            let text = panic
                .as_ref()
                .and_then(|p| p.downcast_ref::<&str>().copied().or(p.downcast_ref::<String>().map(|s| &**s)));
            Err(Lost::Died { how: format!("it panicked: {}", text.unwrap_or("without words")) }.into())
        }
        Err(RecvTimeoutError::Timeout) => {
            HANGING.fetch_add(1, Ordering::Relaxed);
            if state.swap(LEFT, Ordering::AcqRel) == ENDED {
                HANGING.fetch_sub(1, Ordering::Relaxed);
            }
            tracing::error!("code of a bundle did not end in {deadline:?}; its thread is left");
            Err(Lost::Hung { after: deadline, left: true }.into())
        }
    }
}

/// Counts a thread that was left and ends after all.
struct End(Arc<AtomicU8>);

impl Drop for End {
    fn drop(&mut self) {
        if self.0.swap(ENDED, Ordering::AcqRel) == LEFT {
            HANGING.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

const RUNNING: u8 = 0;
const LEFT: u8 = 1;
const ENDED: u8 = 2;
/// Threads of this process that were left.
static HANGING: AtomicUsize = AtomicUsize::new(0);
/// More are not left. Each holds a processor and the memory of a model.
const MAX_HANGING: usize = 4;
/// As the first thread of a process has it on most systems.
const STACK_BYTES: usize = 8 << 20;
