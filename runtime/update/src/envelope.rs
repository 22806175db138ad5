//! The envelope: what the release keys allow the online key to do with a release; and the decision that follows from both.
//!
//! ```text
//! release keys (offline)   this bundle: from Monday 1 % canary, from Friday everybody; this hardware; salt
//! rollout key (online)     now: this bundle, canary, 0.5 %, region eu
//! device                   decide(..) ─▶ install │ run beside │ stay, and why
//! ```
//! The bucket is drawn with the salt that the release keys signed, and limits open by the clock of the device: whoever has stolen the
//! online key can neither jump to everybody nor walk a small share over the fleet. What is installed already is never judged again;
//! halting, shrinking and going back to a kept version need nobody's leave.

use fleetfoot_format::record::{Arm, Candidate, Phase, Record, Version};
use heapless::Vec;
use thiserror::Error;

use crate::{
    cohort::{BUCKETS, Stage, bucket, enrolled},
    directive::{Device, Directive, Named},
};

/// Limits of one envelope.
pub const MAX_LIMITS: usize = 16;
/// Kinds of hardware of one envelope.
pub const MAX_HARDWARE: usize = 16;
/// Bytes of a salt.
pub const MAX_SALT_LEN: usize = 64;

/// From when on how much is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Seconds since 1970.
    pub not_before: i64,
    /// Share of the devices, basis points.
    pub max_bp: u16,
    /// The furthest stage: shadow, canary, ab or full.
    pub max_stage: Stage,
}

/// What the release keys allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// Goes into the bucket of a device; fresh for each candidate, and never changed.
    pub salt: &'a str,
    /// In the order of their times. Without any nothing is allowed.
    pub limits: Vec<Limit, MAX_LIMITS>,
    /// Kinds of hardware that may take it; none: all.
    pub hardware: Vec<&'a str, MAX_HARDWARE>,
    /// Lowest version of the runtime.
    pub min_runtime: (u16, u16),
    /// Security epoch.
    pub security_epoch: u32,
    /// The highest attempt under which devices may try it.
    pub attempt: u32,
    /// SHA-256 of the section *golden* of the bundle.
    pub golden_sha256: Option<[u8; 32]>,
}

impl Envelope<'_> {
    /// The envelope of a release that was signed for everybody at once: one without `salt` and `limits`.
    #[must_use]
    pub fn everybody() -> Self {
        let mut limits = Vec::new();
        let _ = limits.push(Limit { not_before: i64::MIN, max_bp: BUCKETS, max_stage: Stage::Full });
        let hardware = Vec::new();
        Self { salt: "", limits, hardware, min_runtime: (0, 0), security_epoch: 0, attempt: 1, golden_sha256: None }
    }

    /// The limit in force at `now`: the last one whose time has come.
    #[must_use]
    pub fn limit(&self, now: i64) -> Option<&Limit> {
        self.limits.iter().filter(|limit| limit.not_before <= now).max_by_key(|limit| limit.not_before)
    }

    /// Whether a device may install the release in `stage`; where no stage is given, in the furthest one that serves.
    ///
    /// # Errors
    /// [`Why`] not.
    pub fn allows(
        &self,
        version: &Version,
        stage: Option<Stage>,
        device: &Device<'_>,
        now: i64,
        record: &Record,
    ) -> Result<(), Why> {
        if let Some(reason) = record.rejection(&version.sha256, version.attempt) {
            return Err(Why::Quarantined { reason: reason.0 });
        }
        if version.attempt > self.attempt {
            return Err(Why::AttemptNotAllowed { asked: version.attempt, allowed: self.attempt });
        }
        if self.security_epoch < record.epoch_floor {
            return Err(Why::BelowEpochFloor { epoch: self.security_epoch, floor: record.epoch_floor });
        }
        if !self.hardware.is_empty() && !device.fact("hardware").is_some_and(|own| self.hardware.contains(&own)) {
            return Err(Why::OtherHardware);
        }
        if self.min_runtime > device.runtime {
            return Err(Why::RuntimeTooOld { needs: self.min_runtime });
        }
        let limit = self.limit(now).ok_or(Why::NotYet)?;
        let (max, asked) = (limit.max_stage.rank(), stage.unwrap_or(limit.max_stage).rank());
        // What serves is at least a canary.
        let serves = stage.is_some() || max > Stage::Shadow.rank();
        if asked.is_none() || asked > max || !serves {
            return Err(Why::StageNotAllowed);
        }
        let within = limit.max_bp >= BUCKETS || self.bucket(device).is_some_and(|bucket| bucket < limit.max_bp);
        if within { Ok(()) } else { Err(Why::BeyondShare { max_bp: limit.max_bp }) }
    }

    /// The bucket of a device for this release.
    #[must_use]
    pub fn bucket(&self, device: &Device<'_>) -> Option<u16> {
        device.key.map(|key| bucket(self.salt.as_bytes(), key))
    }
}

/// What a device does with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Fetch it, try it, serve it.
    Install,
    /// Fetch it and run it beside the version that serves.
    Shadow,
    /// Do not.
    Stay(Why),
}

/// Why a release is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The directive names other releases.
    #[error("the rollout does not name it")]
    NotNamed,
    /// The directive is for other devices.
    #[error("the rollout is not for this device")]
    NotMatched,
    /// The rollout has not come to this device yet.
    #[error("the rollout has not come to this device yet")]
    Outside,
    /// This device is compared with those that have it.
    #[error("this device keeps the baseline for comparison")]
    Control,
    /// This device is in the hold-out.
    #[error("this device is held out until the end of the rollout")]
    HoldOut,
    /// The bucket is not below what the envelope allows now.
    #[error("its signers allow it to {max_bp} of 10000 devices now, and this is none of them")]
    BeyondShare {
        /// Share, basis points.
        max_bp: u16,
    },
    /// The stage is beyond what the envelope allows now.
    #[error("its signers do not allow this stage now")]
    StageNotAllowed,
    /// No limit of the envelope is in force yet.
    #[error("its signers do not allow it to anybody yet")]
    NotYet,
    /// The envelope is for other hardware.
    #[error("it is for other hardware")]
    OtherHardware,
    /// The envelope asks for a newer runtime.
    #[error("it needs runtime {}.{}", needs.0, needs.1)]
    RuntimeTooOld {
        /// Major and minor.
        needs: (u16, u16),
    },
    /// Its security epoch is too low.
    #[error("security epoch {epoch} is below the floor {floor}")]
    BelowEpochFloor {
        /// Epoch of the release.
        epoch: u32,
        /// The floor.
        floor: u32,
    },
    /// It failed on this device under this attempt.
    #[error("it failed here before (reason {reason})")]
    Quarantined {
        /// Number of the reason.
        reason: u16,
    },
    /// The directive asks for an attempt that the release keys have not signed.
    #[error("its signers allow attempt {allowed}, the rollout asks for {asked}")]
    AttemptNotAllowed {
        /// Of the directive.
        asked: u32,
        /// Of the envelope.
        allowed: u32,
    },
    /// The rollout is halted.
    #[error("the rollout is halted")]
    Halted,
    /// The rollout was aborted or reverted.
    #[error("the rollout was taken back")]
    TakenBack,
    /// The stage has a name that this runtime does not know.
    #[error("this runtime does not know the stage of the rollout")]
    UnknownStage,
    /// The repository has a rollout role, and it says nothing that can be used.
    #[error("the rollout role says nothing")]
    NoDirective,
}

impl Why {
    /// The stable number of this reason.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::NotNamed => 441,
            Self::NotMatched => 442,
            Self::Outside => 443,
            Self::Control => 444,
            Self::HoldOut => 445,
            Self::BeyondShare { .. } => 446,
            Self::StageNotAllowed => 447,
            Self::NotYet => 448,
            Self::OtherHardware => 449,
            Self::RuntimeTooOld { .. } => 450,
            Self::BelowEpochFloor { .. } => 451,
            Self::Quarantined { .. } => 452,
            Self::AttemptNotAllowed { .. } => 453,
            Self::Halted => 454,
            Self::TakenBack => 455,
            Self::UnknownStage => 456,
            Self::NoDirective => 457,
        }
    }
}

/// What a device does with the release `version`, whose envelope is `envelope`. Where there is no rollout role, the release keys decide
/// alone (`directive` is `None`). `now` is the clock of the device and nobody else's, seconds since 1970.
///
/// A baseline is judged as what everybody gets, by its own envelope.
#[must_use]
pub fn decide(
    version: &Version,
    envelope: &Envelope<'_>,
    directive: Option<&Directive<'_>>,
    device: &Device<'_>,
    now: i64,
    record: &Record,
) -> Decision {
    let stage = match directive {
        None => None,
        Some(directive) if names(directive.candidate, version) => match may_have(directive, envelope, device, record) {
            Ok(stage) => Some(stage),
            Err(why) => return Decision::Stay(why),
        },
        Some(Directive { baseline: Some(baseline), .. }) if names(*baseline, version) => Some(Stage::Full),
        Some(_) => return Decision::Stay(Why::NotNamed),
    };
    match envelope.allows(version, stage, device, now, record) {
        Err(why) => Decision::Stay(why),
        Ok(()) if stage == Some(Stage::Shadow) => Decision::Shadow,
        Ok(()) => Decision::Install,
    }
}

/// The stage in which a device may have the candidate.
fn may_have(
    directive: &Directive<'_>,
    envelope: &Envelope<'_>,
    device: &Device<'_>,
    record: &Record,
) -> Result<Stage, Why> {
    let stage = directive.exposure.stage;
    match stage {
        Stage::Unknown => return Err(Why::UnknownStage),
        Stage::Abort | Stage::Revert => return Err(Why::TakenBack),
        // A trial goes on, and what it was allowed it is still allowed.
        Stage::Hold => {
            return if on_trial(record, &directive.candidate.sha256) { Ok(Stage::Canary) } else { Err(Why::Halted) };
        }
        _ => {}
    }
    match side(directive, envelope, device, record) {
        Arm::Treatment => Ok(stage),
        Arm::Control => Err(Why::Control),
        Arm::HoldOut => Err(Why::HoldOut),
        Arm::Outside if !device.matches(&directive.selectors) => Err(Why::NotMatched),
        Arm::Outside => Err(Why::Outside),
    }
}

/// The side on which a device is: the one that it was on first, else the one of its bucket, if the rollout is for it at all.
#[must_use]
pub fn side(directive: &Directive<'_>, envelope: &Envelope<'_>, device: &Device<'_>, record: &Record) -> Arm {
    let (before, exposure) = (enrolled(record, directive.rollout), &directive.exposure);
    let everybody = exposure.shares().0 >= BUCKETS;
    match envelope.bucket(device) {
        _ if !device.matches(&directive.selectors) => before.unwrap_or(Arm::Outside),
        Some(bucket) => exposure.arm_after(before, bucket),
        None if everybody => exposure.arm_after(before, 0),
        None => before.unwrap_or(Arm::Outside),
    }
}

fn names(named: Named, version: &Version) -> bool {
    named.sha256 == version.sha256 && named.number == version.number
}

fn on_trial(record: &Record, sha256: &[u8; 32]) -> bool {
    matches!(&record.candidate, Some(Candidate { version, phase: Phase::Trial { .. }, .. }) if version.sha256 == *sha256)
}
