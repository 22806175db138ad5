//! Bytes of a bundle whose signatures count as good: parsed, opened, run. See `tests/src/fuzz/bundle.rs`.
#![no_main]

use fleetfoot_tests::fuzz::{bundle, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|bytes: &[u8]| bundle::target(bytes));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Plain damage one time in four, sections rewritten as a whole otherwise.
    match mutate::bundle(&data[..size], seed) {
        Some(new) if seed % 4 != 0 && new.len() <= max_size => {
            data[..new.len()].copy_from_slice(&new);
            new.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
