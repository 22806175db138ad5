//! Who gets what first: buckets, and which side of a rollout a bucket is on.
//!
//! ```text
//! bucket   0 ............ treatment ▶          ◀ control ............ 9900 .. hold-out .. 9999
//! ```
//! A device draws its bucket once for each candidate, from the salt that the release keys signed and a key of its own that never leaves
//! it. Treatment grows from 0 up and control from 9900 down, so that a rollout that widens takes nobody's side away; the last
//! hundredth is reached when everything else is. The same arithmetic on every platform: the vectors are in the tests.

use fleetfoot_format::record::{Arm, Enrolment, MAX_ENROLLED, Record};
use fleetfoot_trust::{Sha256, sha256};

/// Number of buckets: shares are counted in hundredths of a percent, basis points.
pub const BUCKETS: u16 = 10_000;
/// First bucket of the hold-out.
pub const HOLD_OUT: u16 = 9_900;

/// The bucket of `id` under `salt`, 0 to 9999. `id` is the key of the device, or a user of an application.
#[must_use]
pub fn bucket(salt: &[u8], id: &[u8]) -> u16 {
    let mut hash = Sha256::new();
    for part in [b"ff-bucket-v1\0", salt, b"\0", id] {
        hash.update(part);
    }
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = hash.finish();
    let number = u64::from_be_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    // Below 10 000.
    (number % u64::from(BUCKETS)) as u16
}

/// How far a rollout has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// The candidate runs beside the version that serves; its answers are compared and thrown away.
    Shadow,
    /// The candidate serves on a small share of the devices.
    Canary,
    /// Two versions are compared by what people do with them.
    Ab,
    /// The candidate is becoming the version of everybody.
    Full,
    /// Nobody new; who has the candidate keeps it.
    Hold,
    /// The candidate failed: who has it goes back to the baseline.
    Abort,
    /// Whoever has something above the baseline goes back to it.
    Revert,
    /// A stage that this runtime does not know: stay on the baseline.
    Unknown,
}

impl Stage {
    /// The stage that metadata calls `name`.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        let known = [Self::Shadow, Self::Canary, Self::Ab, Self::Full, Self::Hold, Self::Abort, Self::Revert];
        known.into_iter().find(|stage| stage.name() == name).unwrap_or(Self::Unknown)
    }

    /// Its name in metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
            Self::Ab => "ab",
            Self::Full => "full",
            Self::Hold => "hold",
            Self::Abort => "abort",
            Self::Revert => "revert",
            Self::Unknown => "unknown",
        }
    }

    /// Its place among the stages that go forward, from shadow (0) to full (3), which an envelope can bound.
    #[must_use]
    pub const fn rank(self) -> Option<u8> {
        match self {
            Self::Shadow => Some(0),
            Self::Canary => Some(1),
            Self::Ab => Some(2),
            Self::Full => Some(3),
            _ => None,
        }
    }
}

/// How much of a fleet takes part in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The stage.
    pub stage: Stage,
    /// Share that takes part, basis points, at most 10 000. In the stage `ab` both arms share it, in the others it is the treatment.
    pub exposed_bp: u16,
    /// How the stage `ab` divides its share: parts of treatment and of control.
    pub split: (u16, u16),
}

impl Exposure {
    /// Shares of treatment and of control, basis points. Outside of `ab` control is as large as treatment, as long as there is room.
    #[must_use]
    pub fn shares(&self) -> (u16, u16) {
        let exposed = self.exposed_bp.min(BUCKETS);
        match self.stage {
            Stage::Shadow => (exposed, 0),
            Stage::Canary | Stage::Full => (exposed, exposed.min(HOLD_OUT.saturating_sub(exposed))),
            Stage::Ab => {
                let (treatment, control) = (u32::from(self.split.0), u32::from(self.split.1));
                let exposed = u32::from(exposed.min(HOLD_OUT));
                let share = |part: u32| u16::try_from(exposed * part / (treatment + control).max(1)).unwrap_or(0);
                (share(treatment), share(control))
            }
            Stage::Hold | Stage::Abort | Stage::Revert | Stage::Unknown => (0, 0),
        }
    }

    /// The side that `bucket` is on, for one that was on none before.
    #[must_use]
    pub fn arm(&self, bucket: u16) -> Arm {
        let (treatment, control) = self.shares();
        match bucket {
            _ if bucket < treatment => Arm::Treatment,
            HOLD_OUT.. => Arm::HoldOut,
            _ if bucket >= HOLD_OUT - control => Arm::Control,
            _ => Arm::Outside,
        }
    }

    /// The side of a device that was on `before`: it stays there, but that the last stage turns control into treatment.
    #[must_use]
    pub fn arm_after(&self, before: Option<Arm>, bucket: u16) -> Arm {
        match (before, self.arm(bucket)) {
            (Some(Arm::Treatment), _) => Arm::Treatment,
            (Some(Arm::Control), Arm::Treatment) if self.stage == Stage::Full => Arm::Treatment,
            (Some(Arm::Control), _) => Arm::Control,
            (_, drawn) => drawn,
        }
    }
}

/// The name under which a state record knows a rollout.
#[must_use]
pub fn rollout_key(rollout: &str) -> [u8; 8] {
    let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = sha256(rollout.as_bytes());
    [b0, b1, b2, b3, b4, b5, b6, b7]
}

/// On which side of `rollout` the device of `record` has been so far.
#[must_use]
pub fn enrolled(record: &Record, rollout: &str) -> Option<Arm> {
    let key = rollout_key(rollout);
    record.enrolled.iter().find(|enrolment| enrolment.rollout == key).map(|enrolment| enrolment.arm)
}

/// Remembers a side, the latest first; the oldest leaves. Whether that changes anything.
pub(crate) fn enrol(record: &mut Record, enrolment: Enrolment) -> bool {
    if record.enrolled.contains(&enrolment) || !matches!(enrolment.arm, Arm::Treatment | Arm::Control) {
        return false;
    }
    record.enrolled.retain(|other| other.rollout != enrolment.rollout);
    record.enrolled.truncate(MAX_ENROLLED - 1);
    record.enrolled.insert(0, enrolment).is_ok()
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::{format, vec, vec::Vec};

    use super::*;

    #[test]
    fn vectors() {
        let check = |salt: &str, id: &str, expected| assert_eq!(bucket(salt.as_bytes(), id.as_bytes()), expected);
        check("kws-2026-11/1", "dev-0001", 5051);
        check("kws-2026-11/1", "dev-0002", 6880);
        check("kws-2026-11/2", "dev-0001", 4518);
        check("", "", 6256);
    }

    /// A million identifiers over all buckets, and over the pairs of two salts: both are even.
    #[test]
    fn buckets_are_even_and_salts_independent() {
        let (mut single, mut pairs) = (vec![0u32; 10_000], vec![0u32; 10_000]);
        let n = 1_000_000u32;
        for id in 0..n {
            let (a, b) = (bucket(b"kws-2026-11/1", &id.to_le_bytes()), bucket(b"kws-2026-11/2", &id.to_le_bytes()));
            single[usize::from(a)] += 1;
            pairs[usize::from(a / 100) * 100 + usize::from(b / 100)] += 1;
        }
        for (what, counts) in [("buckets", single), ("pairs", pairs)] {
            let expected = f64::from(n) / 10_000.0;
            let chi2: f64 =
                counts.iter().map(|&c| (f64::from(c) - expected) * (f64::from(c) - expected) / expected).sum();
            // 9999 degrees of freedom: mean 9999, standard deviation 141.4; four of them on either side.
            assert!((9_433.0..10_565.0).contains(&chi2), "{what}: {chi2}");
        }
    }

    fn exposure(stage: Stage, exposed_bp: u16) -> Exposure {
        Exposure { stage, exposed_bp, split: (1, 1) }
    }

    #[test]
    fn sides() {
        use Arm::{Control, HoldOut, Outside, Treatment};
        let check = |exposure: Exposure, rows: &[(u16, Arm)]| {
            for &(bucket, arm) in rows {
                assert_eq!(exposure.arm(bucket), arm, "{exposure:?} {bucket}");
            }
        };
        let none = [(0, Outside), (5_000, Outside), (9_899, Outside), (9_900, HoldOut), (9_999, HoldOut)];
        check(exposure(Stage::Canary, 0), &none);
        for stage in [Stage::Hold, Stage::Abort, Stage::Revert, Stage::Unknown] {
            check(exposure(stage, 10_000), &none);
        }
        let canary = [(0, Treatment), (99, Treatment), (100, Outside), (9_799, Outside), (9_800, Control)];
        check(exposure(Stage::Canary, 100), &canary);
        check(exposure(Stage::Canary, 100), &[(9_899, Control), (9_900, HoldOut)]);
        check(exposure(Stage::Shadow, 100), &[(99, Treatment), (100, Outside), (9_899, Outside), (9_900, HoldOut)]);
        check(
            exposure(Stage::Full, 5_000),
            &[(4_999, Treatment), (5_000, Control), (9_899, Control), (9_900, HoldOut)],
        );
        check(exposure(Stage::Full, 9_900), &[(9_899, Treatment), (9_900, HoldOut)]);
        check(exposure(Stage::Full, 9_950), &[(9_949, Treatment), (9_950, HoldOut)]);
        check(exposure(Stage::Full, 10_000), &[(0, Treatment), (9_999, Treatment)]);
        check(exposure(Stage::Full, u16::MAX), &[(9_999, Treatment)]);
        let ab = exposure(Stage::Ab, 2_000);
        check(ab, &[(999, Treatment), (1_000, Outside), (8_899, Outside), (8_900, Control), (9_899, Control)]);
        check(
            Exposure { split: (90, 10), ..ab },
            &[(1_799, Treatment), (1_800, Outside), (9_699, Outside), (9_700, Control)],
        );
        // All of them: the hold-out is left out, and the halves are equal.
        assert_eq!(exposure(Stage::Ab, 10_000).shares(), (4_950, 4_950));
        assert_eq!(Exposure { split: (0, 0), ..ab }.shares(), (0, 0));
        assert_eq!(Exposure { split: (u16::MAX, u16::MAX), ..ab }.shares(), (1_000, 1_000));
    }

    #[test]
    fn widening_takes_no_side_away() {
        let steps: Vec<Exposure> =
            [(Stage::Canary, 100), (Stage::Canary, 1_000), (Stage::Ab, 4_000), (Stage::Full, 5_000)]
                .into_iter()
                .chain([(Stage::Full, 10_000)])
                .map(|(stage, bp)| exposure(stage, bp))
                .collect();
        for bucket in 0..BUCKETS {
            let (mut stored, mut drawn) = (None, None);
            for step in &steps {
                let (arm, fresh) = (step.arm_after(stored, bucket), step.arm(bucket));
                // Who was treated stays treated, whether it is remembered or not; control leaves for treatment, in the end.
                assert!(drawn != Some(Arm::Treatment) || fresh == Arm::Treatment, "{bucket} {step:?}");
                assert!(stored != Some(Arm::Control) || matches!(arm, Arm::Control | Arm::Treatment));
                assert!(arm != Arm::Treatment || stored != Some(Arm::Control) || step.stage == Stage::Full);
                stored = matches!(arm, Arm::Treatment | Arm::Control).then_some(arm).or(stored);
                drawn = Some(fresh);
            }
            assert_eq!(stored, Some(Arm::Treatment), "{bucket}");
            // A rollout that shrinks to nothing leaves everybody where they are.
            assert_eq!(exposure(Stage::Hold, 0).arm_after(stored, bucket), Arm::Treatment);
        }
    }

    #[test]
    fn the_first_side_is_remembered() {
        let mut record = Record::default();
        let enrolment = |rollout: &str, arm| Enrolment { rollout: rollout_key(rollout), arm };
        assert!(enrol(&mut record, enrolment("a", Arm::Control)));
        assert!(!enrol(&mut record, enrolment("a", Arm::Control)));
        for arm in [Arm::HoldOut, Arm::Outside] {
            assert!(!enrol(&mut record, enrolment("b", arm)));
        }
        assert!(enrol(&mut record, enrolment("a", Arm::Treatment)));
        assert_eq!((enrolled(&record, "a"), enrolled(&record, "b")), (Some(Arm::Treatment), None));
        for n in 0..MAX_ENROLLED {
            assert!(enrol(&mut record, enrolment(&format!("rollout {n}"), Arm::Control)));
        }
        assert_eq!((record.enrolled.len(), enrolled(&record, "a")), (MAX_ENROLLED, None));
        assert_eq!(enrolled(&record, "rollout 3"), Some(Arm::Control));
    }
}
