//! What the plugin counted: its lines, and the counts of one inference out of them.

use std::{fs, path::Path};

use crate::shell::Result;

/// The columns of the plugin (`benches/arm/icount.c`), in its order: classes of instructions, then what some of them move.
pub(super) const NAMES: [&str; 25] = [
    "load", "store", "vload", "vstore", "dot", "mmla", "wmul", "imul", "fmul", "shift", "convert", "simd", "branch",
    "gpmul", "gp", "sve", "load8", "load16", "store8", "store16", "vstore8", "wide", "wide8", "half", "v0",
];
/// How many of [`NAMES`] are classes: every instruction is in one.
pub(super) const CLASSES: usize = 16;

/// Counted runs of a program: as `benches/arm/count.rs` and `peer.py` have it.
const RUNS: u64 = 3;

/// The mark before the first step of the run that is counted step by step (`benches/arm/count.rs`).
const LAYERS: u64 = 100;

/// Executed instructions of one inference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Counts([u64; NAMES.len()]);

impl Counts {
    /// The column `name`, one of [`NAMES`].
    pub(super) fn get(&self, name: &str) -> u64 {
        NAMES.iter().position(|n| *n == name).map_or(0, |at| self.0[at])
    }

    /// The sum of columns.
    pub(super) fn sum(&self, names: &[&str]) -> u64 {
        names.iter().map(|name| self.get(name)).sum()
    }

    /// All instructions.
    pub(super) fn total(&self) -> u64 {
        self.0[..CLASSES].iter().sum()
    }

    /// All columns.
    pub(super) const fn columns(&self) -> &[u64; NAMES.len()] {
        &self.0
    }

    fn minus(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|at| self.0[at].saturating_sub(other.0[at])))
    }

    /// Counts that are 0 but for those named.
    #[cfg(test)]
    pub(super) fn of(columns: &[(&str, u64)]) -> Self {
        Self(NAMES.map(|name| columns.iter().filter(|c| c.0 == name).map(|c| c.1).sum()))
    }
}

/// Reads the file of the plugin: the counts of the run with the fewest, and how many more the one with the most has.
pub(super) fn read(path: &Path) -> Result<(Counts, u64)> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    runs(&text)
}

/// Instructions of each of `n` steps, from the lines of the run that marks them.
pub(super) fn layers(path: &Path, n: usize) -> Result<Vec<u64>> {
    let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lines = text.lines().map(line).collect::<Result<Vec<_>>>()?;
    let total = |mark: u64| {
        let found = lines.iter().find(|line| line.0 == mark).map(|line| line.1.total());
        found.ok_or_else(|| format!("mark {mark} was not reached"))
    };
    let call = total(1)?.saturating_sub(total(0)?);
    let step = |at: u64| Ok(total(LAYERS + 1 + at)?.saturating_sub(total(LAYERS + at)?).saturating_sub(call));
    (0..n as u64).map(step).collect()
}

/// Lines 0 and 1 enclose what a mark and a call cost, which is taken off; lines 2i and 2i + 1 run i. All runs do the same
/// work, but now and then one also pays for memory that went back to the system.
fn runs(text: &str) -> Result<(Counts, u64)> {
    let lines = text.lines().map(line).collect::<Result<Vec<_>>>()?;
    // The last line of that number: a mark may be rehearsed.
    let at = |n: u64| {
        let found = lines.iter().rfind(|(mark, _)| *mark == n);
        found.map(|(_, counts)| counts).ok_or_else(|| format!("mark {n} was not reached"))
    };
    let between = |n: u64| Ok::<_, String>(at(n + 1)?.minus(at(n)?));
    let call = between(0)?;
    let mut runs = (1..=RUNS).map(|i| Ok(between(2 * i)?.minus(&call))).collect::<Result<Vec<_>>>()?;
    runs.sort_by_key(Counts::total);
    let most = runs.last().map_or(0, Counts::total);
    let least = runs.into_iter().next().ok_or("no runs")?;
    let spread = most - least.total();
    Ok((least, spread))
}

/// `N total=T load=L ...`
fn line(text: &str) -> Result<(u64, Counts)> {
    let fault = || format!("the plugin wrote {text:?}");
    let mut words = text.split_whitespace();
    let mark = words.next().and_then(|w| w.parse().ok()).ok_or_else(fault)?;
    let total: u64 = words.next().and_then(|w| w.strip_prefix("total=")?.parse().ok()).ok_or_else(fault)?;
    let mut counts = Counts([0; NAMES.len()]);
    for (name, count) in NAMES.iter().zip(&mut counts.0) {
        let value = words.next().and_then(|w| w.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
        *count = value.ok_or_else(fault)?;
    }
    if words.next().is_some() || counts.total() != total {
        return Err(fault());
    }
    Ok((mark, counts))
}

#[cfg(test)]
mod tests {
    use super::{NAMES, runs};

    /// A line of the plugin with `gp` and `dot` set.
    fn line(mark: u64, gp: u64, dot: u64) -> String {
        let columns = NAMES.map(|name| match name {
            "gp" => format!(" gp={gp}"),
            "dot" => format!(" dot={dot}"),
            name => format!(" {name}=0"),
        });
        format!("{mark} total={}{}\n", gp + dot, columns.concat())
    }

    #[test]
    fn the_run_with_the_fewest_without_the_call() {
        let marks =
            [(0, 10, 0), (0, 20, 0), (1, 27, 0), (2, 100, 0), (3, 132, 50), (4, 200, 50), (5, 230, 100), (6, 300, 100)];
        let text: String =
            marks.into_iter().chain([(7, 335, 150)]).map(|(mark, gp, dot)| line(mark, gp, dot)).collect();
        let (counts, spread) = runs(&text).expect("well formed");
        assert_eq!((counts.get("gp"), counts.get("dot"), counts.total(), spread), (23, 50, 73, 5));
        assert_eq!(counts.sum(&["gp", "dot", "load"]), 73);
    }

    fn check(text: &str, fault: &str) {
        let found = runs(text).expect_err("is not well formed");
        assert!(found.contains(fault), "{text:?}: {found}");
    }

    #[test]
    fn faults() {
        check("", "mark 1 was not reached");
        check(&(line(0, 1, 0) + &line(1, 2, 0)), "mark 3 was not reached");
        check("nothing", "the plugin wrote");
        check("0 total=1", "the plugin wrote");
        check(&line(0, 1, 0).replace("total=1", "total=2"), "the plugin wrote");
        check(&line(0, 1, 0).replace(" dot=", " dit="), "the plugin wrote");
        check(&line(0, 1, 0).replace('\n', " more=1\n"), "the plugin wrote");
    }
}
