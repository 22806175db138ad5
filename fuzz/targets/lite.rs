//! Lite files, as they are and signed. See `tests/src/fuzz/lite.rs`.
#![no_main]

use fleetfoot_tests::fuzz::lite;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| lite::target(bytes));
