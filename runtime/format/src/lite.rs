//! The files for devices without clock, JSON or TLS: `trust.bin`, `header.bin` and `directive.bin`.
//!
//! They say in a few hundred bytes what the TUF metadata of a model says in many thousand. A file, or a link of a chain, is a *frame*:
//!
//! ```text
//! 0        1    kind: 1 root, 2 header, 3 directive
//! 1        1    frame version, 1
//! 2        2    length n of the body, at most 1024
//! 4        n    body, postcard: see Root, Header, Directive
//! 4+n      1    number of signatures s, at most 16
//! 5+n      96s  signatures: Ed25519 public key, signature; keys ascending
//! ```
//! Signed is `domain ‖ SHA-256(bytes 0 .. 4+n)`, with a domain for each kind. There is no padding and nothing behind the last signature, so no
//! bit of a file is without effect. `header.bin` and `directive.bin` are one frame, `trust.bin` is a chain of frames, the oldest first,
//! each with the SHA-256 of the one before.
//!
//! | file | signed by | says |
//! |---|---|---|
//! | `trust.bin` | root keys of the link before and its own | who signs headers and directives |
//! | `header.bin` | release keys, two of three | which bundle, for which hardware, and how far a directive may go |
//! | `directive.bin` | the online key | which header is in force, at which stage, for which share of the devices |
//!
//! Only structure is judged here. What may be believed, and in which order, is `fleetfoot_trust::lite`.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use crate::{
    bundle::{KEY_LEN, SIGNATURE_LEN, valid_name},
    error::FormatError,
    limits::{
        MAX_BUNDLE_LEN, MAX_LITE_BODY_LEN, MAX_LITE_HARDWARE, MAX_LITE_SIGNATURES, MAX_NAME_LEN, MAX_SALT_LEN,
        MAX_SIGNERS,
    },
};

/// The frame version that this crate reads and writes.
pub const LITE_VERSION: u8 = 1;
/// Bytes before the body.
pub const HEAD_LEN: usize = 4;
/// Bytes of one signature: public key and signature.
pub const SIGNED_BY_LEN: usize = KEY_LEN + SIGNATURE_LEN;
/// No frame is longer. A buffer of this length takes every `header.bin`, `directive.bin` and link of a `trust.bin`.
pub const MAX_FRAME_LEN: usize = HEAD_LEN + MAX_LITE_BODY_LEN + 1 + SIGNED_BY_LEN * MAX_LITE_SIGNATURES;
/// A share of all devices: 100%.
pub const ALL_BASIS_POINTS: u16 = 10_000;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A link of `trust.bin`.
    Root,
    /// `header.bin`.
    Header,
    /// `directive.bin`.
    Directive,
}

impl Kind {
    /// The first byte.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Root => 1,
            Self::Header => 2,
            Self::Directive => 3,
        }
    }

    /// First bytes of what is signed.
    #[must_use]
    pub const fn domain(self) -> &'static [u8] {
        match self {
            Self::Root => b"ff-root-v1\0",
            Self::Header => b"ff-header-v1\0",
            Self::Directive => b"ff-directive-v1\0",
        }
    }

    /// The name of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "trust.bin",
            Self::Header => "header.bin",
            Self::Directive => "directive.bin",
        }
    }
}

/// A frame whose lengths hold. Nothing of its body is decoded yet.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    kind: Kind,
    bytes: &'a [u8],
    body_len: usize,
}

impl<'a> Frame<'a> {
    /// The frame of `kind` at the front of `bytes`, and what follows it.
    ///
    /// # Errors
    /// [`FormatError::Malformed`] for another kind, [`FormatError::UnknownVersion`], [`FormatError::Truncated`], [`FormatError::OverLimit`].
    pub fn take(bytes: &'a [u8], kind: Kind) -> Result<(Self, &'a [u8]), FormatError> {
        let have = bytes.len() as u64;
        let short = |need: usize| FormatError::Truncated { need: need as u64, have };
        let [number, version, low, high] = *bytes.first_chunk::<HEAD_LEN>().ok_or(short(HEAD_LEN))?;
        if number != kind.number() {
            return Err(FormatError::Malformed { what: kind.name() });
        }
        if version != LITE_VERSION {
            return Err(FormatError::UnknownVersion { found: version, known: LITE_VERSION });
        }
        let body_len = usize::from(u16::from_le_bytes([low, high]));
        bound("length of the body", body_len, MAX_LITE_BODY_LEN)?;
        let count_at = HEAD_LEN + body_len;
        let n = usize::from(*bytes.get(count_at).ok_or(short(count_at + 1))?);
        bound("number of signatures", n, MAX_LITE_SIGNATURES)?;
        let end = count_at + 1 + SIGNED_BY_LEN * n;
        let (bytes, rest) = bytes.split_at_checked(end).ok_or(short(end))?;
        Ok((Self { kind, bytes, body_len }, rest))
    }

    /// `bytes` as one frame of `kind` with nothing behind it.
    ///
    /// # Errors
    /// Those of [`take`](Self::take), [`FormatError::WrongLength`].
    pub fn whole(bytes: &'a [u8], kind: Kind) -> Result<Self, FormatError> {
        let (frame, rest) = Self::take(bytes, kind)?;
        if rest.is_empty() {
            return Ok(frame);
        }
        Err(FormatError::WrongLength { expected: frame.bytes.len() as u64, have: bytes.len() as u64 })
    }

    /// What it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole frame.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What the signatures are over.
    #[must_use]
    pub fn signed(&self) -> &'a [u8] {
        &self.bytes[..HEAD_LEN + self.body_len]
    }

    /// Keys and signatures.
    pub fn signatures(&self) -> impl Iterator<Item = (&'a [u8; KEY_LEN], &'a [u8; SIGNATURE_LEN])> + use<'a> {
        let (pairs, _) = self.bytes[HEAD_LEN + self.body_len + 1..].as_chunks::<SIGNED_BY_LEN>();
        pairs
            .iter()
            .filter_map(|pair| pair.split_first_chunk().and_then(|(key, rest)| Some((key, rest.first_chunk()?))))
    }

    fn body<T: Deserialize<'a>>(&self) -> Result<T, FormatError> {
        match postcard::take_from_bytes(&self.bytes[HEAD_LEN..HEAD_LEN + self.body_len]) {
            Ok((body, [])) => Ok(body),
            _ => Err(FormatError::Malformed { what: self.kind.name() }),
        }
    }
}

/// Keys, and how many of them must sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role<'a> {
    /// How many.
    pub threshold: u8,
    /// 1 to 8 Ed25519 public keys, ascending, one after another.
    pub keys: &'a [u8],
}

impl<'a> Role<'a> {
    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &'a [[u8; KEY_LEN]] {
        self.keys.as_chunks().0
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8; KEY_LEN]) -> bool {
        self.keys().contains(key)
    }

    fn check(&self) -> Result<(), FormatError> {
        let (n, ascending) = (self.keys().len(), self.keys().is_sorted_by(|a, b| a < b));
        let reached = (1..=n).contains(&usize::from(self.threshold));
        if self.keys.len().is_multiple_of(KEY_LEN) && n <= MAX_SIGNERS && ascending && reached {
            return Ok(());
        }
        Err(FormatError::OutOfRange { what: "keys of a role" })
    }
}

/// A link of `trust.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root<'a> {
    /// The model.
    pub model: &'a str,
    /// Trust version: 1 for the first, then one higher with every link. Counters of headers and directives count anew under each.
    pub version: u32,
    /// SHA-256 of the whole link before; zeros in the first.
    pub previous: [u8; 32],
    /// Who signs the next link, and this one.
    #[serde(borrow)]
    pub root: Role<'a>,
    /// Who signs headers.
    #[serde(borrow)]
    pub header: Role<'a>,
    /// Who signs directives.
    #[serde(borrow)]
    pub directive: Role<'a>,
}

impl<'a> Root<'a> {
    /// Decodes the body of `frame`.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OutOfRange`].
    pub fn parse(frame: &Frame<'a>) -> Result<Self, FormatError> {
        let root: Self = frame.body()?;
        model(root.model)?;
        in_range("trust version", root.version > 0)?;
        root.root.check()?;
        root.header.check()?;
        root.directive.check()?;
        Ok(root)
    }
}

/// What two people allow the online key to do with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Highest [`Stage`].
    pub max_stage: u8,
    /// Largest share of the devices, of [`ALL_BASIS_POINTS`].
    pub max_basis_points: u16,
    /// Lowest counter of a directive.
    pub first: u64,
    /// Highest counter of a directive. It bounds how far a stolen key can drive the counter.
    pub last: u64,
}

/// `header.bin`: one bundle, and the limits within which it is rolled out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header<'a> {
    /// The model.
    pub model: &'a str,
    /// The trust version whose keys sign.
    pub trust: u32,
    /// Counts up with every header under this trust version.
    pub counter: u64,
    /// SHA-256 of the whole bundle.
    pub sha256: [u8; 32],
    /// Its length in bytes.
    pub len: u64,
    /// Its release number.
    pub number: u64,
    /// Security epoch; a device that has committed a higher one does not take it.
    pub epoch: u32,
    /// Counted up to have devices try a bundle again that they rejected.
    pub attempt: u32,
    /// Names of the hardware that it is for; none: all.
    #[serde(borrow)]
    pub hardware: Vec<&'a str, MAX_LITE_HARDWARE>,
    /// Draws the devices; see `docs/formats.md`.
    pub salt: &'a str,
    /// Limits of directives.
    pub limits: Limits,
}

impl<'a> Header<'a> {
    /// Decodes the body of `frame`.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OutOfRange`], [`FormatError::OverLimit`].
    pub fn parse(frame: &Frame<'a>) -> Result<Self, FormatError> {
        let header: Self = frame.body()?;
        model(header.model)?;
        if header.len > MAX_BUNDLE_LEN {
            return Err(FormatError::OverLimit { what: "bundle length", value: header.len, limit: MAX_BUNDLE_LEN });
        }
        bound("length of the salt", header.salt.len(), MAX_SALT_LEN)?;
        let known =
            |name: &&str| (1..=MAX_NAME_LEN).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic());
        in_range("hardware", header.hardware.iter().all(known))?;
        let Limits { max_basis_points, first, last, .. } = header.limits;
        in_range("limits of directives", max_basis_points <= ALL_BASIS_POINTS && first <= last)?;
        Ok(header)
    }
}

/// How far a rollout is. A number that a device does not know is [`HALT`](Self::HALT) to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stage(pub u8);

impl Stage {
    /// Nobody begins; who has it keeps it.
    pub const HALT: Self = Self(0);
    /// Who has it goes back to the version before.
    pub const REVERT: Self = Self(1);
    /// Runs beside the active version and serves nobody.
    pub const SHADOW: Self = Self(2);
    /// Serves a few.
    pub const CANARY: Self = Self(3);
    /// Serves one arm of a comparison.
    pub const AB: Self = Self(4);
    /// Serves the share that the directive names.
    pub const FULL: Self = Self(5);
}

/// `directive.bin`: what to do with a header now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive<'a> {
    /// The model.
    pub model: &'a str,
    /// The trust version whose key signs.
    pub trust: u32,
    /// Counts up with every directive under this trust version.
    pub counter: u64,
    /// SHA-256 of the whole `header.bin`.
    pub header: [u8; 32],
    /// The stage.
    pub stage: Stage,
    /// The share of the devices, of [`ALL_BASIS_POINTS`].
    pub basis_points: u16,
    /// The challenge that it answers.
    pub nonce: Option<[u8; 16]>,
}

impl<'a> Directive<'a> {
    /// Decodes the body of `frame`.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OutOfRange`].
    pub fn parse(frame: &Frame<'a>) -> Result<Self, FormatError> {
        let directive: Self = frame.body()?;
        model(directive.model)?;
        in_range("share of the devices", directive.basis_points <= ALL_BASIS_POINTS)?;
        Ok(directive)
    }
}

/// What a device has to store for its trust in lite files, durably and before it acts. Zeros on a new device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Trust version.
    pub trust: u32,
    /// SHA-256 of the link with this version.
    pub root: [u8; 32],
    /// Highest counter of a header under this trust version.
    pub header: u64,
    /// Highest counter of a directive under this trust version.
    pub directive: u64,
    /// Highest security epoch that was ever committed. It rises with a commit only, and never falls.
    pub epoch_floor: u32,
}

/// The unsigned front of a frame with this body; `fleetfoot_trust::sign_lite` appends signatures.
///
/// # Errors
/// [`FormatError::OverLimit`].
#[cfg(feature = "alloc")]
pub fn write(kind: Kind, body: &impl Serialize) -> Result<alloc::vec::Vec<u8>, FormatError> {
    let body = postcard::to_allocvec(body).map_err(|_| FormatError::Malformed { what: kind.name() })?;
    bound("length of the body", body.len(), MAX_LITE_BODY_LEN)?;
    let [low, high, ..] = (body.len() as u32).to_le_bytes();
    let mut bytes = alloc::vec![kind.number(), LITE_VERSION, low, high];
    bytes.extend(body);
    Ok(bytes)
}

fn model(name: &str) -> Result<(), FormatError> {
    in_range("model name", valid_name(name))
}

fn in_range(what: &'static str, holds: bool) -> Result<(), FormatError> {
    if holds { Ok(()) } else { Err(FormatError::OutOfRange { what }) }
}

fn bound(what: &'static str, value: usize, limit: usize) -> Result<(), FormatError> {
    if value <= limit {
        return Ok(());
    }
    Err(FormatError::OverLimit { what, value: value as u64, limit: limit as u64 })
}
