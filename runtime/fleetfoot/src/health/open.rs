//! The part of a day that is being counted, as it lies on disk between two ticks.
//!
//! ```text
//! 0      4   magic "FFHO"
//! 4      4   length n of the report (its counts are empty: context, day, part, nonce)
//! 8      n   the report, a message of `format::report` without a tag
//! 8+n    ..  the tally: counters, latency, sketches as u32; metrics as u32, f64, f64
//! end   32   SHA-256 of all before
//! ```
//! It never leaves the device and is replaced as a whole. A file that does not hold is as good as none: the counts of one part are
//! lost and the next part has another nonce.

use fleetfoot_format::report::{MAX_REPORT_LEN, Message, Report};
use fleetfoot_health::{Histogram, Tally};
use fleetfoot_trust::sha256;

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Open {
    /// Everything but counts.
    pub(super) report: Report,
    /// What was counted.
    pub(super) tally: Tally,
}

impl Open {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut message = [0; MAX_REPORT_LEN];
        // A report without counts always holds.
        let len = self.report.encode(false, &mut message).unwrap_or(0);
        let mut out = Vec::with_capacity(4096);
        out.extend_from_slice(MAGIC);
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
        let hash = sha256(&out);
        out.extend_from_slice(&hash);
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        if sha256(body) != *hash {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        let len = u32::from_le_bytes(take(&mut rest)?) as usize;
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
            *to = u32::from_le_bytes(take(&mut rest)?);
        }
        let mut buckets = [0; fleetfoot_health::N_BUCKETS];
        for to in &mut buckets {
            *to = u32::from_le_bytes(take(&mut rest)?);
        }
        tally.latency = Histogram::from_buckets(buckets);
        for to in tally.inputs.iter_mut().chain(&mut tally.outputs).flat_map(|sketch| &mut sketch.bins) {
            *to = u32::from_le_bytes(take(&mut rest)?);
        }
        for metric in &mut tally.metrics {
            metric.n = u32::from_le_bytes(take(&mut rest)?);
            metric.sum = f64::from_le_bytes(take(&mut rest)?);
            metric.sum_squares = f64::from_le_bytes(take(&mut rest)?);
        }
        rest.is_empty().then_some(Self { report, tally })
    }
}

const MAGIC: &[u8; 4] = b"FFHO";

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    rest.split_off(..N)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use fleetfoot_health::bucket_bounds;

    use super::*;

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
        let bytes = open.encode();
        assert_eq!(Open::decode(&bytes), Some(open));
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
