//! The members of one mapping: each is asked for once, and what nobody asked for is a problem.

use crate::tree::{Node, Problem, Value};

/// The members of a mapping, and where problems go.
#[derive(Debug)]
pub struct Fields<'a> {
    node: &'a Node,
    path: String,
    entries: Vec<(&'a str, &'a Node)>,
    asked: Vec<&'static str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Fields<'a> {
    /// Those of `node`, or a problem where it is no mapping.
    pub fn of(node: &'a Node, path: &str, problems: &'a mut Vec<Problem>) -> Option<Self> {
        let Value::Map(map) = &node.value else {
            problems.push(Problem {
                line: node.line,
                column: node.column,
                path: path.into(),
                what: format!("a mapping was expected, this is {}", node.kind()),
                hint: "`name: value` lines, or {name: value, ..}".into(),
            });
            return None;
        };
        let entries = map.iter().map(|(key, node)| (key.as_str(), node)).collect();
        let path = if path.starts_with("the ") { String::new() } else { path.into() };
        Some(Self { node, path, entries, asked: Vec::new(), problems })
    }

    /// Whether there is a member `name`.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|(key, _)| *key == name)
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.push(name);
        self.entries.iter().find(|(key, _)| *key == name).map(|(_, node)| *node)
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.into() } else { format!("{}.{name}", self.path) }
    }

    /// A problem of the member `name`, at `place`.
    pub fn problem(&mut self, place: &Node, name: &str, what: String, hint: impl Into<String>) {
        let path = self.path_of(name);
        self.problems.push(Problem { line: place.line, column: place.column, path, what, hint: hint.into() });
    }

    /// A problem of the member `name`, where that is, else of the whole mapping.
    pub fn problem_at(&mut self, name: &str, what: String, hint: impl Into<String>) {
        let place = self.entries.iter().find(|(key, _)| *key == name).map_or(self.node, |(_, node)| node);
        self.problem(place, name, what, hint);
    }

    /// A member that `parse` understands, with its place.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Node) -> Result<T, &'static str>,
    ) -> Option<(T, &'a Node)> {
        let node = self.take(name)?;
        match parse(node) {
            Ok(value) => Some((value, node)),
            Err(hint) => {
                let what = match &node.value {
                    Value::Text(text) => format!("'{text}' is not understood"),
                    Value::Number(number) => format!("{number} is not understood"),
                    _ => format!("{} is not understood", node.kind()),
                };
                self.problem(node, name, what, hint);
                None
            }
        }
    }

    /// A member that has to be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&Node) -> Result<T, &'static str>,
        hint: &str,
    ) -> Option<T> {
        if !self.has(name) {
            self.asked.push(name);
            self.problem(self.node, name, "is missing".into(), hint);
            return None;
        }
        self.optional(name, parse).map(|(value, _)| value)
    }

    /// The elements of a list, with their paths; a problem where it is none.
    pub fn list(&mut self, name: &'static str) -> Vec<(&'a Node, String)> {
        let path = self.path_of(name);
        let Some(node) = self.take(name) else { return Vec::new() };
        match &node.value {
            Value::List(list) => list.iter().enumerate().map(|(i, node)| (node, format!("{path}[{i}]"))).collect(),
            _ => {
                self.problem(
                    node,
                    name,
                    format!("a list was expected, this is {}", node.kind()),
                    "lines that begin with `- `",
                );
                Vec::new()
            }
        }
    }

    /// A mapping inside, where it is there.
    pub fn inner(&mut self, name: &'static str) -> Option<Fields<'_>> {
        let path = self.path_of(name);
        let node = self.take(name)?;
        Fields::of(node, &path, self.problems)
    }

    /// A mapping that is an element of a list.
    pub fn element<'b>(&'b mut self, node: &'b Node, path: &str) -> Option<Fields<'b>> {
        Fields::of(node, path, self.problems)
    }

    /// All members as they are.
    pub fn entries(&mut self) -> Vec<(&'a str, &'a Node)> {
        std::mem::take(&mut self.entries)
    }

    /// What nobody asked for is a problem: a device would ignore it, and the author would not know.
    pub fn finish(mut self) {
        let unknown: Vec<_> = self.entries.iter().filter(|(key, _)| !self.asked.contains(key)).copied().collect();
        for (key, node) in unknown {
            let near =
                self.asked.iter().min_by_key(|asked| distance(key, asked)).filter(|asked| distance(key, asked) <= 3);
            let hint = near.map_or_else(
                || format!("known are {}", self.asked.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            self.problem(node, key, "is not known".into(), hint);
        }
    }

    /// Text. What YAML takes for a number or for yes or no is none: how it was written is lost, `1.0` is not told from `1`.
    ///
    /// # Errors
    /// What was expected.
    pub fn text_of(node: &Node) -> Result<String, &'static str> {
        match &node.value {
            Value::Text(text) if !text.is_empty() => Ok(text.clone()),
            Value::Number(_) | Value::Bool(_) => Err("text was expected: write numbers and yes/no in quotes"),
            _ => Err("text was expected"),
        }
    }

    /// A whole number that is not negative.
    ///
    /// # Errors
    /// What was expected.
    pub fn whole_of(node: &Node) -> Result<u64, &'static str> {
        match node.value {
            // Below 2^53 every whole number is exact.
            Value::Number(number) if (0.0..=9e15).contains(&number) && number.fract() == 0.0 => Ok(number as u64),
            _ => Err("a whole number was expected"),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// What was expected.
    pub const fn flag_of(node: &Node) -> Result<bool, &'static str> {
        match node.value {
            Value::Bool(flag) => Ok(flag),
            _ => Err("true or false"),
        }
    }

    /// A number above 0.
    ///
    /// # Errors
    /// What was expected.
    pub fn number_of(node: &Node) -> Result<f64, &'static str> {
        match node.value {
            Value::Number(number) if number > 0.0 && number.is_finite() => Ok(number),
            _ => Err("a number above 0"),
        }
    }
}

/// Edit distance of two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != *y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}
