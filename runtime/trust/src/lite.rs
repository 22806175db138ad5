//! What a device without clock, JSON or TLS believes: a chain of roots, a header and a directive. Layouts: `fleetfoot_format::lite`.
//!
//! ```text
//! compiled-in link ─▶ trust.bin: link ─▶ link ─▶ …      each signed by the keys of the one before and its own; counters begin anew
//!                                          │
//!                      header.bin (2 of 3) ┴ directive.bin (1)  ─▶ Decision: what to do, and the State to store before doing it
//! ```
//! Everything is decided from these files and the stored [`State`], before a byte of flash is erased. Nothing is decoded before its
//! signatures hold, but for a root, whose own keys are part of what it says: there the keys of the link before sign first.
//!
//! | what somebody hands over | why it is refused |
//! |---|---|
//! | forged, or signed by too few | 204, 205, 222, 223 |
//! | cut, longer, one file for another, with any bit changed | 101 to 105, 111, and the row above |
//! | an old header or directive | 229; from before a rotation 228 |
//! | an old chain, or one with a link left out, swapped or replaced | 224 to 227 |
//! | for another model or other hardware | 220, 221 |
//! | a directive that goes further than two people allowed | 230 to 233 |
//! | an old directive to a device that asked for a fresh one | 234 |
//! | a bundle of an epoch that was left behind | 235 |
//!
//! There is no clock here: a device that is kept from all news keeps what it has. A gateway can pass on a challenge, a *nonce*, and the answer proves that
//! the directive is younger than the question.

mod error;

use fleetfoot_format::limits::MAX_LITE_LINKS;
use fleetfoot_format::lite::{self, Directive, Frame, Header, Kind, Role, Stage, State};

pub use self::error::LiteError;
use crate::{
    error::{KeyPrefix, TrustError},
    hash::sha256,
    keys::verify_signature,
    verified::Verified,
};

/// What this device is.
#[derive(Clone, Copy, Debug)]
pub struct Device<'a> {
    /// Name of the model that it runs.
    pub model: &'a str,
    /// Name of its hardware.
    pub hardware: &'a str,
}

/// A link that is trusted: who signs what from here on.
#[derive(Clone, Copy, Debug)]
pub struct Root<'a> {
    link: lite::Root<'a>,
    digest: [u8; 32],
}

impl<'a> Root<'a> {
    /// The link that is compiled in. It is trusted because of where it lies; its own keys must have signed it all the same.
    ///
    /// # Errors
    /// [`LiteError`] where it is no such link, or is one of another model.
    pub fn first(bytes: &'a [u8], device: &Device<'_>) -> Result<Self, LiteError> {
        let frame = Frame::whole(bytes, Kind::Root)?;
        let link = lite::Root::parse(&frame)?;
        check_model(link.model, device, Kind::Root)?;
        // If it was a later link once, keys of the one before have signed it too; they are strangers now.
        check_signatures(&frame, &[link.root], Strangers::DoNotCount)?;
        Ok(Self { link, digest: sha256(bytes) })
    }

    /// The link that this device has stored itself, which is the one that `state` names: no signature is checked again.
    ///
    /// # Errors
    /// [`LiteError::OtherRoot`] where it is another one.
    pub fn stored(bytes: &'a [u8], state: &State, device: &Device<'_>) -> Result<Self, LiteError> {
        let digest = sha256(bytes);
        if digest != state.root {
            return Err(LiteError::OtherRoot { version: state.trust });
        }
        let link = lite::Root::parse(&Frame::whole(bytes, Kind::Root)?)?;
        check_model(link.model, device, Kind::Root)?;
        Ok(Self { link, digest })
    }

    /// Follows `chain`, the bytes of a `trust.bin`, as far as it goes; an empty one goes nowhere. The chain may begin anywhere up to the link
    /// behind this one. Returns the last link and what to store: the state, and the bytes of the link ([`last_link`]). Counters begin anew
    /// where the trust version is a new one.
    ///
    /// # Errors
    /// [`LiteError`] that names the fault; nothing is to be changed then.
    pub fn follow(&self, chain: &'a [u8], state: &State, device: &Device<'_>) -> Result<(Self, State), LiteError> {
        let mut now = *self;
        let mut before: Option<(u32, [u8; 32])> = None;
        let mut rest = chain;
        for n in 0.. {
            if rest.is_empty() {
                break;
            }
            if n == MAX_LITE_LINKS {
                let limit = MAX_LITE_LINKS as u64;
                let over =
                    fleetfoot_format::FormatError::OverLimit { what: "number of links", value: limit + 1, limit };
                return Err(over.into());
            }
            let (frame, after) = Frame::take(rest, Kind::Root)?;
            let link = lite::Root::parse(&frame)?;
            check_model(link.model, device, Kind::Root)?;
            let digest = sha256(frame.bytes());
            if let Some((version, digest)) = before {
                follows(&link, version, &digest)?;
            }
            if link.version == now.link.version && digest != now.digest {
                return Err(LiteError::OtherRoot { version: link.version });
            }
            if link.version > now.link.version {
                follows(&link, now.link.version, &now.digest)?;
                check_signatures(&frame, &[now.link.root, link.root], Strangers::AreRefused)?;
                now = Self { link, digest };
            }
            before = Some((link.version, digest));
            rest = after;
        }
        let rolled_back = |known, found| Err(LiteError::TrustRolledBack { known, found });
        match before {
            Some((last, _)) if last < now.link.version => return rolled_back(now.link.version, last),
            _ if now.link.version < state.trust => return rolled_back(state.trust, now.link.version),
            _ => {}
        }
        if now.link.version > state.trust {
            let (trust, root) = (now.link.version, now.digest);
            return Ok((now, State { trust, root, epoch_floor: state.epoch_floor, ..State::default() }));
        }
        if now.digest != state.root {
            return Err(LiteError::OtherRoot { version: state.trust });
        }
        Ok((now, *state))
    }

    /// The trust version.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.link.version
    }

    /// SHA-256 of the link.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// What the link says.
    #[must_use]
    pub const fn link(&self) -> &lite::Root<'a> {
        &self.link
    }

    /// What `header` and `directive`, the bytes of the two files, tell this device to do. `nonce` is the challenge that it is waiting for
    /// an answer to, if it has sent one.
    ///
    /// # Errors
    /// [`LiteError`] that names the fault; nothing is to be changed then.
    pub fn decide<'b>(
        &self,
        header: &'b [u8],
        directive: &'b [u8],
        nonce: Option<&[u8; 16]>,
        state: &State,
        device: &Device<'_>,
    ) -> Result<Decision<'b>, LiteError> {
        if (state.trust, state.root) != (self.link.version, self.digest) {
            return Err(LiteError::OtherRoot { version: state.trust });
        }
        let digest = sha256(header);
        let header = self.header(header, state, device)?;
        let directive = self.directive(directive, nonce, state, device)?;
        let limits = header.limits;
        if directive.header != digest {
            return Err(LiteError::OtherHeader);
        }
        let (found, first, last) = (directive.counter, limits.first, limits.last);
        if !(first..=last).contains(&found) {
            return Err(LiteError::CounterOverLimit { first, last, found });
        }
        // Halting and going back are always allowed.
        let Stage(found) = directive.stage;
        if directive.stage > Stage::REVERT && found > limits.max_stage {
            return Err(LiteError::StageOverLimit { limit: limits.max_stage, found });
        }
        let (found, limit) = (directive.basis_points, limits.max_basis_points);
        if found > limit {
            return Err(LiteError::ShareOverLimit { limit, found });
        }
        let state = State { header: header.counter, directive: directive.counter, ..*state };
        Ok(Decision { header: Verified::new(header), directive: Verified::new(directive), state })
    }

    fn header<'b>(&self, bytes: &'b [u8], state: &State, device: &Device<'_>) -> Result<Header<'b>, LiteError> {
        let frame = Frame::whole(bytes, Kind::Header)?;
        check_signatures(&frame, &[self.link.header], Strangers::AreRefused)?;
        let header = Header::parse(&frame)?;
        check_model(header.model, device, Kind::Header)?;
        self.check_trust(header.trust, Kind::Header)?;
        if !header.hardware.is_empty() && !header.hardware.contains(&device.hardware) {
            return Err(LiteError::OtherHardware);
        }
        check_counter(header.counter, state.header, Kind::Header)?;
        if header.epoch < state.epoch_floor {
            return Err(LiteError::EpochBelowFloor { floor: state.epoch_floor, found: header.epoch });
        }
        Ok(header)
    }

    fn directive<'b>(
        &self,
        bytes: &'b [u8],
        nonce: Option<&[u8; 16]>,
        state: &State,
        device: &Device<'_>,
    ) -> Result<Directive<'b>, LiteError> {
        let frame = Frame::whole(bytes, Kind::Directive)?;
        check_signatures(&frame, &[self.link.directive], Strangers::AreRefused)?;
        let directive = Directive::parse(&frame)?;
        check_model(directive.model, device, Kind::Directive)?;
        self.check_trust(directive.trust, Kind::Directive)?;
        check_counter(directive.counter, state.directive, Kind::Directive)?;
        if nonce.is_some() && directive.nonce.as_ref() != nonce {
            return Err(LiteError::WrongNonce);
        }
        Ok(directive)
    }

    fn check_trust(&self, found: u32, kind: Kind) -> Result<(), LiteError> {
        let known = self.link.version;
        if found == known { Ok(()) } else { Err(LiteError::OtherTrust { file: kind.name(), known, found }) }
    }
}

/// A header and a directive that hold together, and within what was stored.
#[derive(Clone, Debug)]
pub struct Decision<'a> {
    header: Verified<Header<'a>>,
    directive: Verified<Directive<'a>>,
    state: State,
}

/// What a device is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Nothing: what serves goes on, and what has begun may end.
    Stay,
    /// Where the bundle of the header serves, the version before is to serve again.
    Revert,
    /// Fetch, validate and try the bundle of the header.
    Install {
        /// At this stage.
        stage: Stage,
    },
}

impl<'a> Decision<'a> {
    /// The header.
    #[must_use]
    pub const fn header(&self) -> &Verified<Header<'a>> {
        &self.header
    }

    /// The directive.
    #[must_use]
    pub const fn directive(&self) -> &Verified<Directive<'a>> {
        &self.directive
    }

    /// What to store durably before anything else.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// What a device in `bucket` is to do: the bucket, 0 to 9999, follows from the salt of the header and the key of the device.
    #[must_use]
    pub fn order(&self, bucket: u16) -> Order {
        match self.directive.stage {
            Stage::REVERT => Order::Revert,
            stage @ Stage(2..=5) if bucket < self.directive.basis_points => Order::Install { stage },
            _ => Order::Stay,
        }
    }
}

/// The bytes of the last link of a chain, which a device stores once [`Root::follow`] has taken the chain. `None`: there is none.
#[must_use]
pub fn last_link(chain: &[u8]) -> Option<&[u8]> {
    let (mut rest, mut last) = (chain, None);
    while let Ok((frame, after)) = Frame::take(rest, Kind::Root) {
        (rest, last) = (after, Some(frame.bytes()));
    }
    last.filter(|_| rest.is_empty())
}

fn follows(link: &lite::Root<'_>, version: u32, digest: &[u8; 32]) -> Result<(), LiteError> {
    if version.checked_add(1) != Some(link.version) {
        return Err(LiteError::MissingLink { need: version.saturating_add(1), found: link.version });
    }
    if link.previous == *digest { Ok(()) } else { Err(LiteError::OtherChain { version: link.version }) }
}

fn check_model(model: &str, device: &Device<'_>, kind: Kind) -> Result<(), LiteError> {
    if model == device.model { Ok(()) } else { Err(LiteError::OtherModel { file: kind.name() }) }
}

fn check_counter(found: u64, known: u64, kind: Kind) -> Result<(), LiteError> {
    if found >= known { Ok(()) } else { Err(LiteError::Stale { file: kind.name(), known, found }) }
}

/// Signatures of keys that none of the roles has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    AreRefused,
    DoNotCount,
}

/// Whether enough keys of each of `roles` have signed. Every signature must hold.
fn check_signatures(frame: &Frame<'_>, roles: &[Role<'_>], strangers: Strangers) -> Result<(), LiteError> {
    let message = message(frame.kind(), frame.signed());
    let mut before: Option<&[u8; 32]> = None;
    for (index, (key, signature)) in frame.signatures().enumerate() {
        if before.is_some_and(|before| before >= key) {
            return Err(LiteError::SignerOrder { index });
        }
        if strangers == Strangers::AreRefused && !roles.iter().any(|role| role.contains(key)) {
            return Err(LiteError::UnknownSigner { index });
        }
        if !verify_signature(key, message.as_bytes(), signature) {
            return Err(TrustError::BadSignature { index, key: KeyPrefix::of(key) }.into());
        }
        before = Some(key);
    }
    for role in roles {
        let have = frame.signatures().filter(|(key, _)| role.contains(key)).count();
        let need = usize::from(role.threshold);
        if have < need {
            return Err(TrustError::TooFewSignatures { need, have }.into());
        }
    }
    Ok(())
}

/// What the signers of a frame sign, whose head and body are `signed`.
pub(crate) fn message(kind: Kind, signed: &[u8]) -> Message {
    let domain = kind.domain();
    let mut message = Message { bytes: [0; MAX_DOMAIN_LEN + 32], len: domain.len() + 32 };
    message.bytes[..domain.len()].copy_from_slice(domain);
    message.bytes[domain.len()..message.len].copy_from_slice(&sha256(signed));
    message
}

/// A message that is signed.
pub(crate) struct Message {
    bytes: [u8; MAX_DOMAIN_LEN + 32],
    len: usize,
}

impl Message {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Of the domain of directives.
const MAX_DOMAIN_LEN: usize = 16;

#[cfg(all(test, feature = "sign"))]
mod tests;
