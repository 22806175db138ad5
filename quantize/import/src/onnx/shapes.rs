//! Arithmetic on shapes: exporters compute the shape of a `Reshape` at run time. With all extents known it is constant.

use super::{
    model::{Constant, Node, Type},
    values::{Importer, Stop, Value, axis},
};

/// More elements than this are data, not shapes.
const MAX: usize = 1 << 12;

/// The result of a node of shape arithmetic; `None` for other nodes.
pub(super) fn evaluate(importer: &Importer<'_, '_>, node: &Node) -> Result<Option<Constant>, Stop> {
    if node.is("Shape") {
        let shape = match importer.value(node, 0)? {
            Value::Activation(a) => a.shape,
            Value::Pending(p) => p.shape.clone(),
            Value::Constant(c) => c.shape.clone(),
            Value::Scaled(s) => s.constant.shape.clone(),
            Value::Broken => return Err(Stop::Listed),
        };
        let at = |name: &str, default: i64| {
            let at = node.int(name, default);
            (if at < 0 { at + shape.len() as i64 } else { at }).clamp(0, shape.len() as i64) as usize
        };
        let (start, end) = (at("start", 0), at("end", shape.len() as i64));
        let values: Vec<i64> = shape.get(start..end).unwrap_or_default().iter().map(|&d| d as i64).collect();
        return Ok(Some(Constant::ints(&values)));
    }
    if node.inputs.is_empty() || !matches!(&node.domain[..], "" | "ai.onnx") {
        return Ok(None);
    }
    // Every operand that is there must be a small constant of integers.
    let mut operands: Vec<Option<(Vec<i64>, Vec<usize>)>> = Vec::new();
    for name in &node.inputs {
        match importer.values.get(&name[..]) {
            _ if name.is_empty() => operands.push(None),
            Some(Value::Constant(c)) if c.elements() <= MAX => match c.dtype {
                Type::Int64 | Type::Int32 | Type::Bool => {
                    operands.push(c.to_ints().map(|ints| (ints, c.shape.clone())));
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        }
    }
    let operand = |i: usize| operands.get(i).and_then(Option::as_ref);
    let Some((x, shape)) = operand(0) else { return Ok(None) };
    let ints = |i: usize| operand(i).map(|o| o.0.clone());
    let vector = |values: Vec<i64>| Some(Constant::ints(&values));
    let scalar = |value: i64| Some(Constant { shape: Vec::new(), ..Constant::ints(&[value]) });
    let both = |f: fn(i64, i64) -> Option<i64>| -> Option<Constant> {
        let (y, other) = operand(1)?;
        let n = x.len().max(y.len());
        let at = |v: &[i64], i: usize| v.get(if v.len() == 1 { 0 } else { i }).copied();
        let values: Option<Vec<i64>> = (0..n).map(|i| f(at(x, i)?, at(y, i)?)).collect();
        let shape = if shape.len() >= other.len() { shape } else { other };
        values
            .filter(|v| v.len() == shape.iter().product::<usize>())
            .map(|v| Constant { shape: shape.clone(), ..Constant::ints(&v) })
    };
    Ok(match &node.op[..] {
        "Identity" => Some(Constant { shape: shape.clone(), ..Constant::ints(x) }),
        "Cast" if matches!(node.int("to", 0), 6 | 7) => Some(Constant { shape: shape.clone(), ..Constant::ints(x) }),
        "Concat" if shape.len() == 1 => {
            vector(operands.iter().flatten().flat_map(|o| o.0.clone()).collect()).filter(|c| c.elements() <= MAX)
        }
        "Gather" if shape.len() == 1 => {
            let indices = operand(1);
            let picked = indices.and_then(|(indices, _)| {
                indices.iter().map(|&i| axis(i, x.len()).ok().map(|i| x[i])).collect::<Option<Vec<i64>>>()
            });
            picked.zip(indices).map(|(v, (_, shape))| Constant { shape: shape.clone(), ..Constant::ints(&v) })
        }
        "Slice" if shape.len() == 1 => {
            let (Some(start), Some(end)) = (ints(1), ints(2)) else { return Ok(None) };
            let steps = ints(4).unwrap_or_else(|| vec![1]);
            let (&[start], &[end], &[1]) = (&start[..], &end[..], &steps[..]) else { return Ok(None) };
            let len = x.len() as i64;
            let at = |i: i64| (if i < 0 { i.saturating_add(len) } else { i }).clamp(0, len) as usize;
            x.get(at(start)..at(end)).map(Constant::ints)
        }
        "Unsqueeze" | "Reshape" if x.len() == 1 => vector(x.clone()),
        "Squeeze" if x.len() == 1 => scalar(x[0]),
        "Add" => both(i64::checked_add),
        "Sub" => both(i64::checked_sub),
        "Mul" => both(i64::checked_mul),
        "Div" => both(i64::checked_div),
        _ => None,
    })
}
