//! A `.tflite` of anybody: imported, planned, opened, run; and the passes of the planner change nothing.

use super::run_plan;

/// Imports and, where that succeeds, plans with and without passes and runs both.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    let graph = match fleetfoot_import::tflite(bytes) {
        Ok(graph) => graph,
        Err(error) => {
            assert!((500..550).contains(&error.code()) && error.to_string().len() < 100_000);
            return;
        }
    };
    let (plan, written) = (fleetfoot_plan::plan(&graph), fleetfoot_plan::plan_as_written(&graph));
    match (plan, written) {
        (Ok(plan), Ok(written)) => {
            let (plan, written) = (run_plan(&plan, bytes.len() as u8), run_plan(&written, bytes.len() as u8));
            assert!(plan == written || plan.is_none() || written.is_none(), "passes change the answer");
        }
        // A step that passes took out may be one that cannot be lowered.
        (plan, _) => drop(std::hint::black_box(plan)),
    }
}
