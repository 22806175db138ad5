//! One case on every instruction set against the reference.

use alloc::vec;

use fleetfoot_kernels::Kernels;

use crate::guarded::Guarded;

/// Runs `fast` on every instruction set, `slow` once, and compares outputs of `n` bytes.
pub(super) fn check(
    case: &dyn core::fmt::Debug,
    n: usize,
    slow: impl FnOnce(&mut [u8]),
    fast: impl Fn(Kernels, &mut [u8]),
) {
    let mut want = vec![0x55; n];
    slow(&mut want);
    for kernels in Kernels::available() {
        for (fill, at_end) in [(0xa5, true), (0x5a, false)] {
            let mut got = Guarded::filled(fill, n, at_end);
            fast(kernels, &mut got);
            assert!(got.untouched_beside(fill), "{kernels:?} stray: {case:?}");
            if let Some(at) = (0..n).find(|&i| got[i] != want[i]) {
                panic!("{kernels:?}: byte {at} of {n} is {} instead of {}: {case:?}", got[at], want[at]);
            }
        }
    }
}
