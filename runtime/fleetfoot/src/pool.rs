//! The threads of a session: they help the caller with one job at a time, and sleep otherwise.
//!
//! ```text
//! run(job)   post the job -> run it, too -> take it back -> wait for the helpers that took it -> return
//! helper     wait for a job (spin a little, then sleep) -> take it -> run it -> report -> again
//! ```
//! A job is one closure that all of them call; it hands out its pieces itself, under a lock or by a counter. So a helper that
//! wakes up late finds nothing left and delays nobody, and with no helper at all the caller does all of the work.
//!
//! # The `unsafe` of this file
//! Helpers live longer than the job, which borrows from the caller of [`Pool::run`], and Rust has no safe way to lend it to
//! them: `std::thread::scope` starts threads each time, which takes longer than most layers. So the lifetime of the reference
//! is erased, in one place. It is sound because the reference is in use only while `run` is on the stack: a helper copies it out of
//! `State::job` and counts itself in `State::active` under one lock; `run` empties `State::job` under that lock and then
//! waits until the count is 0; nothing between posting and waiting can unwind, because the caller's own call of the job
//! is caught.

use std::{
    any::Any,
    array, fmt, io, mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    process,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use fleetfoot_engine::{Fork, MAX_THREADS, Part};

/// What helpers are given: each that takes it calls it with its number; the caller's is 0.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// Helpers that run beside the caller.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// The process that has the helpers; a child made by `fork` has none of them.
    process: u32,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals helpers: there is a job, or it is over.
    posted: Condvar,
    /// Signals the caller: the last helper is done.
    done: Condvar,
    /// Rounds of spinning before a thread sleeps.
    spins: u32,
    // Copies of what `state` says, so that a spinning thread takes no lock. Nothing relies on them.
    round: AtomicUsize,
    active: AtomicUsize,
}

#[derive(Default)]
struct State {
    job: Option<Job<'static>>,
    /// Helpers that may still take the job.
    seats: usize,
    /// Counts jobs, so that a helper knows a new one.
    round: usize,
    /// Helpers that are inside the job.
    active: usize,
    /// Helpers that sleep and were not called yet; too many where one woke up by itself.
    asleep: usize,
    caller_sleeps: bool,
    /// What a helper panicked with.
    panic: Option<Box<dyn Any + Send>>,
    stop: bool,
}

impl Pool {
    /// Starts `helpers` threads.
    pub(crate) fn new(helpers: usize) -> io::Result<Self> {
        // With more threads than processors, who spins keeps another from working.
        let alone = thread::available_parallelism().is_ok_and(|processors| processors.get() > helpers);
        let shared = Arc::new(Shared { spins: if alone { SPINS } else { 0 }, ..Shared::default() });
        // Dropped on an error, so that those that did start are ended.
        let mut pool = Self { shared, helpers: Vec::with_capacity(helpers), process: process::id() };
        for index in 1..=helpers {
            let shared = Arc::clone(&pool.shared);
            let thread = thread::Builder::new().name(format!("fleetfoot-{index}"));
            pool.helpers.push(thread.spawn(move || shared.help(index))?);
        }
        Ok(pool)
    }

    /// Threads that run a job, the caller's among them.
    pub(crate) const fn threads(&self) -> usize {
        self.helpers.len() + 1
    }

    /// Whether this is the process that started the helpers. If not, they are not there, and a lock may be held for ever.
    pub(crate) fn is_here(&self) -> bool {
        self.process == process::id()
    }

    /// Calls `job` here and on up to `seats` helpers at once, and returns when all calls have returned. A panic of any
    /// of them goes on in the caller.
    pub(crate) fn run(&self, seats: usize, job: Job<'_>) {
        #[allow(unsafe_code, reason = "see the module documentation")]
        // SAFETY: no helper has the reference when this function returns or unwinds: see the module documentation.
        let lent: Job<'static> = unsafe { mem::transmute::<Job<'_>, Job<'static>>(job) };
        let mut state = self.shared.lock();
        state.job = Some(lent);
        state.seats = seats;
        state.round = state.round.wrapping_add(1);
        self.shared.round.store(state.round, Ordering::Relaxed);
        let wake = state.asleep.min(seats);
        state.asleep -= wake;
        drop(state);
        (0..wake).for_each(|_| self.shared.posted.notify_one());
        let own = catch_unwind(AssertUnwindSafe(|| job(0)));
        let mut state = self.shared.lock();
        state.job = None;
        if state.active > 0 {
            drop(state);
            self.shared.spin(|| self.shared.active.load(Ordering::Relaxed) == 0);
            state = self.shared.lock();
            while state.active > 0 {
                state.caller_sleeps = true;
                state = wait(&self.shared.done, state);
            }
            state.caller_sleeps = false;
        }
        let panic = state.panic.take();
        drop(state);
        if let Some(panic) = own.err().or(panic) {
            resume_unwind(panic);
        }
    }
}

impl Fork for Pool {
    fn run(&self, parts: &mut [Part<'_>]) {
        let n = parts.len();
        let mut parts = parts.iter_mut();
        let parts: [Mutex<Option<&mut Part<'_>>>; MAX_THREADS] = array::from_fn(|_| Mutex::new(parts.next()));
        // Each thread begins with the same part of every step, whose input is in its cache then, and goes on with those
        // that nobody has taken.
        self.run(n.saturating_sub(1), &|thread| {
            for at in thread..thread + n {
                let part = lock(&parts[at % n]).take();
                if let Some(part) = part {
                    part.run();
                }
            }
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_here() {
            // There is nothing to wait for.
            self.helpers.drain(..).for_each(mem::forget);
            return;
        }
        self.shared.lock().stop = true;
        self.shared.round.fetch_add(1, Ordering::Relaxed);
        self.shared.posted.notify_all();
        for helper in self.helpers.drain(..) {
            // Its jobs' panics were caught, so it has none of its own.
            let _ended = helper.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The life of a helper.
    fn help(&self, index: usize) {
        let mut seen = 0;
        loop {
            self.spin(|| self.round.load(Ordering::Relaxed) != seen);
            let mut state = self.lock();
            while state.round == seen && !state.stop {
                state.asleep += 1;
                state = wait(&self.posted, state);
            }
            if state.stop {
                return;
            }
            seen = state.round;
            let Some(job) = state.job.filter(|_| state.seats > 0) else { continue };
            state.seats -= 1;
            state.active += 1;
            self.active.store(state.active, Ordering::Relaxed);
            drop(state);
            let outcome = catch_unwind(AssertUnwindSafe(|| job(index)));
            let mut state = self.lock();
            if let Err(panic) = outcome {
                state.panic.get_or_insert(panic);
            }
            state.active -= 1;
            self.active.store(state.active, Ordering::Relaxed);
            let wake = state.active == 0 && state.caller_sleeps;
            drop(state);
            if wake {
                self.done.notify_all();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn spin(&self, until: impl Fn() -> bool) {
        for _ in 0..self.spins {
            if until() {
                return;
            }
            std::hint::spin_loop();
        }
    }
}

/// Whoever panicked with the lock had finished what it guards.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condvar.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

/// Some 20 to 60 microseconds: longer than the small layers between two large ones.
const SPINS: u32 = 2000;

#[cfg(test)]
mod tests;
