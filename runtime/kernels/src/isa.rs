//! What an instruction set must offer, and how one is chosen.
//!
//! A token (`Scalar`, `Avx2`, ...) exists only where the CPU has the instructions. An operation ([`Op`]) is written once and
//! compiled for each token inside a function that enables the instructions, so plain loops become that set's vectors. Only
//! the inner loops that need certain instructions are methods of [`Isa`]: a block of a matrix product, a depthwise
//! convolution, a table.
//!
//! A new instruction set is a file under `isa/`, a variant of [`Selected`] with its row in [`Selected::fastest_first`], and an
//! arm in [`Selected::run`].

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(fleetfoot_arm_dsp)]
mod armv7e_m;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512vnni;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod dotprod;
#[cfg(target_arch = "aarch64")]
mod i8mm;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod peak;
mod scalar;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
mod x86_tables;

#[cfg(fleetfoot_arm_dsp)]
pub(crate) use armv7e_m::Armv7eM;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512vnni::Avx512Vnni;
#[cfg(target_arch = "x86_64")]
pub(crate) use avxvnni::{AvxVnni, Evex, Vex};
#[cfg(target_arch = "aarch64")]
pub(crate) use dotprod::Dotprod;
#[cfg(target_arch = "aarch64")]
pub(crate) use i8mm::I8mm;
#[cfg(target_arch = "aarch64")]
pub(crate) use neon::Neon;
pub(crate) use scalar::Scalar;

use crate::{
    add,
    conv::{self, Block, Run},
    depthwise, lut,
    params::{Add, Conv},
};

/// Proof that one instruction set may be used, and its inner loops.
pub(crate) trait Isa: Copy {
    /// Bytes of one cell of a panel (see [`Block`]).
    const CELL: usize;
    /// Rows that the inner loop takes at once; panels hold a multiple.
    const ROWS: usize;
    /// Output channels of a block, a multiple of 16.
    const CHANNELS: usize;

    /// The byte that fills the cells of a panel which lie outside the image, so that they add nothing.
    fn padding(self, c: &Conv<'_>) -> u8;

    /// Writes runs of `input` into the cells of a panel; both may be longer than the runs need.
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]);

    /// All rows of a panel times the weights of one block of channels: `output[row * b.stride + i]` for `i` below `b.channels`.
    fn gemm(self, b: &Block<'_>, output: &mut [u8]);

    /// Bytes of scratch that [`conv`](Self::conv) needs.
    #[inline(always)]
    fn conv_scratch_len(self, c: &Conv<'_>) -> usize {
        conv::panel_scratch_len::<Self>(c)
    }

    /// Convolution and fully connected layers.
    #[inline(always)]
    fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        conv::by_panels(self, c, input, output, scratch);
    }

    /// Bytes of scratch that [`depthwise`](Self::depthwise) needs.
    #[inline(always)]
    fn depthwise_scratch_len(self, _c: &Conv<'_>) -> usize {
        0
    }

    /// Depthwise convolution.
    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], _scratch: &mut [u8]) {
        depthwise::direct(c, input, output);
    }

    /// `output[i] = table[input[i]]`, of equal lengths.
    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        lut::one_by_one(table, input, output);
    }

    /// Sum or difference of two tensors of one length.
    #[inline(always)]
    fn add(self, p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
        add::one_by_one(p, a, b, output);
    }

    /// As many multiply-accumulates as the core can do, `steps` times round; returns how many were done, 0 where no
    /// instruction for them stands out.
    #[inline(always)]
    fn peak(self, _steps: u32) -> u64 {
        0
    }
}

/// One operation, written once for every instruction set.
pub(crate) trait Op {
    /// What the operation returns.
    type Out;
    /// Whether it uses dot products. All else runs on AVX2 where an instruction set adds nothing but those.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "asked for there"))]
    const DOTS: bool = false;
    /// Whether it is a convolution. All else is there once on microcontrollers, for the sake of flash.
    #[cfg_attr(not(fleetfoot_arm_dsp), allow(dead_code, reason = "asked for there"))]
    const WEIGHTED: bool = false;
    /// Runs on `isa`. Always `#[inline(always)]`, so that it is compiled with `isa`'s instructions.
    fn eval<I: Isa>(self, isa: I) -> Self::Out;
}

/// The instruction set chosen for this CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Selected {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(AvxVnni<Vex>),
    #[cfg(target_arch = "x86_64")]
    AvxVnniEvex(AvxVnni<Evex>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "aarch64")]
    I8mm(I8mm),
    #[cfg(target_arch = "aarch64")]
    Dotprod(Dotprod),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
    #[cfg(fleetfoot_arm_dsp)]
    Armv7eM(Armv7eM),
    Scalar(Scalar),
}

impl Selected {
    /// What this CPU has.
    pub(crate) fn fastest_first() -> impl Iterator<Item = Self> {
        [
            #[cfg(target_arch = "x86_64")]
            Avx512Vnni::new().map(Self::Avx512Vnni),
            // One of the two encodings.
            #[cfg(target_arch = "x86_64")]
            Vex::kernels().map(Self::AvxVnni).or_else(|| Evex::kernels().map(Self::AvxVnniEvex)),
            #[cfg(target_arch = "x86_64")]
            Avx2::new().map(Self::Avx2),
            #[cfg(target_arch = "aarch64")]
            I8mm::new().map(Self::I8mm),
            #[cfg(target_arch = "aarch64")]
            Dotprod::new().map(Self::Dotprod),
            #[cfg(target_arch = "aarch64")]
            Neon::new().map(Self::Neon),
            #[cfg(fleetfoot_arm_dsp)]
            Armv7eM::new().map(Self::Armv7eM),
            Some(Self::Scalar(Scalar)),
        ]
        .into_iter()
        .flatten()
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(_) | Self::AvxVnniEvex(_) => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::I8mm(_) => "i8mm",
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod(_) => "dotprod",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(fleetfoot_arm_dsp)]
            Self::Armv7eM(_) => "armv7e-m",
            Self::Scalar(_) => "scalar",
        }
    }

    /// Runs `op` compiled for this instruction set: the only place where code for extra instructions is entered.
    #[inline]
    pub(crate) fn run<O: Op>(self, op: O) -> O::Out {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(isa) => {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
                fn enter<O: Op>(isa: Avx512Vnni, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has these four.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(isa) if !O::DOTS => Self::Avx2(isa.avx2()).run(op),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(isa) => {
                #[target_feature(enable = "avx2,avxvnni")]
                fn enter<O: Op>(isa: AvxVnni<Vex>, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has these two.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnniEvex(isa) if !O::DOTS => Self::Avx2(isa.avx2()).run(op),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnniEvex(isa) => {
                #[target_feature(enable = "avx2,avx512vl,avx512vnni")]
                fn enter<O: Op>(isa: AvxVnni<Evex>, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has these three.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(isa) => {
                #[target_feature(enable = "avx2")]
                fn enter<O: Op>(isa: Avx2, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has AVX2.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "aarch64")]
            Self::I8mm(isa) => {
                #[target_feature(enable = "neon,dotprod,i8mm")]
                fn enter<O: Op>(isa: I8mm, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has these three.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Dotprod(isa) => {
                #[target_feature(enable = "neon,dotprod")]
                fn enter<O: Op>(isa: Dotprod, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has these two.
                unsafe { enter(isa, op) }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon(isa) => {
                #[target_feature(enable = "neon")]
                fn enter<O: Op>(isa: Neon, op: O) -> O::Out {
                    op.eval(isa)
                }
                // SAFETY: `isa` exists, so the CPU has NEON.
                unsafe { enter(isa, op) }
            }
            // The whole program is compiled for a core that has the extension.
            #[cfg(fleetfoot_arm_dsp)]
            Self::Armv7eM(isa) if O::WEIGHTED => op.eval(isa),
            #[cfg(fleetfoot_arm_dsp)]
            Self::Armv7eM(_) => op.eval(Scalar),
            Self::Scalar(isa) => op.eval(isa),
        }
    }
}
