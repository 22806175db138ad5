//! The arena of a session: its own memory, or memory that its user lends, so that inputs and outputs lie where the user wants them.

use std::fmt;

use fleetfoot_plan::Aligned;

/// Memory that is lent to a session for as long as it lives. It begins at a multiple of 64, and always gives the same bytes.
pub trait Memory: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + fmt::Debug {}

impl<T: AsRef<[u8]> + AsMut<[u8]> + Send + Sync + fmt::Debug> Memory for T {}

#[derive(Debug)]
pub(crate) enum Arena {
    Own(Aligned),
    Lent(Box<dyn Memory>),
}

impl AsRef<[u8]> for Arena {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes.as_ref(),
            Self::Lent(bytes) => (**bytes).as_ref(),
        }
    }
}

impl AsMut<[u8]> for Arena {
    fn as_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Own(bytes) => bytes.as_mut(),
            Self::Lent(bytes) => (**bytes).as_mut(),
        }
    }
}
