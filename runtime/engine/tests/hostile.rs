//! Whatever the bytes of a graph are, opening and running end in an answer or in an error.

mod support;

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::Aligned;
use support::small;

#[test]
fn flipped_bits_and_truncation_never_panic() {
    let plan = small();
    let (mut refused, mut ran) = (0, 0);
    for at in 0..plan.graph.len() {
        for bit in 0..8 {
            let mut graph = plan.graph.clone();
            graph[at] ^= 1 << bit;
            if attempt(&graph, &plan.weights) { ran += 1 } else { refused += 1 }
        }
        assert!(!attempt(&plan.graph[..at], &plan.weights), "truncated to {at} bytes");
    }
    // Most flips break a length or a bound; some only change a zero point, a name or a clamp.
    assert!(refused > ran && ran > 0, "{refused} refused, {ran} ran");
}

#[test]
fn random_bytes_in_place_of_fields_never_panic() {
    let plan = small();
    let mut seed = 1u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    for _ in 0..20_000 {
        let mut graph = plan.graph.clone();
        for _ in 0..1 + next() % 4 {
            let at = next() % graph.len();
            match next() % 3 {
                0 => graph[at] = next() as u8,
                1 => graph[at] = 0xFF,
                _ => graph.insert(at, next() as u8 | 0x80),
            }
        }
        attempt(&graph, &plan.weights);
    }
}

#[test]
fn weights_are_checked() {
    let plan = small();
    let weights = Aligned::copy_of(&plan.weights);
    let short = &weights.as_ref()[..plan.weights.len() - 16];
    assert_eq!(Model::open(&plan.graph[..], short).unwrap_err().code(), 300);
    let shifted = Aligned::copy_of(&[&[0; 4][..], &plan.weights].concat());
    assert_eq!(Model::open(&plan.graph[..], &shifted.as_ref()[4..]).unwrap_err().code(), 301);
}

#[test]
fn the_arena_is_exact() {
    let plan = small();
    let weights = Aligned::copy_of(&plan.weights);
    for kernels in Kernels::available() {
        let model = Model::open(&plan.graph[..], weights.as_ref()).unwrap();
        let need = model.arena_len(kernels);
        let mut arena = Aligned::zeroed(need);
        model.run(kernels, arena.as_mut()).unwrap();
        let error = model.run(kernels, &mut arena.as_mut()[..need - 1]).unwrap_err();
        assert_eq!(error.code(), 306, "{} {error}", kernels.name());
    }
}

/// Opens and, where that succeeds, runs. Whether it ran.
fn attempt(graph: &[u8], weights: &[u8]) -> bool {
    let weights = Aligned::copy_of(weights);
    let Ok(model) = Model::open(graph, weights.as_ref()) else { return false };
    let kernels = Kernels::detect();
    let need = model.arena_len(kernels);
    if need > 1 << 20 {
        return false;
    }
    let mut arena = Aligned::zeroed(need);
    model.run(kernels, arena.as_mut()).expect("an opened model runs in an arena of the length it asks for");
    true
}
