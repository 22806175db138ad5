//! x86-64 with AVX-VNNI: `vpdpbusd` on 256 bits, for CPUs with the dot products of AVX-512 but not its registers.
//!
//! The instruction has two encodings: [`Vex`] is AVX-VNNI proper, [`Evex`] is AVX-512 VL with VNNI. They give the same
//! bits, so the inner loops are written once, in [`tiles`], and emitted for both. A CPU that has AVX-VNNI runs the first; one
//! that has only the second runs that under the same name. So the loops are held against the reference on any CPU with
//! AVX-512 VNNI, where other kernels are faster; whether the compiler encodes AVX-VNNI rightly is only seen on a CPU that
//! has it.
//!
//! Convolutions become rows of unsigned bytes as in [`vnni`]. All else is AVX2's: only what an [`Op`](super::Op) marks as
//! dot products comes here.

mod tiles;

use super::{
    Avx2, Isa,
    vnni::{self, Panels, Product, Tiles},
};
use crate::{
    conv::{Block, Run},
    params::Conv,
};

/// AVX2 and 256 bits of `vpdpbusd` in the encoding `E`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AvxVnni<E> {
    avx2: Avx2,
    encoding: E,
}

/// AVX-VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Vex(());

/// AVX-512 VL and VNNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Evex(());

impl Vex {
    /// The token, if this CPU has AVX2 and AVX-VNNI.
    pub(crate) fn kernels() -> Option<AvxVnni<Self>> {
        #[cfg(feature = "std")]
        let have = std::is_x86_feature_detected!("avxvnni");
        #[cfg(not(feature = "std"))]
        let have = cfg!(target_feature = "avxvnni");
        Avx2::new().filter(|_| have).map(|avx2| AvxVnni { avx2, encoding: Self(()) })
    }
}

impl Evex {
    /// The token, if this CPU has AVX2 and AVX-512 VL and VNNI.
    pub(crate) fn kernels() -> Option<AvxVnni<Self>> {
        #[cfg(feature = "std")]
        let have = std::is_x86_feature_detected!("avx512vl") && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(not(feature = "std"))]
        let have = cfg!(all(target_feature = "avx512vl", target_feature = "avx512vnni"));
        Avx2::new().filter(|_| have).map(|avx2| AvxVnni { avx2, encoding: Self(()) })
    }
}

/// The loops of one encoding.
pub(super) trait Encoding: Copy {
    /// As [`Tiles::multiply`].
    fn multiply(self, p: &Product<'_>, output: &mut [u8]);
    /// As [`Isa::peak`].
    fn peak(self, steps: u32) -> u64;
}

impl Encoding for Vex {
    #[inline(always)]
    fn multiply(self, p: &Product<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves AVX2 and AVX-VNNI.
        unsafe { tiles::vex::multiply(p, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves AVX2 and AVX-VNNI.
        unsafe { tiles::vex::peak(steps) }
    }
}

impl Encoding for Evex {
    #[inline(always)]
    fn multiply(self, p: &Product<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves AVX2 and AVX-512 VL and VNNI.
        unsafe { tiles::evex::multiply(p, output) }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves AVX2 and AVX-512 VL and VNNI.
        unsafe { tiles::evex::peak(steps) }
    }
}

impl<E> AvxVnni<E> {
    /// What all else runs on.
    pub(super) const fn avx2(self) -> Avx2
    where
        E: Copy,
    {
        self.avx2
    }
}

impl<E: Encoding> Isa for AvxVnni<E> {
    const CELL: usize = Panels::CELL;
    const ROWS: usize = Panels::ROWS;
    const CHANNELS: usize = Panels::CHANNELS;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        Panels(&self).padding(c)
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        Panels(&self).pack(c, run, input, cells);
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        Panels(&self).gemm(b, output);
    }

    fn conv_scratch_len(self, c: &Conv<'_>) -> usize {
        vnni::conv_scratch_len(c)
    }

    #[inline(always)]
    fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        // SAFETY: `self` proves AVX2.
        unsafe { vnni::conv(&self, self.avx2, c, input, output, scratch) }
    }

    fn peak(self, steps: u32) -> u64 {
        self.encoding.peak(steps)
    }
}

impl<E: Encoding> Tiles for AvxVnni<E> {
    fn multiply(&self, p: &Product<'_>, output: &mut [u8]) {
        self.encoding.multiply(p, output);
    }
}
