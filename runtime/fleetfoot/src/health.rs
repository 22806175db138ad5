//! What a device tells of its health: counted where inferences run, kept on disk, sent when there is a network.
//!
//! ```text
//! Session ── Probe ──┐
//! Session ── Probe ──┴─ Observer ── take() ──▶ Reporter ── fold, once ──▶ Queue (files) ── send ──▶ POST /v1/reports
//!            nanoseconds a run                 a tick now and then         30 days, bounded          acknowledged: removed
//! ```
//! An answer that is lost makes the device send again; the receiver knows the nonce and counts once. What a report says is in
//! [`fleetfoot_format::report`], and nothing else is said. Reporting is off unless it was asked for ([`ReportConfig`]).

mod late;
mod ledger;
mod observer;
mod open;
mod queue;
mod reporter;
mod send;

pub use fleetfoot_health::{Counters, Drift, ErrorKind, Histogram, Tally};
pub use ledger::{OUTCOME_METRIC, Outcomes};
pub use observer::{Observer, Probe};
pub use queue::Queue;
pub use reporter::{Context, DAY_BYTES, ReportConfig, Reporter};
#[cfg(feature = "net")]
pub use send::HttpReports;
pub use send::{Answer, ReportTransport, Sent};
