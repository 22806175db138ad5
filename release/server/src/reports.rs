//! Health reports: taken in, added up, forgotten.
//!
//! ```text
//! body ── at most 64 KiB ──▶ messages ── tag, where keys were given ──▶ report ── seen before? ──▶ sums of (day, rollout, step, arm, hardware)
//! ```
//! A report is not kept: its numbers are added to the sums of its group, and of itself only the nonce, the parts and the means of its day stay,
//! for [`KEPT_DAYS`], so that it counts once however often it comes, also after a restart. Order does not matter. Late reports are booked on the day that
//! they are about. A group with fewer than [`MIN_DEVICES`] devices is not shown: one could tell them apart.
//!
//! **Reports may be forged**, with the key of a stolen device or, without keys, by anybody. The sums say what was reported, not
//! what happened; what reads them must bound what they can do.

mod queue;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use fleetfoot_format::{
    FormatError,
    report::{Message, Report},
};
use fleetfoot_trust::ReportKey;
use serde_json::{Value, json};
use thiserror::Error;

pub(crate) use self::queue::Queue;
pub use crate::groups::{Group, GroupKey, Units};
use crate::{
    error::ControlError,
    store::{Store, fold::Folded},
};

/// Bytes of a request. Guards memory: a device sends at most 24 KiB.
pub const MAX_BODY_LEN: usize = 64 << 10;
/// Reports in a request. Bounds the work of one request.
pub const MAX_MESSAGES: usize = 64;
/// Days that a report may be late, and that a nonce is remembered.
pub const KEPT_DAYS: u32 = 32;
/// Devices that a group has at least to be shown.
pub const MIN_DEVICES: u64 = 20;

/// How reports are taken in.
#[derive(Clone, Debug, Default)]
pub struct ReportPolicy {
    /// Keys of tags. With any, a report without a good tag is refused.
    pub keys: Vec<ReportKey>,
    /// Show groups however small they are: for demonstrations, never for people's devices.
    pub show_small_groups: bool,
}

/// Why a report, or a request, is not taken: codes 760 to 764, or those of the layout.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReportError {
    /// The request is too long.
    #[error("the request has more than {MAX_BODY_LEN} bytes or {MAX_MESSAGES} reports")]
    TooLong,
    /// Nothing in it.
    #[error("the request has no report")]
    Empty,
    /// The tag is missing or is that of none of the keys.
    #[error("the report has no tag of a key that is known here")]
    Forged,
    /// Its day is over for too long, or has not come.
    #[error("day {day} is not one of the last {KEPT_DAYS} before day {today}, or the next")]
    Day {
        /// Day of the report.
        day: u32,
        /// Today.
        today: u32,
    },
    /// No more can be remembered now.
    #[error("no more reports can be taken now")]
    Full,
    /// The layout does not hold.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl ReportError {
    /// The stable number of this error.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::TooLong => 760,
            Self::Empty => 761,
            Self::Forged => 762,
            Self::Day { .. } => 763,
            Self::Full => 764,
            Self::Format(inner) => inner.code(),
        }
    }
}

/// What became of the reports of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Added to the sums.
    pub added: usize,
    /// Known already.
    pub duplicates: usize,
    /// Refused, each for itself.
    pub refused: usize,
    /// Why the last of them was.
    pub why: Option<ReportError>,
}

/// Takes reports in.
#[derive(Debug)]
pub struct Reports {
    policy: ReportPolicy,
    store: Arc<Store>,
    totals: Totals,
}

/// Since the start.
#[derive(Debug, Default)]
struct Totals {
    added: AtomicU64,
    duplicates: AtomicU64,
    refused: AtomicU64,
}

/// A request that was taken apart: the reports in it, and what was refused already.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) reports: Vec<Report>,
    taken: Taken,
}

impl Reports {
    /// Adds to what `store` holds.
    #[must_use]
    pub fn new(policy: ReportPolicy, store: Arc<Store>) -> Self {
        Self { policy, store, totals: Totals::default() }
    }

    /// Takes the reports of a request in on day `today`. Each is judged for itself: one that is refused does not keep the others out.
    ///
    /// # Errors
    /// [`ReportError::TooLong`], [`ReportError::Empty`] and errors of the layout where the request cannot be taken apart at all, and
    /// [`ReportError::Full`] where it should come again: what was added of it is known then.
    pub fn take(&self, body: &[u8], today: u32) -> Result<Taken, ReportError> {
        let judged = self.judge(body, today)?;
        let folded = self.store.fold(&judged.reports, today).map_err(|error| refused(&error))?;
        self.counted(judged, folded)
    }

    /// Takes a request apart. The tag first: nothing of a report is read that nobody vouched for.
    pub(crate) fn judge(&self, body: &[u8], today: u32) -> Result<Judged, ReportError> {
        if body.len() > MAX_BODY_LEN {
            return Err(ReportError::TooLong);
        }
        let (mut messages, mut rest) = (Vec::new(), body);
        while !rest.is_empty() {
            let (message, after) = Message::split(rest)?;
            messages.push(message);
            rest = after;
            if messages.len() > MAX_MESSAGES {
                return Err(ReportError::TooLong);
            }
        }
        if messages.is_empty() {
            return Err(ReportError::Empty);
        }
        let mut judged = Judged { reports: Vec::with_capacity(messages.len()), taken: Taken::default() };
        for message in messages {
            match self.read(&message, today) {
                Ok(report) => judged.reports.push(report),
                Err(why) => {
                    judged.taken.refused += 1;
                    judged.taken.why = Some(why);
                }
            }
        }
        Ok(judged)
    }

    fn read(&self, message: &Message<'_>, today: u32) -> Result<Report, ReportError> {
        let keys = &self.policy.keys;
        if !keys.is_empty() && !keys.iter().any(|key| key.verify(message)) {
            return Err(ReportError::Forged);
        }
        let report = message.read()?;
        let day = report.day;
        if day > today.saturating_add(1) || day.saturating_add(KEPT_DAYS) < today {
            return Err(ReportError::Day { day, today });
        }
        Ok(report)
    }

    /// The answer, once the reports were folded.
    pub(crate) fn counted(&self, judged: Judged, folded: Vec<Folded>) -> Result<Taken, ReportError> {
        let mut taken = judged.taken;
        let mut full = false;
        for folded in folded {
            match folded {
                Ok(true) => taken.added += 1,
                Ok(false) => taken.duplicates += 1,
                Err(_) => full = true,
            }
        }
        let count = |total: &AtomicU64, n: usize| total.fetch_add(n as u64, Ordering::Relaxed);
        count(&self.totals.added, taken.added);
        count(&self.totals.duplicates, taken.duplicates);
        count(&self.totals.refused, taken.refused);
        if let Some(why) = taken.why {
            tracing::info!(refused = taken.refused, %why, "reports refused");
        }
        if full { Err(ReportError::Full) } else { Ok(taken) }
    }

    /// Added, duplicates, refused since the start.
    pub(crate) fn totals(&self) -> [u64; 3] {
        let Totals { added, duplicates, refused } = &self.totals;
        [added, duplicates, refused].map(|total| total.load(Ordering::Relaxed))
    }

    /// The groups that may be shown, the newest day first.
    #[must_use]
    pub fn groups(&self) -> Vec<(GroupKey, Group)> {
        let least = self.least();
        self.store.groups(|key, group| (group.devices >= least).then(|| (key.clone(), group.clone())))
    }

    /// The groups that may be shown, and how many reports came twice or were refused, for `/v1/reports`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let least = self.least();
        let all = self.store.groups(|key, group| Some((group.devices >= least).then(|| group.shown(key))));
        let hidden = all.iter().filter(|shown| shown.is_none()).count();
        let groups: Vec<Value> = all.into_iter().flatten().collect();
        let [_, duplicates, refused] = self.totals();
        json!({
            "groups": groups, "hidden": hidden, "duplicates": duplicates, "refused": refused, "min_devices": least,
        })
    }

    /// Goes up whenever the sums, or what is shown beside them, may be others.
    pub(crate) fn changes(&self) -> u64 {
        let [added, duplicates, refused] = self.totals();
        self.store.changes() + added + duplicates + refused
    }

    fn least(&self) -> u64 {
        if self.policy.show_small_groups { 1 } else { MIN_DEVICES }
    }
}

/// A database that refuses now may not later: the device keeps the reports.
fn refused(error: &ControlError) -> ReportError {
    tracing::error!(%error, "reports cannot be stored");
    ReportError::Full
}
