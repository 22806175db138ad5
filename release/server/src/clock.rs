//! The clock as an argument: tests let days pass.

use std::{
    fmt::Debug,
    sync::atomic::{AtomicI64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

/// Seconds of a day.
pub(crate) const DAY_S: i64 = 86_400;

/// What time it is.
pub trait Clock: Debug + Send + Sync {
    /// Seconds since 1970, UTC.
    fn now_s(&self) -> i64;

    /// The UTC day, since 1970.
    fn today(&self) -> u32 {
        u32::try_from(self.now_s() / DAY_S).unwrap_or(0)
    }
}

/// The clock of the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_s(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// A clock that stands still until it is told to go on.
#[derive(Debug)]
pub struct SetClock(AtomicI64);

impl SetClock {
    /// It is `now_s`.
    #[must_use]
    pub const fn new(now_s: i64) -> Self {
        Self(AtomicI64::new(now_s))
    }

    /// `seconds` later.
    pub fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for SetClock {
    fn now_s(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
