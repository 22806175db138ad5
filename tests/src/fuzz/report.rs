//! Health reports as a receiver gets them: from anybody.

use fleetfoot_format::{
    baseline::Baseline,
    report::{MAX_REPORT_LEN, Message},
};
use fleetfoot_health::Histogram;
use fleetfoot_trust::ReportKey;

/// Takes a request apart as the server does, and each message also for itself. What is read can be written again.
///
/// # Panics
/// On a finding.
pub fn target(bytes: &[u8]) {
    let key = ReportKey::new([7; 32]);
    let mut rest = bytes;
    while !rest.is_empty() {
        let Ok((message, after)) = Message::split(rest) else { break };
        assert!(after.len() < rest.len(), "each message is some bytes");
        rest = after;
        std::hint::black_box(key.verify(&message));
        if let Ok(report) = message.read() {
            let mut histogram = Histogram::new();
            histogram.add_sparse(&report.latency);
            assert_eq!(histogram.count(), report.latency.count(), "no duration is lost");
            let len = report.encode(false, &mut [0; MAX_REPORT_LEN]).expect("what was read can be written");
            assert!(len <= MAX_REPORT_LEN);
        }
    }
    if let Ok(baseline) = Baseline::parse(bytes) {
        assert!(baseline.inputs.iter().chain(&baseline.outputs).all(|sketch| sketch.total() > 0));
    }
}
