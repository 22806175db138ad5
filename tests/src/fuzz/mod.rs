//! What fuzzing runs: targets that must answer whatever the bytes are, and mutations that get past the first check.
//!
//! ```text
//! fuzz/targets/*.rs           libFuzzer with coverage: cargo xtask fuzz [--minutes N] [TARGET]
//! tests/tests/fuzz.rs         the kept files of fuzz/corpus and some mutations of each, in every test run
//! ```
//! A finding becomes a file of `fuzz/corpus/<target>` named after its fault, and stays there.

pub mod bundle;
pub mod http;
pub mod keyfile;
pub mod lite;
pub mod mutate;
pub mod onnx;
pub mod record;
pub mod report;
pub mod tflite;
pub mod tuf;

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_import::ImportError;
use fleetfoot_plan::{Aligned, Plan, graph::Graph};

/// Above this many multiply-accumulates, and bytes of arena, a model is opened but not run.
const MAX_WORK: u64 = 1 << 22;
const MAX_ARENA: usize = 1 << 22;

/// Runs `model` with all kernels in arenas of different old contents: the outputs, of which there is one answer. `None` for
/// models that are too much work.
///
/// # Panics
/// Where kernels, or old contents of memory, make a difference.
fn run<B: AsRef<[u8]>>(model: &Model<B>, seed: u8) -> Option<Vec<u8>> {
    let mut answer = None;
    for (kernels, fill) in Kernels::available().flat_map(|kernels| [(kernels, 0x00), (kernels, 0xa5)]) {
        let work: u64 = model.records().map(|record| work(&record.step)).fold(0, u64::saturating_add);
        let arena_len = model.bounded_arena_len(kernels, 1).ok()?;
        if work > MAX_WORK || arena_len > MAX_ARENA {
            return None;
        }
        let mut arena = Aligned::zeroed(arena_len);
        let arena = arena.as_mut();
        arena.fill(fill);
        for (index, io) in model.inputs().iter().enumerate() {
            let bytes = &mut arena[io.span.range()];
            bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = pattern(seed, index, i));
        }
        model.run(kernels, arena).expect("an opened model runs in an arena of the length it asks for");
        let outputs: Vec<u8> = model.outputs().iter().flat_map(|io| &arena[io.span.range()]).copied().collect();
        let first = answer.get_or_insert_with(|| outputs.clone());
        assert!(*first == outputs, "{} over {fill:#x} gives another answer", kernels.name());
    }
    answer
}

fn pattern(seed: u8, index: usize, i: usize) -> u8 {
    match seed % 3 {
        0 => 0x80,
        1 => (i * 73 + index * 31) as u8 ^ seed,
        _ => {
            if i.is_multiple_of(2) {
                0x7f
            } else {
                0x80
            }
        }
    }
}

/// Steps of the innermost loop of the slowest kernel, about.
fn work(step: &fleetfoot_format::graph::Step) -> u64 {
    use fleetfoot_format::graph::Step;
    let cells = match step {
        Step::Pool(p) => {
            let along = |kernel: u32, extent: u32| u64::from(kernel.min(extent));
            along(p.window.kernel_h, p.window.in_h) * along(p.window.kernel_w, p.window.in_w) * u64::from(p.output.len)
        }
        _ => step.macs(),
    };
    cells.saturating_add(step.bytes())
}

/// What an importer made of a file: planned with and without passes, and both run.
///
/// # Panics
/// Where the passes change the answer, or an error has a number of another crate or no end.
fn run_import(imported: Result<Graph, ImportError>, seed: u8) {
    let graph = match imported {
        Ok(graph) => graph,
        Err(error) => {
            assert!((500..550).contains(&error.code()) && error.to_string().len() < 100_000);
            return;
        }
    };
    match (fleetfoot_plan::plan(&graph), fleetfoot_plan::plan_as_written(&graph)) {
        (Ok(plan), Ok(written)) => {
            let (plan, written) = (run_plan(&plan, seed), run_plan(&written, seed));
            assert!(plan == written || plan.is_none() || written.is_none(), "passes change the answer");
        }
        // A step that passes took out may be one that cannot be lowered.
        (plan, _) => drop(std::hint::black_box(plan)),
    }
}

/// Opens and runs a plan; see [`run`].
fn run_plan(plan: &Plan, seed: u8) -> Option<Vec<u8>> {
    let weights = Aligned::copy_of(&plan.weights);
    let model = Model::open(&plan.graph[..], weights.as_ref()).ok()?;
    run(&model, seed)
}
