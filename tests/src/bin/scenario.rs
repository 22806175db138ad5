//! Makes the world of `tests/scenario.txt` in a folder, for the tests in C, Kotlin and Swift: `scenario DIR`.
#![forbid(unsafe_code)]

fn main() {
    let dir = std::env::args_os().nth(1).expect("usage: scenario DIR");
    fleetfoot_tests::scenario::make(dir.as_ref());
}
