//! Damaged files: whatever the bytes are, the importer answers, and a graph that it makes is whole.
#![allow(clippy::unwrap_used, reason = "a model that cannot be read must fail the test")]

use std::{fs, path::PathBuf};

use fleetfoot_import::tflite;
use fleetfoot_plan::graph::ElementType;

/// Damaged copies of each file.
const COPIES: usize = 20_000;

#[test]
fn truncated_and_damaged_files_are_answered() {
    for path in ["quantize/import/tests/data/all_operators.tflite", "examples/digits/digits_v1.tflite"] {
        let whole = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap();
        assert_eq!(check(&whole), 0, "{path}");
        let mut codes = std::collections::BTreeMap::new();
        for len in 0..whole.len() {
            // Everything matters but the padding at the very end.
            let code = check(&whole[..len]);
            assert!(code != 0 || whole.len() - len < 16, "{path}: {len} of {} bytes were enough", whole.len());
            *codes.entry(code).or_insert(0) += 1;
        }
        let mut random = Random(0x5eed);
        for _ in 0..COPIES {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                match random.below(4) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = random.below(256) as u8,
                    // What makes lengths and offsets large, negative, or point here.
                    2 => bytes[at / 4 * 4..].iter_mut().take(4).for_each(|b| *b = 0xff),
                    _ => {
                        let from = random.below(whole.len());
                        let n = random.below(16).min(bytes.len() - at).min(whole.len() - from);
                        bytes[at..at + n].copy_from_slice(&whole[from..from + n]);
                    }
                }
            }
            *codes.entry(check(&bytes)).or_insert(0) += 1;
        }
        println!("{path}: copies by error number {codes:?}");
        // The damage reached structure, numbers and the model itself.
        assert!(codes.contains_key(&0) && codes.contains_key(&501) && codes.contains_key(&503) && codes.len() > 12);
    }
}

/// The number of the error, 0 for none.
fn check(bytes: &[u8]) -> u16 {
    let graph = match tflite(bytes) {
        Ok(graph) => graph,
        Err(error) => {
            assert!(error.to_string().len() < 100_000);
            return error.code();
        }
    };
    // The planner answers too, with a plan or an error.
    std::hint::black_box(fleetfoot_plan::plan(&graph).is_ok());
    for tensor in &graph.tensors {
        let size = match tensor.dtype {
            ElementType::Int8 | ElementType::UInt8 => 1,
            ElementType::Int32 => 4,
            other => panic!("{} in the graph", other.name()),
        };
        assert!(tensor.data.as_ref().is_none_or(|data| data.len() == tensor.elements() * size));
        assert!(!tensor.shape.contains(&0) && tensor.elements() <= 1 << 30);
    }
    let ops = graph.ops.iter().flat_map(|op| op.inputs.iter().flatten().chain(&op.outputs));
    assert!(ops.chain(&graph.inputs).chain(&graph.outputs).all(|id| id.0 < graph.tensors.len()));
    assert!(graph.ops.iter().all(|op| op.outputs.len() == 1));
    0
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
