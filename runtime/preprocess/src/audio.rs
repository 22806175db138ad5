//! Samples become a waveform, mel energies or cepstra.
//!
//! ```text
//! frame . window        i32, 2^30 is 1
//! Fourier transform     i32, divided by its length                    fft.rs
//! energies              u64: the square of the magnitude, or its root, rounded down
//! mel bands             u128: weighted sums, exact
//! logarithm             to base 2 in 1/65536, rounded down; not below the floor
//! cosine transform      i64, rounded half up
//! normalise, quantize   single precision, one operation after another
//! ```

use fleetfoot_format::preprocess::{Audio, Features, Mel};

use crate::{door::Tensor, error::PreprocessError, fft};

/// Numbers of scratch that [`audio`] needs.
#[must_use]
pub fn scratch_len(settings: &Audio<'_>) -> usize {
    match &settings.features {
        Features::Waveform => 0,
        Features::Mel(mel) => 2 * mel.fft() + usize::from(mel.bands),
    }
}

/// Fills `out`, the bytes of the input `tensor`, from `samples` of one channel at the rate of the settings. Where there are fewer than the settings
/// look at, zeros follow; what is more is left out.
///
/// # Errors
/// [`PreprocessError::Buffer`], [`PreprocessError::Shape`] or [`PreprocessError::ElementType`].
pub fn audio(
    settings: &Audio<'_>,
    tensor: &Tensor<'_>,
    samples: &[i16],
    scratch: &mut [i32],
    out: &mut [u8],
) -> Result<(), PreprocessError> {
    tensor.fits(out)?;
    check(settings, tensor)?;
    let need = scratch_len(settings);
    let have = scratch.len();
    let Some(scratch) = scratch.get_mut(..need) else {
        return Err(PreprocessError::Buffer { what: "the scratch of audio", need, have });
    };
    let size = tensor.dtype.size();
    let mut elements = out.chunks_exact_mut(size);
    let mut put = |real: f32| {
        if let Some(element) = elements.next() {
            element.copy_from_slice(&tensor.element((real - settings.mean) / settings.std)[..size]);
        }
    };
    let sample = |at: usize| samples.get(at).copied().unwrap_or(0);
    match &settings.features {
        Features::Waveform => (0..settings.samples as usize).for_each(|at| put(f32::from(sample(at)) / 32_768.0)),
        Features::Mel(mel) => {
            let (data, bands) = scratch.split_at_mut(2 * mel.fft());
            for frame in 0..mel.frames(settings.samples) {
                let first = frame * mel.hop as usize;
                load(mel, data, |at| sample(first + at));
                fft::transform(data, mel.twiddles);
                energies(mel, data, bands);
                if mel.cepstra == 0 {
                    bands.iter().for_each(|&log| put(log as f32 * mel.unit));
                } else {
                    cepstra(mel, bands, |sum| put(sum as f32 * mel.unit));
                }
            }
        }
    }
    Ok(())
}

pub(crate) fn check(settings: &Audio<'_>, tensor: &Tensor<'_>) -> Result<(), PreprocessError> {
    let (what, have) = match &settings.features {
        Features::Waveform => ("samples", u64::from(settings.samples)),
        Features::Mel(mel) => ("frames times features", mel.frames(settings.samples) as u64 * mel.features() as u64),
    };
    let need = tensor.elements();
    if have == need { Ok(()) } else { Err(PreprocessError::Shape { what, need, have }) }
}

/// A frame under its window, zeros behind it.
fn load(mel: &Mel<'_>, data: &mut [i32], sample: impl Fn(usize) -> i16) {
    data.fill(0);
    let window = mel.window.as_chunks().0.iter().map(|&w| u16::from_le_bytes(w));
    for (at, (pair, weight)) in data.as_chunks_mut::<2>().0.iter_mut().zip(window).enumerate() {
        pair[0] = i32::from(sample(at)) * i32::from(weight);
    }
}

/// Logarithms of the bands. A line adds to its band and to the one before, and bands follow one another, so that two sums are open at a time.
fn energies(mel: &Mel<'_>, data: &[i32], bands: &mut [i32]) {
    let log = |sum: u128| log2_q16(sum).saturating_sub(offset_q16(mel)).max(mel.floor_q16);
    bands.fill(log(0));
    let (mut open, mut sum, mut next) = (0usize, 0u128, 0u128);
    let mut close = |band: usize, sum: u128| {
        // Sum `b` is that of the band before band `b`: there is none before the first.
        if let Some(place) = band.checked_sub(1).and_then(|b| bands.get_mut(b)) {
            *place = log(sum);
        }
    };
    let lines = mel.weights.as_chunks::<6>().0;
    for (&[b0, b1, u0, u1, d0, d1], &[re, im]) in lines.iter().zip(data.as_chunks::<2>().0) {
        let band = usize::from(u16::from_le_bytes([b0, b1]));
        while open < band {
            close(open, sum);
            (open, sum, next) = (open + 1, next, 0);
        }
        let energy = energy(mel, re, im);
        sum += energy * u128::from(u16::from_le_bytes([d0, d1]));
        next += energy * u128::from(u16::from_le_bytes([u0, u1]));
    }
    close(open, sum);
    close(open + 1, next);
}

fn energy(mel: &Mel<'_>, re: i32, im: i32) -> u128 {
    let square = |v: i32| u64::from(v.unsigned_abs()).pow(2);
    let power = square(re) + square(im);
    u128::from(if mel.magnitude { power.isqrt() } else { power })
}

/// The logarithm of what the sums are too large by: window and samples are 2^30 times what they are, a transform is divided by its length, weights are 2^15
/// times what they are.
fn offset_q16(mel: &Mel<'_>) -> i32 {
    let magnitude = 30 - i32::from(mel.fft_log2);
    let energy = if mel.magnitude { magnitude } else { 2 * magnitude };
    (energy + 15) << 16
}

/// `floor(65536 log2 v)` up to errors of 2^-31 in the argument: the whole part is the highest bit, each bit behind it comes from a square. Of 0 it is lower
/// than any other.
fn log2_q16(v: u128) -> i32 {
    let Some(whole) = v.checked_ilog2() else { return i32::MIN };
    // 1 to 2, in 2^-31.
    let mut m = if whole >= 31 { v >> (whole - 31) } else { v << (31 - whole) } as u64;
    let mut log = whole.cast_signed();
    for _ in 0..16 {
        m = (m * m) >> 31;
        let bit = m >> 32;
        m >>= bit;
        log = log << 1 | bit as i32;
    }
    log
}

fn cepstra(mel: &Mel<'_>, bands: &[i32], mut put: impl FnMut(i64)) {
    let cosines = mel.cosines.as_chunks().0;
    for row in cosines.chunks_exact(bands.len()) {
        let term = |(&log, &cosine): (&i32, &[u8; 2])| i64::from(log) * i64::from(i16::from_le_bytes(cosine));
        let sum: i64 = bands.iter().zip(row).map(term).sum();
        put((sum + (1 << 14)) >> 15);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms() {
        assert_eq!(log2_q16(0), i32::MIN);
        for v in (1..5000u128).chain([1 << 31, (1 << 31) + 1, u128::from(u64::MAX), 1 << 100, 3 << 90]) {
            let (got, exact) = (f64::from(log2_q16(v)), (v as f64).log2() * 65_536.0);
            assert!((got - exact).abs() < 1.1, "{v}: {got} {exact}");
        }
        assert_eq!(log2_q16(8), 3 << 16);
    }
}
