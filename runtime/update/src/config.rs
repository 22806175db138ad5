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
}

impl Default for Config {
    /// The numbers of the default policy: 2 attempts, 500 inferences, 6 hours, 5 versions and a candidate.
    fn default() -> Self {
        Self { attempts: 2, min_inferences: 500, health_window_s: 6 * 3600, slots: 6, checkpoint: 0 }
    }
}
