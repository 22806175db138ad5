//! What may be set of a [`Live`](super::Live) handle. Every number has a default, and every default says why.

use std::time::Duration;

/// Settings of a live handle.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveConfig {
    /// Threads of each session. Default 1.
    pub threads: usize,
    /// Sessions of one version that wait for the next call; more may run at the same time. Default 16.
    pub idle_sessions: usize,
    /// When a version is taken back.
    pub gates: GateConfig,
    /// What a shadow may cost.
    pub shadow: ShadowBudget,
    /// Answers that are given again for the same input. Default: none.
    pub cache: Option<CacheConfig>,
    /// Predictions whose outcome may still come.
    pub predictions: PredictionConfig,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            threads: 1,
            idle_sessions: 16,
            gates: GateConfig::default(),
            shadow: ShadowBudget::default(),
            cache: None,
            predictions: PredictionConfig::default(),
        }
    }
}

/// When a version on trial, or a short time after its commit, is taken back. Gates judge only what they have data for.
///
/// On trial a single bad inference ends it: an error, a panic, an output that is not a number or out of range. After the
/// commit there may be some. A bad inference does not count where the version before does no better with the same input.
#[derive(Clone, Debug, PartialEq)]
pub struct GateConfig {
    /// Inferences of one window, after which counts begin anew. Default 100: what fails from some moment on is judged within two windows.
    pub window: u32,
    /// Bad inferences of a committed version that one window may have. Default 2.
    pub max_bad: u32,
    /// Different inputs with one and the same output, one after another, after which the version before is asked. Default 64.
    pub constant_after: usize,
    /// How many times as slow as the version before, in percent: compared by medians and 99th percentiles of a window, then by
    /// [`PAIRS`](super::PAIRS) runs of both in turn. Default 200.
    pub max_slower_percent: u32,
    /// A version whose median is below is never too slow, microseconds. Default 100: below, clocks and caches decide.
    pub slow_from_us: u32,
    /// Share of a window that may exceed the budget of the bundle, percent. Default 5; the budget is one for 99 of 100.
    pub max_over_budget_percent: u32,
    /// Lowest and highest real value of each output, in order; `None`: anything finite. Default: none.
    pub ranges: Vec<Option<(f32, f32)>>,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self {
            window: 100,
            max_bad: 2,
            constant_after: 64,
            max_slower_percent: 200,
            slow_from_us: 100,
            max_over_budget_percent: 5,
            ranges: Vec::new(),
        }
    }
}

/// What running a candidate in the shadow may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowBudget {
    /// Share of the inferences that run twice, of 10,000. Default 50: below one in a hundred, so that not even the 99th percentile of
    /// the application's calls has to do with copying an input.
    pub share_bp: u16,
    /// Share of the time of one core that the shadow takes at most, percent; it rests after each run. At least 1. Default 10.
    pub duty_percent: u8,
    /// Inferences that wait for the shadow. What does not fit is not compared. Default 4.
    pub queue: usize,
    /// Memory for the arena of the candidate; a larger one is not compared, so there is no verdict. Default 64 MiB.
    pub max_arena_bytes: usize,
    /// How long one inference may take before the candidate counts as hung; a device that slept is given the time once more. Default 60 s.
    pub deadline: Duration,
}

impl Default for ShadowBudget {
    fn default() -> Self {
        Self { share_bp: 50, duty_percent: 10, queue: 4, max_arena_bytes: 64 << 20, deadline: Duration::from_secs(60) }
    }
}

/// What the application knows of the device just now. While anything here is true the shadow rests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// The battery is low, or saving energy was asked for.
    pub low_battery: bool,
    /// The device is warm and will be throttled, or is.
    pub hot: bool,
    /// The system asked for memory.
    pub low_memory: bool,
}

impl Conditions {
    pub(super) const fn rest(self) -> bool {
        self.low_battery || self.hot || self.low_memory
    }
}

/// How many answers are kept, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheConfig {
    /// Bytes of answers and of what it takes to find them. Default 1 MiB.
    pub max_bytes: usize,
    /// Age at which an answer is computed anew. Default an hour.
    pub ttl: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, ttl: Duration::from_secs(3600) }
    }
}

/// Predictions whose outcome may still come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PredictionConfig {
    /// How many wait at a time; the oldest makes room. Default 4096, below half a megabyte on disk.
    pub max_pending: usize,
    /// How long an outcome is waited for, seconds. Default 3 days: what comes later would change days that are judged.
    pub expiry_s: u32,
}

impl Default for PredictionConfig {
    fn default() -> Self {
        Self { max_pending: 4096, expiry_s: 3 * 86_400 }
    }
}
