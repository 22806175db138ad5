//! The check `direction`: dependencies point down.
//!
//! [`ALLOWED`] says for each crate which of our crates it may name, top of the tree first. An edge that is not in the
//! table is a decision: it belongs into `ARCHITECTURE.md` first. [`FENCED`] names crates of others that only some may use.
//! Dependencies of tests are free: a test may look at everything.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::shell::{Cmd, Result, Tree};

const ALLOWED: &[(&str, &[&str])] = &[
    (
        "fleetfoot-cli",
        &[
            "fleetfoot",
            "fleetfoot-config",
            "fleetfoot-format",
            "fleetfoot-import",
            "fleetfoot-plan",
            "fleetfoot-quantize",
            "fleetfoot-repository",
            "fleetfoot-rollout",
            "fleetfoot-server",
            "fleetfoot-trust",
        ],
    ),
    // The C interface for the Java virtual machine.
    ("fleetfoot-jni", &["fleetfoot-ffi"]),
    // The C interface: what the facade can do, and nothing more.
    ("fleetfoot-ffi", &["fleetfoot"]),
    (
        "fleetfoot-server",
        &["fleetfoot-repository", "fleetfoot-rollout", "fleetfoot-health", "fleetfoot-trust", "fleetfoot-format"],
    ),
    // Its simulator runs the device's state machine.
    ("fleetfoot-rollout", &["fleetfoot-settings", "fleetfoot-update", "fleetfoot-format"]),
    ("fleetfoot-repository", &["fleetfoot-tuf", "fleetfoot-update", "fleetfoot-trust", "fleetfoot-format"]),
    (
        // It signs, and it runs its own output before it hands it over.
        "fleetfoot-quantize",
        &[
            "fleetfoot-import",
            "fleetfoot-plan",
            "fleetfoot-preprocess",
            "fleetfoot-engine",
            "fleetfoot-kernels",
            "fleetfoot-health",
            "fleetfoot-trust",
            "fleetfoot-format",
        ],
    ),
    ("fleetfoot-import", &["fleetfoot-plan", "fleetfoot-format"]),
    // bundle.yaml: settings into sections.
    ("fleetfoot-config", &["fleetfoot-settings", "fleetfoot-format"]),
    // Shows the client to the public conformance suite; no device has it.
    ("fleetfoot-tuf-client", &["fleetfoot", "fleetfoot-tuf", "fleetfoot-trust"]),
    (
        "fleetfoot",
        &[
            "fleetfoot-engine",
            "fleetfoot-plan",
            "fleetfoot-preprocess",
            "fleetfoot-tuf",
            "fleetfoot-update",
            "fleetfoot-health",
            "fleetfoot-trust",
            "fleetfoot-kernels",
            "fleetfoot-format",
        ],
    ),
    // It reads the words that `update` decides upon: envelopes and directives.
    ("fleetfoot-tuf", &["fleetfoot-update", "fleetfoot-trust", "fleetfoot-format"]),
    ("fleetfoot-update", &["fleetfoot-trust", "fleetfoot-format"]),
    ("fleetfoot-engine", &["fleetfoot-kernels", "fleetfoot-format"]),
    ("fleetfoot-plan", &["fleetfoot-kernels", "fleetfoot-format"]),
    ("fleetfoot-health", &["fleetfoot-format"]),
    ("fleetfoot-preprocess", &["fleetfoot-format"]),
    // What people write as YAML; it knows nothing of what it is about.
    ("fleetfoot-settings", &[]),
    ("fleetfoot-trust", &["fleetfoot-format"]),
    ("fleetfoot-kernels", &[]),
    ("fleetfoot-format", &[]),
    // Only tests and tasks: nothing of ours above or below them.
    ("fleetfoot-tests", &["*"]),
    ("fleetfoot-benches", &["*"]),
    ("xtask", &[]),
];

/// A foreign crate and the only crates of ours that may use it.
const FENCED: &[(&str, &[&str])] = &[
    ("tokio", &["fleetfoot-server", "fleetfoot-repository", "fleetfoot-tests"]),
    ("axum", &["fleetfoot-server", "fleetfoot-tests"]),
    (
        "serde_json",
        &[
            "fleetfoot-cli",
            "fleetfoot-server",
            "fleetfoot-repository",
            "fleetfoot-quantize",
            "fleetfoot-tuf",
            "fleetfoot-tests",
            "xtask",
        ],
    ),
    ("ed25519-dalek", &["fleetfoot-trust"]),
    // Optional there: the feature `conformance`, which nothing may turn on.
    ("ring", &["fleetfoot-trust"]),
    // The float reference and the format of ONNX files: on no device.
    ("tract-onnx", &["fleetfoot-quantize"]),
    ("prost", &["fleetfoot-import"]),
    // Of the program: the client of /v1.
    ("ureq", &["fleetfoot", "fleetfoot-cli", "fleetfoot-tests"]),
    ("rusqlite", &["fleetfoot-server"]),
    ("utoipa", &["fleetfoot-server"]),
];

pub(crate) fn check(tree: &Tree) -> Result {
    let text = Cmd::cargo(tree, ["metadata", "--no-deps", "--format-version=1"]).read()?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))?;
    let faults = faults(&metadata);
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(format!("{} edges are not allowed", faults.len())) }
}

/// Every edge of `cargo metadata --no-deps` that the tables do not allow.
fn faults(metadata: &Value) -> Vec<String> {
    let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = ALLOWED.iter().find(|(from, _)| *from == name) else {
            faults.push(format!("{name}: not in the table of xtask/src/direction.rs"));
            continue;
        };
        let dependencies = package["dependencies"].as_array().into_iter().flatten();
        for dependency in dependencies.filter(|dependency| dependency["kind"] != "dev") {
            let to = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(to) && !allowed.contains(&to) && !allowed.contains(&"*") {
                faults.push(format!("{name} -> {to}: not allowed"));
            }
            let asked = dependency["features"].as_array().into_iter().flatten();
            if asked.filter_map(Value::as_str).any(|feature| feature == CONFORMANCE) {
                faults.push(format!("{name} -> {to}: turns the feature {CONFORMANCE} on"));
            }
            if let Some((_, users)) = FENCED.iter().find(|(crate_name, _)| *crate_name == to)
                && !users.contains(&name)
            {
                faults.push(format!("{name} -> {to}: only for {}", users.join(", ")));
            }
        }
        // A feature that leads to other types of keys is named as it is, and nobody has it by default.
        for (feature, leads_to) in package["features"].as_object().into_iter().flatten() {
            let leads_to = leads_to.as_array().into_iter().flatten().filter_map(Value::as_str);
            let is_it = |to: &str| to == CONFORMANCE || to.ends_with("/conformance") || to == "dep:ring";
            if feature != CONFORMANCE && leads_to.into_iter().any(is_it) {
                faults.push(format!("{name}: its feature {feature} turns the feature {CONFORMANCE} on"));
            }
        }
    }
    faults
}

/// The feature that adds types of keys which no device has.
const CONFORMANCE: &str = "conformance";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ALLOWED, faults};

    fn check(name: &str, dependency: &str, kind: Option<&str>, n_faults: usize) {
        let metadata = json!({"packages": [
            {"name": name, "dependencies": [{"name": dependency, "kind": kind}]},
            {"name": "fleetfoot-engine", "dependencies": []},
            {"name": "fleetfoot-format", "dependencies": []},
        ]});
        assert_eq!(faults(&metadata).len(), n_faults, "{name} -> {dependency}");
    }

    #[test]
    fn edges() {
        check("fleetfoot-trust", "fleetfoot-format", None, 0);
        check("fleetfoot-trust", "fleetfoot-engine", None, 1);
        check("fleetfoot-trust", "fleetfoot-engine", Some("build"), 1);
        check("fleetfoot-trust", "fleetfoot-engine", Some("dev"), 0);
        check("fleetfoot-trust", "ed25519-dalek", None, 0);
        check("fleetfoot-update", "ed25519-dalek", None, 1);
        check("fleetfoot", "tokio", None, 1);
        check("fleetfoot-unheard-of", "serde", None, 1);
    }

    #[test]
    fn no_device_has_other_types_of_keys() {
        let check = |dependency_features: &[&str], features: serde_json::Value, n_faults| {
            let dependency = json!({"name": "fleetfoot-tuf", "kind": null, "features": dependency_features});
            let metadata = json!({"packages": [
                {"name": "fleetfoot", "dependencies": [dependency], "features": features},
                {"name": "fleetfoot-tuf", "dependencies": []},
            ]});
            assert_eq!(faults(&metadata).len(), n_faults, "{dependency_features:?} {features}");
        };
        check(&[], json!({}), 0);
        check(&["std"], json!({"default": ["net"], "conformance": ["fleetfoot-tuf/conformance"]}), 0);
        check(&["conformance"], json!({}), 1);
        check(&[], json!({"default": ["conformance"], "conformance": ["fleetfoot-tuf/conformance"]}), 1);
        check(&[], json!({"net": ["fleetfoot-tuf/conformance"]}), 1);
    }

    /// The table itself has no way back up: each crate only names crates that stand below it.
    #[test]
    fn the_table_points_down() {
        for (at, (from, allowed)) in ALLOWED.iter().enumerate() {
            for to in allowed.iter().filter(|to| **to != "*") {
                let below = ALLOWED.iter().position(|(name, _)| name == to);
                assert!(below.is_some_and(|below| below > at), "{from} -> {to}");
            }
        }
    }
}
