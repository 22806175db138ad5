//! Cross-layer equalisation: where one weighted layer feeds another, a channel between the two may be any number of times larger
//! without a change of the result. Channels of very different sizes share one scale; made alike, each has all the levels.
//!
//! ```text
//! W_a[c] / f, b_a[c] / f  --  Relu, LeakyRelu, pools  --  W_b[.., c] * f          f = sqrt(range of c * weight of c in b), about
//! ```
//! Factors are powers of two, so every float value stays what it was, to the last bit. An activation that clips from above
//! (Relu6) stands in the way, and so does a second reader of the value between. (Nagel et al., "Data-Free Quantization Through
//! Weight Equalization and Bias Correction", ICCV 2019; here with the ranges that calibration saw, as weights have scales per
//! channel anyway.)

use std::collections::BTreeMap;

use fleetfoot_import::onnx::model::{Constant, Model, Node};

use crate::calibrate::Calibration;

/// The largest and smallest power of two that a channel is scaled by.
const MOST: i32 = 20;

/// Two weighted layers with nothing between them that minds a factor per channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Places of the nodes.
    pub(crate) first: usize,
    pub(crate) second: usize,
    /// The value behind the activation of the first.
    pub(crate) value: String,
    /// Whose channels the second reads.
    source: Source,
}

/// All pairs of the network, in the order of their second layers.
pub(crate) fn pairs(model: &Model, calibration: &Calibration) -> Vec<Pair> {
    let uses = super::uses(model);
    (0..model.nodes.len()).filter_map(|second| pair(model, calibration, &uses, second)).collect()
}

/// Makes the channels between all pairs alike; how many channels were scaled.
pub(crate) fn run(model: &mut Model, calibration: &Calibration) -> usize {
    let mut scaled = 0;
    for pair in pairs(model, calibration) {
        scaled += balance(model, &pair, calibration).unwrap_or(0);
    }
    super::dead::remove(model);
    scaled
}

fn pair(model: &Model, calibration: &Calibration, uses: &BTreeMap<String, usize>, second: usize) -> Option<Pair> {
    weights(model, second)?;
    let mut name = model.nodes[second].inputs.first()?.clone();
    let mut between = Vec::new();
    loop {
        let at = super::only_source(model, uses, &name)?;
        let node = &model.nodes[at];
        if weights(model, at).is_some() {
            // Behind the first layer, or behind the activation that is fused into it.
            let value = match between.last() {
                Some(&last) if is_linear_from_zero(model, last) => model.nodes[last].output(0).to_owned(),
                _ => name,
            };
            let source = source(model, calibration, [at, second], &value, &between)?;
            return Some(Pair { first: at, second, value, source });
        }
        let moves = matches!(
            &node.op[..],
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" | "Flatten" | "Reshape" | "Squeeze"
        );
        if !moves && !is_linear_from_zero(model, at) {
            return None;
        }
        between.push(at);
        name = node.inputs.first()?.clone();
    }
}

/// `f(a * x) = a * f(x)` for every positive `a`.
fn is_linear_from_zero(model: &Model, at: usize) -> bool {
    let node = &model.nodes[at];
    match &node.op[..] {
        "Relu" | "LeakyRelu" => true,
        "PRelu" => node.input(1).is_some_and(|name| model.constants.contains_key(name)),
        _ => false,
    }
}

/// Weights of a node whose channels can be scaled.
fn weights(model: &Model, at: usize) -> Option<(Vec<f32>, Vec<usize>)> {
    let node = &model.nodes[at];
    let (values, shape) = super::floats(model, node, 1)?;
    let plain = match &node.op[..] {
        "Conv" => shape.len() >= 3,
        "Gemm" => shape.len() == 2 && node.int("transA", 0) == 0,
        "MatMul" => shape.len() == 2,
        _ => false,
    };
    (plain && !values.is_empty()).then_some((values, shape))
}

/// Output channel and input channel of each weight.
fn channels(node: &Node, shape: &[usize]) -> Vec<(usize, usize)> {
    let all = 0..shape.iter().product::<usize>();
    match &node.op[..] {
        "Conv" => {
            let (taps, per_group) = (shape[2..].iter().product::<usize>().max(1), shape[1].max(1));
            let outputs_per_group = (shape[0] / node.int("group", 1).max(1) as usize).max(1);
            all.map(|i| {
                let output = i / (per_group * taps);
                (output, output / outputs_per_group * per_group + i / taps % per_group)
            })
            .collect()
        }
        _ if node.op == "Gemm" && node.int("transB", 0) != 0 => all.map(|i| (i / shape[1], i % shape[1])).collect(),
        _ => all.map(|i| (i % shape[1], i / shape[1])).collect(),
    }
}

/// Which channel of the first layer an input channel of the second one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Of an image that was flattened: each channel so many times in a row.
    Rows(usize),
    /// Of rows that were flattened: all so many channels one after another.
    Columns(usize),
}

impl Source {
    const fn channel(self, input: usize) -> usize {
        match self {
            Self::Rows(copies) => input / copies,
            Self::Columns(n) => input % n,
        }
    }
}

/// Where the input channels of the second of two layers come from among the output channels of the first; `None` where the nodes `between` them may
/// have mixed channels.
fn source(
    model: &Model,
    calibration: &Calibration,
    [first, second]: [usize; 2],
    value: &str,
    between: &[usize],
) -> Option<Source> {
    let shape = |name: &str| calibration.shapes.get(name).map(Vec::as_slice);
    let of = |at: usize| weights(model, at).map(|(_, shape)| channels(&model.nodes[at], &shape));
    let (n, reads) = (of(first)?.iter().map(|c| c.0).max()? + 1, of(second)?.iter().map(|c| c.1).max()? + 1);
    let (first, second) = (&model.nodes[first], &model.nodes[second]);
    let read = shape(second.inputs.first()?)?;
    let (first_is_image, second_is_image) = (first.op == "Conv", second.op == "Conv");
    // Calibration has ranges of the second dimension where there are four, else of the last.
    let fits = match (first_is_image, shape(value)?) {
        (true, &[batch, channels, _, _]) => (batch, channels) == (1, n),
        (false, given) => given.len() != 4 && given.last() == Some(&n),
        (true, _) => false,
    };
    let pools_keep_channels = between.iter().map(|&at| &model.nodes[at]).all(|node| {
        let seen = node.inputs.first().and_then(|name| shape(name));
        !node.op.contains("Pool") || first_is_image && seen.is_some_and(|seen| seen.len() >= 3 && seen[..2] == [1, n])
    });
    if !fits || !pools_keep_channels || !reads.is_multiple_of(n) {
        return None;
    }
    match (first_is_image, second_is_image) {
        (true, true) => (reads == n && read.len() >= 3 && read[..2] == [1, n]).then_some(Source::Rows(1)),
        (true, false) => (*read == [1, reads]).then_some(Source::Rows(reads / n)),
        (false, false) => (read.last() == Some(&reads)).then_some(Source::Columns(n)),
        (false, true) => None,
    }
}

fn balance(model: &mut Model, pair: &Pair, calibration: &Calibration) -> Option<usize> {
    let ranges = &calibration.seen.get(&pair.value)?.channel_max;
    let (mut first, first_shape) = weights(model, pair.first)?;
    let (mut second, second_shape) = weights(model, pair.second)?;
    let outputs = channels(&model.nodes[pair.first], &first_shape);
    let mut inputs = channels(&model.nodes[pair.second], &second_shape);
    let n = ranges.len();
    // A channel that is not there would be a fault of ours: rather nothing is scaled.
    inputs.iter_mut().for_each(|(_, input)| *input = pair.source.channel(*input));
    if outputs.iter().any(|c| c.0 >= n) || inputs.iter().any(|c| c.1 >= n) {
        return None;
    }
    let shares = shares(&second, &inputs, n);
    let factors = factors(ranges, &shares)?;
    let bias = match model.nodes[pair.first].input(2) {
        Some(_) => Some(super::floats(model, &model.nodes[pair.first], 2).filter(|(b, _)| b.len() == n)?),
        None => None,
    };
    first.iter_mut().zip(&outputs).for_each(|(w, &(c, _))| *w /= factors[c]);
    second.iter_mut().zip(&inputs).for_each(|(w, &(_, c))| *w *= factors[c]);
    // What left the range of floats would not come back.
    if first.iter().chain(&second).any(|w| !w.is_finite()) {
        return None;
    }
    super::replace(model, pair.first, 1, Constant::floats(&first_shape, &first));
    super::replace(model, pair.second, 1, Constant::floats(&second_shape, &second));
    if let Some((mut bias, shape)) = bias {
        bias.iter_mut().zip(&factors).for_each(|(b, f)| *b /= f);
        super::replace(model, pair.first, 2, Constant::floats(&shape, &bias));
    }
    Some(factors.iter().filter(|f| **f != 1.0).count())
}

/// Of each channel between: the largest part that its weight has of all weights of an output of the second layer. A depthwise
/// layer has one weight channel per scale, so there it is 1.
fn shares(weights: &[f32], channels: &[(usize, usize)], n: usize) -> Vec<f32> {
    let mut most = BTreeMap::new();
    for (w, (output, _)) in weights.iter().zip(channels) {
        let most: &mut f32 = most.entry(output).or_default();
        *most = most.max(w.abs());
    }
    let mut shares = vec![0f32; n];
    for (w, (output, input)) in weights.iter().zip(channels) {
        let whole = most[output];
        if whole > 0.0 {
            let share = &mut shares[*input];
            *share = share.max(w.abs() / whole);
        }
    }
    shares
}

/// The power of two for each channel; `None` where all are alike already.
fn factors(ranges: &[f32], shares: &[f32]) -> Option<Vec<f32>> {
    // A channel keeps sqrt(range * share) of its range: of a depthwise layer all become equal.
    let depthwise = shares.iter().all(|&s| s == 1.0 || s == 0.0);
    let wish = |(&range, &share): (&f32, &f32)| {
        if range <= 0.0 || share <= 0.0 {
            0.0
        } else if depthwise {
            f64::from(range)
        } else {
            (f64::from(range) / f64::from(share)).sqrt()
        }
    };
    let wishes: Vec<f64> = ranges.iter().zip(shares).map(wish).collect();
    // Relative to the largest range, which stays.
    let (largest, _) = ranges.iter().zip(&wishes).map(|(&r, &w)| (w, r)).max_by(|a, b| a.1.total_cmp(&b.1))?;
    let factor = |&wish: &f64| if wish > 0.0 && largest > 0.0 { nearest_power_of_two(wish / largest) } else { 1.0 };
    let factors: Vec<f32> = wishes.iter().map(factor).collect();
    factors.iter().any(|&f| f != 1.0).then_some(factors)
}

/// The power of two next to a positive number, in ratio, within the limit.
fn nearest_power_of_two(value: f64) -> f32 {
    // The exponent of the square: rounding it in halves is rounding in ratio.
    let exponent = ((value * value).to_bits() >> 52) as i32 - 1023;
    2f32.powi((exponent + 1).div_euclid(2).clamp(-MOST, MOST))
}

#[cfg(test)]
mod tests {
    use super::{Source, factors, nearest_power_of_two};

    #[test]
    fn powers_are_the_nearest_in_ratio() {
        for (value, power) in [(1.0, 1.0), (1.41, 1.0), (1.42, 2.0), (2.8, 2.0), (2.9, 4.0), (0.71, 1.0), (0.70, 0.5)] {
            assert_eq!(nearest_power_of_two(value), power, "{value}");
        }
        assert_eq!(nearest_power_of_two(1e30), 2f32.powi(20));
        assert_eq!(nearest_power_of_two(1e-30), 2f32.powi(-20));
    }

    #[test]
    fn channels_of_what_was_flattened() {
        let of = |source: Source| (0..6).map(|input| source.channel(input)).collect::<Vec<_>>();
        assert_eq!(of(Source::Rows(3)), [0, 0, 0, 1, 1, 1]);
        assert_eq!(of(Source::Columns(2)), [0, 1, 0, 1, 0, 1]);
    }

    #[test]
    fn the_largest_range_stays_and_the_others_come_up_to_it() {
        // Of a depthwise layer: 8 / 8 and 0.25 / (1/32).
        assert_eq!(factors(&[8.0, 0.25, 0.0], &[1.0, 1.0, 1.0]), Some(vec![1.0, 1.0 / 32.0, 1.0]));
        assert_eq!(factors(&[3.0, 3.1], &[1.0, 1.0]), None);
        // A convolution pays for it with its weights: half the way.
        assert_eq!(factors(&[16.0, 1.0], &[1.0, 0.999]), Some(vec![1.0, 0.25]));
    }
}
