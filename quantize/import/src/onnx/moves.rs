//! Operators that move elements: each becomes a new order of dimensions, a strided read, a concatenation or a gathering of
//! rows, quantized as its operand is.

use std::rc::Rc;

use fleetfoot_plan::graph::{ElementType, OpKind, TensorId};

use super::{
    layout::{NHWC, reordered},
    model::Node,
    values::{Activation, Importer, Made, Pending, Stop, Value, axis, product},
    weighted::pending,
};

impl<'m> Importer<'m, '_> {
    /// The results of a moving operator; `None` for other operators.
    pub(super) fn moves(&mut self, position: usize, node: &'m Node) -> Result<Option<Vec<Value>>, Stop> {
        let value = match &node.op[..] {
            "Identity" | "Dropout" => self.value(node, 0)?,
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => self.reshape(position, node)?,
            "Transpose" => self.transpose(node)?,
            "Slice" => self.slice(position, node)?,
            "Split" => return self.split(position, node).map(Some),
            "Gather" => self.gather(position, node)?,
            "Concat" => self.concat(position, node)?,
            "Pad" => self.pad(position, node)?,
            "Resize" => self.resize(position, node)?,
            "DepthToSpace" | "SpaceToDepth" => self.blocks(position, node)?,
            "ArgMax" | "ArgMin" => self.arg_extreme(position, node)?,
            _ => return Ok(None),
        };
        Ok(Some(vec![value]))
    }

    fn reshape(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        if let Value::Pending(before) = self.value(node, 0)? {
            // It stays without quantization, in another shape.
            let shape = self.new_shape(node, &before.shape)?;
            let mut after = Pending { name: node.output(0).to_owned(), ..(*before).clone() };
            let plain: Vec<usize> = (0..before.shape.len()).collect();
            if before.order != plain {
                after.then.push((reordered(&before.shape, &before.order, &plain), before.shape.clone()));
            }
            after.then.push((OpKind::Reshape, shape.clone()));
            after.order = (0..shape.len()).collect();
            after.shape = shape;
            return Ok(Value::Pending(Rc::new(after)));
        }
        let x = self.activation(node, 0)?;
        let shape = self.new_shape(node, &x.shape)?;
        let x = self.plain(position, &x);
        let order = (0..shape.len()).collect();
        let made = Made { inputs: vec![x.id], shape, order };
        Ok(self.alike(position, OpKind::Reshape, &x, node.output(0), made))
    }

    /// The shape that a reshaping node gives a tensor of shape `old`.
    fn new_shape(&self, node: &Node, old: &[usize]) -> Result<Vec<usize>, Stop> {
        let rank = old.len();
        let shape: Vec<usize> = match &node.op[..] {
            "Flatten" => {
                let at = node.int("axis", 1);
                let at = if at == rank as i64 { rank } else { axis(at, rank)? };
                vec![old[..at].iter().product(), old[at..].iter().product()]
            }
            "Squeeze" => {
                let axes = self.attribute_or_operand(node, "axes", 1)?;
                let gone = match axes {
                    Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
                    None => (0..rank).filter(|&d| old[d] == 1).collect(),
                };
                if gone.iter().any(|&d| old[d] != 1) {
                    return Err(Stop::Form("an axis to remove whose extent is not 1"));
                }
                (0..rank).filter(|d| !gone.contains(d)).map(|d| old[d]).collect()
            }
            "Unsqueeze" => {
                let axes = self.attribute_or_operand(node, "axes", 1)?.unwrap_or_default();
                let more = rank + axes.len();
                let new = axes.iter().map(|&a| axis(a, more)).collect::<Result<Vec<_>, _>>()?;
                let mut old = old.iter();
                (0..more).map(|d| if new.contains(&d) { 1 } else { old.next().copied().unwrap_or(1) }).collect()
            }
            _ => {
                let wanted = self.integers(node, 1)?.ok_or(Stop::Form("the shape is missing"))?;
                target(old, &wanted, node.int("allowzero", 0) != 0)?
            }
        };
        if product(&shape)? != old.iter().product::<usize>() || shape.len() > 6 {
            return Err(Stop::Form("a shape of another number of elements, or of more than six dimensions"));
        }
        Ok(shape)
    }

    fn transpose(&mut self, node: &'m Node) -> Result<Value, Stop> {
        let value = self.value(node, 0)?;
        let (old, stored) = match &value {
            Value::Pending(before) => (before.shape.clone(), before.order.clone()),
            _ => {
                let x = self.activation(node, 0)?;
                (x.shape, x.order)
            }
        };
        let rank = old.len();
        let perm = match node.ints("perm") {
            Some(perm) => perm.iter().map(|&d| axis(d, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).rev().collect(),
        };
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if sorted.into_iter().ne(0..rank) {
            return Err(Stop::Form("an order that is no permutation of its dimensions"));
        }
        // New dimension `i` is old dimension `perm[i]`.
        let shape = perm.iter().map(|&d| old[d]).collect();
        let renamed = |old: &usize| perm.iter().position(|d| d == old).unwrap_or(0);
        let order = stored.iter().map(renamed).collect();
        Ok(match value {
            Value::Pending(before) => Value::Pending(Rc::new(Pending { shape, order, ..(*before).clone() })),
            Value::Activation(x) => Value::Activation(Activation { shape, order, ..x }),
            other => other,
        })
    }

    /// A part of `x`: of each dimension of the file first element, number and step.
    fn part(&mut self, position: usize, x: &Activation, name: &str, parts: &[(usize, usize, isize)]) -> Value {
        let mut stride = 1isize;
        let (mut first, mut dims, mut strides) = (0usize, Vec::new(), Vec::new());
        for &d in x.order.iter().rev() {
            let (begin, count, step) = parts[d];
            first += begin * stride.unsigned_abs();
            dims.insert(0, count);
            strides.insert(0, stride * step);
            stride *= x.shape[d] as isize;
        }
        let shape = parts.iter().map(|part| part.1).collect();
        let made = Made { inputs: vec![x.id], shape, order: x.order.clone() };
        self.alike(position, OpKind::Strided { name: "SLICE", first, dims, strides }, x, name, made)
    }

    fn slice(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let rank = x.shape.len();
        let missing = Stop::Form("an operand is missing");
        let (Some(starts), Some(ends)) = (self.integers(node, 1)?, self.integers(node, 2)?) else {
            return Err(missing);
        };
        let axes = self.integers(node, 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
        let steps = self.integers(node, 4)?.unwrap_or_else(|| vec![1; starts.len()]);
        if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            return Err(Stop::Form("operands of different lengths"));
        }
        let mut parts: Vec<(usize, usize, isize)> = x.shape.iter().map(|&d| (0, d, 1)).collect();
        for (i, &a) in axes.iter().enumerate() {
            let d = axis(a, rank)?;
            let n = x.shape[d] as i64;
            let step = steps[i];
            let at = |v: i64| if v < 0 { v.saturating_add(n) } else { v };
            let (first, count) = if step > 0 {
                let (first, end) = (at(starts[i]).clamp(0, n), at(ends[i]).clamp(0, n));
                (first, (end - first).max(0).checked_add(step - 1).map_or(1, |span| span / step))
            } else {
                let (first, end) = (at(starts[i]).clamp(0, n - 1), at(ends[i]).clamp(-1, n - 1));
                let back = step.checked_neg().filter(|&back| back > 0).ok_or(Stop::Form("a step of 0"))?;
                (first, (first - end).max(0).checked_add(back - 1).map_or(1, |span| span / back))
            };
            if count == 0 {
                return Err(Stop::Form("a part without elements"));
            }
            let step = step.clamp(-n, n) as isize;
            parts[d] = (first as usize, count as usize, step);
        }
        Ok(self.part(position, &x, node.output(0), &parts))
    }

    fn split(&mut self, position: usize, node: &'m Node) -> Result<Vec<Value>, Stop> {
        let x = self.activation(node, 0)?;
        let d = axis(node.int("axis", 0), x.shape.len())?;
        let (n, count) = (x.shape[d], node.outputs.len().max(1));
        let sizes: Vec<usize> = match self.attribute_or_operand(node, "split", 1)? {
            Some(sizes) => sizes.iter().map(|&s| usize::try_from(s).unwrap_or(0)).collect(),
            None => {
                let each = n.div_ceil(count);
                (0..count).map(|i| each.min(n.saturating_sub(i * each))).collect()
            }
        };
        let total = sizes.iter().try_fold(0usize, |all, &s| all.checked_add(s));
        if sizes.len() != count || sizes.contains(&0) || total != Some(n) {
            return Err(Stop::Form("parts that do not make up its operand"));
        }
        let mut begin = 0;
        let mut values = Vec::new();
        for (i, &size) in sizes.iter().enumerate() {
            let mut parts: Vec<(usize, usize, isize)> = x.shape.iter().map(|&d| (0, d, 1)).collect();
            parts[d] = (begin, size, 1);
            values.push(self.part(position, &x, node.output(i), &parts));
            begin += size;
        }
        Ok(values)
    }

    fn gather(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let indices = self.constant(node, 1)?.ok_or(Stop::Form("an operand is missing"))?;
        let d = axis(node.int("axis", 0), x.shape.len())?;
        let ints = indices.to_ints().ok_or(Stop::Form("indices that are not integers"))?;
        let rows = ints.iter().map(|&i| axis(i, x.shape[d])).collect::<Result<Vec<_>, _>>()?;
        let x = self.plain(position, &x);
        let shape = [&x.shape[..d], &indices.shape[..], &x.shape[d + 1..]].concat();
        product(&shape)?;
        let made = Made { inputs: vec![x.id], order: (0..shape.len()).collect(), shape };
        Ok(self.alike(position, OpKind::Gather { axis: d, indices: rows }, &x, node.output(0), made))
    }

    fn concat(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let first = self.activation(node, 0)?;
        let (rank, order) = (first.shape.len(), first.order.clone());
        let d = axis(node.int("axis", 0), rank)?;
        let mut shape = first.shape.clone();
        shape[d] = 0;
        let (mut ids, mut alike) = (Vec::new(), true);
        for i in 0..node.inputs.len() {
            let x = self.activation(node, i)?;
            let agree = x.shape.len() == rank && (0..rank).all(|k| k == d || x.shape[k] == shape[k]);
            if !agree || x.real != first.real {
                return Err(Stop::Form("operands whose shapes differ in another dimension"));
            }
            shape[d] += x.shape[d];
            let x = self.relay(position, &x, &order);
            alike &= self.graph.tensor(x.id).quant == self.graph.tensor(first.id).quant;
            ids.push(x.id);
        }
        product(&shape)?;
        let outer = order.iter().take_while(|&&k| k != d).map(|&k| shape[k]).product();
        let kind = OpKind::Concat { name: "CONCATENATION", outer };
        if alike {
            let made = Made { inputs: ids, shape, order };
            return Ok(self.alike(position, kind, &first, node.output(0), made));
        }
        if !first.real {
            return Err(Stop::Form("integers of different scales"));
        }
        Ok(pending(position, node, kind, ids.into_iter().map(Some).collect(), shape, order))
    }

    fn pad(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let rank = x.shape.len();
        if node.text("mode", "constant") != "constant" {
            return Err(Stop::Form("a border that is not constant"));
        }
        let pads = self.attribute_or_operand(node, "pads", 1)?.ok_or(Stop::Form("an operand is missing"))?;
        let axes = match self.integers(node, 3)? {
            Some(axes) => axes.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() || pads.iter().any(|p| !(0..=65_535).contains(p)) {
            return Err(Stop::Form("borders that are not two numbers of at most 65535 per dimension"));
        }
        if let Some(value) = self.value_of_border(node)?
            && value != 0.0
        {
            return Err(Stop::Form("a border of another value than 0"));
        }
        let mut amounts = vec![[0usize; 2]; rank];
        for (i, &d) in axes.iter().enumerate() {
            amounts[d] = [pads[i] as usize, pads[i + axes.len()] as usize];
        }
        let shape: Vec<usize> = x.shape.iter().zip(&amounts).map(|(d, [b, a])| d + b + a).collect();
        product(&shape)?;
        let stored = x.order.iter().map(|&d| amounts[d]).collect();
        let made = Made { inputs: vec![x.id], shape, order: x.order.clone() };
        Ok(self.alike(position, OpKind::Pad { amounts: stored }, &x, node.output(0), made))
    }

    fn value_of_border(&self, node: &Node) -> Result<Option<f32>, Stop> {
        match node.input(2).map(|_| self.value(node, 2)).transpose()? {
            None => Ok(Some(node.float("value", 0.0))),
            Some(Value::Constant(constant)) => Ok(constant.to_floats().and_then(|v| v.first().copied())),
            // Its integer is the zero point, or it is another value.
            Some(Value::Scaled(s)) => {
                let zero = s.constant.to_ints().and_then(|v| v.first().copied());
                Ok(Some(if zero == s.quant.zero_points.first().map(|&z| z.into()) { 0.0 } else { f32::NAN }))
            }
            Some(_) => Ok(Some(f32::NAN)),
        }
    }

    fn resize(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let x = self.image(position, &x)?;
        let sizes = self.integers(node, 3)?;
        let scales = match node.input(2) {
            Some(_) => self.constant(node, 2)?.and_then(|c| c.to_floats()).filter(|s| !s.is_empty()),
            None => None,
        };
        let out: Vec<usize> = match (&sizes, &scales) {
            (Some(sizes), _) => sizes.iter().map(|&s| usize::try_from(s).unwrap_or(0)).collect(),
            (None, Some(scales)) => x.shape.iter().zip(scales).map(|(&d, s)| (d as f32 * s).floor() as usize).collect(),
            _ => return Err(Stop::Form("neither sizes nor scales are constant")),
        };
        let fits = out.len() == 4 && out[..2] == x.shape[..2] && out[2..].iter().all(|d| (1..=1 << 20).contains(d));
        if !fits || node.attributes.contains_key("axes") || node.int("antialias", 0) != 0 {
            return Err(Stop::Form("a resize of other dimensions than rows and columns, or with antialias"));
        }
        product(&out)?;
        let bilinear = match node.text("mode", "nearest") {
            "linear" => true,
            "nearest" => false,
            _ => return Err(Stop::Form("a resize that is neither nearest nor linear")),
        };
        let mode = node.text("coordinate_transformation_mode", "half_pixel");
        let (align_corners, half_pixel_centers) = match mode {
            "align_corners" => (true, false),
            "asymmetric" => (false, false),
            "half_pixel" | "pytorch_half_pixel" => (false, true),
            _ => return Err(Stop::Form("an unknown coordinate_transformation_mode")),
        };
        let rounding = node.text("nearest_mode", "round_prefer_floor");
        let same = |i: usize| {
            let (n, out) = (x.shape[2 + i], out[2 + i]);
            (0..out).all(|at| theirs(mode, rounding, at, n, out) == ours(align_corners, half_pixel_centers, at, n, out))
        };
        if !(bilinear || same(0) && same(1)) {
            return Err(Stop::Form("a nearest resize that rounds unlike asymmetric with floor"));
        }
        let kind = OpKind::Resize { bilinear, align_corners, half_pixel_centers };
        let made = Made { inputs: vec![x.id], shape: out, order: NHWC.to_vec() };
        Ok(self.alike(position, kind, &x, node.output(0), made))
    }

    fn blocks(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let x = self.image(position, &x)?;
        let (&[n, c, h, w], Ok(b)) = (&x.shape[..], usize::try_from(node.int("blocksize", 0))) else {
            return Err(Stop::Form("a block size that is not positive"));
        };
        let deep = node.op == "DepthToSpace";
        let fits = (1..1 << 16).contains(&b)
            && if deep { c.is_multiple_of(b * b) } else { h.is_multiple_of(b) && w.is_multiple_of(b) };
        if !fits {
            return Err(Stop::Form("a block size that does not divide its operand"));
        }
        let of = |strides: [usize; 6]| strides.map(|s| s as isize).to_vec();
        let (shape, dims, strides) = if deep {
            let k = c / (b * b);
            // Of a channel of the operand: which cell of the block, and which channel of the result.
            let (row, column, channel) = if node.text("mode", "DCR") == "DCR" { (b * k, k, 1) } else { (b, 1, b * b) };
            let strides = of([h * w * c, w * c, row, c, column, channel]);
            (vec![n, k, h * b, w * b], vec![n, h, b, w, b, k], strides)
        } else {
            let strides = of([h * w * c, b * w * c, b * c, w * c, c, 1]);
            (vec![n, c * b * b, h / b, w / b], vec![n, h / b, w / b, b, b, c], strides)
        };
        let kind = OpKind::Strided { name: "DEPTH_TO_SPACE", first: 0, dims, strides };
        let made = Made { inputs: vec![x.id], shape, order: NHWC.to_vec() };
        Ok(self.alike(position, kind, &x, node.output(0), made))
    }

    fn arg_extreme(&mut self, position: usize, node: &'m Node) -> Result<Value, Stop> {
        let x = self.activation(node, 0)?;
        let d = axis(node.int("axis", 0), x.shape.len())?;
        if node.int("select_last_index", 0) != 0 {
            return Err(Stop::Form("select_last_index"));
        }
        let x = self.plain(position, &x);
        let mut shape = x.shape.clone();
        if node.int("keepdims", 1) != 0 {
            shape[d] = 1;
        } else {
            shape.remove(d);
        }
        let id: TensorId = self.tensor(node.output(0), &shape, ElementType::Int64, None);
        let largest = node.op == "ArgMax";
        self.push(position, OpKind::ArgExtreme { axis: d, largest }, vec![Some(x.id)], id);
        let order = (0..shape.len()).collect();
        Ok(Value::Activation(Activation { id, shape, order, real: false, unsigned: false }))
    }
}

/// The shape that `wanted` stands for: 0 keeps an extent, -1 takes what is left.
fn target(shape: &[usize], wanted: &[i64], zero_is_zero: bool) -> Result<Vec<usize>, Stop> {
    let wrong = || Stop::Form("a shape that does not fit its operand");
    let mut out = Vec::with_capacity(wanted.len());
    for (i, &want) in wanted.iter().enumerate() {
        out.push(match want {
            -1 => 1,
            0 if !zero_is_zero => *shape.get(i).ok_or_else(wrong)?,
            want => usize::try_from(want).ok().filter(|&d| d > 0).ok_or_else(wrong)?,
        });
    }
    if let Some(at) = wanted.iter().position(|&want| want == -1) {
        let known = product(&out)?;
        let all: usize = shape.iter().product();
        out[at] = all.checked_div(known).ok_or_else(wrong)?;
    }
    Ok(out)
}

/// The cell that ONNX reads for output cell `i`.
fn theirs(mode: &str, rounding: &str, i: usize, n: usize, out: usize) -> usize {
    let (i, ratio) = (i as f64, n as f64 / out as f64);
    let at = match mode {
        "align_corners" => {
            if out > 1 {
                i * (n - 1) as f64 / (out - 1) as f64
            } else {
                0.0
            }
        }
        "asymmetric" => i * ratio,
        "pytorch_half_pixel" if out == 1 => 0.0,
        _ => (i + 0.5) * ratio - 0.5,
    };
    let cell = match rounding {
        "floor" => at.floor(),
        "ceil" => at.ceil(),
        "round_prefer_ceil" => (at + 0.5).floor(),
        _ => (at - 0.5).ceil(),
    };
    (cell.max(0.0) as usize).min(n - 1)
}

/// The cell that our operator reads, see `docs/numerics.md`.
fn ours(align_corners: bool, half_pixel: bool, i: usize, n: usize, out: usize) -> usize {
    let align = align_corners && out > 1;
    let k = if align { (n - 1) as f32 / (out - 1) as f32 } else { n as f32 / out as f32 };
    let at = (i as f32 + if half_pixel { 0.5 } else { 0.0 }) * k;
    let cell = if align_corners { at.round() } else { at.floor() };
    (cell as usize).min(n - 1)
}
