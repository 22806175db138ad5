//! Tokens in the database: their hashes, whose they are, and what for.

use rusqlite::{OptionalExtension as _, params};

use super::{Store, audit};
use crate::{
    error::ControlError,
    tokens::{self, ANYBODY, Person, Role},
};

impl Store {
    /// Makes a token for `name`; it is shown now and never again. A name has one token at a time: an older one is revoked by the same name.
    ///
    /// # Errors
    /// [`ControlError::BadRequest`] for a name that is none or is taken, [`ControlError::Database`].
    pub fn new_token(&self, name: &str, role: Role, now_s: i64) -> Result<String, ControlError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'@');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || OTHERS.contains(&name) {
            return Err(ControlError::BadRequest(
                "a name is 1 to 64 letters, digits and . _ - @, and none of `gates`, `shell`, `anybody`",
            ));
        }
        let token = tokens::fresh().map_err(|_| ControlError::BadRequest("the system gives no random bytes"))?;
        self.transact(|t| {
            let known = "SELECT 1 FROM tokens WHERE name = ?1 AND revoked_s IS NULL";
            if t.query_row(known, [name], |_| Ok(())).optional()?.is_some() {
                return Err(ControlError::BadRequest("this name has a token already; revoke it first"));
            }
            t.execute("DELETE FROM tokens WHERE name = ?1", [name])?;
            let row = params![tokens::hash(&token), name, role.name(), now_s];
            t.execute("INSERT INTO tokens (hash, name, role, made_s) VALUES (?1, ?2, ?3, ?4)", row)?;
            audit::append(t, now_s, audit::SHELL, "token new", name, role.name())
        })?;
        Ok(token)
    }

    /// The token of `name` is good for nothing from now on. Whether there was one.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn revoke_token(&self, name: &str, now_s: i64) -> Result<bool, ControlError> {
        self.transact(|t| {
            let found = t.execute(
                "UPDATE tokens SET revoked_s = ?2 WHERE name = ?1 AND revoked_s IS NULL",
                params![name, now_s],
            )?;
            if found > 0 {
                audit::append(t, now_s, audit::SHELL, "token revoke", name, "")?;
            }
            Ok(found > 0)
        })
    }

    /// Whose `token` is.
    pub(crate) fn person(&self, token: &str) -> Result<Option<Person>, ControlError> {
        self.transact(|t| {
            let mut known = t.prepare_cached("SELECT name, role FROM tokens WHERE hash = ?1 AND revoked_s IS NULL")?;
            let row = known.query_row([tokens::hash(token)], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
            let found: Option<(String, String)> = row.optional()?;
            Ok(found.and_then(|(name, role)| Some(Person { name, role: Role::parse(&role)? })))
        })
    }
}

/// Names in the log of those who have no token.
const OTHERS: [&str; 3] = [audit::GATES, audit::SHELL, ANYBODY];
