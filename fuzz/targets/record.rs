//! State records, and what the machine does with them. See `tests/src/fuzz/record.rs`.
#![no_main]

use fleetfoot_tests::fuzz::record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| record::target(bytes));
