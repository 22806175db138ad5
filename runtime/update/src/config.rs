//! What a device allows a candidate, and how much room it has.

/// Limits of one device. They come from the application or the firmware, or from a rollout policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Deaths of the process that a candidate may cause; at least 1 is used.
    pub attempts: u8,
    /// Good inferences that a trial needs.
    pub min_inferences: u32,
    /// Seconds that a trial takes at least.
    pub health_window_s: u32,
    /// Bundles that fit into the storage besides the factory version, the candidate among them; at least 2 are used.
    /// Where it is 2, the last good version makes room for a candidate and the active one is the fallback.
    pub slots: u8,
    /// Good inferences of a trial after which the counters are made durable; 0: only at its end and at a suspend. What
    /// was not saved is counted again after a power cut.
    pub checkpoint: u32,
    /// Seconds after a commit in which local gates may still take the active version back; 0: never.
    pub watch_s: u32,
    /// What a candidate has to show in the shadow before its trial; `None`: no shadow.
    pub shadow: Option<ShadowGate>,
}

/// When a shadow ends, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowGate {
    /// Inferences that have to be compared; at least 1 is used. Without them there is no verdict: the candidate waits.
    pub min_runs: u32,
    /// Seconds that the shadow takes at least.
    pub bake_s: u32,
    /// How many of 10,000 have to agree.
    pub agreement_bp: u16,
    /// It stays in the shadow after it has passed, until another gate, or none, is set.
    pub stays: bool,
}

impl Config {
    /// The numbers of the default policy: 2 attempts, 500 inferences, 6 hours, 5 versions and a candidate, a watch of a day, no
    /// shadow.
    pub const DEFAULT: Self = Self {
        attempts: 2,
        min_inferences: 500,
        health_window_s: 6 * 3600,
        slots: 6,
        checkpoint: 0,
        watch_s: 24 * 3600,
        shadow: None,
    };
}

impl Default for Config {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Default for ShadowGate {
    /// The numbers of the default policy: 2,000 inferences, a day, 90 %.
    fn default() -> Self {
        Self { min_runs: 2000, bake_s: 24 * 3600, agreement_bp: 9000, stays: false }
    }
}
