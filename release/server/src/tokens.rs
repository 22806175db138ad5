//! Who may do what: tokens with roles. Only their hashes are stored; a token is shown once, when it is made.

use std::fmt;

use fleetfoot_trust::sha256;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a token is for. Each may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Applies, promotes, holds, resumes, aborts, rolls back.
    Operator,
    /// Approves what another person has applied.
    Approver,
}

impl Role {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
        }
    }

    /// The role of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Approver].into_iter().find(|role| role.name() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose token it is, and what it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Name.
    pub name: String,
    /// Role.
    pub role: Role,
}

/// A new token: 32 random bytes, as text. There is nothing to guess, so a plain hash of it may be stored.
///
/// # Errors
/// The operating system gives no random bytes.
pub(crate) fn fresh() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(format!("{PREFIX}{}", hex(&bytes)))
}

/// What is stored of a token.
pub(crate) fn hash(token: &str) -> [u8; 32] {
    sha256(token.as_bytes())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whoever looks without a token.
pub(crate) const ANYBODY: &str = "anybody";
/// So that scanners of source code know one when they see one.
const PREFIX: &str = "fft_";
