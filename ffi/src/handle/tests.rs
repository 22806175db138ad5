//! Handles by many threads.

use std::sync::{
    Arc, Barrier,
    atomic::{AtomicUsize, Ordering},
};

use super::{MAX_SLOTS, Table, place};

static TABLE: Table<Counted> = Table::new(9);
static OTHER: Table<usize> = Table::new(10);

/// Counts how many of it there are.
struct Counted(Arc<AtomicUsize>, usize);

impl Counted {
    fn new(alive: &Arc<AtomicUsize>, number: usize) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(alive), number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn a_handle_is_good_until_it_is_closed() {
    let alive = Arc::new(AtomicUsize::new(0));
    let handle = TABLE.insert(Counted::new(&alive, 7)).unwrap();
    assert_eq!(TABLE.shared(handle).unwrap().1, 7);
    TABLE.exclusive(handle).unwrap().1 = 8;
    {
        let (_first, second) = (TABLE.shared(handle).unwrap(), TABLE.shared(handle).unwrap());
        assert_eq!(second.1, 8);
        assert_eq!(TABLE.exclusive(handle).err().unwrap().status, 602);
    }
    {
        let _alone = TABLE.exclusive(handle).unwrap();
        assert_eq!(TABLE.shared(handle).err().unwrap().status, 602);
        assert_eq!(TABLE.exclusive(handle).err().unwrap().status, 602);
    }
    TABLE.close(handle, |_| {});
    assert_eq!(alive.load(Ordering::Relaxed), 0);
    TABLE.close(handle, |_| {});
    assert_eq!(TABLE.shared(handle).err().unwrap().status, 601);
    let next = TABLE.insert(Counted::new(&alive, 9)).unwrap();
    assert_ne!(next, handle);
    assert_eq!(TABLE.shared(handle).err().unwrap().status, 601, "the same slot, another generation");
    TABLE.close(handle, |_| {});
    assert_eq!(TABLE.shared(next).unwrap().1, 9);
    TABLE.close(next, |_| {});
}

#[test]
fn other_numbers_are_no_handles() {
    let handle = OTHER.insert(1).unwrap();
    assert_eq!(OTHER.shared(0).err().unwrap().status, 600);
    for wrong in [1, handle + 1, handle + 16, handle ^ (1 << 30), usize::MAX, usize::MAX - 5, MAX_SLOTS << 4 | 10] {
        assert_eq!(OTHER.shared(wrong).err().unwrap().status, 601, "{wrong:#x}");
        OTHER.close(wrong, |_| {});
    }
    assert_eq!(*OTHER.shared(handle).unwrap(), 1);
    OTHER.close(handle, |_| {});
}

#[test]
fn slots_have_places() {
    assert_eq!(place(0), (0, 0));
    assert_eq!(place(63), (0, 63));
    assert_eq!(place(64), (1, 0));
    assert_eq!(place(64 + 127), (1, 127));
    assert_eq!(place(64 + 128), (2, 0));
}

#[test]
fn closes_while_others_call() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (calls, threads) = (AtomicUsize::new(0), 8);
    for number in 0..1_000 {
        let handle = TABLE.insert(Counted::new(&alive, number)).unwrap();
        let stopped = AtomicUsize::new(usize::MAX);
        let one = |alone: bool| match alone {
            true => TABLE.exclusive(handle).map(|object| object.1),
            false => TABLE.shared(handle).map(|object| object.1),
        };
        if number % 50 > 0 {
            // One thread closes what another one uses.
            std::thread::scope(|scope| {
                scope.spawn(|| TABLE.close(handle, |object| stopped.store(object.1, Ordering::Relaxed)));
                while let Ok(found) = one(number % 2 == 0) {
                    assert_eq!(found, number);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        } else {
            let barrier = Barrier::new(threads);
            std::thread::scope(|scope| {
                for thread in 0..threads {
                    let (barrier, one) = (&barrier, &one);
                    scope.spawn(move || {
                        barrier.wait();
                        if thread < 2 {
                            TABLE.close(handle, |_| {});
                            return;
                        }
                        loop {
                            match one(thread % 2 == 0) {
                                Ok(found) => assert_eq!(found, number),
                                Err(fault) if fault.status == 602 => {}
                                Err(fault) => break assert_eq!(fault.status, 601),
                            }
                        }
                    });
                }
            });
        }
        assert!(one(false).is_err());
    }
    assert_eq!(alive.load(Ordering::Relaxed), 0, "each object was dropped once");
}
