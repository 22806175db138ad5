//! What happens to the machine and what it asks for.

use fleetfoot_format::record::{Enrolment, Reason, Version};

use crate::envelope::Why;

/// Something that happened. `now` is in seconds; any clock does that goes forward, the one of the device or its uptime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Go on with what the record says: after a start, after a deferral, and as a tick of a running trial.
    Resume {
        /// The time.
        now: i64,
    },
    /// The version that came with the application or the firmware.
    Factory(Option<Version>),
    /// The repository offers a version whose announcement was verified.
    Offer {
        /// Which.
        version: Version,
        /// The time.
        now: i64,
    },
    /// The repository does not offer the candidate any more.
    Withdraw,
    /// Bytes up to `offset` are durable: a bookmark for storage that does not know its own length.
    Written {
        /// How many.
        offset: u64,
    },
    /// The bundle is complete and durable; its length, hash and signatures hold.
    Fetched,
    /// The candidate gives the golden outputs within its budgets on this device.
    Validated,
    /// The candidate failed for good.
    Refuse(Reason),
    /// The candidate cannot go on now, for a reason that may pass.
    Defer {
        /// Why.
        reason: Reason,
        /// When to go on. More than a day ahead counts as a day, so that a clock that was wrong once does no lasting harm.
        retry_at: i64,
        /// The time.
        now: i64,
    },
    /// Inferences of the version that serves, since the last such event.
    Inferences {
        /// How many went well.
        good: u32,
        /// How many failed.
        bad: u32,
        /// The time.
        now: i64,
    },
    /// Inferences of the candidate in the shadow that were compared, since the last such event.
    Shadow {
        /// How many.
        runs: u32,
        /// How many of them agreed.
        agree: u32,
        /// The time.
        now: i64,
    },
    /// A local gate closed for this version: the candidate, in the shadow or on trial, or the active version while it is watched.
    Condemn {
        /// SHA-256 of its bundle. Anything else means nothing: the verdict came late.
        sha256: [u8; 32],
        /// Which gate.
        reason: Reason,
    },
    /// The application vouches for the version that serves.
    ConfirmHealthy,
    /// The process is about to end, or to sleep, in order.
    Suspend {
        /// The time.
        now: i64,
    },
    /// Go back, or forth, to a kept version.
    Rollback {
        /// SHA-256 of its bundle; `None` is the factory version.
        to: Option<[u8; 32]>,
        /// A rollout asks for it: then not below the floor of security epochs. A person at the device may.
        remote: bool,
    },
    /// A stored bundle is damaged or missing.
    Broken {
        /// Its SHA-256.
        sha256: [u8; 32],
    },
    /// Code of the candidate that ran will not come back: the process around it was killed, or it hangs and was left alone. Its attempt
    /// stays spent. With none left it is rejected for this reason; else a validation is put off, and a trial starts again with the next
    /// [`Event::Resume`].
    Lost {
        /// What happened.
        reason: Reason,
        /// When to validate again; more than a day ahead counts as a day.
        retry_at: i64,
        /// The time.
        now: i64,
    },
    /// A version that was good does not answer rightly any more on this device, say after an update of its system. It is rejected under
    /// its attempt and forgotten.
    Unfit {
        /// SHA-256 of its bundle.
        sha256: [u8; 32],
        /// What is wrong.
        reason: Reason,
    },
    /// As [`Event::Resume`]; what a deferral waits for has come, so it does not wait for its time.
    Retry {
        /// The time.
        now: i64,
    },
    /// The side of a rollout on which the device is. What is not to last is not remembered.
    Enrol(Enrolment),
    /// The top-level targets delegate to a rollout role of this model.
    RolloutRole {
        /// Their version.
        targets: u64,
    },
    /// What [`Action::Persist`] asked for is durable.
    Persisted,
}

/// What the driver does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    None,
    /// Make [`Machine::record`](crate::Machine::record) durable, then say [`Event::Persisted`].
    Persist,
    /// Fetch the bundle from `offset` on.
    Fetch {
        /// Which.
        version: Version,
        /// Where to begin; storage that knows better begins there.
        offset: u64,
    },
    /// Run the golden cases and measure, then say [`Event::Validated`], [`Event::Refuse`] or [`Event::Defer`].
    Validate {
        /// Which.
        version: Version,
    },
    /// The candidate may start its shadow or its trial: say [`Event::Resume`] when the moment is good.
    Validated {
        /// Which.
        version: Version,
    },
    /// Run this version beside the one that serves, which goes on serving; say [`Event::Shadow`] now and then.
    StartShadow {
        /// Which.
        version: Version,
    },
    /// Serve this version from now on; the active one is the fallback.
    StartTrial {
        /// Which.
        version: Version,
    },
    /// The trial ended well; the version is active.
    Committed {
        /// Which.
        version: Version,
    },
    /// The candidate, or the active version while it was watched, is out; [`Machine::serving`](crate::Machine::serving) serves.
    Rejected {
        /// Which.
        version: Version,
        /// Why.
        reason: Reason,
    },
    /// The candidate waits.
    Deferred {
        /// Which.
        version: Version,
        /// Why.
        reason: Reason,
        /// When to say [`Event::Resume`].
        retry_at: i64,
    },
    /// The candidate was dropped.
    Withdrawn {
        /// Which.
        version: Version,
    },
    /// Another version is active, because it was asked for.
    RolledBack {
        /// What served.
        from: Option<Version>,
        /// What serves.
        to: Version,
    },
    /// A bundle that is damaged or unfit was forgotten.
    FellBack {
        /// What serves.
        to: Option<Version>,
    },
    /// The offer is not taken.
    NotTaken(NotTaken),
}

/// Why an offer is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTaken {
    /// It was rejected under this attempt.
    Rejected(Reason),
    /// Its release number is not above that of the active version.
    NotNewer {
        /// Number of the active version.
        active: u64,
    },
    /// A rollback came from this version or a later one.
    Held {
        /// Highest release number that was rolled back.
        number: u64,
    },
    /// Its security epoch is too low.
    BelowEpochFloor {
        /// The floor.
        floor: u32,
    },
    /// Code of a candidate runs now, in validation or on trial; what is offered waits for its end.
    Busy,
    /// The rollout or the envelope of the release says no. The machine itself never says this.
    Rollout(Why),
}
