//! What people ask for: apply, approve, promote, hold, resume, abort, roll back.

use fleetfoot_repository::{Repository, RepositoryError};
use fleetfoot_trust::sha256;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Control, RolloutView, laid_out};
use crate::{
    error::ControlError,
    judge,
    store::{
        audit,
        rollouts::{self, Rollout, State},
    },
    tokens::{Person, hex},
};

/// A rollout that is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Apply {
    /// The policy, YAML.
    pub policy: String,
    /// SHA-256 of the policy, hexadecimal, as `rollout plan` printed it; at least the first 16 digits.
    pub digest: String,
    /// Devices of the fleet that match, as planned. More reports than their share of these are not believed.
    pub devices: u64,
    /// Why more than 5% of the devices get the candidate at once.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a person does to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// The next stage, whatever the gates say.
    Promote,
    /// Nobody new.
    Hold,
    /// The stage once more, from its beginning.
    Resume,
    /// Who has the candidate goes back; the rollout is over.
    Abort,
    /// Everybody goes back to the baseline, also after the end of the rollout.
    Rollback,
}

impl Action {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Hold => "hold",
            Self::Resume => "resume",
            Self::Abort => "abort",
            Self::Rollback => "rollback",
        }
    }
}

impl Control {
    /// Takes a rollout on. It begins as soon as it has its approvals.
    pub(crate) fn apply(&self, by: &Person, asked: &Apply) -> Result<RolloutView, ControlError> {
        let policy = laid_out(&asked.policy)?;
        let digest = hex(&sha256(asked.policy.as_bytes()));
        check_digest(&digest, &asked.digest)?;
        if asked.devices == 0 || asked.devices > MAX_DEVICES {
            return Err(ControlError::BadRequest("a fleet has from one device to a thousand million"));
        }
        if self.keys.is_none() {
            return Err(ControlError::NoKeys);
        }
        judge::metrics(&policy, &self.policy.metrics)?;
        let reason = asked.reason.as_deref().unwrap_or("").trim();
        if let Some((_, bp)) = policy.first_exposure().filter(|(_, bp)| *bp > MOST_AT_ONCE_BP && reason.is_empty()) {
            return Err(ControlError::NeedsReason { percent: f64::from(bp) / 100.0 });
        }
        if reason.len() > MAX_REASON_LEN {
            return Err(ControlError::BadRequest("a reason has 1000 bytes at most"));
        }
        let releases = Repository::open(&self.repo)?.status()?.targets;
        let published = |number| {
            let release = releases.iter().find(|r| r.model == policy.model && r.number == number);
            release.ok_or(RepositoryError::Unpublished { number })
        };
        let candidate = published(policy.candidate)?.sha256.clone();
        published(policy.baseline)?;
        let _turn = self.turn();
        let now_s = self.clock.now_s();
        let mut rollout = Rollout {
            id: policy.rollout.clone(),
            model: policy.model.clone(),
            policy: asked.policy.clone(),
            digest: digest.clone(),
            devices: asked.devices,
            needs: self.policy.approvals,
            state: State::Waiting,
            stage: 0,
            step: 0,
            begun_s: 0,
            reason: reason.into(),
            applied_by: by.name.clone(),
            applied_s: now_s,
            changed_s: now_s,
            candidate,
            signed: true,
            told: false,
        };
        self.store.transact(|t| {
            // An identifier is used once: devices remember their side of it.
            let in_the_way = match rollouts::get(t, &rollout.id) {
                Ok(same) => Some(same),
                Err(ControlError::UnknownRollout { .. }) => rollouts::in_the_way(t, &rollout.model)?,
                Err(error) => return Err(error),
            };
            if let Some(other) = in_the_way {
                return Err(blocked(other));
            }
            rollouts::put(t, &rollout)?;
            let needs = rollout.needs;
            let whole = approval_digest(&rollout);
            let devices = asked.devices;
            let detail = format!("digest {digest}, {devices} devices, {needs} approvals of {whole} needed: {reason}");
            audit::append(t, now_s, &by.name, "apply", &rollout.id, &detail)?;
            if needs == 0 { self.begin(t, &mut rollout, 0, (&by.name, "begin"), reason) } else { Ok(()) }
        })?;
        self.after(&rollout.id)
    }

    /// Another person says yes to what was applied.
    pub(crate) fn approve(&self, by: &Person, id: &str, digest: &str) -> Result<RolloutView, ControlError> {
        let _turn = self.turn();
        let now_s = self.clock.now_s();
        self.store.transact(|t| {
            let mut rollout = rollouts::get(t, id)?;
            if rollout.state != State::Waiting {
                return Err(not_now(&rollout, "approve"));
            }
            // The whole of it: what is approved is this policy, for so many devices, for this reason.
            let asked = approval_digest(&rollout);
            if asked != digest {
                let found = "another one: look at the policy, devices and reason of the rollout, which shows it".into();
                return Err(ControlError::Digest { found, given: digest.chars().take(64).collect() });
            }
            if rollout.applied_by == by.name || !rollouts::approve(t, id, &by.name, now_s)? {
                return Err(ControlError::SamePerson { name: by.name.clone() });
            }
            let have = rollouts::approvals(t, id)?.len();
            let detail = format!("digest {asked}, {have} of {}", rollout.needs);
            audit::append(t, now_s, &by.name, "approve", id, &detail)?;
            if have < rollout.needs as usize {
                return Ok(());
            }
            let reason = rollout.reason.clone();
            self.begin(t, &mut rollout, 0, (&by.name, "begin"), &reason)
        })?;
        self.after(id)
    }

    /// A person takes over, and says why: the log keeps it.
    pub(crate) fn act(&self, by: &Person, id: &str, action: Action, reason: &str) -> Result<RolloutView, ControlError> {
        let reason = reason.trim();
        if reason.is_empty() || reason.len() > MAX_REASON_LEN {
            return Err(ControlError::BadRequest("a reason of 1 to 1000 bytes is needed: it is kept in the audit log"));
        }
        let _turn = self.turn();
        self.store.transact(|t| {
            let mut rollout = rollouts::get(t, id)?;
            let who = (by.name.as_str(), action.name());
            let enter = |rollout: &mut Rollout, state| self.enter(t, rollout, state, who, reason);
            match (action, rollout.state) {
                (Action::Promote, State::Running | State::Held | State::Halted) => {
                    let next = rollout.stage + 1;
                    if next < laid_out(&rollout.policy)?.stages.len() {
                        self.begin(t, &mut rollout, next, who, reason)
                    } else {
                        enter(&mut rollout, State::Full)
                    }
                }
                (Action::Hold, State::Running) => enter(&mut rollout, State::Held),
                (Action::Resume, State::Held | State::Halted) => {
                    let stage = rollout.stage;
                    self.begin(t, &mut rollout, stage, who, reason)
                }
                (Action::Abort, State::Waiting | State::Running | State::Held | State::Halted) => {
                    enter(&mut rollout, State::Aborted)
                }
                (Action::Rollback, state) if rollout.told && state != State::Reverted => {
                    // What a newer rollout of the model says must not be overwritten.
                    let newest = rollouts::newest(t, &rollout.model)?.filter(|newest| newest.id != rollout.id);
                    if let Some(other) = newest {
                        return Err(blocked(other));
                    }
                    enter(&mut rollout, State::Reverted)
                }
                _ => Err(not_now(&rollout, action.name())),
            }
        })?;
        self.after(id)
    }

    /// Signs what was decided, and shows it. What cannot be signed now is tried again with every tick.
    fn after(&self, id: &str) -> Result<RolloutView, ControlError> {
        let rollout = self.store.rollout(id)?;
        if !rollout.signed
            && let Err(error) = self.sign(&rollout)
        {
            tracing::error!(rollout = id, %error, "not signed yet");
        }
        self.store.refresh_known()?;
        self.look_for_active()?;
        self.show(id)
    }
}

fn blocked(other: Rollout) -> ControlError {
    ControlError::InTheWay { rollout: other.id, model: other.model, state: other.state.name() }
}

fn not_now(rollout: &Rollout, action: &'static str) -> ControlError {
    ControlError::NotNow { rollout: rollout.id.clone(), state: rollout.state.name(), action }
}

/// What an approver says yes to: SHA-256 over the policy, the devices and the reason, each text with its length; hexadecimal.
pub(super) fn approval_digest(rollout: &Rollout) -> String {
    let mut bytes = b"ff-approval-v1\0".to_vec();
    bytes.extend_from_slice(&rollout.devices.to_be_bytes());
    for text in [&rollout.policy, &rollout.reason] {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    hex(&sha256(&bytes))
}

fn check_digest(found: &str, given: &str) -> Result<(), ControlError> {
    if given.len() >= MIN_DIGEST_LEN && found.starts_with(given) {
        return Ok(());
    }
    Err(ControlError::Digest { found: found.into(), given: given.chars().take(64).collect() })
}

/// More than this at once, as the first thing, needs a reason; basis points.
const MOST_AT_ONCE_BP: u16 = 500;
const MIN_DIGEST_LEN: usize = 16;
const MAX_REASON_LEN: usize = 1000;
const MAX_DEVICES: u64 = 1_000_000_000;
