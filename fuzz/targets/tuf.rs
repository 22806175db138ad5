//! Metadata of every role behind its signature. See `tests/src/fuzz/tuf.rs`.
#![no_main]

use fleetfoot_tests::fuzz::{mutate, tuf};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| tuf::target(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Plain damage one time in four, members of the document otherwise.
    match mutate::json(&data[..size], seed) {
        Some(new) if seed % 4 != 0 && new.len() <= max_size => {
            data[..new.len()].copy_from_slice(&new);
            new.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
