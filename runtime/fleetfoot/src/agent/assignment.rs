//! What a device is to do for the rollout that its model is in: stage, side, and how to compare.

use std::fmt;

use fleetfoot_update::{
    Arm, Exposure, Stage,
    cohort::{BUCKETS, bucket},
    directive::{Named, Network, Shadow},
};

/// The part of this device in a rollout. Judged on the device; nothing of it is sent by the agent.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Identifier of the rollout.
    pub rollout: String,
    /// Stage, share and split. See [`stage`](Self::stage).
    pub exposure: Exposure,
    /// The side of this device. In the stage shadow `Treatment` means that the candidate runs beside the version that serves.
    pub arm: Arm,
    /// The release that is rolled out.
    pub candidate: Named,
    /// What it is compared with.
    pub baseline: Option<Named>,
    /// How the stage shadow compares.
    pub shadow: Shadow,
    /// When to poll and to fetch. The agent keeps to it.
    pub network: Network,
    /// Salt of the candidate; empty where the device does not know the candidate's release.
    pub(super) salt: Box<str>,
}

impl Assignment {
    /// How far the rollout has come.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        self.exposure.stage
    }

    /// Whether something may still change soon: the candidate is on its way to some, or is held.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        match self.stage() {
            Stage::Shadow | Stage::Canary | Stage::Ab | Stage::Hold => true,
            Stage::Full => self.exposure.exposed_bp < BUCKETS,
            _ => false,
        }
    }

    /// The side of a user of the application, by any identifier that lasts: for A/B comparisons by user rather than by device. The same
    /// everywhere where the same rollout is; the identifier is hashed here and goes nowhere.
    #[must_use]
    pub fn arm_of_user(&self, id: &[u8]) -> Arm {
        self.exposure.arm(bucket(self.salt.as_bytes(), id))
    }
}

/// Without the salt: beside a key it would tell the bucket.
impl fmt::Debug for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rollout, exposure, arm, .. } = self;
        f.debug_struct("Assignment")
            .field("rollout", rollout)
            .field("exposure", exposure)
            .field("arm", arm)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arm = match self.arm {
            Arm::Treatment => "treatment",
            Arm::Control => "control",
            Arm::HoldOut => "hold-out",
            Arm::Outside => "outside",
        };
        write!(f, "rollout {}, stage {}: {arm}", self.rollout, self.stage().name())
    }
}
