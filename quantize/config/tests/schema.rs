//! The schema for editors knows the members that the reader knows, and no others.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::collections::BTreeSet;

use serde_json::Value;

/// What the reader says that it knows, of a mapping with a member that it cannot know.
fn known(yaml: &str) -> BTreeSet<String> {
    let problems = fleetfoot_config::read(yaml).unwrap_err();
    let hint = &problems.iter().find(|problem| problem.path.ends_with("zzzzzzzzzzzzzzzzzzzzzzzz")).unwrap().hint;
    hint.strip_prefix("known are ").unwrap().split(", ").map(str::to_owned).collect()
}

#[test]
fn the_same_members() {
    let schema: Value = serde_json::from_str(fleetfoot_config::SCHEMA).unwrap();
    let unknown = "zzzzzzzzzzzzzzzzzzzzzzzz: 1";
    for (path, yaml) in [
        ("", unknown.to_owned()),
        ("budget", format!("budget: {{{unknown}}}")),
        ("preprocess/image", format!("preprocess: {{image: {{{unknown}}}}}")),
        ("preprocess/image/normalise", format!("preprocess: {{image: {{normalise: {{{unknown}}}}}}}")),
        ("preprocess/audio", format!("preprocess: {{audio: {{mel: {{}}, {unknown}}}}}")),
        ("preprocess/audio/mel", format!("preprocess: {{audio: {{mel: {{{unknown}}}}}}}")),
        ("postprocess/classes", format!("postprocess: {{classes: {{{unknown}}}}}")),
        ("postprocess/values", format!("postprocess: {{values: {{{unknown}}}}}")),
        ("postprocess/boxes", format!("postprocess: {{boxes: {{{unknown}}}}}")),
    ] {
        let at = path.split('/').filter(|part| !part.is_empty()).fold(&schema, |at, part| &at["properties"][part]);
        let members: BTreeSet<String> = at["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(known(&yaml), members, "{path}");
    }
}
