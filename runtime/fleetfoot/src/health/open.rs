//! The part of a day that is being counted, as it lies on disk between two ticks.
//!
//! ```text
//! 0      4   magic "FFHO"
//! 4      4   length n of the report (its counts are empty: context, day, part, nonce); 0: no part is open
//! 8      n   the report, a message of `format::report` without a tag
//! 8+n    ..  the tally: counters, latency, sketches as u32; metrics as u32, f64, f64
//! ..     ..  bytes of today, when to send, the hour in which the part began, days behind, names of rollouts, what was told of outcomes: see `ledger`
//! end   32   SHA-256 of all before
//! ```
//! It never leaves the device and is replaced as a whole. A file that does not hold is as good as none: the counts of one part are
//! lost and the next part has another nonce.

use fleetfoot_format::report::{MAX_REPORT_LEN, Message, Report};
use fleetfoot_health::{Histogram, Tally};
use fleetfoot_trust::sha256;

use super::ledger::{Ledger, take};

/// The part that is being counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Open {
    /// Everything but counts.
    pub(super) report: Report,
    /// What was counted.
    pub(super) tally: Tally,
}

impl Open {
    /// The file: an open part, where there is one, and what lies beside it.
    pub(super) fn encode(open: Option<&Self>, ledger: &Ledger) -> Vec<u8> {
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(MAGIC);
        match open {
            Some(open) => open.put(&mut out),
            None => out.extend_from_slice(&0u32.to_le_bytes()),
        }
        ledger.encode(&mut out);
        let hash = sha256(&out);
        out.extend_from_slice(&hash);
        out
    }

    /// The report with all that was counted.
    pub(super) fn whole(&self) -> Report {
        let mut report = self.report.clone();
        self.tally.fill(&mut report);
        report
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut message = [0; MAX_REPORT_LEN];
        // A report without counts always holds.
        let len = self.report.encode(false, &mut message).unwrap_or(0);
        out.extend_from_slice(&(len as u32).to_le_bytes());
        out.extend_from_slice(&message[..len]);
        let Tally { counters, latency, inputs, outputs, metrics } = &self.tally;
        let counts = [
            counters.inferences,
            counters.fallbacks,
            counters.shadow,
            counters.agree,
            counters.nan,
            counters.out_of_range,
            counters.constant,
        ];
        let sketches = inputs.iter().chain(outputs).flat_map(|sketch| sketch.bins);
        for n in counts.into_iter().chain(counters.errors).chain(*latency.buckets()).chain(sketches) {
            out.extend_from_slice(&n.to_le_bytes());
        }
        for metric in metrics {
            out.extend_from_slice(&metric.n.to_le_bytes());
            out.extend_from_slice(&metric.sum.to_le_bytes());
            out.extend_from_slice(&metric.sum_squares.to_le_bytes());
        }
    }

    /// What the file says; `None` where it does not hold.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Option<Self>, Ledger)> {
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        if sha256(body) != *hash {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let open = match u32::from_le_bytes(take(&mut rest)?) {
            0 => None,
            len => Some(Self::take(&mut rest, len as usize)?),
        };
        let ledger = Ledger::decode(&mut rest)?;
        rest.is_empty().then_some((open, ledger))
    }

    fn take(rest: &mut &[u8], len: usize) -> Option<Self> {
        let report = match Message::split(rest.split_off(..len)?) {
            Ok((message, [])) => message.read().ok()?,
            _ => return None,
        };
        let mut tally = Tally::default();
        let counters = &mut tally.counters;
        let counts = [
            &mut counters.inferences,
            &mut counters.fallbacks,
            &mut counters.shadow,
            &mut counters.agree,
            &mut counters.nan,
            &mut counters.out_of_range,
            &mut counters.constant,
        ];
        for to in counts.into_iter().chain(&mut counters.errors) {
            *to = u32::from_le_bytes(take(rest)?);
        }
        let mut buckets = [0; fleetfoot_health::N_BUCKETS];
        for to in &mut buckets {
            *to = u32::from_le_bytes(take(rest)?);
        }
        tally.latency = Histogram::from_buckets(buckets);
        for to in tally.inputs.iter_mut().chain(&mut tally.outputs).flat_map(|sketch| &mut sketch.bins) {
            *to = u32::from_le_bytes(take(rest)?);
        }
        for metric in &mut tally.metrics {
            metric.n = u32::from_le_bytes(take(rest)?);
            metric.sum = f64::from_le_bytes(take(rest)?);
            metric.sum_squares = f64::from_le_bytes(take(rest)?);
        }
        Some(Self { report, tally })
    }
}

const MAGIC: &[u8; 4] = b"FFHO";

#[cfg(test)]
mod tests {
    use fleetfoot_format::report::Arm;
    use fleetfoot_health::bucket_bounds;

    use super::*;
    use crate::health::ledger::{Day, Outcomes};

    #[test]
    fn round_trip_and_damage() {
        let mut open = Open::default();
        open.report.day = 20_782;
        open.report.nonce = [9; 16];
        for i in 0..2000u64 {
            open.tally.inference(bucket_bounds((i % 528) as usize).0);
            open.tally.inputs[1].record_int8(i as i8);
            open.tally.metrics[2].record(i as f32);
        }
        open.tally.counters.errors[5] = 7;
        open.tally.counters.constant = 3;
        let mut ledger = Ledger::default();
        (ledger.spent, ledger.send_after) = (700, 1_795_500_000);
        ledger.note(Day { day: 20_781, nonce: [8; 16], part: 3 });
        ledger.knows("kws-2026-11");
        let told = Outcomes { day: 20_781, rollout: [3; 8], arm: Arm::Control, n: 12, sum: 5.5, sum_squares: 9.25 };
        ledger.tell(told);
        let bytes = Open::encode(Some(&open), &ledger);
        assert_eq!(Open::decode(&bytes), Some((Some(open), ledger.clone())));
        let closed = Open::encode(None, &ledger);
        assert_eq!(Open::decode(&closed), Some((None, ledger)));
        for cut in 0..bytes.len() {
            assert_eq!(Open::decode(&bytes[..cut]), None);
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            assert_eq!(Open::decode(&bad), None, "byte {at}");
        }
    }
}
