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

use std::sync::Arc;

use fleetfoot_format::report::{Arm, MAX_DAY, MAX_HARDWARE_LEN, MAX_PARTS, MAX_REPORT_LEN, Report, State, TAG_LEN};
use fleetfoot_health::Tally;
use fleetfoot_trust::{ReportKey, Sha256};

use super::{
    observer::Observer,
    open::Open,
    queue::{Key, Queue},
    send::{ReportTransport, Sent, send},
};
use crate::{
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
    /// The file system.
    pub disk: Arc<dyn Disk>,
}

impl ReportConfig {
    /// All devices, no key, 256 KiB.
    #[must_use]
    pub fn new(hardware: &str) -> Self {
        let disk = Arc::new(OsDisk);
        Self { enabled: true, one_in: 1, hardware: hardware.into(), key: None, max_bytes: 256 << 10, disk }
    }
}

/// What the counts of now are about. Where it changes, a part ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The rollout, or nothing. While there is one, parts are hours, else days.
    pub rollout: String,
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
    config: ReportConfig,
    queue: Queue,
    device_key: [u8; 16],
    open: Option<Open>,
    /// The hour in which this process began or took up the part.
    since_hour: Option<i64>,
    /// Counted, and not yet in `open`.
    unbooked: Tally,
    /// A report lies in the queue whose part is still in the file `open`: nothing may be sent before that is written.
    unsettled: bool,
}

impl Reporter {
    /// Goes on with what lies in `folder`, which only this reporter writes. `device_key` draws who reports; it is not sent.
    ///
    /// # Errors
    /// [`Error::BadName`] for a class of hardware that is none, [`Error::File`].
    pub fn open(folder: &std::path::Path, config: ReportConfig, device_key: [u8; 16]) -> Result<Self, Error> {
        if !plain(&config.hardware) || config.hardware.len() > MAX_HARDWARE_LEN {
            return Err(Error::BadName { name: config.hardware });
        }
        let queue = Queue::open(folder, Arc::clone(&config.disk), config.max_bytes)?;
        let mut this = Self {
            config,
            queue,
            device_key,
            open: None,
            since_hour: None,
            unbooked: Tally::default(),
            unsettled: false,
        };
        if !this.config.enabled {
            this.queue.clear()?;
            return Ok(this);
        }
        this.open = this.queue.read_open()?.and_then(|bytes| Open::decode(&bytes));
        if let Some(open) = &mut this.open
            && this.queue.contains(key(&open.report))
        {
            // It died between the report and the next part.
            open.tally = Tally::default();
            open.report.part += 1;
            this.unsettled = true;
        }
        if this.open.as_ref().is_some_and(|open| open.report.part >= MAX_PARTS) {
            this.open = None;
        }
        Ok(this)
    }

    /// Makes a report where a part is over, and books what was counted since the last tick on the part of now. `now` is seconds since 1970;
    /// call it every few minutes, when the application goes to the background, and before it ends.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::NoRandomness`]: nothing is lost, the next tick tries again.
    pub fn tick(&mut self, observer: &Observer, context: &Context, now: i64) -> Result<(), Error> {
        let delta = observer.take();
        if !self.config.enabled || !self.selected(&context.rollout) {
            return Ok(());
        }
        let hour_now = now.max(0) / HOUR_S;
        // Where nothing of it is stored below, it is in memory for the next tick.
        self.unbooked.add(&delta);
        if self.open.as_ref().is_some_and(|open| self.is_over(open, context, hour_now)) {
            self.close(context, hour_now)?;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => Open { report: self.begin(context, hour_now, None)?, tally: Tally::default() },
        };
        self.since_hour.get_or_insert(hour_now);
        open.tally.add(&self.unbooked.take());
        open.report.drift = open.tally.verdicts(observer.baseline());
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
        // A file of the part that is open is a report that may still become more: a push that failed behind its rename.
        send(&self.queue, transport, self.open.as_ref().map(|open| key(&open.report)))
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
        let hourly = !open.report.rollout.is_empty() && part + 1 < MAX_PARTS;
        let hour_over = hourly && self.since_hour.is_some_and(|since| hour_now > since);
        day_of(hour_now) > day || hour_over || !is_about(&open.report, context)
    }

    /// Ends the part: the report first, then the next part.
    fn close(&mut self, context: &Context, hour_now: i64) -> Result<(), Error> {
        let Some(open) = &self.open else { return Ok(()) };
        let Report { day, part, nonce, .. } = open.report;
        // The first of a day is sent even if nothing happened: that it is missing would mean something.
        let silent = part > 0 && open.tally.is_empty();
        if !silent {
            let mut report = open.report.clone();
            open.tally.fill(&mut report);
            match self.message(&report) {
                Ok(message) => self.queue.push(key(&report), &message)?,
                Err(error) => tracing::warn!("a report that cannot be written is dropped: {error}"),
            }
            self.unsettled = true;
        }
        let next = part + u8::from(!silent);
        let same_day = day_of(hour_now) <= day && next < MAX_PARTS;
        let report = self.begin(context, hour_now, same_day.then_some((day, next, nonce)))?;
        self.open = Some(Open { report, tally: Tally::default() });
        self.since_hour = Some(hour_now);
        self.save()
    }

    fn save(&mut self) -> Result<(), Error> {
        if let Some(open) = &self.open {
            self.queue.write_open(&open.encode())?;
        }
        self.unsettled = false;
        Ok(())
    }

    /// A report without counts. On the same day the nonce stays and the part goes on.
    fn begin(&self, context: &Context, hour_now: i64, same: Option<(u32, u8, [u8; 16])>) -> Result<Report, Error> {
        let (day, part, nonce) = match same {
            Some(same) => same,
            None => {
                let mut nonce = [0; 16];
                getrandom::fill(&mut nonce).map_err(|_| Error::NoRandomness)?;
                (day_of(hour_now), 0, nonce)
            }
        };
        let Context { rollout, arm, bundle, state, reason, golden } = context;
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

fn key(report: &Report) -> Key {
    let [a, b, c, d, ..] = report.nonce;
    (report.day, report.part, u32::from_be_bytes([a, b, c, d]))
}

fn day_of(hour: i64) -> u32 {
    u32::try_from(hour / 24).unwrap_or(u32::MAX).min(MAX_DAY)
}

/// Names that a report takes.
fn plain(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

const HOUR_S: i64 = 3600;
const SELECT_DOMAIN: &[u8] = b"ff-report-sample-v1\0";
/// This runtime.
const RUNTIME: (u16, u16, u16) = (validate::RUNTIME.0, validate::RUNTIME.1, number(env!("CARGO_PKG_VERSION_PATCH")));
