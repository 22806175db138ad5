//! Bytes of a quantized `.onnx`: imported, planned, opened, run. See `tests/src/fuzz/onnx.rs`.
#![no_main]

use fleetfoot_tests::fuzz::{mutate, onnx};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| onnx::target(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 2 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    match onnx::mutate(&data[..size], seed) {
        Some(new) if new.len() <= max_size => {
            data[..new.len()].copy_from_slice(&new);
            new.len()
        }
        _ => {
            let new = mutate::bytes(&data[..size], seed);
            let len = new.len().min(max_size);
            data[..len].copy_from_slice(&new[..len]);
            len
        }
    }
});
