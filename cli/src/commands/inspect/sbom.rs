//! The bill of materials of a bundle: CycloneDX 1.6, JSON. The model is one component with its hash; what it was made from and
//! with are others. The same bundle gives the same bytes.

use serde_json::{Value, json};

use super::Facts;

pub(super) fn sbom(facts: &Facts<'_>) -> Value {
    let info = facts.info;
    let model = format!("pkg:generic/{}@{}", info.model, info.version);
    let property = |name: &str, value: String| json!({ "name": format!("fleetfoot:{name}"), "value": value });
    let mut components = vec![];
    let mut from = Vec::new();
    if let Some((made, quantized)) = &facts.provenance {
        components.push(json!({
            "type": "machine-learning-model", "bom-ref": "source", "name": format!("{} source", info.model),
            "description": format!("the {} file that the bundle was made from", made.source_format),
            "hashes": [{ "alg": "SHA-256", "content": fleetfoot::hex(&made.source_sha256) }],
        }));
        from.push("source");
        if let Some(quantized) = quantized {
            components.push(json!({
                "type": "data", "bom-ref": "calibration", "name": "calibration data",
                "data": [{ "type": "dataset", "name": "samples as float32 one after another" }],
                "hashes": [{ "alg": "SHA-256", "content": fleetfoot::hex(&quantized.data_sha256) }],
            }));
            from.push("calibration");
        }
    }
    let mut properties = vec![
        property("release", info.number.to_string()),
        property("min_runtime", format!("{}.{}", info.min_runtime.0, info.min_runtime.1)),
        property("target", info.target.clone()),
        property("arena_bytes", facts.arena_bytes.to_string()),
        property("macs", facts.layers.iter().map(|l| l.2).sum::<u64>().to_string()),
    ];
    if let Some((_, Some(quantized))) = &facts.provenance {
        properties.push(property("config", quantized.config.to_owned()));
    }
    properties
        .extend(facts.signers.iter().filter(|(_, signed)| *signed).map(|(key, _)| property("signed_by", key.clone())));
    let port = |(what, _, tensor): &&(&str, String, fleetfoot::engine::Tensor), wanted: &str| {
        (*what == wanted).then(|| json!({ "format": format!("{}{:?}", tensor.dtype.name(), tensor.dims.as_slice()) }))
    };
    let ports = |wanted: &str| facts.tensors.iter().filter_map(|t| port(&t, wanted)).collect::<Vec<_>>();
    let tools: Vec<Value> = facts
        .provenance
        .iter()
        .map(|(made, _)| {
            let (name, version) = made.tool.split_once(' ').unwrap_or((made.tool, ""));
            json!({ "type": "application", "name": name, "version": version })
        })
        .collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1,
        "metadata": {
            "tools": { "components": tools },
            "component": {
                "type": "machine-learning-model", "bom-ref": model, "name": info.model, "version": info.version, "purl": model,
                "hashes": [{ "alg": "SHA-256", "content": facts.digest }],
                "modelCard": { "modelParameters": {
                    "approach": { "type": "supervised" },
                    "inputs": ports("input"), "outputs": ports("output"),
                } },
                "properties": properties,
            },
        },
        "components": components,
        "dependencies": [{ "ref": model, "dependsOn": from }],
    })
}
