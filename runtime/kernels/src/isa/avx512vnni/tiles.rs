//! Matrix product: the layout `n16k4` is one register for each step and 16 channels, so a step is four cells of a row,
//! spread over a register, times up to four of those. The sums of a tile stay in registers: 6 rows x 64 channels, 8 x 48,
//! 12 x 32 or 16 x 16. Rows that do not fill the last tile are computed in one that overlaps the tile before.

#[allow(clippy::wildcard_imports, reason = "intrinsics")]
use core::arch::x86_64::*;

use crate::{
    isa::vnni::{Rows, unsigned_zero_point},
    params::Conv,
};

/// What the tiles of one block share.
struct Shared<'a> {
    rows: &'a Rows<'a>,
    weights: *const i8,
    /// Bytes from 16 channels to the next.
    weights_step: usize,
    /// Without the zero point of the input.
    bias: [__m512i; 4],
    multipliers: [__m512; 4],
    channels: usize,
    stride: usize,
    epilogue: Epilogue,
}

/// All rows times `channels` channels (1..=64; for a single row of one run any number) from the first of `weights` on: `output[row * c.out_c + i]`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn block(
    c: &Conv<'_>,
    rows: &Rows<'_>,
    weights: &[i8],
    [bias, sums]: [&[i32]; 2],
    multipliers: &[f32],
    channels: usize,
    output: &mut [u8],
) {
    let (vectors, k4) = (channels.div_ceil(16), c.k().next_multiple_of(4));
    let is_line = rows.is_one();
    rows.check(c, channels, output);
    assert!(channels > 0 && (is_line || channels <= 64) && weights.len() >= 16 * vectors * k4);
    assert!(bias.len() >= 16 * vectors && sums.len() >= 16 * vectors && multipliers.len() >= 16 * vectors);
    let zero_point = _mm512_set1_epi32(unsigned_zero_point(c));
    let mut shared = Shared {
        rows,
        weights: weights.as_ptr(),
        weights_step: 16 * k4,
        bias: [_mm512_setzero_si512(); 4],
        multipliers: [_mm512_setzero_ps(); 4],
        channels,
        stride: c.out_c,
        epilogue: Epilogue::new(c),
    };
    for first in (0..channels).step_by(64) {
        shared.channels = (channels - first).min(64);
        let vectors = shared.channels.div_ceil(16);
        // SAFETY: the lengths were just checked for these rows and all vectors.
        unsafe {
            for v in 0..vectors {
                let sums = _mm512_loadu_si512(sums.as_ptr().add(first + 16 * v).cast());
                let bias = _mm512_loadu_si512(bias.as_ptr().add(first + 16 * v).cast());
                shared.bias[v] = _mm512_sub_epi32(bias, _mm512_mullo_epi32(sums, zero_point));
                shared.multipliers[v] = _mm512_loadu_ps(multipliers.as_ptr().add(first + 16 * v));
            }
            shared.weights = weights.as_ptr().add(first * k4);
            let output = output.as_mut_ptr().add(first);
            match (is_line, vectors) {
                (true, 1) => line::<1>(&shared, output),
                (true, 2) => line::<2>(&shared, output),
                (true, 3) => line::<3>(&shared, output),
                (true, _) => line::<4>(&shared, output),
                (false, 1) => all::<1>(&shared, output),
                (false, 2) => all::<2>(&shared, output),
                (false, 3) => all::<3>(&shared, output),
                (false, _) => all::<4>(&shared, output),
            }
        }
    }
}

/// All rows in tiles of the height that costs least.
///
/// # Safety
/// `shared` holds `V` vectors of channels and its rows; `output` too.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn all<const V: usize>(s: &Shared<'_>, output: *mut u8) {
    let count = s.rows.count;
    let heights: &[usize] = match V {
        1 => &[16, 12, 8, 4, 1],
        2 => &[12, 8, 6, 4, 2, 1],
        3 => &[8, 6, 4, 2, 1],
        _ => &[6, 5, 4, 3, 2, 1],
    };
    // Instructions of a step, by and large.
    let cost = |&&height: &&usize| count.div_ceil(height) * (height * V + height + V + 2);
    let height = heights.iter().filter(|&&h| h <= count).min_by_key(cost).map_or(1, |&height| height);
    for line in 0..s.rows.lines {
        // SAFETY: a line of the caller's rows, and of `output`.
        let (cells, output) =
            unsafe { (s.rows.cells.as_ptr().add(line * s.rows.line_step), output.add(line * count * s.stride)) };
        let mut row = 0;
        while row < count {
            let at = row.min(count - height);
            // SAFETY: `at + height <= count`.
            unsafe {
                match (V, height) {
                    (1, 16) => tile::<16, V>(s, cells, at, output),
                    (1 | 2, 12) => tile::<12, V>(s, cells, at, output),
                    (1..=3, 8) => tile::<8, V>(s, cells, at, output),
                    (2..=4, 6) => tile::<6, V>(s, cells, at, output),
                    (4, 5) => tile::<5, V>(s, cells, at, output),
                    (_, 4) => tile::<4, V>(s, cells, at, output),
                    (4, 3) => tile::<3, V>(s, cells, at, output),
                    (2.., 2) => tile::<2, V>(s, cells, at, output),
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn tile<const R: usize, const V: usize>(s: &Shared<'_>, cells: *const u8, row: usize, output: *mut u8) {
    let rows = s.rows;
    let mut acc = [[_mm512_setzero_si512(); V]; R];
    for acc in &mut acc {
        acc.copy_from_slice(&s.bias[..V]);
    }
    if !rows.terms.is_empty() {
        for (acc, &term) in acc.iter_mut().zip(&rows.terms[row..row + R]) {
            for acc in acc {
                *acc = _mm512_add_epi32(*acc, _mm512_set1_epi32(term));
            }
        }
    }
    // SAFETY: the caller's rows.
    let first = unsafe { cells.add(row * rows.step) };
    let (mut w, w_step, step) = (s.weights, s.weights_step, rows.step);
    for &run in rows.runs {
        // SAFETY: a run of the caller's rows.
        let (mut x, end) = unsafe { (first.add(run), first.add(run + rows.len)) };
        while x < end {
            let mut weights = [_mm512_setzero_si512(); V];
            for (v, weights) in weights.iter_mut().enumerate() {
                // SAFETY: 64 bytes for each step of each vector.
                *weights = unsafe { _mm512_loadu_si512(w.add(v * w_step).cast()) };
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                // SAFETY: four cells of a run of row `row + r`.
                let cells = _mm512_set1_epi32(unsafe { x.add(r * step).cast::<i32>().read_unaligned() });
                for (acc, &weights) in acc.iter_mut().zip(&weights) {
                    *acc = _mm512_dpbusd_epi32(*acc, cells, weights);
                }
            }
            w = w.wrapping_add(64);
            x = x.wrapping_add(4);
        }
    }
    // SAFETY: the caller's rows of `output`.
    unsafe { store(s, &acc, output.add(row * s.stride)) }
}

/// One row of one run, four steps at a time with sums of their own, or the multiplications would wait for each other.
///
/// # Safety
/// As [`all`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
unsafe fn line<const V: usize>(s: &Shared<'_>, output: *mut u8) {
    let rows = s.rows;
    // A value that the compiler does not know: for a constant it would not finish selecting instructions.
    let flip = _mm512_set1_epi32(core::hint::black_box(if rows.signed { 0x8080_8080_u32 as i32 } else { 0 }));
    let mut acc = [[_mm512_setzero_si512(); V]; 4];
    acc[0].copy_from_slice(&s.bias[..V]);
    let (x, w) = (rows.cells.as_ptr(), s.weights);
    let steps = rows.len / 4;
    let one = |acc: &mut [__m512i; V], step: usize| {
        // SAFETY: four cells of the row.
        let cells = unsafe { x.add(rows.runs[0] + 4 * step).cast::<i32>().read_unaligned() };
        let cells = _mm512_xor_si512(_mm512_set1_epi32(cells), flip);
        for (v, acc) in acc.iter_mut().enumerate() {
            // SAFETY: 64 bytes for each step of each vector.
            let weights = unsafe { _mm512_loadu_si512(w.add(v * s.weights_step + 64 * step).cast()) };
            *acc = _mm512_dpbusd_epi32(*acc, cells, weights);
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
    let mut sums = [[_mm512_setzero_si512(); V]; 1];
    for (v, sum) in sums[0].iter_mut().enumerate() {
        *sum = _mm512_add_epi32(_mm512_add_epi32(acc[0][v], acc[1][v]), _mm512_add_epi32(acc[2][v], acc[3][v]));
    }
    // SAFETY: the caller's row of `output`.
    unsafe { store(s, &sums, output) }
}

/// Requantizes and writes a tile.
///
/// # Safety
/// `output` has the rows, `s.stride` apart, of `s.channels` bytes.
#[inline(always)]
unsafe fn store<const R: usize, const V: usize>(s: &Shared<'_>, acc: &[[__m512i; V]; R], output: *mut u8) {
    let (e, n) = (&s.epilogue, s.channels);
    // SAFETY: inlined into functions that have the features; the caller's rows.
    unsafe {
        let q = |r: usize, v: usize| if r < R { e.scale(acc[r][v], s.multipliers[v]) } else { _mm512_setzero_si512() };
        let zero = _mm512_setzero_si512();
        match V {
            1 => {
                for r in (0..R).step_by(4) {
                    let p = e.narrow([q(r, 0), q(r + 1, 0), q(r + 2, 0), q(r + 3, 0)]);
                    let to = output.add(r * s.stride);
                    if n == 16 && s.stride == 16 && r + 4 <= R {
                        _mm512_storeu_si512(to.cast(), p);
                        continue;
                    }
                    let mask = (0xffff_u32 >> (16 - n)) as u16;
                    _mm_mask_storeu_epi8(to.cast(), mask, _mm512_castsi512_si128(p));
                    if r + 1 < R {
                        _mm_mask_storeu_epi8(to.add(s.stride).cast(), mask, _mm512_extracti32x4_epi32(p, 1));
                    }
                    if r + 2 < R {
                        _mm_mask_storeu_epi8(to.add(2 * s.stride).cast(), mask, _mm512_extracti32x4_epi32(p, 2));
                    }
                    if r + 3 < R {
                        _mm_mask_storeu_epi8(to.add(3 * s.stride).cast(), mask, _mm512_extracti32x4_epi32(p, 3));
                    }
                }
            }
            2 => {
                for r in (0..R).step_by(2) {
                    let p = e.narrow([q(r, 0), q(r, 1), q(r + 1, 0), q(r + 1, 1)]);
                    let to = output.add(r * s.stride);
                    if n == 32 && s.stride == 32 && r + 2 <= R {
                        _mm512_storeu_si512(to.cast(), p);
                        continue;
                    }
                    let (low, high) = (_mm512_castsi512_si256(p), _mm512_extracti64x4_epi64(p, 1));
                    if n == 32 {
                        _mm256_storeu_si256(to.cast(), low);
                        if r + 1 < R {
                            _mm256_storeu_si256(to.add(s.stride).cast(), high);
                        }
                    } else {
                        let mask = u32::MAX >> (32 - n);
                        _mm256_mask_storeu_epi8(to.cast(), mask, low);
                        if r + 1 < R {
                            _mm256_mask_storeu_epi8(to.add(s.stride).cast(), mask, high);
                        }
                    }
                }
            }
            _ => {
                for r in 0..R {
                    let p = e.narrow([q(r, 0), q(r, 1), q(r, 2), if V == 4 { q(r, 3) } else { zero }]);
                    let to = output.add(r * s.stride);
                    if n == 64 {
                        _mm512_storeu_si512(to.cast(), p);
                    } else {
                        _mm512_mask_storeu_epi8(to.cast(), u64::MAX >> (64 - n), p);
                    }
                }
            }
        }
    }
}

/// Accumulators to bytes. The value is rounded, the zero point is added in 16 bits with saturation (it cannot change which
/// limit is met, as |zero point| <= 255), and packing to the output's type is a clamp to its limits.
#[derive(Clone, Copy)]
pub(super) struct Epilogue {
    /// Whether bytes are packed as uint8; int8 otherwise.
    unsigned: bool,
    /// Whether the limits are narrower than those of the type.
    clamps: bool,
    /// 16 bits.
    zero_point: __m512i,
    lo: __m512i,
    hi: __m512i,
    order: __m512i,
}

impl Epilogue {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn new(c: &Conv<'_>) -> Self {
        // Outputs of either type; values that both have may be packed as either.
        let unsigned = c.hi > 127;
        let (least, most) = if unsigned { (0, 255) } else { (-128, 127) };
        let byte = |v: i32| _mm512_set1_epi8(v.clamp(least, most) as u8 as i8);
        Self {
            unsigned,
            clamps: c.lo > least || c.hi < most,
            zero_point: _mm512_set1_epi16(c.out_zero_point as i16),
            lo: byte(c.lo),
            hi: byte(c.hi),
            order: _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15),
        }
    }

    /// `rne(f32(sum) * multiplier)`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn scale(&self, sum: __m512i, multiplier: __m512) -> __m512i {
        _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), multiplier))
    }

    /// Four vectors to bytes; lane `l` holds four bytes of each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub(super) fn interleaved(&self, [a, b, c, d]: [__m512i; 4]) -> __m512i {
        let ab = _mm512_adds_epi16(_mm512_packs_epi32(a, b), self.zero_point);
        let cd = _mm512_adds_epi16(_mm512_packs_epi32(c, d), self.zero_point);
        match (self.unsigned, self.clamps) {
            (false, false) => _mm512_packs_epi16(ab, cd),
            (true, false) => _mm512_packus_epi16(ab, cd),
            (false, true) => _mm512_min_epi8(_mm512_max_epi8(_mm512_packs_epi16(ab, cd), self.lo), self.hi),
            (true, true) => _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(ab, cd), self.lo), self.hi),
        }
    }

    /// Four vectors to bytes, one vector after the other.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    fn narrow(&self, v: [__m512i; 4]) -> __m512i {
        _mm512_permutexvar_epi32(self.order, self.interleaved(v))
    }
}
