//! Outcomes that come after the day of their prediction: one more report of that day, with the nonce of that day.
//!
//! ```text
//! 1. file `open`                        a nonce for the day, where this device has none of it
//! 2. file <day>-<part>-<nonce>.report   what is new of its outcomes, durable
//! 3. file `open`                        what was told, and the next part of that day
//! ```
//! A process that dies between 2 and 3 finds the report in the queue and takes it for told. Nothing of it is sent before 3.

use fleetfoot_format::report::{MAX_PARTS, Message, Report, State};
use fleetfoot_update::cohort::rollout_key;

use super::{
    ledger::{Day, LATE_DAYS, Outcomes},
    reporter::{Context, HOUR_S, Reporter, day_of, fresh_nonce, next_of},
};
use crate::error::Error;

impl Reporter {
    /// Makes reports of outcomes of days that are over, as far as they were not told yet; `context` is that of now. `sums` are all that are known
    /// of each day. Costs nothing where nothing is new.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoRandomness`]: the next call tries again.
    pub fn late(&mut self, sums: &[Outcomes], context: &Context, now: i64) -> Result<(), Error> {
        let today = day_of(now.max(0) / HOUR_S);
        if !self.config.enabled {
            return Ok(());
        }
        let new = |sum: &&Outcomes| {
            let in_time = sum.day < today && sum.day.saturating_add(LATE_DAYS) >= today;
            in_time && sum.n > self.ledger.told(sum).n
        };
        let due: Vec<Outcomes> = sums.iter().filter(new).copied().collect();
        for sum in due {
            let Some(rollout) = self.ledger.name(|name| rollout_key(name) == sum.rollout).map(String::from) else {
                continue;
            };
            if self.selected(&rollout) {
                self.tell(sum, &rollout, context, now)?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, sum: Outcomes, rollout: &str, context: &Context, now: i64) -> Result<(), Error> {
        let Day { day, nonce, part } = self.day(sum.day)?;
        if part >= MAX_PARTS {
            return Ok(());
        }
        let of =
            Context { rollout: rollout.into(), arm: sum.arm, state: State::default(), reason: 0, ..context.clone() };
        let metrics = [sum.since(&self.ledger.told(&sum))].into_iter().collect();
        let report = Report { metrics, ..self.report(&of, Day { day, nonce, part })? };
        self.push(&report, self.config.jitter_s, now)?;
        self.ledger.tell(sum);
        if let Some(day) = self.ledger.days.iter_mut().find(|other| other.day == day) {
            day.part = part + 1;
        }
        self.save()
    }

    /// What is known of a day that is over; a day of which nothing is known gets a nonce, durable before it is used.
    fn day(&mut self, day: u32) -> Result<Day, Error> {
        if let Some(known) = self.ledger.days.iter().find(|known| known.day == day) {
            return Ok(*known);
        }
        let new = Day { day, nonce: fresh_nonce()?, part: 0 };
        self.ledger.note(new);
        self.save()?;
        Ok(new)
    }

    /// Reports of days that are over which the process before put into the queue and had no time to note.
    pub(super) fn take_up_late(&mut self) -> Result<(), Error> {
        for day in self.ledger.days.clone() {
            let Some(bytes) = self.queue.read(next_of(&day))? else { continue };
            let report = Message::split(&bytes).and_then(|(message, _)| message.read());
            match report {
                Ok(report) => self.ledger.take_up(&report, rollout_key(&report.rollout)),
                Err(_) => self.queue.remove(next_of(&day))?,
            }
            self.unsettled = true;
        }
        Ok(())
    }
}
