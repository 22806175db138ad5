//! The first root: it comes with the application, is never fetched, and the store remembers it.
//!
//! | remembered | comes with the application | what happens |
//! |---|---|---|
//! | nothing | any | it is remembered |
//! | version n | the same bytes | nothing |
//! | version n | a newer one | the chain is walked from n; if it leads there, the newer one is remembered, else it is refused |
//! | version n | an older one | the chain is walked from the older one; it must lead to n, which stays remembered |
//! | version n | another version n | refused |
//!
//! So an application that was built for another repository does not quietly take over a store, its counters and its floors; and one whose
//! update brings a newer root goes on. Until the two roots have met, nothing that was fetched is stored.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use crate::{
    client::Stored,
    error::TufError,
    limits::MAX_ROOT_LEN,
    metadata::{Metadata, Root},
};

/// The name in [`Stored`] of the root with which the store began. No role has a file of this name.
pub const FIRST_ROOT: &str = "first-root";

/// What is to happen with the first root.
#[derive(Clone, Debug, Default)]
pub(crate) struct FirstRoot {
    /// To be stored at once: there was none.
    pin: Option<Vec<u8>>,
    meet: Option<Meet>,
    /// What would be stored, if the roots had met.
    held: VecDeque<(String, Vec<u8>)>,
}

/// The later one of two first roots, which the chain must pass.
#[derive(Clone, Debug)]
struct Meet {
    version: u64,
    bytes: Vec<u8>,
    /// Whether it is to be remembered then.
    is_embedded: bool,
    pinned: u64,
    embedded: u64,
}

impl FirstRoot {
    /// The root to begin with.
    pub(crate) fn choose(embedded: &[u8], stored: &Stored) -> Result<(Vec<u8>, Self), TufError> {
        let own = Metadata::verify_root(embedded.to_vec(), None)?;
        // A damaged one is none: what is damaged stops no device.
        let whole = |bytes: &&Vec<u8>| bytes.len() as u64 <= MAX_ROOT_LEN;
        let known =
            stored.get(FIRST_ROOT).filter(whole).and_then(|bytes| Metadata::verify_root(bytes.clone(), None).ok());
        let Some(known) = known else {
            return Ok((embedded.to_vec(), Self { pin: Some(embedded.to_vec()), ..Self::default() }));
        };
        if known.bytes == own.bytes {
            return Ok((own.bytes, Self::default()));
        }
        let (pinned, embedded) = (known.version, own.version);
        if pinned == embedded {
            return Err(TufError::OtherFirstRoot { pinned, embedded });
        }
        let is_embedded = embedded > pinned;
        let (earlier, later) = if is_embedded { (known, own) } else { (own, known) };
        let meet = Meet { version: later.version, bytes: later.bytes, is_embedded, pinned, embedded };
        Ok((earlier.bytes, Self { meet: Some(meet), ..Self::default() }))
    }

    /// A refresh begins: what to store first.
    pub(crate) fn begin(&mut self) -> Option<(String, Vec<u8>)> {
        self.held.clear();
        if self.meet.is_some() {
            return None;
        }
        self.pin.take().map(|bytes| (FIRST_ROOT.into(), bytes))
    }

    /// The chain comes to `next`.
    pub(crate) fn pass(&mut self, next: &Metadata<Root>) -> Result<(), TufError> {
        let Some(meet) = self.meet.take_if(|meet| meet.version == next.version) else { return Ok(()) };
        if meet.bytes != next.bytes {
            let refused = meet.refused();
            self.meet = Some(meet);
            return Err(refused);
        }
        self.pin = meet.is_embedded.then_some(meet.bytes);
        Ok(())
    }

    /// Whether the chain is still before the root that is remembered: what it passes there, this device has passed before.
    pub(crate) fn was_here(&self) -> bool {
        self.meet.as_ref().is_some_and(|meet| !meet.is_embedded)
    }

    /// Keeps what is to be stored until the roots have met.
    pub(crate) fn hold(&mut self, file: (String, Vec<u8>)) {
        self.held.push_back(file);
    }

    /// What may be stored now. The root to be remembered is the last of it: a loss of power before it only has the chain walked again.
    pub(crate) fn release(&mut self) -> VecDeque<(String, Vec<u8>)> {
        if self.meet.is_some() {
            return VecDeque::new();
        }
        let pin = self.pin.take().map(|bytes| (FIRST_ROOT.into(), bytes));
        let mut files = core::mem::take(&mut self.held);
        files.extend(pin);
        files
    }

    /// The chain is at its end.
    pub(crate) fn end(&self) -> Result<(), TufError> {
        self.meet.as_ref().map_or(Ok(()), |meet| Err(meet.refused()))
    }
}

impl Meet {
    const fn refused(&self) -> TufError {
        TufError::OtherFirstRoot { pinned: self.pinned, embedded: self.embedded }
    }
}
