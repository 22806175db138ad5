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
        let mut sums = [0i32; 16];
        for four in weights.as_chunks::<64>().0 {
            for (sum, w) in sums.iter_mut().zip(four.as_chunks::<4>().0) {
                // Four int8 stay inside 16 bits.
                let part = w.iter().map(|&w| i16::from(w)).sum::<i16>();
                *sum = sum.wrapping_add(i32::from(part));
            }
        }
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
