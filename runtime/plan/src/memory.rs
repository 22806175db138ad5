//! Where every tensor lies in the arena.
//!
//! A tensor lives from the step that writes it to the last step that reads it. Tensors whose lives overlap must not share
//! bytes. One after the other, each takes the lowest gap among those already placed whose lives it meets. All depends on the
//! order: largest first is nearly always good (the *greedy by size* of Pisarchyk and Lee, arXiv 2001.03288), longest life,
//! first written and last read are tried as well. As long as the arena is above the bound, the tensor that reaches its end
//! moves to the front of the order, and all are placed again. The best attempt counts.

use alloc::{vec, vec::Vec};
use core::cmp::Reverse;

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

/// How often tensors are placed at most. More find nothing, see `tests/tests/plans.rs`.
const ATTEMPTS: usize = 24;

/// Above this number of tensors one attempt has to do.
const MANY: usize = 1024;

/// Places for all lives, and the length of the arena. `None` if it would pass 32 bits.
pub(crate) fn place(lives: &[Life]) -> Option<(Vec<Span>, u32)> {
    let bound = padded_lower_bound(lives);
    let size = |i: usize| Reverse(lives[i].len);
    let mut best: Option<(Vec<u64>, u64)> = None;
    for order in 0..4 {
        let mut order: Vec<usize> = {
            let mut all: Vec<usize> = (0..lives.len()).filter(|&i| lives[i].len != 0).collect();
            match order {
                0 => all.sort_by_key(|&i| (size(i), lives[i].first, i)),
                1 => all.sort_by_key(|&i| (Reverse(lives[i].last - lives[i].first), size(i), i)),
                2 => all.sort_by_key(|&i| (lives[i].first, size(i), i)),
                _ => all.sort_by_key(|&i| (Reverse(lives[i].last), size(i), i)),
            }
            all
        };
        for _ in 0..ATTEMPTS {
            let (offsets, end) = in_order(lives, &order);
            let top = order.iter().position(|&i| offsets[i] + lives[i].padded() == end);
            if best.as_ref().is_none_or(|(_, least)| end < *least) {
                best = Some((offsets, end));
            }
            if end <= bound || lives.len() > MANY {
                break;
            }
            // The one at the end is placed first from now on, where it has all room.
            let Some(top) = top.filter(|&top| top != 0) else { break };
            order[..=top].rotate_right(1);
        }
        if best.as_ref().is_some_and(|(_, end)| *end <= bound) {
            break;
        }
    }
    let (offsets, end) = best?;
    let span = |(offset, life): (u64, &Life)| Some(Span { offset: u32::try_from(offset).ok()?, len: life.len });
    Some((offsets.into_iter().zip(lives).map(span).collect::<Option<_>>()?, u32::try_from(end).ok()?))
}

/// Each tensor of `order` into the lowest gap that is free during its life: the offsets of all, and the end of the last.
fn in_order(lives: &[Life], order: &[usize]) -> (Vec<u64>, u64) {
    let mut offsets = vec![0u64; lives.len()];
    let (mut end, mut busy) = (0, Vec::new());
    for (n, &i) in order.iter().enumerate() {
        busy.clear();
        let placed = order[..n].iter().filter(|&&j| lives[j].meets(&lives[i]));
        busy.extend(placed.map(|&j| (offsets[j], offsets[j] + lives[j].padded())));
        busy.sort_unstable();
        let mut offset = 0;
        for &(from, to) in &busy {
            if from >= offset + lives[i].padded() {
                break;
            }
            offset = offset.max(to);
        }
        offsets[i] = offset;
        end = end.max(offset + lives[i].padded());
    }
    (offsets, end)
}

/// The lower bound for tensors that begin at multiples of [`TENSOR_ALIGN`].
fn padded_lower_bound(lives: &[Life]) -> u64 {
    let at = |step| lives.iter().filter(|l| l.first <= step && step <= l.last).map(Life::padded).sum();
    lives.iter().map(|l| at(l.first)).max().unwrap_or(0)
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
