//! What a device may say of a model: how often it ran, how long it took, what failed, and whether its inputs still look like
//! those it was made for. Never an input, never a name.
//!
//! ```text
//! Histogram   latencies, log-linear: 4 bits behind the leading one; quantiles within 3.2 %; merging is adding, exact
//! Counters    inferences, errors by kind, fallbacks, shadow runs, NaN, out of range, constant outputs
//! Sketch      values of a tensor in 16 bins, held against the baseline of the bundle: PSI, limits 0.1 and 0.25
//! Moments     n, sum and sum of squares of a number that the application measures
//! Tally       all of them for one version of one model on one device
//! ```
//! No heap, no clock: durations and values are arguments. Every type is a plain value that is copied, merged with `add` and
//! taken with `take`, so that each thread may have its own and nobody waits.
//!
//! # Example
//! ```
//! use fleetfoot_health::{ErrorKind, Histogram, Tally};
//! let mut tally = Tally::default();
//! tally.inference(1_850_000);                     // nanoseconds
//! tally.inference(2_100_000);
//! tally.error(ErrorKind::Engine);
//! assert_eq!((tally.counters.inferences, tally.counters.errors()), (2, 1));
//!
//! let mut whole = Histogram::default();
//! whole.add(&tally.latency);
//! let p99_ns = whole.quantile(99, 100).unwrap();  // an upper bound, at most 6.7 % above; see Histogram::middle
//! assert!((2_100_000..2_240_000).contains(&p99_ns));
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(test)]
extern crate std;

mod counters;
mod drift;
mod histogram;
mod moments;
mod sketch;
mod tally;

pub use counters::{Counters, ErrorKind, N_ERROR_KINDS};
pub use drift::{Drift, MIN_VALUES, MODERATE, SHIFTED, psi};
pub use histogram::{Histogram, N_BUCKETS, bucket_bounds, bucket_of};
pub use moments::Moments;
pub use sketch::Sketch;
pub use tally::{MAX_METRICS, MAX_WATCHED, Tally};
