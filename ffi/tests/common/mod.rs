//! The header as text.
#![allow(dead_code, reason = "each test uses some of it")]

use std::{fs, path::Path};

/// A file of the repository.
pub(crate) fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// C without comments.
pub(crate) fn without_comments(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        code.push_str(before);
        code.push(' ');
        rest = comment.split_once("*/").map_or("", |(_, rest)| rest);
    }
    code + rest
}

/// A function of the header: its name, what it returns, and the types of its parameters, such as `const ff_model *`.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) returns: String,
    /// Type and name of each.
    pub(crate) parameters: Vec<(String, String)>,
}

/// All functions of the header.
pub(crate) fn functions() -> Vec<Function> {
    let code = without_comments(&source("ffi/include/fleetfoot.h"));
    let declarations = code.split("FF_API ").skip(1).filter_map(|part| part.split_once(';'));
    let functions = declarations.filter_map(|(declaration, _)| {
        let (head, parameters) = declaration.split_once('(')?;
        let at = head.rfind([' ', '*'])? + 1;
        let (returns, name) = (head[..at].trim().to_owned(), head[at..].to_owned());
        let parameters = parameters.trim_end_matches(')').split(',').map(str::trim).filter(|p| *p != "void");
        let parameters = parameters.map(|parameter| {
            let at = parameter.rfind([' ', '*']).expect("a type and a name") + 1;
            (parameter[..at].trim().to_owned(), parameter[at..].to_owned())
        });
        name.starts_with("ff_").then(|| Function { name, returns, parameters: parameters.collect() })
    });
    functions.collect()
}
