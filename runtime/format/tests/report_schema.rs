//! What a device may say of itself, field by field. Whoever adds one reads this first.
//!
//! A report must not tell devices, people or places apart: no id, no address, no text of the application, no input, no output, and
//! no number so fine that it is as good as a name. A new field needs a line here, one in `docs/formats.md`, and a reason.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use fleetfoot_format::report::{Counts, Metric, Report, SparseHistogram, TensorDrift};
use serde_json::Value;

/// Every leaf of a report and why it is harmless.
const FIELDS: &[(&str, &str)] = &[
    ("day", "a day, not a time"),
    ("part", "an hour of it at most"),
    ("rollout", "the same for all devices in it"),
    ("arm", "the same for all devices in it"),
    ("bundle", "the same for all devices that run it"),
    ("hardware", "a class; a receiver shows none with fewer than 20 devices"),
    ("runtime", "a version"),
    ("state", "one of eight"),
    ("reason", "a number of docs/errors.md"),
    ("counts.inferences", "a count"),
    ("counts.errors", "counts"),
    ("counts.fallbacks", "a count"),
    ("counts.shadow", "a count"),
    ("counts.agree", "a count"),
    ("counts.nan", "a count"),
    ("counts.out_of_range", "a count"),
    ("counts.constant", "a count"),
    ("latency.steps", "counts by duration"),
    ("metrics.id", "one of four"),
    ("metrics.n", "a count"),
    ("metrics.sum", "a sum over a part of a day; the application decides what it measures"),
    ("metrics.sum_squares", "the same"),
    ("drift.output", "a bit"),
    ("drift.index", "a small number"),
    ("drift.milli", "one number for all values of a day"),
    ("golden", "the same for all devices that answer right"),
    ("nonce", "random, and another one every day"),
];

#[test]
fn no_field_is_added_without_thought() {
    let mut latency = SparseHistogram::default();
    latency.push(1, 1);
    let report = Report {
        counts: Counts { inferences: 1, ..Counts::default() },
        latency,
        metrics: [Metric::default()].into_iter().collect(),
        drift: [TensorDrift::default()].into_iter().collect(),
        ..Report::default()
    };
    let mut found = BTreeSet::new();
    leaves("", &serde_json::to_value(&report).unwrap(), &mut found);
    let listed: BTreeSet<String> = FIELDS.iter().map(|(name, _)| (*name).to_string()).collect();
    assert_eq!(found, listed, "see the head of this file");
    assert!(FIELDS.iter().all(|(_, why)| !why.is_empty()));
}

/// Only the two names are text, and they are short and of few letters, so that nothing else fits in.
#[test]
fn texts_are_names_of_groups() {
    let value = serde_json::to_value(Report::default()).unwrap();
    let texts: Vec<&String> =
        value.as_object().unwrap().iter().filter(|(_, v)| v.as_str() == Some("")).map(|(k, _)| k).collect();
    assert_eq!(texts, ["hardware", "rollout"]);
    for bad in ["Jane's phone", "192.168.0.1:80", "user@example.org", "UPPER", "a/b"] {
        let report = Report { hardware: bad.try_into().unwrap(), ..Report::default() };
        assert_eq!(report.encode(false, &mut [0; 1536]).unwrap_err().code(), 111, "{bad}");
    }
}

fn leaves(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(&path, value, found);
            }
        }
        Value::Array(list) if list.first().is_some_and(Value::is_object) => {
            list.iter().for_each(|value| leaves(path, value, found));
        }
        _ => _ = found.insert(path.into()),
    }
}
