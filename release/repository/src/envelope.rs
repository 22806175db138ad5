//! What the release keys say of a bundle in the field `custom` of its target: its names, and the envelope that bounds the online key.
//!
//! | | fresh | published again, the same bundle |
//! |---|---|---|
//! | salt | random, and that of no other release | stays |
//! | limits | everybody from now on | stay, unless others are given |
//! | hardware, lowest runtime | all, that of the header | stay |
//! | security epoch, attempt | that of the newest release, 1 | stay, or rise |

use fleetfoot_format::bundle::{Header, SectionKind};
use fleetfoot_tuf::{hex, rollout, time};
use fleetfoot_update::{Stage, cohort::BUCKETS, envelope::Limit};
use serde_json::{Map, Value, json};

use crate::error::RepositoryError;

/// What is asked for; what is left out stays as it is, or is what the module says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvelopeSpec {
    /// 1 to 64 printable characters. Only for a release that is new.
    pub salt: Option<String>,
    /// From when on how much is allowed. In any order.
    pub limits: Vec<Limit>,
    /// Kinds of hardware; none: all.
    pub hardware: Vec<String>,
    /// Lowest version of the runtime, if it is higher than that of the header.
    pub min_runtime: Option<(u16, u16)>,
    /// Devices that have committed a higher one do not take the release, and once they have this one, nothing below.
    pub security_epoch: Option<u32>,
    /// Counted up to have devices try a bundle again that failed on them.
    pub attempt: Option<u32>,
}

impl EnvelopeSpec {
    /// The field `custom` of the release with this header. `before` is the field of the same bundle, published before; `others` are
    /// those of the other releases of the model.
    pub(crate) fn custom<'v>(
        &self,
        header: &Header<'_>,
        before: Option<&Value>,
        others: impl Iterator<Item = &'v Value> + Clone,
        now: i64,
    ) -> Result<Value, RepositoryError> {
        let golden = header.sections.iter().find(|section| section.kind == SectionKind::GOLDEN);
        let mut custom: Map<String, Value> = before.and_then(Value::as_object).cloned().unwrap_or_default();
        let mut set = |name: &str, value: Value| drop(custom.insert(name.into(), value));
        set("model", header.model.into());
        set("version", header.version.into());
        set("number", header.number.into());
        if let Some(golden) = golden {
            set("golden_sha256", hex::encode(&golden.sha256).into());
        }
        let known = |name: &str| before.and_then(|before| before.get(name)).filter(|value| !value.is_null());
        let salt = match (known("salt").and_then(Value::as_str), &self.salt) {
            (Some(known), Some(asked)) if known != asked => return Err(RepositoryError::SaltChanges),
            (Some(known), _) => known.to_owned(),
            (None, Some(asked)) => asked.clone(),
            (None, None) => fresh_salt()?,
        };
        if others.clone().any(|other| other["salt"] == salt.as_str()) {
            return Err(RepositoryError::SaltUsed);
        }
        set("salt", salt.into());
        let mut limits = self.limits.clone();
        if limits.is_empty() && known("limits").is_none() {
            limits.push(Limit { not_before: now, max_bp: BUCKETS, max_stage: Stage::Full });
        }
        limits.sort_by_key(|limit| limit.not_before);
        if !limits.is_empty() {
            set("limits", limits.iter().map(spelled).collect());
        }
        if !self.hardware.is_empty() {
            set("hardware", self.hardware.clone().into());
        }
        if self.min_runtime.is_some() || known("min_runtime").is_none() {
            let (major, minor) = self.min_runtime.unwrap_or_default().max(header.min_runtime);
            set("min_runtime", format!("{major}.{minor}").into());
        }
        let epoch = |custom: &Value| custom["security_epoch"].as_u64().unwrap_or(0);
        let highest = others.map(epoch).chain(before.map(epoch)).max().unwrap_or(0);
        set("security_epoch", rises("security epoch", self.security_epoch, highest)?.into());
        let attempt = before.map_or(1, |before| before["attempt"].as_u64().unwrap_or(1));
        set("attempt", rises("attempt", self.attempt, attempt)?.into());
        let custom = Value::from(custom);
        // As a device reads it.
        rollout::envelope(&custom).map_err(|what| RepositoryError::Envelope { what })?;
        Ok(custom)
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn rises(what: &'static str, asked: Option<u32>, known: u64) -> Result<u64, RepositoryError> {
    let asked = asked.map_or(known, u64::from);
    if asked < known { Err(RepositoryError::Lowered { what, asked, known }) } else { Ok(asked) }
}

fn spelled(limit: &Limit) -> Value {
    let Limit { not_before, max_bp, max_stage } = limit;
    json!({ "not_before": time::format(*not_before), "max_bp": max_bp, "max_stage": max_stage.name() })
}

fn fresh_salt() -> Result<String, RepositoryError> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|_| RepositoryError::NoRandomness)?;
    Ok(hex::encode(&salt))
}

/// `NOT_BEFORE:PERCENT:STAGE`, such as `2026-11-30T06:00:00Z:0.5:canary`; the time is also a day, or `now`.
#[must_use]
pub fn parse_limit(text: &str, now: i64) -> Option<Limit> {
    let mut parts = text.rsplitn(3, ':');
    let (stage, percent, time) = (parts.next()?, parts.next()?, parts.next()?);
    let not_before = match time {
        "now" => now,
        day if day.len() == "2026-11-30".len() => time::parse(&format!("{day}T00:00:00Z"))?,
        time => time::parse(time)?,
    };
    let max_stage = Stage::parse(stage);
    max_stage.rank()?;
    Some(Limit { not_before, max_bp: parse_percent(percent)?, max_stage })
}

/// A percentage from 0 to 100 with at most two decimals, as basis points.
#[must_use]
pub fn parse_percent(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || part.len() > 2 || !digits(whole) || !digits(part) || text.ends_with('.') {
        return None;
    }
    let bp = whole.parse::<u16>().ok()? * 100 + format!("{part:0<2}").parse::<u16>().ok()?;
    Some(bp).filter(|bp| *bp <= BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_and_limits() {
        let percent = [("0", Some(0)), ("1", Some(100)), ("0.5", Some(50)), ("0.05", Some(5)), ("100", Some(10_000))];
        let more = [("100.00", Some(10_000)), ("6.25", Some(625)), ("33.3", Some(3_330))];
        let not =
            ["", "100.01", "101", "0.001", "1.", ".5", "-1", "+1", "1e1", " 1", "1%", "9999"].map(|bad| (bad, None));
        for (text, expected) in percent.into_iter().chain(more).chain(not) {
            assert_eq!(parse_percent(text), expected, "{text}");
        }
        let limit = |not_before, max_bp, max_stage| Some(Limit { not_before, max_bp, max_stage });
        let rows = [
            ("now:1:canary", limit(7, 100, Stage::Canary)),
            ("2026-11-30:100:full", limit(1_795_996_800, 10_000, Stage::Full)),
            ("2026-11-30T00:00:01Z:0.5:ab", limit(1_795_996_801, 50, Stage::Ab)),
            ("now:1:hold", None),
            ("now:1:everything", None),
            ("now:1", None),
            ("later:1:full", None),
            ("2026-13-30:1:full", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse_limit(text, 7), expected, "{text}");
        }
    }
}
