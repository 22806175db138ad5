//! Single operators with random shapes, attributes and quantization give the recorded output of LiteRT with XNNPACK, byte
//! for byte, with every instruction set of this CPU. `vectors/operators.py` makes the archives.

use std::{collections::BTreeMap, path::Path, process::ExitCode, sync::Arc};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_tests::{npz, operators};

fn main() -> ExitCode {
    let (mut passed, mut failed) = (BTreeMap::new(), 0);
    for (archive, name) in &operators() {
        let operator = name.rsplit_once('_').map_or(&name[..], |(operator, _)| operator).to_string();
        for kernels in Kernels::available() {
            match check(archive, name, kernels) {
                Ok(()) => *passed.entry((operator.clone(), kernels.name())).or_insert(0) += 1,
                Err(what) => {
                    println!("test {name} {} ... FAILED: {what}", kernels.name());
                    failed += 1;
                }
            }
        }
    }
    for ((operator, kernels), n) in &passed {
        println!("test {operator} {kernels} ({n} networks) ... ok");
    }
    println!("\n{} passed, {failed} failed", passed.values().sum::<i32>());
    if failed == 0 && !passed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(archive: &Path, name: &str, kernels: Kernels) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let bytes = |what: &str| npz(archive, &format!("{name}.{what}")).1;
    let graph = fleetfoot_import::tflite(&bytes("model")).map_err(|e| text(&e))?;
    let plan = fleetfoot_plan::plan(&graph).map_err(|e| text(&e))?;
    let model = Arc::new(Model::open_unsigned(&plan).map_err(|e| text(&e))?);
    let mut session = Session::new(model, kernels).map_err(|e| text(&e))?;
    for i in 0..graph.inputs.len() {
        session.set_input(i, &bytes(&format!("input{i}"))).map_err(|e| text(&e))?;
    }
    session.run().map_err(|e| text(&e))?;
    for i in 0..graph.outputs.len() {
        let expected = if i == 0 { bytes("output") } else { bytes(&format!("output{i}")) };
        let found = session.output(i).map_err(|e| text(&e))?;
        let n = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
        if n != 0 || found.len() != expected.len() {
            return Err(format!("{n} of {} bytes differ, {:?}", expected.len(), graph.ops[0].kind));
        }
    }
    Ok(())
}
