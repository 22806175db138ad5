//! A YAML document as a tree that knows its lines, and the problems that were found in it.
//!
//! Settings are read by hand from this tree, not by a derive: then every problem is told at once, each with its place and a way out.

use core::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// What stands there.
    pub value: Value,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Value {
    /// `~`, or nothing at all.
    Nothing,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A scalar that is nothing else.
    Text(String),
    /// Elements in their order.
    List(Vec<Node>),
    /// Members in their order.
    Map(Vec<(String, Node)>),
}

/// Something that is wrong in a document.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Line in the file, from 1; 0 where it concerns the whole.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// Where in the document: `stages[1].canary.percent`.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, what, hint } = self;
        write!(f, "line {line}, column {column}: {path}: {what}")?;
        if hint.is_empty() { Ok(()) } else { write!(f, " ({hint})") }
    }
}

impl Node {
    /// The tree of a document.
    ///
    /// # Errors
    /// The problem that YAML has with it.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let parsed: Result<Tree, _> = serde_saphyr::from_str(text);
        parsed.map(|tree| tree.0).map_err(|error| {
            let place = error.location();
            Problem {
                line: place.map_or(0, |place| place.line()),
                column: place.map_or(0, |place| place.column()),
                path: "the document".into(),
                what: error.to_string().lines().next().unwrap_or_default().into(),
                hint: "it is not well-formed YAML".into(),
            }
        })
    }

    /// A few words for messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.value {
            Value::Nothing => "nothing",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

struct Tree(Node);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value: Plain(value), referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self(Node { line: referenced.line(), column: referenced.column(), value }))
    }
}

struct Plain(Value);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Shape).map(Plain)
    }
}

struct Shape;

impl<'de> Visitor<'de> for Shape {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping, a list or a scalar")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(node)) = items.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, Tree(node))) = entries.next_entry::<String, Tree>()? {
            map.push((key, node));
        }
        Ok(Value::Map(map))
    }
}
