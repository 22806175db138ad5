//! Proof on the target: everything that a device without heap or OS links, run on one bundle.
//!
//! ```text
//! FF_KEY     32 bytes, the public key        \  both named by variables of the build,
//! FF_BUNDLE  a bundle signed by that key     /  both end up in flash
//!
//! bytes -> Keys::verify -> Verified<Bundle> -> Model::open in place -> Session in a static arena
//!       -> each golden case: input, run, SHA-256 of the outputs, equal?
//!       -> each raw golden case: prepared, run, equal? (raw.rs)
//!       -> the same bundle as an update: offered, written, validated, tried, active (life.rs)
//! ```
//! It prints through semihosting and exits with 0 or 1. There is no allocator: an allocation anywhere below would not link.
#![no_std]
#![no_main]

mod life;
mod raw;
mod tick;

use cortex_m_rt::entry;
use fleetfoot_engine::{Kernels, Model, Session};
use fleetfoot_format::{bundle::SectionKind, golden::Golden, record::Version};
use fleetfoot_trust::{Keys, Sha256, sha256, verify_bundle};
use semihosting::{print, println};

/// Tensors and scratch. The largest of the MLPerf Tiny networks needs about 100 KB.
const ARENA_LEN: usize = 256 * 1024;

static BUNDLE: &Aligned<[u8]> = &Aligned(*include_bytes!(env!("FF_BUNDLE")));
const KEY: &[u8; 32] = include_bytes!(env!("FF_KEY"));

/// As a bundle lies in a slot: sections start at multiples of 64, so weights can be read in place.
#[repr(align(64))]
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
    Life(life::Fault),
}

#[entry]
fn main() -> ! {
    static mut ARENA: Aligned<[u8; ARENA_LEN]> = Aligned([0; ARENA_LEN]);
    if let Some(board) = cortex_m::Peripherals::take() {
        tick::start(board.SYST);
    }
    let status = match run(&mut ARENA.0) {
        Ok(()) => 0,
        Err(fault) => {
            println!("FAILED: {fault:?}");
            1
        }
    };
    semihosting::process::exit(status)
}

fn run(arena: &mut [u8]) -> Result<(), Fault> {
    let keys = Keys::new(&[*KEY], 1).map_err(|e| Fault::Trust(e.code()))?;
    let start = tick::now();
    let bundle = verify_bundle(&BUNDLE.0, &keys).map_err(|e| Fault::Trust(e.code()))?;
    let header = bundle.header();
    let (len, instructions) = (header.total_len, tick::now() - start);
    println!("verified {} {}, {len} bytes: {instructions} instructions", header.model, header.version);

    let section = |kind| bundle.section(kind).map_err(|e| Fault::Format(e.code()));
    let golden = Golden::parse(section(SectionKind::GOLDEN)?).map_err(|e| Fault::Format(e.code()))?;
    let engine = |e: fleetfoot_engine::EngineError| Fault::Engine(e.code());
    let start = tick::now();
    let model = Model::open(section(SectionKind::GRAPH)?, section(SectionKind::WEIGHTS)?).map_err(engine)?;
    println!("opened: {} instructions", tick::now() - start);
    let kernels = Kernels::detect();
    println!("arena {} bytes of {}, kernels {}", model.arena_len(kernels), arena.len(), kernels.name());

    println!("{} raw golden cases", raw::check_raw(&bundle, &model, kernels, arena)?);
    let candidate =
        Version { sha256: sha256(bundle.bytes()), number: header.number, len: header.total_len, attempt: 1, epoch: 0 };
    life::check(candidate, || match check_golden(&model, kernels, arena, &golden) {
        Ok(n) => Some(n),
        Err(fault) => {
            println!("{fault:?}");
            None
        }
    })
    .map_err(Fault::Life)
}

/// Runs every golden case and compares the digests of the outputs; tells how many there are.
fn check_golden(model: &Model<&[u8]>, kernels: Kernels, arena: &mut [u8], golden: &Golden<'_>) -> Result<u32, Fault> {
    let engine = |e: fleetfoot_engine::EngineError| Fault::Engine(e.code());
    let mut session = Session::new(model, kernels, arena).map_err(engine)?;
    let n = golden.cases().len();
    let mut failed = 0;
    for (i, (input, expected)) in golden.cases().enumerate() {
        let mut rest = input;
        for (index, tensor) in model.inputs().iter().enumerate() {
            let bytes = rest.split_off(..tensor.span.len as usize).ok_or(Fault::Format(103))?;
            session.set_input(index, bytes).map_err(engine)?;
        }
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

/// SHA-256 of all outputs, one after the other.
fn output_sha256(model: &Model<&[u8]>, session: &Session<'_, &[u8]>) -> Result<[u8; 32], Fault> {
    let mut hash = Sha256::new();
    for index in 0..model.outputs().len() {
        hash.update(session.output(index).map_err(|e| Fault::Engine(e.code()))?);
    }
    Ok(hash.finish())
}
