//! Golden vectors: what the model answers, from the engine itself, with the portable kernels.

use fleetfoot_engine::{Kernels, Model};
use fleetfoot_plan::{Aligned, Plan};

use crate::error::PackError;

/// One golden case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// All inputs of the model, one after another.
    pub input: Vec<u8>,
    /// All outputs, one after another.
    pub output: Vec<u8>,
}

/// Runs `plan` on each of `inputs`; where `expected` has an output for a case, it must be equal.
///
/// # Errors
/// [`PackError::GoldenLength`], [`PackError::GoldenMismatch`] or [`PackError::GoldenOutputLength`], with the case and the byte.
pub fn run(plan: &Plan, inputs: &[Vec<u8>], expected: Option<&[Vec<u8>]>) -> Result<Vec<Case>, PackError> {
    let (graph, weights) = (Aligned::copy_of(&plan.graph), Aligned::copy_of(&plan.weights));
    let model = Model::open(graph.as_ref(), weights.as_ref())?;
    let kernels = Kernels::scalar();
    let mut arena = Aligned::zeroed(model.bounded_arena_len(kernels, 1)?);
    let need: usize = model.inputs().iter().map(|t| t.span.len as usize).sum();
    let mut cases = Vec::with_capacity(inputs.len());
    for (case, input) in inputs.iter().enumerate() {
        if input.len() != need {
            return Err(PackError::GoldenLength { case, need, have: input.len() });
        }
        let mut rest = &input[..];
        for tensor in model.inputs() {
            let (bytes, after) = rest.split_at(tensor.span.len as usize);
            arena.as_mut()[tensor.span.range()].copy_from_slice(bytes);
            rest = after;
        }
        model.run(kernels, arena.as_mut())?;
        let output = model.outputs().iter().flat_map(|t| &arena.as_ref()[t.span.range()]).copied().collect::<Vec<u8>>();
        if let Some(expected) = expected.and_then(|all| all.get(case)) {
            compare(case, &output, expected)?;
        }
        cases.push(Case { input: input.clone(), output });
    }
    Ok(cases)
}

/// `count` inputs for `plan` that depend on nothing but their number: a full-range pseudo-random byte each.
///
/// # Errors
/// Where the plan does not open.
pub fn seeded_inputs(plan: &Plan, count: usize) -> Result<Vec<Vec<u8>>, PackError> {
    let weights = Aligned::copy_of(&plan.weights);
    let model = Model::open(&plan.graph[..], weights.as_ref())?;
    let len: usize = model.inputs().iter().map(|t| t.span.len as usize).sum();
    // xorshift64* (Vigna, arXiv 1402.6246).
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 56) as u8
    };
    Ok((0..count).map(|_| (0..len).map(|_| next()).collect()).collect())
}

fn compare(case: usize, found: &[u8], expected: &[u8]) -> Result<(), PackError> {
    if found.len() != expected.len() {
        return Err(PackError::GoldenOutputLength { case, need: found.len(), have: expected.len() });
    }
    let differs = |&i: &usize| found[i] != expected[i];
    match (0..found.len()).find(differs) {
        None => Ok(()),
        Some(at) => Err(PackError::GoldenMismatch {
            case,
            at,
            found: found[at],
            expected: expected[at],
            differing: (0..found.len()).filter(differs).count(),
            len: found.len(),
        }),
    }
}
