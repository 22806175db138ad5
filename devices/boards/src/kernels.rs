//! Proof on the target: the kernels of this core equal the reference. The cases are those of the tests of `fleetfoot-kernels`.
#![no_std]
#![no_main]

extern crate alloc;

#[allow(dead_code, reason = "the slot and the painted stack are those of `golden`")]
mod board;
#[path = "../../../runtime/kernels/tests/equal_reference/compare.rs"]
mod compare;
#[path = "../../../runtime/kernels/tests/equal_reference/convolutions.rs"]
mod convolutions;
#[path = "../../../runtime/kernels/tests/support/guarded.rs"]
mod guarded;
#[path = "../../../runtime/kernels/tests/equal_reference/random.rs"]
mod random;

// The allocator's critical section.
#[cfg(target_arch = "arm")]
use cortex_m as _;
use embedded_alloc::LlffHeap;
use fleetfoot_kernels::Kernels;
#[cfg(target_arch = "riscv32")]
use riscv as _;
use semihosting::println;

/// Bytes for weights, inputs and outputs of a case, and what lies between them. The boards with a Cortex-M4, M7 and M33 have 4 MB.
const HEAP_LEN: usize = 3 * 1024 * 1024;

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

const CASES: &[(&str, fn())] = &[
    ("conv", convolutions::conv),
    ("pointwise_and_fully_connected", convolutions::pointwise_and_fully_connected),
    ("depthwise", convolutions::depthwise),
    ("shapes_of_the_reference_networks", convolutions::shapes_of_the_reference_networks),
    ("large_multipliers", convolutions::large_multipliers),
    ("sums_that_wrap", convolutions::sums_that_wrap),
];

static mut MEMORY: [u64; HEAP_LEN / 8] = [0; HEAP_LEN / 8];

#[board::entry]
fn main() -> ! {
    // SAFETY: this function runs once, nothing else names the memory.
    unsafe { HEAP.init((&raw mut MEMORY).addr(), HEAP_LEN) };
    for kernels in Kernels::available() {
        println!("kernels {}", kernels.name());
    }
    for (name, run) in CASES {
        println!("{name}");
        run();
    }
    println!("{} groups of cases equal the reference", CASES.len());
    semihosting::process::exit(0)
}
