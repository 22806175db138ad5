//! The proof, as a type, that bytes were verified.

use core::ops::Deref;

/// A value whose signatures and hashes hold. Only this crate makes one.
///
/// ```compile_fail
/// let forged = fleetfoot_trust::Verified(7);
/// ```
#[derive(Clone, Debug)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value without the proof.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
