//! Envelopes and directives out of JSON. What they mean is in `fleetfoot_update`; here is only how they are spelled.
//!
//! ```text
//! releases-<model>   targets[..].custom = {salt, limits: [{not_before, max_bp, max_stage}], hardware, min_runtime, security_epoch, attempt, ..}
//! rollout-<model>    targets["rollouts/<model>/current.json"]: a document {rollout, model, candidate, baseline, stage, exposed_bp, ..}
//! ```
//! Every member that is known must be what it should be, within bounds; one that is not known is ignored, so that newer tools can say more
//! to newer devices. Only the name of a stage may be unknown: that keeps devices on the baseline. Errors are the name of the member at fault.

use alloc::{format, string::String};

use fleetfoot_format::limits::MAX_NAME_LEN;
use fleetfoot_update::{
    Envelope, Exposure, Stage,
    cohort::BUCKETS,
    directive::{DeviceLimits, Directive, Named, Network, Selector, Shadow, version_of},
    envelope::{Limit, MAX_SALT_LEN},
};
use serde_json::{Map, Value};

use crate::{hex, time};

/// The role that says what is rolled out of `model`.
#[must_use]
pub fn role(model: &str) -> String {
    format!("rollout-{model}")
}

/// The path of the target that says it.
#[must_use]
pub fn path(model: &str) -> String {
    format!("rollouts/{model}/current.json")
}

/// The envelope in the field `custom` of a release. A release without `salt` and without `limits` was signed for everybody at once.
///
/// # Errors
/// The name of the member at fault.
pub fn envelope(custom: &Value) -> Result<Envelope<'_>, &'static str> {
    let mut envelope = Envelope::everybody();
    if let Some(text) = custom.get("min_runtime") {
        envelope.min_runtime = text.as_str().and_then(version_of).ok_or("min_runtime")?;
    }
    envelope.security_epoch = number(custom, "security_epoch")?.unwrap_or(0);
    envelope.attempt = number(custom, "attempt")?.unwrap_or(1);
    if let Some(text) = custom.get("golden_sha256") {
        envelope.golden_sha256 = Some(text.as_str().and_then(hex::decode).ok_or("golden_sha256")?);
    }
    if let Some(list) = custom.get("hardware") {
        for entry in list.as_array().ok_or("hardware")? {
            envelope.hardware.push(short(entry).ok_or("hardware")?).map_err(|_| "hardware")?;
        }
    }
    match (custom.get("salt"), custom.get("limits")) {
        (None, None) => {}
        (salt, limits) => {
            let printable = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
            let salt = salt.and_then(Value::as_str).filter(|text| text.len() <= MAX_SALT_LEN).filter(printable);
            envelope.salt = salt.ok_or("salt")?;
            envelope.limits.clear();
            for entry in limits.and_then(Value::as_array).ok_or("limits")? {
                let limit = limit(entry).ok_or("limits")?;
                if envelope.limits.last().is_some_and(|before| before.not_before >= limit.not_before) {
                    return Err("limits");
                }
                envelope.limits.push(limit).map_err(|_| "limits")?;
            }
        }
    }
    Ok(envelope)
}

fn limit(entry: &Value) -> Option<Limit> {
    let not_before = time::parse(entry["not_before"].as_str()?)?;
    let max_bp = entry["max_bp"].as_u64().and_then(|bp| u16::try_from(bp).ok()).filter(|bp| *bp <= BUCKETS)?;
    let max_stage = Stage::parse(entry["max_stage"].as_str()?);
    max_stage.rank().map(|_| Limit { not_before, max_bp, max_stage })
}

/// The directive in `document`, which must be about `model`.
///
/// # Errors
/// The name of the member at fault.
pub fn directive<'a>(document: &'a Value, model: &str) -> Result<Directive<'a>, &'static str> {
    let text = |name: &'static str| document.get(name).and_then(short).ok_or(name);
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let rollout = text("rollout")?;
    if rollout.is_empty() || !rollout.bytes().all(is_plain) {
        return Err("rollout");
    }
    if text("model")? != model {
        return Err("model");
    }
    let candidate = named(&document["candidate"]).ok_or("candidate")?;
    let baseline = match document.get("baseline") {
        None => None,
        Some(entry) => Some(named(entry).filter(|b| b.sha256 != candidate.sha256).ok_or("baseline")?),
    };
    let exposed_bp: u16 = number(document, "exposed_bp")?.filter(|bp| *bp <= BUCKETS).ok_or("exposed_bp")?;
    let split = match document.get("split") {
        None => (1, 1),
        Some(entry) => split(entry).ok_or("split")?,
    };
    let mut selectors = heapless::Vec::new();
    for (key, entry) in members(document, "match")? {
        selectors.push(selector(key, entry).ok_or("match")?).map_err(|_| "match")?;
    }
    let exposure = Exposure { stage: Stage::parse(text("stage")?), exposed_bp, split };
    let (device, network, shadow) = (device(document)?, network(document)?, shadow(document)?);
    Ok(Directive { rollout, candidate, baseline, exposure, selectors, device, network, shadow })
}

fn named(entry: &Value) -> Option<Named> {
    Some(Named {
        number: entry["number"].as_u64()?,
        sha256: entry["sha256"].as_str().and_then(hex::decode)?,
        attempt: number(entry, "attempt").ok()?.unwrap_or(1),
    })
}

fn split(entry: &Value) -> Option<(u16, u16)> {
    let [treatment, control] = entry.as_array()?.as_slice() else { return None };
    let part = |value: &Value| u16::try_from(value.as_u64()?).ok();
    Some((part(treatment)?, part(control)?)).filter(|(treatment, control)| treatment | control != 0)
}

fn selector<'a>(key: &'a str, entry: &'a Value) -> Option<Selector<'a>> {
    let mut values = heapless::Vec::new();
    match entry {
        Value::Array(list) => {
            for value in list {
                values.push(short(value)?).ok()?;
            }
        }
        value => values.push(short(value)?).ok()?,
    }
    Some(Selector { key, values }).filter(|_| key.len() <= MAX_NAME_LEN)
}

fn device(document: &Value) -> Result<DeviceLimits, &'static str> {
    let of = section(document, "device")?;
    Ok(DeviceLimits {
        attempts: number(of, "attempts")?,
        health_window_s: number(of, "health_window_s")?,
        min_inferences: number(of, "min_inferences")?,
        keep: number(of, "keep")?,
    })
}

fn network(document: &Value) -> Result<Network, &'static str> {
    let of = section(document, "network")?;
    let metered = of.get("metered").map(|value| value.as_bool().ok_or("metered")).transpose()?;
    let window = of.get("window").map(|value| value.as_str().and_then(window).ok_or("window")).transpose()?;
    Ok(Network {
        poll_s: number(of, "poll_s")?,
        poll_active_s: number(of, "poll_active_s")?,
        apply_jitter_s: number(of, "apply_jitter_s")?,
        metered,
        window,
    })
}

/// `HH:MM-HH:MM` as minutes of the day.
fn window(text: &str) -> Option<(u16, u16)> {
    let minute = |text: &str| {
        let digits = |at: usize| text.get(at..at + 2)?.parse::<u16>().ok().filter(|_| !text[at..].starts_with('+'));
        let (hour, minute) = (digits(0)?, digits(3)?);
        (text.len() == 5 && text.as_bytes()[2] == b':' && hour < 24 && minute < 60).then_some(hour * 60 + minute)
    };
    let (from, to) = text.split_once('-')?;
    Some((minute(from)?, minute(to)?))
}

fn shadow(document: &Value) -> Result<Shadow, &'static str> {
    let of = section(document, "shadow")?;
    let share = |name: &'static str| match number::<u16>(of, name)? {
        Some(bp) if bp > BUCKETS => Err(name),
        bp => Ok(bp.unwrap_or(0)),
    };
    Ok(Shadow {
        share_bp: share("share_bp")?,
        agreement_bp: share("agreement_bp")?,
        min_compared: number(of, "min_compared")?.unwrap_or(0),
    })
}

/// The object under `name`, or `null`, which has no members.
fn section<'a>(document: &'a Value, name: &'static str) -> Result<&'a Value, &'static str> {
    match document.get(name) {
        None => Ok(&Value::Null),
        Some(entry) if entry.is_object() => Ok(entry),
        Some(_) => Err(name),
    }
}

fn members<'a>(
    document: &'a Value,
    name: &'static str,
) -> Result<impl Iterator<Item = (&'a String, &'a Value)>, &'static str> {
    section(document, name).map(|entry| entry.as_object().into_iter().flat_map(Map::iter))
}

fn number<N: TryFrom<u64>>(of: &Value, name: &'static str) -> Result<Option<N>, &'static str> {
    let number = |value: &Value| value.as_u64().and_then(|number| N::try_from(number).ok()).ok_or(name);
    of.get(name).map(number).transpose()
}

/// A text that is not endless.
fn short(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| text.len() <= MAX_NAME_LEN)
}
