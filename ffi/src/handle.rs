//! Handles. A handle is a number in the shape of a pointer, and never followed: which table, which slot of it, which generation.
//!
//! ```text
//! handle   generation ...... | index 20 bits | kind 4 bits
//! slot     state: generation 40 bits | closed | exclusive | calls under way, 22 bits     one atomic
//!          object
//!
//! enter    generation equal and not closed -> calls + 1, else FF_ERR_CLOSED            exclusive: calls must be 0, else FF_ERR_BUSY
//! leave    calls - 1; the last one behind a closed bit wakes the closer
//! close    closed bit -> wait for calls = 0 -> drop the object -> next generation, slot is free
//! ```
//! Slots are never given back to the operating system, so a handle may be used after it was closed, closed twice, or used by two threads while a
//! third one closes it: each of them is answered, and none touches memory that is not there. Two closes at once: one does it, the other returns.

use std::{
    cell::UnsafeCell,
    ops::{Deref, DerefMut},
    sync::{
        Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::status::{Fault, Status};

/// All objects of one kind.
pub(crate) struct Table<T: 'static> {
    kind: usize,
    /// Chunk `n` has `64 << n` slots.
    chunks: [OnceLock<Box<[Slot<T>]>>; CHUNKS],
    free: Mutex<Free>,
}

struct Free {
    slots: Vec<usize>,
    next: usize,
}

struct Slot<T> {
    state: AtomicU64,
    object: UnsafeCell<Option<T>>,
}

// SAFETY: the object is reached through `Shared`, which needs `T: Sync`, and through `Exclusive` and `close`, which need `T: Send`; that these
// exclude one another is what `state` is for.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T: Send + Sync> Table<T> {
    /// A table whose handles carry `kind`, 1 to 15.
    pub(crate) const fn new(kind: usize) -> Self {
        let free = Mutex::new(Free { slots: Vec::new(), next: 0 });
        Self { kind, chunks: [const { OnceLock::new() }; CHUNKS], free }
    }

    /// Puts `object` in and gives its handle.
    pub(crate) fn insert(&'static self, object: T) -> Result<usize, Fault> {
        let index = {
            let mut free = lock(&self.free);
            match free.slots.pop() {
                Some(index) => index,
                None if free.next < MAX_SLOTS => {
                    free.next += 1;
                    free.next - 1
                }
                None => return Err(Status::TooMany.into()),
            }
        };
        let slot = self.make(index);
        let generation = slot.state.load(Ordering::Acquire) >> GENERATION_SHIFT;
        // SAFETY: the slot is free: its closed bit is set and no call is under way, so nobody else looks at the object.
        unsafe { *slot.object.get() = Some(object) };
        slot.state.store(generation << GENERATION_SHIFT, Ordering::Release);
        Ok((generation as usize) << HANDLE_GENERATION_SHIFT | index << KIND_BITS | self.kind)
    }

    /// For calls that may run beside one another.
    pub(crate) fn shared(&'static self, handle: usize) -> Result<Shared<T>, Fault> {
        let (slot, generation) = self.find(handle)?;
        slot.enter(generation, COUNT)?;
        Ok(Shared { slot })
    }

    /// For calls that need the object alone.
    pub(crate) fn exclusive(&'static self, handle: usize) -> Result<Exclusive<T>, Fault> {
        let (slot, generation) = self.find(handle)?;
        slot.enter(generation, 0)?;
        Ok(Exclusive { slot })
    }

    /// Closes the handle: `stop` is called while calls may still be under way, then they are waited for, then the object is dropped. A handle that is closed
    /// already, or none, is left alone.
    pub(crate) fn close(&'static self, handle: usize, stop: impl FnOnce(&T)) {
        let Ok((slot, generation)) = self.find(handle) else { return };
        let mut state = slot.state.load(Ordering::Acquire);
        loop {
            if state >> GENERATION_SHIFT != generation || state & CLOSED != 0 {
                return;
            }
            match slot.state.compare_exchange_weak(state, state | CLOSED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if !slot.is_exclusive() {
            // SAFETY: the object stays until it is taken out below. Nobody has it exclusively: who had it has left, and the closed bit keeps new ones out.
            let object = unsafe { &*slot.object.get() };
            if let Some(object) = object {
                stop(object);
            }
        }
        let mut waiting = lock(&LEFT.0);
        while slot.state.load(Ordering::Acquire) & COUNT != 0 {
            waiting = LEFT.1.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        drop(waiting);
        // SAFETY: no call is under way, and the closed bit keeps new ones out; only the one who set it gets here.
        let object = unsafe { (*slot.object.get()).take() };
        drop(object);
        let next = (generation + 1) & GENERATIONS;
        slot.state.store(next << GENERATION_SHIFT | CLOSED, Ordering::Release);
        // A slot whose generations are used up is not used again, so that no old handle comes to life.
        if next != 0 {
            lock(&self.free).slots.push((handle >> KIND_BITS) % MAX_SLOTS);
        }
    }

    /// The slot of a handle that has our kind, and the generation that it means.
    fn find(&'static self, handle: usize) -> Result<(&'static Slot<T>, u64), Fault> {
        if handle == 0 {
            return Err(Fault::new(Status::Null, "the handle is NULL"));
        }
        let (chunk, at) = place((handle >> KIND_BITS) % MAX_SLOTS);
        let slot = self.chunks[chunk].get().filter(|_| handle % (1 << KIND_BITS) == self.kind);
        let generation = (handle >> HANDLE_GENERATION_SHIFT) as u64;
        slot.map(|slots| (&slots[at], generation)).ok_or_else(|| Status::Closed.into())
    }

    fn make(&'static self, index: usize) -> &'static Slot<T> {
        let (chunk, at) = place(index);
        let slots = self.chunks[chunk].get_or_init(|| (0..FIRST << chunk).map(|_| Slot::free()).collect());
        &slots[at]
    }
}

impl<T> Slot<T> {
    const fn free() -> Self {
        Self { state: AtomicU64::new(CLOSED), object: UnsafeCell::new(None) }
    }

    /// Counts a call in, where at most `others` are under way.
    fn enter(&self, generation: u64, others: u64) -> Result<(), Fault> {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            if state & !(COUNT | EXCLUSIVE) != generation << GENERATION_SHIFT {
                return Err(Status::Closed.into());
            }
            let alone = if others == 0 { EXCLUSIVE } else { 0 };
            if state & COUNT > others || state & EXCLUSIVE != 0 || state & COUNT == COUNT {
                return Err(Status::Busy.into());
            }
            match self.state.compare_exchange_weak(state, (state + 1) | alone, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => state = now,
            }
        }
    }

    fn is_exclusive(&self) -> bool {
        self.state.load(Ordering::Acquire) & EXCLUSIVE != 0
    }

    fn leave(&self, alone: u64) {
        let before = self.state.fetch_sub(1 + alone, Ordering::Release);
        if before & CLOSED != 0 && before & COUNT == 1 {
            // The closer looks at the count under this lock, so it cannot miss this.
            drop(lock(&LEFT.0));
            LEFT.1.notify_all();
        }
    }
}

/// An object that others may have, too. The handle cannot be closed meanwhile.
pub(crate) struct Shared<T: 'static> {
    slot: &'static Slot<T>,
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this call is counted, so the object is there and nobody has it exclusively.
        let object = unsafe { &*self.slot.object.get() };
        // An occupied slot has an object.
        object.as_ref().expect("an open handle has an object")
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        self.slot.leave(0);
    }
}

/// An object that nobody else has meanwhile.
pub(crate) struct Exclusive<T: 'static> {
    slot: &'static Slot<T>,
}

impl<T> Deref for Exclusive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this call is the only one that is counted.
        let object = unsafe { &*self.slot.object.get() };
        object.as_ref().expect("an open handle has an object")
    }
}

impl<T> DerefMut for Exclusive<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this call is the only one that is counted, and `self` is borrowed exclusively.
        let object = unsafe { &mut *self.slot.object.get() };
        object.as_mut().expect("an open handle has an object")
    }
}

impl<T> Drop for Exclusive<T> {
    fn drop(&mut self) {
        self.slot.leave(EXCLUSIVE);
    }
}

/// Signals closers: a call has left.
static LEFT: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());

/// Whoever panicked with a lock of this crate had finished what it guards.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Chunk and place in it of slot `index`.
const fn place(index: usize) -> (usize, usize) {
    let chunk = (index / FIRST + 1).ilog2() as usize;
    (chunk, index - FIRST * ((1 << chunk) - 1))
}

const FIRST: usize = 64;
const KIND_BITS: u32 = 4;
const INDEX_BITS: u32 = 20;
/// Objects of one kind that can be open at once.
const MAX_SLOTS: usize = 1 << INDEX_BITS;
/// So many that the last slot has a place.
const CHUNKS: usize = place(MAX_SLOTS - 1).0 + 1;
const HANDLE_GENERATION_SHIFT: u32 = KIND_BITS + INDEX_BITS;
const CLOSED: u64 = 1 << 23;
/// The one call that is under way needs the object alone.
const EXCLUSIVE: u64 = 1 << 22;
const COUNT: u64 = EXCLUSIVE - 1;
const GENERATION_SHIFT: u32 = 24;
/// As many generations as a handle can tell apart.
const GENERATIONS: u64 = (usize::MAX >> HANDLE_GENERATION_SHIFT) as u64;

#[cfg(test)]
mod tests;
