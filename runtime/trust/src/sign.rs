//! Signing, for the machines that make releases.

use core::fmt;

use ed25519_dalek::Signer as _;
use fleetfoot_format::{
    bundle::{Bundle, KEY_LEN, Preamble, SIGNATURE_LEN},
    lite::{Kind, SIGNED_BY_LEN},
};

use crate::{
    bundle::{check_sections, message},
    error::{KeyPrefix, TrustError},
    lite,
};

/// An Ed25519 private key. It is erased from memory when it is dropped, and never printed.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key that belongs to a seed of 32 random bytes. Whoever has the seed has the key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// A new key. `fill` writes random bytes fit for keys, such as those of the operating system.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn generate<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut seed = [0; 32];
        fill(&mut seed)?;
        Ok(Self::from_seed(&seed))
    }

    /// The seed, to be stored.
    #[must_use]
    pub fn seed(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The signature over `message`, which should begin with a domain prefix.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", KeyPrefix::of(&self.public()))
    }
}

/// Puts the signature of `key` into its slot in `bytes`, a whole bundle. Nobody signs what no device would
/// take: the structure and the hash of every section are checked before.
///
/// # Errors
/// [`TrustError::NotASigner`] if the bundle does not declare this key, [`TrustError::Format`] or
/// [`TrustError::SectionHash`].
pub fn sign_bundle(bytes: &mut [u8], key: &SigningKey) -> Result<(), TrustError> {
    let preamble = Preamble::read(bytes)?;
    check_sections(&Bundle::parse(bytes)?)?;
    let public = key.public();
    let index = (0..preamble.n_signers)
        .find(|&i| *preamble.signature(bytes, i).0 == public)
        .ok_or(TrustError::NotASigner { key: KeyPrefix::of(&public) })?;
    let signature = key.sign(&message(preamble.signed(bytes)));
    let at = preamble.signed_len() + SIGNATURE_LEN * index;
    bytes[at..][..SIGNATURE_LEN].copy_from_slice(&signature);
    Ok(())
}

/// What `key` signs for a lite file whose front (`fleetfoot_format::lite::write`) is `front`, as it stands in the file: public key and signature.
/// In the file they come in the order of the keys, after a byte with their number.
#[must_use]
pub fn sign_lite(kind: Kind, front: &[u8], key: &SigningKey) -> [u8; SIGNED_BY_LEN] {
    let mut pair = [0; SIGNED_BY_LEN];
    let (public, signature) = pair.split_at_mut(KEY_LEN);
    public.copy_from_slice(&key.public());
    signature.copy_from_slice(&key.sign(lite::message(kind, front).as_bytes()));
    pair
}
