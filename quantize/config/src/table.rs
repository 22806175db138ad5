//! `preprocess.table`.

use fleetfoot_format::preprocess::{Column, Encode};
use fleetfoot_settings::{Fields, Node, Value};

use crate::kinds::{divisor, line, only, real};

/// A column with its words.
pub(crate) struct Owned {
    name: String,
    encode: OwnedEncode,
}

enum OwnedEncode {
    Number { mean: f32, std: f32, missing: Option<f32> },
    OneHot { categories: String, unknown_is_zeros: bool, missing_is_zeros: bool },
}

impl Owned {
    pub(crate) fn column(&self) -> Column<'_> {
        let encode = match &self.encode {
            OwnedEncode::Number { mean, std, missing } => Encode::Number { mean: *mean, std: *std, missing: *missing },
            OwnedEncode::OneHot { categories, unknown_is_zeros, missing_is_zeros } => {
                Encode::OneHot { categories, unknown_is_zeros: *unknown_is_zeros, missing_is_zeros: *missing_is_zeros }
            }
        };
        Column { name: &self.name, encode }
    }
}

/// The columns; `None` where a problem was told.
pub(crate) fn table(fields: &mut Fields<'_>) -> Option<Vec<Owned>> {
    const HINT: &str = "`- age: {mean: 40, std: 12}` or `- colour: {one_hot: [red, green]}`";
    let mut inner = fields.inner("table")?;
    let mut columns: Vec<Owned> = Vec::new();
    let mut whole = true;
    let list = inner.list("columns");
    if list.is_empty() {
        inner.problem_at("columns", "there is no column".into(), HINT);
        whole = false;
    }
    for (node, path) in list {
        let Some((name, Some(settings))) = only(node) else {
            let path = path.rsplit_once('.').map_or(path.as_str(), |(_, last)| last).to_owned();
            inner.problem(node, &path, "a column was expected".into(), HINT);
            whole = false;
            continue;
        };
        if columns.iter().any(|column| column.name == name) {
            inner.problem_at("columns", format!("there are two columns {name}"), "names of columns are all different");
        }
        let encode = inner.element(settings, &format!("{path}.{name}")).and_then(encode);
        match encode {
            Some(encode) => columns.push(Owned { name: name.into(), encode }),
            None => whole = false,
        }
    }
    inner.finish();
    whole.then_some(columns)
}

fn encode(mut fields: Fields<'_>) -> Option<OwnedEncode> {
    let encode = if fields.has("one_hot") {
        let categories = fields.optional("one_hot", categories).map(|(categories, _)| categories);
        let mut zeros = |name| fields.optional(name, zeros).is_some_and(|(zeros, _)| zeros);
        let (unknown_is_zeros, missing_is_zeros) = (zeros("unknown"), zeros("missing"));
        categories.map(|categories| OwnedEncode::OneHot { categories, unknown_is_zeros, missing_is_zeros })
    } else {
        let mean = fields.optional("mean", real).map_or(0.0, |(mean, _)| mean);
        let std = fields.optional("std", divisor).map_or(1.0, |(std, _)| std);
        let missing = fields.optional("missing", real).map(|(missing, _)| missing);
        Some(OwnedEncode::Number { mean, std, missing })
    };
    fields.finish();
    encode
}

/// One per line, all different.
fn categories(node: &Node) -> Result<String, &'static str> {
    const HINT: &str = "a list of words, all different";
    let Value::List(list) = &node.value else { return Err(HINT) };
    let words: Vec<String> = list.iter().map(line).collect::<Result<_, _>>()?;
    let twice = words.iter().enumerate().any(|(i, word)| words[..i].contains(word));
    if words.is_empty() || twice { Err(HINT) } else { Ok(words.join("\n")) }
}

fn zeros(node: &Node) -> Result<bool, &'static str> {
    match &node.value {
        Value::Text(text) if text == "zeros" => Ok(true),
        Value::Text(text) if text == "refuse" => Ok(false),
        _ => Err("zeros or refuse"),
    }
}
