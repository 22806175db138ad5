//! Admission: a bundle proves on this very device that it answers as it did on its author's machine, and within its budget.
//!
//! ```text
//! min_runtime   is this runtime new enough?
//! plan          is it sound?                                    (nothing is trusted because it is signed)
//! baseline      is it that of this model's inputs and outputs?
//! arena         does it fit into budget.arena_bytes?            (before it is allocated)
//! memory        does all of it fit into what the device allows? (before it is allocated)
//! goldens       every case, bit for bit; those that begin at a raw input through the bundle's own preprocessing
//! p99           of 50 warm runs, below budget.p99_us?
//! peak          of the resident memory, while it did all that      (in a process of its own, on Linux)
//! ```
//! The budget is that of the release, under its signatures; a device may add a limit of its own for the memory of a model
//! ([`Watchdog::max_memory_bytes`](crate::watchdog::Watchdog::max_memory_bytes)). What is counted is what a model and a session of one thread allocate: the copy of the
//! graph, the decoded steps, and the arena with its scratch ([`Session::memory_len`]); weights are mapped and belong to the file. Other work on the device can only make a measurement
//! worse, so a measurement above the budget is repeated and the best of three counts.

use std::{sync::Arc, time::Instant};

use fleetfoot_format::{
    FormatError, baseline::Baseline, bundle::SectionKind, golden::Golden, raw_golden::RawGolden, record::Reason,
};
use fleetfoot_kernels::Kernels;
use thiserror::Error;

use crate::{
    error::{Error, hex},
    model::Model,
    session::Session,
    verified::VerifiedFile,
};

/// What was measured of an admitted bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Golden cases that were run; 0 where the bundle has none.
    pub goldens: usize,
    /// 99th percentile of warm single-thread inferences, microseconds, rounded up.
    pub p99_us: u64,
    /// Arena, bytes.
    pub arena_bytes: usize,
    /// What the model and a session of one thread allocate, bytes: see the module.
    pub memory_bytes: u64,
    /// By how many bytes the peak of the resident memory grew, weights that were read among them; only where the bundle proved itself in a process
    /// of its own, on Linux.
    pub resident_bytes: Option<u64>,
}

/// Why a bundle is not admitted.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bundle asks for a newer runtime.
    #[error("needs runtime {}.{}, this is {}.{}", needs.0, needs.1, this.0, this.1)]
    RuntimeTooOld {
        /// Major and minor version that it asks for.
        needs: (u16, u16),
        /// Major and minor version of this runtime.
        this: (u16, u16),
    },
    /// The arena is larger than the budget.
    #[error("needs {arena_bytes} bytes of arena, the budget is {budget_bytes}")]
    OverMemory {
        /// What it needs.
        arena_bytes: usize,
        /// What its budget allows.
        budget_bytes: u32,
    },
    /// Model and session are larger than this device allows.
    #[error("needs {memory_bytes} bytes of memory, this device allows {limit_bytes}")]
    OverDeviceMemory {
        /// What it needs.
        memory_bytes: u64,
        /// What the device allows.
        limit_bytes: u64,
    },
    /// The memory that it took, measured, is above what the budgets leave room for.
    #[error("took {resident_bytes} bytes of memory at its peak, the budget leaves room for {room_bytes}")]
    OverPeak {
        /// What was measured.
        resident_bytes: u64,
        /// What may be taken.
        room_bytes: u64,
    },
    /// What a process of its own found.
    #[error("{text}")]
    Told {
        /// The reason.
        reason: Reason,
        /// Its words.
        text: String,
    },
    /// An output is not the golden one.
    #[error("golden case {} of {of}: output has SHA-256 {}…, {}… was expected", case + 1, hex(&got[..8]), hex(&expected[..8]))]
    GoldenMismatch {
        /// The first case that differs, from 0.
        case: usize,
        /// Number of cases.
        of: usize,
        /// Digest in the bundle.
        expected: [u8; 32],
        /// Digest on this device.
        got: [u8; 32],
    },
    /// Preprocessing of a raw golden case gave another input.
    #[error("golden case {} of {of}: preprocessing gave an input with SHA-256 {}…, {}… was expected", case + 1, hex(&got[..8]), hex(&expected[..8]))]
    GoldenInput {
        /// The first case that differs, from 0.
        case: usize,
        /// Number of cases.
        of: usize,
        /// Digest in the bundle.
        expected: [u8; 32],
        /// Digest on this device.
        got: [u8; 32],
    },
    /// The measured latency is not below the budget.
    #[error("p99 of {p99_us} \u{b5}s is not below the budget of {budget_us} \u{b5}s")]
    OverLatency {
        /// Measured.
        p99_us: u64,
        /// What its budget allows.
        budget_us: u32,
    },
    /// The model cannot be opened or run.
    #[error("not sound or not supported: {0}")]
    NotSound(#[from] Box<Error>),
}

impl Refusal {
    /// The reason as the state record keeps it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::RuntimeTooOld { .. } => Reason::RUNTIME_TOO_OLD,
            Self::OverMemory { .. } | Self::OverDeviceMemory { .. } | Self::OverPeak { .. } => Reason::OVER_MEMORY,
            Self::Told { reason, .. } => *reason,
            Self::GoldenMismatch { .. } | Self::GoldenInput { .. } => Reason::GOLDEN_MISMATCH,
            Self::OverLatency { .. } => Reason::OVER_LATENCY,
            Self::NotSound(_) => Reason::NOT_SOUND,
        }
    }
}

/// Admits a verified bundle on this device, or says why not.
///
/// # Errors
/// [`Refusal`], with what was found and what was expected.
pub fn validate(file: &VerifiedFile, kernels: Kernels) -> Result<Admission, Refusal> {
    validate_within(file, kernels, None)
}

/// As [`validate`], within the memory that this device allows.
///
/// # Errors
/// As [`validate`].
pub fn validate_within(file: &VerifiedFile, kernels: Kernels, limit: Option<u64>) -> Result<Admission, Refusal> {
    let needs = file.info().min_runtime;
    if needs > RUNTIME {
        return Err(Refusal::RuntimeTooOld { needs, this: RUNTIME });
    }
    let model = Arc::new(Model::from_file(file).map_err(Box::new)?);
    baseline(file, &model).map_err(Box::new)?;
    let arena_bytes = model.arena_len(kernels);
    let budget = file.info().budget;
    if let Some(budget_bytes) = budget.arena_bytes.filter(|&budget| arena_bytes as u64 > u64::from(budget)) {
        return Err(Refusal::OverMemory { arena_bytes, budget_bytes });
    }
    let memory_bytes = Session::memory_len(&model, kernels);
    if let Some(limit_bytes) = limit.filter(|&limit| memory_bytes > limit) {
        return Err(Refusal::OverDeviceMemory { memory_bytes, limit_bytes });
    }
    let mut session = Session::new(Arc::clone(&model), kernels).map_err(Box::new)?;
    let goldens = run_goldens(file, &mut session)?;
    let mut p99_us = u64::MAX;
    for _ in 0..ROUNDS {
        p99_us = p99_us.min(measure(file, &mut session).map_err(Box::new)?);
        if budget.p99_us.is_none_or(|budget| p99_us < u64::from(budget)) {
            return Ok(Admission { goldens, p99_us, arena_bytes, memory_bytes, resident_bytes: None });
        }
    }
    Err(Refusal::OverLatency { p99_us, budget_us: budget.p99_us.unwrap_or_default() })
}

/// Whether the peak of the resident memory that was measured stays within the budget: the arena that it allows, what is counted beside the
/// arena, the file, all of whose pages may have been read, and [`PEAK_SLACK_BYTES`] for the allocator and the code that ran for the first
/// time. Without a budget for the arena, what the device allows takes its place.
pub(crate) fn within_peak(
    file: &VerifiedFile,
    admission: &Admission,
    resident_bytes: u64,
    limit: Option<u64>,
) -> Result<(), Refusal> {
    let beside = admission.memory_bytes.saturating_sub(admission.arena_bytes as u64);
    let budget = file.info().budget.arena_bytes.map(|arena| u64::from(arena).saturating_add(beside));
    let Some(most) = budget.into_iter().chain(limit).min() else { return Ok(()) };
    let room_bytes = most.saturating_add(file.bytes().len() as u64).saturating_add(PEAK_SLACK_BYTES);
    if resident_bytes > room_bytes { Err(Refusal::OverPeak { resident_bytes, room_bytes }) } else { Ok(()) }
}

/// The golden cases alone, nothing measured (`p99_us` is 0): for a version that was admitted before, in another environment.
///
/// # Errors
/// [`Refusal`].
pub fn prove(file: &VerifiedFile, kernels: Kernels) -> Result<Admission, Refusal> {
    let model = Arc::new(Model::from_file(file).map_err(Box::new)?);
    let (arena_bytes, memory_bytes) = (model.arena_len(kernels), Session::memory_len(&model, kernels));
    let goldens = run_goldens(file, &mut Session::new(model, kernels).map_err(Box::new)?)?;
    Ok(Admission { goldens, p99_us: 0, arena_bytes, memory_bytes, resident_bytes: None })
}

/// How the values of the model were spread when it was made, where the bundle says so: one sketch for each input and output.
///
/// # Errors
/// [`Error::Format`] where the section does not hold, or has another number of tensors than the model.
pub(crate) fn baseline(file: &VerifiedFile, model: &Model) -> Result<Option<Baseline>, Error> {
    let Some(section) = file.section(SectionKind::BASELINE) else { return Ok(None) };
    let baseline = Baseline::parse(section.as_ref())?;
    let (inputs, outputs) = (model.engine().inputs().len(), model.engine().outputs().len());
    if (baseline.inputs.len(), baseline.outputs.len()) != (inputs, outputs) {
        return Err(FormatError::OutOfRange { what: "number of tensors of the baseline" }.into());
    }
    Ok(Some(baseline))
}

/// Runs every golden case, those that begin at a raw input last. Returns how many there are.
///
/// # Errors
/// [`Refusal::GoldenMismatch`] or [`Refusal::GoldenInput`] for the first that differs, [`Refusal::NotSound`] where a case does not fit the model.
pub fn run_goldens(file: &VerifiedFile, session: &mut Session) -> Result<usize, Refusal> {
    let boxed = |error: Error| Refusal::from(Box::new(error));
    let (prepared, raw) = (file.section(SectionKind::GOLDEN), file.section(SectionKind::RAW_GOLDEN));
    let prepared = prepared.as_ref().map(|section| Golden::parse(section.as_ref())).transpose();
    let raw = raw.as_ref().map(|section| RawGolden::parse(section.as_ref())).transpose();
    let (prepared, raw) = (prepared.map_err(|e| boxed(e.into()))?, raw.map_err(|e| boxed(e.into()))?);
    let first_raw = prepared.as_ref().map_or(0, |golden| golden.cases().len());
    let of = first_raw + raw.as_ref().map_or(0, |golden| golden.cases().len());
    for (case, (input, expected)) in prepared.iter().flat_map(Golden::cases).enumerate() {
        let got = session.run_golden(input).map_err(boxed)?;
        if got != *expected {
            return Err(Refusal::GoldenMismatch { case, of, expected: *expected, got });
        }
    }
    for (case, (expected, bytes)) in (first_raw..).zip(raw.iter().flat_map(RawGolden::cases)) {
        let (input, output) = session.run_raw_golden(expected, bytes).map_err(boxed)?;
        if input != expected.input_sha256 {
            return Err(Refusal::GoldenInput { case, of, expected: expected.input_sha256, got: input });
        }
        if output != expected.output_sha256 {
            return Err(Refusal::GoldenMismatch { case, of, expected: expected.output_sha256, got: output });
        }
    }
    Ok(of)
}

/// The 99th percentile of [`RUNS`] warm runs in microseconds, rounded up: never 0.
fn measure(file: &VerifiedFile, session: &mut Session) -> Result<u64, Error> {
    let section = file.section(SectionKind::GOLDEN);
    let golden = section.as_ref().map(|bytes| Golden::parse(bytes.as_ref())).transpose()?;
    let zeros = vec![0; session.model().input_len()];
    let case = golden.as_ref().and_then(|golden| golden.cases().next()).map_or(&zeros[..], |(input, _)| input);
    let mut times_ns = Vec::with_capacity(RUNS);
    for run in 0..WARMUP_RUNS + RUNS {
        set_inputs(session, case)?;
        let start = Instant::now();
        session.run()?;
        if run >= WARMUP_RUNS {
            times_ns.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        }
    }
    times_ns.sort_unstable();
    let p99_ns = times_ns[(times_ns.len() * 99).div_ceil(100) - 1];
    Ok(p99_ns.div_ceil(1000).max(1))
}

fn set_inputs(session: &mut Session, case: &[u8]) -> Result<(), Error> {
    let mut rest = case;
    for index in 0..session.model().engine().inputs().len() {
        let input = session.input_mut(index)?;
        let len = input.len().min(rest.len());
        input[..len].copy_from_slice(&rest[..len]);
        rest = &rest[len..];
    }
    Ok(())
}

/// See [`within_peak`].
const PEAK_SLACK_BYTES: u64 = 4 << 20;
const RUNS: usize = 50;
const WARMUP_RUNS: usize = 5;
const ROUNDS: usize = 3;
/// Major and minor version of this runtime.
pub(crate) const RUNTIME: (u16, u16) =
    (number(env!("CARGO_PKG_VERSION_MAJOR")), number(env!("CARGO_PKG_VERSION_MINOR")));

pub(crate) const fn number(text: &str) -> u16 {
    match u16::from_str_radix(text, 10) {
        Ok(number) => number,
        Err(_) => panic!("Cargo gives numbers"),
    }
}
