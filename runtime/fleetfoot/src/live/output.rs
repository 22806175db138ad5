//! What can be told of an output without knowing what it means: whether it is a number, in its range, and how it compares.

use fleetfoot_engine::Tensor;
use fleetfoot_format::{graph::IoType, record::Reason};

use crate::session::Session;

/// What is wrong with the outputs of the last run, if anything is.
pub(super) fn fault(session: &Session, ranges: &[Option<(f32, f32)>]) -> Option<Reason> {
    for (index, tensor) in session.model().engine().outputs().iter().enumerate() {
        let range = ranges.get(index).copied().flatten();
        if tensor.dtype != IoType::Float32 && range.is_none() {
            continue;
        }
        let bytes = session.output(index).ok()?;
        if tensor.dtype == IoType::Float32 && floats(bytes).any(|value| !value.is_finite()) {
            return Some(Reason::NOT_A_NUMBER);
        }
        let Some((lowest, highest)) = range else { continue };
        let inside = |value: f64| value >= f64::from(lowest) && value <= f64::from(highest);
        if !reals(tensor, bytes).all(inside) {
            return Some(Reason::OUT_OF_RANGE);
        }
    }
    None
}

/// Whether [`fault`] can find anything.
pub(super) fn can_fail(outputs: &[Tensor], ranges: &[Option<(f32, f32)>]) -> bool {
    outputs.iter().any(|tensor| tensor.dtype == IoType::Float32) || ranges.iter().any(Option::is_some)
}

/// One answer of the serving version and one of the candidate to the same input: their scores for the former's answer, and
/// whether the answers are the same. `range` is that of the first output, for types that have none of their own.
///
/// The answer is the index of the highest value; of a single real value it is the value, to 1/32 of its range, and of whole numbers
/// (indices of classes) all of them.
pub(super) fn compare(
    (tensor, bytes): (&Tensor, &[u8]),
    (other, theirs): (&Tensor, &[u8]),
    range: Option<(f32, f32)>,
) -> (i16, i16, bool) {
    let scale = scale(tensor, range);
    let (x, y): (Vec<f64>, Vec<f64>) = (reals(tensor, bytes).collect(), reals(other, theirs).collect());
    let top = top(&x);
    let score = |values: &[f64]| values.get(top).map_or(i16::MIN, |value| to_i16(*value, scale));
    let (score_x, score_y) = (score(&x), score(&y));
    let same_shape = x.len() == y.len();
    let whole = matches!(tensor.dtype, IoType::Int32 | IoType::Int64);
    let agree = match x.len() {
        _ if whole => x == y,
        0 | 1 => (i32::from(score_x) - i32::from(score_y)).abs() <= SAME,
        _ => top == self::top(&y),
    };
    (score_x, score_y, same_shape && agree)
}

/// 1/32 of the range of `i16`.
const SAME: i32 = 2048;
/// The range of float outputs of which the application gave none.
const FLOATS: (f32, f32) = (-16.0, 16.0);

fn top(values: &[f64]) -> usize {
    let best = values.iter().enumerate().rev().max_by(|a, b| a.1.total_cmp(b.1));
    best.map_or(0, |(index, _)| index)
}

fn scale(tensor: &Tensor, range: Option<(f32, f32)>) -> (f64, f64) {
    let (lowest, highest) = match (range, tensor.dtype.quantized()) {
        (Some(range), _) => (f64::from(range.0), f64::from(range.1)),
        (None, Some(dtype)) => {
            let real = |q: i32| f64::from(q - tensor.zero_point) * f64::from(tensor.scale);
            (real(dtype.range().0), real(dtype.range().1))
        }
        (None, None) if tensor.dtype == IoType::Float32 => (f64::from(FLOATS.0), f64::from(FLOATS.1)),
        (None, None) => (-32_768.0, 32_767.0),
    };
    (lowest, (highest - lowest).abs().max(f64::MIN_POSITIVE))
}

fn to_i16(value: f64, (lowest, span): (f64, f64)) -> i16 {
    // Conversions saturate, and what is not a number becomes 0.
    (((value - lowest) / span) * 65_535.0 - 32_768.0).round() as i16
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))
}

fn reals(tensor: &Tensor, bytes: &[u8]) -> impl Iterator<Item = f64> {
    let (zero_point, scale) = (tensor.zero_point, f64::from(tensor.scale));
    let dtype = tensor.dtype;
    bytes.chunks_exact(dtype.size()).map(move |b| match (dtype, b) {
        (IoType::Int8, [b]) => f64::from(i32::from(b.cast_signed()) - zero_point) * scale,
        (IoType::UInt8, [b]) => f64::from(i32::from(*b) - zero_point) * scale,
        (IoType::Float32, [a, b, c, d]) => f64::from(f32::from_le_bytes([*a, *b, *c, *d])),
        (IoType::Int32, [a, b, c, d]) => f64::from(i32::from_le_bytes([*a, *b, *c, *d])),
        _ => b.first_chunk().map_or(0.0, |b| i64::from_le_bytes(*b) as f64),
    })
}

/// A hash of bytes for telling them apart: not one that an adversary cannot fool. About 8 bytes a nanosecond.
pub(super) fn fingerprint(seed: u64, bytes: &[u8]) -> u64 {
    let mix = |a: u64, b: u64| {
        let product = u128::from(a ^ 0x9E37_79B9_7F4A_7C15) * u128::from(b ^ 0xD1B5_4A32_D192_ED03);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let hash = words.iter().fold(seed ^ bytes.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    mix(mix(hash, u64::from_le_bytes(last)), bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use fleetfoot_format::graph::Span;

    use super::*;

    fn tensor(dtype: IoType, scale: f32, zero_point: i32) -> Tensor {
        let dims = [1, 4].into_iter().collect();
        Tensor { dtype, dims, scale, zero_point, span: Span { offset: 0, len: 4 * dtype.size() as u32 } }
    }

    fn bytes(values: &[i8]) -> Vec<u8> {
        values.iter().map(|v| v.cast_unsigned()).collect()
    }

    #[test]
    fn answers_are_compared_by_what_they_mean() {
        let (fine, coarse) = (tensor(IoType::Int8, 1.0 / 256.0, -128), tensor(IoType::Int8, 1.0 / 128.0, -128));
        let check = |a: (&Tensor, &[i8]), b: (&Tensor, &[i8]), expected: (i16, i16, bool)| {
            assert_eq!(compare((a.0, &bytes(a.1)), (b.0, &bytes(b.1)), None), expected, "{:?} {:?}", a.1, b.1);
        };
        // 255/256 of the range is its end; in the coarse type the same reals are half as far from the zero point.
        check((&fine, &[-128, 127, 0, 0]), (&fine, &[-128, 127, 0, 0]), (32_767, 32_767, true));
        check((&fine, &[-128, 0, 0, 0]), (&coarse, &[-128, -64, -64, -64]), (128, 128, true));
        check((&fine, &[-128, 127, 0, 0]), (&fine, &[127, -128, 0, 0]), (32_767, -32_768, false));
        check((&fine, &[0, 0, 0, 0]), (&fine, &[0, 0, 0, 0]), (128, 128, true));
        check((&fine, &[0, 1, 0, 0]), (&fine, &[0, 1, 0]), (385, 385, false));
        check((&fine, &[100]), (&fine, &[92]), (25_828, 23_772, false));
        check((&fine, &[100]), (&fine, &[93]), (25_828, 24_029, true));
        let index = tensor(IoType::Int32, 1.0, 0);
        let answer = |n: i32| n.to_le_bytes().to_vec();
        assert!(compare((&index, &answer(3)), (&index, &answer(3)), None).2);
        assert!(!compare((&index, &answer(3)), (&index, &answer(4)), None).2);
        let float = tensor(IoType::Float32, 1.0, 0);
        let of = |values: [f32; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let nan = compare((&float, &of([0.0, 1.0])), (&float, &of([f32::NEG_INFINITY, f32::NEG_INFINITY])), None);
        assert_eq!((nan.1, nan.2), (i16::MIN, false));
        assert_eq!(compare((&float, &of([0.0, 0.5])), (&float, &of([0.2, 0.9])), Some((0.0, 1.0))), (-1, 26_213, true));
    }

    #[test]
    fn fingerprints_differ() {
        let mut seen = std::collections::HashSet::new();
        for len in 0..100 {
            for flip in 0..=len {
                let mut bytes = vec![0u8; len];
                if let Some(byte) = bytes.get_mut(flip) {
                    *byte = 1;
                }
                assert!(seen.insert(fingerprint(0, &bytes)), "{len} {flip}");
            }
        }
        assert_ne!(fingerprint(0, b"abc"), fingerprint(1, b"abc"));
    }
}
