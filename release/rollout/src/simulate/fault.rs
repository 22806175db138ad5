//! Faults that are planted in the candidate.

/// A fault: what, how much, and from which day on.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: Kind,
    /// How much: see [`Kind`].
    pub value: f64,
    /// Day of the rollout from which on.
    pub from_day: f64,
}

/// What can go wrong, or right, with a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// So many more of its inferences fail, as a fraction.
    ErrorRate,
    /// It takes so many times as long.
    LatencyFactor,
    /// So many of the devices die whenever it runs, as a fraction.
    CrashLoop,
    /// People's metrics fall by this fraction.
    MetricDrop,
    /// People's metrics rise by this fraction.
    MetricGain,
    /// On so many of the devices it gives one and the same answer: the device sees it and goes back by itself.
    ConstantOutput,
    /// So many of its devices do not report.
    Mute,
    /// People's metrics fall by this fraction every day.
    Drift,
    /// A metric of the policy, by its name, times this factor.
    Metric(String),
}

impl Fault {
    /// Reads `KIND=VALUE@DAY`; a kind that is not known is the name of a metric.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no fault: KIND=VALUE@DAY was expected, for example error_rate=0.03@1");
        let (kind, rest) = text.split_once('=').ok_or_else(wrong)?;
        let (value, day) = rest.split_once('@').unwrap_or((rest, "0"));
        let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0).ok_or_else(wrong);
        let kind = match kind {
            "error_rate" => Kind::ErrorRate,
            "latency_factor" => Kind::LatencyFactor,
            "crash_loop" => Kind::CrashLoop,
            "metric_drop" => Kind::MetricDrop,
            "metric_gain" => Kind::MetricGain,
            "constant_output" => Kind::ConstantOutput,
            "mute" => Kind::Mute,
            "drift" => Kind::Drift,
            other if fleetfoot_format::bundle::valid_name(other) => Kind::Metric(other.into()),
            _ => return Err(wrong()),
        };
        Ok(Self { kind, value: number(value)?, from_day: number(day)? })
    }

    /// Its value on `day`; `None` before it begins.
    #[must_use]
    pub fn on(&self, day: f64) -> Option<f64> {
        (day >= self.from_day).then_some(self.value)
    }
}

/// The sum of all faults of `kind` on `day`.
pub(super) fn sum(faults: &[Fault], kind: &Kind, day: f64) -> f64 {
    faults.iter().filter(|fault| fault.kind == *kind).filter_map(|fault| fault.on(day)).sum()
}

/// The product of all faults of `kind` on `day`.
pub(super) fn product(faults: &[Fault], kind: &Kind, day: f64) -> f64 {
    faults.iter().filter(|fault| fault.kind == *kind).filter_map(|fault| fault.on(day)).product()
}
