//! From a sum to a byte: where the core has an FPU and the limits are those of int8, seven instructions inside the loops.

use crate::{params::Conv, requantize::Limits};

/// Rounding and limits of a layer.
#[derive(Clone, Copy)]
pub(super) struct Finish {
    limits: Limits,
    fast: bool,
}

/// Where the loops write what they have summed up, if they are to finish it. Read by assembler.
#[repr(C)]
pub(super) struct Target {
    /// The first byte.
    pub(super) output: *mut u8,
    /// Bytes from a pixel to the next.
    pub(super) stride: usize,
    /// Of the first channel.
    pub(super) multipliers: *const f32,
    /// Of the output.
    pub(super) zero_point: i32,
}

impl Finish {
    pub(super) fn new(c: &Conv<'_>) -> Self {
        // `vcvtr` saturates, so only what is not a number would differ: no multiplier below 1 makes that of a sum.
        let fast = cfg!(target_abi = "eabihf") && c.below_one && (c.lo, c.hi) == (-128, 127);
        Self { limits: Limits::new(c.lo, c.hi, c.out_zero_point), fast }
    }

    /// Whether the loops may finish themselves.
    pub(super) const fn is_fast(&self) -> bool {
        self.fast
    }

    /// Added after rounding.
    pub(super) const fn zero_point(&self) -> i32 {
        self.limits.zero_point
    }

    /// `rne(f32(sum) * multiplier) + zero_point` within any limits.
    #[inline(never)]
    pub(super) fn byte(&self, sum: i32, multiplier: f32) -> u8 {
        self.limits.requantize(sum, multiplier)
    }
}

/// Sums in `$a` become numbers of 8 bits. Two of one multiplier `$m` at a time; `$s` and `$t` are registers of the FPU, one behind the
/// other, and r12 is the zero point. `vcvtr` rounds half to even, as the control register has it from the reset on; nobody reads the flags
/// that it, `qadd` and `ssat` leave.
#[cfg(target_abi = "eabihf")]
macro_rules! finish2 {
    ($a:literal, $b:literal, $s:literal, $t:literal, $m:literal, $n:literal) => {
        concat!(
            "vmov ",
            $s,
            ", ",
            $t,
            ", ",
            $a,
            ", ",
            $b,
            "\n",
            "vcvt.f32.s32 ",
            $s,
            ", ",
            $s,
            "\n",
            "vcvt.f32.s32 ",
            $t,
            ", ",
            $t,
            "\n",
            "vmul.f32 ",
            $s,
            ", ",
            $s,
            ", ",
            $m,
            "\n",
            "vmul.f32 ",
            $t,
            ", ",
            $t,
            ", ",
            $n,
            "\n",
            "vcvtr.s32.f32 ",
            $s,
            ", ",
            $s,
            "\n",
            "vcvtr.s32.f32 ",
            $t,
            ", ",
            $t,
            "\n",
            "vmov ",
            $a,
            ", ",
            $b,
            ", ",
            $s,
            ", ",
            $t,
            "\n",
            "qadd ",
            $a,
            ", ",
            $a,
            ", r12\n",
            "qadd ",
            $b,
            ", ",
            $b,
            ", r12\n",
            "ssat ",
            $a,
            ", #8, ",
            $a,
            "\n",
            "ssat ",
            $b,
            ", #8, ",
            $b,
            "\n",
        )
    };
}
#[cfg(not(target_abi = "eabihf"))]
macro_rules! finish2 {
    ($($any:tt)*) => {
        ""
    };
}

/// Reads [`Target`] at r0: r1 output, r2 stride, r12 zero point, the multipliers in `$m`.
#[cfg(target_abi = "eabihf")]
macro_rules! target {
    ($m:literal) => {
        concat!("ldm r0, {{r1, r2, r3, r12}}\n", "vldm r3, {{", $m, "}}")
    };
}
#[cfg(not(target_abi = "eabihf"))]
macro_rules! target {
    ($m:literal) => {
        ""
    };
}

/// Finishes r4 to r7, which are four channels of one pixel.
macro_rules! finish_channels {
    () => {
        concat!(
            target!("s0-s3"),
            "\n",
            finish2!("r4", "r5", "s4", "s5", "s0", "s1"),
            finish2!("r6", "r7", "s6", "s7", "s2", "s3"),
            "strb r4, [r1]\nstrb r5, [r1, #1]\nstrb r6, [r1, #2]\nstrb r7, [r1, #3]"
        )
    };
}

/// What the assembler must know: with optimization at link time it forgets what the core has.
#[cfg(all(target_abi = "eabihf", not(fleetfoot_arm_v8m)))]
macro_rules! core_is {
    () => {
        ".fpu fpv4-sp-d16"
    };
}
#[cfg(fleetfoot_arm_v8m)]
macro_rules! core_is {
    () => {
        ".cpu cortex-m33"
    };
}
#[cfg(not(any(target_abi = "eabihf", fleetfoot_arm_v8m)))]
macro_rules! core_is {
    () => {
        ""
    };
}

pub(super) use {core_is, finish_channels, finish2, target};
