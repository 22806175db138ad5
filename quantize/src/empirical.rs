//! Empirical bias correction: what the int8 network reads on average, next to what the float network reads.
//!
//! The mean of a sum is the sum of the means: for each weight of a layer, the mean of all values that it is ever multiplied with
//! says by how much the layer's result is off before its activation, from rounded weights *and* from everything that
//! happened before it. Borders count as they are. Correcting one layer changes what the next ones read, so it is done twice.

use std::collections::BTreeMap;

use fleetfoot_format::limits::MAX_IO;
use fleetfoot_import::onnx::{
    Place,
    model::{Model, Node},
};
use fleetfoot_plan::graph::Graph;

use crate::{
    calibrate::Calibration,
    data::Data,
    encode::WEIGHTED,
    float_error::QuantizeError as Error,
    inside::{self, Runner, as_file, as_stored, real},
    reference::{Reference, input_shape},
};

/// Samples that are enough for means.
const SAMPLES: usize = 32;

/// Means of what each weight of a layer is multiplied with: by input channel and tap.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    int8: Vec<f64>,
    float: Vec<f64>,
    count: f64,
}

impl Taps {
    /// Means in the int8 and in the float network; `at` counts taps within channels.
    pub(crate) fn mean(&self, at: usize) -> (f64, f64) {
        let mean = |sums: &[f64]| sums.get(at).copied().unwrap_or(0.0) / self.count.max(1.0);
        (mean(&self.int8), mean(&self.float))
    }
}

/// How a layer goes over its operand.
struct Window {
    channels: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    /// Cells of border before the first row and column.
    before: [usize; 2],
    input: [usize; 2],
    output: [usize; 2],
}

/// Measures all weighted layers whose operands the int8 network still has.
pub(crate) fn measure(
    graph: &Graph,
    places: &BTreeMap<String, Place>,
    float: &Model,
    calibration: &Calibration,
    data: &Data,
) -> Result<BTreeMap<String, Taps>, Error> {
    let layer = |node| {
        let window = Window::of(float, node, calibration)?;
        Some((node, window, inside::place(places, &node.inputs[0])?))
    };
    let layers: Vec<(&Node, Window, &Place)> =
        float.nodes.iter().filter(|node| WEIGHTED.contains(&&node.op[..])).filter_map(layer).collect();
    // What the network reads itself needs no run: it is rounded here.
    let door = graph.inputs[0];
    let within: Vec<usize> = (0..layers.len()).filter(|&i| layers[i].2.tensor != door).collect();
    let runner = |part: &[usize]| {
        Runner::new(&Graph { outputs: part.iter().map(|&i| layers[i].2.tensor).collect(), ..graph.clone() })
    };
    let runners = within.chunks(MAX_IO).map(runner).collect::<Result<Vec<_>, _>>()?;
    let mut names: Vec<String> = layers.iter().map(|(node, ..)| node.inputs[0].clone()).collect();
    names.retain(|name| *name != float.inputs[0].name);
    names.sort();
    names.dedup();
    let reference = if names.is_empty() { None } else { Some(Reference::new(float, &names)?) };
    let shape = input_shape(float)?;
    let mut taps: Vec<Taps> = layers.iter().map(|_| Taps::default()).collect();
    data.each(shape.iter().product(), SAMPLES.min(calibration.samples), |_, sample| {
        let results = reference.as_ref().map_or(Ok(Vec::new()), |reference| reference.run(sample))?;
        let mut floats: BTreeMap<&str, &[f32]> =
            names.iter().map(String::as_str).zip(results.iter().map(Vec::as_slice)).collect();
        floats.insert(&float.inputs[0].name, sample);
        let place = Place { tensor: door, shape: shape.clone(), order: (0..shape.len()).collect() };
        let input = as_stored(sample, &place, real(graph.tensor(door).quant.as_ref()));
        let mut outputs = vec![input.clone(); layers.len()];
        for (runner, part) in runners.iter().zip(within.chunks(MAX_IO)) {
            for (&i, output) in part.iter().zip(runner.run(&[&input])?) {
                outputs[i] = output;
            }
        }
        for (((node, window, place), output), taps) in layers.iter().zip(&outputs).zip(&mut taps) {
            let Some(floats) = floats.get(&node.inputs[0][..]) else { continue };
            let int8 = as_file(output, place, real(graph.tensor(place.tensor).quant.as_ref()));
            window.add(floats, &mut taps.float);
            window.add(&int8, &mut taps.int8);
            taps.count += window.positions(floats.len()) as f64;
        }
        Ok(())
    })?;
    let named = layers.iter().map(|(node, ..)| node.output(0).to_owned());
    Ok(named.zip(taps).filter(|(_, taps)| taps.count > 0.0).collect())
}

impl Window {
    /// `None` for layers whose taps are not those of a convolution or a product.
    fn of(float: &Model, node: &Node, calibration: &Calibration) -> Option<Self> {
        let weights = &float.constants.get(node.input(1)?)?.shape;
        let (from, to) = (calibration.shapes.get(&node.inputs[0])?, calibration.shapes.get(node.output(0))?);
        let one = [1, 1];
        match (&node.op[..], &weights[..], &from[..], &to[..]) {
            ("Conv", &[_, _, kh, kw], &[_, channels, h, w], &[_, _, oh, ow]) => {
                let pair = |name| match node.ints(name) {
                    Some(&[a, b]) => [a.max(1) as usize, b.max(1) as usize],
                    _ => one,
                };
                let (stride, dilation) = (pair("strides"), pair("dilations"));
                let (kernel, input, output) = ([kh, kw], [h, w], [oh, ow]);
                let before = [0, 1].map(|d| {
                    let reach = (output[d] - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1;
                    let border = reach.saturating_sub(input[d]);
                    match node.text("auto_pad", "NOTSET") {
                        "SAME_UPPER" => border / 2,
                        "SAME_LOWER" => border.div_ceil(2),
                        "VALID" => 0,
                        _ => node.ints("pads").and_then(|pads| pads.get(d)).map_or(0, |&pad| pad.max(0) as usize),
                    }
                });
                Some(Self { channels, kernel, stride, dilation, before, input, output })
            }
            ("Gemm" | "MatMul", &[_, _], &[.., channels], _) if node.int("transA", 0) == 0 => Some(Self {
                channels,
                kernel: one,
                stride: one,
                dilation: one,
                before: [0, 0],
                input: one,
                output: one,
            }),
            _ => None,
        }
    }

    /// Results of one output channel for an operand of `len` elements.
    fn positions(&self, len: usize) -> usize {
        let images = len / (self.channels * self.input[0] * self.input[1]).max(1);
        images * self.output[0] * self.output[1]
    }

    /// Adds, for each tap, the sum of what it is multiplied with.
    fn add(&self, values: &[f32], sums: &mut Vec<f64>) {
        let (taps, area) = (self.kernel[0] * self.kernel[1], self.input[0] * self.input[1]);
        sums.resize(self.channels * taps, 0.0);
        for (i, image) in values.chunks_exact(area.max(1)).enumerate() {
            let channel = i % self.channels;
            for tap in 0..taps {
                let [ky, kx] = [tap / self.kernel[1], tap % self.kernel[1]];
                let columns: Vec<usize> = (0..self.output[1]).filter_map(|x| self.cell(1, x, kx)).collect();
                let rows = (0..self.output[0]).filter_map(|y| self.cell(0, y, ky));
                let row = |y: usize| columns.iter().map(|&x| f64::from(image[y * self.input[1] + x])).sum::<f64>();
                sums[channel * taps + tap] += rows.map(row).sum::<f64>();
            }
        }
    }

    /// The row or column of the operand that tap `k` reads for result `at`; `None` in the border.
    fn cell(&self, d: usize, at: usize, k: usize) -> Option<usize> {
        (at * self.stride[d] + k * self.dilation[d]).checked_sub(self.before[d]).filter(|&cell| cell < self.input[d])
    }
}

#[cfg(test)]
mod tests {
    use super::Window;

    #[test]
    fn every_tap_sums_what_a_convolution_would_multiply_it_with() {
        let window = Window {
            channels: 2,
            kernel: [3, 2],
            stride: [2, 1],
            dilation: [1, 2],
            before: [1, 0],
            input: [5, 4],
            output: [3, 2],
        };
        let values: Vec<f32> = (0..40).map(|i| (i * i % 17) as f32).collect();
        let mut sums = Vec::new();
        window.add(&values, &mut sums);
        let mut expected = vec![0.0; 12];
        for (c, oy, ox, ky, kx) in (0..2 * 3 * 2 * 3 * 2).map(|i| (i / 36, i / 12 % 3, i / 6 % 2, i / 2 % 3, i % 2)) {
            let (y, x) = ((oy * 2 + ky) as i32 - 1, ox + kx * 2);
            if (0..5).contains(&y) && x < 4 {
                expected[c * 6 + ky * 2 + kx] += f64::from(values[c * 20 + y as usize * 4 + x]);
            }
        }
        assert_eq!(sums, expected);
        assert_eq!(window.positions(40), 6);
    }
}
