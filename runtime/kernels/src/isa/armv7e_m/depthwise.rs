//! Depthwise convolution with kernels of 3 x 3, four channels at a time.
//!
//! ```text
//! scratch  a ring of three input rows with their borders, of four channels: for each pixel four words, of each channel the
//!          numbers of that pixel and of the next
//! weights  of each row of the kernel 2 x 4 words: first and second; nothing and third
//! ```
//! So two `smlad` do a row of three of one channel. Other kernels go the portable way.

use core::{
    arch::{asm, naked_asm},
    ptr,
};

use super::{
    finish::{Finish, Target, core_is, finish_channels, finish2, target},
    gather::border,
};
use crate::{
    depthwise::direct,
    params::{Conv, DType},
};

/// Channels of a group.
const LANES: usize = 4;
/// Words of the weights of a group.
const WEIGHTS: usize = 3 * 2 * LANES;

#[inline(always)]
fn fits(c: &Conv<'_>) -> bool {
    let w = &c.window;
    (w.kernel_h, w.kernel_w, w.dilation_h, w.dilation_w) == (3, 3, 1, 1) && c.in_c == c.out_c
}

/// Words of a row of the ring.
#[inline(always)]
fn row_len(c: &Conv<'_>) -> usize {
    let pixels = c.window.out_w.saturating_sub(1).saturating_mul(c.window.stride_w).saturating_add(2);
    pixels.saturating_mul(LANES)
}

/// Bytes of scratch.
#[inline(always)]
pub(super) fn scratch_len(c: &Conv<'_>) -> usize {
    if fits(c) { row_len(c).saturating_mul(3 * 4).saturating_add(align_of::<u32>() - 1) } else { 0 }
}

/// The convolution.
#[inline(always)]
pub(super) fn run(c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    if !fits(c) {
        return direct(c, input, output);
    }
    // SAFETY: words may have any bits.
    let (_, words, _) = unsafe { scratch.align_to_mut::<u32>() };
    let ring = &mut words[..3 * row_len(c)];
    let w = &c.window;
    let finish = Finish::new(c);
    let images = input.chunks_exact(w.in_pixels() * c.in_c).zip(output.chunks_exact_mut(w.out_pixels() * c.out_c));
    for (input, output) in images {
        for n in (0..c.out_c).step_by(LANES) {
            let group = Group::new(c, n);
            group.image(&finish, input, output, ring);
        }
    }
}

/// Four channels, of which the last may be beyond those that are there.
struct Group<'a> {
    c: &'a Conv<'a>,
    n: usize,
    lanes: usize,
    start: [i32; LANES],
    weights: [u32; WEIGHTS],
    multipliers: [f32; LANES],
}

impl<'a> Group<'a> {
    fn new(c: &'a Conv<'a>, n: usize) -> Self {
        let mut start: [i32; LANES] = core::array::from_fn(|i| c.bias[n + i]);
        let mut weights = [0; WEIGHTS];
        for (ky, weights) in weights.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for kx in 0..3 {
                let taps = &c.weights[(3 * ky + kx) * c.c16() + n..][..LANES];
                for (i, &tap) in taps.iter().enumerate() {
                    let tap = i32::from(tap) - c.weight_zero_point;
                    start[i] = start[i].wrapping_sub(tap * c.in_zero_point);
                    let half = tap as u32 & 0xffff;
                    match kx {
                        0 => weights[i] |= half,
                        1 => weights[i] |= half << 16,
                        _ => weights[LANES + i] = half << 16,
                    }
                }
            }
        }
        let multipliers = core::array::from_fn(|i| c.multipliers[n + i]);
        Self { c, n, lanes: LANES.min(c.out_c - n), start, weights, multipliers }
    }

    #[inline(never)]
    fn image(&self, finish: &Finish, input: &[u8], output: &mut [u8], ring: &mut [u32]) {
        let (c, w) = (self.c, &self.c.window);
        let row_len = row_len(c);
        let mut have = 0;
        for (y, output) in output.chunks_exact_mut(w.out_w * c.out_c).enumerate() {
            let top = y * w.stride_h;
            for row in top.max(have)..top + 3 {
                let y = row.wrapping_sub(w.pad_top);
                let line = if y < w.in_h { Some(&input[y * w.in_w * c.in_c..][..w.in_w * c.in_c]) } else { None };
                self.fill(line, &mut ring[row % 3 * row_len..][..row_len]);
            }
            have = top + 3;
            let rows: [*const u32; 3] = core::array::from_fn(|ky| ring[(top + ky) % 3 * row_len..][..row_len].as_ptr());
            for (x, output) in output.chunks_exact_mut(c.out_c).enumerate() {
                let output = &mut output[self.n..][..self.lanes];
                let target = Target {
                    output: output.as_mut_ptr(),
                    stride: 0,
                    multipliers: self.multipliers.as_ptr(),
                    zero_point: finish.zero_point(),
                };
                let (at, mut sums) = (x * w.stride_w * LANES * 4, [0; LANES]);
                // SAFETY: `row_len` has two pixels for the last window, the third is in the second's words; `output` has four channels.
                unsafe {
                    if finish.is_fast() && self.lanes == LANES {
                        window(&self.start, &rows, at, &self.weights, ptr::null_mut(), &target);
                        continue;
                    }
                    window(&self.start, &rows, at, &self.weights, &mut sums, ptr::null());
                }
                for ((output, sum), multiplier) in output.iter_mut().zip(sums).zip(self.multipliers) {
                    *output = finish.byte(sum, multiplier);
                }
            }
        }
    }

    /// One row of the ring from one of the image, or all border.
    #[inline(always)]
    fn fill(&self, line: Option<&[u8]>, to: &mut [u32]) {
        let (c, z) = (self.c, border(self.c));
        let Some(line) = line else { return to.fill(z) };
        let mut last = (z, z);
        // The words of a pixel are written when the next one is known.
        let (to, _) = to.as_chunks_mut::<LANES>();
        let (left, to) = to.split_at_mut(c.window.pad_left.saturating_sub(1).min(to.len()));
        left.as_flattened_mut().fill(z);
        let mut pixels = line.chunks_exact(c.in_c);
        if c.window.pad_left == 0 {
            last = pixels.next().map_or(last, |pixel| self.pixel(pixel));
        }
        let mut to = to.iter_mut();
        for (pixel, to) in pixels.zip(to.by_ref()) {
            let next = self.pixel(pixel);
            *to = pair(last, next);
            last = next;
        }
        for to in to {
            *to = pair(last, (z, z));
            last = (z, z);
        }
    }

    /// Four channels of a pixel: 0 and 2, 1 and 3.
    #[inline(always)]
    fn pixel(&self, pixel: &[u8]) -> (u32, u32) {
        let bytes = match pixel[self.n..].first_chunk::<LANES>() {
            Some(bytes) => *bytes,
            None => core::array::from_fn(|i| pixel.get(self.n + i).copied().unwrap_or(0)),
        };
        extend(self.c.in_dtype, u32::from_le_bytes(bytes))
    }
}

/// Of each of four channels the numbers of two pixels.
#[inline(always)]
const fn pair(a: (u32, u32), b: (u32, u32)) -> [u32; LANES] {
    const LOW: u32 = 0xffff;
    [a.0 & LOW | b.0 << 16, a.1 & LOW | b.1 << 16, a.0 >> 16 | b.0 & !LOW, a.1 >> 16 | b.1 & !LOW]
}

#[inline(always)]
fn extend(dtype: DType, word: u32) -> (u32, u32) {
    let (even, odd);
    macro_rules! by {
        ($extend:literal) => {
            // SAFETY: registers only.
            unsafe {
                asm!(concat!($extend, " {even}, {word}"), concat!($extend, " {odd}, {word}, ror #8"),
                    even = out(reg) even, odd = lateout(reg) odd, word = in(reg) word,
                    options(pure, nomem, nostack, preserves_flags));
            }
        };
    }
    match dtype {
        DType::Int8 => by!("sxtb16"),
        DType::UInt8 => by!("uxtb16"),
    }
    (even, odd)
}

/// Four words of numbers times four words of weights.
macro_rules! half {
    () => {
        "ldm r12!, {{r8-r11}}
        ldm r3!, {{r0, r1, r2, lr}}
        smlad r4, r8, r0, r4
        smlad r5, r9, r1, r5
        smlad r6, r10, r2, r6
        smlad r7, r11, lr, r7"
    };
}

/// The products of a window of 3 x 3 of four channels, added to `start`: into `sums`, or finished where there is a target.
///
/// # Safety
/// There are eight words `offset` bytes behind each of `rows`; `target` has room for four, and the core an FPU.
#[unsafe(naked)]
unsafe extern "C" fn window(
    start: &[i32; LANES],
    rows: &[*const u32; 3],
    offset: usize,
    weights: &[u32; WEIGHTS],
    sums: *mut [i32; LANES],
    target: *const Target,
) {
    naked_asm!(
        core_is!(),
        "push {{r1, r2, r4-r11, lr}}",
        "ldm r0, {{r4-r7}}",
        "ldm r1, {{r8, r9, r12}}",
        "add r12, r2",
        "add r9, r2",
        "strd r9, r12, [sp]",
        "add r12, r8, r2",
        half!(),
        half!(),
        "ldr r12, [sp]",
        half!(),
        half!(),
        "ldr r12, [sp, #4]",
        half!(),
        half!(),
        "ldr r0, [sp, #48]",
        "cbz r0, 4f",
        finish_channels!(),
        "pop {{r1, r2, r4-r11, pc}}",
        "4:",
        "ldr r0, [sp, #44]",
        "stm r0, {{r4-r7}}",
        "pop {{r1, r2, r4-r11, pc}}",
    )
}
