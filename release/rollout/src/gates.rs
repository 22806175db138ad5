//! The gates: what the sums of a stage say, and what follows.
//!
//! A decision is a function of the policy and of the looks so far, nothing else: the same looks give the same decision, in the server, in the
//! simulator and years later in `explain`. Every decision carries the numbers that led to it.
//!
//! The probability of a false alarm is [`ALPHA`] over the whole rollout: it is split evenly over the stages that expose devices and over what is
//! watched in each, and spent over the looks ([`crate::stats::spending`]). No data is never a pass: a stage ends only with enough of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    policy::{Action, Guardrail, Limit, Policy, Stage},
    stats::{
        ab::{Verdict, one_side, verdict},
        counts::{SAMPLE_RATIO_ALPHA, more_events, sample_ratio},
        sequential::Memo,
        spending::Spending,
        sums::{Estimate, Sums},
    },
};

/// Probability of stopping a rollout whose candidate is exactly as bad as allowed.
pub const ALPHA: f64 = 0.05;
/// Devices of each arm without which a stage does not end.
pub const ENOUGH: f64 = 20.0;
/// Crashes that may be so many times as frequent as those of the control.
pub const CRASH_RATIO: f64 = 1.0;
/// The built-in guardrail of errors.
pub const ERROR_RATE: &str = "error_rate";
/// Crashes are always watched, as counts: a guardrail of this name only says what happens.
pub const CRASH_RATE: &str = "crash_rate";
/// The built-in guardrail of local fallbacks.
pub const FALLBACK_RATE: &str = "fallback_rate";

/// What one arm reported since the stage began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Devices that reported at all.
    pub devices: u64,
    /// Sums over device-days, by metric.
    pub metrics: BTreeMap<String, Sums>,
    /// Crashes.
    pub crashes: u64,
    /// Days that devices were at it, all together.
    pub device_days: f64,
}

impl Side {
    /// The sums of `metric` at what they are worth: days of one device resemble each other, so there are never more independent values than devices.
    fn worth(&self, metric: &str) -> Option<Sums> {
        self.metrics.get(metric).map(|sums| sums.worth(self.devices as f64))
    }
}

/// The state of a stage at one look: everything since it began.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Seconds since the stage began.
    pub elapsed_s: u64,
    /// The candidate's side.
    pub treatment: Side,
    /// The side of the current version.
    pub control: Side,
    /// Devices that were drawn for the two arms, or any numbers of that proportion; a 0 where nothing is compared.
    pub shares: (u64, u64),
    /// Answers compared in the stage shadow, and how many agreed.
    pub compared: (u64, u64),
    /// Devices that the two arms have at most, by the size of the fleet that was planned for; a 0 where an arm is not counted. Nothing: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drawn: Option<(u64, u64)>,
    /// Devices that reported of the candidate itself, or that it fell back on them. Nothing: reports do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_candidate: Option<u64>,
    /// Devices of the two arms on their own best days. Nothing: those of the sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<(u64, u64)>,
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The stage goes on.
    Continue,
    /// The next stage.
    Promote,
    /// Nobody new until a person has looked.
    Hold,
    /// As hold; a person decides.
    Halt,
    /// Back to the baseline.
    RollBack,
    /// The comparison ended without a winner: the current version stays.
    Kept,
}

/// One thing that was looked at, with its numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was watched.
    pub what: String,
    /// What it says.
    pub outcome: Outcome,
    /// The estimate, in the unit of the metric; above 0 is worse than allowed, for a comparison better than the current version.
    pub estimate: Option<Estimate>,
    /// Its distance from what is allowed in standard errors.
    pub z: Option<f64>,
    /// The boundary for that.
    pub bound: Option<f64>,
    /// Device-days of treatment and control.
    pub n: (f64, f64),
    /// For people.
    pub text: String,
}

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decision {
    /// What happens.
    pub outcome: Outcome,
    /// Everything that was looked at; what decided comes first.
    pub findings: Vec<Finding>,
}

impl Decision {
    /// The reason in one line.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.findings.first().map_or("", |finding| &finding.text)
    }
}

/// Decides about stage `index` after `looks`, the earliest first. The last one is now. `memo` only saves time.
#[must_use]
pub fn decide(policy: &Policy, index: usize, looks: &[Look], memo: &Memo) -> Decision {
    let (Some(stage), Some(now)) = (policy.stages.get(index), looks.last()) else {
        return Decision { outcome: Outcome::Continue, findings: Vec::new() };
    };
    let over = now.elapsed_s >= stage.lasts_s();
    let mut findings = if let Stage::Shadow { min_reports, agreement, .. } = stage {
        let mut findings = vec![shadow(now, over, *min_reports, *agreement), more_than_drawn(now)];
        findings.extend(now.on_candidate.map(|devices| served(devices, over)));
        findings
    } else {
        let mut guardrails = watched(policy);
        let of_crashes =
            guardrails.iter().find(|guardrail| guardrail.metric == CRASH_RATE).map_or(Action::Rollback, |g| g.action);
        guardrails.retain(|guardrail| guardrail.metric != CRASH_RATE);
        let n_stages = policy.stages.iter().filter(|stage| stage.exposed_bp() > 0).count().max(1);
        let alpha = ALPHA / (n_stages * (guardrails.len() + 1)) as f64;
        let mut findings: Vec<Finding> =
            guardrails.iter().map(|g| guardrail(g, stage.lasts_s(), looks, alpha, memo)).collect();
        findings.push(crashes(stage.lasts_s(), looks, alpha, of_crashes));
        findings.push(ratio_of_arms(now));
        findings.push(more_than_drawn(now));
        findings.extend(now.on_candidate.map(|devices| served(devices, over)));
        if let Stage::Ab { metric, minimum_effect, .. } = stage {
            findings.push(comparison(metric, *minimum_effect, stage.lasts_s(), looks, memo));
        }
        findings
    };
    // The worst decides; a winner of a comparison counts only where nothing else objects.
    findings.sort_by_key(|finding| std::cmp::Reverse(weight(finding.outcome)));
    let worst = findings.first().map_or(Outcome::Continue, |finding| finding.outcome);
    let undecided =
        findings.iter().any(|f| f.bound.is_none() && f.outcome == Outcome::Continue && f.what == ERROR_RATE);
    let outcome = match worst {
        // A winner waits until the guardrails had a look, too.
        Outcome::Promote if undecided && !over => Outcome::Continue,
        Outcome::Continue if over && !matches!(stage, Stage::Ab { .. }) => Outcome::Promote,
        other => other,
    };
    Decision { outcome, findings }
}

const fn weight(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::RollBack => 5,
        Outcome::Halt => 4,
        Outcome::Hold => 3,
        Outcome::Kept => 2,
        Outcome::Promote => 1,
        Outcome::Continue => 0,
    }
}

/// The guardrails of a policy and those that are built in: errors and local fallbacks, unless the policy says something of them itself.
#[must_use]
pub fn watched(policy: &Policy) -> Vec<Guardrail> {
    let mut all = policy.guardrails.clone();
    for (metric, margin, action) in [(ERROR_RATE, 0.001, Action::Rollback), (FALLBACK_RATE, 0.005, Action::Rollback)] {
        // Another limit of the same kind takes the place of the built-in one; a limit of another kind stands beside it.
        let same = |g: &Guardrail| g.metric == metric && matches!(g.limit, Limit::WorseBy(_) | Limit::Ratio(_));
        if !all.iter().any(same) {
            all.push(Guardrail { metric: metric.into(), limit: Limit::WorseBy(margin), action, look_s: 86_400 });
        }
    }
    all
}

/// How much worse than allowed: above 0 is harm.
fn harm(limit: Limit, metric: &str, look: &Look) -> Option<Estimate> {
    let t = &look.treatment.worth(metric)?;
    let control = look.control.worth(metric);
    let c = control.as_ref();
    match limit {
        // The current version does not fall back from itself.
        Limit::WorseBy(margin) if metric == FALLBACK_RATE => Estimate::above(t, margin),
        Limit::WorseBy(margin) => Estimate::contrast(t, c?, 1.0, margin),
        Limit::Ratio(ratio) => Estimate::contrast(t, c?, ratio, 0.0),
        Limit::Drop(drop) => {
            let kept = Estimate::contrast(t, c?, 1.0 - drop, 0.0)?;
            Some(Estimate { value: -kept.value, error: kept.error })
        }
        Limit::Above(most) => Estimate::above(t, most),
    }
}

fn guardrail(guardrail: &Guardrail, lasts_s: u64, looks: &[Look], alpha: f64, memo: &Memo) -> Finding {
    let Guardrail { metric, limit, action, look_s } = guardrail;
    let over = looks.last().is_some_and(|look| look.elapsed_s >= lasts_s);
    let with_control = looks.iter().any(|look| look.shares.1 > 0);
    let mut times = Vec::new();
    let (mut next_s, mut fired, mut last) = (*look_s, None, None);
    for look in looks {
        // A stage shorter than the time between two looks has one, at its end.
        if look.elapsed_s < next_s.min(lasts_s) {
            continue;
        }
        next_s = (look.elapsed_s / look_s + 1) * look_s;
        // Sums that are no numbers any more are no data.
        let harm = harm(*limit, metric, look).filter(|harm| harm.value.is_finite() && harm.error.is_finite());
        let Some(harm) = harm.filter(|_| enough(look, metric, *limit)) else { continue };
        times.push(look.elapsed_s as f64 / lasts_s as f64);
        let bound = memo.bound(Spending::Pocock, alpha, &times);
        last = Some((harm, bound, look));
        if harm.z() >= bound {
            fired = last;
            break;
        }
    }
    let n = |look: &Look| {
        let n = |side: &Side| side.metrics.get(metric).map_or(0.0, |sums| sums.n);
        (n(&look.treatment), n(&look.control))
    };
    let (outcome, text) = match (fired, last) {
        (Some((harm, bound, look)), _) => {
            let (t, c) = (mean(&look.treatment, metric), mean(&look.control, metric));
            let text = format!(
                "{metric} {t:.4} against {c:.4} of the control is worse than allowed ({}): {:.2} standard errors, the boundary is {bound:.2}",
                limit_text(*limit),
                harm.z()
            );
            (act(*action), text)
        }
        (None, Some((harm, bound, _))) => (
            Outcome::Continue,
            format!("{metric}: {:.2} standard errors beyond what is allowed, the boundary is {bound:.2}", harm.z()),
        ),
        // Everybody at once: the stages before have decided, there is nobody left to compare with.
        (None, None) if !with_control => {
            (Outcome::Continue, format!("{metric}: everybody has the candidate, there is no control"))
        }
        // A metric that nobody reports is no pass.
        (None, None) if over => (Outcome::Hold, format!("{metric}: too little data to decide; no data is no pass")),
        (None, None) => (Outcome::Continue, format!("{metric}: no look yet")),
    };
    let shown = fired.or(last);
    Finding {
        what: metric.clone(),
        outcome,
        estimate: shown.map(|(harm, ..)| harm),
        z: shown.map(|(harm, ..)| harm.z()).filter(|z| z.is_finite()),
        bound: shown.map(|(_, bound, _)| bound).filter(|bound| bound.is_finite()),
        n: looks.last().map_or((0.0, 0.0), n),
        text,
    }
}

fn enough(look: &Look, metric: &str, limit: Limit) -> bool {
    let enough = |side: &Side| side.worth(metric).is_some_and(|sums| sums.n >= ENOUGH);
    let alone = matches!(limit, Limit::Above(_)) || metric == FALLBACK_RATE;
    enough(&look.treatment) && (alone || enough(&look.control))
}

fn mean(side: &Side, metric: &str) -> f64 {
    side.metrics.get(metric).and_then(Sums::mean).unwrap_or(f64::NAN)
}

const fn act(action: Action) -> Outcome {
    match action {
        Action::Hold => Outcome::Hold,
        Action::Halt => Outcome::Halt,
        Action::Rollback => Outcome::RollBack,
    }
}

/// A limit as it is written in a policy.
#[must_use]
pub fn limit_text(limit: Limit) -> String {
    match limit {
        Limit::WorseBy(margin) => format!("worse_by {}%", margin * 100.0),
        Limit::Ratio(ratio) => format!("ratio {ratio}"),
        Limit::Drop(drop) => format!("drop {}%", drop * 100.0),
        Limit::Above(most) => format!("above {most}"),
    }
}

/// Crashes are few: counted exactly. What may be spent at each look is compared with the p-value of all crashes so far, so that the sum over the looks
/// bounds the false alarms.
fn crashes(lasts_s: u64, looks: &[Look], alpha: f64, action: Action) -> Finding {
    let mut spent = 0.0;
    let (mut outcome, mut text) = (Outcome::Continue, "crashes: none more than in the control".to_owned());
    for look in looks {
        let until = Spending::Pocock.spent(alpha, look.elapsed_s as f64 / lasts_s as f64);
        let (t, c) = (&look.treatment, &look.control);
        let p = more_events(t.crashes, c.crashes, (t.device_days, c.device_days), CRASH_RATIO);
        text = format!(
            "crashes: {} in {:.0} device-days against {} in {:.0} of the control, p = {p:.2e}",
            t.crashes, t.device_days, c.crashes, c.device_days
        );
        if p <= until - spent {
            outcome = act(action);
            break;
        }
        spent = until;
    }
    let n = looks.last().map_or((0.0, 0.0), |look| (look.treatment.device_days, look.control.device_days));
    Finding { what: CRASH_RATE.into(), outcome, estimate: None, z: None, bound: None, n, text }
}

fn ratio_of_arms(now: &Look) -> Finding {
    let (t, c) = (now.treatment.devices as f64, now.control.devices as f64);
    let split = (now.shares.0 as f64, now.shares.1 as f64);
    let p = if split.0 > 0.0 && split.1 > 0.0 { sample_ratio(t, c, split) } else { 1.0 };
    // Not of the best day alone: whoever makes one day even must not hide all others. Days of one device resemble each other, so that all of
    // them are worth the devices of one.
    let days = (now.treatment.device_days, now.control.device_days);
    let worth = (t + c) / (days.0 + days.1);
    let over_days = if split.0 > 0.0 && split.1 > 0.0 && worth.is_finite() {
        sample_ratio(days.0 * worth, days.1 * worth, split)
    } else {
        1.0
    };
    let p = p.min(over_days);
    let fault = p < SAMPLE_RATIO_ALPHA;
    let text = format!(
        "sample ratio: {t} devices report for the candidate and {c} for the control, p = {p:.2e}{}",
        if fault { ": one arm is missing reports" } else { "" }
    );
    let outcome = if fault { Outcome::Hold } else { Outcome::Continue };
    Finding { what: "sample_ratio".into(), outcome, estimate: None, z: None, bound: None, n: (t, c), text }
}

/// Reports can be forged. Whoever forges enough of them to outweigh the fleet shows up as more devices than the arms have.
fn more_than_drawn(now: &Look) -> Finding {
    let found = now.most.unwrap_or((now.treatment.devices, now.control.devices));
    let drawn = now.drawn.unwrap_or_default();
    let beyond = |found: u64, drawn: u64| now.drawn.is_some() && drawn > 0 && found > most_drawn(drawn);
    let fault = beyond(found.0, drawn.0) || beyond(found.1, drawn.1);
    let text = format!(
        "expected share: {} devices report for the candidate and {} for the control, the arms have {} and {}{}",
        found.0,
        found.1,
        drawn.0,
        drawn.1,
        if fault {
            ": more than there are; reports are forged, or the fleet is larger than was planned for"
        } else {
            ""
        }
    );
    let outcome = if fault { Outcome::Hold } else { Outcome::Continue };
    let n = (found.0 as f64, found.1 as f64);
    Finding { what: "expected_share".into(), outcome, estimate: None, z: None, bound: None, n, text }
}

/// Devices of an arm that has `drawn` on the average: buckets are random, so it is four standard errors and a few more.
#[must_use]
pub fn most_drawn(drawn: u64) -> u64 {
    drawn + (4.0 * (drawn as f64).sqrt()).ceil() as u64 + 5
}

/// A stage in which hardly anybody ran the candidate has shown nothing.
fn served(devices: u64, over: bool) -> Finding {
    let few = (devices as f64) < ENOUGH;
    let outcome = if over && few { Outcome::Hold } else { Outcome::Continue };
    let text = format!(
        "{devices} devices report of the candidate{}",
        if over && few { format!(", {ENOUGH} are the least; no data is no pass") } else { String::new() }
    );
    Finding { what: "served".into(), outcome, estimate: None, z: None, bound: None, n: (devices as f64, 0.0), text }
}

fn comparison(metric: &str, minimum_effect: f64, lasts_s: u64, looks: &[Look], memo: &Memo) -> Finding {
    let mut times = Vec::new();
    let mut last = (Verdict::Open, f64::INFINITY, None);
    let mut next_s = 86_400;
    for look in looks {
        let over = look.elapsed_s >= lasts_s;
        if look.elapsed_s < next_s && !over {
            continue;
        }
        next_s = (look.elapsed_s / 86_400 + 1) * 86_400;
        let sums = |side: &Side| side.worth(metric).filter(|sums| sums.n >= ENOUGH);
        let effect = sums(&look.treatment).zip(sums(&look.control)).and_then(|(t, c)| Estimate::relative(&t, &c));
        let effect = effect.filter(|effect| effect.value.is_finite() && effect.error.is_finite());
        let bound = effect.map_or(f64::INFINITY, |_| {
            times.push(look.elapsed_s as f64 / lasts_s as f64);
            memo.bound(Spending::ObrienFleming, one_side(ALPHA), &times)
        });
        last = (verdict(effect, bound, minimum_effect, over), bound, effect);
        if last.0 != Verdict::Open {
            break;
        }
    }
    let (verdict, bound, effect) = last;
    let numbers = effect.map_or_else(
        || "no data".to_owned(),
        |effect| {
            format!(
                "{:+.2}% ± {:.2}% ({:.2} standard errors, the boundary is {bound:.2})",
                effect.value * 100.0,
                effect.error * 196.0,
                effect.z()
            )
        },
    );
    let (outcome, text) = match verdict {
        Verdict::Better => (Outcome::Promote, format!("{metric}: better by {numbers}")),
        Verdict::Worse => (Outcome::RollBack, format!("{metric}: worse, {numbers}")),
        Verdict::NoDifference if effect.is_none() => (Outcome::Hold, format!("{metric}: no data is no verdict")),
        Verdict::NoDifference => {
            (Outcome::Kept, format!("{metric}: no difference worth a change, {numbers}; the current version stays"))
        }
        Verdict::Open => (Outcome::Continue, format!("{metric}: open, {numbers}")),
    };
    Finding {
        what: metric.into(),
        outcome,
        estimate: effect,
        z: effect.map(|effect| effect.z()).filter(|z| z.is_finite()),
        bound: Some(bound).filter(|bound| bound.is_finite()),
        n: looks.last().map_or((0.0, 0.0), |look| (look.treatment.device_days, look.control.device_days)),
        text,
    }
}

fn shadow(now: &Look, over: bool, min_reports: u64, agreement: f64) -> Finding {
    let (compared, agreed) = now.compared;
    let share = agreed as f64 / (compared as f64).max(1.0);
    let few = (now.treatment.devices as f64) < ENOUGH;
    let (outcome, verdict) = match (over, compared >= min_reports) {
        (true, _) if few => (Outcome::Hold, "too few devices; no data is no pass"),
        (false, _) => (Outcome::Continue, "open"),
        (true, false) => (Outcome::Hold, "too few to decide; no data is no pass"),
        (true, true) if share < agreement => (Outcome::RollBack, "too few agree"),
        (true, true) => (Outcome::Promote, "enough agree"),
    };
    let text = format!(
        "shadow: {agreed} of {compared} answers agree ({:.2}%, {:.0}% are asked for): {verdict}",
        share * 100.0,
        agreement * 100.0
    );
    let (value, error) = (share - agreement, (share * (1.0 - share) / (compared as f64).max(1.0)).sqrt());
    Finding {
        what: "agreement".into(),
        outcome,
        estimate: Some(Estimate { value, error }),
        z: None,
        bound: None,
        n: (compared as f64, 0.0),
        text,
    }
}
