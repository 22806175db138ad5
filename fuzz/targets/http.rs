//! Answers of a web server, on a socket. See `tests/src/fuzz/http.rs`.
#![no_main]

use fleetfoot_tests::fuzz::http;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| http::target(bytes));
