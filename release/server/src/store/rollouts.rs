//! Rollouts in the database: where each of them is, the steps it went through, every look and its decision.

use fleetfoot_rollout::gates::{Decision, Look};
use rusqlite::{OptionalExtension as _, Params, Row, Transaction, params};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Store;
use crate::error::ControlError;

/// Where a rollout is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Applied; approvals are missing.
    Waiting,
    /// A stage goes on.
    Running,
    /// Nobody new until a person has looked.
    Held,
    /// As held, and nothing more is counted.
    Halted,
    /// Everybody has the candidate.
    Full,
    /// The comparison had no winner: the current version stays.
    Kept,
    /// The gates sent it back to the baseline.
    RolledBack,
    /// A person ended it.
    Aborted,
    /// A person sent everybody back after it had ended.
    Reverted,
}

impl State {
    const ALL: [Self; 9] = [
        Self::Waiting,
        Self::Running,
        Self::Held,
        Self::Halted,
        Self::Full,
        Self::Kept,
        Self::RolledBack,
        Self::Aborted,
        Self::Reverted,
    ];

    /// Its name.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Held => "held",
            Self::Halted => "halted",
            Self::Full => "full",
            Self::Kept => "kept",
            Self::RolledBack => "rolled_back",
            Self::Aborted => "aborted",
            Self::Reverted => "reverted",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        // One that nobody knows is for a person to look at.
        Self::ALL.into_iter().find(|state| state.name() == name).unwrap_or(Self::Held)
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub(crate) const fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Held | Self::Halted)
    }
}

/// A rollout as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Rollout {
    pub(crate) id: String,
    pub(crate) model: String,
    /// YAML, as it was applied.
    pub(crate) policy: String,
    pub(crate) digest: String,
    /// Devices of the fleet, as planned.
    pub(crate) devices: u64,
    /// Approvals that are needed.
    pub(crate) needs: u32,
    pub(crate) state: State,
    /// Index of the stage, of the policy laid out.
    pub(crate) stage: usize,
    /// Number of the step, from 1; 0 before the first.
    pub(crate) step: u32,
    pub(crate) begun_s: i64,
    /// Why it is in this state.
    pub(crate) reason: String,
    pub(crate) applied_by: String,
    pub(crate) applied_s: i64,
    pub(crate) changed_s: i64,
    /// Hash of the candidate, hexadecimal.
    pub(crate) candidate: String,
    /// Whether the repository says what this row says.
    pub(crate) signed: bool,
    /// Whether the repository may ever have said something of it.
    pub(crate) told: bool,
}

/// A stretch in one stage.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) step: u32,
    pub(crate) stage: usize,
    pub(crate) begun_s: i64,
    pub(crate) ended_s: Option<i64>,
    pub(crate) ended_by: Option<String>,
}

/// A look and what was decided.
#[derive(Clone, Debug)]
pub(crate) struct Looked {
    pub(crate) at_s: i64,
    pub(crate) look: Look,
    /// JSON of the decision, as it was.
    pub(crate) decision: String,
}

const COLUMNS: &str = "id, model, policy, digest, devices, needs, state, stage, step, begun_s, reason, applied_by, applied_s, changed_s, candidate, signed, told";

fn rollout(row: &Row<'_>) -> rusqlite::Result<Rollout> {
    let name: String = row.get(6)?;
    Ok(Rollout {
        id: row.get(0)?,
        model: row.get(1)?,
        policy: row.get(2)?,
        digest: row.get(3)?,
        devices: row.get(4)?,
        needs: row.get(5)?,
        state: State::of(&name),
        stage: row.get(7)?,
        step: row.get(8)?,
        begun_s: row.get(9)?,
        reason: row.get(10)?,
        applied_by: row.get(11)?,
        applied_s: row.get(12)?,
        changed_s: row.get(13)?,
        candidate: row.get(14)?,
        signed: row.get(15)?,
        told: row.get(16)?,
    })
}

/// Writes the row of `rollout`, new or changed.
pub(crate) fn put(t: &Transaction<'_>, rollout: &Rollout) -> Result<(), ControlError> {
    let r = rollout;
    let values = params![
        r.id,
        r.model,
        r.policy,
        r.digest,
        r.devices,
        r.needs,
        r.state.name(),
        r.stage,
        r.step,
        r.begun_s,
        r.reason,
        r.applied_by,
        r.applied_s,
        r.changed_s,
        r.candidate,
        r.signed,
        r.told
    ];
    let sql = format!(
        "INSERT INTO rollouts ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
         ON CONFLICT (id) DO UPDATE SET state = ?7, stage = ?8, step = ?9, begun_s = ?10, reason = ?11, changed_s = ?14, candidate = ?15, signed = ?16, told = ?17"
    );
    t.execute(&sql, values)?;
    Ok(())
}

pub(crate) fn get(t: &Transaction<'_>, id: &str) -> Result<Rollout, ControlError> {
    first(t, "WHERE id = ?1", id)?
        .ok_or_else(|| ControlError::UnknownRollout { rollout: id.chars().take(64).collect() })
}

/// All of them, the newest first, `limit` at most.
pub(crate) fn list(t: &Transaction<'_>, limit: u32) -> Result<Vec<Rollout>, ControlError> {
    many(t, "ORDER BY applied_s DESC, id LIMIT ?1", [limit])
}

/// Those that something has still to be done for.
pub(crate) fn active(t: &Transaction<'_>) -> Result<Vec<Rollout>, ControlError> {
    many(t, "WHERE state IN ('running', 'held', 'halted') OR signed = 0", [])
}

/// Those that `which`, the end of a query, chooses.
fn many(t: &Transaction<'_>, which: &str, values: impl Params) -> Result<Vec<Rollout>, ControlError> {
    let mut rows = t.prepare_cached(&format!("SELECT {COLUMNS} FROM rollouts {which}"))?;
    Ok(rows.query_map(values, rollout)?.collect::<Result<_, _>>()?)
}

/// The first of them.
fn first(t: &Transaction<'_>, which: &str, value: &str) -> Result<Option<Rollout>, ControlError> {
    Ok(t.query_row(&format!("SELECT {COLUMNS} FROM rollouts {which} LIMIT 1"), [value], rollout).optional()?)
}

/// Another one of `model` that is not over.
pub(crate) fn in_the_way(t: &Transaction<'_>, model: &str) -> Result<Option<Rollout>, ControlError> {
    first(t, "WHERE model = ?1 AND state IN ('waiting', 'running', 'held', 'halted')", model)
}

/// The rollout of `model` that was the last one of which devices may have been told something.
pub(crate) fn newest(t: &Transaction<'_>, model: &str) -> Result<Option<Rollout>, ControlError> {
    first(t, "WHERE model = ?1 AND told = 1 ORDER BY applied_s DESC, rowid DESC", model)
}

/// Ends the step under way, if there is one.
pub(crate) fn end_step(t: &Transaction<'_>, rollout: &Rollout, now_s: i64, by: &str) -> Result<(), ControlError> {
    let sql = "UPDATE steps SET ended_s = ?3, ended_by = ?4 WHERE rollout = ?1 AND step = ?2 AND ended_s IS NULL";
    t.execute(sql, params![rollout.id, rollout.step, now_s, by])?;
    Ok(())
}

/// Begins the step that `rollout` names.
pub(crate) fn begin_step(t: &Transaction<'_>, rollout: &Rollout) -> Result<(), ControlError> {
    let values = params![rollout.id, rollout.step, rollout.stage, rollout.begun_s];
    t.execute("INSERT INTO steps (rollout, step, stage, begun_s) VALUES (?1, ?2, ?3, ?4)", values)?;
    Ok(())
}

/// The step under way counts from `rollout.begun_s`: when devices could first know of it.
pub(crate) fn restart_step(t: &Transaction<'_>, rollout: &Rollout) -> Result<(), ControlError> {
    let sql = "UPDATE steps SET begun_s = ?3 WHERE rollout = ?1 AND step = ?2";
    t.execute(sql, params![rollout.id, rollout.step, rollout.begun_s])?;
    Ok(())
}

/// When the gates last looked at the clock.
pub(crate) fn seen_s(t: &Transaction<'_>) -> Result<Option<i64>, ControlError> {
    Ok(t.query_row("SELECT seen_s FROM clock", [], |row| row.get(0)).optional()?)
}

/// The gates look at the clock.
pub(crate) fn put_seen_s(t: &Transaction<'_>, now_s: i64) -> Result<(), ControlError> {
    t.execute("INSERT OR REPLACE INTO clock VALUES (1, ?1)", [now_s])?;
    Ok(())
}

pub(crate) fn steps(t: &Transaction<'_>, id: &str) -> Result<Vec<Step>, ControlError> {
    let sql = "SELECT step, stage, begun_s, ended_s, ended_by FROM steps WHERE rollout = ?1 ORDER BY step";
    let mut rows = t.prepare_cached(sql)?;
    let rows = rows.query_map([id], |row| {
        Ok(Step {
            step: row.get(0)?,
            stage: row.get(1)?,
            begun_s: row.get(2)?,
            ended_s: row.get(3)?,
            ended_by: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn add_look(
    t: &Transaction<'_>,
    rollout: &Rollout,
    n: usize,
    at_s: i64,
    look: &Look,
    decision: &Decision,
) -> Result<(), ControlError> {
    // Both are plain data: they have a text.
    let look = serde_json::to_string(look).unwrap_or_default();
    let decision = serde_json::to_string(decision).unwrap_or_default();
    let values = params![rollout.id, rollout.step, n, at_s, look, decision];
    t.execute("INSERT INTO looks VALUES (?1, ?2, ?3, ?4, ?5, ?6)", values)?;
    Ok(())
}

pub(crate) fn looks(t: &Transaction<'_>, id: &str, step: u32) -> Result<Vec<Looked>, ControlError> {
    let sql = "SELECT at_s, look, decision FROM looks WHERE rollout = ?1 AND step = ?2 ORDER BY n";
    let mut rows = t.prepare_cached(sql)?;
    let rows = rows.query_map(params![id, step], |row| {
        let look: String = row.get(1)?;
        // It was written by this program; one that somebody has spoilt counts as no data, which is a hold.
        let look = serde_json::from_str(&look).unwrap_or_default();
        Ok(Looked { at_s: row.get(0)?, look, decision: row.get(2)? })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn approve(t: &Transaction<'_>, id: &str, name: &str, at_s: i64) -> Result<bool, ControlError> {
    let new = t.execute("INSERT OR IGNORE INTO approvals VALUES (?1, ?2, ?3)", params![id, name, at_s])?;
    Ok(new > 0)
}

pub(crate) fn approvals(t: &Transaction<'_>, id: &str) -> Result<Vec<String>, ControlError> {
    let mut rows = t.prepare_cached("SELECT name FROM approvals WHERE rollout = ?1 ORDER BY at_s, name")?;
    let rows = rows.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(rows)
}

impl Store {
    /// The rollout `id` as it is now.
    pub(crate) fn rollout(&self, id: &str) -> Result<Rollout, ControlError> {
        self.transact(|t| get(t, id))
    }
}
