//! JSON in which no object has two members of one name.
//!
//! Parsers disagree about such a member: some take the first, some the last. Whoever can change an unsigned part of a file, or finds a
//! signer that reads it the other way, could make two readers see two files. So it is refused everywhere, outside of what is
//! signed too.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
pub use serde_json::Value;
use serde_json::{Map, Number};

/// Where and why a text is not a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// Line of the fault, from 1.
    pub line: usize,
    /// Column of the fault, from 1.
    pub column: usize,
    /// Whether the fault is a member that is there twice; else the text is not JSON.
    pub is_duplicate: bool,
}

/// The document `bytes`: all of it, at most 128 levels deep.
///
/// # Errors
/// [`JsonError`].
pub fn parse(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let parsed = Strict.deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    // Any value fits: data that does not is a member that was refused below.
    parsed.map_err(|e| JsonError { line: e.line(), column: e.column(), is_duplicate: e.is_data() })
}

/// Builds a [`Value`].
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        // JSON has no infinities; the parser refuses numbers that would be.
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if all.contains_key(&name) {
                return Err(de::Error::custom("a member that is there twice"));
            }
            let value = members.next_value_seed(Self)?;
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_duplicate { "a member is there twice" } else { "not JSON" };
        write!(f, "{what}: line {}, column {}", self.line, self.column)
    }
}

impl core::error::Error for JsonError {}

#[cfg(test)]
mod tests {
    use alloc::{
        format,
        string::{String, ToString as _},
    };

    use super::*;

    #[test]
    fn like_any_other_parser_but_for_duplicates() {
        for text in [
            "null",
            " [ ] ",
            r#"{"a":{"b":[1,-2,1.5,true,false,null,"\u00e9\n"]},"b":{"a":{}}}"#,
            "18446744073709551615",
            "18446744073709551616",
            "-0",
            "1e308",
            "-9223372036854775808",
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(deep(127).as_bytes()).is_ok());
        let refused = [
            String::new(),
            "{".into(),
            "[1,]".into(),
            "[] []".into(),
            "\u{feff}[]".into(),
            r#""\ud800""#.into(),
            "1e999".into(),
            "NaN".into(),
            deep(200),
        ];
        for text in refused {
            assert!(serde_json::from_str::<Value>(&text).is_err());
            assert!(!parse(text.as_bytes()).unwrap_err().is_duplicate, "{text}");
        }
        assert!(!parse(b"\"\xff\"").unwrap_err().is_duplicate);
    }

    #[test]
    fn duplicates() {
        for text in
            [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"x":{"a":null,"a":null}}]"#, r#"{"":1,"":2}"#]
        {
            assert!(parse(text.as_bytes()).unwrap_err().is_duplicate, "{text}");
        }
        assert!(parse(r#"{"a":{"a":1},"A":2,"a ":3}"#.as_bytes()).is_ok());
        assert_eq!(parse(b"{}\n}").unwrap_err().to_string(), "not JSON: line 2, column 1");
    }
}
