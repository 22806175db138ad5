//! The health report: all that a device ever says of itself, about 250 bytes a day.
//!
//! ```text
//! 0      4   magic "FFHR"
//! 4      1   report version, 1
//! 5      1   0: no tag, 1: a tag of 32 bytes follows the body
//! 6      2   length n of the body
//! 8      n   body, postcard (see [`Report`])
//! 8+n   32   HMAC-SHA-256 of "ff-report-v1\0" and bytes 0 .. 8+n, under the key that was provisioned
//! ```
//! There is no device in it, no address, no user, no input, no answer: numbers about a day, the version they are about, and a class of
//! hardware. The nonce is random and new every day, so that a report which arrives twice is counted once and two days of one
//! device cannot be told from those of two. Messages may follow one another in one request.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::{error::FormatError, limits::MAX_NAME_LEN};

/// The first four bytes.
pub const REPORT_MAGIC: [u8; 4] = *b"FFHR";
/// The version that this crate reads and writes.
pub const REPORT_VERSION: u8 = 1;
/// Bytes of a message with its tag that are never exceeded: what a device sends on a day without a rollout.
pub const MAX_REPORT_LEN: usize = 1536;
/// Buckets of a latency histogram; see the crate `fleetfoot-health`.
pub const HISTOGRAM_BUCKETS: usize = 528;
/// Buckets of a histogram that a report carries.
pub const MAX_LATENCY_BUCKETS: usize = 96;
/// Metrics of the application in a report.
pub const MAX_METRICS: usize = 4;
/// Verdicts over tensors in a report.
pub const MAX_DRIFT: usize = 8;
/// Bytes of the name of a class of hardware.
pub const MAX_HARDWARE_LEN: usize = 32;
/// The last day that a report may be about, in the year 4707.
pub const MAX_DAY: u32 = 1_000_000;
/// Bytes of a tag.
pub const TAG_LEN: usize = 32;
/// Parts of a day: one for each hour and some that a restart adds.
pub const MAX_PARTS: u8 = 48;

/// Which arm of a rollout a device is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arm {
    /// No rollout, or not in it.
    #[default]
    None,
    /// It runs the version from before, to compare with.
    Control,
    /// It runs the candidate.
    Treatment,
    /// It runs the candidate beside the version from before, and answers with that.
    Shadow,
    /// It is kept out of all rollouts.
    Holdout,
}

/// How far the device has come with the version on its way in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// Nothing is on its way.
    #[default]
    Idle,
    /// It is being fetched.
    Fetching,
    /// Complete, not yet validated.
    Ready,
    /// Validated, not yet serving.
    Validated,
    /// In the shadow of the active version.
    Shadow,
    /// On trial.
    Trial,
    /// Put off; the reason says why.
    Deferred,
    /// Rejected on this day; the reason says why.
    Rejected,
}

/// Counts of one part of a day. See `Counters` of the crate `fleetfoot-health`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Inferences that gave an answer.
    pub inferences: u32,
    /// Inferences that gave none: input, engine, memory, timeout, golden, bundle, crash, answer.
    pub errors: [u32; 8],
    /// Times that another version had to take over.
    pub fallbacks: u32,
    /// Inferences in the shadow.
    pub shadow: u32,
    /// Of these, the ones whose answer agreed.
    pub agree: u32,
    /// Inferences with a NaN.
    pub nan: u32,
    /// Inferences with a value outside of what calibration saw.
    pub out_of_range: u32,
    /// Inferences that answered as the one before, in the bytes that are looked at.
    pub constant: u32,
}

/// A latency histogram, its empty buckets left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SparseHistogram {
    /// Distance from the bucket before (from 0 for the first), count.
    steps: Vec<(u16, u32), MAX_LATENCY_BUCKETS>,
}

impl SparseHistogram {
    /// Adds `count` to `bucket`, which is not below the one that was pushed before. What does not fit, or comes too late, is
    /// added to the last bucket that there is.
    pub fn push(&mut self, bucket: usize, count: u32) {
        let last = self.buckets().last().map(|(bucket, _)| bucket);
        let step = bucket.saturating_sub(last.unwrap_or(0)).min(HISTOGRAM_BUCKETS - 1) as u16;
        if (last.is_none() || step > 0) && self.steps.push((step, count)).is_ok() {
            return;
        }
        if let Some((_, n)) = self.steps.last_mut() {
            *n = n.saturating_add(count);
        }
    }

    /// Buckets and their counts, rising.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u32)> {
        let mut at = 0;
        self.steps.iter().map(move |&(step, count)| {
            at += usize::from(step);
            (at, count)
        })
    }

    /// Durations in all buckets.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.steps.iter().map(|&(_, n)| u64::from(n)).sum()
    }

    fn holds(&self) -> bool {
        let rising = self.steps.iter().skip(1).all(|&(step, _)| step > 0);
        rising && self.buckets().all(|(bucket, count)| bucket < HISTOGRAM_BUCKETS && count > 0)
    }
}

/// A metric of the application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Which, by the numbering of the application; below [`MAX_METRICS`].
    pub id: u8,
    /// Values.
    pub n: u32,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_squares: f64,
}

impl Metric {
    /// Finite, and possible: the square of a mean is not above the mean of squares.
    fn holds(&self) -> bool {
        let n = f64::from(self.n);
        usize::from(self.id) < MAX_METRICS
            && self.n > 0
            && self.sum.is_finite()
            && self.sum_squares.is_finite()
            && self.sum_squares >= 0.0
            && self.sum * self.sum <= n * self.sum_squares * (1.0 + 1e-9)
    }
}

/// How far the values of one tensor are from the baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorDrift {
    /// Whether it is an output.
    pub output: bool,
    /// Which input or output.
    pub index: u8,
    /// Population stability index, thousandths; from 100 on worth a look, from 250 on another population.
    pub milli: u16,
}

/// One report. Everything that a device says; a field more is a decision (`tests/report_schema.rs`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The UTC day that it is about, days since 1970.
    pub day: u32,
    /// Which report of that day, from 0, below [`MAX_PARTS`]: hours while a rollout is active, else there is one.
    pub part: u8,
    /// The rollout, or nothing.
    pub rollout: String<MAX_NAME_LEN>,
    /// The arm in it.
    pub arm: Arm,
    /// The version that served: the first 16 bytes of the SHA-256 of the bundle.
    pub bundle: [u8; 16],
    /// Class of hardware, such as `linux-arm64`: `a-z 0-9 . _ -`. Thousands of devices share one.
    pub hardware: String<MAX_HARDWARE_LEN>,
    /// Runtime: major, minor, patch.
    pub runtime: (u16, u16, u16),
    /// State of the version on its way in.
    pub state: State,
    /// Why it is in this state, see `docs/errors.md`; 0 for no reason.
    pub reason: u16,
    /// What happened how often.
    pub counts: Counts,
    /// How long inferences took.
    pub latency: SparseHistogram,
    /// Metrics of the application.
    pub metrics: Vec<Metric, MAX_METRICS>,
    /// Drift of the watched tensors that have a verdict.
    pub drift: Vec<TensorDrift, MAX_DRIFT>,
    /// The first 8 bytes of the SHA-256 of all golden digests that this device reproduced; zero without goldens.
    pub golden: [u8; 8],
    /// Random, the same for all parts of a day, never for two days.
    pub nonce: [u8; 16],
}

impl Report {
    /// Writes the message to the front of `out`; returns its length. With `tag`, the caller appends [`TAG_LEN`] bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] where `out` is too short; [`MAX_REPORT_LEN`] bytes always suffice. [`FormatError::OutOfRange`]
    /// for what [`Message::read`] would refuse.
    pub fn encode(&self, tag: bool, out: &mut [u8]) -> Result<usize, FormatError> {
        self.check()?;
        let short = FormatError::Truncated { need: MAX_REPORT_LEN as u64, have: out.len() as u64 };
        let body = out.get_mut(HEAD_LEN..).ok_or(short)?;
        let len = postcard::to_slice(self, body).map_err(|_| short)?.len();
        let [low, high] = u16::try_from(len).map_err(|_| short)?.to_le_bytes();
        let [m0, m1, m2, m3] = REPORT_MAGIC;
        let head = [m0, m1, m2, m3, REPORT_VERSION, u8::from(tag), low, high];
        out.get_mut(..HEAD_LEN).ok_or(short)?.copy_from_slice(&head);
        Ok(HEAD_LEN + len)
    }

    fn check(&self) -> Result<(), FormatError> {
        let Self { rollout, hardware, counts, latency, metrics, drift, .. } = self;
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let plain = |text: &str| text.bytes().all(allowed);
        let faults = [
            ("day of a report", self.day > MAX_DAY),
            ("part of a report", self.part >= MAX_PARTS),
            ("rollout of a report", !plain(rollout)),
            ("arm of a report", rollout.is_empty() && !matches!(self.arm, Arm::None | Arm::Holdout)),
            ("hardware of a report", !plain(hardware)),
            ("shadow of a report", counts.agree > counts.shadow),
            ("latency of a report", !latency.holds() || latency.count() > u64::from(counts.inferences)),
            ("metric of a report", !metrics.iter().all(Metric::holds) || repeated(metrics.iter().map(|m| m.id))),
            ("drift of a report", repeated(drift.iter().map(|d| d.index << 1 | u8::from(d.output)))),
            ("drift of a report", drift.iter().any(|d| usize::from(d.index) >= MAX_DRIFT)),
        ];
        match faults.iter().find(|(_, fault)| *fault) {
            Some((what, _)) => Err(FormatError::OutOfRange { what }),
            None => Ok(()),
        }
    }
}

/// A message that was taken apart; nothing in it is believed yet where a key was given.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What the tag is over.
    pub tagged: &'a [u8],
    /// The tag, where there is one.
    pub tag: Option<&'a [u8; TAG_LEN]>,
}

impl<'a> Message<'a> {
    /// Takes the message at the front of `bytes` apart; returns what follows it.
    ///
    /// # Errors
    /// [`FormatError::Truncated`], [`FormatError::Malformed`], [`FormatError::UnknownVersion`], [`FormatError::OverLimit`].
    pub fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), FormatError> {
        let have = bytes.len() as u64;
        let Some(head) = bytes.first_chunk::<HEAD_LEN>() else {
            return Err(FormatError::Truncated { need: HEAD_LEN as u64, have });
        };
        let [m0, m1, m2, m3, version, tag, low, high] = *head;
        if [m0, m1, m2, m3] != REPORT_MAGIC {
            return Err(FormatError::Malformed { what: "report without its magic number" });
        }
        if version != REPORT_VERSION {
            return Err(FormatError::UnknownVersion { found: version, known: REPORT_VERSION });
        }
        if tag > 1 {
            return Err(FormatError::OutOfRange { what: "kind of tag of a report" });
        }
        let end = HEAD_LEN + usize::from(u16::from_le_bytes([low, high]));
        let whole = end + usize::from(tag) * TAG_LEN;
        if whole > MAX_REPORT_LEN {
            let (value, limit) = (whole as u64, MAX_REPORT_LEN as u64);
            return Err(FormatError::OverLimit { what: "length of a report", value, limit });
        }
        let short = FormatError::Truncated { need: whole as u64, have };
        let (tagged, rest) = bytes.split_at_checked(end).ok_or(short)?;
        if tag == 0 {
            return Ok((Self { tagged, tag: None }, rest));
        }
        let (tag, rest) = rest.split_first_chunk().ok_or(short)?;
        Ok((Self { tagged, tag: Some(tag) }, rest))
    }

    /// Decodes the report.
    ///
    /// # Errors
    /// [`FormatError::Malformed`], [`FormatError::OutOfRange`].
    pub fn read(&self) -> Result<Report, FormatError> {
        match postcard::take_from_bytes::<Report>(self.tagged.get(HEAD_LEN..).unwrap_or_default()) {
            Ok((report, [])) => report.check().map(|()| report),
            _ => Err(FormatError::Malformed { what: "report" }),
        }
    }
}

const HEAD_LEN: usize = 8;

fn repeated(values: impl Iterator<Item = u8> + Clone) -> bool {
    let mut seen = values.clone().enumerate();
    seen.any(|(i, value)| values.clone().take(i).any(|other| other == value))
}

#[cfg(test)]
mod tests;
