//! What the server remembers, in one SQLite file (or in memory, where none is given).
//!
//! ```text
//! groups, sums     reports, added up by (day, rollout, step, arm, hardware) and metric     fold
//! devices          one row for a device and a day: which parts came, and its means          fold
//! rollouts, steps, looks, approvals     how far each rollout is, and why                    rollouts
//! audit            who did what, each row over the hash of the one before                   audit
//! tokens           hashes of tokens                                                         tokens
//! ```
//! All SQL of the server is below this module and every question to it has a name, so that another database can stand behind the same
//! names. A transaction is the unit: a report and its nonce, a decision and its row of the log, are there together or not at all.
//! The file is in WAL mode, and a commit is on the disk before anybody is told (`synchronous=FULL`).

pub(crate) mod audit;
pub(crate) mod fold;
pub(crate) mod rollouts;
mod tokens;

use std::{
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::ControlError;

/// The layout that this server writes.
const LAYOUT: i64 = 2;

/// The database.
#[derive(Debug)]
pub struct Store {
    inner: Mutex<Inner>,
    /// Goes up with every batch of reports.
    changes: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Inner {
    connection: Connection,
    pub(crate) mirror: fold::Mirror,
}

impl Store {
    /// Opens the file `path`, and makes it where it is not there.
    ///
    /// # Errors
    /// [`ControlError::Database`], [`ControlError::Layout`].
    pub fn open(path: &Path) -> Result<Self, ControlError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        Self::on(connection)
    }

    /// In memory: gone with the process.
    ///
    /// # Errors
    /// [`ControlError::Database`].
    pub fn in_memory() -> Result<Self, ControlError> {
        Self::on(Connection::open_in_memory()?)
    }

    fn on(mut connection: Connection) -> Result<Self, ControlError> {
        connection.set_prepared_statement_cache_capacity(64);
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        match found {
            0 => {
                transaction.execute_batch(include_str!("store/layout.sql"))?;
                transaction.pragma_update(None, "user_version", LAYOUT)?;
            }
            1 => {
                transaction.execute_batch(include_str!("store/from_1.sql"))?;
                transaction.pragma_update(None, "user_version", LAYOUT)?;
            }
            LAYOUT => {}
            found => return Err(ControlError::Layout { found, known: LAYOUT }),
        }
        transaction.commit()?;
        let mirror = fold::Mirror::load(&connection, crate::groups::ranges(&[]))?;
        Ok(Self { inner: Mutex::new(Inner { connection, mirror }), changes: AtomicU64::new(0) })
    }

    /// Runs `work` in one transaction: all of it is durable afterwards, or nothing of it happened.
    pub(crate) fn transact<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, ControlError>,
    ) -> Result<T, ControlError> {
        let mut inner = self.lock();
        let transaction = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }

    /// Whether the file can be written to. What is written is taken back: nobody waits for the disk.
    pub(crate) fn is_writable(&self) -> bool {
        let mut inner = self.lock();
        let begun = inner.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        begun.and_then(|t| t.execute("UPDATE alive SET n = n + 1", [])).is_ok()
    }

    /// Goes up with every batch of reports.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic leaves no transaction open: it is rolled back when it is dropped.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
