//! Writes the first files of `fuzz/corpus`: models of the tests, bundles made of them, and a good file of each other kind.
//!
//! ```text
//! cargo run -p fleetfoot-tests --bin fuzz_seeds
//! ```
//! One network of each operator and type from `tests/vectors/operators_*.npz`, and the model that has every operator. Files that are there stay.
#![allow(clippy::unwrap_used, reason = "a seed that cannot be made must be seen")]

use std::{collections::BTreeSet, fs};

use fleetfoot_format::{
    bundle::{Budget, Header, SectionKind},
    record::{Candidate, Held, MAX_RECORD_LEN, Phase, Reason, Record, Rejected, Version},
};
use fleetfoot_repository::keyfile;
use fleetfoot_tests::{
    fuzz::{http, lite, onnx, tuf},
    npz, operators, root,
};

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
            write(target, &name, &bytes);
        }
    }
    for (which, (role, body)) in tuf::BODIES.iter().enumerate() {
        write("tuf", role, &[&[which as u8], body.to_string().as_bytes()].concat());
    }
    let raw = br#"{"signatures":[{"keyid":"k","sig":"00"}],"signed":{"_type":"timestamp","version":1}}"#;
    write("tuf", "raw", &[&[5][..], raw].concat());
    for (name, bytes) in onnx::seeds() {
        write("onnx", name, &bytes);
    }
    for (name, bytes) in lite::seeds() {
        write("lite", name, &bytes);
    }
    for (name, bytes) in http::seeds() {
        write("http", name, &bytes);
    }
    for (name, record) in records() {
        let mut slot = [0; MAX_RECORD_LEN];
        let len = record.encode(&mut slot).unwrap();
        write("record", name, &slot[..len]);
        write("record", &format!("{name}_body"), &slot[8..len - 4]);
    }
    keys();
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    if !path.exists() {
        println!("{target}/{name}: {} bytes", bytes.len());
        fs::write(path, bytes).unwrap();
    }
}

/// Records of a device in each phase.
fn records() -> Vec<(&'static str, Record)> {
    let version = |n: u8| Version { sha256: [n; 32], number: n.into(), len: 1000, attempt: 1, epoch: 1 };
    let reason = Reason::UNREACHABLE;
    let phases = [
        ("writing", Phase::Writing { offset: 500 }),
        ("ready", Phase::Ready),
        ("validated", Phase::Validated),
        ("trial", Phase::Trial { good: 10, elapsed_s: 60 }),
        ("deferred", Phase::Deferred { reason, retry_at: 1000, offset: 10, ready: false }),
    ];
    #[allow(clippy::needless_update, reason = "records get more fields")]
    let with = |candidate| Record {
        seq: 7,
        active: Some([1; 32]),
        last_good: Some([2; 32]),
        factory: Some(version(9)),
        candidate,
        kept: [version(1), version(2)].into_iter().collect(),
        epoch_floor: 1,
        held: Some(Held { number: 4, attempt: 1 }),
        rejected: [Rejected { sha256: [4; 32], attempt: 1, reason: Reason::SIGNATURE }].into_iter().collect(),
        ..Record::default()
    };
    let mut all = vec![("new", Record::default()), ("settled", with(None))];
    all.extend(
        phases.map(|(name, phase)| (name, with(Some(Candidate { version: version(5), attempts_left: 2, phase })))),
    );
    all
}

/// Key files as the program writes them; the sealed one with a derivation that is quick.
fn keys() {
    let dir = std::env::temp_dir().join(format!("fleetfoot-seeds-{}", std::process::id()));
    for (name, passphrase) in [("plain", None), ("sealed", Some("passphrase"))] {
        let (private, public, _) = keyfile::create(&dir, "releases", Some(name), passphrase).unwrap();
        let text = fs::read_to_string(private).unwrap().replace(": 19456", ": 64");
        write("keyfile", name, text.as_bytes());
        write("keyfile", &format!("{name}_public"), &fs::read(public).unwrap());
    }
    fs::remove_dir_all(dir).unwrap();
}
