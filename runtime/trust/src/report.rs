//! The tag of a health report: HMAC-SHA-256 under a key that the fleet shares.
//!
//! It says that somebody who has the key wrote the report, and not which device: a key for each device would be a name for it. Whoever
//! opens one device can forge for all, so a tag keeps strangers out and is no proof; reports can stop a rollout and never promote
//! one alone.

use core::fmt;

use fleetfoot_format::report::{Message, TAG_LEN};
use hmac::{Hmac, KeyInit as _, Mac as _};

use crate::REPORT_DOMAIN;

/// A key that was provisioned for reports.
#[derive(Clone)]
pub struct ReportKey([u8; 32]);

impl ReportKey {
    /// From its 32 random bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The tag of `message`: bytes 0 to the end of the body.
    #[must_use]
    pub fn tag(&self, message: &[u8]) -> [u8; TAG_LEN] {
        self.mac(message).finalize().into_bytes().into()
    }

    /// Whether the message has a tag and it is that of this key. Takes as long whether or not it is.
    #[must_use]
    pub fn verify(&self, message: &Message<'_>) -> bool {
        message.tag.is_some_and(|tag| self.mac(message.tagged).verify_slice(tag).is_ok())
    }

    fn mac(&self, message: &[u8]) -> Hmac<sha2::Sha256> {
        // Keys of any length are possible; this one is no longer than a block, so it is used as it is.
        let mut padded = [0; 64];
        padded[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<sha2::Sha256>::new(&padded.into());
        mac.update(&REPORT_DOMAIN);
        mac.update(message);
        mac
    }
}

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportKey")
    }
}

#[cfg(test)]
mod tests {
    use fleetfoot_format::report::{MAX_REPORT_LEN, Report};

    use super::*;

    fn message(out: &mut [u8; MAX_REPORT_LEN], key: &ReportKey) -> usize {
        let report = Report { day: 20_782, nonce: [7; 16], ..Report::default() };
        let end = report.encode(true, out).unwrap();
        let tag = key.tag(&out[..end]);
        out[end..end + TAG_LEN].copy_from_slice(&tag);
        end + TAG_LEN
    }

    #[test]
    fn a_tag_is_that_of_its_key_and_message() {
        let (key, other) = (ReportKey::new([1; 32]), ReportKey::new([2; 32]));
        let mut out = [0; MAX_REPORT_LEN];
        let len = message(&mut out, &key);
        let verify = |key: &ReportKey, bytes: &[u8]| Message::split(bytes).is_ok_and(|(m, _)| key.verify(&m));
        assert!(verify(&key, &out[..len]));
        assert!(!verify(&other, &out[..len]));
        for bit in 0..len * 8 {
            let mut bad = out;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&key, &bad[..len]), "bit {bit}");
        }
        let mut bare = [0; MAX_REPORT_LEN];
        let len = Report::default().encode(false, &mut bare).unwrap();
        assert!(!verify(&key, &bare[..len]), "a message without a tag has none that holds");
    }

    /// Computed with Python's `hmac.new(bytes(range(32)), b"ff-report-v1\0" + b"FFHR", "sha256")`.
    #[test]
    fn the_tag_is_hmac_sha256() {
        let key = ReportKey::new(core::array::from_fn(|i| i as u8));
        assert_eq!(key.tag(b"FFHR"), EXPECTED);
    }
    const EXPECTED: [u8; 32] = [
        0xa2, 0xe0, 0xd2, 0x50, 0xf3, 0x6b, 0xdb, 0xd0, 0x1f, 0x8a, 0x0e, 0x37, 0x77, 0xb6, 0xc4, 0x64, 0x5e, 0x4f,
        0x37, 0xd4, 0xfc, 0x2e, 0xa4, 0x02, 0x63, 0x97, 0xa2, 0xdc, 0x81, 0x87, 0x0e, 0x26,
    ];
}
