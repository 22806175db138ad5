//! Cortex-M with the DSP extension (M4, M7, M33): `smlad` multiplies two pairs of 16-bit numbers and adds both products.
//!
//! ```text
//! cells    up to 3 pixels at a time: [k / 4][pixel][2] words of two 16-bit numbers, cells 0 and 2 of four, then 1 and 3
//! weights  the layout n16k4 as it is: a word has four cells of a channel, its neighbour those of the next channel;
//!          `sxtb16` makes cells 0 and 2 of it, and turned by a byte cells 1 and 3
//! ```
//! Zero points of inputs are folded into the bias by the stored sums of the weights, so bytes are multiplied as they are. A
//! single pixel (fully connected layers) needs no scratch. Sums wrap as the reference's do. The loops are assembler, because
//! the intrinsics are not stable and compilers run out of registers.

mod depthwise;
mod finish;
mod gather;
mod tile;

use super::{Isa, Scalar};
use crate::{
    conv::{Block, Run, is_copy, window_sum},
    params::Conv,
    reference,
};
use finish::{Finish, Target};

/// Bytes of a panel of three pixels at most; longer ones have fewer.
const PANEL_LEN: usize = 2304;
/// Bytes of a panel of two pixels at most.
const LONG_PANEL_LEN: usize = 8192;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Armv7eM(());

impl Armv7eM {
    /// The token. The module is compiled only for cores that have the extension.
    #[allow(clippy::unnecessary_wraps, reason = "as all tokens")]
    pub(crate) const fn new() -> Option<Self> {
        Some(Self(()))
    }
}

impl Isa for Armv7eM {
    const CELL: usize = Scalar::CELL;
    const ROWS: usize = Scalar::ROWS;
    const CHANNELS: usize = Scalar::CHANNELS;

    #[inline(always)]
    fn padding(self, c: &Conv<'_>) -> u8 {
        Scalar.padding(c)
    }

    #[inline(always)]
    fn pack(self, c: &Conv<'_>, run: Run, input: &[u8], cells: &mut [u8]) {
        Scalar.pack(c, run, input, cells);
    }

    #[inline(always)]
    fn gemm(self, b: &Block<'_>, output: &mut [u8]) {
        Scalar.gemm(b, output);
    }

    #[inline(always)]
    fn conv_scratch_len(self, c: &Conv<'_>) -> usize {
        if is_line(c) { 0 } else { panel_len(c) }
    }

    #[inline(always)]
    fn conv(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        if !c.weights.as_ptr().addr().is_multiple_of(4) {
            // Words could not be read in pairs.
            reference::conv(c, input, output);
        } else if is_line(c) {
            line(c, input, output);
        } else {
            match rows(c) {
                1 => by_tiles::<1>(c, input, output, scratch),
                2 => by_tiles::<2>(c, input, output, scratch),
                _ => by_tiles::<3>(c, input, output, scratch),
            }
        }
    }

    #[inline(always)]
    fn depthwise_scratch_len(self, c: &Conv<'_>) -> usize {
        depthwise::scratch_len(c)
    }

    #[inline(always)]
    fn depthwise(self, c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        depthwise::run(c, input, output, scratch);
    }
}

/// Whether all of the input is the one window, as of fully connected layers.
#[inline(always)]
fn is_line(c: &Conv<'_>) -> bool {
    c.batch == 1 && c.window.in_pixels() == 1 && is_copy(&c.window) && c.weight_zero_point == 0
}

/// Pixels that are taken at a time.
#[inline(always)]
fn rows(c: &Conv<'_>) -> usize {
    let row_len = c.k().next_multiple_of(4).saturating_mul(2);
    let most = match row_len {
        _ if row_len <= PANEL_LEN / 3 => 3,
        _ if row_len <= LONG_PANEL_LEN / 2 => 2,
        _ => 1,
    };
    c.batch.saturating_mul(c.window.out_pixels()).min(most)
}

/// Bytes of scratch: the cells of a panel, the bytes of a window that is not whole words, and what aligns them.
#[inline(always)]
fn panel_len(c: &Conv<'_>) -> usize {
    let k4 = c.k().next_multiple_of(4);
    let bytes = if gather::by_bytes(c) { k4 } else { 0 };
    k4.saturating_mul(2 * rows(c)).saturating_add(bytes + align_of::<u32>() - 1)
}

/// A convolution, `R` pixels at a time.
#[inline(never)]
fn by_tiles<const R: usize>(c: &Conv<'_>, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
    let k4 = c.k().next_multiple_of(4);
    // SAFETY: words may have any bits.
    let (_, words, _) = unsafe { scratch.align_to_mut::<u32>() };
    let (cells, rest) = words.split_at_mut(k4 / 2 * R);
    // SAFETY: bytes may have any bits.
    let (_, bytes, _) = unsafe { rest.align_to_mut::<u8>() };
    let w = &c.window;
    // Windows are the input itself, in whole words.
    let plain = is_copy(w) && c.in_c.is_multiple_of(4) && c.weight_zero_point == 0;
    let layer = Layer::new(c);
    for (panel, output) in output.chunks_mut(R * c.out_c).enumerate() {
        let mut terms = [0; R];
        let rows = output.len() / c.out_c;
        for (row, term) in terms[..rows].iter_mut().enumerate() {
            let (at, cells) = (panel * R + row, &mut cells[2 * row..]);
            if plain {
                gather::expand::<R>(c.in_dtype, &input[at * c.in_c..][..c.in_c], cells);
                continue;
            }
            let image = &input[at / w.out_pixels() * w.in_pixels() * c.in_c..][..w.in_pixels() * c.in_c];
            let (y, x) = (at % w.out_pixels() / w.out_w * w.stride_h, at % w.out_w * w.stride_w);
            gather::window::<R>(c, image, (y, x), cells, bytes);
            if c.weight_zero_point != 0 {
                *term = window_sum(c, image, y, x).wrapping_mul(c.weight_zero_point).wrapping_neg();
            }
        }
        layer.channels(cells, &terms, rows, output);
    }
}

/// What all tiles of a layer share.
struct Layer<'a> {
    c: &'a Conv<'a>,
    k4: usize,
    finish: Finish,
}

impl<'a> Layer<'a> {
    fn new(c: &'a Conv<'a>) -> Self {
        let k4 = c.k().next_multiple_of(4);
        assert!(c.weights.len() >= c.c16() * k4 && c.multipliers.len() >= c.c16(), "weights: too short");
        assert!(c.bias.len() >= c.c16() && c.sums.len() >= c.c16(), "bias: too short");
        Self { c, k4, finish: Finish::new(c) }
    }

    /// Where the weights of channel `n` begin.
    #[inline(always)]
    fn weights(&self, n: usize) -> *const i8 {
        self.c.weights.as_ptr().wrapping_add(n / 16 * 16 * self.k4 + n % 16 * 4)
    }

    /// What the sum of channel `n` begins with: bias, and what the zero point of the input would take off.
    ///
    /// # Safety
    /// `n` is below `c16`.
    #[inline(always)]
    unsafe fn start(&self, n: usize) -> i32 {
        // SAFETY: `new` saw that there are `c16` of them.
        let (bias, sum) = unsafe { (*self.c.bias.get_unchecked(n), *self.c.sums.get_unchecked(n)) };
        bias.wrapping_sub(sum.wrapping_mul(self.c.in_zero_point))
    }

    /// Where the loops finish the channels from that of `output` on.
    fn target(&self, n: usize, output: *mut u8) -> Target {
        Target {
            output,
            stride: self.c.out_c,
            multipliers: self.c.multipliers.as_ptr().wrapping_add(n),
            zero_point: self.finish.zero_point(),
        }
    }

    /// `rows` of `R` pixels times all channels.
    #[inline(always)]
    fn channels<const R: usize>(&self, cells: &[u32], terms: &[i32; R], rows: usize, output: &mut [u8]) {
        let (c, out_c) = (self.c, self.c.out_c);
        assert!(cells.len() >= self.k4 / 2 * R && rows <= R && output.len() >= rows * out_c);
        let fast = if self.finish.is_fast() && rows == R { out_c & !1 } else { 0 };
        let mut target = self.target(0, output.as_mut_ptr());
        for n in (0..out_c).step_by(2) {
            // SAFETY: channels up to `c16` are there, the cells of `R` pixels, and below `fast` the bytes of two channels of as many.
            let sums = unsafe {
                let start = [self.start(n), self.start(n + 1)];
                let mut sums = [[start[0]; R], [start[1]; R]];
                if c.weight_zero_point != 0 {
                    sums.iter_mut().for_each(|s| s.iter_mut().zip(terms).for_each(|(s, t)| *s = s.wrapping_add(*t)));
                }
                if n < fast {
                    tile::pixels(&mut sums, cells, self.weights(n), self.k4 / 4, Some(&target));
                    target.output = target.output.wrapping_add(2);
                    target.multipliers = target.multipliers.wrapping_add(2);
                    continue;
                }
                tile::pixels(&mut sums, cells, self.weights(n), self.k4 / 4, None);
                sums
            };
            for (j, sums) in sums.iter().enumerate().take(out_c - n) {
                for (row, &sum) in sums.iter().enumerate().take(rows) {
                    output[row * out_c + n + j] = self.finish.byte(sum, c.multipliers[n + j]);
                }
            }
        }
    }
}

/// One pixel that is the whole input, times all channels, four at a time.
#[inline(never)]
fn line(c: &Conv<'_>, input: &[u8], output: &mut [u8]) {
    let layer = Layer::new(c);
    let (words, rest) = input.as_chunks::<4>();
    let done =
        if layer.finish.is_fast() && rest.is_empty() { fast_line(&layer, words, &mut output[..c.out_c]) } else { 0 };
    for (n, output) in output.iter_mut().enumerate().skip(done) {
        // One channel after the other: what is left over, or what the loops cannot finish.
        // SAFETY: channels up to `c16` are there.
        let start = unsafe { layer.start(n) };
        let sum = (0..).zip(input).fold(start, |sum, (k, &x)| {
            // SAFETY: `k` is below `k4`.
            let weight = unsafe { *layer.weights(n).add(k / 4 * 64 + k % 4) };
            sum.wrapping_add(reference::value(c.in_dtype, x).wrapping_mul(i32::from(weight)))
        });
        *output = layer.finish.byte(sum, c.multipliers[n]);
    }
}

/// The channels up to a multiple of four, each finished by the loop; how many.
#[inline(never)]
fn fast_line(layer: &Layer<'_>, words: &[[u8; 4]], output: &mut [u8]) -> usize {
    let c = layer.c;
    let done = if words.is_empty() { 0 } else { output.len() / 4 * 4 };
    for n in (0..done).step_by(16) {
        let mut block = tile::Line {
            target: layer.target(n, output[n..].as_mut_ptr()),
            bias: c.bias[n..].as_ptr(),
            sums: c.sums[n..].as_ptr(),
            in_zero_point: c.in_zero_point,
            n: words.len(),
            words: words.as_ptr(),
            weights: layer.weights(n),
            quads: (done - n).min(16) / 4,
        };
        // SAFETY: a block of channels up to `c16` is there, `words` words of input, and four bytes of output for each of `quads`.
        unsafe { tile::line(c.in_dtype, &mut block) };
    }
    done
}
