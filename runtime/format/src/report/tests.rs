//! Round trips, sizes and refusals of reports.

extern crate std;

use super::*;

/// A device with a million inferences on its day, of three typical millisecond latencies.
fn typical() -> Report {
    let mut latency = SparseHistogram::default();
    (0..28).for_each(|i| latency.push(310 + i, 1 + (28 - i as u32) * 250));
    Report {
        day: 20_782,
        part: 0,
        rollout: "kws-2026-11".try_into().unwrap(),
        arm: Arm::Treatment,
        bundle: [0xA7; 16],
        hardware: "linux-arm64".try_into().unwrap(),
        runtime: (0, 1, 0),
        state: State::Idle,
        reason: 0,
        counts: Counts { inferences: 1_000_000, errors: [3, 0, 0, 1, 0, 0, 0, 0], ..Counts::default() },
        latency,
        metrics: [Metric { id: 0, n: 900, sum: 27.0, sum_squares: 27.0 }].into_iter().collect(),
        drift: (0..2).map(|i| TensorDrift { output: i == 1, index: 0, milli: 31 }).collect(),
        golden: [0x5A; 8],
        nonce: [0xC3; 16],
    }
}

fn widest() -> Report {
    let mut latency = SparseHistogram::default();
    (0..MAX_LATENCY_BUCKETS).for_each(|i| latency.push(200 + 3 * i, u32::MAX / 128));
    let metric = |id| Metric { id, n: u32::MAX, sum: -1e300, sum_squares: f64::MAX };
    let n = u32::MAX;
    Report {
        day: MAX_DAY,
        part: MAX_PARTS - 1,
        rollout: core::iter::repeat_n('z', MAX_NAME_LEN).collect(),
        arm: Arm::Holdout,
        bundle: [255; 16],
        hardware: core::iter::repeat_n('z', MAX_HARDWARE_LEN).collect(),
        runtime: (u16::MAX, u16::MAX, u16::MAX),
        state: State::Rejected,
        reason: u16::MAX,
        counts: Counts {
            inferences: n,
            errors: [n; 8],
            fallbacks: n,
            shadow: n,
            agree: n,
            nan: n,
            out_of_range: n,
            constant: n,
        },
        latency,
        metrics: (0..MAX_METRICS as u8).map(|id| Metric { sum: -1e150, ..metric(id) }).collect(),
        drift: (0..MAX_DRIFT as u8).map(|i| TensorDrift { output: true, index: i, milli: u16::MAX }).collect(),
        golden: [255; 8],
        nonce: [255; 16],
    }
}

#[test]
fn round_trip_and_sizes() {
    let mut lens = [0; 3];
    for (report, len) in [Report::default(), typical(), widest()].iter().zip(&mut lens) {
        for tag in [false, true] {
            let mut out = [0; MAX_REPORT_LEN + 3];
            let end = report.encode(tag, &mut out).unwrap();
            *len = end + usize::from(tag) * TAG_LEN;
            for i in 0..usize::from(tag) * TAG_LEN {
                out[end + i] = i as u8;
            }
            out[*len..*len + 3].copy_from_slice(b"FFH");
            let (message, rest) = Message::split(&out[..*len + 3]).unwrap();
            assert_eq!(message.read().as_ref(), Ok(report));
            assert_eq!((message.tagged, rest), (&out[..end], &b"FFH"[..]));
            assert_eq!(message.tag.is_some(), tag);
            for short in 0..end {
                assert!(report.encode(tag, &mut [0; MAX_REPORT_LEN][..short]).is_err());
            }
            for cut in 0..*len {
                assert_eq!(Message::split(&out[..cut]).unwrap_err().code(), 102, "cut at {cut}");
            }
        }
    }
    let [empty, typical, widest] = lens;
    std::println!("a report with its tag: empty {empty}, typical {typical}, widest {widest} bytes");
    assert!(typical < 400 && widest <= MAX_REPORT_LEN && MAX_REPORT_LEN < 2048);
}

#[test]
fn every_bit_that_flips_is_a_report_or_an_error() {
    let mut out = [0; MAX_REPORT_LEN];
    let len = widest().encode(false, &mut out).unwrap();
    for bit in 0..len * 8 {
        let mut bad = out;
        bad[bit / 8] ^= 1 << (bit % 8);
        match Message::split(&bad[..len]).and_then(|(message, _)| message.read()) {
            Ok(report) => {
                let mut again = [0; MAX_REPORT_LEN];
                report.encode(false, &mut again).unwrap_or_else(|e| panic!("bit {bit}: read, not written: {e}"));
            }
            Err(error) => assert!((100..112).contains(&error.code()), "bit {bit}: {error}"),
        }
    }
}

fn refused(what: &str, change: impl Fn(&mut Report)) {
    let mut bad = typical();
    change(&mut bad);
    let error = bad.encode(false, &mut [0; MAX_REPORT_LEN]).unwrap_err();
    assert!(matches!(error, FormatError::OutOfRange { what: found } if found == what), "{error}");
    let mut body = [0; MAX_REPORT_LEN];
    let len = postcard::to_slice(&bad, &mut body).unwrap().len();
    let mut message = [0; MAX_REPORT_LEN];
    message[..6].copy_from_slice(b"FFHR\x01\x00");
    message[6..8].copy_from_slice(&(len as u16).to_le_bytes());
    message[8..8 + len].copy_from_slice(&body[..len]);
    assert_eq!(Message::split(&message).unwrap().0.read().unwrap_err(), error);
}

#[test]
fn what_cannot_be_is_refused() {
    refused("day of a report", |r| r.day = MAX_DAY + 1);
    refused("part of a report", |r| r.part = MAX_PARTS);
    refused("rollout of a report", |r| r.rollout = "<b>".try_into().unwrap());
    refused("arm of a report", |r| r.rollout.clear());
    refused("hardware of a report", |r| r.hardware = "Pixel 9".try_into().unwrap());
    refused("shadow of a report", |r| r.counts.agree = 1);
    refused("latency of a report", |r| r.counts.inferences = 100);
    refused("latency of a report", |r| r.latency.steps[4].0 = 0);
    refused("latency of a report", |r| r.latency.steps[4].1 = 0);
    refused("latency of a report", |r| r.latency.steps[4].0 = HISTOGRAM_BUCKETS as u16);
    refused("metric of a report", |r| r.metrics[0].sum = f64::NAN);
    refused("metric of a report", |r| r.metrics[0].sum_squares = f64::INFINITY);
    refused("metric of a report", |r| r.metrics[0].sum_squares = 0.1);
    refused("metric of a report", |r| r.metrics[0].n = 0);
    refused("metric of a report", |r| r.metrics[0].id = MAX_METRICS as u8);
    refused("metric of a report", |r| _ = r.metrics.push(r.metrics[0]));
    refused("drift of a report", |r| r.drift[1] = r.drift[0]);
    refused("drift of a report", |r| r.drift[1].index = MAX_DRIFT as u8);
}

#[test]
fn heads_that_are_none() {
    let mut out = [0; MAX_REPORT_LEN];
    let len = typical().encode(false, &mut out).unwrap();
    let shorter = out[6] - 1;
    for (at, value, code) in [(0, 0, 105), (4, 2, 101), (5, 2, 111), (7, 255, 104), (7, 4, 102), (6, shorter, 105)] {
        let mut bad = out;
        bad[at] = value;
        let error = Message::split(&bad[..len]).and_then(|(message, _)| message.read()).unwrap_err();
        assert_eq!(error.code(), code, "byte {at} is {value}: {error}");
    }
}
