//! Golden cases that begin at raw inputs: prepared, run and compared on the board, without a heap.

use fleetfoot_engine::{Kernels, Model, Session};
use fleetfoot_format::{
    bundle::{Bundle, SectionKind},
    preprocess::{Cell, Preprocess, Program},
    raw_golden::{RawGolden, cells},
};
use fleetfoot_preprocess::{PreprocessError, Rgb, Tensor, audio, check, image, row};
use fleetfoot_trust::sha256;
use semihosting::println;

use crate::{Fault, output_sha256, tick};

/// Bytes of an input, samples of a recording, cells of a row and numbers of scratch at most, for the models of this check.
const INPUT_LEN: usize = 1024;
const SAMPLES: usize = 16_000;
const CELLS: usize = 32;
const SCRATCH: usize = 2 * 1024 + 64;

/// Runs every raw golden case of `bundle`; tells how many there are.
pub(crate) fn check_raw(
    bundle: &Bundle<'_>,
    model: &Model<&[u8]>,
    kernels: Kernels,
    arena: &mut [u8],
) -> Result<usize, Fault> {
    let (Ok(program), Ok(golden)) = (bundle.section(SectionKind::PREPROCESS), bundle.section(SectionKind::RAW_GOLDEN))
    else {
        return Ok(0);
    };
    let format = |e: fleetfoot_format::FormatError| Fault::Format(e.code());
    let engine = |e: fleetfoot_engine::EngineError| Fault::Engine(e.code());
    let preprocess = |e: PreprocessError| Fault::Preprocess(e.code());
    let (program, golden) = (Program::parse(program).map_err(format)?, RawGolden::parse(golden).map_err(format)?);
    let input = model.input(0).map_err(engine)?;
    let tensor = Tensor { dtype: input.dtype, dims: &input.dims, scale: input.scale, zero_point: input.zero_point };
    check(&program, &tensor).map_err(preprocess)?;
    let mut buffer = [0; INPUT_LEN];
    let prepared = buffer.get_mut(..input.span.len as usize).ok_or(Fault::Format(104))?;
    let mut session = Session::new(model, kernels, arena).map_err(engine)?;
    let n = golden.cases().len();
    for (case, (expected, bytes)) in golden.cases().enumerate() {
        let start = tick::now();
        prepare(&program, &tensor, expected.raw, bytes, prepared)?;
        let instructions = tick::now() - start;
        session.set_input(0, prepared).map_err(engine)?;
        session.run().map_err(engine)?;
        let equal =
            sha256(prepared) == expected.input_sha256 && output_sha256(model, &session)? == expected.output_sha256;
        println!(
            "raw golden {}/{n} {}: prepared in {instructions} instructions",
            case + 1,
            if equal { "ok" } else { "WRONG" }
        );
        if !equal {
            return Err(Fault::Golden { failed: 1 });
        }
    }
    Ok(n)
}

fn prepare(
    program: &Program<'_>,
    tensor: &Tensor<'_>,
    raw: fleetfoot_format::raw_golden::Raw,
    bytes: &[u8],
    out: &mut [u8],
) -> Result<(), Fault> {
    use fleetfoot_format::raw_golden::Raw;
    let done = match (&program.preprocess, raw) {
        (Preprocess::Image(settings), Raw::Pixels { width, height }) => {
            Rgb::new(width, height, bytes).and_then(|pixels| image(settings, tensor, &pixels, out))
        }
        (Preprocess::Audio(settings), Raw::Samples { .. }) => {
            let (mut samples, mut scratch) = ([0; SAMPLES], [0; SCRATCH]);
            let all = bytes.as_chunks().0;
            let samples = samples.get_mut(..all.len()).ok_or(Fault::Format(104))?;
            samples.iter_mut().zip(all).for_each(|(sample, &bytes)| *sample = i16::from_le_bytes(bytes));
            audio(settings, tensor, samples, &mut scratch, out)
        }
        (Preprocess::Table(_), Raw::Row { .. }) => {
            let (mut row_cells, mut count) = ([Cell::Missing; CELLS], 0);
            for cell in cells(bytes) {
                *row_cells.get_mut(count).ok_or(Fault::Format(104))? = cell.ok_or(Fault::Format(105))?;
                count += 1;
            }
            row(program, tensor, row_cells[..count].iter().copied(), out)
        }
        _ => return Err(Fault::Format(105)),
    };
    done.map_err(|e| Fault::Preprocess(e.code()))
}
