//! The highest scores of an output.
//!
//! ```text
//! real numbers -> softmax: exp(x - max) / sum, summed in the order of the classes -> not below the threshold -> the highest, the lower index first
//! ```

use fleetfoot_format::postprocess::Classes;

use crate::{door::Output, error::PreprocessError, exp::exp};

/// A class and its score.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Class {
    /// Which.
    pub index: usize,
    /// A probability with softmax, else the real number of the output.
    pub score: f32,
}

/// Fills the front of `best` with the highest scores of `output`, and returns how many there are: at most `settings.top`, and
/// as many as there is room for.
///
/// # Errors
/// [`PreprocessError::NoSuchOutput`] where the output is empty.
pub fn classes(settings: &Classes, output: &Output<'_>, best: &mut [Class]) -> Result<usize, PreprocessError> {
    let all = || (0..output.len()).filter_map(|i| output.real(i));
    let highest = all().fold(f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    if output.is_empty() {
        return Err(PreprocessError::NoSuchOutput { index: usize::from(settings.output) });
    }
    let sum = if settings.softmax { all().fold(0.0, |sum, x| sum + exp(x - highest)) } else { 1.0 };
    let room = best.len().min(usize::from(settings.top));
    let mut count = 0;
    for (index, x) in all().enumerate() {
        let score = if settings.softmax { exp(x - highest) / sum } else { x };
        // What is no number is not above any threshold either.
        if score.is_nan() || score < settings.threshold {
            continue;
        }
        let at = best[..count].iter().position(|other| score > other.score).unwrap_or(count);
        if at < room {
            count = (count + 1).min(room);
            best[at..count].rotate_right(1);
            best[at] = Class { index, score };
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use fleetfoot_format::graph::IoType;

    use super::*;

    fn best(settings: &Classes, bytes: &[i8], room: usize) -> std::vec::Vec<Class> {
        let bytes: std::vec::Vec<u8> = bytes.iter().map(|b| b.cast_unsigned()).collect();
        let output = Output { dtype: IoType::Int8, scale: 0.5, zero_point: 1, bytes: &bytes };
        let mut best = std::vec![Class::default(); room];
        let count = classes(settings, &output, &mut best).unwrap();
        best.truncate(count);
        best
    }

    #[test]
    fn the_highest_first_and_the_lower_index_of_equal_ones() {
        let raw = Classes { output: 0, softmax: false, top: 3, threshold: -1.0 };
        let of = |bytes: &[i8], room| {
            best(&raw, bytes, room).iter().map(|c| (c.index, c.score)).collect::<std::vec::Vec<_>>()
        };
        assert_eq!(of(&[3, 5, 1, 5, -100], 9), [(1, 2.0), (3, 2.0), (0, 1.0)]);
        assert_eq!(of(&[3, 5, 1, 5, -100], 1), [(1, 2.0)]);
        assert_eq!(of(&[-100, -50], 9), []);
        let softmax = Classes { output: 0, softmax: true, top: 10, threshold: 0.0 };
        let all = best(&softmax, &[3, 5, 1, 5, -100], 10);
        let sum: f32 = all.iter().map(|c| c.score).sum();
        assert!((sum - 1.0).abs() < 1e-6);
        let exact = |x: f64| x.exp() / [1.0f64, 2.0, 0.0, 2.0, -50.5].map(f64::exp).iter().sum::<f64>();
        assert!((f64::from(all[0].score) - exact(2.0)).abs() < 1e-7);
        assert_eq!(all.iter().map(|c| c.index).collect::<std::vec::Vec<_>>(), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn equals_a_sort() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for _ in 0..300 {
            let bytes: std::vec::Vec<i8> = (0..1 + next() % 40).map(|_| next().cast_signed() / 16).collect();
            let settings =
                Classes { output: 0, softmax: next() % 2 == 0, top: 1 + u16::from(next() % 8), threshold: -2.0 };
            let got: std::vec::Vec<usize> = best(&settings, &bytes, 100).iter().map(|c| c.index).collect();
            let kept = |&i: &usize| settings.softmax || (f32::from(bytes[i]) - 1.0) * 0.5 >= -2.0;
            let mut order: std::vec::Vec<usize> = (0..bytes.len()).filter(kept).collect();
            order.sort_by_key(|&i| (core::cmp::Reverse(bytes[i]), i));
            order.truncate(usize::from(settings.top));
            assert_eq!(got, order, "{bytes:?} {settings:?}");
        }
    }
}
