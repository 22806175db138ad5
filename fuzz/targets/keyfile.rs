//! Key files. See `tests/src/fuzz/keyfile.rs`.
#![no_main]

use fleetfoot_tests::fuzz::keyfile;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| keyfile::target(bytes));
