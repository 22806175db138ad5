//! Public keys, and the one place where a signature is checked.

use ed25519_dalek::{Signature, VerifyingKey};
use fleetfoot_format::limits::MAX_SIGNERS;
use heapless::Vec;

use crate::error::{KeyPrefix, TrustError};

/// Public keys and how many of them must have signed.
///
/// A key that is no point of the curve, or one of small order, is kept but never verifies anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    keys: Vec<[u8; 32], MAX_SIGNERS>,
    threshold: usize,
}

impl Keys {
    /// `threshold` of `keys`: 1 to [`MAX_SIGNERS`] Ed25519 public keys, all different.
    ///
    /// # Errors
    /// [`TrustError::NumberOfKeys`], [`TrustError::DuplicateKey`] or [`TrustError::BadThreshold`].
    pub fn new(keys: &[[u8; 32]], threshold: usize) -> Result<Self, TrustError> {
        let too_many = TrustError::NumberOfKeys { n: keys.len(), limit: MAX_SIGNERS };
        if keys.is_empty() {
            return Err(too_many);
        }
        let keys = Vec::from_slice(keys).map_err(|_| too_many)?;
        if let Some(index) = first_repeated(&keys) {
            return Err(TrustError::DuplicateKey { index, key: KeyPrefix::of(&keys[index]) });
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(TrustError::BadThreshold { threshold, n: keys.len() });
        }
        Ok(Self { keys, threshold })
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn contains(&self, key: &[u8; 32]) -> bool {
        self.keys.contains(key)
    }

    /// How many must have signed.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The keys.
    #[must_use]
    pub fn as_slice(&self) -> &[[u8; 32]] {
        &self.keys
    }
}

/// Whether `signature` is one of `key` over `message`. Strict: keys and commitments of small order, and scalars that are
/// not reduced, are refused, so that two verifiers never disagree.
#[must_use]
pub fn verify_signature(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

/// Position of the first key that was there before.
pub(crate) fn first_repeated(keys: &[[u8; 32]]) -> Option<usize> {
    (1..keys.len()).find(|&i| keys[..i].contains(&keys[i]))
}
