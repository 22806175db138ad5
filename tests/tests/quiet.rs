//! An inference allocates nothing and asks the operating system for nothing; and what a model with a session allocates is what was counted
//! beforehand, which is what a device compares with its limit.
//!
//! ```text
//! for each reference network, in a process of its own:
//!     load, one inference: the peak of allocated bytes is that of Session::memory_len
//!     from here on every system call but the end of the process kills it (seccomp), and allocations are counted
//!     1,000 inferences through the facade, a few through the engine alone (which decodes its steps on the way)
//! ```
//! Two more processes do what is forbidden, once each, to show that it would be seen. System calls are forbidden on Linux;
//! elsewhere only allocations are counted, and the test says so. Arguments, all optional: parts of names of models.
#![allow(clippy::unwrap_used, reason = "this is a test")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    process::{Command, ExitCode, ExitStatus},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
};

use fleetfoot::{Kernels, Model, Session};
use fleetfoot_tests::{root, shared};

const MODELS: &[&str] = &[
    "mlperf-tiny/ad_int8",
    "mlperf-tiny/ic_int8",
    "mlperf-tiny/ic_logits_int8",
    "mlperf-tiny/kws_int8",
    "mlperf-tiny/kws_logits_int8",
    "mlperf-tiny/vww_int8",
    "mlperf-tiny/vww_logits_int8",
    "imagenet/mobilenet_v1_0.25_128_quant",
    "imagenet/tf2_mobilenet_v2_1.0_224_ptq",
    "shapes/efficientnet_lite0_logits_int8",
    "shapes/mobilenet_v1_1.0_224_logits_int8",
    "shapes/mobilenet_v2_1.0_224_logits_int8",
    "shapes/mobilenet_v3_small_logits_int8",
];
/// Inferences with the picked instruction set.
const RUNS: u32 = 1000;
/// Inferences with each of the others, on small networks.
const RUNS_OTHERS: u32 = 10;
/// Exit status of a child that allocated.
const ALLOCATED: u8 = 3;
/// Exit status of a child that allocated another number of bytes than was counted.
const MISCOUNTED: u8 = 5;
/// What a model and a session themselves take, and what their alignment may.
const SMALL: u64 = 8192;
/// Exit status of a child whose inference failed.
const FAULT: u8 = 4;
/// `SIGSYS` of Linux.
#[cfg(target_os = "linux")]
const KILLED: i32 = libc::SIGSYS;

/// The system's allocator, counted.
struct Counted;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
/// Bytes that are allocated now, and the most there ever were.
static BYTES: AtomicU64 = AtomicU64::new(0);
static PEAK: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is passed on to the system's allocator; counting changes no memory of its.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        let len = layout.size() as u64;
        PEAK.fetch_max(BYTES.fetch_add(len, Ordering::Relaxed) + len, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // Counted too: memory that is given back during an inference was not planned either.
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of this very function.
        unsafe { System.dealloc(pointer, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [child, model, isa, runs, fault] = &args[..]
        && child == "--child"
    {
        return run_child(Path::new(model), isa, runs.parse().unwrap(), fault);
    }
    let wanted: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    if !cfg!(target_os = "linux") {
        println!("system calls are not watched on this system; allocations are");
    }
    let (mut passed, mut failed) = (0, 0);
    let mut check = |what: &str, right: bool, status: ExitStatus| {
        println!("test {what} ... {}", if right { "ok".into() } else { format!("FAILED: {status}") });
        if right { passed += 1 } else { failed += 1 }
    };
    let digits = root().join("examples/digits");
    let ours = ["digits_v1", "digits_v2"].map(|name| (name, Some(digits.join(format!("{name}.tflite")))));
    let theirs = MODELS.iter().map(|name| (*name, shared(&format!("models/{name}.tflite"))));
    for (name, path) in ours.into_iter().chain(theirs).filter(|(name, _)| is_wanted(name)) {
        let Some(path) = path else { continue };
        for kernels in Kernels::available() {
            let (isa, is_picked) = (kernels.name(), kernels == Kernels::detect());
            if is_picked || !name.contains('/') || name.starts_with("mlperf-tiny") {
                let runs = if is_picked { RUNS } else { RUNS_OTHERS };
                let status = child(&path, isa, runs, "");
                check(&format!("{name} {isa} ({runs} inferences)"), status.success(), status);
            }
        }
    }
    let (model, isa) = (digits.join("digits_v2.tflite"), Kernels::detect().name());
    let status = child(&model, isa, 1, "allocate");
    check("an allocation is seen", status.code() == Some(i32::from(ALLOCATED)), status);
    #[cfg(target_os = "linux")]
    {
        let status = child(&model, isa, 1, "call");
        check("a system call is seen", std::os::unix::process::ExitStatusExt::signal(&status) == Some(KILLED), status);
    }
    println!("\n{passed} passed, {failed} failed");
    if failed == 0 && passed > 2 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn child(model: &Path, isa: &str, runs: u32, fault: &str) -> ExitStatus {
    let program = std::env::current_exe().unwrap();
    Command::new(program).arg("--child").arg(model).args([isa, &runs.to_string(), fault]).status().unwrap()
}

fn run_child(path: &Path, isa: &str, runs: u32, fault: &str) -> ExitCode {
    let graph = fleetfoot_import::tflite(&std::fs::read(path).unwrap()).unwrap();
    let plan = fleetfoot_plan::plan(&graph).unwrap();
    let kernels = Kernels::by_name(isa).unwrap();
    let before = BYTES.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let model = Arc::new(Model::open_unsigned(&plan).unwrap());
    let mut session = Session::new(model.clone(), kernels).unwrap();
    let peak = PEAK.load(Ordering::Relaxed) - before;
    // Without a file to map, the weights are a copy, too.
    let counted = Session::memory_len(&model, kernels) + plan.weights.len() as u64;
    if !(counted..counted + SMALL).contains(&(peak + SMALL / 2)) {
        eprintln!("{counted} bytes were counted, {peak} were allocated");
        return MISCOUNTED.into();
    }
    let mut arena = vec![0; model.arena_len(kernels)];
    let input = vec![1; model.engine().input(0).unwrap().span.len as usize];
    session.set_input(0, &input).unwrap();
    session.run().unwrap();
    let engine_runs = (runs / 100).max(1);
    forbid_system_calls();
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let mut is_right = true;
    for _ in 0..runs {
        is_right &= session.set_input(0, &input).is_ok() && session.run().is_ok() && session.output(0).is_ok();
        match fault {
            "allocate" => drop(std::hint::black_box(Box::new(1))),
            "call" => drop(std::hint::black_box(std::process::id())),
            _ => {}
        }
    }
    for _ in 0..engine_runs {
        is_right &= model.engine().run(kernels, &mut arena).is_ok();
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    end(match (is_right, allocations) {
        (false, _) => FAULT,
        (true, 0) => 0,
        (true, _) => ALLOCATED,
    })
}

/// From here on every system call but the end of the process kills it.
#[cfg(target_os = "linux")]
fn forbid_system_calls() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    let rules = [(libc::SYS_exit_group, Vec::new())].into_iter().collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch).unwrap();
    apply_filter_all_threads(&BpfProgram::try_from(filter).unwrap()).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn forbid_system_calls() {}

/// Ends at once: what the library does at the end of a process are system calls too.
#[cfg(target_os = "linux")]
fn end(status: u8) -> ExitCode {
    // SAFETY: there is nothing to give back, and nobody waits for what was not flushed.
    unsafe { libc::_exit(i32::from(status)) }
}

#[cfg(not(target_os = "linux"))]
fn end(status: u8) -> ExitCode {
    status.into()
}
