//! Predictions that wait for what came of them, and the sums of those of which it is known.
//!
//! ```text
//! predictions    0   4  magic "FFPR"
//!                4   1  version, 1; then three zeros
//!                8      entries of 48 bytes
//! entry          0   1  kind: 1 prediction, 2 outcome, 3 sums of one day
//!                1   1  arm
//!                2   2  zero
//!                4   8  identifier; of sums the number of outcomes
//!               12   8  seconds since 1970 of the prediction; of sums the day, as its first second
//!               20   8  first 8 bytes of the SHA-256 of the rollout's name in small letters
//!               28   8  value, float64; of sums their sum
//!               36   8  float64: of sums the sum of squares
//!               44   4  CRC-32 of bytes 0 .. 44
//! ```
//! A journal: every change is one entry at its end, so an outcome and the end of its prediction are one write. An entry that is torn ends the
//! file. When it has grown to twice the number of predictions that may wait, what still counts is written to a new file that
//! takes its place. The operating system decides when it is durable: a process that dies loses nothing, a power cut
//! the latest entries, whole ones.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    fs::{File, OpenOptions},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use fleetfoot_format::record::Arm;

use super::{OutcomeSums, PredictionId, config::PredictionConfig};
use crate::{error::Error, store::Disk};

/// See the module.
#[derive(Debug)]
pub(crate) struct Outcomes {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    config: PredictionConfig,
    file: File,
    /// Bytes of whole entries.
    len: u64,
    pending: HashMap<u64, Pending>,
    /// Identifiers in the order in which they were given; some are not pending any more.
    order: VecDeque<u64>,
    answered: Recent,
    sums: BTreeMap<(i64, [u8; 8], Arm), Sums>,
    /// Identifiers of this process have these upper bits.
    process: u64,
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Pending {
    at: i64,
    rollout: [u8; 8],
    arm: Arm,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sums {
    n: u64,
    sum: f64,
    sum_squares: f64,
}

/// The latest identifiers that had their outcome.
#[derive(Debug, Default)]
struct Recent {
    order: VecDeque<u64>,
    all: HashSet<u64>,
}

impl Outcomes {
    /// Goes on with the file at `path`, or begins a new one where there is none or nothing of it can be read.
    ///
    /// # Errors
    /// [`Error::File`], also for a file of a newer version, which is left alone.
    pub(crate) fn open(path: &Path, config: PredictionConfig, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        let fault = |source| Error::file("open", path, source);
        let mut file = open_file(path).map_err(fault)?;
        let mut bytes = Vec::new();
        let limit = HEADER.len() as u64 + most_entries(&config) * ENTRY as u64;
        file.by_ref().take(limit).read_to_end(&mut bytes).map_err(fault)?;
        if bytes.starts_with(&HEADER[..4]) && bytes.len() > 4 && bytes[4] != HEADER[4] {
            return Err(fault(io::Error::new(io::ErrorKind::Unsupported, "written by a newer runtime")));
        }
        let mut this = Self {
            path: path.into(),
            disk,
            config,
            file,
            len: 0,
            pending: HashMap::new(),
            order: VecDeque::new(),
            answered: Recent::default(),
            sums: BTreeMap::new(),
            // Random, so that identifiers of a lost file are not given again.
            process: RandomState::new().build_hasher().finish() << 32,
            next: 0,
        };
        if let Some(entries) = bytes.strip_prefix(&HEADER[..]) {
            this.len = HEADER.len() as u64;
            for entry in entries.as_chunks::<ENTRY>().0 {
                let Some(entry) = Entry::decode(entry) else { break };
                this.replay(&entry);
                this.len += ENTRY as u64;
            }
            this.file.set_len(this.len).map_err(fault)?;
            this.file.seek(SeekFrom::Start(this.len)).map_err(fault)?;
        } else {
            this.file.set_len(0).map_err(fault)?;
            this.file.seek(SeekFrom::Start(0)).map_err(fault)?;
            this.append(&HEADER)?;
        }
        Ok(this)
    }

    /// Writes down a prediction made now.
    pub(super) fn predicted(&mut self, rollout: [u8; 8], arm: Arm, now: i64) -> Result<PredictionId, Error> {
        self.compact_if_long(now)?;
        let id = self.process | u64::from(self.next);
        let entry = Entry { kind: PREDICTION, arm, id, at: now, rollout, value: 0.0, squares: 0.0 };
        self.append(&entry.encode())?;
        self.next = self.next.wrapping_add(1);
        if self.next == 0 {
            self.process = RandomState::new().build_hasher().finish() << 32;
        }
        self.replay(&entry);
        Ok(PredictionId(id))
    }

    /// Books what came of a prediction on the day of the prediction.
    pub(super) fn outcome(&mut self, id: PredictionId, value: f64, now: i64) -> Result<(), Error> {
        if !(value.is_finite() && value.abs() <= MAX_VALUE) {
            return Err(Error::BadOutcome { value });
        }
        let PredictionId(id) = id;
        if self.answered.all.contains(&id) {
            return Err(Error::OutcomeTwice { id });
        }
        let expired = |pending: &Pending| now.saturating_sub(pending.at) > i64::from(self.config.expiry_s);
        let Some(&Pending { at, rollout, arm }) = self.pending.get(&id).filter(|pending| !expired(pending)) else {
            return Err(Error::NoPrediction { id });
        };
        self.compact_if_long(now)?;
        let entry = Entry { kind: OUTCOME, arm, id, at, rollout, value, squares: 0.0 };
        self.append(&entry.encode())?;
        self.replay(&entry);
        Ok(())
    }

    /// The sums of all days that are kept.
    pub(super) fn sums(&self) -> Vec<OutcomeSums> {
        let sums = |(&(day, rollout, arm), &Sums { n, sum, sum_squares }): (&(i64, [u8; 8], Arm), &Sums)| OutcomeSums {
            day,
            rollout,
            arm,
            n,
            sum,
            sum_squares,
        };
        self.sums.iter().map(sums).collect()
    }

    /// Makes everything durable.
    pub(crate) fn flush(&self) -> Result<(), Error> {
        self.disk.sync(&self.file).map_err(|source| Error::file("write", &self.path, source))
    }

    fn replay(&mut self, entry: &Entry) {
        let Entry { arm, id, at, rollout, value, squares, .. } = *entry;
        match entry.kind {
            PREDICTION => {
                self.pending.insert(id, Pending { at, rollout, arm });
                self.order.push_back(id);
                while self.pending.len() > self.config.max_pending.max(1)
                    && let Some(oldest) = self.order.pop_front()
                {
                    self.pending.remove(&oldest);
                }
                // Those with an outcome leave the order late.
                while self.order.front().is_some_and(|id| !self.pending.contains_key(id)) {
                    self.order.pop_front();
                }
            }
            OUTCOME => {
                self.pending.remove(&id);
                self.answered.insert(id, self.config.max_pending);
                let sums = self.sums.entry((at.div_euclid(DAY_S), rollout, arm)).or_default();
                (sums.n, sums.sum, sums.sum_squares) = (sums.n + 1, sums.sum + value, sums.sum_squares + value * value);
            }
            _ => {
                let sums = Sums { n: id, sum: value, sum_squares: squares };
                self.sums.insert((at.div_euclid(DAY_S), rollout, arm), sums);
            }
        }
    }

    /// Appends whole entries or nothing.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Err(source) = self.disk.write(&self.file, bytes) {
            let back = self.file.set_len(self.len).and_then(|()| self.file.seek(SeekFrom::Start(self.len)));
            return Err(Error::file("write", &self.path, back.err().unwrap_or(source)));
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn compact_if_long(&mut self, now: i64) -> Result<(), Error> {
        if (self.len / ENTRY as u64) < most_entries(&self.config) - 1 {
            return Ok(());
        }
        self.compact(now)
    }

    /// Writes what still counts to a new file that takes the place of the old one.
    fn compact(&mut self, now: i64) -> Result<(), Error> {
        let today = now.div_euclid(DAY_S);
        let mut sums = self.sums.clone();
        sums.retain(|(day, ..), _| today.saturating_sub(*day) < DAYS);
        while sums.len() > MAX_SUMS {
            sums.pop_first();
        }
        let is_alive = |pending: &Pending| now.saturating_sub(pending.at) <= i64::from(self.config.expiry_s);
        let pending: Vec<(u64, Pending)> = self
            .order
            .iter()
            .filter_map(|id| Some((*id, *self.pending.get(id)?)))
            .filter(|(_, pending)| is_alive(pending))
            .collect();
        let mut bytes = HEADER.to_vec();
        for (&(day, rollout, arm), &Sums { n, sum, sum_squares }) in &sums {
            let entry = Entry { kind: SUMS, arm, id: n, at: day * DAY_S, rollout, value: sum, squares: sum_squares };
            bytes.extend(entry.encode());
        }
        for &(id, Pending { at, rollout, arm }) in &pending {
            bytes.extend(Entry { kind: PREDICTION, arm, id, at, rollout, value: 0.0, squares: 0.0 }.encode());
        }
        let temporary = self.path.with_extension("new");
        let replace = || {
            let file = open_file(&temporary)?;
            file.set_len(0)?;
            self.disk.write(&file, &bytes)?;
            self.disk.sync(&file)?;
            self.disk.rename(&temporary, &self.path)?;
            self.path.parent().map_or(Ok(()), |folder| self.disk.sync_folder(folder))?;
            Ok(file)
        };
        self.file = replace().map_err(|source| Error::file("write", &self.path, source))?;
        self.len = bytes.len() as u64;
        self.sums = sums;
        self.order = pending.iter().map(|(id, _)| *id).collect();
        self.pending = pending.into_iter().collect();
        Ok(())
    }
}

impl Recent {
    fn insert(&mut self, id: u64, most: usize) {
        if self.all.insert(id) {
            self.order.push_back(id);
        }
        while self.order.len() > most
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Entry {
    kind: u8,
    arm: Arm,
    id: u64,
    at: i64,
    rollout: [u8; 8],
    value: f64,
    squares: f64,
}

impl Entry {
    fn encode(&self) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        bytes[..2].copy_from_slice(&[self.kind, self.arm as u8]);
        bytes[4..12].copy_from_slice(&self.id.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.at.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.rollout);
        bytes[28..36].copy_from_slice(&self.value.to_le_bytes());
        bytes[36..44].copy_from_slice(&self.squares.to_le_bytes());
        let crc = crc32(&bytes[..44]);
        bytes[44..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        let part = |from: usize| bytes[from..].first_chunk::<8>().copied();
        let crc = bytes.last_chunk::<4>().map(|crc| u32::from_le_bytes(*crc))?;
        let arm = ARMS.into_iter().find(|arm| *arm as u8 == bytes[1])?;
        let entry = Self {
            kind: bytes[0],
            arm,
            id: u64::from_le_bytes(part(4)?),
            at: i64::from_le_bytes(part(12)?),
            rollout: part(20)?,
            value: f64::from_le_bytes(part(28)?),
            squares: f64::from_le_bytes(part(36)?),
        };
        let known = (PREDICTION..=SUMS).contains(&entry.kind) && entry.value.is_finite() && entry.squares.is_finite();
        (known && crc == crc32(&bytes[..44])).then_some(entry)
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Entries of the longest file.
fn most_entries(config: &PredictionConfig) -> u64 {
    2 * config.max_pending.max(1) as u64 + 2 * MAX_SUMS as u64
}

/// CRC-32 as in zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| (crc >> 1) ^ (0xEDB8_8320 & 0u32.wrapping_sub(crc & 1));
    let byte = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc));
    !bytes.iter().fold(!0, byte)
}

const HEADER: [u8; 8] = *b"FFPR\x01\0\0\0";
const ENTRY: usize = 48;
/// In the order of their numbers.
const ARMS: [Arm; 4] = [Arm::Treatment, Arm::Control, Arm::HoldOut, Arm::Outside];
const PREDICTION: u8 = 1;
const OUTCOME: u8 = 2;
const SUMS: u8 = 3;
const DAY_S: i64 = 86_400;
/// Days of which sums are kept.
const DAYS: i64 = 8;
/// Sums that are kept: days, rollouts and arms.
const MAX_SUMS: usize = 64;
/// Largest value of an outcome: a million of its squares still add up exactly enough.
const MAX_VALUE: f64 = 1e12;

#[cfg(test)]
#[path = "outcomes/tests.rs"]
mod tests;
