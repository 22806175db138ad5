//! Keys of other types, for the public conformance suite of TUF and for nothing else: ECDSA over P-256, RSA-PSS and RSA PKCS #1 v1.5, all
//! with SHA-256, through `ring`.
//!
//! What is shipped knows Ed25519 only: one type of key is one thing less to get wrong, and a device carries no big-number arithmetic. The feature
//! `conformance` is off by default and no crate of ours turns it on but `fleetfoot-tuf-client`.
//!
//! ```text
//! -----BEGIN PUBLIC KEY-----          SubjectPublicKeyInfo (RFC 5280), DER, base64
//! MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD…   SEQUENCE { SEQUENCE { algorithm }, BIT STRING { 0, key } }
//! ```

use alloc::vec::Vec;

use ring::signature::{
    ECDSA_P256_SHA256_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};

/// A public key that is not Ed25519.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForeignKey {
    scheme: Scheme,
    /// The point, uncompressed, or the `RSAPublicKey` of RFC 8017, DER.
    key: Vec<u8>,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Scheme {
    EcdsaP256,
    RsaPss,
    RsaPkcs1,
}

impl ForeignKey {
    /// The key of `scheme`, as TUF names it, in PEM. Nothing if the scheme is not known or the text is no such key.
    #[must_use]
    pub fn parse(scheme: &str, pem: &str) -> Option<Self> {
        let (scheme, algorithm) = match scheme {
            "ecdsa-sha2-nistp256" => (Scheme::EcdsaP256, &EC_P256[..]),
            "rsassa-pss-sha256" => (Scheme::RsaPss, &RSA[..]),
            "rsa-pkcs1v15-sha256" => (Scheme::RsaPkcs1, &RSA[..]),
            _ => return None,
        };
        let body = pem.trim().strip_prefix("-----BEGIN PUBLIC KEY-----")?.strip_suffix("-----END PUBLIC KEY-----")?;
        let der = base64(body)?;
        let (info, rest) = element(&der, SEQUENCE)?;
        let (found, bits) = element(info, SEQUENCE)?;
        let (bits, after) = element(bits, BIT_STRING)?;
        let (unused, key) = bits.split_first()?;
        let whole = rest.is_empty() && after.is_empty() && *unused == 0;
        (whole && found == algorithm).then(|| Self { scheme, key: key.to_vec() })
    }

    /// Whether `signature` is one of this key over `message`.
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.scheme {
            Scheme::EcdsaP256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.key).verify(message, signature),
            Scheme::RsaPss => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &self.key).verify(message, signature),
            Scheme::RsaPkcs1 => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.key).verify(message, signature)
            }
        }
        .is_ok()
    }
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// OBJECT IDENTIFIER id-ecPublicKey, OBJECT IDENTIFIER prime256v1.
const EC_P256: [u8; 19] = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// OBJECT IDENTIFIER rsaEncryption, NULL.
const RSA: [u8; 13] = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0];

/// The contents of the element of type `tag` at the front of `der`, and what comes after it. Lengths of up to two bytes.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?), rest.get(2..)?),
        _ => return None,
    };
    (found == tag && len <= rest.len()).then(|| rest.split_at(len))
}

/// The bytes of base64 text with line breaks; padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut n_bits) = (0u32, 0);
    for digit in text.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'=') {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        n_bits += 6;
        if n_bits >= 8 {
            n_bits -= 8;
            bytes.push((bits >> n_bits) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of P-256, made for this test.
    const PEM: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEhFNZ10Qt+lJGzluI7IDtY11Ll4Tv
bXJo/DerBq/2Eqi/XtrtVlV2RIG5oxK/4Lq+yZdQXeLXvBIfD8yV2D4ELg==
-----END PUBLIC KEY-----
";

    /// Its signature over "sample", deterministic (RFC 6979), made with the Python package `cryptography`.
    const SIGNATURE: &str = "3045022100f767ed2759488365c823cea9ad9ac86d474ccfc3ea06d0757187531975b5\
                             50a80220412b6ed7bd5641a25e3ecd42caf7a652674de1d46d31ecb24cd0511747199e7a";

    #[test]
    fn a_signature_holds_for_one_message_and_one_key() {
        let digit = |at: usize| u8::from_str_radix(&SIGNATURE[at..at + 2], 16).unwrap();
        let signature: Vec<u8> = (0..SIGNATURE.len()).step_by(2).map(digit).collect();
        let key = ForeignKey::parse("ecdsa-sha2-nistp256", PEM).unwrap();
        assert!(key.verify(b"sample", &signature));
        assert!(!key.verify(b"simple", &signature));
        for at in 0..signature.len() {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!key.verify(b"sample", &changed), "byte {at}");
            assert!(!key.verify(b"sample", &signature[..at]), "{at} bytes");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(ForeignKey::parse("ed25519", PEM), None);
        assert_eq!(ForeignKey::parse("rsassa-pss-sha256", PEM), None, "a key of another type");
        assert_eq!(ForeignKey::parse("ecdsa-sha2-nistp256", ""), None);
        assert_eq!(ForeignKey::parse("ecdsa-sha2-nistp256", &PEM[..80]), None);
        for at in 27..PEM.len() - 26 {
            // No panic wherever a byte is cut out.
            let cut = [&PEM[..at], &PEM[at + 1..]].concat();
            let key = ForeignKey::parse("ecdsa-sha2-nistp256", &cut);
            assert!(key.is_none_or(|key| !key.verify(b"sample", &[0; 70])));
        }
        assert_eq!(element(&[SEQUENCE, 0x82, 1], SEQUENCE), None);
        assert_eq!(element(&[SEQUENCE, 0x81, 1, 7, 8], SEQUENCE), Some((&[7][..], &[8][..])));
    }
}
