//! The directive: what the online key says of a rollout. It chooses among releases that the release keys have signed; [`decide`](crate::decide)
//! holds it against their envelopes.
//!
//! Everything is borrowed from the document that it was read from and bounded, so that a firmware can hold it without a heap.

use fleetfoot_format::record::{Record, Version};
use heapless::Vec;

use crate::{
    cohort::{Exposure, Stage},
    config::Config,
};

/// Selectors of one directive.
pub const MAX_SELECTORS: usize = 8;
/// Values of one selector.
pub const MAX_VALUES: usize = 16;

/// A release by its names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Release number.
    pub number: u64,
    /// SHA-256 of the bundle.
    pub sha256: [u8; 32],
    /// The attempt under which devices try it.
    pub attempt: u32,
}

/// What the online key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive<'a> {
    /// Identifier of the rollout. It never changes its meaning.
    pub rollout: &'a str,
    /// The release that is rolled out.
    pub candidate: Named,
    /// What everybody else has, and what a failed rollout goes back to.
    pub baseline: Option<Named>,
    /// Stage, share and split.
    pub exposure: Exposure,
    /// Which devices take part: all of these must hold.
    pub selectors: Vec<Selector<'a>, MAX_SELECTORS>,
    /// What devices allow the candidate.
    pub device: DeviceLimits,
    /// When devices ask and fetch.
    pub network: Network,
    /// How the stage `shadow` compares.
    pub shadow: Shadow,
}

/// One condition on a fact about the device. It is judged on the device, and neither the fact nor the answer leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector<'a> {
    /// Name of the fact.
    pub key: &'a str,
    /// The values that it may have; of `runtime` the one range such as `>=0.3, <1`.
    pub values: Vec<&'a str, MAX_VALUES>,
}

/// What a directive says about a candidate's trial; what it leaves out is the device's own affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Deaths of the process that a candidate may cause.
    pub attempts: Option<u8>,
    /// Seconds that a trial takes at least.
    pub health_window_s: Option<u32>,
    /// Good inferences that a trial needs.
    pub min_inferences: Option<u32>,
    /// Versions that are kept, the active one among them.
    pub keep: Option<u8>,
}

impl DeviceLimits {
    /// `config` with what is said here. A device never keeps more than it has room for, nor lets itself be killed without end.
    #[must_use]
    pub fn over(&self, config: Config) -> Config {
        Config {
            attempts: self.attempts.map_or(config.attempts, |attempts| attempts.min(MAX_ATTEMPTS.max(config.attempts))),
            health_window_s: self.health_window_s.unwrap_or(config.health_window_s),
            // A trial without an inference would be none.
            min_inferences: self.min_inferences.map_or(config.min_inferences, |good| good.max(1)),
            slots: self.keep.map_or(config.slots, |keep| config.slots.min(keep.saturating_add(1))),
            ..config
        }
    }
}

/// Deaths that a directive can allow a candidate, unless the device allows more of its own.
const MAX_ATTEMPTS: u8 = 5;

/// When devices ask and fetch; what is left out is the device's own affair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Network {
    /// Seconds between two polls.
    pub poll_s: Option<u32>,
    /// Seconds between two polls while a rollout is active.
    pub poll_active_s: Option<u32>,
    /// Seconds over which devices spread the download.
    pub apply_jitter_s: Option<u32>,
    /// Whether a metered network may be used.
    pub metered: Option<bool>,
    /// Minutes of the local day between which bundles are fetched; it may pass midnight.
    pub window: Option<(u16, u16)>,
}

/// How a candidate is compared that runs beside the version that serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Share of the inferences that run twice, basis points; 0: none.
    pub share_bp: u16,
    /// Share of the answers that must agree, basis points.
    pub agreement_bp: u16,
    /// Inferences that must have been compared.
    pub min_compared: u32,
}

/// What is known of a device on the device.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Its key. Without one it takes part in nothing.
    pub key: Option<&'a [u8; 16]>,
    /// Version of its runtime, major and minor.
    pub runtime: (u16, u16),
    /// Facts by name: `hardware`, `region` and whatever else a fleet is told apart by.
    pub facts: &'a [(&'a str, &'a str)],
}

impl Device<'_> {
    /// The fact `key`.
    #[must_use]
    pub fn fact(&self, key: &str) -> Option<&str> {
        self.facts.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Whether every selector holds. One that cannot be understood, or asks for a fact that is not known, does not.
    #[must_use]
    pub fn matches(&self, selectors: &[Selector<'_>]) -> bool {
        selectors.iter().all(|selector| match (selector.key, &selector.values[..]) {
            (RUNTIME, [range]) => in_range(range, self.runtime),
            (RUNTIME, _) => false,
            (key, values) => self.fact(key).is_some_and(|fact| values.contains(&fact)),
        })
    }
}

const RUNTIME: &str = "runtime";

/// Whether `version` lies in `range`: comparisons such as `>=0.3`, all of which must hold, separated by commas.
fn in_range(range: &str, version: (u16, u16)) -> bool {
    range.split(',').all(|part| {
        let part = part.trim();
        let digits = part.trim_start_matches(['<', '>', '=']);
        let Some(bound) = version_of(digits.trim_start()) else { return false };
        match &part[..part.len() - digits.len()] {
            ">=" => version >= bound,
            ">" => version > bound,
            "<=" => version <= bound,
            "<" => version < bound,
            "=" | "==" => version == bound,
            _ => false,
        }
    })
}

/// `major.minor`, or `major` alone.
#[must_use]
pub fn version_of(text: &str) -> Option<(u16, u16)> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let number = |digits: &str| match digits.as_bytes() {
        [b'0'..=b'9', ..] => digits.parse().ok(),
        _ => None,
    };
    Some((number(major)?, number(minor)?))
}

impl Directive<'_> {
    /// Whether the version that serves on the device of `record` must go: after an abort the candidate, after a reversal whatever is
    /// above the baseline.
    #[must_use]
    pub fn takes_back(&self, record: &Record) -> bool {
        let Some(active) = record.active() else { return false };
        match self.exposure.stage {
            Stage::Abort => active.sha256 == self.candidate.sha256,
            Stage::Revert => self.baseline.is_some_and(|b| active.number > b.number && active.sha256 != b.sha256),
            _ => false,
        }
    }

    /// Where the device goes back to, among what it has: the baseline; where that is not there, the last good version, the newest other
    /// one, or the factory version. Nothing that failed on this device, nothing below its floor of security epochs.
    #[must_use]
    pub fn goes_back_to<'r>(&self, record: &'r Record) -> Option<&'r Version> {
        let active = record.active()?;
        let sound = |version: &&Version| {
            version.sha256 != active.sha256
                && version.number < active.number
                && version.epoch >= record.epoch_floor
                && record.rejection(&version.sha256, version.attempt).is_none()
        };
        let all = || record.kept.iter().chain(&record.factory).filter(sound);
        let baseline = self.baseline.and_then(|b| all().find(|version| version.sha256 == b.sha256));
        if self.exposure.stage == Stage::Revert {
            return baseline;
        }
        let last_good = record.last_good.and_then(|sha256| all().find(|version| version.sha256 == sha256));
        baseline.or(last_good).or_else(|| all().max_by_key(|version| version.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector<'a>(key: &'a str, values: &[&'a str]) -> Selector<'a> {
        Selector { key, values: values.iter().copied().collect() }
    }

    #[test]
    fn selectors() {
        let facts = [("hardware", "cortex-m4f"), ("region", "eu"), ("line", "3")];
        let device = Device { key: None, runtime: (0, 3), facts: &facts };
        let check =
            |selectors: &[Selector<'_>], expected| assert_eq!(device.matches(selectors), expected, "{selectors:?}");
        check(&[], true);
        check(&[selector("hardware", &["linux-arm64", "cortex-m4f"])], true);
        check(&[selector("hardware", &["linux-arm64"])], false);
        check(&[selector("hardware", &[])], false);
        check(&[selector("hardware", &["cortex-m4f"]), selector("region", &["us"])], false);
        check(&[selector("line", &["3"]), selector("region", &["eu"])], true);
        check(&[selector("owner", &["3"])], false);
        check(&[selector("runtime", &[">=0.3", "<1"])], false);
        let ranges = [
            (">=0.3", true),
            (">= 0.3", true),
            ("=0.3", true),
            ("==0.3", true),
            (">0.2, <1", true),
            ("<=0.3,>=0.3", true),
            (">0.3", false),
            ("<0.3", false),
            (">=0.10", false),
            (">=1", false),
            (">=0.3,<0.3", false),
            ("0.3", false),
            ("~0.3", false),
            (">=", false),
            ("", false),
            (">=0.3.0", false),
            (">=+0.3", false),
            (">=0.99999", false),
        ];
        for (range, expected) in ranges {
            check(&[selector("runtime", &[range])], expected);
        }
    }

    #[test]
    fn limits_of_the_directive_go_over_those_of_the_device() {
        let own = Config::default();
        assert_eq!(DeviceLimits::default().over(own), own);
        let said = DeviceLimits { attempts: Some(1), keep: Some(2), ..DeviceLimits::default() };
        assert_eq!(said.over(own), Config { attempts: 1, slots: 3, ..own });
        assert_eq!(DeviceLimits { keep: Some(255), ..said }.over(own).slots, own.slots);
        assert_eq!(DeviceLimits { min_inferences: Some(0), ..said }.over(own).min_inferences, 1);
        assert_eq!(DeviceLimits { attempts: Some(255), ..said }.over(own).attempts, MAX_ATTEMPTS);
    }
}
