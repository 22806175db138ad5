//! From bytes to a verified bundle: signatures, then structure, then the hash of every section.

use fleetfoot_format::{
    FormatError,
    bundle::{Bundle, Preamble, SIGNATURE_LEN},
    limits::MAX_SIGNERS,
};
use heapless::Vec;

use crate::{
    BUNDLE_DOMAIN,
    error::{KeyPrefix, TrustError},
    hash::sha256,
    keys::{Keys, first_repeated, verify_signature},
    verified::Verified,
};

/// Verifies a bundle with `keys`.
///
/// Every declared signer that is among `keys` and has signed must have signed well, and enough of them must have.
/// Signers that are not among `keys` count for nothing. What costs time is bounded before: at most
/// [`MAX_SIGNERS`] signatures over at most 16 KiB, then one pass over the file.
///
/// # Errors
/// A [`TrustError`] that names the signer or the section at fault.
pub fn verify_bundle<'a>(bytes: &'a [u8], keys: &Keys) -> Result<Verified<Bundle<'a>>, TrustError> {
    verify_with(bytes, keys, Bundle::parse)
}

/// What became of the signature of one declared signer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignerStatus {
    /// The signer's public key.
    pub key: [u8; 32],
    /// What was found.
    pub state: SignatureState,
}

/// See [`SignerStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureState {
    /// The signature holds.
    Good,
    /// There is one and it does not hold.
    Bad,
    /// The signer has not signed yet.
    Missing,
    /// The signature holds, but the signer is not among the keys: it does not count.
    Unknown,
}

impl SignatureState {
    /// Whether the signature counts.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Good)
    }

    /// The name for people and programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }
}

/// The state of every declared signature, in the order of the signers. This accepts nothing: it tells a person why
/// [`verify_bundle`] does or does not.
///
/// # Errors
/// [`TrustError::Format`] where there is no preamble to read, [`TrustError::DuplicateSigner`].
pub fn signatures(bytes: &[u8], keys: &Keys) -> Result<Vec<SignerStatus, MAX_SIGNERS>, TrustError> {
    let preamble = Preamble::read(bytes)?;
    let signers: Vec<[u8; 32], MAX_SIGNERS> =
        (0..preamble.n_signers).map(|i| *preamble.signature(bytes, i).0).collect();
    if let Some(index) = first_repeated(&signers) {
        return Err(TrustError::DuplicateSigner { index, key: KeyPrefix::of(&signers[index]) });
    }
    let message = message(preamble.signed(bytes));
    let state = |i| {
        let (key, signature) = preamble.signature(bytes, i);
        if *signature == NOT_SIGNED {
            SignatureState::Missing
        } else if !verify_signature(key, &message, signature) {
            SignatureState::Bad
        } else if keys.contains(key) {
            SignatureState::Good
        } else {
            SignatureState::Unknown
        }
    };
    Ok(signers.iter().enumerate().map(|(i, &key)| SignerStatus { key, state: state(i) }).collect())
}

/// The steps of [`verify_bundle`]. The parser is an argument so that a test can see when it is called.
fn verify_with<'a>(
    bytes: &'a [u8],
    keys: &Keys,
    parse: impl FnOnce(&'a [u8]) -> Result<Bundle<'a>, FormatError>,
) -> Result<Verified<Bundle<'a>>, TrustError> {
    let mut have = 0;
    for (index, SignerStatus { key, state }) in signatures(bytes, keys)?.iter().enumerate() {
        match state {
            SignatureState::Good => have += 1,
            SignatureState::Bad => return Err(TrustError::BadSignature { index, key: KeyPrefix::of(key) }),
            SignatureState::Missing | SignatureState::Unknown => {}
        }
    }
    if have < keys.threshold() {
        return Err(TrustError::TooFewSignatures { need: keys.threshold(), have });
    }
    let bundle = parse(bytes)?;
    check_sections(&bundle)?;
    Ok(Verified::new(bundle))
}

/// Whether every section has the hash that the header states.
pub(crate) fn check_sections(bundle: &Bundle<'_>) -> Result<(), TrustError> {
    for (index, section) in bundle.header().sections.iter().enumerate() {
        if sha256(bundle.section_bytes(section)) != section.sha256 {
            return Err(TrustError::SectionHash { index, kind: section.kind.name() });
        }
    }
    Ok(())
}

/// What the signers of a bundle sign, whose preamble, signers and header are `signed`.
pub(crate) fn message(signed: &[u8]) -> [u8; BUNDLE_DOMAIN.len() + 32] {
    let mut message = [0; BUNDLE_DOMAIN.len() + 32];
    let (domain, hash) = message.split_at_mut(BUNDLE_DOMAIN.len());
    domain.copy_from_slice(&BUNDLE_DOMAIN);
    hash.copy_from_slice(&sha256(signed));
    message
}

/// The signature of a signer who has not signed yet.
const NOT_SIGNED: [u8; SIGNATURE_LEN] = [0; SIGNATURE_LEN];

#[cfg(test)]
#[cfg(feature = "sign")]
mod tests;
