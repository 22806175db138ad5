//! What a driver can do wrong: codes 400, 418, 419 and 440. The reasons of rejections and deferrals, 401 to 417, 435 and 436, are
//! [`Reason`](fleetfoot_format::record::Reason).

use thiserror::Error;

/// Why an event was not accepted. The state is unchanged.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError {
    /// The event does not fit the state: there is no candidate, or it is in another phase.
    #[error("{event} does not fit the state of the candidate")]
    Unexpected {
        /// Name of the event.
        event: &'static str,
    },
    /// A record waits to be stored; only [`Event::Persisted`](crate::Event::Persisted) is accepted.
    #[error("the state record was not stored yet")]
    PersistPending,
    /// A rollback to a version that is not kept.
    #[error("the version is not kept on this device")]
    NotKept,
    /// A rollout asked for a version below the floor of security epochs.
    #[error("security epoch {epoch} is below the floor {floor}")]
    BelowEpochFloor {
        /// Epoch of the version.
        epoch: u32,
        /// The floor.
        floor: u32,
    },
}

impl UpdateError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::Unexpected { .. } => 400,
            Self::PersistPending => 418,
            Self::NotKept => 419,
            Self::BelowEpochFloor { .. } => 440,
        }
    }
}
