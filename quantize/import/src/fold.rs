//! Shape arithmetic: converters of models with a dynamic batch compute the shape of a reshape at run time.
//!
//! ```text
//! x ── SHAPE ── STRIDED_SLICE ── PACK(·, 1000) ── RESHAPE(x, ·)
//! ```
//! With the batch taken as stored all of it is constant, so these operators disappear. What they compute must agree with
//! the shape that the file states for the result.

use std::collections::BTreeMap;

use crate::{
    error::{ImportError, Problem, Problems},
    operators::Source,
    schema::{PACK, STRIDED_SLICE, op},
    tensors::Tensors,
};

/// Values of tensors (by their number in the file) that are shape arithmetic.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    values: BTreeMap<usize, Vec<i64>>,
}

impl Folded {
    /// Whether the tensor was computed here.
    pub(crate) fn contains(&self, tensor: usize) -> bool {
        self.values.contains_key(&tensor)
    }

    /// Whether the operator has disappeared.
    pub(crate) fn folds(&self, source: &Source<'_>) -> bool {
        is_shape_arithmetic(source) && source.output(0).is_some_and(|output| self.contains(output))
    }
}

/// Evaluates all shape arithmetic of constant result, and compares it with the shapes of the reshapes it feeds.
pub(crate) fn shapes(
    tensors: &mut Tensors<'_>,
    ops: &[Source<'_>],
    problems: &mut Problems,
) -> Result<Folded, ImportError> {
    let mut folded = Folded::default();
    for source in ops {
        if is_shape_arithmetic(source) {
            if let (Some(output), Some(values)) = (source.output(0), evaluate(tensors, &folded, source)?) {
                folded.values.insert(output, values);
            }
        } else if source.code == op::RESHAPE
            && let (Some(operand), Some(output)) = (source.input(1), source.output(0))
            && let Some(values) = value(tensors, &folded, operand)?
            && !agrees(&values, &tensors.shape(output)?)
        {
            let what = "the shape that it is given is not the shape of its result";
            problems.push(Problem::Form {
                position: source.position,
                op: source.name.clone(),
                output: tensors.name(output)?,
                what,
            });
        }
    }
    Ok(folded)
}

fn is_shape_arithmetic(source: &Source<'_>) -> bool {
    matches!(source.code, op::SHAPE | op::STRIDED_SLICE | op::PACK)
}

/// One extent may be -1: whatever is left.
fn agrees(wanted: &[i64], shape: &[i32]) -> bool {
    wanted.len() == shape.len()
        && wanted.iter().zip(shape).all(|(&want, &have)| want == i64::from(have) || want == -1)
        && wanted.iter().filter(|&&want| want == -1).count() <= 1
}

fn value(tensors: &Tensors<'_>, folded: &Folded, index: usize) -> Result<Option<Vec<i64>>, ImportError> {
    match folded.values.get(&index) {
        Some(values) => Ok(Some(values.clone())),
        None => tensors.ints(index),
    }
}

fn evaluate(tensors: &Tensors<'_>, folded: &Folded, source: &Source<'_>) -> Result<Option<Vec<i64>>, ImportError> {
    let operand = |i| source.input(i).map_or(Ok(None), |index| value(tensors, folded, index));
    match source.code {
        op::SHAPE => {
            let Some(index) = source.input(0) else { return Ok(None) };
            Ok(Some(tensors.shape(index)?.into_iter().map(i64::from).collect()))
        }
        op::STRIDED_SLICE => {
            let (Some(values), Some(begin), Some(end), Some(stride)) =
                (operand(0)?, operand(1)?, operand(2)?, operand(3)?)
            else {
                return Ok(None);
            };
            slice(source, &values, &begin, &end, &stride)
        }
        op::PACK => {
            let axis = source.options(59)?.map_or(Ok(0), |options| options.i32(PACK.axis, 0))?;
            let mut packed = Vec::new();
            // Scalars only: as many as a shape has extents.
            for i in 0..source.inputs.len() {
                match operand(i)?.as_deref() {
                    Some(&[scalar]) if axis == 0 && packed.len() < 8 => packed.push(scalar),
                    _ => return Ok(None),
                }
            }
            Ok(Some(packed))
        }
        _ => Ok(None),
    }
}

/// `values[begin:end]`, or `values[begin]`.
fn slice(
    source: &Source<'_>,
    values: &[i64],
    begin: &[i64],
    end: &[i64],
    stride: &[i64],
) -> Result<Option<Vec<i64>>, ImportError> {
    let (Some(options), &[begin], &[end], &[1]) = (source.options(32)?, begin, end, stride) else { return Ok(None) };
    let other = [STRIDED_SLICE.ellipsis_mask, STRIDED_SLICE.new_axis_mask];
    for field in other {
        if options.i32(field, 0)? != 0 {
            return Ok(None);
        }
    }
    if options.bool(STRIDED_SLICE.offset)? {
        return Ok(None);
    }
    let position = |i: i64| {
        let len = values.len() as i64;
        if i < 0 { i.saturating_add(len) } else { i }.clamp(0, len) as usize
    };
    let begin = if options.i32(STRIDED_SLICE.begin_mask, 0)? & 1 == 0 { position(begin) } else { 0 };
    if options.i32(STRIDED_SLICE.shrink_axis_mask, 0)? & 1 != 0 {
        return Ok(values.get(begin).map(|&value| vec![value]));
    }
    let end = if options.i32(STRIDED_SLICE.end_mask, 0)? & 1 == 0 { position(end) } else { values.len() };
    Ok(values.get(begin..end).map(Vec::from))
}
