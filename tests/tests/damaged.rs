//! Damaged copies of the networks of `vectors/operators_*.npz`, one of every operator there is: importing, planning and opening
//! answer with a model or with an error, and a model that opens runs.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{collections::BTreeMap, sync::Arc};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_tests::{npz, operators};

/// Damaged copies of each network.
const COPIES: usize = 60;
/// Larger arenas are not run.
const MAX_ARENA_LEN: u32 = 1 << 20;

#[test]
fn damaged_operators_are_answered() {
    let (mut random, mut answers) = (0x5eed_u64, BTreeMap::new());
    let mut below = |limit: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % limit
    };
    for (archive, name) in operators().iter().step_by(2) {
        let whole = npz(archive, &format!("{name}.model")).1;
        for _ in 0..COPIES {
            let mut bytes = whole.clone();
            for _ in 0..=below(3) {
                let at = below(bytes.len());
                match below(4) {
                    0 => bytes[at] ^= 1 << below(8),
                    1 => bytes[at] = below(256) as u8,
                    2 => bytes[at] = below(8) as u8,
                    _ => bytes[at / 4 * 4..].iter_mut().take(4).for_each(|b| *b = 0xff),
                }
            }
            *answers.entry(answer(&bytes)).or_insert(0) += 1;
        }
    }
    println!("{answers:?}");
    assert!(answers["ran"] > 100 && answers["not imported"] > 100 && answers["not planned"] > 10, "{answers:?}");
}

fn answer(bytes: &[u8]) -> &'static str {
    let Ok(graph) = fleetfoot_import::tflite(bytes) else { return "not imported" };
    let Ok(plan) = fleetfoot_plan::plan(&graph) else { return "not planned" };
    if plan.arena_len > MAX_ARENA_LEN {
        return "large";
    }
    // Whatever is planned can be opened and runs.
    let model = Model::open_unsigned(&plan).unwrap_or_else(|e| panic!("{e}: {graph:?}"));
    let mut session = Session::new(Arc::new(model), Kernels::detect()).unwrap();
    session.run().unwrap();
    "ran"
}
