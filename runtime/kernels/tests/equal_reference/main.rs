//! Every operation on every instruction set of this machine equals the reference, byte for byte, over many random shapes.
//!
//! Inputs, weights, scratch and outputs end where a page ends and the next cannot be touched: a read or write one byte beyond
//! a slice ends the run. The generator is seeded: a failure names its case. The convolutions are also part of a firmware
//! (`devices/boards/src/kernels.rs`), which compares the kernels of microcontrollers.

extern crate alloc;

mod compare;
mod convolutions;
mod elements;
#[path = "../support/guarded.rs"]
mod guarded;
mod moves;
mod random;

use fleetfoot_kernels::{Conv, DType, Kernels, Window};

/// Every instruction set is chosen by its name.
#[test]
fn names() {
    assert_eq!(Kernels::available().next(), Some(Kernels::detect()));
    assert_eq!(Kernels::available().last(), Some(Kernels::scalar()));
    for kernels in Kernels::available() {
        assert_eq!(Kernels::by_name(kernels.name()), Some(kernels));
    }
    assert_eq!(Kernels::by_name("z80"), None);
    // Whoever knows the CPU says what the choice must be.
    if let Some(expected) = std::env::var_os("FLEETFOOT_EXPECTED_ISA") {
        assert_eq!(Some(Kernels::detect().name()), expected.to_str());
    }
}

/// Lengths are checked: the panic names the slice.
#[test]
fn lengths() {
    let check = |needle: &str, run: fn()| {
        let panic = std::panic::catch_unwind(run).expect_err(needle);
        let text = panic.downcast_ref::<String>().map_or("", |s| s);
        assert!(text.starts_with(needle), "{text}");
    };
    conv_with(64, 16, 8, 6, 1 << 16);
    check("weights: 63", || conv_with(63, 16, 8, 6, 1 << 16));
    check("bias: 15", || conv_with(64, 15, 8, 6, 1 << 16));
    check("input: 7", || conv_with(64, 16, 7, 6, 1 << 16));
    check("output: 5", || conv_with(64, 16, 8, 5, 1 << 16));
    check("scratch: 0", || conv_with(64, 16, 8, 6, 0));
    check("output: 1", || Kernels::detect().lut(&[0; 256], &[0; 2], &mut [0; 1]));
}

fn conv_with(weights: usize, bias: usize, input: usize, output: usize, scratch: usize) {
    let (weights, bias, multipliers) = (vec![0; weights], vec![0; bias], vec![1.0; 16]);
    let c = Conv {
        batch: 1,
        window: Window::pointwise(2),
        in_c: 4,
        out_c: 3,
        in_dtype: DType::Int8,
        in_zero_point: 0,
        weights: &weights,
        weight_zero_point: 0,
        bias: &bias,
        sums: &bias,
        multipliers: &multipliers,
        below_one: Conv::below_one(&multipliers),
        out_zero_point: 0,
        lo: -128,
        hi: 127,
    };
    Kernels::detect().conv(&c, &vec![0; input], &mut vec![0; output], &mut vec![0; scratch]);
}

#[test]
fn the_peak_loop_counts_its_work() {
    for kernels in Kernels::available() {
        let (one, ten) = (kernels.peak(1), kernels.peak(10));
        assert_eq!(ten, 10 * one, "{}", kernels.name());
        assert_eq!(one == 0, kernels == Kernels::scalar(), "{}", kernels.name());
    }
}
