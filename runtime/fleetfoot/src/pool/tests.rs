//! The pool under stress: every piece once, whatever the number of helpers and whoever comes late; panics; ends.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{Pool, lock};

/// Adds 1 to each of `pieces` in jobs that borrow them; how many threads were in the job at once, at most.
fn add_one(pool: &Pool, seats: usize, pieces: &mut [usize]) -> usize {
    let (inside, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let queue = Mutex::new(pieces.iter_mut());
    pool.run(seats, &|thread| {
        assert!(thread <= pool.threads());
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while let Some(piece) = { lock(&queue).next() } {
            *piece += 1;
        }
        inside.fetch_sub(1, Ordering::SeqCst);
    });
    // Whoever still were inside would touch a local that is gone.
    assert_eq!(inside.into_inner(), 0);
    most.into_inner()
}

#[test]
fn every_piece_once() {
    for helpers in [1, 2, 3, 7] {
        let pool = Pool::new(helpers).unwrap();
        assert_eq!(pool.threads(), helpers + 1);
        let mut pieces = vec![0; 13];
        for round in 1..=3000 {
            let seats = round % (helpers + 2);
            let most = add_one(&pool, seats, &mut pieces);
            assert!(pieces.iter().all(|&n| n == round), "round {round}, {helpers} helpers: {pieces:?}");
            assert!(most <= seats.min(helpers) + 1, "{most} threads for {seats} seats");
        }
    }
}

#[test]
fn helpers_do_help() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..100 {
        // Nobody leaves before all four are there.
        let together = Barrier::new(4);
        pool.run(3, &|_| {
            together.wait();
        });
    }
}

/// Sleeping helpers are woken, too: longer between jobs than they spin.
#[test]
fn helpers_that_sleep() {
    let pool = Pool::new(2).unwrap();
    for _ in 0..20 {
        thread::sleep(std::time::Duration::from_millis(3));
        let together = Barrier::new(3);
        pool.run(2, &|_| {
            together.wait();
        });
    }
}

#[test]
fn pools_come_and_go() {
    for round in 0..300 {
        let pool = Pool::new(1 + round % 4).unwrap();
        if round % 3 > 0 {
            let mut pieces = [0; 5];
            add_one(&pool, 4, &mut pieces);
            assert_eq!(pieces, [1; 5]);
        }
    }
}

#[test]
fn one_pool_for_several_callers() {
    let pool = Pool::new(2).unwrap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut pieces = [0; 7];
                for round in 1..=1000 {
                    add_one(&pool, 2, &mut pieces);
                    assert_eq!(pieces, [round; 7]);
                }
            });
        }
    });
}

#[test]
fn a_panic_goes_on_in_the_caller_and_the_pool_goes_on() {
    let pool = Pool::new(2).unwrap();
    let caller = thread::current().id();
    for helper in [true, false] {
        for _ in 0..20 {
            let together = Barrier::new(3);
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(2, &|_| {
                    together.wait();
                    // One of the two sides panics; the others finish first or later.
                    if (thread::current().id() != caller) == helper {
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                });
            }));
            assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&"on purpose"));
            let mut pieces = [0; 5];
            add_one(&pool, 2, &mut pieces);
            assert_eq!(pieces, [1; 5]);
        }
    }
}

#[test]
fn without_helpers_of_this_process_nothing_hangs() {
    let mut pool = Pool::new(1).unwrap();
    pool.process = 0;
    assert!(!pool.is_here());
    // Dropped without waiting; the helper of this test sleeps on.
}
