//! Writes the JSON of `ff_status_json`. It is small and its shape is fixed, so it is written by hand; a test reads it with a real parser.

use std::fmt::Write as _;

use fleetfoot::{
    agent::{Role, Serving, VersionInfo},
    format::record::{Candidate, Phase},
    hex,
};

/// Text in quotes.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The members of a version, without the braces.
fn version(v: &VersionInfo) -> String {
    format!("\"version\":{},\"number\":{},\"sha256\":\"{}\"", quoted(&v.version), v.number, hex(&v.sha256))
}

/// What is known of one model.
pub(crate) fn model(
    name: &str,
    serving: Option<&Serving>,
    candidate: Option<&Candidate>,
    versions: &[(VersionInfo, Role)],
) -> String {
    let serving = serving.map_or("null".into(), |s| format!("{{{},\"trial\":{}}}", version(&s.version), s.trial));
    let phase = candidate.map_or("null".into(), |candidate| {
        let (phase, code) = match candidate.phase {
            Phase::Writing { .. } => ("fetching", 0),
            Phase::Ready => ("fetched", 0),
            Phase::Validated => ("staged", 0),
            Phase::Shadow { .. } => ("shadow", 0),
            Phase::Trial { .. } => ("trial", 0),
            Phase::Deferred { reason, .. } => ("deferred", reason.0),
        };
        format!("{{\"phase\":\"{phase}\",\"code\":{code},\"attempts_left\":{}}}", candidate.attempts_left)
    });
    let role = |role: Role| match role {
        Role::Active => "active",
        Role::LastGood => "last_good",
        Role::Kept => "kept",
        Role::Factory => "factory",
        Role::Candidate => "candidate",
        _ => "other",
    };
    let versions: Vec<_> =
        versions.iter().map(|(v, r)| format!("{{{},\"role\":\"{}\"}}", version(v), role(*r))).collect();
    let versions = versions.join(",");
    format!("{{\"name\":{},\"serving\":{serving},\"candidate\":{phase},\"versions\":[{versions}]}}", quoted(name))
}

#[cfg(test)]
mod tests {
    #[test]
    fn text_in_quotes_is_what_a_parser_reads() {
        for text in ["", "kws", "a\"b\\c\n\u{1}\u{7f}é🦶"] {
            let back: String = serde_json::from_str(&super::quoted(text)).unwrap();
            assert_eq!(back, text);
        }
    }
}
