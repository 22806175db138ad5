//! What people are shown of a rollout, here and in the program and on any page that is built on `/v1`.

use fleetfoot_rollout::{
    gates::{self, Decision, Look, Outcome, Side},
    policy::Stage,
    stats::{sequential::Memo, sums::Sums},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Control, laid_out, requests::approval_digest};
use crate::{
    error::ControlError,
    store::rollouts::{self, Rollout, State, Step},
};

/// A rollout.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RolloutView {
    /// Identifier.
    pub(crate) rollout: String,
    /// Model.
    pub(crate) model: String,
    /// Release number of the candidate.
    pub(crate) candidate: u64,
    /// Release number that is gone back to.
    pub(crate) baseline: u64,
    /// Where it is.
    pub(crate) state: State,
    /// Why.
    pub(crate) reason: String,
    /// Number of the stage, from 1, of all shares of ramps.
    pub(crate) stage: usize,
    /// All stages.
    pub(crate) stages: Vec<StageView>,
    /// When the stage began, seconds since 1970; 0 before the first.
    pub(crate) begun_s: i64,
    /// Devices of the fleet, as planned.
    pub(crate) devices: u64,
    /// SHA-256 of the policy.
    pub(crate) digest: String,
    /// While it waits: what is approved, SHA-256 over policy, devices and reason.
    pub(crate) approval_digest: Option<String>,
    /// Who applied it.
    pub(crate) applied_by: String,
    /// When, seconds since 1970.
    pub(crate) applied_s: i64,
    /// When it last changed, seconds since 1970.
    pub(crate) changed_s: i64,
    /// Who approved it.
    pub(crate) approvals: Vec<String>,
    /// How many must.
    pub(crate) approvals_needed: u32,
    /// Whether the repository says so already.
    pub(crate) signed: bool,
    /// The stage under way as it would be judged now; it is no look and decides nothing. Not in lists.
    pub(crate) now: Option<LookView>,
}

/// A stage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct StageView {
    /// Kind.
    pub(crate) name: &'static str,
    /// Share of the devices that take part, percent.
    pub(crate) percent: f64,
    /// Devices of the planned fleet on which the candidate serves at its end.
    pub(crate) devices: u64,
    /// How long it lasts, seconds.
    pub(crate) lasts_s: u64,
}

/// Every step and look of a rollout.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Explanation {
    /// The rollout.
    pub(crate) rollout: RolloutView,
    /// Its steps, the earliest first.
    pub(crate) steps: Vec<StepView>,
}

/// A stretch in one stage.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct StepView {
    /// Number, from 1.
    pub(crate) step: u32,
    /// Number of the stage, from 1.
    pub(crate) stage: usize,
    /// When it began, seconds since 1970.
    pub(crate) begun_s: i64,
    /// When it ended.
    pub(crate) ended_s: Option<i64>,
    /// By whom, and how.
    pub(crate) ended_by: Option<String>,
    /// Looks.
    pub(crate) looks: Vec<LookView>,
}

/// A look: the numbers, and what follows from them.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LookView {
    /// When, seconds since 1970.
    pub(crate) at_s: i64,
    /// Seconds since the step began.
    pub(crate) elapsed_s: u64,
    /// What was decided.
    pub(crate) outcome: String,
    /// What decided, in one line.
    pub(crate) reason: String,
    /// Devices of treatment and control that reported on the best day.
    pub(crate) devices: Pair,
    /// Devices that the arms should have.
    pub(crate) drawn: Option<Pair>,
    /// Everything that was looked at.
    pub(crate) findings: Vec<FindingView>,
    /// The means of all metrics.
    pub(crate) metrics: Vec<MetricView>,
    /// Whether the same numbers give the same decision now.
    pub(crate) repeats: bool,
}

/// Numbers of both arms.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Pair {
    /// Of the candidate.
    pub(crate) treatment: u64,
    /// Of the control.
    pub(crate) control: u64,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FindingView {
    /// What.
    pub(crate) what: String,
    /// What it says.
    pub(crate) outcome: String,
    /// The estimate; above 0 is worse than allowed, for a comparison better than the current version.
    pub(crate) estimate: Option<f64>,
    /// Its standard error.
    pub(crate) error: Option<f64>,
    /// The estimate in standard errors.
    pub(crate) z: Option<f64>,
    /// The boundary for that.
    pub(crate) bound: Option<f64>,
    /// In words.
    pub(crate) text: String,
}

/// A metric in both arms.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct MetricView {
    /// Name.
    pub(crate) metric: String,
    /// Mean over the device-days of the candidate.
    pub(crate) treatment: Option<f64>,
    /// Mean over those of the control.
    pub(crate) control: Option<f64>,
    /// Device-days.
    pub(crate) n: Pair,
}

impl Control {
    /// The rollout `id`.
    pub(crate) fn show(&self, id: &str) -> Result<RolloutView, ControlError> {
        let (rollout, approvals) = self.store.transact(|t| Ok((rollouts::get(t, id)?, rollouts::approvals(t, id)?)))?;
        let now = self.now(&rollout)?;
        view(&rollout, approvals, now)
    }

    /// All rollouts, the newest first.
    pub(crate) fn list(&self) -> Result<Vec<RolloutView>, ControlError> {
        let all = self.store.transact(|t| {
            let with = |r: Rollout| Ok((rollouts::approvals(t, &r.id)?, r));
            rollouts::list(t, MAX_LISTED)?.into_iter().map(with).collect::<Result<Vec<_>, ControlError>>()
        })?;
        all.into_iter().map(|(approvals, rollout)| view(&rollout, approvals, None)).collect()
    }

    /// Every look of the rollout `id`, each decision repeated from its numbers.
    pub(crate) fn explain(&self, id: &str) -> Result<Explanation, ControlError> {
        let (rollout, steps) = self.store.transact(|t| {
            let looks = |step: Step| Ok((rollouts::looks(t, id, step.step)?, step));
            let steps = rollouts::steps(t, id)?.into_iter().map(looks).collect::<Result<Vec<_>, ControlError>>()?;
            Ok((rollouts::get(t, id)?, steps))
        })?;
        let (policy, memo) = (laid_out(&rollout.policy)?, Memo::default());
        let steps = steps.into_iter().map(|(looked, step)| {
            let looks: Vec<_> = looked.iter().map(|looked| looked.look.clone()).collect();
            let shown = looked.iter().enumerate().map(|(n, one)| {
                let decision = gates::decide(&policy, step.stage, &looks[..=n], &memo);
                let repeats = serde_json::to_string(&decision).is_ok_and(|text| text == one.decision);
                look_view(one.at_s, &one.look, &decision, repeats)
            });
            let looks = shown.collect();
            let Step { step, stage, begun_s, ended_s, ended_by } = step;
            StepView { step, stage: stage + 1, begun_s, ended_s, ended_by, looks }
        });
        Ok(Explanation { steps: steps.collect(), rollout: self.show(id)? })
    }

    fn now(&self, rollout: &Rollout) -> Result<Option<LookView>, ControlError> {
        if rollout.state != State::Running {
            return Ok(None);
        }
        let (policy, now_s) = (laid_out(&rollout.policy)?, self.clock.now_s());
        let looked = self.store.transact(|t| rollouts::looks(t, &rollout.id, rollout.step))?;
        let mut looks: Vec<Look> = looked.into_iter().map(|looked| looked.look).collect();
        let elapsed_s = u64::try_from(now_s - rollout.begun_s).unwrap_or(0);
        looks.push(self.look(&policy, rollout, elapsed_s)?);
        let decision = gates::decide(&policy, rollout.stage, &looks, &Memo::default());
        Ok(looks.last().map(|look| look_view(now_s, look, &decision, true)))
    }
}

fn view(r: &Rollout, approvals: Vec<String>, now: Option<LookView>) -> Result<RolloutView, ControlError> {
    let policy = laid_out(&r.policy)?;
    let stage = |stage: &Stage| {
        let bp = match stage {
            Stage::Shadow { percent_bp, .. } | Stage::Ab { percent_bp, .. } => *percent_bp,
            other => other.exposed_bp(),
        };
        let devices = (r.devices as f64 * f64::from(stage.exposed_bp()) / 10_000.0).round() as u64;
        StageView { name: stage.name(), percent: f64::from(bp) / 100.0, devices, lasts_s: stage.lasts_s() }
    };
    Ok(RolloutView {
        rollout: r.id.clone(),
        model: r.model.clone(),
        candidate: policy.candidate,
        baseline: policy.baseline,
        state: r.state,
        reason: r.reason.clone(),
        stage: r.stage + 1,
        stages: policy.stages.iter().map(stage).collect(),
        begun_s: r.begun_s,
        devices: r.devices,
        digest: r.digest.clone(),
        approval_digest: (r.state == State::Waiting).then(|| approval_digest(r)),
        applied_by: r.applied_by.clone(),
        applied_s: r.applied_s,
        changed_s: r.changed_s,
        approvals,
        approvals_needed: r.needs,
        signed: r.signed,
        now,
    })
}

fn look_view(at_s: i64, look: &Look, decision: &Decision, repeats: bool) -> LookView {
    let finding = |finding: &gates::Finding| FindingView {
        what: finding.what.clone(),
        outcome: outcome_name(finding.outcome).into(),
        estimate: finding.estimate.map(|estimate| estimate.value).filter(|value| value.is_finite()),
        error: finding.estimate.map(|estimate| estimate.error).filter(|error| error.is_finite()),
        z: finding.z,
        bound: finding.bound,
        text: finding.text.clone(),
    };
    let mean = |side: &Side, metric: &str| side.metrics.get(metric).and_then(Sums::mean);
    let n = |side: &Side, metric: &str| side.metrics.get(metric).map_or(0, |sums| sums.n as u64);
    let pair = |(treatment, control)| Pair { treatment, control };
    let metric = |metric: &String| MetricView {
        metric: metric.clone(),
        treatment: mean(&look.treatment, metric),
        control: mean(&look.control, metric),
        n: pair((n(&look.treatment, metric), n(&look.control, metric))),
    };
    LookView {
        at_s,
        elapsed_s: look.elapsed_s,
        outcome: outcome_name(decision.outcome).into(),
        reason: decision.reason().into(),
        devices: pair((look.treatment.devices, look.control.devices)),
        drawn: look.drawn.map(pair),
        findings: decision.findings.iter().map(finding).collect(),
        metrics: look.treatment.metrics.keys().map(metric).collect(),
        repeats,
    }
}

const fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Continue => "continue",
        Outcome::Promote => "promote",
        Outcome::Hold => "hold",
        Outcome::Halt => "halt",
        Outcome::RollBack => "roll_back",
        Outcome::Kept => "kept",
    }
}

const MAX_LISTED: u32 = 100;
