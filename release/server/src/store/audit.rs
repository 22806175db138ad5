//! The audit log: who did what, when and why. Each row holds the hash of the one before, so that none can be changed, taken out or moved
//! without all that follow.
//!
//! ```text
//! hash = SHA-256("ff-audit-v1\0" || row || at || each text with its length || hash of the row before)      numbers: 8 bytes, big endian
//! ```
//! Somebody who can write to the database can write a whole new chain. So the newest hash belongs elsewhere, too: the server logs it
//! with every row and shows it at `/v1/audit`; `fleetfoot audit verify --head` holds the log against one that was kept.

use fleetfoot_trust::sha256;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::Store;
use crate::{error::ControlError, tokens::hex};

/// The name under which gates act.
pub(crate) const GATES: &str = "gates";
/// Somebody at the machine itself.
pub(crate) const SHELL: &str = "shell";
const DOMAIN: &[u8] = b"ff-audit-v1\0";

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditRow {
    /// Its number, from 1.
    pub row: u64,
    /// When, seconds since 1970.
    pub at_s: i64,
    /// Name of the token, `gates`, or `shell` for somebody at the machine.
    pub who: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Why, with the numbers.
    pub detail: String,
    /// Hash of the row, hexadecimal.
    pub hash: String,
}

/// The newest row of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditHead {
    /// Its number; 0 before the first.
    pub row: u64,
    /// Its hash, hexadecimal.
    pub hash: String,
}

/// Writes a row at the end of the log.
pub(crate) fn append(
    t: &Transaction<'_>,
    at_s: i64,
    who: &str,
    action: &str,
    subject: &str,
    detail: &str,
) -> Result<(), ControlError> {
    let (last, before) = head(t)?;
    let row = last + 1;
    let hash = link(row, at_s, [who, action, subject, detail], &before);
    let values = params![row, at_s, who, action, subject, detail, before, hash];
    t.execute("INSERT INTO audit VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", values)?;
    t.execute("INSERT OR REPLACE INTO audit_head VALUES (1, ?1, ?2)", params![row, hash])?;
    tracing::info!(row, who, action, subject, detail, hash = hex(&hash), "audit");
    Ok(())
}

fn head(t: &Transaction<'_>) -> Result<(i64, [u8; 32]), ControlError> {
    let found = t.query_row("SELECT row, hash FROM audit_head", [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.unwrap_or((0, [0; 32])))
}

fn link(row: i64, at_s: i64, texts: [&str; 4], before: &[u8]) -> [u8; 32] {
    let mut bytes = DOMAIN.to_vec();
    bytes.extend_from_slice(&row.to_be_bytes());
    bytes.extend_from_slice(&at_s.to_be_bytes());
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes.extend_from_slice(before);
    sha256(&bytes)
}

impl Store {
    /// Rows after `after`, `limit` at most, and the head.
    pub(crate) fn audit(&self, after: u64, limit: u32) -> Result<(Vec<AuditRow>, AuditHead), ControlError> {
        self.transact(|t| {
            let (row, hash) = head(t)?;
            let head = AuditHead { row: row.unsigned_abs(), hash: hex(&hash) };
            let all =
                "SELECT row, at_s, who, action, subject, detail, hash FROM audit WHERE row > ?1 ORDER BY row LIMIT ?2";
            let mut rows = t.prepare_cached(all)?;
            let after = i64::try_from(after).unwrap_or(i64::MAX);
            let found = rows.query_map(params![after, limit], |row| {
                Ok(AuditRow {
                    row: row.get::<_, i64>(0)?.unsigned_abs(),
                    at_s: row.get(1)?,
                    who: row.get(2)?,
                    action: row.get(3)?,
                    subject: row.get(4)?,
                    detail: row.get(5)?,
                    hash: hex(&row.get::<_, Vec<u8>>(6)?),
                })
            })?;
            Ok((found.collect::<Result<_, _>>()?, head))
        })
    }

    /// Walks the whole chain; `known` is a head that somebody kept. Returns the head.
    ///
    /// # Errors
    /// [`ControlError::Audit`] with the first row that is not what was written, [`ControlError::Database`].
    pub fn verify_audit(&self, known: Option<&AuditHead>) -> Result<AuditHead, ControlError> {
        self.transact(|t| {
            let broken = |row: i64, what| ControlError::Audit { row: row.unsigned_abs(), what };
            let mut rows =
                t.prepare("SELECT row, at_s, who, action, subject, detail, before, hash FROM audit ORDER BY row")?;
            let mut rows = rows.query([])?;
            let (mut last, mut before, mut seen) = (0i64, vec![0u8; 32], known.is_none_or(|head| head.row == 0));
            while let Some(row) = rows.next()? {
                let number: i64 = row.get(0)?;
                let text = |i| row.get::<_, String>(i);
                if number != last + 1 {
                    return Err(broken(last + 1, "it is missing"));
                }
                let (who, action, subject, detail) = (text(2)?, text(3)?, text(4)?, text(5)?);
                let hash: Vec<u8> = row.get(7)?;
                if row.get::<_, Vec<u8>>(6)? != before {
                    return Err(broken(number, "it does not follow the one before"));
                }
                if link(number, row.get(1)?, [&who, &action, &subject, &detail], &before)[..] != hash[..] {
                    return Err(broken(number, "it was changed"));
                }
                if known.is_some_and(|head| head.row == number.unsigned_abs()) {
                    seen = known.is_some_and(|head| head.hash == hex(&hash));
                    if !seen {
                        return Err(broken(number, "it is not the one whose hash was kept"));
                    }
                }
                (last, before) = (number, hash);
            }
            let (row, hash) = head(t)?;
            if !seen || (last, &before[..]) != (row, &hash[..]) {
                return Err(broken(last + 1, "it is missing, and so may be more"));
            }
            Ok(AuditHead { row: row.unsigned_abs(), hash: hex(&hash) })
        })
    }
}
