//! Bytes of a `.tflite`: imported, planned, opened, run. See `tests/src/fuzz/tflite.rs`.
#![no_main]

use fleetfoot_tests::fuzz::{mutate, tflite};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| tflite::target(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    mutate::words(&mut data[..size], seed);
    size
});
