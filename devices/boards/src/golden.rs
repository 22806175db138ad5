//! Proof on the target: everything that a device without heap or OS links, run on one bundle.
//!
//! ```text
//! FF_KEY     32 bytes, the public key, named by a variable of the build
//! the slot   a bundle signed by that key, in memory-mapped flash (board.rs)
//!
//! bytes -> Keys::verify -> Verified<Bundle> -> Model::open in place -> Session in a static arena of exactly the stated length
//!       -> each golden case, or as many as the slot asks for: input, run, SHA-256 of the outputs, equal?     -> one case more, step by step
//!       -> each raw golden case: prepared, run, equal? (raw.rs)
//!       -> the same bundle as an update: offered, written, validated, tried, active (life.rs)
//! ```
//! It prints through semihosting and exits with 0 or 1. There is no allocator: an allocation anywhere below would not link.
#![no_std]
#![no_main]

mod board;
mod life;
mod raw;
mod tick;

use fleetfoot_engine::{EngineError, Kernels, Model, Session};
use fleetfoot_format::{
    bundle::{Bundle, SectionKind},
    golden::Golden,
    record::Version,
};
use fleetfoot_trust::{Keys, Sha256, Verified, sha256, verify_bundle};
use semihosting::{print, println};

/// Tensors and scratch. The largest of the MLPerf Tiny networks needs about 60 KB.
const ARENA_LEN: usize = 128 * 1024;

const KEY: &[u8; 32] = include_bytes!(env!("FF_KEY"));

#[repr(align(16))]
struct Aligned<T: ?Sized>(T);

/// What went wrong: where, and the number of the error (`docs/errors.md`).
#[derive(Debug)]
#[expect(dead_code, reason = "the fields are shown through Debug")]
enum Fault {
    Trust(u16),
    Format(u16),
    Engine(u16),
    Preprocess(u16),
    Golden { failed: usize },
    Steps { index: usize },
    ArenaTaken { len: usize },
    Life(life::Fault),
}

static mut ARENA: Aligned<[u8; ARENA_LEN]> = Aligned([0; ARENA_LEN]);

#[board::entry]
fn main() -> ! {
    tick::start();
    // SAFETY: the only reference; this function runs once.
    let arena = unsafe { &mut (*(&raw mut ARENA)).0 };
    let status = match run(arena) {
        Ok(()) => 0,
        Err(fault) => {
            println!("FAILED: {fault:?}");
            1
        }
    };
    semihosting::process::exit(status)
}

fn run(arena: &mut [u8]) -> Result<(), Fault> {
    let (bundle, instructions, stack) = measured(|| verify(board::slot()));
    let bundle = bundle?;
    let header = bundle.header();
    let len = header.total_len;
    println!(
        "verified {} {}, {len} bytes: {instructions} instructions, {stack} bytes of stack",
        header.model, header.version
    );

    let section = |kind| bundle.section(kind).map_err(|e| Fault::Format(e.code()));
    let golden = Golden::parse(section(SectionKind::GOLDEN)?).map_err(|e| Fault::Format(e.code()))?;
    let (graph, weights) = (section(SectionKind::GRAPH)?, section(SectionKind::WEIGHTS)?);
    let (model, instructions, stack) = measured(|| Model::open(graph, weights));
    let model = model.map_err(engine)?;
    println!("opened: {instructions} instructions, {stack} bytes of stack");
    let kernels = Kernels::detect();
    let need = model.arena_len(kernels);
    println!("arena {need} bytes, kernels {}", kernels.name());
    // One byte less is refused, with the number that is missing; all that follows has not a byte more.
    let arena = arena.get_mut(..need).ok_or(Fault::ArenaTaken { len: need })?;
    match Session::new(&model, kernels, &mut arena[..need - 1]) {
        Err(EngineError::ArenaTooSmall { need: stated, .. }) if stated == need => {}
        _ => return Err(Fault::ArenaTaken { len: need - 1 }),
    }
    steps(&model, kernels, arena, &golden)?;
    println!("{} raw golden cases", raw::check_raw(&bundle, &model, kernels, arena)?);

    let candidate =
        Version { sha256: sha256(bundle.bytes()), number: header.number, len: header.total_len, attempt: 1, epoch: 0 };
    // Validation runs as many as are asked for, the trial two.
    let mut most = board::cases();
    life::check(candidate, || match check_golden(&model, kernels, arena, &golden, core::mem::replace(&mut most, 2)) {
        Ok(n) => Some(n),
        Err(fault) => {
            println!("{fault:?}");
            None
        }
    })
    .map_err(Fault::Life)
}

/// What `work` gives, its instructions, its bytes of stack.
fn measured<T>(work: impl FnOnce() -> T) -> (T, u64, usize) {
    let ((out, instructions), stack) = board::stack_of(|| {
        let start = tick::now();
        let out = work();
        (out, tick::now() - start)
    });
    (out, instructions, stack)
}

#[inline(never)]
fn verify(bytes: &'static [u8]) -> Result<Verified<Bundle<'static>>, Fault> {
    let keys = Keys::new(&[*KEY], 1).map_err(|e| Fault::Trust(e.code()))?;
    verify_bundle(bytes, &keys).map_err(|e| Fault::Trust(e.code()))
}

fn engine(e: EngineError) -> Fault {
    Fault::Engine(e.code())
}

/// Runs up to `most` golden cases and compares the digests of the outputs; tells how many.
fn check_golden(
    model: &Model<&[u8]>,
    kernels: Kernels,
    arena: &mut [u8],
    golden: &Golden<'_>,
    most: usize,
) -> Result<u32, Fault> {
    let mut session = Session::new(model, kernels, arena).map_err(engine)?;
    let n = golden.cases().len().min(most);
    let mut failed = 0;
    for (i, (input, expected)) in golden.cases().take(n).enumerate() {
        set_inputs(model, &mut session, input)?;
        let start = tick::now();
        session.run().map_err(engine)?;
        let instructions = tick::now() - start;
        let found = output_sha256(model, &session)?;
        let equal = found == *expected;
        failed += usize::from(!equal);
        print!("golden {}/{n} {} ", i + 1, if equal { "ok" } else { "WRONG" });
        found.iter().for_each(|byte| print!("{byte:02x}"));
        println!(" {instructions} instructions");
    }
    if failed == 0 { Ok(n as u32) } else { Err(Fault::Golden { failed }) }
}

/// The first golden case one layer at a time, as a firmware does that has a radio to serve in between: instructions of each.
fn steps(model: &Model<&[u8]>, kernels: Kernels, arena: &mut [u8], golden: &Golden<'_>) -> Result<(), Fault> {
    let mut session = Session::new(model, kernels, arena).map_err(engine)?;
    let Some((input, expected)) = golden.cases().next() else { return Ok(()) };
    set_inputs(model, &mut session, input)?;
    let (mut index, mut deepest) = (0, 0);
    loop {
        let (more, instructions, stack) = measured(|| session.step());
        let more = more.map_err(engine)?;
        deepest = deepest.max(stack);
        println!("step {index}: {instructions} instructions, {stack} bytes of stack");
        index += 1;
        if !more {
            break;
        }
    }
    println!("steps: {index}, {deepest} bytes of stack");
    if output_sha256(model, &session)? == *expected { Ok(()) } else { Err(Fault::Steps { index }) }
}

fn set_inputs(model: &Model<&[u8]>, session: &mut Session<'_, &[u8]>, input: &[u8]) -> Result<(), Fault> {
    let mut rest = input;
    for (index, tensor) in model.inputs().iter().enumerate() {
        let bytes = rest.split_off(..tensor.span.len as usize).ok_or(Fault::Format(103))?;
        session.set_input(index, bytes).map_err(engine)?;
    }
    Ok(())
}

/// SHA-256 of all outputs, one after the other.
fn output_sha256(model: &Model<&[u8]>, session: &Session<'_, &[u8]>) -> Result<[u8; 32], Fault> {
    let mut hash = Sha256::new();
    for index in 0..model.outputs().len() {
        hash.update(session.output(index).map_err(|e| Fault::Engine(e.code()))?);
    }
    Ok(hash.finish())
}
