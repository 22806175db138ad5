//! Health reports and baselines from anybody. See `tests/src/fuzz/report.rs`.
#![no_main]

use fleetfoot_tests::fuzz::report;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| report::target(bytes));
