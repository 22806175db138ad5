//! Lower-case hexadecimal. Upper case is refused, so that a value has one spelling.

use alloc::string::String;

/// The digits of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digit = |n: u8| char::from_digit(u32::from(n), 16).expect("four bits");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The `N` bytes that `text` spells, if it has exactly 2N digits `0-9a-f`.
#[must_use]
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

/// The bytes that `text` spells, if it has an even number of digits `0-9a-f`.
#[cfg(feature = "conformance")]
pub(crate) fn decode_any(text: &str) -> Option<alloc::vec::Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| decode::<1>(str::from_utf8(pair).ok()?).map(|[byte]| byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling() {
        assert_eq!(encode(&[0, 0x9a, 0xff]), "009aff");
        assert_eq!(decode("009aff"), Some([0, 0x9a, 0xff]));
        for bad in ["009AFF", "009af", "009aff0", "009afg", "+09aff", "00 aff", "é9aff"] {
            assert_eq!(decode::<3>(bad), None, "{bad}");
        }
    }
}
