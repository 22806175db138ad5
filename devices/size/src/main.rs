//! The smallest program that runs a bundle, to weigh what the runtime adds to it: `size MODEL.ff`.
//!
//! Built by `cargo xtask test size` with the feature `engine`, and without, when it only reads the file. The plan
//! comes from the file at run time, so no operator and no instruction set can be left out by the linker. It checks no
//! signature: that is `fleetfoot-trust`, which is weighed on its own in the firmware.
//!
//! With the feature `agent`, and then `net` and `tls`, it is the smallest program that keeps a model up to date: `size STORE ROOT.json
//! REPOSITORY MODEL` polls once and runs what then serves.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[cfg(feature = "agent")]
mod agent;

#[cfg(feature = "agent")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [store, root, repository, model] = &args[..] else {
        eprintln!("usage: size STORE ROOT.json REPOSITORY MODEL");
        return ExitCode::from(2);
    };
    match agent::poll(store, root, repository, model) {
        Ok(answer) => {
            println!("{answer:08x}");
            ExitCode::SUCCESS
        }
        Err(code) => {
            eprintln!("error {code}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "agent"))]
fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1) else {
        eprintln!("usage: size MODEL.ff");
        return ExitCode::from(2);
    };
    match std::fs::read(&path).map_err(|_| 0).and_then(|bytes| answer(&bytes)) {
        Ok(answer) => {
            println!("{answer:08x}");
            ExitCode::SUCCESS
        }
        Err(code) => {
            eprintln!("error {code}");
            ExitCode::FAILURE
        }
    }
}

/// A checksum of all outputs for inputs of 1, 2, 3, ...; or the number of an error.
#[cfg(all(feature = "engine", not(feature = "agent")))]
fn answer(bytes: &[u8]) -> Result<u32, u16> {
    use fleetfoot_engine::{Kernels, Model};
    use fleetfoot_format::bundle::{Bundle, SectionKind};
    let bundle = Bundle::parse(bytes).map_err(|e| e.code())?;
    let section = |kind| bundle.section(kind).map_err(|e| e.code());
    let model = Model::open(section(SectionKind::GRAPH)?, section(SectionKind::WEIGHTS)?).map_err(|e| e.code())?;
    let kernels = Kernels::detect();
    let mut arena = vec![0; model.arena_len(kernels)];
    for input in model.inputs() {
        (0..).zip(&mut arena[input.span.range()]).for_each(|(i, byte): (usize, &mut u8)| *byte = i as u8);
    }
    model.run(kernels, &mut arena).map_err(|e| e.code())?;
    Ok(model.outputs().iter().fold(0, |sum, output| checksum(sum, &arena[output.span.range()])))
}

/// A checksum of the file.
#[cfg(not(any(feature = "engine", feature = "agent")))]
fn answer(bytes: &[u8]) -> Result<u32, u16> {
    Ok(checksum(0, bytes))
}

fn checksum(start: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(start, |sum, &byte| sum.rotate_left(5).wrapping_add(u32::from(byte)).wrapping_mul(0x9e37_79b1))
}
