//! The model card of a bundle, in Markdown: what the bundle itself says, and which questions only its maker can answer.

use std::fmt::Write as _;

use super::Facts;

pub(super) fn card(facts: &Facts<'_>) -> String {
    let info = facts.info;
    let mut text = format!("# {} {}\n\n", info.model, info.version);
    let _ = writeln!(text, "Release {}, {} bytes, SHA-256 `{}`.\n", info.number, facts.bytes, facts.digest);
    text +=
        "## What goes in and comes out\n\n| | name | type | shape | scale | zero point |\n|---|---|---|---|---|---|\n";
    for (what, name, t) in &facts.tensors {
        let (name, shape) = (cell(name), t.dims.as_slice());
        let _ = writeln!(text, "| {what} | {name} | {} | {shape:?} | {} | {} |", t.dtype.name(), t.scale, t.zero_point);
    }
    if !facts.labels.is_empty() {
        let shown: Vec<String> = facts.labels.iter().take(20).map(|label| cell(label)).collect();
        let more = if facts.labels.len() > 20 { ", ..." } else { "" };
        let _ = writeln!(text, "\n{} labels: {}{more}", facts.labels.len(), shown.join(", "));
    }
    text += "\n## What it takes\n\n";
    let macs: u64 = facts.layers.iter().map(|layer| layer.2).sum();
    let limit = |value: Option<u32>, unit: &str| value.map_or("none".into(), |v| format!("{v} {unit}"));
    let _ = writeln!(text, "- {} steps, {macs} multiply-accumulates, all in int8", facts.layers.len());
    let _ = writeln!(text, "- {} bytes of working memory ({})", facts.arena_bytes, facts.isa);
    let _ = writeln!(
        text,
        "- budget: {} of memory, 99% of the inferences in {}",
        limit(info.budget.arena_bytes, "bytes"),
        limit(info.budget.p99_us, "us")
    );
    let _ = writeln!(text, "- runtime {}.{} or later, target {}", info.min_runtime.0, info.min_runtime.1, info.target);
    text += "\n## Where it comes from\n\n";
    match &facts.provenance {
        Some((made, quantized)) => {
            let hash = fleetfoot::hex(&made.source_sha256);
            let _ =
                writeln!(text, "- made by {} from a {} file, SHA-256 `{hash}`", cell(made.tool), made.source_format);
            if let Some(q) = quantized {
                let _ = writeln!(text, "- quantized with samples of SHA-256 `{}`", fleetfoot::hex(&q.data_sha256));
                let _ = writeln!(text, "- configuration: `{}`", cell(q.config));
            }
        }
        None => text += "- the bundle does not say\n",
    }
    for (key, signed) in facts.signers {
        let _ = writeln!(text, "- {} `{key}`", if *signed { "signed by" } else { "not yet signed by" });
    }
    text += "\n## How it is watched\n\n";
    let _ = writeln!(text, "- {} golden cases run on every device before it serves", facts.golden_cases);
    let drift = if facts.has_baseline { "devices compare their data with" } else { "there is no" };
    let _ = writeln!(text, "- {drift} a drift baseline in the bundle");
    text += "\n## What only its maker can say\n\nThe bundle does not hold: what the model is meant for and what not, which data it was trained on, \
             for whom it works worse, and whom to ask.\n";
    text
}

/// Text of anybody in a line of Markdown.
fn cell(text: &str) -> String {
    let plain = text.replace('|', "\\|").replace('<', "&lt;");
    plain.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
