//! `bindings/c/tests/api.c` against the header: a function that is added there is tried with NULL, with closed handles and with structs of a wrong size, or
//! this fails.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{functions, source, without_comments};
use fleetfoot_c::LAYOUTS;

/// Functions that take nothing which could be wrong.
const NOTHING_TO_REFUSE: [&str; 3] = ["ff_abi_version", "ff_status_name", "ff_version_string"];
/// Types that handles have.
const HANDLES: [&str; 6] = ["ff_runtime", "ff_model", "ff_session", "ff_cancel", "ff_update", "ff_event_queue"];
/// Pointers that may be NULL: the header says what that means.
const MAY_BE_NULL: [(&str, &str); 8] = [
    ("ff_session_create", "options"),
    ("ff_session_run", "cancel"),
    ("ff_session_bind_input", "data"),
    ("ff_session_bind_output", "data"),
    ("ff_status_json", "buffer"),
    ("ff_update_answer", "etag"),
    ("ff_model_from_memory", "data"),
    ("ff_update_feed", "data"),
];

/// The body of a function of the test.
fn body(code: &str, name: &str) -> String {
    let (_, rest) = code.split_once(&format!(" {name}(")).unwrap_or_else(|| panic!("api.c has no {name}"));
    rest.split_once('{').unwrap().1.split("\n}\n").next().unwrap().to_owned()
}

fn calls(code: &str, function: &str) -> usize {
    code.matches(&format!("{function}(")).count()
}

#[test]
fn every_function_is_tried() {
    let code = without_comments(&source("bindings/c/tests/api.c"));
    let (refused, nulls, sizes) = (body(&code, "refused"), body(&code, "nulls"), body(&code, "sizes"));
    let functions = functions();
    println!("function                 handles  NULL  sizes");
    let mut n_tried = 0;
    for function in &functions {
        let name = function.name.as_str();
        if NOTHING_TO_REFUSE.contains(&name) {
            continue;
        }
        n_tried += 1;
        let bare = |of: &str| of.trim_start_matches("const ").trim_end_matches([' ', '*']).to_owned();
        let is_handle = |of: &str| of.matches('*').count() == 1 && HANDLES.contains(&bare(of).as_str());
        // Closed handles, handles of other kinds, and NULL in the place of a handle.
        let handles = function.parameters.iter().filter(|(of, _)| is_handle(of)).count();
        assert!(handles == 0 || calls(&refused, name) >= 1, "{name}: `refused` of api.c does not call it");
        // NULL in the place of everything else.
        let needed = function.parameters.iter().filter(|(of, parameter)| {
            let is_optional = MAY_BE_NULL.contains(&(name, parameter.as_str())) || parameter == "error";
            of.contains('*') && !is_handle(of) && !is_optional
        });
        let needed = needed.count();
        let tried = nulls.matches(&format!("RETURNS(FF_ERR_NULL, {name}(")).count();
        assert!(tried >= needed, "{name}: {needed} pointers must not be NULL, `nulls` of api.c tries {tried}");
        // Structs that say their size.
        let structs =
            function.parameters.iter().map(|(of, _)| bare(of)).filter(|of| LAYOUTS.iter().any(|(s, ..)| s == of));
        let mut n_sized = 0;
        for of in structs {
            let wrapped = sizes.split("SIZES(").skip(1).filter_map(|call| call.split_once(')')?.0.split_once(", "));
            let tried = wrapped.filter(|(sized, wrapper)| *sized == of && calls(&wrapper_of(&code, wrapper), name) > 0);
            let tried = tried.count() + usize::from(of == "ff_error" && calls(&body(&code, "wrong_errors"), name) > 0);
            assert!(tried > 0, "{name}: nothing in api.c gives it an {of} of a wrong size");
            n_sized += 1;
        }
        println!("{name:24} {handles:7} {needed:5} {n_sized:6}");
    }
    assert_eq!(n_tried + NOTHING_TO_REFUSE.len(), functions.len());
    assert!(functions.len() > 40);
}

/// A small function that hands a struct on.
fn wrapper_of(code: &str, name: &str) -> String {
    let (_, rest) = code.split_once(&format!(" {name}(")).unwrap_or_else(|| panic!("api.c has no {name}"));
    let end = rest.find("\nstatic ").unwrap_or(rest.len());
    rest[..end].to_owned()
}
