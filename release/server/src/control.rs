//! Rollouts under way: who may begin one, when it goes on, and what devices are told.
//!
//! ```text
//!            apply            approvals               gates: promote, or a person
//!              ▼                  ▼            ┌──────────────┐
//!           waiting ──────────▶ running ◀──────┘ last stage ──▶ full ── rollback ──▶ reverted
//!                                │ ▲ gates │
//!                         hold   ▼ │resume └──▶ rolled_back, kept
//!                               held, halted ── abort ──▶ aborted
//! ```
//! The database comes first: state, step and the row of the audit log in one transaction, then the repository is signed. If the process dies
//! between the two, the next tick signs ([`Rollout::signed`]). What the repository refuses (an envelope that does not allow the
//! stage yet) is a hold, and that is signed instead where devices had been told something. A stage lasts from its signature on, not from its row.

mod requests;
mod tick;
mod view;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use fleetfoot_repository::{Expiry, Online, Repository, RepositoryError};
use fleetfoot_rollout::{
    Policy,
    directive::{Said, Stop},
    read,
};
use fleetfoot_trust::SigningKey;
use rusqlite::Transaction;
use serde_json::Value;
use tokio::sync::watch;

pub use self::requests::{Action, Apply};
pub(crate) use self::view::{Explanation, RolloutView};
use crate::{
    clock::Clock,
    error::ControlError,
    groups::MetricName,
    store::{
        Store, audit,
        rollouts::{self, Rollout, State},
    },
};

/// What the server signs with: online keys, which choose among releases inside of their envelopes.
#[derive(Debug)]
pub struct OnlineKeys {
    /// Of the rollout roles; each signs for the models that it belongs to.
    pub rollout: Vec<SigningKey>,
    /// Of the role snapshot.
    pub snapshot: Vec<SigningKey>,
    /// Of the role timestamp.
    pub timestamp: Vec<SigningKey>,
    /// What is remembered of the repository.
    pub memory: PathBuf,
    /// For how long what is signed holds.
    pub expiry: Expiry,
}

/// How rollouts are run.
#[derive(Clone, Debug)]
pub struct ControlPolicy {
    /// Approvals by other people that a rollout needs.
    pub approvals: u32,
    /// Names of the application's metrics.
    pub metrics: Vec<MetricName>,
}

impl Default for ControlPolicy {
    /// One approval, no names.
    fn default() -> Self {
        Self { approvals: 1, metrics: Vec::new() }
    }
}

/// Runs rollouts.
#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    repo: PathBuf,
    keys: Option<OnlineKeys>,
    policy: ControlPolicy,
    /// One change at a time: ticks and people.
    turn: Mutex<tick::Turn>,
    /// Whether devices should hear of changes within seconds.
    active: AtomicBool,
    /// Counted up whenever something was signed here.
    pub(crate) signed: watch::Sender<u64>,
}

impl Control {
    pub(crate) fn new(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        repo: &Path,
        keys: Option<OnlineKeys>,
        policy: ControlPolicy,
    ) -> Result<Self, ControlError> {
        store.set_metrics(&policy.metrics);
        let (turn, active) = (Mutex::default(), AtomicBool::new(false));
        let this = Self { store, clock, repo: repo.into(), keys, policy, turn, active, signed: watch::Sender::new(0) };
        this.look_for_active()?;
        Ok(this)
    }

    /// Whether a rollout is under way, or ended less than an hour ago.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    fn look_for_active(&self) -> Result<(), ControlError> {
        let since = self.clock.now_s() - SETTLES_S;
        let recent = |rollout: &Rollout| !rollout.state.is_over() || rollout.changed_s >= since;
        let all = self.store.transact(|t| rollouts::list(t, 100))?;
        self.active.store(all.iter().any(recent), Ordering::Relaxed);
        Ok(())
    }

    fn turn(&self) -> std::sync::MutexGuard<'_, tick::Turn> {
        // What is in it only saves time.
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `rollout` into `state`, with its row in the log.
    fn enter(
        &self,
        t: &Transaction<'_>,
        rollout: &mut Rollout,
        state: State,
        (who, action): (&str, &str),
        reason: &str,
    ) -> Result<(), ControlError> {
        let now_s = self.clock.now_s();
        if state != State::Running {
            rollouts::end_step(t, rollout, now_s, &format!("{who}: {}", state.name()))?;
        }
        (rollout.state, rollout.reason, rollout.changed_s, rollout.signed) = (state, reason.into(), now_s, false);
        rollouts::put(t, rollout)?;
        let detail = format!("{}, stage {}: {reason}", state.name(), rollout.stage + 1);
        audit::append(t, now_s, who, action, &rollout.id, &detail)
    }

    /// Begins stage `stage` of `rollout` as a new step.
    fn begin(
        &self,
        t: &Transaction<'_>,
        rollout: &mut Rollout,
        stage: usize,
        by: (&str, &str),
        reason: &str,
    ) -> Result<(), ControlError> {
        let now_s = self.clock.now_s();
        rollouts::end_step(t, rollout, now_s, &format!("{}: {}", by.0, by.1))?;
        (rollout.stage, rollout.step, rollout.begun_s) = (stage, rollout.step + 1, now_s);
        self.enter(t, rollout, State::Running, by, reason)?;
        rollouts::begin_step(t, rollout)
    }

    /// Makes the repository say what the row of `rollout` says.
    fn sign(&self, rollout: &Rollout) -> Result<(), ControlError> {
        let Some(said) = said(rollout)? else { return self.settled(rollout) };
        let keys = self.keys.as_ref().ok_or(ControlError::NoKeys)?;
        let online = Online { snapshot: &keys.snapshot, timestamp: &keys.timestamp };
        let repository = Repository::open(&self.repo)?.with_memory(&keys.memory);
        let now_s = self.clock.now_s();
        // Before the repository: whatever becomes of this process, devices may have been told.
        self.store.transact(|t| {
            let mut now = rollouts::get(t, &rollout.id)?;
            now.told = true;
            rollouts::put(t, &now)
        })?;
        match repository.direct(&rollout.model, said, &keys.rollout, online, keys.expiry, now_s) {
            Ok(_) => {
                self.signed.send_modify(|n| *n += 1);
                self.settled(rollout)
            }
            Err(error) if is_final(&error) && rollout.state == State::Running => {
                let reason = format!("nothing was signed: {error} [{}]", error.code());
                tracing::warn!(rollout = rollout.id, %reason, "held");
                let held = self.store.transact(|t| {
                    let mut held = rollouts::get(t, &rollout.id)?;
                    self.enter(t, &mut held, State::Held, (audit::GATES, "hold"), &reason)?;
                    // Where nothing was ever signed there is nobody to be told; otherwise the stage before would go on with no gate that looks.
                    (held.told, held.signed) = (rollout.told, !rollout.told);
                    rollouts::put(t, &held)?;
                    Ok(held)
                })?;
                if held.signed { Ok(()) } else { self.sign(&held) }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn settled(&self, rollout: &Rollout) -> Result<(), ControlError> {
        self.store.transact(|t| {
            let mut now = rollouts::get(t, &rollout.id)?;
            let signed = (now.state, now.step) == (rollout.state, rollout.step);
            if signed && !now.signed && now.state == State::Running {
                // Until now the stage before was in force.
                now.begun_s = self.clock.now_s();
                rollouts::restart_step(t, &now)?;
            }
            now.signed = signed;
            rollouts::put(t, &now)
        })?;
        self.store.refresh_known()?;
        self.look_for_active()
    }
}

/// What devices are told of `rollout`; nothing before it has begun.
fn said(rollout: &Rollout) -> Result<Option<Value>, ControlError> {
    let policy = laid_out(&rollout.policy)?;
    let said = match rollout.state {
        State::Waiting => return Ok(None),
        State::Running | State::Full => policy.stages.get(rollout.stage).map(|stage| Said::stage(&policy, stage)),
        // Nobody was told anything: what is in force is another rollout's.
        _ if !rollout.told => return Ok(None),
        State::Held | State::Halted => Some(Said::stop(&policy, Stop::Hold)),
        State::Kept | State::RolledBack | State::Aborted => Some(Said::stop(&policy, Stop::Abort)),
        State::Reverted => Some(Said::stop(&policy, Stop::Revert)),
    };
    let said = said.ok_or(ControlError::BadRequest("the policy has no such stage"))?;
    serde_json::to_value(said).map(Some).map_err(|_| ControlError::BadRequest("the directive has no JSON"))
}

/// The policy in `text`, each share of a ramp as a stage of its own.
fn laid_out(text: &str) -> Result<Policy, ControlError> {
    Ok(read::policy(text).map_err(ControlError::Policy)?.laid_out())
}

/// Whether trying again changes nothing.
const fn is_final(error: &RepositoryError) -> bool {
    use RepositoryError as E;
    matches!(
        error,
        E::Refused { .. }
            | E::Unpublished { .. }
            | E::NoRollout { .. }
            | E::RolloutChanges { .. }
            | E::Directive { .. }
            | E::Envelope { .. }
    )
}

/// For so long after its end a rollout is still heard of within seconds.
const SETTLES_S: i64 = 3600;
