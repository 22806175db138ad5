//! `postprocess`.

use fleetfoot_format::postprocess::{self, Boxes, Classes, Coding, Postprocess, Values};
use fleetfoot_settings::{Fields, Node, Value};

use crate::{
    kinds::{count, divisor, line, per_channel, real, whole},
    read::refused,
};

/// The section *postprocess*.
pub(crate) fn postprocess(fields: &mut Fields<'_>) -> Option<Vec<u8>> {
    const HINT: &str = "one of classes, values, boxes, with its settings";
    let mut inner = fields.inner("postprocess")?;
    let kinds = ["classes", "values", "boxes"].map(|kind| inner.has(kind));
    if kinds.iter().filter(|&&there| there).count() != 1 {
        inner.problem_at("", "one kind of answer was expected".into(), HINT);
    }
    let made = match kinds {
        [true, ..] => classes(&mut inner).map(|it| ("classes", postprocess::write(&Postprocess::Classes(it)))),
        [_, true, _] => values(&mut inner),
        [.., true] => boxes(&mut inner),
        _ => None,
    };
    let made = made.and_then(|(name, written)| match written {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            refused(&mut inner, name, error);
            None
        }
    });
    if kinds.contains(&true) {
        inner.finish();
    }
    made
}

type Written = (&'static str, Result<Vec<u8>, fleetfoot_format::FormatError>);

fn classes(fields: &mut Fields<'_>) -> Option<Classes> {
    let mut inner = fields.inner("classes")?;
    let output = output(&mut inner, "output", 0);
    let softmax = flag(&mut inner, "softmax");
    let top = inner.optional("top", short).map_or(5, |(top, _)| top);
    // Below every score that there is.
    let threshold = inner.optional("threshold", real).map_or(f32::MIN, |(threshold, _)| threshold);
    inner.finish();
    Some(Classes { output, softmax, top, threshold })
}

fn values(fields: &mut Fields<'_>) -> Option<Written> {
    let mut inner = fields.inner("values")?;
    let output = output(&mut inner, "output", 0);
    let scale = inner.optional("scale", real).map_or(1.0, |(scale, _)| scale);
    let offset = inner.optional("offset", real).map_or(0.0, |(offset, _)| offset);
    let unit = inner.optional("unit", line).map(|(unit, _)| unit).unwrap_or_default();
    inner.finish();
    Some(("values", postprocess::write(&Postprocess::Values(Values { output, scale, offset, unit: &unit }))))
}

fn boxes(fields: &mut Fields<'_>) -> Option<Written> {
    let mut inner = fields.inner("boxes")?;
    let (boxes, scores) = (output(&mut inner, "boxes", 0), output(&mut inner, "scores", 1));
    let anchors = inner.optional("anchors", anchors).map(|(anchors, _)| anchors);
    let scales = inner.optional("scales", |node| per_channel(node, divisor)).map_or([1.0; 4], |(scales, _)| scales);
    let coding = |node: &Node| match &node.value {
        Value::Text(text) => match text.as_str() {
            "top_left_bottom_right" => Ok(Coding::TopLeftBottomRight),
            "left_top_right_bottom" => Ok(Coding::LeftTopRightBottom),
            "centre_size" => Ok(Coding::CentreSize),
            "anchors" => Ok(Coding::Anchors { scales }),
            _ => Err(CODINGS),
        },
        _ => Err(CODINGS),
    };
    let coding = inner.required("coding", coding, CODINGS);
    let (sigmoid, background) = (flag(&mut inner, "sigmoid"), flag(&mut inner, "background"));
    let threshold = inner.required("threshold", real, "the least score of an answer, such as 0.5");
    let overlap = inner.optional("overlap", real).map_or(0.5, |(overlap, _)| overlap);
    let top = inner.optional("top", short).map_or(10, |(top, _)| top);
    if matches!(coding, Some(Coding::Anchors { .. })) != anchors.is_some() {
        inner.problem_at(
            "anchors",
            "coding and anchors do not agree".into(),
            "`coding: anchors` with a list of [y, x, height, width], or neither",
        );
    }
    inner.finish();
    let anchors = anchors.unwrap_or_default();
    let (coding, threshold) = (coding?, threshold?);
    let settings = Boxes { boxes, scores, coding, sigmoid, background, threshold, overlap, top, anchors: &anchors };
    Some(("boxes", postprocess::write(&Postprocess::Boxes(settings))))
}

const CODINGS: &str = "top_left_bottom_right, left_top_right_bottom, centre_size or anchors";

fn output(fields: &mut Fields<'_>, name: &'static str, default: u8) -> u8 {
    let index =
        |node: &Node| whole(node).ok().filter(|&n| n < 8).map(|n| n as u8).ok_or("the index of an output, from 0");
    fields.optional(name, index).map_or(default, |(index, _)| index)
}

fn flag(fields: &mut Fields<'_>, name: &'static str) -> bool {
    fields.optional(name, Fields::flag_of).is_some_and(|(flag, _)| flag)
}

fn short(node: &Node) -> Result<u16, &'static str> {
    count(node).ok().and_then(|n| u16::try_from(n).ok()).ok_or("a whole number from 1 to 1000")
}

/// Four f32 for each.
fn anchors(node: &Node) -> Result<Vec<u8>, &'static str> {
    const HINT: &str = "a list of [y, x, height, width]";
    let Value::List(list) = &node.value else { return Err(HINT) };
    let one = |node: &Node| per_channel::<4>(node, real).map_err(|_| HINT);
    let all: Vec<[f32; 4]> = list.iter().map(one).collect::<Result<_, _>>()?;
    Ok(all.iter().flatten().flat_map(|v| v.to_le_bytes()).collect())
}
