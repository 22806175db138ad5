//! From YAML to a [`Config`].

use fleetfoot_format::{
    FormatError,
    bundle::{Budget, valid_name, valid_version},
    preprocess::{self, Column, Preprocess},
};
use fleetfoot_settings::{Fields, Node, Problem, Value};

use crate::{
    Config, Labels, answers, audio, image,
    kinds::{line, text},
    table,
};

/// Reads the text of a `bundle.yaml`.
///
/// # Errors
/// Every problem, in the order of the lines.
///
/// ```
/// let config = fleetfoot_config::read("name: kws\nbudget: {p99_us: 5000}\n").unwrap();
/// assert_eq!(config.budget.p99_us, Some(5000));
/// let problems = fleetfoot_config::read("name: KWS\nbudget: {p99: 5000}\n").unwrap_err();
/// assert_eq!(problems[1].to_string(), "line 2, column 15: budget.p99: is not known (did you mean `p99_us`?)");
/// ```
pub fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let config = match Node::parse(text) {
        Ok(Node { value: Value::Nothing, .. }) => Config::default(),
        Ok(node) => document(&node, &mut problems),
        Err(problem) => {
            problems.push(problem);
            Config::default()
        }
    };
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if problems.is_empty() { Ok(config) } else { Err(problems) }
}

fn document(node: &Node, problems: &mut Vec<Problem>) -> Config {
    let mut config = Config::default();
    let Some(mut fields) = Fields::of(node, "the settings", problems) else { return config };
    let checked = |valid: fn(&str) -> bool, hint: &'static str| {
        move |node: &Node| text(node).and_then(|text| if valid(&text) { Ok(text) } else { Err(hint) })
    };
    let name = checked(valid_name, "1 to 64 of a-z 0-9 . _ -, first a letter or digit");
    let version = checked(valid_version, "1 to 64 of A-Z a-z 0-9 . _ - +, first a letter or digit");
    config.name = fields.optional("name", name).map(|(name, _)| name);
    config.version = fields.optional("version", version).map(|(version, _)| version);
    config.number = fields.optional("number", Fields::whole_of).map(|(number, _)| number);
    config.labels = fields.optional("labels", labels).map(|(labels, _)| labels);
    config.golden = fields.optional("golden", files).map(|(files, _)| files).unwrap_or_default();
    config.baseline = fields.optional("baseline", text).map(|(file, _)| file);
    config.card = fields.optional("card", text).map(|(file, _)| file);
    config.budget = budget(&mut fields);
    config.preprocess = processing(&mut fields);
    config.postprocess = answers::postprocess(&mut fields);
    fields.finish();
    config
}

fn labels(node: &Node) -> Result<Labels, &'static str> {
    match &node.value {
        Value::List(list) if !list.is_empty() => list.iter().map(line).collect::<Result<_, _>>().map(Labels::List),
        Value::Text(_) => text(node).map(Labels::File),
        _ => Err("a file with one label per line, or a list of labels"),
    }
}

/// One file, or a list of them.
fn files(node: &Node) -> Result<Vec<String>, &'static str> {
    match &node.value {
        Value::List(list) => list.iter().map(text).collect::<Result<_, _>>().map_err(|_| "names of files"),
        _ => text(node).map(|file| vec![file]),
    }
}

fn budget(fields: &mut Fields<'_>) -> Budget {
    let Some(mut inner) = fields.inner("budget") else { return Budget::default() };
    let mut limit = |name| inner.optional(name, crate::kinds::count).map(|(limit, _)| limit);
    let budget = Budget { p99_us: limit("p99_us"), arena_bytes: limit("arena_bytes") };
    inner.finish();
    budget
}

/// The section *preprocess*: one of three kinds.
fn processing(fields: &mut Fields<'_>) -> Option<Vec<u8>> {
    const HINT: &str = "one of image, audio, table, with its settings";
    let mut inner = fields.inner("preprocess")?;
    let kinds = ["image", "audio", "table"].map(|kind| inner.has(kind));
    if kinds.iter().filter(|&&there| there).count() != 1 {
        inner.problem_at("", "one kind of input was expected".into(), HINT);
    }
    let made = match kinds {
        [true, ..] => {
            image::image(&mut inner).map(|image| section(&mut inner, "image", &Preprocess::Image(image), &[]))
        }
        [_, true, _] => {
            audio::audio(&mut inner).map(|made| section(&mut inner, "audio", &Preprocess::Audio(made.settings()), &[]))
        }
        [.., true] => table::table(&mut inner).map(|columns| {
            let columns: Vec<Column<'_>> = columns.iter().map(table::Owned::column).collect();
            let table = Preprocess::Table(preprocess::Table { columns: columns.len() as u16 });
            section(&mut inner, "table", &table, &columns)
        }),
        _ => None,
    };
    if kinds.contains(&true) {
        inner.finish();
    }
    made.flatten()
}

fn section(
    fields: &mut Fields<'_>,
    name: &'static str,
    program: &Preprocess<'_>,
    columns: &[Column<'_>],
) -> Option<Vec<u8>> {
    match preprocess::write(program, columns) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            refused(fields, name, error);
            None
        }
    }
}

/// What the format refuses, at the member that it is about.
pub(crate) fn refused(fields: &mut Fields<'_>, name: &'static str, error: FormatError) {
    fields.problem_at(name, error.to_string(), "see docs/preprocessing.md for what is possible");
}
