//! The cells of a panel: bytes as numbers of 16 bits, in the order in which `sxtb16` leaves those of the weights.

use core::arch::asm;

use crate::params::{Conv, DType};

/// Two words that hold the zero point four times.
#[inline(always)]
pub(super) fn border(c: &Conv<'_>) -> u32 {
    let half = c.in_zero_point as u32 & 0xffff;
    half << 16 | half
}

/// Whether windows are gathered byte by byte, because a pixel is not whole words.
#[inline(always)]
pub(super) fn by_bytes(c: &Conv<'_>) -> bool {
    !c.in_c.is_multiple_of(4)
}

/// Writes what the window at `at` sees into every `R`th pair of words of `cells`.
#[inline(never)]
pub(super) fn window<const R: usize>(
    c: &Conv<'_>,
    image: &[u8],
    at: (usize, usize),
    cells: &mut [u32],
    bytes: &mut [u8],
) {
    let (w, in_c) = (&c.window, c.in_c);
    let (row_len, run) = (w.in_w * in_c, w.kernel_w * in_c);
    let (words, mut done) = (!by_bytes(c), 0);
    // Columns of the kernel inside the image; with dilation each one is a run of its own.
    let (left, runs) = (at.1.wrapping_sub(w.pad_left), if w.dilation_w == 1 { 1 } else { w.kernel_w });
    for ky in 0..w.kernel_h {
        let y = (at.0 + ky * w.dilation_h).wrapping_sub(w.pad_top);
        for kx in 0..runs {
            let (first, len) = (left.wrapping_add(kx * w.dilation_w), run / runs);
            // Cells before the image, and those inside.
            let before = if first > usize::MAX / 2 { (first.wrapping_neg() * in_c).min(len) } else { 0 };
            let from = if before == 0 { first * in_c } else { 0 };
            let inside = if y < w.in_h { row_len.saturating_sub(from).min(len - before) } else { 0 };
            let line = if inside > 0 { &image[y * row_len + from..][..inside] } else { &[] };
            if words {
                fill::<R>(border(c), before / 4, &mut cells[done / 2 * R..]);
                let rest = done + before;
                expand::<R>(c.in_dtype, line, cells.get_mut(rest / 2 * R..).unwrap_or_default());
                let rest = rest + inside;
                fill::<R>(border(c), (len - before - inside) / 4, cells.get_mut(rest / 2 * R..).unwrap_or_default());
            } else {
                let (start, rest) = bytes[done..][..len].split_at_mut(before);
                let (middle, end) = rest.split_at_mut(inside);
                start.iter_mut().chain(end).for_each(|byte| *byte = c.in_zero_point as u8);
                copy(line, middle);
            }
            done += len;
        }
    }
    if !words {
        // Weights beyond the last cell are zero, whatever they meet.
        let k4 = done.next_multiple_of(4);
        bytes[done..k4].fill(0);
        expand::<R>(c.in_dtype, &bytes[..k4], cells);
    }
}

/// Copies a few bytes: a call would take longer.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8]) {
    assert_eq!(from.len(), to.len());
    // SAFETY: reads and writes as many bytes as both have; words need not be aligned.
    unsafe {
        asm!(
            "subs {n}, #4",
            "blo 3f",
            "2:",
            "ldr {word}, [{from}], #4",
            "str {word}, [{to}], #4",
            "subs {n}, #4",
            "bhs 2b",
            "3:",
            "adds {n}, #4",
            "beq 5f",
            "4:",
            "ldrb {word}, [{from}], #1",
            "strb {word}, [{to}], #1",
            "subs {n}, #1",
            "bne 4b",
            "5:",
            n = inout(reg) from.len() => _,
            from = inout(reg) from.as_ptr() => _,
            to = inout(reg) to.as_mut_ptr() => _,
            word = out(reg) _,
            options(nostack)
        );
    }
}

#[inline(always)]
fn fill<const R: usize>(word: u32, quads: usize, cells: &mut [u32]) {
    for quad in 0..quads {
        cells[2 * R * quad] = word;
        cells[2 * R * quad + 1] = word;
    }
}

/// Four bytes become two words, one after the other, `R` pairs of words apart.
#[inline(always)]
pub(super) fn expand<const R: usize>(dtype: DType, bytes: &[u8], cells: &mut [u32]) {
    let quads = bytes.len() / 4;
    if quads == 0 {
        return;
    }
    assert!(cells.len() >= 2 * R * (quads - 1) + 2, "a panel that is too short");
    macro_rules! by {
        ($extend:literal) => {
            // SAFETY: reads `quads` words that need not be aligned, writes as many pairs of aligned ones; both are there.
            unsafe {
                asm!(
                    "subs {n}, #4",
                    "blo 3f",
                    "2:",
                    by!(one $extend), by!(one $extend), by!(one $extend), by!(one $extend),
                    "subs {n}, #4",
                    "bhs 2b",
                    "3:",
                    "adds {n}, #4",
                    "beq 5f",
                    "4:",
                    by!(one $extend),
                    "subs {n}, #1",
                    "bne 4b",
                    "5:",
                    n = inout(reg) quads => _,
                    from = inout(reg) bytes.as_ptr() => _,
                    to = inout(reg) cells.as_mut_ptr() => _,
                    a = out(reg) _,
                    b = out(reg) _,
                    step = const 8 * R,
                    options(nostack)
                );
            }
        };
        (one $extend:literal) => {
            concat!("ldr {a}, [{from}], #4\n", $extend, " {b}, {a}\n", $extend, " {a}, {a}, ror #8\nstrd {b}, {a}, [{to}], #{step}")
        };
    }
    match dtype {
        DType::Int8 => by!("sxtb16"),
        DType::UInt8 => by!("uxtb16"),
    }
}
