//! A `.tflite` of anybody: imported, planned, opened, run; and the passes of the planner change nothing.

use super::run_import;

/// Imports and, where that succeeds, plans with and without passes and runs both.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    run_import(fleetfoot_import::tflite(bytes), bytes.len() as u8);
}
