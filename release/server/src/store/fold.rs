//! Reports are added up here: a batch in one transaction.
//!
//! ```text
//! report ─▶ known nonce and part? ─▶ group (day, rollout, step, arm, hardware): counters, histogram, and for each metric
//!                                    the sum over devices of their mean on that day
//! ```
//! The groups are mirrored in memory, where they are added to; the rows of those that changed are written at the end of a batch. Of a device
//! and a day only a row with its parts and means is kept, on disk alone, for [`KEPT_DAYS`]: the memory does not grow with the fleet.
//!
//! A *step* is one stretch of a rollout in one stage. A report is booked in the step that was the last one to begin by the end of
//! its day, so that late reports do not leak into the stage that came after.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use fleetfoot_format::report::{Arm, HISTOGRAM_BUCKETS, Report};
use fleetfoot_health::Histogram;
use rusqlite::{Connection, Transaction, params};

use super::{Store, rollouts::State};
use crate::{
    clock::DAY_S,
    error::ControlError,
    groups::{Counted, Group, GroupKey, MetricName, N_UNITS, Units, ranges, unit_values},
    reports::{KEPT_DAYS, ReportError},
};

/// Groups at most. Guards memory and disk against names that are made up.
const MAX_GROUPS: usize = 20_000;
/// Of these, groups of rollouts that are over or that this server knows nothing of; so that the others always have room.
const MAX_STRANGE_GROUPS: usize = 10_000;
/// Classes of hardware of one arm on one day; further ones are added up as `other`.
const MAX_HARDWARE: usize = 64;
/// Groups of one rollout on one day; further ones are added up as `other`, one for each arm.
const MAX_OF_DAY: usize = 40;
/// Rows of devices that are remembered at most: about 4 GB of disk.
const MAX_DEVICES: u64 = 20_000_000;
/// Days that the sums of rollouts under way are kept.
const KEPT_SUMS: u32 = 400;
/// Between two days that are forgotten while today stays the same.
const CATCH_UP: Duration = Duration::from_secs(3600);
/// Different golden answers that are told apart in a group.
const MAX_GOLDEN: usize = 8;

/// Bit of a device's row: it reported of the candidate, or fell back.
const ON_CANDIDATE: u8 = 1;

/// What is kept in memory of the database.
#[derive(Debug)]
pub(crate) struct Mirror {
    groups: BTreeMap<GroupKey, Entry>,
    /// Of rollouts that this server runs.
    known: HashMap<String, Known>,
    strange: usize,
    devices: u64,
    /// When something was last forgotten, by the clock that may be wrong and by the one that only goes on.
    forgot: Option<(u32, Instant)>,
    ranges: [(f64, f64); N_UNITS],
}

#[derive(Debug)]
struct Entry {
    id: i64,
    group: Group,
}

/// What folding has to know of a rollout.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Number and first day of each step, rising.
    pub(crate) steps: Vec<(u32, u32)>,
    /// First half of the hash of the candidate.
    pub(crate) candidate: [u8; 16],
    /// Nothing is decided by its sums any more.
    is_over: bool,
}

impl Known {
    fn step_of(&self, day: u32) -> u32 {
        let begun = self.steps.iter().rev().find(|(_, first)| *first <= day);
        // Before the first step there is no treatment: what comes then is late for something else.
        begun.map_or(0, |(step, _)| *step)
    }
}

impl Mirror {
    pub(super) fn load(connection: &Connection, ranges: [(f64, f64); N_UNITS]) -> Result<Self, ControlError> {
        let (groups, known) = (BTreeMap::new(), HashMap::new());
        let mut this = Self { groups, known, strange: 0, devices: 0, forgot: None, ranges };
        let mut rows = connection.prepare("SELECT id, day, rollout, step, arm, hardware, devices, on_candidate, counters, latency, golden FROM groups")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let key = GroupKey {
                day: row.get(1)?,
                rollout: row.get(2)?,
                step: row.get(3)?,
                arm: arm_of(row.get(4)?),
                hardware: row.get(5)?,
            };
            let mut group = Group { devices: row.get(6)?, on_candidate: row.get(7)?, ..Group::default() };
            group.set_counters(&words(&row.get::<_, Vec<u8>>(8)?));
            group.latency = histogram(&row.get::<_, Vec<u8>>(9)?);
            group.golden = golden(&row.get::<_, Vec<u8>>(10)?);
            let id: i64 = row.get(0)?;
            let mut sums = connection.prepare_cached("SELECT metric, n, sum, sumsq FROM sums WHERE grp = ?1")?;
            let mut sums = sums.query([id])?;
            while let Some(row) = sums.next()? {
                if let Some(units) = group.units.get_mut(row.get::<_, usize>(0)?) {
                    *units = Units { n: row.get(1)?, sum: row.get(2)?, sum_squares: row.get(3)? };
                }
            }
            this.groups.insert(key, Entry { id, group });
        }
        this.devices = connection.query_row("SELECT count(*) FROM devices", [], |row| row.get(0))?;
        this.learn(read_known(connection)?);
        Ok(this)
    }

    fn learn(&mut self, known: HashMap<String, Known>) {
        self.known = known;
        self.strange = self.groups.keys().filter(|key| self.is_strange(&key.rollout)).count();
    }

    /// Whether this server has nothing to decide about `rollout`: it is not its own, or over.
    fn is_strange(&self, rollout: &str) -> bool {
        self.known.get(rollout).is_none_or(|known| known.is_over)
    }

    fn key_of(&self, report: &Report) -> GroupKey {
        let known = self.known.get(report.rollout.as_str());
        let mut key = GroupKey {
            day: report.day,
            rollout: report.rollout.as_str().into(),
            step: known.map_or(0, |known| known.step_of(report.day)),
            arm: report.arm,
            hardware: report.hardware.as_str().into(),
        };
        if !self.groups.contains_key(&key) {
            let first = GroupKey { hardware: String::new(), ..key.clone() };
            let of_arm = self.groups.range(first..).take_while(|(other, _)| other.is_beside(&key));
            let first_of_day = GroupKey { step: 0, arm: Arm::None, hardware: String::new(), ..key.clone() };
            let of_day = self.groups.range(first_of_day..);
            let of_day = of_day.take_while(|(other, _)| other.day == key.day && other.rollout == key.rollout);
            if of_arm.take(MAX_HARDWARE).count() == MAX_HARDWARE || of_day.take(MAX_OF_DAY).count() == MAX_OF_DAY {
                key.hardware = "other".into();
            }
        }
        key
    }
}

/// What became of one report.
pub(crate) type Folded = Result<bool, ReportError>;

impl Store {
    /// Adds a batch, in one transaction: each report `Ok(true)` added, `Ok(false)` known already, or why it was not taken.
    ///
    /// # Errors
    /// The database refused: nothing of the batch was added.
    pub(crate) fn fold(&self, batch: &[Report], today: u32) -> Result<Vec<Folded>, ControlError> {
        let mut inner = self.lock();
        let super::Inner { connection, mirror } = &mut *inner;
        let transaction = connection.transaction()?;
        let mut dirty = BTreeSet::new();
        let folded = forget(&transaction, mirror, today)
            .and_then(|()| batch.iter().map(|report| add(&transaction, mirror, report, &mut dirty)).collect())
            .and_then(|folded: Vec<Folded>| {
                for key in &dirty {
                    if let Some(entry) = mirror.groups.get(key) {
                        write(&transaction, entry)?;
                    }
                }
                Ok(folded)
            });
        self.changes.fetch_add(1, Ordering::Relaxed);
        match folded.and_then(|folded| Ok(transaction.commit().map(|()| folded)?)) {
            Ok(folded) => Ok(folded),
            Err(error) => {
                // What the mirror is ahead is taken back.
                *mirror = Mirror::load(connection, mirror.ranges)?;
                Err(error)
            }
        }
    }

    /// What applications call their metrics, and what these can be.
    pub(crate) fn set_metrics(&self, names: &[MetricName]) {
        self.lock().mirror.ranges = ranges(names);
    }

    /// All groups, the newest day first.
    pub(crate) fn groups<T>(&self, read: impl Fn(&GroupKey, &Group) -> Option<T>) -> Vec<T> {
        self.lock().mirror.groups.iter().rev().filter_map(|(key, entry)| read(key, &entry.group)).collect()
    }

    /// What folding knows of the rollouts is read again: a step began.
    pub(crate) fn refresh_known(&self) -> Result<(), ControlError> {
        let mut inner = self.lock();
        let known = read_known(&inner.connection)?;
        inner.mirror.learn(known);
        Ok(())
    }

    /// Rows of devices, groups.
    pub(crate) fn sizes(&self) -> (u64, usize) {
        let inner = self.lock();
        (inner.mirror.devices, inner.mirror.groups.len())
    }
}

/// A row of `devices`.
struct Device {
    parts: u64,
    flags: u8,
    means: [(f64, f64); N_UNITS],
    counted: Counted,
}

fn add(
    t: &Transaction<'_>,
    mirror: &mut Mirror,
    report: &Report,
    dirty: &mut BTreeSet<GroupKey>,
) -> Result<Folded, ControlError> {
    let mut seen = t.prepare_cached("SELECT grp, parts, flags, means FROM devices WHERE day = ?1 AND nonce = ?2")?;
    let mut rows = seen.query(params![report.day, report.nonce])?;
    let part = 1u64 << report.part.min(63);
    let mut before: Vec<(i64, Device)> = Vec::new();
    while let Some(row) = rows.next()? {
        let parts = row.get::<_, i64>(1)?.cast_unsigned();
        if parts & part != 0 {
            return Ok(Ok(false));
        }
        before.push((row.get(0)?, Device::read(parts, row.get(2)?, row.get_ref(3)?.as_blob().unwrap_or(&[]))));
    }
    drop(rows);
    let key = mirror.key_of(report);
    let strange = mirror.is_strange(&key.rollout);
    if !mirror.groups.contains_key(&key) {
        if mirror.groups.len() >= MAX_GROUPS || (strange && mirror.strange >= MAX_STRANGE_GROUPS) {
            return Ok(Err(ReportError::Full));
        }
        let mut insert = t.prepare_cached(
            "INSERT INTO groups (day, rollout, step, arm, hardware, devices, on_candidate, counters, latency, golden)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, x'', x'', x'')",
        )?;
        let id = insert.insert(params![key.day, key.rollout, key.step, key.arm as u8, key.hardware])?;
        mirror.groups.insert(key.clone(), Entry { id, group: Group::default() });
        mirror.strange += usize::from(strange);
    }
    let Some(entry) = mirror.groups.get_mut(&key) else { return Ok(Err(ReportError::Full)) };
    let known = before.into_iter().find(|(id, _)| *id == entry.id).map(|(_, device)| device);
    if known.is_none() && mirror.devices >= MAX_DEVICES {
        return Ok(Err(ReportError::Full));
    }
    let is_new = known.is_none();
    let mut device = known.unwrap_or_else(|| Device::read(0, 0, &[]));
    let on_candidate = mirror.known.get(&key.rollout).is_some_and(|known| {
        match report.arm {
            // In the shadow the baseline answers; that the candidate ran is known by what was compared.
            Arm::Shadow => report.counts.shadow > 0,
            arm => known.candidate == report.bundle || (arm == Arm::Treatment && report.counts.fallbacks > 0),
        }
    });
    let group = &mut entry.group;
    group.devices += u64::from(is_new);
    group.on_candidate += u64::from(on_candidate && device.flags & ON_CANDIDATE == 0);
    device.flags |= if on_candidate { ON_CANDIDATE } else { 0 };
    device.parts |= part;
    group.count(report, MAX_GOLDEN);
    let counted = device.counted.after(report);
    group.replace(device.counted, counted);
    device.counted = counted;
    for (i, sum, n) in unit_values(report) {
        let (units, before) = (&mut group.units[i], device.means[i]);
        device.means[i] = (before.0 + sum, before.1 + n);
        // What the device said before on this day is replaced, not added to: the unit is its mean over the day.
        units.replace(i, mirror.ranges[i], before, device.means[i]);
    }
    let mut put = t.prepare_cached("INSERT OR REPLACE INTO devices VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    put.execute(params![report.day, report.nonce, entry.id, device.parts.cast_signed(), device.flags, device.said()])?;
    mirror.devices += u64::from(is_new);
    dirty.insert(key);
    Ok(Ok(true))
}

fn write(t: &Transaction<'_>, Entry { id, group }: &Entry) -> Result<(), ControlError> {
    let counters: Vec<u8> = group.counters().iter().flat_map(|n| n.to_le_bytes()).collect();
    let used = group.latency.buckets().iter().enumerate().filter(|(_, n)| **n > 0);
    let latency: Vec<u8> = used.flat_map(|(i, n)| [i as u32, *n]).flat_map(u32::to_le_bytes).collect();
    let golden: Vec<u8> =
        group.golden.iter().flat_map(|(hash, n)| hash.iter().copied().chain(n.to_le_bytes())).collect();
    let mut update = t.prepare_cached(
        "UPDATE groups SET devices = ?2, on_candidate = ?3, counters = ?4, latency = ?5, golden = ?6 WHERE id = ?1",
    )?;
    update.execute(params![id, group.devices, group.on_candidate, counters, latency, golden])?;
    let mut put = t.prepare_cached("INSERT OR REPLACE INTO sums VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (metric, units) in group.units.iter().enumerate().filter(|(_, units)| units.n > 0) {
        put.execute(params![id, metric, units.n, units.sum, units.sum_squares])?;
    }
    Ok(())
}

/// Once a day: what is about days that nobody asks for any more leaves. The sums of rollouts under way stay longer: a stage may last a year.
/// The clock may be wrong, so that it is one day of devices at a time; where there are more, another one every hour.
fn forget(t: &Transaction<'_>, mirror: &mut Mirror, today: u32) -> Result<(), ControlError> {
    let first = today.saturating_sub(KEPT_DAYS);
    let waits = mirror.forgot.is_some_and(|(day, at)| day == today && at.elapsed() < CATCH_UP);
    if waits {
        return Ok(());
    }
    mirror.forgot = Some((today, Instant::now()));
    let oldest: Option<u32> = t.query_row("SELECT min(day) FROM devices", [], |row| row.get(0))?;
    let first = oldest.map_or(first, |oldest| first.min(oldest + 1));
    let first_sum = (first + KEPT_DAYS).saturating_sub(KEPT_SUMS);
    let gone = t.execute("DELETE FROM devices WHERE day < ?1", [first])?;
    mirror.devices = mirror.devices.saturating_sub(gone as u64);
    let old: Vec<GroupKey> = {
        let first_of = |key: &GroupKey| {
            if mirror.is_strange(&key.rollout) { first } else { first_sum }
        };
        mirror.groups.keys().filter(|key| key.day < first_of(key)).cloned().collect()
    };
    for key in old {
        if let Some(entry) = mirror.groups.remove(&key) {
            mirror.strange = mirror.strange.saturating_sub(usize::from(mirror.is_strange(&key.rollout)));
            t.execute("DELETE FROM sums WHERE grp = ?1", [entry.id])?;
            t.execute("DELETE FROM groups WHERE id = ?1", [entry.id])?;
        }
    }
    Ok(())
}

/// The names and first days of the steps, and the candidate, of each rollout.
fn read_known(connection: &Connection) -> Result<HashMap<String, Known>, ControlError> {
    let mut all: HashMap<String, Known> = HashMap::new();
    let mut rollouts = connection.prepare_cached("SELECT id, candidate, state, step, signed FROM rollouts")?;
    let mut rows = rollouts.query([])?;
    while let Some(row) = rows.next()? {
        let hash: String = row.get(1)?;
        let byte = |i: usize| hash.get(2 * i..2 * i + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let mut steps = connection
            .prepare_cached("SELECT step, begun_s FROM steps WHERE rollout = ?1 AND step < ?2 ORDER BY step")?;
        let id: String = row.get(0)?;
        let state = State::of(&row.get::<_, String>(2)?);
        let day = |s: i64| u32::try_from(s / DAY_S).unwrap_or(0);
        // A step that nobody was told of yet has no reports.
        let until = row.get::<_, u32>(3)? + u32::from(state != State::Running || row.get(4)?);
        let steps = steps
            .query_map(params![id, until], |row| Ok((row.get(0)?, day(row.get(1)?))))?
            .collect::<Result<_, _>>()?;
        all.insert(id, Known { steps, is_over: state.is_over(), candidate: std::array::from_fn(byte) });
    }
    Ok(all)
}

fn arm_of(number: u8) -> Arm {
    let all = [Arm::None, Arm::Control, Arm::Treatment, Arm::Shadow, Arm::Holdout];
    all.into_iter().find(|arm| *arm as u8 == number).unwrap_or_default()
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

impl Device {
    /// From its row; `said` has the means, and behind them what is counted.
    fn read(parts: u64, flags: u8, said: &[u8]) -> Self {
        let words = words(said);
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        let means = std::array::from_fn(|i| (f64::from_bits(word(2 * i)), f64::from_bits(word(2 * i + 1))));
        let [compared, agreed, crashes] = std::array::from_fn(|i| word(2 * N_UNITS + i));
        Self { parts, flags, means, counted: Counted { compared, agreed, crashes } }
    }

    fn said(&self) -> Vec<u8> {
        let Counted { compared, agreed, crashes } = self.counted;
        let means = self.means.iter().flat_map(|(sum, n)| [sum.to_bits(), n.to_bits()]);
        means.chain([compared, agreed, crashes]).flat_map(u64::to_le_bytes).collect()
    }
}

fn histogram(bytes: &[u8]) -> Histogram {
    let mut buckets = [0; HISTOGRAM_BUCKETS];
    for pair in bytes.as_chunks::<8>().0 {
        let [a, b, c, d, e, f, g, h] = *pair;
        if let Some(to) = buckets.get_mut(u32::from_le_bytes([a, b, c, d]) as usize) {
            *to = u32::from_le_bytes([e, f, g, h]);
        }
    }
    Histogram::from_buckets(buckets)
}

fn golden(bytes: &[u8]) -> BTreeMap<[u8; 8], u64> {
    let pair = |pair: &[u8; 16]| {
        let (hash, n) = pair.split_at(8);
        Some((hash.try_into().ok()?, u64::from_le_bytes(n.try_into().ok()?)))
    };
    bytes.as_chunks::<16>().0.iter().filter_map(pair).collect()
}
