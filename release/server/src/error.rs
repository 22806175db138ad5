//! Why the server does not run (740 to 741), and why it does not do what it was asked for (765 to 779).

use std::{io, net::SocketAddr};

use fleetfoot_repository::RepositoryError;
use fleetfoot_rollout::Problem;
use thiserror::Error;

use crate::tokens::Role;

/// Why the server does not run: codes 740 to 759, or those of [`ControlError`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The server stopped.
    #[error("the server stopped: {0}")]
    Stopped(io::Error),
    /// Its database or its repository.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl ServerError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Listen { .. } => 740,
            Self::Stopped(_) => 741,
            Self::Control(inner) => inner.code(),
        }
    }
}

/// Why the server does not do what it was asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The database refused.
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database was written by another version of the server.
    #[error("the database has layout {found}, this server knows {known}")]
    Layout {
        /// Its layout.
        found: i64,
        /// The newest that is known here.
        known: i64,
    },
    /// No token, or none that is known.
    #[error("a token is needed, and none that is known here was given")]
    Unauthorized,
    /// The token is for less than that.
    #[error("{name} is {have}, and this needs {need}")]
    Forbidden {
        /// Whose token.
        name: String,
        /// What it is for.
        have: Role,
        /// What is needed.
        need: Role,
    },
    /// There is no such rollout.
    #[error("there is no rollout {rollout}")]
    UnknownRollout {
        /// Its identifier.
        rollout: String,
    },
    /// Not in this state.
    #[error("rollout {rollout} is {state}: {action} is not possible")]
    NotNow {
        /// Its identifier.
        rollout: String,
        /// Its state.
        state: &'static str,
        /// What was asked for.
        action: &'static str,
    },
    /// The policy has problems.
    #[error("the policy has {} problem(s), the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Policy(Vec<Problem>),
    /// What was planned or approved is something else.
    #[error("the digest is {found}, {given} was given")]
    Digest {
        /// The right one, or where to find it.
        found: String,
        /// What was given.
        given: String,
    },
    /// Many devices at once, and nobody said why.
    #[error("the first exposure is {percent}% of the devices at once; above 5% needs a reason")]
    NeedsReason {
        /// The share.
        percent: f64,
    },
    /// Another rollout of the model is under way, or had the same identifier.
    #[error("rollout {rollout} of {model} is in the way: it is {state}")]
    InTheWay {
        /// The other rollout.
        rollout: String,
        /// The model.
        model: String,
        /// Its state.
        state: &'static str,
    },
    /// The server has no keys to sign with.
    #[error("this server holds no online keys: it collects reports and signs nothing")]
    NoKeys,
    /// No report carries a metric of the policy.
    #[error(
        "no report carries {metric}: the numbers of an application's metrics get their names when the server is started"
    )]
    NotMeasured {
        /// The metric.
        metric: String,
    },
    /// Nobody approves for oneself.
    #[error("{name} has applied the rollout or approved it already; another person is needed")]
    SamePerson {
        /// Whose token.
        name: String,
    },
    /// Not understood.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The body is not what is described.
    #[error("the body: {0}")]
    Body(String),
    /// A row of the audit log is not what was written.
    #[error("the audit log is broken at row {row}: {what}")]
    Audit {
        /// Its number.
        row: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The repository refused.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

impl ControlError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Self::Database(_) => 765,
            Self::Layout { .. } => 766,
            Self::Unauthorized => 767,
            Self::Forbidden { .. } => 768,
            Self::UnknownRollout { .. } => 769,
            Self::NotNow { .. } => 770,
            Self::Policy(_) => 771,
            Self::Digest { .. } => 772,
            Self::NeedsReason { .. } => 773,
            Self::InTheWay { .. } => 774,
            Self::NoKeys => 775,
            Self::NotMeasured { .. } => 776,
            Self::SamePerson { .. } => 777,
            Self::BadRequest(_) | Self::Body(_) => 778,
            Self::Audit { .. } => 779,
            Self::Repository(inner) => inner.code(),
        }
    }
}
