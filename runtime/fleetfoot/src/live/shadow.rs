//! The shadow: a candidate runs on some inputs of the version that serves, on a thread of its own, after the answer was given.
//!
//! ```text
//! caller   run ---- answer given ---- due, and room in the queue? ---- copy of input and output ----.
//! worker                                                              run the candidate, compare, rest
//! ```
//! Nothing of it reaches the caller: a full queue drops, a panic is caught, an inference that does not end is given up with its thread.
//! What ends the process is what the durable attempt is for. On Linux and Android the thread has a low priority.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use fleetfoot_format::record::Reason;

use super::{
    config::ShadowBudget,
    core::Core,
    lock, output,
    slot::{Slot, set_inputs},
};
use crate::session::Session;

/// A candidate in the shadow. Dropping it ends its thread after the inference that it is at.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) candidate: Arc<Slot>,
    jobs: SyncSender<Job>,
    most_waiting: usize,
    progress: Arc<Progress>,
}

/// What the worker tells. Times are nanoseconds since [`Progress::start`]; 0 is never.
#[derive(Debug)]
struct Progress {
    start: Instant,
    busy_since: AtomicU64,
    rests_until: AtomicU64,
    over: AtomicBool,
    /// Inferences in the queue.
    waiting: AtomicUsize,
    dropped: AtomicU64,
    looks: Mutex<Looks>,
}

/// How often an inference was found to have passed its deadline.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    /// Start of the inference.
    since: u64,
    /// When it was looked at last.
    last: u64,
    count: u32,
}

/// One inference of the version that served.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) inputs: Vec<u8>,
    /// Its first output.
    pub(super) output: Vec<u8>,
    pub(super) serving: Arc<Slot>,
}

impl Shadow {
    /// Starts the worker; `None` where the candidate needs more memory than the budget has, or no thread can be started.
    pub(super) fn start(core: &Arc<Core>, candidate: Arc<Slot>) -> Option<Self> {
        let budget = core.config.shadow.clone();
        if candidate.arena_len() > budget.max_arena_bytes {
            return None;
        }
        let most_waiting = budget.queue.max(1);
        let (jobs, received) = sync_channel(most_waiting);
        let progress = Arc::new(Progress {
            start: Instant::now(),
            busy_since: AtomicU64::new(0),
            rests_until: AtomicU64::new(0),
            over: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            looks: Mutex::default(),
        });
        let worker = Worker {
            core: Arc::downgrade(core),
            candidate: Arc::clone(&candidate),
            progress: Arc::clone(&progress),
            budget,
        };
        let thread = std::thread::Builder::new().name("fleetfoot-shadow".into());
        thread.spawn(move || worker.work(&received)).ok()?;
        Some(Self { candidate, jobs, most_waiting, progress })
    }

    /// Whether its share of the time is used up for now.
    pub(super) fn rests(&self) -> bool {
        self.progress.now() < self.progress.rests_until.load(Ordering::Relaxed)
    }

    /// Whether another inference finds a place in the queue. One that does not is dropped here, before it is copied.
    pub(super) fn admits(&self) -> bool {
        let room = self.progress.waiting.load(Ordering::Relaxed) < self.most_waiting;
        if !room {
            self.progress.dropped.fetch_add(1, Ordering::Relaxed);
        }
        room
    }

    /// Hands an inference over, or drops it.
    pub(super) fn offer(&self, job: Job) {
        self.progress.waiting.fetch_add(1, Ordering::Relaxed);
        match self.jobs.try_send(job) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.progress.waiting.fetch_sub(1, Ordering::Relaxed);
                self.progress.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Inferences that were due and found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.progress.dropped.load(Ordering::Relaxed)
    }

    /// Whether the inference that the worker is at has passed its deadline.
    pub(super) fn hangs(&self, deadline: Duration) -> bool {
        self.progress.hangs(self.progress.now(), deadline)
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::Relaxed);
    }
}

impl Progress {
    fn now(&self) -> u64 {
        nanoseconds(self.start.elapsed()).max(1)
    }

    /// Past its deadline, and found to be so [`LOOKS`] times with a part of the deadline in between: a process that slept wakes up
    /// long after every deadline, and gets the time to end what it was at.
    fn hangs(&self, now: u64, deadline: Duration) -> bool {
        let since = self.busy_since.load(Ordering::Relaxed);
        let deadline = nanoseconds(deadline);
        if since == 0 || now.saturating_sub(since) <= deadline {
            return false;
        }
        let mut looks = lock(&self.looks);
        if looks.since != since {
            *looks = Looks { since, last: now, count: 1 };
        } else if now.saturating_sub(looks.last) >= deadline / u64::from(LOOKS) {
            (looks.last, looks.count) = (now, looks.count + 1);
        }
        looks.count >= LOOKS
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Looks that find a hung inference.
const LOOKS: u32 = 4;
/// How long the worker sleeps before it looks for work again: waking it up would cost the caller more than all the rest. Where it finds none, twice as
/// long the next time, up to the longest: each look may take the processor away from a call, and short calls have many of them to lose.
const NAP: Duration = Duration::from_millis(5);
const LONGEST_NAP: Duration = Duration::from_millis(40);

/// Other threads come first, as far as the operating system can be asked for that.
fn give_way() {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
}

/// Linux counts from -20, the most urgent, to 19; of one thread where its number is given. A tenth of the share of other threads, so
/// that a busy device does not make every candidate look hung.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NICE: i32 = 10;

struct Worker {
    core: Weak<Core>,
    candidate: Arc<Slot>,
    progress: Arc<Progress>,
    budget: ShadowBudget,
}

impl Worker {
    fn work(self, jobs: &Receiver<Job>) {
        give_way();
        let (mut session, mut nap) = (None, NAP);
        loop {
            let job = match jobs.try_recv() {
                Ok(job) => job,
                Err(TryRecvError::Empty) => {
                    std::thread::sleep(nap);
                    nap = (nap * 2).min(LONGEST_NAP);
                    continue;
                }
                Err(TryRecvError::Disconnected) => return,
            };
            nap = NAP;
            self.progress.waiting.fetch_sub(1, Ordering::Relaxed);
            let Some(core) = self.core.upgrade() else { return };
            if self.progress.over.load(Ordering::Relaxed) {
                return;
            }
            let started = self.progress.now();
            self.progress.busy_since.store(started, Ordering::Relaxed);
            let ran = catch_unwind(AssertUnwindSafe(|| self.run(&core, &mut session, &job.inputs)));
            self.progress.busy_since.store(0, Ordering::Relaxed);
            let ended = self.progress.now();
            if self.progress.over.load(Ordering::Relaxed) {
                return;
            }
            let Ok(Some(theirs)) = ran else {
                core.shadow_failed(&self.candidate, Reason::SHADOW_FAILED);
                return;
            };
            let (Some(ours), Some(other)) =
                (job.serving.model.engine().outputs().first(), self.candidate.model.engine().outputs().first())
            else {
                return;
            };
            let range = core.config.gates.ranges.first().copied().flatten();
            let compared = output::compare((ours, &job.output), (other, &theirs), range);
            core.compared(&self.candidate, compared);
            let duty = u64::from(self.budget.duty_percent.clamp(1, 100));
            let rest = (ended - started).saturating_mul(100 - duty) / duty;
            self.progress.rests_until.store(ended.saturating_add(rest), Ordering::Relaxed);
        }
    }

    /// The first output of the candidate; `None` where it fails or does not answer with numbers.
    fn run(&self, core: &Core, session: &mut Option<Session>, inputs: &[u8]) -> Option<Vec<u8>> {
        if let Some(at) = core.at {
            at("shadow");
        }
        let session = match session {
            Some(session) => session,
            none => none.insert(self.candidate.acquire().ok()?.session),
        };
        set_inputs(session, inputs)?;
        session.run().ok()?;
        match output::fault(session, &core.config.gates.ranges) {
            None => session.output(0).ok().map(<[u8]>::to_vec),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slept_is_not_hung() {
        let progress = |since: u64| Progress {
            start: Instant::now(),
            busy_since: AtomicU64::new(since),
            rests_until: AtomicU64::new(0),
            over: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            looks: Mutex::default(),
        };
        let check = |rows: &[(u64, u64, bool)]| {
            let progress = progress(0);
            for &(since, now, hangs) in rows {
                progress.busy_since.store(since, Ordering::Relaxed);
                assert_eq!(progress.hangs(now, Duration::from_nanos(100)), hangs, "{rows:?} at {now}");
            }
        };
        check(&[(0, 1_000_000, false), (5, 100, false), (5, 105, false)]);
        // Looked at often, or seldom: four looks, a quarter of the deadline apart.
        check(&[(5, 106, false), (5, 107, false), (5, 131, false), (5, 156, false), (5, 180, false), (5, 181, true)]);
        check(&[(5, 1_000, false), (5, 2_000, false), (5, 3_000, false), (5, 4_000, true)]);
        // A night in between, after which it comes to its end and the next one begins.
        check(&[(5, 50, false), (5, 1_000_000, false), (5, 1_000_010, false), (1_000_020, 1_000_030, false)]);
        check(&[(5, 200, false), (5, 300, false), (5, 400, false), (390, 500, false), (390, 600, false)]);
    }
}
