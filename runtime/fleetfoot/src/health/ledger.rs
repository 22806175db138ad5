//! What lies beside the part that is being counted: bytes of today, and days that are over, on which outcomes may still be booked.
//!
//! A prediction is made on one day and its outcome may come on another. It is booked on the day of the prediction, in one more part of that
//! day under the nonce of that day. How much of which sums was told already is in here, on disk in the same file as the open part, so
//! that both change at once.

use fleetfoot_format::report::{Arm, Metric, Report};

/// The metric under which outcomes of predictions are reported. Applications number their own from 1.
pub const OUTCOME_METRIC: u8 = 0;

/// Outcomes of the predictions of one day, of one side of one rollout: everything that is known of them so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcomes {
    /// UTC day of the predictions, since 1970.
    pub day: u32,
    /// First 8 bytes of the SHA-256 of the rollout's name.
    pub rollout: [u8; 8],
    /// The side.
    pub arm: Arm,
    /// How many.
    pub n: u32,
    /// Sum of their values.
    pub sum: f64,
    /// Sum of the squares.
    pub sum_squares: f64,
}

impl Outcomes {
    fn is_of(&self, other: &Self) -> bool {
        (self.day, self.rollout, self.arm) == (other.day, other.rollout, other.arm)
    }

    /// What is new since `before`.
    pub(super) fn since(&self, before: &Self) -> Metric {
        let (n, sum) = (self.n.saturating_sub(before.n), self.sum - before.sum);
        // Differences of large sums are rounded: the squares are never below what is possible, or no receiver takes them.
        let least = sum * sum / f64::from(n.max(1));
        Metric { id: OUTCOME_METRIC, n, sum, sum_squares: (self.sum_squares - before.sum_squares).max(least) }
    }
}

/// A day that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Day {
    pub(super) day: u32,
    pub(super) nonce: [u8; 16],
    /// The part that the next report of this day is.
    pub(super) part: u8,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ledger {
    /// Bytes of the messages of the day of the open part.
    pub(super) spent: u32,
    /// When this device may send, seconds since 1970.
    pub(super) send_after: i64,
    /// The hour since 1970 in which the open part began; 0 where none is open.
    pub(super) since_hour: i64,
    /// Days of which no part is open, in the order in which that became so.
    pub(super) days: Vec<Day>,
    /// The last rollouts, by name.
    names: Vec<String>,
    /// What was told of outcomes.
    told: Vec<Outcomes>,
}

impl Ledger {
    /// No part of `day` is open any more; what follows of it has its nonce. The days noted last are known, whatever a clock said in between.
    pub(super) fn note(&mut self, day: Day) {
        self.days.retain(|other| other.day != day.day);
        self.days.push(day);
        let more = self.days.len().saturating_sub(MAX_KNOWN_DAYS);
        self.days.drain(..more);
    }

    /// A part of `day` is open: its number is kept there from now on.
    pub(super) fn begins(&mut self, day: Day) {
        let known = self.days.len();
        self.days.retain(|other| other.day != day.day);
        if self.days.len() == known {
            self.spent = 0;
        }
    }

    /// This device has a part in the rollout `name`.
    pub(super) fn knows(&mut self, name: &str) {
        if name.is_empty() || self.names.last().is_some_and(|last| last == name) {
            return;
        }
        self.names.retain(|other| other != name);
        self.names.push(name.into());
        let more = self.names.len().saturating_sub(MAX_NAMES);
        self.names.drain(..more);
    }

    /// The name of a rollout of which this device was a part.
    pub(super) fn name(&self, is_it: impl Fn(&str) -> bool) -> Option<&str> {
        self.names.iter().map(String::as_str).find(|name| is_it(name))
    }

    /// What was told of the same day, rollout and arm.
    pub(super) fn told(&self, of: &Outcomes) -> Outcomes {
        let nothing = Outcomes { n: 0, sum: 0.0, sum_squares: 0.0, ..*of };
        self.told.iter().find(|told| told.is_of(of)).copied().unwrap_or(nothing)
    }

    /// All of `outcomes` was told.
    pub(super) fn tell(&mut self, outcomes: Outcomes) {
        self.told.retain(|told| !told.is_of(&outcomes));
        self.told.push(outcomes);
        if self.told.len() > MAX_TOLD {
            self.told.remove(0);
        }
    }

    /// A report lies in the queue that the process before had no time to note here.
    pub(super) fn take_up(&mut self, report: &Report, rollout: [u8; 8]) {
        for metric in report.metrics.iter().filter(|metric| metric.id == OUTCOME_METRIC) {
            let nothing = Outcomes { day: report.day, rollout, arm: report.arm, n: 0, sum: 0.0, sum_squares: 0.0 };
            let mut told = self.told(&nothing);
            told.n = told.n.saturating_add(metric.n);
            told.sum += metric.sum;
            told.sum_squares += metric.sum_squares;
            self.tell(told);
        }
        if let Some(day) = self.days.iter_mut().find(|day| day.day == report.day) {
            day.part = report.part + 1;
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.spent.to_le_bytes());
        out.extend_from_slice(&self.send_after.to_le_bytes());
        out.extend_from_slice(&self.since_hour.to_le_bytes());
        out.extend_from_slice(&[self.days.len() as u8, self.names.len() as u8, self.told.len() as u8]);
        for Day { day, nonce, part } in &self.days {
            out.extend_from_slice(&day.to_le_bytes());
            out.extend_from_slice(nonce);
            out.push(*part);
        }
        for name in &self.names {
            out.push(name.len() as u8);
            out.extend_from_slice(name.as_bytes());
        }
        for Outcomes { day, rollout, arm, n, sum, sum_squares } in &self.told {
            out.extend_from_slice(&day.to_le_bytes());
            out.extend_from_slice(rollout);
            out.push(*arm as u8);
            out.extend_from_slice(&n.to_le_bytes());
            out.extend_from_slice(&sum.to_le_bytes());
            out.extend_from_slice(&sum_squares.to_le_bytes());
        }
    }

    pub(super) fn decode(rest: &mut &[u8]) -> Option<Self> {
        let mut ledger = Self {
            spent: u32::from_le_bytes(take(rest)?),
            send_after: i64::from_le_bytes(take(rest)?),
            since_hour: i64::from_le_bytes(take(rest)?),
            ..Self::default()
        };
        let [days, names, told] = take(rest)?;
        for _ in 0..days {
            let day = u32::from_le_bytes(take(rest)?);
            let (nonce, [part]) = (take(rest)?, take(rest)?);
            ledger.days.push(Day { day, nonce, part });
        }
        for _ in 0..names {
            let [len] = take(rest)?;
            let name = rest.split_off(..usize::from(len))?;
            ledger.names.push(String::from_utf8(name.to_vec()).ok()?);
        }
        for _ in 0..told {
            let (day, rollout) = (u32::from_le_bytes(take(rest)?), take(rest)?);
            let [arm] = take(rest)?;
            let arm = ARMS.into_iter().find(|known| *known as u8 == arm)?;
            let (n, sum) = (u32::from_le_bytes(take(rest)?), f64::from_le_bytes(take(rest)?));
            let sum_squares = f64::from_le_bytes(take(rest)?);
            ledger.told.push(Outcomes { day, rollout, arm, n, sum, sum_squares });
        }
        Some(ledger)
    }
}

const ARMS: [Arm; 5] = [Arm::None, Arm::Control, Arm::Treatment, Arm::Shadow, Arm::Holdout];
/// Days that outcomes may be late: as many as the journal of predictions keeps.
pub(super) const LATE_DAYS: u32 = 8;
/// Days of which the nonce is known: those on which outcomes may be late, and some to which a clock was set wrongly.
const MAX_KNOWN_DAYS: usize = 2 * LATE_DAYS as usize;
/// Rollouts whose outcomes may still come.
const MAX_NAMES: usize = 4;
/// As many sums as the journal of predictions keeps.
const MAX_TOLD: usize = 64;

pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.first_chunk().copied()
}
