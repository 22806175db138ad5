//! The parts of a policy: selectors, stages, guardrails, device, network.

use std::collections::BTreeMap;

use fleetfoot_settings::{Node, Value};
use fleetfoot_update::directive::{DeviceLimits, MAX_SELECTORS, MAX_VALUES, Network};

use super::fields::{Fields, Kinds as _};
use crate::{
    gates::{CRASH_RATE, CRASH_RATIO},
    policy::{Action, Guardrail, Limit, Stage},
    units,
};

pub(super) fn selectors(fields: &mut Fields<'_>) -> BTreeMap<String, Vec<String>> {
    let mut selectors = BTreeMap::new();
    let Some(mut inner) = fields.inner("match") else { return selectors };
    let entries = inner.entries();
    if entries.len() > MAX_SELECTORS {
        inner.problem_at(
            "",
            format!("{} selectors, devices take {MAX_SELECTORS}", entries.len()),
            "join values of one fact in a list",
        );
    }
    for (key, node) in entries {
        let values: Result<Vec<String>, _> = match &node.value {
            Value::List(list) if !list.is_empty() && list.len() <= MAX_VALUES => {
                list.iter().map(Fields::text_of).collect()
            }
            Value::Text(_) => Fields::text_of(node).map(|value| vec![value]),
            _ => Err("a value"),
        };
        match values {
            Ok(values) => drop(selectors.insert(key.into(), values)),
            Err(_) => inner.problem(
                node,
                key,
                format!("1 to {MAX_VALUES} values were expected"),
                "a list: [linux-arm64, cortex-m4f]",
            ),
        }
    }
    selectors
}

pub(super) fn stages(fields: &mut Fields<'_>) -> Vec<Stage> {
    let mut stages = Vec::new();
    for (node, path) in fields.list("stages") {
        let hint = "one of shadow, canary, ab, full, each with its settings: `- canary: {percent: 1, bake: 24h}`";
        let Some((name, inner)) = only_member(node) else {
            fields.problem(node, &path, "a stage was expected".into(), hint);
            continue;
        };
        let path = format!("{path}.{name}");
        let found = match name {
            "shadow" => fields.element(inner, &path).map(shadow),
            "canary" => fields.element(inner, &path).map(canary),
            "ab" => fields.element(inner, &path).map(ab),
            "full" => fields.element(inner, &path).map(full),
            other => {
                fields.problem(node, &path, format!("'{other}' is no stage"), hint);
                None
            }
        };
        stages.extend(found.flatten());
    }
    stages
}

fn only_member(node: &Node) -> Option<(&str, &Node)> {
    match &node.value {
        Value::Map(map) => match map.as_slice() {
            [(name, inner)] => Some((name, inner)),
            _ => None,
        },
        _ => None,
    }
}

const PERCENT: &str = "the share of the devices: `percent: 1`";
const BAKE: &str = "how long at least: `bake: 24h`";

fn shadow(mut fields: Fields<'_>) -> Option<Stage> {
    let percent_bp = fields.required("percent", Fields::share_of, PERCENT);
    let bake_s = fields.required("bake", Fields::stage_time_of, BAKE);
    let min_reports = fields.optional("min_reports", Fields::whole_of).map_or(1000, |(n, _)| n);
    let agreement = fields.optional("agreement", Fields::agreement_of).map_or(0.9, |(share, _)| share);
    fields.finish();
    Some(Stage::Shadow { percent_bp: percent_bp?, bake_s: bake_s?, min_reports, agreement })
}

fn canary(mut fields: Fields<'_>) -> Option<Stage> {
    let percent_bp = fields.required("percent", Fields::share_of, PERCENT);
    let bake_s = fields.required("bake", Fields::stage_time_of, BAKE);
    if percent_bp.is_some_and(|bp| bp > 4950) {
        fields.problem_at(
            "percent",
            "a canary of more than 49.5% leaves no equal control".into(),
            "a larger share is `ab` or `full`",
        );
    }
    fields.finish();
    Some(Stage::Canary { percent_bp: percent_bp?, bake_s: bake_s? })
}

fn ab(mut fields: Fields<'_>) -> Option<Stage> {
    let percent_bp = fields.required("percent", Fields::share_of, PERCENT);
    let max_s = fields.required("max", Fields::stage_time_of, "the longest time: `max: 14d`");
    let metric = fields.name("metric");
    let minimum_effect = fields.required(
        "minimum_effect",
        Fields::percent_of,
        "the smallest improvement that is worth a change: `minimum_effect: 1%`",
    );
    let parts = fields.list("split");
    let split = match parts.as_slice() {
        [] => Some((50, 50)),
        [(a, _), (b, _)] => Fields::whole_of(a).ok().zip(Fields::whole_of(b).ok()).and_then(|(a, b)| {
            Some((u16::try_from(a).ok()?, u16::try_from(b).ok()?)).filter(|&(a, b)| a > 0 && b > 0 && a + b <= 10_000)
        }),
        _ => None,
    };
    if metric
        .as_deref()
        .is_some_and(|metric| metric.ends_with("_rate") && NOT_BETTER.contains(&metric) || metric == "latency_ms")
    {
        fields.problem_at(
            "metric",
            "of this metric less is better".into(),
            "compare what people do, and watch this one with a guardrail",
        );
    }
    if split.is_none() {
        fields.problem_at("split", "two whole numbers above 0 were expected".into(), "treatment and control: [50, 50]");
    }
    fields.finish();
    Some(Stage::Ab {
        percent_bp: percent_bp?,
        split: split?,
        max_s: max_s?,
        metric: metric?,
        minimum_effect: minimum_effect?,
    })
}

/// Rates of which more is never better.
const NOT_BETTER: [&str; 4] = ["error_rate", "crash_rate", "fallback_rate", "complaint_rate"];

fn full(mut fields: Fields<'_>) -> Option<Stage> {
    let step_s = fields.required("step", Fields::stage_time_of, "how long each share lasts: `step: 12h`");
    let mut ramp_bp = Vec::new();
    for (node, path) in fields.list("ramp") {
        match Fields::share_of(node) {
            Ok(bp) if ramp_bp.last().is_none_or(|last| *last < bp) => ramp_bp.push(bp),
            Ok(_) => fields.problem(node, &path, "a ramp only rises".into(), "each share above the one before"),
            Err(hint) => fields.problem(node, &path, format!("{} is not understood", node.kind()), hint),
        }
    }
    if ramp_bp.last() != Some(&10_000) {
        fields.problem_at("ramp", "a full rollout ends at 100".into(), "for example [50, 100]");
    }
    fields.finish();
    Some(Stage::Full { ramp_bp, step_s: step_s? })
}

pub(super) fn guardrails(fields: &mut Fields<'_>) -> Vec<Guardrail> {
    let mut guardrails: Vec<Guardrail> = Vec::new();
    for (node, path) in fields.list("guardrails") {
        let Some(inner) = fields.element(node, &path) else { continue };
        if let Some(guardrail) = read_guardrail(inner) {
            let same = |g: &Guardrail| {
                g.metric == guardrail.metric
                    && std::mem::discriminant(&g.limit) == std::mem::discriminant(&guardrail.limit)
            };
            if guardrails.iter().any(same) {
                fields.problem(
                    node,
                    &path,
                    format!("{} is watched twice in the same way", guardrail.metric),
                    "keep the stricter one",
                );
            }
            guardrails.push(guardrail);
        }
    }
    guardrails
}

fn read_guardrail(mut fields: Fields<'_>) -> Option<Guardrail> {
    let metric = fields.name("metric");
    let limits = [
        fields.optional("worse_by", Fields::share_of_one).map(|(value, _)| Limit::WorseBy(value)),
        fields.optional("ratio", Fields::number_of).map(|(value, _)| Limit::Ratio(value)),
        fields.optional("drop", Fields::share_of_one).map(|(value, _)| Limit::Drop(value)),
        fields
            .optional("above", |node| Fields::number_of(node).or_else(|_| Fields::percent_of(node)))
            .map(|(value, _)| Limit::Above(value)),
    ];
    let crashes = metric.as_deref() == Some(CRASH_RATE);
    let limit = match limits.into_iter().flatten().collect::<Vec<_>>().as_slice() {
        [] if crashes => Some(Limit::Ratio(CRASH_RATIO)),
        _ if crashes => {
            let what = "crashes are counted against those of the control; they have no other limit".into();
            fields.problem_at("metric", what, "only `{metric: crash_rate, action: rollback}`");
            None
        }
        [limit] => Some(*limit),
        _ => {
            fields.problem_at(
                "metric",
                "exactly one of worse_by, ratio, drop, above is needed".into(),
                "for example `worse_by: 0.1%`",
            );
            None
        }
    };
    let action = fields.required(
        "action",
        |node| match Fields::text_of(node).as_deref() {
            Ok("hold") => Ok(Action::Hold),
            Ok("halt") => Ok(Action::Halt),
            Ok("rollback") => Ok(Action::Rollback),
            _ => Err("hold, halt or rollback"),
        },
        "hold, halt or rollback",
    );
    let look = |node: &Node| {
        Fields::duration_of(node)
            .ok()
            .filter(|s| (3600..=86_400).contains(s))
            .ok_or("from 1h to 24h: reports come hourly at most")
    };
    let look_s = fields.optional("look", look).map_or(86_400, |(s, _)| s);
    fields.finish();
    Some(Guardrail { metric: metric?, limit: limit?, action: action?, look_s })
}

pub(super) fn device(fields: &mut Fields<'_>) -> DeviceLimits {
    let Some(mut inner) = fields.inner("device") else { return DeviceLimits::default() };
    let small = |most: u64, hint: &'static str| {
        move |node: &Node| Fields::whole_of(node).ok().filter(|n| (1..=most).contains(n)).ok_or(hint)
    };
    let limits = DeviceLimits {
        attempts: inner.optional("attempts", small(5, "1 to 5")).and_then(|(n, _)| u8::try_from(n).ok()),
        health_window_s: inner.optional("health_window", seconds).map(|(s, _)| s),
        min_inferences: inner
            .optional("min_inferences", small(1 << 31, "a whole number above 0"))
            .and_then(|(n, _)| u32::try_from(n).ok()),
        keep: inner.optional("keep", small(5, "1 to 5 versions")).and_then(|(n, _)| u8::try_from(n).ok()),
    };
    inner.finish();
    limits
}

pub(super) fn network(fields: &mut Fields<'_>) -> Network {
    let Some(mut inner) = fields.inner("network") else { return Network::default() };
    let window = |node: &Node| {
        let hint = "two times of the local day: \"01:00-05:00\"";
        Fields::text_of(node).ok().and_then(|text| units::window(&text)).ok_or(hint)
    };
    let network = Network {
        poll_s: inner.optional("poll", seconds).map(|(s, _)| s),
        poll_active_s: inner.optional("poll_active", seconds).map(|(s, _)| s),
        apply_jitter_s: inner.optional("apply_jitter", seconds).map(|(s, _)| s),
        metered: inner.optional("metered", Fields::flag_of).map(|(flag, _)| flag),
        window: inner.optional("window", window).map(|(window, _)| window),
    };
    inner.finish();
    network
}

fn seconds(node: &Node) -> Result<u32, &'static str> {
    let most = 90 * 86_400;
    Fields::duration_of(node)?.try_into().ok().filter(|s| (1..=most).contains(s)).ok_or("from 1s to 90d")
}

pub(super) fn device_over(own: DeviceLimits, base: DeviceLimits) -> DeviceLimits {
    DeviceLimits {
        attempts: own.attempts.or(base.attempts),
        health_window_s: own.health_window_s.or(base.health_window_s),
        min_inferences: own.min_inferences.or(base.min_inferences),
        keep: own.keep.or(base.keep),
    }
}

pub(super) fn network_over(own: Network, base: Network) -> Network {
    Network {
        poll_s: own.poll_s.or(base.poll_s),
        poll_active_s: own.poll_active_s.or(base.poll_active_s),
        apply_jitter_s: own.apply_jitter_s.or(base.apply_jitter_s),
        metered: own.metered.or(base.metered),
        window: own.window.or(base.window),
    }
}
