//! What was counted: rows on the terminal, means of ratios, and the CSV of the record.

use std::{fmt::Write as _, fs};

use super::{
    OURS,
    cost::{self, Core},
    count::{Counts, NAMES},
    machine::Subject,
    networks::Network,
};
use crate::shell::{Result, Tree};

/// One subject on one network and CPU.
pub(super) struct Row {
    model: &'static str,
    cpu: String,
    subject: String,
    /// Of a peer its version, of ours the instruction set.
    pub(super) version: String,
    /// Ours: every instruction set that it offers on this CPU.
    pub(super) have: Vec<String>,
    /// Ours: operator, MACs and name of each step, and its instructions.
    pub(super) layers: Vec<(String, u64)>,
    /// Of one inference.
    pub(super) counts: Option<Counts>,
    /// By how many instructions its runs differ.
    pub(super) spread: u64,
    /// How its outputs compare with the golden ones.
    pub(super) outputs: String,
    /// Why there are no counts.
    pub(super) absent: String,
}

impl Row {
    pub(super) fn new(network: &Network, cpu: &str, subject: Subject<'_>) -> Self {
        let (subject, version) = match subject {
            Subject::Ours(isa) => (OURS, isa.unwrap_or_default()),
            Subject::Peer(peer) => (peer, ""),
        };
        Self {
            model: network.name,
            cpu: cpu.into(),
            subject: subject.into(),
            version: version.into(),
            have: Vec::new(),
            layers: Vec::new(),
            counts: None,
            spread: 0,
            outputs: String::new(),
            absent: String::new(),
        }
    }

    pub(super) fn title(&self) -> String {
        format!("{} {} on {}, {}", self.subject, self.version, self.cpu, self.model)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.subject == OURS
    }
}

/// The classes as people read them: a heading and the columns that it sums.
const GROUPS: [(&str, &[&str]); 8] = [
    ("load", &["load", "vload"]),
    ("store", &["store", "vstore"]),
    ("dot", &["dot"]),
    ("mmla", &["mmla"]),
    ("widening", &["wmul"]),
    ("other simd", &["imul", "fmul", "shift", "convert", "simd", "sve"]),
    ("branch", &["branch"]),
    ("general", &["gp", "gpmul"]),
];

/// The rows of one network and CPU, in thousands.
pub(super) fn table(model: &str, cpu: &str, rows: &[Row]) -> String {
    let mut text = format!("\n{model} on {cpu}, thousand instructions an inference; cycles: {}\n", cost::LABEL);
    let _ = write!(text, "{:12} {:10} {:>10}", "program", "version", "total");
    let heads: Vec<String> = GROUPS.iter().map(|(name, _)| format!(" {name:>10}")).collect();
    let _ = writeln!(text, "{} {:>10} {:>10}  outputs", heads.concat(), "A55 kcyc", "A76 kcyc");
    for row in rows {
        let _ = write!(text, "{:12} {:10}", row.subject, row.version);
        let Some(counts) = &row.counts else {
            let _ = writeln!(text, " absent: {}", row.absent);
            continue;
        };
        let thousands = |n: f64| format!("{:.1}", n / 1e3);
        let _ = write!(text, " {:>10}", thousands(counts.total() as f64));
        for (_, columns) in GROUPS {
            let _ = write!(text, " {:>10}", thousands(counts.sum(columns) as f64));
        }
        for core in [Core::A55, Core::A76] {
            let _ = write!(text, " {:>10}", cost::cycles(core, counts).map_or_else(|| "-".into(), thousands));
        }
        let _ = writeln!(text, "  {}", row.outputs);
    }
    text
}

/// Instructions of ours step by step, and for each multiply-accumulate.
pub(super) fn layers(row: &Row) -> String {
    let mut text =
        format!("\n{}\n{:>12} {:>10} {:>8}  operator, name\n", row.title(), "instructions", "MACs", "per MAC");
    for (layer, count) in &row.layers {
        // `OP MACS NAME`
        let mut words = layer.splitn(3, ' ');
        let (op, macs, name) = (words.next(), words.next(), words.next());
        let macs: u64 = macs.and_then(|macs| macs.parse().ok()).unwrap_or(0);
        let each = if macs == 0 { String::new() } else { format!("{:.3}", *count as f64 / macs as f64) };
        let (op, name) = (op.unwrap_or_default(), name.unwrap_or_default());
        let _ = writeln!(text, "{count:>12} {macs:>10} {each:>8}  {op} {name}");
    }
    text
}

/// Ours over each peer: the ratio of instructions on each network, and their geometric mean, for each CPU.
pub(super) fn summary(rows: &[Row]) {
    println!("\ninstructions of ours over theirs; cycles: {}", cost::LABEL);
    for theirs in distinct(rows.iter().filter(|row| !row.is_ours()).map(|row| row.subject.as_str())) {
        for cpu in distinct(rows.iter().map(|row| row.cpu.as_str())) {
            // The first of ours is its own choice; others were only shown.
            let pairs: Vec<(&str, &Counts, &Counts)> = distinct(rows.iter().map(|row| row.model))
                .into_iter()
                .filter_map(|model| {
                    let at = |subject: &str| {
                        let same = |row: &&Row| row.model == model && row.cpu == cpu && row.subject == subject;
                        rows.iter().find(same)?.counts.as_ref()
                    };
                    Some((model, at(OURS)?, at(theirs)?))
                })
                .collect();
            if pairs.is_empty() {
                println!("{cpu:14} {theirs:12} nothing to compare");
                continue;
            }
            let ratio = |of: &dyn Fn(&Counts) -> Option<f64>| {
                let ratios = pairs.iter().map(|(_, ours, theirs)| Some(of(ours)? / of(theirs)?));
                mean(&ratios.collect::<Option<Vec<f64>>>()?)
            };
            let instructions = |c: &Counts| Some(c.total() as f64);
            let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.3}"));
            let each = pairs
                .iter()
                .map(|(model, ours, theirs)| format!("{model} {:.3}", ours.total() as f64 / theirs.total() as f64));
            println!(
                "{cpu:14} {theirs:12} mean {} (A55 cycles {}, A76 cycles {}): {}",
                shown(ratio(&instructions)),
                shown(ratio(&|c| cost::cycles(Core::A55, c))),
                shown(ratio(&|c| cost::cycles(Core::A76, c))),
                each.collect::<Vec<_>>().join(", ")
            );
        }
    }
}

/// The geometric mean; `None` of nothing.
fn mean(ratios: &[f64]) -> Option<f64> {
    let sum: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (sum / ratios.len() as f64).exp())
}

/// Each once, in the order of first sight.
fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    names.for_each(|name| {
        if !seen.contains(&name) {
            seen.push(name);
        }
    });
    seen
}

/// Writes all rows to `benches/record/arm.csv`.
pub(super) fn write_csv(tree: &Tree, rows: &[Row]) -> Result {
    let path = tree.root.join("benches/record/arm.csv");
    fs::write(&path, csv(rows)).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("\nwritten: {}", path.display());
    Ok(())
}

/// A first line that says what the columns of cycles are, the heads, and a line a row.
fn csv(rows: &[Row]) -> String {
    let mut text = format!("# executed instructions of one inference; cycles_*: {}\n", cost::LABEL);
    let _ = writeln!(
        text,
        "model,cpu,program,version,total,{},cycles_a55,cycles_a76,runs_differ,outputs,absent",
        NAMES.join(",")
    );
    let plain = |words: &str| words.replace([',', '"', '\n'], " ");
    for row in rows {
        let _ = write!(text, "{},{},{},{},", row.model, plain(&row.cpu), row.subject, plain(&row.version));
        let Some(counts) = &row.counts else {
            let _ = writeln!(text, "{},{}", ",".repeat(NAMES.len() + 4), plain(&row.absent));
            continue;
        };
        let columns: Vec<String> = counts.columns().iter().map(u64::to_string).collect();
        let cycles = [Core::A55, Core::A76].map(|core| cost::cycles(core, counts));
        let [a55, a76] = cycles.map(|cycles| cycles.map_or_else(String::new, |cycles| format!("{cycles:.0}")));
        let (total, outputs) = (counts.total(), plain(&row.outputs));
        let _ = writeln!(text, "{total},{},{a55},{a76},{},{outputs},", columns.join(","), row.spread);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Counts, Row, csv, distinct, layers, mean};

    fn row(counts: Option<Counts>, absent: &str) -> Row {
        Row {
            model: "ad",
            cpu: "max,sve=off".into(),
            subject: "litert".into(),
            version: "1".into(),
            have: Vec::new(),
            layers: Vec::new(),
            counts,
            spread: 3,
            outputs: "equal 3".into(),
            absent: absent.into(),
        }
    }

    #[test]
    fn every_line_has_every_column() {
        let rows = [row(Some(Counts::of(&[("dot", 8)])), ""), row(None, "crashed, badly")];
        let text = csv(&rows);
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.contains("estimate, not measured on hardware")));
        let columns: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert!(columns.iter().all(|line| line.len() == columns[0].len()), "{text}");
        let at = |line: usize, name: &str| columns[line][columns[0].iter().position(|n| *n == name).expect("a column")];
        let cells =
            [at(1, "cpu"), at(1, "total"), at(1, "dot"), at(1, "cycles_a55"), at(1, "cycles_a76"), at(1, "absent")];
        assert_eq!(cells, ["max sve=off", "8", "8", "8", "4", ""]);
        assert_eq!([at(2, "total"), at(2, "absent")], ["", "crashed  badly"]);
    }

    #[test]
    fn steps() {
        let mut row = row(None, "");
        row.layers = vec![("conv 200 a b".into(), 50), ("softmax 0 c".into(), 7)];
        let text = layers(&row);
        let lines: Vec<Vec<&str>> = text.lines().skip(3).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines, [&["50", "200", "0.250", "conv", "a", "b"][..], &["7", "0", "softmax", "c"]], "{text}");
    }

    #[test]
    fn means() {
        assert_eq!(mean(&[]), None);
        assert!(mean(&[0.5, 2.0]).is_some_and(|mean| (mean - 1.0).abs() < 1e-12));
        assert_eq!(distinct(["b", "a", "b"].into_iter()), ["b", "a"]);
    }
}
