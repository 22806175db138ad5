//! Writes the first files of `fuzz/corpus`: models of the tests, and bundles made of them.
//!
//! ```text
//! cargo run -p fleetfoot-tests --bin fuzz_seeds
//! ```
//! One network of each operator and type from `tests/vectors/operators_*.npz`, and the model that has every operator. Files that are there stay.
#![allow(clippy::unwrap_used, reason = "a seed that cannot be made must be seen")]

use std::{collections::BTreeSet, fs};

use fleetfoot_format::bundle::{Budget, Header, SectionKind};
use fleetfoot_tests::{npz, operators, root};

fn main() {
    let mut seen = BTreeSet::new();
    let mut models = vec![(
        "all_operators".to_string(),
        fs::read(root().join("quantize/import/tests/data/all_operators.tflite")).unwrap(),
    )];
    for (archive, name) in operators() {
        let bytes = npz(&archive, &format!("{name}.model")).1;
        let graph = fleetfoot_import::tflite(&bytes).unwrap();
        let kind = (graph.ops[0].kind.name(), graph.tensors[0].dtype.name());
        if bytes.len() < 6000 && seen.insert(kind) {
            models.push((name, bytes));
        }
    }
    for (name, model) in models {
        let plan = fleetfoot_plan::plan(&fleetfoot_import::tflite(&model).unwrap()).unwrap();
        let header = Header {
            model: "seed",
            version: "1",
            number: 1,
            total_len: 0,
            min_runtime: (0, 1),
            target: "portable",
            budget: Budget::default(),
            sections: heapless::Vec::new(),
        };
        let parts = [(SectionKind::GRAPH, &plan.graph[..]), (SectionKind::WEIGHTS, &plan.weights)];
        let bundle = fleetfoot_quantize::assemble(header, &parts, &[[1; 32]]).unwrap();
        for (target, bytes) in [("bundle", bundle), ("tflite", model)] {
            let folder = root().join("fuzz/corpus").join(target);
            fs::create_dir_all(&folder).unwrap();
            println!("{target}/{name}: {} bytes", bytes.len());
            fs::write(folder.join(&name), bytes).unwrap();
        }
    }
}
