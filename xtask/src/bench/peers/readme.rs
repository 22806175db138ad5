//! The table of README, written anew from what was measured, between two comments that mark it.

use std::{fmt::Write as _, fs};

use super::record::{Row, cpu_name};
use crate::shell::{Result, Tree};

const BEGIN: &str = "<!-- cargo xtask bench peers writes from here -->\n";
const END: &str = "<!-- to here -->\n";

/// Names for people, in the order of the table.
const NAMES: &[(&str, &str)] = &[
    ("digits", "digits (the demo's)"),
    ("ad", "MLPerf Tiny ad"),
    ("kws", "MLPerf Tiny kws"),
    ("vww", "MLPerf Tiny vww"),
    ("ic", "MLPerf Tiny ic"),
    ("mobilenet_v3_small", "MobileNetV3-small"),
    ("mobilenet_v2", "MobileNetV2 1.0 224"),
    ("efficientnet_lite0", "EfficientNet-Lite0"),
    ("mobilenet_v1", "MobileNetV1 1.0 224"),
];
const PEERS: &[(&str, &str)] = &[
    ("litert", "LiteRT"),
    ("onnxruntime", "ONNX Runtime"),
    ("openvino", "OpenVINO"),
    ("ncnn", "ncnn"),
    ("mnn", "MNN"),
    ("tract", "tract"),
    ("rten", "RTen"),
];

/// Replaces the table of README.
pub(super) fn write(tree: &Tree, rows: &[Row]) -> Result {
    let path = tree.root.join("README.md");
    let fault = |e: std::io::Error| format!("{}: {e}", path.display());
    let text = fs::read_to_string(&path).map_err(fault)?;
    let text = replaced(&text, &tables(rows)).ok_or("README.md: the comments around the table are gone")?;
    fs::write(&path, text).map_err(fault)?;
    println!("written: {}", path.display());
    Ok(())
}

fn replaced(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{tables}{END}{after}"))
}

/// A table for each number of threads that ours ran.
fn tables(rows: &[Row]) -> String {
    let mut threads: Vec<usize> = rows.iter().filter(|r| r.is_ours() && r.is_measured()).map(|r| r.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let (mut text, cpu) = (String::new(), cpu_name());
    for n in threads {
        let of: Vec<&Row> = rows.iter().filter(|row| row.threads == n).collect();
        let (noun, isa) = (if n == 1 { "thread" } else { "threads" }, isa(&of));
        let _ = writeln!(
            text,
            "\n{cpu}, {isa}, {n} {noun}: our least time in microseconds, and its ratio to the least time"
        );
        let _ = write!(text, "of each peer in its fastest form (below 1 we are faster).\n\n| network | us |");
        for (peer, name) in PEERS {
            let version = of.iter().find(|row| row.peer == *peer && row.is_measured()).map_or("", |row| &row.version);
            let _ = write!(text, " {} |", format!("{name} {version}").trim());
        }
        let _ = writeln!(text, "\n|---|---|{}", "---|".repeat(PEERS.len()));
        for (model, name) in NAMES {
            let of: Vec<&Row> = of.iter().copied().filter(|row| row.model == *model && row.is_measured()).collect();
            let Some(ours) = of.iter().find(|row| row.is_ours()) else { continue };
            let digits = if ours.min_us < 10.0 { 2 } else { usize::from(ours.min_us < 100.0) };
            let _ = write!(text, "| {name} | {:.digits$} |", ours.min_us);
            for (peer, _) in PEERS {
                let ratios = of.iter().filter(|row| row.peer == *peer).filter_map(|row| row.ratio(rows));
                let _ = match ratios.reduce(f64::max) {
                    Some(ratio) => write!(text, " {ratio:.2} |"),
                    None => write!(text, " - |"),
                };
            }
            text.push('\n');
        }
    }
    text.push('\n');
    text
}

/// The instruction set that our version tells.
fn isa<'a>(rows: &[&'a Row]) -> &'a str {
    let ours = rows.iter().find(|row| row.is_ours() && row.is_measured());
    ours.and_then(|row| row.version.split_once('/')).map_or("", |(_, isa)| isa)
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, replaced};

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&text, "new\n"), Some(format!("a\n{BEGIN}new\n{END}b\n")));
        assert_eq!(replaced("no marks", "new\n"), None);
    }
}
