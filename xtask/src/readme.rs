//! Examples of a README, which checks compile and run: what a newcomer types is what works.

use std::{fs, path::Path};

use crate::shell::Result;

/// The blocks of code in `language`, in order, each line with its end.
pub(crate) fn examples(path: &Path, language: &str) -> Result<Vec<String>> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let found = blocks(&text, language);
    if found.is_empty() { Err(format!("{} has no example in {language}", path.display())) } else { Ok(found) }
}

fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1).filter_map(|rest| rest.split_once("```"));
    blocks.map(|(code, _)| code.to_owned()).collect()
}

/// An example has at most `lines` lines.
pub(crate) fn short(example: &str, lines: usize) -> Result {
    match example.lines().count() {
        count if count <= lines => Ok(()),
        count => Err(format!("an example has {count} lines, at most {lines} are wanted:\n{example}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{blocks, short};

    #[test]
    fn blocks_of_a_language() {
        let text = "a\n```c\nx;\ny;\n```\nb\n```sh\nls\n```\n```c\nz;\n```\n";
        assert_eq!(blocks(text, "c"), ["x;\ny;\n", "z;\n"]);
        assert!(short("x;\ny;\n", 2).is_ok() && short("x;\ny;\n", 1).is_err());
    }
}
