//! Operators that move elements: each becomes a strided read, a concatenation or a gathering of rows.
//!
//! ```text
//! output[i] = input[first + i . strides]      TRANSPOSE, SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, UNPACK, TILE, REVERSE_V2,
//!                                             DEPTH_TO_SPACE, SPACE_TO_DEPTH
//! ```

use fleetfoot_plan::graph::{OpKind, TensorId};

use super::{Importer, Made, Source, Stop, optional, required};
use crate::schema::{self, op};

const NO_SHAPE: Stop = Stop::Form("an operand whose shape is not valid");
const NO_AXIS: Stop = Stop::Form("an axis that its operand does not have");
const BEYOND: Stop = Stop::Form("a part that its operand does not have");

impl Importer<'_, '_> {
    /// What a moving operator becomes; `None` for other operators.
    pub(super) fn moves(&mut self, source: &Source<'_>) -> Result<Option<Vec<Made>>, Stop> {
        let read = |first, dims, strides| OpKind::Strided { name: source.static_name(), first, dims, strides };
        let made = match source.code {
            op::CONCATENATION | op::PACK => {
                const F: schema::Concatenation = schema::CONCATENATION;
                let packs = source.code == op::PACK;
                let options = required(source, if packs { 59 } else { 10 })?;
                if !packs && options.u8(F.activation, 0)? != 0 {
                    return Err(Stop::Form("a fused activation"));
                }
                let axis = i64::from(options.i32(if packs { schema::PACK.axis } else { F.axis }, 0)?);
                let shape = self.extents(source, 0)?;
                let axis = position(axis, shape.len() + usize::from(packs))?;
                for i in 1..source.inputs.len() {
                    let other = self.extents(source, i)?;
                    let agree = |(d, (a, b)): (usize, (&usize, &usize))| a == b || d == axis && !packs;
                    if other.len() != shape.len() || !shape.iter().zip(&other).enumerate().all(agree) {
                        return Err(Stop::Form("operands whose shapes differ in another dimension"));
                    }
                }
                let kind = OpKind::Concat { name: source.static_name(), outer: shape[..axis].iter().product() };
                return Ok(Some(vec![Made { kind, inputs: (0..source.inputs.len()).collect(), output: 0 }]));
            }
            op::TRANSPOSE => {
                let (shape, order) = (self.extents(source, 0)?, self.integers(source, 1)?);
                let order = order.into_iter().map(|d| position(d, shape.len())).collect::<Result<Vec<_>, _>>()?;
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if sorted.into_iter().ne(0..shape.len()) {
                    return Err(Stop::Form("an order that is no permutation of its dimensions"));
                }
                let dense = dense(&shape);
                read(0, order.iter().map(|&d| shape[d]).collect(), order.iter().map(|&d| dense[d]).collect())
            }
            op::SLICE => {
                let shape = self.extents(source, 0)?;
                let (begin, size) = (self.integers(source, 1)?, self.integers(source, 2)?);
                if begin.len() != shape.len() || size.len() != shape.len() {
                    return Err(BEYOND);
                }
                let parts = shape.iter().zip(begin.iter().zip(&size));
                let parts =
                    parts.map(|(&extent, (&begin, &size))| part(extent, begin, size)).collect::<Result<Vec<_>, _>>()?;
                let (first, strides) = (first(&parts, &shape), dense(&shape));
                read(first, parts.iter().map(|part| part.1).collect(), strides)
            }
            op::STRIDED_SLICE => self.strided_slice(source)?,
            op::SPLIT | op::SPLIT_V | op::UNPACK => return self.split(source).map(Some),
            op::TILE => {
                let (shape, times) = (self.extents(source, 0)?, self.integers(source, 1)?);
                let times: Option<Vec<usize>> =
                    times.iter().map(|&t| usize::try_from(t).ok().filter(|&t| (1..=1 << 24).contains(&t))).collect();
                let times = times.filter(|t| t.len() == shape.len());
                let times = times.ok_or(Stop::Form("multiples that are not one positive number per dimension"))?;
                let mut both: Vec<(usize, isize)> = Vec::new();
                for ((&extent, &times), stride) in shape.iter().zip(&times).zip(dense(&shape)) {
                    both.extend([(times, 0), (extent, stride)].into_iter().filter(|(extent, _)| *extent > 1));
                }
                let product = both.iter().try_fold(1usize, |all, (extent, _)| all.checked_mul(*extent));
                product.filter(|&n| n <= 1 << 30).ok_or(NO_SHAPE)?;
                read(0, both.iter().map(|b| b.0).collect(), both.iter().map(|b| b.1).collect())
            }
            op::REVERSE_V2 => {
                let (shape, axes) = (self.extents(source, 0)?, self.integers(source, 1)?);
                let (mut strides, mut first) = (dense(&shape), 0);
                for axis in axes {
                    let axis = position(axis, shape.len())?;
                    if strides[axis] > 0 {
                        first += (shape[axis] - 1) * strides[axis].unsigned_abs();
                        strides[axis] = -strides[axis];
                    }
                }
                read(first, shape, strides)
            }
            op::DEPTH_TO_SPACE | op::SPACE_TO_DEPTH => {
                let deep = source.code == op::DEPTH_TO_SPACE;
                let block = required(source, if deep { 94 } else { 19 })?.i32(schema::BLOCK.size, 0)?;
                let shape = self.extents(source, 0)?;
                let (Ok(b), &[n, h, w, c]) = (usize::try_from(block), &shape[..]) else { return Err(NO_SHAPE) };
                let fits = match (deep, b) {
                    (_, 0 | 65_536..) => false,
                    (true, b) => c.is_multiple_of(b * b),
                    (false, b) => h.is_multiple_of(b) && w.is_multiple_of(b),
                };
                if !fits {
                    return Err(Stop::Form("a block size that does not divide its operand"));
                }
                let of = |strides: [usize; 6]| strides.map(|s| s as isize).to_vec();
                if deep {
                    let k = c / (b * b);
                    read(0, vec![n, h, b, w, b, k], of([h * w * c, w * c, b * k, c, k, 1]))
                } else {
                    read(0, vec![n, h / b, w / b, b, b, c], of([h * w * c, b * w * c, b * c, w * c, c, 1]))
                }
            }
            op::GATHER => {
                const F: schema::Gather = schema::GATHER;
                let options = optional(source, 23)?;
                let number = |field| options.map_or(Ok(0), |options| options.i32(field, 0));
                if number(F.batch_dims)? != 0 {
                    return Err(Stop::Form("indices per batch"));
                }
                let axis = position(i64::from(number(F.axis)?), self.extents(source, 0)?.len())?;
                let indices = self.integers(source, 1)?.into_iter().map(usize::try_from).collect::<Result<Vec<_>, _>>();
                OpKind::Gather { axis, indices: indices.map_err(|_| Stop::Form("a negative index"))? }
            }
            _ => return Ok(None),
        };
        Ok(Some(vec![Made { kind: made, inputs: vec![0], output: 0 }]))
    }

    fn strided_slice(&mut self, source: &Source<'_>) -> Result<OpKind, Stop> {
        const F: schema::StridedSlice = schema::STRIDED_SLICE;
        let (options, shape) = (required(source, 32)?, self.extents(source, 0)?);
        let mask = |field| options.i32(field, 0);
        if mask(F.ellipsis_mask)? != 0 || mask(F.new_axis_mask)? != 0 || options.bool(F.offset)? {
            return Err(Stop::Form("a slice with an ellipsis, a new axis or ends that are lengths"));
        }
        let (begin, end, step) = (self.integers(source, 1)?, self.integers(source, 2)?, self.integers(source, 3)?);
        if begin.len() > shape.len() || end.len() != begin.len() || step.len() != begin.len() {
            return Err(BEYOND);
        }
        let (begin_mask, end_mask, shrink) = (mask(F.begin_mask)?, mask(F.end_mask)?, mask(F.shrink_axis_mask)?);
        let dense = dense(&shape);
        let (mut first, mut dims, mut strides) = (0, Vec::new(), Vec::new());
        for (d, (&extent, &stride)) in shape.iter().zip(&dense).enumerate() {
            let n = extent as i64;
            if d >= begin.len() {
                dims.push(extent);
                strides.push(stride);
                continue;
            }
            let (step, masked) = (step[d], |mask: i32| mask >> d & 1 != 0);
            if step == 0 || step.unsigned_abs() > 1 << 24 {
                return Err(Stop::Form("a step of 0 or over 2^24"));
            }
            let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
            let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
            if masked(shrink) {
                let at = usize::try_from(from_end(begin[d])).ok().filter(|&at| at < extent).ok_or(BEYOND)?;
                first += at * stride.unsigned_abs();
                continue;
            }
            let start =
                if masked(begin_mask) { if step > 0 { 0 } else { n - 1 } } else { from_end(begin[d]).clamp(low, high) };
            let stop = if masked(end_mask) { if step > 0 { n } else { -1 } } else { from_end(end[d]).clamp(low, high) };
            let count = if step > 0 { (stop - start + step - 1) / step } else { (start - stop - step - 1) / -step };
            let count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(Stop::Form("an empty slice"))?;
            first += start as usize * stride.unsigned_abs();
            dims.push(count);
            strides.push(stride * step as isize);
        }
        Ok(OpKind::Strided { name: source.static_name(), first, dims, strides })
    }

    /// One strided read for every result.
    fn split(&mut self, source: &Source<'_>) -> Result<Vec<Made>, Stop> {
        let n = source.outputs.len();
        let (input, axis, sizes) = match source.code {
            op::SPLIT => (1, self.integers(source, 0)?, None),
            op::SPLIT_V => (0, self.integers(source, 2)?, Some(self.integers(source, 1)?)),
            _ => {
                let options = required(source, 64)?;
                (0, vec![i64::from(options.i32(schema::UNPACK.axis, 0)?)], None)
            }
        };
        let shape = self.extents(source, input)?;
        let &[axis] = &axis[..] else { return Err(NO_AXIS) };
        let axis = position(axis, shape.len())?;
        let extent = shape[axis];
        let sizes: Vec<usize> = match sizes {
            None if n != 0 && extent.is_multiple_of(n) => vec![extent / n; n],
            None => return Err(BEYOND),
            Some(sizes) => {
                let known = sizes.iter().filter(|&&size| size >= 0).try_fold(0usize, |all, &size| {
                    all.checked_add(usize::try_from(size).ok()?).filter(|&all| all <= extent)
                });
                let rest = extent - known.ok_or(BEYOND)?;
                let unknown = sizes.iter().filter(|&&size| size < 0).count();
                if unknown > 1 || unknown == 0 && rest != 0 || sizes.len() != n {
                    return Err(BEYOND);
                }
                sizes.iter().map(|&size| usize::try_from(size).unwrap_or(rest)).collect()
            }
        };
        if source.code == op::UNPACK && sizes.iter().any(|&size| size != 1) || sizes.contains(&0) {
            return Err(BEYOND);
        }
        let (strides, mut at, mut made) = (dense(&shape), 0, Vec::new());
        for (output, size) in sizes.into_iter().enumerate() {
            let mut dims = shape.clone();
            dims[axis] = size;
            let first = at * strides[axis].unsigned_abs();
            at += size;
            let kind = OpKind::Strided { name: source.static_name(), first, dims, strides: strides.clone() };
            made.push(Made { kind, inputs: vec![input], output });
        }
        Ok(made)
    }

    /// The amounts and the value of PADV2.
    pub(super) fn pad_value(&mut self, source: &Source<'_>) -> Result<OpKind, Stop> {
        let amounts = self.amounts(source)?;
        let (Some(input), Some(value)) = (source.input(0), source.input(2)) else {
            return Err(Stop::Form("an operand is missing"));
        };
        let (Some(input), Some(value)) =
            (self.tensors.load(input, self.problems)?, self.tensors.load(value, self.problems)?)
        else {
            return Err(Stop::Listed);
        };
        let of = |id: TensorId| self.tensors.get(id);
        let alike = of(input).dtype == of(value).dtype && quantized_alike(of(input), of(value));
        match of(value).data.as_deref() {
            Some(&[value]) if alike => Ok(OpKind::PadV2 { amounts, value }),
            _ => Err(Stop::Form("a value that is not a constant quantized as its operand is")),
        }
    }

    /// The shape of operand `i`, which may be a hostile one.
    fn extents(&self, source: &Source<'_>, i: usize) -> Result<Vec<usize>, Stop> {
        let index = source.input(i).ok_or(Stop::Form("an operand is missing"))?;
        let shape = self.tensors.shape(index)?;
        crate::tensors::extents(&shape).map(|(shape, _)| shape).ok_or(NO_SHAPE)
    }

    /// Operand `i`, a constant of integers.
    fn integers(&self, source: &Source<'_>, i: usize) -> Result<Vec<i64>, Stop> {
        let index = source.input(i).ok_or(Stop::Form("an operand is missing"))?;
        self.tensors.ints(index)?.ok_or(Stop::Form("an operand that must be a short integer constant is none"))
    }
}

fn quantized_alike(a: &fleetfoot_plan::graph::Tensor, b: &fleetfoot_plan::graph::Tensor) -> bool {
    let of = |t: &fleetfoot_plan::graph::Tensor| t.quant.as_ref().map(|q| (q.scales.clone(), q.zero_points.clone()));
    of(a) == of(b)
}

/// Elements from one index to the next, of each dimension.
fn dense(shape: &[usize]) -> Vec<isize> {
    (0..shape.len()).map(|d| shape[d + 1..].iter().product::<usize>() as isize).collect()
}

/// A dimension, counted from the end where it is negative.
fn position(axis: i64, rank: usize) -> Result<usize, Stop> {
    let axis = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(axis).ok().filter(|&axis| axis < rank).ok_or(NO_AXIS)
}

/// Begin and extent of a part; -1 is whatever is left.
fn part(extent: usize, begin: i64, size: i64) -> Result<(usize, usize), Stop> {
    let begin = usize::try_from(begin).ok().filter(|&begin| begin < extent).ok_or(BEYOND)?;
    let size = if size == -1 { extent - begin } else { usize::try_from(size).map_err(|_| BEYOND)? };
    if (1..=extent - begin).contains(&size) { Ok((begin, size)) } else { Err(BEYOND) }
}

fn first(parts: &[(usize, usize)], shape: &[usize]) -> usize {
    parts.iter().zip(dense(shape)).map(|(part, stride)| part.0 * stride.unsigned_abs()).sum()
}
