//! How many multiply-accumulates an AArch64 core does at best: the instructions of the inner loops, on registers alone.
//!
//! As on x86-64, so many sums are in flight that none waits for another, and nothing is loaded or stored.

use core::arch::asm;

/// A loop over `$body`, once for each of the sums `v8`..`v31`; `$macs` multiply-accumulates each.
macro_rules! peak {
    ($(#[$doc:meta])* $name:ident, $features:literal, $arch:literal, $macs:literal, [$($body:literal),+]) => {
        $(#[$doc])*
        #[target_feature(enable = $features)]
        pub(in super::super) fn $name(steps: u32) -> u64 {
            const SUMS: u64 = 24;
            if steps == 0 {
                return 0;
            }
            // SAFETY: works on registers alone, all of them named below.
            unsafe {
                asm!(
                    $arch,
                    "movi v0.16b, #3",
                    "movi v1.16b, #5",
                    "2:",
                    peak!(@all $($body),+),
                    "subs {n:w}, {n:w}, #1",
                    "b.ne 2b",
                    n = inout(reg) steps => _,
                    out("v0") _, out("v1") _, out("v2") _, out("v3") _, out("v4") _, out("v5") _, out("v6") _, out("v7") _,
                    out("v8") _, out("v9") _, out("v10") _, out("v11") _, out("v12") _, out("v13") _, out("v14") _,
                    out("v15") _, out("v16") _, out("v17") _, out("v18") _, out("v19") _, out("v20") _, out("v21") _,
                    out("v22") _, out("v23") _, out("v24") _, out("v25") _, out("v26") _, out("v27") _, out("v28") _,
                    out("v29") _, out("v30") _, out("v31") _,
                    options(nomem, nostack),
                );
            }
            u64::from(steps) * SUMS * $macs
        }
    };
    (@all $($body:literal),+) => {
        concat!(
            ".irp s, 8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n",
            $($body, "\n",)+
            ".endr",
        )
    };
}

peak!(
    /// `smull`, `smlal2`, `sadalp`: 16 multiply-accumulates. Returns how many were done.
    widening, "neon", "", 16,
    ["smull v2.8h, v0.8b, v1.8b", "smlal2 v2.8h, v0.16b, v1.16b", "sadalp v\\s\\().4s, v2.8h"]
);
peak!(
    /// `sdot`: 16 multiply-accumulates. Returns how many were done.
    sdot, "neon", ".arch_extension dotprod", 16,
    ["sdot v\\s\\().4s, v0.16b, v1.16b"]
);
peak!(
    /// `smmla`: 32 multiply-accumulates. Returns how many were done.
    smmla, "neon", ".arch_extension i8mm", 32,
    ["smmla v\\s\\().4s, v0.16b, v1.16b"]
);
