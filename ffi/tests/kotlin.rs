//! The functions of the header against those of the Kotlin binding: its list in Kotlin (`Native.kt`) and its shim in Rust, with the types of all parameters.
//! The virtual machine finds a method by its name alone; one parameter more or less would be read from somewhere.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use common::{functions, source};

/// Functions that Kotlin has no use for: it binds its own arena instead of buffers, fetches files itself, and names statuses by classes.
const NOT_IN_KOTLIN: [&str; 6] = [
    "ff_session_bind_input",
    "ff_session_bind_output",
    "ff_status_name",
    "ff_update_poll",
    "ff_update_stage",
    "ff_version_string",
];
/// Methods of the shim that are no function of the header.
const HELPERS: [&str; 3] = ["address", "layout", "text"];

/// What Java has for a type of C.
fn java(c: &str) -> &'static str {
    match c {
        "void" => "V",
        "int" | "ff_status" | "int32_t" | "uint32_t" => "I",
        "int64_t" | "uint64_t" | "size_t" => "J",
        pointer if pointer.ends_with('*') || pointer.ends_with("*const") => "J",
        other => panic!("no type of Java for {other}"),
    }
}

/// `ff_model_get_info` is `modelInfo`.
fn method(c: &str) -> String {
    let mut words = c.trim_start_matches("ff_").split('_').filter(|word| *word != "get");
    let mut name = words.next().unwrap().to_owned();
    for word in words {
        name.push_str(&word[..1].to_uppercase());
        name.push_str(&word[1..]);
    }
    name
}

/// Parameters and result of each method, such as `JIJ)I`.
type Methods = BTreeMap<String, String>;

fn in_header() -> Methods {
    let functions = functions();
    assert!(NOT_IN_KOTLIN.iter().all(|name| functions.iter().any(|f| f.name == *name)));
    let used = functions.iter().filter(|function| !NOT_IN_KOTLIN.contains(&function.name.as_str()));
    let signature = |function: &common::Function| {
        let parameters: String = function.parameters.iter().map(|(of, _)| java(of)).collect();
        format!("{parameters}){}", if function.returns == "void" { "V" } else { java(&function.returns) })
    };
    used.map(|function| (method(&function.name), signature(function))).collect()
}

/// Types of `name: type, ...`.
fn types(parameters: &str, of: fn(&str) -> &'static str) -> String {
    parameters.split(',').filter_map(|p| p.split_once(':')).map(|(_, name)| of(name.trim())).collect()
}

fn in_native_kt() -> Methods {
    let kotlin = |name: &str| match name {
        "Int" => "I",
        "Long" => "J",
        "ByteBuffer" => "L",
        other => panic!("no type for {other}"),
    };
    let text = source("bindings/kotlin/src/main/kotlin/dev/fleetfoot/Native.kt");
    let methods = text.split("external fun ").skip(1).map(|declaration| {
        let line = declaration.lines().next().unwrap();
        let (name, rest) = line.split_once('(').unwrap();
        let (parameters, result) = rest.split_once(')').unwrap();
        let result = result.trim_start_matches(':').trim();
        let result = if result.is_empty() { "V" } else { kotlin(result) };
        (name.to_owned(), format!("{}){result}", types(parameters, kotlin)))
    });
    methods.collect()
}

fn in_shim() -> Methods {
    let rust = |name: &str| match name {
        "jint" => "I",
        "jlong" => "J",
        "jobject" => "L",
        "*mut JNIEnv" | "jclass" => "",
        other => panic!("no type for {other}"),
    };
    let text = source("bindings/kotlin/jni/src/lib.rs");
    let mut methods = Methods::new();
    for part in text.split("Java_dev_fleetfoot_Native_").skip(1) {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric()).unwrap();
        let (name, rest) = part.split_at(end);
        let signature = match rest.as_bytes()[0] {
            b'(' => {
                let (parameters, result) = rest[1..].split_once(')').unwrap();
                let result = result.trim_start();
                let result =
                    result.strip_prefix("-> ").map_or("I", |result| rust(result.split([' ', '\n']).next().unwrap()));
                format!("{}){result}", types(parameters, rust))
            }
            // A method that closes a handle.
            b' ' => "J)V".to_owned(),
            // In a comment.
            _ => continue,
        };
        assert!(methods.insert(name.to_owned(), signature).is_none(), "{name} twice");
    }
    methods
}

#[test]
fn all_three_have_the_same_functions() {
    let (header, mut kotlin, mut shim) = (in_header(), in_native_kt(), in_shim());
    assert_eq!(kotlin, shim);
    assert!(header.len() > 30);
    for helper in HELPERS {
        assert!(kotlin.remove(helper).is_some() && shim.remove(helper).is_some(), "{helper}");
    }
    assert_eq!(header, kotlin);
}
