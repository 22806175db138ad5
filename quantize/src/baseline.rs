//! The drift baseline: how the values of inputs and outputs are spread over the data that a model was made for.

use fleetfoot_engine::{Model, Tensor};
use fleetfoot_format::{
    baseline::{Baseline, TensorSketch},
    graph::IoType,
};
use fleetfoot_health::Sketch;
use fleetfoot_plan::{Aligned, Plan};

use crate::{error::PackError, golden};

/// Runs `plan` on each of `inputs` and counts every value of every input and output.
///
/// # Errors
/// Those of [`run_goldens`](crate::run_goldens); [`PackError::Format`] where a tensor has no finite value.
pub fn sketch(plan: &Plan, inputs: &[Vec<u8>]) -> Result<Baseline, PackError> {
    let weights = Aligned::copy_of(&plan.weights);
    let model = Model::open(&plan.graph[..], weights.as_ref())?;
    let cases = golden::run(plan, inputs, None)?;
    let input = cases.iter().map(|case| &case.input[..]).collect::<Vec<_>>();
    let output = cases.iter().map(|case| &case.output[..]).collect::<Vec<_>>();
    Ok(Baseline { inputs: sketches(model.inputs(), input), outputs: sketches(model.outputs(), output) })
}

/// `runs` are all tensors one after another, for each run.
fn sketches<S: FromIterator<TensorSketch>>(tensors: &[Tensor], mut runs: Vec<&[u8]>) -> S {
    let one = |tensor: &Tensor| {
        let len = tensor.span.len as usize;
        let parts: Vec<&[u8]> = runs.iter_mut().filter_map(|run| run.split_off(..len)).collect();
        tensor_sketch(tensor.dtype, &parts)
    };
    tensors.iter().map(one).collect()
}

fn tensor_sketch(dtype: IoType, runs: &[&[u8]]) -> TensorSketch {
    let values = || runs.iter().flat_map(|bytes| bytes.chunks_exact(dtype.size())).map(|bytes| value(dtype, bytes));
    let finite = || values().filter(|value| value.is_finite());
    let (lo, hi) = (finite().fold(f32::INFINITY, f32::min), finite().fold(f32::NEG_INFINITY, f32::max));
    let mut sketch = Sketch::default();
    for value in finite() {
        match dtype {
            IoType::Int8 => sketch.record_int8(value as i8),
            IoType::UInt8 => sketch.record_uint8(value as u8),
            _ => sketch.record_real(value, lo, hi),
        }
    }
    TensorSketch { lo, hi, bins: sketch.bins }
}

fn value(dtype: IoType, bytes: &[u8]) -> f32 {
    match (dtype, bytes) {
        (IoType::Int8, &[byte]) => f32::from(byte.cast_signed()),
        (IoType::UInt8, &[byte]) => f32::from(byte),
        (IoType::Int32, &[a, b, c, d]) => i32::from_le_bytes([a, b, c, d]) as f32,
        (IoType::Float32, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        (IoType::Int64, &[a, b, c, d, e, f, g, h]) => i64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_type() {
        let int8 = tensor_sketch(IoType::Int8, &[&[0x80, 0xFF], &[0x00, 0x7F]]);
        assert_eq!((int8.lo, int8.hi), (-128.0, 127.0));
        assert_eq!((int8.bins[0], int8.bins[7], int8.bins[8], int8.bins[15]), (1, 1, 1, 1));
        let uint8 = tensor_sketch(IoType::UInt8, &[&[0, 255, 255]]);
        assert_eq!((uint8.bins[0], uint8.bins[15]), (1, 2));
        let bytes: Vec<u8> = [1.0f32, 3.0, f32::NAN, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        let float = tensor_sketch(IoType::Float32, &[&bytes]);
        assert_eq!((float.lo, float.hi, float.total()), (1.0, 3.0, 3), "what is no number is not counted");
        assert_eq!((float.bins[0], float.bins[8], float.bins[15]), (1, 1, 1));
        let bytes: Vec<u8> = [-5i64, 5].iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(tensor_sketch(IoType::Int64, &[&bytes]).hi, 5.0);
    }
}
