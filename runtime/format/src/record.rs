//! The state record: what one device knows about one model.
//!
//! It is the only thing that decides which version serves after a power cut, so it is small, checked and replaced as a whole.
//!
//! ```text
//! 0      4   magic "FFSR"
//! 4      1   record version, 1
//! 5      1   zero
//! 6      2   length n of the body
//! 8      n   body, postcard (see [`Record`])
//! 8+n    4   CRC-32 (IEEE) of bytes 0 .. 8+n
//! ```
//! Magic, version, length and CRC stand where they are in every version to come. So a record of a newer runtime
//! ([`FormatError::UnknownVersion`], intact) is told from a damaged one ([`FormatError::BadChecksum`]): the first must not be overwritten,
//! the second may be. Bytes after the CRC are ignored, because a file slot or a flash page is longer than what it holds.
//!
//! On files two slots alternate and the intact one with the higher `seq` wins; on NOR flash the record is one stored item.
//! A torn write leaves one slot damaged and the other as it was:
//!
//! | slot A | slot B | loaded |
//! |---|---|---|
//! | intact, seq n | intact, seq n+1 | B |
//! | intact, seq n | damaged or empty | A |
//! | damaged or empty | damaged or empty | none: the factory version serves |
//! | intact, newer version | anything | none, and nothing may be written: the factory version serves |
//!
//! | `candidate` | `phase` | what serves | what a start after a power cut does |
//! |---|---|---|---|
//! | none | | active, else factory | nothing |
//! | some | `Writing` | active, else factory | goes on with the download at `offset` |
//! | some | `Ready` | active, else factory | takes an attempt, validates again |
//! | some | `Validated` | active, else factory | takes an attempt, starts the shadow where one is asked for, else the trial |
//! | some | `Shadow` | active, else factory | takes an attempt, goes on with the shadow: counts are those that were durable |
//! | some | `Trial` | candidate, after an attempt was taken | takes an attempt, goes on with the trial |
//! | some | `Deferred` | active, else factory | waits for `retry_at`, goes on from `Writing` or `Ready` |

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::error::FormatError;

/// The first four bytes.
pub const RECORD_MAGIC: [u8; 4] = *b"FFSR";
/// The record version that this crate reads and writes.
pub const RECORD_VERSION: u8 = 1;
/// Length that every encoded record fits in; also the length of a slot on files.
pub const MAX_RECORD_LEN: usize = 2048;
/// Versions that are kept besides the factory version.
pub const MAX_KEPT: usize = 5;
/// Rejections that are remembered. Guards against a device that fetches a bad release for ever.
pub const MAX_REJECTED: usize = 32;

/// Rollouts of which the first assignment is remembered.
pub const MAX_ENROLLED: usize = 4;

/// One installed or offered version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// SHA-256 of the whole bundle: its name in every store.
    pub sha256: [u8; 32],
    /// Release number.
    pub number: u64,
    /// Length of the bundle in bytes.
    pub len: u64,
    /// The attempt under which it was offered: the release managers count it up to have a rejected bundle tried again.
    pub attempt: u32,
    /// Security epoch: raised when older releases must not come back.
    pub epoch: u32,
}

/// Why a candidate was rejected or deferred: a stable number, see `docs/errors.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason(pub u16);

impl Reason {
    /// An output differs from the golden digest.
    pub const GOLDEN_MISMATCH: Self = Self(401);
    /// The measured latency is not below the budget.
    pub const OVER_LATENCY: Self = Self(402);
    /// The arena is larger than the budget.
    pub const OVER_MEMORY: Self = Self(403);
    /// The bundle asks for a newer runtime.
    pub const RUNTIME_TOO_OLD: Self = Self(404);
    /// The process died as often as attempts were allowed.
    pub const CRASH_LOOP: Self = Self(405);
    /// An inference failed in the trial.
    pub const BAD_INFERENCE: Self = Self(406);
    /// The application's own check failed.
    pub const SELF_CHECK: Self = Self(407);
    /// The bundle's own signatures or hashes do not hold.
    pub const SIGNATURE: Self = Self(408);
    /// The bundle's header disagrees with what was announced.
    pub const METADATA: Self = Self(409);
    /// The plan of the bundle is not sound or not supported.
    pub const NOT_SOUND: Self = Self(410);
    /// A person or a rollout went back to an older version.
    pub const ROLLED_BACK: Self = Self(411);
    /// The server cannot be reached or broke off.
    pub const UNREACHABLE: Self = Self(412);
    /// No space is left for the bundle.
    pub const DISK_FULL: Self = Self(413);
    /// The device is too hot or asked for rest.
    pub const THROTTLED: Self = Self(414);
    /// The battery is low.
    pub const LOW_BATTERY: Self = Self(415);
    /// There is no memory for a second model just now.
    pub const NO_MEMORY: Self = Self(416);
    /// The bytes that arrived are not those that were announced.
    pub const WRONG_BYTES: Self = Self(417);
    /// It did not come to an end in time.
    pub const HUNG: Self = Self(435);
    /// The process that tried it was killed or died.
    pub const DIED: Self = Self(436);
    /// More inferences fail than a local gate allows.
    pub const ERROR_RATE: Self = Self(460);
    /// It is slower than the version before, on the same inputs at the same time, or than its budget.
    pub const SLOWER: Self = Self(461);
    /// Outputs leave the range that the application gave.
    pub const OUT_OF_RANGE: Self = Self(462);
    /// One output for many inputs, which the version before tells apart.
    pub const CONSTANT: Self = Self(463);
    /// An output is not a number, or infinite.
    pub const NOT_A_NUMBER: Self = Self(464);
    /// In the shadow it agreed too seldom with the version that serves.
    pub const DISAGREES: Self = Self(465);
    /// In the shadow it failed or panicked.
    pub const SHADOW_FAILED: Self = Self(466);
    /// In the shadow one inference took longer than its deadline.
    pub const SHADOW_HUNG: Self = Self(467);
    /// The network costs by the byte.
    pub const METERED: Self = Self(480);
    /// The device is not being charged.
    pub const NOT_CHARGING: Self = Self(481);
    /// It is not the time of day for it.
    pub const OUTSIDE_WINDOW: Self = Self(482);
    /// The bundle is longer than this device may fetch.
    pub const TOO_LARGE: Self = Self(483);
    /// Devices take turns, and it is not yet that of this one.
    pub const NOT_ITS_TURN: Self = Self(484);

    /// A few words for people.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::GOLDEN_MISMATCH => "an output differs from its golden digest",
            Self::OVER_LATENCY => "too slow on this device",
            Self::OVER_MEMORY => "needs more memory than its budget",
            Self::RUNTIME_TOO_OLD => "needs a newer runtime",
            Self::CRASH_LOOP => "the process died in every attempt",
            Self::BAD_INFERENCE => "an inference failed in the trial",
            Self::SELF_CHECK => "the self-check of the application failed",
            Self::SIGNATURE => "its own signatures do not hold",
            Self::METADATA => "its header disagrees with the announcement",
            Self::NOT_SOUND => "its plan is not sound or not supported",
            Self::ROLLED_BACK => "rolled back",
            Self::UNREACHABLE => "the server cannot be reached",
            Self::DISK_FULL => "no space left",
            Self::THROTTLED => "the device is throttled",
            Self::LOW_BATTERY => "the battery is low",
            Self::NO_MEMORY => "no memory just now",
            Self::WRONG_BYTES => "the bytes received are not those announced",
            Self::HUNG => "it did not end in time",
            Self::DIED => "the process that tried it died",
            Self::ERROR_RATE => "too many inferences fail",
            Self::SLOWER => "slower than the version before",
            Self::OUT_OF_RANGE => "outputs out of range",
            Self::CONSTANT => "the same output for many inputs",
            Self::NOT_A_NUMBER => "an output is not a number",
            Self::DISAGREES => "agrees too seldom with the version that serves",
            Self::SHADOW_FAILED => "an inference failed in the shadow",
            Self::SHADOW_HUNG => "an inference in the shadow did not end in time",
            Self::METERED => "the network is metered",
            Self::NOT_CHARGING => "the device is not being charged",
            Self::OUTSIDE_WINDOW => "outside of the hours for updates",
            Self::TOO_LARGE => "longer than this device may fetch",
            Self::NOT_ITS_TURN => "it waits for its turn",
            _ => "a reason that this runtime does not know",
        }
    }
}

/// How far a candidate has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Being fetched.
    Writing {
        /// Bytes that are durable at least.
        offset: u64,
    },
    /// Complete: length, hash and signatures hold.
    Ready,
    /// Goldens, latency and memory hold on this device.
    Validated,
    /// It serves, and may still be taken back.
    Trial {
        /// Good inferences so far.
        good: u32,
        /// Seconds of the health window that have passed.
        elapsed_s: u32,
    },
    /// Put off for a reason that may pass.
    Deferred {
        /// Why.
        reason: Reason,
        /// When to go on, seconds, same clock as all events.
        retry_at: i64,
        /// Where to go on: bytes that are durable at least.
        offset: u64,
        /// Whether the bundle is complete, so that it goes on from [`Phase::Ready`].
        ready: bool,
    },
    /// It runs beside the version that serves, on some of its inputs; nobody gets its answers.
    Shadow {
        /// Inferences that were compared so far.
        runs: u32,
        /// Of these, the ones that agreed.
        agree: u32,
        /// Seconds of the bake time that have passed.
        elapsed_s: u32,
    },
}

/// The version that is on its way in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Which.
    pub version: Version,
    /// Executions of its code that may still end in the death of the process.
    pub attempts_left: u8,
    /// How far it has come.
    pub phase: Phase,
}

/// A version that is not tried again under this attempt or a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// SHA-256 of the bundle.
    pub sha256: [u8; 32],
    /// The highest attempt that failed.
    pub attempt: u32,
    /// Why.
    pub reason: Reason,
}

/// Where a rollback came from: offers up to this number are not taken, unless they carry a higher attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Highest release number that was rolled back.
    pub number: u64,
    /// Its attempt.
    pub attempt: u32,
}

/// Which side of a rollout a device, or a user, is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arm {
    /// Gets the candidate.
    Treatment,
    /// Keeps the baseline and is compared with those who do not.
    Control,
    /// Kept out of every rollout until the last step of the last stage.
    HoldOut,
    /// Neither: keeps the baseline and is not counted.
    Outside,
}

/// The side of a rollout on which a device was first. It stays there, however the rollout grows or shrinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// The first 8 bytes of the SHA-256 of the identifier of the rollout.
    pub rollout: [u8; 8],
    /// Which side: treatment or control; the others are not stored.
    pub arm: Arm,
}

/// The state of one model on one device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Counts up with every write.
    pub seq: u64,
    /// SHA-256 of the version that serves; it is in `kept`. `None`: the factory version serves.
    pub active: Option<[u8; 32]>,
    /// SHA-256 of the version that served before; it is in `kept`.
    pub last_good: Option<[u8; 32]>,
    /// The version that came with the application or the firmware. It is never deleted.
    pub factory: Option<Version>,
    /// The version on its way in.
    pub candidate: Option<Candidate>,
    /// Versions that were committed and are still stored, the latest commit first.
    pub kept: Vec<Version, MAX_KEPT>,
    /// The highest security epoch that was ever committed; offers of a lower one are not taken.
    pub epoch_floor: u32,
    /// Set by a rollback.
    pub held: Option<Held>,
    /// What is not tried again, the oldest first.
    pub rejected: Vec<Rejected, MAX_REJECTED>,
    /// Rollouts that this device takes part in, the latest first.
    pub enrolled: Vec<Enrolment, MAX_ENROLLED>,
    /// The highest version of the top-level targets that delegated to a rollout role of this model; 0: none ever did. Older
    /// targets without one are not believed to have none.
    pub rollout_role: u64,
    /// Seconds for which the active version may still be taken back by local gates; counted down since its commit.
    pub watch_left_s: u32,
}

impl Record {
    /// Writes the record to the front of `out`; returns the number of bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] where `out` is too short; [`MAX_RECORD_LEN`] bytes always suffice.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FormatError> {
        let have = out.len() as u64;
        let short = FormatError::Truncated { need: MAX_RECORD_LEN as u64, have };
        let body = out.get_mut(HEAD_LEN..).ok_or(short)?;
        let body_len = postcard::to_slice(self, body).map_err(|_| short)?.len();
        let [len_low, len_high] = u16::try_from(body_len).map_err(|_| short)?.to_le_bytes();
        let [m0, m1, m2, m3] = RECORD_MAGIC;
        let head = [m0, m1, m2, m3, RECORD_VERSION, 0, len_low, len_high];
        out.get_mut(..HEAD_LEN).ok_or(short)?.copy_from_slice(&head);
        let end = HEAD_LEN + body_len;
        let crc = crc32(out.get(..end).ok_or(short)?);
        out.get_mut(end..end + CRC_LEN).ok_or(short)?.copy_from_slice(&crc.to_le_bytes());
        Ok(end + CRC_LEN)
    }

    /// Reads the record at the front of `bytes`.
    ///
    /// # Errors
    /// [`FormatError::UnknownVersion`] for an intact record of another version, which must not be overwritten;
    /// every other error is damage.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let have = bytes.len() as u64;
        let Some(head) = bytes.first_chunk::<HEAD_LEN>() else {
            return Err(FormatError::Truncated { need: HEAD_LEN as u64, have });
        };
        let [m0, m1, m2, m3, version, reserved, len_low, len_high] = *head;
        if [m0, m1, m2, m3] != RECORD_MAGIC {
            return Err(FormatError::Malformed { what: "state record without its magic number" });
        }
        let end = HEAD_LEN + usize::from(u16::from_le_bytes([len_low, len_high]));
        let (Some(checked), Some(crc)) = (bytes.get(..end), bytes.get(end..).and_then(|rest| rest.first_chunk()))
        else {
            return Err(FormatError::Truncated { need: (end + CRC_LEN) as u64, have });
        };
        if crc32(checked) != u32::from_le_bytes(*crc) {
            return Err(FormatError::BadChecksum);
        }
        if version != RECORD_VERSION {
            return Err(FormatError::UnknownVersion { found: version, known: RECORD_VERSION });
        }
        if reserved != 0 {
            return Err(FormatError::ReservedNotZero);
        }
        match postcard::take_from_bytes::<Self>(&checked[HEAD_LEN..]) {
            Ok((record, [])) => record.checked(),
            _ => Err(FormatError::Malformed { what: "state record" }),
        }
    }

    /// The kept version with this hash.
    #[must_use]
    pub fn kept(&self, sha256: &[u8; 32]) -> Option<&Version> {
        self.kept.iter().find(|v| v.sha256 == *sha256)
    }

    /// The version that serves when no trial is on.
    #[must_use]
    pub fn active(&self) -> Option<&Version> {
        self.active.as_ref().and_then(|sha256| self.kept(sha256)).or(self.factory.as_ref())
    }

    /// Why this bundle is not tried again under this attempt.
    #[must_use]
    pub fn rejection(&self, sha256: &[u8; 32], attempt: u32) -> Option<Reason> {
        self.rejected.iter().find(|r| r.sha256 == *sha256 && attempt <= r.attempt).map(|r| r.reason)
    }

    fn checked(self) -> Result<Self, FormatError> {
        let stored = |sha256: &Option<[u8; 32]>| sha256.as_ref().is_none_or(|sha256| self.kept(sha256).is_some());
        if !stored(&self.active) || !stored(&self.last_good) {
            return Err(FormatError::OutOfRange { what: "active or last good version" });
        }
        Ok(self)
    }
}

const HEAD_LEN: usize = 8;
const CRC_LEN: usize = 4;

/// CRC-32 as in zlib, four bits at a time: 64 bytes of table, where the crates that are made for speed bring up to 16 KB.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 4) ^ NIBBLES[(crc & 15) as usize];
    !bytes.iter().fold(!0, |crc, &byte| step(step(crc ^ u32::from(byte))))
}

const NIBBLES: [u32; 16] = {
    let mut table = [0u32; 16];
    let mut i = 0;
    while i < 16 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    fn version(byte: u8) -> Version {
        Version { sha256: [byte; 32], number: u64::from(byte), len: 1000, attempt: 1, epoch: 0 }
    }

    fn widest() -> Record {
        let v = Version { sha256: [255; 32], number: u64::MAX, len: u64::MAX, attempt: u32::MAX, epoch: u32::MAX };
        let reason = Reason(u16::MAX);
        let phase = Phase::Deferred { reason, retry_at: i64::MIN, offset: u64::MAX, ready: true };
        Record {
            seq: u64::MAX,
            active: Some([255; 32]),
            last_good: Some([255; 32]),
            factory: Some(v),
            candidate: Some(Candidate { version: v, attempts_left: 255, phase }),
            kept: core::iter::repeat_n(v, MAX_KEPT).collect(),
            epoch_floor: u32::MAX,
            held: Some(Held { number: u64::MAX, attempt: u32::MAX }),
            rejected: core::iter::repeat_n(Rejected { sha256: [255; 32], attempt: u32::MAX, reason }, MAX_REJECTED)
                .collect(),
            enrolled: core::iter::repeat_n(Enrolment { rollout: [255; 8], arm: Arm::Outside }, MAX_ENROLLED).collect(),
            rollout_role: u64::MAX,
            watch_left_s: u32::MAX,
        }
    }

    #[test]
    fn crc_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn round_trip_within_the_bound() {
        let small = Record { active: Some([3; 32]), kept: [version(3)].into_iter().collect(), ..Record::default() };
        for record in [Record::default(), small, widest()] {
            let mut slot = [0xA5; MAX_RECORD_LEN];
            let len = record.encode(&mut slot).unwrap();
            assert_eq!(Record::decode(&slot[..len]), Ok(record.clone()));
            assert_eq!(Record::decode(&slot), Ok(record.clone()), "what follows in the slot is ignored");
            for short in 0..len {
                assert!(record.encode(&mut slot[..short]).is_err());
            }
        }
    }

    #[test]
    fn damage_is_told_from_a_newer_version() {
        let mut slot = [0; MAX_RECORD_LEN];
        let len = widest().encode(&mut slot).unwrap();
        for cut in 0..len {
            assert!(!matches!(Record::decode(&slot[..cut]), Ok(_) | Err(FormatError::UnknownVersion { .. })), "{cut}");
        }
        for bit in 0..len * 8 {
            let mut bad = slot;
            bad[bit / 8] ^= 1 << (bit % 8);
            let result = Record::decode(&bad);
            assert!(!matches!(result, Ok(_) | Err(FormatError::UnknownVersion { .. })), "bit {bit}: {result:?}");
        }
        let mut newer = [0; 64];
        newer[..11].copy_from_slice(b"FFSR\x02\x00\x03\x00new");
        let crc = crc32(&newer[..11]);
        newer[11..15].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(Record::decode(&newer), Err(FormatError::UnknownVersion { found: 2, known: 1 }));
    }

    #[test]
    fn a_version_that_serves_is_kept() {
        let record = Record { active: Some([9; 32]), ..Record::default() };
        let mut slot = [0; MAX_RECORD_LEN];
        record.encode(&mut slot).unwrap();
        assert_eq!(Record::decode(&slot).unwrap_err().code(), 111);
    }
}
