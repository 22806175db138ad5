//! What the members of a policy can be, beyond what any settings have: names, releases, times and shares.

pub(super) use fleetfoot_settings::Fields;
use fleetfoot_settings::{Node, Value};

use crate::units;

/// Kinds of members.
pub(super) trait Kinds {
    /// An identifier: 1 to 64 of `a-z 0-9 . _ -`, first a letter or digit.
    fn name(&mut self, name: &'static str) -> Option<String>;

    /// A release number.
    fn release(&mut self, name: &'static str) -> Option<u64>;

    /// A time.
    fn duration_of(node: &Node) -> Result<u64, &'static str>;

    /// A share of the devices in basis points: a number is percent.
    fn share_of(node: &Node) -> Result<u16, &'static str>;

    /// A fraction, written in percent with its sign, so that 0.6 and 0.6% are never mixed up.
    fn percent_of(node: &Node) -> Result<f64, &'static str>;

    /// A time that a stage may last.
    fn stage_time_of(node: &Node) -> Result<u64, &'static str>;

    /// A fraction of at most 1, written in percent with its sign.
    fn share_of_one(node: &Node) -> Result<f64, &'static str>;

    /// A share of answers that has to agree.
    fn agreement_of(node: &Node) -> Result<f64, &'static str>;
}

impl Kinds for Fields<'_> {
    fn name(&mut self, name: &'static str) -> Option<String> {
        let parse = |node: &Node| {
            Self::text_of(node)
                .ok()
                .filter(|text| fleetfoot_format::bundle::valid_name(text))
                .ok_or("1 to 64 of a-z 0-9 . _ -, first a letter or digit")
        };
        self.required(name, parse, "an identifier such as kws-2026-11")
    }

    fn release(&mut self, name: &'static str) -> Option<u64> {
        self.required(name, Self::whole_of, "the release number of a published bundle: see `fleetfoot repo status`")
    }

    fn duration_of(node: &Node) -> Result<u64, &'static str> {
        let hint = "a time such as 30s, 15m, 24h or 14d";
        match &node.value {
            Value::Text(text) => units::duration(text).ok_or(hint),
            _ => Err(hint),
        }
    }

    fn share_of(node: &Node) -> Result<u16, &'static str> {
        let hint = "percent of the devices, above 0 and at most 100, in steps of 0.01";
        let fraction = match &node.value {
            Value::Number(number) => number / 100.0,
            Value::Text(text) => units::percent(text).ok_or(hint)?,
            _ => return Err(hint),
        };
        let bp = fraction * 10_000.0;
        let whole = bp.round();
        if (bp - whole).abs() > 1e-6 || !(1.0..=10_000.0).contains(&whole) {
            return Err(hint);
        }
        Ok(whole as u16)
    }

    fn percent_of(node: &Node) -> Result<f64, &'static str> {
        let hint = "a percentage with its sign, such as 0.1%";
        match &node.value {
            Value::Text(text) => units::percent(text).filter(|value| (0.0..=10.0).contains(value)).ok_or(hint),
            _ => Err(hint),
        }
    }

    fn stage_time_of(node: &Node) -> Result<u64, &'static str> {
        let hint = "a time such as 30m, 24h or 14d, from 1m to 365d";
        Self::duration_of(node).ok().filter(|s| (60..=365 * 86_400).contains(s)).ok_or(hint)
    }

    fn share_of_one(node: &Node) -> Result<f64, &'static str> {
        Self::percent_of(node)?.le(&1.0).then_some(()).ok_or("at most 100%")?;
        Self::percent_of(node)
    }

    fn agreement_of(node: &Node) -> Result<f64, &'static str> {
        Self::number_of(node).ok().filter(|n| (0.1..=1.0).contains(n)).ok_or("a fraction from 0.1 to 1, such as 0.9")
    }
}
