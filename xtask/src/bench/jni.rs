//! `cargo xtask bench jni`: what a call from Kotlin costs beside one from C, both into the same library, with a model that does nearly nothing. In turn, some times; the
//! least of each counts.

use std::path::{Path, PathBuf};

use crate::{
    capi, kotlin,
    shell::{Cmd, Result, Tree},
};

const TURNS: usize = 5;

pub(super) fn run(tree: &Tree) -> Result {
    let world = capi::world(tree)?;
    let library = kotlin::library(tree)?;
    let class_path = kotlin::test_classes(tree, &world, &library)?;
    let program = c_program(tree, &library)?;
    let key = world.join("key.bin");
    println!("ns per call: least (middle)\ninputs  C               Kotlin          Kotlin over C  JNI alone");
    for (len, file) in [("16", "calls.ff"), ("150000", "calls-150000.ff")] {
        let bundle = world.join(file);
        let mut least = [f64::INFINITY; 5];
        for _ in 0..TURNS {
            let c = Cmd::new(&program).arg(&bundle).arg(&key).read()?;
            let java = Cmd::new("java").args(["-cp", &class_path]).arg(kotlin::property("library", &library));
            let java = java.arg("dev.fleetfoot.CallsKt").arg(&bundle).arg(&key).read()?;
            let numbers =
                c.split_whitespace().chain(java.split_whitespace()).map(|word| word.parse::<f64>().unwrap_or(f64::NAN));
            for (least, number) in least.iter_mut().zip(numbers) {
                *least = least.min(number);
            }
        }
        let [c, c_middle, run, run_middle, nothing] = least;
        println!("{len:7} {c:6.1} ({c_middle:6.1}) {run:6.1} ({run_middle:6.1}) {:14.1} {nothing:10.1}", run - c);
    }
    Ok(())
}

/// The program in C, linked with the static library of the Kotlin binding, which has the functions of the header, too.
fn c_program(tree: &Tree, library: &Path) -> Result<PathBuf> {
    let binary = tree.target.join("calls");
    Cmd::new("gcc")
        .args(["-std=c99", "-O2", "-Wall", "-Werror", "-I"])
        .arg(tree.root.join("ffi/include"))
        .arg(tree.root.join("benches/jni/calls.c"))
        .arg(library.with_file_name("libfleetfoot_jni.a"))
        .args(["-lgcc_s", "-lpthread", "-ldl", "-lm", "-o"])
        .arg(&binary)
        .run()?;
    Ok(binary)
}
