//! The program whose AArch64 instructions `cargo xtask bench arm` counts: one network, one thread, golden inputs.
//!
//! ```text
//! count MODEL.tflite GOLDEN.npz ARRAY [ISA]
//!   prints   isa NAME        the instruction set in use: ISA, or the fastest of this CPU
//!            have NAME...    all that there are on this CPU
//!            equal N         N outputs were compared with ARRAY of GOLDEN and are the same, byte for byte
//!             layer OP MACS NAME     one for each step
//! ```
//! The counting plugin (`icount.c`) writes a line when a file is set to a position from [`MARK`] on. Lines 0 and 1 have
//! nothing between them: their difference is what a mark costs. Lines 2i and 2i + 1 enclose run i. After them comes one run
//! with a line from [`LAYERS`] on before the first step and after each, which `layer` lines name.
#![forbid(unsafe_code)]

use std::{
    error::Error,
    fs::{self, File},
    io::{BufReader, Seek, SeekFrom},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use fleetfoot::{Kernels, Model, Session};

/// Positions from here on are marks for the plugin.
const MARK: u64 = 0x5A5A_0000;
/// The mark before the first step of the run that is counted step by step.
const LAYERS: u64 = 100;
/// Counted runs, after one that is not.
const RUNS: u64 = 3;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match &args[..] {
        [model, golden, array] => count(model.as_ref(), golden.as_ref(), array, None),
        [model, golden, array, isa] => count(model.as_ref(), golden.as_ref(), array, Some(isa)),
        _ => Err("usage: count MODEL.tflite GOLDEN.npz ARRAY [ISA]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::FAILURE
        }
    }
}

fn count(model: &Path, golden: &Path, array: &str, isa: Option<&str>) -> Result<(), Box<dyn Error>> {
    let have: Vec<&str> = Kernels::available().map(Kernels::name).collect();
    let kernels = match isa {
        None => Kernels::detect(),
        Some(name) => Kernels::by_name(name).ok_or_else(|| format!("{name}: this CPU has {}", have.join(", ")))?,
    };
    println!("isa {}\nhave {}", kernels.name(), have.join(" "));
    let graph = fleetfoot_import::tflite(&fs::read(model)?)?;
    let plan = fleetfoot_plan::plan(&graph)?;
    let mut session = Session::new(Arc::new(Model::open_unsigned(&plan)?), kernels)?;
    let (inputs, expected) = (npz(golden, "input")?, npz(golden, array)?);
    let input_len = session.input_mut(0)?.len();
    let output_len = session.output(0)?.len();
    let n = inputs.len() / input_len.max(1);
    if n == 0 || inputs.len() != n * input_len || expected.len() != n * output_len {
        return Err(format!("{} does not fit the model", golden.display()).into());
    }

    let mut null = File::open("/dev/null")?;
    let mut mark = |n: u64| null.seek(SeekFrom::Start(MARK + n));
    mark(0)?;
    mark(1)?;
    for run in 0..=RUNS {
        // The first run warms up and has no marks.
        let sample = run as usize % n;
        session.set_input(0, &inputs[sample * input_len..][..input_len])?;
        if run == 0 {
            session.run()?;
        } else {
            mark(2 * run)?;
            session.run()?;
            mark(2 * run + 1)?;
        }
        let expected = &expected[sample * output_len..][..output_len];
        let differ = session.output(0)?.iter().zip(expected).filter(|(a, b)| a != b).count();
        if differ != 0 {
            return Err(format!("sample {sample}: {differ} of {output_len} bytes are not the golden ones").into());
        }
    }
    println!("equal {}", RUNS + 1);

    session.set_input(0, &inputs[..input_len])?;
    mark(LAYERS)?;
    let mut failed = None;
    session.run_observed(|step| failed = mark(LAYERS + 1 + step.index as u64).err().or(failed.take()))?;
    if let Some(fault) = failed {
        return Err(fault.into());
    }
    for record in session.model().engine().records() {
        println!("layer {} {} {}", record.step.op(), record.step.macs(), record.name);
    }
    Ok(())
}

/// The bytes of an int8 or uint8 array of an `.npz`.
fn npz(path: &Path, name: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut archive = npyz::npz::NpzArchive::<BufReader<File>>::open(path)?;
    let array = archive.by_name(name)?.ok_or_else(|| format!("{}: no array '{name}'", path.display()))?;
    Ok(if array.dtype().descr().contains("i1") {
        array.into_vec::<i8>()?.into_iter().map(i8::cast_unsigned).collect()
    } else {
        array.into_vec::<u8>()?
    })
}
