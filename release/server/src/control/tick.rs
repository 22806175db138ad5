//! The gates: looked at again and again, and followed.
//!
//! A look is taken when the shortest time between two looks of the policy has passed, and when the stage is over. It is stored with its
//! decision, so that `explain` can repeat the one from the other. Every change is signed by the online key within the envelope of the
//! release; nothing that a report says can go beyond that.

use fleetfoot_repository::{Online, Repository, seconds_until};
use fleetfoot_rollout::{
    Policy,
    gates::{self, Decision, Look, Outcome},
    policy::Stage,
    stats::sequential::Memo,
};
use rusqlite::Transaction;

use super::{Control, OnlineKeys, laid_out};
use crate::{
    clock::DAY_S,
    error::ControlError,
    groups::{Group, GroupKey},
    judge,
    store::{
        audit,
        rollouts::{self, Rollout, State},
    },
};

/// What saves time from tick to tick.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    memo: Memo,
    resigned_s: i64,
    /// When the gates last looked at the clock, and what of it the database knows.
    seen_s: Option<i64>,
    written_s: Option<i64>,
}

impl Control {
    /// Looks at every rollout under way. One that cannot be judged does not keep the others from being looked at.
    pub(crate) fn tick(&self) {
        let mut turn = self.turn();
        let mut active = match self.store.transact(rollouts::active) {
            Ok(active) => active,
            Err(error) => return tracing::error!(%error, "the gates cannot read the database"),
        };
        if let Err(error) = self.check_clock(&mut turn, &mut active) {
            return tracing::error!(%error, "the gates cannot tell whether the clock is right");
        }
        for rollout in active {
            if let Err(error) = self.step(&rollout, &turn.memo) {
                tracing::error!(rollout = rollout.id, %error, "not judged or not signed; the next tick tries again");
            }
        }
        if let Err(error) = self.resign(&mut turn) {
            tracing::error!(%error, "the timestamp was not signed again");
        }
        if let Err(error) = self.look_for_active() {
            tracing::error!(%error, "the gates cannot read the database");
        }
    }

    fn step(&self, rollout: &Rollout, memo: &Memo) -> Result<(), ControlError> {
        if !rollout.signed {
            return self.sign(rollout);
        }
        if rollout.state != State::Running {
            return Ok(());
        }
        let policy = laid_out(&rollout.policy)?;
        let elapsed_s = u64::try_from(self.clock.now_s() - rollout.begun_s).unwrap_or(0);
        let looked = self.store.transact(|t| rollouts::looks(t, &rollout.id, rollout.step))?;
        let mut looks: Vec<Look> = looked.into_iter().map(|looked| looked.look).collect();
        if !is_due(&policy, rollout.stage, looks.last().map_or(0, |look| look.elapsed_s), elapsed_s) {
            return Ok(());
        }
        let n = looks.len();
        looks.push(self.look(&policy, rollout, elapsed_s)?);
        let decision = gates::decide(&policy, rollout.stage, &looks, memo);
        let now_s = self.clock.now_s();
        self.store.transact(|t| {
            let mut rollout = rollouts::get(t, &rollout.id)?;
            rollouts::add_look(t, &rollout, n, now_s, &looks[n], &decision)?;
            self.follow(t, &mut rollout, &policy, &decision)
        })?;
        let rollout = self.store.rollout(&rollout.id)?;
        if rollout.signed { Ok(()) } else { self.sign(&rollout) }
    }

    /// What the sums say now of the step under way.
    pub(super) fn look(&self, policy: &Policy, rollout: &Rollout, elapsed_s: u64) -> Result<Look, ControlError> {
        let today = self.clock.today();
        let of_step = |key: &GroupKey, group: &Group| {
            // What is said of tomorrow is for tomorrow.
            let own = key.rollout == rollout.id && key.step == rollout.step && key.day <= today;
            own.then(|| (key.clone(), group.clone()))
        };
        let groups = self.store.groups(of_step);
        let metrics = judge::metrics(policy, &self.policy.metrics)?;
        Ok(judge::look(policy, rollout.stage, rollout.devices, elapsed_s, &groups, &metrics))
    }

    fn follow(
        &self,
        t: &Transaction<'_>,
        rollout: &mut Rollout,
        policy: &Policy,
        decision: &Decision,
    ) -> Result<(), ControlError> {
        let reason = decision.findings.iter().find(|finding| finding.outcome == decision.outcome);
        // A stage that is over without objections has no finding of its own.
        let reason = reason.map_or_else(|| all_well(decision), |finding| finding.text.clone());
        let by = |action| (audit::GATES, action);
        match decision.outcome {
            Outcome::Continue => Ok(()),
            Outcome::Promote if rollout.stage + 1 < policy.stages.len() => {
                let next = rollout.stage + 1;
                self.begin(t, rollout, next, by("promote"), &reason)
            }
            Outcome::Promote => self.enter(t, rollout, State::Full, by("promote"), &reason),
            Outcome::Hold => self.enter(t, rollout, State::Held, by("hold"), &reason),
            Outcome::Halt => self.enter(t, rollout, State::Halted, by("halt"), &reason),
            Outcome::Kept => self.enter(t, rollout, State::Kept, by("keep"), &reason),
            Outcome::RollBack => self.enter(t, rollout, State::RolledBack, by("roll back"), &reason),
        }
    }

    /// Signs the timestamp again in good time, so that a quiet repository does not expire.
    fn resign(&self, turn: &mut Turn) -> Result<(), ControlError> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let now_s = self.clock.now_s();
        if turn.resigned_s == 0 {
            turn.resigned_s = self.signed_s(keys, now_s)?;
        }
        // Where what is signed holds for less, it is signed earlier.
        if now_s - turn.resigned_s < RESIGN_S.min(keys.expiry.timestamp / 4).max(1) {
            return Ok(());
        }
        let online = Online { snapshot: &keys.snapshot, timestamp: &keys.timestamp };
        let repository = Repository::open(&self.repo)?.with_memory(&keys.memory);
        repository.resign(online, keys.expiry, now_s)?;
        turn.resigned_s = now_s;
        self.signed.send_modify(|n| *n += 1);
        // What the online key of a model says is signed again at half of its life.
        for role in repository.status()?.roles {
            let Some(model) = role.name.strip_prefix("rollout-") else { continue };
            if seconds_until(&role.expires, now_s).unwrap_or(0) < keys.expiry.snapshot / 2 {
                match repository.renew_rollout(model, &keys.rollout, online, keys.expiry, now_s) {
                    Ok(_) => self.signed.send_modify(|n| *n += 1),
                    // The key of another model may be elsewhere; that does not keep this one from being signed.
                    Err(error) => tracing::error!(model, %error, "the rollout role was not signed again"),
                }
            }
        }
        Ok(())
    }

    /// When the timestamp was signed, by when it expires: also a server that was just started signs in good time.
    fn signed_s(&self, keys: &OnlineKeys, now_s: i64) -> Result<i64, ControlError> {
        let status = Repository::open(&self.repo)?.status()?;
        let timestamp = status.roles.iter().find(|role| role.name == "timestamp");
        let left_s = timestamp.and_then(|role| seconds_until(&role.expires, now_s)).unwrap_or(0);
        Ok(now_s.saturating_add(left_s).saturating_sub(keys.expiry.timestamp).min(now_s))
    }

    /// Whether what the clock says can be. If not, every rollout under way is held: a stage must not end because somebody set the clock.
    fn check_clock(&self, turn: &mut Turn, active: &mut [Rollout]) -> Result<(), ControlError> {
        let now_s = self.clock.now_s();
        let seen_s = match turn.seen_s {
            Some(seen_s) => Some(seen_s),
            None => self.store.transact(rollouts::seen_s)?,
        };
        let jumped = seen_s.filter(|seen_s| now_s - seen_s > DAY_S);
        for rollout in active.iter_mut().filter(|rollout| rollout.state == State::Running) {
            let reason = match jumped {
                Some(seen_s) => format!(
                    "the clock: {} s since the gates last looked; it was set, or the server did not run",
                    now_s - seen_s
                ),
                None if rollout.signed && now_s < rollout.begun_s => {
                    format!("the clock: it is {} s before the stage began", rollout.begun_s - now_s)
                }
                None => continue,
            };
            tracing::warn!(rollout = rollout.id, %reason, "held");
            self.store.transact(|t| self.enter(t, rollout, State::Held, (audit::GATES, "hold"), &reason))?;
        }
        let is_written = turn.written_s.is_some_and(|written_s| (now_s - written_s).abs() < SEEN_S);
        if !is_written {
            self.store.transact(|t| rollouts::put_seen_s(t, now_s))?;
            turn.written_s = Some(now_s);
        }
        turn.seen_s = Some(now_s);
        Ok(())
    }
}

/// Whether it is time for a look.
fn is_due(policy: &Policy, stage: usize, last_s: u64, elapsed_s: u64) -> bool {
    let Some(lasts_s) = policy.stages.get(stage).map(Stage::lasts_s) else { return false };
    let look_s = gates::watched(policy).iter().map(|guardrail| guardrail.look_s).min().unwrap_or(86_400);
    let next_s = (last_s / look_s + 1) * look_s;
    elapsed_s >= next_s.min(lasts_s) && elapsed_s > last_s
}

fn all_well(decision: &Decision) -> String {
    let all: Vec<&str> = decision.findings.iter().map(|finding| finding.text.as_str()).collect();
    format!("the stage is over and nothing objects: {}", all.join("; "))
}

/// Seconds between two times that are written down.
const SEEN_S: i64 = 600;
/// Seconds between two signatures of the timestamp.
const RESIGN_S: i64 = 6 * 3600;
