//! What members of `bundle.yaml` can be, beyond what any settings have.

use fleetfoot_settings::{Fields, Node, Value};

/// Text as it stands there: a number would lose how it was written.
pub(crate) fn text(node: &Node) -> Result<String, &'static str> {
    match &node.value {
        Value::Text(text) if !text.is_empty() => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => {
            Err("text; write it in quotes, so that it is not taken for something else")
        }
        _ => Err("text was expected"),
    }
}

/// Text of one line.
pub(crate) fn line(node: &Node) -> Result<String, &'static str> {
    let text = Fields::text_of(node)?;
    if text.contains('\n') { Err("text of one line") } else { Ok(text) }
}

/// Any finite number that single precision holds.
pub(crate) fn real(node: &Node) -> Result<f32, &'static str> {
    match node.value {
        Value::Number(number) if (number as f32).is_finite() => Ok(number as f32),
        _ => Err("a number"),
    }
}

/// A finite number that something is divided by.
pub(crate) fn divisor(node: &Node) -> Result<f32, &'static str> {
    real(node).ok().filter(|&number| number != 0.0).ok_or("a number other than 0")
}

/// A whole number from 1 on.
pub(crate) fn count(node: &Node) -> Result<u32, &'static str> {
    let whole = Fields::whole_of(node).ok().and_then(|n| u32::try_from(n).ok());
    whole.filter(|&n| n > 0).ok_or("a whole number from 1 on")
}

/// A whole number, 0 among them.
pub(crate) fn whole(node: &Node) -> Result<u32, &'static str> {
    Fields::whole_of(node).ok().and_then(|n| u32::try_from(n).ok()).ok_or("a whole number")
}

/// One number for each of `N` channels, or one for all.
pub(crate) fn per_channel<const N: usize>(
    node: &Node,
    one: impl Fn(&Node) -> Result<f32, &'static str>,
) -> Result<[f32; N], &'static str> {
    const HINT: &str = "a number, or a list of one for each channel; what divides is not 0";
    match &node.value {
        Value::List(list) => {
            let numbers: Vec<f32> = list.iter().map(one).collect::<Result<_, _>>().map_err(|_| HINT)?;
            numbers.try_into().map_err(|_| HINT)
        }
        _ => one(node).map(|number| [number; N]).map_err(|_| HINT),
    }
}

/// The only member of a mapping, or a word that stands alone.
pub(crate) fn only(node: &Node) -> Option<(&str, Option<&Node>)> {
    match &node.value {
        Value::Text(word) => Some((word, None)),
        Value::Map(map) => match map.as_slice() {
            [(name, inner)] => Some((name, Some(inner))),
            _ => None,
        },
        _ => None,
    }
}
