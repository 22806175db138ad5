//! Which bytes of the arena hold something by now: what a step may read.
//!
//! A plan runs in order, so a cycle, a missing step and an output that nobody writes are one and the same fault: bytes are
//! read that no input and no earlier step wrote. They would hold what the last inference, or another model, left there.
//!
//! ```text
//! arena   |######....########......###|        # written      runs = [0..6, 10..18, 24..27]
//! read          ^^^^                            6 is the first byte that nobody wrote
//! ```
//! There is no heap here, so runs are counted: tensors share the few places of a small arena, and runs that touch become one.
//! The reference networks need at most 2. Cost: one pass over at most [`MOST`] runs per operand.

use fleetfoot_format::graph::Span;

/// Runs at most, 8 bytes each on the stack while a model is opened. A tensor whose length is no multiple of 16 leaves a gap behind
/// it, so an input taken apart into many small ones, as unrolled audio networks do, is as many runs.
pub(crate) const MOST: usize = 256;

/// Bytes that were written, as runs `[from, to)`: ascending, none empty, no two touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written {
    runs: heapless::Vec<(u32, u32), MOST>,
}

impl Written {
    /// Adds `span`, which ends below 2^32. `false` if there would be too many runs.
    #[must_use]
    pub(crate) fn insert(&mut self, span: Span) -> bool {
        let (mut from, mut to) = (span.offset, span.offset.saturating_add(span.len));
        if from == to {
            return true;
        }
        let first = self.runs.iter().take_while(|run| run.1 < from).count();
        while let Some(&run) = self.runs.get(first).filter(|run| run.0 <= to) {
            (from, to) = (from.min(run.0), to.max(run.1));
            self.runs.remove(first);
        }
        self.runs.insert(first, (from, to)).is_ok()
    }

    /// The first byte of `span` that was not written.
    pub(crate) fn first_gap(&self, span: Span) -> Option<u32> {
        let (from, to) = (span.offset, span.offset.saturating_add(span.len));
        if from == to {
            return None;
        }
        // Runs do not touch: what one does not hold begins where it ends.
        match self.runs.iter().find(|run| run.0 <= from && from < run.1) {
            Some(run) if run.1 >= to => None,
            Some(run) => Some(run.1),
            None => Some(from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against one flag per byte.
    #[test]
    fn runs_are_the_bytes() {
        let mut seed = 3u32;
        let mut next = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % n
        };
        for _ in 0..300 {
            let (mut runs, mut flags) = (Written::default(), [false; 128]);
            for _ in 0..1 + next(40) {
                let offset = next(128);
                let span = Span { offset, len: next(129 - offset).min(next(30)) };
                let gap = flags[span.range()].iter().position(|&set| !set);
                assert_eq!(runs.first_gap(span), gap.map(|at| offset + at as u32), "{runs:?} {span:?}");
                assert!(runs.insert(span));
                flags[span.range()].fill(true);
                let touching = runs.runs.windows(2).any(|pair| pair[0].1 >= pair[1].0);
                assert!(!touching, "{runs:?}");
            }
        }
    }

    #[test]
    fn too_many_runs_are_told() {
        let mut runs = Written::default();
        let at = |i: usize| Span { offset: 2 * i as u32, len: 1 };
        assert!((0..MOST).all(|i| runs.insert(at(i))));
        assert!(!runs.insert(at(MOST)));
        // One that joins two is always welcome.
        assert!(runs.insert(Span { offset: 1, len: 1 }) && runs.insert(at(MOST)));
    }
}
