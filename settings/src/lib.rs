//! Settings that people write as YAML, read so that every problem is told at once, each with its line and a way out.
//!
//! ```
//! use fleetfoot_settings::{Fields, Node};
//!
//! let mut problems = Vec::new();
//! let node = Node::parse("bands: 40\nhopp: 320\n").unwrap();
//! let mut fields = Fields::of(&node, "the settings", &mut problems).unwrap();
//! assert_eq!(fields.required("bands", Fields::whole_of, "how many"), Some(40));
//! assert_eq!(fields.optional("hop", Fields::whole_of).map(|(hop, _)| hop), None);
//! fields.finish();
//! assert_eq!(problems[0].to_string(), "line 2, column 7: hopp: is not known (did you mean `hop`?)");
//! ```
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod fields;
mod tree;

pub use fields::Fields;
pub use tree::{Node, Problem, Value};
