//! Where every tensor lies in the arena.
//!
//! A tensor lives from the step that writes it to the last step that reads it. Tensors whose lives overlap must not share
//! bytes. Largest first, each takes the lowest gap among those already placed whose lives it meets (the *greedy by size* of
//! Pisarchyk and Lee, arXiv 2001.03288).

use alloc::{vec, vec::Vec};

use fleetfoot_format::graph::Span;

/// Alignment of a tensor in the arena.
pub(crate) const TENSOR_ALIGN: u32 = 16;

/// The life of one tensor, in steps, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) first: usize,
    pub(crate) last: usize,
    pub(crate) len: u32,
}

impl Life {
    const fn meets(&self, other: &Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    const fn padded(&self) -> u64 {
        (self.len as u64).next_multiple_of(TENSOR_ALIGN as u64)
    }
}

/// Places for all lives, and the length of the arena. `None` if it would pass 32 bits.
pub(crate) fn place(lives: &[Life]) -> Option<(Vec<Span>, u32)> {
    let mut order: Vec<usize> = (0..lives.len()).collect();
    order.sort_by_key(|&i| (core::cmp::Reverse(lives[i].len), lives[i].first, i));
    let mut spans = vec![Span::default(); lives.len()];
    let mut placed: Vec<usize> = Vec::new();
    let mut end = 0u64;
    for &i in &order {
        let mut busy: Vec<(u64, u64)> = placed
            .iter()
            .filter(|&&j| lives[j].meets(&lives[i]))
            .map(|&j| (u64::from(spans[j].offset), u64::from(spans[j].offset) + lives[j].padded()))
            .collect();
        busy.sort_unstable();
        let mut offset = 0;
        for (from, to) in busy {
            if from >= offset + lives[i].padded() {
                break;
            }
            offset = offset.max(to);
        }
        end = end.max(offset + lives[i].padded());
        spans[i] = Span { offset: u32::try_from(offset).ok()?, len: lives[i].len };
        placed.push(i);
    }
    Some((spans, u32::try_from(end).ok()?))
}

/// No arena can be smaller: the largest sum of tensors that live at one step.
pub(crate) fn lower_bound(lives: &[Life], n_steps: usize) -> u64 {
    let at = |step| lives.iter().filter(|l| l.first <= step && step <= l.last).map(|l| u64::from(l.len)).sum();
    (0..=n_steps).map(at).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_that_meet_never_share_bytes() {
        let mut seed = 7u32;
        let mut next = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % n
        };
        for _ in 0..200 {
            let n = 2 + next(30) as usize;
            let lives: Vec<Life> = (0..n)
                .map(|_| {
                    let first = next(20) as usize;
                    Life { first, last: first + next(4) as usize, len: 1 + next(500) }
                })
                .collect();
            let (spans, end) = place(&lives).unwrap();
            for i in 0..n {
                assert!(
                    spans[i].fits(end) && spans[i].offset.is_multiple_of(TENSOR_ALIGN) && spans[i].len == lives[i].len
                );
                for j in 0..i {
                    assert!(!(lives[i].meets(&lives[j]) && spans[i].overlaps(spans[j])), "{lives:?} {spans:?}");
                }
            }
            assert!(u64::from(end) >= lower_bound(&lives, 30));
        }
    }

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let lives: Vec<Life> =
            (0..5).map(|i| Life { first: i, last: i + 1, len: [160, 320, 160, 320, 16][i] }).collect();
        assert_eq!(place(&lives).unwrap().1, 480);
        assert_eq!(lower_bound(&lives, 5), 480);
    }
}
