//! What is drawn: sizes, windows, bytes with extremes. Seeded: a failure names its case.

use alloc::vec;

use fleetfoot_kernels::{DType, Window};

use crate::guarded::Guarded;

/// A linear congruential generator; the high bits are good enough here.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    /// In `lo..=hi`.
    pub(super) fn within(&mut self, lo: i32, hi: i32) -> i32 {
        lo + (self.next() % (hi - lo + 1) as u32) as i32
    }

    pub(super) fn extent(&mut self, lo: usize, hi: usize) -> usize {
        self.within(lo as i32, hi as i32) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }

    /// Random bytes, or one extreme all over.
    pub(super) fn bytes(&mut self, n: usize) -> Guarded<u8> {
        let bytes = match self.next() % 8 {
            0 => vec![0x80; n],
            1 => vec![0x7f; n],
            2 => vec![0xff; n],
            3 => vec![0x00; n],
            _ => (0..n).map(|_| self.next() as u8).collect(),
        };
        Guarded::copy_of(&bytes)
    }

    pub(super) fn dtype(&mut self) -> DType {
        self.pick(&[DType::Int8, DType::UInt8])
    }

    /// A zero point, often an extreme.
    pub(super) fn zero_point(&mut self, dtype: DType) -> i32 {
        let (lo, hi) = dtype.range();
        let any = self.within(lo, hi);
        self.pick(&[lo, hi, any, any])
    }

    pub(super) fn bounds(&mut self, dtype: DType) -> (i32, i32) {
        let (lo, hi) = dtype.range();
        if self.next().is_multiple_of(2) {
            return (lo, hi);
        }
        let lo = self.within(lo, hi);
        (lo, self.within(lo, hi))
    }

    pub(super) fn multiplier(&mut self, sum: f64) -> f32 {
        // So that results spread over the whole range.
        (f64::from(1u32 << self.within(0, 11)) / 4.0 / sum.max(1.0) * f64::from(self.within(128, 255))) as f32 / 256.0
    }

    pub(super) fn window(&mut self, kernels: core::ops::RangeInclusive<usize>, dilation: usize) -> Window {
        let mut axis = || loop {
            let kernel = self.extent(*kernels.start(), *kernels.end());
            let (stride, dilation) = (self.extent(1, 3), self.extent(1, dilation));
            let reach = (kernel - 1) * dilation + 1;
            let (extent, before, after) = (self.extent(1, 11), self.extent(0, reach - 1), self.extent(0, reach - 1));
            if extent + before + after >= reach {
                return (extent, (extent + before + after - reach) / stride + 1, kernel, stride, dilation, before);
            }
        };
        let (in_h, out_h, kernel_h, stride_h, dilation_h, pad_top) = axis();
        let (in_w, out_w, kernel_w, stride_w, dilation_w, pad_left) = axis();
        Window {
            in_h,
            in_w,
            out_h,
            out_w,
            kernel_h,
            kernel_w,
            stride_h,
            stride_w,
            dilation_h,
            dilation_w,
            pad_top,
            pad_left,
        }
    }
}
