//! Matrix product: in the layout `n16k4` a step of 16 channels is two registers. Four cells of a row, spread over a register,
//! meet both. 6 rows x 16 channels are twelve sums, two weights and one input: all registers but one; or 12 rows x 8. Rows that do not fill the last tile are computed in one that overlaps the tile before.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use crate::{
    isa::vnni::{Product, Rows, unsigned_zero_point},
    params::Conv,
};

/// What the tiles of one block share.
struct Shared<'a> {
    rows: &'a Rows<'a>,
    weights: *const i8,
    /// Without the zero point of the input.
    bias: [__m256i; 2],
    multipliers: [__m256; 2],
    channels: usize,
    stride: usize,
    epilogue: Epilogue,
}

impl<'a> Shared<'a> {
    /// 16 channels from `first` on, or those that are left. Checks all lengths.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(p: &Product<'a>, first: usize, output: &[u8]) -> Self {
        let (c, rows, k4) = (p.c, p.rows, p.c.k().next_multiple_of(4));
        rows.check(c, p.channels, output);
        assert!(first < p.channels);
        let weights = &p.weights[first * k4..][..16 * k4];
        let zero_point = _mm256_set1_epi32(unsigned_zero_point(c));
        let bias = |at: usize| {
            let (bias, sums) = (&p.bias[at..][..8], &p.sums[at..][..8]);
            // SAFETY: eight of each.
            let (bias, sums) =
                unsafe { (_mm256_loadu_si256(bias.as_ptr().cast()), _mm256_loadu_si256(sums.as_ptr().cast())) };
            _mm256_sub_epi32(bias, _mm256_mullo_epi32(sums, zero_point))
        };
        let multipliers = |at: usize| {
            let multipliers = &p.multipliers[at..][..8];
            // SAFETY: eight of them.
            unsafe { _mm256_loadu_ps(multipliers.as_ptr()) }
        };
        Self {
            rows,
            weights: weights.as_ptr(),
            bias: [bias(first), bias(first + 8)],
            multipliers: [multipliers(first), multipliers(first + 8)],
            channels: (p.channels - first).min(16),
            stride: c.out_c,
            epilogue: Epilogue::new(c),
        }
    }
}

/// The loops with the instruction `$dot`, for CPUs with `$features`.
macro_rules! tiles {
    ($encoding:ident, $features:literal, $dot:ident) => {
        pub(super) mod $encoding {
            #[allow(clippy::wildcard_imports, reason = "intrinsics")]
            use core::{arch::x86_64::*, hint::black_box};

            use super::{Product, Shared, store};

            /// All rows times all channels: `output[row * c.out_c + i]`.
            #[target_feature(enable = $features)]
            pub(in super::super) fn multiply(p: &Product<'_>, output: &mut [u8]) {
                let is_line = p.rows.is_one();
                for first in (0..p.channels).step_by(16) {
                    let shared = Shared::new(p, first, output);
                    // SAFETY: `Shared::new` checked the lengths for these rows and channels.
                    unsafe {
                        let output = output.as_mut_ptr().add(first);
                        match (is_line, shared.channels <= 8) {
                            (true, _) => line(&shared, output),
                            (false, true) => all::<1>(&shared, output),
                            (false, false) => all::<2>(&shared, output),
                        }
                    }
                }
            }

            /// All rows in tiles of the height that costs least.
            ///
            /// # Safety
            /// `s` holds its rows and `V` vectors of channels; `output` too.
            #[target_feature(enable = $features)]
            unsafe fn all<const V: usize>(s: &Shared<'_>, output: *mut u8) {
                let count = s.rows.count;
                let heights: &[usize] = if V == 1 { &[12, 4, 1] } else { &[6, 5, 4, 3, 2, 1] };
                // Instructions of a step, by and large.
                let cost = |&&height: &&usize| count.div_ceil(height) * (height * V + 2 * height + V + 2);
                let height = heights.iter().filter(|&&h| h <= count).min_by_key(cost).map_or(1, |&height| height);
                for line in 0..s.rows.lines {
                    // SAFETY: a line of the caller's rows, and of `output`.
                    let (cells, output) = unsafe {
                        (s.rows.cells.as_ptr().add(line * s.rows.line_step), output.add(line * count * s.stride))
                    };
                    let mut row = 0;
                    while row < count {
                        let at = row.min(count - height);
                        // SAFETY: `at + height <= count`.
                        unsafe {
                            match (V, height) {
                                (1, 12) => tile::<12, V>(s, cells, at, output),
                                (2, 6) => tile::<6, V>(s, cells, at, output),
                                (2, 5) => tile::<5, V>(s, cells, at, output),
                                (_, 4) => tile::<4, V>(s, cells, at, output),
                                (2, 3) => tile::<3, V>(s, cells, at, output),
                                (2, 2) => tile::<2, V>(s, cells, at, output),
                                _ => tile::<1, V>(s, cells, at, output),
                            }
                        }
                        row = at + height;
                    }
                }
            }

            /// `R` rows from `row` on of the line at `cells`.
            ///
            /// # Safety
            /// As [`all`]; `row + R` is at most the number of rows of a line.
            #[target_feature(enable = $features)]
            unsafe fn tile<const R: usize, const V: usize>(
                s: &Shared<'_>,
                cells: *const u8,
                row: usize,
                output: *mut u8,
            ) {
                let rows = s.rows;
                let mut acc = [[_mm256_setzero_si256(); V]; R];
                for acc in &mut acc {
                    acc.copy_from_slice(&s.bias[..V]);
                }
                if !rows.terms.is_empty() {
                    for (acc, &term) in acc.iter_mut().zip(&rows.terms[row..row + R]) {
                        for acc in acc {
                            *acc = _mm256_add_epi32(*acc, _mm256_set1_epi32(term));
                        }
                    }
                }
                // SAFETY: the caller's rows.
                let first = unsafe { cells.add(row * rows.step) };
                let (mut w, step) = (s.weights, rows.step);
                for &run in rows.runs {
                    // SAFETY: a run of the caller's rows.
                    let (mut x, end) = unsafe { (first.add(run), first.add(run + rows.len)) };
                    while x < end {
                        let mut weights = [_mm256_setzero_si256(); V];
                        for (v, weights) in weights.iter_mut().enumerate() {
                            // SAFETY: 64 bytes for each step.
                            *weights = unsafe { _mm256_loadu_si256(w.add(32 * v).cast()) };
                        }
                        for (r, acc) in acc.iter_mut().enumerate() {
                            // SAFETY: four cells of a run of row `row + r`.
                            let cells = unsafe { x.add(r * step).cast::<i32>().read_unaligned() };
                            let cells = _mm256_set1_epi32(cells);
                            for (acc, &weights) in acc.iter_mut().zip(&weights) {
                                *acc = $dot(*acc, cells, weights);
                            }
                        }
                        w = w.wrapping_add(64);
                        x = x.wrapping_add(4);
                    }
                }
                // SAFETY: the caller's rows of `output`.
                unsafe { store(s, &acc, output.add(row * s.stride)) }
            }

            /// One row of one run, four steps at a time with sums of their own, or the multiplications would wait for each
            /// other.
            ///
            /// # Safety
            /// As [`all`].
            #[target_feature(enable = $features)]
            unsafe fn line(s: &Shared<'_>, output: *mut u8) {
                // A value that the compiler does not know: for a constant it would not finish selecting instructions.
                let flip = black_box(_mm256_set1_epi8(if s.rows.signed { i8::MIN } else { 0 }));
                let rows = s.rows;
                let mut acc = [[_mm256_setzero_si256(); 2]; 4];
                acc[0] = s.bias;
                let (x, w) = (rows.cells.as_ptr(), s.weights);
                let steps = rows.len / 4;
                let one = |acc: &mut [__m256i; 2], step: usize| {
                    // SAFETY: four cells of the row.
                    let cells = unsafe { x.add(rows.runs[0] + 4 * step).cast::<i32>().read_unaligned() };
                    let cells = _mm256_xor_si256(_mm256_set1_epi32(cells), flip);
                    for (v, acc) in acc.iter_mut().enumerate() {
                        // SAFETY: 64 bytes for each step.
                        let weights = unsafe { _mm256_loadu_si256(w.add(64 * step + 32 * v).cast()) };
                        *acc = $dot(*acc, cells, weights);
                    }
                };
                let mut step = 0;
                while step + 4 <= steps {
                    for (i, acc) in acc.iter_mut().enumerate() {
                        one(acc, step + i);
                    }
                    step += 4;
                }
                while step < steps {
                    one(&mut acc[0], step);
                    step += 1;
                }
                let mut sums = [_mm256_setzero_si256(); 2];
                for (v, sum) in sums.iter_mut().enumerate() {
                    let pairs = [_mm256_add_epi32(acc[0][v], acc[1][v]), _mm256_add_epi32(acc[2][v], acc[3][v])];
                    *sum = _mm256_add_epi32(pairs[0], pairs[1]);
                }
                // SAFETY: the caller's row of `output`.
                unsafe { store(s, &[sums], output) }
            }

            /// 32 multiply-accumulates each, on registers alone. Returns how many were done.
            #[target_feature(enable = $features)]
            pub(in super::super) fn peak(steps: u32) -> u64 {
                const SUMS: usize = 12;
                let (cells, weights) = (black_box(_mm256_set1_epi8(3)), black_box(_mm256_set1_epi8(5)));
                let mut sums = [_mm256_setzero_si256(); SUMS];
                for _ in 0..steps {
                    for sum in &mut sums {
                        *sum = $dot(*sum, cells, weights);
                    }
                }
                black_box(sums);
                u64::from(steps) * SUMS as u64 * 32
            }
        }
    };
}

tiles!(vex, "avx2,avxvnni", _mm256_dpbusd_avx_epi32);
tiles!(evex, "avx2,avx512vl,avx512vnni", _mm256_dpbusd_epi32);

/// Requantizes and writes a tile. Always inlined: were the sums handed over in memory, they would be kept there.
///
/// # Safety
/// As part of a function that has AVX2. `output` has the rows, `s.stride` apart, of `s.channels` bytes, which are at most
/// `8 * V`.
#[inline(always)]
unsafe fn store<const R: usize, const V: usize>(s: &Shared<'_>, acc: &[[__m256i; V]; R], output: *mut u8) {
    let (e, n) = (&s.epilogue, s.channels);
    // SAFETY: the caller's features and rows.
    unsafe {
        let q = |r: usize, v: usize| if r < R { e.scale(acc[r][v], s.multipliers[v]) } else { _mm256_setzero_si256() };
        for r in (0..R).step_by(4 / V) {
            let bytes = if V == 1 {
                e.narrow([q(r, 0), q(r + 1, 0), q(r + 2, 0), q(r + 3, 0)])
            } else {
                e.narrow([q(r, 0), q(r, 1), q(r + 1, 0), q(r + 1, 1)])
            };
            let to = output.add(r * s.stride);
            if n == 8 * V && s.stride == n && r + 4 / V <= R {
                _mm256_storeu_si256(to.cast(), bytes);
                continue;
            }
            let halves = [_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1)];
            for (i, half) in halves.into_iter().enumerate() {
                let first = i * (2 / V);
                if r + first < R {
                    put::<V>(half, n, to.add(first * s.stride));
                }
                if V == 1 && r + first + 1 < R {
                    put::<V>(_mm_unpackhi_epi64(half, half), n, to.add((first + 1) * s.stride));
                }
            }
        }
    }
}

/// The first `n` bytes of a row, at most `8 * V`.
///
/// # Safety
/// `n` bytes from `to`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn put<const V: usize>(row: __m128i, n: usize, to: *mut u8) {
    // SAFETY: the caller's bytes; `bytes` has 16.
    unsafe {
        match (V, n) {
            (1, 8) => _mm_storel_epi64(to.cast(), row),
            (2, 16) => _mm_storeu_si128(to.cast(), row),
            _ => {
                let mut bytes = [0u8; 16];
                _mm_storeu_si128(bytes.as_mut_ptr().cast(), row);
                to.copy_from_nonoverlapping(bytes.as_ptr(), n.min(8 * V));
            }
        }
    }
}

/// Accumulators to bytes. The value is rounded, the zero point is added in 16 bits with saturation (it cannot change which
/// limit is met, as |zero point| <= 383), and packing and clamping are to int8: uint8 outputs are 128 less until the end.
#[derive(Clone, Copy)]
struct Epilogue {
    /// 16 bits.
    zero_point: __m256i,
    lo: __m256i,
    hi: __m256i,
    /// Adds 128 to uint8 outputs.
    output_flip: __m256i,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn new(c: &Conv<'_>) -> Self {
        // Outputs of either type; values that both have may be packed as either.
        let less = if c.hi > 127 { 128 } else { 0 };
        let byte = |v: i32| _mm256_set1_epi8((v - less).clamp(-128, 127) as i8);
        Self {
            zero_point: _mm256_set1_epi16((c.out_zero_point - less) as i16),
            lo: byte(c.lo),
            hi: byte(c.hi),
            output_flip: _mm256_set1_epi8(less as u8 as i8),
        }
    }

    /// `rne(f32(sum) * multiplier)`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn scale(&self, sum: __m256i, multiplier: __m256) -> __m256i {
        _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sum), multiplier))
    }

    /// Four vectors to bytes, one vector after the other.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn narrow(&self, [a, b, c, d]: [__m256i; 4]) -> __m256i {
        let ab = _mm256_adds_epi16(_mm256_packs_epi32(a, b), self.zero_point);
        let cd = _mm256_adds_epi16(_mm256_packs_epi32(c, d), self.zero_point);
        let bytes = _mm256_min_epi8(_mm256_max_epi8(_mm256_packs_epi16(ab, cd), self.lo), self.hi);
        // Packing leaves four bytes of each in each half.
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        _mm256_permutevar8x32_epi32(_mm256_xor_si256(bytes, self.output_flip), order)
    }
}
