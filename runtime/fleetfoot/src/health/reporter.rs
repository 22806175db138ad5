//! When a report is made, and that it is made once.
//!
//! ```text
//! tick:  day or hour over, or another version, rollout or arm:
//!            1. file <day>-<part>-<nonce>.report   durable, the tally in it
//!            2. file `open`                        next part, empty
//!        observer.take() ──add──▶ open tally ──▶ file `open`                     replaced as a whole, so a restart loses little
//! ```
//! A process that dies between 1 and 2 finds the report of its part in the queue at the next start and goes on with the next part:
//! nothing is counted twice. Nothing is sent before 2 is done, so a report that left the queue cannot come back.
//! Where the disk refuses, the tally stays in memory and the next tick tries again.
//!
//! A day of reports is below [`DAY_BYTES`], but where versions or arms change often. While a rollout is active a part ends with the hour where the bytes of the day that have come due so
//! far pay for it, else with a later one: a device that is used in half of the hours of a day reports in each of them, one that is used all the
//! time in every second or third.

use std::sync::Arc;

use fleetfoot_format::{
    baseline::Baseline,
    report::{Arm, MAX_DAY, MAX_HARDWARE_LEN, MAX_PARTS, MAX_REPORT_LEN, Report, State, TAG_LEN},
};
use fleetfoot_health::Tally;
use fleetfoot_trust::{ReportKey, Sha256};

use super::{
    ledger::{Day, Ledger},
    observer::Observer,
    open::Open,
    queue::{Key, Queue},
    send::{ReportTransport, Sent, send},
};
use crate::{
    conditions::Jitter,
    error::Error,
    store::{Disk, OsDisk},
    validate::{self, number},
};

/// Whether and how a device reports.
#[derive(Clone, Debug)]
pub struct ReportConfig {
    /// Off: nothing is counted up, kept or sent, and what waits is removed.
    pub enabled: bool,
    /// One device in so many reports; 1: all. Which ones is drawn for each rollout.
    pub one_in: u32,
    /// Class of hardware: `a-z 0-9 . _ -`, at most 32.
    pub hardware: String,
    /// The key of the tag, where one was provisioned.
    pub key: Option<ReportKey>,
    /// Bytes that may wait on disk.
    pub max_bytes: u64,
    /// Seconds over which devices are spread that have something to send, by their key: after a day so many, after an hour half an hour at most.
    pub jitter_s: u32,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Called at named points, for tests that stop the process there: `report` before one is made, `reported` before what is counted begins anew.
    pub at: Option<fn(&str)>,
}

impl ReportConfig {
    /// All devices, no key, 256 KiB, spread over four hours.
    #[must_use]
    pub fn new(hardware: &str) -> Self {
        let (disk, jitter_s) = (Arc::new(OsDisk), 4 * 3600);
        let hardware = hardware.into();
        Self { enabled: true, one_in: 1, hardware, key: None, max_bytes: 256 << 10, jitter_s, disk, at: None }
    }
}

/// Bytes of a day of reports that hours may use up, tags among them.
pub const DAY_BYTES: usize = 2048;

/// What the counts of now are about. Where it changes, a part ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The rollout, or nothing.
    pub rollout: String,
    /// The rollout is active: parts are hours, as far as [`DAY_BYTES`] go, else days.
    pub hourly: bool,
    /// The arm in it.
    pub arm: Arm,
    /// SHA-256 of the version that serves.
    pub bundle: [u8; 32],
    /// State of the version on its way in.
    pub state: State,
    /// Why it is in this state, 0 for no reason.
    pub reason: u16,
    /// Digests of the golden cases that this device reproduced, hashed; see [`Context::golden`].
    pub golden: [u8; 8],
}

impl Context {
    /// What a report says of golden cases: the first 8 bytes of the SHA-256 of all digests.
    #[must_use]
    pub fn golden<'d>(digests: impl IntoIterator<Item = &'d [u8; 32]>) -> [u8; 8] {
        let mut hash = Sha256::new();
        digests.into_iter().for_each(|digest| hash.update(digest));
        let [a, b, c, d, e, f, g, h, ..] = hash.finish();
        [a, b, c, d, e, f, g, h]
    }
}

/// Makes reports and keeps them until they are sent.
#[derive(Debug)]
pub struct Reporter {
    pub(super) config: ReportConfig,
    pub(super) queue: Queue,
    device_key: [u8; 16],
    open: Option<Open>,
    pub(super) ledger: Ledger,
    /// Counted, and not yet in `open`.
    unbooked: Tally,
    /// A report lies in the queue whose part is still in the file `open`: nothing may be sent before that is written.
    pub(super) unsettled: bool,
    /// The hash at the end of the file `open` as it lies on the disk: what says the same is not written again.
    stored: Option<[u8; 32]>,
}

impl Reporter {
    /// Goes on with what lies in `folder`, which only this reporter writes. `device_key` draws who reports and when; it is not sent.
    ///
    /// # Errors
    /// [`Error::BadName`] for a class of hardware that is none, [`Error::File`].
    pub fn open(folder: &std::path::Path, config: ReportConfig, device_key: [u8; 16]) -> Result<Self, Error> {
        if config.enabled && (!plain(&config.hardware) || config.hardware.len() > MAX_HARDWARE_LEN) {
            return Err(Error::BadName { name: config.hardware });
        }
        let queue = Queue::open(folder, Arc::clone(&config.disk), config.max_bytes)?;
        let mut this = Self {
            config,
            queue,
            device_key,
            open: None,
            ledger: Ledger::default(),
            unbooked: Tally::default(),
            unsettled: false,
            stored: None,
        };
        if !this.config.enabled {
            this.queue.clear()?;
            return Ok(this);
        }
        (this.open, this.ledger) = this.queue.read_open()?.and_then(|bytes| Open::decode(&bytes)).unwrap_or_default();
        if let Some(open) = &mut this.open
            && this.queue.contains(key(&open.report))
        {
            // It died between the report and the next part.
            open.tally = Tally::default();
            open.report.part += 1;
            this.unsettled = true;
        }
        this.take_up_late()?;
        if let Some(Open { report, .. }) = this.open.take_if(|open| open.report.part >= MAX_PARTS) {
            this.ledger.note(Day { day: report.day, nonce: report.nonce, part: report.part });
        }
        Ok(this)
    }

    /// Makes a report where a part is over, and books what was counted since the last tick on the part of now. `now` is seconds since 1970;
    /// call it every few minutes, when the application goes to the background, and before it ends.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoRandomness`]: nothing is lost, the next tick tries again.
    pub fn tick(&mut self, observer: &Observer, context: &Context, now: i64) -> Result<(), Error> {
        self.book(&observer.take(), observer.baseline(), context, now)
    }

    /// As [`tick`](Self::tick), with what was counted.
    pub(crate) fn book(
        &mut self,
        delta: &Tally,
        baseline: Option<&Baseline>,
        context: &Context,
        now: i64,
    ) -> Result<(), Error> {
        if !self.config.enabled {
            return Ok(());
        }
        let hour_now = now.max(0) / HOUR_S;
        if self.open.as_ref().is_some_and(|open| is_strange(open.report.day, hour_now)) {
            self.set_right(hour_now)?;
        }
        if !self.selected(&context.rollout) {
            return self.end(now);
        }
        // Where nothing of it is stored below, it is in memory for the next tick.
        self.unbooked.add(delta);
        self.ledger.knows(&context.rollout);
        if self.open.as_ref().is_some_and(|open| self.is_over(open, context, hour_now)) {
            self.close(context, now)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match self.begin(context, hour_now)? {
                Some(report) => Open { report, tally: Tally::default() },
                None => return self.drop_counts(day_of(hour_now)),
            },
        };
        // An hour in which nothing happened is not worth a report: the part begins with the first that did.
        if open.tally.is_empty() {
            self.ledger.since_hour = hour_now;
        }
        open.tally.add(&self.unbooked.take());
        open.report.drift = open.tally.verdicts(baseline);
        (open.report.state, open.report.reason, open.report.golden) = (context.state, context.reason, context.golden);
        self.open = Some(open);
        self.save()
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Transport`]: what was not acknowledged waits.
    pub fn send(&mut self, transport: &dyn ReportTransport) -> Result<Sent, Error> {
        if !self.config.enabled {
            return Ok(Sent::default());
        }
        if self.unsettled {
            self.save()?;
        }
        // A file of a part that is open is a report that may still become more: a push that failed behind its rename.
        let open = self.open.iter().map(|open| key(&open.report));
        let kept: Vec<Key> = open.chain(self.ledger.days.iter().map(next_of)).collect();
        send(&self.queue, transport, &kept)
    }

    /// Whether this device may send now what waits: each has its own moment after a part is over.
    #[must_use]
    pub fn is_its_turn(&self, now: i64) -> bool {
        let wait = self.ledger.send_after.saturating_sub(now);
        // A wait that is longer than any is one of a clock that went back.
        wait <= 0 || wait > i64::from(self.config.jitter_s)
    }

    /// The reports that wait.
    #[must_use]
    pub const fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Whether this device is among those that report on `rollout`.
    #[must_use]
    pub fn selected(&self, rollout: &str) -> bool {
        let mut hash = Sha256::new();
        hash.update(SELECT_DOMAIN);
        hash.update(&self.device_key);
        hash.update(rollout.as_bytes());
        let [a, b, c, d, ..] = hash.finish();
        u32::from_be_bytes([a, b, c, d]).is_multiple_of(self.config.one_in.max(1))
    }

    /// A clock that goes back ends no part.
    fn is_over(&self, open: &Open, context: &Context, hour_now: i64) -> bool {
        let Report { day, part, .. } = open.report;
        let hourly = context.hourly && part + 1 < MAX_PARTS && !open.tally.is_empty();
        let hour_over = hourly && hour_now > self.ledger.since_hour && self.pays(open, hour_now);
        day_of(hour_now) > day || hour_over || !is_about(&open.report, context)
    }

    /// Whether the bytes of the day that have come due by now pay for the open part, and another one of its size is left for the end of the day.
    fn pays(&self, open: &Open, hour_now: i64) -> bool {
        let len = self.message(&open.whole()).map_or(MAX_REPORT_LEN, |message| message.len());
        let (spent, hours) = (self.ledger.spent as usize, usize::try_from(hour_now % 24).unwrap_or(0));
        spent + len <= DAY_BYTES * hours / 24 && spent + 2 * len + LAST_IS_LARGER <= DAY_BYTES
    }

    /// Ends the part: the report first, then the next part, if the day has room for one.
    fn close(&mut self, context: &Context, now: i64) -> Result<(), Error> {
        let hour_now = now.max(0) / HOUR_S;
        let Some(day) = self.push_open(now)? else { return Ok(()) };
        let report = if day_of(hour_now) > day.day {
            let report = self.begin(context, hour_now)?;
            self.ledger.note(day);
            self.ledger.spent = 0;
            report
        } else if day.part < MAX_PARTS {
            Some(self.report(context, day)?)
        } else {
            self.ledger.note(day);
            None
        };
        self.open = report.map(|report| Open { report, tally: Tally::default() });
        self.ledger.since_hour = hour_now;
        self.save()
    }

    /// A clock that was far ahead opened a part of a day that has not come: it is one of today.
    fn set_right(&mut self, hour_now: i64) -> Result<(), Error> {
        let number = self.number(hour_now)?;
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let Report { day, part, nonce, .. } = open.report;
        tracing::warn!("day {day} has not come: what was counted on it is booked on day {}", day_of(hour_now));
        // A push that failed behind its rename left it in the queue.
        let stray = key(&open.report);
        self.ledger.note(Day { day, nonce, part });
        if let Some(today) = number {
            self.ledger.begins(today);
            (open.report.day, open.report.part, open.report.nonce) = (today.day, today.part, today.nonce);
            self.open = Some(open);
        }
        self.ledger.since_hour = hour_now;
        self.queue.remove(stray)?;
        self.save()
    }

    /// The day has as many reports as it may have.
    fn drop_counts(&mut self, day: u32) -> Result<(), Error> {
        let lost = self.unbooked.take().counters.inferences;
        tracing::debug!("day {day} has {MAX_PARTS} reports: {lost} inferences are not reported");
        if self.unsettled { self.save() } else { Ok(()) }
    }

    /// Ends the part, and none follows: this device does not report on what comes.
    fn end(&mut self, now: i64) -> Result<(), Error> {
        let unbooked = self.unbooked.take();
        if let Some(open) = &mut self.open {
            open.tally.add(&unbooked);
        }
        let Some(day) = self.push_open(now)? else { return Ok(()) };
        self.ledger.note(day);
        (self.open, self.ledger.since_hour) = (None, 0);
        self.save()
    }

    /// Puts the report of the open part into the queue. Its day, with the part that is next; `None` where no part is open.
    fn push_open(&mut self, now: i64) -> Result<Option<Day>, Error> {
        let Some(open) = &self.open else { return Ok(None) };
        let Report { day, part, nonce, .. } = open.report;
        // The first of a day is sent even if nothing happened: that it is missing would mean something.
        let silent = part > 0 && open.tally.is_empty();
        if !silent {
            let whole_day = day_of(now.max(0) / HOUR_S) > day;
            let report = open.whole();
            self.push(&report, if whole_day { self.config.jitter_s } else { HOUR_JITTER_S }, now)?;
        }
        Ok(Some(Day { day, nonce, part: part + u8::from(!silent) }))
    }

    /// Puts a report into the queue; until the file `open` says so, too, nothing is sent.
    pub(super) fn push(&mut self, report: &Report, jitter_s: u32, now: i64) -> Result<(), Error> {
        self.at("report");
        match self.message(report) {
            Ok(message) => {
                let first = self.queue.is_empty()?;
                // Neither a clock that is far ahead nor a day behind is a reason to drop what waits.
                let today = day_of(now.max(0) / HOUR_S).min(report.day);
                self.queue.push(key(report), &message, today)?;
                self.ledger.spent = self.ledger.spent.saturating_add(u32::try_from(message.len()).unwrap_or(u32::MAX));
                if first {
                    let most = jitter_s.min(self.config.jitter_s);
                    let wait = Jitter::new(self.device_key).report_s(report.day, report.part, most);
                    self.ledger.send_after = now.saturating_add(wait.into());
                }
            }
            Err(error) => tracing::warn!("a report that cannot be written is dropped: {error}"),
        }
        self.unsettled = true;
        self.at("reported");
        Ok(())
    }

    pub(super) fn save(&mut self) -> Result<(), Error> {
        let bytes = Open::encode(self.open.as_ref(), &self.ledger);
        let hash = bytes.last_chunk().copied();
        if hash.is_none() || hash != self.stored {
            self.stored = None;
            self.queue.write_open(&bytes)?;
            self.stored = hash;
        }
        self.unsettled = false;
        Ok(())
    }

    /// The next report of today, without counts; `None` where today has as many as it may have.
    fn begin(&mut self, context: &Context, hour_now: i64) -> Result<Option<Report>, Error> {
        let Some(number) = self.number(hour_now)? else { return Ok(None) };
        let report = self.report(context, number)?;
        self.ledger.begins(number);
        Ok(Some(report))
    }

    /// Nonce and part of the next report of today. A day has one nonce, whatever came between two of its parts.
    fn number(&self, hour_now: i64) -> Result<Option<Day>, Error> {
        let day = day_of(hour_now);
        let known = self.ledger.days.iter().find(|known| known.day == day);
        match known {
            Some(known) => Ok(Some(*known).filter(|known| known.part < MAX_PARTS)),
            None => Ok(Some(Day { day, nonce: fresh_nonce()?, part: 0 })),
        }
    }

    pub(super) fn report(&self, context: &Context, Day { day, nonce, part }: Day) -> Result<Report, Error> {
        let Context { rollout, arm, bundle, state, reason, golden, .. } = context;
        let bad = || Error::BadName { name: rollout.clone() };
        let name = Some(rollout.as_str()).filter(|name| plain(name)).and_then(|name| name.try_into().ok());
        let mut short = [0; 16];
        short.copy_from_slice(&bundle[..16]);
        Ok(Report {
            day,
            part,
            rollout: name.ok_or_else(bad)?,
            arm: arm_of(context).unwrap_or(*arm),
            bundle: short,
            hardware: self.config.hardware.as_str().try_into().unwrap_or_default(),
            runtime: RUNTIME,
            state: *state,
            reason: *reason,
            golden: *golden,
            nonce,
            ..Report::default()
        })
    }

    fn at(&self, point: &str) {
        if let Some(at) = self.config.at {
            at(point);
        }
    }

    fn message(&self, report: &Report) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; MAX_REPORT_LEN];
        let end = report.encode(self.config.key.is_some(), &mut out)?;
        out.truncate(end);
        if let Some(key) = &self.config.key {
            let tag: [u8; TAG_LEN] = key.tag(&out);
            out.extend_from_slice(&tag);
        }
        Ok(out)
    }
}

fn is_about(report: &Report, context: &Context) -> bool {
    report.rollout.as_str() == context.rollout
        && report.arm == arm_of(context).unwrap_or(context.arm)
        && report.bundle[..] == context.bundle[..16]
}

/// Without a rollout there is no arm, but for those that are kept out of all of them.
fn arm_of(context: &Context) -> Option<Arm> {
    (context.rollout.is_empty() && context.arm != Arm::Holdout).then_some(Arm::None)
}

pub(super) fn key(report: &Report) -> Key {
    key_of(report.day, report.part, &report.nonce)
}

/// The key of the report of a day behind that would be the next one.
pub(super) fn next_of(day: &Day) -> Key {
    key_of(day.day, day.part, &day.nonce)
}

fn key_of(day: u32, part: u8, [a, b, c, d, ..]: &[u8; 16]) -> Key {
    (day, part, u32::from_be_bytes([*a, *b, *c, *d]))
}

pub(super) fn fresh_nonce() -> Result<[u8; 16], Error> {
    let mut nonce = [0; 16];
    getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
    Ok(nonce)
}

pub(super) fn day_of(hour: i64) -> u32 {
    u32::try_from(hour / 24).unwrap_or(u32::MAX).min(MAX_DAY)
}

/// Names that a report takes.
fn plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

/// Of a clock that was ahead: more than a day is no matter of clocks that are set now and then. One that was never set knows of no day.
fn is_strange(day: u32, hour_now: i64) -> bool {
    let today = day_of(hour_now);
    today >= FIRST_DAY && day > today.saturating_add(1)
}

pub(super) const HOUR_S: i64 = 3600;
/// 1 January 2024: a clock before it was never set.
const FIRST_DAY: u32 = 19_723;
/// Seconds over which devices are spread after an hour.
const HOUR_JITTER_S: u32 = 1800;
/// By how much the last report of a day may be larger than one of its hours, bytes.
const LAST_IS_LARGER: usize = 160;
const SELECT_DOMAIN: &[u8] = b"ff-report-sample-v1\0";
/// This runtime.
const RUNTIME: (u16, u16, u16) = (validate::RUNTIME.0, validate::RUNTIME.1, number(env!("CARGO_PKG_VERSION_PATCH")));
