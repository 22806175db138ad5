//! Where results go: tables for people, one JSON document for machines.

use std::io::Write as _;

use serde_json::Value;

use crate::failure::Failure;

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Prints `text` for people or `value` for machines.
    pub(crate) fn result(&self, text: impl FnOnce() -> String, value: impl FnOnce() -> Value) -> Result<(), Failure> {
        let line = if self.json { value().to_string() } else { text() };
        let written = writeln!(std::io::stdout().lock(), "{}", line.trim_end());
        match written {
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(Failure::io("write to", "standard output".as_ref(), &e))
            }
            _ => Ok(()),
        }
    }

    /// A remark for people; goes to standard error, and nowhere in JSON.
    pub(crate) fn note(&self, text: &str) {
        if !self.json {
            eprintln!("note: {text}");
        }
    }
}

/// A plain table without frames.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(header.iter().copied());
    table.add_rows(rows);
    table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}
