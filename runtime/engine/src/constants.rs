//! What kernels take for granted about the weights of a convolution: what the padding holds, and the sums of channels.
//!
//! Kernels differ in what they do with it (one multiplies the padding, another does not reach it; one adds weights up, another
//! reads the stored sums), so weights that break the layout would give each instruction set another answer. One pass over the weights.

use fleetfoot_kernels::Conv;

/// A weight in the padding, or a sum that is not that of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// A weight of this output channel beyond the last input is not zero.
    Padding { channel: usize, weight: i32 },
    /// The sum stored for this output channel, and that of its weights.
    Sum { channel: usize, stored: i32, weights: i32 },
}

/// Weights in the layout `n16k4`; lengths were checked.
pub(crate) fn dense(c: &Conv<'_>) -> Result<(), Flaw> {
    let k4 = c.k().next_multiple_of(4);
    for (block, weights) in c.weights.chunks_exact(16 * k4).enumerate() {
        let sums = sums_of_block(weights);
        let used = c.k() % 4;
        if used != 0
            && let Some(last) = weights.last_chunk::<64>()
        {
            for (n, w) in last.as_chunks::<4>().0.iter().enumerate() {
                if let Some(&weight) = w[used..].iter().find(|w| **w != 0) {
                    return Err(Flaw::Padding { channel: block * 16 + n, weight: i32::from(weight) });
                }
            }
        }
        compare(c, block * 16, &sums)?;
    }
    Ok(())
}

/// The sums of the 16 channels of one block of `n16k4`: four weights of channel 0, four of channel 1, and so on, again and again.
///
/// Opening a model waits for this. It works on words of four weights: compilers turn that into vectors on every target, and it suits a
/// core without vectors.
///
/// ```text
/// word    w3 | w2 | w1 | w0    each 128 more than the weight: 0 to 255
/// halves  w3 + w2 | w1 + w0    0 to 510
/// pairs   sums of 128 halves   0 to 65,280: no half carries into the other
/// ```
fn sums_of_block(weights: &[i8]) -> [i32; 16] {
    const MOST: usize = 128;
    let mut sums = [0i32; 16];
    for run in weights.chunks(64 * MOST) {
        let fours = run.as_chunks::<64>().0;
        let mut pairs = [0u32; 16];
        for four in fours {
            for (pair, w) in pairs.iter_mut().zip(four.as_chunks::<4>().0) {
                let word = u32::from_ne_bytes(w.map(i8::cast_unsigned)) ^ 0x8080_8080;
                *pair += (word & 0x00ff_00ff) + ((word >> 8) & 0x00ff_00ff);
            }
        }
        let above = 4 * 128 * fours.len() as i32;
        for (sum, pair) in sums.iter_mut().zip(pairs) {
            *sum = sum.wrapping_add((pair & 0xffff) as i32 + (pair >> 16) as i32 - above);
        }
    }
    sums
}

/// Weights `[taps][c16]`; lengths were checked.
pub(crate) fn depthwise(c: &Conv<'_>) -> Result<(), Flaw> {
    for first in (0..c.c16()).step_by(16) {
        let mut sums = [0i32; 16];
        for row in c.weights.chunks_exact(c.c16()) {
            sums.iter_mut().zip(&row[first..]).for_each(|(sum, &w)| *sum = sum.wrapping_add(i32::from(w)));
        }
        compare(c, first, &sums)?;
    }
    Ok(())
}

/// Channels that are there; what lies beyond is never stored by a kernel.
fn compare(c: &Conv<'_>, first: usize, sums: &[i32; 16]) -> Result<(), Flaw> {
    let stored = c.sums[first..c.out_c.min(first + 16)].iter();
    match stored.zip(sums).enumerate().find(|(_, (stored, sum))| stored != sum) {
        Some((n, (&stored, &weights))) => Err(Flaw::Sum { channel: first + n, stored, weights }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against one weight after the other, on both sides of every bound: the extremes fill their halves to the brim.
    #[test]
    fn sums_are_those_of_the_weights() {
        let mut seed = 9u32;
        let mut random = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as i8
        };
        let mut check = |fours: usize, weight: Option<i8>| {
            let mut weights = [0i8; 64 * 300];
            let weights = &mut weights[..64 * fours];
            weights.fill_with(|| weight.unwrap_or_else(&mut random));
            let mut sums = [0i32; 16];
            weights.iter().enumerate().for_each(|(i, &w)| sums[i / 4 % 16] += i32::from(w));
            assert_eq!(sums_of_block(weights), sums, "{fours} words of {weight:?}");
        };
        for fours in [0, 1, 2, 127, 128, 129, 256, 257, 300] {
            [None, Some(-128), Some(127), Some(-1), Some(0)].into_iter().for_each(|weight| check(fours, weight));
        }
    }
}
