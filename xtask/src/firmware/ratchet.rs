//! What a firmware costs on each board, and the file that keeps it from growing: `devices/ratchet.csv`.
//!
//! `FLEETFOOT_RATCHET=write cargo xtask test firmware` writes what was measured into the file.

use std::{collections::BTreeMap, fmt::Write, fs};

use crate::shell::{Result, Tree};

const FILE: &str = "devices/ratchet.csv";
const HEAD: &str = "board,network,what,value";
/// A compiler that is a little newer may cost so much more, in thousandths.
const SLACK: u64 = 10;

/// What must hold on the boards with kernels of their own: instructions of an inference, bytes of arena.
const GOALS: &[(&str, &str, u64, u64)] = &[
    ("mps2-an386", "kws", 5_600_000, 20_000),
    ("mps2-an386", "ic", 22_000_000, 52_000),
    ("mps2-an386", "vww", 17_500_000, 60_000),
    ("mps2-an386", "ad", 450_000, 1_500),
];

/// Measured numbers: (board, network, what).
#[derive(Default)]
pub(super) struct Ratchet(BTreeMap<(String, String, String), u64>);

impl Ratchet {
    pub(super) fn add(&mut self, board: &str, network: &str, what: &str, value: u64) {
        self.0.insert((board.into(), network.into(), what.into()), value);
    }

    /// Compares with the file, or writes it.
    pub(super) fn check(&self, tree: &Tree) -> Result {
        let path = tree.root.join(FILE);
        let fault = |e: std::io::Error| format!("{}: {e}", path.display());
        if std::env::var("FLEETFOOT_RATCHET").is_ok_and(|value| value == "write") {
            fs::write(&path, self.text()).map_err(fault)?;
            println!("written: {FILE}");
        }
        let kept = read(&fs::read_to_string(&path).map_err(fault)?)?;
        let faults: Vec<String> = self.grown(&kept).chain(self.missed()).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    }

    fn text(&self) -> String {
        let mut text = format!("{HEAD}\n");
        for ((board, network, what), value) in &self.0 {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{board},{network},{what},{value}");
        }
        text
    }

    /// What is larger than it was, or was never recorded.
    fn grown<'a>(&'a self, kept: &'a Self) -> impl Iterator<Item = String> + 'a {
        self.0.iter().filter_map(|(key @ (board, network, what), &value)| match kept.0.get(key) {
            None => Some(format!("{FILE} has no row {board},{network},{what}: measured {value}")),
            Some(&most) if value > most + most * SLACK / 1000 => {
                Some(format!("{board}, {network}: {what} grew from {most} to {value}"))
            }
            Some(&most) if value + most * 2 * SLACK / 1000 < most => {
                println!("{board}, {network}: {what} fell from {most} to {value}: FLEETFOOT_RATCHET=write records it");
                None
            }
            Some(_) => None,
        })
    }

    /// Goals that are not reached; those of networks that were not measured are left out.
    fn missed(&self) -> impl Iterator<Item = String> {
        let of = |board: &str, network: &str, what: &str| {
            self.0.get(&(board.to_owned(), network.to_owned(), what.to_owned())).copied()
        };
        GOALS.iter().flat_map(move |&(board, network, instructions, arena)| {
            [("instructions", instructions), ("arena_bytes", arena)].into_iter().filter_map(move |(what, most)| {
                let have = of(board, network, what)?;
                (have > most).then(|| format!("{board}, {network}: {have} {what}, the goal is {most}"))
            })
        })
    }
}

fn read(text: &str) -> Result<Ratchet> {
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("{FILE}: the first line is not '{HEAD}'"));
    }
    let mut ratchet = Ratchet::default();
    for (at, line) in lines.enumerate() {
        let row: Vec<&str> = line.split(',').collect();
        let (&[board, network, what, value], line_number) = (&row[..], at + 2) else {
            return Err(format!("{FILE}:{}: not four columns", at + 2));
        };
        let value = value.parse().map_err(|e| format!("{FILE}:{line_number}: {e}"))?;
        ratchet.add(board, network, what, value);
    }
    Ok(ratchet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(board: &str, value: u64) -> Ratchet {
        let mut ratchet = Ratchet::default();
        ratchet.add(board, "kws", "instructions", value);
        ratchet
    }

    #[test]
    fn what_grows_is_told_and_what_is_missing() {
        let kept = read(&one("virt", 1000).text()).expect("as written");
        assert_eq!(one("virt", 1010).grown(&kept).count(), 0, "slack");
        assert_eq!(one("virt", 900).grown(&kept).count(), 0, "better");
        assert!(one("virt", 1011).grown(&kept).next().is_some_and(|text| text.contains("grew from 1000 to 1011")));
        assert!(one("other", 1).grown(&kept).next().is_some_and(|text| text.contains("no row other")));
        assert_eq!(one("mps2-an386", 5_600_000).missed().count(), 0);
        assert!(one("mps2-an386", 5_600_001).missed().next().is_some_and(|text| text.contains("the goal is 5600000")));
        assert!(read("board\n").is_err() && read(&format!("{HEAD}\na,b,c\n")).is_err());
    }

    /// The file that is kept holds the goals.
    #[test]
    fn the_kept_file_holds_the_goals() {
        let text = fs::read_to_string(Tree::find().root.join(FILE)).expect("the file is there");
        let faults: Vec<String> = read(&text).expect("a table").missed().collect();
        assert!(faults.is_empty(), "{faults:?}");
    }
}
