//! x86-64 with AVX-512 VNNI: `vpdpbusd` multiplies four unsigned by four signed bytes and adds them to 32 bits, exactly.
//!
//! Layers become rows of unsigned bytes as in [`vnni`]; [`tiles`] multiplies them. The depthwise loops are in [`columns`].

mod columns;
mod sums;
mod tiles;

use super::{
    Avx2, Isa, peak,
    vnni::{self, Panels, Product, Tiles},
    x86_tables,
};
use crate::{
    conv::{Block, Run},
    params::{Add, Conv},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512Vnni {
    avx2: Avx2,
    /// Whether the CPU has VBMI too.
    vbmi: bool,
}

impl Avx512Vnni {
    /// The token, if this CPU has AVX-512 F, BW, VL and VNNI.
    pub(crate) fn new() -> Option<Self> {
        #[cfg(feature = "std")]
        let have = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("avx512vnni");
        #[cfg(feature = "std")]
        let vbmi = std::is_x86_feature_detected!("avx512vbmi");
        #[cfg(not(feature = "std"))]
        let have = cfg!(all(
            target_feature = "avx512f",
            target_feature = "avx512bw",
            target_feature = "avx512vl",
            target_feature = "avx512vnni"
        ));
        #[cfg(not(feature = "std"))]
        let vbmi = cfg!(target_feature = "avx512vbmi");
        Avx2::new().filter(|_| have).map(|avx2| Self { avx2, vbmi })
    }
}

impl Isa for Avx512Vnni {
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

    fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        if columns::takes(c) { columns::scratch_len(c) } else { self.avx2.depthwise_scratch_len(c) }
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        if columns::takes(c) {
            // SAFETY: `self` proves the features.
            unsafe { columns::run(c, input, output, scratch) }
        } else {
            self.avx2.depthwise(c, input, output, scratch);
        }
    }

    #[inline(always)]
    fn lut(self, table: &[u8; 256], input: &[u8], output: &mut [u8]) {
        if self.vbmi {
            // SAFETY: `self` proves the features.
            unsafe { x86_tables::by_permutes(table, input, output) }
        } else {
            self.avx2.lut(table, input, output);
        }
    }

    #[inline(always)]
    fn add(self, p: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
        // Nothing else is planned; other multipliers have more digits than are multiplied there.
        let small = |m: i32| (-(1 << 21)..=1 << 21).contains(&m);
        if small(p.a_multiplier) && small(p.b_multiplier) {
            // SAFETY: `self` proves the features.
            unsafe { sums::add(p, a, b, output) }
        } else {
            self.avx2.add(p, a, b, output);
        }
    }

    fn peak(self, steps: u32) -> u64 {
        // SAFETY: `self` proves the features.
        unsafe { peak::vnni(steps) }
    }
}

impl Tiles for Avx512Vnni {
    fn multiply(&self, p: &Product<'_>, output: &mut [u8]) {
        // SAFETY: `self` proves the features.
        unsafe { tiles::block(p.c, p.rows, p.weights, [p.bias, p.sums], p.multipliers, p.channels, output) }
    }
}
