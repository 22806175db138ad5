//! From YAML to a [`Policy`], with every problem at once.
//!
//! A policy may name a preset and then says only what differs: `stages` and `guardrails` replace those of the preset as a whole, `device` and
//! `network` member by member.

mod fields;
mod parts;

use fields::{Fields, Kinds as _};
use fleetfoot_settings::{Node, Problem};

use crate::{
    gates::CRASH_RATE,
    policy::{Limit, Policy, Stage},
    presets,
};

/// Reads a policy.
///
/// # Errors
/// Every problem, in the order of the lines.
pub fn policy(text: &str) -> Result<Policy, Vec<Problem>> {
    let mut problems = Vec::new();
    let found = match Node::parse(text) {
        Ok(node) => read(&node, &mut problems),
        Err(problem) => {
            problems.push(problem);
            None
        }
    };
    problems.sort_by_key(|problem| (problem.line, problem.column));
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

fn read(node: &Node, problems: &mut Vec<Problem>) -> Option<Policy> {
    let mut fields = Fields::of(node, "the policy", problems)?;
    let preset = fields.optional("preset", Fields::text_of).and_then(|(name, place)| {
        let known = presets::find(&name);
        if known.is_none() {
            let names: Vec<&str> = presets::ALL.iter().map(|preset| preset.name).collect();
            fields.problem(
                place,
                "preset",
                format!("there is no preset '{name}'"),
                format!("one of {}", names.join(", ")),
            );
        }
        known
    });
    let template = preset.and_then(|preset| Node::parse(preset.yaml).ok());
    let mut ignored = Vec::new();
    let mut below = template.as_ref().and_then(|node| Fields::of(node, "the preset", &mut ignored));
    let rollout = fields.name("rollout");
    let model = fields.name("model");
    let kind = fields.optional("kind", Fields::text_of).map(|(kind, _)| kind);
    let candidate = fields.release("candidate");
    let baseline = fields.release("baseline");
    let selectors = parts::selectors(&mut fields);
    let own_stages = fields.has("stages");
    let mut stages = match below.as_mut().filter(|_| !own_stages) {
        Some(below) => parts::stages(below),
        None => parts::stages(&mut fields),
    };
    let guardrails = match below.as_mut().filter(|_| !fields.has("guardrails")) {
        Some(below) => parts::guardrails(below),
        None => parts::guardrails(&mut fields),
    };
    let base = below.as_mut().map(|below| (parts::device(below), parts::network(below)));
    let (device, network) = (parts::device(&mut fields), parts::network(&mut fields));
    let (base_device, base_network) = base.unwrap_or_default();
    if let (Some(candidate), Some(baseline)) = (candidate, baseline)
        && candidate <= baseline
    {
        let what = format!("release {candidate} is not above the baseline {baseline}");
        fields.problem_at("candidate", what, "a candidate is a newer release; going back is `rollout rollback`");
    }
    if let Some(preset) = preset
        && let Some(needed) = preset.needs_ab_for
    {
        let concerned = kind.as_deref() == Some(needed);
        if concerned && own_stages && !stages.iter().any(|stage| matches!(stage, Stage::Ab { .. })) {
            let what = format!("the preset {} asks for an A/B stage for models of kind {needed}", preset.name);
            fields.problem_at("stages", what, "add `- ab: {percent: .., max: .., metric: .., minimum_effect: ..}`");
        }
        if !concerned && !own_stages {
            stages.retain(|stage| !matches!(stage, Stage::Ab { .. }));
        }
    }
    check_ladder(&mut fields, &stages);
    for guardrail in &guardrails {
        if guardrail.metric != CRASH_RATE && matches!(guardrail.limit, Limit::Ratio(ratio) if ratio <= 1.0) {
            fields.problem_at(
                "guardrails",
                format!("{}: a ratio of 1 or less fires without a fault", guardrail.metric),
                "for example 1.2",
            );
        }
    }
    fields.finish();
    Some(Policy {
        rollout: rollout?,
        model: model?,
        kind,
        preset: preset.map(|preset| preset.name.into()),
        candidate: candidate?,
        baseline: baseline?,
        selectors,
        stages,
        guardrails,
        device: parts::device_over(device, base_device),
        network: parts::network_over(network, base_network),
    })
}

/// Stages that follow one another sensibly: the candidate never gets fewer devices, and full is the end.
fn check_ladder(fields: &mut Fields<'_>, stages: &[Stage]) {
    if stages.is_empty() {
        fields.problem_at("stages", "there is no stage".into(), "at least `- full: {ramp: [100], step: 1h}`");
    }
    let mut before = 0;
    for (index, stage) in stages.iter().enumerate() {
        // A ramp rises by itself: its first share counts.
        let exposed = match stage {
            Stage::Full { ramp_bp, .. } => ramp_bp.first().copied().unwrap_or(10_000),
            other => other.exposed_bp(),
        };
        if exposed == 0 && !matches!(stage, Stage::Shadow { .. }) {
            let what = format!("stage {} ({}) exposes less than 0.01% of the devices", index + 1, stage.name());
            fields.problem_at("stages", what, "a larger percent, or a more even split");
        }
        if exposed > 0 && exposed < before {
            let what = format!("stage {} ({}) exposes fewer devices than the one before", index + 1, stage.name());
            fields.problem_at("stages", what, "widening never takes a device back; order the stages by their share");
        }
        before = before.max(exposed);
        if matches!(stage, Stage::Full { .. }) && index + 1 < stages.len() {
            fields.problem_at("stages", "something follows full".into(), "full is the last stage");
        }
    }
    if stages.last().is_some_and(|stage| !matches!(stage, Stage::Full { .. })) {
        fields.problem_at("stages", "the last stage is not full".into(), "end with `- full: {ramp: [100], step: 1d}`");
    }
}
