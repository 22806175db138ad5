//! The JSON Schema of policies says what the reader reads: the same members in every place, the same needed ones, the same presets.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use fleetfoot_rollout::{POLICY_SCHEMA, presets, read};
use serde_json::{Map, Value};

/// A policy with something of everything. `?` stands where a member can be put in.
const WHOLE: &str = "
rollout: a
model: m
candidate: 2
baseline: 1
stages:
  - shadow: {percent: 5, bake: 24h SHADOW}
  - canary: {percent: 1, bake: 24h CANARY}
  - ab: {percent: 20, max: 14d, metric: clicks, minimum_effect: 1% AB}
  - full: {ramp: [100], step: 12h FULL}
guardrails:
  - {metric: errors, action: hold, worse_by: 1% GUARDRAIL}
device: {keep: 5 DEVICE}
network: {poll: 4h NETWORK}
POLICY
";

/// Where the members of each place are in the schema.
const PLACES: [(&str, &str); 8] = [
    ("SHADOW", "/$defs/shadow"),
    ("CANARY", "/$defs/canary"),
    ("AB", "/$defs/ab"),
    ("FULL", "/$defs/full"),
    ("GUARDRAIL", "/$defs/guardrail"),
    ("DEVICE", "/properties/device"),
    ("NETWORK", "/properties/network"),
    ("POLICY", ""),
];

fn with(place: &str, text: &str) -> String {
    PLACES.iter().fold(WHOLE.to_owned(), |whole, (name, _)| whole.replace(name, if *name == place { text } else { "" }))
}

fn members(schema: &Value, at: &str) -> Map<String, Value> {
    schema.pointer(at).unwrap()["properties"].as_object().unwrap().clone()
}

#[test]
fn the_members_are_those_that_the_reader_knows() {
    let schema: Value = serde_json::from_str(POLICY_SCHEMA).unwrap();
    assert_eq!(read::policy(&with("", "")).map(|policy| policy.stages.len()), Ok(4));
    for (place, at) in PLACES {
        let unknown = if place == "POLICY" { "quetzalcoatlus: 1" } else { ", quetzalcoatlus: 1" };
        let problems = read::policy(&with(place, unknown)).unwrap_err();
        let known = problems.iter().find_map(|problem| problem.hint.strip_prefix("known are ")).unwrap();
        let known: BTreeSet<&str> = known.split(", ").collect();
        let described = members(&schema, at);
        let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(described, known, "{place}");
        assert_eq!(schema.pointer(at).unwrap()["additionalProperties"], false, "{place}");
    }
}

/// Without a member that the schema asks for the reader has a problem, and without any other it has none.
#[test]
fn the_needed_members_are_needed() {
    let schema: Value = serde_json::from_str(POLICY_SCHEMA).unwrap();
    let lines: [(&str, &str, &[&str]); 6] = [
        ("/$defs/shadow", "shadow", &["percent: 5", "bake: 24h", "min_reports: 10", "agreement: 0.9"]),
        ("/$defs/canary", "canary", &["percent: 1", "bake: 24h"]),
        ("/$defs/ab", "ab", &["percent: 20", "max: 14d", "metric: clicks", "minimum_effect: 1%", "split: [50, 50]"]),
        ("/$defs/full", "full", &["ramp: [50, 100]", "step: 12h"]),
        ("/$defs/guardrail", "", &["metric: errors", "action: hold", "look: 6h"]),
        ("", "policy", &["rollout: a", "model: m", "candidate: 2", "baseline: 1", "kind: x"]),
    ];
    for (at, stage, all) in lines {
        let needed = schema.pointer(at).unwrap()["required"].as_array().unwrap().clone();
        for left_out in 0..=all.len() {
            let some: Vec<&str> =
                all.iter().enumerate().filter(|(i, _)| *i != left_out).map(|(_, line)| *line).collect();
            let own = some.join(", ");
            let head = "rollout: a\nmodel: m\ncandidate: 2\nbaseline: 1\n";
            let text = match stage {
                "policy" => format!("{}\nstages:\n  - full: {{ramp: [100], step: 1d}}\n", some.join("\n")),
                "" => format!(
                    "{head}stages:\n  - full: {{ramp: [100], step: 1d}}\nguardrails:\n  - {{{own}, worse_by: 1%}}\n"
                ),
                "full" => format!("{head}stages:\n  - full: {{{own}}}\n"),
                stage => format!("{head}stages:\n  - {stage}: {{{own}}}\n  - full: {{ramp: [100], step: 1d}}\n"),
            };
            let name = all.get(left_out).map(|line| line.split(':').next().unwrap());
            let is_needed = name.is_some_and(|name| needed.iter().any(|needed| needed == name));
            assert_eq!(
                read::policy(&text).is_err(),
                is_needed,
                "{stage} without {name:?}: {:?}",
                read::policy(&text).err()
            );
        }
    }
}

#[test]
fn the_presets_are_all_there() {
    let schema: Value = serde_json::from_str(POLICY_SCHEMA).unwrap();
    let described = schema["properties"]["preset"]["enum"].as_array().unwrap().clone();
    assert_eq!(described, presets::ALL.iter().map(|preset| Value::from(preset.name)).collect::<Vec<_>>());
}
