//! Where the loss of a layer comes from, and what to do about it.
//!
//! Each cause has its evidence and, where there is one, the option that takes it away: `--apply` sets those options, keeps
//! what helps, and says by how much.

use std::fmt;

use fleetfoot_import::onnx::model::Constant;

use crate::{
    float::{BiasCorrection, Options},
    histogram::Histogram,
    ranges::Method,
};

/// Why a layer loses signal.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// Output channels of very different weights share one scale.
    Weights {
        /// The largest channel over the one at the lower quarter.
        ratio: f64,
    },
    /// A few values far outside stretch the range of all.
    Outlier {
        /// The whole range over that of 99.9% of the values.
        ratio: f64,
    },
    /// Channels of very different ranges share one scale.
    Channels {
        /// The largest channel over the one at the lower quarter.
        ratio: f64,
        /// The value between this layer and the one before, where both can be equalised.
        with: Option<String>,
    },
    /// Results lie outside of the range that was chosen.
    Clipped {
        /// Share of the results.
        share: f64,
    },
    /// All values of a channel are off by the same.
    Shift {
        /// Share of the noise.
        share: f64,
    },
    /// Nothing of the above: 256 levels are few for this layer.
    Levels,
}

/// An option that takes a cause away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// One scale for each output channel.
    PerChannel,
    /// Another way to choose ranges.
    Method(Method),
    /// Cross-layer equalisation.
    Equalise,
    /// Bias correction from what the int8 network reads.
    EmpiricalBias,
}

/// Below this a layer is worth a word.
const QUIET_DB: f64 = 30.0;
/// And below this the sum of all before it is.
const QUIET_ACCUMULATED_DB: f64 = 25.0;
/// Channels that differ less than this cost less than two bits.
const CHANNELS: f64 = 4.0;
const OUTLIER: f64 = 4.0;
const CLIPPED: f64 = 0.001;
const SHIFTED: f64 = 0.2;

/// What is known of a layer.
pub(crate) struct Evidence<'a> {
    pub(crate) isolated_db: f64,
    pub(crate) accumulated_db: f64,
    pub(crate) channel_ratio: f64,
    pub(crate) saturated: f64,
    pub(crate) shifted: f64,
    pub(crate) weight_ratio: f64,
    /// Of its operands and its result.
    pub(crate) histograms: Vec<&'a Histogram>,
    pub(crate) equalises_with: Option<String>,
}

/// The causes that the evidence speaks for under these options, the weightiest first.
pub(crate) fn name(evidence: &Evidence<'_>, options: &Options) -> Vec<Cause> {
    let (alone, all) = (evidence.isolated_db < QUIET_DB, evidence.accumulated_db < QUIET_ACCUMULATED_DB);
    let mut causes = Vec::new();
    if alone && !options.per_channel && evidence.weight_ratio > CHANNELS {
        causes.push(Cause::Weights { ratio: evidence.weight_ratio });
    }
    let outlier = evidence.histograms.iter().map(|h| outlier(h)).fold(1.0, f64::max);
    if alone && options.method == Method::MinMax && outlier > OUTLIER {
        causes.push(Cause::Outlier { ratio: outlier });
    }
    if alone && evidence.channel_ratio > CHANNELS {
        let with = evidence.equalises_with.clone().filter(|_| !options.equalise);
        causes.push(Cause::Channels { ratio: evidence.channel_ratio, with });
    }
    if (alone || all) && evidence.shifted > SHIFTED && options.bias_correction != BiasCorrection::Empirical {
        causes.push(Cause::Shift { share: evidence.shifted });
    }
    if alone && options.method != Method::MinMax && evidence.saturated > CLIPPED {
        causes.push(Cause::Clipped { share: evidence.saturated });
    }
    if alone && causes.is_empty() {
        causes.push(Cause::Levels);
    }
    causes
}

impl Cause {
    /// One word for tables.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Weights { .. } => "weights",
            Self::Outlier { .. } => "outlier",
            Self::Channels { .. } => "channels",
            Self::Clipped { .. } => "clipped",
            Self::Shift { .. } => "shift",
            Self::Levels => "levels",
        }
    }

    /// The option that takes it away.
    #[must_use]
    pub const fn fix(&self) -> Option<Fix> {
        match self {
            Self::Weights { .. } => Some(Fix::PerChannel),
            Self::Outlier { .. } => Some(Fix::Method(Method::Mse)),
            Self::Channels { with: Some(_), .. } => Some(Fix::Equalise),
            Self::Clipped { .. } => Some(Fix::Method(Method::MinMax)),
            Self::Shift { .. } => Some(Fix::EmpiricalBias),
            Self::Channels { .. } | Self::Levels => None,
        }
    }

    /// What to do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Weights { .. } => "a scale for each output channel (leave out --per-tensor)",
            Self::Outlier { .. } => "a range that leaves the outlier out (--method mse)",
            Self::Channels { with: Some(_), .. } => "equalise it with the layer before (--equalise)",
            Self::Channels { .. } => {
                "its channels cannot be scaled exactly (clipped from above, read twice, or equalised already): train with \
                 batch normalisation before it, or without a clip"
            }
            Self::Clipped { .. } => "a range that holds everything (--method minmax), or more varied samples",
            Self::Shift { .. } => "correct biases by what int8 reads (--bias-correction empirical)",
            Self::Levels => {
                "train with quantization, or leave out what squeezes values into a small part of their range"
            }
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights { ratio } => write!(f, "weights of channels differ {ratio:.0} times and share a scale"),
            Self::Outlier { ratio } => write!(f, "a few values stretch the range {ratio:.0} times"),
            Self::Channels { ratio, .. } => {
                write!(f, "channels of the operand differ {ratio:.0} times and share a scale")
            }
            Self::Clipped { share } => write!(f, "{:.2}% of the results are cut off", share * 100.0),
            Self::Shift { share } => write!(f, "{:.0}% of the noise is the same for a whole channel", share * 100.0),
            Self::Levels => write!(f, "256 levels are few for these values"),
        }
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PerChannel => f.write_str("scales per channel"),
            Self::Method(method) => write!(f, "--method {}", method.name()),
            Self::Equalise => f.write_str("--equalise"),
            Self::EmpiricalBias => f.write_str("--bias-correction empirical"),
        }
    }
}

/// The largest over the one at the lower quarter, of those that are not zero; 1 where there is nothing to compare.
pub(crate) fn spread(ranges: impl Iterator<Item = f32>) -> f64 {
    let mut alive: Vec<f32> = ranges.filter(|r| *r > 0.0).collect();
    alive.sort_by(f32::total_cmp);
    match (alive.get(alive.len() / 4), alive.last()) {
        (Some(&low), Some(&most)) => f64::from(most) / f64::from(low),
        _ => 1.0,
    }
}

/// How far weights of output channels are apart.
pub(crate) fn weight_ratio(op: &str, weights: &Constant) -> f64 {
    let (Some(values), Some(&outputs)) = (weights.to_floats(), weights.shape.first()) else { return 1.0 };
    if op != "Conv" || outputs == 0 || values.is_empty() {
        return 1.0;
    }
    let largest = |channel: &[f32]| channel.iter().fold(0f32, |most, w| most.max(w.abs()));
    spread(values.chunks(values.len() / outputs).map(largest))
}

/// The whole range over the one that holds all but a thousandth of the values.
fn outlier(histogram: &Histogram) -> f64 {
    let (outside, mut seen) = (histogram.count() / 1000, 0);
    let mut by_size: Vec<(f64, u64)> = histogram.cells().map(|(x, count)| (x.abs(), count)).collect();
    by_size.sort_by(|a, b| b.0.total_cmp(&a.0));
    let whole = by_size.first().map_or(0.0, |cell| cell.0);
    for (x, count) in by_size {
        seen += count;
        if seen > outside {
            return if x > 0.0 { whole / x } else { 1.0 };
        }
    }
    1.0
}
