//! Canonical JSON as OLPC defined it: the bytes that are signed.
//!
//! No space, members in the order of their names, integers only, UTF-8 in which nothing but `"` and `\` is escaped.

use alloc::{
    string::{String, ToString as _},
    vec::Vec,
};

use serde_json::Value;

/// The canonical form of `value`, or nothing if it holds a number that is no integer of 64 bits.
#[must_use]
pub fn canonical(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Some(out)
}

/// Recursion is bounded by that of the JSON parser, 128.
fn write(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        // As integers: the text of a number would bring the printing of floats into every device.
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => out.extend(number.to_string().as_bytes()),
            (None, Some(number)) => out.extend(number.to_string().as_bytes()),
            (None, None) => return None,
        },
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // The map may keep another order, if someone else in the program asks serde_json for it.
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (i, (name, item)) in members.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn olpc() {
        let check = |text: &str, expected: Option<&str>| {
            let value: Value = serde_json::from_str(text).unwrap();
            assert_eq!(canonical(&value), expected.map(|e| e.as_bytes().to_vec()), "{text}");
        };
        check(
            "{\"b\": [1, -2, true, null],\n \"a\": {\"z\": false, \"B\": \"\"}}",
            Some("{\"a\":{\"B\":\"\",\"z\":false},\"b\":[1,-2,true,null]}"),
        );
        check(r#""tab \t quote \" back \\ slash \/ \u00e9""#, Some("\"tab \t quote \\\" back \\\\ slash / é\""));
        check("18446744073709551615", Some("18446744073709551615"));
        check("-9223372036854775808", Some("-9223372036854775808"));
        check("18446744073709551616", None);
        check("1.0", None);
        check("1e3", None);
        check("-0", None);
        check("[{\"a\": 0.5}]", None);
    }
}
